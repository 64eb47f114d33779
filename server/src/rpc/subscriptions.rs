//! What a WebSocket client is told without asking again: where the target stands, what it writes, and what its traces say.
//!
//! A client that does not read is not waited for: what finds no room is counted, and the next notice says how much was missed.

use std::sync::Arc;

use jsonrpsee::server::{PendingSubscriptionSink, SubscriptionSink, TrySendError};
use jsonrpsee::types::ErrorObjectOwned;
use jsonrpsee::{RpcModule, SubscriptionMessage};
use serde_json::{Value, json};

use super::go_json::{Book, Wire, wire};
use super::methods::{CallContext, Service, thread_of_pass};
use super::wire::{Bytes, DebuggerState, Thread};
use crate::debugger::{Event, Pass};
use crate::host::Host;

wire! { "spelunk";
    /// The target has stopped, moves, or is gone.
    pub(crate) struct StateNotice {
        /// `stopped`, `resumed` or `exited`.
        kind: String = "Kind",
        /// Where it stands when the notice is made, as `RPCServer.State` has it.
        state: Option<Box<DebuggerState>> = "State",
        /// How many notices before this one were left out, as the client did not read them.
        missed: u64 = "Missed",
    }

    /// The target has written something.
    pub(crate) struct OutputNotice {
        /// `stdout` or `stderr`.
        stream: String = "Stream",
        /// What, in Base64: a piece may end within a character.
        data: Bytes = "Data",
        /// How many notices before this one were left out, as the client did not read them.
        missed: u64 = "Missed",
    }

    /// A logpoint or a trace was passed.
    pub(crate) struct TraceNotice {
        /// For a tracepoint: the thread as it passed, with the breakpoint and what was collected.
        thread: Option<Box<Thread>> = "Thread",
        /// The goroutine that passed it; 0 on a thread that has none.
        goroutine_id: i64 = "GoroutineID",
        /// The file, as the binary names it.
        file: String = "File",
        /// The line.
        line: isize = "Line",
        /// A logpoint's message with its values; empty for a tracepoint, and where messages are missing.
        text: String = "Text",
        /// How many messages of this line are missing here, as they came faster than they could be sent.
        suppressed: u64 = "Suppressed",
        /// How many notices before this one were left out, as the client did not read them.
        missed: u64 = "Missed",
    }
}

/// A kind of notices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Topic {
    State,
    Output,
    Traces,
}

/// A subscription's entry in the reference.
pub(crate) struct SubscriptionPage {
    topic: Topic,
    /// The method that begins it.
    pub(crate) subscribe: &'static str,
    /// The name that its notices have.
    pub(crate) notice: &'static str,
    /// The method that ends it.
    pub(crate) unsubscribe: &'static str,
    /// What it tells.
    pub(crate) doc: &'static str,
    /// Go's name of the notices' type.
    pub(crate) gives: fn() -> String,
    /// Adds the notices' type to a book.
    pub(crate) describe: fn(&mut Book),
}

/// All subscriptions.
pub(crate) const PAGES: [SubscriptionPage; 3] = [
    SubscriptionPage {
        topic: Topic::State,
        subscribe: "Spelunk.SubscribeState",
        notice: "Spelunk.State",
        unsubscribe: "Spelunk.UnsubscribeState",
        doc: "Tells when the target stops, moves on, or is gone, whoever moved it.",
        gives: StateNotice::go_type,
        describe: StateNotice::describe,
    },
    SubscriptionPage {
        topic: Topic::Output,
        subscribe: "Spelunk.SubscribeOutput",
        notice: "Spelunk.Output",
        unsubscribe: "Spelunk.UnsubscribeOutput",
        doc: "Tells what the target writes, if the server was started with `--capture-output`.",
        gives: OutputNotice::go_type,
        describe: OutputNotice::describe,
    },
    SubscriptionPage {
        topic: Topic::Traces,
        subscribe: "Spelunk.SubscribeTraces",
        notice: "Spelunk.Trace",
        unsubscribe: "Spelunk.UnsubscribeTraces",
        doc: "Tells what logpoints and tracepoints say that the target passes without stopping.",
        gives: TraceNotice::go_type,
        describe: TraceNotice::describe,
    },
];

/// Adds them.
pub(super) fn register(module: &mut RpcModule<Service>) {
    for page in &PAGES {
        let begin = move |_, pending, service, _| tell(page.topic, pending, service);
        let registered = module.register_subscription(page.subscribe, page.notice, page.unsubscribe, begin);
        debug_assert!(registered.is_ok(), "{} is there twice", page.subscribe);
    }
}

/// Tells one client of one topic until it has enough.
async fn tell(topic: Topic, pending: PendingSubscriptionSink, service: Arc<Service>) {
    let host = service.host();
    if topic == Topic::Output && !host.captures_output() {
        let text = "the target writes where the server does; start the server with --capture-output";
        return pending.reject(ErrorObjectOwned::owned(-32000, text, None::<()>)).await;
    }
    // From before the client knows of it, so that it misses nothing.
    let events = if topic == Topic::Output {
        host.subscribe_to_all()
    } else {
        host.subscribe()
    };
    let Ok(sink) = pending.accept().await else { return };
    let mut told = Told { sink, missed: 0 };
    loop {
        let event = tokio::select! {
            event = events.recv() => event,
            () = told.sink.closed() => return,
        };
        let Some(event) = event else { return };
        for notice in notices(topic, event) {
            let notice = match notice {
                Notice::Value(value) => value,
                Notice::State(kind) => state(kind, &service).await,
                Notice::Pass(pass) => match passing(pass, host).await {
                    Some(value) => value,
                    None => continue,
                },
            };
            if told.send(notice).is_err() {
                return;
            }
        }
    }
}

/// What is told of an event.
enum Notice {
    Value(Value),
    /// A notice with the state of the moment.
    State(&'static str),
    /// A tracepoint was passed.
    Pass(Arc<Pass>),
}

fn notices(topic: Topic, event: Event) -> Vec<Notice> {
    let trace = |goroutine_id, file, line: u32, text| {
        let notice = TraceNotice {
            goroutine_id,
            file,
            line: line as isize,
            text,
            ..TraceNotice::default()
        };
        Notice::Value(notice.encode())
    };
    let output = |stream: &str, data| {
        let notice = OutputNotice {
            stream: stream.to_owned(),
            data: Bytes(Some(data)),
            missed: 0,
        };
        vec![Notice::Value(notice.encode())]
    };
    match (topic, event) {
        (Topic::State, Event::Stopped(_)) => vec![Notice::State("stopped")],
        (Topic::State, Event::Resumed) => vec![Notice::State("resumed")],
        (Topic::State, Event::Exited { .. }) => vec![Notice::State("exited")],
        (Topic::Output, Event::Stdout(bytes)) => output("stdout", bytes),
        (Topic::Output, Event::Stderr(bytes)) => output("stderr", bytes),
        (
            Topic::Traces,
            Event::Log {
                goroutine,
                text,
                file,
                line,
            },
        ) => vec![trace(goroutine, file, line, text)],
        (Topic::Traces, Event::Traced(pass)) => vec![Notice::Pass(pass)],
        (Topic::Traces, Event::Backlog(messages)) => messages
            .into_iter()
            .map(|message| trace(message.goroutine, message.file, message.line, message.text))
            .collect(),
        (Topic::Traces, Event::Suppressed(suppressed)) => {
            let missing = suppressed.0.into_iter().map(|(file, line, count)| TraceNotice {
                file,
                line: line as isize,
                suppressed: count,
                ..TraceNotice::default()
            });
            missing.map(|notice| Notice::Value(notice.encode())).collect()
        }
        _ => Vec::new(),
    }
}

/// A notice of a tracepoint that was passed; none when the target is no longer debugged.
async fn passing(pass: Arc<Pass>, host: &Arc<Host>) -> Option<Value> {
    let host = Arc::clone(host);
    let made = tokio::task::spawn_blocking(move || {
        let session = host.last_session().ok()?;
        let thread = thread_of_pass(&session, &pass).ok()?;
        let notice = TraceNotice {
            goroutine_id: pass.goroutine,
            file: thread.file.clone(),
            line: thread.line,
            thread: Some(Box::new(thread)),
            ..TraceNotice::default()
        };
        Some(notice.encode())
    });
    made.await.ok().flatten()
}

/// A notice of where the target stands now.
async fn state(kind: &str, service: &Arc<Service>) -> Value {
    let argument = json!({"NonBlocking": true}).to_string();
    let answer = service.call("RPCServer.State", argument, CallContext::default()).await;
    let state = answer
        .ok()
        .and_then(|answer| serde_json::from_str::<Value>(&answer.0).ok())
        .and_then(|mut answer| answer.get_mut("State").map(Value::take));
    let mut notice = StateNotice {
        kind: kind.to_owned(),
        ..StateNotice::default()
    }
    .encode();
    if let Some(slot) = notice.get_mut("State") {
        *slot = state.unwrap_or(Value::Null);
    }
    notice
}

/// A client, and what it has missed.
struct Told {
    sink: SubscriptionSink,
    missed: u64,
}

/// The client is gone, or has unsubscribed.
struct Gone;

impl Told {
    fn send(&mut self, mut notice: Value) -> Result<(), Gone> {
        if let Some(missed) = notice.get_mut("Missed") {
            *missed = self.missed.into();
        }
        let message = serde_json::value::to_raw_value(&notice).map_err(|_| Gone)?;
        match self.sink.try_send(SubscriptionMessage::from(message)) {
            Ok(()) => self.missed = 0,
            Err(TrySendError::Full(_)) => self.missed += 1,
            Err(TrySendError::Closed(_)) => return Err(Gone),
        }
        Ok(())
    }
}
