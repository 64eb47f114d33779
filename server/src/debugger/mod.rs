//! One debug session, protocol-neutral: the only thing `dap/`, `rpc/` and `cli/` call.
//!
//! A session owns a target process and the logical breakpoints set in it. What happens in the target
//! reaches the owner as [`Event`]s, through the queue it gave when it made the session.

mod accounts;
mod breaker;
mod breakpoint_views;
mod breakpoints;
mod calls;
mod closing;
mod code;
mod control;
mod coroutine;
mod disassembly;
mod ending;
mod event_queue;
mod exceptions;
mod following;
mod function_location;
mod group;
mod guard;
mod hardcoded_breakpoints;
pub(crate) mod hit_condition;
mod hits;
mod injection;
mod inspection;
mod landing;
mod limits;
mod locating;
mod machine_list;
mod message;
mod output;
mod passes;
mod path_guess;
mod preconditions;
mod probe_stops;
mod probes;
mod program;
mod range_over_func;
mod reachable;
mod recording;
mod register_list;
mod request;
mod returns;
mod saved;
mod seizing;
mod session;
mod setting;
mod single;
mod sites;
mod stack_trace;
mod stepping;
mod stepping_into;
mod stop;
mod stopping;
mod temporary;
#[cfg(test)]
mod tests;

pub(crate) use accounts::{ProbeAccount, ProbeState};
pub(crate) use disassembly::{Assembly, CodeRange, Surroundings};
pub(crate) use event_queue::{EventReceiver, EventSender, event_queue};
pub(crate) use following::FollowChildren;
pub(crate) use injection::{CallOutcome, CallWish};
pub(crate) use locating::LocationQuery;
pub(crate) use machine_list::RegisterText;
pub(crate) use passes::Pass;
pub(crate) use path_guess::ClientPaths;
pub(crate) use preconditions::{check_backend, check_launch, go_reason};
pub(crate) use program::Program;
pub(crate) use recording::CallEnd;
pub(crate) use request::{
    AskedLoad, BreakpointAddress, BreakpointPlace, BreakpointRequest, BreakpointTerms, BreakpointView,
    LocationExpression, PhysicalView,
};
pub(crate) use saved::SavedBreakpoints;
pub(crate) use session::Session;
pub(crate) use stack_trace::{StackTrace, StackWish, TracedFrame};
pub(crate) use stop::{ExceptionFilters, InstructionBreakpoint, StepKind, Stop, StopReason};

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use spelunk_dwarf::DebugDirectories;

use crate::go_versions::UnknownVersions;

/// The number a client knows a logical breakpoint by; never used again within a session. Starts at 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct BreakpointId(pub(crate) i64);

/// How to start a target.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaunchSpec {
    /// The executable to run.
    pub(crate) program: PathBuf,
    /// Its arguments, without the program's own name.
    pub(crate) args: Vec<String>,
    /// Changes to the inherited environment: a name with a value is set, without one is unset.
    pub(crate) env: Vec<(String, Option<String>)>,
    /// Working directory; the debugger's own when absent.
    pub(crate) cwd: Option<PathBuf>,
    /// Whether standard output and error come as events instead of going to the debugger's own.
    pub(crate) capture_output: bool,
    /// Files for standard input, output and error in place of what they would be.
    pub(crate) redirect: [Option<PathBuf>; 3],
    /// Whether the program reads the debugger's standard input; else it reads an empty one. If that is a terminal, the program is in its foreground.
    pub(crate) inherit_stdin: bool,
    /// A terminal for standard input, output and error, which the program's session has for its own.
    pub(crate) terminal: Option<PathBuf>,
    /// Whether the kernel should lay the program out the same way each time.
    pub(crate) disable_aslr: bool,
    /// Where debug information is looked for that the executable lacks.
    pub(crate) debug_directories: DebugDirectories,
    /// What becomes of it, if its Go version is not known.
    pub(crate) unknown_versions: UnknownVersions,
}

/// One line breakpoint that a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceBreakpoint {
    /// 1-based line.
    pub(crate) line: u32,
    /// The text to log; `{expression}` parts are replaced by values. `None`: the program should stop here.
    pub(crate) log_message: Option<String>,
    /// A Go expression that must be true.
    pub(crate) condition: Option<String>,
    /// `> 3`, `== 4`, `% 5`.
    pub(crate) hit_condition: Option<String>,
}

/// One function breakpoint that a client asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FunctionBreakpoint {
    /// A function's name, as `main.handler` or `main.(*T).Method`.
    pub(crate) function: String,
    /// As for a line breakpoint.
    pub(crate) condition: Option<String>,
    /// As for a line breakpoint.
    pub(crate) hit_condition: Option<String>,
}

/// What became of a requested breakpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BreakpointState {
    /// The logical breakpoint's number; the same again when the client sends an unchanged breakpoint again.
    pub(crate) id: BreakpointId,
    /// Whether it is in the target and will act.
    pub(crate) verified: bool,
    /// Why it is not verified, or what the client should know of it.
    pub(crate) message: Option<String>,
    /// The file it lies in, as the binary names it.
    pub(crate) file: Option<String>,
    /// The line it lies on.
    pub(crate) line: Option<u32>,
    /// Whether it waits for a program that has its place, and its client hears of that.
    pub(crate) is_pending: bool,
}

/// A log message that was gathered with others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogMessage {
    /// As in [`Event::Log`].
    pub(crate) goroutine: i64,
    /// As in [`Event::Log`].
    pub(crate) text: String,
    /// As in [`Event::Log`].
    pub(crate) file: String,
    /// As in [`Event::Log`].
    pub(crate) line: u32,
}

/// Log messages that were left out, by the line of the logpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Suppressed(pub(crate) Vec<(String, u32, u64)>);

impl Suppressed {
    /// Counts more of them.
    pub(crate) fn add(&mut self, file: &str, line: u32, count: u64) {
        let known = self.0.iter_mut().find(|known| known.1 == line && known.0 == file);
        match known {
            Some((_, _, counted)) => *counted += count,
            None => self.0.push((file.to_owned(), line, count)),
        }
    }

    /// Adds those of another.
    pub(crate) fn merge(&mut self, other: &Suppressed) {
        for (file, line, count) in &other.0 {
            self.add(file, *line, *count);
        }
    }

    /// How many there are.
    pub(crate) fn total(&self) -> u64 {
        self.0.iter().map(|(_, _, count)| count).sum()
    }
}

/// What probes may do to the program.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ProbeLimits {
    /// Whether a logpoint on a program that was attached to may stop it at each hit, where the kernel cannot serve it. A launched program is always stopped then.
    pub(crate) may_stop_for_logpoints: bool,
    /// How many messages each logpoint may write in a second; `None`: any number.
    pub(crate) messages_per_second: Option<NonZeroU32>,
    /// What share of one core each breakpoint's probes may take, 1.0 being all of it; `None`: any.
    pub(crate) share_of_core: Option<f64>,
}

/// Something that happened in the session, in order.
#[derive(Clone, Debug)]
pub(crate) enum Event {
    /// A logpoint was passed.
    Log {
        /// The goroutine that passed it; 0 on a thread that has none.
        goroutine: i64,
        /// The message with its values filled in, without a newline.
        text: String,
        /// The file of the logpoint, as the binary names it.
        file: String,
        /// Its line.
        line: u32,
    },
    /// A tracepoint was passed, and the program runs on.
    Traced(Arc<Pass>),
    /// Logpoints were passed faster than a person reads: their messages in order.
    Backlog(Vec<LogMessage>),
    /// Logpoints were passed faster than their messages could be sent: here so many are missing.
    Suppressed(Suppressed),
    /// The target wrote to its standard output (only with `capture_output`).
    Stdout(Vec<u8>),
    /// The target wrote to its standard error (only with `capture_output`).
    Stderr(Vec<u8>),
    /// The target has stopped, and stays so until it is moved on. All that was logged and written before has been sent before this event.
    Stopped(Stop),
    /// The target moves again: another client has moved it.
    Resumed,
    /// A child of a target has executed a program, while children are followed.
    Spawned {
        /// Its process id.
        pid: i32,
        /// What it was started with, its arguments parted by spaces.
        command_line: String,
        /// Whether it is one of those that are followed. It has become a target then, if its program says what that takes.
        is_wanted: bool,
    },
    /// A breakpoint that was nowhere lies in a new target.
    Materialized(Arc<BreakpointView>, BreakpointState),
    /// A breakpoint is not what its client knows of it any more.
    BreakpointChanged(BreakpointState),
    /// Something the user should not miss: a probe was switched off.
    Warning(String),
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
pub(crate) enum EndWith {
    /// Kill it and wait until it is gone.
    Kill,
    /// Take every probe out and let it go on; an attached target only.
    Detach,
}

/// Why the session could not do what was asked. The text says what was attempted and what can be done.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DebugError {
    /// Carries a whole sentence from the layer that failed.
    #[error("{0}")]
    Failed(String),
}
