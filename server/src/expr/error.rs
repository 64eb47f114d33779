//! Why an expression has no value.

use spelunk_dwarf::DwarfError;

use super::ParseError;
use crate::value::ReadError;

/// Why an expression has no value. The texts are Delve's (`pkg/proc/eval.go`), which its clients show as they are.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvalError {
    /// The text is no expression.
    #[error("{0}")]
    Parse(#[from] ParseError),
    /// No variable of that name is in scope.
    #[error("could not find symbol value for {0}")]
    NoSymbol(String),
    /// No package has that.
    #[error("could not find symbol {0}")]
    NoGlobal(String),
    /// The variable is in scope but its place is not known here.
    #[error("could not read {0}: {1}")]
    NoPlace(String, String),
    /// The value cannot be read; the reason alone.
    #[error("{0}")]
    Unreadable(String),
    /// A field of something else.
    #[error("{0} (type {1}) is not a struct")]
    NotStruct(String, String),
    /// An unknown field of something that has none.
    #[error("{0} (type {1}) has no member {2}")]
    NoMemberOf(String, String, String),
    /// An unknown field.
    #[error("{0} has no member {1}")]
    NoMember(String, String),
    /// An index into something else.
    #[error("expression {0:?} ({1}) does not support indexing")]
    NotIndexable(String, String),
    /// A map's entries cannot be looked up here.
    #[error("expression {0:?} ({1}): map entries cannot be read by a logpoint yet")]
    MapIndex(String, String),
    /// Something that only a stopped program can answer.
    #[error("{0} cannot be evaluated by a logpoint")]
    NeedsStop(String),
    /// An index that is no integer.
    #[error("can not convert value of type {0} to int")]
    IndexType(String),
    /// An index out of range.
    #[error("index out of bounds")]
    OutOfBounds,
    /// `*x` of something else.
    #[error("expression {0:?} ({1}) can not be dereferenced")]
    NotPointer(String, String),
    /// Through a nil pointer.
    #[error("nil pointer dereference")]
    NilPointer,
    /// `len(x)` or `cap(x)` of something else.
    #[error("invalid argument {0} (type {1}) for {2}")]
    BadArgument(String, String, &'static str),
    /// A function of the program has to be called before there is a value. Whoever allowed calls knows which, makes the call, and evaluates again.
    #[error("a function call is pending")]
    CallPending,
    /// A call of the program's functions.
    #[error("function calls not allowed without using 'call'")]
    Call,
    /// Something that is no value by itself.
    #[error("{0} is not a value that can be shown here")]
    NotValue(String),
    /// Any other reason, as a sentence.
    #[error("{0}")]
    Refused(String),
    /// The debug information is broken.
    #[error("{0}")]
    Dwarf(String),
    /// Memory could not be read.
    #[error("{0}")]
    Read(#[from] ReadError),
}

impl From<DwarfError> for EvalError {
    fn from(error: DwarfError) -> Self {
        EvalError::Dwarf(error.to_string())
    }
}
