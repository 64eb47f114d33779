//! Assignment, until variables can be assigned.

use spelunk_dwarf::{DwarfReg, ProcAddr};

use super::scope::FrameScope;
use crate::expr::EvalError;

/// What an assignment changes.
pub(crate) enum Write {
    /// Bytes in memory.
    Memory(ProcAddr, Vec<u8>),
    /// A register.
    Register(DwarfReg, Vec<u8>),
}

impl FrameScope<'_> {
    /// Refuses.
    pub(crate) fn assign(
        &self,
        _what: &str,
        _to: &str,
        _write: &mut dyn FnMut(Write) -> Result<(), String>,
    ) -> Result<(), EvalError> {
        Err(EvalError::Unreadable("assignments are not built yet".to_owned()))
    }
}
