//! Types that a program implies but its compiler did not describe: a pointer to a described type, an array of one.
//!
//! A debugger needs them for the address of a variable, for a part of an array, for the buffer of a channel and for what a closure captured.
//! They are made when asked for and kept, so that one type has one [`TypeId`].

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use crate::error::DwarfError;
use crate::types::{Field, Kind, Type, TypeId};
use crate::{Binary, FileAddr};

/// Derived types are numbered from here on, where no `.debug_info` reaches.
const FIRST: u64 = 1 << 62;
/// More than a debugging session asks for. Lengths of arrays come from the target's memory, so there must be a bound.
const MAX_DERIVED: usize = 1 << 16;

/// What a type is derived from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Origin {
    Pointer(TypeId),
    Slice(TypeId),
    Array(TypeId, u64),
    Closure(FileAddr),
}

/// The types derived so far.
#[derive(Debug, Default)]
pub(crate) struct DerivedTypes(RwLock<HashMap<Origin, TypeId>>);

impl Binary {
    /// The type `*T`: the described one where there is one.
    pub fn pointer_to(&self, elem: TypeId) -> Result<TypeId, DwarfError> {
        let info = self.type_info(elem)?;
        let name = format!("*{}", info.name);
        // A name that a type was given is described apart from what it names, and the pointer may be to either.
        let is_same = |known: TypeId| {
            known == elem
                || self.type_info(known).is_ok_and(|known| {
                    // What a type argument stands for is another thing than its shape.
                    (&known.name, &known.kind, known.dict_index) == (&info.name, &info.kind, info.dict_index)
                })
        };
        if let Some(known) = self.described(&name, |kind| matches!(kind, Kind::Pointer { elem } if is_same(*elem))) {
            return Ok(known);
        }
        self.derive(Origin::Pointer(elem), &name, 8, Kind::Pointer { elem })
    }

    /// The type `[]T`: the described one where there is one.
    pub fn slice_of(&self, elem: TypeId) -> Result<TypeId, DwarfError> {
        let name = format!("[]{}", self.type_info(elem)?.name);
        if let Some(known) = self.described(&name, |kind| *kind == Kind::Slice { elem }) {
            return Ok(known);
        }
        self.derive(Origin::Slice(elem), &name, 24, Kind::Slice { elem })
    }

    /// The type `[len]T`: the described one where there is one. It fails for an array larger than the address space.
    pub fn array_of(&self, elem: TypeId, len: u64) -> Result<TypeId, DwarfError> {
        let info = self.type_info(elem)?;
        let name = format!("[{len}]{}", info.name);
        let stride = info.size;
        let size = stride.checked_mul(len).filter(|size| *size < 1 << 47);
        let size = size.ok_or_else(|| DwarfError::Unsupported(format!("the array type {name}")))?;
        let kind = Kind::Array { elem, len, stride };
        if let Some(known) = self.described(&name, |known| *known == kind) {
            return Ok(known);
        }
        self.derive(Origin::Array(elem, len), &name, size, kind)
    }

    /// The struct that a closure of the function at `entry` points to: its captured variables at their offsets. It has no name, as with Delve.
    pub fn closure_struct(&self, entry: FileAddr, fields: Vec<Field>) -> Result<TypeId, DwarfError> {
        let last = fields.iter().max_by_key(|field| field.offset);
        let size = match last {
            Some(field) => field.offset.saturating_add(self.type_info(field.ty)?.size),
            None => 0,
        };
        let fields = fields.into();
        self.derive(Origin::Closure(entry), "struct {...}", size, Kind::Struct { fields })
    }

    fn described(&self, name: &str, fits: impl Fn(&Kind) -> bool) -> Option<TypeId> {
        let id = self.type_named(name)?;
        self.type_info(id).is_ok_and(|info| fits(&info.kind)).then_some(id)
    }

    fn derive(&self, origin: Origin, name: &str, size: u64, kind: Kind) -> Result<TypeId, DwarfError> {
        let mut derived = self.derived.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = derived.get(&origin) {
            return Ok(*known);
        }
        if derived.len() >= MAX_DERIVED {
            return Err(DwarfError::Unsupported(format!("one more type ({name})")));
        }
        let id = TypeId(FIRST + derived.len() as u64);
        let ty = Type {
            id,
            name: name.into(),
            size,
            kind,
            runtime_type: None,
            dict_index: None,
        };
        let mut types = self.types.write().unwrap_or_else(PoisonError::into_inner);
        types.insert(id, Arc::new(ty));
        derived.insert(origin, id);
        Ok(id)
    }
}
