//! Lets a stopped thread go on: over the site it stands on, out of its slot, with the signals it is owed.

use nix::errno::Errno;
use spelunk_dwarf::ProcAddr;

use super::displaced::Progress;
use super::error::ProcessError;
use super::inferior::{Inferior, ProcessEvent};
use super::ptrace;
use super::slots::How;
use super::threads::{Halt, Purpose, State};
use crate::inspect::Tid;
use crate::value::Memory;

/// The instruction `pushf`, and the prefix with which it pushes 16 bits.
const PUSHF: u8 = 0x9c;
const WORD_SIZE: u8 = 0x66;

impl Inferior {
    /// Lets a stopped thread go on for its purpose. A thread that was killed meanwhile is left to tell its end.
    pub(super) fn go(&mut self, tid: Tid) -> Result<(), ProcessError> {
        match self.try_to_go(tid) {
            Ok(stepped) => {
                if stepped && let Some(thread) = self.threads.get_mut(&tid) {
                    thread.wanted = false;
                    self.enqueue(ProcessEvent::Stepped { thread: tid });
                }
                Ok(())
            }
            Err(Errno::ESRCH) => {
                if let Some(thread) = self.threads.get_mut(&tid) {
                    thread.state = State::Running;
                }
                Ok(())
            }
            Err(error) => Err(ProcessError::system("resume a thread")(error)),
        }
    }

    /// Answers whether the thread's step is done already, so that it stays stopped.
    fn try_to_go(&mut self, tid: Tid) -> Result<bool, Errno> {
        let Some(thread) = self.threads.get_mut(&tid) else {
            return Ok(false);
        };
        let State::Stopped(halt) = thread.state else {
            return Ok(false);
        };
        if halt == Halt::Group {
            thread.let_go(|tid, _| ptrace::listen(tid))?;
            return Ok(false);
        }
        let no_slots = self.slots.is_empty() && thread.told_at.is_none() && thread.purpose == Purpose::Run;
        if no_slots && thread.held.is_empty() {
            // A program that has no sites: signals are passed on without a look at the registers.
            thread.let_go(ptrace::cont)?;
            return Ok(false);
        }

        if thread.is_faulting()? {
            // The program sees its fault first. If it comes back to a site, that is another pass.
            thread.told_at = None;
            let stepping = thread.purpose == Purpose::Step;
            thread.let_go(if stepping { ptrace::single_step } else { ptrace::cont })?;
            return Ok(false);
        }
        if thread.purpose == Purpose::Step {
            thread.hold_back()?;
        }

        let mut raw = thread.registers()?;
        let is_back = thread.back_at.take() == Some(raw.rip);
        if thread.told_at.take() == Some(raw.rip)
            && (is_back || self.memory.is_patched(raw.rip) || self.probed.contains(&raw.rip))
            && let Some(slot) = self.slots.of_instruction(raw.rip)
        {
            match &slot.how {
                How::Emulate(emulation) => {
                    emulation.apply(&mut raw);
                    thread.set_registers(raw);
                    if thread.purpose == Purpose::Step {
                        // As after any step, a site that the thread has come to counts as told.
                        thread.told_at = Some(raw.rip);
                        return Ok(true);
                    }
                }
                How::Run(at, _) => {
                    raw.rip = *at;
                    thread.set_registers(raw);
                }
            }
        }

        if let Some(place) = self.slots.place(raw.rip) {
            let signals = thread.deliver.is_some() || (thread.purpose == Purpose::Run && !thread.held.is_empty());
            match place.progress {
                Progress::Before { .. } if signals && place.restarts => {
                    // It may take any time, and the signal may be what ends it. The program gets the signal at the instruction, and is not asked again when
                    // it comes back from its handler.
                    (raw.rip, raw.rsp) = place.original(raw.rsp);
                    thread.comes_back = Some((raw.rip, raw.rsp));
                    thread.set_registers(raw);
                }
                Progress::Before { .. } if signals => {
                    thread.hold_back()?;
                    thread.purpose = Purpose::LeaveSlot;
                }
                Progress::After(next) if signals => {
                    if raw.orig_rax as i64 >= 0 && place.restarts {
                        // The kernel may begin the system call again, at its original place.
                        thread.comes_back = Some((place.instruction, raw.rsp));
                    }
                    raw.rip = next;
                    thread.set_registers(raw);
                }
                _ => {}
            }
        }

        if thread.purpose == Purpose::Run && !thread.held.is_empty() {
            if thread.deliver.is_none()
                && halt == Halt::Signal
                && let Some(info) = thread.held.take()
            {
                thread.inject(&info)?;
            }
            for signal in thread.held.recall() {
                ptrace::tgkill(self.pid, tid, signal)?;
            }
        }
        let stepping = thread.purpose != Purpose::Run;
        if stepping {
            let mut code = [0; 2];
            thread.pushes_flags = self.memory.read(ProcAddr(raw.rip), &mut code).is_ok()
                && matches!(code, [PUSHF, _] | [WORD_SIZE, PUSHF]);
        }
        thread.let_go(if stepping { ptrace::single_step } else { ptrace::cont })?;
        Ok(false)
    }
}
