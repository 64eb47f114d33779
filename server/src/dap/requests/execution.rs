//! `configurationDone`, `continue`, `pause` and the steps.

use dap::{
    events::{Event as DapEvent, StoppedEventBody},
    types::{OutputEventCategory, StoppedEventReason},
};
use serde_json::json;

use crate::dap::{debuggee::State, errors::UNABLE_TO_HALT, message::Request, outgoing::NO_BODY, session::Session};

impl Session {
    /// Answers `configurationDone`, and lets the program run unless it is to stay at its entry.
    pub(super) async fn on_configuration_done(&mut self, request: &Request, state: State) {
        let stop_on_entry =
            self.debuggee().is_some_and(|debuggee| debuggee.stop_on_entry) && state == State::Configuring;
        if stop_on_entry {
            self.out.event(&DapEvent::Stopped(StoppedEventBody {
                reason: StoppedEventReason::Entry,
                description: None,
                thread_id: Some(1),
                preserve_focus_hint: None,
                text: None,
                all_threads_stopped: Some(true),
                hit_breakpoint_ids: None,
            }));
        }
        self.out.console("Type 'dlv help' for list of commands.");
        self.out.respond(request, NO_BODY);
        match state {
            State::Configuring if stop_on_entry => {
                self.set_state(State::HeldAtEntry);
                self.release_events();
            }
            State::Exited(status) => self.tell_exit(status),
            _ => self.resume().await,
        }
    }

    /// Answers `continue`.
    pub(super) async fn on_continue(&mut self, request: &Request, state: State) {
        self.out.respond(request, Some(&json!({"allThreadsContinued": true})));
        match state {
            // As Delve does: the program is gone, and its client is told once more.
            State::Exited(status) => self.tell_exit(status),
            _ => self.resume().await,
        }
    }

    async fn resume(&mut self) {
        self.set_state(State::Running);
        // The client should have the answer before the program's first event.
        let _ = self.out.flush().await;
        self.release_events();
        let resumed = self
            .call(|target| target.as_ref().map_or(Ok(()), |target| target.resume()))
            .await;
        let failed = match resumed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(gone) => gone.to_string(),
        };
        self.out.output(
            OutputEventCategory::Important,
            format!("Unable to continue: {failed}\n"),
        );
    }

    /// Answers `pause`.
    pub(super) fn on_pause(&mut self, request: &Request, state: State) {
        match state {
            State::HeldAtEntry => self.out.respond(request, NO_BODY),
            State::Exited(status) => {
                let obituary = self
                    .debuggee()
                    .map_or_else(String::new, |debuggee| debuggee.obituary(status));
                self.out.refuse(request, UNABLE_TO_HALT, &obituary);
            }
            State::Configuring | State::Running | State::Ending => {
                self.out.refuse(
                    request,
                    UNABLE_TO_HALT,
                    "this version of spelunk does not stop a running program; set a logpoint to look into it",
                );
            }
        }
    }

    /// Answers requests for a step.
    pub(super) fn on_step(&mut self, request: &Request, state: State) {
        let why = match state {
            State::Exited(status) => self
                .debuggee()
                .map_or_else(String::new, |debuggee| debuggee.obituary(status)),
            _ => "this version of spelunk does not step; continue lets the program run".to_owned(),
        };
        self.out.refuse_as_unimplemented(request, &why);
    }
}
