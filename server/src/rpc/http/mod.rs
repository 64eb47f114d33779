//! JSON-RPC 2.0 over HTTP and WebSocket: the methods of Delve's `RPCServer`, and subscriptions, by way of jsonrpsee. `GET` answers their reference.
//!
//! Parameters are a list with one struct, as over Go's codec, or the fields of that struct by name. Calls do not wait for each other.

mod admission;
mod flow;
#[cfg(test)]
mod fuzz;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::{self, HeaderValue};
use hyper::service::{Service as _, service_fn};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jsonrpsee::RpcModule;
use jsonrpsee::server::middleware::rpc::RpcServiceBuilder;
use jsonrpsee::server::{
    BatchRequestConfig, HttpBody, HttpResponse, Methods as Calls, PingConfig, ServerBuilder, ServerConfig, stop_channel,
};
use jsonrpsee::types::{ErrorObjectOwned, Params};
use tokio_util::sync::CancellationToken;

use super::go_json::{Json, Kind};
use super::methods::{CallContext, RpcError, Service};
use super::{reference, subscriptions};
use crate::transport::Connection;
pub(crate) use admission::Admission;
use flow::{Flow, Metered, Paced};

/// The code of every error that a method gives; Delve's dialect knows only their texts. (JSON-RPC 2.0 leaves -32000 to -32099 to servers.)
const FAILED: i32 = -32000;

/// How long a client may take for the headers of a request.
const HEADERS_WITHIN: Duration = Duration::from_secs(30);
/// The most bytes of a request's headers that are read.
const MOST_HEADER_BYTES: usize = 64 << 10;
/// The most headers of a request.
const MOST_HEADERS: usize = 64;
/// The most bytes of a request's body, or of a WebSocket message.
const LONGEST_REQUEST: u32 = 16 << 20;
/// The most bytes of an answer.
const LONGEST_RESPONSE: u32 = 256 << 20;
/// The most calls in one batch.
const LONGEST_BATCH: u32 = 64;
/// How many answers may wait for a WebSocket client to read them.
const MOST_ANSWERS: u32 = 256;
/// How many subscriptions a client may have.
const MOST_SUBSCRIPTIONS: u32 = 16;
/// How long a client may take to read its last answers when the server ends.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// Serves HTTP and WebSocket clients.
pub(crate) struct HttpServer {
    calls: Calls,
    config: ServerConfig,
    /// The methods that may wait for the target.
    waiting: Arc<BTreeSet<&'static str>>,
    admission: Admission,
    /// What a browser or curl gets that only looks.
    reference: String,
    /// Numbers connections, so that subscriptions are told apart.
    connections: AtomicU32,
}

impl HttpServer {
    /// A server for these methods and the events of their target.
    pub(crate) fn new(service: &Arc<Service>, admission: Admission) -> HttpServer {
        let mut module = RpcModule::from_arc(Arc::clone(service));
        for name in service.methods().pages.keys().copied() {
            let registered = module.register_async_method(name, move |params, service, _| async move {
                let argument = argument(&params)?;
                let context = CallContext::default();
                // A call that is given up is answered to nobody.
                let _gone = context.gone.clone().drop_guard();
                service.call(name, argument, context).await.map_err(failed)
            });
            debug_assert!(registered.is_ok(), "{name} is there twice");
        }
        subscriptions::register(&mut module);
        let pages = service.methods().pages.iter();
        let waiting = pages
            .filter(|(_, page)| page.is_asynchronous)
            .map(|(name, _)| *name)
            .collect();
        HttpServer::of(module.into(), waiting, admission, reference::of(service.methods()))
    }

    /// A server for these methods, of which those that are `waiting` may wait for the target; `reference` is what somebody gets who only looks.
    fn of(calls: Calls, waiting: BTreeSet<&'static str>, admission: Admission, reference: String) -> HttpServer {
        HttpServer {
            calls,
            config: ServerConfig::builder()
                .max_request_body_size(LONGEST_REQUEST)
                .max_response_body_size(LONGEST_RESPONSE)
                .set_batch_request_config(BatchRequestConfig::Limit(LONGEST_BATCH))
                .set_message_buffer_capacity(MOST_ANSWERS)
                .max_subscriptions_per_connection(MOST_SUBSCRIPTIONS)
                .enable_ws_ping(PingConfig::default())
                .build(),
            waiting: Arc::new(waiting),
            admission,
            reference,
            connections: AtomicU32::new(0),
        }
    }

    /// Serves one client until it hangs up, or the server is `ending`.
    pub(crate) async fn serve(&self, connection: Connection, ending: CancellationToken) {
        let (stop_handle, stop) = stop_channel();
        let (flow, waiting) = (Flow::new(), Arc::clone(&self.waiting));
        let accounts = Arc::clone(&flow);
        let service = ServerBuilder::with_config(self.config.clone())
            .to_service_builder()
            .set_rpc_middleware(
                RpcServiceBuilder::new()
                    .layer_fn(move |service| Paced::new(service, Arc::clone(&accounts), Arc::clone(&waiting))),
            )
            .connection_id(self.connections.fetch_add(1, Ordering::Relaxed))
            .build(self.calls.clone(), stop_handle);
        // A WebSocket goes on when the connection is no longer HTTP.
        let upgraded = Mutex::new(None);
        let answer = service_fn(|request: Request<Incoming>| {
            let mut service = service.clone();
            let admitted = self.admit(&request);
            if admitted.is_ok() && request.headers().contains_key(header::UPGRADE) {
                *upgraded.lock().unwrap_or_else(PoisonError::into_inner) = Some(service.on_session_closed());
            }
            async move {
                let origin = match admitted {
                    Ok(origin) => origin,
                    Err(response) => return Ok::<_, Infallible>(*response),
                };
                let answered = TowerToHyperService::new(service).call(request).await;
                let mut response = answered.unwrap_or_else(|error| {
                    tracing::debug!("a request over HTTP failed: {error}");
                    plain(
                        StatusCode::INTERNAL_SERVER_ERROR,
                        "the request could not be served\n".to_owned(),
                    )
                });
                if let Some(origin) = origin {
                    response
                        .headers_mut()
                        .insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
                }
                Ok(response)
            }
        });
        let served = hyper::server::conn::http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADERS_WITHIN)
            .max_buf_size(MOST_HEADER_BYTES)
            .max_headers(MOST_HEADERS)
            .serve_connection(TokioIo::new(Metered::new(connection.stream, flow)), answer)
            .with_upgrades();
        tokio::pin!(served);
        let ended = tokio::select! {
            ended = &mut served => ended,
            () = ending.cancelled() => {
                served.as_mut().graceful_shutdown();
                tokio::time::timeout(LAST_ANSWERS, &mut served).await.unwrap_or(Ok(()))
            }
        };
        if let Err(error) = ended {
            tracing::debug!("a connection over HTTP ended: {error}");
        }
        let session = upgraded.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(session) = session {
            let mut session = std::pin::pin!(session);
            tokio::select! {
                () = &mut session => {}
                () = ending.cancelled() => {
                    // Whoever asked for the end is to read the answer.
                    let _ = stop.stop();
                    let _ = tokio::time::timeout(LAST_ANSWERS, session).await;
                }
            }
        }
    }

    /// Decides whether a request is a call that is served; answers the origin of an allowed page, or what the client gets instead.
    fn admit(&self, request: &Request<Incoming>) -> Result<Option<HeaderValue>, Box<HttpResponse>> {
        let origin = match self.admission.check(request.headers(), request.uri().host()) {
            Ok(origin) => origin.and_then(|origin| HeaderValue::from_str(origin).ok()),
            Err(text) => {
                tracing::warn!("a request over HTTP was refused: {text}");
                return Err(Box::new(plain(StatusCode::FORBIDDEN, format!("{text}\n"))));
            }
        };
        // A browser asks first whether the page may send JSON (Fetch Standard, CORS-preflight request).
        if let Some(origin) = &origin
            && request.method() == Method::OPTIONS
        {
            let mut response = plain(StatusCode::NO_CONTENT, String::new());
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
            headers.insert(
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                HeaderValue::from_static("content-type"),
            );
            return Err(Box::new(response));
        }
        if request.method() == Method::GET && !request.headers().contains_key(header::UPGRADE) {
            let mut response = HttpResponse::new(HttpBody::from(self.reference.clone()));
            let kind = HeaderValue::from_static("text/markdown; charset=utf-8");
            response.headers_mut().insert(header::CONTENT_TYPE, kind);
            return Err(Box::new(response));
        }
        Ok(origin)
    }
}

fn plain(status: StatusCode, text: String) -> HttpResponse {
    let mut response = HttpResponse::new(HttpBody::from(text));
    *response.status_mut() = status;
    response
}

fn failed(error: RpcError) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(FAILED, error.0, None::<()>)
}

/// The argument of a call: the first of a list, or parameters by name.
fn argument(params: &Params<'_>) -> Result<String, ErrorObjectOwned> {
    let text = params.as_str().unwrap_or("null");
    let json = Json::parse(text).map_err(|error| failed(RpcError(format!("malformed request body: {error}"))))?;
    let argument = match json.kind() {
        Kind::Array => json.elements().into_iter().next().map_or("null", Json::text),
        _ => json.text(),
    };
    Ok(argument.to_owned())
}
