//! Builds the Go fixture, once for each set of flags.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, OnceLock, PoisonError};

use spelunk_dwarf::Binary;

/// The flags a fixture is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Build {
    /// `-gcflags=all=-N -l`: nothing optimised, nothing inlined.
    Debug,
    /// The default.
    Optimized,
    /// Position independent, optimised.
    Pie,
    /// Not optimised, with debug sections that are not compressed.
    Uncompressed,
    /// Without symbol table and debug information.
    Stripped,
    /// Source paths relative to the module.
    Trimpath,
    /// Not optimised, with a GNU build id, whatever Go's version.
    Identified,
}

impl Build {
    /// All builds that have debug information.
    pub(crate) const DESCRIBED: [Build; 5] = [
        Build::Debug,
        Build::Optimized,
        Build::Pie,
        Build::Uncompressed,
        Build::Trimpath,
    ];

    fn flags(self) -> &'static [&'static str] {
        match self {
            Build::Debug => &["-gcflags=all=-N -l"],
            Build::Optimized => &[],
            Build::Pie => &["-buildmode=pie"],
            Build::Uncompressed => &["-gcflags=all=-N -l", "-ldflags=-compressdwarf=false"],
            Build::Stripped => &["-ldflags=-s -w"],
            Build::Trimpath => &["-trimpath"],
            Build::Identified => &["-gcflags=all=-N -l", "-ldflags=-B 0x00112233445566778899aabbccddeeff"],
        }
    }
}

/// A program with C code, not optimised; `None`, with a message, without Go or a C compiler.
pub(crate) fn open_cgo() -> Option<Binary> {
    let go = go()?;
    if !has("gcc", "--version") {
        skip("gcc is not on the PATH, so nothing is checked against a program with C code here");
        return None;
    }
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/cgo");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cgo");
    go_build(go, &source, &[], &path);
    Some(Binary::open(&path).expect("a fresh Go program opens"))
}

/// Runs GNU's `objcopy`; `false`, with a message, where there is none.
pub(crate) fn objcopy(arguments: &[&str]) -> bool {
    if !has("objcopy", "--version") {
        skip("objcopy is not on the PATH, so programs and their debug information are not separated here");
        return false;
    }
    let out = Command::new("objcopy").args(arguments).output().expect("it was there");
    assert!(
        out.status.success(),
        "objcopy {arguments:?}: {}",
        String::from_utf8_lossy(&out.stderr)
    );
    true
}

fn has(command: &str, argument: &str) -> bool {
    Command::new(command)
        .arg(argument)
        .output()
        .is_ok_and(|out| out.status.success())
}

/// Says on standard error why a test does not run here, past the test runner's capture: a skipped test must be seen.
fn skip(reason: &str) {
    let _ = writeln!(std::io::stderr(), "SKIP: {reason}");
}

/// `SPELUNK_GO`, which `make test` sets, else the `go` on the `PATH`; `None`, with a message, where there is none.
fn go() -> Option<&'static Path> {
    static GO: OnceLock<Option<PathBuf>> = OnceLock::new();
    let found = GO.get_or_init(|| {
        let given = std::env::var_os("SPELUNK_GO").map(PathBuf::from);
        given.or_else(|| has("go", "version").then(|| "go".into()))
    });
    if found.is_none() {
        skip("there is no Go toolchain on the PATH, so nothing is checked against a Go program here");
    }
    found.as_deref()
}

fn go_build(go: &Path, source: &Path, flags: &[&str], path: &Path) {
    let out = Command::new(go)
        .current_dir(source)
        .env("GOFLAGS", "")
        .env("GOWORK", "off")
        .env("CGO_CFLAGS", "-O0 -g")
        .arg("build")
        .args(flags)
        .arg("-o")
        .arg(path)
        .arg(".")
        .output()
        .unwrap_or_else(|error| panic!("running {}: {error}", go.display()));
    assert!(
        out.status.success(),
        "go build failed: {}",
        String::from_utf8_lossy(&out.stderr)
    );
}

/// The source of the fixture.
pub(crate) fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/kinds")
}

/// The line of the fixture's source that contains `text`.
pub(crate) fn line_of(text: &str) -> u32 {
    let source = std::fs::read_to_string(source().join("main.go")).expect("the fixture's source is in the repository");
    let at = source
        .lines()
        .position(|line| line.contains(text))
        .expect("the fixture contains the line");
    at as u32 + 1
}

/// The built fixture; `None`, with a message, where there is no Go toolchain.
pub(crate) fn build(build: Build) -> Option<PathBuf> {
    static BUILT: Mutex<Vec<(Build, PathBuf)>> = Mutex::new(Vec::new());
    let go = go()?;
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, path)) = built.iter().find(|(known, _)| *known == build) {
        return Some(path.clone());
    }
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("kinds-{build:?}"));
    go_build(go, &source(), build.flags(), &path);
    built.push((build, path.clone()));
    Some(path)
}

/// The built fixture, opened.
pub(crate) fn open(flags: Build) -> Option<Binary> {
    let path = build(flags)?;
    Some(Binary::open(&path).expect("a fresh Go program opens"))
}
