//! Calls the tracing thread away from its wait for the target.
//!
//! The thread blocks in waitpid(2), which only a report of a traced thread or a signal to itself ends. A SIGSTOP to the target would be such a report,
//! but it would be a signal in the program: it has to be told from the program's own, it collapses with one that is pending, and a thread that blocks
//! or is stuck in the kernel never takes it. So the tracing thread itself is sent a signal whose handler does nothing, installed without `SA_RESTART`;
//! the target is not touched until the tracing thread decides to, with `PTRACE_INTERRUPT`.
//!
//! A signal that comes between the thread's last look at the flag and its system call ends nothing. So the caller repeats it until the thread is seen
//! outside of its wait: no thread of its own, no timer, and the usual kick costs one signal.

use std::ffi::c_int;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use std::{io, thread};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{getpid, gettid};

use super::ptrace;
use crate::inspect::Tid;

/// SIGURG is ignored by default, so one that comes too late, when no handler is there, does no harm either.
pub(super) const KICK: Signal = Signal::SIGURG;

/// How long a kick waits for its effect before it is repeated.
const REPEAT: Duration = Duration::from_micros(200);

#[derive(Debug)]
struct Shared {
    tid: Tid,
    /// Somebody wants the thread's attention.
    wanted: AtomicBool,
    /// The thread is about to wait, waits, or has just been woken.
    waiting: AtomicBool,
}

/// Makes the tracing thread come back from [`super::Inferior::next_event`]; may be called from any thread, any number of times.
#[derive(Clone, Debug)]
pub(crate) struct Kicker {
    shared: Arc<Shared>,
}

impl Kicker {
    /// The next call of [`super::Inferior::next_event`], or the one that blocks now, answers [`super::ProcessEvent::Kicked`]. Returns when the thread is
    /// known not to block any more; several kicks may be answered by one event.
    pub(crate) fn kick(&self) {
        self.shared.wanted.store(true, Ordering::SeqCst);
        while self.shared.waiting.load(Ordering::SeqCst) && self.shared.wanted.load(Ordering::SeqCst) {
            if ptrace::tgkill(getpid().as_raw(), self.shared.tid, KICK as c_int).is_err() {
                // The thread has ended, and nobody waits any more.
                return;
            }
            thread::yield_now();
            if self.shared.waiting.load(Ordering::SeqCst) {
                thread::sleep(REPEAT);
            }
        }
    }
}

/// The tracing thread's side.
#[derive(Debug)]
pub(super) struct Kicked {
    shared: Arc<Shared>,
}

extern "C" fn do_nothing(_: c_int) {}

impl Kicked {
    /// For the calling thread; makes it one that signals can interrupt.
    pub(super) fn here() -> io::Result<Kicked> {
        let action = SigAction::new(SigHandler::Handler(do_nothing), SaFlags::empty(), SigSet::empty());
        // SAFETY: the handler does nothing, so it may run at any time on any thread; nobody else in this process handles SIGURG.
        unsafe { sigaction(KICK, &action) }?;
        let mut kick = SigSet::empty();
        kick.add(KICK);
        kick.thread_unblock()?;
        Ok(Kicked {
            shared: Arc::new(Shared {
                tid: Tid(gettid().as_raw()),
                wanted: AtomicBool::new(false),
                waiting: AtomicBool::new(false),
            }),
        })
    }

    /// The same one, for another process that this thread traces.
    pub(super) fn shared(&self) -> Kicked {
        Kicked {
            shared: self.shared.clone(),
        }
    }

    pub(super) fn kicker(&self) -> Kicker {
        Kicker {
            shared: self.shared.clone(),
        }
    }

    /// Whether somebody kicked since this was last asked.
    pub(super) fn take(&self) -> bool {
        self.shared.wanted.swap(false, Ordering::SeqCst)
    }

    /// Runs something that a kick is to interrupt, or `None` when there was a kick already.
    pub(super) fn interruptible<T>(&self, wait: impl FnOnce() -> T) -> Option<T> {
        self.shared.waiting.store(true, Ordering::SeqCst);
        // A kicker that did not see `waiting` has stored `wanted` before, and we see it here.
        let done = (!self.shared.wanted.load(Ordering::SeqCst)).then(wait);
        self.shared.waiting.store(false, Ordering::SeqCst);
        done
    }
}

impl Drop for Kicked {
    fn drop(&mut self) {
        self.shared.waiting.store(false, Ordering::SeqCst);
    }
}
