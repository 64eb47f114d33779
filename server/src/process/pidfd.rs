//! A handle on a process that stays its own when its number has become another's: `pidfd_open(2)`.

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// Opens a process of this process's pid namespace. Fails at once when there is none of that number.
pub(super) fn open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: pidfd_open takes two integers and returns a new descriptor or -1.
    let raw = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    let number = i32::try_from(raw).map_err(io::Error::other)?;
    if number < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the descriptor was just made and is owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// Waits until all threads of the process have ended, `patience` at most; answers whether they have. As long as they have not, nobody else has the
/// process's number.
pub(super) fn has_ended(pidfd: &OwnedFd, patience: PollTimeout) -> bool {
    loop {
        let mut fds = [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)];
        match poll(&mut fds, patience) {
            Err(Errno::EINTR) => {}
            // A descriptor that cannot be polled says nothing about the process.
            Err(_) => return false,
            Ok(ready) => return ready > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_has_ended_once_it_can_be_waited_for() {
        let mut child = Command::new("sleep").arg("100").spawn().expect("sleep starts");
        let pidfd = open(i32::try_from(child.id()).expect("a pid")).expect("it runs");
        assert!(!has_ended(&pidfd, PollTimeout::ZERO));
        child.kill().expect("it can be killed");
        assert!(has_ended(&pidfd, PollTimeout::try_from(10_000).expect("ten seconds")));
        child.wait().expect("it is reaped");
        assert!(
            has_ended(&pidfd, PollTimeout::ZERO),
            "also after its number may be another's"
        );
    }

    #[test]
    fn a_missing_process_is_an_error() {
        assert!(open(0x3fff_ffff).is_err());
    }
}
