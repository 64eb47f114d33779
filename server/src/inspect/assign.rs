//! Assigns to what an expression denotes. What needs calls into the program for that asks for them as any expression does (`calls`).

use std::sync::Arc;

use spelunk_dwarf::{DwarfReg, Kind, ProcAddr, Type};

use super::FrameScope;
use super::frame_memory::{Source, whole_register};
use crate::expr::{Const, EvalError, Expr, Operand, ParseError, What, fits_into, fitted, parse};
use crate::value::{LoadConfig, Memory as _, is_direct_in_interface, is_made_up, type_in_error};

/// Values up to this size are copied, in bytes.
const MAX_COPY: u64 = 1 << 20;

/// A change to make in the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Write {
    /// These bytes from this address on.
    Memory(ProcAddr, Vec<u8>),
    /// The whole register of the thread that runs the frame: eight bytes for a general one, sixteen for a vector one.
    Register(DwarfReg, Vec<u8>),
}

/// An assignment, parsed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assignment {
    /// What is assigned to.
    what: Expr,
    /// The value.
    to: Expr,
    /// Both as they were written, for errors.
    what_text: String,
    to_text: String,
}

impl Assignment {
    /// From the texts of both sides.
    pub(crate) fn parse(what: &str, to: &str) -> Result<Assignment, ParseError> {
        Ok(Assignment {
            what: parse(what)?,
            to: parse(to)?,
            what_text: what.trim().to_owned(),
            to_text: to.trim().to_owned(),
        })
    }
}

impl FrameScope<'_> {
    /// Assigns the value of the Go expression `to` to what the Go expression `what` denotes. `write` is called for each change, in order; the first that fails
    /// ends it. Nothing is written unless types and values allow it.
    pub(crate) fn assign(
        &self,
        what: &str,
        to: &str,
        write: &mut dyn FnMut(Write) -> Result<(), String>,
    ) -> Result<(), EvalError> {
        let assignment = Assignment::parse(what, to)?;
        let mut failed = None;
        for change in self.changes_of(&assignment)? {
            if let Err(why) = write(change) {
                failed = Some(why);
                break;
            }
        }
        self.memory.forget();
        failed.map_or(Ok(()), |why| Err(EvalError::Refused(why)))
    }

    /// What an assignment changes.
    pub(super) fn changes_of(&self, assignment: &Assignment) -> Result<Vec<Write>, EvalError> {
        let loader = self.loader(LoadConfig::FULL);
        let evaluator = self.evaluator(&loader);
        let (what, to) = (&assignment.what_text, &assignment.to_text);
        let value = evaluator.evaluate(&assignment.to)?;
        if self.calls.is_none()
            && let (None, What::Const(Const::Text(text))) = (&value.ty, &value.what)
            && !text.is_empty()
        {
            return Err(no_room_for_string());
        }
        let target = evaluator.operand(&assignment.what)?;
        let (ty, addr) = match (&target.ty, &target.what) {
            (Some(ty), What::Place(addr)) => (ty, *addr),
            (_, What::Unreadable(why)) => return Err(EvalError::Unreadable(why.clone())),
            (_, What::Function { .. }) => return Err(EvalError::Refused(format!("can not assign to {what}"))),
            _ => return Err(EvalError::Refused(format!("can not assign to \"{what}\""))),
        };
        if self.calls.is_some_and(|book| book.has(addr)) {
            return Err(EvalError::Refused(format!(
                "can not assign to \"{what}\": it is what a call has returned"
            )));
        }
        let bytes = match self.allocated(&assignment.to, &value, &target)? {
            Some(bytes) => bytes,
            None => self.bytes_of(&target, &value, to)?,
        };
        debug_assert_eq!(bytes.len() as u64, ty.size, "a value has the size of its type");
        self.changes(addr, &bytes)
    }

    /// The bytes that make `target` hold `value`.
    pub(super) fn bytes_of(&self, target: &Operand, value: &Operand, source: &str) -> Result<Vec<u8>, EvalError> {
        if let What::Unreadable(why) = &value.what {
            return Err(EvalError::Refused(format!(
                "Expression \"{source}\" is unreadable: {why}"
            )));
        }
        if let What::Unreadable(why) = &target.what {
            return Err(EvalError::Unreadable(why.clone()));
        }
        let Some(ty) = &target.ty else {
            return Err(EvalError::Refused("can not assign to a constant".to_owned()));
        };
        if value.is_nil() {
            if !can_be_nil(&ty.kind) {
                return Err(EvalError::Refused(format!(
                    "mismatched types nil and {}",
                    type_in_error(ty)
                )));
            }
            return Ok(vec![0; ty.size.min(MAX_COPY) as usize]);
        }
        match &value.ty {
            None => fits_into(value, ty, &type_in_error(ty))?,
            Some(from) if same_type(self, from, ty, 0) => {}
            Some(from) if matches!(ty.kind, Kind::Interface { empty: true }) => return self.boxed(value, from, ty),
            Some(from) => return Err(mismatch(from, ty)),
        }
        let addr = match &value.what {
            What::Const(constant) | What::Declared(constant) => return scalar_bytes(constant, ty),
            What::Pointer(address) => return Ok(self.pointed_to(*address)?.to_le_bytes().to_vec()),
            What::Slice { base, len, cap, .. } => {
                return Ok([self.pointed_to(*base)?, *len as u64, *cap as u64]
                    .iter()
                    .flat_map(|word| word.to_le_bytes())
                    .collect());
            }
            What::Part { base, len, .. } => {
                return Ok([self.pointed_to(*base)?, *len as u64]
                    .iter()
                    .flat_map(|word| word.to_le_bytes())
                    .collect());
            }
            What::Place(addr) | What::MapFrom { addr, .. } => *addr,
            _ => {
                // Delve's words for whatever has no place in memory.
                let kind = value.kind_name();
                return Err(EvalError::Refused(format!(
                    "can not set variables of type {kind} (not implemented)"
                )));
            }
        };
        if ty.size > MAX_COPY {
            return Err(EvalError::Refused(format!("{} is too large to be copied", ty.name)));
        }
        let mut bytes = vec![0; ty.size as usize];
        self.memory.read(addr, &mut bytes)?;
        Ok(bytes)
    }

    /// A value as an `interface {}`: an interface gives what it holds, and what is a pointer by itself stands in the interface; anything else would have to be
    /// allocated.
    fn boxed(&self, value: &Operand, from: &Arc<Type>, to: &Type) -> Result<Vec<u8>, EvalError> {
        let runtime_type = match (&from.kind, &value.what) {
            (Kind::Interface { .. }, What::Place(addr)) => {
                let table = self.memory.read_uint(*addr, 8)?;
                let data = self.memory.read_uint(ProcAddr(addr.0.wrapping_add(8)), 8)?;
                // The second word of an itab is the type (internal/abi/iface.go).
                let ty = if table == 0 {
                    0
                } else {
                    self.memory.read_uint(ProcAddr(table.wrapping_add(8)), 8)?
                };
                return Ok([ty, data].iter().flat_map(|word| word.to_le_bytes()).collect());
            }
            _ => from.runtime_type.filter(|ty| is_direct_in_interface(self.binary, *ty)),
        };
        let Some(runtime_type) = runtime_type else {
            return Err(mismatch(from, to));
        };
        let data = match &value.what {
            What::Pointer(address) => self.pointed_to(*address)?,
            What::Place(addr) => self.memory.read_uint(*addr, 8)?,
            _ => return Err(mismatch(from, to)),
        };
        let ty = self.bias.to_proc(runtime_type).0;
        Ok([ty, data].iter().flat_map(|word| word.to_le_bytes()).collect())
    }

    /// An address that the program is to have. What lies in a register or was only written down has none that means anything to it; of the latter Delve says that it takes a call
    /// to get it one.
    fn pointed_to(&self, address: u64) -> Result<u64, EvalError> {
        let addr = ProcAddr(address);
        if self.memory.is_literal(addr) {
            return Err(EvalError::Call);
        }
        if is_made_up(addr) {
            return Err(EvalError::Refused(
                "the value is in a register, so nothing in the program can point to it".to_owned(),
            ));
        }
        Ok(address)
    }

    /// Where bytes go that are written at an address of this frame's memory.
    fn changes(&self, addr: ProcAddr, bytes: &[u8]) -> Result<Vec<Write>, EvalError> {
        if !is_made_up(addr) {
            return Ok(vec![Write::Memory(addr, bytes.to_vec())]);
        }
        let nowhere = || EvalError::Refused("the variable is in a register of another frame".to_owned());
        let (start, parts) = self.memory.parts_at(addr).ok_or_else(nowhere)?;
        let owner = self.memory.owner_at(addr).ok_or_else(nowhere)?;
        let end = start + bytes.len() as u64;
        let mut changes = Vec::new();
        for part in &parts {
            let (from, to) = (start.max(part.offset), end.min(part.offset + part.size));
            if from >= to {
                continue;
            }
            let new = bytes
                .get((from - start) as usize..(to - start) as usize)
                .unwrap_or_default();
            let within = (from - part.offset) as usize;
            changes.push(match &part.source {
                Source::Memory(at) => Write::Memory(ProcAddr(at.0.wrapping_add(within as u64)), new.to_vec()),
                Source::Register(register, _) => {
                    let mut whole = whole_register(owner, *register).ok_or_else(nowhere)?;
                    let slot = whole.get_mut(within..within + new.len()).ok_or_else(nowhere)?;
                    slot.copy_from_slice(new);
                    // The register of an outer frame is not that of the thread; that one's are all known, the flags too.
                    if owner.registers.flags.is_none() {
                        return Err(EvalError::Refused("can not write registers".to_owned()));
                    }
                    Write::Register(*register, whole)
                }
                Source::Constant(_) => {
                    return Err(EvalError::Refused("the compiler replaced it by a constant".to_owned()));
                }
                Source::Missing(why) => return Err(why.clone().into()),
            });
        }
        Ok(changes)
    }
}

fn mismatch(from: &Type, to: &Type) -> EvalError {
    EvalError::Refused(format!(
        "can not convert value of type {} to {}",
        from.name,
        type_in_error(to)
    ))
}

fn can_be_nil(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Slice { .. }
            | Kind::Map { .. }
            | Kind::Func
            | Kind::Pointer { .. }
            | Kind::Chan { .. }
            | Kind::Interface { .. }
            | Kind::UnsafePointer
    )
}

/// Whether two types are one; pointers and slices are if their elements are.
pub(super) fn same_type(scope: &FrameScope<'_>, a: &Type, b: &Type, depth: u32) -> bool {
    if a.id == b.id || a.name == b.name {
        return true;
    }
    let elements = |x, y| match (scope.binary.type_info(x), scope.binary.type_info(y)) {
        (Ok(x), Ok(y)) => depth < 16 && same_type(scope, &x, &y, depth + 1),
        _ => false,
    };
    match (&a.kind, &b.kind) {
        (Kind::Pointer { elem: x }, Kind::Pointer { elem: y }) | (Kind::Slice { elem: x }, Kind::Slice { elem: y }) => {
            elements(*x, *y)
        }
        _ => false,
    }
}

/// A computed value in memory.
fn scalar_bytes(constant: &Const, ty: &Type) -> Result<Vec<u8>, EvalError> {
    let refuse = || EvalError::Refused(format!("can not convert {constant} constant to {}", ty.name));
    let float = |x: f64, size: u64| match size {
        4 => (x as f32).to_le_bytes().to_vec(),
        _ => x.to_le_bytes().to_vec(),
    };
    Ok(match (&ty.kind, fitted(ty, constant.clone())) {
        (Kind::Bool, Const::Bool(b)) => vec![u8::from(b)],
        (Kind::Int | Kind::Uint | Kind::Uintptr, Const::Int(n)) => {
            n.to_le_bytes().iter().take(ty.size as usize).copied().collect()
        }
        (Kind::Float, value) => float(value.real().ok_or_else(refuse)?, ty.size),
        (Kind::Complex, value) => {
            let (re, im) = match value {
                Const::Complex(re, im) => (re, im),
                value => (value.real().ok_or_else(refuse)?, 0.0),
            };
            [float(re, ty.size / 2), float(im, ty.size / 2)].concat()
        }
        (Kind::String, Const::Text(bytes)) if bytes.is_empty() => vec![0; 16],
        (Kind::String, Const::Text(_)) => {
            return Err(no_room_for_string());
        }
        _ => return Err(refuse()),
    })
}

/// Nothing but the program itself can make room for a string.
pub(super) fn no_room_for_string() -> EvalError {
    let why = "literal string can not be allocated because function calls are not allowed without using 'call'";
    EvalError::Refused(why.to_owned())
}
