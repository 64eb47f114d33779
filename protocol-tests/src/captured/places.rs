//! The programs that are looked at, and where.
//!
//! A program says so itself: values are looked at at each line with `// stop NAME`, and besides the local variables there what lines with `// eval EXPRESSION` above it say.

use std::fs;

use crate::failure::{Attempt, Result};
use crate::toolchain::{Build, Built, Source, fixture_dir};

/// The one file of a program.
pub const MAIN: &str = "main.go";
/// Where programs are, below the fixtures: those that were written for this, and those whose values are held against Delve's; and the Go that they are written in.
const FOLDERS: [(&str, &str); 2] = [("captured", "1.21"), ("values", "1.25")];

/// A program that is looked at.
#[derive(Clone, Debug)]
pub struct Program {
    /// What it is called in the report.
    pub name: String,
    folder: String,
    /// The language it is written in.
    go: &'static str,
    build: Build,
}

impl Program {
    /// The executable.
    pub fn built(&self) -> Result<Built> {
        let file = fixture_dir(&self.folder).join(MAIN);
        let text = fs::read_to_string(&file).attempt(format_args!("reading {}", file.display()))?;
        let module = format!("module corpus\n\ngo {}\n", self.go);
        let files = vec![(MAIN.to_owned(), text), ("go.mod".to_owned(), module)];
        Source::generated(&self.folder.replace('/', "-"), files).build(self.build)
    }
}

/// A line that is looked at.
#[derive(Clone, Debug)]
pub struct Place {
    /// 1-based.
    pub line: u32,
    /// What is evaluated there.
    pub expressions: Vec<String>,
}

/// All programs, unoptimised ones and, where `optimised`, the same optimised; those with maps also with the maps that Go had before 1.24, where a Go that has them can be had.
pub fn programs(optimised: bool) -> Result<Vec<Program>> {
    let mut programs = Vec::new();
    for (folder, go) in FOLDERS {
        let dir = fixture_dir(folder);
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        let mut names: Vec<String> = entries
            .flatten()
            .filter(|entry| entry.path().join(MAIN).is_file())
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        for name in names {
            let folder = format!("{folder}/{name}");
            programs.push(Program {
                name: folder.clone(),
                folder: folder.clone(),
                go,
                build: Build::FixedHeap,
            });
            if name == "maps" && Build::OldMaps.has_toolchain()?.is_ok() {
                programs.push(Program {
                    name: format!("{folder}, maps before Go 1.24"),
                    folder: folder.clone(),
                    go,
                    build: Build::OldMaps,
                });
            }
            if optimised {
                programs.push(Program {
                    name: format!("{folder}, optimised"),
                    folder,
                    go,
                    build: Build::Opt,
                });
            }
        }
    }
    Ok(programs)
}

/// The places of a program.
pub fn places(built: &Built) -> Result<Vec<Place>> {
    let file = built.source(MAIN);
    let text = fs::read_to_string(&file).attempt(format_args!("reading {file}"))?;
    let mut places = Vec::new();
    let mut expressions = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if let Some((_, expression)) = line.split_once("// eval ") {
            // A brace in a log message ends the expression.
            if !expression.contains(['{', '}']) {
                expressions.push(expression.trim().to_owned());
            }
        }
        if line.contains("// stop ") {
            places.push(Place {
                line: number,
                expressions: std::mem::take(&mut expressions),
            });
        }
    }
    Ok(places)
}
