//! A scenario's view of one server: a session is played step by step, as an editor would.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::child::ChildGroup;
use crate::dap_client::{DapClient, Event, Response, STEP};
use crate::failure::Result;
use crate::normalise::{Normaliser, Session};
use crate::stage::Stage;
use crate::toolchain::{Build, Built};

/// One session with one server.
pub struct Play {
    client: DapClient,
    stage: Stage,
    /// The goroutine of the last stop.
    thread: i64,
    /// The frames that were listed last.
    frames: Vec<i64>,
}

impl Play {
    /// Starts `PROGRAM dap`.
    pub fn begin(program: &Path) -> Result<Play> {
        Ok(Play {
            client: DapClient::start(program)?,
            stage: Stage::new()?,
            thread: 1,
            frames: Vec::new(),
        })
    }

    /// The client, for what has no shorter form here.
    pub fn client(&mut self) -> &mut DapClient {
        &mut self.client
    }

    /// What stands beside the session.
    pub fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    /// As [`Stage::scratch`].
    pub fn scratch(&self) -> PathBuf {
        self.stage.scratch()
    }

    /// As [`Stage::fixture`].
    pub fn fixture(&mut self, name: &str, build: Build) -> Result<Built> {
        self.stage.fixture(name, build)
    }

    /// As [`Stage::companion`].
    pub fn companion(&mut self, command: &mut Command) -> Result<i32> {
        self.stage.companion(command)
    }

    /// As [`Stage::companions`].
    pub fn companions(&mut self) -> &mut [ChildGroup] {
        self.stage.companions()
    }

    /// Sends a request and waits for its answer, whatever it is.
    #[track_caller]
    pub fn ask(&mut self, command: &str, arguments: Value) -> Result<Response> {
        self.client.try_request(command, arguments)
    }

    /// `initialize` and `launch` of a built program in mode `exec`, with further attributes.
    #[track_caller]
    pub fn launch(&mut self, built: &Built, further: Value) -> Result<()> {
        let mut arguments = json!({"request": "launch", "mode": "exec", "program": built.program});
        merge(&mut arguments, further);
        self.client.launch(arguments)
    }

    /// `setBreakpoints` at the lines of markers, each with further members.
    #[track_caller]
    pub fn breakpoints(&mut self, built: &Built, at: &[(&str, Value)]) -> Result<Response> {
        let wanted: Vec<Value> = at
            .iter()
            .map(|(marker, further)| {
                let mut one = json!({"line": built.line("main.go", marker)?});
                merge(&mut one, further.clone());
                Ok(one)
            })
            .collect::<Result<_>>()?;
        self.breakpoints_at(&built.source("main.go"), &wanted)
    }

    /// `setBreakpoints` as given.
    #[track_caller]
    pub fn breakpoints_at(&mut self, path: &str, wanted: &[Value]) -> Result<Response> {
        self.ask(
            "setBreakpoints",
            json!({"source": {"name": "main.go", "path": path}, "breakpoints": wanted}),
        )
    }

    /// `setBreakpoints` at the lines of markers.
    #[track_caller]
    pub fn stop_at(&mut self, built: &Built, markers: &[&str]) -> Result<Response> {
        let at: Vec<(&str, Value)> = markers.iter().map(|marker| (*marker, Value::Null)).collect();
        self.breakpoints(built, &at)
    }

    /// Waits for the next stop, or for the end.
    #[track_caller]
    pub fn arrive(&mut self) -> Result<Event> {
        let event = self.client.event_where("a stop or the end", STEP, |event| {
            matches!(event.event.as_str(), "stopped" | "terminated")
        })?;
        if event.event == "stopped" {
            self.thread = event.body["threadId"].as_i64().unwrap_or(0);
            self.frames.clear();
        }
        Ok(event)
    }

    /// `configurationDone`, and waits for the next stop, or for the end.
    #[track_caller]
    pub fn run(&mut self) -> Result<Event> {
        self.client.configuration_done()?;
        self.arrive()
    }

    /// A request that moves the program, with the goroutine of the last stop; waits for the next stop, or for the end.
    #[track_caller]
    pub fn go(&mut self, command: &str) -> Result<Event> {
        self.ask(command, json!({"threadId": self.thread}))?;
        self.arrive()
    }

    /// As [`Play::go`], several times, with a look at the top of the stack after each.
    #[track_caller]
    pub fn walk(&mut self, commands: &[&str]) -> Result<()> {
        for command in commands {
            if self.go(command)?.event == "terminated" {
                break;
            }
            self.stack(0, 3)?;
        }
        Ok(())
    }

    /// `threads`.
    #[track_caller]
    pub fn threads(&mut self) -> Result<Value> {
        Ok(self.ask("threads", Value::Null)?.body)
    }

    /// `stackTrace` of the goroutine of the last stop.
    #[track_caller]
    pub fn stack(&mut self, start: i64, levels: i64) -> Result<Value> {
        self.stack_of(self.thread, start, levels)
    }

    /// `stackTrace` of a goroutine.
    #[track_caller]
    pub fn stack_of(&mut self, thread: i64, start: i64, levels: i64) -> Result<Value> {
        let arguments = json!({"threadId": thread, "startFrame": start, "levels": levels});
        let body = self.ask("stackTrace", arguments)?.body;
        let frames = body["stackFrames"].as_array().cloned().unwrap_or_default();
        self.frames = frames.iter().filter_map(|frame| frame["id"].as_i64()).collect();
        Ok(body)
    }

    /// The goroutine of the last stop.
    pub fn thread(&self) -> i64 {
        self.thread
    }

    /// The number of a frame that was listed last; 0 if there was none.
    pub fn frame(&self, index: usize) -> i64 {
        self.frames.get(index).copied().unwrap_or(0)
    }

    /// `scopes` of a frame that was listed last, and `variables` of each; answers those of the first scope.
    #[track_caller]
    pub fn variables(&mut self, frame: usize) -> Result<Vec<Value>> {
        let scopes = self.ask("scopes", json!({"frameId": self.frame(frame)}))?.body;
        let mut first = None;
        for scope in scopes["scopes"].as_array().cloned().unwrap_or_default() {
            let variables = self.expand(&scope["variablesReference"])?;
            first.get_or_insert(variables);
        }
        Ok(first.unwrap_or_default())
    }

    /// `variables` of a reference.
    #[track_caller]
    pub fn expand(&mut self, reference: &Value) -> Result<Vec<Value>> {
        let body = self.ask("variables", json!({"variablesReference": reference}))?.body;
        Ok(body["variables"].as_array().cloned().unwrap_or_default())
    }

    /// Expands a variable and what it has, `depth` levels down.
    #[track_caller]
    pub fn expand_all(&mut self, variable: &Value, depth: usize) -> Result<()> {
        let reference = variable["variablesReference"].as_i64().unwrap_or(0);
        if reference == 0 || depth == 0 {
            return Ok(());
        }
        for part in self.expand(&reference.into())? {
            self.expand_all(&part, depth - 1)?;
        }
        Ok(())
    }

    /// `evaluate` in a frame that was listed last.
    #[track_caller]
    pub fn evaluate(&mut self, expression: &str, frame: usize, context: &str) -> Result<Response> {
        let frame = self.frame(frame);
        self.ask(
            "evaluate",
            json!({"expression": expression, "frameId": frame, "context": context}),
        )
    }

    /// `disconnect`, and waits until the server has closed the connection.
    #[track_caller]
    pub fn end(&mut self, arguments: Value) -> Result<()> {
        self.ask("disconnect", arguments)?;
        self.client.until_closed()
    }

    /// What the server said, comparable with another play of the same scenario.
    pub fn session(&self) -> Result<Session> {
        Normaliser::new(self.stage.paths()).session(&self.client.received())
    }
}

/// Adds the members of one object to another.
fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(into), Value::Object(from)) = (into, from) {
        into.extend(from);
    }
}
