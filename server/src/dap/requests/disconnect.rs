//! `disconnect`, `terminate`, and the end of a session that nobody asked for.

use dap::requests::DisconnectArguments;

use crate::{
    dap::{
        debuggee::State,
        errors::{DISCONNECT_ERROR, NO_SESSION},
        message::Request,
        outgoing::NO_BODY,
        session::{Next, Phase, Session},
    },
    debugger::EndWith,
};

impl Session {
    /// Answers `disconnect`. The session is over then.
    pub(super) async fn on_disconnect(&mut self, request: &Request) -> Next {
        let arguments: DisconnectArguments = match request.arguments() {
            Ok(arguments) => arguments,
            // Whoever wants to go is not kept for a mistake in the details.
            Err(text) => {
                tracing::warn!("{text}");
                DisconnectArguments::default()
            }
        };
        let leaves = arguments.terminate_debuggee != Some(true) && self.may_leave();
        match &self.phase {
            Phase::Idle => {
                self.out.respond(request, NO_BODY);
                self.tell_terminated();
            }
            Phase::NoDebug(_) => self.disconnect_no_debug(request).await,
            Phase::Debugging(_) if leaves => {
                if arguments.suspend_debuggee == Some(true) {
                    self.suspend().await;
                }
                self.say_how_it_is_left();
                self.leave().await;
                self.out.respond(request, NO_BODY);
                if let Some(State::Exited(Some(status))) = self.debuggee().map(|debuggee| debuggee.state) {
                    self.tell_exit(Some(status));
                } else {
                    self.tell_terminated();
                }
            }
            Phase::Debugging(debuggee) => {
                let kill = !debuggee.is_attached() || arguments.terminate_debuggee == Some(true);
                let how = if kill { EndWith::Kill } else { EndWith::Detach };
                self.say_how_it_ends(how);
                match self.end(how).await {
                    Ok(()) => self.out.respond(request, NO_BODY),
                    Err(error) => self.out.refuse(request, DISCONNECT_ERROR, &error),
                }
                self.tell_terminated();
            }
        }
        // Nothing is left to be ended when the session finishes.
        self.phase = Phase::Idle;
        Next::Finish
    }

    /// Answers `terminate`: ends the program, however the session began. The client is told of its end as of any other.
    pub(super) async fn on_terminate(&mut self, request: &Request) {
        let Some(debuggee) = self.debuggee() else {
            return self
                .out
                .refuse_visibly(request, NO_SESSION, "Use launch or attach request first.");
        };
        let before = debuggee.state;
        if let State::Exited(status) = before {
            self.out.respond(request, NO_BODY);
            return self.tell_exit(status);
        }
        if let Err(error) = self.end(EndWith::Kill).await {
            self.set_state(before);
            return self.out.refuse(request, DISCONNECT_ERROR, &error);
        }
        self.out.respond(request, NO_BODY);
        match self.debuggee().map(|debuggee| debuggee.state) {
            Some(State::Exited(status)) => self.tell_exit(status),
            _ => self.tell_terminated(),
        }
    }

    /// Ends the session because the client hung up or a signal came.
    pub(in crate::dap) async fn shut_down(&mut self, by_signal: bool) {
        if self.may_leave() {
            self.leave().await;
            self.phase = Phase::Idle;
            return;
        }
        match &mut self.phase {
            Phase::Idle => {}
            Phase::NoDebug(process) => process.kill(),
            Phase::Debugging(debuggee) => {
                let over = debuggee.state == State::Ending || matches!(debuggee.state, State::Exited(_));
                let how = if debuggee.is_attached() {
                    EndWith::Detach
                } else {
                    EndWith::Kill
                };
                if by_signal && !over {
                    self.say_how_it_ends(how);
                }
                if let Err(error) = self.end(how).await {
                    tracing::error!("the session could not be ended properly: {error}");
                }
            }
        }
        self.phase = Phase::Idle;
        self.binary = None;
    }

    /// The lines that Delve writes before it lets go.
    fn say_how_it_ends(&mut self, how: EndWith) {
        let Some(debuggee) = self.debuggee() else { return };
        if let State::Exited(status) = debuggee.state {
            let obituary = debuggee.obituary(status);
            self.out.console(&obituary);
            self.out.console("Detaching");
            return;
        }
        self.out.console(match how {
            EndWith::Kill => "Detaching and terminating target process",
            EndWith::Detach => "Detaching without terminating target process",
        });
    }

    /// Stops the program, which is to stand still when the client has gone (DAP specification, `suspendDebuggee`).
    async fn suspend(&mut self) {
        let halted = self
            .call(|target| target.as_ref().map_or(Ok(()), |target| target.halt()))
            .await;
        match halted {
            Ok(Ok(())) => {
                if let Some(debuggee) = self.debuggee()
                    && debuggee.state == State::Running
                {
                    debuggee.state = State::Stopped;
                }
            }
            Ok(Err(why)) => tracing::warn!("the program could not be stopped: {why}"),
            Err(gone) => tracing::warn!("the program could not be stopped: {gone}"),
        }
    }

    /// What Delve writes when others may go on.
    fn say_how_it_is_left(&mut self) {
        let address = self.address.clone();
        let Some(debuggee) = self.debuggee() else { return };
        let status = match debuggee.state {
            State::Exited(_) => "exited",
            State::Running => "running",
            State::Configuring if debuggee.runs_meanwhile => "running",
            _ => "halted",
        };
        self.out.console(&format!(
            "Closing client session, but leaving multi-client DAP server at {address} with debuggee {status}"
        ));
    }

    /// Ends the debugger's session. What the program logged and wrote until then reaches the client first; its exit
    /// does not, as the client is told of the session's end in another way. Nothing is left to do when this was done before.
    pub(super) async fn end(&mut self, how: EndWith) -> Result<(), String> {
        if let Some(debuggee) = self.debuggee()
            && !matches!(debuggee.state, State::Exited(_))
        {
            debuggee.state = State::Ending;
        }
        self.release_events().await;
        let ended = self
            .call(move |target| target.take().map_or(Ok(()), |target| target.end(how)))
            .await;
        // All of the target's events have been sent by now.
        self.events.close();
        while let Some(event) = self.events.next_of_last().await {
            self.on_event(event).await;
        }
        match ended {
            Ok(ended) => ended.map_err(|error| error.to_string()),
            Err(gone) => Err(gone.to_string()),
        }
    }
}
