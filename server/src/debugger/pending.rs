//! What the trait `Target` asks for and the debugger does not do yet. Each method goes when it is built.

use std::ops::Range;

use super::{BreakpointState, DebugError, ExceptionFilters, InstructionBreakpoint, Session, StepKind, Stop};
use crate::inspect::{FrameRef, Goroutine, ScopedValue, Stack, Whose};
use crate::value::{LoadConfig, Value};

fn pending<T>() -> Result<T, DebugError> {
    Err(DebugError::Failed("this version does not stop programs".to_owned()))
}

#[allow(clippy::unused_self, missing_docs, dead_code)]
impl Session {
    pub(crate) fn set_instruction_breakpoints(&self, _: &[InstructionBreakpoint]) -> Vec<BreakpointState> {
        Vec::new()
    }
    pub(crate) fn set_exception_filters(&self, _: ExceptionFilters) -> Vec<BreakpointState> {
        Vec::new()
    }
    pub(crate) fn halt(&self) -> Result<(), DebugError> {
        pending()
    }
    pub(crate) fn step(&self, _: Whose, _: StepKind) -> Result<(), DebugError> {
        pending()
    }
    pub(crate) fn stop(&self) -> Option<Stop> {
        None
    }
    pub(crate) fn goroutines(&self, _: usize, _: usize) -> Result<(Vec<Goroutine>, Option<usize>), DebugError> {
        pending()
    }
    pub(crate) fn goroutine(&self, _: i64) -> Result<Goroutine, DebugError> {
        pending()
    }
    pub(crate) fn stack(&self, _: Whose, _: usize) -> Result<Stack, DebugError> {
        pending()
    }
    pub(crate) fn locals(&self, _: FrameRef, _: LoadConfig) -> Result<Vec<ScopedValue>, DebugError> {
        pending()
    }
    pub(crate) fn return_values(&self, _: Whose, _: LoadConfig) -> Result<Vec<Value>, DebugError> {
        pending()
    }
    pub(crate) fn package_variables(&self, _: &str, _: LoadConfig) -> Result<Vec<Value>, DebugError> {
        pending()
    }
    pub(crate) fn registers(&self, _: FrameRef) -> Result<Vec<(String, String)>, DebugError> {
        pending()
    }
    pub(crate) fn evaluate(&self, _: FrameRef, _: &str, _: LoadConfig) -> Result<Value, DebugError> {
        pending()
    }
    pub(crate) fn reload(
        &self,
        _: FrameRef,
        _: &Value,
        _: Option<Range<u64>>,
        _: LoadConfig,
    ) -> Result<Value, DebugError> {
        pending()
    }
    pub(crate) fn set_variable(&self, _: FrameRef, _: &str, _: &str) -> Result<(), DebugError> {
        pending()
    }
}
