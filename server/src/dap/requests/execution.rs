//! `configurationDone`, `continue` and `pause`.

use std::time::Duration;

use serde_json::json;

use crate::{
    dap::{debuggee::State, errors::UNABLE_TO_HALT, message::Request, outgoing::NO_BODY, session::Session},
    debugger::Event,
};

/// How long a program that was running may take to stand still.
const PATIENCE: Duration = Duration::from_secs(10);

impl Session {
    /// Answers `configurationDone`, and lets the program run unless it is to stay where it is.
    pub(super) async fn on_configuration_done(&mut self, request: &Request, state: State) {
        let debuggee = self.debuggee();
        let stop_on_entry = state == State::Configuring && debuggee.is_some_and(|debuggee| debuggee.stop_on_entry);
        let mut held = stop_on_entry;
        if stop_on_entry {
            if self.debuggee().is_some_and(|debuggee| debuggee.runs_meanwhile) {
                held = self.stop_attached().await;
            }
            self.out.event_with(
                "stopped",
                &json!({"reason": "entry", "threadId": 1, "allThreadsStopped": true}),
            );
        }
        self.out.console("Type 'dlv help' for list of commands.");
        self.out.respond(request, NO_BODY);
        match state {
            State::Configuring if stop_on_entry => {
                self.set_state(if held { State::Stopped } else { State::Running });
                self.release_events().await;
            }
            State::Exited(status) => self.tell_exit(status),
            _ if self.debuggee().is_some_and(|debuggee| debuggee.runs_meanwhile) => self.let_attached_run().await,
            _ => self.resume().await,
        }
    }

    /// An attached program has run all the time, and may have come to a breakpoint meanwhile: that stop is told now.
    async fn let_attached_run(&mut self) {
        self.let_run();
        let _ = self.out.flush().await;
        self.release_events().await;
        let resumed = self
            .call(|target| target.as_ref().map_or(Ok(()), |target| target.resume_unless_stopped()))
            .await;
        if let Ok(Err(why)) = resumed {
            tracing::warn!("what was attached to could not be watched: {why}");
        }
    }

    /// Stops a program that runs, without telling; answers whether it stands still.
    async fn stop_attached(&mut self) -> bool {
        let (halted, meanwhile) = self
            .call_first(|target| {
                let target = target.as_ref()?;
                // Something may have stopped it before; its event is kept for after the configuration.
                let stood = target.stop().is_some();
                (stood || target.halt().is_ok()).then_some(stood)
            })
            .await;
        let mut meanwhile = meanwhile.into_iter();
        match halted {
            Ok(Some(false)) => {}
            Ok(Some(true)) => return true,
            _ => return false,
        }
        loop {
            let event = match meanwhile.next() {
                Some(event) => event,
                None => match tokio::time::timeout(PATIENCE, self.events.next()).await {
                    Ok(event) => event,
                    Err(_) => return false,
                },
            };
            match event {
                Event::Stopped(_) => {
                    for event in meanwhile {
                        self.on_event(event).await;
                    }
                    return true;
                }
                Event::Exited { .. } => {
                    self.on_event(event).await;
                    return false;
                }
                other => self.on_event(other).await,
            }
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
        self.let_run();
        // The client should have the answer before the program's first event.
        let _ = self.out.flush().await;
        self.release_events().await;
        let resumed = self
            .call(|target| target.as_ref().map_or(Ok(()), |target| target.resume()))
            .await;
        let failed = match resumed {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(gone) => gone.to_string(),
        };
        self.tell_failure(&failed).await;
    }

    /// The program moves from here on.
    pub(in crate::dap) fn let_run(&mut self) {
        if let Some(debuggee) = self.debuggee() {
            debuggee.state = State::Running;
            debuggee.pause_requested = false;
            debuggee.step_interrupted = false;
            debuggee.failure = None;
        }
    }

    /// Answers `pause`. The stop is told when it has come about.
    pub(super) async fn on_pause(&mut self, request: &Request, state: State) {
        if let Some(obituary) = self.obituary(state) {
            return self.out.refuse(request, UNABLE_TO_HALT, &obituary);
        }
        if state != State::Running {
            return self.out.respond(request, NO_BODY);
        }
        if let Some(debuggee) = self.debuggee() {
            debuggee.pause_requested = true;
        }
        let (halted, meanwhile) = self
            .call_first(|target| target.as_ref().map_or(Ok(()), |target| target.halt()))
            .await;
        let failed = match halted {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(gone) => Some(gone.to_string()),
        };
        match failed {
            None => self.out.respond(request, NO_BODY),
            Some(why) => self.out.refuse(request, UNABLE_TO_HALT, &why),
        }
        for event in meanwhile {
            self.on_event(event).await;
        }
    }
}
