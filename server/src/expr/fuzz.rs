//! Fuzz targets: expressions, log messages with expressions in them. What an expression of any program's words is worth on any memory is tried beside the
//! evaluation of frames (`inspect/tests/fuzz.rs`).

use super::parse::parse;
use super::template::Template;
use crate::fuzz::{check, input::text_of};

/// What expressions are made of.
pub(crate) const WORDS: [&str; 64] = [
    "n",
    "x.y",
    "main",
    "\"a/b\".C",
    "runtime",
    "curg",
    "goid",
    "nil",
    "true",
    "iota",
    "1",
    "0",
    "0x1p-2",
    "2.5",
    "1i",
    "1e999",
    "0b2",
    "0o9",
    "1_0",
    "'a'",
    "'\\x",
    "\"k\"",
    "`raw",
    "\\",
    "int",
    "string",
    "[]byte",
    "[3]int",
    "[...]int",
    "map[string]int",
    "func(int) (",
    "chan<-",
    "interface{}",
    "struct{",
    "*(*\"main.T\")(",
    "(*main.T)",
    ".(",
    "(type)",
    "...",
    "+",
    "-",
    "*",
    "/",
    "%",
    "&",
    "|",
    "^",
    "<<",
    ">>",
    "&^",
    "&&",
    "||",
    "==",
    "!=",
    "<",
    ">=",
    "!",
    "(",
    ")",
    "[",
    "]",
    ":",
    ",",
    "{",
];

#[test]
fn expressions() {
    check(&text_of(&WORDS), |text| {
        if let Ok(expression) = parse(&text) {
            // What was understood has a text of its own, which is understood as well.
            let shown = expression.to_string();
            assert!(parse(&shown).is_ok(), "{text:?} is shown as {shown:?}");
        }
    });
}

#[test]
fn log_messages() {
    const MESSAGES: [&str; 8] = ["{", "}", "{n}", "{{", "}}", "{x[\"}\"]}", "text %d", "{f(1, '}')}"];
    check(&text_of(&MESSAGES), |text| {
        let _ = Template::parse(&text);
    });
}
