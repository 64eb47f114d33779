//! A session as VS Code plays it, recorded with Delve as the server and played again: each request is sent as VS Code sent it, each answer
//! and event must be what Delve's was.
//!
//! The recording is what the extension's setting `spelunk.recordMessages` writes, made by the first scenario of
//! `editors/tests/vscode`, with the program's folder as `/PROGRAM` and Go's as `/GOROOT`. What differs from run to run is taken out: the
//! `process` and `continued` events, console texts, all threads but the first, addresses, and requests that were overtaken by a restart.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use protocol_tests::dap_client::{BUILD, DapClient, Message, Response, STEP};
use protocol_tests::failure::{Attempt, Failure, Result};
use protocol_tests::paths;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// One line of a recording.
#[derive(Deserialize)]
struct Line {
    #[serde(rename = "m")]
    message: Message,
}

fn recording() -> Result<Vec<Message>> {
    let path = paths::crate_dir().join("tests/recordings/vscode.jsonl");
    let text = std::fs::read_to_string(&path).attempt(format_args!("reading {}", path.display()))?;
    let lines = text.lines().map(|line| {
        let line: Line = serde_json::from_str(line).attempt(format_args!("reading {line}"))?;
        Ok(line.message)
    });
    lines.collect()
}

/// The program that was debugged, in a folder of its own: `debug` mode builds beside the sources.
fn copy_of_the_program() -> Result<tempfile::TempDir> {
    let from = paths::crate_dir().join("../editors/tests/program");
    let to = tempfile::tempdir().attempt("making a folder")?;
    for file in ["go.mod", "main.go"] {
        std::fs::copy(from.join(file), to.path().join(file)).attempt(format_args!("copying {file}"))?;
    }
    Ok(to)
}

/// What a number in a message refers to. Both kinds begin at the same number, and which numbers are given out depends on how many
/// frames and variables of the runtime there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Reference {
    Frame,
    Variables,
}

struct Replay {
    client: DapClient,
    program: PathBuf,
    /// From the recording's numbers to those of this session.
    references: HashMap<(Reference, i64), i64>,
    /// From the recording's sequence numbers to those of this session.
    sequence: HashMap<i64, i64>,
    address: Regex,
    thread: Regex,
}

impl Replay {
    /// Arguments of a recorded request, for this session.
    fn arguments(&self, recorded: &Value) -> Value {
        match recorded {
            Value::String(text) => Value::from(text.replace("/PROGRAM", &self.program.to_string_lossy())),
            Value::Array(elements) => elements.iter().map(|element| self.arguments(element)).collect(),
            Value::Object(fields) => fields
                .iter()
                .map(|(name, value)| (name.clone(), self.argument(name, value)))
                .collect(),
            other => other.clone(),
        }
    }

    fn argument(&self, name: &str, value: &Value) -> Value {
        let reference = match name {
            "frameId" => Reference::Frame,
            "variablesReference" => Reference::Variables,
            _ => return self.arguments(value),
        };
        let known = value
            .as_i64()
            .and_then(|number| self.references.get(&(reference, number)));
        known.map_or_else(|| value.clone(), |known| Value::from(*known))
    }

    /// Learns which numbers of a recorded answer stand for which of ours.
    fn bind(&mut self, recorded: &Value, ours: &Value) {
        for (list, field, reference) in [
            ("stackFrames", "id", Reference::Frame),
            ("scopes", "variablesReference", Reference::Variables),
            ("variables", "variablesReference", Reference::Variables),
        ] {
            for (theirs, ours) in self
                .elements(list, &recorded[list])
                .iter()
                .zip(self.elements(list, &ours[list]))
            {
                if let (Some(theirs), Some(ours)) = (theirs[field].as_i64(), ours[field].as_i64()) {
                    self.references.insert((reference, theirs), ours);
                }
            }
        }
    }

    /// The elements of a list that are compared: of frames those of the program, which every version of Go has, and one thread.
    fn elements<'list>(&self, name: &str, list: &'list Value) -> Vec<&'list Value> {
        let all = list.as_array().map(Vec::as_slice).unwrap_or_default().iter();
        match name {
            "stackFrames" => all
                .filter(|frame| self.is_of_the_program(&frame["source"]["path"]))
                .collect(),
            "threads" => all.take(1).collect(),
            // Delve forgets what a step out returned if a logpoint was passed meanwhile; here a logpoint does not interrupt a step.
            "scopes" => all.filter(|scope| scope["name"] != "Return values").collect(),
            // Delve's exception breakpoints come in any order.
            "breakpoints" => {
                let mut all: Vec<&Value> = all.collect();
                all.sort_by_key(|breakpoint| breakpoint["id"].as_i64());
                all
            }
            _ => all.collect(),
        }
    }

    fn is_of_the_program(&self, path: &Value) -> bool {
        path.as_str()
            .is_some_and(|path| path.starts_with("/PROGRAM") || Path::new(path).starts_with(&self.program))
    }

    /// A body without what differs between runs, machines and versions of Go.
    fn normalised(&self, body: &Value) -> Value {
        match body {
            Value::String(text) => {
                let text = text.replace(&*self.program.to_string_lossy(), "/PROGRAM");
                let text = self.address.replace_all(&text, "0x1");
                Value::from(self.thread.replace_all(&text, "(Thread 1)").into_owned())
            }
            Value::Array(elements) => elements.iter().map(|element| self.normalised(element)).collect(),
            Value::Object(fields) => {
                let in_go = body["source"]["path"].is_string() && !self.is_of_the_program(&body["source"]["path"]);
                // A result before its function has set it is whatever lay there.
                let unset = body["name"].as_str().is_some_and(|name| name.starts_with("~r"));
                let of_go = body["type"].as_str().is_some_and(|name| name.starts_with("sync."));
                let mut kept = Map::new();
                for (name, value) in fields {
                    let value = match name.as_str() {
                        "totalFrames" => continue,
                        "line" | "source" if in_go => continue,
                        "value" if of_go || unset => continue,
                        "id" if fields.contains_key("instructionPointerReference") => continue,
                        "variablesReference" => Value::from(value != 0),
                        "stackFrames" | "threads" | "scopes" | "breakpoints" => {
                            let elements = self.elements(name, value);
                            elements.into_iter().map(|element| self.normalised(element)).collect()
                        }
                        _ => self.normalised(value),
                    };
                    kept.insert(name.clone(), value);
                }
                Value::Object(kept)
            }
            other => other.clone(),
        }
    }

    /// Plays one recorded message: sends it if it is a request, else waits for its like and compares.
    fn play(&mut self, recorded: &Message) -> Result<()> {
        match recorded {
            Message::Request {
                seq,
                command,
                arguments,
            } => {
                let arguments = self.arguments(arguments);
                let ours = self.client.send(command, arguments)?;
                self.sequence.insert(*seq, ours);
                Ok(())
            }
            Message::Response(theirs) => {
                let seq = *self
                    .sequence
                    .get(&theirs.request_seq)
                    .attempt("finding the request of an answer")?;
                let ours = self.client.response_within(seq, BUILD)?;
                self.bind(&theirs.body, &ours.body);
                self.same(
                    &format!("the answer to `{}` ({})", theirs.command, theirs.request_seq),
                    &answer(theirs),
                    &answer(&ours),
                )
            }
            // Output is compared as a whole: it comes when it comes.
            Message::Event(theirs) if theirs.event == "output" => Ok(()),
            Message::Event(theirs) => {
                let ours = self.client.event(&theirs.event)?;
                self.same(&format!("the event `{}`", theirs.event), &theirs.body, &ours.body)
            }
        }
    }

    fn same(&self, what: &str, theirs: &Value, ours: &Value) -> Result<()> {
        let (theirs, ours) = (self.normalised(theirs), self.normalised(ours));
        if theirs == ours {
            return Ok(());
        }
        Err(Failure::new(format!("{what} was\n  {theirs}\nand is\n  {ours}")))
    }

    /// What a program and its logpoints wrote until it was restarted: the program's lines and the log messages, each in their order.
    fn output(messages: &[Message]) -> (Vec<String>, Vec<String>) {
        let restarted =
            |message: &&Message| !matches!(message, Message::Response(response) if response.command == "restart");
        let texts = messages
            .iter()
            .take_while(restarted)
            .filter_map(|message| match message {
                Message::Event(event) if event.event == "output" && event.body["category"] == "stdout" => {
                    event.body["output"].as_str()
                }
                _ => None,
            });
        let text = texts.collect::<String>();
        let lines = text.lines().filter(|line| !line.starts_with("Building "));
        lines.map(str::to_owned).partition(|line| line.starts_with("> ["))
    }
}

/// What is compared of an answer.
fn answer(response: &Response) -> Value {
    json!({"success": response.success, "message": response.message, "body": response.body})
}

/// The order of what a server says, without the messages that come at any time.
fn order(messages: &[Message]) -> Vec<String> {
    let name = |message: &Message| match message {
        Message::Response(response) => Some(format!("response {}", response.command)),
        Message::Event(event) if ["output", "process", "continued"].contains(&event.event.as_str()) => None,
        Message::Event(event) => Some(format!("event {}", event.event)),
        Message::Request { .. } => None,
    };
    messages.iter().filter_map(name).collect()
}

#[test]
fn what_vs_code_asks_is_answered_as_delve_answers() -> Result<()> {
    let recorded = recording()?;
    let program = copy_of_the_program()?;
    let mut replay = Replay {
        client: DapClient::start(&paths::spelunk()?)?,
        program: program.path().to_path_buf(),
        references: HashMap::new(),
        sequence: HashMap::new(),
        address: Regex::new("0x[0-9a-f]{4,}").attempt("compiling an expression")?,
        thread: Regex::new(r"\(Thread \d+\)").attempt("compiling an expression")?,
    };
    for message in &recorded {
        // The capabilities are compared elsewhere, one by one.
        if matches!(message, Message::Response(response) if response.command == "initialize") {
            replay.client.response_within(1, STEP)?;
        } else {
            replay.play(message)?;
        }
    }
    let received = replay.client.received();
    assert_eq!(order(&received), order(&recorded), "the order of answers and events");
    let (theirs, ours) = (Replay::output(&recorded), Replay::output(&received));
    assert_eq!(ours.0, theirs.0, "the log messages");
    assert_eq!(ours.1, theirs.1, "the program's output");
    replay.client.server().finish_within(STEP).map(drop)
}
