//! The threads of the process.

use super::collected::mark_threads;
use super::{Methods, RpcError};
use crate::host::{Host, Rest};
use crate::rpc::go_json::{Slice, wire};
use crate::rpc::wire::Thread;

wire! { "rpc2";
    /// Asks for all threads.
    pub(crate) struct ListThreadsIn {}

    /// Answers it.
    pub(crate) struct ListThreadsOut {
        /// The threads.
        threads: Slice<Option<Box<Thread>>> = "Threads",
    }

    /// Asks for one thread.
    pub(crate) struct GetThreadIn {
        /// Its number in the kernel.
        id: isize = "Id",
    }

    /// Answers it.
    pub(crate) struct GetThreadOut {
        /// The thread.
        thread: Option<Box<Thread>> = "Thread",
    }
}

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add("RPCServer.ListThreads", "All threads of the process.", list_threads);
    methods.add(
        "RPCServer.GetThread",
        "One thread of the process, by its number.",
        get_thread,
    );
}

/// The threads of all targets, and the breakpoints that they have come to.
fn marked_threads(rest: &Rest) -> Result<Vec<Thread>, RpcError> {
    let mut all = Vec::new();
    for target in rest.targets()? {
        let mut threads = threads_of(&target)?;
        mark_threads(&target, &mut threads, false)?;
        all.extend(threads);
    }
    Ok(all)
}

/// The threads of a target at a stop, without what was returned on them.
pub(super) fn threads_of(rest: &Rest) -> Result<Vec<Thread>, RpcError> {
    let threads = rest.session.threads()?;
    let program = rest.session.program()?;
    Ok(threads.iter().map(|thread| Thread::of(&program, thread)).collect())
}

fn list_threads(host: &Host, _: &ListThreadsIn) -> Result<ListThreadsOut, RpcError> {
    let rest = host.at_rest()?;
    let threads = marked_threads(&rest)?;
    Ok(ListThreadsOut {
        threads: threads.into_iter().map(|thread| Some(Box::new(thread))).collect(),
    })
}

fn get_thread(host: &Host, asked: &GetThreadIn) -> Result<GetThreadOut, RpcError> {
    let rest = host.at_rest()?;
    let threads = marked_threads(&rest)?;
    match threads.into_iter().find(|thread| thread.id == asked.id) {
        Some(thread) => Ok(GetThreadOut {
            thread: Some(Box::new(thread)),
        }),
        None => Err(format!("no thread with id {}", asked.id).into()),
    }
}
