//! The Debug Adapter Protocol, as `dlv dap` speaks it.
//!
//! One session serves one client: it reads requests, turns them into calls of [`crate::debugger`], and sends what
//! happens in the target as events, in the order in which Delve sends them. It knows no mechanism: what a logpoint
//! or a process is, is the debugger's business.

mod codec;
mod config;
mod debuggee;
mod errors;
mod events;
mod message;
mod outgoing;
mod requests;
mod session;
#[cfg(test)]
mod session_tests;
mod substitute_path;
mod target;
mod utf8;
mod worker;

pub(crate) use session::serve;
pub(crate) use target::Engine;
