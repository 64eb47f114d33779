//! Breakpoint instructions that the program itself contains.

use spelunk_dwarf::{FileAddr, ProcAddr};

use super::StopReason;
use super::control::Control;
use crate::inspect::Tid;
use crate::process::ProcessEvent;

impl Control {
    /// The program has an `int3` of its own there. `runtime.Breakpoint` is shown as the line that called it.
    pub(super) fn on_hardcoded_breakpoint(&mut self, thread: Tid) {
        if self.is_call_trap(thread) {
            return self.on_call_trap(thread);
        }
        self.cancel_step_of_thread(thread);
        if let Some(inferior) = self.inferior.as_mut()
            && inferior.stop_all().is_ok()
        {
            self.leave_runtime_breakpoint(thread);
        }
        self.stop_for(thread, StopReason::HardcodedBreakpoint);
    }

    fn cancel_step_of_thread(&mut self, thread: Tid) {
        if let Some(passer) = self.passer(thread, FileAddr(0)) {
            self.cancel_step_of(&passer);
        }
    }

    /// Runs a thread out of `runtime.Breakpoint` and what that calls.
    fn leave_runtime_breakpoint(&mut self, thread: Tid) {
        /// The functions are a few instructions long.
        const MOST: usize = 100;
        for _ in 0..MOST {
            let Some(inferior) = self.inferior.as_mut() else { return };
            let Ok(registers) = inferior.general_registers(thread) else {
                return;
            };
            let pc = self.bias.to_file(ProcAddr(registers.pc().unwrap_or(0)));
            let frames = self.binary.frames_at(pc);
            let within = frames
                .first()
                .is_some_and(|frame| matches!(&*frame.function, "runtime.breakpoint" | "runtime.Breakpoint"));
            if !within || inferior.resume(thread, true).is_err() {
                return;
            }
            loop {
                match inferior.next_event() {
                    Ok(ProcessEvent::Stepped { thread: stepped }) if stepped == thread => break,
                    Ok(ProcessEvent::Kicked | ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_)) => {}
                    Ok(event) => return self.waiting.push_back(event),
                    Err(error) => return tracing::error!("the step out of runtime.Breakpoint failed: {error}"),
                }
            }
        }
    }
}
