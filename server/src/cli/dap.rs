//! `dap`: serve one client.

use std::{process::ExitCode, sync::Arc};

use super::arguments::{DapFlags, Global};
use super::guardian;
use crate::go_versions::UnknownVersions;
use crate::{
    dap::{self, Engine, Settings},
    logging,
    transport::{self, Address, Connection, Listener},
};

/// Serves one client, and returns when its session is over.
pub(super) fn run(global: &Global, flags: &DapFlags) -> ExitCode {
    warn_of_what_is_ignored(global, flags);
    guardian::stand_in_front();
    // One thread: what blocks has threads of its own, and each message that went from one thread to another would keep the client waiting.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("could not start the server's threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(serve(global, flags))
}

async fn serve(global: &Global, flags: &DapFlags) -> ExitCode {
    // Handlers come first, so that a signal during the set-up ends the server properly as well.
    let mut interrupted = match super::interrupted() {
        Ok(interrupted) => Box::pin(interrupted),
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    };
    let connection = tokio::select! {
        connection = connect(global, flags) => connection,
        () = &mut interrupted => return ExitCode::SUCCESS,
    };
    let connection = match connection {
        Ok(connection) => connection,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    };
    let mut settings = Settings::default();
    settings.probes.allow_stop_for_logpoints = flags.allow_stop_for_logpoints.then_some(true);
    let engine = Engine {
        unknown_versions: UnknownVersions::checked(global.check_go_version),
        disable_aslr: global.disable_aslr,
    };
    match dap::serve(connection, Arc::new(engine), settings, interrupted).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("could not start the session: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Waits for the client, or calls it.
async fn connect(global: &Global, flags: &DapFlags) -> Result<Connection, String> {
    if !flags.client_addr.is_empty() {
        return transport::dial(&Address::parse(&flags.client_addr))
            .await
            .map_err(|error| error.to_string());
    }
    let listener = Listener::bind(&Address::parse(&global.listen))
        .await
        .map_err(|error| format!("couldn't start listener: {error}"))?;
    logging::announce(&format!("DAP server listening at: {}", listener.local_address()))
        .map_err(|error| format!("could not announce the server's address: {error}"))?;
    if listener.is_remote() {
        tracing::warn!(target: "spelunk::transport", "Listening for remote connections (connections are not authenticated nor encrypted)");
    }
    tracing::debug!(target: "spelunk::dap", "DAP server pid = {}", guardian::visible_pid());
    listener
        .accept(global.only_same_user)
        .await
        .map_err(|error| error.to_string())
}

fn warn_of_what_is_ignored(global: &Global, flags: &DapFlags) {
    let warnings = [
        (global.headless.is_some(), "dap mode is always headless"),
        (
            global.accept_multiclient,
            "accept-multiclient mode not supported with dap",
        ),
        (!global.init.is_empty(), "init file ignored with dap"),
        (
            global.backend != "default",
            "backend ignored with dap; specify via launch/attach request instead",
        ),
        (
            !global.build_flags.is_empty(),
            "build flags ignored with dap; specify via launch/attach request instead",
        ),
        (
            !global.wd.is_empty(),
            "working directory ignored with dap: specify via launch request instead",
        ),
        (!global.redirect.is_empty(), "redirect ignored with dap"),
        (
            !flags.arguments.is_empty(),
            "debug arguments ignored with dap; specify via launch/attach request instead",
        ),
        (
            !flags.target_arguments.is_empty(),
            "program flags ignored with dap; specify via launch/attach request instead",
        ),
    ];
    for (_, warning) in warnings.iter().filter(|(given, _)| *given) {
        eprintln!("Warning: {warning}");
    }
}
