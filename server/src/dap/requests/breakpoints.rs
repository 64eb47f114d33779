//! `setBreakpoints` and its relatives.

use std::path::Path;

use dap::types::{Breakpoint, Source};
use serde::Deserialize;
use serde_json::json;
use spelunk_dwarf::ProcAddr;

use crate::{
    dap::{
        debuggee::State,
        errors::{NO_DATA_BREAKPOINT_INFO, NO_DATA_BREAKPOINTS_NOW, UNABLE_TO_SET_BREAKPOINTS},
        message::Request,
        session::Session,
        substitute_path::SubstitutePath,
        target::Target,
    },
    debugger::{BreakpointState, ExceptionFilters, FunctionBreakpoint, InstructionBreakpoint, SourceBreakpoint},
};

/// The filter for panics that nothing recovers; Delve's name.
pub(super) const UNRECOVERED_PANIC: &str = "unrecovered-panic";
/// The filter for fatal errors of the runtime; Delve's name.
pub(super) const FATAL_THROW: &str = "runtime-fatal-throw";

#[derive(Deserialize, Default)]
#[serde(default)]
struct SourceArguments {
    source: SourceName,
    breakpoints: Vec<Wanted>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SourceName {
    path: String,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Wanted {
    line: i64,
    log_message: String,
    condition: String,
    hit_condition: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct FunctionArguments {
    breakpoints: Vec<WantedFunction>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WantedFunction {
    name: String,
    condition: String,
    hit_condition: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct InstructionArguments {
    breakpoints: Vec<WantedInstruction>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct WantedInstruction {
    instruction_reference: String,
    offset: i64,
    condition: String,
    hit_condition: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ExceptionArguments {
    filters: Vec<String>,
}

/// For the other kinds only the number counts.
#[derive(Deserialize, Default)]
#[serde(default)]
struct AnyArguments {
    breakpoints: Vec<serde_json::Value>,
}

/// An empty string means that nothing was asked for.
fn given(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

impl Session {
    /// Answers `setBreakpoints`.
    pub(super) async fn on_set_breakpoints(&mut self, request: &Request) {
        let arguments: SourceArguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_SET_BREAKPOINTS, &text),
        };
        if arguments.source.path.is_empty() {
            return self.out.refuse(request, UNABLE_TO_SET_BREAKPOINTS, "empty file path");
        }
        let file = self.settings.paths.to_server(&arguments.source.path);
        let mut wanted: Vec<SourceBreakpoint> = Vec::with_capacity(arguments.breakpoints.len());
        let places: Vec<Place> = arguments
            .breakpoints
            .into_iter()
            .map(|breakpoint| {
                let line = u32::try_from(breakpoint.line).map_err(|_| {
                    format!(
                        "could not find statement at {file}:{}, please use a line with a statement",
                        breakpoint.line
                    )
                })?;
                let one = SourceBreakpoint {
                    line,
                    log_message: given(breakpoint.log_message),
                    condition: given(breakpoint.condition),
                    hit_condition: given(breakpoint.hit_condition),
                };
                once(&mut wanted, one, |other| other.line == line)
            })
            .collect();
        if let Some(debuggee) = self.debuggee() {
            debuggee.source_breakpoints.insert(file.clone(), wanted.clone());
        }
        let states = self
            .set(move |target| target.set_source_breakpoints(&file, &wanted))
            .await;
        self.answer_breakpoints(request, places, &states);
    }

    /// Answers `setFunctionBreakpoints`.
    pub(super) async fn on_set_function_breakpoints(&mut self, request: &Request) {
        let arguments: FunctionArguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_SET_BREAKPOINTS, &text),
        };
        let mut wanted: Vec<FunctionBreakpoint> = Vec::with_capacity(arguments.breakpoints.len());
        let places: Vec<Place> = arguments
            .breakpoints
            .into_iter()
            .map(|breakpoint| {
                check_function_name(&breakpoint.name)?;
                let one = FunctionBreakpoint {
                    function: breakpoint.name,
                    condition: given(breakpoint.condition),
                    hit_condition: given(breakpoint.hit_condition),
                };
                let name = one.function.clone();
                once(&mut wanted, one, |other| other.function == name)
            })
            .collect();
        if let Some(debuggee) = self.debuggee() {
            debuggee.function_breakpoints.clone_from(&wanted);
        }
        let states = self.set(move |target| target.set_function_breakpoints(&wanted)).await;
        if let (Ok(states), Some(debuggee)) = (&states, self.debuggee()) {
            debuggee.on_functions = states.iter().map(|state| state.id).collect();
        }
        self.answer_breakpoints(request, places, &states);
    }

    /// Answers `setInstructionBreakpoints`.
    pub(super) async fn on_set_instruction_breakpoints(&mut self, request: &Request) {
        let arguments: InstructionArguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_SET_BREAKPOINTS, &text),
        };
        let mut wanted: Vec<InstructionBreakpoint> = Vec::with_capacity(arguments.breakpoints.len());
        let places: Vec<Place> = arguments
            .breakpoints
            .into_iter()
            .map(|breakpoint| {
                let addr = address(&breakpoint.instruction_reference)?.wrapping_add_signed(breakpoint.offset);
                let one = InstructionBreakpoint {
                    addr: ProcAddr(addr),
                    condition: given(breakpoint.condition),
                    hit_condition: given(breakpoint.hit_condition),
                };
                once(&mut wanted, one, |other| other.addr == ProcAddr(addr))
            })
            .collect();
        if let Some(debuggee) = self.debuggee() {
            debuggee.instruction_breakpoints.clone_from(&wanted);
        }
        let states = self
            .set(move |target| target.set_instruction_breakpoints(&wanted))
            .await;
        if let (Ok(states), Some(debuggee)) = (&states, self.debuggee()) {
            debuggee.on_instructions = states.iter().map(|state| state.id).collect();
        }
        self.answer_breakpoints(request, places, &states);
    }

    /// Answers `setExceptionBreakpoints`.
    pub(super) async fn on_set_exception_breakpoints(&mut self, request: &Request) {
        let arguments: ExceptionArguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_SET_BREAKPOINTS, &text),
        };
        let on = |name: &str| arguments.filters.iter().any(|filter| filter == name);
        let filters = ExceptionFilters {
            unrecovered_panic: on(UNRECOVERED_PANIC),
            fatal_throw: on(FATAL_THROW),
        };
        if let Some(debuggee) = self.debuggee() {
            debuggee.exception_filters = filters;
        }
        let states = self.set(move |target| target.set_exception_filters(filters)).await;
        let places: Vec<Place> = (0..states.as_ref().map_or(0, Vec::len)).map(Ok).collect();
        if places.is_empty() {
            return self.out.respond(request, Some(&json!({})));
        }
        self.answer_breakpoints(request, places, &states);
    }

    /// Answers `setDataBreakpoints`, which is not announced.
    pub(super) fn on_set_data_breakpoints(&mut self, request: &Request) {
        let arguments: AnyArguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_SET_BREAKPOINTS, &text),
        };
        let refused = Breakpoint {
            verified: false,
            message: Some("watching a variable is not available in this version of spelunk".to_owned()),
            ..Breakpoint::default()
        };
        let breakpoints = vec![refused; arguments.breakpoints.len()];
        self.out.respond(request, Some(&json!({"breakpoints": breakpoints})));
    }

    /// Refuses data breakpoints while the program runs, as Delve does.
    pub(super) fn refuse_data_breakpoint(&mut self, request: &Request) {
        self.out
            .refuse(request, NO_DATA_BREAKPOINTS_NOW, NO_DATA_BREAKPOINTS_NOW.summary);
    }

    /// Refuses `dataBreakpointInfo`, which is not announced.
    pub(super) fn refuse_data_breakpoint_info(&mut self, request: &Request, state: State) {
        let why = self
            .obituary(state)
            .unwrap_or_else(|| "watching a variable is not available in this version of spelunk".to_owned());
        self.out.refuse(request, NO_DATA_BREAKPOINT_INFO, &why);
    }

    /// Sets breakpoints in the program, if there still is one.
    async fn set(
        &mut self,
        set: impl FnOnce(&dyn Target) -> Vec<BreakpointState> + Send + 'static,
    ) -> Result<Vec<BreakpointState>, String> {
        let Some(debuggee) = self.debuggee() else {
            return Err("the program is no longer debugged".to_owned());
        };
        let (state, pid) = (debuggee.state, debuggee.pid);
        if let Some(obituary) = self.obituary(state) {
            return Err(obituary);
        }
        self.events.hold_until_answered();
        let states = self.call(move |target| target.as_deref().map(set)).await;
        states
            .map_err(|gone| gone.to_string())?
            .ok_or_else(|| format!("Process {pid} is no longer debugged"))
    }

    /// Tells the client that a breakpoint is not what it was answered to be.
    pub(in crate::dap) fn tell_breakpoint(&mut self, state: &BreakpointState) {
        let breakpoint = answer(Ok(0), &Ok(vec![state.clone()]), &self.settings.paths);
        self.out
            .event_with("breakpoint", &json!({"reason": "changed", "breakpoint": breakpoint}));
    }

    fn answer_breakpoints(
        &mut self,
        request: &Request,
        places: Vec<Place>,
        states: &Result<Vec<BreakpointState>, String>,
    ) {
        let breakpoints: Vec<Breakpoint> = places
            .into_iter()
            .map(|place| answer(place, states, &self.settings.paths))
            .collect();
        self.out.respond(request, Some(&json!({"breakpoints": breakpoints})));
    }
}

/// The place of a wanted breakpoint among those that the debugger is asked for, or why it is not asked.
type Place = Result<usize, String>;

/// One place, one breakpoint: a client that sends two gets an answer for each, and the first counts.
fn once<T>(wanted: &mut Vec<T>, one: T, is_same: impl Fn(&T) -> bool) -> Place {
    if wanted.iter().any(is_same) {
        return Err("breakpoint already exists".to_owned());
    }
    wanted.push(one);
    Ok(wanted.len() - 1)
}

/// An instruction's address, in C's notation; a failure reads as Go's `strconv` says it.
fn address(text: &str) -> Result<u64, String> {
    let lower = text.to_ascii_lowercase();
    let (digits, radix) = match lower.strip_prefix("0x") {
        Some(digits) => (digits, 16),
        None => (lower.as_str(), 10),
    };
    u64::from_str_radix(digits, radix).map_err(|_| format!("strconv.ParseInt: parsing {text:?}: invalid syntax"))
}

/// Refuses names that are no functions, in Delve's words.
fn check_function_name(name: &str) -> Result<(), String> {
    if name.starts_with('.') {
        return Err("breakpoint names that are relative paths are not supported".to_owned());
    }
    if name.is_empty() {
        return Err("Malformed breakpoint location \"\" at 0: empty string".to_owned());
    }
    if name.starts_with(['/', '*', '+', '-']) {
        return Err(format!(
            "breakpoint name {name:?} could not be parsed as a function. name must be in the format 'funcName', 'funcName:line' or 'fileName:line'"
        ));
    }
    Ok(())
}

/// The client's view of what became of one breakpoint.
fn answer(place: Place, states: &Result<Vec<BreakpointState>, String>, paths: &SubstitutePath) -> Breakpoint {
    let state = match (place, states) {
        (Err(why), _) => Err(why),
        (Ok(_), Err(why)) => Err(why.clone()),
        (Ok(index), Ok(states)) => states
            .get(index)
            .ok_or_else(|| "the debugger gave no answer".to_owned()),
    };
    let state = match state {
        Ok(state) => state,
        Err(why) => {
            return Breakpoint {
                verified: false,
                message: Some(why),
                ..Breakpoint::default()
            };
        }
    };
    let source = state.file.as_ref().map(|file| {
        let path = paths.to_client(file);
        let name = Path::new(&path)
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        Source {
            name,
            path: Some(path),
            ..Source::default()
        }
    });
    Breakpoint {
        // A breakpoint that has no place has nothing that a later event could be about.
        id: (state.verified || state.is_pending || source.is_some()).then_some(state.id.0),
        verified: state.verified,
        message: state.message.clone(),
        source,
        line: state.line.map(i64::from),
        ..Breakpoint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_no_functions_are_refused_as_by_delve() {
        assert!(check_function_name("main.main").is_ok());
        assert!(check_function_name("main.go:10").is_ok());
        assert!(check_function_name("(*T).Method").is_ok());
        for name in [".x", "/re/", "*0x1", "+1", ""] {
            assert!(check_function_name(name).is_err(), "{name}");
        }
    }
}
