//! What the kernel reports of the traced threads, and what that means.

use std::ffi::c_int;

use nix::errno::Errno;
use spelunk_dwarf::ProcAddr;

use super::displaced::Progress;
use super::error::ProcessError;
use super::inferior::{Inferior, ProcessEvent};
use super::memory::{INT3, ProcessMemory};
use super::ptrace;
use super::signals::{SI_KERNEL, SigInfo};
use super::slots::Slots;
use super::status::ThreadStatus;
use super::threads::{Halt, Purpose, State, Thread};
use super::wait::Report;
use super::watch::ExitStatus;
use crate::inspect::Tid;
use crate::value::Memory;

/// The event in a status word of waitpid(2), 0 where it is a signal.
pub(super) fn event_of(status: c_int) -> c_int {
    status >> 16
}

impl Inferior {
    /// Handles one report. The thread goes on unless the caller does not want it to, or an event is answered that stops it.
    pub(super) fn handle(&mut self, report: Report) -> Result<Option<ProcessEvent>, ProcessError> {
        if self.reports.are_shared() && !self.owns(report) {
            self.reports.leave(report);
            return Ok(None);
        }
        match self.try_to_handle(report) {
            Ok(event) => Ok(event),
            // Killed between the report and our look at it: its end will be reported.
            Err(Failure::Gone) => {
                if let Some(thread) = self.threads.get_mut(&report.tid) {
                    thread.state = State::Running;
                }
                Ok(None)
            }
            Err(Failure::Other(error)) => Err(error),
        }
    }

    fn try_to_handle(&mut self, report: Report) -> Result<Option<ProcessEvent>, Failure> {
        let Report { tid, status } = report;
        if libc::WIFEXITED(status) || libc::WIFSIGNALED(status) {
            return Ok(self.thread_has_ended(tid, status));
        }
        if !libc::WIFSTOPPED(status) {
            return Ok(None);
        }
        let event = event_of(status);
        if event == libc::PTRACE_EVENT_EXEC && tid.0 == self.pid {
            return Ok(Some(self.has_executed()?));
        }
        if self.children.contains_key(&tid) {
            self.child_has_stopped(report)?;
            return Ok(None);
        }
        let mut born = None;
        if !self.threads.contains_key(&tid) {
            if ThreadStatus::of_any(tid).is_some_and(|status| status.process == self.pid) {
                born = self.adopt(tid);
            } else {
                // A new process, told before its parent's fork is.
                self.reports.leave(report);
                return Ok(None);
            }
        }
        let told = match event {
            0 => self.has_stopped_for_signal(tid, libc::WSTOPSIG(status))?,
            libc::PTRACE_EVENT_STOP => {
                self.has_stopped_as_asked(tid, libc::WSTOPSIG(status))?;
                None
            }
            _ => self.has_made_a_process(tid, event)?,
        };
        // A thread tells its birth before anything else.
        match (born, told) {
            (Some(born), Some(told)) => {
                self.queue.push_front(born);
                self.enqueue(told);
                Ok(self.queue.pop_front())
            }
            (born, told) => Ok(born.or(told)),
        }
    }

    fn thread_has_ended(&mut self, tid: Tid, status: c_int) -> Option<ProcessEvent> {
        let _ = self.reports.left_of(tid);
        if self.children.remove(&tid).is_some() || self.executed.remove(&tid) {
            return None;
        }
        // The kernel tells the end of the first thread when all others have ended.
        if tid.0 == self.pid {
            return Some(self.has_ended(ExitStatus::from_wait_status(status)));
        }
        self.forget(tid).then_some(ProcessEvent::ThreadGone(tid))
    }

    /// A new thread, of which the kernel has told, or which has stopped.
    fn adopt(&mut self, tid: Tid) -> Option<ProcessEvent> {
        if self.threads.contains_key(&tid) {
            return None;
        }
        self.threads.insert(tid, Thread::new(tid));
        Some(ProcessEvent::ThreadBorn(tid))
    }

    /// Another program has taken the place of all threads but one, which has the process's number now.
    fn has_executed(&mut self) -> Result<ProcessEvent, Failure> {
        self.threads.clear();
        // Children that are held wait to be told of all the same.
        self.queue
            .retain(|event| matches!(event, ProcessEvent::ChildExecuted(_)));
        self.slots = Slots::default();
        self.probed.clear();
        self.syscall_at = None;
        self.begin_at_exec()?;
        self.memory.replaced().map_err(|error| match error.raw_os_error() {
            Some(libc::ENOENT | libc::ESRCH) | None => Failure::Gone,
            Some(error) => Failure::Other(ProcessError::System {
                attempted: "open the memory of the executed program",
                error: Errno::from_raw(error),
            }),
        })?;
        Ok(ProcessEvent::Exec)
    }

    /// There is one thread, which has just executed the program: it is moved to the end of that.
    pub(super) fn begin_at_exec(&mut self) -> Result<(), Failure> {
        let tid = Tid(self.pid);
        let mut thread = Thread::new(tid);
        thread.has_stopped(Halt::InSystemCall);
        thread.wanted = false;
        self.threads.insert(tid, thread);
        self.leave_system_call(tid)
    }

    /// Moves a thread from an event within a system call to the end of that call, so that its registers are final.
    fn leave_system_call(&mut self, tid: Tid) -> Result<(), Failure> {
        let thread = self.threads.get_mut(&tid).ok_or(Failure::Gone)?;
        ptrace::interrupt(tid)?;
        thread.let_go(ptrace::cont)?;
        let report = self.reports.of(tid)?;
        if !libc::WIFSTOPPED(report.status) {
            self.reports.put_back(report);
            return Err(Failure::Gone);
        }
        match (event_of(report.status), libc::WSTOPSIG(report.status)) {
            (libc::PTRACE_EVENT_STOP, libc::SIGTRAP) => thread.has_stopped(Halt::Event),
            (libc::PTRACE_EVENT_STOP, _) => thread.has_stopped(Halt::Group),
            (_, signal) => {
                thread.has_stopped(Halt::Signal);
                thread.deliver = Some(signal);
            }
        }
        Ok(())
    }

    /// `PTRACE_EVENT_CLONE` and the like.
    fn has_made_a_process(&mut self, tid: Tid, event: c_int) -> Result<Option<ProcessEvent>, Failure> {
        let stopping = self.stopping;
        self.stopped_thread(tid, Halt::InSystemCall)?;
        let made = matches!(
            event,
            libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK
        );
        let mut born = None;
        if made && let Ok(new) = i32::try_from(ptrace::event_message(tid)?) {
            let new = Tid(new);
            // A thread that has ended already is reported on its own; only a living one can be told from a process.
            let process = ThreadStatus::of_any(new).map(|status| status.process);
            if process == Some(self.pid) {
                born = self.adopt(new);
            } else if process.is_some() {
                self.child_is_born(new)?;
            }
        }
        // After vfork(2) the system call ends when the child has executed a program; a thread that is to stop had better not wait for that.
        if stopping
            && event != libc::PTRACE_EVENT_VFORK
            && let Some(thread) = self.threads.get_mut(&tid)
        {
            ptrace::interrupt(tid)?;
            thread.let_go(ptrace::cont)?;
        }
        self.carry_on(tid)?;
        Ok(born)
    }

    fn stopped_thread(&mut self, tid: Tid, halt: Halt) -> Result<&mut Thread, Failure> {
        let thread = self.threads.get_mut(&tid).ok_or(Failure::Gone)?;
        thread.has_stopped(halt);
        Ok(thread)
    }

    /// `PTRACE_EVENT_STOP`: our interruption, a birth, or job control.
    fn has_stopped_as_asked(&mut self, tid: Tid, signal: c_int) -> Result<(), Failure> {
        let stopping = self.stopping;
        let pid = self.pid;
        let group = signal != libc::SIGTRAP;
        let thread = self.stopped_thread(tid, if group { Halt::Group } else { Halt::Event })?;
        if stopping {
            // The trap of an int3 or of a step may have come at the same time: then the program counter is past an int3 whose hit nobody has told yet.
            // Nothing of the program is executed before it is.
            let stepping = thread.purpose != Purpose::Run;
            let pending = ptrace::pending_signals(tid)?;
            let trap = pending.iter().any(|info| {
                info.signal() == libc::SIGTRAP && (info.code() > 0 || (stepping && info.may_end_step(pid)))
            });
            // So does a stop that a probe has raised: whoever stops all wants to know of it now, and one that is left behind would stop the process once it is
            // let go. In a stop of job control it stays: the SIGCONT that ends that takes it away.
            if trap || (!group && pending.iter().any(SigInfo::is_stop_by_probe)) {
                thread.let_go(ptrace::cont)?;
            }
            return Ok(());
        }
        Ok(self.carry_on(tid)?)
    }

    fn has_stopped_for_signal(&mut self, tid: Tid, signal: c_int) -> Result<Option<ProcessEvent>, Failure> {
        let thread = self.threads.get_mut(&tid).ok_or(Failure::Gone)?;
        thread.has_stopped(Halt::Signal);
        if signal == libc::SIGTRAP {
            return self.has_trapped(tid);
        }
        thread.deliver = Some(signal);
        if signal < libc::SIGSTOP && self.waits_behind_probe(tid)? {
            return Ok(None);
        }
        if signal == libc::SIGCONT {
            for thread in self.threads.values_mut() {
                thread.held.forget_stops();
            }
        }
        let thread = self.threads.get_mut(&tid).ok_or(Failure::Gone)?;
        let job_control = matches!(signal, libc::SIGSTOP | libc::SIGCONT);
        if job_control || !self.slots.is_empty() || !thread.held.is_empty() {
            let mut info = ptrace::siginfo(tid)?;
            if info.is_stop_by_probe() {
                thread.deliver = None;
                thread.wanted = false;
                return Ok(Some(ProcessEvent::StoppedByProbe { thread: tid }));
            } else if info.is_our_continuation() {
                thread.deliver = None;
            } else if let Some(held) = thread.held.arrived(&info) {
                thread.inject(&held)?;
            } else if info.is_fault() {
                let mut raw = thread.registers()?;
                if let Some(place) = self.slots.place(raw.rip) {
                    // The copy has faulted, which is the original's fault.
                    (raw.rip, raw.rsp) = place.original(raw.rsp);
                    thread.set_registers(raw);
                    if info.addresses_code() {
                        info.set_addr(raw.rip);
                        ptrace::set_siginfo(tid, &info)?;
                    }
                }
            }
        }
        self.carry_on(tid)?;
        Ok(None)
    }

    /// A thread is stopped at the delivery of a signal whose number is lower than that of SIGSTOP. Where a probe has raised SIGSTOP for it, the kernel would
    /// begin the signal's handler first: it is put off until that stop is over. A fault of the probed instruction itself is dropped: the thread is put back
    /// before that instruction, and faults again. Answers whether the thread goes on to its stop.
    fn waits_behind_probe(&mut self, tid: Tid) -> Result<bool, Failure> {
        let thread = self.threads.get_mut(&tid).ok_or(Failure::Gone)?;
        if !ptrace::pending_signals(tid)?.iter().any(SigInfo::is_stop_by_probe) {
            return Ok(false);
        }
        if ptrace::siginfo(tid)?.is_fault() {
            thread.deliver = None;
        } else {
            thread.hold_back()?;
        }
        thread.let_go(ptrace::cont)?;
        Ok(true)
    }

    fn has_trapped(&mut self, tid: Tid) -> Result<Option<ProcessEvent>, Failure> {
        let info = ptrace::siginfo(tid)?;
        let pid = self.pid;
        let thread = self.threads.get_mut(&tid).ok_or(Failure::Gone)?;
        if !info.takes_injection() {
            thread.state = State::Stopped(Halt::Event);
        }
        let raw = thread.registers()?;
        if info.code() == SI_KERNEL {
            return self.has_hit_int3(tid, raw);
        }
        if thread.purpose != Purpose::Run && info.may_end_step(pid) {
            return self.has_stepped(tid, raw);
        }
        if is_stale_step(&info) {
            // The end of a step that was given up when the thread was stopped in it.
            self.carry_on(tid)?;
            return Ok(None);
        }
        thread.deliver = Some(libc::SIGTRAP);
        self.carry_on(tid)?;
        Ok(None)
    }

    fn has_hit_int3(&mut self, tid: Tid, mut raw: libc::user_regs_struct) -> Result<Option<ProcessEvent>, Failure> {
        let addr = raw.rip.wrapping_sub(1);
        let thread = self.threads.get_mut(&tid).ok_or(Failure::Gone)?;
        if self.memory.is_patched(addr) {
            raw.rip = addr;
            thread.set_registers(raw);
            thread.told_at = Some(addr);
            if thread.comes_back.take() == Some((addr, raw.rsp)) {
                self.carry_on(tid)?;
                return Ok(None);
            }
            if thread.purpose == Purpose::LeaveSlot {
                thread.purpose = Purpose::Run;
            }
            thread.wanted = false;
            return Ok(Some(ProcessEvent::Site {
                thread: tid,
                addr: ProcAddr(addr),
            }));
        }
        // `int3`, or `int 3`, which has two bytes.
        let mut code = [0; 2];
        let own = match self.memory.read(ProcAddr(addr.wrapping_sub(1)), &mut code) {
            Ok(()) => code[1] == INT3 || code == [0xcd, 3],
            Err(_) => self.memory.read(ProcAddr(addr), &mut code[1..]).is_ok() && code[1] == INT3,
        };
        if own {
            thread.wanted = false;
            return Ok(Some(ProcessEvent::HardcodedBreakpoint { thread: tid }));
        }
        // The site was taken out while the thread was on its way to tell of it.
        raw.rip = addr;
        thread.set_registers(raw);
        self.carry_on(tid)?;
        Ok(None)
    }

    fn has_stepped(&mut self, tid: Tid, mut raw: libc::user_regs_struct) -> Result<Option<ProcessEvent>, Failure> {
        let thread = self.threads.get_mut(&tid).ok_or(Failure::Gone)?;
        match self.slots.place(raw.rip).map(|place| place.progress) {
            // The first half of a call.
            Some(Progress::Before { pushed }) if pushed > 0 => {
                self.carry_on(tid)?;
                return Ok(None);
            }
            Some(Progress::After(next)) => {
                raw.rip = next;
                thread.set_registers(raw);
            }
            _ => {}
        }
        if thread.pushes_flags {
            clear_pushed_trap_flag(&self.memory, raw.rsp);
        }
        if thread.purpose == Purpose::LeaveSlot {
            thread.purpose = Purpose::Run;
            self.carry_on(tid)?;
            return Ok(None);
        }
        thread.purpose = Purpose::Run;
        thread.wanted = false;
        thread.told_at = Some(raw.rip);
        Ok(Some(ProcessEvent::Stepped { thread: tid }))
    }
}

/// The trap flag by which the processor was made to step has been pushed with the others; popped again, it would raise a SIGTRAP that nobody asked for.
fn clear_pushed_trap_flag(memory: &ProcessMemory, sp: u64) {
    let mut flags = [0; 2];
    if memory.read(ProcAddr(sp), &mut flags).is_ok() {
        // Bit 8 of RFLAGS. What was pushed a moment ago can be written.
        flags[1] &= !1;
        let _ = memory.write(ProcAddr(sp), &flags);
    }
}

/// Whether a SIGTRAP is the processor's answer to a request to step; a program that single-steps itself does not live under a debugger.
fn is_stale_step(info: &SigInfo) -> bool {
    const TRAP_BRKPT: c_int = 1;
    const TRAP_TRACE: c_int = 2;
    matches!(info.code(), TRAP_BRKPT | TRAP_TRACE | libc::SIGTRAP)
}

/// Why a report could not be handled.
pub(super) enum Failure {
    /// The thread was killed.
    Gone,
    /// Something else.
    Other(ProcessError),
}

impl From<Errno> for Failure {
    fn from(error: Errno) -> Failure {
        match error {
            Errno::ESRCH => Failure::Gone,
            error => Failure::Other(ProcessError::System {
                attempted: "handle a stop of the process",
                error,
            }),
        }
    }
}

impl From<ProcessError> for Failure {
    fn from(error: ProcessError) -> Failure {
        Failure::Other(error)
    }
}
