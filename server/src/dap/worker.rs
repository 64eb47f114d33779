//! The thread that calls the debugger.
//!
//! Calls of the debugger block (closing probes takes tens of milliseconds), and the session must go on sending events meanwhile. They run one after the other on
//! a thread that lives as long as the session. A look at a target that stands still is quickly done, and can be made on the session's own thread.

use std::{
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, TryLockError,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
};

use tokio::sync::oneshot;

use super::bench::Bench;

type Job = Box<dyn FnOnce(&mut Bench) + Send>;

/// A handle to the thread. When it is dropped, the thread finishes what it was given, and ends.
pub(crate) struct Worker {
    jobs: mpsc::Sender<Job>,
    /// How many calls were given to the thread and are not done.
    queued: Arc<AtomicUsize>,
    /// What the calls are about. A call that panicked poisons it, and the thread ends.
    bench: Arc<Mutex<Bench>>,
}

/// The thread is gone: a call of the debugger panicked.
#[derive(Debug, thiserror::Error)]
#[error("the debugger failed unexpectedly; see the log for its last words")]
pub(crate) struct WorkerGone;

impl Worker {
    /// Starts the thread, with no target yet.
    pub(crate) fn start() -> io::Result<Worker> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let (bench, queued) = (Arc::<Mutex<Bench>>::default(), Arc::<AtomicUsize>::default());
        let worker = Worker {
            jobs,
            queued: Arc::clone(&queued),
            bench: Arc::clone(&bench),
        };
        std::thread::Builder::new().name("debugger".to_owned()).spawn(move || {
            while let Ok(job) = queue.recv() {
                let Ok(mut bench) = bench.lock() else { return };
                job(&mut bench);
                drop(bench);
                queued.fetch_sub(1, Ordering::Release);
            }
        })?;
        Ok(worker)
    }

    /// Makes a call that is quickly done on this thread, which saves the way to the other one and back: most of what a look at a stopped target takes. `None`, and
    /// the call back, where others have to be made before it.
    pub(crate) fn call_here<R, F: FnOnce(&mut Bench) -> R>(&self, call: F) -> Result<Result<R, WorkerGone>, F> {
        if self.queued.load(Ordering::Acquire) > 0 {
            return Err(call);
        }
        match self.bench.try_lock() {
            Ok(mut bench) => Ok(catch_unwind(AssertUnwindSafe(move || call(&mut bench))).map_err(|_| WorkerGone)),
            Err(TryLockError::WouldBlock) => Err(call),
            Err(TryLockError::Poisoned(_)) => Ok(Err(WorkerGone)),
        }
    }

    /// Queues a call. Its answer arrives even when nobody waits for it.
    pub(crate) fn call<R: Send + 'static>(
        &self,
        call: impl FnOnce(&mut Bench) -> R + Send + 'static,
    ) -> oneshot::Receiver<R> {
        let (answer, answered) = oneshot::channel();
        self.queued.fetch_add(1, Ordering::AcqRel);
        // If the thread is gone, the receiver is told so by the answer's end being dropped with the job.
        let _ = self.jobs.send(Box::new(move |bench| {
            let _ = answer.send(call(bench));
        }));
        answered
    }
}
