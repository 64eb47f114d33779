//! What the corpus said against what a trace printed.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::OnceLock;

use regex::Regex;
use serde::Deserialize;

use crate::failure::{Attempt, Result};
use crate::trace_text::Entry;

/// What the program said about one call or return.
#[derive(Clone, Debug, Deserialize)]
pub struct Expected {
    function: String,
    #[serde(rename = "return")]
    is_return: bool,
    values: Vec<ExpectedValue>,
}

#[derive(Clone, Debug, Deserialize)]
struct ExpectedValue {
    name: String,
    class: String,
    text: BTreeMap<String, String>,
    /// In a generic function: the text with the names of shapes, for a reader that does not follow the dictionary.
    #[serde(default)]
    shapes: BTreeMap<String, String>,
}

/// Reads the program's standard output: one line of JSON for each call and return.
#[track_caller]
pub fn read_expected(stdout: &str) -> Result<Vec<Expected>> {
    stdout
        .lines()
        .map(|line| serde_json::from_str(line).attempt(format_args!("reading what the corpus said: {line}")))
        .collect()
}

/// How one printed value compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Judgement {
    /// As the program said.
    Right,
    /// It, or a part of it, says that it cannot be read; the rest is as the program said.
    Unreadable,
    /// Anything else.
    Wrong,
}

/// Counts for one class of values.
#[derive(Clone, Copy, Debug, Default)]
pub struct Share {
    /// Values as the program said them.
    pub right: usize,
    /// Values that are said to be unreadable.
    pub unreadable: usize,
    /// The others.
    pub wrong: usize,
}

impl Share {
    /// Unreadable values in percent of all.
    pub fn unreadable_percent(&self) -> f64 {
        let all = self.right + self.unreadable + self.wrong;
        if all == 0 {
            0.0
        } else {
            self.unreadable as f64 * 100.0 / all as f64
        }
    }
}

/// The outcome of one run over the corpus.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// By class of value.
    pub classes: BTreeMap<String, Share>,
    /// The lines that were expected.
    pub lines: usize,
    /// The lines that were there and right as a whole.
    pub right_lines: usize,
    /// What was wrong: the lines as expected and as printed.
    pub complaints: Vec<String>,
    /// Examples of what was unreadable, with the printed reason.
    pub unreadable: Vec<String>,
}

impl Tally {
    /// The sum over integers, strings, slices and pointers, which must nearly always be readable.
    pub fn plain(&self) -> Share {
        let mut sum = Share::default();
        for class in ["int", "string", "slice", "pointer"] {
            if let Some(share) = self.classes.get(class) {
                sum.right += share.right;
                sum.unreadable += share.unreadable;
                sum.wrong += share.wrong;
            }
        }
        sum
    }

    /// Wrong values of all classes.
    pub fn wrong(&self) -> usize {
        self.classes.values().map(|share| share.wrong).sum()
    }

    /// A table for people.
    pub fn table(&self, title: &str) -> String {
        let mut out = format!("{title}: {} of {} lines right\n", self.right_lines, self.lines);
        let _ = writeln!(
            out,
            "  {:<20} {:>7} {:>11} {:>6}",
            "class", "right", "unreadable", "wrong"
        );
        for (class, share) in &self.classes {
            let _ = writeln!(
                out,
                "  {class:<20} {:>7} {:>11} {:>6}",
                share.right, share.unreadable, share.wrong
            );
        }
        out
    }
}

/// Compares a whole trace with what the program said, entry by entry.
///
/// Lines must come in the program's order; the program calls from one goroutine only. A missing or additional line is an error of its own
/// in [`Tally::complaints`] and counts all its values as wrong.
#[track_caller]
pub fn judge(expected: &[Expected], printed: &[Entry], verbosity: u8) -> Result<Tally> {
    let mut tally = Tally::default();
    let mut printed = printed
        .iter()
        .filter(|entry| !matches!(entry, Entry::Other(_)))
        .peekable();
    for (i, one) in expected.iter().enumerate() {
        tally.lines += 1;
        let matches = printed.peek().is_some_and(|entry| one.is_for(entry));
        if !matches {
            tally.complaints.push(format!(
                "line {i}: expected {}, printed {:?}",
                one.line(verbosity),
                printed.peek()
            ));
            for value in &one.values {
                tally.classes.entry(value.class.clone()).or_default().wrong += 1;
            }
            // An additional line is skipped when the one behind it is the expected one.
            let mut ahead = printed.clone();
            ahead.next();
            if ahead.peek().is_some_and(|entry| one.is_for(entry)) {
                printed = ahead;
                printed.next();
            }
            continue;
        }
        let Some(entry) = printed.next() else { break };
        one.judge_values(entry, verbosity, &mut tally)?;
    }
    let additional = printed.count();
    if additional > 0 {
        tally.complaints.push(format!(
            "{additional} lines more than the program made calls and returns"
        ));
        tally.classes.entry("additional line".into()).or_default().wrong += additional;
    }
    Ok(tally)
}

impl Expected {
    fn is_for(&self, entry: &Entry) -> bool {
        match entry {
            Entry::Call { function, .. } => !self.is_return && *function == self.function,
            Entry::Return { function, .. } => self.is_return && *function == self.function,
            Entry::Other(_) => false,
        }
    }

    /// The whole line as the program says it must read.
    pub fn line(&self, verbosity: u8) -> String {
        let key = verbosity.to_string();
        let texts = self.values.iter().map(|value| {
            let text = value.text.get(&key).map_or("", String::as_str);
            if verbosity == 0 || self.is_return {
                text.to_owned()
            } else {
                format!("{}: {text}", value.name)
            }
        });
        let texts: Vec<String> = texts.collect();
        let mark = if self.is_return { ">>" } else { ">" };
        let arrow = if self.is_return { " => " } else { "" };
        format!(
            "{mark} goroutine(1): {}{arrow}({})",
            self.function,
            texts.join(if self.is_return { "," } else { ", " })
        )
    }

    fn judge_values(&self, entry: &Entry, verbosity: u8, tally: &mut Tally) -> Result<()> {
        let (Entry::Call { arguments: text, .. } | Entry::Return { results: text, .. }) = entry else {
            return Ok(());
        };
        let key = verbosity.to_string();
        let several_lines = verbosity >= 3 && !self.is_return;
        let mut pattern = String::from("(?s)^");
        if several_lines {
            pattern.push_str(r"\n");
        }
        for (i, value) in self.values.iter().enumerate() {
            if i > 0 {
                pattern.push_str(if self.is_return {
                    ","
                } else if several_lines {
                    r"\n"
                } else {
                    ", "
                });
            }
            if !self.is_return && verbosity > 0 {
                let _ = write!(
                    pattern,
                    "{}{}: ",
                    if several_lines { "  " } else { "" },
                    regex::escape(&value.name)
                );
            }
            let mut right = right_pattern(value.text.get(&key).map_or("", String::as_str));
            if let Some(shapes) = value.shapes.get(&key) {
                right = format!("{right}|{}", right_pattern(shapes));
            }
            // The first alternative that lets the whole line match wins, so a right value is found where there is one.
            let partly = lenient_pattern(value.text.get(&key).map_or("", String::as_str));
            let _ = write!(
                pattern,
                "(?:(?P<right{i}>{right})|(?P<unreadable{i}>{UNREADABLE}|{partly})|(?P<other{i}>.*?))"
            );
        }
        pattern.push('$');
        let pattern = regex::RegexBuilder::new(&pattern)
            .size_limit(1 << 26)
            .build()
            .attempt("compiling the expected line")?;
        let Some(found) = pattern.captures(text) else {
            tally
                .complaints
                .push(format!("expected {}\n printed {text}", self.line(verbosity)));
            for value in &self.values {
                tally.classes.entry(value.class.clone()).or_default().wrong += 1;
            }
            return Ok(());
        };
        let mut whole = true;
        for (i, value) in self.values.iter().enumerate() {
            let expected = value.text.get(&key).map_or("", String::as_str);
            let judgement = if found.name(&format!("right{i}")).is_some() {
                Judgement::Right
            } else if let Some(reason) = found.name(&format!("unreadable{i}")) {
                tally.unreadable.push(format!(
                    "{} {} ({}): {}",
                    self.function,
                    value.name,
                    value.class,
                    reason.as_str()
                ));
                Judgement::Unreadable
            } else {
                let printed = found.name(&format!("other{i}")).map_or("", |part| part.as_str());
                let arrow = if self.is_return { " =>" } else { "" };
                tally.complaints.push(format!(
                    "{}{arrow} {} ({}): expected {expected}\n   printed {printed}",
                    self.function, value.name, value.class
                ));
                Judgement::Wrong
            };
            whole &= judgement == Judgement::Right;
            let share = tally.classes.entry(value.class.clone()).or_default();
            match judgement {
                Judgement::Right => share.right += 1,
                Judgement::Unreadable => share.unreadable += 1,
                Judgement::Wrong => share.wrong += 1,
            }
        }
        tally.right_lines += usize::from(whole);
        Ok(())
    }
}

/// The expected text as a pattern: an unknown address stands for any, and no text at all for any text.
///
/// A structure that is passed in registers has no address; where dlv makes one up to say that it is not shown further, `T {...}` is as right.
fn right_pattern(expected: &str) -> String {
    static UNKNOWN: OnceLock<Option<Regex>> = OnceLock::new();
    if expected.is_empty() {
        return ".+".to_owned();
    }
    let text = regex::escape(expected);
    let unknown = UNKNOWN.get_or_init(|| Regex::new(r"\\\(\\\*((?:[^()]|\\\{.*?\\\})+?)\\\)\\\(0x\\\?\\\)").ok());
    let text = match unknown {
        Some(unknown) => unknown
            .replace_all(&text, r"(?:\(\*$1\)\(0x[0-9a-f]+\)|$1 \{\.\.\.\})")
            .into_owned(),
        None => text,
    };
    text.replace(r"0x\?", "0x[0-9a-f]+")
}

/// What a value that cannot be read prints, with one level of parentheses in the reason.
const UNREADABLE: &str = r"\(unreadable [^()]*(?:\([^()]*\)[^()]*)*\)";

/// The expected text as a pattern in which every part of an aggregate may say that it is unreadable.
fn lenient_pattern(expected: &str) -> String {
    let Some(open) = opener(expected) else {
        return right_pattern(expected);
    };
    let mut pattern = format!("{}(?:", right_pattern(&expected[..=open]));
    let inner = &expected[open + 1..expected.len() - 1];
    for part in parts(inner) {
        let value_at = part.find(|c: char| !c.is_whitespace()).unwrap_or(part.len());
        let named = part[value_at..]
            .split_once(": ")
            .filter(|(name, _)| name.chars().all(|c| c.is_alphanumeric() || c == '_'));
        let value_at = value_at + named.map_or(0, |(name, _)| name.len() + 2);
        let (value, separator) = part[value_at..]
            .strip_suffix(',')
            .map_or((&part[value_at..], ""), |value| (value, ","));
        pattern.push_str(&regex::escape(&part[..value_at]));
        if !value.is_empty() {
            let _ = write!(pattern, "(?:{}|{UNREADABLE})", lenient_pattern(value));
        }
        pattern.push_str(separator);
    }
    // Where no element was captured, one reason stands for all of them.
    let _ = write!(pattern, "|{UNREADABLE})");
    pattern.push_str(&regex::escape(&expected[expected.len() - 1..]));
    pattern
}

/// Where the bracket or brace opens that closes at the very end of `text`.
fn opener(text: &str) -> Option<usize> {
    if !text.ends_with(['}', ']']) {
        return None;
    }
    let mut open = Vec::new();
    let mut quotes = Quotes::default();
    let mut found = None;
    for (i, c) in text.char_indices() {
        if quotes.covers(c) {
            continue;
        }
        match c {
            '{' | '[' | '(' => open.push(i),
            '}' | ']' | ')' => found = open.pop(),
            _ => {}
        }
    }
    found
}

/// `text` cut after each comma that is in no bracket and no quotes.
fn parts(text: &str) -> Vec<&str> {
    let (mut out, mut from, mut depth) = (Vec::new(), 0, 0_i32);
    let mut quotes = Quotes::default();
    for (i, c) in text.char_indices() {
        if quotes.covers(c) {
            continue;
        }
        match c {
            '{' | '[' | '(' => depth += 1,
            '}' | ']' | ')' => depth -= 1,
            ',' if depth == 0 => {
                out.push(&text[from..=i]);
                from = i + 1;
            }
            _ => {}
        }
    }
    out.push(&text[from..]);
    out
}

/// Follows Go's quoted strings through a text.
#[derive(Default)]
struct Quotes {
    open: bool,
    escaped: bool,
}

impl Quotes {
    /// Whether `c`, the next character, belongs to a quoted string.
    fn covers(&mut self, c: char) -> bool {
        if self.escaped {
            self.escaped = false;
        } else if c == '"' {
            self.open = !self.open;
            return true;
        } else if c == '\\' && self.open {
            self.escaped = true;
        }
        self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(expected: &str, arguments: &str) -> Tally {
        let expected = read_expected(expected).expect("the test's own JSON");
        let printed = Entry::Call {
            goroutine: 1,
            function: "main.f".into(),
            arguments: arguments.into(),
        };
        judge(&expected, &[printed], 0).expect("judging")
    }

    const TWO: &str = r#"{"function":"main.f","return":false,"values":[{"name":"a","class":"int","text":{"0":"1"}},{"name":"b","class":"struct","text":{"0":"main.T {A: 5, B: (*main.U)(0x?)}"}}]}"#;

    #[test]
    fn a_right_line_is_right() {
        let tally = tally(TWO, "1, main.T {A: 5, B: (*main.U)(0xc000)}");
        assert_eq!((tally.right_lines, tally.wrong()), (1, 0), "{tally:?}");
    }

    #[test]
    fn a_wrong_value_is_found_and_named() {
        let tally = tally(TWO, "2, main.T {A: 5, B: (*main.U)(0xc000)}");
        assert_eq!((tally.right_lines, tally.wrong()), (0, 1));
        assert_eq!(tally.classes["int"].wrong, 1);
        assert_eq!(tally.classes["struct"].right, 1);
    }

    #[test]
    fn an_unreadable_part_is_not_wrong_but_its_neighbours_must_be_right() {
        let part = tally(TWO, "1, main.T {A: (unreadable in register X0), B: (*main.U)(0xc000)}");
        assert_eq!((part.classes["struct"].unreadable, part.wrong()), (1, 0), "{part:?}");
        let beside = tally(TWO, "1, main.T {A: (unreadable gone), B: nonsense}");
        assert_eq!(beside.classes["struct"].wrong, 1);
    }

    #[test]
    fn a_missing_line_is_wrong() {
        let expected = read_expected(TWO).expect("the test's own JSON");
        let tally = judge(&expected, &[], 0).expect("judging");
        assert_eq!(tally.wrong(), 2);
    }
}
