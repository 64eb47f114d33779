//! What is known of each traced thread.

use std::cell::RefCell;

use libc::user_regs_struct;
use nix::errno::Errno;

use super::ptrace;
use super::signals::{HeldSignals, SigInfo};
use crate::inspect::Tid;

/// The kind of stop a thread is in, as far as it decides how it can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// `PTRACE_EVENT_STOP`: no signal can be injected.
    Event,
    /// At an event within a system call, the result of which the kernel is still going to put into RAX.
    InSystemCall,
    /// A stop of job control, which `PTRACE_LISTEN` leaves as it is.
    Group,
    /// At the delivery of a signal, which the tracer may replace.
    Signal,
}

/// Whether a thread runs, as far as we were told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It runs, or listens in a job-control stop, or was born and has not reported yet.
    Running,
    /// It is stopped.
    Stopped(Halt),
    /// It is in the kernel and will report before it executes an instruction of the program: it was asked to stop, and waits for something that no
    /// signal interrupts, such as a child of vfork(2).
    InKernel,
    /// The first thread of a process has ended; its end is told when the last one has.
    Ended,
}

/// What a thread was let go for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To run.
    Run,
    /// To execute one instruction, for the caller.
    Step,
    /// To leave a slot, so that a held signal can be delivered at an address of the program; then to run.
    LeaveSlot,
}

/// The registers of a stopped thread.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cached {
    pub(super) raw: user_regs_struct,
    /// They must be written before the thread goes on.
    pub(super) changed: bool,
}

/// A traced thread.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) tid: Tid,
    pub(super) state: State,
    pub(super) purpose: Purpose,
    /// The caller wants it to run; only for the time of our own work it may be stopped.
    pub(super) wanted: bool,
    /// An event of this thread waits to be told.
    pub(super) queued: bool,
    /// The signal whose delivery it is stopped at, and which it gets when it goes on.
    pub(super) deliver: Option<i32>,
    /// Signals taken from it, to be delivered later.
    pub(super) held: HeldSignals,
    /// The caller was told that the thread stands at this address, so a site there is passed without being told again.
    pub(super) told_at: Option<u64>,
    /// It was put back to this address, before the instruction of a probe, and is not to pass that probe again: nor any other that lies there.
    pub(super) back_at: Option<u64>,
    /// A signal was delivered while the thread was about to execute the instruction at this address with this stack pointer, after its site was told:
    /// when it comes back there it is not told again.
    pub(super) comes_back: Option<(u64, u64)>,
    /// The instruction that it steps pushes the flags.
    pub(super) pushes_flags: bool,
    registers: RefCell<Option<Cached>>,
}

impl Thread {
    /// A thread that runs.
    pub(super) fn new(tid: Tid) -> Thread {
        Thread {
            tid,
            state: State::Running,
            purpose: Purpose::Run,
            wanted: true,
            queued: false,
            deliver: None,
            held: HeldSignals::default(),
            told_at: None,
            back_at: None,
            comes_back: None,
            pushes_flags: false,
            registers: RefCell::new(None),
        }
    }

    /// Whether ptrace requests can be made of it.
    pub(super) fn is_stopped(&self) -> bool {
        matches!(self.state, State::Stopped(_))
    }

    /// It has been reported as stopped.
    pub(super) fn has_stopped(&mut self, halt: Halt) {
        self.state = State::Stopped(halt);
        self.deliver = None;
        self.registers.replace(None);
    }

    /// The registers as the kernel has, or will have, them; `ESRCH` when it is gone or runs.
    pub(super) fn registers(&self) -> Result<user_regs_struct, Errno> {
        if let Some(cached) = *self.registers.borrow() {
            return Ok(cached.raw);
        }
        if !self.is_stopped() {
            return Err(Errno::ESRCH);
        }
        let raw = ptrace::registers(self.tid)?;
        self.registers.replace(Some(Cached { raw, changed: false }));
        Ok(raw)
    }

    /// Changes the registers; the kernel gets them when the thread goes on.
    pub(super) fn set_registers(&mut self, raw: user_regs_struct) {
        self.registers.replace(Some(Cached { raw, changed: true }));
    }

    /// Gives the kernel what was changed.
    pub(super) fn write_registers(&mut self) -> Result<(), Errno> {
        if let Some(cached) = self.registers.get_mut()
            && cached.changed
        {
            ptrace::set_registers(self.tid, &cached.raw)?;
            cached.changed = false;
        }
        Ok(())
    }

    /// Lets it go on by one of ptrace's requests.
    pub(super) fn let_go(&mut self, go: fn(Tid, i32) -> Result<(), Errno>) -> Result<(), Errno> {
        self.write_registers()?;
        let signal = self.deliver.take().unwrap_or(0);
        self.registers.replace(None);
        self.state = State::Running;
        go(self.tid, signal)
    }

    /// Takes away the signal that it is stopped for, to be delivered later.
    pub(super) fn hold_back(&mut self) -> Result<(), Errno> {
        if self.deliver.is_some() {
            self.held.hold(ptrace::siginfo(self.tid)?);
            self.deliver = None;
        }
        Ok(())
    }

    /// Whether the signal it is stopped for was caused by its own instruction.
    pub(super) fn is_faulting(&self) -> Result<bool, Errno> {
        Ok(self.deliver.is_some() && ptrace::siginfo(self.tid)?.is_fault())
    }

    /// Lets the held signal that comes first take the place of the one it is stopped for, which the program does not get.
    pub(super) fn inject(&mut self, info: &SigInfo) -> Result<(), Errno> {
        ptrace::set_siginfo(self.tid, info)?;
        self.deliver = Some(info.signal());
        Ok(())
    }
}
