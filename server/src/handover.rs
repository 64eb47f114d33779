//! Work that is handed to another thread, and its answer.
//!
//! A request goes through two or three threads: that of the connections, one that may block, and the one that owns the target. To wake one that sleeps takes tens of microseconds
//! where its processor sleeps too, more than most answers take to make. So each stays awake for a moment when it waits for another, or has just answered.

use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// For how long an answer is looked for before somebody sleeps until it is there.
const AWAKE: Duration = Duration::from_micros(200);

/// Until when the thread of the connections stays awake, if it does.
static AWAKE_UNTIL: Mutex<Option<Instant>> = Mutex::new(None);

/// Keeps the thread of the connections awake for a moment: the next request of a client that waits for each answer is soon there. Called on that thread, whose runtime has no other.
pub(crate) fn stay_awake() {
    let until = Instant::now() + AWAKE;
    let known = AWAKE_UNTIL
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .replace(until);
    if known.is_some() {
        return;
    }
    tokio::spawn(async {
        let _asleep = Asleep;
        loop {
            // The runtime looks at the connections between two turns, and goes to sleep when no task wants another.
            thread::yield_now();
            tokio::task::yield_now().await;
            let until = *AWAKE_UNTIL.lock().unwrap_or_else(PoisonError::into_inner);
            if until.is_none_or(|until| until <= Instant::now()) {
                return;
            }
        }
    });
}

/// When it is dropped, nobody stays awake any more: the moment is over, or the runtime has ended.
struct Asleep;

impl Drop for Asleep {
    fn drop(&mut self) {
        *AWAKE_UNTIL.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// Looks for an answer for a moment, and lets others have the processor in between; nothing, where it takes longer.
pub(crate) fn at_once<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if begun.elapsed() >= AWAKE {
            return None;
        }
        thread::yield_now();
    }
}
