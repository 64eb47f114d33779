//! Why a condition cannot be decided in the kernel.

use spelunk_dwarf::DwarfError;

use crate::expr::EvalError;
use crate::value::ReadError;

/// A part of a condition that the kernel cannot evaluate, although a stopped program could answer it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{part} {why}")]
pub(crate) struct NotLowered {
    /// The smallest part that is to blame, as source text.
    pub(crate) part: String,
    /// The reason, as a clause that reads well behind the part: "needs a map lookup".
    pub(crate) why: String,
}

impl NotLowered {
    /// The refusal of `part`, because it `why`.
    pub(super) fn new(part: impl std::fmt::Display, why: impl Into<String>) -> NotLowered {
        NotLowered {
            part: part.to_string(),
            why: why.into(),
        }
    }
}

/// Why there is no condition for the kernel.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LowerError {
    /// The condition has no value at the site, wherever it is evaluated; as the interpreter would say.
    #[error("{0}")]
    Condition(EvalError),
    /// The kernel cannot decide it; a stop could.
    #[error("{0}")]
    NotLowered(NotLowered),
}

impl From<EvalError> for LowerError {
    fn from(error: EvalError) -> LowerError {
        LowerError::Condition(error)
    }
}

impl From<DwarfError> for LowerError {
    fn from(error: DwarfError) -> LowerError {
        LowerError::Condition(error.into())
    }
}

impl From<ReadError> for LowerError {
    fn from(error: ReadError) -> LowerError {
        LowerError::Condition(error.into())
    }
}

impl From<NotLowered> for LowerError {
    fn from(error: NotLowered) -> LowerError {
        LowerError::NotLowered(error)
    }
}
