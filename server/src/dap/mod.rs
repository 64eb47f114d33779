//! The Debug Adapter Protocol, as `dlv dap` speaks it.
//!
//! One session serves one client: it reads requests, turns them into calls of [`crate::debugger`], and sends what
//! happens in the target as events, in the order in which Delve sends them. It knows no mechanism: what a logpoint
//! or a process is, is the debugger's business.
//!
//! Two threads share the work. The session's reads, answers and tells ([`session`], [`requests`], [`stops`]); the
//! [`worker`]'s calls the debugger where that may take long. What a client was shown of the target ([`bench`]) is either's, one at a time.

mod bench;
mod codec;
mod config;
mod container;
mod debuggee;
mod errors;
mod events;
mod function_name;
#[cfg(test)]
mod fuzz;
mod goroutine_filter;
mod handles;
mod message;
mod outgoing;
mod parts;
mod present;
mod remote;
mod requests;
mod session;
#[cfg(test)]
mod session_tests;
mod settings;
mod stops;
mod substitute_path;
mod target;
mod utf8;
mod worker;

pub(crate) use session::{serve, serve_remote};
pub(crate) use settings::Settings;
pub(crate) use target::Engine;
