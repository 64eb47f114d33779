//! A WebSocket, as far as a test needs it: texts, in one frame each.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use serde_json::Value;

use crate::dap_client::STEP;
use crate::failure::{Attempt, Result};

/// A text as a client sends it.
pub fn frame(text: &str) -> Vec<u8> {
    let mut frame = vec![0x81];
    match (u8::try_from(text.len()), u16::try_from(text.len())) {
        (Ok(length), _) if length < 126 => frame.push(0x80 | length),
        (_, Ok(length)) => {
            frame.push(0x80 | 0x7e);
            frame.extend_from_slice(&length.to_be_bytes());
        }
        _ => {
            frame.push(0x80 | 0x7f);
            frame.extend_from_slice(&(text.len() as u64).to_be_bytes());
        }
    }
    // With a mask of zeros, the text is its own masked form.
    frame.extend_from_slice(&[0; 4]);
    frame.extend_from_slice(text.as_bytes());
    frame
}

/// A WebSocket (RFC 6455), as far as text goes.
pub struct WebSocket {
    stream: TcpStream,
    reader: BufReader<TcpStream>,
}

impl WebSocket {
    /// Asks for one, with further headers; answers the status of a refusal.
    #[track_caller]
    pub fn open(address: &str, headers: &str) -> Result<std::result::Result<WebSocket, u16>> {
        let mut stream = TcpStream::connect(address).attempt("connecting")?;
        stream.set_read_timeout(Some(STEP)).attempt("setting a time limit")?;
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {address}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).attempt("writing")?;
        let mut reader = BufReader::new(stream.try_clone().attempt("cloning the connection")?);
        let mut status = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).attempt("reading a header")?;
            if let Some(first) = line.strip_prefix("HTTP/1.1 ") {
                status = first
                    .split(' ')
                    .next()
                    .and_then(|status| status.parse().ok())
                    .unwrap_or(0);
            }
            if line.trim().is_empty() {
                break;
            }
        }
        Ok(if status == 101 {
            Ok(WebSocket { stream, reader })
        } else {
            Err(status)
        })
    }

    /// The connection, for what is not a text.
    pub fn stream(&mut self) -> &mut TcpStream {
        &mut self.stream
    }

    /// Sends a text.
    #[track_caller]
    pub fn send(&mut self, message: &Value) -> Result<()> {
        let frame = frame(&message.to_string());
        self.stream.write_all(&frame).attempt("writing")
    }

    /// The next text.
    #[track_caller]
    pub fn text(&mut self) -> Result<Value> {
        loop {
            let mut head = [0; 2];
            self.reader.read_exact(&mut head).attempt("reading a frame")?;
            let length = match head[1] & 0x7f {
                126 => {
                    let mut length = [0; 2];
                    self.reader.read_exact(&mut length).attempt("reading a length")?;
                    u64::from(u16::from_be_bytes(length))
                }
                127 => {
                    let mut length = [0; 8];
                    self.reader.read_exact(&mut length).attempt("reading a length")?;
                    u64::from_be_bytes(length)
                }
                length => u64::from(length),
            };
            let mut payload = Vec::new();
            (&mut self.reader)
                .take(length)
                .read_to_end(&mut payload)
                .attempt("reading a payload")?;
            if head[0] & 0x0f == 1 {
                return serde_json::from_slice(&payload).attempt("reading JSON");
            }
        }
    }

    /// The first text that `wanted` takes.
    #[track_caller]
    pub fn until<T>(&mut self, mut wanted: impl FnMut(&Value) -> Option<T>) -> Result<T> {
        loop {
            if let Some(found) = wanted(&self.text()?) {
                return Ok(found);
            }
        }
    }
}
