//! `launch`: build the program if need be, and start it.

use std::path::{Path, PathBuf};

use dap::{
    events::{Event as DapEvent, ProcessEventBody},
    types::{OutputEventCategory, ProcessEventStartMethod},
};

use super::no_debug;
use crate::{
    dap::{
        config::LaunchConfig,
        debuggee::{Debuggee, Origin},
        errors::FAILED_TO_LAUNCH,
        message::Request,
        outgoing::NO_BODY,
        session::{Phase, Session},
    },
    debugger::{LaunchSpec, check_backend, check_launch, go_reason},
    toolchain::{self, Build, BuildError, BuildKind, Toolchain},
};

/// Why a launch failed.
pub(super) enum LaunchFailure {
    /// A sentence that the client should show.
    Refused(String),
    /// The compiler's words are on the console already.
    Build,
}

impl From<String> for LaunchFailure {
    fn from(text: String) -> LaunchFailure {
        LaunchFailure::Refused(text)
    }
}

impl Session {
    /// Answers `launch`.
    pub(super) async fn on_launch(&mut self, request: &Request) {
        if self.debuggee().is_some() || self.host.is_some() {
            let text = format!(
                "debug session already in progress at {} - use remote attach mode to connect to a server with an active debug session",
                self.address
            );
            return self.out.refuse_visibly(request, FAILED_TO_LAUNCH, &text);
        }
        let Err(failure) = self.launch(request).await else {
            return;
        };
        self.binary = None;
        match failure {
            LaunchFailure::Refused(text) => self.out.refuse_visibly(request, FAILED_TO_LAUNCH, &text),
            LaunchFailure::Build => self.out.refuse(
                request,
                FAILED_TO_LAUNCH,
                "Build error: Check the debug console for details.",
            ),
        }
    }

    async fn launch(&mut self, request: &Request) -> Result<(), LaunchFailure> {
        let config =
            LaunchConfig::read(&request.arguments).map_err(|error| format!("invalid debug configuration - {error}"))?;
        if !config.dlv_cwd.is_empty() {
            self.directory = change_directory(&self.directory, &config.dlv_cwd)?;
        }
        check_mode(&config)?;
        let remote_output = match config.output_mode.as_str() {
            "" | "local" => false,
            "remote" => true,
            other => {
                return Err(
                    format!("invalid debug configuration - unsupported 'outputMode' attribute {other:?}").into(),
                );
            }
        };
        if remote_output && !(config.stdout_to.is_empty() && config.stderr_to.is_empty()) {
            return Err(
                "output == \"remote\" can not be used together with stdoutTo or stderrTo"
                    .to_owned()
                    .into(),
            );
        }

        let build = self.prepare_build(&config)?;
        if let Some(build) = &build {
            self.build(build).await?;
        }
        let program = match &build {
            Some(build) => build.output.clone(),
            None => self.directory.join(&config.program),
        };
        let spec = LaunchSpec {
            program,
            args: config.args.clone(),
            env: config.env.clone(),
            cwd: Some(self.working_directory(&config).await),
            capture_output: remote_output,
            redirect: [&config.stdin_from, &config.stdout_to, &config.stderr_to]
                .map(|file| (!file.is_empty()).then(|| self.directory.join(file))),
            ..LaunchSpec::default()
        };

        if config.no_debug {
            let process = no_debug::start(&spec, &config, &mut self.events)?;
            self.phase = Phase::NoDebug(process);
            self.out.respond(request, NO_BODY);
            return Ok(());
        }
        check_backend(&config.common.backend).map_err(could_not_launch)?;
        self.start(&spec).await?;
        let pid = self.debuggee().map_or(0, |debuggee| debuggee.pid);
        if let Some(debuggee) = self.debuggee() {
            debuggee.stop_on_entry = config.common.stop_on_entry;
            debuggee.origin = Origin::Launched {
                spec: Box::new(spec.clone()),
                build: build.map(Box::new),
            };
        }
        self.settings.configure(&config.common);
        self.limit_probes().await.map_err(could_not_launch)?;
        self.out.event(&DapEvent::Process(ProcessEventBody {
            name: command_line(&spec),
            system_process_id: Some(i64::from(pid)),
            is_local_process: Some(true),
            start_method: Some(ProcessEventStartMethod::Launch),
            pointer_size: None,
        }));
        if config.common.follow_exec
            && let Err(why) = self.follow_children().await
        {
            self.out.output(
                OutputEventCategory::Important,
                format!("Failed to enable follow exec: {why}\n"),
            );
        }
        self.out.event(&DapEvent::Initialized);
        self.out.respond(request, NO_BODY);
        Ok(())
    }

    /// What has to be built before the program can be started.
    fn prepare_build(&self, config: &LaunchConfig) -> Result<Option<Build>, LaunchFailure> {
        let kind = match config.mode.as_str() {
            "debug" => BuildKind::Program,
            "test" => BuildKind::Test,
            _ => return Ok(None),
        };
        let output = if config.output.is_empty() {
            Build::reserve_output(&self.directory, "__debug_bin").map_err(|error| error.to_string())?
        } else {
            self.directory.join(&config.output)
        };
        Ok(Some(Build {
            kind,
            packages: vec![config.program.clone()],
            flags: config.build_flags.clone(),
            output,
            directory: Some(self.directory.clone()),
            environment: config.env.clone(),
        }))
    }

    /// Builds, and shows the compiler's words if it fails. The session owns the binary then.
    pub(super) async fn build(&mut self, build: &Build) -> Result<(), LaunchFailure> {
        let what = build.packages.join(" ");
        self.out.output(
            OutputEventCategory::Stdout,
            match build.kind {
                BuildKind::Program => format!("Building {what}\n"),
                BuildKind::Test => format!("Building tests of {what}\n"),
            },
        );
        // The user should see it while it happens. If the client is gone, the build is given up below.
        let _ = self.out.flush().await;
        let built = tokio::select! {
            built = build.run_quietly() => built,
            () = self.gone.cancelled() => return Err("the client hung up during the build".to_owned().into()),
        };
        match built {
            Ok(binary) => {
                self.binary = Some(binary);
                Ok(())
            }
            Err(BuildError::Failed {
                command,
                output,
                status,
            }) => {
                self.out.output(
                    OutputEventCategory::Stderr,
                    format!("Build Error: {command}\n{} ({status})\n", output.trim()),
                );
                Err(LaunchFailure::Build)
            }
            Err(error) => {
                self.out.output(
                    OutputEventCategory::Stderr,
                    format!("Build Error: {}\n{error}\n", build.command_line()),
                );
                Err(error.to_string().into())
            }
        }
    }

    /// The program's working directory: as configured, else a test's package, else our own.
    async fn working_directory(&self, config: &LaunchConfig) -> PathBuf {
        if !config.cwd.is_empty() {
            return self.directory.join(&config.cwd);
        }
        if config.mode == "test"
            && let Ok(go) = Toolchain::find(&config.env)
        {
            let (package, from) = (config.program.clone(), self.directory.clone());
            let found = tokio::task::spawn_blocking(move || toolchain::directory_of(&go, &package, Some(&from))).await;
            if let Ok(Some(directory)) = found {
                return directory;
            }
        }
        self.directory.clone()
    }

    /// Starts a program, held before its first instruction.
    pub(super) async fn start(&mut self, spec: &LaunchSpec) -> Result<(), LaunchFailure> {
        check_launch(spec).map_err(could_not_launch)?;
        let sender = self.events.connect();
        let (launcher, wanted) = (self.launcher.clone(), spec.clone());
        let launched = self
            .call(move |target| {
                launcher.launch(&wanted, sender).map(|new| {
                    let pid = new.pid();
                    *target = Some(new);
                    pid
                })
            })
            .await;
        let pid = match launched {
            Ok(Ok(pid)) => pid,
            Ok(Err(error)) => return Err(could_not_launch(error)),
            Err(gone) => return Err(could_not_launch(gone)),
        };
        let origin = Origin::Launched {
            spec: Box::new(spec.clone()),
            build: None,
        };
        self.phase = Phase::Debugging(Box::new(Debuggee::new(pid, origin)));
        Ok(())
    }
}

fn could_not_launch(reason: impl std::fmt::Display) -> LaunchFailure {
    const WHAT: &str = "could not launch process: ";
    let reason = reason.to_string();
    // The debugger begins its own sentences with what it attempted.
    let reason = reason.strip_prefix(WHAT).unwrap_or(&reason);
    LaunchFailure::Refused(format!("{WHAT}{reason}"))
}

/// Which modes there are, and what each needs.
fn check_mode(config: &LaunchConfig) -> Result<(), LaunchFailure> {
    if !matches!(config.mode.as_str(), "exec" | "debug" | "test" | "replay" | "core") {
        return Err(format!(
            "invalid debug configuration - unsupported 'mode' attribute {:?}",
            config.mode
        )
        .into());
    }
    if config.program.is_empty() && config.mode != "replay" {
        return Err("The program attribute is missing in debug configuration."
            .to_owned()
            .into());
    }
    match config.mode.as_str() {
        "replay" if config.trace_dir_path.is_empty() => {
            Err("The 'traceDirPath' attribute is missing in debug configuration."
                .to_owned()
                .into())
        }
        "replay" => Err("backend unavailable: spelunk does not replay recordings of rr"
            .to_owned()
            .into()),
        "core" if config.core_file_path.is_empty() => {
            Err("The 'coreFilePath' attribute is missing in debug configuration."
                .to_owned()
                .into())
        }
        "core" => Err("core files are not available in this version of spelunk"
            .to_owned()
            .into()),
        _ => Ok(()),
    }
}

/// A directory to work in, or why not, in Delve's words.
fn change_directory(from: &Path, to: &str) -> Result<PathBuf, String> {
    let wanted = from.join(to);
    let failed = |error: &std::io::Error| format!("failed to chdir to {to:?} - chdir {to}: {}", go_reason(error));
    let directory = wanted.canonicalize().map_err(|error| failed(&error))?;
    std::fs::read_dir(&directory).map_err(|error| failed(&error))?;
    Ok(directory)
}

/// The program and its arguments, as the process event names them.
fn command_line(spec: &LaunchSpec) -> String {
    let mut line = spec.program.display().to_string();
    for argument in &spec.args {
        line.push(' ');
        line.push_str(argument);
    }
    line
}
