//! Panics that nothing recovers, and fatal errors of the runtime: how they are noticed while the program is not traced, and what they say.
//!
//! While it is traced they are stop sites. While it is not, a kernel probe at the entry of the runtime's function raises SIGSTOP; then the program is seized,
//! the sites are put in, and it goes on for the few instructions to the site behind the prologue, where it stops as any traced program does.

use super::breakpoints::{Exception, wanted_exceptions};
use super::control::Control;
use super::hits::Passer;
use crate::inspect::FrameScope;
use crate::value::{LoadConfig, Style};

/// What a program calls to stop itself under a debugger.
pub(super) const BREAKPOINT: &str = "runtime.Breakpoint";

impl Control {
    /// Puts the sites of the exception breakpoints where they are wanted.
    pub(super) fn set_exceptions(&mut self) {
        if self.refused.is_some() {
            // Nobody knows where they are in the program that runs.
            return;
        }
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
        // One that was attached to is not made to stop by its own breakpoints: without a debugger it would have died as well.
        let own = binary.function_named(BREAKPOINT).filter(|_| self.was_launched);
        let functions: Vec<_> = wanted_exceptions(self.exceptions)
            .flat_map(|exception| exception.functions(&binary))
            .chain(own)
            .collect();
        self.unwatch_exceptions();
        if !functions.is_empty() {
            self.exception_probes = Some(self.probes.stop_at(&functions)?);
        }
        Ok(())
    }

    /// Takes those probes out: from now on they stop nobody. What they have caused before waits to be judged.
    pub(super) fn unwatch_exceptions(&mut self) {
        if let Some(planted) = self.exception_probes.take() {
            self.uproot(planted);
        }
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
