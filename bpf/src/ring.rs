//! The consumer's side of the ring.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::time::{ClockId, clock_gettime};

use crate::error::BpfError;
use crate::maps::{adopt, map_error};
use crate::positions::Positions;
use crate::record::RecordView;

/// A handle on the ring of a probe set: it can be cloned and used from any thread, one at a time.
#[derive(Clone)]
pub struct Ring {
    consumer: Arc<Mutex<Consumer>>,
    waker: Arc<EventFd>,
}

struct Consumer {
    ring: RingBuf<MapData>,
    epoll: Epoll,
    positions: Positions,
    /// Up to where the ring was filled at moments, oldest first, as long as it has not been read up to there.
    marks: VecDeque<Mark>,
    /// What [`Drained::complete_until`] was last.
    complete_until: u64,
}

/// How far a ring was filled at a moment. A record's room is reserved before its time is taken: what lies behind the position is younger than the moment.
#[derive(Clone, Copy)]
struct Mark {
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    time: u64,
    position: u64,
}

/// What a drain did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drained {
    /// How many records were handed out.
    pub records: usize,
    /// Nanoseconds of `CLOCK_MONOTONIC`, as in [`RecordView::time`]: every record that was made until then has been handed out. Records come in the order in
    /// which their room was reserved, which is not quite that of their times; with this they can be put in order.
    pub complete_until: u64,
    /// Whether the call ended because it had handed out enough, and not because there was nothing more.
    pub more: bool,
}

/// Ends the wait of a [`Ring::drain`] from another thread.
#[derive(Clone)]
pub struct Waker(Arc<EventFd>);

impl Waker {
    /// Makes the drain that waits now, or else the next one, look at the ring at once.
    pub fn wake(&self) {
        // The only error is a counter that is full, and then the wait ends anyway.
        let _ = self.0.write(1);
    }
}

impl Consumer {
    fn fresh_mark(&self) -> Result<Mark, BpfError> {
        // The time first: what is reserved behind the position then is younger.
        let time = now()?;
        Ok(Mark {
            time,
            position: self.positions.producer(),
        })
    }

    /// Hands out records up to a position, as far as they are finished, until they are of so many bytes; answers how many, and whether they were of so many.
    fn hand_out(&mut self, position: u64, most: usize, each: &mut impl FnMut(RecordView<'_>)) -> (usize, bool) {
        let (mut records, mut bytes) = (0, 0);
        while bytes < most
            && self.positions.consumer() < position
            && let Some(item) = self.ring.next()
        {
            match RecordView::new(&item) {
                Ok(view) => {
                    records += 1;
                    bytes += view.bytes().len();
                    each(view);
                }
                Err(damage) => tracing::error!("skipping a damaged record: {damage}"),
            }
        }
        (records, bytes >= most)
    }

    /// Waits, and hands out what was begun until then.
    fn drain(
        &mut self,
        waker: &EventFd,
        timeout: Duration,
        most: usize,
        each: &mut impl FnMut(RecordView<'_>),
    ) -> Result<Drained, BpfError> {
        if !timeout.is_zero() {
            self.wait(waker, timeout)?;
        }
        let mark = self.fresh_mark()?;
        if self.marks.back().is_none_or(|last| last.position < mark.position) {
            self.marks.push_back(mark);
        }
        let (records, enough) = self.hand_out(mark.position, most, each);
        let reached = self.positions.consumer();
        while let Some(&passed) = self.marks.front().filter(|mark| mark.position <= reached) {
            self.marks.pop_front();
            self.complete_until = passed.time.saturating_sub(CLOCK_TOLERANCE);
        }
        if reached >= mark.position {
            // Nothing was begun meanwhile, more often than not: then what is here is complete until now.
            let after = self.fresh_mark()?;
            let mark = if after.position == reached { after } else { mark };
            self.complete_until = mark.time.saturating_sub(CLOCK_TOLERANCE);
        }
        Ok(Drained {
            records,
            complete_until: self.complete_until,
            more: enough && reached < mark.position,
        })
    }

    fn wait(&self, waker: &EventFd, timeout: Duration) -> Result<(), BpfError> {
        // Rounded up: a wait of less than a millisecond must not become a busy loop.
        let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
        let timeout =
            EpollTimeout::try_from(i32::try_from(milliseconds).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::NONE);
        let mut events = [EpollEvent::empty(); 2];
        match self.epoll.wait(&mut events, timeout) {
            Ok(count) => {
                if events.iter().take(count).any(|event| event.data() == WAKER) {
                    // Resets it; it cannot fail otherwise than by having been reset already.
                    let _ = waker.read();
                }
                Ok(())
            }
            // A signal ends the wait early, which does no harm.
            Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(system(error)),
        }
    }
}

const RING: u64 = 0;
const WAKER: u64 = 1;

/// By how much a program's clock may be behind this process's, in nanoseconds: `bpf_ktime_get_ns` reads the clock without a lock, and may be a few nanoseconds
/// off while it is being adjusted; the counters of two CPUs may differ by as little.
const CLOCK_TOLERANCE: u64 = 10_000;

fn system(source: nix::Error) -> BpfError {
    BpfError::system("waiting for the ring", source.into())
}

impl Ring {
    pub(crate) fn new(fd: &OwnedFd) -> Result<Ring, BpfError> {
        const ACTION: &str = "mapping the ring";
        let ring = RingBuf::try_from(adopt(fd, ACTION)?).map_err(|error| map_error(ACTION, error))?;
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(system)?;
        let waker = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK).map_err(system)?;
        // Edge-triggered: with level, any record that is there would end the wait, and the consumer
        // would wake for each. The programs raise an edge where the ring is half full.
        epoll
            .add(&ring, EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLET, RING))
            .map_err(system)?;
        epoll
            .add(&waker, EpollEvent::new(EpollFlags::EPOLLIN, WAKER))
            .map_err(system)?;
        Ok(Ring {
            consumer: Arc::new(Mutex::new(Consumer {
                ring,
                epoll,
                positions: Positions::map(fd)?,
                marks: VecDeque::new(),
                complete_until: 0,
            })),
            waker: Arc::new(waker),
        })
    }

    /// What ends the wait of a drain from another thread.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.waker))
    }

    /// Waits until the ring is half full, a [`Waker`] is used, or `timeout` has passed, whichever is
    /// first; then hands out the records that are there, oldest first, and says how many.
    ///
    /// Records do not end the wait by themselves, because waking costs the target more than the
    /// record does. So `timeout` is the greatest latency: 10 to 20 ms suits a person. With zero it
    /// does not wait. At most a ring's worth of records is handed out in one call.
    pub fn drain(&self, timeout: Duration, mut each: impl FnMut(RecordView<'_>)) -> Result<usize, BpfError> {
        let drained = self.lock().drain(&self.waker, timeout, usize::MAX, &mut each)?;
        Ok(drained.records)
    }

    /// As [`Ring::drain`], but stops when the records are of `most` bytes, which is less than they take in the ring, and says up to what time none is missing.
    ///
    /// What was begun before the call is handed out, not more; a record that a program is still making holds up those behind it until a later call.
    pub fn drain_some(
        &self,
        timeout: Duration,
        most: usize,
        mut each: impl FnMut(RecordView<'_>),
    ) -> Result<Drained, BpfError> {
        self.lock().drain(&self.waker, timeout, most, &mut each)
    }

    fn lock(&self) -> MutexGuard<'_, Consumer> {
        self.consumer.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
fn now() -> Result<u64, BpfError> {
    let time =
        clock_gettime(ClockId::CLOCK_MONOTONIC).map_err(|error| BpfError::system("reading the clock", error.into()))?;
    let nanoseconds = Duration::from(time).as_nanos();
    Ok(u64::try_from(nanoseconds).unwrap_or(u64::MAX))
}
