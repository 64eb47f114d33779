//! What Go's decoder does, as `encoding/json` of Go 1.26 does it.

use proptest::prelude::*;

use super::*;

wire! { "test";
    /// The outer struct.
    pub(crate) struct Outer {
        /// A number.
        count: isize = "Count",
        /// A small number.
        small: u8 = "small" omitempty,
        /// A string.
        name: String = "Name",
        /// A switch.
        on: bool = "On",
        /// Another struct.
        inner: Inner = "Inner",
        /// A pointer to one.
        pointer: Option<Box<Inner>> = "Pointer" omitempty,
        /// Several.
        list: Slice<Inner> = "List",
        /// By name.
        map: StringMap<isize> = "Map",
        /// Two.
        pair: [String; 2] = "Pair",
    }

    /// The inner struct.
    pub(crate) struct Inner {
        /// Numbers.
        deep: Slice<i64> = "deep",
    }
}

fn error(text: &str) -> String {
    decode::<Outer>(text).expect_err(text)
}

#[test]
fn names_match_in_any_case_and_the_last_value_counts() {
    let read = decode::<Outer>(r#"{"COUNT":1,"count":2,"unknown":{"Count":[]},"name":"a\ud800"}"#).expect("a value");
    assert_eq!((read.count, read.name.as_str()), (2, "a\u{fffd}"));
}

#[test]
fn null_leaves_values_and_empties_what_can_be_nil() {
    let read = decode::<Outer>(
        r#"{"Count":3,"Count":null,"Name":"x","Name":null,"On":true,"On":null,"List":[{}],"List":null,"Pointer":{},"Pointer":null,"Pair":["a","b"],"Pair":null}"#,
    )
    .expect("a value");
    let expected = Outer {
        count: 3,
        name: "x".to_owned(),
        on: true,
        pair: ["a".to_owned(), "b".to_owned()],
        ..Outer::default()
    };
    assert_eq!(read, expected);
    assert_eq!(decode::<Outer>("null"), Ok(Outer::default()));
}

#[test]
fn structs_and_pointers_are_merged_lists_are_not() {
    let read = decode::<Outer>(
        r#"{"Pointer":{"deep":[1]},"pointer":{},"Map":{"a":1},"Map":{"b":2},"List":[{"deep":[1]}],"List":[{}],"Pair":["a","b","c"],"pair":["d"]}"#,
    )
    .expect("a value");
    assert_eq!(read.pointer.map(|inner| inner.deep), Some(vec![1].into()));
    assert_eq!(read.map.0.map(|map| map.len()), Some(2));
    assert_eq!(read.list.as_slice(), [Inner::default()]);
    assert_eq!(read.pair, ["d".to_owned(), String::new()]);
}

#[test]
fn a_wrong_type_is_told_in_gos_words() {
    for (text, what) in [
        (
            r#"{"Count":"1"}"#,
            "string into Go struct field Outer.Count of type int",
        ),
        (
            r#"{"Count":1.0}"#,
            "number 1.0 into Go struct field Outer.Count of type int",
        ),
        (
            r#"{"count":1e2}"#,
            "number 1e2 into Go struct field Outer.Count of type int",
        ),
        (
            r#"{"Count":99999999999999999999}"#,
            "number 99999999999999999999 into Go struct field Outer.Count of type int",
        ),
        (
            r#"{"small":256}"#,
            "number 256 into Go struct field Outer.small of type uint8",
        ),
        (
            r#"{"small":-1}"#,
            "number -1 into Go struct field Outer.small of type uint8",
        ),
        (
            r#"{"Name":1.50}"#,
            "number into Go struct field Outer.Name of type string",
        ),
        (r#"{"On":{}}"#, "object into Go struct field Outer.On of type bool"),
        (
            r#"{"Inner":[]}"#,
            "array into Go struct field Outer.Inner of type test.Inner",
        ),
        (
            r#"{"Pointer":true}"#,
            "bool into Go struct field Outer.Pointer of type test.Inner",
        ),
        (
            r#"{"List":{}}"#,
            "object into Go struct field Outer.List of type []test.Inner",
        ),
        (
            r#"{"List":[{"deep":[1,"x"]}]}"#,
            "string into Go struct field Inner.List.deep of type int64",
        ),
        (
            r#"{"Map":[]}"#,
            "array into Go struct field Outer.Map of type map[string]int",
        ),
        (
            r#"{"Pair":1}"#,
            "number into Go struct field Outer.Pair of type [2]string",
        ),
        ("7", "number into Go value of type test.Outer"),
        (r#""x""#, "string into Go value of type test.Outer"),
    ] {
        assert_eq!(error(text), format!("json: cannot unmarshal {what}"), "{text}");
    }
}

#[test]
fn the_first_of_several_errors_is_told() {
    assert!(error(r#"{"On":1,"Count":true}"#).contains("Outer.On"));
}

#[test]
fn nil_is_null_and_empty_is_not() {
    let empty = Outer {
        list: Vec::new().into(),
        map: StringMap(Some(BTreeMap::new())),
        ..Outer::default()
    };
    let nil = Outer::default().encode().to_string();
    assert_eq!(
        nil,
        r#"{"Count":0,"Name":"","On":false,"Inner":{"deep":null},"List":null,"Map":null,"Pair":["",""]}"#
    );
    let expected = nil.replace(r#""List":null,"Map":null"#, r#""List":[],"Map":{}"#);
    assert_eq!(empty.encode().to_string(), expected);
}

/// A JSON text with the names of [`Outer`]'s fields, of any types.
fn any_json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        "[ -~é💥]{0,8}".prop_map(|text| Value::String(text).to_string()),
        "(\\\\u[0-9a-f]{4}){0,3}".prop_map(|text| format!("\"{text}\"")),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let name = prop::sample::select(vec![
            "Count", "SMALL", "Name", "On", "inner", "Pointer", "List", "Map", "Pair", "deep", "x",
        ]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(|list| format!("[{}]", list.join(" ,"))),
            prop::collection::vec((name, inner), 0..5).prop_map(|fields| {
                let fields: Vec<String> = fields
                    .iter()
                    .map(|(name, value)| format!("\"{name}\": {value}"))
                    .collect();
                format!("{{{}}}", fields.join(", "))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn every_value_is_taken_or_refused(text in any_json()) {
        match decode::<Outer>(&text) {
            // What was taken is written and read again as it was.
            Ok(value) => {
                let text = value.encode().to_string();
                prop_assert_eq!(&JsonText::of(&value).0, &text);
                prop_assert_eq!(decode::<Outer>(&text), Ok(value));
            }
            Err(error) => prop_assert!(error.starts_with("json: cannot unmarshal "), "{}", error),
        }
    }

    #[test]
    fn no_text_makes_it_panic(text in "[{}\\[\\]\",:\\\\ a1eE.\n+-]{0,60}") {
        let _ = decode::<Outer>(&text);
    }
}
