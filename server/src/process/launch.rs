//! Starts a program and holds it before its first instruction, without tracing it.
//!
//! The child is forked and waits on a pipe; probes are attached to its process id and to the file it is about to execute, or it is seized, and then it is let
//! go. Untraced it has no tracer, so nothing about it changes but the probes.
//!
//! `std::process::Command` does not return before the child has executed its program, so the thread that forks could neither hold nor trace it: the fork is
//! made here (`spawn`).

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crossbeam_channel::Receiver;
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::ExitStatus;
use super::pidfd;
use super::spawn::Spawn;
use super::watch::watch;

/// Where the program's standard output and error go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Output {
    /// Where the debugger's go.
    #[default]
    Inherit,
    /// To the debugger, through [`Launched::stdout`] and [`Launched::stderr`].
    Capture,
}

/// What to start, and how.
#[derive(Clone, Debug, Default)]
pub(crate) struct Launch {
    /// The executable.
    pub(crate) program: PathBuf,
    /// Arguments without the program's name.
    pub(crate) args: Vec<OsString>,
    /// Changes to the inherited environment: set, or unset where there is no value.
    pub(crate) env: Vec<(String, Option<String>)>,
    /// Working directory.
    pub(crate) cwd: Option<PathBuf>,
    /// Standard output and error.
    pub(crate) output: Output,
    /// Whether the program reads the debugger's standard input; else it reads an empty one.
    pub(crate) inherit_stdin: bool,
    /// Whether the program gets a process group of its own, so that a signal that it sends to its group does not hit the debugger. Where it reads a terminal
    /// the group is in the terminal's foreground: who types there means the program.
    pub(crate) own_group: bool,
    /// A terminal for standard input, output and error, in place of all else. The program gets a session of its own, controlled by that terminal.
    pub(crate) terminal: Option<PathBuf>,
    /// Files for standard input, output and error in place of what they would be; the latter two are created, or emptied.
    pub(crate) redirect: [Option<PathBuf>; 3],
    /// Whether the kernel is to lay the program out the same way each time (`ADDR_NO_RANDOMIZE` of personality(2)).
    pub(crate) disable_aslr: bool,
}

/// A program that was started and is held.
pub(crate) struct Launched {
    /// Its process id, now and after it has executed the program.
    pub(crate) pid: i32,
    /// Its standard output, if captured.
    pub(crate) stdout: Option<File>,
    /// Its standard error, if captured.
    pub(crate) stderr: Option<File>,
    /// Told once, when it is gone.
    pub(crate) exit: Receiver<ExitStatus>,
    /// Names the process even when its number is another's.
    pidfd: OwnedFd,
    hold: Option<File>,
    /// Tells the number of an error that kept the program from being executed, or ends when it is executed.
    failure: File,
}

impl Launch {
    /// Forks the program and holds it before it is executed, on the calling thread: the program ends with this thread, and only this thread can
    /// trace it from its first instruction ([`super::Inferior::seize_held`]). The caller reaps it, by [`Launched::reap`] or by tracing it to its end.
    pub(crate) fn start_here(self) -> io::Result<Launched> {
        let (held, hold) = pipe2(OFlag::O_CLOEXEC)?;
        let (failure, report_failure) = pipe2(OFlag::O_CLOEXEC)?;
        let (out_read, out_write) = captured(self.output)?;
        let (err_read, err_write) = captured(self.output)?;
        let spawn = if let Some(path) = &self.terminal {
            Spawn::new(&self, terminal(path)?)?.in_session()
        } else {
            let spawn = Spawn::new(&self, self.standard(out_write, err_write)?)?;
            let reads_terminal = self.inherit_stdin && self.redirect[0].is_none() && io::stdin().is_terminal();
            match (self.own_group, reads_terminal) {
                (true, true) => spawn.in_foreground(),
                (true, false) => spawn.in_group(),
                (false, _) => spawn,
            }
        };
        let pid = spawn.fork(&held, &hold, &report_failure)?;
        // The child's end alone is to be left.
        drop(report_failure);
        let mut failure = File::from(failure);
        let pidfd = pidfd::open(pid)?;
        if let Err(error) = prepared(&mut failure) {
            // It has ended, or is about to.
            reap(pid);
            return Err(error);
        }
        Ok(Launched {
            pid,
            stdout: out_read.map(File::from),
            stderr: err_read.map(File::from),
            exit: watch(pid)?,
            pidfd,
            hold: Some(File::from(hold)),
            failure,
        })
    }

    /// What replaces standard input, output and error. The pipes are those for captured output.
    fn standard(&self, stdout_pipe: Option<OwnedFd>, stderr_pipe: Option<OwnedFd>) -> io::Result<[Option<OwnedFd>; 3]> {
        let [stdin, stdout, stderr] = &self.redirect;
        let stdin = match stdin {
            Some(path) => Some(opened(path, OpenOptions::new().read(true))?),
            None if self.inherit_stdin => None,
            None => Some(opened(Path::new("/dev/null"), OpenOptions::new().read(true))?),
        };
        let redirected = |path: &Option<PathBuf>, captured: Option<OwnedFd>| match path {
            Some(path) => opened(path, OpenOptions::new().write(true).create(true).truncate(true)).map(Some),
            None => Ok(captured),
        };
        let stdout = redirected(stdout, stdout_pipe)?;
        let stderr = redirected(stderr, stderr_pipe)?;
        Ok([stdin, stdout, stderr])
    }
}

/// A terminal, three times.
fn terminal(path: &Path) -> io::Result<[Option<OwnedFd>; 3]> {
    let options = || {
        let mut options = OpenOptions::new();
        // It is to control the program's session, and never ours.
        options.read(true).write(true).custom_flags(libc::O_NOCTTY);
        options
    };
    let first = opened(path, &options())?;
    if !first.is_terminal() {
        return Err(io::Error::other(format!("{} is not a terminal", path.display())));
    }
    let (second, third) = (first.try_clone()?, first.try_clone()?);
    Ok([Some(first), Some(second), Some(third)])
}

fn opened(path: &Path, options: &OpenOptions) -> io::Result<OwnedFd> {
    options
        .open(path)
        .map(OwnedFd::from)
        .map_err(|error| io::Error::new(error.kind(), format!("could not open {}: {error}", path.display())))
}

/// Waits until the child has prepared itself, or tells why it could not.
fn prepared(failure: &mut File) -> io::Result<()> {
    let mut number = [0; 4];
    failure.read_exact(&mut number)?;
    match i32::from_ne_bytes(number) {
        0 => Ok(()),
        number => Err(io::Error::from_raw_os_error(number)),
    }
}

fn captured(output: Output) -> io::Result<(Option<OwnedFd>, Option<OwnedFd>)> {
    match output {
        Output::Inherit => Ok((None, None)),
        Output::Capture => {
            let (read, write) = pipe2(OFlag::O_CLOEXEC)?;
            Ok((Some(read), Some(write)))
        }
    }
}

/// Waits for the end of a child that this thread has forked; without `__WNOTHREAD` it would take stops that another thread, its tracer, waits for.
fn reap(pid: i32) -> ExitStatus {
    let mut status = 0;
    loop {
        // SAFETY: the kernel writes one int to `status`.
        match unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL | libc::__WNOTHREAD) } {
            -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            -1 => return ExitStatus::Unknown,
            _ => return ExitStatus::from_wait_status(status),
        }
    }
}

impl Launched {
    /// Lets the program run. Fails when it cannot be executed.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        self.let_go()?;
        self.executed()
    }

    /// Lets the program run without waiting until it is executed.
    pub(super) fn let_go(&mut self) -> io::Result<()> {
        match self.hold.take() {
            Some(mut hold) => hold.write_all(b"g"),
            None => Ok(()),
        }
    }

    /// Waits until the program is executed, or tells why it cannot be.
    pub(super) fn executed(&mut self) -> io::Result<()> {
        let mut number = Vec::new();
        (&mut self.failure).take(4).read_to_end(&mut number)?;
        match <[u8; 4]>::try_from(number) {
            Ok(number) => Err(io::Error::from_raw_os_error(i32::from_ne_bytes(number))),
            Err(_) => Ok(()),
        }
    }

    /// Ends the program, held or running.
    pub(crate) fn kill(&self) {
        // SAFETY: pidfd_send_signal takes integers and a null pointer. A process that is gone already is what was wanted.
        unsafe {
            libc::syscall(
                libc::SYS_pidfd_send_signal,
                self.pidfd.as_fd().as_raw_fd(),
                libc::SIGKILL,
                std::ptr::null::<libc::siginfo_t>(),
                0,
            );
        }
    }

    /// Waits until an untraced program that [`Launch::start_here`] started is gone; on the thread that started it.
    pub(crate) fn reap(&self) -> ExitStatus {
        reap(self.pid)
    }
}
