//! Frames: `Content-Length: N`, an empty line, and N bytes of JSON.
//!
//! A frame whose body is of no use is an item like any other: what follows it can still be read, so the session
//! goes on. Only a header that cannot be understood ends it, as nobody can tell where the next frame begins.

use std::io;

use bytes::{Buf, BytesMut};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio_util::codec::Decoder;

/// The longest header, empty line included. Clients send about 25 bytes.
const MAX_HEADER: usize = 8 * 1024;

/// The longest body that is read. The limit of go-dap, Delve's implementation, is the same.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// The longest body that is skipped; a frame that claims more is not a frame.
const MAX_SKIPPED: usize = 1024 * 1024 * 1024;

/// What a frame held.
#[derive(Debug, PartialEq)]
pub(crate) enum Frame {
    /// A JSON value.
    Message(Value),
    /// Something else; a sentence says what.
    Malformed(String),
}

/// Why nothing further can be read from the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FrameError {
    /// The connection failed.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Not a header.
    #[error("malformed frame header: {0}")]
    Header(String),
}

/// Cuts a stream of bytes into frames.
#[derive(Debug, Default)]
pub(crate) struct Codec {
    state: State,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Header,
    Body {
        length: usize,
    },
    Skipping {
        length: usize,
        left: usize,
    },
}

impl Decoder for Codec {
    type Item = Frame;
    type Error = FrameError;

    fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
        loop {
            match self.state {
                State::Header => {
                    let Some(length) = header(buffer)? else { return Ok(None) };
                    if length > MAX_SKIPPED {
                        return Err(FrameError::Header(format!("a body of {length} bytes")));
                    }
                    self.state = if length > MAX_BODY {
                        State::Skipping { length, left: length }
                    } else {
                        State::Body { length }
                    };
                }
                State::Body { length } => {
                    if buffer.len() < length {
                        return Ok(None);
                    }
                    let body = buffer.split_to(length);
                    self.state = State::Header;
                    return Ok(Some(match serde_json::from_slice(&body) {
                        Ok(value) => Frame::Message(value),
                        Err(error) => Frame::Malformed(format!("the body is not JSON: {error}")),
                    }));
                }
                State::Skipping { length, left } => {
                    let now = left.min(buffer.len());
                    buffer.advance(now);
                    if now < left {
                        self.state = State::Skipping {
                            length,
                            left: left - now,
                        };
                        return Ok(None);
                    }
                    self.state = State::Header;
                    return Ok(Some(Frame::Malformed(format!(
                        "a body of {length} bytes; at most {MAX_BODY} are read"
                    ))));
                }
            }
        }
    }
}

/// Reads frames from a connection.
pub(crate) struct FrameReader<R> {
    reader: R,
    codec: Codec,
    buffer: BytesMut,
}

impl<R: AsyncRead + Unpin> FrameReader<R> {
    /// Nothing read yet.
    pub(crate) fn new(reader: R) -> FrameReader<R> {
        FrameReader {
            reader,
            codec: Codec::default(),
            buffer: BytesMut::with_capacity(4096),
        }
    }

    /// The next frame; `None` when the client has hung up.
    pub(crate) async fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        loop {
            if let Some(frame) = self.codec.decode(&mut self.buffer)? {
                return Ok(Some(frame));
            }
            if self.reader.read_buf(&mut self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }
}

/// Takes a whole header off the buffer and returns the body's length.
fn header(buffer: &mut BytesMut) -> Result<Option<usize>, FrameError> {
    let mut length = None;
    let mut at = 0;
    loop {
        let rest = &buffer[at..];
        let Some(end) = rest.iter().position(|byte| *byte == b'\n') else {
            if buffer.len() > MAX_HEADER {
                return Err(FrameError::Header(format!("longer than {MAX_HEADER} bytes")));
            }
            // What cannot become a header is refused without waiting for its end.
            field_name(rest)?;
            return Ok(None);
        };
        let line = rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end]);
        at += end + 1;
        if at > MAX_HEADER {
            return Err(FrameError::Header(format!("longer than {MAX_HEADER} bytes")));
        }
        if line.is_empty() {
            break;
        }
        let name = field_name(line)?
            .ok_or_else(|| FrameError::Header(format!("{:?} is not a field", String::from_utf8_lossy(line))))?;
        if name.eq_ignore_ascii_case(b"origin") {
            // A web page can make its user's browser post to a local port; no debug client names an origin.
            return Err(FrameError::Header("a request by a web page".to_owned()));
        }
        if name.eq_ignore_ascii_case(b"content-length") {
            let value = String::from_utf8_lossy(&line[name.len() + 1..]);
            let value = value.trim();
            let number = value
                .parse()
                .map_err(|_| FrameError::Header(format!("Content-Length is {value:?}, which is not a length")))?;
            length = Some(number);
        }
    }
    buffer.advance(at);
    length
        .map(Some)
        .ok_or_else(|| FrameError::Header("Content-Length is missing".to_owned()))
}

/// The part before the colon; `None` while there is no colon.
fn field_name(line: &[u8]) -> Result<Option<&[u8]>, FrameError> {
    let end = line.iter().position(|byte| *byte == b':');
    let name = &line[..end.unwrap_or(line.len())];
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'-';
    // A line that is just beginning, or ends in the carriage return of an empty one, has no name to judge yet.
    let judged = if end.is_none() {
        name.strip_suffix(b"\r").unwrap_or(name)
    } else {
        name
    };
    if !judged.iter().all(is_name) || (end.is_some() && name.is_empty()) {
        return Err(FrameError::Header(format!(
            "{:?} is not a field name",
            String::from_utf8_lossy(&judged[..judged.len().min(80)])
        )));
    }
    Ok(end.map(|_| name))
}

/// Appends a frame with `body` to `buffer`.
pub(crate) fn encode(body: &[u8], buffer: &mut BytesMut) {
    buffer.extend_from_slice(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes());
    buffer.extend_from_slice(body);
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Decodes what arrives in pieces of `size` bytes.
    fn decode(bytes: &[u8], size: usize) -> (Vec<Frame>, Option<FrameError>) {
        let (mut codec, mut buffer, mut frames) = (Codec::default(), BytesMut::new(), Vec::new());
        for piece in bytes.chunks(size) {
            buffer.extend_from_slice(piece);
            loop {
                match codec.decode(&mut buffer) {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error)),
                }
            }
        }
        (frames, None)
    }

    #[test]
    fn frames_are_found_however_the_bytes_arrive() {
        let mut bytes = BytesMut::new();
        encode(br#"{"seq":1}"#, &mut bytes);
        encode(b"[]", &mut bytes);
        for size in 1..bytes.len() {
            let (frames, error) = decode(&bytes, size);
            assert!(error.is_none(), "{size}: {error:?}");
            assert_eq!(
                frames,
                [Frame::Message(json!({"seq": 1})), Frame::Message(json!([]))],
                "{size}"
            );
        }
    }

    #[test]
    fn other_fields_and_bare_line_feeds_are_accepted() {
        let (frames, error) = decode(
            b"Content-Type: x; charset=utf-8\r\ncontent-length:  2\r\n\r\n{}Content-Length: 2\n\n{}",
            7,
        );
        assert!(error.is_none(), "{error:?}");
        assert_eq!(frames.len(), 2);
    }

    #[test]
    fn a_body_that_is_not_json_costs_only_itself() {
        let (frames, error) = decode(b"Content-Length: 5\r\n\r\n{\"a\":Content-Length: 2\r\n\r\n{}", 4);
        assert!(error.is_none(), "{error:?}");
        assert!(
            matches!(&frames[..], [Frame::Malformed(text), Frame::Message(_)] if text.contains("not JSON")),
            "{frames:?}"
        );
    }

    #[test]
    fn a_body_that_is_too_long_is_skipped_without_being_kept() {
        let length = MAX_BODY + 1;
        let mut bytes = format!("Content-Length: {length}\r\n\r\n").into_bytes();
        bytes.resize(bytes.len() + length, b' ');
        bytes.extend_from_slice(b"Content-Length: 2\r\n\r\n{}");
        let (frames, error) = decode(&bytes, 64 * 1024);
        assert!(error.is_none(), "{error:?}");
        assert!(
            matches!(&frames[..], [Frame::Malformed(_), Frame::Message(_)]),
            "{frames:?}"
        );
    }

    #[test]
    fn headers_that_make_no_sense_end_the_stream() {
        let long = "a".repeat(MAX_HEADER + 1);
        for (header, part) in [
            ("Foo: 5\r\n\r\n", "missing"),
            ("\r\n\r\n", "missing"),
            ("Content-Length: -5\r\n\r\n", "not a length"),
            ("Content-Length: x\r\n\r\n", "not a length"),
            ("Content-Length: 99999999999\r\n\r\n", "bytes"),
            ("POST / HTTP/1.1\r\n", "not a field name"),
            ("{\"seq\":1}", "not a field name"),
            ("Content-Length: 2\r\nOrigin: http://example.com\r\n\r\n{}", "web page"),
            (": 5\r\n\r\n", "not a field name"),
            (&long, "longer"),
        ] {
            let (frames, error) = decode(header.as_bytes(), usize::MAX);
            let text = error.map(|error| error.to_string());
            assert!(
                frames.is_empty() && text.as_ref().is_some_and(|text| text.contains(part)),
                "{header:?}: {text:?}"
            );
        }
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), size in 1_usize..50) {
            let mut framed = b"Content-Length: 60\r\n\r\n".to_vec();
            framed.extend_from_slice(&bytes);
            decode(&bytes, size);
            decode(&framed, size);
        }
    }
}
