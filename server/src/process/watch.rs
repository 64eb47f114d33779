//! Learns that a process that is not our child has ended, and with which status.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, bounded};
use nix::poll::PollTimeout;

use super::pidfd;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// It exited with this code.
    Code(i32),
    /// This signal killed it.
    Signal(i32),
    /// It is gone, and the kernel no longer tells how.
    Unknown,
}

impl ExitStatus {
    /// Delve's number: the code, or the negated signal.
    pub(crate) fn number(self) -> Option<i32> {
        match self {
            ExitStatus::Code(code) => Some(code),
            ExitStatus::Signal(signal) => Some(-signal),
            ExitStatus::Unknown => None,
        }
    }

    /// From the status word of wait(2).
    pub(super) fn from_wait_status(status: i32) -> ExitStatus {
        if libc::WIFEXITED(status) {
            ExitStatus::Code(libc::WEXITSTATUS(status))
        } else if libc::WIFSIGNALED(status) {
            ExitStatus::Signal(libc::WTERMSIG(status))
        } else {
            ExitStatus::Unknown
        }
    }
}

/// The kernel's `struct pidfd_info` (include/uapi/linux/pidfd.h, version 0).
#[repr(C)]
#[derive(Default)]
struct PidfdInfo {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// `_IOWR(PIDFS_IOCTL_MAGIC, 11, struct pidfd_info)`.
const PIDFD_GET_INFO: libc::c_ulong = 0xc040_ff0b;
/// `PIDFD_INFO_EXIT`, since Linux 6.15: the status, also after the process was reaped.
const PIDFD_INFO_EXIT: u64 = 1 << 3;

/// Tells on the returned channel, once, when process `pid` is gone. Fails at once when there is no such process.
pub(crate) fn watch(pid: i32) -> io::Result<Receiver<ExitStatus>> {
    let pidfd = pidfd::open(pid)?;
    let (send, receive) = bounded(1);
    thread::Builder::new().name("exit-watch".into()).spawn(move || {
        pidfd::has_ended(&pidfd, PollTimeout::NONE);
        let _ = send.send(status_of(pid, &pidfd));
    })?;
    Ok(receive)
}

/// The status of a process that has ended: while it waits to be reaped /proc has it, afterwards the pidfd.
fn status_of(pid: i32, pidfd: &OwnedFd) -> ExitStatus {
    // Between the two there is a moment where neither answers.
    for _ in 0..50 {
        if let Some(status) = zombie_status(pid) {
            return status;
        }
        let mut info = PidfdInfo {
            mask: PIDFD_INFO_EXIT,
            ..PidfdInfo::default()
        };
        // SAFETY: the kernel writes at most the size that the request number encodes, which is that of `info`.
        let done = unsafe { libc::ioctl(pidfd.as_raw_fd(), PIDFD_GET_INFO, &raw mut info) };
        if done == 0 && info.mask & PIDFD_INFO_EXIT != 0 {
            return ExitStatus::from_wait_status(info.exit_code);
        }
        thread::sleep(Duration::from_millis(2));
    }
    ExitStatus::Unknown
}

/// Field 52 of /proc/PID/stat (proc(5), `exit_code`), of a zombie.
fn zombie_status(pid: i32) -> Option<ExitStatus> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command, field 2, may hold anything, closing brackets too.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    if fields.next()? != "Z" {
        return None;
    }
    let code: i32 = fields.nth(48)?.parse().ok()?;
    Some(ExitStatus::from_wait_status(code))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn tells_how_a_process_ended() {
        for (script, expected) in [
            ("sleep 0.05; exit 7", ExitStatus::Code(7)),
            ("sleep 0.05; kill -9 $$", ExitStatus::Signal(9)),
        ] {
            let mut child = Command::new("sh").args(["-c", script]).spawn().expect("sh starts");
            let exit = watch(i32::try_from(child.id()).expect("a pid")).expect("the child can be watched");
            assert_eq!(
                exit.recv_timeout(Duration::from_secs(10)),
                Ok(expected),
                "unreaped, {script}"
            );
            child.wait().expect("the child is reaped");
        }
    }

    #[test]
    fn a_missing_process_is_an_error() {
        assert!(watch(0x3fff_ffff).is_err());
    }
}
