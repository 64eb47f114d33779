//! Capture plans: what to copy at one site.
//!
//! A plan is pure data. Sites with equal plans share one generated program, so nothing in a plan
//! names a place in a binary, except the addresses of globals it asks for.

use crate::gate::{Gate, MAX_CONDITION_DEPTH, MAX_CONDITION_NODES};
use crate::layout::LayoutId;
use crate::record::{CHUNK_HEADER_SIZE, HEADER_SIZE};

/// Sizes a record can have in the ring, in bytes. The kernel wants a constant when room is
/// reserved, so a plan's record is rounded up to one of these.
pub const RECORD_CLASSES: [u32; 8] = [256, 512, 1024, 2048, 4096, 8192, 16384, 32768];

/// The most roots a plan can have: each has one bit in the record's fault mask.
pub const MAX_ROOTS: usize = 128;

/// The most follows a plan can have, nested ones counted.
pub const MAX_FOLLOWS: usize = 1024;

/// How deep follows can be nested.
pub const MAX_DEPTH: usize = 16;

/// What to copy at one site.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Values that lie in registers, on the stack or at fixed addresses: always copied.
    pub roots: Vec<Root>,
    /// What to copy from behind the roots.
    pub follows: Vec<Follow>,
    /// How to find the goroutine that is running.
    pub goroutine: GoroutineSource,
    /// Where the runtime keeps what is read of a goroutine.
    pub runtime: RuntimeOffsets,
    /// The room a record should have, in bytes, rounded up to one of [`RECORD_CLASSES`] (and down
    /// to the greatest of them).
    pub max_record: u32,
    /// What a hit must pass before anything is copied.
    pub gate: Gate,
    /// Whether a hit stops the process: SIGSTOP is raised for the thread that was hit, which stops all, and the consumer of [`crate::ProbeSet::stop_ring`], to
    /// which the record goes, is woken at once. The thread that was hit stops behind the probed instruction, so that one must not be a site which writes memory other than by a push; the record has the registers before it where the roots ask
    /// for them. Such a site does nothing until it is armed, see [`crate::ProbeSet::arm`].
    pub stops: bool,
}

/// Where `runtime.g` is found at the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GoroutineSource {
    /// In register R14, as `ABIInternal` code has it (Go's `src/cmd/compile/abi-internal.md`).
    R14,
    /// In thread-local storage.
    Tls {
        /// Relative to the thread's FS base, in bytes: -8 in a program without cgo.
        offset: i64,
    },
    /// Do not look: records carry no goroutine.
    None,
}

/// Offsets in bytes within `runtime.g` and `runtime.m`, which change between Go versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct RuntimeOffsets {
    /// `g.goid`.
    pub goid: u32,
    /// `g.stack.hi`.
    pub stack_hi: u32,
    /// `g.m`.
    pub m: u32,
    /// `m.curg`.
    pub curg: u32,
}

/// One value that is copied unconditionally.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Root {
    /// Where it lies.
    pub source: RootSource,
    /// How many bytes to copy. A register and the number of a hit give 8, whatever this says.
    pub size: u32,
}

/// Where a root lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RootSource {
    /// In a register.
    Register(Reg),
    /// In memory at the stack pointer plus an offset.
    Stack {
        /// In bytes, from RSP as it is at the site.
        offset: i64,
    },
    /// In memory at a register plus an offset.
    Memory {
        /// The register that holds the base.
        reg: Reg,
        /// In bytes.
        offset: i64,
    },
    /// At an address of the binary, such as a package variable.
    Absolute {
        /// Link-time address; the load bias is added in the kernel.
        addr: u64,
    },
    /// Nowhere in the target: the number of the hit, 8 bytes, as the plan's gate has counted it from 1. It is 0 where the gate has not counted it.
    Hit(CountedHits),
}

/// Which hits a number of a hit is among.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CountedHits {
    /// All of them.
    All,
    /// Those of the running goroutine, where the gate counts these ([`crate::Goroutines`]).
    OfGoroutine,
}

/// A general register of x86-64, the instruction pointer, or the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Reg {
    Rax,
    Rbx,
    Rcx,
    Rdx,
    Rsi,
    Rdi,
    Rbp,
    Rsp,
    R8,
    R9,
    R10,
    R11,
    R12,
    R13,
    R14,
    R15,
    Rip,
    Rflags,
}

impl Reg {
    /// Where the register is in `struct pt_regs` (the kernel's `arch/x86/include/asm/ptrace.h`).
    pub(crate) fn pt_regs_offset(self) -> i16 {
        match self {
            Reg::R15 => 0,
            Reg::R14 => 8,
            Reg::R13 => 16,
            Reg::R12 => 24,
            Reg::Rbp => 32,
            Reg::Rbx => 40,
            Reg::R11 => 48,
            Reg::R10 => 56,
            Reg::R9 => 64,
            Reg::R8 => 72,
            Reg::Rax => 80,
            Reg::Rcx => 88,
            Reg::Rdx => 96,
            Reg::Rsi => 104,
            Reg::Rdi => 112,
            Reg::Rip => 128,
            Reg::Rflags => 144,
            Reg::Rsp => 152,
        }
    }
}

/// One thing to copy from behind something already copied.
///
/// The offsets in [`FollowKind`] count from the start of the base area: the root area for the
/// follows of a plan, the bytes the parent captured for those in `then`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Follow {
    /// What to read.
    pub kind: FollowKind,
    /// What lies in the bytes read that is to be chased further by the loop in the kernel.
    pub layout: Option<LayoutId>,
    /// What to copy next, when this was captured. Offsets lie within the first element.
    pub then: Vec<Follow>,
}

/// What a follow reads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum FollowKind {
    /// What a pointer points to.
    Pointer {
        /// Where the pointer is in the base area.
        at: u32,
        /// Added to the pointer, in bytes.
        offset: i64,
        /// How many bytes to copy.
        size: u32,
    },
    /// The bytes of a string.
    String {
        /// Where its pointer is in the base area.
        at_ptr: u32,
        /// Where its length is in the base area.
        at_len: u32,
        /// The most bytes to copy.
        max: u32,
    },
    /// The elements of a slice.
    Slice {
        /// Where its pointer is in the base area.
        at_ptr: u32,
        /// Where its length is in the base area.
        at_len: u32,
        /// Bytes from one element to the next.
        elem_size: u32,
        /// The most elements to copy.
        max_elems: u32,
    },
    /// One element of a slice, an array behind a pointer, or a string.
    Element {
        /// Where the pointer is in the base area.
        at_ptr: u32,
        /// Where the length is in the base area; without one, no bound is checked.
        at_len: Option<u32>,
        /// Bytes from one element to the next.
        elem_size: u32,
        /// Which element.
        index: Index,
    },
    /// The value in an interface, by its concrete type.
    Interface {
        /// Where the interface's two words are in the base area.
        at: u32,
        /// Whether the first word is an itab (the interface has methods) or a type.
        non_empty: bool,
        /// Which of the runtime type's layouts applies to the value: 0 to 3.
        level: u8,
    },
}

/// Which element to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Index {
    /// A number known when the plan is made.
    Const(u64),
    /// A number that is among the roots.
    Root {
        /// Offset in the root area.
        at: u32,
        /// Width in bytes: 1, 2, 4 or 8.
        size: u8,
        /// Whether it is sign-extended.
        signed: bool,
    },
}

/// Why a plan cannot be made into a program.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// More roots than [`MAX_ROOTS`].
    #[error("the plan has {0} roots, and {MAX_ROOTS} are the most a record can tell apart")]
    TooManyRoots(usize),
    /// More follows than [`MAX_FOLLOWS`].
    #[error("the plan follows {0} values, and {MAX_FOLLOWS} are the most a program can hold")]
    TooManyFollows(usize),
    /// Follows nested deeper than [`MAX_DEPTH`].
    #[error("the plan follows pointers deeper than {MAX_DEPTH} levels")]
    TooDeep,
    /// The roots alone are larger than the largest record.
    #[error("the plan's roots need {0} bytes, and the largest record has {max}", max = RECORD_CLASSES[RECORD_CLASSES.len() - 1])]
    RootsTooLarge(u64),
    /// A follow reads outside of the bytes its base is known to have.
    #[error("a follow reads {width} bytes at offset {at} of an area of {area} bytes")]
    OutsideBase {
        /// Offset of the read.
        at: u32,
        /// Its width.
        width: u32,
        /// Size of the base area.
        area: u32,
    },
    /// A follow has a size or a bound that makes no sense.
    #[error("a follow of {0}")]
    Invalid(&'static str),
    /// More conditions and terms than [`crate::MAX_CONDITION_NODES`].
    #[error("the condition has {0} parts, and {MAX_CONDITION_NODES} are the most that the kernel is given to evaluate")]
    TooManyConditions(usize),
    /// Conditions and terms nested deeper than [`crate::MAX_CONDITION_DEPTH`].
    #[error("the condition is nested deeper than {MAX_CONDITION_DEPTH} levels")]
    ConditionTooDeep,
    /// More intermediate values at one time than a program can keep.
    #[error(
        "the condition keeps {0} intermediate values at one time, which is more than a kernel program has room for"
    )]
    TooManyIntermediates(u16),
    /// A gate has a width, a length or a limit that makes no sense.
    #[error("a gate with {0}")]
    InvalidGate(&'static str),
    /// The generated program is too long.
    #[error("the plan makes a program that is too long: {0}")]
    TooLong(String),
}

impl Root {
    /// How many bytes of the record the root takes, padding excluded.
    pub fn captured_size(&self) -> u32 {
        match self.source {
            RootSource::Register(_) | RootSource::Hit(_) => 8,
            _ => self.size,
        }
    }
}

impl Plan {
    /// Where root `index` starts, in bytes from the start of the root area: roots are laid out one
    /// after the other, each at a multiple of 8. For `index` equal to the number of roots, the end.
    pub fn root_offset(&self, index: usize) -> u32 {
        self.roots
            .iter()
            .take(index)
            .map(|root| pad8(root.captured_size()))
            .fold(0, u32::saturating_add)
    }

    /// Size of the root area in bytes.
    pub fn roots_size(&self) -> u32 {
        self.root_offset(self.roots.len())
    }

    /// The bytes a record of this plan occupies in the ring: one of [`RECORD_CLASSES`].
    pub fn record_class(&self) -> u32 {
        let wanted = self
            .max_record
            .max(self.chunks_at().saturating_add(CHUNK_HEADER_SIZE as u32));
        RECORD_CLASSES
            .into_iter()
            .find(|&class| class >= wanted)
            .unwrap_or(RECORD_CLASSES[RECORD_CLASSES.len() - 1])
    }

    /// Offset of the first chunk in a record of this plan.
    pub(crate) fn chunks_at(&self) -> u32 {
        self.scratch_at().saturating_add(self.scratch_size())
    }

    /// Offset of the words behind the roots in which the program keeps its place.
    pub(crate) fn scratch_at(&self) -> u32 {
        (HEADER_SIZE as u32).saturating_add(self.roots_size())
    }

    /// One word for each level of nesting, and the chase's three.
    fn scratch_size(&self) -> u32 {
        let levels = depth(&self.follows) as u32;
        8 * (levels + if self.chases() { 3 } else { 0 })
    }

    /// Where the chase keeps its place.
    pub(crate) fn chase_at(&self) -> u32 {
        self.scratch_at() + 8 * depth(&self.follows) as u32
    }

    /// Whether anything captured may lead further by a layout.
    pub(crate) fn chases(&self) -> bool {
        fn any(follows: &[Follow]) -> bool {
            follows.iter().any(|follow| {
                follow.layout.is_some() || matches!(follow.kind, FollowKind::Interface { .. }) || any(&follow.then)
            })
        }
        any(&self.follows)
    }

    /// Whether the program needs to know where the binary is loaded.
    pub(crate) fn needs_bias(&self) -> bool {
        self.chases()
            || self
                .roots
                .iter()
                .any(|root| matches!(root.source, RootSource::Absolute { .. }))
    }

    /// Whether its records have numbers of hits.
    pub(crate) fn numbers_hits(&self) -> bool {
        self.roots.iter().any(|root| matches!(root.source, RootSource::Hit(_)))
    }

    /// Checks everything that code generation takes for granted.
    pub(crate) fn validate(&self) -> Result<(), PlanError> {
        if self.roots.len() > MAX_ROOTS {
            return Err(PlanError::TooManyRoots(self.roots.len()));
        }
        if self.roots.iter().any(|root| root.captured_size() == 0) {
            return Err(PlanError::Invalid("nothing: a root has no bytes"));
        }
        self.gate.validate()?;
        let total: u64 = self
            .roots
            .iter()
            .map(|root| u64::from(root.captured_size()).next_multiple_of(8))
            .sum();
        let largest = u64::from(RECORD_CLASSES[RECORD_CLASSES.len() - 1]);
        let mut follows = 0;
        check(&self.follows, &mut |_| follows += 1, 0)?;
        if follows > MAX_FOLLOWS {
            return Err(PlanError::TooManyFollows(follows));
        }
        if total + u64::from(HEADER_SIZE as u32) + 8 * (MAX_DEPTH as u64 + 3) > largest {
            return Err(PlanError::RootsTooLarge(total));
        }
        let roots = self.roots_size();
        for follow in &self.follows {
            follow.validate(roots, roots)?;
        }
        Ok(())
    }
}

/// Walks follows, bounding the depth before anything recurses further.
fn check(follows: &[Follow], visit: &mut dyn FnMut(&Follow), level: usize) -> Result<(), PlanError> {
    if level > MAX_DEPTH || (level == MAX_DEPTH && !follows.is_empty()) {
        return Err(PlanError::TooDeep);
    }
    for follow in follows {
        visit(follow);
        check(&follow.then, visit, level + 1)?;
    }
    Ok(())
}

/// Levels of nesting that need to remember where a parent's bytes are.
fn depth(follows: &[Follow]) -> usize {
    follows
        .iter()
        .filter(|follow| !follow.then.is_empty())
        .map(|follow| 1 + depth(&follow.then))
        .max()
        .unwrap_or(0)
}

impl Follow {
    /// The bytes that its first element is known to have once captured: the base area of `then`.
    /// For an interface this is known only when it is hit.
    pub(crate) fn base_area(&self) -> u32 {
        match self.kind {
            FollowKind::Pointer { size, .. } => size,
            FollowKind::Slice { elem_size, .. } | FollowKind::Element { elem_size, .. } => elem_size,
            FollowKind::String { .. } => 0,
            FollowKind::Interface { .. } => RECORD_CLASSES[RECORD_CLASSES.len() - 1],
        }
    }

    fn validate(&self, area: u32, roots: u32) -> Result<(), PlanError> {
        let inside = |at: u32, width: u32, area: u32| {
            if at.checked_add(width).is_some_and(|end| end <= area) {
                Ok(())
            } else {
                Err(PlanError::OutsideBase { at, width, area })
            }
        };
        match self.kind {
            FollowKind::Pointer { at, size, .. } => {
                inside(at, 8, area)?;
                if size == 0 {
                    return Err(PlanError::Invalid("a pointer to no bytes"));
                }
            }
            FollowKind::String { at_ptr, at_len, max } => {
                inside(at_ptr, 8, area)?;
                inside(at_len, 8, area)?;
                if max == 0 {
                    return Err(PlanError::Invalid("a string bounded to no bytes"));
                }
            }
            FollowKind::Slice {
                at_ptr,
                at_len,
                elem_size,
                max_elems,
            } => {
                inside(at_ptr, 8, area)?;
                inside(at_len, 8, area)?;
                if elem_size == 0 || max_elems == 0 {
                    return Err(PlanError::Invalid("a slice bounded to no bytes"));
                }
            }
            FollowKind::Element {
                at_ptr,
                at_len,
                elem_size,
                index,
            } => {
                inside(at_ptr, 8, area)?;
                if let Some(at_len) = at_len {
                    inside(at_len, 8, area)?;
                }
                if elem_size == 0 {
                    return Err(PlanError::Invalid("an element of no bytes"));
                }
                if let Index::Root { at, size, .. } = index {
                    if !matches!(size, 1 | 2 | 4 | 8) {
                        return Err(PlanError::Invalid("an index that is not 1, 2, 4 or 8 bytes"));
                    }
                    inside(at, u32::from(size), roots)?;
                }
            }
            FollowKind::Interface { at, level, .. } => {
                inside(at, 16, area)?;
                if level > 3 {
                    return Err(PlanError::Invalid("an interface at a level above 3"));
                }
            }
        }
        let area = self.base_area();
        for follow in &self.then {
            follow.validate(area, roots)?;
        }
        Ok(())
    }
}

/// Rounds up to a multiple of 8.
pub(crate) fn pad8(size: u32) -> u32 {
    size.saturating_add(7) & !7
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(roots: Vec<Root>, follows: Vec<Follow>) -> Plan {
        Plan {
            roots,
            follows,
            goroutine: GoroutineSource::R14,
            runtime: RuntimeOffsets::default(),
            max_record: 256,
            gate: Gate::default(),
            stops: false,
        }
    }

    fn stack(size: u32) -> Root {
        Root {
            source: RootSource::Stack { offset: 8 },
            size,
        }
    }

    fn pointer(at: u32, size: u32, then: Vec<Follow>) -> Follow {
        Follow {
            kind: FollowKind::Pointer { at, offset: 0, size },
            layout: None,
            then,
        }
    }

    #[test]
    fn roots_start_at_multiples_of_eight() {
        let plan = plan(vec![stack(3), stack(16), stack(9)], vec![]);
        assert_eq!(plan.root_offset(0), 0);
        assert_eq!(plan.root_offset(1), 8);
        assert_eq!(plan.root_offset(2), 24);
        assert_eq!(plan.roots_size(), 40);
    }

    #[test]
    fn records_are_rounded_up_to_a_class_that_holds_the_roots() {
        assert_eq!(plan(vec![stack(8)], vec![]).record_class(), 256);
        assert_eq!(plan(vec![stack(300)], vec![]).record_class(), 512);
        let mut large = plan(vec![stack(8)], vec![]);
        large.max_record = 1 << 30;
        assert_eq!(large.record_class(), 32768);
    }

    #[test]
    fn reads_outside_of_the_base_are_refused() {
        assert!(plan(vec![stack(8)], vec![pointer(0, 8, vec![])]).validate().is_ok());
        assert_eq!(
            plan(vec![stack(8)], vec![pointer(1, 8, vec![])]).validate(),
            Err(PlanError::OutsideBase {
                at: 1,
                width: 8,
                area: 8
            })
        );
        assert!(matches!(
            plan(vec![stack(8)], vec![pointer(0, 16, vec![pointer(u32::MAX, 8, vec![])])]).validate(),
            Err(PlanError::OutsideBase { .. })
        ));
    }

    #[test]
    fn too_much_of_anything_is_refused() {
        assert_eq!(
            plan(vec![stack(8); 129], vec![]).validate(),
            Err(PlanError::TooManyRoots(129))
        );
        assert!(matches!(
            plan(vec![stack(40_000)], vec![]).validate(),
            Err(PlanError::RootsTooLarge(_))
        ));
        assert!(matches!(
            plan(vec![stack(u32::MAX), stack(u32::MAX)], vec![]).validate(),
            Err(PlanError::RootsTooLarge(_))
        ));
        let mut chain = pointer(0, 8, vec![]);
        for _ in 0..MAX_DEPTH {
            chain = pointer(0, 8, vec![chain]);
        }
        assert_eq!(plan(vec![stack(8)], vec![chain]).validate(), Err(PlanError::TooDeep));
    }
}
