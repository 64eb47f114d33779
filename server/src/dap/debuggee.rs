//! What a session knows about the program it debugs.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    dap::message::Request,
    debugger::{
        BreakpointId, ExceptionFilters, FunctionBreakpoint, InstructionBreakpoint, LaunchSpec, SourceBreakpoint,
    },
    inspect::Whose,
    toolchain::Build,
};

/// A program under debug.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
pub(crate) struct Debuggee {
    /// Its process id.
    pub(crate) pid: i32,
    /// Where it stands.
    pub(crate) state: State,
    /// Whether it stays where it is after `configurationDone`, until `continue`.
    pub(crate) stop_on_entry: bool,
    /// Whether it runs while the client configures the session.
    pub(crate) runs_meanwhile: bool,
    /// Whether `pause` was asked for since it was let run.
    pub(crate) pause_requested: bool,
    /// Whether a step waits to be carried on.
    pub(crate) step_interrupted: bool,
    /// The client waits for what a call of the program's functions returns.
    pub(crate) call: Option<PendingCall>,
    /// A call that something has stopped: its client is told so once it has been told of that.
    pub(crate) interrupted_call: Option<PendingCall>,
    /// What its client is told, where it was not stopped.
    pub(crate) interruption: Option<String>,
    /// What went wrong when it was to move on, until it moves.
    pub(crate) failure: Option<String>,
    /// How it came to be.
    pub(crate) origin: Origin,
    /// What the client asked for last, by the binary's file names; asked for again after a restart.
    pub(crate) source_breakpoints: BTreeMap<String, Vec<SourceBreakpoint>>,
    /// What the client asked for last.
    pub(crate) function_breakpoints: Vec<FunctionBreakpoint>,
    /// What the client asked for last.
    pub(crate) instruction_breakpoints: Vec<InstructionBreakpoint>,
    /// What the client asked for last.
    pub(crate) exception_filters: ExceptionFilters,
    /// The numbers of the function breakpoints.
    pub(crate) on_functions: BTreeSet<BreakpointId>,
    /// The numbers of the instruction breakpoints.
    pub(crate) on_instructions: BTreeSet<BreakpointId>,
}

/// A call of the program's functions that the client has asked for.
#[derive(Clone, Debug)]
pub(crate) struct PendingCall {
    /// What is answered when the call has returned, or something else has stopped the program.
    pub(crate) request: Request,
    /// The goroutine.
    pub(crate) whose: Whose,
    /// What for.
    pub(crate) purpose: CallPurpose,
}

/// What the program's functions are called for.
#[derive(Clone, Debug)]
pub(crate) enum CallPurpose {
    /// `call` in the debug console.
    Evaluate {
        /// Whether an error is to be shown to the user; the client need not where it shows it in place.
        visible: bool,
    },
    /// `setVariable` of a string, for which the program has to make room.
    Set {
        /// The value as the client wrote it.
        value: String,
        /// The variable's type, for clients that show types.
        type_name: String,
    },
}

/// How a program came to be debugged.
#[derive(Debug)]
pub(crate) enum Origin {
    /// It was started, and ends with the session.
    Launched {
        /// How.
        spec: Box<LaunchSpec>,
        /// What it was built from, when the session built it.
        build: Option<Box<Build>>,
    },
    /// It was running, and goes on after the session.
    Attached,
    /// A headless server debugs it, for this client and others.
    Remote {
        /// Whether it was running before the server.
        attached: bool,
    },
}

/// Where a program stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The client has not sent `configurationDone`. A launched program is held, an attached one runs.
    Configuring,
    /// It stands still: before its first instruction, as `stopOnEntry` asked for, or at a stop.
    Stopped,
    /// It runs.
    Running,
    /// It is gone.
    Exited(Option<i32>),
    /// The session is ending it, and speaks for it.
    Ending,
}

impl Debuggee {
    /// A program that the client has yet to configure.
    pub(crate) fn new(pid: i32, origin: Origin) -> Debuggee {
        Debuggee {
            pid,
            state: State::Configuring,
            stop_on_entry: false,
            runs_meanwhile: matches!(origin, Origin::Attached),
            pause_requested: false,
            step_interrupted: false,
            call: None,
            interrupted_call: None,
            interruption: None,
            failure: None,
            origin,
            source_breakpoints: BTreeMap::new(),
            function_breakpoints: Vec::new(),
            instruction_breakpoints: Vec::new(),
            exception_filters: ExceptionFilters::default(),
            on_functions: BTreeSet::new(),
            on_instructions: BTreeSet::new(),
        }
    }

    /// Whether it was running before the session.
    pub(crate) fn is_attached(&self) -> bool {
        matches!(self.origin, Origin::Attached | Origin::Remote { attached: true })
    }

    /// What is said about a program that is gone, in Delve's words.
    pub(crate) fn obituary(&self, status: Option<i32>) -> String {
        match status {
            Some(status) => format!("Process {} has exited with status {status}", self.pid),
            None => format!("Process {} has exited; the kernel no longer tells its status", self.pid),
        }
    }
}
