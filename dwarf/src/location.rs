//! Where a variable is when the program is at a given address.
//!
//! Expressions are evaluated symbolically: the registers and the frame stay unknown, so that one answer serves a
//! stopped process, a kernel probe and a core file alike.

use std::ops::Range;

use gimli::{EndianSlice, LittleEndian, Operation};

use crate::error::{Absence, LocationError};
use crate::function_info::{FunctionInfo, Home, Variable};
use crate::units::Unit;
use crate::{Binary, FileAddr};

/// A register by its number in DWARF (System V ABI for AMD64, figure 3.36).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DwarfReg(pub u16);

impl DwarfReg {
    /// RDX, in which Go passes a closure its context.
    pub const RDX: DwarfReg = DwarfReg(1);
    /// RSP.
    pub const RSP: DwarfReg = DwarfReg(7);
    /// RBP.
    pub const RBP: DwarfReg = DwarfReg(6);
    /// The return address, which is RIP in the caller.
    pub const RA: DwarfReg = DwarfReg(16);

    /// The register's usual name, `rax` to `r15`, `rip`, `xmm0` to `xmm15`; `None` for others.
    pub fn name(self) -> Option<&'static str> {
        const NAMES: [&str; 33] = [
            "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp", "r8", "r9", "r10", "r11", "r12", "r13", "r14",
            "r15", "rip", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
            "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
        ];
        NAMES.get(usize::from(self.0)).copied()
    }

    /// Whether it is one of XMM0 to XMM15.
    pub fn is_xmm(self) -> bool {
        (17..=32).contains(&self.0)
    }
}

/// No compiler takes a value into more pieces, or writes longer lists or expressions.
const MAX_PIECES: usize = 4096;
const MAX_LIST: usize = 1 << 16;
const MAX_STACK: usize = 256;

/// Where the bytes of a value are: pieces in the order of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// At least one piece. Their sizes add up to the size of the value.
    pub pieces: Vec<Piece>,
    /// Whether the description says of each piece how large it is. One that does not is of the value as a whole, or should be.
    pub is_divided: bool,
}

/// Some consecutive bytes of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Where they are.
    pub kind: PieceKind,
    /// How many bytes.
    pub size: u32,
}

/// Where the bytes of a piece are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// In the low bytes of a register.
    Register(DwarfReg),
    /// In memory, this many bytes above the canonical frame address, see [`Binary::cfa`].
    CfaOffset(i64),
    /// In memory, where the pointer leads that lies this many bytes above the canonical frame address: results that escaped to the heap.
    Behind(i64),
    /// In memory, this many bytes above where the register points. Only C compilers use it.
    RegisterOffset(DwarfReg, i64),
    /// In memory at a fixed place.
    Addr(FileAddr),
    /// Nowhere: the bytes themselves are known, [`Piece::size`] of them.
    Const(Vec<u8>),
    /// Nowhere: the compiler dropped these bytes.
    Empty,
}

/// A variable's location in one part of the code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocationRange {
    /// The code in which it is valid.
    pub range: Range<FileAddr>,
    /// Where the variable is there, or why that cannot be said.
    pub location: Result<Location, LocationError>,
}

impl Binary {
    /// Where `variable` of `function` is when the program counter is `pc` (the address of an instruction that has not
    /// been executed yet).
    pub fn location(
        &self,
        function: &FunctionInfo,
        variable: &Variable,
        pc: FileAddr,
    ) -> Result<Location, LocationError> {
        let base = function.frame_base;
        self.with_home(variable, |unit, size| match &variable.home {
            Home::None => Err(LocationError::OptimizedOut(Absence::NoAttribute)),
            Home::Expression(bytes) => evaluate(unit, bytes, size, base),
            Home::List(offset) => {
                let mut entries = unit.dwarf.locations(&unit.inner, *offset)?;
                while let Some(entry) = entries.next()? {
                    if (entry.range.begin..entry.range.end).contains(&pc.0) {
                        return evaluate(unit, entry.data.0.slice(), size, base);
                    }
                }
                Err(LocationError::OptimizedOut(Absence::NotHere {
                    list: offset.0 as u64,
                    pc,
                }))
            }
        })
    }

    /// All places where `variable` of `function` is over the course of the function, in the order in which the
    /// compiler lists them. Where none of the ranges contains an address, the variable is not to be found there.
    pub fn locations(&self, function: &FunctionInfo, variable: &Variable) -> Result<Vec<LocationRange>, LocationError> {
        let base = function.frame_base;
        self.with_home(variable, |unit, size| match &variable.home {
            Home::None => Ok(Vec::new()),
            Home::Expression(bytes) if bytes.is_empty() => Ok(Vec::new()),
            Home::Expression(bytes) => {
                let location = evaluate(unit, bytes, size, base);
                let whole = |range: &Range<FileAddr>| LocationRange {
                    range: range.clone(),
                    location: location.clone(),
                };
                Ok(function.ranges.iter().map(whole).collect())
            }
            Home::List(offset) => {
                let mut found = Vec::new();
                let mut entries = unit.dwarf.locations(&unit.inner, *offset)?;
                while let Some(entry) = entries.next()? {
                    if found.len() >= MAX_LIST {
                        return Err(LocationError::Malformed("a location list without end".to_owned()));
                    }
                    found.push(LocationRange {
                        range: FileAddr(entry.range.begin)..FileAddr(entry.range.end),
                        location: evaluate(unit, entry.data.0.slice(), size, base),
                    });
                }
                Ok(found)
            }
        })
    }

    /// Runs `with` on the unit of a variable and the size of its values.
    fn with_home<T>(
        &self,
        variable: &Variable,
        with: impl FnOnce(&Unit<'_>, u64) -> Result<T, LocationError>,
    ) -> Result<T, LocationError> {
        let malformed = |error: crate::DwarfError| LocationError::Malformed(error.to_string());
        if variable.home == Home::None {
            // Without a home the type does not matter, and may even be missing.
            let dwarf = self.dwarf().map_err(malformed)?;
            return with(&self.unit(&dwarf, variable.unit).map_err(malformed)?, 0);
        }
        let size = self.type_info(variable.ty).map_err(malformed)?.size;
        let dwarf = self.dwarf().map_err(malformed)?;
        with(&self.unit(&dwarf, variable.unit).map_err(malformed)?, size)
    }
}

/// What `DW_OP_fbreg` counts from in a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FrameBase {
    /// The canonical frame address: every Go function, and C functions as gcc compiles them.
    Cfa,
    /// What a register holds: C functions as clang compiles them.
    Register(DwarfReg),
    /// Something else, or not said.
    Other,
}

impl FrameBase {
    /// Reads the expression in `DW_AT_frame_base`.
    pub(crate) fn of(expression: &[u8]) -> FrameBase {
        match expression {
            [0x9c] => FrameBase::Cfa,
            // DW_OP_reg0 to DW_OP_reg31.
            [register @ 0x50..=0x6f] => FrameBase::Register(DwarfReg(u16::from(register - 0x50))),
            _ => FrameBase::Other,
        }
    }
}

/// A value on the stack of the symbolic machine.
#[derive(Clone, Copy, Debug)]
enum Symbol {
    Number(u64),
    Cfa(i64),
    Register(DwarfReg, i64),
    Address(u64),
    /// What lies at an offset from the canonical frame address.
    AtCfa(i64),
}

impl Symbol {
    fn plus(self, other: Symbol) -> Option<Symbol> {
        let add = |offset: i64, number: u64| offset.wrapping_add(number.cast_signed());
        Some(match (self, other) {
            (Symbol::Number(a), Symbol::Number(b)) => Symbol::Number(a.wrapping_add(b)),
            (Symbol::Cfa(offset), Symbol::Number(n)) | (Symbol::Number(n), Symbol::Cfa(offset)) => {
                Symbol::Cfa(add(offset, n))
            }
            (Symbol::Register(reg, offset), Symbol::Number(n)) | (Symbol::Number(n), Symbol::Register(reg, offset)) => {
                Symbol::Register(reg, add(offset, n))
            }
            (Symbol::Address(a), Symbol::Number(n)) | (Symbol::Number(n), Symbol::Address(a)) => {
                Symbol::Address(a.wrapping_add(n))
            }
            _ => return None,
        })
    }
}

/// Evaluates an expression for a value of `size` bytes.
fn evaluate(unit: &Unit<'_>, bytes: &[u8], size: u64, base: FrameBase) -> Result<Location, LocationError> {
    let address = |index| unit.dwarf.address(&unit.inner, index).ok();
    evaluate_expression(bytes, unit.inner.encoding(), size, base, address)
}

fn evaluate_expression(
    bytes: &[u8],
    encoding: gimli::Encoding,
    size: u64,
    base: FrameBase,
    indexed_address: impl Fn(gimli::DebugAddrIndex<usize>) -> Option<u64>,
) -> Result<Location, LocationError> {
    let malformed = |what: &str| LocationError::Malformed(what.to_owned());
    let size = u32::try_from(size).map_err(|_| malformed("the value is larger than 4 GiB"))?;
    let mut operations = gimli::Expression(EndianSlice::new(bytes, LittleEndian)).operations(encoding);
    let mut stack: Vec<Symbol> = Vec::new();
    // A description that is complete and waits for its size: a register, a constant, or what lies on the stack.
    let mut described: Option<PieceKind> = None;
    let mut is_value = false;
    let mut pieces: Vec<Piece> = Vec::new();
    let mut filled = 0u32;

    while let Some(operation) = operations.next()? {
        if pieces.len() > MAX_PIECES || stack.len() > MAX_STACK {
            return Err(malformed("an expression without end"));
        }
        match operation {
            Operation::Nop => {}
            Operation::UnsignedConstant { value } => stack.push(Symbol::Number(value)),
            Operation::SignedConstant { value } => stack.push(Symbol::Number(value.cast_unsigned())),
            Operation::Address { address } => stack.push(Symbol::Address(address)),
            Operation::AddressIndex { index } => {
                let address = indexed_address(index).ok_or_else(|| malformed("an address index without an address"))?;
                stack.push(Symbol::Address(address));
            }
            Operation::CallFrameCFA => stack.push(Symbol::Cfa(0)),
            Operation::FrameOffset { offset } => stack.push(match base {
                FrameBase::Cfa => Symbol::Cfa(offset),
                FrameBase::Register(register) => Symbol::Register(register, offset),
                FrameBase::Other => return Err(LocationError::Unsupported("an unusual frame base".to_owned())),
            }),
            Operation::RegisterOffset { register, offset, .. } => {
                stack.push(Symbol::Register(DwarfReg(register.0), offset));
            }
            Operation::PlusConstant { value } => {
                let top = stack.pop().and_then(|top| top.plus(Symbol::Number(value)));
                stack.push(top.ok_or_else(|| malformed("an addition without operands"))?);
            }
            Operation::Plus => {
                let sum = stack.pop().zip(stack.pop()).and_then(|(a, b)| a.plus(b));
                stack.push(sum.ok_or_else(|| malformed("an addition that makes no address"))?);
            }
            Operation::Deref {
                size: 8, space: false, ..
            } if matches!(stack.last(), Some(Symbol::Cfa(_))) => {
                if let Some(Symbol::Cfa(offset)) = stack.pop() {
                    stack.push(Symbol::AtCfa(offset));
                }
            }
            Operation::Register { register } => described = Some(PieceKind::Register(DwarfReg(register.0))),
            Operation::ImplicitValue { data } => described = Some(PieceKind::Const(data.slice().to_vec())),
            Operation::StackValue => is_value = true,
            Operation::Piece {
                size_in_bits,
                bit_offset,
            } => {
                if size_in_bits % 8 != 0 || bit_offset.is_some_and(|offset| offset != 0) {
                    return Err(LocationError::Unsupported("a piece of single bits".to_owned()));
                }
                let bytes = u32::try_from(size_in_bits / 8).map_err(|_| malformed("a piece is too large"))?;
                let kind = describe(described.take(), stack.pop(), is_value, bytes)?;
                pieces.push(Piece {
                    kind: kind.unwrap_or(PieceKind::Empty),
                    size: bytes,
                });
                filled = filled
                    .checked_add(bytes)
                    .ok_or_else(|| malformed("the pieces are too large"))?;
                is_value = false;
            }
            other => return Err(LocationError::Unsupported(operation_name(&other))),
        }
    }

    if pieces.is_empty() {
        let kind =
            describe(described, stack.pop(), is_value, size)?.ok_or(LocationError::OptimizedOut(Absence::Empty))?;
        return Ok(Location {
            pieces: vec![Piece { kind, size }],
            is_divided: false,
        });
    }
    let repeats = filled > size;
    if repeats {
        pieces = without_repeats(pieces);
        filled = pieces.iter().map(|piece| piece.size).sum();
    }
    // Trailing bytes that are in no piece are bytes that the compiler dropped.
    match size.cmp(&filled) {
        std::cmp::Ordering::Greater => pieces.push(Piece {
            kind: PieceKind::Empty,
            size: size - filled,
        }),
        std::cmp::Ordering::Less => return Err(malformed("the pieces are larger than the value")),
        std::cmp::Ordering::Equal => {}
    }
    if pieces.iter().all(|piece| piece.kind == PieceKind::Empty) && size > 0 {
        return Err(LocationError::OptimizedOut(Absence::Empty));
    }
    let pieces = joined(&pieces).map_or(pieces, |whole| vec![whole]);
    Ok(Location {
        pieces,
        is_divided: true,
    })
}

/// The one piece that pieces make which all lie side by side in memory, as those of a spilled string do. Where one lies elsewhere they stay as they are: only then it
/// can be told which component of the value each is.
fn joined(pieces: &[Piece]) -> Option<Piece> {
    let (first, rest) = pieces.split_first()?;
    let mut whole = first.clone();
    for piece in rest {
        let size = i64::from(whole.size);
        let is_next = match (&whole.kind, &piece.kind) {
            (PieceKind::CfaOffset(a), PieceKind::CfaOffset(b)) => a.checked_add(size) == Some(*b),
            (PieceKind::RegisterOffset(r, a), PieceKind::RegisterOffset(q, b)) => {
                r == q && a.checked_add(size) == Some(*b)
            }
            (PieceKind::Addr(a), PieceKind::Addr(b)) => a.offset(size) == Some(*b),
            _ => false,
        };
        whole.size = whole.size.checked_add(piece.size).filter(|_| is_next)?;
    }
    Some(whole)
}

/// Compilers before Go 1.22 list a part of a value several times when the value is taken apart several times, as in a
/// type switch. Parts come in order, so repeats of one are neighbours. Whether what remains is as large as the value
/// is for the caller to check: two different parts in one register would be taken for one here, and leave a gap.
fn without_repeats(mut pieces: Vec<Piece>) -> Vec<Piece> {
    pieces.dedup();
    pieces
}

/// What the operations before a piece's end (or the expression's) have described; `None` for nothing.
fn describe(
    described: Option<PieceKind>,
    top: Option<Symbol>,
    is_value: bool,
    size: u32,
) -> Result<Option<PieceKind>, LocationError> {
    let malformed = |what: &str| LocationError::Malformed(what.to_owned());
    if let Some(kind) = described {
        return match kind {
            PieceKind::Const(bytes) if bytes.len() != size as usize => {
                Err(malformed("a constant that is not as large as the value"))
            }
            // A wider register of that number would be needed: xmm registers hold 16 bytes, the others 8.
            PieceKind::Register(register) if size > if register.is_xmm() { 16 } else { 8 } => {
                Err(LocationError::OptimizedOut(Absence::PartInRegister))
            }
            kind => Ok(Some(kind)),
        };
    }
    Ok(Some(match (top, is_value) {
        (None, _) => return Ok(None),
        (Some(Symbol::Number(value)), true) => {
            let bytes = value.to_le_bytes();
            let bytes = bytes
                .get(..size as usize)
                .ok_or_else(|| malformed("a constant larger than eight bytes"))?;
            PieceKind::Const(bytes.to_vec())
        }
        (Some(_), true) => return Err(LocationError::Unsupported("a value computed from registers".to_owned())),
        (Some(Symbol::Number(address) | Symbol::Address(address)), false) => PieceKind::Addr(FileAddr(address)),
        (Some(Symbol::Cfa(offset)), false) => PieceKind::CfaOffset(offset),
        (Some(Symbol::AtCfa(offset)), false) => PieceKind::Behind(offset),
        (Some(Symbol::Register(register, offset)), false) => PieceKind::RegisterOffset(register, offset),
    }))
}

/// The operation's name, without its operands.
fn operation_name(operation: &Operation<EndianSlice<'_, LittleEndian>>) -> String {
    let debug = format!("{operation:?}");
    let end = debug.find(|c: char| !c.is_alphanumeric()).unwrap_or(debug.len());
    format!("the operation {}", &debug[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evaluate(bytes: &[u8], size: u64) -> Result<Vec<(PieceKind, u32)>, LocationError> {
        let encoding = gimli::Encoding {
            format: gimli::Format::Dwarf32,
            version: 5,
            address_size: 8,
        };
        let location = evaluate_expression(bytes, encoding, size, FrameBase::Cfa, |index| {
            (index.0 == 2).then_some(0x1234)
        })?;
        Ok(location
            .pieces
            .into_iter()
            .map(|piece| (piece.kind, piece.size))
            .collect())
    }

    #[test]
    fn single_places() {
        use PieceKind::{Addr, Behind, CfaOffset, Const, Register, RegisterOffset};
        // DW_OP_reg3; DW_OP_regx 17; DW_OP_call_frame_cfa; DW_OP_fbreg -24
        assert_eq!(evaluate(&[0x53], 8), Ok(vec![(Register(DwarfReg(3)), 8)]));
        assert_eq!(evaluate(&[0x90, 17], 8), Ok(vec![(Register(DwarfReg(17)), 8)]));
        assert_eq!(evaluate(&[0x9c], 16), Ok(vec![(CfaOffset(0), 16)]));
        assert_eq!(evaluate(&[0x91, 0x68], 8), Ok(vec![(CfaOffset(-24), 8)]));
        // DW_OP_call_frame_cfa, DW_OP_consts -8, DW_OP_plus, as Go before 1.2x writes it
        assert_eq!(evaluate(&[0x9c, 0x11, 0x78, 0x22], 8), Ok(vec![(CfaOffset(-8), 8)]));
        // DW_OP_call_frame_cfa, DW_OP_plus_uconst 16
        assert_eq!(evaluate(&[0x9c, 0x23, 16], 8), Ok(vec![(CfaOffset(16), 8)]));
        // DW_OP_addr; DW_OP_addrx 2
        assert_eq!(
            evaluate(&[0x03, 1, 0, 0, 0, 0, 0, 0, 0], 8),
            Ok(vec![(Addr(FileAddr(1)), 8)])
        );
        assert_eq!(evaluate(&[0xa1, 2], 8), Ok(vec![(Addr(FileAddr(0x1234)), 8)]));
        // DW_OP_fbreg -24, DW_OP_deref, as Go describes a result that escaped
        assert_eq!(evaluate(&[0x91, 0x68, 0x06], 24), Ok(vec![(Behind(-24), 24)]));
        // DW_OP_breg6 -20
        assert_eq!(
            evaluate(&[0x76, 0x6c], 4),
            Ok(vec![(RegisterOffset(DwarfReg(6), -20), 4)])
        );
        // DW_OP_consts -2, DW_OP_stack_value
        assert_eq!(evaluate(&[0x11, 0x7e, 0x9f], 2), Ok(vec![(Const(vec![0xfe, 0xff]), 2)]));
    }

    #[test]
    fn the_frame_base_is_respected() {
        let encoding = gimli::Encoding {
            format: gimli::Format::Dwarf32,
            version: 4,
            address_size: 8,
        };
        let with = |base| evaluate_expression(&[0x91, 0x68], encoding, 8, base, |_| None);
        let clang = with(FrameBase::of(&[0x56])).map(|location| location.pieces[0].kind.clone());
        assert_eq!(clang, Ok(PieceKind::RegisterOffset(DwarfReg::RBP, -24)));
        assert!(with(FrameBase::of(&[0x9c])).is_ok());
        assert!(matches!(with(FrameBase::of(&[])), Err(LocationError::Unsupported(_))));
    }

    #[test]
    fn pieces_add_up_to_the_value() {
        use PieceKind::{CfaOffset, Empty, Register};
        // A string with its pointer in memory and its length in RBX.
        assert_eq!(
            evaluate(&[0x91, 0x10, 0x93, 8, 0x53, 0x93, 8], 16),
            Ok(vec![(CfaOffset(16), 8), (Register(DwarfReg(3)), 8)])
        );
        // The pointer is gone, only the length is left.
        assert_eq!(
            evaluate(&[0x93, 8, 0x53, 0x93, 8], 16),
            Ok(vec![(Empty, 8), (Register(DwarfReg(3)), 8)])
        );
        assert_eq!(
            evaluate(&[0x53, 0x93, 8], 24),
            Ok(vec![(Register(DwarfReg(3)), 8), (Empty, 16)])
        );
        // A slice whose pointer and length were spilled.
        assert_eq!(
            evaluate(&[0x91, 0, 0x93, 8, 0x91, 8, 0x93, 8, 0x53, 0x93, 8], 24),
            Ok(vec![(CfaOffset(0), 8), (CfaOffset(8), 8), (Register(DwarfReg(3)), 8)])
        );
        // All of it was.
        assert_eq!(
            evaluate(&[0x91, 0, 0x93, 8, 0x91, 8, 0x93, 8, 0x91, 16, 0x93, 8], 24),
            Ok(vec![(CfaOffset(0), 24)])
        );
        assert_eq!(
            evaluate(&[0x93, 8, 0x93, 8], 16),
            Err(LocationError::OptimizedOut(Absence::Empty))
        );
        assert!(matches!(
            evaluate(&[0x53, 0x93, 8], 4),
            Err(LocationError::Malformed(_))
        ));
    }

    #[test]
    fn what_cannot_be_said_is_an_error() {
        assert_eq!(evaluate(&[], 8), Err(LocationError::OptimizedOut(Absence::Empty)));
        // DW_OP_entry_value(DW_OP_reg5), DW_OP_stack_value
        assert!(matches!(
            evaluate(&[0xa3, 1, 0x55, 0x9f], 8),
            Err(LocationError::Unsupported(_))
        ));
        // DW_OP_breg0 0, DW_OP_deref
        assert!(matches!(
            evaluate(&[0x70, 0, 0x06], 8),
            Err(LocationError::Unsupported(_))
        ));
        // DW_OP_breg0 0, DW_OP_stack_value
        assert!(matches!(
            evaluate(&[0x70, 0, 0x9f], 8),
            Err(LocationError::Unsupported(_))
        ));
        assert!(matches!(evaluate(&[0x22], 8), Err(LocationError::Malformed(_))));
        assert_eq!(
            evaluate(&[0x53], 24),
            Err(LocationError::OptimizedOut(Absence::PartInRegister))
        );
        assert!(matches!(evaluate(&[0x91], 8), Err(LocationError::Malformed(_))));
        assert!(matches!(evaluate(&[0xa1, 9], 8), Err(LocationError::Malformed(_))));
    }
}
