//! The programs whose values are compared, and where they stop.
//!
//! A program of ours says so itself: it stops at each line with `// stop NAME`, what lines with `// eval EXPRESSION` say is evaluated at the next stop below them, and
//! then what lines with `// set VARIABLE = VALUE` say is assigned there. A stop whose name ends with `step out` is left by that, to see what the function returns.

use std::fs;

use crate::failure::{Attempt, Result};
use crate::module_program::ModuleProgram;
use crate::toolchain::{Build, Built, Source, fixture_dir};

/// A program of the corpus.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// What it is called in the report.
    pub name: &'static str,
    /// Where it comes from.
    pub source: Origin,
    /// How many frames are looked at in each stop.
    pub frames: usize,
    /// How many stops are looked at.
    pub stops: usize,
}

/// Where a program comes from.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// A folder of `tests/fixtures/values`, and how it is built.
    Ours(&'static str, Build),
    /// The module proxy.
    Module(&'static Real),
}

/// A program that others have written and that people use.
#[derive(Clone, Copy, Debug)]
pub struct Real {
    /// The program.
    pub program: ModuleProgram,
    /// Where it stops: what the stop is called, the file below the module, and a text in its line, the first such.
    pub stops: &'static [(&'static str, &'static str, &'static str)],
    /// What it is started with; `$FOLDER` is `tests/fixtures/values/real`.
    pub args: &'static [&'static str],
}

const GOJQ: Real = Real {
    program: ModuleProgram {
        module: "github.com/itchyny/gojq",
        version: "v0.12.17",
        package: "cmd/gojq",
    },
    stops: &[
        ("compile", "compiler.go", "c.builtinScope = c.newScope()"),
        ("query", "compiler.go", "for _, fd := range e.FuncDefs {"),
        ("call", "execute.go", "x, args := env.pop(), env.args[:argcnt]"),
        ("compare", "compare.go", "return binopTypeSwitch(l, r,"),
    ],
    args: &[
        "-n",
        r#"{a: [1, 2.5, null, true, "s", {b: 123456789012345678901234567890}]} | .a | length, (.[5].b * 10), ([.[0:2][] | . + 1] | sort), (.[4] | test("^s$"))"#,
    ],
};

const SHFMT: Real = Real {
    program: ModuleProgram {
        module: "mvdan.cc/sh/v3",
        version: "v3.12.0",
        package: "cmd/shfmt",
    },
    stops: &[
        ("format", "cmd/shfmt/main.go", "var node syntax.Node"),
        ("parse a call", "syntax/parser.go", "ce := p.call(w)"),
        (
            "print a statement",
            "syntax/printer.go",
            "startRedirs = p.command(s.Cmd, s.Redirs)",
        ),
        (
            "print a command",
            "syntax/printer.go",
            "p.advanceLine(cmd.Pos().Line())",
        ),
    ],
    // With an indentation given no files are looked for that set one.
    args: &["-i", "2", "$FOLDER/script.sh"],
};

/// The one file of a program.
const MAIN: &str = "main.go";
/// Its module, of the oldest Go that Delve takes.
const MODULE: &str = "module corpus\n\ngo 1.25\n";

/// The whole corpus.
pub const CORPUS: &[Program] = &[
    // These take longest.
    real("shfmt", &SHFMT),
    real("gojq", &GOJQ),
    ours("kinds", "kinds", Build::FixedHeap),
    ours("numbers", "values/numbers", Build::FixedHeap),
    ours("strings", "values/strings", Build::FixedHeap),
    ours("structs", "values/structs", Build::FixedHeap),
    ours("maps", "values/maps", Build::FixedHeap),
    ours("maps before Go 1.24", "values/maps", Build::OldMaps),
    ours("interfaces", "values/interfaces", Build::FixedHeap),
    ours("functions", "values/functions", Build::FixedHeap),
    ours("cycles", "values/cycles", Build::FixedHeap),
    ours("pointers", "values/pointers", Build::FixedHeap),
    ours("channels", "values/channels", Build::FixedHeap),
    ours("generics", "values/generics", Build::FixedHeap),
    ours("scopes", "values/scopes", Build::FixedHeap),
    ours("globals", "values/globals", Build::FixedHeap),
    ours("library", "values/library", Build::FixedHeap),
    ours("assignments", "values/assignments", Build::FixedHeap),
    ours("returns", "values/returns", Build::FixedHeap),
    ours("kinds, optimised", "kinds", Build::OptFixedHeap),
    ours("structs, optimised", "values/structs", Build::OptFixedHeap),
    ours("functions, optimised", "values/functions", Build::OptFixedHeap),
    ours("generics, optimised", "values/generics", Build::OptFixedHeap),
    ours("scopes, optimised", "values/scopes", Build::OptFixedHeap),
    ours("returns, optimised", "values/returns", Build::OptFixedHeap),
];

const fn ours(name: &'static str, fixture: &'static str, build: Build) -> Program {
    Program {
        name,
        source: Origin::Ours(fixture, build),
        frames: 1,
        stops: 60,
    }
}

const fn real(name: &'static str, source: &'static Real) -> Program {
    Program {
        name,
        source: Origin::Module(source),
        frames: 2,
        stops: 5,
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
    /// What is assigned to, and which value.
    pub assignments: Vec<(String, String)>,
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

impl Stop {
    /// Whether it is left by a step out of its function.
    pub(super) fn steps_out(&self) -> bool {
        self.name.ends_with("step out")
    }
}

impl Program {
    /// Builds it, unless that is done, and reads where it stops. `Err` within says why it has to be left out.
    #[track_caller]
    pub fn prepare(&self) -> Result<std::result::Result<Ready, String>> {
        match self.source {
            Origin::Ours(fixture, build) => match build.has_toolchain()? {
                Ok(()) => prepare_ours(fixture, build).map(Ok),
                Err(why) => Ok(Err(why)),
            },
            Origin::Module(real) => real.prepare(),
        }
    }

    /// The program with fewer stops, if it is one that takes long.
    #[must_use]
    pub fn in_short(&self) -> Program {
        const FEW: usize = 2;
        let stops = match self.source {
            Origin::Ours(..) => self.stops,
            Origin::Module(_) => FEW,
        };
        Program { stops, ..*self }
    }

    /// The name of its folder in what is compared.
    pub fn folder(&self) -> &'static str {
        match self.source {
            Origin::Ours(fixture, _) => last_folder(fixture),
            Origin::Module(real) => real.program.name(),
        }
    }
}

fn last_folder(fixture: &str) -> &str {
    fixture.rsplit_once('/').map_or(fixture, |(_, folder)| folder)
}

#[track_caller]
fn prepare_ours(fixture: &str, build: Build) -> Result<Ready> {
    let dir = fixture_dir(fixture);
    let text = fs::read_to_string(dir.join(MAIN)).attempt(format_args!("reading {MAIN} of {}", dir.display()))?;
    let files = [("go.mod", MODULE), (MAIN, &text)].map(|(name, text)| (name.to_owned(), text.to_owned()));
    let built = Source::generated(last_folder(fixture), files.to_vec()).build(build)?;
    let stops = marked(&built.source(MAIN), &text);
    Ok(Ready {
        built,
        stops,
        args: Vec::new(),
    })
}

impl Real {
    #[track_caller]
    fn prepare(&self) -> Result<std::result::Result<Ready, String>> {
        let built = match self.program.build()? {
            Ok(built) => built,
            Err(why) => return Ok(Err(why)),
        };
        let stops = self.stops.iter().map(|(name, file, text)| {
            Ok(Stop {
                name: (*name).to_owned(),
                file: built.source(file),
                line: built.line(file, text)?,
                expressions: Vec::new(),
                assignments: Vec::new(),
            })
        });
        let stops = stops.collect::<Result<_>>()?;
        let folder = fixture_dir("values").join("real").to_string_lossy().into_owned();
        let args = self.args.iter().map(|arg| arg.replace("$FOLDER", &folder)).collect();
        Ok(Ok(Ready { built, stops, args }))
    }
}

/// The stops that a source file marks.
fn marked(file: &str, text: &str) -> Vec<Stop> {
    let mut stops = Vec::new();
    let (mut expressions, mut assignments) = (Vec::new(), Vec::new());
    for (line, text) in (1..).zip(text.lines()) {
        if let Some((_, expression)) = text.split_once("// eval ") {
            expressions.push(expression.trim().to_owned());
        } else if let Some((to, value)) = text.split_once("// set ").and_then(|(_, rest)| rest.split_once(" = ")) {
            assignments.push((to.trim().to_owned(), value.trim().to_owned()));
        } else if let Some((_, name)) = text.split_once("// stop ") {
            stops.push(Stop {
                name: name.trim().to_owned(),
                file: file.to_owned(),
                line,
                expressions: std::mem::take(&mut expressions),
                assignments: std::mem::take(&mut assignments),
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
            "a()\n// eval x + 1\n// eval y\nb() // stop first\n// eval z\n// set x = y == 1\nc() // stop second",
        );
        assert_eq!(stops.len(), 2);
        assert_eq!((stops[0].line, stops[0].expressions.len()), (4, 2));
        assert_eq!(
            (stops[1].name.as_str(), stops[1].expressions[0].as_str()),
            ("second", "z")
        );
    }
}
