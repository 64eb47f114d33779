//! Two texts of one value: the same, not read and said so, or different.

use std::collections::BTreeMap;

use crate::trace_text::Entry;

/// What came of the values of a program.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// The same text.
    pub equal: usize,
    /// Read at a stop, and not by the probe, which said why.
    pub could_not: BTreeMap<String, usize>,
    /// What is different though the probe did not say that it could not read it.
    pub different: Vec<Difference>,
}

/// A value that is not the same.
#[derive(Clone, Debug)]
pub struct Difference {
    /// The line or function, and the expression.
    pub what: String,
    /// As the probe has it.
    pub captured: String,
    /// As the stopped program has it.
    pub stopped: String,
}

impl Tally {
    /// How many values were looked at.
    pub fn values(&self) -> usize {
        self.equal + self.unread() + self.different.len()
    }

    /// How many could not be read.
    pub fn unread(&self) -> usize {
        self.could_not.values().sum()
    }

    /// Adds what another one counted.
    pub fn add(&mut self, other: &Tally) {
        self.equal += other.equal;
        for (why, count) in &other.could_not {
            *self.could_not.entry(why.clone()).or_default() += count;
        }
        self.different.extend_from_slice(&other.different);
    }

    /// The messages of one logpoint, each of several values.
    pub(super) fn messages(
        &mut self,
        line: u32,
        expressions: &[String],
        captured: &[String],
        stopped: &[String],
        between: &str,
    ) {
        if captured.len() != stopped.len() {
            self.different.push(Difference {
                what: format!("line {line}, the number of messages"),
                captured: captured.len().to_string(),
                stopped: stopped.len().to_string(),
            });
        }
        for (captured, stopped) in captured.iter().zip(stopped) {
            let (captured, stopped): (Vec<&str>, Vec<&str>) =
                (captured.split(between).collect(), stopped.split(between).collect());
            if captured.len() != expressions.len() || stopped.len() != expressions.len() {
                self.value(&format!("line {line}"), &captured.join(between), &stopped.join(between));
                continue;
            }
            for ((expression, captured), stopped) in expressions.iter().zip(captured).zip(stopped) {
                self.value(&format!("line {line}, {expression}"), captured, stopped);
            }
        }
    }

    /// The calls and returns of a trace. Goroutines may have come in another order, so those of one function are compared by what they say.
    pub(super) fn entries(&mut self, captured: &[Entry], stopped: &[Entry]) {
        let (mut left, right) = (by_function(captured), by_function(stopped));
        for (function, stopped) in right {
            let captured = left.remove(&function).unwrap_or_default();
            self.texts(&function, captured, stopped);
        }
        for (function, captured) in left {
            self.texts(&function, captured, Vec::new());
        }
    }

    fn texts(&mut self, function: &str, captured: Vec<String>, mut stopped: Vec<String>) {
        let mut rest = Vec::new();
        for text in captured {
            match stopped.iter().position(|other| is_same(&text, other)) {
                Some(found) => {
                    stopped.remove(found);
                    self.equal += 1;
                }
                None => rest.push(text),
            }
        }
        let mut stopped = stopped.into_iter();
        for text in rest {
            self.value(function, &text, &stopped.next().unwrap_or_default());
        }
        for text in stopped {
            self.value(function, "", &text);
        }
    }

    fn value(&mut self, what: &str, captured: &str, stopped: &str) {
        if is_same(captured, stopped) {
            self.equal += 1;
            return;
        }
        match not_read(captured, stopped) {
            Some(why) => *self.could_not.entry(why).or_default() += 1,
            None => self.different.push(Difference {
                what: what.to_owned(),
                captured: captured.to_owned(),
                stopped: stopped.to_owned(),
            }),
        }
    }
}

fn by_function(entries: &[Entry]) -> BTreeMap<String, Vec<String>> {
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for entry in entries {
        let (what, text) = match entry {
            Entry::Call {
                function, arguments, ..
            } => (format!("call of {function}"), arguments),
            Entry::Return { function, results, .. } => (format!("return of {function}"), results),
            Entry::Other(_) => continue,
        };
        texts.entry(what).or_default().push(text.clone());
    }
    texts
}

/// Whether two texts say the same, but for addresses, and the order of a map's entries, which follows from a seed that each run has of its own. Where a map has more
/// entries than are shown, the two runs show others, and no more than their number and form can be compared.
fn is_same(captured: &str, stopped: &str) -> bool {
    if captured == stopped {
        return true;
    }
    let (captured, stopped) = (without_addresses(captured), without_addresses(stopped));
    if captured == stopped {
        return true;
    }
    if !captured.contains("map[") {
        return false;
    }
    if captured.contains("...+") {
        let numbers = regex::Regex::new("[0-9]+").expect("a pattern");
        let (captured, stopped) = (numbers.replace_all(&captured, "N"), numbers.replace_all(&stopped, "N"));
        return in_any_order(&captured) == in_any_order(&stopped);
    }
    captured.len() == stopped.len() && in_any_order(&captured) == in_any_order(&stopped)
}

fn without_addresses(text: &str) -> String {
    // Integers may be addresses of the heap, too.
    let address = regex::Regex::new(r"0x[0-9a-f]{5,}|\b8246\d{8}\b").expect("a pattern");
    address.replace_all(text, "0xADDRESS").into_owned()
}

/// What stands between commas and brackets, in an order that says nothing.
fn in_any_order(text: &str) -> Vec<&str> {
    let mut parts: Vec<&str> = text.split([',', '[', ']', '{', '}']).map(str::trim).collect();
    parts.sort_unstable();
    parts
}

/// Ways to say that something was not read, by how they begin, and the reason without what is particular.
const NOT_READ: &[(&str, &str)] = &[
    (
        "entries of maps are not captured",
        "entries of a map of which nothing is captured",
    ),
    ("was not captured", "memory beyond what is followed"),
    ("no room in the record", "no room in the record"),
    ("no memory at", "a page that nobody had touched"),
    ("in register ", "in a floating-point register"),
    ("runtime type ", "a type that the binary does not describe"),
    ("needs a stop", "an expression that needs a stop"),
    ("is being changed", "a map that is being changed"),
];

/// Whether nothing of a value could be read.
fn is_unread(text: &str) -> bool {
    text.starts_with("(unreadable ") || text.starts_with("{eval err: ")
}

/// The reason that a probe gave for a value that it could not read; `None` where it gave none, or where what it did read is not that of the stopped program.
fn not_read(captured: &str, stopped: &str) -> Option<String> {
    if is_unread(captured) && is_unread(stopped) {
        return Some("not there at a stop either".to_owned());
    }
    if captured.starts_with("{eval err: ") {
        return Some("an expression that probes do not follow".to_owned());
    }
    let in_short = channels_in_short(stopped);
    if in_short != stopped && is_same(captured, &in_short) {
        return Some("the inside of a channel".to_owned());
    }
    let (at, why) = NOT_READ
        .iter()
        .filter_map(|(text, why)| captured.find(text).map(|at| (at, *why)))
        .min()?;
    let said = ["(unreadable", "{eval err", "Unable to evaluate"];
    let begins = said
        .iter()
        .filter_map(|text| captured[..at].rfind(text))
        .max()
        .unwrap_or(at);
    let (captured, stopped) = (without_addresses(&captured[..begins]), without_addresses(stopped));
    stopped
        .starts_with(captured.trim_end_matches(['*', ' ']))
        .then(|| why.to_owned())
}

/// The text with `n/m` in place of the fields of each channel, of which probes capture how many elements it has and has room for.
fn channels_in_short(text: &str) -> String {
    let fields = regex::Regex::new(r"(chan \S+) \{\s*qcount: (\d+),\s*dataqsiz: (\d+),").expect("a pattern");
    let mut short = String::new();
    let mut rest = text;
    while let Some(found) = fields.captures(rest) {
        let all = found.get(0).map_or(0..0, |all| all.range());
        let mut depth = 1;
        let end = rest[all.end..].find(|c| {
            depth += match c {
                '{' => 1,
                '}' => -1,
                _ => 0,
            };
            depth == 0
        });
        short.push_str(&rest[..all.start]);
        short.extend([&found[1], " ", &found[2], "/", &found[3]]);
        rest = end.map_or("", |end| &rest[all.end + end + 1..]);
    }
    short + rest
}

#[cfg(test)]
mod tests {
    use super::{channels_in_short, is_same, not_read};

    #[test]
    fn a_channel_is_told_in_short() {
        let whole = "chan int {\n\tqcount: 1,\n\tdataqsiz: 2,\n\tbuf: *[2]int [7,0],\n\tlock: mutex {key: 0},},5";
        assert_eq!(channels_in_short(whole), "chan int 1/2,5");
        assert!(not_read("chan int 1/2,5", whole).is_some());
        assert!(not_read("chan int 2/2,5", whole).is_none());
        assert!(not_read("chan int 1/2,6", whole).is_none());
    }

    #[test]
    fn the_order_of_a_maps_entries_is_no_difference() {
        assert!(is_same(
            r#"map[string]int ["a": 1, "b": 2, ]"#,
            r#"map[string]int ["b": 2, "a": 1, ]"#
        ));
        assert!(!is_same(
            r#"map[string]int ["a": 1, "b": 2, ]"#,
            r#"map[string]int ["b": 1, "a": 3, ]"#
        ));
        assert!(is_same(
            "map[int]int [1: 1, ,...+5 more]",
            "map[int]int [2: 40, ,...+5 more]"
        ));
        assert!(!is_same(
            "map[int]int [1: 1, ,...+5 more]",
            "map[int]int [2: 40, 3: 9, ,...+4 more]"
        ));
        assert!(!is_same("[]int [1,2]", "[]int [2,1]"));
    }

    #[test]
    fn what_was_not_read_says_so_and_the_rest_is_right() {
        let captured = "main.T {A: 1, B: (unreadable memory at 0xc000012345 was not captured)}";
        assert!(not_read(captured, "main.T {A: 1, B: 2}").is_some());
        assert!(not_read(captured, "main.T {A: 3, B: 2}").is_none());
        assert!(not_read("main.T {A: 1}", "main.T {A: 2}").is_none());
    }
}
