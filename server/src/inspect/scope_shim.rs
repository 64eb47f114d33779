#![allow(dead_code, missing_docs, unused_variables, clippy::all, clippy::pedantic)]
use super::{Frame, ScopedValue};
use crate::expr::{EvalError, Expr};
use crate::value::{LoadConfig, Memory, Value};
use spelunk_dwarf::{Binary, DwarfReg, LoadBias, ProcAddr};
use std::ops::Range;
use std::sync::Arc;
pub(crate) struct FrameScope<'a> {
    f: &'a Frame,
}
pub(crate) enum Write {
    Memory(ProcAddr, Vec<u8>),
    Register(DwarfReg, Vec<u8>),
}
impl<'a> FrameScope<'a> {
    pub(crate) fn new(
        binary: &'a Arc<Binary>,
        bias: LoadBias,
        memory: &'a dyn Memory,
        frame: &'a Frame,
    ) -> FrameScope<'a> {
        FrameScope { f: frame }
    }
    pub(crate) fn locals(&self, config: LoadConfig) -> Vec<ScopedValue> {
        vec![]
    }
    pub(crate) fn evaluate(&self, expr: &str, config: LoadConfig) -> Result<Value, EvalError> {
        Err(EvalError::OutOfBounds)
    }
    pub(crate) fn truth(&self, condition: &Expr) -> Result<bool, EvalError> {
        Err(EvalError::OutOfBounds)
    }
    pub(crate) fn reload(
        &self,
        value: &Value,
        range: Option<Range<u64>>,
        config: LoadConfig,
    ) -> Result<Value, EvalError> {
        Err(EvalError::OutOfBounds)
    }
    pub(crate) fn assign(
        &self,
        what: &str,
        to: &str,
        write: &mut dyn FnMut(Write) -> Result<(), String>,
    ) -> Result<(), EvalError> {
        Ok(())
    }
}
pub(crate) fn package_variables(
    binary: &Arc<Binary>,
    bias: LoadBias,
    memory: &dyn Memory,
    package: &str,
    config: LoadConfig,
) -> Vec<Value> {
    vec![]
}
