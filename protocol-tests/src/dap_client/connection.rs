//! A client's end of a connection: requests, and waiting for what comes back.

use std::collections::VecDeque;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::message::read_message;
use super::{BUILD, Breakpoint, Event, Message, Response, STEP, SourceBreakpoint};
use crate::child::Stream;
use crate::failure::{Attempt, Failure, Result};

/// A client in one session.
pub struct DapConnection {
    stream: TcpStream,
    /// The standard error of the server, where the client has started it.
    stderr: Stream,
    incoming: Receiver<std::result::Result<Message, String>>,
    waiting: VecDeque<Message>,
    /// Whether the thread that reads is to leave everything where it is.
    idle: Arc<AtomicBool>,
    sequence: i64,
    last_sent: String,
    transcript: Vec<Message>,
    /// Whether there is a transcript.
    keeps: bool,
}

impl DapConnection {
    /// A connection to a server that listens at `HOST:PORT`.
    #[track_caller]
    pub fn connect(address: &str) -> Result<DapConnection> {
        let stream = TcpStream::connect(address).attempt(format_args!("connecting to {address}"))?;
        DapConnection::over(stream, Stream::default())
    }

    pub(super) fn over(stream: TcpStream, stderr: Stream) -> Result<DapConnection> {
        stream.set_nodelay(true).attempt("setting TCP_NODELAY")?;
        let reader = stream.try_clone().attempt("cloning the connection")?;
        let (sender, incoming) = channel();
        let idle = Arc::new(AtomicBool::new(false));
        let is_idle = idle.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(reader);
            loop {
                while is_idle.load(Ordering::Acquire) {
                    std::thread::sleep(Duration::from_millis(1));
                }
                let message = read_message(&mut reader);
                let failed = message.is_err();
                if sender.send(message).is_err() || failed {
                    return;
                }
            }
        });
        let (waiting, transcript) = (VecDeque::new(), Vec::new());
        Ok(DapConnection {
            stream,
            stderr,
            incoming,
            waiting,
            idle,
            sequence: 0,
            last_sent: "connecting".into(),
            transcript,
            keeps: true,
        })
    }

    /// Has the client leave what the server sends unread, but for the message it is at, or read again.
    pub fn read_nothing(&self, idle: bool) {
        self.idle.store(idle, Ordering::Release);
    }

    /// Everything sent and received so far, in order.
    pub fn transcript(&self) -> &[Message] {
        &self.transcript
    }

    /// Forgets what has been received: floods of events would be searched again for each answer.
    pub fn forget(&mut self) {
        self.waiting.clear();
        self.transcript.clear();
    }

    /// Has the client keep no transcript from now on: in long sessions it would take all memory.
    pub fn keep_no_transcript(&mut self) {
        self.keeps = false;
        self.transcript.clear();
    }

    fn keep(&mut self, message: &Message) {
        if self.keeps {
            self.transcript.push(message.clone());
        }
    }

    /// The next event that nobody has asked for, as soon as there is one; `None` where none comes within `limit`. It fails where the connection is closed.
    #[track_caller]
    pub fn next_event(&mut self, limit: Duration) -> Result<Option<Event>> {
        let end = Instant::now() + limit;
        loop {
            while let Some(message) = self.waiting.pop_front() {
                if let Message::Event(event) = message {
                    return Ok(Some(event));
                }
            }
            match self
                .incoming
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(Ok(message)) => {
                    self.keep(&message);
                    self.waiting.push_back(message);
                }
                Err(RecvTimeoutError::Timeout) => return Ok(None),
                Ok(Err(problem)) => return Err(Failure::new(problem)),
                Err(RecvTimeoutError::Disconnected) => return Err(Failure::new("the connection is closed")),
            }
        }
    }

    /// What the server said, in order.
    pub fn received(&self) -> Vec<Message> {
        self.transcript
            .iter()
            .filter(|message| !matches!(message, Message::Request { .. }))
            .cloned()
            .collect()
    }

    /// Sends bytes as they are, malformed ones too.
    #[track_caller]
    pub fn send_raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).attempt("sending to the DAP server")
    }

    /// Sends a JSON value in a frame, whatever it says.
    #[track_caller]
    pub fn send_value(&mut self, value: &Value) -> Result<()> {
        let body = value.to_string();
        self.send_raw(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())
    }

    /// Sends a request and does not wait; `Value::Null` leaves the arguments out.
    #[track_caller]
    pub fn send(&mut self, command: &str, arguments: Value) -> Result<i64> {
        self.sequence += 1;
        let request = Message::Request {
            seq: self.sequence,
            command: command.into(),
            arguments,
        };
        let value = serde_json::to_value(&request).attempt("writing a request")?;
        self.keep(&request);
        command.clone_into(&mut self.last_sent);
        self.send_value(&value)?;
        Ok(self.sequence)
    }

    /// Takes the first message that `wanted` answers something for; the others keep their order.
    #[track_caller]
    fn take<T>(&mut self, what: &str, limit: Duration, mut wanted: impl FnMut(&Message) -> Option<T>) -> Result<T> {
        let end = Instant::now() + limit;
        let mut looked_at = 0;
        loop {
            while looked_at < self.waiting.len() {
                if let Some(value) = wanted(&self.waiting[looked_at]) {
                    self.waiting.remove(looked_at);
                    return Ok(value);
                }
                looked_at += 1;
            }
            let problem = match self
                .incoming
                .recv_timeout(end.saturating_duration_since(Instant::now()))
            {
                Ok(Ok(message)) => {
                    self.keep(&message);
                    self.waiting.push_back(message);
                    continue;
                }
                Ok(Err(problem)) => problem,
                Err(RecvTimeoutError::Timeout) => format!("not within {limit:?}"),
                Err(RecvTimeoutError::Disconnected) => "the connection is closed".into(),
            };
            let unread: Vec<String> = self.waiting.iter().map(|message| json!(message).to_string()).collect();
            return Err(Failure::new(format!(
                "waiting for {what} after {}: {problem}\nreceived and not asked for:\n  {}\nthe server's standard error:\n{}",
                self.last_sent,
                unread.join("\n  "),
                self.stderr.text()
            )));
        }
    }

    /// Waits for the answer to the request numbered `seq`.
    #[track_caller]
    pub fn response_within(&mut self, seq: i64, limit: Duration) -> Result<Response> {
        self.take(
            &format!("the response to request {seq}"),
            limit,
            |message| match message {
                Message::Response(response) if response.request_seq == seq => Some(response.clone()),
                _ => None,
            },
        )
    }

    /// Waits for the event of this name.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Result<Event> {
        self.event_where(&format!("the `{name}` event"), STEP, |event| event.event == name)
    }

    /// Waits for the first event that `wanted` holds for.
    #[track_caller]
    pub fn event_where(&mut self, what: &str, limit: Duration, wanted: impl Fn(&Event) -> bool) -> Result<Event> {
        self.take(what, limit, |message| match message {
            Message::Event(event) if wanted(event) => Some(event.clone()),
            _ => None,
        })
    }

    /// Waits for an `output` event of `category` whose text contains `part`; answers the text.
    #[track_caller]
    pub fn output(&mut self, category: &str, part: &str) -> Result<String> {
        let what = format!("output of category `{category}` with `{part}`");
        let event = self.event_where(&what, STEP, |event| {
            event.event == "output"
                && event.body["category"] == category
                && event.body["output"].as_str().is_some_and(|text| text.contains(part))
        })?;
        Ok(event.body["output"].as_str().unwrap_or_default().to_owned())
    }

    /// Everything of one category that has arrived and was not taken, joined.
    pub fn outputs_so_far(&mut self, category: &str) -> String {
        while let Ok(Ok(message)) = self.incoming.try_recv() {
            self.keep(&message);
            self.waiting.push_back(message);
        }
        let texts = self.waiting.iter().filter_map(|message| match message {
            Message::Event(event) if event.event == "output" && event.body["category"] == category => {
                event.body["output"].as_str()
            }
            _ => None,
        });
        texts.collect()
    }

    /// Receives until the server closes the connection.
    #[track_caller]
    pub fn until_closed(&mut self) -> Result<()> {
        loop {
            match self.incoming.recv_timeout(STEP) {
                Ok(Ok(message)) => {
                    self.keep(&message);
                    self.waiting.push_back(message);
                }
                Ok(Err(_)) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
                Err(RecvTimeoutError::Timeout) => {
                    return Err(Failure::new(format!(
                        "the server did not close the connection within {STEP:?}"
                    )));
                }
            }
        }
    }

    /// Sends a request and waits for its answer, a failure or not.
    #[track_caller]
    pub fn try_request(&mut self, command: &str, arguments: Value) -> Result<Response> {
        let seq = self.send(command, arguments)?;
        self.response_within(seq, if command == "launch" { BUILD } else { STEP })
    }

    /// Sends a request that must succeed; answers its body.
    #[track_caller]
    pub fn request(&mut self, command: &str, arguments: Value) -> Result<Value> {
        let response = self.try_request(command, arguments)?;
        if !response.success {
            return Err(Failure::new(format!("`{command}` failed: {}", json!(response))));
        }
        Ok(response.body)
    }

    /// Sends a request that must fail; answers the failure.
    #[track_caller]
    pub fn refused(&mut self, command: &str, arguments: Value) -> Result<Response> {
        let response = self.try_request(command, arguments)?;
        if response.success {
            return Err(Failure::new(format!(
                "`{command}` should have failed: {}",
                json!(response)
            )));
        }
        Ok(response)
    }

    /// `initialize`, as VS Code sends it.
    #[track_caller]
    pub fn initialize(&mut self) -> Result<Value> {
        self.request(
            "initialize",
            json!({
                "clientID": "vscode", "clientName": "Visual Studio Code", "adapterID": "go", "pathFormat": "path", "linesStartAt1": true,
                "columnsStartAt1": true, "supportsVariableType": true, "supportsVariablePaging": true, "supportsRunInTerminalRequest": true, "locale": "en"
            }),
        )
    }

    /// `initialize` and `launch`, up to the `initialized` event.
    #[track_caller]
    pub fn launch(&mut self, arguments: Value) -> Result<()> {
        self.initialize()?;
        self.begin("launch", arguments)
    }

    /// `initialize` and `attach`, up to the `initialized` event.
    #[track_caller]
    pub fn attach(&mut self, arguments: Value) -> Result<()> {
        self.initialize()?;
        self.begin("attach", arguments)
    }

    #[track_caller]
    fn begin(&mut self, command: &str, arguments: Value) -> Result<()> {
        let seq = self.send(command, arguments)?;
        // The answer and the event come in either order; a failure comes without the event.
        let response = self.response_within(seq, BUILD)?;
        if !response.success {
            return Err(Failure::new(format!("`{command}` failed: {}", json!(response))));
        }
        self.event("initialized").map(drop)
    }

    /// `setBreakpoints` for one file.
    #[track_caller]
    pub fn set_breakpoints(&mut self, path: &str, breakpoints: &[SourceBreakpoint]) -> Result<Vec<Breakpoint>> {
        let body = self.request(
            "setBreakpoints",
            json!({"source": {"name": "main.go", "path": path}, "breakpoints": breakpoints}),
        )?;
        serde_json::from_value(body["breakpoints"].clone()).attempt(format_args!("reading the breakpoints of {body}"))
    }

    /// `configurationDone`: the program runs from here.
    #[track_caller]
    pub fn configuration_done(&mut self) -> Result<()> {
        self.request("configurationDone", Value::Null).map(drop)
    }

    /// Closes the connection without a word.
    pub fn close(&self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
    }
}
