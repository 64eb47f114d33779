//! Brings calls and returns together: by goroutine, and by how deep in the goroutine's stack the frame lies.
//!
//! The depth is measured from the upper end of the stack, so it survives the moving of the stack. A goroutine's frames lie one in the other: a call at some depth ends all
//! that were deeper, a return at some depth too, whether their own returns were seen or not. That is what a panic does that is recovered further out.

use std::collections::HashMap;

use spelunk_bpf::SiteId;
use spelunk_dwarf::FileAddr;

/// A goroutine's open calls are forgotten beyond this number of goroutines: ends of goroutines are seen, but their records may be lost.
const MAX_GOROUTINES: usize = 100_000;

/// Room is kept for this many goroutines.
const MAX_SPARE: usize = 64;
/// A goroutine of one of the traced processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Strand {
    /// The process.
    pub(crate) process: u32,
    /// Its goroutine's id.
    pub(crate) goroutine: i64,
}

/// A call that has not returned yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OpenCall {
    depth: u64,
    call: Call,
    /// Its goroutine has recovered from a panic since: perhaps it will not return.
    doubtful: bool,
}

/// A call that was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Call {
    /// Where the function begins.
    pub(crate) function: FileAddr,
    /// The site at which the call was seen.
    pub(crate) site: SiteId,
    /// When, in nanoseconds.
    pub(crate) time: u64,
    /// The address of the dictionary it was passed, 0 for none.
    pub(crate) dictionary: u64,
}

/// The open calls of the traced processes.
#[derive(Debug, Default)]
pub(crate) struct Pairing {
    goroutines: HashMap<Strand, Vec<OpenCall>>,
    /// Room for the calls of other goroutines: most have none open for most of the time.
    spare: Vec<Vec<OpenCall>>,
}

impl Pairing {
    /// Notes a call at a depth, in bytes.
    pub(crate) fn call(&mut self, goroutine: Strand, depth: u64, call: Call) {
        if self.goroutines.len() >= MAX_GOROUTINES && !self.goroutines.contains_key(&goroutine) {
            self.goroutines.clear();
        }
        let spare = &mut self.spare;
        let open = self
            .goroutines
            .entry(goroutine)
            .or_insert_with(|| spare.pop().unwrap_or_default());
        while open.last().is_some_and(|inner| inner.depth >= depth) {
            open.pop();
        }
        open.push(OpenCall {
            depth,
            call,
            doubtful: false,
        });
    }

    /// Notes a call at a depth that is not to be shown: those that were deeper have ended.
    pub(crate) fn unseen_call(&mut self, goroutine: Strand, depth: u64) {
        if let Some(open) = self.goroutines.get_mut(&goroutine) {
            while open.last().is_some_and(|inner| inner.depth >= depth) {
                open.pop();
            }
        }
    }

    /// Notes a return from `function`, and answers the call it ends, if that was seen, and whether there is doubt about it: then the call may have ended by a panic, and
    /// this may be the return of a later one, if that one's record was lost.
    pub(crate) fn ret(&mut self, goroutine: Strand, depth: u64, function: FileAddr) -> Option<(Call, bool)> {
        let open = self.goroutines.get_mut(&goroutine)?;
        while open.last().is_some_and(|inner| inner.depth > depth) {
            open.pop();
        }
        let found = *open.last()?;
        if found.depth != depth || found.call.function != function {
            return None;
        }
        open.pop();
        if open.is_empty()
            && let Some(open) = self.goroutines.remove(&goroutine)
            && self.spare.len() < MAX_SPARE
        {
            self.spare.push(open);
        }
        Some((found.call, found.doubtful))
    }

    /// Notes that a goroutine has ended.
    pub(crate) fn goroutine_exit(&mut self, goroutine: Strand) {
        self.goroutines.remove(&goroutine);
    }

    /// Notes that a goroutine recovers from a panic: some of its open calls will not return. Which, the next call or return tells by its depth.
    pub(crate) fn recovery(&mut self, goroutine: Strand) {
        if let Some(open) = self.goroutines.get_mut(&goroutine) {
            for call in open {
                call.doubtful = true;
            }
        }
    }

    /// How many calls are open.
    #[cfg(test)]
    fn open_calls(&self) -> usize {
        self.goroutines.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const F: FileAddr = FileAddr(0x1000);
    const G: FileAddr = FileAddr(0x2000);

    /// A goroutine of the one process.
    fn of_one(goroutine: i64) -> Strand {
        Strand { process: 1, goroutine }
    }

    fn call(pairing: &mut Pairing, goroutine: i64, depth: u64, function: FileAddr, time: u64) {
        pairing.call(
            of_one(goroutine),
            depth,
            Call {
                function,
                site: SiteId::default(),
                time,
                dictionary: 0,
            },
        );
    }

    fn began(pairing: &mut Pairing, goroutine: i64, depth: u64, function: FileAddr) -> Option<u64> {
        pairing
            .ret(of_one(goroutine), depth, function)
            .map(|(call, _)| call.time)
    }

    #[test]
    fn recursion_pairs_from_the_inside() {
        let mut pairing = Pairing::default();
        for (depth, time) in [(100, 1), (200, 2), (300, 3)] {
            call(&mut pairing, 7, depth, F, time);
        }
        assert_eq!(began(&mut pairing, 7, 300, F), Some(3));
        assert_eq!(began(&mut pairing, 7, 200, F), Some(2));
        assert_eq!(began(&mut pairing, 7, 100, F), Some(1));
        assert_eq!(pairing.open_calls(), 0);
    }

    #[test]
    fn a_recovered_panic_ends_the_calls_inside() {
        let mut pairing = Pairing::default();
        call(&mut pairing, 1, 100, F, 1);
        call(&mut pairing, 1, 200, G, 2);
        call(&mut pairing, 1, 300, G, 3);
        pairing.recovery(of_one(1));
        let (ended, doubtful) = pairing.ret(of_one(1), 100, F).expect("the outermost call returns");
        assert_eq!((ended.time, doubtful), (1, true));
        assert_eq!(pairing.open_calls(), 0);
        // The same depth again, after a panic that was recovered between them.
        call(&mut pairing, 1, 200, G, 20);
        pairing.recovery(of_one(1));
        call(&mut pairing, 1, 200, G, 30);
        let (ended, doubtful) = pairing.ret(of_one(1), 200, G).expect("the second call returns");
        assert_eq!((ended.time, doubtful), (30, false));
    }

    #[test]
    fn goroutines_and_functions_are_kept_apart() {
        let mut pairing = Pairing::default();
        call(&mut pairing, 1, 100, F, 1);
        call(&mut pairing, 2, 100, F, 5);
        assert_eq!(began(&mut pairing, 2, 100, F), Some(5));
        assert_eq!(
            began(&mut pairing, 1, 100, G),
            None,
            "another function at the same depth"
        );
        pairing.goroutine_exit(of_one(1));
        assert_eq!(pairing.open_calls(), 0);
        assert_eq!(
            began(&mut pairing, 3, 100, F),
            None,
            "a call that began before the trace"
        );
    }

    #[test]
    fn processes_are_kept_apart() {
        let mut pairing = Pairing::default();
        call(&mut pairing, 1, 100, F, 1);
        let child = Strand {
            process: 2,
            goroutine: 1,
        };
        assert_eq!(pairing.ret(child, 100, F), None);
        assert_eq!(began(&mut pairing, 1, 100, F), Some(1));
    }
}
