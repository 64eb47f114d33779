//! `call f(x)` in the debug console: the program's own functions.
//!
//! The program runs meanwhile, and the client is not told of that, as Delve does it: it is answered when the call has returned. If something else stops the
//! program first, that stop is told, and the answer is that the call was stopped; it goes on when the program does.

use serde_json::json;

use crate::{
    dap::{
        bench::Look,
        container::{Container, Parts},
        debuggee::{PendingCall, State},
        errors::UNABLE_TO_EVALUATE,
        message::Request,
        present::Manner,
        session::Session,
    },
    debugger::{CallWish, Stop, StopReason},
    inspect::FrameRef,
};

/// How much is loaded of strings: they are gone when the program goes on (`maxStringLenInCallRetVars` in Delve's `service/dap/server.go`).
const MAX_STRING: u32 = 1 << 10;

impl Session {
    /// Begins a call; the request is answered when it ends.
    pub(super) async fn on_call(&mut self, request: &Request, expression: &str, frame_id: i64, visible: bool) {
        let expression = expression.to_owned();
        let begun = self
            .inspect(move |at| {
                let place = at.frames.get(frame_id).copied().unwrap_or_else(|| at.selected_frame());
                if place.frame > 0 {
                    return Err("call is only supported with topmost stack frame".to_owned());
                }
                Ok((place.whose, at.settings.load_config()))
            })
            .await;
        let (whose, mut config) = match begun {
            Ok(begun) => begun,
            Err(why) => return self.refuse_call(request, &why, visible),
        };
        config.max_string_len = MAX_STRING;
        if let Some(debuggee) = self.debuggee() {
            debuggee.call = Some(PendingCall {
                request: request.clone(),
                whose,
                visible,
            });
            debuggee.state = State::Running;
        }
        let wish = CallWish {
            whose,
            expression,
            config,
            check_escape: true,
        };
        let begun = self
            .inspect(move |at| at.target.call_expression(wish).map_err(|error| error.to_string()))
            .await;
        if let Err(why) = begun
            && let Some(debuggee) = self.debuggee()
            && debuggee.call.take().is_some()
        {
            if debuggee.state == State::Running {
                debuggee.state = State::Stopped;
            }
            self.refuse_call(request, &why, visible);
        }
    }

    /// A call has come to its end, or has been stopped; answers whether the stop is to be told.
    pub(in crate::dap) async fn on_stopped_call(&mut self, stop: &Stop) -> bool {
        let call = self.debuggee().and_then(|debuggee| debuggee.call.take());
        if stop.reason != StopReason::CallReturned {
            // The stop is told first.
            if let (Some(call), Some(debuggee)) = (call, self.debuggee()) {
                debuggee.interrupted_call = Some(call);
            }
            return true;
        }
        let Some(call) = call else { return true };
        self.set_state(State::Stopped);
        let whose = call.whose;
        let settings = self.settings.clone();
        let looked = self.worker.call(move |bench| {
            let show = |mut at: Look<'_>| {
                let outcome = at.target.call_outcome().map_err(|error| error.to_string())?;
                let mut values = outcome.ok_or("call stopped")?.values?;
                if values.is_empty() {
                    return Ok((String::new(), 0));
                }
                let frame = FrameRef {
                    whose,
                    frame: 0,
                    deferred: 0,
                };
                let manner = Manner {
                    without_reference: true,
                    ..Manner::default()
                };
                let texts: Vec<String> = values
                    .iter_mut()
                    .map(|value| at.present(value, "", Some(frame), manner).text)
                    .collect();
                let reference = at.containers.create(std::sync::Arc::new(Container {
                    parts: Parts::Variables(values),
                    expression: String::new(),
                    start: 0,
                    frame: Some(frame),
                }));
                Ok((texts.join(", "), reference))
            };
            bench.look(&settings).map(show)
        });
        let outcome = match looked.await {
            Ok(Some(outcome)) => outcome,
            _ => Err("the program is no longer debugged".to_owned()),
        };
        match outcome {
            Ok((text, reference)) => {
                let text = text.trim_end_matches([',', ' ']);
                let body = json!({"result": text, "variablesReference": reference});
                self.out.respond(&call.request, Some(&body));
            }
            Err(why) => self.refuse_call(&call.request, &why, call.visible),
        }
        false
    }

    /// Answers a call that something has stopped, after that has been told.
    pub(in crate::dap) fn answer_stopped_call(&mut self) {
        if let Some(call) = self.debuggee().and_then(|debuggee| debuggee.interrupted_call.take()) {
            self.refuse_call(&call.request, "call stopped", call.visible);
        }
    }

    /// Answers a call during which the program has ended, after that has been told.
    pub(in crate::dap) fn answer_ended_call(&mut self) {
        let call = self.debuggee().and_then(|debuggee| debuggee.call.take());
        if let Some(call) = call {
            self.refuse_call(&call.request, "terminated", call.visible);
        }
    }

    fn refuse_call(&mut self, request: &Request, why: &str, visible: bool) {
        let refusal = UNABLE_TO_EVALUATE;
        self.out.refuse_with(request, refusal.id, refusal.summary, why, visible);
    }
}
