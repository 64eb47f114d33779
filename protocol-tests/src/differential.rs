//! The same scenario against Delve and against spelunk: what both said, normalised, side by side.

use std::path::Path;
use std::sync::OnceLock;

use regex::Regex;
use serde::Deserialize;
use serde_json::Value;

use crate::dap_client::{DapClient, Message};
use crate::failure::{Attempt, Failure, Result};
use crate::{paths, peer};

/// One entry of `explained-differences.toml`.
#[derive(Clone, Debug, Deserialize)]
pub struct Explained {
    scenario: String,
    message: String,
    pointer: String,
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

/// Runs `scenario` against both and fails on differences that nobody explained. Says that it is skipped where Delve is absent.
#[track_caller]
pub fn same_as_dlv(name: &str, folder: &Path, scenario: impl Fn(&mut DapClient) -> Result<()>) -> Result<()> {
    let Some(dlv) = peer::dlv_or_skip(name) else {
        return Ok(());
    };
    let run = |program: &Path| -> Result<Vec<Value>> {
        let mut client = DapClient::start(program)?;
        scenario(&mut client)?;
        client
            .received()
            .iter()
            .map(|message| normalise(message, folder))
            .collect()
    };
    let (theirs, ours) = (run(&dlv)?, run(&paths::spelunk()?)?);
    let explained = explained()?;
    let differences = compare(&theirs, &ours);
    let unexplained: Vec<&Difference> = differences
        .iter()
        .filter(|one| !explained.iter().any(|by| by.covers(name, one)))
        .collect();
    if unexplained.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = unexplained
        .iter()
        .map(|one| {
            format!(
                "{} at {}\n   dlv: {}\n  ours: {}",
                one.message, one.pointer, one.theirs, one.ours
            )
        })
        .collect();
    Err(Failure::new(format!(
        "scenario {name}: {} differences from dlv\n{}",
        lines.len(),
        lines.join("\n")
    )))
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
    fn covers(&self, scenario: &str, difference: &Difference) -> bool {
        let matches = |pattern: &str, text: &str| pattern == "*" || pattern == text;
        let within =
            difference.pointer == self.pointer || difference.pointer.starts_with(&format!("{}/", self.pointer));
        matches(&self.scenario, scenario) && matches(&self.message, &difference.message) && within
    }
}

/// A message without what differs from run to run: sequence numbers, process ids, ports, addresses, temporary paths.
pub fn normalise(message: &Message, folder: &Path) -> Result<Value> {
    let mut value = serde_json::to_value(message).attempt("writing a message")?;
    if let Some(object) = value.as_object_mut() {
        object.remove("request_seq");
        object.remove("seq");
    }
    normalise_value(&mut value, &folder.to_string_lossy());
    Ok(value)
}

fn normalise_value(value: &mut Value, folder: &str) {
    match value {
        Value::String(text) => *text = normalise_text(text, folder),
        Value::Array(items) => items.iter_mut().for_each(|item| normalise_value(item, folder)),
        Value::Object(members) => {
            for (name, member) in members {
                if name == "systemProcessId" && member.is_number() {
                    *member = "PID".into();
                }
                normalise_value(member, folder);
            }
        }
        _ => {}
    }
}

fn normalise_text(text: &str, folder: &str) -> String {
    static PATTERNS: OnceLock<Vec<(Regex, &'static str)>> = OnceLock::new();
    let patterns = PATTERNS.get_or_init(|| {
        let patterns = [
            (r"0x[0-9a-f]+", "0xADDRESS"),
            (r"\b([Pp]rocess|pid) \d+", "$1 PID"),
            (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
            (r"/tmp/[\w.-]+", "/tmp/TEMPORARY"),
            (r"__debug_bin\d*", "__debug_bin"),
            (r"\b(Delve|dlv|spelunk)\b", "DEBUGGER"),
        ];
        patterns
            .into_iter()
            .filter_map(|(pattern, with)| Some((Regex::new(pattern).ok()?, with)))
            .collect()
    });
    let mut text = if folder.is_empty() {
        text.to_owned()
    } else {
        text.replace(folder, "$DIR")
    };
    for (pattern, with) in patterns {
        text = pattern.replace_all(&text, *with).into_owned();
    }
    text
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

/// Pairs the messages in order, leaving out as few as possible, and compares each pair part by part.
pub fn compare(theirs: &[Value], ours: &[Value]) -> Vec<Difference> {
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
    let mut out = Vec::new();
    while i < theirs.len() || j < ours.len() {
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
    }
    out
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
        let found: Vec<(String, String)> = compare(&theirs, &ours)
            .into_iter()
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
    fn what_differs_from_run_to_run_is_blanked() {
        let text = normalise_text(
            "Process 123 has exited, 0xc000012 in /tmp/x/main.go at 127.0.0.1:4000 by dlv",
            "/tmp/x",
        );
        assert_eq!(
            text,
            "Process PID has exited, 0xADDRESS in $DIR/main.go at 127.0.0.1:PORT by DEBUGGER"
        );
    }

    #[test]
    fn every_explanation_has_a_reason() {
        for one in explained().expect("explained-differences.toml") {
            assert!(one.reason.len() > 20, "{one:?}");
        }
    }
}
