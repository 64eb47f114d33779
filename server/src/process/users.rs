//! Whose a process is.
//!
//! With `CAP_BPF` alone the kernel lets a user probe anybody's processes, so what it demands of a tracer (`__ptrace_may_access` in its `kernel/ptrace.c`)
//! is demanded here too: the user and group ids of each thread, real, effective and saved, are our real ones, or we are root. The rest of its rule, about
//! capabilities and about programs that were privileged when they were executed, the kernel applies itself when `/proc/PID/exe` is opened.

use std::ffi::CStr;
use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::error::ProcessError;

/// The user and group ids of a thread: real, effective and saved (credentials(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Users {
    uids: [u32; 3],
    gids: [u32; 3],
}

/// What the ids are called, in their order.
const KINDS: [&str; 3] = ["real", "effective", "saved"];

/// An id that keeps a process from being looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Foreign {
    /// `real`, `effective` or `saved`.
    kind: &'static str,
    /// `user` or `group`.
    of: &'static str,
    theirs: u32,
    ours: u32,
}

impl Users {
    /// Those of the `Uid` and `Gid` lines of /proc/PID/status (proc(5)).
    fn parse(status: &str) -> Option<Users> {
        let ids = |name: &str| -> Option<[u32; 3]> {
            let mut ids = status
                .lines()
                .find_map(|line| line.strip_prefix(name))?
                .split_ascii_whitespace()
                .map(|id| id.parse().ok());
            Some([ids.next()??, ids.next()??, ids.next()??])
        };
        Some(Users {
            uids: ids("Uid:")?,
            gids: ids("Gid:")?,
        })
    }

    /// The first id that is not the user's or group's `uid` and `gid`.
    fn foreign_to(&self, uid: u32, gid: u32) -> Option<Foreign> {
        let first = |of, ids: [u32; 3], ours| {
            KINDS
                .into_iter()
                .zip(ids)
                .find(|(_, theirs)| *theirs != ours)
                .map(|(kind, theirs)| Foreign { kind, of, theirs, ours })
        };
        first("user", self.uids, uid).or_else(|| first("group", self.gids, gid))
    }
}

/// Whether this program runs for root. The effective id alone would let anybody in where somebody has made it set-user-id.
pub(super) fn we_are_root() -> bool {
    nix::unistd::getuid().is_root()
}

/// Refuses a process of which a thread acts for another user or group than the one spelunk runs for.
pub(super) fn same_or_root(pid: i32) -> Result<(), ProcessError> {
    if we_are_root() {
        return Ok(());
    }
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    let path = PathBuf::from(format!("/proc/{pid}/task"));
    let tasks = fs::read_dir(&path).map_err(|error| gone_or(pid, path.clone(), error))?;
    let mut any = false;
    for task in tasks {
        let path = task
            .map_err(|error| gone_or(pid, path.clone(), error))?
            .path()
            .join("status");
        let Ok(status) = fs::read_to_string(&path) else {
            // The thread has ended.
            continue;
        };
        let users = Users::parse(&status).ok_or_else(|| ProcessError::Proc {
            path,
            error: io::Error::new(io::ErrorKind::InvalidData, "it names no users"),
        })?;
        any = true;
        let Some(foreign) = users.foreign_to(uid, gid) else {
            continue;
        };
        return Err(if (foreign.of, foreign.kind) == ("user", "real") {
            ProcessError::OtherUser {
                pid,
                owner: foreign.theirs,
                us: uid,
            }
        } else {
            ProcessError::OtherCredentials {
                pid,
                which: format!("{} {} id", foreign.kind, foreign.of),
                theirs: foreign.theirs,
                ours: foreign.ours,
            }
        });
    }
    if any { Ok(()) } else { Err(ProcessError::Gone(pid)) }
}

/// What failing to read something of a process in /proc means.
pub(super) fn gone_or(pid: i32, path: PathBuf, error: io::Error) -> ProcessError {
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH) => ProcessError::Gone(pid),
        _ => ProcessError::Proc { path, error },
    }
}

/// Where a file's capabilities are kept (capabilities(7), "File capabilities").
const CAPABILITIES: &CStr = c"security.capability";

/// What makes an executable act with more power than that of the user who executes it; nothing for root, who has it all.
pub(super) fn privilege_of(file: &File) -> io::Result<Option<&'static str>> {
    if we_are_root() {
        return Ok(None);
    }
    let metadata = file.metadata()?;
    let (uid, gid) = (nix::unistd::getuid().as_raw(), nix::unistd::getgid().as_raw());
    // SAFETY: the name is a C string, and nothing is written where the length is 0.
    let capabilities = unsafe { libc::fgetxattr(file.as_raw_fd(), CAPABILITIES.as_ptr(), std::ptr::null_mut(), 0) };
    Ok(power(metadata.mode(), metadata.uid() == uid, metadata.gid() == gid)
        .or((capabilities > 0).then_some("file capabilities")))
}

fn power(mode: u32, is_our_users: bool, is_our_groups: bool) -> Option<&'static str> {
    if mode & libc::S_ISUID != 0 && !is_our_users {
        Some("the set-user-id bit")
    } else if mode & libc::S_ISGID != 0 && mode & libc::S_IXGRP != 0 && !is_our_groups {
        Some("the set-group-id bit")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn users(uids: [u32; 3], gids: [u32; 3]) -> Users {
        Users { uids, gids }
    }

    #[test]
    fn the_first_three_ids_are_read() {
        let status = "Name:\tx\nUid:\t1000\t1001\t1002\t1003\nGid:\t7\t8\t9\t10\n";
        assert_eq!(Users::parse(status), Some(users([1000, 1001, 1002], [7, 8, 9])));
        assert_eq!(Users::parse("Uid:\t1000\t1001\nGid:\t7\t8\t9\t10\n"), None);
        assert_eq!(Users::parse("Uid:\t1000\t1001\t-1\t0\nGid:\t7\t8\t9\t10\n"), None);
    }

    #[test]
    fn each_id_counts() {
        let ours = users([1000; 3], [50; 3]);
        assert_eq!(ours.foreign_to(1000, 50), None);
        for (index, kind) in KINDS.into_iter().enumerate() {
            let (mut uids, mut gids) = ([1000; 3], [50; 3]);
            uids[index] = 0;
            let found = users(uids, [50; 3]).foreign_to(1000, 50).expect("a foreign user");
            assert_eq!(
                (found.kind, found.of, found.theirs, found.ours),
                (kind, "user", 0, 1000)
            );
            gids[index] = 4;
            let found = users([1000; 3], gids).foreign_to(1000, 50).expect("a foreign group");
            assert_eq!((found.kind, found.of, found.theirs, found.ours), (kind, "group", 4, 50));
        }
    }

    #[test]
    fn set_id_programs_have_power() {
        assert_eq!(power(0o100_755, false, false), None);
        assert_eq!(power(0o104_755, false, true), Some("the set-user-id bit"));
        assert_eq!(power(0o104_755, true, false), None);
        assert_eq!(power(0o102_755, true, false), Some("the set-group-id bit"));
        // Without the bit to execute it, it once meant mandatory locking.
        assert_eq!(power(0o102_745, true, false), None);
        assert_eq!(power(0o106_755, true, true), None);
    }
}
