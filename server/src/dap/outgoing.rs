//! What goes to the client: responses and events, numbered in the order sent.

use std::{io, time::Duration};

use bytes::BytesMut;
use dap::{
    events::{Event, OutputEventBody},
    types::OutputEventCategory,
};
use serde::Serialize;
use serde_json::Value;
use tokio::{
    io::{AsyncWrite, AsyncWriteExt},
    time::Instant,
};

use tokio_util::sync::CancellationToken;

use super::{
    codec,
    errors::{DEBUGGEE_IS_RUNNING, INTERNAL_ERROR, NOT_YET_IMPLEMENTED, Refusal, UNSUPPORTED_COMMAND},
    message::{self, Request},
};

/// How long a client that does not read may hold up the end of the session.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// No body in a response.
pub(crate) const NO_BODY: Option<&()> = None;

/// Messages for the client. They gather in a buffer until [`Outgoing::flush`], so that a burst of events becomes one write.
pub(crate) struct Outgoing {
    writer: Box<dyn AsyncWrite + Send + Sync + Unpin>,
    buffer: BytesMut,
    seq: i64,
    /// Cancelled when the client has stopped sending.
    gone: CancellationToken,
    /// Until when writing may take.
    deadline: Option<Instant>,
    /// Whether the client can no longer be written to.
    broken: bool,
}

impl Outgoing {
    /// Nothing sent yet.
    pub(crate) fn new(writer: Box<dyn AsyncWrite + Send + Sync + Unpin>, gone: CancellationToken) -> Outgoing {
        Outgoing {
            writer,
            buffer: BytesMut::new(),
            seq: 0,
            gone,
            deadline: None,
            broken: false,
        }
    }

    /// Sends everything. Once that has failed, everything further is dropped.
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        if self.broken {
            self.buffer.clear();
        }
        if self.buffer.is_empty() {
            return Ok(());
        }
        let (writer, buffer) = (&mut self.writer, &mut self.buffer);
        let write = async {
            writer.write_all_buf(buffer).await?;
            writer.flush().await
        };
        let (deadline, gone) = (self.deadline, &self.gone);
        let patience_ends = async {
            if let Some(deadline) = deadline {
                tokio::time::sleep_until(deadline).await;
            } else {
                // Whoever has stopped sending may still read, but need not.
                gone.cancelled().await;
                tokio::time::sleep(LAST_WORDS).await;
            }
        };
        let written = tokio::select! {
            written = write => written,
            () = patience_ends => Err(io::ErrorKind::TimedOut.into()),
        };
        self.broken = written.is_err();
        written
    }

    /// From now on, a client that does not read holds nothing up for longer than a moment.
    pub(crate) fn hurry(&mut self) {
        self.deadline = Some(Instant::now() + LAST_WORDS);
    }

    /// Sends everything, and tells the client that nothing further will come.
    pub(crate) async fn close(&mut self) -> io::Result<()> {
        self.flush().await?;
        let deadline = self.deadline.unwrap_or_else(|| Instant::now() + LAST_WORDS);
        tokio::time::timeout_at(deadline, self.writer.shutdown())
            .await
            .unwrap_or_else(|late| Err(late.into()))
    }

    /// How many bytes wait to be sent.
    pub(crate) fn waiting(&self) -> usize {
        self.buffer.len()
    }

    /// A successful response.
    pub(crate) fn respond(&mut self, request: &Request, body: Option<&impl Serialize>) {
        let seq = self.next();
        self.push(message::response(seq, request, body));
    }

    /// A successful response whose body is written as it is: nothing in it may be null. Large ones cost a fraction of what [`Outgoing::respond`] does.
    pub(crate) fn respond_directly(&mut self, request: &Request, body: &impl Serialize) {
        let seq = self.next();
        self.push_written(message::written_response(seq, request, body));
    }

    /// A refusal.
    pub(crate) fn refuse(&mut self, request: &Request, refusal: Refusal, details: &str) {
        self.refuse_with(request, refusal.id, refusal.summary, details, false);
    }

    /// A refusal that the client should show to the user.
    pub(crate) fn refuse_visibly(&mut self, request: &Request, refusal: Refusal, details: &str) {
        self.refuse_with(request, refusal.id, refusal.summary, details, true);
    }

    /// A refusal, all parts chosen.
    pub(crate) fn refuse_with(&mut self, request: &Request, id: i64, summary: &str, details: &str, show_user: bool) {
        let seq = self.next();
        self.push(Ok(message::error_response(
            seq,
            request.seq,
            &request.command,
            id,
            summary,
            details,
            show_user,
        )));
    }

    /// A refusal because the target runs.
    pub(crate) fn refuse_while_running(&mut self, request: &Request) {
        let summary = format!("Unable to process `{}`", request.command);
        self.refuse_with(request, DEBUGGEE_IS_RUNNING, &summary, "debuggee is running", false);
    }

    /// A refusal of what Delve refuses too.
    pub(crate) fn refuse_as_unsupported(&mut self, request: &Request) {
        self.refuse(
            request,
            UNSUPPORTED_COMMAND,
            &format!("cannot process {:?} request", request.command),
        );
    }

    /// A refusal of what is yet to come.
    pub(crate) fn refuse_as_unimplemented(&mut self, request: &Request, why: &str) {
        let colon = if why.is_empty() { "" } else { ": " };
        self.refuse(
            request,
            NOT_YET_IMPLEMENTED,
            &format!("cannot process {:?} request{colon}{why}", request.command),
        );
    }

    /// An answer to a message that is no request, or to one that nobody knows.
    pub(crate) fn internal_error(&mut self, request_seq: i64, details: &str) {
        let seq = self.next();
        self.push(Ok(message::error_response(
            seq,
            request_seq,
            "",
            INTERNAL_ERROR.id,
            INTERNAL_ERROR.summary,
            details,
            false,
        )));
    }

    /// An event.
    pub(crate) fn event(&mut self, event: &Event) {
        let seq = self.next();
        self.push(message::event(seq, event));
    }

    /// An event, its body written out.
    pub(crate) fn event_with(&mut self, name: &str, body: &Value) {
        let seq = self.next();
        self.push(Ok(message::event_with(seq, name, body)));
    }

    /// A line on the client's console.
    pub(crate) fn console(&mut self, line: &str) {
        self.output(OutputEventCategory::Console, format!("{line}\n"));
    }

    /// Text for the client's console.
    pub(crate) fn output(&mut self, category: OutputEventCategory, output: String) {
        self.event(&Event::Output(OutputEventBody {
            category: Some(category),
            output,
            ..OutputEventBody::default()
        }));
    }

    fn next(&mut self) -> i64 {
        self.seq += 1;
        self.seq
    }

    fn push(&mut self, message: serde_json::Result<Value>) {
        self.push_written(message.and_then(|message| serde_json::to_vec(&message)));
    }

    fn push_written(&mut self, message: serde_json::Result<Vec<u8>>) {
        if self.broken {
            return;
        }
        match message {
            Ok(body) => {
                tracing::debug!("[-> to client]{}", String::from_utf8_lossy(&body));
                codec::encode(&body, &mut self.buffer);
            }
            // Messages are made of strings and numbers, which always serialise.
            Err(error) => tracing::error!("a message could not be written: {error}"),
        }
    }
}
