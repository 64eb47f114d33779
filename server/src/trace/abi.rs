//! Where Go's internal calling convention puts parameters and results.
//!
//! The rules are those of Go's src/cmd/compile/abi-internal.md ("Function call argument and result passing") with the register sequence of its amd64
//! section. DWARF says where a parameter lives at a program counter, but names only a stack home, or nothing, for a result, and nothing for a parameter that the
//! optimiser has no use for; the convention knows both at entry and at return.

use spelunk_dwarf::{Binary, DwarfError, DwarfReg, Kind, TypeId};

/// Integer registers in order of assignment: RAX, RBX, RCX, RDI, RSI, R8, R9, R10, R11.
pub(crate) const INTEGER_REGISTERS: usize = 9;
/// Floating-point registers in order of assignment: X0 to X14.
const FLOAT_REGISTERS: usize = 15;
/// A value is taken apart into at most so many components.
const MAX_COMPONENTS: u64 = 64;
/// Types nest at most this deep; the types of a hostile binary may be endless.
const MAX_DEPTH: u32 = 64;

/// A register of the calling convention, by its place in the sequence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AbiRegister {
    /// The n-th of RAX, RBX, RCX, RDI, RSI, R8, R9, R10, R11.
    Integer(usize),
    /// The n-th of X0 to X14.
    Float(usize),
}

impl AbiRegister {
    /// DWARF's number of it (System V ABI for AMD64, figure 3.36); `None` beyond the sequence.
    pub(crate) fn dwarf(self) -> Option<DwarfReg> {
        const INTEGERS: [u16; INTEGER_REGISTERS] = [0, 3, 2, 5, 4, 8, 9, 10, 11];
        const FIRST_VECTOR: usize = 17;
        match self {
            AbiRegister::Integer(number) => INTEGERS.get(number).copied().map(DwarfReg),
            AbiRegister::Float(number) if number < FLOAT_REGISTERS => {
                u16::try_from(FIRST_VECTOR + number).ok().map(DwarfReg)
            }
            AbiRegister::Float(_) => None,
        }
    }
}

/// Bytes of a value that one register carries, in its low end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RegisterPart {
    /// Offset in the value.
    pub(crate) offset: u64,
    /// In bytes, 1 to 8.
    pub(crate) size: u64,
    /// The register.
    pub(crate) register: AbiRegister,
    /// Whether it is a blank field (`_`), which takes a register but need not be put there.
    pub(crate) blank: bool,
}

/// Where a parameter or result is passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In registers, and in memory at no time that matters to the caller.
    Registers {
        /// Which, in order of the value's bytes; padding is in none.
        parts: Vec<RegisterPart>,
        /// A parameter's spill space, as an offset from the canonical frame address; results have none.
        spill: Option<i64>,
    },
    /// In memory, at an offset from the canonical frame address.
    Stack(i64),
}

/// The places of a function's parameters, receiver first, and of its results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// In order of declaration.
    pub(crate) params: Vec<Place>,
    /// In order of declaration.
    pub(crate) results: Vec<Place>,
}

/// Whether a function takes its arguments in registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Convention {
    /// `ABIInternal`: registers first.
    Internal,
    /// ABI0, that of assembly: all on the stack.
    Stack,
}

/// Assigns places to parameters and results of the given types.
pub(crate) fn assign(
    binary: &Binary,
    convention: Convention,
    params: &[TypeId],
    results: &[TypeId],
) -> Result<Assignment, DwarfError> {
    let mut frame = Frame {
        binary,
        convention,
        size: 0,
    };
    let mut params = frame.assign_all(params)?;
    frame.align(8);
    let results = frame.assign_all(results)?;
    frame.align(8);
    for (place, (size, align)) in &mut params {
        if let Place::Registers { spill, .. } = place {
            frame.align(*align);
            *spill = Some(frame.size as i64);
            frame.size += *size;
        }
    }
    let places = |assigned: Vec<Assigned>| assigned.into_iter().map(|(place, _)| place).collect();
    Ok(Assignment {
        params: places(params),
        results: places(results),
    })
}

/// A place, with the size and alignment of what is there.
type Assigned = (Place, (u64, u64));

/// The stack part of a call's arguments while it grows; it begins at the canonical frame address.
struct Frame<'a> {
    binary: &'a Binary,
    convention: Convention,
    size: u64,
}

impl Frame<'_> {
    /// Each type's place, with its size and alignment.
    fn assign_all(&mut self, types: &[TypeId]) -> Result<Vec<Assigned>, DwarfError> {
        let mut integers = 0;
        let mut floats = 0;
        let mut places = Vec::with_capacity(types.len());
        for ty in types {
            let (size, align) = (self.binary.type_info(*ty)?.size, align_of(self.binary, *ty, 0)?);
            let mut parts = Vec::new();
            let mut taken = Taken {
                integers,
                floats,
                blank: false,
            };
            let fits = self.convention == Convention::Internal
                && size != 0
                && registers(self.binary, *ty, 0, &mut taken, &mut parts, 0)?;
            if fits {
                (integers, floats) = (taken.integers, taken.floats);
                places.push((Place::Registers { parts, spill: None }, (size, align)));
            } else {
                self.align(align);
                places.push((Place::Stack(self.size as i64), (size, align)));
                self.size = self.size.saturating_add(size);
            }
        }
        Ok(places)
    }

    fn align(&mut self, to: u64) {
        self.size = self.size.next_multiple_of(to.max(1));
    }
}

/// Registers used so far.
#[derive(Clone, Copy)]
struct Taken {
    integers: usize,
    floats: usize,
    /// Inside a blank field.
    blank: bool,
}

impl Taken {
    fn integer(&mut self, offset: u64, size: u64, parts: &mut Vec<RegisterPart>) -> bool {
        parts.push(RegisterPart {
            offset,
            size,
            register: AbiRegister::Integer(self.integers),
            blank: self.blank,
        });
        self.integers += 1;
        self.integers <= INTEGER_REGISTERS
    }

    fn float(&mut self, offset: u64, size: u64, parts: &mut Vec<RegisterPart>) -> bool {
        parts.push(RegisterPart {
            offset,
            size,
            register: AbiRegister::Float(self.floats),
            blank: self.blank,
        });
        self.floats += 1;
        self.floats <= FLOAT_REGISTERS
    }
}

/// Tries to put a value of type `ty` in registers; false when it must go to the stack as a whole.
fn registers(
    binary: &Binary,
    ty: TypeId,
    at: u64,
    taken: &mut Taken,
    parts: &mut Vec<RegisterPart>,
    depth: u32,
) -> Result<bool, DwarfError> {
    if depth > MAX_DEPTH {
        return Ok(false);
    }
    let info = binary.type_info(ty)?;
    Ok(match &info.kind {
        Kind::Bool | Kind::Int | Kind::Uint | Kind::Uintptr => taken.integer(at, info.size, parts),
        Kind::Pointer { .. } | Kind::UnsafePointer | Kind::Map { .. } | Kind::Chan { .. } | Kind::Func => {
            taken.integer(at, 8, parts)
        }
        Kind::Float => taken.float(at, info.size, parts),
        Kind::Complex => taken.float(at, info.size / 2, parts) && taken.float(at + info.size / 2, info.size / 2, parts),
        Kind::String | Kind::Interface { .. } => taken.integer(at, 8, parts) && taken.integer(at + 8, 8, parts),
        Kind::Slice { .. } => (0..3).all(|word| taken.integer(at + 8 * word, 8, parts)),
        Kind::Struct { fields } => {
            for field in fields.iter() {
                let outside = taken.blank;
                taken.blank |= &*field.name == "_";
                if !registers(binary, field.ty, at + field.offset, taken, parts, depth + 1)? {
                    return Ok(false);
                }
                taken.blank = outside;
            }
            true
        }
        Kind::Array { len: 0, .. } => true,
        Kind::Array { elem, len: 1, .. } => registers(binary, *elem, at, taken, parts, depth + 1)?,
        Kind::Array { .. } | Kind::Void | Kind::Other(_) => false,
    })
}

/// The words and smaller pieces that a value is taken apart into, as offset and size, or nothing for a type that stays whole.
pub(crate) fn components(binary: &Binary, ty: TypeId) -> Option<Vec<(u64, u64)>> {
    let mut taken = Taken {
        integers: 0,
        floats: 0,
        blank: false,
    };
    let mut parts = Vec::new();
    // The register limits do not matter here: only arrays cannot be taken apart.
    let info = binary.type_info(ty).ok()?;
    if info.size > MAX_COMPONENTS * 8 {
        return None;
    }
    collect_components(binary, ty, 0, &mut taken, &mut parts, 0)
        .then(|| parts.iter().map(|part| (part.offset, part.size)).collect())
}

fn collect_components(
    binary: &Binary,
    ty: TypeId,
    at: u64,
    taken: &mut Taken,
    parts: &mut Vec<RegisterPart>,
    depth: u32,
) -> bool {
    let Ok(info) = binary.type_info(ty) else { return false };
    match &info.kind {
        Kind::Struct { fields } if depth <= MAX_DEPTH => fields
            .iter()
            .all(|field| collect_components(binary, field.ty, at + field.offset, taken, parts, depth + 1)),
        Kind::Array { elem, len: 1, .. } if depth <= MAX_DEPTH => {
            collect_components(binary, *elem, at, taken, parts, depth + 1)
        }
        Kind::Array { len: 0, .. } => true,
        Kind::Struct { .. } | Kind::Array { .. } | Kind::Void | Kind::Other(_) => false,
        // A scalar: the register counters start again for each, so it always fits.
        _ => {
            (taken.integers, taken.floats) = (0, 0);
            registers(binary, ty, at, taken, parts, depth).unwrap_or(false)
        }
    }
}

/// The alignment of a type in bytes (Go's types.CalcSize for amd64).
fn align_of(binary: &Binary, ty: TypeId, depth: u32) -> Result<u64, DwarfError> {
    if depth > MAX_DEPTH {
        return Ok(8);
    }
    let info = binary.type_info(ty)?;
    Ok(match &info.kind {
        Kind::Bool | Kind::Int | Kind::Uint | Kind::Uintptr | Kind::Float => info.size.clamp(1, 8),
        Kind::Complex => (info.size / 2).clamp(1, 8),
        Kind::Struct { fields } => {
            let mut align = 1;
            for field in fields.iter() {
                align = align.max(align_of(binary, field.ty, depth + 1)?);
            }
            align
        }
        Kind::Array { elem, .. } => align_of(binary, *elem, depth + 1)?,
        _ => 8,
    })
}
