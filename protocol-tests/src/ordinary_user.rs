//! What an ordinary user sees: copies of programs that he may execute, run as somebody without privileges.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;

use crate::child::run;
use crate::executable::write_executable;
use crate::failure::{Attempt, Failure, Result};
use crate::peer;

/// A user and group id that nobody has: they need no entry in the system's lists.
pub const USER: u32 = 61_234;

/// A folder of such a user.
pub struct OrdinaryUser {
    folder: TempDir,
}

impl OrdinaryUser {
    /// Needs root, and a file system with file capabilities; says that `what` is skipped where these are missing.
    #[track_caller]
    pub fn or_skip(what: &str) -> Result<Option<OrdinaryUser>> {
        let skip = |why: &str| {
            peer::skip(what, why);
            Ok(None)
        };
        if !nix::unistd::geteuid().is_root() {
            return skip("becoming another user needs root");
        }
        let folder = tempfile::tempdir().attempt("making the user's folder")?;
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).attempt("opening the user's folder")?;
        chown(folder.path(), Some(USER), Some(USER)).attempt("giving the user his folder")?;
        let user = OrdinaryUser { folder };
        let trial = user.copy(Path::new("/bin/true"), "trial")?;
        if user.give(&trial, "cap_bpf,cap_perfmon+ep").is_err() {
            return skip("setcap is missing, or the file system has no capabilities");
        }
        Ok(Some(user))
    }

    /// Where his files are.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// A copy of a program that belongs to the user.
    #[track_caller]
    pub fn copy(&self, program: &Path, name: &str) -> Result<PathBuf> {
        let copy = self.roots_copy(program, name)?;
        chown(&copy, Some(USER), Some(USER)).attempt("giving the user his program")?;
        Ok(copy)
    }

    /// A copy of a program that belongs to root, and that everybody may execute.
    #[track_caller]
    pub fn roots_copy(&self, program: &Path, name: &str) -> Result<PathBuf> {
        let copy = self.folder.path().join(name);
        let bytes = fs::read(program).attempt(format_args!("reading {}", program.display()))?;
        write_executable(&copy, &bytes)?;
        Ok(copy)
    }

    /// Gives a file capabilities, as setcap(8) writes them.
    #[track_caller]
    pub fn give(&self, program: &Path, capabilities: &str) -> Result<()> {
        let mut command = Command::new("setcap");
        command.arg(capabilities).arg(program);
        let done = run(&mut command, Duration::from_secs(10))?;
        if done.code() == 0 {
            Ok(())
        } else {
            Err(Failure::new(format!("setcap {capabilities}: {}", done.stderr)))
        }
    }

    /// A command of this user, without privileges, in his folder.
    pub fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.uid(USER).gid(USER).current_dir(self.folder.path());
        command
    }
}
