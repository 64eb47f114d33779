//! Stops all threads of a process.

use std::collections::HashMap;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::time::TimeSpec;
use nix::sys::timer::{Expiration, TimerSetTimeFlags};

use super::error::ProcessError;
use super::inferior::Inferior;
use super::ptrace;
use super::status::ThreadStatus;
use super::threads::State;
use super::watch::ExitStatus;
use crate::inspect::Tid;

/// How often it is looked why a thread does not stop.
const PATIENCE: Duration = Duration::from_millis(20);

impl Inferior {
    /// Stops every thread and waits until it has stopped. What happens meanwhile is queued for [`Inferior::next_event`].
    ///
    /// A thread that the kernel does not let stop, because it waits there for something that no signal interrupts, is left: it executes nothing of the program
    /// before it stops.
    pub(crate) fn stop_all(&mut self) -> Result<(), ProcessError> {
        self.stop_threads()?;
        for thread in self.threads.values_mut() {
            thread.wanted = false;
        }
        Ok(())
    }

    /// As [`Inferior::stop_all`], but what the caller wants of each thread stays.
    pub(super) fn stop_threads(&mut self) -> Result<(), ProcessError> {
        if !self.is_any_running() {
            return Ok(());
        }
        self.stopping = true;
        let stopped = self.stop_running();
        self.stopping = false;
        let _ = self.set_timer(Duration::ZERO);
        stopped
    }

    fn is_any_running(&self) -> bool {
        self.threads.values().any(|thread| thread.state == State::Running)
    }

    fn stop_running(&mut self) -> Result<(), ProcessError> {
        let failed = || ProcessError::system("stop the process");
        match self.reports.gather() {
            Ok(()) | Err(Errno::ECHILD) => {}
            Err(error) => return Err(failed()(error)),
        }
        for thread in self.threads.values() {
            if thread.state == State::Running && !self.reports.has(thread.tid) {
                match ptrace::interrupt(thread.tid) {
                    Ok(()) | Err(Errno::ESRCH) => {}
                    Err(error) => return Err(failed()(error)),
                }
            }
        }
        self.set_timer(PATIENCE)?;
        self.reclaim();
        let mut looked = HashMap::new();
        while self.is_any_running() {
            match self.reports.next() {
                Ok(Some(report)) => {
                    if let Some(event) = self.handle(report)? {
                        self.enqueue(event);
                    }
                }
                Ok(None) => self.look_at_unresponsive(&mut looked),
                Err(Errno::ECHILD) => {
                    let event = self.has_ended(ExitStatus::Unknown);
                    self.enqueue(event);
                }
                Err(error) => return Err(failed()(error)),
            }
        }
        Ok(())
    }

    /// Starts the signals that end a wait, one after each `period`; zero ends them.
    pub(super) fn set_timer(&mut self, period: Duration) -> Result<(), ProcessError> {
        let expiration = if period.is_zero() {
            Expiration::OneShot(TimeSpec::from_duration(period))
        } else {
            Expiration::Interval(TimeSpec::from_duration(period))
        };
        self.timer
            .set(expiration, TimerSetTimeFlags::empty())
            .map_err(ProcessError::system("set a timer"))
    }

    /// Finds out why threads do not stop. `looked` counts how often each was found in the kernel.
    fn look_at_unresponsive(&mut self, looked: &mut HashMap<Tid, u32>) {
        let pid = self.pid;
        let mut vanished = Vec::new();
        for thread in self
            .threads
            .values_mut()
            .filter(|thread| thread.state == State::Running)
        {
            match ThreadStatus::of(pid, thread.tid).map(|status| status.state) {
                None => vanished.push(thread.tid),
                Some('Z' | 'X') if thread.tid.0 == pid => thread.state = State::Ended,
                Some('D') => {
                    let times = looked.entry(thread.tid).or_default();
                    *times += 1;
                    if *times > 1 {
                        thread.state = State::InKernel;
                    }
                }
                Some(_) => {
                    looked.remove(&thread.tid);
                    // It may have been resumed by the kernel's own doing, such as SIGCONT; asking again harms nothing.
                    let _ = ptrace::interrupt(thread.tid);
                }
            }
        }
        for tid in vanished {
            // The number of a thread that has executed a program becomes the process's, and no end is told of it.
            if !self.reports.has(tid) {
                self.forget(tid);
            }
        }
    }
}
