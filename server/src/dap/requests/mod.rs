//! Requests: which are served when, and by whom.

mod attach;
mod breakpoints;
mod call;
mod children;
mod console;
mod disassemble;
mod disconnect;
mod evaluate;
mod exception;
mod execution;
mod initialize;
mod launch;
mod memory;
pub(crate) mod no_debug;
mod probes;
mod restart;
mod scopes;
mod stack;
mod stepping;
mod threads;
mod variables;

pub(super) use restart::launch_arguments;

use super::{
    debuggee::State,
    errors::{NO_DEBUG, NO_SESSION},
    message::Request,
    session::{Next, Phase, Session},
    settings::OF_PROBES,
};

/// Requests of the protocol that neither Delve nor this server serves.
const UNSUPPORTED: [&str; 9] = [
    "source",
    "modules",
    "restartFrame",
    "goto",
    "terminateThreads",
    "stepInTargets",
    "gotoTargets",
    "completions",
    "breakpointLocations",
];

/// Requests of the protocol that Delve announces for later.
const UNIMPLEMENTED: [&str; 3] = ["setExpression", "loadedSources", "cancel"];

/// Requests that are served one by one.
const SERVED: [&str; 28] = [
    probes::PROBES,
    "initialize",
    "launch",
    "attach",
    "disconnect",
    "terminate",
    "restart",
    "pause",
    "threads",
    "continue",
    "configurationDone",
    "next",
    "stepIn",
    "stepOut",
    "setBreakpoints",
    "setFunctionBreakpoints",
    "setInstructionBreakpoints",
    "setExceptionBreakpoints",
    "setDataBreakpoints",
    "stackTrace",
    "scopes",
    "variables",
    "setVariable",
    "evaluate",
    "exceptionInfo",
    "readMemory",
    "writeMemory",
    "disassemble",
];

/// Requests that are known and refused, as they are not announced.
const NOT_ANNOUNCED: [&str; 3] = ["stepBack", "reverseContinue", "dataBreakpointInfo"];

fn is_known(command: &str) -> bool {
    [&UNSUPPORTED[..], &UNIMPLEMENTED, &SERVED, &NOT_ANNOUNCED]
        .iter()
        .any(|known| known.contains(&command))
}

impl Session {
    /// Answers a request. The order of the checks is Delve's: what can be asked at any time, then what depends on
    /// where the program stands.
    pub(super) async fn on_request(&mut self, request: &Request) -> Next {
        let command = request.command.as_str();
        if !is_known(command) {
            self.out.internal_error(
                request.seq,
                &format!("Request command '{command}' is not supported (seq: {})", request.seq),
            );
            return Next::Continue;
        }
        if matches!(self.phase, Phase::NoDebug(_)) {
            match command {
                "disconnect" => return self.on_disconnect(request).await,
                "restart" => self.out.refuse_as_unsupported(request),
                _ => self
                    .out
                    .refuse(request, NO_DEBUG, &format!("unable to process '{command}' request")),
            }
            return Next::Continue;
        }
        match command {
            "initialize" => self.on_initialize(request),
            "launch" => self.on_launch(request).await,
            "attach" => self.on_attach(request).await,
            "disconnect" => return self.on_disconnect(request).await,
            "terminate" => self.on_terminate(request).await,
            "restart" => self.on_restart(request).await,
            _ => match self.debuggee().map(|debuggee| debuggee.state) {
                None => self
                    .out
                    .refuse_visibly(request, NO_SESSION, "Use launch or attach request first."),
                Some(state) => {
                    self.on_request_to(request, state).await;
                    self.release_after_answer().await;
                }
            },
        }
        Next::Continue
    }

    /// Answers a request that needs a program.
    async fn on_request_to(&mut self, request: &Request, state: State) {
        let command = request.command.as_str();
        match command {
            probes::PROBES => return self.on_probes(request).await,
            // What probes may do can be changed at any time, as programs that only log never stop.
            "evaluate" if state == State::Running && is_about_probes(request) => {
                return self.on_evaluate(request, state).await;
            }
            "pause" => return self.on_pause(request, state).await,
            "threads" => return self.on_threads(request, state).await,
            "setBreakpoints" => return self.on_set_breakpoints(request).await,
            "setFunctionBreakpoints" => return self.on_set_function_breakpoints(request).await,
            "setInstructionBreakpoints" => return self.on_set_instruction_breakpoints(request).await,
            "setDataBreakpoints" | "dataBreakpointInfo" if state == State::Running => {
                return self.refuse_data_breakpoint(request);
            }
            _ if state == State::Running => return self.out.refuse_while_running(request),
            _ => {}
        }
        match command {
            "setExceptionBreakpoints" => self.on_set_exception_breakpoints(request).await,
            "setDataBreakpoints" => self.on_set_data_breakpoints(request),
            "configurationDone" => self.on_configuration_done(request, state).await,
            "continue" => self.on_continue(request, state).await,
            "next" | "stepIn" | "stepOut" => self.on_step(request, state).await,
            "stackTrace" => self.on_stack_trace(request, state).await,
            "scopes" => self.on_scopes(request).await,
            "variables" => self.on_variables(request).await,
            "setVariable" => self.on_set_variable(request).await,
            "evaluate" => self.on_evaluate(request, state).await,
            "exceptionInfo" => self.on_exception_info(request, state).await,
            "stepBack" | "reverseContinue" => self
                .out
                .refuse_as_unimplemented(request, "a program runs forwards only"),
            _ if UNIMPLEMENTED.contains(&command) => self.out.refuse_as_unimplemented(request, ""),
            _ if UNSUPPORTED.contains(&command) => self.out.refuse_as_unsupported(request),
            "readMemory" => self.on_read_memory(request, state).await,
            "writeMemory" => self.on_write_memory(request, state).await,
            "disassemble" => self.on_disassemble(request, state).await,
            _ => self.refuse_data_breakpoint_info(request, state),
        }
    }
}

/// Whether a command of the console is about the settings of probes alone.
fn is_about_probes(request: &Request) -> bool {
    let expression = request.arguments.get("expression").and_then(serde_json::Value::as_str);
    let mut words = expression.unwrap_or_default().split_whitespace();
    let (command, subject) = ((words.next(), words.next()), words.find(|word| *word != "-list"));
    command == (Some("dlv"), Some("config")) && subject.is_some_and(|name| OF_PROBES.contains(&name))
}
