//! What a session needs of the debugger.
//!
//! The session speaks to these traits rather than to [`crate::debugger::Session`] itself, so that its order of
//! messages can be tested without a process and without privileges.

use spelunk_dwarf::ProcAddr;

use crate::debugger::{
    BreakpointState, CallOutcome, CallWish, ClientPaths, DebugError, EndWith, EventSender, ExceptionFilters,
    FollowChildren, FunctionBreakpoint, InstructionBreakpoint, LaunchSpec, ProbeAccount, ProbeLimits, Session,
    SourceBreakpoint, StepKind, Stop, Surroundings,
};
use crate::go_versions::UnknownVersions;
use crate::inspect::{FrameRef, Goroutine, ScopedValue, Stack, Tid, Whose};
use crate::value::{LoadConfig, Value};

/// Makes targets.
pub(crate) trait Launcher: Send + Sync {
    /// As [`Session::launch`].
    fn launch(&self, spec: &LaunchSpec, events: EventSender) -> Result<Box<dyn Target>, DebugError>;
    /// As [`Session::attach`].
    fn attach(&self, pid: i32, events: EventSender) -> Result<Box<dyn Target>, DebugError>;
}

/// A target under debug. It stays on one thread.
pub(crate) trait Target: Send {
    /// As [`Session::pid`].
    fn pid(&self) -> i32;
    /// As [`Session::own_thread`].
    fn own_thread(&self, thread: Tid) -> i32 {
        thread.0
    }
    /// As [`Session::resume`].
    fn resume(&self) -> Result<(), DebugError>;
    /// As [`Session::resume_unless_stopped`].
    fn resume_unless_stopped(&self) -> Result<(), DebugError>;
    /// As [`Session::set_source_breakpoints`].
    fn set_source_breakpoints(&self, file: &str, wanted: &[SourceBreakpoint]) -> Vec<BreakpointState>;
    /// As [`Session::set_function_breakpoints`].
    fn set_function_breakpoints(&self, wanted: &[FunctionBreakpoint]) -> Vec<BreakpointState>;
    /// Replaces the instruction breakpoints; as [`Target::set_function_breakpoints`].
    fn set_instruction_breakpoints(&self, wanted: &[InstructionBreakpoint]) -> Vec<BreakpointState>;
    /// Which panics and throws stop the target from now on; answers the state of each filter that is on, in the order of the struct's fields.
    fn set_exception_filters(&self, filters: ExceptionFilters) -> Vec<BreakpointState>;
    /// Stops the running target. `Event::Stopped` follows, with `StopReason::Pause` unless something else stopped it first; nothing when it is stopped already.
    fn halt(&self) -> Result<(), DebugError>;
    /// Moves the stopped target on by a step of the goroutine that `whose` names; `Event::Stopped` or `Event::Exited` follows.
    fn step(&self, whose: Whose, kind: StepKind) -> Result<(), DebugError>;
    /// The stop the target is at; `None` while it runs.
    fn stop(&self) -> Option<Stop>;
    /// Up to `count` goroutines from the `start`th on, in the order of `runtime.allgs`, and where to go on if there are more.
    fn goroutines(&self, start: usize, count: usize) -> Result<(Vec<Goroutine>, Option<usize>), DebugError>;
    /// One goroutine.
    fn goroutine(&self, id: i64) -> Result<Goroutine, DebugError>;
    /// The stack of a goroutine or thread, at most `depth` frames.
    fn stack(&self, whose: Whose, depth: usize) -> Result<Stack, DebugError>;
    /// The variables of a frame: parameters and results, then locals, sorted as the editor shows them.
    fn locals(&self, frame: FrameRef, config: LoadConfig) -> Result<Vec<ScopedValue>, DebugError>;
    /// What the function that was stepped out of last returned; empty where that was not the last thing that happened.
    fn return_values(&self, whose: Whose, config: LoadConfig) -> Result<Vec<Value>, DebugError>;
    /// As [`Session::call_expression`].
    fn call_expression(&self, wish: CallWish) -> Result<(), DebugError>;
    /// As [`Session::call_outcome`].
    fn call_outcome(&self) -> Result<Option<CallOutcome>, DebugError>;
    /// The variables of a package, named with their package.
    fn package_variables(&self, package: &str, config: LoadConfig) -> Result<Vec<Value>, DebugError>;
    /// The registers of a frame, by name and as text, in the order that Delve shows them.
    fn registers(&self, frame: FrameRef) -> Result<Vec<(String, String)>, DebugError>;
    /// Evaluates a Go expression in a frame.
    fn evaluate(&self, frame: FrameRef, expression: &str, config: LoadConfig) -> Result<Value, DebugError>;
    /// Loads a value again, further: of an array, slice, string or map the part that `range` names.
    fn reload(
        &self,
        frame: FrameRef,
        value: &Value,
        range: Option<std::ops::Range<u64>>,
        config: LoadConfig,
    ) -> Result<Value, DebugError>;
    /// Assigns the value of the Go expression `to` to what the Go expression `what` denotes.
    fn set_variable(&self, frame: FrameRef, what: &str, to: &str) -> Result<(), DebugError>;
    /// The source files that the target was built from, as the binary names them.
    fn source_files(&self) -> Result<Vec<String>, DebugError>;
    /// As [`Session::read_memory`].
    fn read_memory(&self, addr: ProcAddr, len: usize) -> Result<Vec<u8>, DebugError>;
    /// As [`Session::write_memory`].
    fn write_memory(&self, addr: ProcAddr, bytes: &[u8]) -> Result<(), DebugError>;
    /// As [`Session::follow_children`].
    fn follow_children(&self, follow: Option<FollowChildren>) -> Result<(), DebugError>;
    /// As [`Session::processes`].
    fn processes(&self) -> Result<Vec<i32>, DebugError>;
    /// As [`Session::select_process`].
    fn select_process(&self, pid: i32) -> Result<(), DebugError>;
    /// As [`Session::disassemble_around`].
    fn disassemble_around(&self, addr: ProcAddr, offset: i64, count: usize) -> Result<Surroundings, DebugError>;
    /// As [`Session::limit_probes`].
    fn limit_probes(&self, limits: ProbeLimits) -> Result<(), DebugError>;
    /// As [`Session::probe_accounts`].
    fn probe_accounts(&self) -> Result<Vec<ProbeAccount>, DebugError>;
    /// As [`Session::guess_paths`].
    fn guess_paths(&self, client: &ClientPaths) -> Result<Vec<(String, String)>, DebugError>;
    /// As [`Session::end`].
    fn end(self: Box<Self>, how: EndWith) -> Result<(), DebugError>;
}

/// The debugger, with what its command line says of all programs.
#[derive(Default)]
pub(crate) struct Engine {
    /// As [`LaunchSpec::unknown_versions`].
    pub(crate) unknown_versions: UnknownVersions,
    /// As [`LaunchSpec::disable_aslr`].
    pub(crate) disable_aslr: bool,
}

impl Launcher for Engine {
    fn launch(&self, spec: &LaunchSpec, events: EventSender) -> Result<Box<dyn Target>, DebugError> {
        let spec = LaunchSpec {
            unknown_versions: self.unknown_versions,
            disable_aslr: self.disable_aslr,
            ..spec.clone()
        };
        Ok(Box::new(Session::launch(&spec, events)?))
    }

    fn attach(&self, pid: i32, events: EventSender) -> Result<Box<dyn Target>, DebugError> {
        Ok(Box::new(Session::attach(pid, self.unknown_versions, events)?))
    }
}

impl Target for Session {
    fn pid(&self) -> i32 {
        Session::pid(self)
    }

    fn own_thread(&self, thread: Tid) -> i32 {
        Session::own_thread(self, thread)
    }

    fn resume(&self) -> Result<(), DebugError> {
        Session::resume(self)
    }

    fn resume_unless_stopped(&self) -> Result<(), DebugError> {
        Session::resume_unless_stopped(self)
    }

    fn set_source_breakpoints(&self, file: &str, wanted: &[SourceBreakpoint]) -> Vec<BreakpointState> {
        Session::set_source_breakpoints(self, file, wanted)
    }

    fn set_function_breakpoints(&self, wanted: &[FunctionBreakpoint]) -> Vec<BreakpointState> {
        Session::set_function_breakpoints(self, wanted)
    }

    fn set_instruction_breakpoints(&self, wanted: &[InstructionBreakpoint]) -> Vec<BreakpointState> {
        Session::set_instruction_breakpoints(self, wanted)
    }

    fn set_exception_filters(&self, filters: ExceptionFilters) -> Vec<BreakpointState> {
        Session::set_exception_filters(self, filters)
    }

    fn halt(&self) -> Result<(), DebugError> {
        Session::halt(self)
    }

    fn step(&self, whose: Whose, kind: StepKind) -> Result<(), DebugError> {
        Session::step(self, whose, kind)
    }

    fn stop(&self) -> Option<Stop> {
        Session::stop(self)
    }

    fn goroutines(&self, start: usize, count: usize) -> Result<(Vec<Goroutine>, Option<usize>), DebugError> {
        Session::goroutines(self, start, count)
    }

    fn goroutine(&self, id: i64) -> Result<Goroutine, DebugError> {
        Session::goroutine(self, id)
    }

    fn stack(&self, whose: Whose, depth: usize) -> Result<Stack, DebugError> {
        Session::stack(self, whose, depth)
    }

    fn locals(&self, frame: FrameRef, config: LoadConfig) -> Result<Vec<ScopedValue>, DebugError> {
        Session::locals(self, frame, config)
    }

    fn return_values(&self, whose: Whose, config: LoadConfig) -> Result<Vec<Value>, DebugError> {
        Session::return_values(self, whose, config)
    }

    fn call_expression(&self, wish: CallWish) -> Result<(), DebugError> {
        Session::call_expression(self, wish)
    }

    fn call_outcome(&self) -> Result<Option<CallOutcome>, DebugError> {
        Session::call_outcome(self)
    }

    fn package_variables(&self, package: &str, config: LoadConfig) -> Result<Vec<Value>, DebugError> {
        Session::package_variables(self, package, config)
    }

    fn registers(&self, frame: FrameRef) -> Result<Vec<(String, String)>, DebugError> {
        Session::registers(self, frame)
    }

    fn evaluate(&self, frame: FrameRef, expression: &str, config: LoadConfig) -> Result<Value, DebugError> {
        Session::evaluate(self, frame, expression, config)
    }

    fn reload(
        &self,
        frame: FrameRef,
        value: &Value,
        range: Option<std::ops::Range<u64>>,
        config: LoadConfig,
    ) -> Result<Value, DebugError> {
        Session::reload(self, frame, value, range, config)
    }

    fn set_variable(&self, frame: FrameRef, what: &str, to: &str) -> Result<(), DebugError> {
        Session::set_variable(self, frame, what, to)
    }

    fn source_files(&self) -> Result<Vec<String>, DebugError> {
        Session::source_files(self)
    }

    fn read_memory(&self, addr: ProcAddr, len: usize) -> Result<Vec<u8>, DebugError> {
        Session::read_memory(self, addr, len)
    }

    fn write_memory(&self, addr: ProcAddr, bytes: &[u8]) -> Result<(), DebugError> {
        Session::write_memory(self, addr, bytes)
    }

    fn follow_children(&self, follow: Option<FollowChildren>) -> Result<(), DebugError> {
        Session::follow_children(self, follow)
    }

    fn processes(&self) -> Result<Vec<i32>, DebugError> {
        Session::processes(self)
    }

    fn select_process(&self, pid: i32) -> Result<(), DebugError> {
        Session::select_process(self, pid)
    }

    fn disassemble_around(&self, addr: ProcAddr, offset: i64, count: usize) -> Result<Surroundings, DebugError> {
        Session::disassemble_around(self, addr, offset, count)
    }

    fn limit_probes(&self, limits: ProbeLimits) -> Result<(), DebugError> {
        Session::limit_probes(self, limits)
    }

    fn probe_accounts(&self) -> Result<Vec<ProbeAccount>, DebugError> {
        Session::probe_accounts(self)
    }

    fn guess_paths(&self, client: &ClientPaths) -> Result<Vec<(String, String)>, DebugError> {
        Session::guess_paths(self, client)
    }

    fn end(self: Box<Self>, how: EndWith) -> Result<(), DebugError> {
        Session::end(&self, how);
        Ok(())
    }
}
