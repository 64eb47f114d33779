//! A record as a memory: the variables it captured at their addresses, and what was copied from behind them.

use std::borrow::Cow;

use spelunk_bpf::{Plan, RecordView, RootError, Status};
use spelunk_dwarf::{Binary, FileAddr, LoadBias, ProcAddr};

use super::capture::{Captured, Home, Source};
use crate::value::{Memory, ReadError, made_up_address};

/// Bytes that are known, from an address on.
struct Range<'r> {
    start: u64,
    bytes: Cow<'r, [u8]>,
}

/// Addresses whose bytes are known to be missing.
struct Gap {
    start: u64,
    len: u64,
    why: ReadError,
}

/// What a record holds.
pub(crate) struct RecordMemory<'r> {
    binary: &'r Binary,
    bias: LoadBias,
    ranges: Vec<Range<'r>>,
    gaps: Vec<Gap>,
}

impl<'r> RecordMemory<'r> {
    /// Reads a record that was made by `plan` at the site `site_addr`. The chunks are in place; variables are added by [`RecordMemory::variable`].
    pub(crate) fn new(binary: &'r Binary, site_addr: FileAddr, record: &RecordView<'r>) -> RecordMemory<'r> {
        let bias = LoadBias::between(site_addr, ProcAddr(record.ip()));
        let mut memory = RecordMemory {
            binary,
            bias,
            ranges: Vec::new(),
            gaps: Vec::new(),
        };
        for chunk in record.chunks() {
            if !chunk.bytes.is_empty() {
                memory.ranges.push(Range {
                    start: chunk.addr,
                    bytes: Cow::Borrowed(chunk.bytes),
                });
            }
            let len = u64::from(chunk.elem_size.max(1)) * u64::from(chunk.wanted.max(1));
            let addr = ProcAddr(chunk.addr);
            let why = match chunk.status {
                Status::Fault => ReadError::Fault(addr),
                Status::NoRoom => ReadError::NoRoom(addr),
                _ => continue,
            };
            memory.gaps.push(Gap {
                start: chunk.addr,
                len,
                why,
            });
        }
        memory
    }

    /// Where the binary lies in the process.
    pub(crate) fn bias(&self) -> LoadBias {
        self.bias
    }

    /// Puts a variable in place and answers its address; `cfa` is the canonical frame address at the site and `number` tells variables of a record apart.
    pub(crate) fn variable(
        &mut self,
        captured: &Captured,
        plan: &Plan,
        record: &RecordView<'r>,
        cfa: ProcAddr,
        number: usize,
    ) -> ProcAddr {
        let start = match captured.home {
            Home::Cfa(offset) => cfa.0.wrapping_add_signed(offset),
            Home::Absolute(addr) => self.bias.to_proc(addr).0,
            Home::Nowhere => made_up_address(number).0,
        };
        for part in &captured.parts {
            let at = start.wrapping_add(part.offset);
            let missing = |why: ReadError| Gap {
                start: at,
                len: part.size,
                why,
            };
            match &part.source {
                Source::Root(root) => match record.root(plan, *root) {
                    Ok(bytes) => {
                        let len = bytes.len().min(part.size as usize);
                        self.ranges.insert(
                            0,
                            Range {
                                start: at,
                                bytes: Cow::Borrowed(bytes.get(..len).unwrap_or(bytes)),
                            },
                        );
                    }
                    Err(RootError::Fault) => self.gaps.insert(0, missing(ReadError::Fault(ProcAddr(at)))),
                    Err(_) => self.gaps.insert(0, missing(ReadError::NotCaptured(ProcAddr(at)))),
                },
                Source::Constant(bytes) => self.ranges.insert(
                    0,
                    Range {
                        start: at,
                        bytes: Cow::Owned(bytes.clone()),
                    },
                ),
                Source::Missing(why) => self.gaps.insert(0, missing(why.clone())),
            }
        }
        ProcAddr(start)
    }

    /// The bytes from `addr` on, as far as one piece of knowledge goes.
    fn run(&self, addr: u64, wanted: usize) -> Result<&[u8], ReadError> {
        let inside = |start: u64, len: u64| addr.checked_sub(start).filter(|offset| *offset < len);
        for range in &self.ranges {
            if let Some(offset) = inside(range.start, range.bytes.len() as u64) {
                return Ok(range.bytes.get(offset as usize..).unwrap_or_default());
            }
        }
        // What the file holds and nothing can change need not be captured, and pages of it that nobody has touched could not be.
        let file = self.bias.to_file(ProcAddr(addr));
        if let Some(bytes) = self.binary.read_only(file, wanted) {
            return Ok(bytes);
        }
        match self.gaps.iter().find(|gap| inside(gap.start, gap.len).is_some()) {
            Some(gap) => Err(gap.why.clone()),
            None => Err(ReadError::NotCaptured(ProcAddr(addr))),
        }
    }
}

impl Memory for RecordMemory<'_> {
    fn read(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let mut done = 0;
        while done < buf.len() {
            let at = addr.0.checked_add(done as u64).ok_or(ReadError::Fault(addr))?;
            let rest = buf.get_mut(done..).unwrap_or_default();
            let run = self.run(at, rest.len())?;
            let len = run.len().min(rest.len());
            if len == 0 {
                return Err(ReadError::NotCaptured(ProcAddr(at)));
            }
            for (to, from) in rest.iter_mut().zip(run) {
                *to = *from;
            }
            done += len;
        }
        Ok(())
    }
}
