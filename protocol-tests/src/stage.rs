//! What stands beside a session that is played: a scratch folder, copies of programs, programs that run already.

use std::path::PathBuf;
use std::process::Command;

use crate::child::{self, ChildGroup};
use crate::dap_client::STEP;
use crate::failure::{Attempt, Failure, Result};
use crate::toolchain::{Build, Built, fixture};

/// Folders and programs of one play; all go with it.
pub struct Stage {
    folder: tempfile::TempDir,
    paths: Vec<(String, String)>,
    copies: Vec<tempfile::TempDir>,
    companions: Vec<ChildGroup>,
}

impl Stage {
    /// An empty one.
    pub fn new() -> Result<Stage> {
        let folder = tempfile::tempdir().attempt("making a scratch folder")?;
        let paths = vec![(folder.path().to_string_lossy().into_owned(), "$SCRATCH".to_owned())];
        Ok(Stage {
            folder,
            paths,
            copies: Vec::new(),
            companions: Vec::new(),
        })
    }

    /// A folder that goes with the session.
    pub fn scratch(&self) -> PathBuf {
        self.folder.path().to_path_buf()
    }

    /// Paths that differ from play to play, and what they are called in what is compared.
    pub fn paths(&self) -> Vec<(String, String)> {
        self.paths.clone()
    }

    /// Gives a path a name in what is compared.
    pub fn name_path(&mut self, path: String, name: &str) {
        self.paths.push((path, name.to_owned()));
    }

    /// A fixture, whose folder is `$NAME` in what is compared. The play has a copy of the program for itself, see [`Stage::copy`].
    pub fn fixture(&mut self, name: &str, build: Build) -> Result<Built> {
        self.copy(name, &fixture(name, build)?)
    }

    /// A copy of a program for one play alone: a kernel probe in one process of a file swallows breakpoints at its instruction in all others of that file, those of a
    /// play of the other debugger among them. The copy is as old as the original.
    pub fn copy(&mut self, name: &str, built: &Built) -> Result<Built> {
        let copies = tempfile::tempdir().attempt("making a folder for a copy of the program")?;
        let program = copies.path().join(name);
        // By another process: a child that some thread forks meanwhile would hold our file open for writing, and what is open so cannot be executed.
        let copied = child::run(
            Command::new("cp")
                .arg("--preserve=timestamps")
                .arg(&built.program)
                .arg(&program),
            STEP,
        )?;
        if !copied.status.success() {
            return Err(Failure::new(format!("copying the program: {}", copied.stderr)));
        }
        for dir in [built.dir.as_path(), copies.path()] {
            let dir = dir.to_string_lossy().into_owned();
            self.paths.push((dir, format!("${}", name.to_uppercase())));
        }
        self.copies.push(copies);
        Ok(Built {
            program,
            ..built.clone()
        })
    }

    /// Starts a program beside the session, which ends with it.
    pub fn companion(&mut self, command: &mut Command) -> Result<i32> {
        let child = ChildGroup::start(command)?;
        let pid = child.pid();
        self.companions.push(child);
        Ok(pid)
    }

    /// The companions' processes.
    pub fn companions(&mut self) -> &mut [ChildGroup] {
        &mut self.companions
    }
}
