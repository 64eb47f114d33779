//! `exceptionInfo`.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    dap::{
        bench::Look,
        debuggee::State,
        errors::UNABLE_TO_GET_EXCEPTION_INFO,
        function_name,
        message::Request,
        session::Session,
        stops::{STEP_WHILE_STEPPING, constant_text},
    },
    debugger::StopReason,
    inspect::{FrameRef, Goroutine, Whose},
};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Arguments {
    thread_id: i64,
}

/// What Delve says where there was no exception.
const NO_ERROR: &str = "no runtime error found";

impl Session {
    /// Answers `exceptionInfo`.
    pub(super) async fn on_exception_info(&mut self, request: &Request, state: State) {
        let arguments: Arguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.refuse(request, UNABLE_TO_GET_EXCEPTION_INFO, &text),
        };
        let failure = self.debuggee().and_then(|debuggee| debuggee.failure.clone());
        let found = match state {
            State::Exited(_) => Err(NO_ERROR.to_owned()),
            _ => {
                self.inspect(move |at| exception(at, arguments.thread_id, failure.as_deref()))
                    .await
            }
        };
        match found {
            Ok(body) => self.out.respond(request, Some(&body)),
            Err(why) => self.out.refuse(request, UNABLE_TO_GET_EXCEPTION_INFO, &why),
        }
    }
}

fn exception(at: &Look<'_>, id: i64, failure: Option<&str>) -> Result<Value, String> {
    let goroutine = at.target.goroutine(id).map_err(|error| error.to_string())?;
    let whose = Whose::Goroutine(id);
    let stop = at.target.stop();
    let reason = stop.filter(|stop| stop.whose == whose).map(|stop| stop.reason);
    let (what, description) = match (&reason, failure) {
        (Some(StopReason::FatalThrow { text }), _) => {
            let found = look_up(at, whose, "s").or_else(|why| text.clone().ok_or(why));
            (
                "fatal error",
                found.unwrap_or_else(|why| format!("Error getting throw reason: {why}")),
            )
        }
        (Some(StopReason::UnrecoveredPanic { value }), _) => {
            let found = look_up(at, whose, "(*msgs).arg.(data)").or_else(|why| value.clone().ok_or(why));
            (
                "panic",
                found.unwrap_or_else(|why| format!("Error getting panic message: {why}")),
            )
        }
        (Some(StopReason::Failed(why)), None) => ("runtime error", why.clone()),
        (_, None) => return Err(NO_ERROR.to_owned()),
        (_, Some(STEP_WHILE_STEPPING)) => {
            return Ok(json!({"exceptionId": "invalid command", "description": STEP_WHILE_STEPPING, "breakMode": ""}));
        }
        (reason, Some(failure)) => {
            if reason.is_none() {
                return Err(format!("no exception found for goroutine {id}"));
            }
            ("runtime error", failure.to_owned())
        }
    };
    let mut body = json!({"exceptionId": what, "breakMode": ""});
    if !description.is_empty() {
        body["description"] = description.into();
    }
    let stack = stack_text(at, &goroutine).unwrap_or_else(|why| format!("Error getting stack trace: {why}"));
    body["details"] = json!({"stackTrace": stack});
    Ok(body)
}

/// A scalar of the innermost frame; empty for anything else.
fn look_up(at: &Look<'_>, whose: Whose, expression: &str) -> Result<String, String> {
    let value = at
        .target
        .evaluate(
            FrameRef {
                whose,
                frame: 0,
                deferred: 0,
            },
            expression,
            at.settings.load_config(),
        )
        .map_err(|error| error.to_string())?;
    match (constant_text(&value), value.unreadable) {
        (Some(text), _) => Ok(text),
        (None, Some(why)) => Err(why),
        (None, None) => Ok(String::new()),
    }
}

/// The stack as Delve's terminal prints it, without the runtime's frames unless the goroutine is the runtime's.
fn stack_text(at: &Look<'_>, goroutine: &Goroutine) -> Result<String, String> {
    let stack = at
        .target
        .stack(Whose::Goroutine(goroutine.id), at.settings.stack_trace_depth + 1)
        .map_err(|error| error.to_string())?;
    let all = function_name::is_in_runtime(goroutine.user_current.function.as_deref());
    let width = stack.frames.len().saturating_sub(1).to_string().len();
    let mut text = "Stack:\n".to_owned();
    for (number, frame) in stack.frames.iter().enumerate() {
        let Some(function) = frame.location.function.as_deref() else {
            continue;
        };
        if !all && function.starts_with("runtime.") {
            continue;
        }
        let file = frame.location.file.as_deref().unwrap_or("?");
        // Writing into a string does not fail.
        let _ = writeln!(text, "\t{number:width$}  0x{:016x} in {function}", frame.pc.0);
        let _ = writeln!(
            text,
            "\t{:indent$}at {}:{}",
            "",
            at.settings.paths.to_client(file),
            frame.location.line,
            indent = width + 3
        );
    }
    if !stack.complete {
        text.push_str("\t(truncated)\n");
    }
    Ok(text)
}
