//! The programs whose values are compared, and where they stop.
//!
//! A program of ours says so itself: it stops at each line with `// stop NAME`, and what lines with `// eval EXPRESSION` say is evaluated at the next stop below them.

use std::fs;

use crate::failure::{Attempt, Result};
use crate::toolchain::{Build, Built, Source, fixture_dir};

/// A program of the corpus.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// What it is called in the report.
    pub name: &'static str,
    /// The folder of `tests/fixtures/values` with its source.
    pub folder: &'static str,
    /// How it is built.
    pub build: Build,
    /// How many frames are looked at in each stop.
    pub frames: usize,
}

/// The one file of a program.
const MAIN: &str = "main.go";
/// Its module, of the oldest Go that Delve takes.
const MODULE: &str = "module corpus\n\ngo 1.25\n";

/// The whole corpus.
pub const CORPUS: &[Program] = &[
    ours("kinds", "kinds", Build::FixedHeap),
    ours("numbers", "numbers", Build::FixedHeap),
    ours("strings", "strings", Build::FixedHeap),
    ours("structs", "structs", Build::FixedHeap),
    ours("maps", "maps", Build::FixedHeap),
    ours("interfaces", "interfaces", Build::FixedHeap),
    ours("functions", "functions", Build::FixedHeap),
    ours("cycles", "cycles", Build::FixedHeap),
    ours("pointers", "pointers", Build::FixedHeap),
    ours("channels", "channels", Build::FixedHeap),
    ours("generics", "generics", Build::FixedHeap),
    ours("scopes", "scopes", Build::FixedHeap),
    ours("globals", "globals", Build::FixedHeap),
    ours("library", "library", Build::FixedHeap),
    ours("kinds, optimised", "kinds", Build::OptFixedHeap),
    ours("structs, optimised", "structs", Build::OptFixedHeap),
    ours("functions, optimised", "functions", Build::OptFixedHeap),
    ours("generics, optimised", "generics", Build::OptFixedHeap),
    ours("scopes, optimised", "scopes", Build::OptFixedHeap),
];

const fn ours(name: &'static str, folder: &'static str, build: Build) -> Program {
    Program {
        name,
        folder,
        build,
        frames: 1,
    }
}

/// A line at which a program stops.
#[derive(Clone, Debug)]
pub struct Stop {
    /// What it is called in titles.
    pub name: String,
    /// The source file, as the debug information has it.
    pub file: String,
    /// 1-based.
    pub line: u32,
    /// What is evaluated there, besides the variables.
    pub expressions: Vec<String>,
}

/// A program that is built, and what is done with it.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The program.
    pub built: Built,
    /// Its stops, by their lines.
    pub stops: Vec<Stop>,
    /// What it is started with.
    pub args: Vec<String>,
}

impl Program {
    /// Builds it, unless that is done, and reads where it stops.
    #[track_caller]
    pub fn prepare(&self) -> Result<Ready> {
        let dir = fixture_dir("values").join(self.folder);
        let text = fs::read_to_string(dir.join(MAIN)).attempt(format_args!("reading {MAIN} of {}", dir.display()))?;
        let files = [("go.mod", MODULE), (MAIN, &text)].map(|(name, text)| (name.to_owned(), text.to_owned()));
        let built = Source::generated(self.folder, files.to_vec()).build(self.build)?;
        let stops = marked(&built.source(MAIN), &text);
        Ok(Ready {
            built,
            stops,
            args: Vec::new(),
        })
    }
}

/// The stops that a source file marks.
fn marked(file: &str, text: &str) -> Vec<Stop> {
    let mut stops = Vec::new();
    let mut expressions = Vec::new();
    for (line, text) in (1..).zip(text.lines()) {
        if let Some((_, expression)) = text.split_once("// eval ") {
            expressions.push(expression.trim().to_owned());
        } else if let Some((_, name)) = text.split_once("// stop ") {
            stops.push(Stop {
                name: name.trim().to_owned(),
                file: file.to_owned(),
                line,
                expressions: std::mem::take(&mut expressions),
            });
        }
    }
    stops
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_has_the_expressions_above_it() {
        let stops = marked(
            "f.go",
            "a()\n// eval x + 1\n// eval y\nb() // stop first\n// eval z\nc() // stop second",
        );
        assert_eq!(stops.len(), 2);
        assert_eq!((stops[0].line, stops[0].expressions.len()), (4, 2));
        assert_eq!(
            (stops[1].name.as_str(), stops[1].expressions[0].as_str()),
            ("second", "z")
        );
    }
}
