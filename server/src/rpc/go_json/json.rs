//! JSON as it was written: numbers with their digits, fields in their order, repeated ones included. Go's decoder tells these apart.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// A value, of which only the syntax was looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Json<'a> {
    raw: &'a RawValue,
}

/// What a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// A list.
    Array,
    /// Fields.
    Object,
}

impl Kind {
    /// What Go calls it in its errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Null => "null",
            Kind::Bool => "bool",
            Kind::Number => "number",
            Kind::String => "string",
            Kind::Array => "array",
            Kind::Object => "object",
        }
    }
}

impl<'a> Json<'a> {
    /// Checks the syntax of a value.
    pub(crate) fn parse(text: &'a str) -> Result<Json<'a>, serde_json::Error> {
        serde_json::from_str(text).map(|raw| Json { raw })
    }

    /// As it was written.
    pub(crate) fn text(self) -> &'a str {
        self.raw.get()
    }

    /// What it is.
    pub(crate) fn kind(self) -> Kind {
        match self.text().as_bytes().first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'n') | None => Kind::Null,
            Some(_) => Kind::Number,
        }
    }

    /// Whether it is `true`.
    pub(crate) fn is_true(self) -> bool {
        self.text() == "true"
    }

    /// The elements of a list; none of anything else.
    pub(crate) fn elements(self) -> Vec<Json<'a>> {
        self.read::<Elements<'a>>().map(|list| list.0).unwrap_or_default()
    }

    /// The fields of an object; none of anything else.
    pub(crate) fn fields(self) -> Vec<(String, Json<'a>)> {
        self.read::<Fields<'a>>().map(|fields| fields.0).unwrap_or_default()
    }

    /// The characters of a string; none of anything else. Halves of surrogate pairs are replaced, as Go does.
    pub(crate) fn characters(self) -> String {
        self.read::<Characters>().map(|text| text.0).unwrap_or_default()
    }

    fn read<T: Deserialize<'a>>(self) -> Option<T> {
        serde_json::from_str(self.text()).ok()
    }
}

/// Whether Go takes a key for the name of a field: in whatever case, where `K` (U+212A) and `ſ` (U+017F) are cases of k and s (`foldName` in
/// `encoding/json/fold.go`, Go 1.26).
pub(crate) fn names(key: &str, field: &str) -> bool {
    let fold = |character: char| match character {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(field.chars().map(fold))
}

impl<'de> Deserialize<'de> for Json<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json<'de>, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Json { raw })
    }
}

struct Elements<'a>(Vec<Json<'a>>);

impl<'de> Deserialize<'de> for Elements<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Elements<'de>, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Elements<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Elements<'de>, A::Error> {
                let mut elements = Vec::new();
                while let Some(element) = list.next_element()? {
                    elements.push(element);
                }
                Ok(Elements(elements))
            }
        }

        deserializer.deserialize_seq(List)
    }
}

struct Fields<'a>(Vec<(String, Json<'a>)>);

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Fields<'de>, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some(key) = object.next_key::<Json<'de>>()? {
                    fields.push((key.characters(), object.next_value()?));
                }
                Ok(Fields(fields))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

struct Characters(String);

impl<'de> Deserialize<'de> for Characters {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Characters, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Characters;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a string")
            }

            fn visit_str<E>(self, text: &str) -> Result<Characters, E> {
                Ok(Characters(text.to_owned()))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Characters, E> {
                Ok(Characters(without_surrogates(bytes)))
            }
        }

        // As bytes, serde_json gives halves of surrogate pairs in three bytes each; as text, it refuses them.
        deserializer.deserialize_bytes(Bytes)
    }
}

/// Text in which each half of a surrogate pair, in three bytes that begin with 0xED and 0xA0 to 0xBF, is replaced.
fn without_surrogates(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    loop {
        match std::str::from_utf8(rest) {
            Ok(valid) => {
                text.push_str(valid);
                return text;
            }
            Err(error) => {
                let (valid, after) = rest.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(valid));
                text.push(char::REPLACEMENT_CHARACTER);
                let length = if matches!(after, [0xed, 0xa0..=0xbf, ..]) { 3 } else { 1 };
                rest = after.get(length..).unwrap_or_default();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Json<'_> {
        Json::parse(text).expect(text)
    }

    #[test]
    fn what_was_written_is_kept() {
        let fields = json("{\"b\": 1e3, \"a\":[1.0 ,null],\"b\":true}").fields();
        let read: Vec<(&str, &str)> = fields
            .iter()
            .map(|(name, value)| (name.as_str(), value.text()))
            .collect();
        assert_eq!(read, [("b", "1e3"), ("a", "[1.0 ,null]"), ("b", "true")]);
        let kinds: Vec<Kind> = fields.iter().map(|(_, value)| value.kind()).collect();
        assert_eq!(kinds, [Kind::Number, Kind::Array, Kind::Bool]);
        let elements: Vec<&str> = json("[ -0 , \"x\" ]")
            .elements()
            .iter()
            .map(|element| element.text())
            .collect();
        assert_eq!(elements, ["-0", "\"x\""]);
        assert!(json("[]").fields().is_empty() && json("{}").elements().is_empty());
    }

    #[test]
    fn strings_are_read_as_go_reads_them() {
        for (text, characters) in [
            (r#""a\u00e9\n\ud83d\ude00""#, "aé\n😀"),
            (r#""\ud83d""#, "\u{fffd}"),
            (r#""x\ude00y""#, "x\u{fffd}y"),
            (r#""\ud83dx""#, "\u{fffd}x"),
        ] {
            assert_eq!(json(text).characters(), characters, "{text}");
        }
        let fields = json(r#"{"\u0061":1}"#).fields();
        assert!(fields.iter().any(|(name, _)| name == "a"));
    }

    #[test]
    fn names_match_in_any_case() {
        assert!(names("GOROUTINEid", "goroutineID"));
        assert!(names("\u{17f}\u{212a}ip", "Skip"));
        assert!(!names("Ski", "Skip"));
        assert!(!names("Sk\u{131}p", "Skip"));
    }
}
