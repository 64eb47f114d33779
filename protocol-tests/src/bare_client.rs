//! A client on one thread that times answers: from a request until the last byte of what answers it is there, and before anybody has read it. What the other
//! clients of these tests do with a long answer takes longer than a debugger needs to make it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::dap_client::STEP;
use crate::failure::{Attempt, Failure, Result};

/// The protocol that is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// The Debug Adapter Protocol: headers before each message.
    Dap,
    /// Go's JSON-RPC: values one after the other, each on a line.
    JsonRpc,
}

/// A connection.
pub struct BareClient {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
    dialect: Dialect,
    sequence: i64,
    /// What came that was no answer.
    events: Vec<Value>,
}

impl BareClient {
    /// A connection to a server at `HOST:PORT`.
    #[track_caller]
    pub fn connect(address: &str, dialect: Dialect) -> Result<BareClient> {
        let stream = TcpStream::connect(address).attempt(format_args!("connecting to {address}"))?;
        stream.set_nodelay(true).attempt("setting TCP_NODELAY")?;
        stream.set_read_timeout(Some(STEP)).attempt("setting a time limit")?;
        let reader = BufReader::new(stream.try_clone().attempt("cloning the connection")?);
        Ok(BareClient {
            stream,
            reader,
            dialect,
            sequence: 0,
            events: Vec::new(),
        })
    }

    /// Sends a request.
    #[track_caller]
    pub fn send(&mut self, name: &str, argument: &Value) -> Result<i64> {
        self.sequence += 1;
        let sequence = self.sequence;
        let message = match self.dialect {
            Dialect::Dap => {
                let request = json!({"seq": sequence, "type": "request", "command": name, "arguments": argument});
                let text = request.to_string();
                format!("Content-Length: {}\r\n\r\n{text}", text.len())
            }
            Dialect::JsonRpc => {
                let method = format!("RPCServer.{name}");
                json!({"method": method, "params": [argument], "id": sequence}).to_string() + "\n"
            }
        };
        self.stream
            .write_all(message.as_bytes())
            .attempt(format_args!("sending {name}"))?;
        Ok(sequence)
    }

    /// Sends a request that must succeed; how long its answer took, and the answer: a body, or a result.
    #[track_caller]
    pub fn timed(&mut self, name: &str, argument: &Value) -> Result<(Duration, Value)> {
        let begun = Instant::now();
        let sequence = self.send(name, argument)?;
        loop {
            let bytes = self.read(name)?;
            let taken = begun.elapsed();
            let mut message: Value =
                serde_json::from_slice(&bytes).attempt(format_args!("reading what answers {name}"))?;
            let (number, failed, body) = match self.dialect {
                Dialect::Dap => ("request_seq", message["success"] != true, "body"),
                Dialect::JsonRpc => ("id", !message["error"].is_null(), "result"),
            };
            if message[number] != sequence {
                self.events.push(message);
                continue;
            }
            if failed {
                return Err(Failure::new(format!("{name} failed: {message}")));
            }
            return Ok((taken, message[body].take()));
        }
    }

    /// The body of an event of the Debug Adapter Protocol, once it is there.
    #[track_caller]
    pub fn event(&mut self, name: &str) -> Result<Value> {
        loop {
            if let Some(at) = self.events.iter().position(|event| event["event"] == name) {
                return Ok(self.events.remove(at)["body"].take());
            }
            let bytes = self.read(name)?;
            self.events
                .push(serde_json::from_slice(&bytes).attempt(format_args!("waiting for {name}"))?);
        }
    }

    /// One message.
    fn read(&mut self, waits_for: &str) -> Result<Vec<u8>> {
        let attempt = format_args!("waiting for {waits_for}");
        let mut message = Vec::new();
        if self.dialect == Dialect::JsonRpc {
            self.reader.read_until(b'\n', &mut message).attempt(attempt)?;
            return Ok(message);
        }
        let mut length = None;
        loop {
            let mut line = String::new();
            self.reader.read_line(&mut line).attempt(attempt)?;
            match line.trim_end() {
                "" => break,
                header => {
                    length = header
                        .strip_prefix("Content-Length: ")
                        .and_then(|text| text.parse().ok())
                        .or(length)
                }
            }
        }
        let length: usize =
            length.ok_or_else(|| Failure::new(format!("waiting for {waits_for}: the connection is closed")))?;
        message.resize(length, 0);
        self.reader.read_exact(&mut message).attempt(attempt)?;
        Ok(message)
    }
}
