//! Values of variables and expressions.

use spelunk_dwarf::{Kind, Type};

use super::{Bytes, LoadConfig, ReflectKind, VariableFlags};
use crate::rpc::go_json::{Slice, wire};
use crate::value::{self, Content, Traits, Value, float32, float64, six_digits};

wire! { "api";
    /// A variable, or the value of an expression.
    pub(crate) struct Variable {
        /// Its name: of a field the field's, of an element none.
        name: String = "name",
        /// Its address.
        addr: u64 = "addr",
        /// Whether the address is all there is, because a pointer was not followed.
        only_addr: bool = "onlyAddr",
        /// Its type as it was declared.
        type_name: String = "type",
        /// Its type without names for other types.
        real_type: String = "realType",
        /// What is special about it.
        flags: VariableFlags = "flags",
        /// The kind of its type.
        kind: ReflectKind = "kind",
        /// Its value, where that is a single one; of a function its name.
        value: String = "value",
        /// The bytes of a string that are not UTF-8.
        string_value_bytes: Bytes = "StringValueBytes",
        /// Elements of an array, slice, map or channel, fields of a struct, bytes of a string.
        len: i64 = "len",
        /// The capacity of a slice or channel.
        cap: i64 = "cap",
        /// Elements, fields, keys and values by turns, what a pointer or an interface leads to.
        children: Slice<Variable> = "children",
        /// Where the elements, the bytes of a string, the function or the channel are.
        base: u64 = "base",
        /// Why it cannot be read.
        unreadable: String = "unreadable",
        /// Where DWARF says it is.
        location_expr: String = "LocationExpr",
        /// The line of its declaration.
        decl_line: i64 = "DeclLine",
    }
}

impl Variable {
    /// A value, whole. Its fields are filled as Delve fills them (`ConvertVar` in `service/api/conversions.go`).
    pub(crate) fn of(value: &Value) -> Variable {
        let mut variable = Variable {
            name: value.name.clone(),
            addr: value.addr.0,
            type_name: value.ty.name.to_string(),
            real_type: value.ty.name.to_string(),
            kind: reflect_kind(&value.ty),
            len: value.head.len,
            cap: value.head.cap,
            base: value.head.base,
            unreadable: value.unreadable.clone().unwrap_or_default(),
            flags: VariableFlags(value.traits.number()),
            only_addr: value.traits.has(Traits::ONLY_ADDRESS),
            location_expr: value
                .origin
                .as_ref()
                .map_or_else(String::new, |origin| origin.location.to_string()),
            decl_line: value.origin.as_ref().map_or(0, |origin| i64::from(origin.decl_line)),
            children: Slice(Some(Vec::new())),
            ..Variable::default()
        };
        if value.traits.has(Traits::UNTYPED) {
            variable.type_name.clear();
            variable.real_type.clear();
            match value.content {
                Content::NotLoaded if value.unreadable.is_none() => variable.become_nil(),
                // A constant that no `int` holds.
                Content::Uint(_) | Content::Wide(_) if value.ty.kind == Kind::Uint => {
                    variable.kind = ReflectKind(UINT64);
                }
                _ => {}
            }
        }
        variable.fill(value);
        if value.traits.has(Traits::REGISTER) {
            // Delve's address for what has none.
            variable.addr = UNRESOLVED;
            if matches!(value.content, Content::String { .. }) {
                variable.base = UNRESOLVED;
            }
        }
        variable
    }

    fn fill(&mut self, value: &Value) {
        let number = |text: String| match &value.constant {
            Some(name) => format!("{name} ({text})"),
            None => text,
        };
        match &value.content {
            Content::NotLoaded | Content::NilChan => {}
            Content::Bool(b) => self.value = b.to_string(),
            Content::Int(n) => self.value = number(n.to_string()),
            Content::Uint(n) => self.value = number(n.to_string()),
            Content::Wide(n) => self.value = n.to_string(),
            Content::Float32(x) => self.value = float32(*x),
            Content::Float64(x) => self.value = float64(*x),
            Content::Complex64(re, im) => {
                self.value = complex_text(f64::from(*re), f64::from(*im));
                self.complex_parts(FLOAT32, &float32(*re), &float32(*im));
            }
            Content::Complex128(re, im) => {
                self.value = complex_text(*re, *im);
                self.complex_parts(FLOAT64, &float64(*re), &float64(*im));
            }
            Content::String { bytes, len } => {
                self.len = *len;
                if let Ok(text) = str::from_utf8(bytes) {
                    text.clone_into(&mut self.value);
                } else {
                    // As Go's encoder does: a replacement character for each byte that is none of a character.
                    self.value = bytes.utf8_chunks().map(|chunk| replaced(&chunk)).collect();
                    self.string_value_bytes = Bytes(Some(bytes.clone()));
                }
            }
            Content::Pointer(pointee) => {
                // One that was computed stands in no memory, and Delve has no number for it.
                if self.addr != 0 {
                    self.len = 1;
                    self.value = pointee.addr.0.to_string();
                }
                self.children = vec![Variable::of(pointee)].into();
            }
            Content::UnsafePointer(address) => {
                self.len = 1;
                self.value = address.to_string();
                let followed = !std::mem::take(&mut self.only_addr);
                let mut target = Variable {
                    addr: *address,
                    only_addr: !followed,
                    ..Variable::void()
                };
                if followed && *address != 0 {
                    "unknown or unsupported kind: \"invalid\"".clone_into(&mut target.unreadable);
                }
                self.children = vec![target].into();
            }
            Content::Slice {
                base,
                len,
                cap,
                elements,
            } => {
                (self.base, self.len, self.cap) = (*base, *len, *cap);
                self.children = elements.iter().map(Variable::of).collect();
            }
            Content::Array { len, elements } => {
                (self.len, self.cap) = (*len, *len);
                self.children = elements.iter().map(Variable::of).collect();
            }
            Content::Struct { len, fields, summary } => {
                self.len = *len as i64;
                self.value = summary.clone().unwrap_or_default();
                self.children = fields.iter().map(Variable::of).collect();
            }
            Content::NilInterface => {
                self.children = vec![Variable::void()].into();
            }
            Content::Interface(held) => {
                let mut held = Variable::of(held);
                "data".clone_into(&mut held.name);
                self.children = vec![held].into();
            }
            Content::Map {
                base,
                len,
                entries,
                missing,
            } => {
                (self.base, self.len) = (*base, *len);
                let entries = entries.iter().flat_map(|(key, element)| [key, element]);
                self.children = entries.map(Variable::of).collect();
                if let Some(why) = missing {
                    self.unreadable.clone_from(why);
                }
            }
            Content::Chan { fields, len, .. } => {
                self.len = *len as i64;
                self.children = fields.iter().map(Variable::of).collect();
            }
            Content::Func { name, captured, len } => {
                self.value.clone_from(name);
                self.len = *len as i64;
                self.children = captured.iter().map(Variable::of).collect();
            }
        }
    }

    /// What is of no type that has values.
    fn void() -> Variable {
        Variable {
            type_name: "void".to_owned(),
            real_type: "void".to_owned(),
            children: Slice(Some(Vec::new())),
            ..Variable::default()
        }
    }

    /// `nil` itself is a pointer that leads nowhere.
    fn become_nil(&mut self) {
        let nowhere = Variable {
            only_addr: true,
            children: Slice(Some(Vec::new())),
            ..Variable::default()
        };
        self.kind = ReflectKind(POINTER);
        self.children = vec![nowhere].into();
    }

    fn complex_parts(&mut self, kind: u64, real: &str, imaginary: &str) {
        let part = |name: &str, text: &str| Variable {
            name: name.to_owned(),
            kind: ReflectKind(kind),
            value: text.to_owned(),
            ..Variable::default()
        };
        self.len = 2;
        self.children = vec![part("real", real), part("imaginary", imaginary)].into();
    }
}

/// Go's `reflect.Float32` and `reflect.Float64`.
const FLOAT32: u64 = 13;
const FLOAT64: u64 = 14;
/// The address that Delve gives to registers (`fakeAddressUnresolv` in `pkg/proc/mem.go`).
const UNRESOLVED: u64 = 0xbeed_0000_0000_0000;
/// Go's `reflect.Uint64`.
const UINT64: u64 = 11;
/// Go's `reflect.Pointer`.
const POINTER: u64 = 22;

/// The number that Delve gives to a type's kind: that of Go's `reflect.Kind`, but all integers are `int` or `uint`.
pub(crate) fn reflect_kind(ty: &Type) -> ReflectKind {
    ReflectKind(match &ty.kind {
        Kind::Void | Kind::Other(_) => 0,
        Kind::Bool => 1,
        Kind::Int => 2,
        Kind::Uint | Kind::Uintptr => 7,
        Kind::Float if ty.size == 4 => FLOAT32,
        Kind::Float => FLOAT64,
        Kind::Complex if ty.size == 8 => 15,
        Kind::Complex => 16,
        Kind::Array { .. } => 17,
        Kind::Chan { .. } => 18,
        Kind::Func => 19,
        Kind::Interface { .. } => 20,
        Kind::Map { .. } => 21,
        Kind::Pointer { .. } => POINTER,
        Kind::Slice { .. } => 23,
        Kind::String => 24,
        Kind::Struct { .. } => 25,
        Kind::UnsafePointer => 26,
    })
}

/// A complex number in short, as Go's `constant.Value.String`; its parts are exact.
fn complex_text(real: f64, imaginary: f64) -> String {
    format!("({} + {}i)", six_digits(real), six_digits(imaginary))
}

fn replaced(chunk: &std::str::Utf8Chunk<'_>) -> String {
    let mut text = chunk.valid().to_owned();
    text.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, chunk.invalid().len()));
    text
}

impl LoadConfig {
    /// How far values are loaded, as the loader takes it. What is negative loads nothing; of a struct's fields, all.
    pub(crate) fn limits(&self) -> value::LoadConfig {
        let limit = |number: isize| u32::try_from(number.max(0)).unwrap_or(u32::MAX);
        value::LoadConfig {
            follow_pointers: self.follow_pointers,
            max_variable_recurse: limit(self.max_variable_recurse),
            max_string_len: limit(self.max_string_len),
            max_array_values: limit(self.max_array_values),
            max_struct_fields: (self.max_struct_fields >= 0).then(|| limit(self.max_struct_fields)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use spelunk_dwarf::{ProcAddr, TypeId};

    use super::*;
    use crate::value::{Head, Origin};

    fn value(name: &str, kind: Kind, content: Content) -> Value {
        let ty = Type {
            id: TypeId::UNKNOWN,
            name: name.into(),
            size: 8,
            kind,
            runtime_type: None,
            dict_index: None,
        };
        Value {
            content,
            ..Value::not_loaded(Arc::new(ty), ProcAddr(0x1000))
        }
    }

    #[test]
    fn a_string_that_is_not_utf_8_comes_with_its_bytes() {
        let content = Content::String {
            bytes: b"a\xff\xfe".to_vec(),
            len: 3,
        };
        let variable = Variable::of(&value("string", Kind::String, content));
        assert_eq!(variable.value, "a\u{fffd}\u{fffd}");
        assert_eq!(variable.string_value_bytes, Bytes(Some(b"a\xff\xfe".to_vec())));
    }

    #[test]
    fn a_pointer_that_is_not_followed_has_an_address_and_a_head() {
        let kind = Kind::Slice { elem: TypeId::UNKNOWN };
        let mut pointee = value("[]int", kind, Content::NotLoaded);
        pointee.traits = Traits::ONLY_ADDRESS;
        pointee.head = Head {
            base: 0x2000,
            len: 3,
            cap: 4,
        };
        let kind = Kind::Pointer { elem: TypeId::UNKNOWN };
        let variable = Variable::of(&value("*[]int", kind, Content::Pointer(Box::new(pointee))));
        assert_eq!((variable.value.as_str(), variable.len), ("4096", 1));
        let [child] = variable.children.as_slice() else {
            panic!("a pointer has one child");
        };
        assert!(child.only_addr);
        assert_eq!((child.base, child.len, child.cap, child.flags.0), (0x2000, 3, 4, 0));
    }

    #[test]
    fn a_constant_without_a_type_shows_none() {
        let mut nil = value("nil", Kind::UnsafePointer, Content::NotLoaded);
        nil.traits = Traits::UNTYPED;
        let nil = Variable::of(&nil);
        assert_eq!((nil.type_name.as_str(), nil.kind.0), ("", POINTER));
        assert_eq!(nil.children.as_slice().len(), 1);
        let mut large = value("uint64", Kind::Uint, Content::Uint(u64::MAX));
        large.traits = Traits::UNTYPED.with(Traits::CONSTANT);
        let large = Variable::of(&large);
        assert_eq!((large.kind.0, large.flags.0), (UINT64, 4));
    }

    #[test]
    fn where_a_variable_comes_from_is_told() {
        let mut known = value("int", Kind::Int, Content::Int(-3));
        known.traits = Traits::ARGUMENT.with(Traits::ESCAPED);
        known.origin = Some(Origin {
            location: "[block] DW_OP_call_frame_cfa ".into(),
            decl_line: 12,
        });
        let variable = Variable::of(&known);
        assert_eq!((variable.value.as_str(), variable.flags.0), ("-3", 9));
        assert_eq!(variable.location_expr, "[block] DW_OP_call_frame_cfa ");
        assert_eq!(variable.decl_line, 12);
    }
}
