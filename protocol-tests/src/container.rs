//! Programs in containers: in a pid namespace and a root directory of their own, as container engines run them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use tempfile::TempDir;

use crate::child::{ChildGroup, descendants, run, wait_until};
use crate::executable::write_executable;
use crate::failure::{Attempt, Failure, Result};
use crate::peer;

/// `unshare` with a new pid namespace and a /proc that shows it; whoever it runs is the namespace's first process, and all end with it.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    command.args(["--pid", "--mount", "--mount-proc", "--fork", "--kill-child"]);
    command
}

/// Whether pid namespaces can be made here; says that `what` is skipped where not.
pub fn possible_or_skip(what: &str) -> bool {
    static POSSIBLE: OnceLock<bool> = OnceLock::new();
    let possible = *POSSIBLE.get_or_init(|| {
        let tried = run(unshare().arg("true"), Duration::from_secs(10));
        tried.is_ok_and(|tried| tried.code() == 0)
    });
    if !possible {
        peer::skip(what, "pid namespaces are not permitted here");
    }
    possible
}

/// A static program that runs in a container whose file system held nothing but it, and holds nothing any more.
pub struct Container {
    /// `unshare`; its output is the program's.
    pub process: ChildGroup,
    /// The program, by its number outside.
    pub pid: i32,
    _root: TempDir,
}

impl Container {
    /// Starts the program as the first process of a container and deletes its file.
    #[track_caller]
    pub fn start(program: &Path, args: &[&str]) -> Result<Container> {
        let root = tempfile::tempdir().attempt("making the container's root")?;
        let inside = root.path().join("program");
        let bytes = fs::read(program).attempt(format_args!("reading {}", program.display()))?;
        write_executable(&inside, &bytes)?;
        let mut command = unshare();
        command.arg("chroot").arg(root.path()).arg("/program").args(args);
        command.stdin(Stdio::null());
        let process = ChildGroup::start(&mut command)?;
        let pid = wait_until("the program in its container", Duration::from_secs(30), || {
            let runs = |pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == inside);
            descendants(process.pid()).into_iter().find(runs)
        })?;
        fs::remove_file(&inside).attempt("deleting the program")?;
        let exe = fs::read_link(format!("/proc/{pid}/exe")).attempt("reading what the program runs")?;
        if !exe.to_string_lossy().ends_with(" (deleted)") {
            return Err(Failure::new(format!("{} was to be deleted", exe.display())));
        }
        Ok(Container {
            process,
            pid,
            _root: root,
        })
    }
}

/// What a container's shell ends with where its file system cannot be mounted.
const NO_OVERLAY: i32 = 77;

impl Container {
    /// Starts a static program as the first process of a container whose root is an overlay, as that of an image is, with a /proc and a /dev/null. Its standard
    /// input is a pipe. `None`, and a word that `what` is skipped, where overlays cannot be mounted.
    #[track_caller]
    pub fn on_overlay(what: &str, program: &Path, args: &[&str]) -> Result<Option<Container>> {
        const SCRIPT: &str = "mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged \
            && mount -t proc proc merged/proc && mount --bind /dev/null merged/dev/null || exit 77
            exec chroot merged /program \"$@\"";
        let root = tempfile::tempdir().attempt("making the container's folder")?;
        for folder in ["lower/proc", "lower/dev", "upper", "work", "merged"] {
            fs::create_dir_all(root.path().join(folder)).attempt(format_args!("making {folder}"))?;
        }
        fs::write(root.path().join("lower/dev/null"), "").attempt("making a place for /dev/null")?;
        let bytes = fs::read(program).attempt(format_args!("reading {}", program.display()))?;
        write_executable(&root.path().join("lower/program"), &bytes)?;
        let mut command = unshare();
        command
            .args(["sh", "-c", SCRIPT, "sh"])
            .args(args)
            .current_dir(root.path());
        command.stdin(Stdio::piped());
        let mut process = ChildGroup::start_with_stdin(&mut command)?;
        let inside = root.path().join("merged/program");
        let found = wait_until("the program in its container", Duration::from_secs(30), || {
            if let Ok(Some(status)) = process.poll() {
                return Some(Err(status));
            }
            let runs = |pid: &i32| fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == inside);
            descendants(process.pid()).into_iter().find(runs).map(Ok)
        })?;
        match found {
            Ok(pid) => Ok(Some(Container {
                process,
                pid,
                _root: root,
            })),
            Err(status) if status.code() == Some(NO_OVERLAY) => {
                peer::skip(what, "overlay file systems cannot be mounted here");
                Ok(None)
            }
            Err(status) => Err(Failure::new(format!(
                "the container ended with {status}: {}",
                process.stderr.text()
            ))),
        }
    }
}

/// A program that runs another inside a new pid namespace, for those that want one program.
pub struct Inside {
    /// It.
    pub program: PathBuf,
    _folder: TempDir,
}

impl Inside {
    /// For `program`, which becomes the first process of the namespace.
    #[track_caller]
    pub fn of(program: &Path) -> Result<Inside> {
        let folder = tempfile::tempdir().attempt("making a folder")?;
        let script = folder.path().join("inside");
        let words: Vec<String> = std::iter::once(unshare().get_program().to_owned())
            .chain(unshare().get_args().map(ToOwned::to_owned))
            .map(|word| word.to_string_lossy().into_owned())
            .collect();
        let text = format!("#!/bin/sh\nexec {} '{}' \"$@\"\n", words.join(" "), program.display());
        write_executable(&script, text.as_bytes())?;
        Ok(Inside {
            program: script,
            _folder: folder,
        })
    }
}

/// A shell's command line inside a new pid namespace.
pub fn shell(script: &str) -> Command {
    let mut command = unshare();
    command.args(["sh", "-c", script]);
    command
}
