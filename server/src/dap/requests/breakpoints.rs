//! `setBreakpoints` and its relatives.

use std::path::Path;

use dap::types::{Breakpoint, Source};
use serde::Deserialize;
use serde_json::json;

use crate::{
    dap::{
        debuggee::State,
        errors::{NO_DATA_BREAKPOINTS_NOW, UNABLE_TO_SET_BREAKPOINTS},
        message::Request,
        session::Session,
        substitute_path::SubstitutePath,
    },
    debugger::{BreakpointState, FunctionBreakpoint, SourceBreakpoint},
};

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
        let Some(debuggee) = self.debuggee() else { return };
        let (state, paths, pid) = (debuggee.state, debuggee.paths.clone(), debuggee.pid);
        let file = paths.to_server(&arguments.source.path);

        // One line, one breakpoint: a client that sends two gets an answer for each, and the first counts.
        let mut wanted: Vec<SourceBreakpoint> = Vec::with_capacity(arguments.breakpoints.len());
        let places: Vec<Result<usize, String>> = arguments
            .breakpoints
            .into_iter()
            .map(|breakpoint| {
                let line = u32::try_from(breakpoint.line)
                    .ok()
                    .filter(|line| *line > 0)
                    .ok_or_else(|| {
                        format!(
                            "could not find statement at {file}:{}, please use a line with a statement",
                            breakpoint.line
                        )
                    })?;
                if wanted.iter().any(|other| other.line == line) {
                    return Err("breakpoint already exists".to_owned());
                }
                wanted.push(SourceBreakpoint {
                    line,
                    log_message: given(breakpoint.log_message),
                    condition: given(breakpoint.condition),
                    hit_condition: given(breakpoint.hit_condition),
                });
                Ok(wanted.len() - 1)
            })
            .collect();
        debuggee.source_breakpoints.insert(file.clone(), wanted.clone());

        let states = if let State::Exited(status) = state {
            let obituary = self
                .debuggee()
                .map_or_else(String::new, |debuggee| debuggee.obituary(status));
            Err(obituary)
        } else {
            self.call(move |target| {
                target
                    .as_ref()
                    .map(|target| target.set_source_breakpoints(&file, &wanted))
            })
            .await
            .map_err(|gone| gone.to_string())
            .and_then(|states| states.ok_or_else(|| format!("Process {pid} is no longer debugged")))
        };
        let breakpoints: Vec<Breakpoint> = places.into_iter().map(|place| answer(place, &states, &paths)).collect();
        self.out.respond(request, Some(&json!({"breakpoints": breakpoints})));
    }

    /// Answers `setFunctionBreakpoints`.
    pub(super) async fn on_set_function_breakpoints(&mut self, request: &Request) {
        let arguments: FunctionArguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_SET_BREAKPOINTS, &text),
        };
        let Some(debuggee) = self.debuggee() else { return };
        let (state, paths, pid) = (debuggee.state, debuggee.paths.clone(), debuggee.pid);
        let mut wanted: Vec<FunctionBreakpoint> = Vec::with_capacity(arguments.breakpoints.len());
        let places: Vec<Result<usize, String>> = arguments
            .breakpoints
            .into_iter()
            .map(|breakpoint| {
                check_function_name(&breakpoint.name)?;
                if wanted.iter().any(|other| other.function == breakpoint.name) {
                    return Err("breakpoint already exists".to_owned());
                }
                wanted.push(FunctionBreakpoint {
                    function: breakpoint.name,
                    condition: given(breakpoint.condition),
                    hit_condition: given(breakpoint.hit_condition),
                });
                Ok(wanted.len() - 1)
            })
            .collect();
        debuggee.function_breakpoints.clone_from(&wanted);
        let states = if let State::Exited(status) = state {
            Err(self
                .debuggee()
                .map_or_else(String::new, |debuggee| debuggee.obituary(status)))
        } else {
            self.call(move |target| target.as_ref().map(|target| target.set_function_breakpoints(&wanted)))
                .await
                .map_err(|gone| gone.to_string())
                .and_then(|states| states.ok_or_else(|| format!("Process {pid} is no longer debugged")))
        };
        let breakpoints: Vec<Breakpoint> = places.into_iter().map(|place| answer(place, &states, &paths)).collect();
        self.out.respond(request, Some(&json!({"breakpoints": breakpoints})));
    }

    /// Answers requests for breakpoints that can only stop the program.
    pub(super) fn on_set_stopping_breakpoints(&mut self, request: &Request) {
        let arguments: AnyArguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_SET_BREAKPOINTS, &text),
        };
        let why = "it would stop the program, which this version of spelunk does not do; set a logpoint instead";
        let refused = Breakpoint {
            verified: false,
            message: Some(why.to_owned()),
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

    /// Answers `setExceptionBreakpoints`: no filter was announced, so none is active.
    pub(super) fn on_set_exception_breakpoints(&mut self, request: &Request) {
        self.out.respond(request, Some(&json!({})));
    }
}

/// Refuses names that are no functions, in Delve's words.
fn check_function_name(name: &str) -> Result<(), String> {
    if name.starts_with('.') {
        return Err("breakpoint names that are relative paths are not supported".to_owned());
    }
    if name.is_empty() || name.starts_with(['/', '*', '+', '-']) {
        return Err(format!(
            "breakpoint name {name:?} could not be parsed as a function. name must be in the format 'funcName', 'funcName:line' or 'fileName:line'"
        ));
    }
    Ok(())
}

/// The client's view of what became of one breakpoint.
fn answer(
    place: Result<usize, String>,
    states: &Result<Vec<BreakpointState>, String>,
    paths: &SubstitutePath,
) -> Breakpoint {
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
        id: (state.verified || source.is_some()).then_some(state.id.0),
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
