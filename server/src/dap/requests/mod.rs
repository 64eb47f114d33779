//! Requests: which are served when, and by whom.

mod attach;
mod breakpoints;
mod disconnect;
mod execution;
mod initialize;
mod inspect;
mod launch;
pub(crate) mod no_debug;
mod restart;
mod threads;

use super::{
    debuggee::State,
    errors::{NO_DEBUG, NO_SESSION},
    message::Request,
    session::{Next, Phase, Session},
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

/// Requests that look into a stopped program.
const INSPECTION: [&str; 10] = [
    "stackTrace",
    "scopes",
    "variables",
    "evaluate",
    "setVariable",
    "exceptionInfo",
    "disassemble",
    "readMemory",
    "writeMemory",
    "dataBreakpointInfo",
];

/// Requests that move a stopped program.
const STEPS: [&str; 5] = ["next", "stepIn", "stepOut", "stepBack", "reverseContinue"];

/// Requests that are served one by one.
const OTHERS: [&str; 13] = [
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
    "setBreakpoints",
    "setFunctionBreakpoints",
    "setExceptionBreakpoints",
];

/// Breakpoints of the kinds that can only stop.
const STOPPING_BREAKPOINTS: [&str; 2] = ["setInstructionBreakpoints", "setDataBreakpoints"];

fn is_known(command: &str) -> bool {
    [
        &UNSUPPORTED[..],
        &UNIMPLEMENTED,
        &INSPECTION,
        &STEPS,
        &OTHERS,
        &STOPPING_BREAKPOINTS,
    ]
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
                Some(state) => self.on_request_to(request, state).await,
            },
        }
        Next::Continue
    }

    /// Answers a request that needs a program.
    async fn on_request_to(&mut self, request: &Request, state: State) {
        match request.command.as_str() {
            "pause" => self.on_pause(request, state),
            "threads" => self.on_threads(request, state),
            "setBreakpoints" => self.on_set_breakpoints(request).await,
            "setFunctionBreakpoints" => self.on_set_function_breakpoints(request).await,
            "setDataBreakpoints" | "dataBreakpointInfo" if state == State::Running => {
                self.refuse_data_breakpoint(request);
            }
            "setInstructionBreakpoints" | "setDataBreakpoints" => self.on_set_stopping_breakpoints(request),
            _ if state == State::Running => self.out.refuse_while_running(request),
            "setExceptionBreakpoints" => self.on_set_exception_breakpoints(request),
            "configurationDone" => self.on_configuration_done(request, state).await,
            "continue" => self.on_continue(request, state).await,
            command if STEPS.contains(&command) => self.on_step(request, state),
            command if UNIMPLEMENTED.contains(&command) => self.out.refuse_as_unimplemented(request, ""),
            command if UNSUPPORTED.contains(&command) => self.out.refuse_as_unsupported(request),
            _ => self.on_inspection(request, state),
        }
    }
}
