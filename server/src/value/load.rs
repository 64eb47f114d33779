//! Loads a value of a given type from a memory, within limits.

use std::sync::Arc;

use spelunk_dwarf::{Binary, Field, FileAddr, Kind, LoadBias, ProcAddr, Type, TypeId};

use super::limits::{Level, budget};
use super::{Content, Head, MapWalk, Memory, Traits, Value, go_time, map};

/// How much of a value is loaded; the fields and their meaning are those of Delve's `LoadConfig` (service/api/types.go).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LoadConfig {
    /// Whether pointees are loaded.
    pub(crate) follow_pointers: bool,
    /// How many levels of structs, maps and interfaces are opened below the first.
    pub(crate) max_variable_recurse: u32,
    /// Bytes of a string.
    pub(crate) max_string_len: u32,
    /// Elements of an array, slice or map.
    pub(crate) max_array_values: u32,
    /// Fields of a struct; `None` for all.
    pub(crate) max_struct_fields: Option<u32>,
}

impl LoadConfig {
    /// What Delve's DAP server loads for a log message or a watch: pointers followed once, all fields.
    pub(crate) const DAP: LoadConfig = LoadConfig {
        follow_pointers: true,
        max_variable_recurse: 1,
        max_string_len: 512,
        max_array_values: 64,
        max_struct_fields: None,
    };

    /// What Delve loads of a value that it looks at for itself (`LoadFullValue` in pkg/proc/variables.go): of a channel, of an operand.
    pub(crate) const FULL: LoadConfig = LoadConfig {
        follow_pointers: true,
        max_variable_recurse: 1,
        max_string_len: 64,
        max_array_values: 64,
        max_struct_fields: None,
    };

    /// A scalar, or the head of something larger.
    const SINGLE: LoadConfig = LoadConfig {
        follow_pointers: false,
        max_variable_recurse: 0,
        max_string_len: 64,
        max_array_values: 0,
        max_struct_fields: Some(0),
    };
}

/// After this many unreadable elements the rest of an array or slice is not tried.
const MAX_ELEMENT_ERRORS: usize = 3;
/// Groups that are looked at for the entries of a map in another value: there may be thousands of such maps.
const NESTED_MAP_STEPS: u32 = 1 << 14;
/// So many bytes of a string cost as much as a value.
const STRING_PER_VALUE: u32 = 256;
/// Why the rest is not there.
const TOO_MUCH: &str = "there is too much in it to be loaded at once";
/// Elements of one value, whatever a client asks for: with what is in them they must fit into memory.
const MAX_ELEMENTS: u32 = 1 << 15;
/// Bytes of one string, whatever a client asks for.
const MAX_STRING: u32 = 1 << 24;
/// Pointers to pointers, arrays of arrays and the like nest at most this deep, whatever the limits say: a type read from a hostile binary may be endless.
const MAX_DEPTH: u32 = 64;

/// Loads values of one binary from one memory.
#[derive(Clone, Copy)]
pub(crate) struct Loader<'a> {
    /// Whose types describe the memory.
    pub(crate) binary: &'a Binary,
    /// Where that binary lies in the process.
    pub(crate) bias: LoadBias,
    /// What to read.
    pub(crate) memory: &'a dyn Memory,
    /// How much to read.
    pub(crate) config: LoadConfig,
}

impl Loader<'_> {
    /// Loads the value of type `ty` at `addr`.
    ///
    /// Never fails as a whole: what cannot be read says so in its place.
    pub(crate) fn load(&self, name: &str, ty: TypeId, addr: ProcAddr) -> Value {
        self.load_at(name, ty, addr, Level::top(&budget()))
    }

    /// The type, or a stand-in that makes the value unreadable with the reason.
    pub(super) fn type_or_error(&self, ty: TypeId) -> Result<Arc<Type>, (Arc<Type>, String)> {
        self.binary
            .type_info(ty)
            .map_err(|error| (Arc::new(unknown_type(ty)), format!("type: {error}")))
    }

    /// Loads the value of a type that is at hand, at `addr`.
    pub(crate) fn load_typed(&self, name: &str, ty: Arc<Type>, addr: ProcAddr) -> Value {
        self.load_of(name, ty, None, addr, Level::top(&budget()))
    }

    pub(super) fn load_at(&self, name: &str, ty: TypeId, addr: ProcAddr, level: Level<'_>) -> Value {
        match self.type_or_error(ty) {
            Ok(ty) => self.load_of(name, ty, None, addr, level),
            Err((ty, why)) => self.load_of(name, ty, Some(why), addr, level),
        }
    }

    pub(super) fn load_of(
        &self,
        name: &str,
        ty: Arc<Type>,
        broken: Option<String>,
        addr: ProcAddr,
        level: Level<'_>,
    ) -> Value {
        let mut value = Value {
            name: name.to_owned(),
            addr,
            ty,
            content: Content::NotLoaded,
            constant: None,
            unreadable: broken,
            head: Head::default(),
            traits: Traits::default(),
            origin: None,
        };
        if let Kind::Array { len, .. } = value.ty.kind {
            value.head = array_head(addr, len);
        }
        if value.unreadable.is_some() || addr == ProcAddr(0) {
            return value;
        }
        if !level.spend(1) {
            value.unreadable = Some(TOO_MUCH.to_owned());
            return value;
        }
        if level.depth > MAX_DEPTH {
            value.unreadable = Some("nested too deeply".to_owned());
            return value;
        }
        let mut head = value.head;
        let content = self.content(&value, level, &mut head);
        value.head = head;
        match content {
            Ok(content) => value.content = content,
            Err(why) => value.unreadable = Some(why),
        }
        if matches!(value.content, Content::UnsafePointer(_)) && !self.config.follow_pointers {
            value.traits = value.traits.with(Traits::ONLY_ADDRESS);
        }
        value.constant = self.constant_of(&value);
        value
    }

    fn content(&self, value: &Value, level: Level<'_>, head: &mut Head) -> Result<Content, String> {
        let ty = &value.ty;
        let addr = value.addr;
        let word = |offset: u64| self.word(addr, offset);
        Ok(match &ty.kind {
            Kind::Bool => Content::Bool(self.uint(addr, 1)? != 0),
            Kind::Int => {
                let raw = self.uint(addr, ty.size)?;
                let unused = 64 - 8 * u32::try_from(ty.size).unwrap_or(8).min(8);
                Content::Int((raw << unused) as i64 >> unused)
            }
            Kind::Uint | Kind::Uintptr => Content::Uint(self.uint(addr, ty.size)?),
            Kind::Float if ty.size == 4 => Content::Float32(self.float32(addr)?),
            Kind::Float => Content::Float64(f64::from_bits(self.uint(addr, ty.size)?)),
            Kind::Complex if ty.size == 8 => Content::Complex64(self.float32(addr)?, self.float32(offset(addr, 4))?),
            Kind::Complex => Content::Complex128(
                f64::from_bits(self.uint(addr, 8)?),
                f64::from_bits(self.uint(offset(addr, 8), 8)?),
            ),
            Kind::String => {
                let (base, len) = (word(0)?, word(8)?);
                if (len as i64) >= 0 {
                    *head = Head {
                        base,
                        len: len as i64,
                        cap: 0,
                    };
                }
                let loaded = len.min(u64::from(self.config.max_string_len));
                if !level.spend(u32::try_from(loaded).unwrap_or(u32::MAX) / STRING_PER_VALUE) {
                    return Err(TOO_MUCH.to_owned());
                }
                self.string(base, len)?
            }
            Kind::Slice { elem } => {
                let (base, len, cap) = (word(0)?, word(8)? as i64, word(16)? as i64);
                *head = Head { base, len, cap };
                let stride = self.type_or_error(*elem).map_err(|(_, why)| why)?.size;
                let elements = self.elements(*elem, stride, base, len, level)?;
                Content::Slice {
                    base,
                    len,
                    cap,
                    elements,
                }
            }
            Kind::Array { elem, len, stride } => {
                let len = i64::try_from(*len).map_err(|_| "array length out of range".to_owned())?;
                Content::Array {
                    len,
                    elements: self.elements(*elem, *stride, addr.0, len, level)?,
                }
            }
            Kind::Struct { fields } => self.structure(value, fields, level),
            Kind::Pointer { elem } => Content::Pointer(Box::new(self.pointee(*elem, word(0)?, level))),
            Kind::UnsafePointer => Content::UnsafePointer(word(0)?),
            Kind::Interface { empty } => self.interface(addr, *empty, level)?,
            Kind::Map { .. } => {
                head.base = word(0)?;
                self.map(ty, addr, 0, level)?
            }
            Kind::Chan { .. } => {
                head.base = word(0)?;
                self.chan(ty, addr, head.base, level)?
            }
            Kind::Func => self.function(word(0)?, level, head)?,
            Kind::Void => return Err("a value without a type".to_owned()),
            Kind::Other(what) => return Err(format!("unknown or unsupported kind: {what}")),
        })
    }

    pub(super) fn uint(&self, addr: ProcAddr, size: u64) -> Result<u64, String> {
        self.memory.read_uint(addr, size).map_err(|error| error.to_string())
    }

    fn word(&self, addr: ProcAddr, at: u64) -> Result<u64, String> {
        self.uint(offset(addr, at), 8)
    }

    fn float32(&self, addr: ProcAddr) -> Result<f32, String> {
        Ok(f32::from_bits(self.uint(addr, 4)? as u32))
    }

    /// The string of `len` bytes at `base`.
    pub(super) fn string(&self, base: u64, len: u64) -> Result<Content, String> {
        let len = len as i64;
        if len < 0 {
            return Err(format!("invalid length: {len}"));
        }
        let mut bytes = vec![0; len.min(i64::from(self.config.max_string_len.min(MAX_STRING))) as usize];
        if !bytes.is_empty() {
            self.memory
                .read(ProcAddr(base), &mut bytes)
                .map_err(|why| format!("could not read string at {base:#x} due to {why}"))?;
        }
        Ok(Content::String { bytes, len })
    }

    pub(super) fn elements(
        &self,
        elem: TypeId,
        stride: u64,
        base: u64,
        len: i64,
        level: Level<'_>,
    ) -> Result<Vec<Value>, String> {
        if len < 0 {
            return Err("Negative array length".to_owned());
        }
        if base == 0 && len > 0 {
            return Err("non-zero length array with nil base".to_owned());
        }
        let count = len.min(i64::from(self.config.max_array_values.min(MAX_ELEMENTS))) as u64;
        if stride
            .checked_mul(count)
            .and_then(|size| base.checked_add(size))
            .is_none()
        {
            return Err(format!("bad array base address {base:#x}"));
        }
        // No room is made before there is something to put there: lengths are read from the target, and there may be thousands of lists in one value.
        let mut elements = Vec::new();
        let mut errors = 0;
        for i in 0..count {
            let element = self.load_at("", elem, ProcAddr(base + i * stride), level.inside());
            errors += usize::from(element.unreadable.is_some());
            elements.push(element);
            if errors > MAX_ELEMENT_ERRORS || level.is_spent() {
                break;
            }
        }
        Ok(elements)
    }

    /// A map's length and entries, the first `skip` left out.
    pub(super) fn map(&self, ty: &Type, addr: ProcAddr, skip: u64, level: Level<'_>) -> Result<Content, String> {
        let Kind::Map { key, elem, .. } = ty.kind else {
            return Err("not a map".to_owned());
        };
        let steps = if level.recurse == 0 {
            map::MAX_STEPS
        } else {
            NESTED_MAP_STEPS
        };
        let mut walk = match MapWalk::new(self, ty, addr) {
            Ok(walk) => walk.limited(steps),
            // A record holds the length, with which every map begins (see `map`), and nothing else.
            Err(error) if error.is_not_captured() => {
                let base = self.uint(addr, 8)?;
                let len = self.uint(ProcAddr(base), 8)? as i64;
                let wanted = level.recurse <= self.config.max_variable_recurse && self.config.max_array_values > 0;
                return Ok(Content::Map {
                    base,
                    len,
                    entries: Vec::new(),
                    missing: (wanted && len > 0).then(|| "entries of maps are not captured".to_owned()),
                });
            }
            Err(error) => return Err(error.to_string()),
        };
        let (base, len) = (walk.base, walk.len);
        let mut entries = Vec::new();
        let mut missing = None;
        if level.recurse <= self.config.max_variable_recurse && self.config.max_array_values > 0 {
            let left = u64::try_from(len).unwrap_or(0).saturating_sub(skip);
            let wanted = u64::from(self.config.max_array_values.min(MAX_ELEMENTS)).min(left);
            let mut skipped = 0;
            let mut errors = 0;
            while (entries.len() as u64) < wanted && errors <= MAX_ELEMENT_ERRORS && !level.is_spent() {
                match walk.next() {
                    Some(Ok(_)) if skipped < skip => skipped += 1,
                    Some(Ok((key_at, elem_at))) => {
                        let key = self.load_at("", key, key_at, level.inside());
                        let elem = self.load_at("", elem, elem_at, level.inside());
                        errors += usize::from(key.unreadable.is_some() || elem.unreadable.is_some());
                        entries.push((key, elem));
                    }
                    Some(Err(error)) if entries.is_empty() && skip == 0 => return Err(error.to_string()),
                    Some(Err(error)) => {
                        missing = Some(error.to_string());
                        break;
                    }
                    None => break,
                }
            }
        }
        Ok(Content::Map {
            base,
            len,
            entries,
            missing,
        })
    }

    /// The named constant that an integer stands for.
    pub(crate) fn constant_of(&self, value: &Value) -> Option<String> {
        match value.content {
            Content::Int(n) => self.constant_name(&value.ty, n),
            Content::Uint(n) => self.constant_name(&value.ty, n as i64),
            _ => None,
        }
    }

    pub(super) fn structure(&self, value: &Value, fields: &[Field], level: Level<'_>) -> Content {
        let opened = level.recurse <= self.config.max_variable_recurse;
        let wanted = match self.config.max_struct_fields {
            _ if !opened => 0,
            Some(limit) => fields.len().min(limit as usize),
            None => fields.len(),
        };
        let loaded = fields
            .iter()
            .take(wanted)
            .map(|field| self.field(value.addr, field, level.inside()))
            .collect();
        // It is made of the first two fields.
        let summary = if &*value.ty.name == "time.Time" && wanted >= 2 {
            self.time(value.addr, fields)
        } else {
            None
        };
        Content::Struct {
            len: fields.len(),
            fields: loaded,
            summary,
        }
    }

    fn field(&self, base: ProcAddr, field: &Field, level: Level<'_>) -> Value {
        if let Some(name) = field.name.strip_prefix('&') {
            return self.captured_by_reference(name, base, field, level);
        }
        self.load_at(&field.name, field.ty, offset(base, field.offset), level)
    }

    /// The reading of a `time.Time`; its location's name is read only for this.
    fn time(&self, addr: ProcAddr, fields: &[Field]) -> Option<String> {
        let single = Loader {
            config: LoadConfig::SINGLE,
            ..*self
        };
        let field = |name: &str| fields.iter().find(|field| &*field.name == name);
        let wall = self.uint(offset(addr, field("wall")?.offset), 8).ok()?;
        let ext = self.uint(offset(addr, field("ext")?.offset), 8).ok()? as i64;
        let location = field("loc").and_then(|loc| {
            let pointer = self
                .uint(offset(addr, loc.offset), 8)
                .ok()
                .filter(|pointer| *pointer != 0)?;
            let Kind::Pointer { elem } = &self.binary.type_info(loc.ty).ok()?.kind else {
                return None;
            };
            let Kind::Struct { fields } = &self.binary.type_info(*elem).ok()?.kind else {
                return None;
            };
            let name = fields.iter().find(|field| &*field.name == "name")?;
            match single.field(ProcAddr(pointer), name, Level::top(&budget())).content {
                Content::String { bytes, .. } => String::from_utf8(bytes).ok(),
                _ => None,
            }
        });
        go_time::describe(wall, ext, location.as_deref())
    }

    /// What a pointer points to, loaded if the limits allow.
    ///
    /// Following a pointer does not count as a level, except where it could go round in circles: to an interface and to another pointer.
    pub(super) fn pointee(&self, elem: TypeId, target: u64, level: Level<'_>) -> Value {
        let ty = self.type_or_error(elem).unwrap_or_else(|(ty, _)| ty);
        let counts = matches!(ty.kind, Kind::Interface { .. } | Kind::Pointer { .. });
        let too_deep = matches!(ty.kind, Kind::Pointer { .. }) && level.recurse > self.config.max_variable_recurse;
        if self.config.follow_pointers && !too_deep {
            let recurse = level.recurse + u32::from(counts);
            return self.load_at(
                "",
                elem,
                ProcAddr(target),
                Level {
                    recurse,
                    depth: level.depth + 1,
                    ..level
                },
            );
        }
        self.outline(ty, ProcAddr(target))
    }

    /// A value of which only the place and the head are known, because the limits do not let it be loaded.
    pub(crate) fn outline(&self, ty: Arc<Type>, addr: ProcAddr) -> Value {
        let mut value = Value::not_loaded(ty, addr);
        value.traits = Traits::ONLY_ADDRESS;
        if let Kind::Array { len, .. } = value.ty.kind {
            value.head = array_head(addr, len);
        }
        if addr == ProcAddr(0) {
            return value;
        }
        let word = |at: u64| self.word(addr, at);
        let head = match &value.ty.kind {
            Kind::String => word(0).and_then(|base| {
                let len = word(8)? as i64;
                Ok(Head { base, len, cap: 0 })
            }),
            Kind::Slice { .. } => word(0).and_then(|base| {
                let (len, cap) = (word(8)? as i64, word(16)? as i64);
                Ok(Head { base, len, cap })
            }),
            Kind::Chan { .. } => word(0).map(|base| Head {
                base,
                ..Head::default()
            }),
            _ => Ok(value.head),
        };
        // What cannot be read says so when somebody asks for it.
        value.head = head.unwrap_or_default();
        value
    }

    /// What an interface holds: its first word leads to the runtime type (through the itab unless the interface is empty; Go's internal/abi/iface.go),
    /// the second is the data, or points to it.
    pub(crate) fn held(&self, addr: ProcAddr, empty: bool) -> Result<Option<(TypeId, ProcAddr)>, String> {
        let first = self.word(addr, 0)?;
        if first == 0 {
            return Ok(None);
        }
        let runtime_type = ProcAddr(if empty { first } else { self.itab_type(ProcAddr(first))? });
        let file = self.bias.to_file(runtime_type);
        let Some(concrete) = self.binary.type_by_runtime(file) else {
            return Err(super::ReadError::UnknownType(runtime_type).to_string());
        };
        let data = offset(addr, 8);
        let place = if is_direct_in_interface(self.binary, file) {
            data
        } else {
            ProcAddr(self.uint(data, 8)?)
        };
        Ok(Some((concrete, place)))
    }

    fn interface(&self, addr: ProcAddr, empty: bool, level: Level<'_>) -> Result<Content, String> {
        let Some((concrete, place)) = self.held(addr, empty)? else {
            return Ok(Content::NilInterface);
        };
        if level.recurse <= self.config.max_variable_recurse {
            let held = self.load_at(
                "data",
                concrete,
                place,
                Level {
                    depth: level.depth + 1,
                    ..level
                },
            );
            return Ok(Content::Interface(Box::new(held)));
        }
        let ty = self.type_or_error(concrete).unwrap_or_else(|(ty, _)| ty);
        Ok(Content::Interface(Box::new(self.outline(ty, place))))
    }

    /// The `Type` of an itab, its second word.
    fn itab_type(&self, itab: ProcAddr) -> Result<u64, String> {
        self.word(itab, 8)
    }

    /// The named constant, or the `|` of single-bit ones, that a value of a defined integer type stands for.
    fn constant_name(&self, ty: &Type, n: i64) -> Option<String> {
        // An int has constants of every package; only defined types make a name mean something.
        if !ty.name.contains('.') || ty.name.starts_with("C.") {
            return None;
        }
        let constants = self.binary.constants_of(ty.id);
        let package = ty.name.rsplit_once('.').map_or("", |(package, _)| package);
        let short = |name: &str| {
            name.strip_prefix(package)
                .and_then(|rest| rest.strip_prefix('.'))
                .unwrap_or(name)
                .to_owned()
        };
        if let Some((name, _)) = constants.iter().find(|(_, value)| *value == n) {
            return Some(short(name));
        }
        let mut rest = n;
        let mut names = Vec::new();
        for (name, value) in constants.iter().filter(|(_, value)| value.count_ones() == 1) {
            if rest & value != 0 {
                names.push(short(name));
                rest &= !value;
            }
        }
        (n != 0 && rest == 0).then(|| names.join("|"))
    }
}

/// What is known of an array by its type alone.
fn array_head(addr: ProcAddr, len: u64) -> Head {
    let len = i64::try_from(len).unwrap_or(i64::MAX);
    let base = addr.0;
    Head { base, len, cap: len }
}

/// Whether values of the runtime type at `runtime_type` stand in an interface themselves, rather than behind a pointer.
///
/// Go's internal/abi/type.go: `TFlagDirectIface` in `TFlag` (offset 20) since Go 1.26, `KindDirectIface` in `Kind_` (offset 23) before. No other flag has that bit.
pub(crate) fn is_direct_in_interface(binary: &Binary, runtime_type: FileAddr) -> bool {
    const DIRECT: u8 = 1 << 5;
    binary.code(runtime_type, 24).is_some_and(|head| {
        [20, 23]
            .iter()
            .any(|at| head.get(*at).is_some_and(|flags| flags & DIRECT != 0))
    })
}

/// Stands for a type that could not be read.
fn unknown_type(id: TypeId) -> Type {
    Type {
        id,
        name: "?".into(),
        size: 0,
        kind: Kind::Other("unknown".to_owned()),
        runtime_type: None,
        dict_index: None,
    }
}

/// Addresses wrap: a length that was read may be anything, and the memory then has nothing there.
pub(super) fn offset(addr: ProcAddr, by: u64) -> ProcAddr {
    ProcAddr(addr.0.wrapping_add(by))
}
