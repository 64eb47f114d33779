//! Building a program or a test to be debugged.

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    process::{Command, ExitStatus, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};

use super::{BuildFlags, NoToolchain, Toolchain};

/// What is to be built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BuildKind {
    /// A main package, by `go build`.
    Program,
    /// A package's tests, by `go test -c`.
    Test,
}

/// One build, ready to be run.
#[derive(Clone, Debug)]
pub(crate) struct Build {
    /// What is to be built.
    pub(crate) kind: BuildKind,
    /// Packages or files, as `go build` takes them; none for the package in the working directory.
    pub(crate) packages: Vec<String>,
    /// Further flags.
    pub(crate) flags: BuildFlags,
    /// Where the binary goes.
    pub(crate) output: PathBuf,
    /// The directory the toolchain runs in; the debugger's own when absent.
    pub(crate) directory: Option<PathBuf>,
    /// Changes to the inherited environment.
    pub(crate) environment: Vec<(String, Option<String>)>,
}

/// Why there is no binary.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BuildError {
    /// No `go` command.
    #[error(transparent)]
    NoToolchain(#[from] NoToolchain),
    /// `go` could not be run.
    #[error("could not run {path}: {source}")]
    Run {
        /// The command's path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The compiler refused the program.
    #[error("{status}")]
    Failed {
        /// What was run.
        command: String,
        /// What it wrote to standard output and standard error, in the order written; empty when it went to the terminal.
        output: String,
        /// In Go's words, such as `exit status 1`.
        status: String,
    },
    /// No place for the binary.
    #[error(
        "could not create a file for the binary in {directory}: {source}; name one with --output, or with the \"output\" attribute"
    )]
    Output {
        /// Where it was to go.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A binary that was built for a session, and is removed with it.
#[derive(Debug)]
pub(crate) struct Binary {
    path: PathBuf,
}

impl Binary {
    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Binary {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.path)
            && error.kind() != io::ErrorKind::NotFound
        {
            eprintln!("could not remove {}: {error}", self.path.display());
        }
    }
}

impl Build {
    /// Reserves an unused name in `directory`: `prefix` and a number, as `__debug_bin3170286434`.
    ///
    /// The file exists when this returns, so that two sessions never share it.
    pub(crate) fn reserve_output(directory: &Path, prefix: &str) -> Result<PathBuf, BuildError> {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut number = since_epoch.subsec_nanos() ^ std::process::id().rotate_left(16);
        loop {
            let path = directory.join(format!("{prefix}{number}"));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(_) => return Ok(path),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number = number.wrapping_add(1),
                Err(source) => {
                    return Err(BuildError::Output {
                        directory: directory.to_owned(),
                        source,
                    });
                }
            }
        }
    }

    /// The arguments for `go`.
    fn arguments(&self) -> Vec<String> {
        let (front, rest) = self.flags.split();
        let mut arguments = match self.kind {
            BuildKind::Program => vec!["build".to_owned()],
            BuildKind::Test => vec!["test".to_owned(), "-c".to_owned()],
        };
        arguments.extend(front);
        arguments.extend(["-o".to_owned(), self.output.display().to_string()]);
        arguments.extend(["-gcflags".to_owned(), "all=-N -l".to_owned()]);
        arguments.extend(rest);
        arguments.extend(self.packages.iter().cloned());
        arguments
    }

    /// The command as a user would read it.
    pub(crate) fn command_line(&self) -> String {
        format!("go {}", self.arguments().join(" "))
    }

    fn command(&self) -> Result<Command, NoToolchain> {
        let mut command = Toolchain::find(&self.environment)?.command();
        command.args(self.arguments());
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        Ok(command)
    }

    /// Builds, with the compiler's messages going to the debugger's own standard output and standard error.
    pub(crate) fn run(&self) -> Result<Binary, BuildError> {
        // The guard also removes what a failed build leaves behind.
        let binary = Binary {
            path: self.output.clone(),
        };
        let mut command = self.command()?;
        let status = command
            .stdin(Stdio::null())
            .status()
            .map_err(|source| BuildError::Run {
                path: command.get_program().into(),
                source,
            })?;
        self.outcome(status, String::new()).map(|()| binary)
    }

    /// Builds into the place of what was built before, as [`Build::run_quietly`]. The old file stays in use until its process is gone. The error is what the
    /// client of a restart should read.
    pub(crate) async fn rebuild_quietly(&self) -> Result<(), String> {
        let mut beside = self.clone();
        beside.output.as_mut_os_string().push(".new");
        match beside.run_quietly().await {
            Ok(_binary) => std::fs::rename(&beside.output, &self.output)
                .map_err(|error| format!("could not replace {}: {error}", self.output.display())),
            Err(BuildError::Failed { output, status, .. }) => {
                Err(format!("could not rebuild process: {status}\n{}", output.trim()))
            }
            Err(error) => Err(format!("could not rebuild process: {error}")),
        }
    }

    /// Builds without blocking the caller's thread, and keeps the compiler's messages for [`BuildError::Failed`].
    /// A build that is dropped is killed.
    pub(crate) async fn run_quietly(&self) -> Result<Binary, BuildError> {
        let binary = Binary {
            path: self.output.clone(),
        };
        let mut command = self.command()?;
        let path = PathBuf::from(command.get_program());
        let failed = |source| BuildError::Run {
            path: path.clone(),
            source,
        };
        let (mut reader, writer) = io::pipe().map_err(failed)?;
        let duplicate = writer.try_clone().map_err(failed)?;
        command.stdin(Stdio::null()).stdout(duplicate).stderr(writer);
        let mut child = {
            let mut command = tokio::process::Command::from(command);
            command.kill_on_drop(true);
            // The command holds the pipe's write ends, and has to go before the reader can see the end.
            command.spawn().map_err(failed)?
        };
        let output = tokio::task::spawn_blocking(move || {
            let mut output = Vec::new();
            io::Read::read_to_end(&mut reader, &mut output).map(|_| output)
        });
        let status = child.wait().await.map_err(failed)?;
        let output = output
            .await
            .map_err(io::Error::other)
            .and_then(|read| read)
            .map_err(failed)?;
        self.outcome(status, String::from_utf8_lossy(&output).into_owned())
            .map(|()| binary)
    }

    fn outcome(&self, status: ExitStatus, output: String) -> Result<(), BuildError> {
        if status.success() {
            return Ok(());
        }
        let status = match status.code() {
            Some(code) => format!("exit status {code}"),
            None => status.to_string(),
        };
        Err(BuildError::Failed {
            command: self.command_line(),
            output,
            status,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(kind: BuildKind, flags: &str) -> Build {
        Build {
            kind,
            packages: vec!["./cmd".to_owned()],
            flags: BuildFlags::Text(flags.to_owned()),
            output: "/tmp/out".into(),
            directory: None,
            environment: Vec::new(),
        }
    }

    #[test]
    fn command_lines_are_those_of_delve() {
        assert_eq!(
            build(BuildKind::Program, "-tags x").command_line(),
            "go build -o /tmp/out -gcflags all=-N -l -tags x ./cmd"
        );
        assert_eq!(
            build(BuildKind::Test, "").command_line(),
            "go test -c -o /tmp/out -gcflags all=-N -l ./cmd"
        );
    }

    #[test]
    fn reserved_names_differ_and_exist() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        let first = Build::reserve_output(scratch.path(), "__debug_bin").expect("a name");
        let second = Build::reserve_output(scratch.path(), "__debug_bin").expect("a name");
        assert_ne!(first, second);
        assert!(first.exists() && second.exists());
        let name = first.file_name().and_then(|name| name.to_str()).expect("a name");
        assert!(
            name.trim_start_matches("__debug_bin")
                .bytes()
                .all(|byte| byte.is_ascii_digit()),
            "{name}"
        );
    }

    #[test]
    fn a_directory_that_cannot_be_written_is_named() {
        let error = Build::reserve_output(Path::new("/does/not/exist"), "x").expect_err("no such directory");
        assert!(error.to_string().contains("/does/not/exist"), "{error}");
    }

    #[tokio::test]
    async fn a_failed_build_shows_the_compilers_words_and_leaves_no_file() {
        let scratch = tempfile::tempdir().expect("a scratch directory");
        // A stand-in for `go` that fails as the compiler does: the test is about our half, and needs no toolchain.
        let bin = scratch.path().join("bin");
        std::fs::create_dir(&bin).expect("a directory");
        let go = bin.join("go");
        std::fs::write(
            &go,
            "#!/bin/sh\necho '# command-line-arguments'\necho './x.go:2:15: declared and not used: x' >&2\nexit 1\n",
        )
        .expect("a script");
        std::fs::set_permissions(&go, std::os::unix::fs::PermissionsExt::from_mode(0o755)).expect("permissions");
        let output = Build::reserve_output(scratch.path(), "__debug_bin").expect("a name");
        let mut build = build(BuildKind::Program, "");
        build.output.clone_from(&output);
        build.environment = vec![("PATH".to_owned(), Some(format!("{}:/usr/bin:/bin", bin.display())))];
        match build.run_quietly().await {
            Err(BuildError::Failed { output, status, .. }) => {
                assert_eq!(
                    output,
                    "# command-line-arguments\n./x.go:2:15: declared and not used: x\n"
                );
                assert_eq!(status, "exit status 1");
            }
            other => panic!("{other:?}"),
        }
        assert!(!output.exists());
    }
}
