//! Two sessions side by side: which messages pair, and in which parts they differ.

use serde::Deserialize;
use serde_json::Value;

use crate::failure::{Attempt, Result};
use crate::paths;

/// One entry of `explained-differences.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explained {
    scenario: String,
    message: String,
    pointer: String,
    /// What Delve says, as JSON; anything where absent.
    dlv: Option<String>,
    /// What spelunk says, as JSON; anything where absent.
    spelunk: Option<String>,
    /// Why the difference is meant.
    pub reason: String,
}

#[derive(Deserialize)]
struct ExplainedFile {
    difference: Vec<Explained>,
}

/// One place where the two differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Which message: `response NAME`, `event NAME`.
    pub message: String,
    /// Which part of it, as a JSON pointer, or `missing` or `additional` for the whole.
    pub pointer: String,
    /// What Delve said.
    pub theirs: String,
    /// What spelunk said.
    pub ours: String,
}

/// The differences that are meant.
pub fn explained() -> Result<Vec<Explained>> {
    let path = paths::crate_dir().join("explained-differences.toml");
    let text = std::fs::read_to_string(&path).attempt(format_args!("reading {}", path.display()))?;
    Ok(toml::from_str::<ExplainedFile>(&text)
        .attempt(format_args!("reading {}", path.display()))?
        .difference)
}

impl Explained {
    /// Whether this is the reason of a difference in a scenario.
    pub fn covers(&self, scenario: &str, difference: &Difference) -> bool {
        let matches = |pattern: &str, text: &str| pattern == "*" || pattern == text;
        let says = |wanted: &Option<String>, said: &str| wanted.as_ref().is_none_or(|wanted| wanted == said);
        matches(&self.scenario, scenario)
            && matches(&self.message, &difference.message)
            && pointer_matches(&self.pointer, &difference.pointer)
            && says(&self.dlv, &difference.theirs)
            && says(&self.spelunk, &difference.ours)
    }

    /// What it covers, in one line.
    pub fn title(&self) -> String {
        format!("{}: {} at {}", self.scenario, self.message, self.pointer)
    }
}

/// Whether a difference's pointer is the pattern's, or lies below it. A `*` in the pattern stands for one member.
fn pointer_matches(pattern: &str, pointer: &str) -> bool {
    let mut parts = pointer.split('/');
    pattern
        .split('/')
        .all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
}

/// What kind of message it is, for pairing.
fn key(message: &Value) -> String {
    let text = |name: &str| message[name].as_str().unwrap_or_default().to_owned();
    match text("type").as_str() {
        "event" if text("event") == "output" => format!(
            "event output {}",
            message["body"]["category"].as_str().unwrap_or_default()
        ),
        "event" => format!("event {}", text("event")),
        _ => format!("response {}", text("command")),
    }
}

/// What a comparison found.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// How many messages were looked at: pairs, and those without a partner.
    pub messages: usize,
    /// How many of them are equal in every part.
    pub equal: usize,
    /// Where the others differ, message by message.
    pub differing: Vec<Vec<Difference>>,
}

/// Pairs the messages in order, leaving out as few as possible, and compares each pair part by part.
pub fn compare(theirs: &[Value], ours: &[Value]) -> Comparison {
    let (theirs_keys, ours_keys): (Vec<String>, Vec<String>) =
        (theirs.iter().map(key).collect(), ours.iter().map(key).collect());
    // Lengths of the longest common subsequences of the ends of both.
    let mut common = vec![vec![0_usize; ours.len() + 1]; theirs.len() + 1];
    for i in (0..theirs.len()).rev() {
        for j in (0..ours.len()).rev() {
            common[i][j] = if theirs_keys[i] == ours_keys[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let mut found = Comparison::default();
    while i < theirs.len() || j < ours.len() {
        let mut out = Vec::new();
        if i < theirs.len() && j < ours.len() && theirs_keys[i] == ours_keys[j] {
            compare_parts(&theirs_keys[i], "", &theirs[i], &ours[j], &mut out);
            (i, j) = (i + 1, j + 1);
        } else if j >= ours.len() || (i < theirs.len() && common[i + 1][j] >= common[i][j + 1]) {
            out.push(difference(&theirs_keys[i], "missing", &theirs[i], &Value::Null));
            i += 1;
        } else {
            out.push(difference(&ours_keys[j], "additional", &Value::Null, &ours[j]));
            j += 1;
        }
        found.messages += 1;
        if out.is_empty() {
            found.equal += 1;
        } else {
            found.differing.push(out);
        }
    }
    found
}

fn difference(message: &str, pointer: &str, theirs: &Value, ours: &Value) -> Difference {
    Difference {
        message: message.into(),
        pointer: pointer.into(),
        theirs: theirs.to_string(),
        ours: ours.to_string(),
    }
}

fn compare_parts(message: &str, pointer: &str, theirs: &Value, ours: &Value, out: &mut Vec<Difference>) {
    match (theirs, ours) {
        (Value::Object(left), Value::Object(right)) => {
            let names = left.keys().chain(right.keys().filter(|name| !left.contains_key(*name)));
            for name in names {
                let part = |from: &serde_json::Map<String, Value>| from.get(name).cloned().unwrap_or(Value::Null);
                compare_parts(message, &format!("{pointer}/{name}"), &part(left), &part(right), out);
            }
        }
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            for (i, (left, right)) in left.iter().zip(right).enumerate() {
                compare_parts(message, &format!("{pointer}/{i}"), left, right, out);
            }
        }
        _ if theirs == ours => {}
        _ => out.push(difference(message, pointer, theirs, ours)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_pair_in_order_and_parts_are_named() {
        let theirs = [
            json!({"type": "event", "event": "initialized"}),
            json!({"type": "response", "command": "launch", "success": true, "body": {"a": [1, 2]}}),
        ];
        let ours = [
            json!({"type": "response", "command": "launch", "success": true, "body": {"a": [1, 3]}}),
            json!({"type": "event", "event": "process"}),
        ];
        let compared = compare(&theirs, &ours);
        assert_eq!((compared.messages, compared.equal), (3, 0));
        let found: Vec<(String, String)> = compared
            .differing
            .into_iter()
            .flatten()
            .map(|one| (one.message, one.pointer))
            .collect();
        let expected = [
            ("event initialized", "missing"),
            ("response launch", "/body/a/1"),
            ("event process", "additional"),
        ];
        assert_eq!(
            found,
            expected.map(|(message, pointer)| (message.to_owned(), pointer.to_owned()))
        );
    }

    #[test]
    fn pointers_match_members_and_what_lies_below() {
        for (pattern, pointer, matches) in [
            ("/body", "/body/a/1", true),
            ("/body/*/x", "/body/3/x", true),
            ("/body/a", "/body/ab", false),
            ("missing", "missing", true),
            ("missing", "/body", false),
        ] {
            assert_eq!(pointer_matches(pattern, pointer), matches, "{pattern} {pointer}");
        }
    }

    #[test]
    fn every_explanation_has_a_reason() {
        for one in explained().expect("explained-differences.toml") {
            assert!(one.reason.len() > 20, "{one:?}");
        }
    }
}
