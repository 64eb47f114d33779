//! Work on many units at once, in threads of our own.
//!
//! The results are kept in cells that are filled once, and a caller that comes second waits for the first. Were the
//! work done in rayon's global pool, a caller from that pool would, while it waits for its parts, be handed another of
//! its own tasks, which might ask for the same cell and so wait for itself. In a pool that runs nothing but this work
//! that cannot happen: its tasks never ask for a cell that is filled here.

use std::panic::resume_unwind;
use std::sync::LazyLock;
use std::thread;

use rayon::{ThreadPool, ThreadPoolBuilder};

/// `None` when the system gives us no threads; then the caller's has to do.
static POOL: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    let builder = ThreadPoolBuilder::new().thread_name(|index| format!("dwarf-{index}"));
    builder.build().ok()
});

/// Runs `work`, which may use rayon's parallel iterators and scopes.
pub(crate) fn in_pool<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    let Some(pool) = &*POOL else { return work() };
    if rayon::current_thread_index().is_none() {
        return pool.install(work);
    }
    // A worker of another pool would look for other work while it waits; a thread in between really waits.
    let result = thread::scope(|scope| scope.spawn(|| pool.install(work)).join());
    result.unwrap_or_else(|panic| resume_unwind(panic))
}
