//! Which process is which: the one that was asked for, its user and its executable, checked again before each probe.

use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::poll::PollTimeout;
use spelunk_dwarf::{BuildId, OpenError};

use super::error::ProcessError;
use super::pidfd;
use super::users::{self, gone_or};

/// A process that may be looked at, and the executable that it runs or is about to.
///
/// Both are held open: neither can become another's, whatever happens to the process's number or to the file's path. What can change is who the process
/// acts for and what it executes, so [`Identity::confirm`] is for right before and right after each time that something is attached to it.
#[derive(Debug)]
pub(crate) struct Identity {
    pid: i32,
    pidfd: OwnedFd,
    file: File,
    /// What the file is called in messages.
    name: PathBuf,
    /// Whether it was started here, and may not have executed its program yet.
    is_launched: bool,
}

/// What tells a file from all others: its device and inode numbers.
fn file_id(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Identity {
    /// A running process, by its number in spelunk's own pid namespace. Refused, with the reason, where spelunk has no right to look at it.
    pub(crate) fn attached(pid: i32) -> Result<Identity, ProcessError> {
        check_proc(Path::new("/proc/self"))?;
        let pidfd = pidfd::open(pid).map_err(|error| gone_or(pid, PathBuf::from(format!("/proc/{pid}")), error))?;
        users::same_or_root(pid)?;
        let name = PathBuf::from(format!("/proc/{pid}/exe"));
        // Also when the file was deleted or lies in another mount namespace. Any other path the process could point elsewhere.
        let file = File::open(&name).map_err(|error| match error.raw_os_error() {
            // The users are the same, so the kernel keeps the process from its own user.
            Some(libc::EACCES | libc::EPERM) if fs::read_link(&name).is_err() => ProcessError::Protected { pid },
            _ => gone_or(pid, name.clone(), error),
        })?;
        let identity = Identity {
            pid,
            pidfd,
            file,
            name,
            is_launched: false,
        };
        identity.confirm()?;
        Ok(identity)
    }

    /// A child that was started here to execute `program`, whether it has done so or not.
    pub(crate) fn launched(pid: i32, program: &Path) -> Result<Identity, ProcessError> {
        let launch = |error| ProcessError::Proc {
            path: program.to_owned(),
            error,
        };
        check_proc(Path::new("/proc/self"))?;
        let file = File::open(program).map_err(launch)?;
        Ok(Identity {
            pid,
            pidfd: pidfd::open(pid).map_err(|error| gone_or(pid, PathBuf::from(format!("/proc/{pid}")), error))?,
            file,
            name: program.to_owned(),
            is_launched: true,
        })
    }

    /// Its number in spelunk's own pid namespace.
    pub(crate) fn pid(&self) -> i32 {
        self.pid
    }

    /// The executable, open: what its path names may be another file by now.
    pub(crate) fn file(&self) -> &File {
        &self.file
    }

    /// A path that opens the very executable, for system calls that want a path. It is good as long as this lives, within this process.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
    }

    /// What the executable is called in messages.
    pub(crate) fn name(&self) -> &Path {
        &self.name
    }

    /// The executable's build id.
    pub(crate) fn build_id(&self) -> Result<BuildId, OpenError> {
        BuildId::of_open_file(&self.file, &self.name)
    }

    /// Checks that the number is still this process's, that all its threads act for our user or we are root, and that it still runs this file.
    ///
    /// When this holds before and after something is attached to the number and the file, it was attached to this process: as long as the process has not
    /// ended, nobody else has its number.
    pub(crate) fn confirm(&self) -> Result<(), ProcessError> {
        let pid = self.pid;
        users::same_or_root(pid)?;
        let path = PathBuf::from(format!("/proc/{pid}/exe"));
        let running = fs::metadata(&path).map_err(|error| match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => ProcessError::Protected { pid },
            _ => gone_or(pid, path.clone(), error),
        })?;
        let ours = self.file.metadata().map_err(|error| ProcessError::Proc {
            path: self.name.clone(),
            error,
        })?;
        if file_id(&running) != file_id(&ours) && !self.is_held(&running) {
            let now = fs::read_link(&path).unwrap_or_else(|_| PathBuf::from("another program"));
            return Err(ProcessError::Replaced {
                pid,
                analysed: self.name.clone(),
                now,
            });
        }
        if self.is_launched {
            self.confirm_power()?;
        }
        // Last: all that was read above was read of this process if it has not ended by now.
        if pidfd::has_ended(&self.pidfd, PollTimeout::ZERO) {
            return Err(ProcessError::Ended(pid));
        }
        Ok(())
    }

    /// Checks that executing the file gives nobody more power than its user has: for a process that is about to execute it.
    pub(crate) fn confirm_power(&self) -> Result<(), ProcessError> {
        let power = users::privilege_of(&self.file).map_err(|error| ProcessError::Proc {
            path: self.name.clone(),
            error,
        })?;
        match power {
            None => Ok(()),
            Some(power) => Err(ProcessError::Privileged {
                program: self.name.clone(),
                power,
            }),
        }
    }

    /// Checks that probes may lie in all processes that run the file, which is what following children takes: those of others are not looked at, but pay.
    pub(crate) fn confirm_followable(&self) -> Result<(), ProcessError> {
        self.confirm_power()?;
        let owner = self.file.metadata().map(|metadata| metadata.uid());
        match owner {
            _ if users::we_are_root() => Ok(()),
            Ok(owner) if owner == nix::unistd::getuid().as_raw() => Ok(()),
            Ok(owner) => Err(ProcessError::NotOurFile {
                program: self.name.clone(),
                owner,
            }),
            Err(error) => Err(ProcessError::Proc {
                path: self.name.clone(),
                error,
            }),
        }
    }

    /// Whether both run, or are about to run, one file.
    pub(crate) fn is_same_file(&self, other: &Identity) -> bool {
        match (self.file.metadata(), other.file.metadata()) {
            (Ok(ours), Ok(theirs)) => file_id(&ours) == file_id(&theirs),
            _ => false,
        }
    }

    /// Whether a child of ours has yet to execute its program: it still runs ours.
    fn is_held(&self, running: &fs::Metadata) -> bool {
        self.is_launched && fs::metadata("/proc/self/exe").is_ok_and(|us| file_id(&us) == file_id(running))
    }
}

/// Process numbers that are read in /proc and those that system calls take must mean the same.
fn check_proc(own: &Path) -> Result<(), ProcessError> {
    let shown = fs::read_link(own).map_err(|error| ProcessError::Proc {
        path: own.to_owned(),
        error,
    })?;
    if shown == Path::new(&std::process::id().to_string()) {
        return Ok(());
    }
    Err(ProcessError::OtherProc)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{self, Write};
    use std::os::unix::fs::symlink;
    use std::process::{Child, Command};

    fn sleeping() -> Child {
        Command::new("sleep").arg("100").spawn().expect("sleep starts")
    }

    fn pid_of(child: &Child) -> i32 {
        i32::try_from(child.id()).expect("a pid")
    }

    #[test]
    fn a_process_is_the_same_until_it_ends() {
        let mut child = sleeping();
        let identity = Identity::attached(pid_of(&child)).expect("it is ours");
        identity.confirm().expect("it runs on");
        child.kill().expect("it can be killed");
        child.wait().expect("it is reaped");
        assert!(matches!(
            identity.confirm(),
            Err(ProcessError::Gone(_) | ProcessError::Ended(_))
        ));
    }

    #[test]
    fn another_process_of_the_same_number_is_not_taken_for_it() {
        let mut first = sleeping();
        let mut second = sleeping();
        let ended = Identity::attached(pid_of(&first)).expect("it is ours");
        first.kill().expect("it can be killed");
        first.wait().expect("it is reaped");
        // What the kernel does when it gives the number away, seen from here: the number is a living process of the same program and user.
        let reused = Identity {
            pid: pid_of(&second),
            ..ended
        };
        assert!(matches!(reused.confirm(), Err(ProcessError::Ended(_))));
        second.kill().expect("it can be killed");
        second.wait().expect("it is reaped");
    }

    #[test]
    fn a_number_that_has_become_another_processs_is_refused() {
        const INSIDE: &str = "SPELUNK_TEST_INSIDE";
        if std::env::var_os(INSIDE).is_none() {
            // In a pid namespace of its own nobody else takes a number meanwhile, or gets one that somebody still asks for.
            let unshare = || {
                let mut command = Command::new("unshare");
                command.args(["--pid", "--mount-proc", "--fork", "--kill-child"]);
                command
            };
            if !unshare().arg("true").output().is_ok_and(|tried| tried.status.success()) {
                // Past the test runner's capture: a skipped test must be seen.
                let _ = writeln!(
                    io::stderr(),
                    "SKIP: numbers of processes used again: pid namespaces are not permitted"
                );
                return;
            }
            let mut again = unshare();
            let test = "process::identity::tests::a_number_that_has_become_another_processs_is_refused";
            again
                .arg(std::env::current_exe().expect("this program"))
                .args(["--exact", test]);
            let done = again.env(INSIDE, "1").output().expect("unshare runs");
            let said = String::from_utf8_lossy(&done.stdout);
            assert!(done.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        let mut first = sleeping();
        let pid = pid_of(&first);
        let identity = Identity::attached(pid).expect("it is ours");
        first.kill().expect("it can be killed");
        first.wait().expect("it is reaped");
        // The kernel goes on from here (proc_sys_kernel(5)).
        fs::write("/proc/sys/kernel/ns_last_pid", (pid - 1).to_string()).expect("root may");
        let mut second = sleeping();
        assert_eq!(pid_of(&second), pid);
        // The same program, by the same user, of the same number.
        Identity::attached(pid).expect("the second is ours as well");
        assert!(matches!(identity.confirm(), Err(ProcessError::Ended(_))));
        second.kill().expect("it can be killed");
        second.wait().expect("it is reaped");
    }

    #[test]
    fn a_process_that_executes_another_program_is_refused() {
        let mut child = Command::new("sh")
            .args(["-c", "read line; exec sleep 100"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .expect("sh starts");
        let identity = Identity::attached(pid_of(&child)).expect("it is ours");
        identity.confirm().expect("it is still the shell");
        drop(child.stdin.take());
        let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
        let refused = loop {
            match identity.confirm() {
                Err(error) => break error,
                Ok(()) => assert!(std::time::Instant::now() < deadline, "it did not execute sleep"),
            }
        };
        let text = refused.to_string();
        assert!(
            matches!(refused, ProcessError::Replaced { .. }) && text.contains("sleep"),
            "{text}"
        );
        child.kill().expect("it can be killed");
        child.wait().expect("it is reaped");
    }

    #[test]
    fn a_missing_process_is_gone() {
        assert!(matches!(Identity::attached(0x3fff_ffff), Err(ProcessError::Gone(_))));
    }

    #[test]
    fn numbers_of_another_pid_namespace_are_told_apart() {
        check_proc(Path::new("/proc/self")).expect("the tests run with their own /proc");
        let folder = tempfile::tempdir().expect("a folder");
        let foreign = folder.path().join("self");
        symlink("1", &foreign).expect("a link");
        assert!(matches!(check_proc(&foreign), Err(ProcessError::OtherProc)));
    }
}
