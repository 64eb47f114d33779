//! The way of events from a session to its client. What waits on it is bounded, whatever the program logs and however slowly the client reads.
//!
//! * Log messages are never waited for, as the program would be in the end. Where too many wait, further ones are counted and left out, and [`Event::Suppressed`]
//!   stands in their place.
//! * What the program writes has to wait until there is room: its pipe then slows it down, as a terminal would.
//! * All else always has room, and what is said of a stop is never behind more than a little.
//!
//! Few messages are handed over one by one, and at once. From where they come faster than a person reads, they are gathered for a moment and handed over
//! together, no more of them than any client can be expected to take.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::{Event, LogMessage, Suppressed};

/// How many log messages may wait.
const MOST_MESSAGES: usize = 1 << 16;
/// How many bytes of log messages may wait.
const MOST_MESSAGE_BYTES: usize = 8 << 20;
/// How many bytes of log messages may wait in front of the news of a stop.
const MOST_BEFORE_STOP: usize = 512 << 10;
/// How many bytes of the program's output may wait.
const MOST_OUTPUT: usize = 256 << 10;

/// How many messages are handed over one by one when none came for a while.
const SINGLE: u32 = 256;
/// After which time one more may be.
const SINGLE_EVERY: Duration = Duration::from_millis(1);
/// How long messages are gathered beyond that.
const GATHER: Duration = Duration::from_millis(20);
/// How many bytes of gathered messages are handed over at once.
const MOST_AT_ONCE: usize = 64 << 10;

/// What a message takes beyond its texts.
const OVERHEAD: usize = size_of::<Event>();

/// A way for events. Both ends can be used from threads and from tasks.
pub(crate) fn event_queue() -> (EventSender, EventReceiver) {
    let shared = Arc::new(Shared {
        state: Mutex::new(State::new()),
        arrived: Notify::new(),
        room: Signal::default(),
    });
    (EventSender(shared.clone()), EventReceiver(shared))
}

/// Nobody takes the events any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the client has gone")]
pub(crate) struct Gone;

/// The debugger's end.
pub(crate) struct EventSender(Arc<Shared>);

/// The client's end.
pub(crate) struct EventReceiver(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Something to be taken has come, or the last that could come has.
    arrived: Notify,
    /// The program's output has room, or will never have.
    room: Signal,
}

/// Wakes threads and tasks.
#[derive(Default)]
struct Signal {
    threads: Condvar,
    tasks: Notify,
}

impl Signal {
    fn give(&self) {
        self.threads.notify_all();
        self.tasks.notify_waiters();
    }
}

/// What one look at the queue brings.
enum Look {
    Event(Event),
    /// Nothing now; perhaps then.
    Later(Option<Instant>),
    /// Nothing, ever.
    End,
}

struct State {
    queue: VecDeque<Event>,
    /// Log messages in the queue, and their bytes.
    messages: usize,
    message_bytes: usize,
    /// Bytes of output in the queue.
    output: usize,
    /// Events in the queue that are neither.
    others: usize,
    /// There were too many messages; they are left out until half of them are gone.
    full: bool,
    /// How many messages may be handed over one by one, as of when.
    single: u32,
    counted: Instant,
    /// Messages are being gathered, until when at least.
    gathering: bool,
    next: Instant,
    /// How many messages were left out, by file and line.
    suppressed: BTreeMap<(String, u32), u64>,
    senders: usize,
    closed: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No panic leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Clone for EventSender {
    fn clone(&self) -> EventSender {
        self.0.lock().senders += 1;
        EventSender(self.0.clone())
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.senders -= 1;
        if state.senders == 0 {
            drop(state);
            self.0.arrived.notify_waiters();
        }
    }
}

impl EventSender {
    /// Sends an event. Output of the program waits for room, which blocks the thread.
    pub(crate) fn send(&self, event: Event) -> Result<(), Gone> {
        let mut state = self.0.lock();
        if output_len(&event).is_some() {
            while !state.closed && state.output >= MOST_OUTPUT {
                let waited = self.0.room.threads.wait(state);
                state = waited.unwrap_or_else(PoisonError::into_inner);
            }
        }
        let sent = state.push(event);
        drop(state);
        self.0.arrived.notify_waiters();
        sent
    }

    /// As [`EventSender::send`], without blocking the thread.
    pub(crate) async fn send_from_task(&self, event: Event) -> Result<(), Gone> {
        loop {
            let room = self.0.room.tasks.notified();
            tokio::pin!(room);
            // From here on it notices.
            room.as_mut().enable();
            {
                let mut state = self.0.lock();
                if output_len(&event).is_none() || state.closed || state.output < MOST_OUTPUT {
                    let sent = state.push(event);
                    drop(state);
                    self.0.arrived.notify_waiters();
                    return sent;
                }
            }
            room.await;
        }
    }

    /// Says in their place that messages of a line were left out.
    pub(crate) fn suppress(&self, file: &str, line: u32, count: u64) {
        self.0.lock().suppress(file, line, count);
        self.0.arrived.notify_waiters();
    }

    /// How many messages of a line have been left out so far.
    pub(crate) fn suppressed(&self, file: &str, line: u32) -> u64 {
        let state = self.0.lock();
        state.suppressed.get(&(file.to_owned(), line)).copied().unwrap_or(0)
    }
}

impl EventReceiver {
    /// The next event; `None` when there will be none any more. Losing the race against another future loses no event.
    pub(crate) async fn recv(&self) -> Option<Event> {
        loop {
            let arrived = self.0.arrived.notified();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            match self.look() {
                Look::Event(event) => return Some(event),
                Look::End => return None,
                Look::Later(None) => arrived.await,
                Look::Later(Some(then)) => {
                    let _ = tokio::time::timeout_at(then.into(), arrived).await;
                }
            }
        }
    }

    /// An event that is to be taken now.
    pub(crate) fn try_recv(&self) -> Option<Event> {
        match self.look() {
            Look::Event(event) => Some(event),
            Look::Later(_) | Look::End => None,
        }
    }

    /// What is sent from now on came after the last event.
    pub(crate) fn close(&self) {
        self.0.lock().closed = true;
        self.0.room.give();
        self.0.arrived.notify_waiters();
    }

    fn look(&self) -> Look {
        let mut state = self.0.lock();
        let output = state.output;
        let look = state.take(Instant::now());
        if output >= MOST_OUTPUT && state.output < MOST_OUTPUT {
            drop(state);
            self.0.room.give();
        }
        look
    }
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.closed = true;
        let queue = std::mem::take(&mut state.queue);
        drop(state);
        drop(queue);
        self.0.room.give();
    }
}

/// How many bytes of the program's output an event carries.
fn output_len(event: &Event) -> Option<usize> {
    match event {
        Event::Stdout(bytes) | Event::Stderr(bytes) => Some(bytes.len()),
        _ => None,
    }
}

/// How many bytes a log message takes, with its texts.
fn message_len(text: &str, file: &str) -> usize {
    text.len() + file.len() + OVERHEAD
}

impl State {
    fn new() -> State {
        let now = Instant::now();
        State {
            queue: VecDeque::new(),
            messages: 0,
            message_bytes: 0,
            output: 0,
            others: 0,
            full: false,
            single: SINGLE,
            counted: now,
            gathering: false,
            next: now,
            suppressed: BTreeMap::new(),
            senders: 1,
            closed: false,
        }
    }

    fn push(&mut self, event: Event) -> Result<(), Gone> {
        if self.closed {
            return Err(Gone);
        }
        match &event {
            Event::Log { text, file, line, .. } => {
                let len = message_len(text, file);
                self.full |= self.messages >= MOST_MESSAGES || self.message_bytes + len > MOST_MESSAGE_BYTES;
                if self.full {
                    self.suppress(file, *line, 1);
                    return Ok(());
                }
                self.messages += 1;
                self.message_bytes += len;
            }
            Event::Stdout(bytes) | Event::Stderr(bytes) => self.output += bytes.len(),
            Event::Stopped(_) => {
                self.cut(MOST_BEFORE_STOP);
                self.others += 1;
            }
            _ => self.others += 1,
        }
        self.queue.push_back(event);
        Ok(())
    }

    /// Counts messages that are left out here.
    fn suppress(&mut self, file: &str, line: u32, count: u64) {
        if self.closed {
            return;
        }
        *self.suppressed.entry((file.to_owned(), line)).or_default() += count;
        if !matches!(self.queue.back(), Some(Event::Suppressed(_))) {
            self.queue.push_back(Event::Suppressed(Suppressed::default()));
        }
        if let Some(Event::Suppressed(suppressed)) = self.queue.back_mut() {
            suppressed.add(file, line, count);
        }
    }

    /// Leaves out the oldest messages, so that those that are left take at most so many bytes.
    fn cut(&mut self, most: usize) {
        if self.message_bytes <= most {
            return;
        }
        let mut left_out = Suppressed::default();
        let mut kept = VecDeque::with_capacity(self.queue.len());
        for event in self.queue.drain(..) {
            match event {
                Event::Log { text, file, line, .. } if self.message_bytes > most => {
                    self.messages -= 1;
                    self.message_bytes -= message_len(&text, &file);
                    left_out.add(&file, line, 1);
                    *self.suppressed.entry((file, line)).or_default() += 1;
                    if self.message_bytes <= most {
                        kept.push_back(Event::Suppressed(std::mem::take(&mut left_out)));
                    }
                }
                Event::Suppressed(earlier) if self.message_bytes > most => left_out.merge(&earlier),
                other => kept.push_back(other),
            }
        }
        self.queue = kept;
        self.full = false;
    }

    fn take(&mut self, now: Instant) -> Look {
        let Some(front) = self.queue.front() else {
            return if self.closed || self.senders == 0 {
                Look::End
            } else {
                Look::Later(None)
            };
        };
        if !matches!(front, Event::Log { .. }) {
            return self.pop().map_or(Look::End, Look::Event);
        }
        self.count_singles(now);
        if !self.gathering && self.single > 0 {
            self.single -= 1;
            return self.pop().map_or(Look::End, Look::Event);
        }
        self.gathering = true;
        // Somebody waits for what comes behind the messages.
        let hurry = self.others > 0 || self.closed || self.senders == 0;
        if now < self.next && !hurry {
            return Look::Later(Some(self.next));
        }
        self.next = now + GATHER;
        let mut gathered = Vec::new();
        let mut bytes = 0;
        while bytes < MOST_AT_ONCE
            && matches!(self.queue.front(), Some(Event::Log { .. }))
            && let Some(Event::Log {
                goroutine,
                text,
                file,
                line,
            }) = self.queue.pop_front()
        {
            self.taken(message_len(&text, &file));
            self.single = self.single.saturating_sub(1);
            bytes += text.len();
            gathered.push(LogMessage {
                goroutine,
                text,
                file,
                line,
            });
        }
        Look::Event(Event::Backlog(gathered))
    }

    /// Lets messages be handed over one by one again, as time passes.
    fn count_singles(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.counted).as_nanos() / SINGLE_EVERY.as_nanos();
        let passed = u32::try_from(passed).unwrap_or(u32::MAX);
        if passed == 0 {
            return;
        }
        self.single = self.single.saturating_add(passed).min(SINGLE);
        self.counted = now;
        // Not before it was quiet for a while: a client should not get now one, now many.
        self.gathering &= self.single < SINGLE / 2;
    }

    fn pop(&mut self) -> Option<Event> {
        let event = self.queue.pop_front()?;
        match &event {
            Event::Log { text, file, .. } => self.taken(message_len(text, file)),
            Event::Stdout(bytes) | Event::Stderr(bytes) => self.output -= bytes.len(),
            Event::Suppressed(_) => {}
            _ => self.others -= 1,
        }
        Some(event)
    }

    /// Notes that a message of so many bytes waits no more.
    fn taken(&mut self, len: usize) {
        self.messages -= 1;
        self.message_bytes -= len;
        self.full &= self.messages > MOST_MESSAGES / 2 || self.message_bytes > MOST_MESSAGE_BYTES / 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::debugger::{Stop, StopReason};
    use crate::inspect::Whose;

    fn log(text: &str, line: u32) -> Event {
        Event::Log {
            goroutine: 1,
            text: text.to_owned(),
            file: "main.go".to_owned(),
            line,
        }
    }

    /// All that is to be had within a while, with messages and suppressions counted.
    fn counted(receiver: &EventReceiver, enough: u64) -> (u64, u64, usize) {
        let deadline = Instant::now() + Duration::from_secs(20);
        let (mut shown, mut suppressed, mut events) = (0, 0, 0);
        while shown + suppressed < enough {
            assert!(Instant::now() < deadline, "{shown} shown, {suppressed} suppressed");
            let Some(event) = receiver.try_recv() else {
                std::thread::sleep(Duration::from_millis(1));
                continue;
            };
            events += 1;
            match event {
                Event::Log { .. } => shown += 1,
                Event::Backlog(messages) => shown += messages.len() as u64,
                Event::Suppressed(left_out) => suppressed += left_out.total(),
                _ => {}
            }
        }
        (shown, suppressed, events)
    }

    #[test]
    fn few_messages_are_handed_over_one_by_one() {
        let (sender, receiver) = event_queue();
        for line in 0..100 {
            sender.send(log("x", line)).expect("a client");
        }
        for expected in 0..100 {
            assert!(matches!(receiver.try_recv(), Some(Event::Log { line, .. }) if line == expected));
        }
        assert!(receiver.try_recv().is_none());
    }

    #[test]
    fn many_messages_are_handed_over_together_and_all_of_them() {
        let (sender, receiver) = event_queue();
        for line in 0..20_000 {
            sender.send(log("hello", line)).expect("a client");
        }
        let (shown, suppressed, events) = counted(&receiver, 20_000);
        assert_eq!((shown, suppressed), (20_000, 0));
        assert!(events < 1_000, "{events}");
    }

    #[test]
    fn what_is_too_much_is_counted_in_its_place() {
        let (sender, receiver) = event_queue();
        let many = 3 * MOST_MESSAGES as u64;
        for _ in 0..many {
            sender.send(log("hello", 7)).expect("a client");
        }
        sender.suppress("main.go", 8, 5);
        let (shown, suppressed, _) = counted(&receiver, many + 5);
        assert_eq!(
            (shown, suppressed),
            (MOST_MESSAGES as u64, many - MOST_MESSAGES as u64 + 5)
        );
        assert_eq!(sender.suppressed("main.go", 7), suppressed - 5);
        assert_eq!(sender.suppressed("main.go", 8), 5);
        // There is room again.
        sender.send(log("again", 7)).expect("a client");
        assert_eq!(counted(&receiver, 1).0, 1);
    }

    #[test]
    fn messages_in_front_of_a_stop_are_few_and_the_newest() {
        let (sender, receiver) = event_queue();
        let text = "x".repeat(1000);
        for line in 0..5_000 {
            sender.send(log(&text, line)).expect("a client");
        }
        sender
            .send(Event::Stopped(Stop {
                reason: StopReason::Pause,
                whose: Whose::Goroutine(1),
                step_interrupted: false,
            }))
            .expect("a client");
        let mut lines = Vec::new();
        let mut suppressed = 0;
        // Nothing is gathered while somebody waits for the stop.
        loop {
            match receiver.try_recv() {
                Some(Event::Log { line, .. }) => lines.push(line),
                Some(Event::Backlog(messages)) => lines.extend(messages.iter().map(|message| message.line)),
                Some(Event::Suppressed(left_out)) => {
                    assert!(lines.is_empty(), "what is left out is the oldest");
                    suppressed += left_out.total();
                }
                Some(Event::Stopped(_)) => break,
                other => panic!("{other:?}"),
            }
        }
        assert!(lines.is_sorted() && lines.last() == Some(&4_999));
        assert_eq!(lines.len() as u64 + suppressed, 5_000);
        assert!(lines.len() * 1000 <= MOST_BEFORE_STOP);
    }

    #[test]
    fn output_waits_for_room_and_nothing_else_does() {
        let (sender, receiver) = event_queue();
        let chunk = vec![b'x'; MOST_OUTPUT / 4];
        let writing = {
            let sender = sender.clone();
            std::thread::spawn(move || {
                for _ in 0..20 {
                    sender.send(Event::Stdout(chunk.clone())).expect("a client");
                }
            })
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while receiver.0.lock().output < MOST_OUTPUT {
            assert!(Instant::now() < deadline);
            std::thread::yield_now();
        }
        sender.send(Event::Notice("not held up".to_owned())).expect("a client");
        drop(sender);
        let mut bytes = 0;
        let mut noticed = false;
        while bytes < 5 * MOST_OUTPUT || !noticed {
            assert!(Instant::now() < deadline);
            match receiver.try_recv() {
                Some(Event::Stdout(chunk)) => bytes += chunk.len(),
                Some(Event::Notice(_)) => noticed = true,
                None => std::thread::yield_now(),
                other => panic!("{other:?}"),
            }
            assert!(receiver.0.lock().output < 2 * MOST_OUTPUT);
        }
        writing.join().expect("all was sent");
        assert!(matches!(receiver.look(), Look::End));
    }

    #[tokio::test]
    async fn a_client_that_goes_holds_nobody_up() {
        let (sender, receiver) = event_queue();
        sender.send(Event::Stdout(vec![0; MOST_OUTPUT])).expect("a client");
        let waiting = tokio::spawn({
            let sender = sender.clone();
            async move { sender.send_from_task(Event::Stdout(vec![1])).await }
        });
        tokio::task::yield_now().await;
        assert!(receiver.recv().await.is_some());
        assert!(receiver.recv().await.is_some(), "there was room again");
        assert_eq!(waiting.await.expect("it ends"), Ok(()));
        sender.send(Event::Stdout(vec![0; MOST_OUTPUT])).expect("a client");
        drop(receiver);
        assert_eq!(sender.send(Event::Stdout(vec![2])), Err(Gone));
        assert_eq!(sender.send_from_task(Event::Stdout(vec![3])).await, Err(Gone));
    }
}
