//! Delve's types as they go over the wire (`service/api/types.go`, Delve 1.27.1), and how our own become them.
//!
//! One file for each group. A conversion reads what the debugger says and adds nothing of its own.

mod state;

pub(crate) use state::*;
