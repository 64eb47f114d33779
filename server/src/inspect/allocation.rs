//! Room that the program makes for texts and composite literals, where calls are allowed: they then lie in its own memory, which it frees when nothing
//! points to them any more.

use spelunk_dwarf::{Binary, DwarfReg, Kind, TypeId};

use super::FrameScope;
use super::assign::{no_room_for_string, same_type};
use super::calls::{CallKey, CallRequest, REGISTER_ROOM, ResultPlace};
use crate::expr::{Const, EvalError, Expr, Operand, What};
use crate::trace::{AbiRegister, PassedAt, RegisterPart};
use crate::value::Memory as _;

/// The runtime's function that allocates: `mallocgc(size, type, zeroed)`. Without a type it is memory without pointers (runtime/malloc.go).
const ALLOCATE: &str = "runtime.mallocgc";
/// Types are looked through for pointers to this depth.
const MAX_DEPTH: u32 = 32;

/// A string whose bytes are at `address`.
pub(super) fn string_of(address: u64, text: &[u8]) -> Vec<u8> {
    let words = [address, text.len() as u64];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

impl FrameScope<'_> {
    /// The text of a constant that is to be a string in the program, which then has to have it somewhere.
    pub(super) fn text_to_allocate<'v>(&self, value: &'v Operand, target: &Operand) -> Option<&'v [u8]> {
        let (What::Const(Const::Text(text)) | What::Declared(Const::Text(text))) = &value.what else {
            return None;
        };
        let ty = target.ty.as_ref().filter(|ty| ty.kind == Kind::String)?;
        let fits = value.ty.as_ref().is_none_or(|from| same_type(self, from, ty, 0));
        (fits && !text.is_empty()).then_some(text)
    }

    /// The string that `value`, which `source` denotes, becomes in the program, where it is a text to be put there and calls are allowed.
    pub(super) fn allocated(
        &self,
        source: &Expr,
        value: &Operand,
        target: &Operand,
    ) -> Result<Option<Vec<u8>>, EvalError> {
        let (Some(book), Some(text)) = (self.calls, self.text_to_allocate(value, target)) else {
            return Ok(None);
        };
        let key = CallKey::of(source).with_room_for(0);
        if let Some(address) = book.room_at(key)? {
            return Ok(Some(string_of(address, text)));
        }
        book.wanted.replace(Some(self.allocation(key, None, text)?));
        Err(EvalError::CallPending)
    }

    /// The pointer to a composite literal, which `source` is, once the program has made room for it.
    pub(super) fn pointer_to_literal(&self, source: &Expr, literal: &Operand) -> Result<Operand, EvalError> {
        let (Some(book), Some(ty), What::Place(addr)) = (self.calls, &literal.ty, &literal.what) else {
            return Err(EvalError::Call);
        };
        let pointer = self.binary.type_info(self.binary.pointer_to(ty.id)?)?;
        let key = CallKey::of(source);
        if let Some(address) = book.room_at(key)? {
            return Ok(Operand {
                ty: Some(pointer),
                what: What::Pointer(address),
            });
        }
        let mut bytes = vec![
            0;
            usize::try_from(ty.size)
                .unwrap_or(usize::MAX)
                .min(crate::expr::MAX_LITERAL as usize)
        ];
        self.memory.read(*addr, &mut bytes)?;
        // What lies on the heap must not point into a stack.
        if let Some(path) = self.escaping(book, ty.id, &bytes, &ty.name) {
            let why = format!("can not allocate {source}: stack object passed to escaping pointer: {path}");
            return Err(EvalError::Refused(why));
        }
        let description = ty.runtime_type.map(|at| self.bias.to_proc(at).0);
        if description.is_none() && has_pointers(self.binary, ty.id, 0) {
            return Err(EvalError::Refused(format!(
                "can not allocate {source}: the program has no description of {} for its garbage collector, as it never makes an interface of one",
                ty.name
            )));
        }
        book.wanted.replace(Some(self.allocation(key, description, &bytes)?));
        Err(EvalError::CallPending)
    }

    /// The call that makes room for bytes, of a type where they have pointers, and puts them there.
    pub(super) fn allocation(&self, key: CallKey, ty: Option<u64>, bytes: &[u8]) -> Result<CallRequest, EvalError> {
        let function = self.binary.function_named(ALLOCATE).ok_or_else(no_room_for_string)?;
        let uintptr = self.binary.type_named("uintptr").ok_or_else(no_room_for_string)?;
        // What may be looked at by the garbage collector before it is filled has no pointers then.
        let arguments = [bytes.len() as u64, ty.unwrap_or(0), 1];
        let register = |number| AbiRegister::Integer(number).dwarf().unwrap_or(DwarfReg(0));
        let part = RegisterPart {
            offset: 0,
            size: 8,
            register: AbiRegister::Integer(0),
            blank: false,
        };
        Ok(CallRequest {
            key,
            entry: self.bias.to_proc(function.entry),
            closure: None,
            registers: (0..)
                .zip(arguments)
                .map(|(number, value)| (register(number), value.to_le_bytes()))
                .collect(),
            stack: Vec::new(),
            frame_size: REGISTER_ROOM,
            results: vec![ResultPlace {
                name: String::new(),
                ty: uintptr,
                size: 8,
                place: Some(PassedAt::Registers {
                    parts: vec![part],
                    spill: None,
                }),
                origin: None,
            }],
            fill: bytes.to_owned(),
        })
    }
}

/// Whether a value of a type has pointers in it, as far as that can be told: one that is not known may.
fn has_pointers(binary: &Binary, ty: TypeId, depth: u32) -> bool {
    let Ok(info) = binary.type_info(ty) else { return true };
    match &info.kind {
        Kind::Bool | Kind::Int | Kind::Uint | Kind::Uintptr | Kind::Float | Kind::Complex => false,
        Kind::Array { elem, len, .. } => *len > 0 && (depth > MAX_DEPTH || has_pointers(binary, *elem, depth + 1)),
        Kind::Struct { fields } => {
            depth > MAX_DEPTH || fields.iter().any(|field| has_pointers(binary, field.ty, depth + 1))
        }
        _ => true,
    }
}
