//! Go types, as the compiler described them.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use gimli::{AttributeValue, DwAt, constants as dw};

use crate::error::DwarfError;
use crate::sections::Reader;
use crate::units::{Entry, Unit, flag, unsigned};
use crate::{Binary, FileAddr};

/// Go's own attributes (`cmd/internal/dwarf/dwarf.go`, Go 1.26).
pub(crate) const DW_AT_GO_KIND: DwAt = DwAt(0x2900);
pub(crate) const DW_AT_GO_KEY: DwAt = DwAt(0x2901);
pub(crate) const DW_AT_GO_ELEM: DwAt = DwAt(0x2902);
pub(crate) const DW_AT_GO_EMBEDDED_FIELD: DwAt = DwAt(0x2903);
pub(crate) const DW_AT_GO_RUNTIME_TYPE: DwAt = DwAt(0x2904);
pub(crate) const DW_AT_GO_PACKAGE_NAME: DwAt = DwAt(0x2905);
pub(crate) const DW_AT_GO_DICT_INDEX: DwAt = DwAt(0x2906);
pub(crate) const DW_AT_GO_CLOSURE_OFFSET: DwAt = DwAt(0x2907);

/// The values of `DW_AT_go_kind` that matter here: those of `internal/abi.Kind`.
mod go_kind {
    pub(super) const UINTPTR: u64 = 12;
    pub(super) const CHAN: u64 = 18;
    pub(super) const INTERFACE: u64 = 20;
    pub(super) const MAP: u64 = 21;
    pub(super) const SLICE: u64 = 23;
    pub(super) const STRING: u64 = 24;
}

/// A chain of typedefs, qualifiers and array dimensions longer than this is a cycle.
const MAX_CHAIN: u32 = 64;

/// How many types a name that we have to put together may mention.
const MAX_NAME_PARTS: u32 = 64;

/// A type's identity within one [`Binary`]: where its entry is in `.debug_info`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u64);

impl TypeId {
    /// The type of something whose entry names none. [`Binary::type_info`] refuses it.
    pub const UNKNOWN: TypeId = TypeId(u64::MAX);
}

impl fmt::Debug for TypeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TypeId({:#x})", self.0)
    }
}

/// A type. What it refers to is named by [`TypeId`], so recursive types are no special case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Type {
    /// Where it is described.
    pub id: TypeId,
    /// The name as Go programmers write it, with import paths where the compiler has them: `int`, `main.Point`,
    /// `*example.com/x/y.T`, `map[string]int`, `struct { A int }`, `main.Pair[int,string]`.
    pub name: Arc<str>,
    /// The size of a value in bytes.
    pub size: u64,
    /// What it is made of. The kind of a defined type is that of its underlying type.
    pub kind: Kind,
    /// Where the runtime's own description (`internal/abi.Type`) is, when the linker kept one.
    pub runtime_type: Option<FileAddr>,
    /// For a parameter of a generic function: which word of the dictionary holds the runtime type of the actual type.
    /// The other fields are then those of the shape type, which has the same memory layout.
    pub dict_index: Option<u64>,
}

/// A field of a struct.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Field {
    /// Its name; an embedded field has the name of its type.
    pub name: Arc<str>,
    /// Its type.
    pub ty: TypeId,
    /// Where it is in the struct, in bytes.
    pub offset: u64,
    /// Whether it is embedded.
    pub embedded: bool,
    /// For a bit field of C: the first bit, counted from the least significant one at `offset`, and how many bits.
    pub bits: Option<(u64, u64)>,
}

/// What a type is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `bool`, one byte.
    Bool,
    /// A signed integer of [`Type::size`] bytes; also C's enumerations.
    Int,
    /// An unsigned integer of [`Type::size`] bytes.
    Uint,
    /// `uintptr`.
    Uintptr,
    /// IEEE 754, 4 or 8 bytes.
    Float,
    /// Two floats, real part first.
    Complex,
    /// Pointer to the bytes, then the length.
    String,
    /// Pointer to the elements, length, capacity.
    Slice {
        /// The type of an element.
        elem: TypeId,
    },
    /// Elements side by side.
    Array {
        /// The type of an element.
        elem: TypeId,
        /// How many.
        len: u64,
        /// Bytes from one element to the next.
        stride: u64,
    },
    /// Fields in the order of declaration.
    Struct {
        /// The fields.
        fields: Arc<[Field]>,
    },
    /// A pointer to a known type.
    Pointer {
        /// What it points to.
        elem: TypeId,
    },
    /// `unsafe.Pointer`, or C's `void *`.
    UnsafePointer,
    /// Two words.
    Interface {
        /// Without methods: the first word is the runtime type. Otherwise it is an `internal/abi.ITab`.
        empty: bool,
    },
    /// A pointer to the runtime's map header.
    Map {
        /// The type of the keys.
        key: TypeId,
        /// The type of the values.
        elem: TypeId,
        /// The struct that the map points to: `runtime.hmap` before Go 1.24, `internal/runtime/maps.Map` since.
        header: TypeId,
    },
    /// A pointer to the runtime's channel.
    Chan {
        /// The type of what is sent.
        elem: TypeId,
        /// The struct that the channel points to, `runtime.hchan` with the element's type.
        header: TypeId,
    },
    /// A pointer to a closure, whose first word is the address of the code.
    Func,
    /// No value: C's `void`.
    Void,
    /// Something Go does not have. The text says what.
    Other(String),
}

impl Type {
    /// The import path of the package that defines the type; `None` for predeclared types and type literals.
    pub fn package(&self) -> Option<&str> {
        let plain = self.name.split('[').next().filter(|plain| !plain.is_empty())?;
        if plain.contains([' ', '*', '(', '{']) {
            return None;
        }
        let last = plain.rfind('/').map_or(0, |slash| slash + 1);
        let dot = plain.get(last..)?.find('.')?;
        plain.get(..last + dot)
    }
}

/// The types read so far.
pub(crate) type TypeCache = RwLock<HashMap<TypeId, Arc<Type>>>;

impl Binary {
    /// Reads a type. Types are kept once read.
    pub fn type_info(&self, id: TypeId) -> Result<Arc<Type>, DwarfError> {
        if let Some(known) = self.types.read().unwrap_or_else(PoisonError::into_inner).get(&id) {
            return Ok(Arc::clone(known));
        }
        let dwarf = self.dwarf()?;
        let parsed = Arc::new(self.read_type(&dwarf, id, 0)?);
        let mut types = self.types.write().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(types.entry(id).or_insert(parsed)))
    }

    /// The number that Go gives to the kind of a type (`DW_AT_go_kind`; the values are those of `reflect.Kind`); `None` where none is noted, as for C types.
    pub fn go_kind(&self, id: TypeId) -> Option<u64> {
        let dwarf = self.dwarf().ok()?;
        let (unit, within) = self.unit_with_entry(&dwarf, usize::try_from(id.0).ok()?).ok()?;
        let entry = unit.entry(within).ok()?;
        unsigned(&entry, DW_AT_GO_KIND)
    }

    fn read_type<'a>(
        &'a self,
        dwarf: &'a gimli::Dwarf<Reader<'a>>,
        id: TypeId,
        depth: u32,
    ) -> Result<Type, DwarfError> {
        if depth > MAX_CHAIN {
            return Err(DwarfError::Malformed(format!(
                "the type at {:#x} is defined by itself",
                id.0
            )));
        }
        let missing = || DwarfError::Malformed(format!("no type at {:#x} of .debug_info", id.0));
        let offset = usize::try_from(id.0).map_err(|_| missing())?;
        let (unit, within) = self.unit_with_entry(dwarf, offset)?;
        let entry = unit.entry(within).map_err(|_| missing())?;

        let target = unit.reference(&entry, dw::DW_AT_type).map(type_id);
        let byte_size = unsigned(&entry, dw::DW_AT_byte_size);
        let mut parsed = Type {
            id,
            name: self.type_name(dwarf, &unit, &entry, &mut { MAX_NAME_PARTS }).into(),
            size: byte_size.unwrap_or(0),
            kind: Kind::Void,
            runtime_type: self.runtime_type_of(&unit, &entry),
            dict_index: unsigned(&entry, DW_AT_GO_DICT_INDEX),
        };
        let go_kind = unsigned(&entry, DW_AT_GO_KIND).unwrap_or(0);
        match entry.tag() {
            dw::DW_TAG_base_type => parsed.kind = base_kind(&entry, go_kind),
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type | dw::DW_TAG_union_type => {
                parsed.kind = match go_kind {
                    go_kind::STRING => Kind::String,
                    go_kind::SLICE => Kind::Slice {
                        elem: reference(&unit, &entry, DW_AT_GO_ELEM),
                    },
                    _ => Kind::Struct {
                        fields: read_fields(&unit, within)?.into(),
                    },
                };
            }
            dw::DW_TAG_array_type => {
                let elem = target.unwrap_or(TypeId::UNKNOWN);
                let len = array_length(&unit, within)?;
                let stride = match (byte_size, len) {
                    (Some(size), 1..) => size / len,
                    _ => self.read_type(dwarf, elem, depth + 1)?.size,
                };
                parsed.size = byte_size.unwrap_or_else(|| stride.saturating_mul(len));
                parsed.kind = Kind::Array { elem, len, stride };
            }
            dw::DW_TAG_pointer_type => {
                parsed.size = 8;
                parsed.kind = match target {
                    Some(elem) if &*parsed.name != "unsafe.Pointer" => Kind::Pointer { elem },
                    _ => Kind::UnsafePointer,
                };
            }
            dw::DW_TAG_subroutine_type => {
                parsed.size = 8;
                parsed.kind = Kind::Func;
            }
            dw::DW_TAG_enumeration_type => parsed.kind = Kind::Int,
            dw::DW_TAG_typedef | dw::DW_TAG_const_type | dw::DW_TAG_volatile_type | dw::DW_TAG_restrict_type => {
                self.read_alias(dwarf, &unit, &entry, &mut parsed, target, depth)?;
                // All pointers share this shape, whatever they point to (cmd/compile/internal/noder/reader.go, shapify); a byte it hardly ever is.
                if &*parsed.name == "go.shape.*uint8" {
                    parsed.kind = Kind::UnsafePointer;
                }
            }
            dw::DW_TAG_unspecified_type => parsed.kind = Kind::Other("an unspecified type".to_owned()),
            tag if tag.static_string().is_some_and(|tag| tag.ends_with("_type")) => {
                parsed.kind = Kind::Other(tag.to_string());
            }
            _ => return Err(missing()),
        }
        Ok(parsed)
    }

    /// Typedefs carry defined types, and everything Go implements by a hidden runtime structure.
    fn read_alias<'a>(
        &'a self,
        dwarf: &'a gimli::Dwarf<Reader<'a>>,
        unit: &Unit<'a>,
        entry: &Entry<'a>,
        parsed: &mut Type,
        target: Option<TypeId>,
        depth: u32,
    ) -> Result<(), DwarfError> {
        let Some(target) = target else {
            // C's `const void`.
            parsed.kind = Kind::Void;
            return Ok(());
        };
        let underlying = self.read_type(dwarf, target, depth + 1)?;
        parsed.size = underlying.size;
        let header = || match underlying.kind {
            Kind::Pointer { elem } => elem,
            _ => target,
        };
        match unsigned(entry, DW_AT_GO_KIND) {
            Some(go_kind::INTERFACE) => {
                parsed.kind = Kind::Interface {
                    empty: &*underlying.name == "runtime.eface",
                };
            }
            Some(go_kind::MAP) => {
                parsed.kind = Kind::Map {
                    key: reference(unit, entry, DW_AT_GO_KEY),
                    elem: reference(unit, entry, DW_AT_GO_ELEM),
                    header: header(),
                };
            }
            Some(go_kind::CHAN) => {
                parsed.kind = Kind::Chan {
                    elem: reference(unit, entry, DW_AT_GO_ELEM),
                    header: header(),
                };
            }
            _ => {
                if parsed.dict_index.is_some() || parsed.name.is_empty() {
                    parsed.name = underlying.name;
                    parsed.runtime_type = underlying.runtime_type;
                } else if parsed.name == underlying.name && parsed.runtime_type.is_none() {
                    // The compiler writes a defined struct twice: as a struct, and as a typedef of the same name.
                    parsed.runtime_type = underlying.runtime_type;
                }
                parsed.kind = underlying.kind;
            }
        }
        Ok(())
    }

    /// `DW_AT_go_runtime_type` is the distance from the symbol `runtime.types`, zero for none; the external linker may
    /// turn it into an address.
    pub(crate) fn runtime_type_of<'a>(&self, unit: &Unit<'a>, entry: &Entry<'a>) -> Option<FileAddr> {
        self.runtime_type_value(unit, entry.attr_value(DW_AT_GO_RUNTIME_TYPE)?)
    }

    pub(crate) fn runtime_type_value<'a>(
        &self,
        unit: &Unit<'a>,
        value: AttributeValue<Reader<'a>>,
    ) -> Option<FileAddr> {
        let value = match value {
            AttributeValue::Udata(value) | AttributeValue::Data8(value) => value,
            other => unit.address_value(other)?.0,
        };
        if value == 0 {
            return None;
        }
        let types = self.runtime_types_range()?;
        if types.contains(&value) {
            return Some(FileAddr(value));
        }
        let address = types.start.checked_add(value)?;
        types.contains(&address).then_some(FileAddr(address))
    }

    /// The name in the entry, or, for the types that C and old compilers leave unnamed, one put together from the parts
    /// as Delve does: `*struct point`, `const int`.
    fn type_name<'a>(
        &'a self,
        dwarf: &'a gimli::Dwarf<Reader<'a>>,
        unit: &Unit<'a>,
        entry: &Entry<'a>,
        parts: &mut u32,
    ) -> String {
        if let Some(name) = unit.string(entry, dw::DW_AT_name).filter(|name| !name.is_empty()) {
            return name;
        }
        if *parts == 0 {
            return "...".to_owned();
        }
        *parts -= 1;
        let target = unit.reference(entry, dw::DW_AT_type).and_then(|offset| {
            let (unit, within) = self.unit_with_entry(dwarf, offset).ok()?;
            let entry = unit.entry(within).ok()?;
            let keyword = match entry.tag() {
                dw::DW_TAG_structure_type if !unit.record.is_go => "struct ",
                dw::DW_TAG_union_type if !unit.record.is_go => "union ",
                dw::DW_TAG_enumeration_type if !unit.record.is_go => "enum ",
                _ => "",
            };
            let name = self.type_name(dwarf, &unit, &entry, parts);
            Some(if name.starts_with(keyword) {
                name
            } else {
                format!("{keyword}{name}")
            })
        });
        let target_or_void = target.clone().unwrap_or_else(|| "void".to_owned());
        match entry.tag() {
            dw::DW_TAG_pointer_type if target.is_none() => "unsafe.Pointer".to_owned(),
            dw::DW_TAG_pointer_type => format!("*{target_or_void}"),
            dw::DW_TAG_const_type => format!("const {target_or_void}"),
            dw::DW_TAG_volatile_type => format!("volatile {target_or_void}"),
            dw::DW_TAG_restrict_type => format!("restrict {target_or_void}"),
            dw::DW_TAG_array_type => {
                let len = array_length(unit, entry.offset()).unwrap_or(0);
                format!("[{len}]{target_or_void}")
            }
            dw::DW_TAG_structure_type | dw::DW_TAG_class_type => "struct {...}".to_owned(),
            dw::DW_TAG_union_type => "union {...}".to_owned(),
            dw::DW_TAG_enumeration_type => "enum {...}".to_owned(),
            dw::DW_TAG_subroutine_type => match target {
                Some(result) => format!("func(...) {result}"),
                None => "func(...)".to_owned(),
            },
            _ => String::new(),
        }
    }
}

fn type_id(offset: usize) -> TypeId {
    TypeId(offset as u64)
}

fn reference<'a>(unit: &Unit<'a>, entry: &Entry<'a>, name: DwAt) -> TypeId {
    unit.reference(entry, name).map_or(TypeId::UNKNOWN, type_id)
}

fn base_kind(entry: &Entry<'_>, go_kind: u64) -> Kind {
    if go_kind == go_kind::UINTPTR {
        return Kind::Uintptr;
    }
    match entry.attr_value(dw::DW_AT_encoding) {
        Some(AttributeValue::Encoding(encoding)) => match encoding {
            dw::DW_ATE_boolean => Kind::Bool,
            dw::DW_ATE_signed | dw::DW_ATE_signed_char => Kind::Int,
            dw::DW_ATE_unsigned | dw::DW_ATE_unsigned_char | dw::DW_ATE_UTF => Kind::Uint,
            dw::DW_ATE_float => Kind::Float,
            dw::DW_ATE_complex_float => Kind::Complex,
            dw::DW_ATE_address => Kind::UnsafePointer,
            other => Kind::Other(other.to_string()),
        },
        _ => Kind::Other("a base type without encoding".to_owned()),
    }
}

/// The members of the struct at `within`.
fn read_fields(unit: &Unit<'_>, within: gimli::UnitOffset) -> Result<Vec<Field>, DwarfError> {
    let mut fields = Vec::new();
    let mut tree = unit.inner.entries_tree(Some(within))?;
    let mut children = tree.root()?.children();
    while let Some(child) = children.next()? {
        let entry = child.entry();
        if entry.tag() != dw::DW_TAG_member {
            continue;
        }
        let bit_offset = unsigned(entry, dw::DW_AT_data_bit_offset);
        let offset = match entry.attr(dw::DW_AT_data_member_location) {
            // A member of a union may have no location, and that of a bit field is counted in bits.
            None => bit_offset.unwrap_or(0) / 8,
            Some(attribute) => match attribute.udata_value() {
                Some(offset) => offset,
                None => member_expression(unit, attribute.exprloc_value())?,
            },
        };
        fields.push(Field {
            name: unit.string(entry, dw::DW_AT_name).unwrap_or_default().into(),
            ty: reference(unit, entry, dw::DW_AT_type),
            offset,
            embedded: flag(entry, DW_AT_GO_EMBEDDED_FIELD),
            bits: unsigned(entry, dw::DW_AT_bit_size).map(|bits| (bit_offset.unwrap_or(0) % 8, bits)),
        });
    }
    Ok(fields)
}

/// A member's place as an expression on the struct's address, which old compilers write.
fn member_expression(unit: &Unit<'_>, expression: Option<gimli::Expression<Reader<'_>>>) -> Result<u64, DwarfError> {
    let unsupported = || DwarfError::Unsupported("a struct member whose place is computed".to_owned());
    let mut operations = expression.ok_or_else(unsupported)?.operations(unit.inner.encoding());
    match (operations.next()?, operations.next()?) {
        (None, _) => Ok(0),
        (Some(gimli::Operation::PlusConstant { value }), None) => Ok(value),
        _ => Err(unsupported()),
    }
}

/// The product of an array's dimensions; zero for C's `x[]`.
fn array_length(unit: &Unit<'_>, within: gimli::UnitOffset) -> Result<u64, DwarfError> {
    let mut length: Option<u64> = None;
    let mut tree = unit.inner.entries_tree(Some(within))?;
    let mut children = tree.root()?.children();
    while let Some(child) = children.next()? {
        let entry = child.entry();
        if entry.tag() != dw::DW_TAG_subrange_type {
            continue;
        }
        let count = unsigned(entry, dw::DW_AT_count)
            .or_else(|| unsigned(entry, dw::DW_AT_upper_bound)?.checked_add(1))
            .unwrap_or(0);
        length = Some(length.unwrap_or(1).saturating_mul(count));
    }
    Ok(length.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_package_is_taken_from_the_name() {
        let package = |name: &str| {
            let ty = Type {
                id: TypeId(0),
                name: name.into(),
                size: 0,
                kind: Kind::Void,
                runtime_type: None,
                dict_index: None,
            };
            ty.package().map(str::to_owned)
        };
        assert_eq!(package("main.Point").as_deref(), Some("main"));
        assert_eq!(package("example.com/x.y/z.T").as_deref(), Some("example.com/x.y/z"));
        assert_eq!(package("main.Pair[example.com/a.T,int]").as_deref(), Some("main"));
        assert_eq!(package("int"), None);
        assert_eq!(package("*main.Point"), None);
        assert_eq!(package("[]main.Point"), None);
        assert_eq!(package("map[string]main.Point"), None);
        assert_eq!(package("func(main.T) error"), None);
        assert_eq!(package("struct { A main.T }"), None);
    }
}
