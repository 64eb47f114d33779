//! Takes a thread back out of the signal handlers that the kernel has begun for it.
//!
//! A probe raises SIGSTOP, and the kernel delivers signals with lower numbers first: it pushes their frames, one on the other, and the thread stops at the
//! first instruction of the last handler. To see it where the probe was, each frame is given back to the kernel by the system call that ends a handler,
//! `rt_sigreturn(2)`, which restores registers, vector registers, the signal mask and the alternative stack; the signal is delivered again afterwards.

use nix::errno::Errno;
use spelunk_dwarf::ProcAddr;

use super::events::event_of;
use super::inferior::Inferior;
use super::ptrace;
use super::signals::SigInfo;
use super::threads::{Halt, State};
use crate::inspect::Tid;
use crate::value::Memory;

/// How many handlers can have been begun at once: there are so few standard signals below SIGSTOP.
const MOST: usize = 18;

/// Offsets in `struct rt_sigframe` of x86-64 (the kernel's `arch/x86/include/asm/sigframe.h`): of its `struct ucontext`, and in that of the program counter.
const CONTEXT: u64 = 8;
const SAVED_PC: u64 = CONTEXT + 40 + 16 * 8;
/// Of its `struct siginfo`, behind the context.
const INFO: u64 = CONTEXT + 304;

impl Inferior {
    /// Takes a stopped thread out of handlers whose first instruction it has not executed. Faults of the instruction at `addr` are dropped, as it is about to
    /// be executed once more; all other signals are kept for later.
    pub(super) fn leave_handlers(&mut self, tid: Tid, addr: u64) -> Result<(), Errno> {
        for _ in 0..MOST {
            let Some((info, saved_pc)) = self.handler_begun(tid)? else {
                return Ok(());
            };
            tracing::debug!("thread {} is taken out of a handler of signal {}", tid.0, info.signal());
            self.return_from_handler(tid)?;
            let thread = self.threads.get_mut(&tid).ok_or(Errno::ESRCH)?;
            if !(info.is_fault() && saved_pc == addr) {
                thread.held.hold(info);
            }
        }
        Ok(())
    }

    /// What the handler was begun for that a thread stands at the beginning of, and where it was before.
    fn handler_begun(&self, tid: Tid) -> Result<Option<(SigInfo, u64)>, Errno> {
        let thread = self.threads.get(&tid).ok_or(Errno::ESRCH)?;
        let raw = thread.registers()?;
        // A handler's arguments are the number, and where its two structures are.
        let frame = raw.rsp;
        let at_beginning = (1..=64).contains(&raw.rdi)
            && raw.rsi == frame.wrapping_add(INFO)
            && raw.rdx == frame.wrapping_add(CONTEXT);
        let (mut info, mut saved) = ([0; 128], [0; 8]);
        let is_there = at_beginning
            && self.memory.read(ProcAddr(raw.rsi), &mut info).is_ok()
            && self
                .memory
                .read(ProcAddr(frame.wrapping_add(SAVED_PC)), &mut saved)
                .is_ok();
        let info = SigInfo::from_bytes(info);
        let is_its_own = u64::try_from(info.signal()) == Ok(raw.rdi);
        Ok((is_there && is_its_own).then(|| (info, u64::from_le_bytes(saved))))
    }

    /// Has a thread that stands at the beginning of a handler return from it.
    fn return_from_handler(&mut self, tid: Tid) -> Result<(), Errno> {
        let instruction = self.syscall_instruction()?;
        let thread = self.threads.get_mut(&tid).ok_or(Errno::ESRCH)?;
        thread.hold_back()?;
        let mut call = thread.registers()?;
        // The return address has been taken off the stack by then.
        call.rsp = call.rsp.wrapping_add(CONTEXT);
        call.rip = instruction;
        call.rax = libc::SYS_rt_sigreturn as u64;
        call.orig_rax = u64::MAX;
        ptrace::set_registers(tid, &call)?;
        loop {
            ptrace::single_step(tid, 0)?;
            let report = self.reports.of(tid)?;
            if !libc::WIFSTOPPED(report.status) {
                self.reports.put_back(report);
                thread.state = State::Running;
                return Err(Errno::ESRCH);
            }
            if event_of(report.status) != 0 {
                continue;
            }
            let info = ptrace::siginfo(tid)?;
            if info.signal() == libc::SIGTRAP && info.may_end_step(self.pid) {
                if ptrace::registers(tid)?.rip != instruction {
                    break;
                }
            } else if !info.is_our_continuation() {
                thread.held.hold(info);
            }
        }
        thread.has_stopped(Halt::Signal);
        Ok(())
    }
}
