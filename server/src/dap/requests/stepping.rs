//! `next`, `stepIn`, `stepOut`.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::{
    dap::{debuggee::State, message::Request, outgoing::NO_BODY, session::Session, stops::STEP_WHILE_STEPPING},
    debugger::StepKind,
    inspect::Whose,
};

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Arguments {
    thread_id: i64,
    granularity: String,
}

/// Why a step did not begin.
enum NoStep {
    /// There is no such goroutine to step.
    Whom(String),
    /// It could not be moved.
    How(String),
}

impl Session {
    /// Answers a request for a step: everything is said to go on, then answered, then done, as Delve does it.
    pub(super) async fn on_step(&mut self, request: &Request, state: State) {
        let arguments: Arguments = match request.arguments() {
            Ok(arguments) => arguments,
            Err(text) => return self.out.internal_error(request.seq, &text),
        };
        let id = arguments.thread_id;
        let kind = kind(&request.command, &arguments.granularity);
        let continued = json!({"threadId": id, "allThreadsContinued": true});
        self.out.event_with("continued", &continued);
        self.out.respond(request, NO_BODY);
        if let Some(obituary) = self.obituary(state) {
            return self.tell_no_step(&obituary).await;
        }
        let waiting = self.debuggee().is_some_and(|debuggee| debuggee.step_interrupted);
        if waiting && !matches!(kind, StepKind::OverInstruction | StepKind::IntoInstruction) {
            return self.tell_failure(STEP_WHILE_STEPPING).await;
        }
        let _ = self.out.flush().await;
        self.let_run();
        let stepped = self
            .call(move |target| {
                let Some(target) = target else { return Ok(()) };
                // A user waits for each step: who is to make it is asked only if nobody can.
                target
                    .step(Whose::Goroutine(id), kind)
                    .map_err(|error| match target.goroutine(id) {
                        Err(error) => NoStep::Whom(error.to_string()),
                        Ok(_) => NoStep::How(error.to_string()),
                    })
            })
            .await
            .unwrap_or_else(|gone| Err(NoStep::How(gone.to_string())));
        match stepped {
            Ok(()) => {}
            Err(NoStep::Whom(why)) => self.tell_no_step(&why).await,
            Err(NoStep::How(why)) => self.tell_failure(&why).await,
        }
    }

    /// Tells the client that nobody moved.
    async fn tell_no_step(&mut self, why: &str) {
        let selected = self
            .look(|at| at.target.stop().map(|stop| stop.whose))
            .await
            .ok()
            .flatten()
            .flatten();
        if let Some(debuggee) = self.debuggee()
            && debuggee.state == State::Running
        {
            debuggee.state = State::Stopped;
        }
        let mut body = Map::new();
        body.insert("reason".to_owned(), "error".into());
        if let Some(Whose::Goroutine(id)) = selected {
            body.insert("threadId".to_owned(), id.into());
        }
        body.insert("text".to_owned(), why.into());
        body.insert("allThreadsStopped".to_owned(), true.into());
        self.out.event_with("stopped", &Value::Object(body));
    }
}

fn kind(command: &str, granularity: &str) -> StepKind {
    match (command, granularity) {
        ("next", "instruction") => StepKind::OverInstruction,
        ("stepIn", "instruction") => StepKind::IntoInstruction,
        ("next", _) => StepKind::Over,
        ("stepIn", _) => StepKind::Into,
        _ => StepKind::Out,
    }
}
