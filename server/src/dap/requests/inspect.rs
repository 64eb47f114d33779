//! Requests that look into a stopped program. None is stopped beyond its entry, where there is no goroutine, no
//! frame and no variable yet: each is refused with what Delve says then.

use serde::Deserialize;

use crate::dap::{
    debuggee::State,
    errors::{
        NO_DATA_BREAKPOINT_INFO, Refusal, UNABLE_TO_DISASSEMBLE, UNABLE_TO_EVALUATE, UNABLE_TO_GET_EXCEPTION_INFO,
        UNABLE_TO_LIST_LOCALS, UNABLE_TO_LOOKUP_VARIABLE, UNABLE_TO_PRODUCE_STACK_TRACE, UNABLE_TO_READ_MEMORY,
        UNABLE_TO_SET_VARIABLE, UNABLE_TO_WRITE_MEMORY,
    },
    message::Request,
    session::Session,
};

/// What the refusals name.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Named {
    thread_id: i64,
    frame_id: i64,
    variables_reference: i64,
    context: String,
}

const NEEDS_A_STOP: &str =
    "it needs a stopped program, and this version of spelunk does not stop one; set a logpoint to see values";

impl Session {
    /// Answers requests that look into a stopped program.
    pub(super) fn on_inspection(&mut self, request: &Request, state: State) {
        let named: Named = match request.arguments() {
            Ok(named) => named,
            Err(text) => return self.out.internal_error(request.seq, &text),
        };
        let obituary = match state {
            State::Exited(status) => self.debuggee().map(|debuggee| debuggee.obituary(status)),
            _ => None,
        };
        let (refusal, details): (Refusal, String) = match request.command.as_str() {
            "stackTrace" => (
                UNABLE_TO_PRODUCE_STACK_TRACE,
                obituary.unwrap_or_else(|| format!("unknown goroutine {}", named.thread_id)),
            ),
            "exceptionInfo" => (
                UNABLE_TO_GET_EXCEPTION_INFO,
                obituary.unwrap_or_else(|| format!("unknown goroutine {}", named.thread_id)),
            ),
            "scopes" => (UNABLE_TO_LIST_LOCALS, format!("unknown frame id {}", named.frame_id)),
            "variables" => (
                UNABLE_TO_LOOKUP_VARIABLE,
                format!("unknown reference {}", named.variables_reference),
            ),
            "setVariable" => (
                UNABLE_TO_SET_VARIABLE,
                format!("unknown reference {}", named.variables_reference),
            ),
            "readMemory" => (UNABLE_TO_READ_MEMORY, "unknown memoryReference".to_owned()),
            "writeMemory" => (UNABLE_TO_WRITE_MEMORY, "unknown memoryReference".to_owned()),
            "disassemble" => (
                UNABLE_TO_DISASSEMBLE,
                obituary.unwrap_or_else(|| NEEDS_A_STOP.to_owned()),
            ),
            "dataBreakpointInfo" => (
                NO_DATA_BREAKPOINT_INFO,
                obituary.unwrap_or_else(|| NEEDS_A_STOP.to_owned()),
            ),
            _ => {
                // In a console, a watch or a hover the editor shows the error in place.
                let visible = !matches!(named.context.as_str(), "watch" | "repl" | "hover");
                let details = obituary.unwrap_or_else(|| NEEDS_A_STOP.to_owned());
                let refusal = UNABLE_TO_EVALUATE;
                return self
                    .out
                    .refuse_with(request, refusal.id, refusal.summary, &details, visible);
            }
        };
        self.out.refuse(request, refusal, &details);
    }
}
