//! A debug server for Go programs: DAP and JSON-RPC on Delve's command line, with logpoints and traces
//! that run in the kernel and never stop the program.

use std::process::ExitCode;

mod cli;
mod dap;
mod debugger;
mod expr;
mod logging;
mod process;
mod signals;
mod toolchain;
mod trace;
mod transport;
mod value;

fn main() -> ExitCode {
    let status = cli::run(std::env::args_os());
    // A program that a client launched and left running would end with this process.
    debugger::wait_for_left_targets();
    status
}
