//! The methods of Delve's `RPCServer`, API version 2 (`service/rpc2/server.go`, Delve 1.27.1).
//!
//! Each group of methods is a file with a `register` function. A method is plain Rust: it takes the struct that Delve calls `NameIn` and answers the one
//! called `NameOut`, or fails with a sentence. How requests arrive is not its business: all codecs call the same [`Service`].

mod breakpoints;
mod collected;
mod disassembly;
mod execution;
#[cfg(test)]
mod fuzz;
mod goroutines;
mod memory;
mod program;
mod recorded_calls;
mod recording;
mod registers;
mod scope;
mod service;
mod session;
mod stack;
mod state;
mod targets;
mod threads;
mod variables;

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::go_json::{self, Book, JsonText, Wire};
use crate::host::{Host, HostError};
pub(crate) use collected::thread_of_pass;
pub(crate) use execution::StateIn;
pub(crate) use service::Service;

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

/// What a method knows of the call beside its argument.
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
    /// Reads a text as what it takes, and as what it gives.
    #[cfg(test)]
    read: fn(&str),
}

/// A method, its types left behind: from the JSON of its argument to that of its answer.
type InOrder = Box<dyn Fn(&Host, &str) -> Result<JsonText, RpcError> + Send + Sync>;
/// As [`InOrder`]; the argument is read at once, so that a request that is none is refused in its turn.
type Asynchronous = Box<dyn Fn(Arc<Host>, &str, CallContext) -> Result<Answer<JsonText>, RpcError> + Send + Sync>;

enum Method {
    InOrder(InOrder),
    Asynchronous(Asynchronous),
}

/// All methods.
#[derive(Default)]
pub(crate) struct Methods {
    by_name: BTreeMap<&'static str, Method>,
    /// By name.
    pub(crate) pages: BTreeMap<&'static str, MethodPage>,
    /// The types that they take and give.
    pub(crate) book: Book,
}

impl Methods {
    /// All of them.
    pub(crate) fn new() -> Methods {
        let mut methods = Methods::default();
        session::register(&mut methods);
        breakpoints::register(&mut methods);
        recorded_calls::register(&mut methods);
        threads::register(&mut methods);
        execution::register(&mut methods);
        targets::register(&mut methods);
        goroutines::register(&mut methods);
        variables::register(&mut methods);
        stack::register(&mut methods);
        program::register(&mut methods);
        memory::register(&mut methods);
        registers::register(&mut methods);
        recording::register(&mut methods);
        disassembly::register(&mut methods);
        methods
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
        let call = move |host: &Host, json: &str| method(host, &argument(json)?).map(|out| JsonText::of(&out));
        self.insert(name, Method::InOrder(Box::new(call)));
    }

    /// Adds a method that may be answered long after the next requests of its client.
    pub(crate) fn add_asynchronous<I: Wire + 'static, O: Wire + 'static>(
        &mut self,
        name: &'static str,
        doc: &'static str,
        method: fn(Arc<Host>, I, CallContext) -> Answer<O>,
    ) {
        self.describe::<I, O>(name, doc, true);
        let call = move |host: Arc<Host>, json: &str, context: CallContext| {
            let answer = method(host, argument(json)?, context.clone());
            let answer: Answer<JsonText> = Box::pin(async move {
                let answer = answer.await;
                context.set_up.notify_one();
                answer.map(|out| JsonText::of(&out))
            });
            Ok(answer)
        };
        self.insert(name, Method::Asynchronous(Box::new(call)));
    }

    fn insert(&mut self, name: &'static str, method: Method) {
        let before = self.by_name.insert(name, method);
        debug_assert!(before.is_none(), "{name} is there twice");
    }

    fn describe<I: Wire, O: Wire>(&mut self, name: &'static str, doc: &'static str, is_asynchronous: bool) {
        I::describe(&mut self.book);
        O::describe(&mut self.book);
        let page = MethodPage {
            doc,
            takes: I::go_type(),
            gives: O::go_type(),
            is_asynchronous,
            #[cfg(test)]
            read: fuzz::read_both::<I, O>,
        };
        self.pages.insert(name, page);
    }
}

/// The argument of a call, or in Go's words why it is none.
fn argument<I: Wire>(json: &str) -> Result<I, RpcError> {
    go_json::decode(json).map_err(|why| RpcError(format!("malformed request body: {why}")))
}
