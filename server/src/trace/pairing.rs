//! Brings calls and returns together: by goroutine, and by how deep in the goroutine's stack the frame lies.
//!
//! The depth is measured from the upper end of the stack, so it survives the moving of the stack. A goroutine's frames lie one in the other: a call at some depth ends all
//! that were deeper, a return at some depth too, whether their own returns were seen or not. That is what a panic does that is recovered further out.

use std::collections::HashMap;

/// A goroutine's open calls are forgotten beyond this number of goroutines: ends of goroutines are seen, but their records may be lost.
const MAX_GOROUTINES: usize = 100_000;

/// A call that has not returned yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OpenCall {
    depth: u64,
    function: u64,
    time: u64,
    dictionary: u64,
}

/// What is known of a call when it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Returned {
    /// How long it took, in nanoseconds.
    pub(crate) took: u64,
    /// The address of the dictionary it was passed, 0 for none.
    pub(crate) dictionary: u64,
}

/// The open calls of a process.
#[derive(Debug, Default)]
pub(crate) struct Pairing {
    goroutines: HashMap<i64, Vec<OpenCall>>,
}

impl Pairing {
    /// Notes a call of `function` (any number that tells functions apart) at `time`, in nanoseconds, with the address of its dictionary, if it has one.
    pub(crate) fn call(&mut self, goroutine: i64, depth: u64, function: u64, time: u64, dictionary: u64) {
        if self.goroutines.len() >= MAX_GOROUTINES && !self.goroutines.contains_key(&goroutine) {
            self.goroutines.clear();
        }
        let open = self.goroutines.entry(goroutine).or_default();
        while open.last().is_some_and(|call| call.depth >= depth) {
            open.pop();
        }
        open.push(OpenCall { depth, function, time, dictionary });
    }

    /// Notes a return, and answers what is known of the call, if its beginning was seen.
    pub(crate) fn ret(&mut self, goroutine: i64, depth: u64, function: u64, time: u64) -> Option<Returned> {
        let open = self.goroutines.get_mut(&goroutine)?;
        while open.last().is_some_and(|call| call.depth > depth) {
            open.pop();
        }
        let call = *open.last()?;
        if call.depth != depth || call.function != function {
            return None;
        }
        open.pop();
        if open.is_empty() {
            self.goroutines.remove(&goroutine);
        }
        Some(Returned { took: time.checked_sub(call.time)?, dictionary: call.dictionary })
    }

    /// Notes that a goroutine has ended.
    pub(crate) fn goroutine_exit(&mut self, goroutine: i64) {
        self.goroutines.remove(&goroutine);
    }

    /// Forgets what may have been lost in between: after lost records an old call must not be taken for the beginning of a later return.
    pub(crate) fn forget(&mut self) {
        self.goroutines.clear();
    }

    /// How many calls are open.
    pub(crate) fn open_calls(&self) -> usize {
        self.goroutines.values().map(Vec::len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::{Pairing, Returned};

    fn took(returned: Option<Returned>) -> Option<u64> {
        returned.map(|returned| returned.took)
    }

    #[test]
    fn recursion_pairs_from_the_inside() {
        let mut pairing = Pairing::default();
        for (depth, time) in [(100, 1), (200, 2), (300, 3)] {
            pairing.call(7, depth, 1, time, 0);
        }
        assert_eq!(took(pairing.ret(7, 300, 1, 10)), Some(7));
        assert_eq!(took(pairing.ret(7, 200, 1, 11)), Some(9));
        assert_eq!(took(pairing.ret(7, 100, 1, 12)), Some(11));
        assert_eq!(pairing.open_calls(), 0);
    }

    #[test]
    fn a_recovered_panic_ends_the_calls_inside() {
        let mut pairing = Pairing::default();
        pairing.call(1, 100, 1, 1, 0);
        pairing.call(1, 200, 2, 2, 0);
        pairing.call(1, 300, 2, 3, 0);
        assert_eq!(took(pairing.ret(1, 100, 1, 9)), Some(8));
        assert_eq!(pairing.open_calls(), 0);
        // The same depth again, after a panic that was recovered between them.
        pairing.call(1, 200, 2, 20, 0);
        pairing.call(1, 200, 2, 30, 0);
        assert_eq!(took(pairing.ret(1, 200, 2, 35)), Some(5));
    }

    #[test]
    fn goroutines_and_functions_are_kept_apart() {
        let mut pairing = Pairing::default();
        pairing.call(1, 100, 1, 1, 0);
        pairing.call(2, 100, 1, 5, 0);
        assert_eq!(took(pairing.ret(2, 100, 1, 6)), Some(1));
        assert_eq!(took(pairing.ret(1, 100, 2, 6)), None, "another function at the same depth");
        pairing.goroutine_exit(1);
        assert_eq!(pairing.open_calls(), 0);
        assert_eq!(took(pairing.ret(3, 100, 1, 6)), None, "a call that began before the trace");
    }
}
