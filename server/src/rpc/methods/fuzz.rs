//! Fuzz target: JSON, read as every type that a method takes or gives.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::Value;

use super::{Methods, Wire, go_json};
use crate::fuzz::check;

/// Reads a text as two types; what was taken is written, and read again as it was.
pub(super) fn read_both<I: Wire, O: Wire>(json: &str) {
    read::<I>(json);
    read::<O>(json);
}

fn read<T: Wire>(json: &str) {
    if let Ok(value) = go_json::decode::<T>(json) {
        let written = value.encode();
        let again = go_json::decode::<T>(&written.to_string()).map(|again| again.encode());
        assert_eq!(again.as_ref(), Ok(&written), "{}", T::go_type());
    }
}

/// JSON with these names of fields, of any types.
fn json(names: Vec<String>) -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        select(vec![
            "null",
            "true",
            "false",
            "0",
            "1",
            "-1",
            "9223372036854775807",
            "1e400",
            "\"\"",
            "[]",
            "{}"
        ])
        .prop_map(str::to_owned),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,3})?",
        "[ -~é💥]{0,8}".prop_map(|text| Value::String(text).to_string()),
        "(\\\\u[0-9a-f]{4}){0,3}".prop_map(|text| format!("\"{text}\"")),
        select(names.clone()).prop_map(|name| format!("\"{name}\"")),
        (1usize..400).prop_map(|deep| "[".repeat(deep) + &"]".repeat(deep)),
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let field = (select(names.clone()), inner.clone());
        prop_oneof![
            1 => prop::collection::vec(inner, 0..4).prop_map(|list| format!("[{}]", list.join(" ,"))),
            3 => prop::collection::vec(field, 0..8).prop_map(|fields| {
                let fields: Vec<String> = fields.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
                format!("{{{}}}", fields.join(", "))
            }),
        ]
    })
}

#[test]
fn arguments_and_answers() {
    let methods = Methods::new();
    let fields = methods.book.structs.values().flat_map(|page| &page.fields);
    let mut names: Vec<String> = fields.map(|field| field.name.to_string()).collect();
    names.sort();
    names.dedup();
    let broken = "[{}\\[\\]\",:\\\\ a1eE.\n+-]{0,60}";
    check(&prop_oneof![9 => json(names), 1 => broken], |text| {
        for page in methods.pages.values() {
            (page.read)(&text);
        }
    });
}
