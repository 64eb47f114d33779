//! What a site captures of a variable: which registers and stack slots hold it, and what is followed from there.

use spelunk_bpf::{
    CountedHits, EdgeKind, Follow, FollowKind, Gate, GoroutineSource, Plan, Reg, Root, RootSource, RuntimeOffsets,
};
use spelunk_dwarf::{Binary, FileAddr, Location, Piece, PieceKind, TypeId};

use super::abi::{AbiRegister, Place};
use super::layouts::{Layouts, Lead};
use crate::value::ReadError;

/// The integer argument registers in the order of Go's calling convention.
pub(crate) const ARGUMENT_REGISTERS: [Reg; super::abi::INTEGER_REGISTERS] = [
    Reg::Rax,
    Reg::Rbx,
    Reg::Rcx,
    Reg::Rdi,
    Reg::Rsi,
    Reg::R8,
    Reg::R9,
    Reg::R10,
    Reg::R11,
];

/// A variable as one site captures it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Captured {
    /// Its name as the source has it.
    pub(crate) name: String,
    /// Its type.
    pub(crate) ty: TypeId,
    /// Where it lies, or would lie, in memory.
    pub(crate) home: Home,
    /// Where its bytes are in the record. What no part covers was padding, or is not captured.
    pub(crate) parts: Vec<Part>,
}

/// A variable's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Home {
    /// At an offset from the canonical frame address.
    Cfa(i64),
    /// A package variable.
    Absolute(FileAddr),
    /// Nowhere but in registers.
    Nowhere,
}

/// Some bytes of a variable.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Part {
    /// Offset in the variable.
    pub(crate) offset: u64,
    /// In bytes.
    pub(crate) size: u64,
    /// Where they are.
    pub(crate) source: Source,
}

/// Where bytes of a variable come from.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// From a root of the plan, at its start.
    Root(usize),
    /// The compiler knows them.
    Constant(Vec<u8>),
    /// From nowhere, and why.
    Missing(ReadError),
}

/// A plan while it grows.
pub(crate) struct PlanBuilder<'a, 'b> {
    layouts: &'a mut Layouts<'b>,
    /// The canonical frame address is rsp plus this at the site.
    cfa_offset: i64,
    roots: Vec<Root>,
    follows: Vec<Follow>,
    bytes: u32,
}

impl<'a, 'b> PlanBuilder<'a, 'b> {
    /// A plan for a site where the canonical frame address is `cfa_offset` above rsp.
    pub(crate) fn new(layouts: &'a mut Layouts<'b>, cfa_offset: i64) -> PlanBuilder<'a, 'b> {
        PlanBuilder {
            layouts,
            cfa_offset,
            roots: Vec::new(),
            follows: Vec::new(),
            bytes: 0,
        }
    }

    /// Captures the first `count` argument registers; their roots have the numbers 0 to `count` - 1, so that functions that differ only in types share a program.
    pub(crate) fn argument_registers(&mut self, count: usize) {
        debug_assert!(self.roots.is_empty(), "the registers come first");
        self.roots.extend(ARGUMENT_REGISTERS.iter().take(count).map(|reg| Root {
            source: RootSource::Register(*reg),
            size: 8,
        }));
    }

    fn root(&mut self, source: RootSource, size: u32) -> usize {
        let root = Root { source, size };
        if matches!(source, RootSource::Register(_))
            && let Some(known) = self.roots.iter().position(|known| *known == root)
        {
            return known;
        }
        self.roots.push(root);
        self.roots.len() - 1
    }

    /// Has the number of the hit captured; answers its root.
    pub(super) fn number_of_hit(&mut self, among: CountedHits) -> usize {
        self.root(RootSource::Hit(among), 8)
    }

    /// Memory at an offset from the canonical frame address.
    fn frame(&mut self, offset: i64, size: u32) -> usize {
        self.root(
            RootSource::Stack {
                offset: self.cfa_offset + offset,
            },
            size,
        )
    }

    /// A parameter or result at the place that the calling convention gives it. `float_homes` are floating-point registers that lie in memory at the
    /// site, by offset from the canonical frame address; `keeps_blanks` says whether blank fields are really passed.
    pub(crate) fn passed(
        &mut self,
        ty: TypeId,
        place: &Place,
        float_homes: &[(usize, i64)],
        keeps_blanks: bool,
    ) -> Vec<Part> {
        match place {
            Place::Stack(offset) => self.frame_parts(ty, *offset),
            Place::Registers { parts, .. } => parts
                .iter()
                .map(|part| {
                    let source = match part.register {
                        _ if part.blank && !keeps_blanks => Source::Missing(ReadError::Blank),
                        AbiRegister::Integer(n) => {
                            Source::Root(self.root(RootSource::Register(ARGUMENT_REGISTERS[n]), 8))
                        }
                        AbiRegister::Float(n) => match float_homes.iter().find(|(register, _)| *register == n) {
                            Some((_, home)) => Source::Root(self.frame(*home, part.size as u32)),
                            None => Source::Missing(ReadError::InRegister(format!("X{n}"))),
                        },
                    };
                    Part {
                        offset: part.offset,
                        size: part.size,
                        source,
                    }
                })
                .collect(),
        }
    }

    /// A variable that lies in the frame as a whole: as much of it as will be read.
    fn frame_parts(&mut self, ty: TypeId, offset: i64) -> Vec<Part> {
        match self.layouts.extent(ty, 0) {
            0 => Vec::new(),
            extent => vec![Part {
                offset: 0,
                size: u64::from(extent),
                source: Source::Root(self.frame(offset, extent)),
            }],
        }
    }

    /// A variable where DWARF says it is.
    pub(crate) fn located(&mut self, ty: TypeId, location: &Location) -> Vec<Part> {
        if let [piece] = &location.pieces[..]
            && matches!(piece.kind, PieceKind::CfaOffset(_) | PieceKind::Addr(_))
        {
            let extent = self.layouts.extent(ty, 0);
            if extent == 0 {
                return Vec::new();
            }
            let root = self.memory_piece(&piece.kind, extent);
            return root.map_or_else(Vec::new, |root| {
                vec![Part {
                    offset: 0,
                    size: u64::from(extent),
                    source: Source::Root(root),
                }]
            });
        }
        let mut parts = Vec::new();
        for (offset, piece) in placed(self.layouts.binary(), ty, location) {
            let size = u64::from(piece.size);
            let source = match &piece.kind {
                PieceKind::Register(number) => match general_register(number.0) {
                    Some(reg) => Source::Root(self.root(RootSource::Register(reg), 8)),
                    None => Source::Missing(ReadError::InRegister(register_name(number.0))),
                },
                PieceKind::RegisterOffset(number, offset) => match general_register(number.0) {
                    Some(reg) if size != 0 => {
                        Source::Root(self.root(RootSource::Memory { reg, offset: *offset }, piece.size))
                    }
                    _ => Source::Missing(ReadError::OptimizedOut),
                },
                PieceKind::Const(bytes) => Source::Constant(bytes.clone()),
                PieceKind::Behind(_) => Source::Missing(ReadError::Escaped),
                PieceKind::Empty => Source::Missing(ReadError::OptimizedOut),
                kind => match self.memory_piece(kind, piece.size) {
                    Some(root) => Source::Root(root),
                    None => Source::Missing(ReadError::OptimizedOut),
                },
            };
            if size != 0 {
                parts.push(Part { offset, size, source });
            }
        }
        parts
    }

    fn memory_piece(&mut self, kind: &PieceKind, size: u32) -> Option<usize> {
        match kind {
            PieceKind::CfaOffset(offset) if size != 0 => Some(self.frame(*offset, size)),
            PieceKind::Addr(addr) if size != 0 => Some(self.root(RootSource::Absolute { addr: addr.0 }, size)),
            _ => None,
        }
    }

    /// Some bytes of a variable that lies in the frame, `home` from the canonical frame address.
    pub(crate) fn frame_part(&mut self, home: i64, offset: u64, size: u64) -> Part {
        let root = self.frame(home.wrapping_add_unsigned(offset), size as u32);
        Part {
            offset,
            size,
            source: Source::Root(root),
        }
    }

    /// Some bytes of a package variable.
    pub(crate) fn absolute_part(&mut self, home: FileAddr, offset: u64, size: u64) -> Part {
        let root = self.root(
            RootSource::Absolute {
                addr: home.0.wrapping_add(offset),
            },
            size as u32,
        );
        Part {
            offset,
            size,
            source: Source::Root(root),
        }
    }

    /// Where the word at `offset` of a variable stands in the root area.
    pub(crate) fn root_area(&self, parts: &[Part], offset: u64) -> Option<u32> {
        self.root_area_of(parts, offset, 8)
    }

    /// Where `size` bytes at `offset` of a variable stand in the root area.
    pub(crate) fn root_area_of(&self, parts: &[Part], offset: u64, size: u64) -> Option<u32> {
        let part = parts
            .iter()
            .find(|part| part.offset <= offset && offset + size <= part.offset + part.size)?;
        match part.source {
            Source::Root(root) => Some(self.root_start(root) + (offset - part.offset) as u32),
            _ => None,
        }
    }

    /// The roots so far.
    pub(crate) fn roots(&self) -> &[Root] {
        &self.roots
    }

    /// The start of a root in the root area (see `Plan::root_offset`).
    pub(crate) fn root_start(&self, root: usize) -> u32 {
        self.roots
            .iter()
            .take(root)
            .map(|root| root.captured_size().next_multiple_of(8))
            .sum()
    }

    /// Follows all that the loader will read behind a variable.
    pub(crate) fn follow_all(&mut self, ty: TypeId, parts: &[Part]) {
        for lead in self.layouts.leads(ty, 0) {
            if let Some(follow) = Self::follow(&lead, &|at| self.root_area(parts, at)) {
                self.bytes = self.bytes.saturating_add(lead.bytes);
                self.follows.push(follow);
            }
        }
    }

    /// Follows a variable that is a pointer, for `size` bytes.
    pub(crate) fn follow_pointer(&mut self, parts: &[Part], size: u32) {
        if let Some(at) = self.root_area(parts, 0) {
            let follow = Follow {
                kind: FollowKind::Pointer { at, offset: 0, size },
                layout: None,
                then: Vec::new(),
            };
            self.add_follow(follow, spelunk_bpf::CHUNK_HEADER_SIZE as u32 + size);
        }
    }

    /// A lead as a follow, its offsets mapped into the base area.
    pub(crate) fn follow(lead: &Lead, area: &dyn Fn(u64) -> Option<u32>) -> Option<Follow> {
        let at = u64::from(lead.edge.at);
        let (kind, layout) = match lead.edge.kind {
            EdgeKind::Pointer { target, size } => (
                FollowKind::Pointer {
                    at: area(at)?,
                    offset: 0,
                    size,
                },
                target,
            ),
            EdgeKind::String { max } => (
                FollowKind::String {
                    at_ptr: area(at)?,
                    at_len: area(at + 8)?,
                    max,
                },
                None,
            ),
            EdgeKind::Slice {
                target,
                elem_size,
                max_elems,
            } => (
                FollowKind::Slice {
                    at_ptr: area(at)?,
                    at_len: area(at + 8)?,
                    elem_size,
                    max_elems,
                },
                target,
            ),
            // It follows from a number in a header, which is behind a pointer.
            EdgeKind::Counted { .. } => return None,
            EdgeKind::Interface { non_empty, level } => {
                let first = area(at)?;
                if area(at + 8)? != first + 8 {
                    return None;
                }
                (
                    FollowKind::Interface {
                        at: first,
                        non_empty,
                        level,
                    },
                    None,
                )
            }
        };
        Some(Follow {
            kind,
            layout,
            then: Vec::new(),
        })
    }

    /// Adds a follow made by the caller and the bytes it may take in a record.
    pub(crate) fn add_follow(&mut self, follow: Follow, bytes: u32) {
        self.bytes = self.bytes.saturating_add(bytes);
        self.follows.push(follow);
    }

    /// The layouts, for leads of values that are not variables.
    pub(crate) fn layouts(&mut self) -> &mut Layouts<'b> {
        self.layouts
    }

    /// The finished plan.
    pub(crate) fn finish(self, goroutine: GoroutineSource, runtime: RuntimeOffsets, gate: Gate) -> Plan {
        let mut plan = Plan {
            roots: self.roots,
            follows: self.follows,
            goroutine,
            runtime,
            max_record: 0,
            gate,
            stops: false,
        };
        plan.max_record = (spelunk_bpf::HEADER_SIZE as u32 + plan.roots_size() + 64).saturating_add(self.bytes);
        plan
    }
}

/// The pieces of a location with their offsets in the value.
///
/// DWARF puts pieces end to end (DWARF 5, 2.6.1.2). Go's compiler leaves out the padding between the components of a struct
/// (cmd/compile/internal/ssa/debug.go), so where the pieces are as many and as large as the type's components, those say where they belong. Where the
/// pieces fill neither the value nor its components, nobody can say what they are, and there are none.
pub(crate) fn placed<'l>(binary: &Binary, ty: TypeId, location: &'l Location) -> Vec<(u64, &'l Piece)> {
    let sized: Vec<&Piece> = location.pieces.iter().filter(|piece| piece.size != 0).collect();
    let total: u64 = sized.iter().map(|piece| u64::from(piece.size)).sum();
    let size = binary.type_info(ty).map_or(0, |info| info.size);
    if let Some(components) = super::abi::components(binary, ty) {
        // What the compiler did not describe at the end reads as one empty piece.
        let described = match sized.split_last() {
            Some((last, rest)) if last.kind == PieceKind::Empty && rest.len() == components.len() => rest,
            _ => &sized[..],
        };
        if described.len() == components.len()
            && described
                .iter()
                .zip(&components)
                .all(|(piece, (_, size))| u64::from(piece.size) == *size)
        {
            return components
                .iter()
                .map(|(offset, _)| *offset)
                .zip(described.iter().copied())
                .collect();
        }
        if components.len() > 1 {
            return Vec::new();
        }
    }
    if total != size {
        return Vec::new();
    }
    let mut offset = 0;
    let mut place = |piece: &&'l Piece| {
        let at = offset;
        offset += u64::from(piece.size);
        (at, *piece)
    };
    sized.iter().map(&mut place).collect()
}

/// DWARF's numbers of the general registers (System V ABI for x86-64, figure 3.36).
pub(crate) fn general_register(number: u16) -> Option<Reg> {
    const ORDER: [Reg; 16] = [
        Reg::Rax,
        Reg::Rdx,
        Reg::Rcx,
        Reg::Rbx,
        Reg::Rsi,
        Reg::Rdi,
        Reg::Rbp,
        Reg::Rsp,
        Reg::R8,
        Reg::R9,
        Reg::R10,
        Reg::R11,
        Reg::R12,
        Reg::R13,
        Reg::R14,
        Reg::R15,
    ];
    ORDER.get(usize::from(number)).copied()
}

/// The integer register of the calling convention that a DWARF number stands for, or the floating-point one.
pub(crate) fn abi_register(number: u16) -> Option<AbiRegister> {
    match number {
        17..=31 => Some(AbiRegister::Float(usize::from(number - 17))),
        _ => ARGUMENT_REGISTERS
            .iter()
            .position(|reg| Some(*reg) == general_register(number))
            .map(AbiRegister::Integer),
    }
}

pub(crate) fn register_name(number: u16) -> String {
    match number {
        17..=32 => format!("X{}", number - 17),
        _ => format!("{number} of DWARF's numbering"),
    }
}
