//! The methods of Delve's `RPCServer`, API version 2 (`service/rpc2/server.go`, Delve 1.27.1).
//!
//! Each group of methods is a file with a `register` function. A method is plain Rust: it takes the struct that Delve calls `NameIn` and answers the one
//! called `NameOut`, or fails with a sentence. How requests arrive is not its business: all codecs call the same [`Methods`].

mod execution;
mod goroutines;
mod pattern;
mod scope;
mod session;
mod stack;
mod threads;
mod variables;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use jsonrpsee::types::{ErrorObjectOwned, Params};
use jsonrpsee::{Extensions, RpcModule};
use serde_json::Value;

use super::go_json::{self, Book, Wire};
use crate::host::{Host, HostError};

/// The code of every error that a method gives; Delve's dialect knows only their texts. (JSON-RPC 2.0 leaves -32000 to -32099 to servers.)
const FAILED: i32 = -32000;

/// Why a method failed: a sentence, in Delve's words where Delve has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct RpcError(pub(crate) String);

impl From<HostError> for RpcError {
    fn from(error: HostError) -> RpcError {
        RpcError(error.to_string())
    }
}

impl From<crate::debugger::DebugError> for RpcError {
    fn from(error: crate::debugger::DebugError) -> RpcError {
        RpcError(error.to_string())
    }
}

impl From<&str> for RpcError {
    fn from(text: &str) -> RpcError {
        RpcError(text.to_owned())
    }
}

impl From<String> for RpcError {
    fn from(text: String) -> RpcError {
        RpcError(text)
    }
}

/// What a method knows of the call beside its argument. A codec puts it into the extensions of the call.
#[derive(Clone, Default)]
pub(crate) struct CallContext {
    /// Given as soon as requests behind this one may be looked at although it is not answered yet: a command has set the target moving.
    pub(crate) set_up: Arc<tokio::sync::Notify>,
    /// Cancelled when the client that asked is gone.
    pub(crate) gone: tokio_util::sync::CancellationToken,
}

/// What a method that takes its time answers.
pub(crate) type Answer<O> = Pin<Box<dyn Future<Output = Result<O, RpcError>> + Send>>;

/// A method's entry in the reference.
#[derive(Clone, Debug)]
pub(crate) struct MethodPage {
    /// What it does.
    pub(crate) doc: &'static str,
    /// Go's name of what it takes.
    pub(crate) takes: String,
    /// Go's name of what it gives.
    pub(crate) gives: String,
    /// Whether requests behind it are looked at before it is answered.
    pub(crate) is_asynchronous: bool,
}

/// All methods.
pub(crate) struct Methods {
    module: RpcModule<Arc<Host>>,
    /// By name.
    pub(crate) pages: BTreeMap<&'static str, MethodPage>,
    /// The types that they take and give.
    pub(crate) book: Book,
}

impl Methods {
    /// The methods of a host.
    pub(crate) fn new(host: Arc<Host>) -> Methods {
        let mut methods = Methods {
            module: RpcModule::new(host),
            pages: BTreeMap::new(),
            book: Book::default(),
        };
        session::register(&mut methods);
        threads::register(&mut methods);
        execution::register(&mut methods);
        goroutines::register(&mut methods);
        variables::register(&mut methods);
        stack::register(&mut methods);
        methods
    }

    /// The module that codecs call into.
    pub(crate) fn module(&self) -> &RpcModule<Arc<Host>> {
        &self.module
    }

    /// Adds a method that is answered before the next request of its client is looked at. It may block.
    ///
    /// `name` is the whole name: `RPCServer.State`.
    pub(crate) fn add<I: Wire + 'static, O: Wire + 'static>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        method: fn(&Host, &I) -> Result<O, RpcError>,
    ) {
        self.describe::<I, O>(name, doc, false);
        let registered = self
            .module
            .register_blocking_method(name, move |params: Params<'_>, host, _: Extensions| {
                let argument = argument::<I>(&params)?;
                method(&host, &argument).map(|out| out.encode()).map_err(failed)
            });
        debug_assert!(registered.is_ok(), "{name} is there twice");
    }

    /// Adds a method that may be answered long after the next requests of its client.
    pub(crate) fn add_asynchronous<I: Wire + 'static, O: Wire + 'static>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        method: fn(Arc<Host>, I, CallContext) -> Answer<O>,
    ) {
        self.describe::<I, O>(name, doc, true);
        let registered =
            self.module
                .register_async_method(name, move |params: Params<'static>, host, extensions| async move {
                    let call = extensions.get::<CallContext>().cloned().unwrap_or_default();
                    let argument = argument::<I>(&params)?;
                    let answer = method(Arc::clone(&host), argument, call.clone()).await;
                    call.set_up.notify_one();
                    answer.map(|out| out.encode()).map_err(failed)
                });
        debug_assert!(registered.is_ok(), "{name} is there twice");
    }

    fn describe<I: Wire, O: Wire>(&mut self, name: &'static str, doc: &'static str, is_asynchronous: bool) {
        I::describe(&mut self.book);
        O::describe(&mut self.book);
        let page = MethodPage {
            doc,
            takes: I::go_type(),
            gives: O::go_type(),
            is_asynchronous,
        };
        self.pages.insert(name, page);
    }
}

fn failed(error: RpcError) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(FAILED, error.0, None::<()>)
}

/// The argument of a call: the first of a list, or parameters by name. In Go's words where it is none.
fn argument<I: Wire>(params: &Params<'_>) -> Result<I, ErrorObjectOwned> {
    let malformed = |why: String| failed(RpcError(format!("malformed request body: {why}")));
    let text = params.as_str().unwrap_or("null");
    let json: Value = serde_json::from_str(text).map_err(|error| malformed(error.to_string()))?;
    let first = match json {
        Value::Array(mut list) if !list.is_empty() => list.swap_remove(0),
        Value::Array(_) | Value::Null => Value::Null,
        other => other,
    };
    go_json::decode(&first).map_err(malformed)
}
