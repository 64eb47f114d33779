//! The thread that owns the target.
//!
//! Calls of the debugger block (closing probes takes tens of milliseconds, an inspection reads the target's memory),
//! and the session must go on sending events meanwhile. They run one after the other on a thread that lives as long as
//! the session: a target that was launched may be tied to the thread that launched it (`PR_SET_PDEATHSIG` fires when
//! that thread ends).

use std::{io, sync::mpsc};

use tokio::sync::oneshot;

use super::bench::Bench;
use crate::handover;

type Job = Box<dyn FnOnce(&mut Bench) + Send>;

/// A handle to the thread. When it is dropped, the thread finishes what it was given, and ends.
pub(crate) struct Worker {
    jobs: mpsc::Sender<Job>,
}

/// The thread is gone: a call of the debugger panicked.
#[derive(Debug, thiserror::Error)]
#[error("the debugger failed unexpectedly; see the log for its last words")]
pub(crate) struct WorkerGone;

impl Worker {
    /// Starts the thread, with no target yet.
    pub(crate) fn start() -> io::Result<Worker> {
        let (jobs, queue) = mpsc::channel::<Job>();
        std::thread::Builder::new().name("debugger".to_owned()).spawn(move || {
            let mut bench = Bench::default();
            let mut next = queue.recv().ok();
            while let Some(job) = next {
                job(&mut bench);
                // The next request of a client that waits for each answer is soon there.
                next = handover::at_once(|| queue.try_recv().ok()).or_else(|| queue.recv().ok());
            }
        })?;
        Ok(Worker { jobs })
    }

    /// Queues a call. Its answer arrives even when nobody waits for it.
    pub(crate) fn call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Bench) -> R + Send + 'static,
    ) -> oneshot::Receiver<R> {
        let (answer, answered) = oneshot::channel();
        // If the thread is gone, the receiver is told so by the answer's end being dropped with the job.
        let _ = self.jobs.send(Box::new(move |bench| {
            let _ = answer.send(call(bench));
        }));
        answered
    }
}
