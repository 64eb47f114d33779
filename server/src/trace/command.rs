//! The `trace` command.

use std::process::ExitCode;

use crate::cli::trace::TraceArgs;

/// Traces, and says what became of it.
pub(crate) fn run(args: &TraceArgs) -> ExitCode {
    eprintln!("tracing of {} is not available in this build", args.regexp);
    ExitCode::FAILURE
}
