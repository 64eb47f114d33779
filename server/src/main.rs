//! A debug server for Go programs: DAP and JSON-RPC on Delve's command line, with logpoints and traces
//! that run in the kernel and never stop the program.

mod debugger;

fn main() {}
