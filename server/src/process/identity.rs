//! Which process is which: its executable, its user, its tracer.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::error::ProcessError;

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
