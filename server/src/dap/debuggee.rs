//! What a session knows about the program it debugs.

use std::collections::BTreeMap;

use super::substitute_path::SubstitutePath;
use crate::{
    debugger::{FunctionBreakpoint, LaunchSpec, SourceBreakpoint},
    toolchain::Build,
};

/// A program under debug.
#[derive(Debug)]
pub(crate) struct Debuggee {
    /// Its process id.
    pub(crate) pid: i32,
    /// Where it stands.
    pub(crate) state: State,
    /// Whether it stays where it is after `configurationDone`, until `continue`.
    pub(crate) stop_on_entry: bool,
    /// The client's paths and the binary's.
    pub(crate) paths: SubstitutePath,
    /// How it came to be.
    pub(crate) origin: Origin,
    /// What the client asked for last, by the binary's file names; asked for again after a restart.
    pub(crate) source_breakpoints: BTreeMap<String, Vec<SourceBreakpoint>>,
    /// What the client asked for last.
    pub(crate) function_breakpoints: Vec<FunctionBreakpoint>,
}

/// How a program came to be debugged.
#[derive(Debug)]
pub(crate) enum Origin {
    /// It was started, and ends with the session.
    Launched {
        /// How.
        spec: LaunchSpec,
        /// What it was built from, when the session built it.
        build: Option<Box<Build>>,
    },
    /// It was running, and goes on after the session.
    Attached,
}

/// Where a program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The client has not sent `configurationDone`. A launched program is held, an attached one runs.
    Configuring,
    /// It is held before its first instruction, as `stopOnEntry` asked for.
    HeldAtEntry,
    /// It runs.
    Running,
    /// It is gone.
    Exited(Option<i32>),
    /// The session is ending it, and speaks for it.
    Ending,
}

impl Debuggee {
    /// Whether it was running before the session.
    pub(crate) fn is_attached(&self) -> bool {
        matches!(self.origin, Origin::Attached)
    }

    /// What is said about a program that is gone, in Delve's words.
    pub(crate) fn obituary(&self, status: Option<i32>) -> String {
        match status {
            Some(status) => format!("Process {} has exited with status {status}", self.pid),
            None => format!("Process {} has exited; the kernel no longer tells its status", self.pid),
        }
    }
}
