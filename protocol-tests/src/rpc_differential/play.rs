//! A scenario's view of one headless server: calls are made one after the other, and every answer is kept.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::normalise::{RpcNormaliser, shape};
use crate::dap_client::STEP;
use crate::failure::{Attempt, Result};
use crate::headless::Headless;
use crate::normalise::Session;
use crate::rpc_client::{Pending, RpcClient};
use crate::stage::Stage;
use crate::toolchain::{Build, Built};

/// How long a call may stay unanswered before a scenario says that it waits.
const PATIENCE: Duration = Duration::from_millis(400);

/// One session with one server.
pub struct RpcPlay {
    program: PathBuf,
    stage: Stage,
    headless: Option<Headless>,
    clients: Vec<RpcClient>,
    /// What was asked, as a title, and what was answered; in order.
    answers: Vec<(String, Value)>,
    stdout: String,
    stderr: String,
}

impl RpcPlay {
    /// A session with the debugger `program`, which does not serve yet.
    pub fn begin(program: &Path) -> Result<RpcPlay> {
        Ok(RpcPlay {
            program: program.to_path_buf(),
            stage: Stage::new()?,
            headless: None,
            clients: Vec::new(),
            answers: Vec::new(),
            stdout: String::new(),
            stderr: String::new(),
        })
    }

    /// What stands beside the session.
    pub fn stage(&mut self) -> &mut Stage {
        &mut self.stage
    }

    /// Serves a fixture, `exec --headless --accept-multiclient`, with one client connected.
    #[track_caller]
    pub fn serve(&mut self, fixture: &str, args: &[&str]) -> Result<Built> {
        let built = self.stage.fixture(fixture, Build::FixedHeap)?;
        let program = built.program.to_string_lossy().into_owned();
        let mut words = vec!["--accept-multiclient", &program, "--"];
        words.extend(args);
        self.serve_command("exec", &words)?;
        Ok(built)
    }

    /// Serves with any command and flags, with one client connected.
    #[track_caller]
    pub fn serve_command(&mut self, command: &str, args: &[&str]) -> Result<()> {
        let headless = Headless::start(&self.program, command, args)?;
        self.clients = vec![headless.connect()?];
        self.headless = Some(headless);
        Ok(())
    }

    /// Where the server listens.
    #[track_caller]
    pub fn address(&self) -> Result<String> {
        Ok(self
            .headless
            .as_ref()
            .attempt("asking where the server listens")?
            .address
            .clone())
    }

    /// One more connection; answers its number for [`RpcPlay::send`] and [`RpcPlay::ask_of`].
    #[track_caller]
    pub fn join(&mut self) -> Result<usize> {
        let headless = self
            .headless
            .as_ref()
            .attempt("connecting before the server is started")?;
        self.clients.push(headless.connect()?);
        Ok(self.clients.len() - 1)
    }

    #[track_caller]
    fn client(&mut self, number: usize) -> Result<&mut RpcClient> {
        self.clients.get_mut(number).attempt("asking without a connection")
    }

    /// A call of the first client, whatever is answered.
    #[track_caller]
    pub fn ask(&mut self, method: &str, argument: Value) -> Result<Value> {
        self.ask_of(0, method, argument)
    }

    /// A call of a client, whatever is answered.
    #[track_caller]
    pub fn ask_of(&mut self, client: usize, method: &str, argument: Value) -> Result<Value> {
        self.ask_with(client, method, Some(Value::Array(vec![argument])))
    }

    /// A call with whatever stands for its parameters, or without any.
    #[track_caller]
    pub fn ask_with(&mut self, client: usize, method: &str, parameters: Option<Value>) -> Result<Value> {
        let title = title(method, parameters.as_ref());
        let answer = self.ask_silently(client, method, parameters)?;
        self.answers.push((title, answer.clone()));
        Ok(answer)
    }

    /// A call of whose answer only the shape is compared: who is asked at a moment that no two runs share answers something else each time.
    #[track_caller]
    pub fn ask_shape(&mut self, method: &str, argument: Value) -> Result<Value> {
        let parameters = Some(Value::Array(vec![argument]));
        let title = title(method, parameters.as_ref());
        let answer = self.ask_silently(0, method, parameters)?;
        self.answers.push((title, shape(&answer)));
        Ok(answer)
    }

    /// A call that leaves no trace in what is compared.
    #[track_caller]
    pub fn ask_silently(&mut self, client: usize, method: &str, parameters: Option<Value>) -> Result<Value> {
        let client = self.client(client)?;
        let pending = client.send_parameters(method, parameters)?;
        Ok(outcome(client.wait(&pending, STEP)?))
    }

    /// Sends a call and does not wait.
    #[track_caller]
    pub fn send(&mut self, client: usize, method: &str, argument: &Value) -> Result<Pending> {
        self.client(client)?.send(method, argument)
    }

    /// Waits for the answer to a call that was sent, and keeps it under a title.
    #[track_caller]
    pub fn answer(&mut self, client: usize, title: &str, pending: &Pending) -> Result<Value> {
        let answer = outcome(self.client(client)?.wait(pending, STEP)?);
        self.answers.push((title.to_owned(), answer.clone()));
        Ok(answer)
    }

    /// As [`RpcPlay::answer`], of which only the shape is compared.
    #[track_caller]
    pub fn answer_shape(&mut self, client: usize, title: &str, pending: &Pending) -> Result<Value> {
        let answer = outcome(self.client(client)?.wait(pending, STEP)?);
        self.answers.push((title.to_owned(), shape(&answer)));
        Ok(answer)
    }

    /// Waits a moment for the answer to a call that was sent; `None` where there is none yet.
    #[track_caller]
    pub fn answered_soon(&mut self, client: usize, pending: &Pending) -> Result<Option<Value>> {
        Ok(self.client(client)?.wait_briefly(pending, PATIENCE)?.map(outcome))
    }

    /// Keeps something that was seen, to be compared.
    pub fn note(&mut self, title: &str, value: Value) {
        self.answers.push((title.to_owned(), value));
    }

    /// `Command` with a name alone.
    #[track_caller]
    pub fn command(&mut self, name: &str) -> Result<Value> {
        self.ask("Command", json!({"name": name}))
    }

    /// Sets a breakpoint at the line of a marker, with further members.
    #[track_caller]
    pub fn break_at(&mut self, built: &Built, marker: &str, further: Value) -> Result<Value> {
        let mut breakpoint = json!({"file": built.source("main.go"), "line": built.line("main.go", marker)?});
        if let (Value::Object(into), Value::Object(from)) = (&mut breakpoint, further) {
            into.extend(from);
        }
        self.ask("CreateBreakpoint", json!({"Breakpoint": breakpoint}))
    }

    /// Brings the program to the line of a marker, without a trace in what is compared.
    #[track_caller]
    pub fn bring_to(&mut self, built: &Built, marker: &str) -> Result<()> {
        let breakpoint = json!({"file": built.source("main.go"), "line": built.line("main.go", marker)?});
        let created = self.ask_silently(0, "CreateBreakpoint", Some(json!([{"Breakpoint": breakpoint}])))?;
        let id = created["result"]["Breakpoint"]["id"].clone();
        self.ask_silently(0, "Command", Some(json!([{"name": "continue"}])))?;
        self.ask_silently(0, "ClearBreakpoint", Some(json!([{"Id": id}])))?;
        Ok(())
    }

    /// Sets the program going, and waits until the server says that it runs. Answers the command, which stays open.
    #[track_caller]
    pub fn run_on(&mut self, client: usize) -> Result<Pending> {
        let running = self.send(client, "Command", &json!({"name": "continue"}))?;
        crate::child::wait_until("the program to run", STEP, || {
            let state = self
                .ask_silently(client, "State", Some(json!([{"NonBlocking": true}])))
                .ok()?;
            (state["result"]["State"]["Running"] == true).then_some(())
        })?;
        Ok(running)
    }

    /// `Detach`, and waits until the server has ended by itself.
    #[track_caller]
    pub fn end(&mut self, kill: bool) -> Result<()> {
        self.ask("Detach", json!({"Kill": kill}))?;
        self.has_ended()
    }

    /// Waits until the server has ended by itself, and keeps how.
    #[track_caller]
    pub fn has_ended(&mut self) -> Result<()> {
        let headless = self
            .headless
            .take()
            .attempt("waiting for a server that was not started")?;
        let ended = headless.finish()?;
        self.note("the server's exit status", ended.code().into());
        self.stdout = ended.stdout;
        self.stderr = ended.stderr;
        Ok(())
    }

    /// What the server answered, comparable with another play of the same scenario.
    pub fn session(&mut self) -> Session {
        if let Some(headless) = &self.headless {
            self.stdout = headless.server.stdout.text();
            self.stderr = headless.server.stderr.text();
        }
        let mut normaliser = RpcNormaliser::new(self.stage.paths());
        let mut messages = Vec::new();
        for (title, answer) in &self.answers {
            let mut answer = answer.clone();
            normaliser.answer(&mut answer);
            messages.push(json!({"type": "call", "call": normaliser.text(title), "answer": answer}));
        }
        Session {
            messages,
            stdout: normaliser.text(&self.stdout),
            stderr: normaliser.text(&self.stderr),
        }
    }
}

/// What a call is called in what is compared.
fn title(method: &str, parameters: Option<&Value>) -> String {
    match parameters {
        None => format!("{method} without params"),
        Some(Value::Array(one)) if one.len() == 1 => format!("{method} {}", one[0]),
        Some(other) => format!("{method} params {other}"),
    }
}

fn outcome(answer: std::result::Result<Value, String>) -> Value {
    match answer {
        Ok(result) => json!({"result": result}),
        Err(text) => json!({"error": text}),
    }
}
