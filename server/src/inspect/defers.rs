//! The deferred calls of a goroutine: `g._defer`, a list of `runtime._defer` (`runtime/runtime2.go`).

use spelunk_dwarf::{Binary, FileAddr, LoadBias, ProcAddr};

use crate::value::{Memory, ReadError};

/// More are not looked at: the list comes from the target.
const MAX_DEFERS: usize = 10_000;

/// Where the runtime keeps what is needed here; from the binary's own debug information.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DeferLayout {
    /// `g._defer`
    first: u64,
    /// `_defer.fn`, a func value.
    function: u64,
    /// `_defer.sp`
    sp: u64,
    /// `_defer.pc`, behind the `defer` statement.
    pc: u64,
    /// `_defer.link`
    link: u64,
    /// `_defer.head`, since Go 1.23: for the frame of a function with range-over-func loops, a pointer to the list of those deferred in their bodies.
    head: Option<u64>,
}

impl DeferLayout {
    /// `None` when the runtime is not laid out as any known one.
    pub(crate) fn of(binary: &Binary) -> Option<DeferLayout> {
        let g = binary.type_named("runtime.g")?;
        let record = binary.type_named("runtime._defer")?;
        let offset = |path: &str| binary.field_offset(record, path).ok();
        Some(DeferLayout {
            first: binary.field_offset(g, "_defer").ok()?,
            function: offset("fn")?,
            sp: offset("sp")?,
            pc: offset("pc")?,
            link: offset("link")?,
            head: offset("head"),
        })
    }
}

/// A deferred call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Deferred {
    /// The function, or the compiler's wrapper around it.
    pub(crate) function: FileAddr,
    /// The stack pointer of the frame that deferred it.
    pub(crate) sp: u64,
}

/// Reads a goroutine's deferred calls, the latest first. What cannot be read ends the list.
pub(crate) fn deferred_calls(
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

/// A record of the list: one deferred call, or those that the bodies of loops over functions have deferred.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeferRecord {
    /// The stack pointer of the frame that deferred them.
    pub(crate) sp: u64,
    /// The calls, the next one first.
    pub(crate) calls: Vec<DeferredCall>,
    /// Why the record could not be read.
    pub(crate) unreadable: Option<String>,
}

/// One deferred call as the runtime keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeferredCall {
    /// The closure: its first word is the address of the code. 0 where there is none.
    pub(crate) closure: u64,
    /// The address behind the `defer` statement's call of the runtime.
    pub(crate) statement: ProcAddr,
    /// The stack pointer of the frame that deferred it.
    pub(crate) sp: u64,
}

/// A frame with loops over functions has no more deferred calls than these shown, as with Delve (`maxRangeFuncDefers`).
const MAX_WITHIN: usize = 10;

/// Reads the list of a goroutine's deferred calls, record by record, the latest first.
pub(crate) fn defer_records(memory: &dyn Memory, layout: DeferLayout, g: ProcAddr) -> Vec<DeferRecord> {
    let word = |addr: u64| memory.read_uint(ProcAddr(addr), 8);
    let call = |record: u64| -> Result<DeferredCall, ReadError> {
        Ok(DeferredCall {
            closure: word(record.wrapping_add(layout.function))?,
            statement: ProcAddr(word(record.wrapping_add(layout.pc))?),
            sp: word(record.wrapping_add(layout.sp))?,
        })
    };
    let within = |record: u64| -> Result<Vec<DeferredCall>, ReadError> {
        let mut calls = Vec::new();
        let Some(head) = layout.head else { return Ok(calls) };
        let list = word(record.wrapping_add(head))?;
        let mut next = if list == 0 { 0 } else { word(list)? };
        while next != 0 && calls.len() <= MAX_WITHIN {
            calls.push(call(next)?);
            next = word(next.wrapping_add(layout.link))?;
        }
        Ok(calls)
    };
    let mut records: Vec<DeferRecord> = Vec::new();
    let broken = |sp: u64, why: String| DeferRecord {
        sp,
        calls: Vec::new(),
        unreadable: Some(why),
    };
    let mut next = word(g.0.wrapping_add(layout.first)).unwrap_or(0);
    while next != 0 && records.len() < MAX_DEFERS {
        let last = records.last().map_or(0, |last| last.sp);
        let read = call(next).and_then(|first| {
            let within = within(next)?;
            Ok((first, within, word(next.wrapping_add(layout.link))?))
        });
        match read {
            Ok((first, _, _)) if first.sp < last => {
                records.push(broken(last, "corrupted defer list: SP decreased".to_owned()));
                break;
            }
            Ok((first, within, link)) => {
                let sp = first.sp;
                let calls = if within.is_empty() { vec![first] } else { within };
                records.push(DeferRecord {
                    sp,
                    calls,
                    unreadable: None,
                });
                next = link;
            }
            Err(why) => {
                records.push(broken(last, why.to_string()));
                break;
            }
        }
    }
    records
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

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
        pc: 0x10,
        link: 0x20,
        head: Some(0x28),
    };

    fn record(words: &mut HashMap<u64, u64>, at: u64, function: u64, sp: u64, link: u64, head: u64) {
        words.extend([(at + 0x18, at + 0x100), (at + 0x100, function)]);
        words.extend([(at + 0x8, sp), (at + 0x10, 0), (at + 0x20, link), (at + 0x28, head)]);
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
    fn the_records_have_what_loops_deferred() {
        let mut words = HashMap::from([(0x1020, 0x2000)]);
        record(&mut words, 0x2000, 0x40_1000, 0x100, 0x3000, 0);
        record(&mut words, 0x3000, 0x40_2000, 0x200, 0x6000, 0x4000);
        words.insert(0x4000, 0x5000);
        record(&mut words, 0x5000, 0x40_3000, 0x200, 0, 0);
        record(&mut words, 0x6000, 0x40_4000, 0x80, 0, 0);
        let records = defer_records(&Words(words), LAYOUT, ProcAddr(0x1000));
        let closures: Vec<Vec<u64>> = records
            .iter()
            .map(|record| record.calls.iter().map(|call| call.closure).collect())
            .collect();
        assert_eq!(closures, [vec![0x2100], vec![0x5100], vec![]]);
        let why = records.last().and_then(|record| record.unreadable.as_deref());
        assert_eq!(why, Some("corrupted defer list: SP decreased"));
    }

    #[test]
    fn a_list_that_runs_in_circles_ends() {
        let mut words = HashMap::from([(0x1020, 0x2000)]);
        record(&mut words, 0x2000, 0x40_1000, 0x100, 0x2000, 0);
        let records = defer_records(&Words(words.clone()), LAYOUT, ProcAddr(0x1000));
        assert_eq!(records.len(), MAX_DEFERS);
        let calls = deferred_calls(&Words(words), LAYOUT, LoadBias::default(), ProcAddr(0x1000), usize::MAX);
        assert_eq!(calls.len(), MAX_DEFERS);
    }
}
