//! `call f(x)` in the debug console: the program's own functions; and strings that are set, for which the program makes room.
//!
//! The program runs meanwhile, and the client is not told of that, as Delve does it: it is answered when the call has returned. If something else stops the
//! program first, that stop is told, and the answer is that the call was stopped; it goes on when the program does.

use serde_json::json;

use crate::{
    dap::{
        bench::Look,
        container::{Container, Parts},
        debuggee::{CallPurpose, PendingCall, State},
        errors::{UNABLE_TO_EVALUATE, UNABLE_TO_SET_VARIABLE},
        message::Request,
        present::Manner,
        session::Session,
    },
    debugger::{CallWish, Stop, StopReason},
    inspect::FrameRef,
};

/// How much is loaded of strings: they are gone when the program goes on (`maxStringLenInCallRetVars` in Delve's `service/dap/server.go`).
pub(super) const MAX_STRING: u32 = 1 << 10;

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
            Err(why) => {
                let refusal = UNABLE_TO_EVALUATE;
                return self
                    .out
                    .refuse_with(request, refusal.id, refusal.summary, &why, visible);
            }
        };
        config.max_string_len = MAX_STRING;
        let wish = CallWish {
            whose,
            expression,
            config,
            check_escape: true,
        };
        self.begin_call(request, wish, CallPurpose::Evaluate { visible }).await;
    }

    /// Begins a call; the request is answered when it ends.
    pub(super) async fn begin_call(&mut self, request: &Request, wish: CallWish, purpose: CallPurpose) {
        let call = PendingCall {
            request: request.clone(),
            whose: wish.whose,
            purpose,
        };
        if let Some(debuggee) = self.debuggee() {
            debuggee.call = Some(call);
            debuggee.state = State::Running;
        }
        let begun = self
            .inspect(move |at| at.target.call_expression(wish).map_err(|error| error.to_string()))
            .await;
        if let Err(why) = begun
            && let Some(debuggee) = self.debuggee()
            && let Some(call) = debuggee.call.take()
        {
            if debuggee.state == State::Running {
                debuggee.state = State::Stopped;
            }
            self.refuse_call(&call, &why);
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
                let mut values = outcome.ok_or("call stopped")?.values?.unwrap_or_default();
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
                    parts: Parts::Called(values),
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
        match (outcome, &call.purpose) {
            (Ok((text, reference)), CallPurpose::Evaluate { .. }) => {
                let text = text.trim_end_matches([',', ' ']);
                let body = json!({"result": text, "variablesReference": reference});
                self.out.respond(&call.request, Some(&body));
            }
            (Ok((text, _)), CallPurpose::Set { value, type_name }) if text.is_empty() => {
                self.has_set(&call.request, value, type_name);
            }
            // An assignment has no value: a panic has ended it, which Delve tells as a stop.
            (Ok((text, _)), CallPurpose::Set { .. }) => {
                if let Some(debuggee) = self.debuggee() {
                    debuggee.interrupted_call = Some(call);
                    debuggee.interruption = Some(format!("interrupted:{text}"));
                }
                return true;
            }
            (Err(why), _) => self.refuse_call(&call, &why),
        }
        false
    }

    /// Answers a call that something has stopped, after that has been told.
    pub(in crate::dap) fn answer_stopped_call(&mut self) {
        let call = self.debuggee().and_then(|debuggee| {
            let why = debuggee.interruption.take();
            Some((debuggee.interrupted_call.take()?, why))
        });
        if let Some((call, why)) = call {
            self.refuse_call(&call, why.as_deref().unwrap_or("call stopped"));
        }
    }

    /// Answers a call during which the program has ended, after that has been told.
    pub(in crate::dap) fn answer_ended_call(&mut self) {
        let call = self.debuggee().and_then(|debuggee| debuggee.call.take());
        if let Some(call) = call {
            self.refuse_call(&call, "terminated");
        }
    }

    fn refuse_call(&mut self, call: &PendingCall, why: &str) {
        match call.purpose {
            CallPurpose::Evaluate { visible } => {
                let refusal = UNABLE_TO_EVALUATE;
                self.out
                    .refuse_with(&call.request, refusal.id, refusal.summary, why, visible);
            }
            CallPurpose::Set { .. } => self.out.refuse(&call.request, UNABLE_TO_SET_VARIABLE, why),
        }
    }
}
