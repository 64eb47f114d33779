//! The thread that reads what probes record.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded, unbounded};
use nix::time::{ClockId, clock_gettime};
use spelunk_bpf::{BpfError, Drained, RecordView, Ring, SiteId, Waker};

use super::engine::{Installed, Table};
use super::order::Order;

/// How long a record may lie in the ring before it is looked at. The kernel wakes the reader earlier when the ring fills.
const POLL: Duration = Duration::from_millis(5);

/// How long records wait at most for one that a program is still making.
const LONGEST_WAIT: Duration = Duration::from_millis(40);

/// How many bytes of records are taken out of the ring before what is known to be in order is handled. What is handled soon is still in the CPU's cache; but
/// the ring has room again as soon as they are out, and they take less outside.
const SLICE: usize = 1 << 20;

/// How many bytes of records wait at most, for any of that.
const MOST_WAITING: usize = 4 << 20;

/// How many records are handled however long somebody has waited.
const HANDLED_IN_A_HURRY: u64 = 500;

/// Who is handed the records of an engine's sites, in the order of their times.
pub(crate) trait Consumer<T>: Send + 'static {
    /// One record.
    fn record(&mut self, site: &Arc<Installed<T>>, record: &RecordView<'_>);

    /// A record that there was no time for: somebody waited for the end of a [`Reader::drain`].
    fn passed_over(&mut self, _site: &Arc<Installed<T>>) {}

    /// Nothing more is here at the moment.
    fn flush(&mut self) {}
}

/// A handle on the thread that reads records.
pub(crate) struct Reader {
    stop: Arc<AtomicBool>,
    waker: Waker,
    /// Those who wait until everything that is in the ring now has been handled.
    waiting: Sender<Sender<()>>,
    hurry: Arc<Hurry>,
    thread: Option<JoinHandle<()>>,
}

impl Reader {
    /// Starts the thread.
    pub(super) fn start<T: Send + Sync + 'static>(ring: Ring, table: Table<T>, consumer: impl Consumer<T>) -> Reader {
        let stop = Arc::new(AtomicBool::new(false));
        let (waiting, asked) = unbounded();
        let hurry = Arc::new(Hurry::default());
        let waker = ring.waker();
        let reading = Reading {
            ring,
            sites: Sites {
                table,
                known: Vec::new(),
            },
            consumer,
            order: Order::default(),
            known: 0,
            stuck: None,
            stop: stop.clone(),
            asked,
            hurry: hurry.clone(),
        };
        let thread = thread::Builder::new()
            .name("trace-reader".into())
            .spawn(move || reading.run());
        Reader {
            stop,
            waker,
            waiting,
            hurry,
            thread: thread.ok(),
        }
    }

    /// Returns when all that was in the ring has been handled, or when the thread has ended. What has not been handled after `patience` is passed over.
    pub(crate) fn drain(&self, patience: Duration) {
        let (done, wait) = bounded(1);
        self.hurry.begin(patience);
        if self.waiting.send(done).is_ok() {
            self.waker.wake();
            let _ = wait.recv();
        }
        self.hurry.end();
    }

    /// Handles what is left and ends the thread.
    pub(crate) fn finish(mut self) {
        self.stop.store(true, Ordering::Release);
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// What the thread works with.
struct Reading<T, C> {
    ring: Ring,
    sites: Sites<T>,
    consumer: C,
    order: Order,
    /// Until when no record was missing when the ring was last looked at.
    known: u64,
    /// Since when that has not changed, while records wait for one that is still being made.
    stuck: Option<Instant>,
    stop: Arc<AtomicBool>,
    asked: Receiver<Sender<()>>,
    hurry: Arc<Hurry>,
}

impl<T, C: Consumer<T>> Reading<T, C> {
    fn run(mut self) {
        let mut more = false;
        loop {
            let last = self.stop.load(Ordering::Acquire);
            let asked: Vec<_> = self.asked.try_iter().collect();
            let drained = if last || !asked.is_empty() {
                // Whoever asked before now has seen its records enter the ring.
                self.all_until(now())
            } else {
                self.some(if more { Duration::ZERO } else { POLL })
                    .map(|drained| more = drained.more)
            };
            if let Err(error) = drained {
                tracing::error!("the ring cannot be read: {error}");
                break;
            }
            // One who has gone away does not wait any more.
            for waiting in asked {
                let _ = waiting.send(());
            }
            if last {
                break;
            }
        }
        self.consumer.flush();
    }

    /// Handles what is known to be in order.
    fn some(&mut self, timeout: Duration) -> Result<Drained, BpfError> {
        let order = &mut self.order;
        let drained = self.ring.drain_some(timeout, SLICE, |record| order.push(&record))?;
        self.release(drained.complete_until);
        if self.order.len() > MOST_WAITING {
            self.release(self.order.time_to_make_room(LONGEST_WAIT.as_nanos() as u64));
        }
        if self.order.is_empty() || drained.more || self.known != drained.complete_until {
            self.known = drained.complete_until;
            self.stuck = None;
        } else if self.stuck.get_or_insert_with(Instant::now).elapsed() > LONGEST_WAIT {
            self.release(u64::MAX);
            self.stuck = None;
        }
        Ok(drained)
    }

    /// Handles all that was made until a moment.
    fn all_until(&mut self, moment: u64) -> Result<(), BpfError> {
        let begun = Instant::now();
        loop {
            let drained = self.some(Duration::ZERO)?;
            if drained.complete_until >= moment || (!drained.more && begun.elapsed() > LONGEST_WAIT) {
                break;
            }
            if !drained.more {
                // A program that has begun a record finishes it within microseconds, unless its CPU is taken away.
                thread::yield_now();
            }
        }
        self.release(u64::MAX);
        Ok(())
    }

    fn release(&mut self, until: u64) {
        let (sites, consumer, hurry) = (&mut self.sites, &mut self.consumer, &*self.hurry);
        let (mut seen, mut handled) = (false, 0);
        self.order.release(until, |record| {
            seen = true;
            let Some(site) = sites.get(record.site()) else { return };
            // A few are always shown: on a busy machine the patience may be over before this thread has begun.
            if handled >= HANDLED_IN_A_HURRY && hurry.is_over() {
                consumer.passed_over(site);
            } else {
                handled += 1;
                consumer.record(site, record);
            }
        });
        if seen {
            consumer.flush();
        }
    }
}

/// Nanoseconds of the clock that records have their times from.
fn now() -> u64 {
    let time = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    time.map_or(u64::MAX, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

/// The engine's table, as far as this thread has needed it: a site stays what it is once it is there.
struct Sites<T> {
    table: Table<T>,
    known: Vec<Option<Arc<Installed<T>>>>,
}

impl<T> Sites<T> {
    fn get(&mut self, id: SiteId) -> Option<&Arc<Installed<T>>> {
        let number = id.number() as usize;
        if self.known.get(number).is_none_or(Option::is_none) {
            // A poisoned lock means that a writer panicked; the entries themselves are whole.
            let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
            self.known.clone_from(&table);
        }
        self.known.get(number)?.as_ref()
    }
}

/// Until when a reader may take its time. A stop is waited for by a person, while records may come faster than any client reads.
#[derive(Default)]
struct Hurry(Mutex<Option<Instant>>, AtomicBool);

impl Hurry {
    fn begin(&self, patience: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now().checked_add(patience);
        self.1.store(true, Ordering::Release);
    }

    fn end(&self) {
        self.1.store(false, Ordering::Release);
    }

    fn is_over(&self) -> bool {
        // Most of the time nobody hurries, and each record asks.
        if !self.1.load(Ordering::Acquire) {
            return false;
        }
        let until = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| Instant::now() >= until)
    }
}
