//! A record as a memory: the variables it captured at their addresses, and what was copied from behind them.

use std::borrow::Cow;

use smallvec::SmallVec;
use spelunk_bpf::{Plan, RecordView, RootError, Status};
use spelunk_dwarf::{Binary, DwarfReg, FileAddr, LoadBias, ProcAddr};

use super::capture::{Captured, Home, Source};
use crate::inspect::Registers;
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

/// What can be read beyond a record, while the thread that it is of is stopped.
#[derive(Clone, Copy)]
pub(crate) struct Live<'a> {
    /// The program's memory.
    pub(crate) memory: &'a dyn Memory,
    /// The thread's registers.
    pub(crate) registers: &'a Registers,
}

/// Most records hold a few pieces; they take no memory of their own.
type Few<T> = SmallVec<[T; 6]>;

/// What a record holds.
pub(crate) struct RecordMemory<'r> {
    binary: &'r Binary,
    live: Option<Live<'r>>,
    bias: LoadBias,
    /// What the variables hold, which comes first: a register is newer than the memory it will be spilled to.
    variables: Few<Range<'r>>,
    /// What of the variables is known to be nowhere: whatever lies in memory there is not it.
    missing: SmallVec<[Gap; 2]>,
    chunks: Few<Range<'r>>,
    gaps: SmallVec<[Gap; 2]>,
}

impl<'r> RecordMemory<'r> {
    /// Reads a record that was made by `plan` at the site `site_addr`. The chunks are in place; variables are added by [`RecordMemory::variable`].
    ///
    /// With `live`, what the record does not hold is read from the program.
    pub(crate) fn new(
        binary: &'r Binary,
        site_addr: FileAddr,
        record: &RecordView<'r>,
        live: Option<Live<'r>>,
    ) -> RecordMemory<'r> {
        let bias = LoadBias::between(site_addr, ProcAddr(record.ip()));
        let mut memory = RecordMemory {
            binary,
            live,
            bias,
            variables: SmallVec::new(),
            missing: SmallVec::new(),
            chunks: SmallVec::new(),
            gaps: SmallVec::new(),
        };
        for chunk in record.chunks() {
            if !chunk.bytes.is_empty() && chunk.status != Status::Changed {
                memory.chunks.push(Range {
                    start: chunk.addr,
                    bytes: Cow::Borrowed(chunk.bytes),
                });
            }
            let len = u64::from(chunk.elem_size.max(1)) * u64::from(chunk.wanted.max(1));
            let addr = ProcAddr(chunk.addr);
            let why = match chunk.status {
                Status::Fault => ReadError::Fault(addr),
                Status::NoRoom => ReadError::NoRoom(addr),
                Status::Changed => ReadError::Changing(addr),
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

    /// Makes bytes known that the record has elsewhere than in its roots and chunks.
    pub(crate) fn know(&mut self, addr: u64, bytes: &[u8]) {
        self.chunks.push(Range {
            start: addr,
            bytes: Cow::Owned(bytes.to_vec()),
        });
    }

    /// Whether what the record does not hold is read from the program.
    pub(crate) fn is_live(&self) -> bool {
        self.live.is_some()
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
                        self.variables.push(Range {
                            start: at,
                            bytes: Cow::Borrowed(bytes.get(..len).unwrap_or(bytes)),
                        });
                    }
                    Err(RootError::Fault) => self.missing.push(missing(ReadError::Fault(ProcAddr(at)))),
                    Err(_) => self.missing.push(missing(ReadError::NotCaptured(ProcAddr(at)))),
                },
                Source::Constant(bytes) => self.variables.push(Range {
                    start: at,
                    bytes: Cow::Owned(bytes.clone()),
                }),
                Source::Missing(why) => match self.in_vector_register(why, part.size) {
                    Some(bytes) => self.variables.push(Range {
                        start: at,
                        bytes: Cow::Owned(bytes),
                    }),
                    None => self.missing.push(missing(why.clone())),
                },
            }
        }
        ProcAddr(start)
    }

    /// What is missing because it is in a register that the kernel does not show a probe: a stopped thread shows it.
    fn in_vector_register(&self, why: &ReadError, size: u64) -> Option<Vec<u8>> {
        let ReadError::InRegister(name) = why else { return None };
        // Go's assembler calls them X0 to X15; DWARF numbers them from 17 on.
        let number: u16 = name.strip_prefix('X')?.parse().ok()?;
        let register = DwarfReg(number.checked_add(17)?);
        let bytes = self.live?.registers.vector(register)?;
        bytes.get(..usize::try_from(size).ok()?).map(<[u8]>::to_vec)
    }

    /// The bytes from `addr` on, as far as one piece of knowledge goes.
    fn run(&self, addr: u64, wanted: usize) -> Result<&[u8], ReadError> {
        if let Some(bytes) = known(&self.variables, addr) {
            return Ok(bytes);
        }
        if let Some(why) = unknown(&self.missing, addr) {
            return Err(why);
        }
        if let Some(bytes) = known(&self.chunks, addr) {
            return Ok(bytes);
        }
        // What the file holds and nothing can change need not be captured, and pages of it that nobody has touched could not be.
        let file = self.bias.to_file(ProcAddr(addr));
        if let Some(bytes) = self.binary.read_only(file, wanted) {
            return Ok(bytes);
        }
        Err(unknown(&self.gaps, addr).unwrap_or(ReadError::NotCaptured(ProcAddr(addr))))
    }
}

/// The bytes from `addr` on, as far as a range goes that has it.
fn known<'m>(ranges: &'m [Range<'_>], addr: u64) -> Option<&'m [u8]> {
    ranges.iter().find_map(|range| {
        let offset = addr.checked_sub(range.start)?;
        range.bytes.get(offset as usize..).filter(|bytes| !bytes.is_empty())
    })
}

/// Why there is nothing at `addr`.
fn unknown(gaps: &[Gap], addr: u64) -> Option<ReadError> {
    let inside = |gap: &&Gap| addr.checked_sub(gap.start).is_some_and(|offset| offset < gap.len);
    gaps.iter().find(inside).map(|gap| gap.why.clone())
}

impl Memory for RecordMemory<'_> {
    fn was_moving(&self) -> bool {
        true
    }

    fn read(&self, addr: ProcAddr, buf: &mut [u8]) -> Result<(), ReadError> {
        let mut done = 0;
        while done < buf.len() {
            let at = addr.0.checked_add(done as u64).ok_or(ReadError::Fault(addr))?;
            let rest = buf.get_mut(done..).unwrap_or_default();
            let run = match (self.run(at, rest.len()), self.live) {
                (Err(ReadError::NotCaptured(_)), Some(live)) => {
                    // Up to where the record knows better again.
                    let known = self.variables.iter().chain(&self.chunks).map(|range| range.start);
                    let unread = self.missing.iter().map(|gap| gap.start);
                    let until = known.chain(unread).filter(|start| *start > at).min();
                    let len = until.map_or(rest.len(), |until| rest.len().min((until - at) as usize));
                    live.memory
                        .read(ProcAddr(at), rest.get_mut(..len).unwrap_or_default())?;
                    done += len;
                    continue;
                }
                (run, _) => run?,
            };
            let len = run.len().min(rest.len());
            if len == 0 {
                return Err(ReadError::NotCaptured(ProcAddr(at)));
            }
            let (to, from) = (rest.get_mut(..len), run.get(..len));
            if let Some((to, from)) = to.zip(from) {
                to.copy_from_slice(from);
            }
            done += len;
        }
        Ok(())
    }
}
