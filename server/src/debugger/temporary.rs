//! Temporaries: the breakpoints that a step sets for itself, and what makes one of them count.

use std::sync::Arc;

use spelunk_dwarf::{FileAddr, FunctionInfo};

use crate::inspect::Tid;

/// Whose passing counts. Goroutines move between threads, so a step follows the goroutine wherever there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// A goroutine, by `g.goid`.
    Goroutine(i64),
    /// A thread that runs no goroutine.
    Thread(Tid),
}

/// In which frame a passing counts: by the canonical frame address, measured from the upper end of the goroutine's stack, which survives a copy of the
/// stack (on a system stack it is the address itself).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameIs {
    /// In any.
    Any,
    /// In the frame at that offset.
    At(i64),
    /// In the body of a range-over-func loop of the function whose frame is at that offset.
    BodyOf(i64),
}

/// What happens when a temporary is passed by the one it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The step has arrived.
    Land,
    /// The step has arrived if the function was called as a deferred one: by a panic, or by the return of the function when `on_return` is set.
    LandIfDeferred {
        /// Whether a deferred call on return counts too.
        on_return: bool,
    },
    /// An indirect call, whose target is known now: the step lands in the function called.
    FollowCall,
    /// The runtime is about to make the new goroutine of a `go` statement runnable: the step lands in its first function.
    FollowNewGoroutine,
    /// The first line of a range-over-func body on the very line that the step began on: it is stepped over once more.
    StepOnInBody,
    /// The iterator goes on after a call of the loop's body: the temporaries in the body, which this names by its entry, stop counting.
    LeaveBody(FileAddr),
}

/// What a function that returns to a temporary leaves behind.
#[derive(Clone, Debug)]
pub(super) struct Returning {
    /// The function.
    pub(super) function: Arc<FunctionInfo>,
    /// Its frame, as [`FrameIs::At`] measures it.
    pub(super) frame: i64,
}

/// A breakpoint of the step under way.
#[derive(Clone, Debug)]
pub(super) struct Temporary {
    /// Who must pass.
    pub(super) follow: Follow,
    /// In which frame.
    pub(super) frame: FrameIs,
    /// What happens then.
    pub(super) kind: Kind,
    /// For a return address: what returns there.
    pub(super) returning: Option<Returning>,
    /// Cleared when it does not count any more but cannot be taken out yet.
    pub(super) counts: bool,
}

impl Temporary {
    /// One that counts from now on.
    pub(super) fn new(follow: Follow, frame: FrameIs, kind: Kind) -> Temporary {
        Temporary {
            follow,
            frame,
            kind,
            returning: None,
            counts: true,
        }
    }
}
