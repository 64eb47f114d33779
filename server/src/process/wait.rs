//! Waiting for traced threads, on the thread that traces them.
//!
//! `waitpid` is libc's: nix's fails for stops by real-time signals after it has taken them. `__WNOTHREAD` confines it to what this thread traces or
//! forked, so that no other child of the debugger is reaped here.

use std::collections::VecDeque;
use std::ffi::c_int;

use nix::errno::Errno;

use crate::inspect::Tid;

const FLAGS: c_int = libc::__WALL | libc::__WNOTHREAD;

/// What waitpid(2) told of a thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Report {
    pub(super) tid: Tid,
    pub(super) status: c_int,
}

/// Reports that were taken from the kernel and not yet looked at.
///
/// The kernel goes through the threads in one order always. Were each report handled before the next is asked for, a few threads at a busy breakpoint
/// could keep the others waiting for ever; so all there are at a time are taken together.
#[derive(Debug, Default)]
pub(super) struct Reports {
    taken: VecDeque<Report>,
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

impl Reports {
    /// Takes all that the kernel has to tell now.
    pub(super) fn gather(&mut self) -> Result<(), Errno> {
        loop {
            match wait(-1, libc::WNOHANG) {
                Ok(Some(report)) => self.taken.push_back(report),
                Ok(None) => return Ok(()),
                Err(Errno::EINTR) => {}
                // Nothing is left to wait for; what was taken is still to be looked at.
                Err(Errno::ECHILD) if !self.taken.is_empty() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// The next report that is there already.
    pub(super) fn pop(&mut self) -> Option<Report> {
        self.taken.pop_front()
    }

    /// Waits for the next report; `None` when a signal came instead. `ECHILD` means that nothing is left to wait for.
    pub(super) fn next(&mut self) -> Result<Option<Report>, Errno> {
        if let Some(report) = self.taken.pop_front() {
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

    /// Waits for the next report of one thread.
    pub(super) fn of(&mut self, tid: Tid) -> Result<Report, Errno> {
        if let Some(at) = self.taken.iter().position(|report| report.tid == tid) {
            return self.taken.remove(at).ok_or(Errno::ESRCH);
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
    pub(super) fn put_back(&mut self, report: Report) {
        self.taken.push_front(report);
    }

    /// Whether a report of this thread was taken and not yet looked at.
    pub(super) fn has(&self, tid: Tid) -> bool {
        self.taken.iter().any(|report| report.tid == tid)
    }
}
