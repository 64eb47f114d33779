//! What the kernel says of a thread without being its tracer.

use std::fs;

use crate::inspect::Tid;

/// What /proc/PID/task/TID/status says (proc(5)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ThreadStatus {
    /// `R`, `S`, `D`, `Z`, ...
    pub(super) state: char,
    /// The process it belongs to.
    pub(super) process: i32,
    /// The thread that traces it, or 0.
    pub(super) tracer: i32,
}

impl ThreadStatus {
    /// Of a thread of a process; `None` when there is no such thread.
    pub(super) fn of(pid: i32, tid: Tid) -> Option<ThreadStatus> {
        ThreadStatus::parse(&fs::read_to_string(format!("/proc/{pid}/task/{}/status", tid.0)).ok()?)
    }

    /// Of a thread of any process.
    pub(super) fn of_any(tid: Tid) -> Option<ThreadStatus> {
        ThreadStatus::parse(&fs::read_to_string(format!("/proc/{}/status", tid.0)).ok()?)
    }

    fn parse(text: &str) -> Option<ThreadStatus> {
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
                .map(str::trim)
        };
        Some(ThreadStatus {
            state: field("State")?.chars().next()?,
            process: field("Tgid")?.parse().ok()?,
            tracer: field("TracerPid")?.parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_thread_is_found_and_a_missing_one_is_not() {
        let us = std::process::id() as i32;
        let tid = Tid(nix::unistd::gettid().as_raw());
        let status = ThreadStatus::of(us, tid).expect("it runs");
        assert_eq!((status.state, status.process), ('R', us));
        assert_eq!(ThreadStatus::of_any(tid).map(|status| status.process), Some(us));
        assert_eq!(ThreadStatus::of(us, Tid(0x3fff_ffff)), None);
        assert_eq!(ThreadStatus::parse("Name:\tx\nState:\t"), None);
    }
}
