//! Why a test, a demonstration or a benchmark could not go on.

use std::fmt;
use std::panic::Location;
use std::process::ExitCode;

/// A sentence that says what was attempted, and the line of the harness or test that attempted it.
pub struct Failure {
    text: String,
    at: &'static Location<'static>,
}

/// What everything in the harness answers.
pub type Result<T> = std::result::Result<T, Failure>;

impl Failure {
    /// A failure with this text, at the caller's line.
    #[track_caller]
    pub fn new(text: impl Into<String>) -> Failure {
        Failure {
            text: text.into(),
            at: Location::caller(),
        }
    }
}

/// What a program of the harness ends with: `true` is success; a failure is told.
#[must_use]
pub fn exit_code(outcome: Result<bool>) -> ExitCode {
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("{failure}");
            ExitCode::FAILURE
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

// The test runner prints a failed test's error by `Debug`, so this is the form that people read.
impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n    at {}:{}", self.text, self.at.file(), self.at.line())
    }
}

impl std::error::Error for Failure {}

/// Adds what was attempted to an error from below.
pub trait Attempt<T> {
    /// Turns an error into a [`Failure`] that begins with `what`.
    #[track_caller]
    fn attempt(self, what: impl fmt::Display) -> Result<T>;
}

impl<T, E: fmt::Display> Attempt<T> for std::result::Result<T, E> {
    #[track_caller]
    fn attempt(self, what: impl fmt::Display) -> Result<T> {
        match self {
            Ok(value) => Ok(value),
            Err(error) => Err(Failure::new(format!("{what}: {error}"))),
        }
    }
}

impl<T> Attempt<T> for Option<T> {
    #[track_caller]
    fn attempt(self, what: impl fmt::Display) -> Result<T> {
        match self {
            Some(value) => Ok(value),
            None => Err(Failure::new(format!("{what}: nothing there"))),
        }
    }
}
