//! Answers without what differs from run to run.
//!
//! What is taken out: process and thread ids, addresses of the heap, of stacks and of mappings, times of waiting, the contents of registers other than the
//! program counter, threads that stand somewhere by chance, and where the runtime's own goroutines wait. Goroutines beyond 1 are renumbered in the order in which they appear.
//! Addresses of code and of package variables stay, and so does every member's presence: `null` is not absent.

use serde_json::{Map, Value, json};

use crate::normalise::{Normaliser, ambiguity_settled};

/// Below lie code and package variables of a program that is not position independent; the heap begins here.
const LOWEST_HEAP_ADDRESS: u64 = 0xc0_0000_0000;

/// From here on addresses are made up, for values that lie in registers; how they are made is nobody's business.
const LOWEST_MADE_UP_ADDRESS: u64 = 0xbe00_0000_0000_0000;

/// Answers of one session.
pub(super) struct RpcNormaliser {
    texts: Normaliser,
}

impl RpcNormaliser {
    /// For a session in which `paths` are replaced by their names.
    pub(super) fn new(paths: Vec<(String, String)>) -> RpcNormaliser {
        RpcNormaliser {
            texts: Normaliser::new(paths),
        }
    }

    /// A text that some answer or call has.
    pub(super) fn text(&mut self, text: &str) -> String {
        self.texts.text(text)
    }

    /// A whole answer.
    pub(super) fn answer(&mut self, value: &mut Value) {
        self.value("", value);
    }

    fn value(&mut self, name: &str, value: &mut Value) {
        match value {
            Value::String(text) => {
                *value = match name {
                    "DelveVersion" => version_shape(text),
                    "Registers" => register_lines(text),
                    "error" => ambiguity_settled(&self.texts.text(text)),
                    _ => self.texts.text(text),
                }
                .into();
            }
            Value::Number(number) => {
                if let Some(with) = number.as_u64().and_then(|number| number_class(name, number)) {
                    *value = with.into();
                } else if number
                    .as_i64()
                    .is_some_and(|number| number <= -LOWEST_HEAP_ADDRESS.cast_signed())
                {
                    // Delve measures from the top of the goroutine's stack also where the frame has no pointer.
                    *value = "-ADDRESS".into();
                } else if is_goroutine(name)
                    && let Some(id) = number.as_i64()
                {
                    *value = self.texts.goroutine(&id.to_string()).into();
                }
            }
            Value::Array(items) => {
                match name {
                    "Threads" => settle_threads(items),
                    "Goroutines" => settle_goroutines(items),
                    "Breakpoints" => settle_breakpoints(items),
                    // Pairs of paths; out of a Go map, too.
                    "List" if items.iter().all(Value::is_array) => items.sort_by_key(Value::to_string),
                    _ => {}
                }
                for item in items {
                    self.value(name, item);
                }
            }
            Value::Object(members) => self.object(name, members),
            _ => {}
        }
    }

    fn object(&mut self, name: &str, members: &mut Map<String, Value>) {
        if members.contains_key("DwarfNumber")
            && members.get("Name").is_none_or(|name| name != "Rip")
            && let Some(text) = members.get("Value").and_then(Value::as_str)
        {
            members["Value"] = digits_blanked(text).into();
        }
        if members.contains_key("pc") && members.contains_key("goroutineID") {
            blank_id(members, "id", "TID");
        }
        if members.contains_key("userCurrentLoc") && members.get("threadID").is_some_and(|id| id != 0) {
            // A goroutine that runs waits for nothing; what stands there is what it waited for before, if it ever did.
            members.remove("waitReason");
        }
        if members.contains_key("userCurrentLoc")
            && let Some(id) = members.get("id").and_then(Value::as_i64)
        {
            members["id"] = self.texts.goroutine(&id.to_string()).into();
        }
        if members.contains_key("addrs") && members.contains_key("addrpid") {
            settle_addresses(members);
        }
        if members.contains_key("realType") {
            settle_runtime_variable(members);
        }
        if name == "hitCount" {
            let counts: Vec<(String, Value)> = std::mem::take(members).into_iter().collect();
            for (goroutine, count) in counts {
                members.insert(self.texts.goroutine(&goroutine), count);
            }
            return;
        }
        if members.get("Groups").is_some_and(Value::is_array) {
            settle_groups(members);
        }
        for (name, member) in members {
            self.value(name, member);
        }
    }
}

/// Groups of goroutines without the runtime's own, whose places are a matter of moments, and those that are shown of them.
fn settle_groups(answer: &mut Map<String, Value>) {
    if let Some(groups) = answer.get_mut("Groups").and_then(Value::as_array_mut) {
        groups.retain(|group| {
            !group["Name"]
                .as_str()
                .is_some_and(|name| name.contains("/src/runtime/"))
        });
        for group in groups.iter_mut().filter_map(Value::as_object_mut) {
            group.remove("Offset");
        }
    }
    if let Some(goroutines) = answer.get_mut("Goroutines").and_then(Value::as_array_mut) {
        settle_goroutines(goroutines);
        goroutines.retain(|one| !one["id"].is_null());
    }
}

/// What stands for a number of this name, where it says nothing or differs from run to run.
fn number_class(name: &str, number: u64) -> Option<&'static str> {
    if number == 0 {
        return None;
    }
    match name {
        "Pid" | "PID" | "addrpid" | "pcpids" => Some("PID"),
        "threadID" | "ThreadID" => Some("TID"),
        "waitSince" => Some("TIME"),
        _ if number >= LOWEST_MADE_UP_ADDRESS => Some("MADE UP"),
        _ if number >= LOWEST_HEAP_ADDRESS && i64::try_from(number).is_ok_and(|number| number > 0) => Some("ADDRESS"),
        _ => None,
    }
}

fn is_goroutine(name: &str) -> bool {
    matches!(name, "goroutineID" | "GoroutineID")
}

fn blank_id(members: &mut Map<String, Value>, name: &str, with: &str) {
    if members.get(name).and_then(Value::as_i64).is_some_and(|id| id != 0) {
        members.insert(name.to_owned(), with.into());
    }
}

/// `Version: NUMBER` stays, what was built from which commit does not.
fn version_shape(text: &str) -> String {
    let mut lines = text.lines();
    let version = lines.next().unwrap_or_default();
    let builds = lines.all(|line| line.starts_with("Build: "));
    format!("{version}{}", if builds { "\nBuild: ..." } else { text })
}

/// Digits taken out of a register's text; how wide it is stays.
fn digits_blanked(text: &str) -> String {
    match text.strip_prefix("0x") {
        Some(rest) => {
            let (digits, flags) = rest.split_once([' ', '\t', '[']).unwrap_or((rest, ""));
            let more = if flags.is_empty() { "" } else { " ..." };
            format!("0x{}{more}", "#".repeat(digits.len()))
        }
        None => text.chars().map(|c| if c.is_ascii_digit() { '#' } else { c }).collect(),
    }
}

/// The names of a list of registers as a text.
fn register_lines(text: &str) -> String {
    let shape = |line: &str| match line.split_once(" = ") {
        Some((name, _)) if name.trim() != "Rip" => format!("{name} = ..."),
        _ => line.to_owned(),
    };
    text.lines().map(shape).collect::<Vec<_>>().join("\n")
}

/// Where threads stand that are at no breakpoint and do not run the first goroutine is a matter of moments, and so is how many there are. The first goroutine
/// of a process that has started another is in one system call or the next.
fn settle_threads(threads: &mut Vec<Value>) {
    let is_in_system_call = |thread: &Value| {
        let function = thread["function"]["name"].as_str().unwrap_or_default();
        function.starts_with("syscall.raw") || function.starts_with("internal/runtime/syscall")
    };
    let stands = |thread: &Value| thread["goroutineID"] == 1 && !is_in_system_call(thread);
    threads.retain(|thread| thread["breakPoint"].is_object() || stands(thread));
}

/// The runtime's own goroutines get their numbers from whichever processor starts them, and where they wait is a matter of moments: what does not change is kept, in
/// an order of its own, behind the others.
fn settle_goroutines(goroutines: &mut Vec<Value>) {
    let is_the_runtimes = |goroutine: &Value| {
        let start = goroutine["startLoc"]["function"]["name"].as_str().unwrap_or_default();
        goroutine["id"] != 1 && (start.starts_with("runtime.") || start.starts_with("os/signal."))
    };
    let (system, others): (Vec<Value>, Vec<Value>) = std::mem::take(goroutines).into_iter().partition(is_the_runtimes);
    *goroutines = others;
    let mut system: Vec<Value> = system
        .into_iter()
        .map(|one| json!({"startLoc": one["startLoc"], "goStatementLoc": one["goStatementLoc"]}))
        .collect();
    system.sort_by_key(Value::to_string);
    goroutines.extend(system);
}

/// Delve lists breakpoints, and the addresses of one, in the order of Go maps, which is none.
fn settle_breakpoints(breakpoints: &mut [Value]) {
    for one in breakpoints.iter_mut().filter_map(Value::as_object_mut) {
        settle_addresses(one);
    }
    breakpoints.sort_by_key(|one| (one["id"].as_i64(), one["addr"].as_u64()));
}

fn settle_addresses(breakpoint: &mut Map<String, Value>) {
    if let Some(addresses) = breakpoint.get_mut("addrs").and_then(Value::as_array_mut) {
        addresses.sort_by_key(Value::as_u64);
        if let Some(first) = addresses.first().cloned() {
            breakpoint.insert("addr".to_owned(), first);
        }
    }
}

/// What the runtime keeps of its goroutines and threads is different at each moment: the names and types of the members stay.
fn settle_runtime_variable(variable: &mut Map<String, Value>) {
    let text = |one: &Value, name: &str| one[name].as_str().unwrap_or_default().to_owned();
    let whole = Value::Object(variable.clone());
    if text(&whole, "name") == "runtime.threadid" {
        variable.insert("value".to_owned(), "TID".into());
    }
    let real = text(&whole, "realType");
    if matches!(
        real.as_str(),
        "runtime.g" | "runtime.m" | "runtime.p" | "runtime.sudog" | "runtime._defer" | "runtime._panic"
    ) && let Some(children) = whole["children"].as_array()
    {
        let members = children
            .iter()
            .map(|child| json!([child["name"], child["type"], child["kind"]]));
        variable.insert("children".to_owned(), members.collect());
    }
}

/// What an answer is made of, without what it says: for moments that no two runs share. Which thread is seen first is such a matter, too: it may run no goroutine, and
/// be outside of any function.
pub(super) fn shape(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "string".into(),
        Value::Array(items) => items.first().map(shape).into_iter().collect(),
        Value::Object(members) => {
            let by_chance = |name: &str| match name {
                "currentGoroutine" => members.contains_key("currentThread"),
                "function" => members.contains_key("goroutineID"),
                _ => false,
            };
            let kept = members.iter().filter(|(name, _)| !by_chance(name));
            kept.map(|(name, one)| (name.clone(), shape(one))).collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn normalised(mut value: Value) -> Value {
        RpcNormaliser::new(Vec::new()).answer(&mut value);
        value
    }

    #[test]
    fn ids_and_addresses_go_and_code_stays() {
        assert_eq!(
            normalised(
                json!({"Pid": 77, "pc": 4_900_000, "goroutineID": 19, "id": 78, "addr": 824_633_720_832_u64, "function": null})
            ),
            json!({"Pid": "PID", "pc": 4_900_000, "goroutineID": "G1", "id": "TID", "addr": "ADDRESS", "function": null})
        );
        assert_eq!(
            normalised(json!({"hitCount": {"19": 2, "1": 1}, "addrpid": [7, 7]})),
            json!({"hitCount": {"G1": 2, "1": 1}, "addrpid": ["PID", "PID"]})
        );
        assert_eq!(
            normalised(json!({"addr": 0xbeef_0000_0000_0000_u64})),
            json!({"addr": "MADE UP"})
        );
    }

    #[test]
    fn threads_by_chance_and_the_runtimes_goroutines_are_settled() {
        let threads = json!({"Threads": [{"id": 4, "goroutineID": 0}, {"id": 5, "goroutineID": 1}]});
        assert_eq!(normalised(threads), json!({"Threads": [{"id": 5, "goroutineID": "1"}]}));
        let started = |name: &str| json!({"function": {"name": name}});
        let goroutines = json!({"Goroutines": [
            {"id": 2, "startLoc": started("runtime.forcegchelper"), "goStatementLoc": {}, "userCurrentLoc": {}},
            {"id": 1, "startLoc": started("runtime.main"), "goStatementLoc": {}, "userCurrentLoc": {}},
        ]});
        let settled = normalised(goroutines);
        assert_eq!(settled["Goroutines"][0]["id"], "1");
        assert_eq!(
            settled["Goroutines"][1]["startLoc"]["function"]["name"],
            "runtime.forcegchelper"
        );
        assert!(settled["Goroutines"][1]["id"].is_null());
    }

    #[test]
    fn registers_keep_their_names_and_widths() {
        assert_eq!(digits_blanked("0x000000c000012345"), "0x################");
        assert_eq!(
            digits_blanked("0x0000000000000246\t[PF ZF IF IOPL=0]"),
            "0x################ ..."
        );
        assert_eq!(register_lines("Rip = 0x12\nRax = 0x7\n"), "Rip = 0x12\nRax = ...");
    }

    #[test]
    fn what_delve_takes_from_maps_is_in_one_order() {
        let breakpoints =
            json!({"Breakpoints": [{"id": 2, "addr": 9, "addrs": [9, 3], "addrpid": [7, 7]}, {"id": -1, "addr": 1}]});
        assert_eq!(
            normalised(breakpoints),
            json!({"Breakpoints": [{"id": -1, "addr": 1}, {"id": 2, "addr": 3, "addrs": [3, 9], "addrpid": ["PID", "PID"]}]})
        );
        assert_eq!(
            ambiguity_settled("Location \"m\" ambiguous: b, a…"),
            "Location \"m\" ambiguous: a, b…"
        );
        assert_eq!(
            ambiguity_settled("x ambiguous: a, b, c, d, e…"),
            "x ambiguous: 5 of them…"
        );
    }

    #[test]
    fn a_shape_tells_null_from_absent() {
        assert_eq!(
            shape(&json!({"a": null, "b": [{"c": 1}, 2]})),
            json!({"a": null, "b": [{"c": "number"}]})
        );
    }
}
