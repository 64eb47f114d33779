//! Forks a child that waits and then executes a program.

use std::collections::BTreeMap;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr;

use super::launch::Launch;

/// All that the child needs, made before the fork: after it, in a process with other threads, nothing may be allocated.
pub(super) struct Spawn {
    program: CString,
    args: Vec<CString>,
    env: Vec<CString>,
    cwd: Option<CString>,
    /// What replaces standard input, output and error.
    standard: [Option<OwnedFd>; 3],
    disable_aslr: bool,
    place: Place,
}

/// Which session and process group the program belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// The debugger's.
    #[default]
    Ours,
    /// A group of its own.
    Group,
    /// A group of its own, in the foreground of the terminal that is its standard input.
    Foreground,
    /// A session of its own, controlled by that terminal.
    Session,
}

fn c_string(bytes: Vec<u8>) -> io::Result<CString> {
    CString::new(bytes).map_err(|_| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "an argument, a path or an environment variable contains a zero byte",
        )
    })
}

impl Spawn {
    pub(super) fn new(launch: &Launch, mut standard: [Option<OwnedFd>; 3]) -> io::Result<Spawn> {
        if let Some(cwd) = &launch.cwd
            && !cwd.is_dir()
        {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                format!("working directory {} does not exist", cwd.display()),
            ));
        }
        for stream in standard.iter_mut().flatten() {
            // One that had a standard stream's number could be overwritten while the others are put in place.
            if stream.as_raw_fd() <= libc::STDERR_FILENO {
                *stream = above_standard(stream)?;
            }
        }
        // A bare file name is looked up in PATH by a shell, but means a file here.
        let program = std::path::absolute(&launch.program).unwrap_or_else(|_| launch.program.clone());
        // The program sees the name it was asked for by, as under a shell.
        let mut args = vec![c_string(launch.program.clone().into_os_string().into_vec())?];
        for arg in &launch.args {
            args.push(c_string(arg.clone().into_vec())?);
        }
        let mut variables: BTreeMap<OsString, OsString> = std::env::vars_os().collect();
        for (name, value) in &launch.env {
            match value {
                Some(value) => variables.insert(name.into(), value.into()),
                None => variables.remove(&OsString::from(name)),
            };
        }
        let env = variables
            .into_iter()
            .map(|(mut variable, value)| {
                variable.push("=");
                variable.push(value);
                c_string(variable.into_vec())
            })
            .collect::<io::Result<_>>()?;
        Ok(Spawn {
            program: c_string(program.into_os_string().into_vec())?,
            args,
            env,
            cwd: launch
                .cwd
                .as_ref()
                .map(|cwd| c_string(cwd.as_os_str().as_bytes().to_vec()))
                .transpose()?,
            standard,
            disable_aslr: launch.disable_aslr,
            place: Place::default(),
        })
    }

    /// The program is to have a process group of its own.
    pub(super) fn in_group(mut self) -> Spawn {
        self.place = Place::Group;
        self
    }

    /// The program is to have a process group of its own, in the foreground of the terminal that it reads.
    pub(super) fn in_foreground(mut self) -> Spawn {
        self.place = Place::Foreground;
        self
    }

    /// The program is to have a session of its own, controlled by the terminal that it reads.
    pub(super) fn in_session(mut self) -> Spawn {
        self.place = Place::Session;
        self
    }

    /// Forks. The child prepares itself, writes a zero to `failure`, waits until a byte can be read from `held`, whose other end is `hold`, and executes the
    /// program; it writes the number of an error to `failure`, which is closed when the program is executed. It does not outlive the calling thread.
    pub(super) fn fork(&self, held: &OwnedFd, hold: &OwnedFd, failure: &OwnedFd) -> io::Result<i32> {
        let pointers = |strings: &[CString]| -> Vec<*const libc::c_char> {
            strings
                .iter()
                .map(|string| string.as_ptr())
                .chain([ptr::null()])
                .collect()
        };
        let (args, env) = (pointers(&self.args), pointers(&self.env));
        let child = Child {
            spawn: self,
            args: &args,
            env: &env,
            parent: std::process::id() as i32,
            held: held.as_raw_fd(),
            hold: hold.as_raw_fd(),
            ready: failure.as_raw_fd(),
        };
        // SAFETY: the child calls only functions that are safe between fork and exec in a process with other threads, see `Child::run`, and never returns.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let error = child.run().to_ne_bytes();
                // SAFETY: system calls on a descriptor of this process and a live buffer. Should the message be lost, the exit status tells as much.
                unsafe {
                    libc::write(failure.as_raw_fd(), error.as_ptr().cast(), error.len());
                    libc::_exit(127)
                }
            }
            pid => Ok(pid),
        }
    }
}

fn above_standard(stream: &OwnedFd) -> io::Result<OwnedFd> {
    use nix::fcntl::{FcntlArg, fcntl};
    use std::os::fd::FromRawFd;
    let number = fcntl(stream, FcntlArg::F_DUPFD_CLOEXEC(libc::STDERR_FILENO + 1))?;
    // SAFETY: the descriptor was just made and is owned by nobody else.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// The child's side.
struct Child<'a> {
    spawn: &'a Spawn,
    args: &'a [*const libc::c_char],
    env: &'a [*const libc::c_char],
    parent: i32,
    held: RawFd,
    hold: RawFd,
    ready: RawFd,
}

fn errno() -> i32 {
    // SAFETY: the address is that of this thread's own variable.
    unsafe { *libc::__errno_location() }
}

impl Child<'_> {
    /// Becomes the program; answers the number of the error that prevents it. Only async-signal-safe functions are called, and nothing is allocated.
    fn run(&self) -> i32 {
        // SAFETY: plain system calls with numbers, live buffers and null-terminated arrays of live strings.
        unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == -1 {
                return errno();
            }
            if libc::getppid() != self.parent {
                // The parent ended before the kernel knew that we are to end with it.
                return libc::ECANCELED;
            }
            // With file capabilities the kernel protects this program from being looked at (prctl(2), PR_SET_DUMPABLE), and so its copy, even by its own
            // parent, which is to probe and to trace it. Nobody gains by it: without these capabilities one may not look at a process that has them.
            if libc::prctl(libc::PR_SET_DUMPABLE, 1, 0, 0, 0) == -1 {
                return errno();
            }
            // Our own copy of the parent's end, closed so that the parent's death is seen as the end of the pipe.
            libc::close(self.hold);
            // The program begins with no signal blocked and, as programs expect, with SIGPIPE not ignored.
            let mut none = std::mem::MaybeUninit::uninit();
            libc::sigemptyset(none.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, none.as_ptr(), ptr::null_mut());
            libc::signal(libc::SIGPIPE, libc::SIG_DFL);
            if self.spawn.disable_aslr {
                let persona = libc::personality(0xffff_ffff);
                if persona == -1 || libc::personality((persona | libc::ADDR_NO_RANDOMIZE) as libc::c_ulong) == -1 {
                    return errno();
                }
            }
            for (number, stream) in (0..).zip(&self.spawn.standard) {
                if let Some(stream) = stream
                    && libc::dup2(stream.as_raw_fd(), number) == -1
                {
                    return errno();
                }
            }
            match self.spawn.place {
                Place::Ours => {}
                Place::Group => {
                    if libc::setpgid(0, 0) == -1 {
                        return errno();
                    }
                }
                Place::Foreground => {
                    // Who is not in the foreground may only go there if it does not care for SIGTTOU (tcsetpgrp(3)). That the terminal is another session's
                    // is no reason not to start.
                    libc::setpgid(0, 0);
                    libc::signal(libc::SIGTTOU, libc::SIG_IGN);
                    libc::tcsetpgrp(libc::STDIN_FILENO, libc::getpid());
                    libc::signal(libc::SIGTTOU, libc::SIG_DFL);
                }
                Place::Session => {
                    if libc::setsid() == -1 || libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) == -1 {
                        return errno();
                    }
                }
            }
            if let Some(cwd) = &self.spawn.cwd
                && libc::chdir(cwd.as_ptr()) == -1
            {
                return errno();
            }
            let ready = 0i32.to_ne_bytes();
            if libc::write(self.ready, ready.as_ptr().cast(), ready.len()) == -1 {
                return errno();
            }
            let mut go = [0u8; 1];
            loop {
                match libc::read(self.held, go.as_mut_ptr().cast(), 1) {
                    1 => break,
                    -1 if errno() == libc::EINTR => {}
                    _ => return libc::ECANCELED,
                }
            }
            libc::execve(self.spawn.program.as_ptr(), self.args.as_ptr(), self.env.as_ptr());
            errno()
        }
    }
}
