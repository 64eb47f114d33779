//! From what happens in the target to what the client is told.

use std::collections::VecDeque;

use crossbeam_channel::{Receiver, Sender};
use dap::{
    events::{Event as DapEvent, ExitedEventBody, OutputEventBody, TerminatedEventBody},
    types::{OutputEventCategory, Source},
};
use tokio::sync::mpsc;

use super::{
    debuggee::State,
    session::{Phase, Session},
    utf8::Utf8Stream,
};
use crate::debugger::Event;

/// How many events may be on their way from the debugger to the session. When the client is slow, the debugger's
/// side fills and waits, and the kernel's rings count what they drop.
const ON_THE_WAY: usize = 1024;

/// How many events are held back until the client has configured the session.
const HELD: usize = 16 * 1024;

/// Events of one target, and what is kept between them.
#[derive(Default)]
pub(crate) struct Events {
    receiver: Option<mpsc::Receiver<Event>>,
    /// Dropped when the target's last event has been sent.
    open: Option<Sender<Never>>,
    /// What came before the client was ready.
    held: VecDeque<Event>,
    /// Breakpoints are being set, and the program may come to one before the client knows it.
    answering: bool,
    /// How many log messages came when no more could be held.
    dropped: u64,
    stdout: Utf8Stream,
    stderr: Utf8Stream,
}

/// No value: a channel of these says only that its other end is gone.
enum Never {}

impl Events {
    /// Begins anew, for a new target, which gets the sender.
    pub(crate) fn connect(&mut self) -> std::io::Result<Sender<Event>> {
        let (sender, queue) = crossbeam_channel::bounded(ON_THE_WAY);
        let (open, closed) = crossbeam_channel::bounded::<Never>(0);
        let (forward, receiver) = mpsc::channel(ON_THE_WAY);
        // The debugger's threads do not know our runtime.
        std::thread::Builder::new()
            .name("events".to_owned())
            .spawn(move || forward_until_closed(&queue, &closed, &forward))?;
        *self = Events {
            receiver: Some(receiver),
            open: Some(open),
            ..Events::default()
        };
        Ok(sender)
    }

    /// Says that the target's last event has been sent: [`Events::next_of_last`] ends after it.
    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    /// As [`Events::connect`], for a source of events that does know our runtime.
    pub(crate) fn connect_here(&mut self) -> mpsc::Sender<Event> {
        let (sender, receiver) = mpsc::channel(ON_THE_WAY);
        *self = Events {
            receiver: Some(receiver),
            ..Events::default()
        };
        sender
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
        self.receiver.as_mut()?.try_recv().ok()
    }

    /// Keeps what happens until [`Session::release_after_answer`].
    pub(crate) fn hold_until_answered(&mut self) {
        self.answering = true;
    }

    fn hold(&mut self, event: Event) {
        if self.held.len() >= HELD && matches!(event, Event::Log { .. }) {
            self.dropped += 1;
        } else {
            self.held.push_back(event);
        }
    }
}

/// Passes events on until all senders are gone, or until the session says that the last one has been sent: a target that
/// is let go may keep its sender as long as it lives.
fn forward_until_closed(queue: &Receiver<Event>, closed: &Receiver<Never>, forward: &mpsc::Sender<Event>) {
    loop {
        crossbeam_channel::select! {
            recv(queue) -> event => match event {
                Ok(event) => if forward.blocking_send(event).is_err() { return },
                Err(_) => return,
            },
            recv(closed) -> _ => break,
        }
    }
    // What is sent from now on came after the last event.
    for event in queue.try_iter().take(queue.len()) {
        if forward.blocking_send(event).is_err() {
            return;
        }
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
        for event in std::mem::take(&mut self.events.held) {
            self.tell(event).await;
        }
        let dropped = std::mem::take(&mut self.events.dropped);
        if dropped > 0 {
            self.out.console(&format!(
                "{dropped} log messages that came before configurationDone, or while breakpoints were being set, were dropped"
            ));
        }
    }

    async fn tell(&mut self, event: Event) {
        match event {
            Event::Log {
                goroutine,
                text,
                file,
                line,
            } => {
                let path = self.settings.paths.to_client(&file);
                self.out.event(&DapEvent::Output(OutputEventBody {
                    category: Some(OutputEventCategory::Stdout),
                    output: format!("> [Go {goroutine}]: {text}\n"),
                    source: Some(Source {
                        path: Some(path),
                        ..Source::default()
                    }),
                    line: Some(i64::from(line)),
                    ..OutputEventBody::default()
                }));
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
            Event::Notice(text) => self.out.console(&text),
            Event::Warning(text) => self.out.output(OutputEventCategory::Important, format!("{text}\n")),
            Event::BreakpointChanged(state) => self.tell_breakpoint(&state),
            Event::Exited { pid, status } => {
                let rest = self.events.stdout.finish();
                self.program_output(OutputEventCategory::Stdout, rest);
                let rest = self.events.stderr.finish();
                self.program_output(OutputEventCategory::Stderr, rest);
                self.on_exit(pid, status);
            }
        }
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
