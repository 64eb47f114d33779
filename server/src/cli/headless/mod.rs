//! `debug`, `test`, `exec` and `attach` with `--headless`: one target behind one port, for every client that comes.

mod clients;
mod echo;
mod redirects;
mod wanted;

use std::process::ExitCode;
use std::sync::Arc;

use super::arguments::{Command, Global};
use super::guardian;
use crate::debugger::{check_backend, check_launch};
use crate::go_versions::UnknownVersions;
use crate::host::{Host, Origin, Recipe};
use crate::logging;
use crate::process::{existing, process_with_prefix};
use crate::toolchain::Binary;
use crate::transport::{Address, Listener};
use clients::Clients;
use wanted::{Attach, Launch, Target, Wanted};

/// How long blocked threads may take to notice that all is over.
const LAST_THREADS: std::time::Duration = std::time::Duration::from_secs(2);

/// Checks the command line, and serves.
pub(super) fn run(global: &Global, command: Command) -> ExitCode {
    let wanted = match Wanted::read(global, command) {
        Ok(wanted) => wanted,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    };
    if !global.init.is_empty() {
        eprintln!("Warning: init file ignored with --headless");
    }
    guardian::stand_in_front();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("could not start the server's threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(serve(global, wanted));
    runtime.shutdown_timeout(LAST_THREADS);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            match failure {
                Failure::Told(text) => println!("{text}"),
                Failure::Warned(text) => eprintln!("{text}"),
            }
            ExitCode::FAILURE
        }
    }
}

/// Why there is nothing to serve.
enum Failure {
    /// For standard output, as Delve has it.
    Told(String),
    /// For standard error.
    Warned(String),
}

async fn serve(global: &Global, wanted: Wanted) -> Result<(), Failure> {
    // Handlers come first, so that a signal during the set-up ends the server properly as well.
    let mut interrupted = Box::pin(super::interrupted().map_err(Failure::Warned)?);
    let begun = tokio::select! {
        begun = begin(global, wanted) => begun,
        () = &mut interrupted => return Ok(()),
    };
    let Begun { clients, binary } = begun?;
    clients.serve(interrupted).await;
    drop(binary);
    Ok(())
}

/// What is served, and the file that was built for it.
struct Begun {
    clients: Clients,
    binary: Option<Arc<Binary>>,
}

/// Builds, listens, and brings the target about, in this order, which is Delve's.
async fn begin(global: &Global, wanted: Wanted) -> Result<Begun, Failure> {
    let warned = Failure::Warned;
    let built = match &wanted.target {
        Target::Launch(launch) => launch.build(&global.build_flags).await.map_err(warned)?,
        Target::Attach(_) => None,
    };
    let binary = built.map(|(build, binary)| (Arc::new(build), Arc::new(binary)));
    let listener = Listener::bind(&Address::parse(&global.listen))
        .await
        .map_err(|error| Failure::Told(format!("couldn't start listener: {error}")))?;
    if !(1..=2).contains(&global.api_version) {
        return Err(Failure::Told(format!("Unknown API version: {}", global.api_version)));
    }
    logging::announce(&format!("API server listening at: {}", listener.local_address()))
        .map_err(|error| warned(format!("could not announce the server's address: {error}")))?;
    if listener.is_remote() {
        tracing::warn!(target: "spelunk::transport", "Listening for remote connections (connections are not authenticated nor encrypted)");
    }
    tracing::debug!(target: "spelunk::transport", "API server pid = {}", guardian::visible_pid());
    if global.api_version != 2 {
        return Err(warned("unknown API version".to_owned()));
    }
    let kept = binary.clone().map(|(_, binary)| binary);
    let origin = match wanted.target {
        Target::Launch(launch) => launched(global, launch, binary).await.map_err(warned)?,
        Target::Attach(attach) => attached(global, &attach).await.map_err(warned)?,
    };
    let host = Host::open(Recipe { origin }, global.accept_multiclient, wanted.continues).await;
    let host = host.map_err(|error| warned(error.to_string()))?;
    Ok(Begun {
        clients: Clients::new(listener, host, global, wanted.continues),
        binary: kept,
    })
}

async fn launched(
    global: &Global,
    launch: Launch,
    built: Option<(Arc<crate::toolchain::Build>, Arc<Binary>)>,
) -> Result<Origin, String> {
    let (build, binary) = built.unzip();
    let spec = launch.spec(global, binary.as_deref().map(Binary::path)).await?;
    check_backend(&global.backend)
        .and_then(|()| check_launch(&spec))
        .map_err(|error| format!("could not launch process: {error}"))?;
    tracing::info!(target: "spelunk::debugger", "launching process with args: [{}]", launch.command_line(&spec).join(" "));
    Ok(Origin::Launch {
        spec: Box::new(spec),
        build,
        binary,
    })
}

async fn attached(global: &Global, attach: &Attach) -> Result<Origin, String> {
    let pid = match attach {
        Attach::Pid(pid) => *pid,
        Attach::Waiting { prefix, every, until } => loop {
            if let Some(pid) = process_with_prefix(prefix) {
                break pid;
            }
            if until.is_some_and(|until| std::time::Instant::now() >= until) {
                return Err("could not attach to pid 0: waitfor duration expired".to_owned());
            }
            tokio::time::sleep(*every).await;
        },
    };
    let failed = |error: String| format!("could not attach to pid {pid}: {error}");
    check_backend(&global.backend).map_err(failed)?;
    tracing::info!(target: "spelunk::debugger", "attaching to pid {pid}");
    existing(i64::from(pid)).ok_or_else(|| failed("no such process".to_owned()))?;
    Ok(Origin::Attach {
        pid,
        unknown_versions: UnknownVersions::checked(global.check_go_version),
    })
}
