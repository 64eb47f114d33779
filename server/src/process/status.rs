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
        Some(ThreadStatus {
            state: field(text, "State")?.chars().next()?,
            process: field(text, "Tgid")?.parse().ok()?,
            tracer: field(text, "TracerPid")?.parse().ok()?,
        })
    }
}

fn field<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
        .map(str::trim)
}

/// What a thread is called in its own pid namespace, as the program itself and whoever is in its container see it; `None` when there is no such thread.
pub(crate) fn own_number(pid: i32, tid: Tid) -> Option<i32> {
    own_number_in(&fs::read_to_string(format!("/proc/{pid}/task/{}/status", tid.0)).ok()?)
}

/// The last of `NSpid`: its numbers from the namespace of /proc on inwards.
fn own_number_in(status: &str) -> Option<i32> {
    field(status, "NSpid")?.split_ascii_whitespace().last()?.parse().ok()
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

    #[test]
    fn the_innermost_number_is_a_threads_own() {
        assert_eq!(own_number_in("Tgid:\t4711\nNSpid:\t4711\t13\t1\n"), Some(1));
        assert_eq!(own_number_in("NSpid:\t4711\n"), Some(4711));
        assert_eq!(own_number_in("NSpid:\t\n"), None);
        let tid = Tid(nix::unistd::gettid().as_raw());
        assert_eq!(own_number(std::process::id() as i32, tid), Some(tid.0));
    }
}
