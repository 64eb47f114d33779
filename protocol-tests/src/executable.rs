//! Programs that a test writes and then runs.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::failure::{Attempt, Failure, Result};

/// Writes an executable file. Another process does it: a file that this one has open for writing is, for a moment, open
/// in every child that another test forks meanwhile, and cannot be executed until then (`ETXTBSY`, execve(2)).
#[track_caller]
pub fn write_executable(path: &Path, bytes: &[u8]) -> Result<()> {
    let mut install = Command::new("install")
        .args(["-m", "755", "/dev/stdin"])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .attempt("starting `install`")?;
    let written = install.stdin.take().map_or(Ok(()), |mut pipe| pipe.write_all(bytes));
    let status = install.wait().attempt("waiting for `install`")?;
    written.attempt(format_args!("writing {} through `install`", path.display()))?;
    if status.success() {
        Ok(())
    } else {
        Err(Failure::new(format!(
            "writing {}: `install` ended with {status}",
            path.display()
        )))
    }
}
