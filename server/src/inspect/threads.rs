//! The threads of a stopped program.

use spelunk_dwarf::ProcAddr;

use super::goroutine::work_of;
use super::places::Places;
use super::{Location, Stopped, Tid};

/// A thread at a stop.
#[derive(Clone, Debug)]
pub(crate) struct ThreadState {
    /// Its number in the kernel.
    pub(crate) tid: Tid,
    /// Where it stands: calls that were inlined there are not told apart. `None` where its registers cannot be read.
    pub(crate) location: Option<Location>,
    /// The goroutine that it works for.
    pub(crate) goroutine: Option<i64>,
}

/// The threads, in ascending order.
pub(crate) fn threads(p: &dyn Stopped) -> Vec<ThreadState> {
    let places = Places::new(p.binary(), p.bias());
    let of = |tid: Tid| {
        let pc = p.registers(tid).ok().and_then(|registers| registers.pc()).map(ProcAddr);
        let goroutine = work_of(p, tid).ok().and_then(|work| work.goroutine);
        ThreadState {
            tid,
            location: pc.map(|pc| places.location(&places.at(p.bias().to_file(pc)), pc)),
            goroutine: goroutine.map(|goroutine| goroutine.id),
        }
    };
    p.threads().into_iter().map(of).collect()
}
