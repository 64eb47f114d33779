//! The end of tracing: the process goes on as it was, or is killed.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::error::ProcessError;
use super::inferior::Inferior;
use super::ptrace;
use super::signals::SigInfo;
use super::slots::ARENA_SIZE;
use super::threads::{Halt, Purpose, State, Thread};
use super::watch::ExitStatus;
use crate::inspect::Tid;

/// How long threads that are stuck in the kernel are waited for before the process is let go without them.
pub(super) const STUCK: Duration = Duration::from_secs(2);
/// How long the end of a killed process is waited for.
const DYING: Duration = Duration::from_secs(10);

impl Inferior {
    /// Lets the process go as it was: sites out, program counters at instructions of the program, our own signals taken back, the program's own delivered.
    pub(crate) fn detach(mut self) -> Result<(), ProcessError> {
        self.let_go()
    }

    /// Kills the process and waits until it is gone.
    pub(crate) fn kill(mut self) -> ExitStatus {
        self.end()
    }

    fn let_go(&mut self) -> Result<(), ProcessError> {
        if self.ended.is_some() {
            // Children outlive their parent.
            self.let_children_go();
            return Ok(());
        }
        self.stop_threads()?;
        let all_here = self.await_stuck_threads()?;
        if self.ended.is_some() {
            return Ok(());
        }
        self.take_stops_by_probes()?;
        self.queue.clear();
        self.let_children_go();
        for tid in self.threads() {
            self.leave_slot_of(tid);
        }
        // Who is still in the kernel may come back to a slot.
        if all_here {
            for base in self.slots.arenas() {
                let _ = self.call_in_process(libc::SYS_munmap, [base, ARENA_SIZE, 0, 0, 0, 0]);
            }
        }
        let mut dying = HashSet::new();
        for tid in self.threads() {
            match self.detach_thread(tid) {
                Ok(()) => {}
                Err(Errno::ESRCH) => {
                    dying.insert(tid);
                }
                Err(error) => return Err(ProcessError::system("let a thread go")(error)),
            }
        }
        self.bury(dying);
        // Nothing is left to be done when this is dropped.
        self.ended = Some(ExitStatus::Unknown);
        self.threads.clear();
        Ok(())
    }

    /// Takes the stops that probes have raised and that wait for their thread: they would stop the process once nobody traces it. All threads are stopped.
    fn take_stops_by_probes(&mut self) -> Result<(), ProcessError> {
        let waits = |thread: &Thread| {
            matches!(thread.state, State::Stopped(halt) if halt != Halt::Group)
                && ptrace::pending_signals(thread.tid)
                    .is_ok_and(|pending| pending.iter().any(SigInfo::is_stop_by_probe))
        };
        let stopped: Vec<Tid> = self
            .threads
            .values()
            .filter(|thread| waits(thread))
            .map(|thread| thread.tid)
            .collect();
        for tid in stopped {
            let Some(thread) = self.threads.get_mut(&tid) else {
                continue;
            };
            // It takes the signal before it executes anything.
            let going = thread.hold_back().and_then(|()| thread.let_go(ptrace::cont));
            match going {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(ProcessError::system("take a probe's signal back")(error)),
            }
        }
        self.stop_threads()
    }

    /// Waits for the end of threads that were killed while they were to be let go: as long as their tracer has not taken note of it, nobody else is told.
    fn bury(&mut self, mut dying: HashSet<Tid>) {
        let begun = Instant::now();
        let _ = self.set_timer(Duration::from_millis(20));
        self.reclaim();
        while !dying.is_empty() && begun.elapsed() < DYING {
            match self.reports.next() {
                Ok(Some(report)) if self.reports.are_shared() && !self.owns(report) => self.reports.leave(report),
                Ok(Some(report)) if libc::WIFSTOPPED(report.status) => {
                    if ptrace::detach(report.tid, 0).is_ok() {
                        dying.remove(&report.tid);
                    }
                }
                Ok(Some(report)) => {
                    dying.remove(&report.tid);
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
        let _ = self.set_timer(Duration::ZERO);
    }

    /// Waits for the threads that did not stop yet; whether all have stopped.
    fn await_stuck_threads(&mut self) -> Result<bool, ProcessError> {
        let begun = Instant::now();
        loop {
            let mut any = false;
            for thread in self.threads.values_mut() {
                if thread.state == State::InKernel {
                    thread.state = State::Running;
                    any = true;
                }
            }
            if !any || self.ended.is_some() {
                return Ok(true);
            }
            if begun.elapsed() > STUCK {
                return Ok(false);
            }
            self.stop_threads()?;
        }
    }

    fn leave_slot_of(&mut self, tid: Tid) {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return;
        };
        if let Ok(mut raw) = thread.registers()
            && let Some(place) = self.slots.place(raw.rip)
        {
            (raw.rip, raw.rsp) = place.original(raw.rsp);
            thread.set_registers(raw);
        }
    }

    fn detach_thread(&mut self, tid: Tid) -> Result<(), Errno> {
        let pid = self.pid;
        let Some(thread) = self.threads.get_mut(&tid) else {
            return Ok(());
        };
        let halt = match thread.state {
            State::Stopped(halt) => halt,
            State::Running => return Err(Errno::ESRCH),
            // The kernel lets go of one that is stuck when its tracer ends, and of the first thread, if that has ended, with the last one.
            State::InKernel | State::Ended => return Ok(()),
        };
        thread.purpose = Purpose::Run;
        if thread.deliver.is_none()
            && halt == Halt::Signal
            && let Some(info) = thread.held.take()
        {
            thread.inject(&info)?;
        }
        // Of several, only one can be given back with all that is known of it.
        while let Some(info) = thread.held.take() {
            ptrace::tgkill(pid, tid, info.signal())?;
        }
        thread.let_go(ptrace::detach)
    }

    fn end(&mut self) -> ExitStatus {
        if let Some(status) = self.ended {
            self.let_children_go();
            return status;
        }
        self.queue.clear();
        // SAFETY: kill takes two integers. The number is still the process's, as nobody but us, its tracer, can reap it.
        unsafe { libc::kill(self.pid, libc::SIGKILL) };
        self.let_children_go();
        let begun = Instant::now();
        let _ = self.set_timer(Duration::from_millis(20));
        self.reclaim();
        while self.ended.is_none() && begun.elapsed() < DYING {
            match self.reports.next() {
                Ok(Some(report)) => {
                    let _ = self.handle(report);
                }
                Ok(None) => {}
                Err(_) => break,
            }
        }
        let _ = self.set_timer(Duration::ZERO);
        *self.ended.get_or_insert(ExitStatus::Unknown)
    }
}

impl Drop for Inferior {
    fn drop(&mut self) {
        if self.kill_with_us {
            self.end();
        } else {
            // Whoever drops has no use for the reason; what could be let go has been.
            let _ = self.let_go();
        }
    }
}
