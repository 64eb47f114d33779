//! Where cargo puts things, found from the running test binary.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::child;
use crate::failure::{Attempt, Failure, Result};

/// The folder of this crate's sources.
pub fn crate_dir() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// cargo's folder for the profile this harness was built in (`target/debug`, `target/release`).
pub fn profile_dir() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let mut dir = exe.parent().map(PathBuf::from).unwrap_or_default();
    if dir.ends_with("deps") || dir.ends_with("examples") {
        dir.pop();
    }
    dir
}

/// cargo's target folder; fixtures and downloaded toolchains are cached in it.
pub fn target_dir() -> PathBuf {
    let mut dir = profile_dir();
    dir.pop();
    dir
}

/// Where Go keeps the modules and toolchains that are downloaded.
pub fn module_cache() -> PathBuf {
    target_dir().join("modules/cache")
}

/// The built `spelunk`: `SPELUNK_BIN` where it is set, else cargo brings the one beside this harness up to date, once per process.
pub fn spelunk() -> Result<PathBuf> {
    static BUILT: OnceLock<std::result::Result<PathBuf, String>> = OnceLock::new();
    BUILT
        .get_or_init(|| build_spelunk().map_err(|failure| failure.to_string()))
        .clone()
        .map_err(Failure::new)
}

fn build_spelunk() -> Result<PathBuf> {
    if let Some(given) = std::env::var_os("SPELUNK_BIN") {
        return std::fs::canonicalize(&given).attempt(format_args!("SPELUNK_BIN={}", given.display()));
    }
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build
        .current_dir(crate_dir())
        .args(["build", "--quiet", "-p", "spelunk", "--bin", "spelunk"]);
    build.arg("--target-dir").arg(target_dir());
    if profile_dir().ends_with("release") {
        build.arg("--release");
    }
    let built = child::run(&mut build, Duration::from_secs(900))?;
    if !built.status.success() {
        return Err(Failure::new(format!("building spelunk failed:\n{}", built.stderr)));
    }
    Ok(profile_dir().join("spelunk"))
}
