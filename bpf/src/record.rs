//! What comes out of the kernel: one record for each hit.
//!
//! A record is a fixed header, the root area, and chunks. Everything is little-endian and at
//! multiples of 8. Nothing here trusts the bytes: any of them may be damaged or hostile, and a
//! view over them answers with less, never with a panic.

use crate::plan::{Plan, pad8};
use crate::probeset::{PlanId, SiteId};

/// Size of a record's header in bytes; the root area follows it.
pub const HEADER_SIZE: usize = 104;

/// Size of a chunk's header in bytes; its bytes follow it.
pub const CHUNK_HEADER_SIZE: usize = 32;

/// Offsets of the fields of a record's header.
pub(crate) mod header {
    /// u32: bytes of the record that are in use. The programs' cursor.
    pub(crate) const USED: i16 = 0;
    /// u32: site.
    pub(crate) const SITE: i16 = 4;
    /// u32: plan.
    pub(crate) const PLAN: i16 = 8;
    /// u32: flags.
    pub(crate) const FLAGS: i16 = 12;
    /// u64: nanoseconds, `CLOCK_MONOTONIC`.
    pub(crate) const TIME: i16 = 16;
    /// u32 thread, u32 process: as the pid namespace of the process that loaded the program has them.
    pub(crate) const THREAD: i16 = 24;
    pub(crate) const PROCESS: i16 = 28;
    /// i64: goroutine.
    pub(crate) const GOROUTINE: i16 = 32;
    /// u64: `g.stack.hi`.
    pub(crate) const STACK_HI: i16 = 40;
    /// u64: RSP.
    pub(crate) const SP: i16 = 48;
    /// u64: RIP.
    pub(crate) const IP: i16 = 56;
    /// Two u64: one bit for each root that could not be read.
    pub(crate) const FAULTS: i16 = 64;
    /// u32: offset of the first chunk.
    pub(crate) const CHUNKS_AT: i16 = 80;
    /// u32: the process as its own pid namespace has it, or 0.
    pub(crate) const OWN_PROCESS: i16 = 84;
    /// u64: address of the `runtime.g`.
    pub(crate) const G: i16 = 88;
    /// u64: load bias, where the program needed it.
    pub(crate) const BIAS: i16 = 96;
}

/// Offsets of the fields of a chunk's header.
pub(crate) mod chunk {
    /// u64: where the bytes come from.
    pub(crate) const ADDR: i16 = 0;
    /// u32: how many bytes follow.
    pub(crate) const LEN: i16 = 8;
    /// u32: how many elements there really are.
    pub(crate) const WANTED: i16 = 12;
    /// u32: how many elements are here.
    pub(crate) const COUNT: i16 = 16;
    /// u32: layout or 0.
    pub(crate) const LAYOUT: i16 = 20;
    /// u8 status, u8 kind, u16 follow: written as one word.
    pub(crate) const STATUS: i16 = 24;
    pub(crate) const KIND: i16 = 25;
    pub(crate) const FOLLOW: i16 = 26;
    /// u32: bytes of one element.
    pub(crate) const ELEM_SIZE: i16 = 28;
}

/// What is peculiar about a record: the bits of [`RecordView::flags`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Flags(pub u32);

impl Flags {
    /// The hit was on a system or signal stack; the goroutine is the one the thread runs for.
    pub const SYSTEM_STACK: u32 = 1;
    /// The goroutine could not be read, or there is none.
    pub const NO_GOROUTINE: u32 = 2;
    /// Something did not fit in the record.
    pub const NO_ROOM: u32 = 4;
    /// The chase used up its steps before it was done.
    pub const CHASE_CUT: u32 = 8;
    /// The process should have been stopped, and the kernel refused to raise the signal: it is about to end.
    pub const NOT_STOPPED: u32 = 16;
    /// The condition of the plan's gate had no value here: memory could not be read, an index was out of range, something was divided by zero. The hit
    /// passed without being counted by the gate's hit condition.
    pub const CONDITION_UNKNOWN: u32 = 32;
    /// The gate's hit condition counts each goroutine for itself, and this hit could not be counted so: there is no goroutine, or the table of goroutines
    /// is full ([`crate::Options::max_goroutine_hits`]). The hit passed.
    pub const HITS_UNKNOWN: u32 = 64;
    /// Something that was to be copied could not be read: a root, or what a chunk was to hold.
    pub const FAULT: u32 = 128;

    /// Whether all of `bits` are set.
    pub fn has(self, bits: u32) -> bool {
        self.0 & bits == bits
    }
}

/// How the copying of a chunk went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Status {
    /// All of it is here.
    Captured = 0,
    /// The memory could not be read: no bytes. A page that nobody touched yet looks like this too.
    Fault = 1,
    /// The record had no room for it: no bytes.
    NoRoom = 2,
    /// The first part is here; the chunk's `wanted` or `elem_size` says how much there is.
    Truncated = 3,
    /// An index outside of the length, or a negative length: no bytes.
    OutOfRange = 4,
    /// An interface's concrete type is not in the table: its first bytes, at most 64.
    UnknownType = 5,
    /// It was read again when all was captured, and was not the same any more. The bytes are those that were read first.
    Changed = 6,
}

/// What a chunk was copied for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ChunkKind {
    /// Behind a pointer.
    Pointer = 0,
    /// A string's bytes.
    String = 1,
    /// A slice's elements.
    Slice = 2,
    /// An interface's value.
    Interface = 3,
    /// One element.
    Element = 4,
}

/// Which part of a plan a chunk belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A follow of the plan, numbered depth first: a follow, then those in its `then`, then the next.
    Follow(u16),
    /// The chase.
    Chase,
}

/// The follow number that stands for the chase.
pub(crate) const CHASE_FOLLOW: u16 = 0xffff;

/// Bytes that are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a record of {size} bytes says that {used} are used and that chunks start at {chunks_at}")]
pub struct DamagedRecord {
    /// Bytes there are.
    pub size: usize,
    /// Bytes it says it uses.
    pub used: usize,
    /// Where it says its chunks start.
    pub chunks_at: usize,
}

/// Why a root is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Its memory could not be read.
    #[error("unreadable memory")]
    Fault,
    /// The plan has no such root, or the record does not belong to the plan.
    #[error("the record holds no such root")]
    Absent,
}

/// One record, checked.
#[derive(Clone, Copy, Debug)]
pub struct RecordView<'a> {
    /// Exactly the used bytes.
    bytes: &'a [u8],
    chunks_at: usize,
}

/// Reads `N` bytes, or zeros past the end, which [`RecordView::new`] has ruled out for headers.
fn field<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    at.checked_add(N)
        .and_then(|end| bytes.get(at..end))
        .and_then(|slice| slice.try_into().ok())
        .unwrap_or([0; N])
}

fn u32_at(bytes: &[u8], at: i16) -> u32 {
    u32::from_le_bytes(field(bytes, at.unsigned_abs().into()))
}

fn u64_at(bytes: &[u8], at: i16) -> u64 {
    u64::from_le_bytes(field(bytes, at.unsigned_abs().into()))
}

impl<'a> RecordView<'a> {
    /// Looks at `bytes` as a record. Bytes beyond what the record uses are ignored.
    pub fn new(bytes: &'a [u8]) -> Result<RecordView<'a>, DamagedRecord> {
        let used = u32_at(bytes, header::USED) as usize;
        let chunks_at = u32_at(bytes, header::CHUNKS_AT) as usize;
        let damaged = DamagedRecord {
            size: bytes.len(),
            used,
            chunks_at,
        };
        let bytes = bytes.get(..used).ok_or(damaged)?;
        if chunks_at < HEADER_SIZE || chunks_at > used {
            return Err(damaged);
        }
        Ok(RecordView { bytes, chunks_at })
    }

    /// The used bytes of the record, header included.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The site that was hit.
    pub fn site(&self) -> SiteId {
        SiteId(u32_at(self.bytes, header::SITE))
    }

    /// The plan by which the record was made.
    pub fn plan(&self) -> PlanId {
        PlanId(u32_at(self.bytes, header::PLAN))
    }

    /// What is peculiar about the record.
    pub fn flags(&self) -> Flags {
        Flags(u32_at(self.bytes, header::FLAGS))
    }

    /// When the site was hit, in nanoseconds of `CLOCK_MONOTONIC`.
    pub fn time(&self) -> u64 {
        u64_at(self.bytes, header::TIME)
    }

    /// The thread, as the pid namespace of this process numbers it; 0 where it does not see it.
    pub fn thread(&self) -> u32 {
        u32_at(self.bytes, header::THREAD)
    }

    /// The process, as the pid namespace of this process numbers it; 0 where it does not see it.
    pub fn process(&self) -> u32 {
        u32_at(self.bytes, header::PROCESS)
    }

    /// The process, as its own pid namespace numbers it, in records of probe sets that [follow](crate::ProbeSet::follow) processes.
    pub fn own_process(&self) -> Option<u32> {
        Some(u32_at(self.bytes, header::OWN_PROCESS)).filter(|&number| number != 0)
    }

    /// `g.goid` of the goroutine; 0 when there is none, see [`Flags::NO_GOROUTINE`].
    pub fn goroutine(&self) -> i64 {
        u64_at(self.bytes, header::GOROUTINE).cast_signed()
    }

    /// `g.stack.hi` of the goroutine: the stack's upper end, or 0. A stack pointer's distance from it
    /// survives the moving of the stack.
    pub fn stack_hi(&self) -> u64 {
        u64_at(self.bytes, header::STACK_HI)
    }

    /// Address of the goroutine's `runtime.g`, or 0.
    pub fn g(&self) -> u64 {
        u64_at(self.bytes, header::G)
    }

    /// RSP at the site.
    pub fn sp(&self) -> u64 {
        u64_at(self.bytes, header::SP)
    }

    /// RIP at the site: the address of the probed instruction.
    pub fn ip(&self) -> u64 {
        u64_at(self.bytes, header::IP)
    }

    /// The bytes of root `index` of the plan the record was made by.
    pub fn root(&self, plan: &Plan, index: usize) -> Result<&'a [u8], RootError> {
        let root = plan.roots.get(index).ok_or(RootError::Absent)?;
        let word = match index {
            0..64 => u64_at(self.bytes, header::FAULTS),
            64..128 => u64_at(self.bytes, header::FAULTS + 8),
            _ => return Err(RootError::Absent),
        };
        if word >> (index % 64) & 1 == 1 {
            return Err(RootError::Fault);
        }
        let start = HEADER_SIZE + plan.root_offset(index) as usize;
        let end = start + root.captured_size() as usize;
        if end > self.chunks_at {
            return Err(RootError::Absent);
        }
        self.bytes.get(start..end).ok_or(RootError::Absent)
    }

    /// The chunks, in the order in which they were captured.
    pub fn chunks(&self) -> Chunks<'a> {
        Chunks {
            rest: self.bytes.get(self.chunks_at..).unwrap_or(&[]),
        }
    }
}

/// One stretch of memory that was copied, or the reason why it was not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunk<'a> {
    /// Where the bytes come from in the target.
    pub addr: u64,
    /// The bytes. Empty when the status says so.
    pub bytes: &'a [u8],
    /// How many elements the value really has (a string: bytes), [`u32::MAX`] for that many or more.
    pub wanted: u32,
    /// How many elements are here.
    pub count: u32,
    /// Bytes of one element.
    pub elem_size: u32,
    /// Number of the layout of its elements, or 0.
    pub layout: u32,
    /// How the copying went.
    pub status: Status,
    /// What it was copied for.
    pub kind: ChunkKind,
    /// What it was copied by.
    pub origin: Origin,
}

/// Iterates over the chunks of a record. It ends at the first that is damaged.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Chunk<'a>;

    fn next(&mut self) -> Option<Chunk<'a>> {
        let (head, tail) = self.rest.split_at_checked(CHUNK_HEADER_SIZE)?;
        // Whatever is wrong with this chunk, nothing after it can be found.
        self.rest = &[];
        let len = u32_at(head, chunk::LEN);
        let bytes = tail.get(..len as usize)?;
        let follow = u16::from_le_bytes(field(head, chunk::FOLLOW.unsigned_abs().into()));
        let chunk = Chunk {
            addr: u64_at(head, chunk::ADDR),
            bytes,
            wanted: u32_at(head, chunk::WANTED),
            count: u32_at(head, chunk::COUNT),
            elem_size: u32_at(head, chunk::ELEM_SIZE),
            layout: u32_at(head, chunk::LAYOUT),
            status: Status::from_number(head[chunk::STATUS.unsigned_abs() as usize])?,
            kind: ChunkKind::from_number(head[chunk::KIND.unsigned_abs() as usize])?,
            origin: if follow == CHASE_FOLLOW {
                Origin::Chase
            } else {
                Origin::Follow(follow)
            },
        };
        self.rest = tail.get(pad8(len) as usize..).unwrap_or(&[]);
        Some(chunk)
    }
}

impl Status {
    fn from_number(number: u8) -> Option<Status> {
        Some(match number {
            0 => Status::Captured,
            1 => Status::Fault,
            2 => Status::NoRoom,
            3 => Status::Truncated,
            4 => Status::OutOfRange,
            5 => Status::UnknownType,
            6 => Status::Changed,
            _ => return None,
        })
    }
}

impl ChunkKind {
    fn from_number(number: u8) -> Option<ChunkKind> {
        Some(match number {
            0 => ChunkKind::Pointer,
            1 => ChunkKind::String,
            2 => ChunkKind::Slice,
            3 => ChunkKind::Interface,
            4 => ChunkKind::Element,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{GoroutineSource, Reg, Root, RootSource, RuntimeOffsets};
    use proptest::prelude::*;

    fn plan() -> Plan {
        let root = |size| Root {
            source: RootSource::Stack { offset: 0 },
            size,
        };
        let mut roots = vec![root(8), root(3), root(u32::MAX), root(100)];
        roots.push(Root {
            source: RootSource::Register(Reg::Rax),
            size: 8,
        });
        Plan {
            roots,
            follows: Vec::new(),
            goroutine: GoroutineSource::None,
            runtime: RuntimeOffsets::default(),
            max_record: 256,
            gate: crate::gate::Gate::default(),
            stops: false,
        }
    }

    fn look_at_everything(bytes: &[u8]) {
        let Ok(view) = RecordView::new(bytes) else {
            return;
        };
        let _ = (view.site(), view.plan(), view.flags(), view.time());
        let _ = (view.thread(), view.process(), view.goroutine(), view.g());
        let _ = (view.stack_hi(), view.sp(), view.ip());
        let plan = plan();
        for index in 0..200 {
            if let Ok(root) = view.root(&plan, index) {
                assert!(root.len() <= bytes.len());
            }
        }
        let room = bytes.len() / CHUNK_HEADER_SIZE;
        assert!(view.chunks().count() <= room);
        assert!(view.chunks().all(|chunk| chunk.bytes.len() <= bytes.len()));
    }

    proptest! {
        #[test]
        fn no_bytes_make_a_view_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            look_at_everything(&bytes);
        }

        #[test]
        fn no_bytes_behind_a_good_header_make_a_view_panic(
            mut bytes in prop::collection::vec(any::<u8>(), HEADER_SIZE..600),
            chunks_at in HEADER_SIZE..700,
            lens in prop::collection::vec(prop_oneof![0u32..64, any::<u32>()], 8),
        ) {
            let used = bytes.len() as u32;
            bytes[..4].copy_from_slice(&used.to_le_bytes());
            bytes[80..84].copy_from_slice(&(chunks_at as u32).to_le_bytes());
            // Chunks with likely statuses and kinds, and lengths that are now and then right.
            for (start, len) in (chunks_at..).step_by(64).zip(lens) {
                if let Some(head) = bytes.get_mut(start..start + CHUNK_HEADER_SIZE) {
                    head[8..12].copy_from_slice(&len.to_le_bytes());
                    head[24] %= 7;
                    head[25] %= 6;
                }
            }
            look_at_everything(&bytes);
        }
    }

    #[test]
    fn a_record_that_claims_more_than_there_is_is_damaged() {
        let mut bytes = vec![0; HEADER_SIZE];
        assert!(RecordView::new(&bytes).is_err(), "nothing used");
        bytes[0] = HEADER_SIZE as u8;
        assert!(RecordView::new(&bytes).is_err(), "chunks within the header");
        bytes[80] = HEADER_SIZE as u8;
        assert!(RecordView::new(&bytes).is_ok());
        bytes[0] += 1;
        assert!(RecordView::new(&bytes).is_err(), "more used than there is");
        assert!(RecordView::new(&[]).is_err());
    }
}
