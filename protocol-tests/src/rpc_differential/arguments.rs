//! Each method with each kind of wrong argument.
//!
//! From one valid argument of a method the wrong ones are made: members of other types, out of range, `null`; and parameters that are no list of one object.

use serde_json::{Value, json};

use super::play::RpcPlay;
use crate::failure::Result;

/// A number that no program of ours has so many things of. Larger ones end Delve: it makes room for a billion frames.
const LARGE: i64 = 70_000;

/// Whether a method may be asked what it understands, or only what it cannot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Harm {
    /// Nothing happens that later calls do not allow for.
    None,
    /// What it understands would end the session, or answers differently each time.
    Done,
}

/// Asks a method with everything that can be wrong with its argument, and with what is right, where that does no harm.
pub(super) fn vary(play: &mut RpcPlay, method: &str, valid: &Value, harm: Harm) -> Result<()> {
    if harm == Harm::None {
        play.ask(method, valid.clone())?;
        for parameters in [
            None,
            Some(json!(null)),
            Some(json!([])),
            Some(json!([null])),
            Some(json!([{}])),
            Some(json!([valid, 2])),
            Some(json!([other_case(valid)])),
            Some(json!([{"NoSuchMember": 1}])),
            Some(valid.clone()),
        ] {
            play.ask_with(0, method, parameters)?;
        }
        for argument in understood(valid) {
            play.ask(method, argument)?;
        }
    }
    for parameters in [
        json!([5]),
        json!(["x"]),
        json!([[]]),
        json!([true]),
        json!("x"),
        json!(5),
    ] {
        play.ask_with(0, method, Some(parameters))?;
    }
    for argument in refused(valid) {
        play.ask(method, argument)?;
    }
    Ok(())
}

/// The argument with the names of its members in the wrong case, which Go takes.
fn other_case(valid: &Value) -> Value {
    match valid {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.to_uppercase(), value.clone()))
            .collect(),
        other => other.clone(),
    }
}

/// Arguments that Go decodes, and that may mean nothing to the method.
fn understood(valid: &Value) -> Vec<Value> {
    with_members(valid, &|member| match member {
        Value::Number(_) => vec![json!(null), json!(-1), json!(LARGE)],
        Value::String(_) => vec![json!(null), json!(""), json!("\u{0}\u{fffd}☃"), json!("[")],
        _ => vec![json!(null)],
    })
}

/// Arguments that Go does not decode.
fn refused(valid: &Value) -> Vec<Value> {
    with_members(valid, &|member| match member {
        Value::Number(_) => vec![
            json!("7"),
            json!(1.5),
            json!(1e30),
            json!(true),
            json!({}),
            json!([1]),
            json!(u64::MAX),
        ],
        Value::String(_) => vec![json!(7), json!(false), json!([]), json!({})],
        Value::Bool(_) => vec![json!(1), json!("true"), json!({})],
        Value::Array(_) => vec![json!(5), json!("x"), json!({}), json!([5]), json!([[[]]])],
        Value::Object(_) => vec![json!(5), json!("x"), json!([])],
        Value::Null => vec![],
    })
}

/// The argument with one member replaced at a time, members of members included.
fn with_members(valid: &Value, replaced: &dyn Fn(&Value) -> Vec<Value>) -> Vec<Value> {
    let Value::Object(members) = valid else {
        return Vec::new();
    };
    let mut all = Vec::new();
    for (name, member) in members {
        let inner = with_members(member, replaced);
        for with in replaced(member).into_iter().chain(inner) {
            let mut changed = members.clone();
            changed.insert(name.clone(), with);
            all.push(Value::Object(changed));
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_member_is_wrong_at_a_time() {
        let all = refused(&json!({"A": true, "B": {"C": "x"}}));
        assert!(all.contains(&json!({"A": "true", "B": {"C": "x"}})), "{all:?}");
        assert!(all.contains(&json!({"A": true, "B": {"C": 7}})), "{all:?}");
        assert!(all.contains(&json!({"A": true, "B": []})), "{all:?}");
        assert!(!all.contains(&json!({"A": true, "B": {"C": "x"}})), "{all:?}");
    }
}
