//! placeholder
use std::process::ExitCode;
pub(super) fn print() -> ExitCode {
    ExitCode::SUCCESS
}
