//! Panics that nothing recovers, and fatal errors of the runtime: what they say.

use super::breakpoints::Exception;
use super::control::Control;
use super::hits::Passer;
use crate::inspect::FrameScope;
use crate::value::{LoadConfig, Style};

impl Control {
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
