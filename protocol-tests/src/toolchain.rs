//! The Go toolchain, and fixtures built with it: once per Go version, source and flags, shared by all test processes.

use std::collections::hash_map::DefaultHasher;
use std::fs;
use std::hash::{Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::child;
use crate::failure::{Attempt, Failure, Result};
use crate::paths;

/// A Go toolchain that answers `go version`.
#[derive(Clone, Debug)]
pub struct Go {
    /// The `go` program.
    pub program: PathBuf,
    /// As the toolchain says it, `go1.26.8`.
    pub version: String,
}

impl Go {
    /// The toolchain of this run: `SPELUNK_GO`, then `PATH`, then where `make` unpacked one.
    pub fn find() -> Result<&'static Go> {
        static FOUND: OnceLock<std::result::Result<Go, String>> = OnceLock::new();
        FOUND
            .get_or_init(|| find().map_err(|failure| failure.to_string()))
            .as_ref()
            .map_err(|text| Failure::new(text.clone()))
    }

    /// Whether this toolchain is at least 1.`minor`.
    pub fn is_at_least(&self, minor: u32) -> bool {
        self.version
            .strip_prefix("go1.")
            .and_then(|rest| rest.split('.').next()?.parse::<u32>().ok())
            .is_none_or(|have| have >= minor)
    }

    /// `PATH` with this toolchain first, for programs that look for `go` themselves.
    pub fn path_variable(&self) -> std::ffi::OsString {
        let own = self.program.parent().map(Path::to_path_buf).unwrap_or_default();
        let rest = std::env::var_os("PATH").unwrap_or_default();
        std::env::join_paths(std::iter::once(own).chain(std::env::split_paths(&rest))).unwrap_or(rest)
    }
}

fn find() -> Result<Go> {
    let unpacked = paths::target_dir().join("toolchains/go/bin/go");
    let candidates = match std::env::var_os("SPELUNK_GO") {
        Some(given) => vec![PathBuf::from(given)],
        None => vec![PathBuf::from("go"), PathBuf::from("/usr/local/go/bin/go"), unpacked],
    };
    for program in &candidates {
        let Ok(answer) = Command::new(program)
            .args(["env", "GOVERSION", "GOROOT"])
            .env("GOTOOLCHAIN", "local")
            .output()
        else {
            continue;
        };
        let answer = String::from_utf8_lossy(&answer.stdout).into_owned();
        if let Some((version, root)) = answer.trim().split_once('\n') {
            return Ok(Go {
                program: Path::new(root).join("bin/go"),
                version: version.to_owned(),
            });
        }
    }
    Err(Failure::new(format!(
        "no Go toolchain: tried {candidates:?}; `make test` fetches one, or set SPELUNK_GO to a `go` program"
    )))
}

/// The last minor version of Go that has `GOEXPERIMENT=noswissmap`.
const LAST_WITH_OLD_MAPS: &str = "go1.25.5";

/// The minor version of Go since which the heap lies elsewhere in each run.
const FIRST_WITH_RANDOM_HEAP: u32 = 26;

/// How a fixture is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Build {
    /// `-gcflags='all=-N -l'`: no optimisation, no inlining, as debuggers build.
    NoOpt,
    /// As `NoOpt`, with the heap where it was before Go 1.26 made its place random: two runs look alike.
    FixedHeap,
    /// As `go build` builds.
    Opt,
    /// As `Opt`, with the heap where it was before Go 1.26.
    OptFixedHeap,
    /// As `NoOpt`, with the maps that Go had before 1.24, by the last release that still can; see [`Build::has_toolchain`].
    OldMaps,
    /// Optimised, position independent (`-buildmode=pie`).
    Pie,
    /// Not optimised, position independent.
    PieNoOpt,
    /// Optimised, external linking through the C toolchain (`CGO_ENABLED=1`).
    Cgo,
    /// Optimised, without symbols and debug information (`-ldflags='-s -w'`).
    Stripped,
}

impl Build {
    /// What `go build` is told besides.
    pub(crate) fn flags(self) -> &'static [&'static str] {
        match self {
            Build::NoOpt | Build::FixedHeap | Build::OldMaps => &["-gcflags=all=-N -l"],
            Build::Opt | Build::OptFixedHeap => &[],
            Build::Pie => &["-buildmode=pie"],
            Build::PieNoOpt => &["-buildmode=pie", "-gcflags=all=-N -l"],
            Build::Cgo => &["-ldflags=-linkmode=external"],
            Build::Stripped => &["-ldflags=-s -w"],
        }
    }

    /// Whether a Go toolchain is here, or can be had from the module proxy, that builds like this; the reason if not.
    #[track_caller]
    pub fn has_toolchain(self) -> Result<std::result::Result<(), String>> {
        if self != Build::OldMaps {
            return Ok(Ok(()));
        }
        let go = Go::find()?;
        let mut command = Command::new(&go.program);
        command.arg("version").env("GOTOOLCHAIN", LAST_WITH_OLD_MAPS);
        command.env("GOMODCACHE", paths::module_cache());
        let answer = child::run(&mut command, Duration::from_secs(300))?;
        let why = answer.stderr.lines().next().unwrap_or_default();
        Ok(if answer.status.success() {
            Ok(())
        } else {
            Err(format!(
                "{LAST_WITH_OLD_MAPS} is not here and cannot be downloaded: {why}"
            ))
        })
    }

    /// Sets the toolchain, and the experiments that put the heap where it was and bring old maps back.
    pub(crate) fn environment(self, go: &Go, command: &mut Command) {
        if self == Build::OldMaps {
            command.env("GOTOOLCHAIN", LAST_WITH_OLD_MAPS);
            command.env("GOMODCACHE", paths::module_cache());
            command.env("GOFLAGS", "-modcacherw");
            command.env("GOEXPERIMENT", "noswissmap");
        }
        if matches!(self, Build::FixedHeap | Build::OptFixedHeap) && go.is_at_least(FIRST_WITH_RANDOM_HEAP) {
            command.env("GOEXPERIMENT", "norandomizedheapbase64");
        }
    }
}

/// One Go program: its files by name.
#[derive(Clone, Debug, Hash)]
pub struct Source {
    name: String,
    files: Vec<(String, String)>,
}

impl Source {
    /// The program in `tests/fixtures/NAME`.
    #[track_caller]
    pub fn fixture(name: &str) -> Result<Source> {
        Source::folder(name, &fixture_dir(name))
    }

    /// The program in any folder.
    #[track_caller]
    pub fn folder(name: &str, dir: &Path) -> Result<Source> {
        let mut files = Vec::new();
        let entries = fs::read_dir(dir).attempt(format_args!("reading the fixture folder {}", dir.display()))?;
        for entry in entries.flatten().filter(|entry| entry.path().is_file()) {
            let text = fs::read_to_string(entry.path()).attempt(format_args!("reading {}", entry.path().display()))?;
            files.push((entry.file_name().to_string_lossy().into_owned(), text));
        }
        files.sort();
        Ok(Source {
            name: name.to_owned(),
            files,
        })
    }

    /// A program that a test generates.
    pub fn generated(name: &str, files: Vec<(String, String)>) -> Source {
        Source {
            name: name.to_owned(),
            files,
        }
    }

    /// The executable of this program, built unless an equal one is there already.
    #[track_caller]
    pub fn build(&self, build: Build) -> Result<Built> {
        let go = Go::find()?;
        let mut hasher = DefaultHasher::new();
        (self, build.flags(), &go.version).hash(&mut hasher);
        let dir = paths::target_dir().join("fixtures").join(&go.version).join(format!(
            "{}-{build:?}-{:016x}",
            self.name,
            hasher.finish()
        ));
        fs::create_dir_all(&dir).attempt(format_args!("creating {}", dir.display()))?;
        let program = dir.join(&self.name);
        let lock = fs::File::create(dir.join(".lock")).attempt("creating the fixture's lock file")?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .attempt("locking the fixture")?;
        if !program.exists() {
            for (name, text) in &self.files {
                fs::write(dir.join(name), text).attempt(format_args!("writing {name} of fixture {}", self.name))?;
            }
            if !dir.join("go.mod").exists() {
                fs::write(dir.join("go.mod"), format!("module {}\n\ngo 1.21\n", self.name))
                    .attempt("writing go.mod")?;
            }
            let unfinished = dir.join(".unfinished");
            let mut command = Command::new(&go.program);
            command
                .current_dir(&dir)
                .args(["build", "-o"])
                .arg(&unfinished)
                .args(build.flags())
                .arg(".");
            command
                .env("GOTOOLCHAIN", "local")
                .env("GOFLAGS", "")
                .env("GOWORK", "off");
            build.environment(go, &mut command);
            command.env("CGO_ENABLED", if build == Build::Cgo { "1" } else { "0" });
            let built = child::run(&mut command, Duration::from_secs(300))?;
            if !built.status.success() {
                return Err(Failure::new(format!(
                    "building fixture {} ({build:?}) with {}:\n{}",
                    self.name, go.version, built.stderr
                )));
            }
            fs::rename(&unfinished, &program).attempt("moving the built fixture into place")?;
        }
        Ok(Built { program, dir })
    }
}

/// A built fixture.
#[derive(Clone, Debug)]
pub struct Built {
    /// The executable.
    pub program: PathBuf,
    /// The folder with the sources it was built from; the paths in its debug information lie here.
    pub dir: PathBuf,
}

impl Built {
    /// The path of one of its source files, as the debug information has it.
    pub fn source(&self, file: &str) -> String {
        self.dir.join(file).to_string_lossy().into_owned()
    }

    /// The 1-based line of the first line of `file` that contains `marker`.
    #[track_caller]
    pub fn line(&self, file: &str, marker: &str) -> Result<u32> {
        let text = fs::read_to_string(self.dir.join(file)).attempt(format_args!("reading {file}"))?;
        let line = text
            .lines()
            .position(|line| line.contains(marker))
            .attempt(format_args!("finding `{marker}` in {file}"))?;
        Ok(line as u32 + 1)
    }
}

/// The folder of a committed fixture.
pub fn fixture_dir(name: &str) -> PathBuf {
    paths::crate_dir().join("tests/fixtures").join(name)
}

/// Builds `tests/fixtures/NAME`.
#[track_caller]
pub fn fixture(name: &str, build: Build) -> Result<Built> {
    Source::fixture(name)?.build(build)
}
