//! Programs from the Go module proxy: downloaded and built when they are asked for, once per version and toolchain, never a part of this project.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nix::fcntl::{Flock, FlockArg};

use crate::child;
use crate::failure::{Attempt, Failure, Result};
use crate::paths;
use crate::toolchain::{Build, Built, Go};

/// A program in a module.
#[derive(Clone, Copy, Debug)]
pub struct ModuleProgram {
    /// The module.
    pub module: &'static str,
    /// The module's version, `v1.2.3`.
    pub version: &'static str,
    /// The program's package below the module's path.
    pub package: &'static str,
}

/// How long a download or a build may take.
const LIMIT: Duration = Duration::from_secs(300);

impl ModuleProgram {
    /// The program built without optimisation, its heap where it always is; `dir` is the module's source. `None`, with the reason, where the module is not here and
    /// cannot be had.
    #[track_caller]
    pub fn build(&self) -> Result<std::result::Result<Built, String>> {
        let go = Go::find()?;
        let modules = paths::target_dir().join("modules");
        let cache = paths::module_cache();
        fs::create_dir_all(&cache).attempt(format_args!("creating {}", cache.display()))?;
        let lock = File::create(modules.join(".lock")).attempt("creating the lock file of the modules")?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .attempt("locking the modules")?;
        let dir = cache.join(format!("{}@{}", self.module, self.version));
        let bin = modules.join(format!("{}-{}-{}", self.name(), self.version, go.version));
        let program = bin.join(self.name());
        if !program.exists() {
            let mut download = go_command(go, &cache);
            download.args(["mod", "download", &format!("{}@{}", self.module, self.version)]);
            let downloaded = child::run(&mut download, LIMIT)?;
            if !downloaded.status.success() {
                let why = downloaded
                    .stderr
                    .lines()
                    .next()
                    .unwrap_or("go mod download failed")
                    .to_owned();
                return Ok(Err(format!(
                    "{}@{} is not here and cannot be downloaded: {why}",
                    self.module, self.version
                )));
            }
            let mut install = go_command(go, &cache);
            install.arg("install").args(Build::FixedHeap.flags());
            install.arg(format!("{}/{}@{}", self.module, self.package, self.version));
            install.env("GOBIN", &bin);
            let installed = child::run(&mut install, LIMIT)?;
            if !installed.status.success() {
                return Err(Failure::new(format!(
                    "building {}@{}:\n{}",
                    self.module, self.version, installed.stderr
                )));
            }
        }
        Ok(Ok(Built { program, dir }))
    }

    /// The program's name.
    pub fn name(&self) -> &'static str {
        self.package.rsplit('/').next().unwrap_or(self.package)
    }
}

/// `go`, with the modules in the target folder: what is there may be deleted with the rest of it.
fn go_command(go: &Go, cache: &Path) -> Command {
    let mut command = Command::new(&go.program);
    command
        .current_dir(paths::target_dir())
        .env("GOMODCACHE", cache)
        .env("GOFLAGS", "-modcacherw")
        .env("GOTOOLCHAIN", "local")
        .env("GOWORK", "off")
        .env("CGO_ENABLED", "0");
    Build::FixedHeap.environment(go, &mut command);
    command
}
