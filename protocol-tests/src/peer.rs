//! Delve 1.27.1, the peer that sets shapes and texts: found, or its absence said.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::paths;
use crate::toolchain::Go;

/// The version whose behaviour is the yardstick.
pub const VERSION: &str = "1.27.1";

/// The `dlv` of this machine, when its version is [`VERSION`]: `SPELUNK_DLV`, `PATH`, `~/go/bin`, then where `make` put one.
pub fn dlv() -> Option<&'static Path> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    FOUND.get_or_init(find).as_deref()
}

fn find() -> Option<PathBuf> {
    let mut candidates: Vec<PathBuf> = Vec::new();
    if let Some(given) = std::env::var_os("SPELUNK_DLV") {
        candidates.push(given.into());
    } else {
        candidates
            .extend(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default()).map(|dir| dir.join("dlv")));
        candidates.extend(std::env::var_os("HOME").map(|home| Path::new(&home).join("go/bin/dlv")));
        candidates.push(paths::target_dir().join("toolchains/bin/dlv"));
    }
    candidates.into_iter().find(|program| {
        let answer = Command::new(program).arg("version").output();
        answer.is_ok_and(|answer| String::from_utf8_lossy(&answer.stdout).contains(&format!("Version: {VERSION}")))
    })
}

/// The oldest minor version of Go whose programs [`VERSION`] takes (Delve's pkg/goversion/compat.go).
const OLDEST_GO_MINOR: u32 = 25;

/// As [`dlv`]; where there is none, or it refuses programs of this run's Go, a line on standard error says that `what` is skipped.
pub fn dlv_or_skip(what: &str) -> Option<PathBuf> {
    if let Ok(go) = Go::find()
        && !go.is_at_least(OLDEST_GO_MINOR)
    {
        skip(
            what,
            &format!(
                "dlv {VERSION} refuses programs of {}; it takes those of Go 1.{OLDEST_GO_MINOR} and later",
                go.version
            ),
        );
        return None;
    }
    let found = dlv();
    if found.is_none() {
        skip(
            what,
            &format!("dlv {VERSION} is not installed (go install github.com/go-delve/delve/cmd/dlv@v{VERSION})"),
        );
    }
    found.map(Path::to_path_buf)
}

/// Says on standard error, past the test runner's capture, that something was not tested.
pub fn skip(what: &str, why: &str) {
    use std::io::Write;
    // `eprintln!` would be kept by the test runner and never seen; a skipped test must be.
    let _ = writeln!(std::io::stderr(), "SKIP: {what}: {why}");
}
