//! The methods at work on one target: what codecs call.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio::task::JoinError;

use super::{CallContext, Method, Methods, RpcError};
use crate::handover;
use crate::host::Host;
use crate::rpc::go_json::JsonText;

/// How many calls may block at once, all clients together. Others wait without a thread, so that there is always one for what must get through.
const BLOCKING: usize = 256;

/// Looks at a target that rests which are done in less time than it takes to have another thread do them.
const QUICK: [&str; 10] = [
    "RPCServer.Eval",
    "RPCServer.ListLocalVars",
    "RPCServer.ListFunctionArgs",
    "RPCServer.ListRegisters",
    "RPCServer.ListThreads",
    "RPCServer.GetThread",
    "RPCServer.Stacktrace",
    "RPCServer.State",
    "RPCServer.ExamineMemory",
    "RPCServer.LastModified",
];

/// The methods at work on one target.
pub(crate) struct Service {
    host: Arc<Host>,
    methods: Methods,
    blocking: Semaphore,
}

impl Service {
    /// The methods of a host.
    pub(crate) fn new(host: Arc<Host>) -> Service {
        Service {
            host,
            methods: Methods::new(),
            blocking: Semaphore::new(BLOCKING),
        }
    }

    /// What they work on.
    pub(crate) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// Which there are.
    pub(crate) fn methods(&self) -> &Methods {
        &self.methods
    }

    /// Whether there is a method of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.methods.by_name.contains_key(name)
    }

    /// Calls a method by its name with a JSON value, and waits for its answer. What blocks does so on a thread of its own.
    pub(crate) async fn call(
        self: &Arc<Service>,
        name: &str,
        argument: String,
        context: CallContext,
    ) -> Result<JsonText, RpcError> {
        match self.methods.by_name.get(name) {
            None => Err(unknown(name)),
            Some(Method::Asynchronous(method)) => {
                let answer = method(Arc::clone(&self.host), &argument, context)?;
                // On a task of its own, so that a mistake of ours ends the call and not the client's session.
                finished(tokio::spawn(answer).await)
            }
            Some(Method::InOrder(method)) => {
                // Nobody moves the target while the rest is held, so nothing is waited for.
                if QUICK.contains(&name)
                    && let Ok(Some(_rest)) = self.host.at_rest_now()
                {
                    let answer = catch_unwind(AssertUnwindSafe(|| method(&self.host, &argument)));
                    // The panic itself is in the log.
                    return answer.unwrap_or_else(|_| Err(RpcError("Internal debugger error: it panicked".to_owned())));
                }
                let _permit = self.blocking.acquire().await;
                let (service, name) = (Arc::clone(self), name.to_owned());
                let answer = tokio::task::spawn_blocking(move || match service.methods.by_name.get(name.as_str()) {
                    Some(Method::InOrder(method)) => method(&service.host, &argument),
                    _ => Err(unknown(&name)),
                });
                // Most answers are there before this thread has gone to sleep.
                let _ = handover::at_once(|| answer.is_finished().then_some(()));
                finished(answer.await)
            }
        }
    }
}

fn unknown(name: &str) -> RpcError {
    RpcError(format!("unknown method: {name}"))
}

/// What a task has answered, or that it came to a bad end. The panic itself is in the log.
fn finished(answer: Result<Result<JsonText, RpcError>, JoinError>) -> Result<JsonText, RpcError> {
    answer.unwrap_or_else(|error| Err(RpcError(format!("Internal debugger error: {error}"))))
}
