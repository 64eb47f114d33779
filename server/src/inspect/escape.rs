//! Pointers into a goroutine's stack must not be handed to a function that may keep them: the stack moves, and ends.

use std::ops::Range;

use spelunk_dwarf::{Binary, Kind, ProcAddr, TypeId};

use crate::value::Memory;

/// Types nest at most this deep; those of a hostile binary may be endless.
const MAX_DEPTH: u32 = 64;
/// So many elements of arrays are looked at.
const MAX_ELEMENTS: u64 = 1 << 16;

/// What is looked for, and in what.
pub(super) struct Escape<'a> {
    /// Describes the types.
    pub(super) binary: &'a Binary,
    /// For what function values point to.
    pub(super) memory: &'a dyn Memory,
    /// The stacks.
    pub(super) stacks: &'a [Range<u64>],
}

impl Escape<'_> {
    /// The part of a value that points into a stack, by its path from `name`; `None` if none does.
    pub(super) fn of(&self, ty: TypeId, value: &[u8], name: &str) -> Option<String> {
        self.find(ty, value, name, 0)
    }

    fn find(&self, ty: TypeId, value: &[u8], name: &str, depth: u32) -> Option<String> {
        let info = self.binary.type_info(ty).ok().filter(|_| depth <= MAX_DEPTH)?;
        let word = |n: usize| {
            let bytes = value.get(8 * n..8 * n + 8)?.try_into().ok()?;
            Some(u64::from_le_bytes(bytes))
        };
        let check = |address: Option<u64>| {
            let address = address?;
            let is_within = self.stacks.iter().any(|stack| stack.contains(&address));
            is_within.then(|| name.to_owned())
        };
        let part = |at: u64, size: u64| {
            let start = usize::try_from(at).ok()?;
            value.get(start..start.checked_add(usize::try_from(size).ok()?)?)
        };
        match &info.kind {
            Kind::Pointer { .. }
            | Kind::UnsafePointer
            | Kind::Chan { .. }
            | Kind::Map { .. }
            | Kind::String
            | Kind::Slice { .. } => check(word(0)),
            Kind::Interface { .. } => check(word(1)).map(|path| format!("{path}.data")),
            // The word is the closure's address, where the code's stands.
            Kind::Func => check(word(0)).or_else(|| {
                let closure = word(0).filter(|closure| *closure != 0)?;
                check(self.memory.read_uint(ProcAddr(closure), 8).ok())
            }),
            Kind::Struct { fields } => fields.iter().find_map(|field| {
                let size = self.binary.type_info(field.ty).ok()?.size;
                let path = format!("{name}.{}", field.name);
                self.find(field.ty, part(field.offset, size)?, &path, depth + 1)
            }),
            Kind::Array { elem, len, .. } => {
                let size = self.binary.type_info(*elem).ok()?.size;
                (0..(*len).min(MAX_ELEMENTS)).find_map(|index| {
                    let path = format!("{name}[{index}]");
                    self.find(*elem, part(index.checked_mul(size)?, size)?, &path, depth + 1)
                })
            }
            _ => None,
        }
    }
}
