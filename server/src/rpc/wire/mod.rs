//! Delve's types as they go over the wire (`service/api/types.go`, Delve 1.27.1), and how our own become them.
//!
//! One file for each group. A conversion reads what the debugger says and adds nothing of its own.

#![allow(unused_imports, reason = "methods take what they need")]

mod breakpoint;
mod location;
mod program;
mod scalar;
mod stack;
mod state;
mod thread;
mod variable;

pub(crate) use breakpoint::*;
pub(crate) use location::*;
pub(crate) use program::*;
pub(crate) use scalar::*;
pub(crate) use stack::*;
pub(crate) use state::*;
pub(crate) use thread::*;
pub(crate) use variable::*;
