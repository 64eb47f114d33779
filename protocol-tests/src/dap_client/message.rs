//! Messages of the protocol, and how they are read off a connection.

use std::io::BufRead;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The answer to a request.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Response {
    /// The number of the request.
    pub request_seq: i64,
    /// Whether it was done.
    pub success: bool,
    /// The request's name.
    pub command: String,
    /// A short reason for a failure.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// What was asked for; in a failure, `error` with a text for the user.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

impl Response {
    /// The text of a failure that is for the user: `body.error.format`.
    pub fn error_text(&self) -> &str {
        self.body["error"]["format"].as_str().unwrap_or_default()
    }
}

/// Something the server says by itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Event {
    /// The event's name.
    pub event: String,
    /// What belongs to it.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub body: Value,
}

/// One message, as sent or received.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Message {
    /// From the client.
    Request {
        /// The request's number.
        seq: i64,
        /// Its name.
        command: String,
        /// Its arguments.
        #[serde(default, skip_serializing_if = "Value::is_null")]
        arguments: Value,
    },
    /// From the server, to a request.
    Response(Response),
    /// From the server, by itself.
    Event(Event),
}

/// A breakpoint to set in a source file.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SourceBreakpoint {
    /// 1-based.
    pub line: u32,
    /// A log message makes it a logpoint.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_message: Option<String>,
    /// A Go expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// As `> 3`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hit_condition: Option<String>,
}

impl SourceBreakpoint {
    /// A breakpoint that stops.
    pub fn stop(line: u32) -> SourceBreakpoint {
        SourceBreakpoint {
            line,
            ..SourceBreakpoint::default()
        }
    }

    /// A breakpoint that logs.
    pub fn log(line: u32, message: &str) -> SourceBreakpoint {
        SourceBreakpoint {
            line,
            log_message: Some(message.into()),
            ..SourceBreakpoint::default()
        }
    }
}

/// What became of a breakpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Breakpoint {
    /// The server's number of it.
    pub id: Option<i64>,
    /// Whether it will act.
    pub verified: bool,
    /// Why not, or what else there is to say.
    pub message: Option<String>,
    /// Where it came to lie.
    pub line: Option<u32>,
}

/// Reads one frame, as strictly as Go's clients do: a header, an empty line, and exactly that many bytes.
pub(super) fn read_message(reader: &mut impl BufRead) -> Result<Message, String> {
    let mut length = None;
    loop {
        let mut line = String::new();
        if reader
            .read_line(&mut line)
            .map_err(|error| format!("reading a header: {error}"))?
            == 0
        {
            return Err("the server closed the connection".into());
        }
        let Some(line) = line.strip_suffix("\r\n") else {
            return Err(format!("a header line without CRLF: {line:?}"));
        };
        if line.is_empty() {
            break;
        }
        let value = line
            .strip_prefix("Content-Length: ")
            .ok_or_else(|| format!("a header nobody sends: {line:?}"))?;
        length = Some(
            value
                .parse::<usize>()
                .map_err(|error| format!("a length that is no number: {value:?}: {error}"))?,
        );
    }
    let mut body = vec![0; length.ok_or("a frame without Content-Length")?];
    reader
        .read_exact(&mut body)
        .map_err(|error| format!("reading a body: {error}"))?;
    serde_json::from_slice(&body)
        .map_err(|error| format!("a message that is none: {error}: {}", String::from_utf8_lossy(&body)))
}
