//! The deferred calls of a goroutine: `g._defer`, a list of `runtime._defer` (`runtime/runtime2.go`).

use spelunk_dwarf::{Binary, FileAddr, LoadBias, ProcAddr};

use crate::value::Memory;

/// More are not looked at: the list comes from the target.
const MAX_DEFERS: usize = 10_000;

/// Where the runtime keeps what is needed here; from the binary's own debug information.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeferLayout {
    /// `g._defer`
    first: u64,
    /// `_defer.fn`, a func value.
    function: u64,
    /// `_defer.sp`
    sp: u64,
    /// `_defer.link`
    link: u64,
    /// `_defer.head`, since Go 1.23: for the frame of a function with range-over-func loops, a pointer to the list of those deferred in their bodies.
    head: Option<u64>,
}

impl DeferLayout {
    /// `None` when the runtime is not laid out as any known one.
    pub(super) fn of(binary: &Binary) -> Option<DeferLayout> {
        let g = binary.type_named("runtime.g")?;
        let record = binary.type_named("runtime._defer")?;
        let offset = |path: &str| binary.field_offset(record, path).ok();
        Some(DeferLayout {
            first: binary.field_offset(g, "_defer").ok()?,
            function: offset("fn")?,
            sp: offset("sp")?,
            link: offset("link")?,
            head: offset("head"),
        })
    }
}

/// A deferred call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deferred {
    /// The function, or the compiler's wrapper around it.
    pub(super) function: FileAddr,
    /// The stack pointer of the frame that deferred it.
    pub(super) sp: u64,
}

/// Reads a goroutine's deferred calls, the latest first. What cannot be read ends the list.
pub(super) fn deferred_calls(
    memory: &dyn Memory,
    layout: DeferLayout,
    bias: LoadBias,
    g: ProcAddr,
    most: usize,
) -> Vec<Deferred> {
    let word = |addr: u64| memory.read_uint(ProcAddr(addr), 8).ok();
    let mut calls: Vec<Deferred> = Vec::new();
    let mut next = word(g.0.wrapping_add(layout.first));
    while let Some(record) = next.filter(|record| *record != 0)
        && calls.len() < most.min(MAX_DEFERS)
    {
        // A frame with loops over functions has one record, which heads the list of those deferred in the loops' bodies.
        let pointer = |addr: u64| word(addr).filter(|target| *target != 0);
        let within = layout
            .head
            .and_then(|head| pointer(record.wrapping_add(head)))
            .and_then(pointer);
        let Some(sp) = word(record.wrapping_add(layout.sp)) else {
            break;
        };
        if calls.last().is_some_and(|last| sp < last.sp) {
            // The list grows upwards along the stack; this is no list any more.
            break;
        }
        let value = word(within.unwrap_or(record).wrapping_add(layout.function));
        let function = value.filter(|value| *value != 0).and_then(word);
        if let Some(function) = function {
            calls.push(Deferred {
                function: bias.to_file(ProcAddr(function)),
                sp,
            });
        }
        next = word(record.wrapping_add(layout.link));
    }
    calls
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::value::ReadError;

    struct Words(HashMap<u64, u64>);

    impl Memory for Words {
        fn read(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
            let word = self.0.get(&addr.0).ok_or(ReadError::Fault(addr))?;
            buf.copy_from_slice(&word.to_le_bytes()[..buf.len()]);
            Ok(())
        }
    }

    const LAYOUT: DeferLayout = DeferLayout {
        first: 0x20,
        function: 0x18,
        sp: 0x8,
        link: 0x20,
        head: Some(0x28),
    };

    fn record(words: &mut HashMap<u64, u64>, at: u64, function: u64, sp: u64, link: u64, head: u64) {
        words.extend([(at + 0x18, at + 0x100), (at + 0x100, function)]);
        words.extend([(at + 0x8, sp), (at + 0x20, link), (at + 0x28, head)]);
    }

    #[test]
    fn the_list_is_followed_to_its_end() {
        let mut words = HashMap::from([(0x1020, 0x2000)]);
        record(&mut words, 0x2000, 0x40_1000, 0x100, 0x3000, 0);
        record(&mut words, 0x3000, 0x40_2000, 0x200, 0, 0x4000);
        words.insert(0x4000, 0x5000);
        record(&mut words, 0x5000, 0x40_3000, 0x200, 0, 0);
        let calls = deferred_calls(&Words(words), LAYOUT, LoadBias::default(), ProcAddr(0x1000), 10);
        let expected = [(0x40_1000, 0x100), (0x40_3000, 0x200)];
        let expected = expected.map(|(function, sp)| Deferred {
            function: FileAddr(function),
            sp,
        });
        assert_eq!(calls, expected);
    }

    #[test]
    fn a_list_that_runs_in_circles_ends() {
        let mut words = HashMap::from([(0x1020, 0x2000)]);
        record(&mut words, 0x2000, 0x40_1000, 0x100, 0x2000, 0);
        let calls = deferred_calls(&Words(words), LAYOUT, LoadBias::default(), ProcAddr(0x1000), usize::MAX);
        assert_eq!(calls.len(), MAX_DEFERS);
    }
}
