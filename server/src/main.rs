//! A debug server for Go programs: DAP and JSON-RPC on Delve's command line, with logpoints and traces
//! that run in the kernel and never stop the program.

use std::process::ExitCode;

mod assembly;
mod cli;
mod dap;
mod debugger;
mod expr;
#[cfg(test)]
mod fuzz;
mod go_versions;
mod handover;
mod host;
mod inspect;
mod location;
mod logging;
mod process;
mod rpc;
mod signals;
mod toolchain;
mod trace;
mod transport;
mod value;

fn main() -> ExitCode {
    cli::run(std::env::args_os())
}
