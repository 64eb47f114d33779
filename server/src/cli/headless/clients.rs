//! The clients of a headless server: who comes, what each speaks, and when the server ends.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::super::arguments::Global;
use super::echo;
use crate::dap::{self, Settings};
use crate::host::{Host, Status};
use crate::rpc::go_codec;
use crate::rpc::http::{Admission, HttpServer};
use crate::rpc::methods::{CallContext, Service};
use crate::transport::{Connection, Listener, Protocol, TransportError, recognise};

/// How many connections there may be at once.
const MOST_CLIENTS: usize = 256;

/// How long a connection may be silent before it has said what it speaks.
const FIRST_BYTE_WITHIN: Duration = Duration::from_secs(60);

/// How long clients may take to read their last answers when the server ends.
const LAST_ANSWERS: Duration = Duration::from_secs(2);

/// How long to wait when connections cannot be taken, as when there are no descriptors left.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// A server and its clients.
pub(super) struct Clients {
    /// Gone when no further client can come.
    listener: Option<Listener>,
    host: Arc<Host>,
    service: Arc<Service>,
    http: Arc<HttpServer>,
    only_same_user: bool,
    continues: bool,
    /// Cancelled when the server ends.
    ending: CancellationToken,
}

impl Clients {
    /// A server that nobody has come to yet.
    pub(super) fn new(listener: Listener, host: Arc<Host>, global: &Global, continues: bool) -> Clients {
        let service = Arc::new(Service::new(Arc::clone(&host)));
        let admission = Admission::new(global.allow_origin.clone(), &global.listen);
        Clients {
            listener: Some(listener),
            http: Arc::new(HttpServer::new(&service, admission)),
            service,
            host,
            only_same_user: global.only_same_user,
            continues,
            ending: CancellationToken::new(),
        }
    }

    /// Serves until the target is let go of on a client's wish, the only client there can be has left, or `interrupted` is done.
    pub(super) async fn serve(mut self, mut interrupted: impl Future<Output = ()> + Unpin) {
        let is_multiclient = self.host.is_multiclient();
        let over = self.host.over();
        let room = Arc::new(Semaphore::new(MOST_CLIENTS));
        let (recognised, mut speaking) = mpsc::channel(1);
        let mut clients = JoinSet::new();
        let echoed = self.host.captures_output().then(|| echo::echo(&self.host));
        if self.continues {
            self.set_off();
        }
        loop {
            tokio::select! {
                () = over.cancelled() => break,
                () = &mut interrupted => break,
                Some(_) = clients.join_next() => {
                    if !is_multiclient {
                        break;
                    }
                }
                accepted = accept(self.listener.as_ref(), self.only_same_user) => {
                    let connection = match accepted {
                        Ok(connection) => connection,
                        Err(error) => {
                            tracing::error!(target: "spelunk::transport", "{error}");
                            tokio::time::sleep(ACCEPT_AGAIN).await;
                            continue;
                        }
                    };
                    // Who finds no room is turned away at once.
                    let Ok(permit) = Arc::clone(&room).try_acquire_owned() else {
                        tracing::warn!(target: "spelunk::transport", "a client was turned away: there are {MOST_CLIENTS} already");
                        continue;
                    };
                    let recognised = recognised.clone();
                    tokio::spawn(async move {
                        let Ok(Ok(Some(client))) = tokio::time::timeout(FIRST_BYTE_WITHIN, recognise(connection)).await else {
                            // Somebody has only looked whether the port is there, or has nothing to say.
                            return;
                        };
                        let _ = recognised.send((client, permit)).await;
                    });
                }
                Some(((protocol, connection), permit)) = speaking.recv() => {
                    if self.listener.is_none() {
                        // Another was quicker, and is the only one there can be.
                        continue;
                    }
                    if !is_multiclient && let Some(listener) = self.listener.take() {
                        listener.close();
                    }
                    let served = self.serve_one(protocol, connection);
                    clients.spawn(async move {
                        served.await;
                        drop(permit);
                    });
                }
            }
        }
        if let Err(error) = self.host.finish().await {
            println!("{error}");
        }
        if let Some(echoed) = echoed {
            self.host.tell_the_rest().await;
            let _ = tokio::time::timeout(LAST_ANSWERS, echoed).await;
        }
        self.ending.cancel();
        let finished = async { while clients.join_next().await.is_some() {} };
        // Who does not read cannot keep the server.
        let _ = tokio::time::timeout(LAST_ANSWERS, finished).await;
    }

    /// One client's session.
    fn serve_one(&self, protocol: Protocol, connection: Connection) -> impl Future<Output = ()> + Send + 'static {
        let (host, service, http) = (
            Arc::clone(&self.host),
            Arc::clone(&self.service),
            Arc::clone(&self.http),
        );
        let ending = self.ending.clone();
        async move {
            match protocol {
                Protocol::Dap => {
                    tracing::debug!(target: "spelunk::transport", "serving DAP on new connection");
                    let interrupted = Box::pin(async move { ending.cancelled().await });
                    if let Err(error) = dap::serve_remote(connection, host, Settings::default(), interrupted).await {
                        tracing::error!(target: "spelunk::transport", "could not start the session: {error}");
                    }
                }
                Protocol::GoRpc => {
                    tracing::debug!(target: "spelunk::transport", "serving JSON-RPC on new connection");
                    go_codec::serve(connection, service, ending).await;
                }
                Protocol::Http => {
                    tracing::debug!(target: "spelunk::transport", "serving HTTP on new connection");
                    http.serve(connection, ending).await;
                }
            }
        }
    }

    /// `--continue`: lets the target run as a client would that leaves at once, so that a stop is told on standard error.
    fn set_off(&self) {
        let (service, host) = (Arc::clone(&self.service), Arc::clone(&self.host));
        let context = CallContext::default();
        context.gone.cancel();
        tokio::spawn(async move {
            let command = serde_json::json!({"name": "continue"}).to_string();
            let ended = service.call("RPCServer.Command", command, context).await;
            if let Err(error) = ended
                && host.status() != Status::Detached
            {
                tracing::error!(target: "spelunk::transport", "could not continue: {error}");
            }
        });
    }
}

/// The next connection; never, where none can come any more.
async fn accept(listener: Option<&Listener>, only_same_user: bool) -> Result<Connection, TransportError> {
    match listener {
        Some(listener) => listener.accept(only_same_user).await,
        None => std::future::pending().await,
    }
}
