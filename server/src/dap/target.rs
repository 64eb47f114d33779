//! What a session needs of the debugger.
//!
//! The session speaks to these traits rather than to [`crate::debugger::Session`] itself, so that its order of
//! messages can be tested without a process and without privileges.

use crossbeam_channel::Sender;

use crate::debugger::{
    BreakpointState, DebugError, EndWith, Event, FunctionBreakpoint, LaunchSpec, Session, SourceBreakpoint,
};

/// Makes targets.
pub(crate) trait Launcher: Send + Sync {
    /// As [`Session::launch`].
    fn launch(&self, spec: &LaunchSpec, events: Sender<Event>) -> Result<Box<dyn Target>, DebugError>;
    /// As [`Session::attach`].
    fn attach(&self, pid: i32, events: Sender<Event>) -> Result<Box<dyn Target>, DebugError>;
}

/// A target under debug. It stays on one thread.
pub(crate) trait Target {
    /// As [`Session::pid`].
    fn pid(&self) -> i32;
    /// As [`Session::resume`].
    fn resume(&self) -> Result<(), DebugError>;
    /// As [`Session::set_source_breakpoints`].
    fn set_source_breakpoints(&self, file: &str, wanted: &[SourceBreakpoint]) -> Vec<BreakpointState>;
    /// As [`Session::set_function_breakpoints`].
    fn set_function_breakpoints(&self, wanted: &[FunctionBreakpoint]) -> Vec<BreakpointState>;
    /// As [`Session::end`].
    fn end(self: Box<Self>, how: EndWith) -> Result<(), DebugError>;
}

/// The debugger.
pub(crate) struct Engine;

impl Launcher for Engine {
    fn launch(&self, spec: &LaunchSpec, events: Sender<Event>) -> Result<Box<dyn Target>, DebugError> {
        Ok(Box::new(Session::launch(spec, events)?))
    }

    fn attach(&self, pid: i32, events: Sender<Event>) -> Result<Box<dyn Target>, DebugError> {
        Ok(Box::new(Session::attach(pid, events)?))
    }
}

impl Target for Session {
    fn pid(&self) -> i32 {
        Session::pid(self)
    }

    fn resume(&self) -> Result<(), DebugError> {
        Session::resume(self)
    }

    fn set_source_breakpoints(&self, file: &str, wanted: &[SourceBreakpoint]) -> Vec<BreakpointState> {
        Session::set_source_breakpoints(self, file, wanted)
    }

    fn set_function_breakpoints(&self, wanted: &[FunctionBreakpoint]) -> Vec<BreakpointState> {
        Session::set_function_breakpoints(self, wanted)
    }

    fn end(self: Box<Self>, how: EndWith) -> Result<(), DebugError> {
        Session::end(*self, how);
        Ok(())
    }
}
