//! Why a location expression means no place.

use crate::value::push_quoted;

/// Why a location expression means no place. The texts are Delve's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LocationError {
    /// It is no location expression.
    #[error("Malformed breakpoint location {} at {at}: {why}", quoted(expression))]
    Malformed {
        /// As it was given.
        expression: String,
        /// In bytes.
        at: usize,
        /// In a few words.
        why: String,
    },
    /// Nothing in the program is called so.
    #[error("location {} not found", quoted(.0))]
    NotFound(String),
    /// Several things are called so.
    #[error("Location {} ambiguous: {}…", quoted(expression), candidates.join(", "))]
    Ambiguous {
        /// As it was given.
        expression: String,
        /// Some of them.
        candidates: Vec<String>,
    },
    /// The program has no such file.
    #[error("could not find file {0}")]
    NoFile(String),
    /// A line of a file has no code.
    #[error("could not find statement at {file}:{line}, please use a line with a statement")]
    NoStatement {
        /// As the binary names it.
        file: String,
        /// The line.
        line: i64,
    },
    /// The program has no such function. Delve's text ends in a newline.
    #[error("could not find function {0}\n")]
    NoFunction(String),
    /// Carries a whole sentence.
    #[error("{0}")]
    Failed(String),
}

/// As Go's `%q`.
pub(super) fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_quoted(&mut out, text.as_bytes());
    out
}

impl From<&str> for LocationError {
    fn from(text: &str) -> LocationError {
        LocationError::Failed(text.to_owned())
    }
}
