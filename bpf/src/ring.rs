//! The consumer's side of the ring.

use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aya::maps::{MapData, RingBuf};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};

use crate::error::BpfError;
use crate::maps::{adopt, map_error};
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
    /// Bytes after which one drain stops, so that it ends even if the target never pauses.
    size: usize,
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

const RING: u64 = 0;
const WAKER: u64 = 1;

/// What a record takes in the ring beyond its own bytes (`BPF_RINGBUF_HDR_SZ`).
const RECORD_OVERHEAD: usize = 8;

fn system(source: nix::Error) -> BpfError {
    BpfError::system("waiting for the ring", source.into())
}

impl Ring {
    pub(crate) fn new(fd: &OwnedFd, ring_bytes: u32) -> Result<Ring, BpfError> {
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
                size: ring_bytes as usize,
            })),
            waker: Arc::new(waker),
        })
    }

    /// What ends the wait of a drain from another thread.
    pub fn waker(&self) -> Waker {
        Waker(Arc::clone(&self.waker))
    }

    /// Waits until the ring is half full, a [`Waker`] is used, or `timeout` has passed, whichever is
    /// first; then hands out all records that are there, oldest first, and says how many.
    ///
    /// Records do not end the wait by themselves, because waking costs the target more than the
    /// record does. So `timeout` is the greatest latency: 10 to 20 ms suits a person. With zero it
    /// does not wait. At most a ring's worth of records is handed out in one call.
    pub fn drain(&self, timeout: Duration, mut each: impl FnMut(RecordView<'_>)) -> Result<usize, BpfError> {
        let mut consumer = self.consumer.lock().unwrap_or_else(PoisonError::into_inner);
        let consumer = &mut *consumer;
        if !timeout.is_zero() {
            self.wait(&consumer.epoll, timeout)?;
        }
        let mut records = 0;
        let mut bytes = 0;
        while bytes < consumer.size
            && let Some(item) = consumer.ring.next()
        {
            bytes += item.len() + RECORD_OVERHEAD;
            match RecordView::new(&item) {
                Ok(view) => {
                    records += 1;
                    each(view);
                }
                Err(damage) => tracing::error!("skipping a damaged record: {damage}"),
            }
        }
        Ok(records)
    }

    fn wait(&self, epoll: &Epoll, timeout: Duration) -> Result<(), BpfError> {
        // Rounded up: a wait of less than a millisecond must not become a busy loop.
        let milliseconds = timeout.as_nanos().div_ceil(1_000_000);
        let timeout =
            EpollTimeout::try_from(i32::try_from(milliseconds).unwrap_or(i32::MAX)).unwrap_or(EpollTimeout::NONE);
        let mut events = [EpollEvent::empty(); 2];
        match epoll.wait(&mut events, timeout) {
            Ok(count) => {
                if events.iter().take(count).any(|event| event.data() == WAKER) {
                    // Resets it; it cannot fail otherwise than by having been reset already.
                    let _ = self.waker.read();
                }
                Ok(())
            }
            // A signal ends the wait early, which does no harm.
            Err(nix::Error::EINTR) => Ok(()),
            Err(error) => Err(system(error)),
        }
    }
}
