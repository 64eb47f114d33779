//! Two sessions side by side: which messages pair, and in which parts they differ.

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

use crate::failure::{Attempt, Result};
use crate::paths;

/// What a session speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The Debug Adapter Protocol.
    #[default]
    Dap,
    /// Delve's JSON-RPC.
    Rpc,
    /// The commands of `dlv connect`.
    Terminal,
    /// Variables and expressions over either protocol, one by one ([`crate::values`]).
    Values,
}

/// One entry of `explained-differences.toml` or `explained-values.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Explained {
    #[serde(default)]
    protocol: Protocol,
    scenario: String,
    message: String,
    pointer: String,
    /// What Delve says, as JSON; anything where absent.
    dlv: Option<String>,
    /// What spelunk says, as JSON; anything where absent.
    spelunk: Option<String>,
    /// Whether the difference is not meant, but known: `reason` says what is missing. Any other difference in the same scenario still fails.
    #[serde(default)]
    pub open: bool,
    /// Why the difference is there.
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

/// The differences that are known in what a protocol says.
pub fn explained(protocol: Protocol) -> Result<Vec<Explained>> {
    let values = protocol == Protocol::Values;
    let path = paths::crate_dir().join(if values {
        "explained-values.toml"
    } else {
        "explained-differences.toml"
    });
    let text = std::fs::read_to_string(&path).attempt(format_args!("reading {}", path.display()))?;
    let mut all = toml::from_str::<ExplainedFile>(&text)
        .attempt(format_args!("reading {}", path.display()))?
        .difference;
    all.retain(|one| values || one.protocol == protocol);
    Ok(all)
}

impl Explained {
    /// Whether this is the reason of a difference in a scenario.
    pub fn covers(&self, scenario: &str, difference: &Difference) -> bool {
        let says = |wanted: &Option<String>, said: &str| wanted.as_ref().is_none_or(|wanted| matches(wanted, said));
        matches(&self.scenario, scenario)
            && matches(&self.message, &difference.message)
            && pointer_matches(&self.pointer, &difference.pointer)
            && says(&self.dlv, &difference.theirs)
            && says(&self.spelunk, &difference.ours)
    }

    /// Whether it is about a scenario.
    pub fn is_of(&self, scenario: &str) -> bool {
        matches(&self.scenario, scenario)
    }

    /// What it covers, in one line.
    pub fn title(&self) -> String {
        format!("{}: {} at {}", self.scenario, self.message, self.pointer)
    }
}

/// Whether a text is the pattern's, in which each `*` stands for any text.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = parts.next_back() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
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
        "call" => text("call"),
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
///
/// In the Debug Adapter Protocol a member that is `null` means the same as one that is absent; elsewhere it does not.
pub fn compare(protocol: Protocol, theirs: &[Value], ours: &[Value]) -> Comparison {
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
            let null_is_absent = protocol == Protocol::Dap;
            let mut parts = Parts {
                message: &theirs_keys[i],
                null_is_absent,
                found: &mut out,
            };
            parts.compare("", Some(&theirs[i]), Some(&ours[j]));
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

/// Where two answers differ that were given to the same question.
pub fn parts(protocol: Protocol, message: &str, theirs: &Value, ours: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    let mut parts = Parts {
        message,
        null_is_absent: protocol == Protocol::Dap,
        found: &mut found,
    };
    parts.compare("", Some(theirs), Some(ours));
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

/// The comparison of one pair.
struct Parts<'a> {
    message: &'a str,
    null_is_absent: bool,
    found: &'a mut Vec<Difference>,
}

impl Parts<'_> {
    fn compare(&mut self, pointer: &str, theirs: Option<&Value>, ours: Option<&Value>) {
        match (theirs, ours) {
            (Some(Value::Object(left)), Some(Value::Object(right))) => {
                let names = left.keys().chain(right.keys().filter(|name| !left.contains_key(*name)));
                for name in names {
                    self.compare(&format!("{pointer}/{name}"), left.get(name), right.get(name));
                }
            }
            (Some(Value::Array(left)), Some(Value::Array(right))) if left.len() == right.len() => {
                for (i, (left, right)) in left.iter().zip(right).enumerate() {
                    self.compare(&format!("{pointer}/{i}"), Some(left), Some(right));
                }
            }
            (Some(Value::Array(left)), Some(Value::Array(right))) if !self.null_is_absent => {
                self.lists(pointer, left, right);
            }
            _ if theirs == ours => {}
            (Some(Value::Null) | None, Some(Value::Null) | None) if self.null_is_absent => {}
            _ => {
                let text = |value: Option<&Value>| match value {
                    Some(value) => value.to_string(),
                    None if self.null_is_absent => Value::Null.to_string(),
                    None => "absent".to_owned(),
                };
                self.found.push(Difference {
                    message: self.message.to_owned(),
                    pointer: pointer.to_owned(),
                    theirs: text(theirs),
                    ours: text(ours),
                });
            }
        }
    }

    /// Of two lists of different lengths, what only one of them has.
    fn lists(&mut self, pointer: &str, theirs: &[Value], ours: &[Value]) {
        let only = |these: &[Value], those: &[Value]| {
            let mut left: HashMap<String, usize> = HashMap::new();
            for one in those {
                *left.entry(one.to_string()).or_default() += 1;
            }
            let mut only = Vec::new();
            for one in these {
                match left.get_mut(&one.to_string()) {
                    Some(count) if *count > 0 => *count -= 1,
                    _ => only.push(one.to_string()),
                }
            }
            format!("{} elements, of these only here: [{}]", these.len(), only.join(", "))
        };
        self.found.push(Difference {
            message: self.message.to_owned(),
            pointer: pointer.to_owned(),
            theirs: only(theirs, ours),
            ours: only(ours, theirs),
        });
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
        let compared = compare(Protocol::Dap, &theirs, &ours);
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
    fn a_null_is_absent_in_one_protocol_and_not_in_the_others() {
        let (theirs, ours) = ([json!({"type": "call", "a": null})], [json!({"type": "call"})]);
        for (protocol, differing) in [(Protocol::Dap, 0), (Protocol::Rpc, 1), (Protocol::Terminal, 1)] {
            assert_eq!(
                compare(protocol, &theirs, &ours).differing.len(),
                differing,
                "{protocol:?}"
            );
        }
    }

    #[test]
    fn lists_of_different_lengths_tell_what_only_one_has() {
        let (theirs, ours) = (
            [json!({"type": "call", "a": ["x", "y", "y"]})],
            [json!({"type": "call", "a": ["y", "z"]})],
        );
        let found = compare(Protocol::Rpc, &theirs, &ours).differing.concat();
        assert_eq!(found[0].theirs, "3 elements, of these only here: [\"x\", \"y\"]");
        assert_eq!(found[0].ours, "2 elements, of these only here: [\"z\"]");
    }

    #[test]
    fn patterns_match_any_text_at_a_star() {
        for (pattern, text, expected) in [
            ("*", "anything", true),
            ("State", "State", true),
            ("State", "State 1", false),
            ("Eval *", "Eval {}", true),
            ("Eval *\"x\"*", "Eval {\"Expr\":\"x\"}", true),
            ("Eval *\"x\"*", "Eval {\"Expr\":\"y\"}", false),
            ("a*a", "a", false),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn every_explanation_has_a_reason() {
        for protocol in [Protocol::Dap, Protocol::Rpc, Protocol::Terminal, Protocol::Values] {
            for one in explained(protocol).expect("explained-differences.toml") {
                assert!(one.reason.len() > 15, "{one:?}");
            }
        }
    }
}
