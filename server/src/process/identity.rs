//! Which process is which: its executable, its user, its tracer.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Why a process cannot be worked on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ProcessError {
    /// There is no such process.
    #[error("could not attach to pid {0}: there is no such process")]
    Gone(i32),
    /// A process of somebody else.
    #[error(
        "could not attach to pid {pid}: it belongs to user id {owner}, and spelunk runs as user id {us}; run spelunk as that user or as root"
    )]
    OtherUser {
        /// The process.
        pid: i32,
        /// Its real user id.
        owner: u32,
        /// Ours.
        us: u32,
    },
    /// Something in /proc could not be read.
    #[error("could not read {path}: {error}")]
    Proc {
        /// What was read.
        path: PathBuf,
        /// What the system said.
        error: io::Error,
    },
}

/// The path that opens the executable a process runs, also when the file was deleted or lies in another mount namespace.
pub(crate) fn executable(pid: i32) -> Result<PathBuf, ProcessError> {
    let path = PathBuf::from(format!("/proc/{pid}/exe"));
    match fs::metadata(&path) {
        Ok(_) => Ok(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(ProcessError::Gone(pid)),
        Err(error) => Err(ProcessError::Proc { path, error }),
    }
}

/// Refuses a process of another user: with `CAP_BPF` alone the kernel would let us probe anybody's.
pub(crate) fn same_user_or_root(pid: i32) -> Result<(), ProcessError> {
    let path = PathBuf::from(format!("/proc/{pid}"));
    let owner = match fs::metadata(&path) {
        Ok(metadata) => metadata.uid(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(ProcessError::Gone(pid)),
        Err(error) => return Err(ProcessError::Proc { path, error }),
    };
    let us = nix::unistd::geteuid().as_raw();
    if us == 0 || us == owner {
        Ok(())
    } else {
        Err(ProcessError::OtherUser { pid, owner, us })
    }
}
