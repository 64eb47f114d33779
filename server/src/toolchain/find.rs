//! Finding the `go` command.

use std::{
    ffi::OsString,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

/// No `go` command was found.
#[derive(Debug, thiserror::Error)]
#[error(
    "the Go toolchain was not found (looked for `go` in PATH, in $GOROOT/bin, in /usr/local/go/bin and in ~/sdk): \
     install Go from https://go.dev/dl/ or add its bin directory to PATH; a program that is built already can be used with --exec, or with \"mode\": \"exec\""
)]
pub(crate) struct NoToolchain;

/// A `go` command, with the changes to the environment that it is run with.
#[derive(Clone, Debug)]
pub(crate) struct Toolchain {
    go: PathBuf,
    environment: Vec<(String, Option<String>)>,
}

impl Toolchain {
    /// Looks for `go` in `PATH`, then in `$GOROOT/bin`, then where the official archive (`/usr/local/go`) and
    /// `go install golang.org/dl/...` (`~/sdk/go1.X.Y`, the newest of them) put it.
    ///
    /// `environment` changes the inherited environment for the search and for every command that is run: a name
    /// with a value is set, one without is unset.
    pub(crate) fn find(environment: &[(String, Option<String>)]) -> Result<Toolchain, NoToolchain> {
        let variable = |name: &str| -> Option<OsString> {
            match environment.iter().rev().find(|(changed, _)| changed == name) {
                Some((_, value)) => value.as_ref().map(OsString::from),
                None => std::env::var_os(name),
            }
        };
        let mut directories: Vec<PathBuf> = Vec::new();
        if let Some(path) = variable("PATH") {
            directories.extend(std::env::split_paths(&path).filter(|directory| directory.is_absolute()));
        }
        if let Some(root) = variable("GOROOT") {
            directories.push(Path::new(&root).join("bin"));
        }
        directories.push("/usr/local/go/bin".into());
        if let Some(home) = variable("HOME") {
            directories.extend(newest_first(&Path::new(&home).join("sdk")));
        }
        let go = directories
            .into_iter()
            .map(|directory| directory.join("go"))
            .find(|candidate| is_executable(candidate))
            .ok_or(NoToolchain)?;
        Ok(Toolchain {
            go,
            environment: environment.to_vec(),
        })
    }

    /// The path of the `go` command.
    pub(crate) fn path(&self) -> &Path {
        &self.go
    }

    /// What `go env GOVERSION` says, such as `go1.26.1`; `None` when the command cannot be run.
    pub(crate) fn version(&self) -> Option<String> {
        let output = self.command().args(["env", "GOVERSION"]).output().ok()?;
        let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !version.is_empty()).then_some(version)
    }

    /// A command that runs `go`, without arguments yet.
    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(&self.go);
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        // C code is to be debugged as well, so it must not be optimised; a user who set flags knows better.
        let chosen = self
            .environment
            .iter()
            .any(|(name, value)| name == "CGO_CFLAGS" && value.is_some());
        if !chosen && std::env::var_os("CGO_CFLAGS").is_none_or(|flags| flags.is_empty()) {
            command.env("CGO_CFLAGS", "-O0 -g");
        }
        command
    }
}

/// The `bin` directories below `~/sdk`, those of newer versions first.
fn newest_first(sdk: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(sdk) else {
        return Vec::new();
    };
    let mut found: Vec<(Vec<u32>, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let numbers = name
                .strip_prefix("go")?
                .split('.')
                .map_while(|part| part.parse().ok())
                .collect();
            Some((numbers, entry.path().join("bin")))
        })
        .collect();
    found.sort_by(|left, right| right.cmp(left));
    found.into_iter().map(|(_, directory)| directory).collect()
}

fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_go(directory: &Path, mode: u32) {
        std::fs::create_dir_all(directory).expect("a directory");
        let path = directory.join("go");
        std::fs::write(&path, "#!/bin/sh\necho go1.99.0\n").expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).expect("permissions");
    }

    fn text(path: &Path) -> String {
        path.display().to_string()
    }

    #[test]
    fn path_comes_before_goroot_and_a_file_that_cannot_be_run_is_passed_over() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let (first, second, root) = (
            scratch.path().join("a"),
            scratch.path().join("b"),
            scratch.path().join("root"),
        );
        put_go(&first, 0o644);
        put_go(&second, 0o755);
        put_go(&root.join("bin"), 0o755);
        let environment = [
            (
                "PATH".to_owned(),
                Some(format!("{}:{}", first.display(), second.display())),
            ),
            ("GOROOT".to_owned(), Some(text(&root))),
        ];
        let found = Toolchain::find(&environment).expect("a toolchain");
        assert_eq!(found.path(), second.join("go"));

        let without_path = [("PATH".to_owned(), None), ("GOROOT".to_owned(), Some(text(&root)))];
        let found = Toolchain::find(&without_path).expect("a toolchain");
        assert_eq!(found.path(), root.join("bin/go"));
        assert_eq!(found.version().as_deref(), Some("go1.99.0"));
    }

    #[test]
    fn the_newest_sdk_comes_first_by_number() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        for version in ["go1.9.7", "go1.26.1", "go1.26", "gotip"] {
            put_go(&scratch.path().join(version).join("bin"), 0o755);
        }
        let order = newest_first(scratch.path());
        assert_eq!(order[0], scratch.path().join("go1.26.1/bin"));
        assert_eq!(order[1], scratch.path().join("go1.26/bin"));
        assert_eq!(order[3], scratch.path().join("gotip/bin"));
    }
}
