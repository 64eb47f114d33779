//! Becomes the tracer of a process.

use std::fs;
use std::path::PathBuf;

use nix::errno::Errno;
use nix::unistd::gettid;

use super::error::ProcessError;
use super::inferior::{Inferior, ProcessEvent, Seize, proc_error};
use super::launch::Launched;
use super::ptrace;
use super::status::ThreadStatus;
use super::threads::{State, Thread};
use crate::inspect::Tid;

impl Inferior {
    /// Takes a running process, all its threads, and stops them. From now on the calling thread is its tracer.
    ///
    /// A process that job control has stopped (Ctrl-Z) stays so when it is resumed, until somebody continues it.
    pub(crate) fn seize(pid: i32, how: Seize) -> Result<Inferior, ProcessError> {
        let mut inferior = Inferior::new(pid, how)?;
        inferior.seize_threads()?;
        inferior.stop_all()?;
        if inferior.ended.is_some() {
            return Err(ProcessError::Gone(pid));
        }
        // Threads that came meanwhile are in the table, and nobody knew the others either.
        inferior
            .queue
            .retain(|event| !matches!(event, ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_)));
        Ok(inferior)
    }

    /// Takes a program that [`super::Launch::start_here`] forked on this thread and holds, and lets it run until it is executed: it is stopped before its
    /// first instruction, or that of the dynamic linker.
    pub(crate) fn seize_held(launched: &mut Launched) -> Result<Inferior, ProcessError> {
        let pid = launched.pid;
        let mut inferior = Inferior::new(pid, Seize { kill_with_us: true })?;
        inferior.seize_threads()?;
        launched.let_go().map_err(ProcessError::Launch)?;
        loop {
            match inferior.next_event()? {
                ProcessEvent::Exec => return Ok(inferior),
                ProcessEvent::Exited(_) => {
                    return Err(match launched.executed() {
                        Err(error) => ProcessError::Launch(error),
                        Ok(()) => ProcessError::Ended(pid),
                    });
                }
                _ => {}
            }
        }
    }

    fn options(&self) -> i32 {
        if self.kill_with_us {
            ptrace::OPTIONS | libc::PTRACE_O_EXITKILL
        } else {
            ptrace::OPTIONS
        }
    }

    fn seize_threads(&mut self) -> Result<(), ProcessError> {
        let path = PathBuf::from(format!("/proc/{}/task", self.pid));
        // A thread that is not seized yet may make others; those of seized threads are seized by the kernel.
        loop {
            let mut found_new = false;
            let tasks = match fs::read_dir(&path) {
                Ok(tasks) => tasks,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(ProcessError::Gone(self.pid)),
                Err(error) => return Err(proc_error(path)(error)),
            };
            for task in tasks.flatten() {
                let Some(number) = task.file_name().to_str().and_then(|name| name.parse().ok()) else {
                    continue;
                };
                let tid = Tid(number);
                if !self.threads.contains_key(&tid) {
                    found_new |= self.seize_thread(tid)?;
                }
            }
            if !found_new {
                break;
            }
        }
        if self.threads.is_empty() {
            return Err(ProcessError::Gone(self.pid));
        }
        Ok(())
    }

    /// Whether the thread is new in the table.
    fn seize_thread(&mut self, tid: Tid) -> Result<bool, ProcessError> {
        match ptrace::seize(tid, self.options()) {
            Ok(()) => {}
            Err(Errno::ESRCH) => return Ok(false),
            Err(error) => {
                let status = ThreadStatus::of(self.pid, tid);
                match status {
                    None => return Ok(false),
                    Some(status) if status.state == 'Z' || status.state == 'X' => {
                        // The first thread may have ended before the others; its process id lives on.
                        if tid.0 != self.pid {
                            return Ok(false);
                        }
                        let mut thread = Thread::new(tid);
                        thread.state = State::Ended;
                        self.threads.insert(tid, thread);
                        return Ok(true);
                    }
                    // The kernel has seized it with the thread that made it.
                    Some(status) if status.tracer == gettid().as_raw() => {}
                    Some(status) if status.tracer != 0 => {
                        return Err(ProcessError::AlreadyTraced {
                            pid: self.pid,
                            tracer: status.tracer,
                        });
                    }
                    _ if error == Errno::EPERM => return Err(ProcessError::NotPermitted { pid: self.pid }),
                    _ => return Err(ProcessError::system("seize a thread")(error)),
                }
            }
        }
        self.threads.insert(tid, Thread::new(tid));
        Ok(true)
    }
}
