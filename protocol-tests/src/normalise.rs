//! Messages without what differs from run to run, so that two runs can be compared.
//!
//! What is taken out: sequence numbers, process and thread ids, ports, addresses of the heap and of stacks, temporary
//! paths, the contents of registers other than the program counter, and goroutine numbers beyond 1, which are renumbered in the order in which they appear. Addresses of code and
//! of package variables stay: both servers run the same file.

use std::collections::HashMap;
use std::sync::OnceLock;

use regex::{Captures, Regex};
use serde_json::Value;

use crate::dap_client::Message;
use crate::failure::{Attempt, Result};

/// The messages of one session, comparable.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// What the server said, in order, without the program's own output.
    pub messages: Vec<Value>,
    /// What the program wrote, as it came in `output` events: two pipes have no order between them, nor with the rest.
    pub stdout: String,
    /// As `stdout`.
    pub stderr: String,
}

/// What is known about a run.
pub struct Normaliser {
    /// Paths and what stands for them, longest first.
    paths: Vec<(String, String)>,
    goroutines: HashMap<String, usize>,
}

impl Normaliser {
    /// For a run in which `paths` are replaced by their names.
    pub fn new(mut paths: Vec<(String, String)>) -> Normaliser {
        paths.retain(|(path, _)| !path.is_empty());
        paths.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
        Normaliser {
            paths,
            goroutines: HashMap::new(),
        }
    }

    /// A session's messages.
    pub fn session(&mut self, received: &[Message]) -> Result<Session> {
        let mut session = Session::default();
        for message in received {
            let mut value = serde_json::to_value(message).attempt("writing a message")?;
            if let Some(object) = value.as_object_mut() {
                object.remove("request_seq");
                object.remove("seq");
            }
            if let Some((category, text)) = program_output(&value) {
                let text = self.text(text);
                match category {
                    "stdout" => session.stdout.push_str(&text),
                    _ => session.stderr.push_str(&text),
                }
                continue;
            }
            self.value(&mut value);
            if value["event"] == "stopped"
                && value["body"]["reason"] == "pause"
                && let Some(body) = value["body"].as_object_mut()
            {
                // Which thread the kernel stops first is a matter of chance, and that one's goroutine is selected, if it has one.
                body.remove("threadId");
            }
            if value["command"] == "setExceptionBreakpoints" {
                settle_exception_breakpoints(&mut value["body"]["breakpoints"]);
            }
            session.messages.push(value);
        }
        settle_races(&mut session.messages);
        Ok(session)
    }

    fn value(&mut self, value: &mut Value) {
        match value {
            Value::String(text) => *text = self.text(text),
            Value::Array(items) => {
                for item in items.iter_mut() {
                    self.value(item);
                }
                settle_runtime_goroutines(items);
            }
            Value::Object(members) => {
                let is_register = members
                    .get("evaluateName")
                    .and_then(Value::as_str)
                    .is_some_and(|name| name.starts_with('_'));
                if is_register && members["name"] != "   rip" {
                    let shape = members["value"].as_str().map(register_shape).unwrap_or_default();
                    members["value"] = shape.into();
                }
                let is_thread = members.len() == 2 && members.contains_key("id") && members.contains_key("name");
                for (name, member) in members {
                    match name.as_str() {
                        "systemProcessId" if member.is_number() => *member = "PID".into(),
                        "threadId" => self.goroutine_member(member),
                        "id" if is_thread => self.goroutine_member(member),
                        _ => self.value(member),
                    }
                }
            }
            _ => {}
        }
    }

    fn goroutine_member(&mut self, member: &mut Value) {
        if let Some(id) = member.as_i64() {
            *member = self.goroutine(&id.to_string()).into();
        }
    }

    /// `1` stays, others are numbered in order of appearance.
    pub(crate) fn goroutine(&mut self, id: &str) -> String {
        if matches!(id, "0" | "1" | "-1") {
            return id.to_owned();
        }
        let next = self.goroutines.len() + 1;
        format!("G{}", self.goroutines.entry(id.to_owned()).or_insert(next))
    }

    /// A text without what differs from run to run.
    pub(crate) fn text(&mut self, text: &str) -> String {
        static PATTERNS: OnceLock<Vec<(Regex, &'static str)>> = OnceLock::new();
        static GOROUTINE: OnceLock<Option<Regex>> = OnceLock::new();
        let patterns = PATTERNS.get_or_init(|| {
            let patterns = [
                // The heap, stacks and mappings; code and package variables lie lower.
                (r"0x0*[1-9a-f][0-9a-f]{8,11}\b", "0xADDRESS"),
                // The same as the runtime's structures hold them, in decimal: the heap from 0xc000000000 on, and mappings.
                (r"\b(?:82[4-9]\d{9}|1[34]\d{13})\b", "ADDRESS"),
                // Arguments in a traceback of Go's that the traceback itself doubts: whatever the stack or a register held.
                (r"(?:0x[0-9a-f]+|0xADDRESS)\?", "?"),
                // A cut-off text may end within an address.
                (r"\b0x[0-9a-f]*\.\.\.$", "0xADDRESS..."),
                (r"\b([Pp]rocess|pid) \d+", "$1 PID"),
                (r"\(Thread \d+\)", "(Thread TID)"),
                (r"127\.0\.0\.1:\d+", "127.0.0.1:PORT"),
                (r"/tmp/[\w.-]+", "/tmp/TEMPORARY"),
                (r"__debug_bin\d*(\.test)?", "__debug_bin"),
                (r"\b(Delve|dlv|spelunk)\b", "DEBUGGER"),
            ];
            patterns
                .into_iter()
                .filter_map(|(pattern, with)| Some((Regex::new(pattern).ok()?, with)))
                .collect()
        });
        let mut text = text.to_owned();
        for (path, name) in &self.paths {
            text = text.replace(path, name);
        }
        for (pattern, with) in patterns {
            text = pattern.replace_all(&text, *with).into_owned();
        }
        let goroutine = GOROUTINE.get_or_init(|| Regex::new(r"(\[Go |\bgoroutine )(\d+)").ok());
        match goroutine {
            Some(pattern) => pattern
                .replace_all(&text, |found: &Captures<'_>| {
                    format!("{}{}", &found[1], self.goroutine(&found[2]))
                })
                .into_owned(),
            None => text,
        }
    }
}

/// A register's text with its digits and flags taken out: how wide it is stays.
fn register_shape(text: &str) -> String {
    let (number, flags) = text
        .split_once('[')
        .map_or((text, ""), |(number, _)| (number, "[FLAGS]"));
    let digits = number.strip_prefix("0x").unwrap_or(number);
    let shape: String = digits
        .chars()
        .map(|digit| if digit.is_ascii_hexdigit() { '#' } else { digit })
        .collect();
    format!("0x{shape}{flags}")
}

/// The text of an `output` event that carries what the program wrote. Delve's own texts of these categories begin with
/// words of their own.
fn program_output(message: &Value) -> Option<(&str, &str)> {
    const OWN: [&str; 5] = ["> [Go ", "Building ", "Build Error", "Unable to ", "Failed to "];
    if message["event"] != "output" {
        return None;
    }
    let category = message["body"]["category"].as_str()?;
    let text = message["body"]["output"].as_str()?;
    let own = OWN.iter().any(|own| text.starts_with(own)) || !matches!(category, "stdout" | "stderr");
    (!own).then_some((category, text))
}

/// Delve sends these from two goroutines of its own, in either order (`service/dap/server.go`, `onPauseRequest` and
/// `stopDebugSession`).
fn settle_races(messages: &mut [Value]) {
    for i in 1..messages.len() {
        let pause = messages[i]["command"] == "pause" && messages[i - 1]["event"] == "stopped";
        if pause {
            messages.swap(i - 1, i);
        }
    }
}

/// Delve lists these in the order of a Go map, which is none.
fn settle_exception_breakpoints(breakpoints: &mut Value) {
    if let Some(breakpoints) = breakpoints.as_array_mut() {
        breakpoints.sort_by_key(|one| std::cmp::Reverse(one["id"].as_i64()));
    }
}

/// The runtime's own goroutines get their numbers from whichever processor starts them, and where exactly they wait is
/// a matter of moments: they are put behind the others, in an order of their own.
fn settle_runtime_goroutines(items: &mut Vec<Value>) {
    static RUNTIME: OnceLock<Option<Regex>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| Regex::new(r"^\[Go G\d+\] (?:runtime\.|os/signal|signal\.)").ok());
    let Some(runtime) = runtime else { return };
    let is_one = |item: &Value| item["name"].as_str().is_some_and(|name| runtime.is_match(name));
    if !items.iter().any(is_one) {
        return;
    }
    let (system, mut others): (Vec<Value>, Vec<Value>) = std::mem::take(items).into_iter().partition(is_one);
    others.extend(system.iter().map(|_| Value::from("a goroutine of the runtime")));
    *items = others;
}

/// Delve names five candidates at most, those that a Go map gives first.
pub(crate) fn ambiguity_settled(text: &str) -> String {
    const MOST: usize = 5;
    let Some((before, rest)) = text.split_once(" ambiguous: ") else {
        return text.to_owned();
    };
    let mut names: Vec<&str> = rest.trim_end_matches('…').split(", ").collect();
    names.sort_unstable();
    let listed = if names.len() < MOST {
        names.join(", ")
    } else {
        format!("{} of them", names.len())
    };
    let more = if rest.ends_with('…') { "…" } else { "" };
    format!("{before} ambiguous: {listed}{more}")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn text(text: &str) -> String {
        Normaliser::new(vec![("/tmp/x".to_owned(), "$DIR".to_owned())]).text(text)
    }

    #[test]
    fn what_differs_from_run_to_run_is_blanked_and_the_rest_stays() {
        assert_eq!(
            text("Process 123 has exited, 0xc000012345 in /tmp/x/main.go at 127.0.0.1:4000 by dlv, 0x4bcbb5, 5 = 0x5"),
            "Process PID has exited, 0xADDRESS in $DIR/main.go at 127.0.0.1:PORT by DEBUGGER, 0x4bcbb5, 5 = 0x5"
        );
        assert_eq!(text("unknown goroutine 17"), "unknown goroutine G1");
        assert_eq!(text("unknown goroutine 1"), "unknown goroutine 1");
        assert_eq!(text("main.f({0x4f1b64?, 0x0?})"), "main.f({?, ?})");
        assert_eq!(text("\t1  0x000000c000012345 in"), "\t1  0xADDRESS in");
    }

    #[test]
    fn goroutines_are_renumbered_and_the_runtimes_are_alike() {
        let mut normaliser = Normaliser::new(Vec::new());
        let mut value = json!({"threads": [
            {"id": 1, "name": "* [Go 1] main.main (Thread 77)"}, {"id": 17, "name": "[Go 17] runtime.gopark"},
            {"id": 5, "name": "[Go 5] main.work"}, {"id": 2, "name": "[Go 2] runtime.runFinalizers"},
        ]});
        normaliser.value(&mut value);
        assert_eq!(
            value,
            json!({"threads": [
                {"id": "1", "name": "* [Go 1] main.main (Thread TID)"}, {"id": "G2", "name": "[Go G2] main.work"},
                "a goroutine of the runtime", "a goroutine of the runtime",
            ]})
        );
    }
}
