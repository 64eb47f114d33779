//! The program `tests/fixtures/storm`, which does everything at once that a probe could disturb, and what is known of it: what is handed to each of its places is
//! redundant, so that every value that is shown of it can be judged, and it counts how often it passes each.

mod account;
mod place;
mod session;
mod traces;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::ChildGroup;
use crate::failure::{Attempt, Failure, Result};
use crate::toolchain::{Build, Built, fixture};

pub use account::Account;
pub use place::{Condition, Place};
pub use session::{Session, Stops};
pub use traces::{Traced, judge_trace};

/// How many goroutines work.
pub const WORKERS: &str = "8";

/// The program, built, and the file that ends it.
pub struct Storm {
    /// Where it and its sources are.
    pub built: Built,
    folder: tempfile::TempDir,
}

impl Storm {
    /// Builds the program.
    pub fn new(build: Build) -> Result<Storm> {
        Ok(Storm {
            built: fixture("storm", build)?,
            folder: tempfile::tempdir().attempt("making a folder for the file that ends the program")?,
        })
    }

    fn end_file(&self) -> PathBuf {
        self.folder.path().join("end")
    }

    /// The program's arguments: it runs until [`Storm::end`].
    pub fn arguments(&self) -> [String; 3] {
        [
            WORKERS.to_owned(),
            "1000".to_owned(),
            self.end_file().to_string_lossy().into_owned(),
        ]
    }

    /// Starts it without a debugger.
    pub fn start(&self) -> Result<ChildGroup> {
        ChildGroup::start(Command::new(&self.built.program).args(self.arguments()))
    }

    /// Has the program end, soon and by itself.
    pub fn end(&self) -> Result<()> {
        std::fs::write(self.end_file(), "").attempt("writing the file that ends the program")
    }

    /// The source file's path.
    pub fn source(&self) -> String {
        self.built.source("main.go")
    }

    /// The line of a place, from 1.
    pub fn line(&self, place: Place) -> Result<u32> {
        self.built.line("main.go", place.marker())
    }

    /// Whether a process runs the program.
    pub fn is_run_by(&self, pid: i32) -> bool {
        std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == Path::new(&self.built.program))
    }
}

/// How often the program has passed what, by its own count.
#[derive(Clone, Debug, Default)]
pub struct Counts(BTreeMap<String, u64>);

impl Counts {
    /// Reads what the program has said at its end. It must have found nothing wrong.
    pub fn read(stdout: &str) -> Result<Counts> {
        if !stdout.contains("all is well") || stdout.contains("wrong") {
            return Err(Failure::new(format!("the program's results are not right:\n{stdout}")));
        }
        let line = stdout
            .lines()
            .find(|line| line.starts_with("visits "))
            .attempt("finding the program's counts")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        let mut counts = BTreeMap::new();
        for pair in words.chunks_exact(2) {
            counts.insert(pair[0].to_owned(), pair[1].parse().attempt("reading a count")?);
        }
        Ok(Counts(counts))
    }

    /// The count of this name; 0 where there is none.
    pub fn of(&self, name: &str) -> u64 {
        self.0.get(name).copied().unwrap_or(0)
    }
}
