//! Fuzz target: location expressions.

use super::LocationSpec;
use crate::fuzz::{check, input::text_of};

const WORDS: [&str; 30] = [
    "main.go",
    ":",
    "12",
    "-3",
    "+",
    "/",
    "/src/main.go",
    "/re.*/",
    "\\/",
    "*",
    "*0x1000",
    "main.(*T).Method",
    "(*T)",
    "(",
    ")",
    ".",
    "[go.shape.int]",
    "[",
    "]",
    "func1",
    "C:\\dir\\file.go",
    "\"quoted path\"",
    "'",
    "example.org/a/b.F",
    "%2e",
    "99999999999999999999",
    "0x",
    " ",
    "é",
    "\u{0}",
];

#[test]
fn location_expressions() {
    check(&text_of(&WORDS), |text| {
        if let Err(error) = LocationSpec::parse(&text) {
            assert!(!error.to_string().is_empty());
        }
    });
}
