//! What was observed, without what differs from run to run. Addresses of code and of package variables stay, and so does how the names of values are made of their addresses.

use serde_json::{Map, Value};

use crate::normalise::Normaliser;

/// Below lie code and package variables of a program that is not position independent; the heap begins here.
const LOWEST_HEAP_ADDRESS: u64 = 0xc0_0000_0000;
/// Beyond lies nothing that a process has.
const HIGHEST_ADDRESS: u64 = 1 << 47;
/// From here on addresses are made up, for values that lie in registers; how they are made is nobody's business.
const LOWEST_MADE_UP_ADDRESS: u64 = 0xbe00_0000_0000_0000;

/// What is known about a session.
pub(super) struct ValueNormaliser {
    texts: Normaliser,
}

impl ValueNormaliser {
    /// For a session in which `paths` are replaced by their names.
    pub(super) fn new(paths: Vec<(String, String)>) -> ValueNormaliser {
        ValueNormaliser {
            texts: Normaliser::new(paths),
        }
    }

    /// A title.
    pub(super) fn text(&mut self, text: &str) -> String {
        self.texts.text(text)
    }

    /// An answer.
    pub(super) fn answer(&mut self, mut answer: Value) -> Value {
        self.value("", &mut answer);
        answer
    }

    fn value(&mut self, name: &str, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.texts.text(text),
            Value::Number(number) => {
                if let Some(class) = number.as_u64().and_then(|number| address_class(name, number)) {
                    *value = class.into();
                }
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.value(name, item)),
            Value::Object(members) => self.members(members),
            _ => {}
        }
    }

    fn members(&mut self, members: &mut Map<String, Value>) {
        settle_map(members);
        // Handles are numbered as they are given out; whether there is one is what a client sees.
        if let Some(reference) = members.get_mut("variablesReference") {
            *reference = (reference.as_i64().unwrap_or(0) != 0).into();
        }
        for (name, member) in members {
            self.value(name, member);
        }
    }
}

/// Whether a variable of either protocol is a map with entries that have an order, which differs from run to run.
pub(super) fn is_unordered(variable: &Value) -> bool {
    let number = |name: &str| variable[name].as_i64().unwrap_or(0);
    let is_map = variable["type"].as_str().is_some_and(|name| name.starts_with("map["));
    is_map && (number("indexedVariables") > 1 || number("len") > 1)
}

/// Of a map with several entries, only that they are there.
fn settle_map(members: &mut Map<String, Value>) {
    if !is_unordered(&Value::Object(members.clone())) {
        return;
    }
    for name in ["value", "result"] {
        if let Some(text) = members.get(name).and_then(Value::as_str)
            && let Some((before, _)) = text.split_once(" [")
        {
            members.insert(name.to_owned(), format!("{before} [ENTRIES]").into());
        }
    }
    if let Some(children) = members.get_mut("children") {
        *children = children.as_array().map(Vec::len).into();
    }
}

/// What stands for a number that is an address.
fn address_class(name: &str, number: u64) -> Option<&'static str> {
    match name {
        "addr" | "base" if number >= LOWEST_MADE_UP_ADDRESS => Some("MADE UP"),
        "addr" | "base" if (LOWEST_HEAP_ADDRESS..HIGHEST_ADDRESS).contains(&number) => Some("ADDRESS"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn addresses_and_handles_are_blanked_and_lengths_stay() {
        let mut normaliser = ValueNormaliser::new(Vec::new());
        assert_eq!(
            normaliser.answer(json!({
                "addr": 0xc0_0001_2345_u64, "base": 0x4b_0000, "len": 0xc0_0001_2345_u64, "variablesReference": 1001,
                "children": [{"addr": 0xbe00_0000_0000_0001_u64, "value": "*0xc000012345", "variablesReference": 0}],
            })),
            json!({
                "addr": "ADDRESS", "base": 0x4b_0000, "len": 0xc0_0001_2345_u64, "variablesReference": true,
                "children": [{"addr": "MADE UP", "value": "*0xADDRESS", "variablesReference": false}],
            })
        );
    }

    #[test]
    fn entries_that_have_no_order_are_counted() {
        let mut normaliser = ValueNormaliser::new(Vec::new());
        let shown = normaliser
            .answer(json!({"value": "map[int]int [1: 2, 3: 4, ]", "type": "map[int]int", "indexedVariables": 2}));
        assert_eq!(shown["value"], "map[int]int [ENTRIES]");
        let single = json!({"value": "map[int]int [1: 2, ]", "type": "map[int]int", "indexedVariables": 1});
        assert_eq!(normaliser.answer(single.clone()), single);
        let listed = normaliser.answer(json!({"type": "map[int]int", "len": 2, "children": [{}, {}, {}, {}]}));
        assert_eq!(listed["children"], 4);
    }
}
