//! What the client is told when the program stops.

use serde_json::{Map, Value as Json, json};

use super::{
    bench::Bench,
    debuggee::{Debuggee, State},
    session::Session,
};
use crate::{
    debugger::{BreakpointId, Stop, StopReason},
    inspect::{FrameRef, Whose},
    value::{Content, LoadConfig, Style, Value},
};

/// What Delve says to a step that is asked for while another one waits (`service/dap/server.go`,
/// `BetterNextWhileNextingError`).
pub(crate) const STEP_WHILE_STEPPING: &str = "Unable to step while the previous step is interrupted by a breakpoint.\nUse 'Continue' to resume the original step command.";

/// The number of the breakpoint that stops at an unrecovered panic, as Delve has it.
const PANIC: i64 = -1;
/// The number of the breakpoint that stops at a fatal error, as Delve has it.
const FATAL: i64 = -2;

impl Session {
    /// Tells the client about a stop. What it was shown before is forgotten.
    pub(super) async fn on_stopped(&mut self, stop: Stop) {
        let Some(debuggee) = self.debuggee() else { return };
        if !matches!(debuggee.state, State::Running | State::Stopped) {
            return;
        }
        if !self.on_stopped_call(&stop).await {
            return;
        }
        let Some(debuggee) = self.debuggee() else { return };
        debuggee.state = State::Stopped;
        debuggee.failure = None;
        debuggee.step_interrupted = stop.step_interrupted && stop.reason != StopReason::Pause;
        let waits = debuggee.step_interrupted;
        let text = match &stop.reason {
            StopReason::UnrecoveredPanic { value } => Some(("(*msgs).arg.(data)", value.clone())),
            StopReason::FatalThrow { text } => Some(("s", text.clone())),
            _ => None,
        };
        let whose = stop.whose;
        // What is asked of the worker later comes after this, so only a text must be waited for.
        let forgotten = self.worker.call(Bench::reset);
        drop(forgotten);
        let looked = match text {
            Some((expression, known)) => {
                let look = move |bench: &mut Bench| {
                    let target = bench.target.as_deref()?;
                    let frame = FrameRef {
                        whose,
                        frame: 0,
                        deferred: 0,
                    };
                    let found = target.evaluate(frame, expression, LoadConfig::DAP).ok();
                    found.map_or(known, |value| constant_text(&value))
                };
                self.worker.call(look).await.ok().flatten()
            }
            None => None,
        };
        let Some(debuggee) = self.debuggee() else { return };
        let body = stopped_body(debuggee, &stop, looked);
        self.out.event_with("stopped", &body);
        if waits {
            self.out
                .console("Step interrupted by a breakpoint. Use 'Continue' to resume the original step command.");
        }
        self.answer_stopped_call();
    }

    /// Tells the client that the program could not be moved on, and stands where it stood.
    pub(super) async fn tell_failure(&mut self, failed: &str) {
        let selected = self
            .look(|at| at.target.stop().map(|stop| stop.whose))
            .await
            .ok()
            .flatten()
            .flatten();
        let Some(debuggee) = self.debuggee() else { return };
        if matches!(debuggee.state, State::Exited(_) | State::Ending) {
            return;
        }
        debuggee.state = State::Stopped;
        let waiting = failed == STEP_WHILE_STEPPING;
        debuggee.failure = Some(failed.to_owned());
        let description = if waiting { "invalid command" } else { "runtime error" };
        if waiting {
            self.out.console(&format!("{description}: {failed}"));
        }
        let mut body = Map::new();
        body.insert("reason".to_owned(), "exception".into());
        body.insert("description".to_owned(), description.into());
        put_thread(&mut body, selected);
        body.insert("text".to_owned(), failed.into());
        body.insert("allThreadsStopped".to_owned(), true.into());
        self.out.event_with("stopped", &Json::Object(body));
        if waiting {
            self.out
                .console("Step interrupted by a breakpoint. Use 'Continue' to resume the original step command.");
        }
    }
}

/// The `stopped` event's body.
fn stopped_body(debuggee: &Debuggee, stop: &Stop, text: Option<String>) -> Json {
    let mut body = Map::new();
    let mut hit: Vec<i64> = Vec::new();
    let mut reason = match &stop.reason {
        StopReason::Entry => "entry",
        StopReason::Step => "step",
        StopReason::Pause => "pause",
        // As Delve tells an assignment that a panic has ended.
        StopReason::CallReturned if debuggee.interruption.is_some() => "call returned",
        // A call that has returned here was another client's, or was stopped before: as in Delve.
        StopReason::HardcodedBreakpoint | StopReason::CallReturned => "breakpoint",
        StopReason::Breakpoint(ids) => {
            hit = ids.iter().map(|BreakpointId(id)| *id).collect();
            match ids.first() {
                Some(id) if debuggee.on_functions.contains(id) => "function breakpoint",
                Some(id) if debuggee.on_instructions.contains(id) => "instruction breakpoint",
                _ => "breakpoint",
            }
        }
        StopReason::UnrecoveredPanic { .. } => {
            hit = vec![PANIC];
            body.insert("description".to_owned(), "panic".into());
            "exception"
        }
        StopReason::FatalThrow { .. } => {
            hit = vec![FATAL];
            body.insert("description".to_owned(), "fatal error".into());
            "exception"
        }
        StopReason::Failed(why) => {
            body.insert("description".to_owned(), "runtime error".into());
            body.insert("text".to_owned(), why.as_str().into());
            "exception"
        }
    };
    // Whoever asked for a pause gets one, whatever else happened in that moment.
    if debuggee.pause_requested && reason != "exception" {
        reason = "pause";
        hit.clear();
    }
    body.insert("reason".to_owned(), reason.into());
    put_thread(&mut body, Some(stop.whose));
    if let Some(text) = text.filter(|text| !text.is_empty()) {
        body.insert("text".to_owned(), text.into());
    }
    body.insert("allThreadsStopped".to_owned(), true.into());
    if !hit.is_empty() {
        body.insert("hitBreakpointIds".to_owned(), json!(hit));
    }
    Json::Object(body)
}

fn put_thread(body: &mut Map<String, Json>, whose: Option<Whose>) {
    // A thread without a goroutine has none of the protocol's threads.
    if let Some(Whose::Goroutine(id)) = whose {
        body.insert("threadId".to_owned(), id.into());
    }
}

/// A scalar as Go's `go/constant` prints it, strings quoted and cut at 72 characters; `None` for anything else.
pub(crate) fn constant_text(value: &Value) -> Option<String> {
    const MAX: usize = 72;
    Some(match &value.content {
        Content::Bool(truth) => truth.to_string(),
        Content::Int(number) => number.to_string(),
        Content::Uint(number) => number.to_string(),
        Content::Float32(number) => number.to_string(),
        Content::Float64(number) => number.to_string(),
        Content::String { .. } => {
            let quoted = value.text(Style::default());
            if quoted.chars().count() > MAX {
                quoted.chars().take(MAX - 3).chain("...".chars()).collect()
            } else {
                quoted
            }
        }
        _ => return None,
    })
}
