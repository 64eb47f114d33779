//! Threads that the program of a kernel probe has stopped: put back before the probed instruction, and past the probe when they go on.
//!
//! The kernel executes the probed instruction before the thread takes the SIGSTOP that the probe's program has raised for it: alone in its own signal queue,
//! it is taken before the thread comes back to the program. So a thread that is told as [`ProcessEvent::StoppedByProbe`] has executed that one instruction,
//! unless the instruction itself has faulted.

use iced_x86::{Decoder, DecoderOptions, FlowControl, OpKind};
use spelunk_dwarf::ProcAddr;

use super::error::ProcessError;
use super::inferior::{Inferior, ProcessEvent};
use super::registers;
use super::threads::{Halt, State};
use crate::inspect::{Registers, Tid};

impl Inferior {
    /// Makes known that an instruction lies under a probe that may stop its thread. `code` is what the program has there, without the probe.
    ///
    /// From now on, whoever was told to stand there, or is stepped from there, passes the instruction without passing the probe; and so do the stopped threads
    /// that stand there now.
    pub(crate) fn know_probe(&mut self, addr: ProcAddr, code: &[u8]) -> Result<(), ProcessError> {
        self.prepare_slot(addr.0, code)
            .map_err(|why| ProcessError::Site { addr, why })?;
        self.probed.insert(addr.0);
        self.has_come_under(addr.0);
        Ok(())
    }

    /// The probe is gone.
    pub(crate) fn forget_probe(&mut self, addr: ProcAddr) {
        self.probed.remove(&addr.0);
    }

    /// Puts a stopped thread back to where it was before the probed instruction at `addr`: its registers, and what the instruction has overwritten. When it
    /// goes on, it executes the instruction and does not pass the probe again.
    ///
    /// Fails where the thread has gone on from there: then it is left as it is.
    pub(crate) fn put_back(
        &mut self,
        thread: Tid,
        addr: ProcAddr,
        registers: &Registers,
        overwritten: Option<(ProcAddr, &[u8])>,
    ) -> Result<(), ProcessError> {
        let mut now = self.general_registers(thread)?;
        if !self.is_behind(addr.0, now.pc().unwrap_or(0)) {
            self.leave_handlers(thread, addr.0)
                .map_err(ProcessError::system("take a thread out of a signal handler"))?;
            now = self.general_registers(thread)?;
        }
        if !self.is_behind(addr.0, now.pc().unwrap_or(0)) {
            return Err(ProcessError::RanOn { thread, addr });
        }
        if let Some((at, bytes)) = overwritten {
            self.memory.write(at, bytes).map_err(|error| ProcessError::Site {
                addr,
                why: super::error::SiteError::Write(error.into()),
            })?;
        }
        let thread = self.thread_mut(thread)?;
        let mut raw = thread.registers().map_err(ProcessError::system("read registers"))?;
        registers::apply(registers, &mut raw);
        raw.rip = addr.0;
        // The kernel is not to begin a system call again here.
        raw.orig_rax = u64::MAX;
        thread.told_at = Some(addr.0);
        thread.back_at = Some(addr.0);
        thread.set_registers(raw);
        thread.write_registers().map_err(ProcessError::system(
            "put a thread back to where a probe has stopped it",
        ))
    }

    /// Whether `pc` is where a thread stands that has executed the instruction at `addr` and nothing else, or has not been able to.
    fn is_behind(&self, addr: u64, pc: u64) -> bool {
        if pc == addr {
            return true;
        }
        let Some(slot) = self.slots.of_instruction(addr) else {
            return false;
        };
        let instruction = Decoder::with_ip(64, slot.bytes(), addr, DecoderOptions::NONE).decode();
        let target = matches!(instruction.op0_kind(), OpKind::NearBranch64).then(|| instruction.near_branch_target());
        match instruction.flow_control() {
            FlowControl::UnconditionalBranch | FlowControl::Call => target == Some(pc),
            FlowControl::ConditionalBranch => target == Some(pc) || instruction.next_ip() == pc,
            // Where these lead is in registers or memory that have changed since.
            FlowControl::IndirectBranch | FlowControl::IndirectCall | FlowControl::Return => true,
            _ => instruction.next_ip() == pc,
        }
    }

    /// Ends the stop of job control in which a probe's SIGSTOP has put the process while nobody traced it. All threads are stopped; they stay so.
    pub(crate) fn end_stop_by_probe(&mut self) -> Result<(), ProcessError> {
        let in_group_stop = |thread: &super::threads::Thread| thread.state == State::Stopped(Halt::Group);
        if !self.threads.values().any(in_group_stop) {
            return Ok(());
        }
        // Whoever sends this takes pending SIGSTOPs away with it, and the SIGCONT itself is told from others by its sender, and not delivered.
        // SAFETY: kill takes two integers.
        if unsafe { libc::kill(self.pid, libc::SIGCONT) } == -1 {
            return Err(ProcessError::System {
                attempted: "continue a process that a probe has stopped",
                error: nix::errno::Errno::last(),
            });
        }
        for thread in self.threads.values_mut() {
            thread.held.forget_stops();
            if in_group_stop(thread) {
                thread.state = State::Stopped(Halt::Event);
            }
        }
        Ok(())
    }

    /// Has [`Inferior::next_event`] tell a stop by a probe of a stopped thread whose SIGSTOP nobody sees any more; until then the thread stays where it is.
    pub(crate) fn tell_stop_by_probe(&mut self, thread: Tid) {
        let waits =
            |event: &ProcessEvent| matches!(event, ProcessEvent::StoppedByProbe { thread: other } if *other == thread);
        if self.threads.contains_key(&thread) && !self.queue.iter().any(waits) {
            self.enqueue(ProcessEvent::StoppedByProbe { thread });
        }
    }
}
