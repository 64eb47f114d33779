//! Functions whose calls and returns are recorded until a client fetches them (`CreateEBPFTracepoint` and `GetBufferedTracepoints` of Delve's JSON-RPC).
//!
//! They are tracepoints that no list of breakpoints shows. Nothing but kernel probes carries them: where there are none they are refused.

use std::sync::Arc;

use iced_x86::FlowControl;
use spelunk_dwarf::FileAddr;

use super::breakpoints::{Carrier, GoroutineHits, Hits, Logical, Origin, ParsedTerms, Terms};
use super::control::{Control, failed};
use super::request::{AskedLoad, BreakpointTerms, Shown};
use super::{BreakpointId, DebugError};
use crate::location::places_of_function;
use crate::value::LoadConfig;

/// Which end of a call is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CallEnd {
    /// The function is called.
    Call,
    /// It returns.
    Return,
}

/// The numbers of recorded functions go down from here: no client has such (`NoLogicalID` in Delve's `pkg/proc/breakpoints.go`).
const FIRST: i64 = -1001;

impl Control {
    /// As [`super::Session::record_function`].
    pub(super) fn record_function(&mut self, name: &str) -> Result<(), DebugError> {
        let binary = Arc::clone(&self.binary);
        let calls = places_of_function(&binary, name, 0).map_err(failed)?;
        let mut returns = Vec::new();
        for addr in &calls {
            let Some(function) = binary.function_at(*addr) else {
                continue;
            };
            let code = self.code.of(&binary, function);
            let is_return = |instruction: &&iced_x86::Instruction| instruction.flow_control() == FlowControl::Return;
            // Of a function that was inlined the returns are those of its caller.
            if *function.name == *name || function.name.contains('[') {
                returns.extend(
                    code.instructions
                        .iter()
                        .filter(is_return)
                        .map(|found| FileAddr(found.ip())),
                );
            }
        }
        let call = self.record(CallEnd::Call, calls)?;
        if let Err(why) = self.record(CallEnd::Return, returns) {
            self.remove_breakpoints(&[call]);
            return Err(why);
        }
        self.guard_probes();
        Ok(())
    }

    fn record(&mut self, end: CallEnd, places: Vec<FileAddr>) -> Result<BreakpointId, DebugError> {
        let id = BreakpointId(
            self.breakpoints
                .iter()
                .map(|logical| logical.id.0)
                .min()
                .unwrap_or(0)
                .min(FIRST + 1)
                - 1,
        );
        let most = LoadConfig::DAP;
        let mut logical = Logical {
            id,
            origin: Origin::Single,
            terms: Terms::default(),
            parsed: ParsedTerms::default(),
            at: places
                .first()
                .and_then(|addr| self.binary.line_at(*addr))
                .map(|(file, line)| (file.to_string(), line)),
            places,
            hits: Hits::Here(0),
            carrier: Carrier::Nothing,
            message: None,
            evaluated_at_stops: false,
            switched_off: None,
            placed: None,
            extra: BreakpointTerms {
                tracepoint: true,
                load_args: Some(AskedLoad {
                    follow_pointers: most.follow_pointers,
                    max_variable_recurse: i64::from(most.max_variable_recurse),
                    max_string_len: i64::from(most.max_string_len),
                    max_array_values: i64::from(most.max_array_values),
                    max_struct_fields: -1,
                }),
                ..BreakpointTerms::default()
            },
            recorded: Some(end),
            enabled: true,
            by_goroutine: GoroutineHits::default(),
            told_apart: false,
            shown: Shown::default(),
        };
        if logical.places.is_empty() {
            // It never returns.
            return Ok(id);
        }
        self.arm(&mut logical).map_err(failed)?;
        if !matches!(logical.carrier, Carrier::Probes(_)) {
            self.disarm(&mut logical);
            let why = logical.message.unwrap_or_else(|| "a breakpoint lies there".to_owned());
            return Err(failed(format!("eBPF is not supported: {why}")));
        }
        self.breakpoints.put_back(logical);
        Ok(id)
    }
}
