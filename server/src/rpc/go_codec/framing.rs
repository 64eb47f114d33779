//! Requests cut from a stream of bytes that says nothing of their lengths.
//!
//! Go's codec writes one JSON value behind the other. Where a value ends follows from its brackets and quotes alone; whether it is JSON is for the parser to
//! say. What was looked at is not looked at again, so a request that comes byte by byte costs no more than one that comes at once.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest request that is taken. Delve knows no limit; arguments are names, expressions and values that a person typed.
const LONGEST: usize = 16 << 20;

/// How deep values may be nested; `serde_json` refuses more than 128 levels.
const DEEPEST: usize = 120;

/// A request that says nothing.
const NOTHING: &[u8] = b"null";

/// How long the rest of a request may take.
const REST_WITHIN: Duration = Duration::from_secs(60);

/// How much is read at once.
const PIECE: usize = 16 << 10;

/// Why no further request can be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FramingError {
    /// What begins a request begins none.
    #[error("a request begins with {0:?}, and not with {{")]
    NoObject(char),
    /// It is too long.
    #[error("a request is longer than {LONGEST} bytes")]
    TooLong,
    /// It is nested too deeply.
    #[error("a request is nested deeper than {DEEPEST} levels")]
    TooDeep,
    /// The client went away, or stood still, within a request.
    #[error("a request is not complete: {0}")]
    Incomplete(io::Error),
    /// Reading failed.
    #[error("{0}")]
    Read(#[from] io::Error),
}

/// Where in a value the scan is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Scan {
    /// Up to where the bytes were looked at.
    at: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Scan {
    /// Goes on through the bytes; answers where the value ends if it does.
    fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, FramingError> {
        for byte in bytes.iter().skip(self.at) {
            self.at += 1;
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => {
                    self.depth += 1;
                    if self.depth > DEEPEST {
                        return Err(FramingError::TooDeep);
                    }
                }
                b'}' | b']' => {
                    // The first byte is an opening one.
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        return Ok(Some(self.at));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }
}

/// Reads requests.
pub(crate) struct Requests<R> {
    reader: R,
    buffer: Vec<u8>,
    scan: Scan,
}

impl<R: AsyncRead + Unpin> Requests<R> {
    /// Requests from a stream.
    pub(crate) fn new(reader: R) -> Requests<R> {
        Requests {
            reader,
            buffer: Vec::new(),
            scan: Scan::default(),
        }
    }

    /// The next request's text; `None` at the end of the stream. What is not UTF-8 is replaced, as Go does in strings; anywhere else it is no JSON.
    pub(crate) async fn next(&mut self) -> Result<Option<String>, FramingError> {
        loop {
            if let Some(text) = self.take()? {
                return Ok(Some(text));
            }
            if self.buffer.is_empty() {
                // Between requests a client may be silent for as long as it likes.
                if self.read().await? == 0 {
                    return Ok(None);
                }
                continue;
            }
            match tokio::time::timeout(REST_WITHIN, self.read()).await {
                Ok(Ok(0)) => return Err(FramingError::Incomplete(io::ErrorKind::UnexpectedEof.into())),
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return Err(error.into()),
                Err(_) => return Err(FramingError::Incomplete(io::ErrorKind::TimedOut.into())),
            }
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.buffer.reserve(PIECE);
        self.reader.read_buf(&mut self.buffer).await
    }

    /// A whole request from what was read.
    fn take(&mut self) -> Result<Option<String>, FramingError> {
        if self.scan == Scan::default() {
            let blank = self
                .buffer
                .iter()
                .take_while(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'))
                .count();
            self.buffer.drain(..blank);
            match self.buffer.first() {
                None => return Ok(None),
                Some(b'{') => {}
                // Go takes it for a request without fields.
                Some(b'n') if NOTHING.starts_with(&self.buffer) && self.buffer.len() < NOTHING.len() => {
                    return Ok(None);
                }
                Some(b'n') if self.buffer.starts_with(NOTHING) => {
                    self.buffer.drain(..NOTHING.len());
                    return Ok(Some("null".to_owned()));
                }
                Some(byte) => return Err(FramingError::NoObject(char::from(*byte))),
            }
        }
        let end = self.scan.advance(&self.buffer)?;
        if end.unwrap_or(self.buffer.len()) > LONGEST {
            return Err(FramingError::TooLong);
        }
        let Some(end) = end else { return Ok(None) };
        self.scan = Scan::default();
        let rest = self.buffer.split_off(end);
        let whole = std::mem::replace(&mut self.buffer, rest);
        let text = String::from_utf8(whole);
        Ok(Some(text.unwrap_or_else(|error| {
            String::from_utf8_lossy(error.as_bytes()).into_owned()
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn all(bytes: &[u8]) -> (Vec<String>, Option<FramingError>) {
        let mut requests = Requests::new(bytes);
        let mut texts = Vec::new();
        loop {
            match requests.next().await {
                Ok(Some(text)) => texts.push(text),
                Ok(None) => return (texts, None),
                Err(error) => return (texts, Some(error)),
            }
        }
    }

    #[tokio::test]
    async fn values_follow_each_other_with_or_without_blanks() {
        let (texts, error) = all(b" {\"a\":1}{\"b\":[{}]}\n\r\t{\"c\":\"}\\\"{\"}  ").await;
        assert_eq!(texts, ["{\"a\":1}", "{\"b\":[{}]}", "{\"c\":\"}\\\"{\"}"]);
        assert!(error.is_none(), "{error:?}");
    }

    #[tokio::test]
    async fn a_request_may_come_byte_by_byte() {
        let (client, server) = tokio::io::duplex(1);
        let writing = tokio::spawn(async move {
            let mut client = client;
            tokio::io::AsyncWriteExt::write_all(&mut client, b"{\"id\":\"\\\\\"}{}")
                .await
                .expect("written");
        });
        let mut requests = Requests::new(server);
        assert_eq!(
            requests.next().await.expect("a request").as_deref(),
            Some("{\"id\":\"\\\\\"}")
        );
        assert_eq!(requests.next().await.expect("a request").as_deref(), Some("{}"));
        writing.await.expect("written");
        assert_eq!(requests.next().await.expect("the end"), None);
    }

    #[tokio::test]
    async fn null_is_a_request_that_says_nothing() {
        let (texts, error) = all(b"null{}null null").await;
        assert_eq!(texts, ["null", "{}", "null", "null"]);
        assert!(error.is_none(), "{error:?}");
    }

    #[tokio::test]
    async fn what_is_no_request_ends_the_stream() {
        for (bytes, part) in [
            (&b"nil"[..], "begins with 'n'"),
            (b"nul", "not complete"),
            (b"[]", "begins with '['"),
            (b"{\"a\":", "not complete"),
            (b"{\"a\":\"}", "not complete"),
        ] {
            let (texts, error) = all(bytes).await;
            assert!(texts.is_empty());
            assert!(error.is_some_and(|error| error.to_string().contains(part)), "{part}");
        }
        let deep = [b"{\"a\":".repeat(DEEPEST), b"{".to_vec()].concat();
        assert!(matches!(all(&deep).await.1, Some(FramingError::TooDeep)));
        let long = [b"{\"".to_vec(), vec![b'x'; LONGEST]].concat();
        assert!(matches!(all(&long).await.1, Some(FramingError::TooLong)));
    }

    #[tokio::test]
    async fn bytes_that_are_no_text_are_replaced() {
        let (texts, _) = all(b"{\"a\":\"\xff\"}").await;
        assert_eq!(texts, ["{\"a\":\"\u{fffd}\"}"]);
    }

    /// What comes out of a stream that arrives in pieces of `size` bytes.
    fn in_pieces(bytes: &[u8], size: usize) -> (Vec<String>, bool) {
        let mut requests = Requests::new(tokio::io::empty());
        let mut texts = Vec::new();
        for piece in bytes.chunks(size) {
            requests.buffer.extend_from_slice(piece);
            loop {
                match requests.take() {
                    Ok(Some(text)) => texts.push(text),
                    Ok(None) => break,
                    Err(_) => return (texts, true),
                }
            }
        }
        (texts, false)
    }

    proptest::proptest! {
        #[test]
        fn it_does_not_matter_how_the_bytes_arrive(bytes in "[{}\\[\\]\",:\\\\ a1\n]{0,80}", size in 1_usize..20) {
            let bytes = format!("{{{bytes}");
            proptest::prop_assert_eq!(in_pieces(bytes.as_bytes(), size), in_pieces(bytes.as_bytes(), usize::MAX));
        }

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200), size in 1_usize..50) {
            let begun = [b"{".as_slice(), &bytes].concat();
            for bytes in [&bytes, &begun] {
                for text in in_pieces(bytes, size).0 {
                    // What it says is of no interest here.
                    let _ = super::super::message::Request::read(&text);
                }
            }
        }
    }
}
