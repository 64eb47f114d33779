//! Waiting for traced threads, on the thread that traces them.
//!
//! `waitpid` is libc's: nix's fails for stops by real-time signals after it has taken them. `__WNOTHREAD` confines it to what this thread traces or
//! forked, so that no other child of the debugger is reaped here.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::c_int;
use std::rc::Rc;

use nix::errno::Errno;

use crate::inspect::Tid;

const FLAGS: c_int = libc::__WALL | libc::__WNOTHREAD;

/// What waitpid(2) told of a thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) tid: Tid,
    pub(super) status: c_int,
}

/// Reports that were taken from the kernel and not yet looked at. All processes that one thread traces share them: whichever of them waits takes what there
/// is of all, and leaves what is not its own.
///
/// The kernel goes through the threads in one order always. Were each report handled before the next is asked for, a few threads at a busy breakpoint
/// could keep the others waiting for ever; so all there are at a time are taken together.
#[derive(Debug, Default)]
pub(super) struct Reports {
    queues: Rc<RefCell<Queues>>,
}

#[derive(Debug, Default)]
struct Queues {
    /// Not looked at by anybody.
    taken: VecDeque<Report>,
    /// Looked at by somebody whose they were not: another's, or of a process whose birth nobody has been told of yet.
    left: VecDeque<Report>,
    /// How many have ever been left.
    times: u64,
}

/// One call of waitpid(2): `None` when nothing is there (with `WNOHANG`).
fn wait(tid: c_int, flags: c_int) -> Result<Option<Report>, Errno> {
    let mut status = 0;
    // SAFETY: the kernel writes one int to `status`.
    match unsafe { libc::waitpid(tid, &raw mut status, FLAGS | flags) } {
        -1 => Err(Errno::last()),
        0 => Ok(None),
        tid => Ok(Some(Report { tid: Tid(tid), status })),
    }
}

/// Takes the first report of a thread out of a queue.
fn take_of(queue: &mut VecDeque<Report>, tid: Tid) -> Option<Report> {
    let at = queue.iter().position(|report| report.tid == tid)?;
    queue.remove(at)
}

impl Reports {
    /// The same ones, for another process that this thread traces.
    pub(super) fn shared(&self) -> Reports {
        Reports {
            queues: Rc::clone(&self.queues),
        }
    }

    /// Whether reports of other processes may be among them.
    pub(super) fn are_shared(&self) -> bool {
        Rc::strong_count(&self.queues) > 1
    }

    /// Takes all that the kernel has to tell now.
    pub(super) fn gather(&self) -> Result<(), Errno> {
        let mut queues = self.queues.borrow_mut();
        loop {
            match wait(-1, libc::WNOHANG) {
                Ok(Some(report)) => queues.taken.push_back(report),
                Ok(None) => return Ok(()),
                Err(Errno::EINTR) => {}
                // Nothing is left to wait for; what was taken is still to be looked at.
                Err(Errno::ECHILD) if !queues.taken.is_empty() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next report that is there already.
    pub(super) fn pop(&self) -> Option<Report> {
        self.queues.borrow_mut().taken.pop_front()
    }

    /// Waits for the next report; `None` when a signal came instead. `ECHILD` means that nothing is left to wait for.
    pub(super) fn next(&self) -> Result<Option<Report>, Errno> {
        if let Some(report) = self.pop() {
            return Ok(Some(report));
        }
        let first = match wait(-1, 0) {
            Ok(first) => first,
            Err(Errno::EINTR) => return Ok(None),
            Err(error) => return Err(error),
        };
        match self.gather() {
            Ok(()) | Err(Errno::ECHILD) => Ok(first),
            Err(error) => Err(error),
        }
    }

    /// Waits until there is a report that nobody has looked at, or a signal has come. `ECHILD` means that nothing is left to wait for.
    pub(super) fn await_any(&self) -> Result<(), Errno> {
        if let Some(report) = self.next()? {
            self.put_back(report);
        }
        Ok(())
    }

    /// The next report of one thread that was taken already.
    pub(super) fn known_of(&self, tid: Tid) -> Option<Report> {
        self.left_of(tid)
            .or_else(|| take_of(&mut self.queues.borrow_mut().taken, tid))
    }

    /// Waits for the next report of one thread.
    pub(super) fn of(&self, tid: Tid) -> Result<Report, Errno> {
        if let Some(report) = self.known_of(tid) {
            return Ok(report);
        }
        loop {
            match wait(tid.0, 0) {
                Ok(Some(report)) => return Ok(report),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Puts back a report that somebody else is to handle.
    pub(super) fn put_back(&self, report: Report) {
        self.queues.borrow_mut().taken.push_front(report);
    }

    /// Whether a report of this thread was taken and not yet handled.
    pub(super) fn has(&self, tid: Tid) -> bool {
        let queues = self.queues.borrow();
        queues.taken.iter().chain(&queues.left).any(|report| report.tid == tid)
    }

    /// Leaves a report for the process whose it is, or for when it is known.
    pub(super) fn leave(&self, report: Report) {
        let mut queues = self.queues.borrow_mut();
        queues.left.push_back(report);
        queues.times += 1;
    }

    /// How many reports have ever been left.
    pub(super) fn times_left(&self) -> u64 {
        self.queues.borrow().times
    }

    /// The first report of a thread that was left.
    pub(super) fn left_of(&self, tid: Tid) -> Option<Report> {
        take_of(&mut self.queues.borrow_mut().left, tid)
    }

    /// Brings reports back that were left, as far as `is_mine` says so, before those that came later.
    pub(super) fn reclaim(&self, is_mine: impl Fn(&Report) -> bool) {
        let mut queues = self.queues.borrow_mut();
        if queues.left.is_empty() {
            return;
        }
        let (mine, others) = queues
            .left
            .drain(..)
            .partition::<VecDeque<_>, _>(|report| is_mine(report));
        queues.left = others;
        for report in mine.into_iter().rev() {
            queues.taken.push_front(report);
        }
    }

    /// Forgets ends of threads that all processes have left: nobody knew that they were there.
    pub(super) fn forget_ends(&self) {
        self.queues
            .borrow_mut()
            .left
            .retain(|report| libc::WIFSTOPPED(report.status));
    }
}
