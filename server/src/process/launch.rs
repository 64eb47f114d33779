//! Starts a program and holds it before its first instruction, without tracing it.
//!
//! The child is forked and waits on a pipe; probes are attached to its process id and to the file it is about to execute, and then it is let go.
//! It never has a tracer, so nothing about it changes but the probes.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use crossbeam_channel::{Receiver, bounded};
use nix::fcntl::OFlag;
use nix::unistd::pipe2;

use super::ExitStatus;

/// Where the program's standard output and error go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Output {
    /// Where the debugger's go.
    Inherit,
    /// To the debugger, through [`Launched::stdout`] and [`Launched::stderr`].
    Capture,
}

/// What to start, and how.
#[derive(Clone, Debug)]
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
    hold: File,
    started: Receiver<io::Result<()>>,
}

impl Launch {
    /// Forks the program and holds it before it is executed.
    pub(crate) fn start(self) -> io::Result<Launched> {
        let (held, hold) = pipe2(OFlag::O_CLOEXEC)?;
        let (pid_read, pid_write) = pipe2(OFlag::O_CLOEXEC)?;
        let (out_read, out_write) = captured(self.output)?;
        let (err_read, err_write) = captured(self.output)?;
        let mut command = self.command(out_write, err_write)?;
        let hold_number = hold.as_raw_fd();
        // SAFETY: between fork and exec only system calls are made that are safe there (prctl, close, write, read), on descriptors that
        // live as long as the closure; nothing is allocated and no lock is taken.
        unsafe {
            command.pre_exec(move || wait_for_release(hold_number, &pid_write, &held));
        }
        let (started_send, started) = bounded(1);
        let (exit_send, exit) = bounded(1);
        // The kernel sends the parent-death signal when the *thread* that forked ends, so that thread is the one that stays to wait.
        thread::Builder::new().name("target".into()).spawn(move || {
            let spawned = command.spawn();
            // The closure holds the child's ends of the pipes.
            drop(command);
            match spawned {
                Ok(mut child) => {
                    let _ = started_send.send(Ok(()));
                    let status =
                        child
                            .wait()
                            .map_or(ExitStatus::Unknown, |status| match (status.code(), status.signal()) {
                                (Some(code), _) => ExitStatus::Code(code),
                                (None, Some(signal)) => ExitStatus::Signal(signal),
                                (None, None) => ExitStatus::Unknown,
                            });
                    let _ = exit_send.send(status);
                }
                Err(error) => {
                    let _ = started_send.send(Err(error));
                    let _ = exit_send.send(ExitStatus::Unknown);
                }
            }
        })?;
        let mut pid = [0u8; 4];
        if let Err(error) = File::from(pid_read).read_exact(&mut pid) {
            // The child could not even be forked, or its directory does not exist: the reason is with the thread.
            return Err(match started.recv() {
                Ok(Err(reason)) => reason,
                _ => error,
            });
        }
        Ok(Launched {
            pid: i32::from_ne_bytes(pid),
            stdout: out_read.map(File::from),
            stderr: err_read.map(File::from),
            exit,
            hold: File::from(hold),
            started,
        })
    }

    fn command(&self, stdout: Option<OwnedFd>, stderr: Option<OwnedFd>) -> io::Result<Command> {
        let mut command = Command::new(with_directory(&self.program));
        command.args(&self.args);
        // The program sees the name it was asked for by, as under a shell.
        command.arg0(&self.program);
        for (name, value) in &self.env {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        if let Some(cwd) = &self.cwd {
            if !cwd.is_dir() {
                return Err(io::Error::new(
                    io::ErrorKind::NotFound,
                    format!("working directory {} does not exist", cwd.display()),
                ));
            }
            command.current_dir(cwd);
        }
        if let Some(stdout) = stdout {
            command.stdout(stdout);
        }
        if let Some(stderr) = stderr {
            command.stderr(stderr);
        }
        if !self.inherit_stdin {
            command.stdin(Stdio::null());
        }
        Ok(command)
    }
}

/// A bare file name is looked up in PATH by exec, but means a file here.
fn with_directory(program: &Path) -> PathBuf {
    std::path::absolute(program).unwrap_or_else(|_| program.to_owned())
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

/// Runs in the child: tells its process id, then waits until the debugger lets it go, and refuses to go on when the debugger has died.
fn wait_for_release(hold: i32, pid_write: &OwnedFd, held: &OwnedFd) -> io::Result<()> {
    // SAFETY: plain system calls on descriptors of this process; `hold` is the child's own copy of the parent's end, closed so that the
    // parent's death is seen as the end of the pipe.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::close(hold);
        let pid = libc::getpid().to_ne_bytes();
        if libc::write(pid_write.as_raw_fd(), pid.as_ptr().cast(), pid.len()) != 4 {
            return Err(io::Error::last_os_error());
        }
        let mut go = [0u8; 1];
        loop {
            match libc::read(held.as_raw_fd(), go.as_mut_ptr().cast(), 1) {
                1 => return Ok(()),
                -1 if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
                _ => return Err(io::Error::from_raw_os_error(libc::ECANCELED)),
            }
        }
    }
}

impl Launched {
    /// Lets the program run. Fails when it cannot be executed.
    pub(crate) fn release(&mut self) -> io::Result<()> {
        self.hold.write_all(b"g")?;
        self.started
            .recv()
            .map_err(|_| io::Error::other("the launching thread ended"))?
    }

    /// Ends the program, held or running.
    pub(crate) fn kill(&self) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), nix::sys::signal::Signal::SIGKILL);
    }
}
