//! Work that is handed to another thread, and its answer.
//!
//! A request goes through three threads: that of the connection, one that may block, and the one that owns the target. To wake one that sleeps takes tens of microseconds where its
//! processor sleeps too, more than most answers take to make. So each stays awake for a moment when it waits for another, or has just answered.

use std::thread;
use std::time::{Duration, Instant};

/// For how long an answer is looked for before somebody sleeps until it is there.
const AWAKE: Duration = Duration::from_micros(200);

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
