//! Mistakes in the command line, told as Delve's users know them.

use std::{ffi::OsString, io::Write, process::ExitCode};

use clap::{
    Command,
    error::{ContextKind, ContextValue, ErrorKind},
};

/// Prints help that was asked for, or what is wrong and how the command is used.
///
/// Unlike Delve, which ends successfully after a mistake in its flags, the exit status is 1: a script should notice.
pub(super) fn report(name: &str, parser: &Command, arguments: &[OsString], error: &clap::Error) -> ExitCode {
    if matches!(
        error.kind(),
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand
    ) {
        // If standard output is closed, there is nobody to tell.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    match error.kind() {
        ErrorKind::InvalidSubcommand => {
            let unknown = context(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            tell(&format!(
                "Error: unknown command {unknown:?} for {name:?}\nRun '{name} --help' for usage."
            ));
        }
        _ => {
            tell(&format!(
                "Error: {}\n{}",
                sentence(error),
                usage(name, parser, arguments)
            ));
        }
    }
    ExitCode::FAILURE
}

/// Writes to standard error. If it is closed, there is nobody to tell.
fn tell(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn sentence(error: &clap::Error) -> String {
    let argument = context(error, ContextKind::InvalidArg).unwrap_or_default();
    let flag = argument.split([' ', '=', '[']).next().unwrap_or_default();
    match error.kind() {
        ErrorKind::UnknownArgument => match flag.strip_prefix("--") {
            Some(_) => format!("unknown flag: {flag}"),
            None if flag.starts_with('-') && flag.len() > 1 => {
                let short: String = flag.chars().skip(1).take(1).collect();
                format!("unknown shorthand flag: '{short}' in {flag}")
            }
            None => format!("unexpected argument {flag:?}"),
        },
        // A flag with an empty value in the context is one whose value is missing.
        ErrorKind::InvalidValue if context(error, ContextKind::InvalidValue).is_none_or(|value| value.is_empty()) => {
            format!("flag needs an argument: {flag}")
        }
        ErrorKind::ValueValidation | ErrorKind::InvalidValue => {
            let value = context(error, ContextKind::InvalidValue).unwrap_or_default();
            let why = std::error::Error::source(error)
                .map(ToString::to_string)
                .unwrap_or_default();
            format!("invalid argument {value:?} for {flag:?} flag: {why}")
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.strip_prefix("error: ").unwrap_or(first).to_owned()
        }
    }
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

/// How the command that was meant is used.
fn usage(name: &str, parser: &Command, arguments: &[OsString]) -> String {
    let meant = arguments
        .iter()
        .skip(1)
        .filter_map(|argument| argument.to_str())
        .find_map(|argument| parser.find_subcommand(argument));
    match meant {
        Some(command) => command
            .clone()
            .bin_name(format!("{name} {}", command.get_name()))
            .render_help()
            .to_string(),
        None => parser.clone().render_help().to_string(),
    }
}
