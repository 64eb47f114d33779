//! Panics that nothing recovers, and fatal errors of the runtime: how they are noticed while the program is not traced, and what they say.
//!
//! While it is traced they are stop sites. While it is not, a kernel probe at the entry of the runtime's function raises SIGSTOP; then the program is seized,
//! the sites are put in, and it goes on for the few instructions to the site behind the prologue, where it stops as any traced program does.

use super::breakpoints::{Exception, wanted_exceptions};
use super::control::Control;
use super::hits::Passer;
use super::logpoints::ProbeStop;
use super::{DebugError, Event};
use crate::inspect::FrameScope;
use crate::value::{LoadConfig, Style};

impl Control {
    /// Puts the sites of the exception breakpoints where they are wanted.
    pub(super) fn set_exceptions(&mut self) {
        let wanted: Vec<Exception> = wanted_exceptions(self.exceptions).collect();
        for exception in Exception::ALL {
            let places = exception.places(&self.binary);
            if wanted.contains(&exception) {
                let new: Vec<_> = places
                    .into_iter()
                    .filter(|addr| self.sites.add_breakpoint(*addr, exception.id()))
                    .collect();
                self.put_in(&new);
            } else {
                let free: Vec<_> = places
                    .into_iter()
                    .filter(|addr| self.sites.remove_breakpoint(*addr, exception.id()))
                    .collect();
                self.take_out(&free);
            }
        }
    }

    /// Has a kernel probe stop the untraced program at the exceptions that are wanted. The error says why there is none.
    pub(super) fn watch_exceptions(&mut self) -> Result<(), String> {
        let binary = std::sync::Arc::clone(&self.binary);
        let functions: Vec<_> = wanted_exceptions(self.exceptions)
            .flat_map(|exception| exception.functions(&binary))
            .collect();
        self.exception_link = None;
        if !functions.is_empty() {
            self.exception_link = Some(self.probes.stop_at(&functions)?);
        }
        Ok(())
    }

    /// Takes that probe out: an int3 and a uprobe never share an address. Answers the stop that it has caused meanwhile, if it has.
    pub(super) fn unwatch_exceptions(&mut self) -> Option<ProbeStop> {
        if self.exception_link.take().is_some() {
            // What it caused before it came out lies in the ring.
            self.probes.drain();
        }
        self.probe_stop.take().or_else(|| self.probe_stops.try_recv().ok())
    }

    /// The probe has stopped the program.
    pub(super) fn on_probe_stop(&mut self, stop: ProbeStop) {
        if self.inferior.is_some() {
            return;
        }
        self.probe_stop = Some(stop);
        if let Err(error) = self.trace() {
            let text =
                format!("the program was stopped at a panic or a fatal error, and could not be looked at: {error}");
            let _ = self.events.send(Event::Notice(text));
            // Nobody else would let it go on.
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), nix::sys::signal::Signal::SIGCONT);
        }
    }

    /// Puts the thread that came to the probe back to where it was before the probed instruction: it may have run on for a few more before it stopped.
    pub(super) fn rewind_to_probe(&mut self, stop: &ProbeStop) -> Result<(), DebugError> {
        let inferior = self
            .inferior
            .as_mut()
            .ok_or_else(|| DebugError::Failed("the program is not traced".to_owned()))?;
        let failed = |error: &dyn std::fmt::Display| DebugError::Failed(error.to_string());
        let mut registers = inferior
            .general_registers(stop.thread)
            .map_err(|error| failed(&error))?;
        for (register, value) in &stop.registers {
            registers.set_general(*register, Some(*value));
        }
        inferior
            .set_registers(stop.thread, &registers)
            .map_err(|error| failed(&error))
    }

    /// What was passed to `panic` or to the runtime's `throw`, as text; `None` where it could not be read.
    pub(super) fn exception_text(&self, passer: &Passer, exception: Exception) -> Option<String> {
        let stack = self.stack_of(passer, 1)?;
        let memory = self.memory.as_ref()?;
        let scope = FrameScope::new(&self.binary, self.bias, &**memory, stack.frames.first()?);
        // The names of the parameters of runtime.fatalpanic and of runtime.throw.
        let expression = match exception {
            Exception::UnrecoveredPanic => "(*msgs).arg.(data)",
            Exception::FatalThrow => "s",
        };
        let value = scope.evaluate(expression, LoadConfig::DAP).ok()?;
        if value.unreadable.is_some() {
            return None;
        }
        Some(value.text(Style {
            shorten_types: true,
            ..Style::default()
        }))
    }
}
