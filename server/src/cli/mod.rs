//! The command line: Delve's commands and flags, in the places and with the words that Delve has for them.

mod arguments;
mod dap;
mod doctor;
mod go_values;
mod guardian;
mod headless;
mod problems;
mod topics;
pub(crate) mod trace;
mod unavailable;
mod version;

use std::{ffi::OsString, path::Path, process::ExitCode};

use clap::{CommandFactory, FromArgMatches};
use tokio::signal::unix::{SignalKind, signal};

use crate::{logging, toolchain};
use arguments::{Arguments, Command};

/// Runs the command that `arguments` name, the program's own name first.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let name = program_name(arguments.first());
    let parser = parser(name);
    let parsed = parser
        .clone()
        .try_get_matches_from(&arguments)
        .and_then(|matches| Arguments::from_arg_matches(&matches));
    match parsed {
        Ok(arguments) => dispatch(name, arguments),
        Err(error) => problems::report(name, &parser, &arguments, &error),
    }
}

/// The parser, under the name that the user typed.
fn parser(name: &'static str) -> clap::Command {
    let usage = format!("{name} trace [package] regexp [flags] [-- program's arguments]");
    Arguments::command()
        .name(name)
        .bin_name(name)
        .mut_subcommand("trace", |trace| trace.override_usage(usage))
}

/// The name to use in messages. Under the name `dlv`, as a link, everything works the same.
fn program_name(argument: Option<&OsString>) -> &'static str {
    let given = argument
        .map(Path::new)
        .and_then(Path::file_name)
        .and_then(|name| name.to_str());
    if given == Some("dlv") { "dlv" } else { "spelunk" }
}

fn dispatch(name: &'static str, arguments: Arguments) -> ExitCode {
    let Arguments { global, command } = arguments;
    let Some(command) = command else {
        return topics::print(&parser(name).render_help().to_string());
    };
    match &command {
        Command::Version(flags) => return version::print(flags.verbose),
        Command::Doctor => return doctor::print(),
        Command::Backend => return topics::print(topics::BACKEND),
        Command::Log => return topics::print(topics::LOG),
        Command::Redirect => return topics::print(topics::REDIRECT),
        Command::Run => return topics::print("This command is deprecated, please use 'debug' instead.\n"),
        Command::SubstitutePathGuessHelper => return print_module_directories(),
        _ => {}
    }
    if let Err(error) = logging::set_up(global.log, &global.log_output, &global.log_dest) {
        eprintln!("{error}");
        return ExitCode::FAILURE;
    }
    match command {
        Command::Dap(flags) => dap::run(&global, &flags),
        Command::Trace(flags) => trace::run(&global, flags),
        Command::Attach(_) | Command::Debug(_) | Command::Exec(_) | Command::Test(_)
            if global.headless == Some(true) =>
        {
            headless::run(&global, command)
        }
        command => unavailable::refuse(name, &command),
    }
}

/// Done when the server is told to end by SIGINT or SIGTERM; both are caught from the call on. An error is a sentence.
fn interrupted() -> Result<impl Future<Output = ()>, String> {
    let failed = |error: std::io::Error| format!("could not set up signal handling: {error}");
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// `substitute-path-guess-helper`: what an editor hands back with `guessSubstitutePath`.
fn print_module_directories() -> ExitCode {
    let printed = toolchain::module_directories()
        .and_then(|directories| serde_json::to_string(&directories).map_err(|error| error.to_string()));
    match printed {
        Ok(line) => topics::print(&format!("{line}\n")),
        Err(error) => {
            println!("ERROR: {error}");
            ExitCode::FAILURE
        }
    }
}
