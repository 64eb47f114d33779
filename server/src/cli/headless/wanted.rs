//! What the command line asks for, checked as far as it can be before anything happens.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use spelunk_dwarf::DebugDirectories;

use super::super::arguments::{AttachFlags, Command, Global, TargetFlags};
use super::redirects;
use crate::debugger::LaunchSpec;
use crate::go_versions::UnknownVersions;
use crate::toolchain::{self, Binary, Build, BuildFlags, BuildKind, Toolchain};

/// The files of `-r`, or why they are none.
type Redirects = Result<[Option<PathBuf>; 3], String>;

/// What the command line asks for.
#[derive(Debug)]
pub(super) struct Wanted {
    /// What is to be debugged.
    pub(super) target: Target,
    /// Whether it is to run before a client comes.
    pub(super) continues: bool,
}

/// What is to be debugged.
#[derive(Debug)]
pub(super) enum Target {
    /// A program that is started.
    Launch(Launch),
    /// One that runs.
    Attach(Attach),
}

/// A program to be started.
#[derive(Debug)]
pub(super) struct Launch {
    /// The executable, or what it is built from.
    source: Source,
    args: Vec<String>,
    redirect: [Option<PathBuf>; 3],
    terminal: Option<PathBuf>,
}

#[derive(Debug, PartialEq, Eq)]
enum Source {
    Executable(PathBuf),
    Packages {
        kind: BuildKind,
        packages: Vec<String>,
        output: Option<PathBuf>,
    },
}

/// A process that runs, or will.
#[derive(Debug, PartialEq)]
pub(super) enum Attach {
    /// Its number.
    Pid(i32),
    /// The first process whose command line begins so.
    Waiting {
        /// How it begins.
        prefix: String,
        /// How long to wait between looks.
        every: Duration,
        /// When to give up; never when absent.
        until: Option<Instant>,
    },
}

impl Wanted {
    /// Reads the command line; an error is a sentence in Delve's words.
    pub(super) fn read(global: &Global, command: Command) -> Result<Wanted, String> {
        let redirect = redirects::read(&global.redirect);
        let (target, continues) = match command {
            Command::Attach(flags) => {
                let continues = flags.continue_on_start;
                (Target::Attach(attach(flags)?), continues)
            }
            Command::Exec(flags) => {
                let TargetFlags {
                    arguments,
                    target_arguments,
                    continue_on_start,
                    tty,
                    ..
                } = flags.target;
                let mut all = arguments.into_iter().chain(target_arguments);
                let program = all.next().ok_or("Error: you must provide a path to a binary")?;
                let source = Source::Executable(program.into());
                (launch(source, all.collect(), &redirect, &tty)?, continue_on_start)
            }
            Command::Debug(flags) => {
                let source = Source::Packages {
                    kind: BuildKind::Program,
                    packages: flags.target.arguments,
                    output: (!flags.output.is_empty()).then(|| flags.output.into()),
                };
                let args = flags.target.target_arguments;
                (
                    launch(source, args, &redirect, &flags.target.tty)?,
                    flags.target.continue_on_start,
                )
            }
            Command::Test(flags) => {
                let source = Source::Packages {
                    kind: BuildKind::Test,
                    packages: flags.arguments,
                    output: (!flags.output.is_empty()).then(|| flags.output.into()),
                };
                (launch(source, flags.target_arguments, &redirect, "")?, false)
            }
            _ => return Err("Error: this command has no headless mode".to_owned()),
        };
        if continues && !global.accept_multiclient {
            return Err("Error: --continue requires --accept-multiclient".to_owned());
        }
        redirect?;
        Ok(Wanted { target, continues })
    }
}

fn launch(source: Source, args: Vec<String>, redirect: &Redirects, tty: &str) -> Result<Target, String> {
    let is_redirected = !matches!(redirect, Ok([None, None, None]));
    if is_redirected && !tty.is_empty() {
        return Err("Can not use -r and --tty together".to_owned());
    }
    Ok(Target::Launch(Launch {
        source,
        args,
        redirect: redirect.clone().unwrap_or_default(),
        terminal: (!tty.is_empty()).then(|| tty.into()),
    }))
}

fn attach(flags: AttachFlags) -> Result<Attach, String> {
    if let Some(pid) = flags.arguments.first() {
        let number = pid.parse().map_err(|_| format!("Invalid pid: {pid}"))?;
        return Ok(Attach::Pid(number));
    }
    if flags.waitfor.is_empty() {
        return Err("Error: you must provide a PID".to_owned());
    }
    // Both are milliseconds, as in Delve.
    let interval = Duration::try_from_secs_f64(flags.waitfor_interval / 1000.0).unwrap_or_default();
    let duration = Duration::try_from_secs_f64(flags.waitfor_duration / 1000.0).unwrap_or_default();
    Ok(Attach::Waiting {
        prefix: flags.waitfor,
        every: interval.max(Duration::from_millis(1)),
        until: (!duration.is_zero())
            .then(|| Instant::now().checked_add(duration))
            .flatten(),
    })
}

impl Launch {
    /// Builds what is to be built; the compiler's words go to standard error and output.
    pub(super) async fn build(&self, flags: &str) -> Result<Option<(Build, Binary)>, String> {
        let Source::Packages { kind, packages, output } = &self.source else {
            return Ok(None);
        };
        let here = std::env::current_dir().map_err(|error| format!("could not find the working directory: {error}"))?;
        let prefix = match kind {
            BuildKind::Program => "__debug_bin",
            BuildKind::Test => "debug.test",
        };
        let output = match output {
            Some(output) => here.join(output),
            None => Build::reserve_output(&here, prefix).map_err(|error| error.to_string())?,
        };
        let build = Build {
            kind: *kind,
            packages: packages.clone(),
            flags: if flags.is_empty() {
                BuildFlags::None
            } else {
                BuildFlags::Text(flags.to_owned())
            },
            output,
            directory: None,
            environment: Vec::new(),
        };
        let built = build.clone();
        let binary = tokio::task::spawn_blocking(move || built.run())
            .await
            .map_err(|error| error.to_string())?
            .map_err(|error| error.to_string())?;
        Ok(Some((build, binary)))
    }

    /// How the program is started; `built` is what it was built into.
    pub(super) async fn spec(&self, global: &Global, built: Option<&Path>) -> Result<LaunchSpec, String> {
        let program = match (&self.source, built) {
            (Source::Executable(path), _) => path,
            (_, Some(path)) => path,
            (Source::Packages { .. }, None) => return Err("could not launch process: nothing was built".to_owned()),
        };
        // The program is known by its absolute path, as Delve has it.
        let program = std::path::absolute(program).map_err(|error| format!("could not launch process: {error}"))?;
        Ok(LaunchSpec {
            program,
            args: self.args.clone(),
            env: Vec::new(),
            cwd: self.directory(global).await,
            capture_output: global.capture_output,
            redirect: self.redirect.clone(),
            inherit_stdin: true,
            terminal: self.terminal.clone(),
            disable_aslr: global.disable_aslr,
            debug_directories: DebugDirectories::default(),
            unknown_versions: UnknownVersions::checked(global.check_go_version),
        })
    }

    /// The directory that the program runs in: a test's is that of its package, as under `go test`.
    async fn directory(&self, global: &Global) -> Option<PathBuf> {
        if !global.wd.is_empty() {
            return Some(global.wd.clone().into());
        }
        let Source::Packages {
            kind: BuildKind::Test,
            packages,
            ..
        } = &self.source
        else {
            return None;
        };
        let package = packages.first().map_or(".", String::as_str).to_owned();
        let found = tokio::task::spawn_blocking(move || {
            let go = Toolchain::find(&[]).ok()?;
            toolchain::directory_of(&go, &package, None)
        });
        found.await.ok().flatten()
    }

    /// The command line, for the log.
    pub(super) fn command_line(&self, spec: &LaunchSpec) -> Vec<String> {
        let program = spec.program.display().to_string();
        std::iter::once(program).chain(self.args.iter().cloned()).collect()
    }
}
