//! One look at all units: types by name and by runtime type, package variables, constants.
//!
//! It is taken when first needed, by all processors, and kept.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use gimli::{AttributeValue, Operation, constants as dw};
use rayon::prelude::*;

use crate::error::DwarfError;
use crate::parallel::in_pool;
use crate::types::{DW_AT_GO_RUNTIME_TYPE, Kind, TypeId};
use crate::units::Unit;
use crate::{Binary, FileAddr};

/// A package-level variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Global {
    /// The name with the import path: `main.counter`, `example.com/x/y.Table`; C variables are prefixed `C.`.
    pub name: Arc<str>,
    /// Its type.
    pub ty: TypeId,
    /// Where it is.
    pub addr: FileAddr,
    /// Where its entry is in `.debug_info`, which is the order in which the compiler wrote them.
    pub entry: u64,
}

/// What all names together may take, in bytes. Many entries can refer to one long name, so the file's size does not
/// limit it.
const MAX_NAMES: usize = 1 << 30;

#[derive(Debug, Default)]
pub(crate) struct EntryIndex {
    types: HashMap<Box<str>, TypeId>,
    runtime_types: HashMap<FileAddr, TypeId>,
    /// Sorted by name.
    globals: Vec<Global>,
    constants: HashMap<TypeId, Arc<[(String, i64)]>>,
}

/// What one unit contributes.
#[derive(Default)]
struct Found {
    types: Vec<(Box<str>, TypeId)>,
    runtime_types: Vec<(FileAddr, TypeId)>,
    globals: Vec<Global>,
    constants: Vec<(TypeId, String, i64)>,
}

impl Binary {
    fn entry_index(&self) -> Result<&EntryIndex, DwarfError> {
        self.entry_index
            .get_or_init(|| self.read_entry_index())
            .as_ref()
            .map_err(Clone::clone)
    }

    fn read_entry_index(&self) -> Result<EntryIndex, DwarfError> {
        let count = self.units()?.records.len();
        let names = AtomicUsize::new(0);
        let found: Vec<Found> = in_pool(|| {
            (0..count)
                .into_par_iter()
                .map(|index| {
                    let mut found = Found::default();
                    // A damaged unit contributes what can be read of it.
                    let _ = self.read_unit_entries(index, &names, &mut found);
                    found
                })
                .collect()
        });
        let mut index = EntryIndex::default();
        let mut constants: HashMap<TypeId, Vec<(String, i64)>> = HashMap::new();
        for found in found {
            // The first of several entries counts, as for Delve: types are described once, other units have stubs.
            for (name, id) in found.types {
                index.types.entry(name).or_insert(id);
            }
            for (address, id) in found.runtime_types {
                index.runtime_types.entry(address).or_insert(id);
            }
            index.globals.extend(found.globals);
            for (id, name, value) in found.constants {
                constants.entry(id).or_default().push((name, value));
            }
        }
        index.globals.sort_by(|a, b| (&a.name, a.addr).cmp(&(&b.name, b.addr)));
        index.constants = constants
            .into_iter()
            .map(|(id, mut values)| {
                values.sort_by_key(|(_, value)| *value);
                (id, values.into())
            })
            .collect();
        Ok(index)
    }

    fn read_unit_entries(&self, index: usize, names: &AtomicUsize, found: &mut Found) -> Result<(), DwarfError> {
        let dwarf = self.dwarf()?;
        let unit = self.unit(&dwarf, index)?;
        let mut entries = unit.inner.entries_raw(None)?;
        while !entries.is_empty() {
            let depth = entries.next_depth();
            let offset = entries.next_offset();
            let Some(abbreviation) = entries.read_abbreviation()? else {
                continue;
            };
            let tag = abbreviation.tag();
            let is_type = is_type_tag(tag);
            if depth != 1 || !(is_type || matches!(tag, dw::DW_TAG_variable | dw::DW_TAG_constant)) {
                entries.skip_attributes(abbreviation.attributes())?;
                continue;
            }
            let mut name = None;
            let mut ty = None;
            let mut runtime_type = None;
            let mut value = None;
            let mut addr = None;
            for specification in abbreviation.attributes() {
                let attribute = entries.read_attribute(*specification)?;
                match attribute.name() {
                    dw::DW_AT_name => name = unit.string_value(attribute.value()).filter(|name| !name.is_empty()),
                    dw::DW_AT_type => ty = unit.reference_value(&attribute.value()).map(|o| TypeId(o as u64)),
                    dw::DW_AT_const_value => value = attribute.sdata_value(),
                    dw::DW_AT_location => addr = fixed_address(&unit, &attribute.value()),
                    DW_AT_GO_RUNTIME_TYPE => runtime_type = self.runtime_type_value(&unit, attribute.value()),
                    _ => {}
                }
            }
            let id = TypeId(unit.record.offset.saturating_add(offset.0) as u64);
            if let Some(address) = runtime_type {
                found.runtime_types.push((address, id));
            }
            let Some(name) = name else { continue };
            if names.fetch_add(name.len(), Ordering::Relaxed) > MAX_NAMES {
                return Err(DwarfError::Malformed(
                    "the names in .debug_info are too long".to_owned(),
                ));
            }
            let name = if unit.record.is_go { name } else { format!("C.{name}") };
            match (tag, ty) {
                _ if is_type => found.types.push((name.into(), id)),
                (dw::DW_TAG_variable, Some(ty)) => {
                    found.globals.extend(addr.map(|addr| Global {
                        name: name.into(),
                        ty,
                        addr,
                        entry: id.0,
                    }));
                }
                (dw::DW_TAG_constant, Some(ty)) => found.constants.extend(value.map(|value| (ty, name, value))),
                _ => {}
            }
        }
        Ok(())
    }

    /// The type of that name, such as `main.Point`, `*main.Point` or `map[string]int`; C types are prefixed `C.`.
    pub fn type_named(&self, name: &str) -> Option<TypeId> {
        self.entry_index().ok()?.types.get(name).copied()
    }

    /// The names of all types that DWARF describes, in no order.
    pub fn type_names(&self) -> Vec<&str> {
        self.entry_index()
            .map(|index| index.types.keys().map(|name| &**name).collect())
            .unwrap_or_default()
    }

    /// The type that the runtime's type description at `runtime_type` is of: the first word of an `interface{}`, or
    /// the type word of an interface table.
    pub fn type_by_runtime(&self, runtime_type: FileAddr) -> Option<TypeId> {
        self.entry_index().ok()?.runtime_types.get(&runtime_type).copied()
    }

    /// All types that have a runtime description, sorted by its address.
    pub fn runtime_types(&self) -> Vec<(FileAddr, TypeId)> {
        let Ok(index) = self.entry_index() else {
            return Vec::new();
        };
        let mut all: Vec<(FileAddr, TypeId)> = index.runtime_types.iter().map(|(addr, id)| (*addr, *id)).collect();
        all.sort_unstable();
        all
    }

    /// A package variable by its full name, such as `main.counter`: its type and where it is.
    pub fn global_named(&self, name: &str) -> Option<(TypeId, FileAddr)> {
        let globals = self.globals();
        let at = globals.partition_point(|global| *global.name < *name);
        globals
            .get(at)
            .filter(|global| &*global.name == name)
            .map(|global| (global.ty, global.addr))
    }

    /// All package variables, sorted by name.
    pub fn globals(&self) -> &[Global] {
        self.entry_index().map(|index| &*index.globals).unwrap_or_default()
    }

    /// A package constant by its full name, such as `main.Red`, or by the end of it behind a slash: its type and value. Go's compiler describes integer
    /// constants only.
    pub fn constant_named(&self, name: &str) -> Option<(TypeId, i64)> {
        let index = self.entry_index().ok()?;
        let fits = |full: &str| {
            full.strip_suffix(name)
                .is_some_and(|rest| rest.is_empty() || rest.ends_with('/'))
        };
        let mut found = index.constants.iter().flat_map(|(id, values)| {
            let here = values.iter().filter(|(full, _)| fits(full));
            here.map(|(full, value)| (full.len(), *id, *value))
        });
        let first = found.next()?;
        // The shortest path is the likeliest to be meant; hash order must not decide.
        let best = found.fold(first, |best, next| {
            if (next.0, next.1) < (best.0, best.1) {
                next
            } else {
                best
            }
        });
        Some((best.1, best.2))
    }

    /// The constants declared with a type, by value and then in the order of the units, with their full names: `main.Red` for
    /// `const Red Color = 0` and the type `main.Color`.
    pub fn constants_of(&self, id: TypeId) -> Arc<[(String, i64)]> {
        let Ok(index) = self.entry_index() else {
            return Arc::default();
        };
        if let Some(constants) = index.constants.get(&id) {
            return Arc::clone(constants);
        }
        // A defined type may be described twice, and its constants refer to one of the entries.
        let other = self
            .type_info(id)
            .ok()
            .filter(|ty| matches!(ty.kind, Kind::Int | Kind::Uint | Kind::Uintptr));
        let other = other.and_then(|ty| index.types.get(&*ty.name).copied());
        other
            .and_then(|id| index.constants.get(&id))
            .map(Arc::clone)
            .unwrap_or_default()
    }
}

fn is_type_tag(tag: gimli::DwTag) -> bool {
    matches!(
        tag,
        dw::DW_TAG_array_type
            | dw::DW_TAG_base_type
            | dw::DW_TAG_class_type
            | dw::DW_TAG_structure_type
            | dw::DW_TAG_union_type
            | dw::DW_TAG_enumeration_type
            | dw::DW_TAG_pointer_type
            | dw::DW_TAG_subroutine_type
            | dw::DW_TAG_typedef
            | dw::DW_TAG_unspecified_type
    )
}

/// The address in a location that is nothing but an address.
fn fixed_address<'a>(unit: &Unit<'a>, value: &AttributeValue<crate::sections::Reader<'a>>) -> Option<FileAddr> {
    let AttributeValue::Exprloc(expression) = value else {
        return None;
    };
    let mut operations = expression.operations(unit.inner.encoding());
    let first = operations.next().ok()??;
    if !matches!(operations.next(), Ok(None)) {
        return None;
    }
    match first {
        Operation::Address { address } => Some(FileAddr(address)),
        Operation::AddressIndex { index } => unit.dwarf.address(&unit.inner, index).ok().map(FileAddr),
        _ => None,
    }
}
