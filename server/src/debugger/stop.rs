//! Why and where a target stopped, and how it is moved on.

use spelunk_dwarf::ProcAddr;

use super::BreakpointId;
use crate::inspect::Whose;

/// Why the target stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StopReason {
    /// Before its first instruction, as asked for at the launch.
    Entry,
    /// At breakpoints; all that the thread shown stands at, in the order they were set.
    Breakpoint(Vec<BreakpointId>),
    /// A step has arrived.
    Step,
    /// Somebody asked for a halt.
    Pause,
    /// A panic that nothing recovers: `runtime.fatalpanic`.
    UnrecoveredPanic {
        /// What was passed to `panic`, printed as the runtime would; absent where it could not be read.
        value: Option<String>,
    },
    /// `runtime.throw` or `runtime.fatal`.
    FatalThrow {
        /// The runtime's reason.
        text: Option<String>,
    },
    /// An `int3` of the program's own, such as `runtime.Breakpoint`.
    HardcodedBreakpoint,
    /// An expression with calls has been evaluated, or has failed: [`super::Session::call_outcome`] says which.
    CallReturned,
    /// It could not be moved on; carries a sentence.
    Failed(String),
}

/// A stop, told once for all threads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// Why.
    pub(crate) reason: StopReason,
    /// The goroutine (or thread without one) that caused it, which becomes the selected one.
    pub(crate) whose: Whose,
    /// Whether an unfinished step will be carried on by [`super::Session::resume`].
    pub(crate) step_interrupted: bool,
}

/// Which way a step goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StepKind {
    /// To the next line, over calls.
    Over,
    /// To the next line, into calls.
    Into,
    /// Out of the function.
    Out,
    /// One instruction, over a call.
    OverInstruction,
    /// One instruction.
    IntoInstruction,
}

/// Which panics and throws stop the target; Delve's exception breakpoint filters are always on, and so is each of these by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ExceptionFilters {
    /// Stop at a panic that nothing recovers.
    pub(crate) unrecovered_panic: bool,
    /// Stop at a fatal error of the runtime.
    pub(crate) fatal_throw: bool,
}

impl Default for ExceptionFilters {
    fn default() -> ExceptionFilters {
        ExceptionFilters {
            unrecovered_panic: true,
            fatal_throw: true,
        }
    }
}

/// A breakpoint at one instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InstructionBreakpoint {
    /// The instruction.
    pub(crate) addr: ProcAddr,
    /// As for a line breakpoint.
    pub(crate) condition: Option<String>,
    /// As for a line breakpoint.
    pub(crate) hit_condition: Option<String>,
}
