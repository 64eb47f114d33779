//! One debug session, protocol-neutral: the only thing `dap/`, `rpc/` and `cli/` call.
//!
//! A session owns a target process and the logical breakpoints set in it. What happens in the target
//! reaches the owner through the [`Event`] channel it gave when it made the session.

use std::path::PathBuf;

use crossbeam_channel::Sender;

/// The number a client knows a logical breakpoint by; never used again within a session. Starts at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BreakpointId(pub i64);

/// How to start a target.
#[derive(Clone, Debug, Default)]
pub struct LaunchSpec {
    /// The executable to run.
    pub program: PathBuf,
    /// Its arguments, without the program's own name.
    pub args: Vec<String>,
    /// Changes to the inherited environment: a name with a value is set, without one is unset.
    pub env: Vec<(String, Option<String>)>,
    /// Working directory; the debugger's own when absent.
    pub cwd: Option<PathBuf>,
    /// Whether standard output and error come as events instead of going to the debugger's own.
    pub capture_output: bool,
}

/// One line breakpoint that a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceBreakpoint {
    /// 1-based line.
    pub line: u32,
    /// The text to log; `{expression}` parts are replaced by values. `None`: the program should stop here.
    pub log_message: Option<String>,
    /// A Go expression that must be true.
    pub condition: Option<String>,
    /// `> 3`, `== 4`, `% 5`.
    pub hit_condition: Option<String>,
}

/// One function breakpoint that a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionBreakpoint {
    /// A function's name, as `main.handler` or `main.(*T).Method`.
    pub function: String,
    /// As for a line breakpoint.
    pub condition: Option<String>,
    /// As for a line breakpoint.
    pub hit_condition: Option<String>,
}

/// What became of a requested breakpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BreakpointState {
    /// The logical breakpoint's number; the same again when the client sends an unchanged breakpoint again.
    pub id: BreakpointId,
    /// Whether it is in the target and will act.
    pub verified: bool,
    /// Why it is not verified, or what the client should know of it.
    pub message: Option<String>,
    /// The file it lies in, as the binary names it.
    pub file: Option<String>,
    /// The line it lies on.
    pub line: Option<u32>,
}

/// Something that happened in the session, in order.
#[derive(Clone, Debug)]
pub enum Event {
    /// A logpoint was passed.
    Log {
        /// Which logical breakpoint.
        id: BreakpointId,
        /// The goroutine that passed it; 0 on a thread that has none.
        goroutine: i64,
        /// The message with its values filled in, without a newline.
        text: String,
        /// The file of the logpoint, as the binary names it.
        file: String,
        /// Its line.
        line: u32,
    },
    /// The target wrote to its standard output (only with `capture_output`).
    Stdout(Vec<u8>),
    /// The target wrote to its standard error (only with `capture_output`).
    Stderr(Vec<u8>),
    /// Something the user should read: lost records, a probe that could not be placed.
    Notice(String),
    /// The target is gone. Everything it logged and wrote has been sent before this event.
    Exited {
        /// The process id it had.
        pid: i32,
        /// Its exit status, negative for the signal that killed it, absent where the kernel no longer tells.
        status: Option<i32>,
    },
}

/// What to do with the target at the end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndWith {
    /// Kill it and wait until it is gone.
    Kill,
    /// Take every probe out and let it go on.
    Detach,
}

/// Why the session could not do what was asked. The text says what was attempted and what can be done.
#[derive(Debug, thiserror::Error)]
pub enum DebugError {
    /// Carries a whole sentence from the layer that failed.
    #[error("{0}")]
    Failed(String),
}

/// A debug session with its target.
pub struct Session {
    _events: Sender<Event>,
}

impl Session {
    /// Creates the target, held before its first instruction until [`Session::resume`].
    pub fn launch(_spec: &LaunchSpec, _events: Sender<Event>) -> Result<Session, DebugError> {
        Err(DebugError::Failed("launching is being built".into()))
    }

    /// Attaches to a running process, which goes on running.
    pub fn attach(_pid: i32, _events: Sender<Event>) -> Result<Session, DebugError> {
        Err(DebugError::Failed("attaching is being built".into()))
    }

    /// The target's process id.
    pub fn pid(&self) -> i32 {
        0
    }

    /// Whether the target has been let go: always true for an attached one, false for a launched one before the first [`Session::resume`].
    pub fn is_running(&self) -> bool {
        false
    }

    /// Lets a launched target run. Does nothing when it already runs.
    pub fn resume(&self) -> Result<(), DebugError> {
        Ok(())
    }

    /// Replaces all breakpoints of one source file; answers one state for each wanted breakpoint, in order. Works before and while the target runs.
    pub fn set_source_breakpoints(&self, _file: &str, _wanted: &[SourceBreakpoint]) -> Vec<BreakpointState> {
        Vec::new()
    }

    /// Replaces all function breakpoints; answers one state for each, in order.
    pub fn set_function_breakpoints(&self, _wanted: &[FunctionBreakpoint]) -> Vec<BreakpointState> {
        Vec::new()
    }

    /// Ends the session. All events of the target have been sent when this returns.
    pub fn end(self, _how: EndWith) -> Result<(), DebugError> {
        Ok(())
    }
}
