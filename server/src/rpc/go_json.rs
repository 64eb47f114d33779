//! JSON as Go's `encoding/json` reads and writes it, because Delve's clients are Go programs and rely on it.
//!
//! What differs from serde: names of fields match whatever their case, unknown ones are left out, `null` leaves what is there, what is missing is the zero
//! value, a nil slice or map is `null` where an empty one is not, and the first value of a wrong type is reported in Go's words while the rest is still
//! read (`encoding/json`, `decode.go`, Go 1.26).

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

pub(crate) use json::{Json, Kind, names};

mod json;
#[cfg(test)]
mod tests;

/// JSON as text, as it goes to a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JsonText(pub(crate) String);

impl JsonText {
    /// The JSON for a value.
    pub(crate) fn of(value: &impl Wire) -> JsonText {
        let mut text = String::new();
        value.write(&mut text);
        JsonText(text)
    }
}

impl serde::Serialize for JsonText {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

/// What Go knows of a value's type, and how it goes to and from JSON.
pub(crate) trait Wire: Default + Send {
    /// Go's name for the type, with its package: `*api.LoadConfig`, `[]string`.
    fn go_type() -> String;
    /// Takes over what the JSON says.
    fn decode(&mut self, json: Json<'_>, at: &mut Decoding);
    /// The JSON for it.
    fn encode(&self) -> Value;
    /// Appends the JSON for it as text. Answers with thousands of variables are written so: a tree of them would cost more than all the rest.
    fn write(&self, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = write!(out, "{}", self.encode());
    }
    /// Whether `omitempty` leaves it out.
    fn is_empty(&self) -> bool;
    /// Adds the structs that it is made of to a book of types.
    fn describe(_book: &mut Book) {}
}

/// Where in the JSON the decoder is, and the first thing that was wrong.
#[derive(Debug, Default)]
pub(crate) struct Decoding {
    /// Go's name of the innermost struct, without its package.
    structure: &'static str,
    /// The fields that lead here, from the outermost struct on.
    fields: Vec<&'static str>,
    error: Option<String>,
}

impl Decoding {
    /// Notes that the JSON has `found` where Go wants `wanted`. Only the first such is kept, as in Go.
    pub(crate) fn mismatch(&mut self, found: &str, wanted: &str) {
        if self.error.is_some() {
            return;
        }
        self.error = Some(if self.fields.is_empty() {
            format!("json: cannot unmarshal {found} into Go value of type {wanted}")
        } else {
            let (structure, path) = (self.structure, self.fields.join("."));
            format!("json: cannot unmarshal {found} into Go struct field {structure}.{path} of type {wanted}")
        });
    }

    /// Notes any other error, in whole.
    pub(crate) fn fail(&mut self, text: String) {
        self.error.get_or_insert(text);
    }

    /// Decodes one field of a struct.
    pub(crate) fn field<T: Wire>(&mut self, structure: &'static str, name: &'static str, into: &mut T, json: Json<'_>) {
        let outer = std::mem::replace(&mut self.structure, structure);
        self.fields.push(name);
        into.decode(json, self);
        self.fields.pop();
        self.structure = outer;
    }
}

/// Decodes a whole value.
pub(crate) fn decode<T: Wire>(text: &str) -> Result<T, String> {
    let json = Json::parse(text).map_err(|error| error.to_string())?;
    let mut value = T::default();
    let mut at = Decoding::default();
    value.decode(json, &mut at);
    match at.error {
        None => Ok(value),
        Some(error) => Err(error),
    }
}

/// The types of a protocol, for its reference.
#[derive(Debug, Default)]
pub(crate) struct Book {
    /// Structs by their Go names.
    pub(crate) structs: BTreeMap<String, StructPage>,
}

/// One struct of a [`Book`].
#[derive(Clone, Debug, Default)]
pub(crate) struct StructPage {
    /// What it is for.
    pub(crate) doc: &'static str,
    /// Its fields in order.
    pub(crate) fields: Vec<FieldPage>,
}

/// One field of a struct.
#[derive(Clone, Debug)]
pub(crate) struct FieldPage {
    /// Its name in JSON.
    pub(crate) name: &'static str,
    /// Go's name of its type.
    pub(crate) go_type: String,
    /// What it is for.
    pub(crate) doc: &'static str,
}

/// Defines structs of the protocol: fields with the names that they have in JSON, in Go's order. `omitempty` after a name means what it does in Go; `@`
/// names the embedded struct that a field belongs to, for errors.
///
/// ```ignore
/// wire! { "rpc2";
///     /// What `State` is asked with.
///     pub(crate) struct StateIn {
///         /// Whether to answer at once although the target runs.
///         non_blocking: bool = "NonBlocking",
///     }
/// }
/// ```
macro_rules! wire {
    ($package:literal; $(
        $(#[doc = $doc:literal])*
        pub(crate) struct $name:ident {
            $( $(#[doc = $field_doc:literal])* $field:ident : $type:ty = $json:literal $($omit:ident)? $(@ $embedded:literal)? , )*
        }
    )*) => { $(
        $(#[doc = $doc])*
        #[derive(Clone, Debug, Default, PartialEq)]
        #[allow(dead_code, clippy::struct_excessive_bools, clippy::struct_field_names, reason = "Delve's types are kept whole, and as they are")]
        pub(crate) struct $name { $( $(#[doc = $field_doc])* pub(crate) $field: $type, )* }

        impl $crate::rpc::go_json::Wire for $name {
            fn go_type() -> String {
                concat!($package, ".", stringify!($name)).to_owned()
            }

            #[allow(unused_variables, reason = "some structs have no fields")]
            fn decode(&mut self, json: $crate::rpc::go_json::Json<'_>, at: &mut $crate::rpc::go_json::Decoding) {
                match json.kind() {
                    $crate::rpc::go_json::Kind::Object => {}
                    $crate::rpc::go_json::Kind::Null => return,
                    other => {
                        return at.mismatch(other.name(), &<$name as $crate::rpc::go_json::Wire>::go_type());
                    }
                }
                for (key, value) in json.fields() {
                    // The first field of that name, if there is one.
                    let _ = false $( || {
                        let is_meant = $crate::rpc::go_json::names(&key, $json);
                        if is_meant {
                            at.field(stringify!($name), concat!($($embedded, ".",)? $json), &mut self.$field, value);
                        }
                        is_meant
                    } )*;
                }
            }

            fn encode(&self) -> serde_json::Value {
                #[allow(unused_mut, reason = "some structs have no fields")]
                let mut object = serde_json::Map::new();
                $(
                    let omit = $crate::rpc::go_json::omits(stringify!($($omit)?));
                    if !(omit && $crate::rpc::go_json::Wire::is_empty(&self.$field)) {
                        object.insert($json.to_owned(), $crate::rpc::go_json::Wire::encode(&self.$field));
                    }
                )*
                serde_json::Value::Object(object)
            }

            #[allow(unused_variables, unused_mut, unused_assignments, reason = "some structs have no fields")]
            fn write(&self, out: &mut String) {
                out.push('{');
                let mut is_first = true;
                $(
                    let omit = $crate::rpc::go_json::omits(stringify!($($omit)?));
                    if !(omit && $crate::rpc::go_json::Wire::is_empty(&self.$field)) {
                        // No name of Go's has a character that JSON escapes.
                        out.push_str(if is_first { concat!("\"", $json, "\":") } else { concat!(",\"", $json, "\":") });
                        is_first = false;
                        $crate::rpc::go_json::Wire::write(&self.$field, out);
                    }
                )*
                out.push('}');
            }

            fn is_empty(&self) -> bool {
                false
            }

            fn describe(book: &mut $crate::rpc::go_json::Book) {
                let name = <$name as $crate::rpc::go_json::Wire>::go_type();
                if book.structs.contains_key(&name) {
                    return;
                }
                book.structs.insert(name, $crate::rpc::go_json::StructPage {
                    doc: concat!($($doc, "\n",)* ""),
                    fields: vec![ $( $crate::rpc::go_json::FieldPage {
                        name: $json,
                        go_type: <$type as $crate::rpc::go_json::Wire>::go_type(),
                        doc: concat!($($field_doc, "\n",)* ""),
                    }, )* ],
                });
                $( <$type as $crate::rpc::go_json::Wire>::describe(book); )*
            }
        }
    )* };
}
pub(crate) use wire;

/// Whether the word behind a field's name says `omitempty`.
pub(crate) fn omits(word: &str) -> bool {
    word == "omitempty"
}

impl Wire for bool {
    fn go_type() -> String {
        "bool".to_owned()
    }

    fn decode(&mut self, json: Json<'_>, at: &mut Decoding) {
        match json.kind() {
            Kind::Bool => *self = json.is_true(),
            Kind::Null => {}
            other => at.mismatch(other.name(), "bool"),
        }
    }

    fn encode(&self) -> Value {
        Value::Bool(*self)
    }

    fn write(&self, out: &mut String) {
        out.push_str(if *self { "true" } else { "false" });
    }

    fn is_empty(&self) -> bool {
        !self
    }
}

impl Wire for String {
    fn go_type() -> String {
        "string".to_owned()
    }

    fn decode(&mut self, json: Json<'_>, at: &mut Decoding) {
        match json.kind() {
            Kind::String => *self = json.characters(),
            Kind::Null => {}
            other => at.mismatch(other.name(), "string"),
        }
    }

    fn encode(&self) -> Value {
        Value::String(self.clone())
    }

    fn write(&self, out: &mut String) {
        let is_plain = |byte: u8| matches!(byte, b' '..=b'~' | 0x80..) && !matches!(byte, b'"' | b'\\');
        if self.bytes().all(is_plain) {
            out.push('"');
            out.push_str(self);
            out.push('"');
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "{}", self.encode());
        }
    }

    fn is_empty(&self) -> bool {
        String::is_empty(self)
    }
}

/// Integers, by their Rust type and Go's name for it. A number that does not fit is named in the error, as Go does.
macro_rules! integers {
    ($($type:ty = $go:literal),*) => { $(
        impl Wire for $type {
            fn go_type() -> String {
                $go.to_owned()
            }

            fn decode(&mut self, json: Json<'_>, at: &mut Decoding) {
                match json.kind() {
                    // Go parses the digits as they stand: `1.0` and `1e3` are no integers.
                    Kind::Number => match json.text().parse() {
                        Ok(value) => *self = value,
                        Err(_) => at.mismatch(&format!("number {}", json.text()), $go),
                    },
                    Kind::Null => {}
                    other => at.mismatch(other.name(), $go),
                }
            }

            fn encode(&self) -> Value {
                Value::Number(Number::from(*self))
            }

            fn write(&self, out: &mut String) {
                // Writing to a String cannot fail.
                let _ = write!(out, "{self}");
            }

            fn is_empty(&self) -> bool {
                *self == 0
            }
        }
    )* };
}
integers!(
    isize = "int",
    i64 = "int64",
    u64 = "uint64",
    u16 = "uint16",
    u8 = "uint8",
    usize = "uint"
);

/// A pointer: `null` is nil.
impl<T: Wire> Wire for Option<Box<T>> {
    fn go_type() -> String {
        format!("*{}", T::go_type())
    }

    fn decode(&mut self, json: Json<'_>, at: &mut Decoding) {
        if json.kind() == Kind::Null {
            *self = None;
        } else {
            self.get_or_insert_default().decode(json, at);
        }
    }

    fn encode(&self) -> Value {
        self.as_ref().map_or(Value::Null, |value| value.encode())
    }

    fn write(&self, out: &mut String) {
        match self {
            Some(value) => value.write(out),
            None => out.push_str("null"),
        }
    }

    fn is_empty(&self) -> bool {
        self.is_none()
    }

    fn describe(book: &mut Book) {
        T::describe(book);
    }
}

/// A slice of Go, which can be nil.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Slice<T>(pub(crate) Option<Vec<T>>);

impl<T> Default for Slice<T> {
    fn default() -> Slice<T> {
        Slice(None)
    }
}

impl<T> From<Vec<T>> for Slice<T> {
    fn from(elements: Vec<T>) -> Slice<T> {
        Slice(Some(elements))
    }
}

impl<T> FromIterator<T> for Slice<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Slice<T> {
        Slice(Some(elements.into_iter().collect()))
    }
}

impl<T> Slice<T> {
    /// The elements; none for nil.
    pub(crate) fn as_slice(&self) -> &[T] {
        self.0.as_deref().unwrap_or_default()
    }

    /// A slice that is nil when there is nothing in it, as what Go's `append` has never touched.
    pub(crate) fn nil_if_empty(elements: Vec<T>) -> Slice<T> {
        Slice(Some(elements).filter(|elements| !elements.is_empty()))
    }
}

impl<T: Wire> Wire for Slice<T> {
    fn go_type() -> String {
        format!("[]{}", T::go_type())
    }

    fn decode(&mut self, json: Json<'_>, at: &mut Decoding) {
        match json.kind() {
            Kind::Array => {
                let decoded = json.elements().into_iter().map(|element| {
                    let mut value = T::default();
                    value.decode(element, at);
                    value
                });
                self.0 = Some(decoded.collect());
            }
            Kind::Null => self.0 = None,
            other => at.mismatch(other.name(), &Self::go_type()),
        }
    }

    fn encode(&self) -> Value {
        match &self.0 {
            Some(elements) => Value::Array(elements.iter().map(Wire::encode).collect()),
            None => Value::Null,
        }
    }

    fn write(&self, out: &mut String) {
        let Some(elements) = &self.0 else {
            return out.push_str("null");
        };
        out.push('[');
        for (at, element) in elements.iter().enumerate() {
            if at > 0 {
                out.push(',');
            }
            element.write(out);
        }
        out.push(']');
    }

    fn is_empty(&self) -> bool {
        self.as_slice().is_empty()
    }

    fn describe(book: &mut Book) {
        T::describe(book);
    }
}

/// An array of Go: what is missing is zero, what is too much is left out.
impl<T: Wire, const N: usize> Wire for [T; N]
where
    [T; N]: Default,
{
    fn go_type() -> String {
        format!("[{N}]{}", T::go_type())
    }

    fn decode(&mut self, json: Json<'_>, at: &mut Decoding) {
        match json.kind() {
            Kind::Array => {
                let mut elements = json.elements().into_iter();
                for slot in self {
                    match elements.next() {
                        Some(element) => slot.decode(element, at),
                        None => *slot = T::default(),
                    }
                }
            }
            Kind::Null => {}
            other => at.mismatch(other.name(), &Self::go_type()),
        }
    }

    fn encode(&self) -> Value {
        Value::Array(self.iter().map(Wire::encode).collect())
    }

    fn is_empty(&self) -> bool {
        N == 0
    }

    fn describe(book: &mut Book) {
        T::describe(book);
    }
}

/// A map with strings for keys, which can be nil.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct StringMap<T>(pub(crate) Option<BTreeMap<String, T>>);

impl<T: Wire> Wire for StringMap<T> {
    fn go_type() -> String {
        format!("map[string]{}", T::go_type())
    }

    fn decode(&mut self, json: Json<'_>, at: &mut Decoding) {
        match json.kind() {
            Kind::Object => {
                let map = self.0.get_or_insert_default();
                for (key, json) in json.fields() {
                    let mut value = T::default();
                    value.decode(json, at);
                    map.insert(key, value);
                }
            }
            Kind::Null => self.0 = None,
            other => at.mismatch(other.name(), &Self::go_type()),
        }
    }

    fn encode(&self) -> Value {
        match &self.0 {
            Some(entries) => {
                let entries = entries.iter().map(|(key, value)| (key.clone(), value.encode()));
                Value::Object(entries.collect::<Map<_, _>>())
            }
            None => Value::Null,
        }
    }

    fn is_empty(&self) -> bool {
        self.0.as_ref().is_none_or(BTreeMap::is_empty)
    }

    fn describe(book: &mut Book) {
        T::describe(book);
    }
}
