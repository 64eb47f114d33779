//! How much memory a piece of work takes, by an allocator that counts.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, with an account for each thread.
struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

thread_local! {
    /// Bytes that are allocated, less those that are given back; what was there before counts as nothing.
    static LIVE: Cell<isize> = const { Cell::new(0) };
    /// The most that was.
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn note(bytes: isize) {
    // A thread that is ending has no account any more.
    let _ = LIVE.try_with(|live| {
        live.set(live.get() + bytes);
        let _ = PEAK.try_with(|peak| peak.set(peak.get().max(live.get())));
    });
}

// SAFETY: every call is handed to the system's allocator as it came. What is noted allocates nothing: the accounts are in memory of the thread that needs no
// set-up and has nothing to tear down.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: as of this function.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        note(-(layout.size() as isize));
        // SAFETY: as of this function.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size() as isize);
        // SAFETY: as of this function.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // Both may be there while it is copied.
        note(size as isize);
        note(-(layout.size() as isize));
        // SAFETY: as of this function.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// The most bytes that this thread had allocated at a time while it did that, beyond what it had before.
pub(super) fn peak_of(work: impl FnOnce()) -> usize {
    LIVE.set(0);
    PEAK.set(0);
    work();
    usize::try_from(PEAK.get()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_at_a_time_counts() {
        let one_after_the_other = peak_of(|| (0..10).for_each(|_| drop(vec![1u8; 1 << 20])));
        assert!(
            (1 << 20..2 << 20).contains(&one_after_the_other),
            "{one_after_the_other}"
        );
        let together = peak_of(|| drop([vec![1u8; 1 << 20], vec![0; 1 << 20]]));
        assert!((2 << 20..3 << 20).contains(&together), "{together}");
    }
}
