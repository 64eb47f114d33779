//! From what happens in the target to what the client is told.

use std::collections::VecDeque;

use super::{
    debuggee::State,
    session::{Phase, Session},
    utf8::Utf8Stream,
};
use crate::debugger::{Event, EventReceiver, EventSender, LogMessage, Suppressed, event_queue};
use dap::{
    events::{Event as DapEvent, ExitedEventBody, OutputEventBody, TerminatedEventBody},
    types::{OutputEventCategory, Source},
};

/// How many log messages are held back until the client has configured the session.
const HELD: usize = 16 * 1024;

/// So many messages in a row of one logpoint are worth an event of their own, which names the line.
const RUN: usize = 8;

/// Events of one target, and what is kept between them.
#[derive(Default)]
pub(crate) struct Events {
    receiver: Option<EventReceiver>,
    /// What came before the client was ready.
    held: VecDeque<Event>,
    /// How many log messages are among that.
    held_messages: usize,
    /// Breakpoints are being set, and the program may come to one before the client knows it.
    answering: bool,
    /// What came when no more could be held.
    dropped: Suppressed,
    stdout: Utf8Stream,
    stderr: Utf8Stream,
}

impl Events {
    /// Begins anew, for a new target, which gets the sender.
    pub(crate) fn connect(&mut self) -> EventSender {
        let (sender, receiver) = event_queue();
        *self = Events {
            receiver: Some(receiver),
            ..Events::default()
        };
        sender
    }

    /// Begins anew, for a target that has told others already.
    pub(crate) fn listen(&mut self, receiver: EventReceiver) {
        *self = Events {
            receiver: Some(receiver),
            ..Events::default()
        };
    }

    /// Says that the target's last event has been sent: [`Events::next_of_last`] ends after it, even if the target keeps its sender.
    pub(crate) fn close(&mut self) {
        if let Some(receiver) = &mut self.receiver {
            receiver.close();
        }
    }

    /// The next event; never, while there is no target. Losing the race against another future loses no event.
    pub(crate) async fn next(&mut self) -> Event {
        loop {
            match &mut self.receiver {
                Some(receiver) => match receiver.recv().await {
                    Some(event) => return event,
                    None => self.receiver = None,
                },
                None => std::future::pending().await,
            }
        }
    }

    /// The next event, or `None` when the target's last one is out.
    pub(crate) async fn next_of_last(&mut self) -> Option<Event> {
        let event = self.receiver.as_mut()?.recv().await;
        if event.is_none() {
            self.receiver = None;
        }
        event
    }

    /// An event that is here already.
    pub(crate) fn waiting(&mut self) -> Option<Event> {
        self.receiver.as_mut()?.try_recv()
    }

    /// Keeps what happens until [`Session::release_after_answer`].
    pub(crate) fn hold_until_answered(&mut self) {
        self.answering = true;
    }

    fn hold(&mut self, event: Event) {
        if matches!(event, Event::Traced(_)) {
            return;
        }
        let messages = match &event {
            Event::Log { .. } => 1,
            Event::Backlog(messages) => messages.len(),
            _ => 0,
        };
        if messages > 0 && self.held_messages + messages > HELD {
            match &event {
                Event::Log { file, line, .. } => self.dropped.add(file, *line, 1),
                Event::Backlog(messages) => {
                    for message in messages {
                        self.dropped.add(&message.file, message.line, 1);
                    }
                }
                _ => {}
            }
            return;
        }
        self.held_messages += messages;
        self.held.push_back(event);
    }
}

impl Session {
    /// Tells the client about an event, or keeps it until the client is ready.
    pub(crate) async fn on_event(&mut self, event: Event) {
        match &self.phase {
            // Delve's clients read answers in sequence until the configuration is done; an attached program does not
            // wait for that.
            Phase::Debugging(debuggee) if debuggee.state == State::Configuring || self.events.answering => {
                self.events.hold(event);
            }
            _ => self.tell(event).await,
        }
    }

    /// Tells the client what happened while its breakpoints were being set, now that it knows them.
    pub(crate) async fn release_after_answer(&mut self) {
        self.events.answering = false;
        if self
            .debuggee()
            .is_none_or(|debuggee| debuggee.state != State::Configuring)
        {
            self.release_events().await;
        }
    }

    /// Tells the client what was held back.
    pub(crate) async fn release_events(&mut self) {
        self.events.held_messages = 0;
        for event in std::mem::take(&mut self.events.held) {
            self.tell(event).await;
        }
        let dropped = std::mem::take(&mut self.events.dropped);
        if dropped.total() > 0 {
            self.tell_suppressed(
                &dropped,
                "they came before configurationDone, or while breakpoints were being set, and there were too many to be kept",
            );
        }
    }

    async fn tell(&mut self, event: Event) {
        match event {
            Event::Log {
                goroutine,
                text,
                file,
                line,
            } => self.log(log_line(goroutine, &text), Some((&file, line))),
            // Tracepoints are another client's, who is told of them.
            Event::Traced(_) => {}
            Event::Backlog(messages) => self.tell_backlog(&messages),
            Event::Suppressed(left_out) => {
                self.tell_suppressed(&left_out, "they came faster than they could be sent");
            }
            Event::Stdout(bytes) => {
                let text = self.events.stdout.push(&bytes);
                self.program_output(OutputEventCategory::Stdout, text);
            }
            Event::Stderr(bytes) => {
                let text = self.events.stderr.push(&bytes);
                self.program_output(OutputEventCategory::Stderr, text);
            }
            Event::Stopped(stop) => self.on_stopped(stop).await,
            Event::Resumed => self.on_resumed_by_another(),
            Event::Notice(text) => self.out.console(&text),
            Event::Warning(text) => self.out.output(OutputEventCategory::Important, format!("{text}\n")),
            Event::Spawned { pid, command_line, .. } => {
                let body = serde_json::json!({"name": command_line, "systemProcessId": pid, "isLocalProcess": true});
                self.out.event_with("process", &body);
            }
            Event::BreakpointChanged(state) | Event::Materialized(_, state) => self.tell_breakpoint(&state),
            Event::Exited { pid, status } => {
                let rest = self.events.stdout.finish();
                self.program_output(OutputEventCategory::Stdout, rest);
                let rest = self.events.stderr.finish();
                self.program_output(OutputEventCategory::Stderr, rest);
                self.on_exit(pid, status);
                self.answer_ended_call();
            }
        }
    }

    /// Log messages that came faster than a person reads: as few events as possible, a message to a line. An event names a place where all its messages are from there.
    fn tell_backlog(&mut self, messages: &[LogMessage]) {
        let runs: Vec<_> = messages
            .chunk_by(|a, b| (&a.file, a.line) == (&b.file, b.line))
            .collect();
        let lines = |runs: &[&[LogMessage]]| -> String {
            let messages = runs.iter().copied().flatten();
            messages
                .map(|message| log_line(message.goroutine, &message.text))
                .collect()
        };
        // Logpoints that are passed in turns have short runs: those are told together, in their order.
        for runs in runs.chunk_by(|a, b| a.len() < RUN && b.len() < RUN) {
            let place = match runs {
                [run] => run.first().map(|message| (&*message.file, message.line)),
                _ => None,
            };
            self.log(lines(runs), place);
        }
    }

    fn log(&mut self, lines: String, place: Option<(&str, u32)>) {
        let source = place.map(|(file, _)| Source {
            path: Some(self.settings.paths.to_client(file)),
            ..Source::default()
        });
        self.out.event(&DapEvent::Output(OutputEventBody {
            category: Some(OutputEventCategory::Stdout),
            output: lines,
            source,
            line: place.map(|(_, line)| i64::from(line)),
            ..OutputEventBody::default()
        }));
    }

    fn tell_suppressed(&mut self, left_out: &Suppressed, why: &str) {
        let total = left_out.total();
        let messages = if total == 1 { "message" } else { "messages" };
        let places: Vec<String> = left_out
            .0
            .iter()
            .map(|(file, line, count)| {
                let name = file.rsplit('/').next().unwrap_or(file);
                format!("{name}:{line}: {count}")
            })
            .collect();
        self.out.console(&format!(
            "{total} log {messages} suppressed: {why} ({})",
            places.join(", ")
        ));
    }

    fn program_output(&mut self, category: OutputEventCategory, text: String) {
        if !text.is_empty() {
            self.out.output(category, text);
        }
    }

    fn on_exit(&mut self, pid: i32, status: Option<i32>) {
        match &mut self.phase {
            Phase::Idle => {}
            Phase::NoDebug(process) => {
                process.exited = true;
                self.tell_no_debug_exit(pid, status.unwrap_or(-1));
            }
            // A program ends once, whoever else notices it.
            Phase::Debugging(debuggee) if matches!(debuggee.state, State::Exited(_)) => {}
            Phase::Debugging(debuggee) => {
                let told = debuggee.state == State::Ending;
                debuggee.state = State::Exited(status);
                if told {
                    return;
                }
                if status.is_none() {
                    let obituary = debuggee.obituary(status);
                    self.out.console(&obituary);
                }
                self.tell_exit(status);
            }
        }
    }

    /// The two events of a program's end.
    pub(crate) fn tell_exit(&mut self, status: Option<i32>) {
        // The event has to carry a number. Where nobody knows it, it is left out rather than made up.
        if let Some(status) = status {
            self.out.event(&DapEvent::Exited(ExitedEventBody {
                exit_code: i64::from(status),
            }));
        }
        self.tell_terminated();
    }

    /// The event that ends a session.
    pub(crate) fn tell_terminated(&mut self) {
        self.out
            .event(&DapEvent::Terminated(Some(TerminatedEventBody::default())));
    }
}

/// A message as Delve writes it.
fn log_line(goroutine: i64, text: &str) -> String {
    format!("> [Go {goroutine}]: {text}\n")
}
