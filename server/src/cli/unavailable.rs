//! Commands of Delve that this version does not have. Each says so in one sentence.

use std::process::ExitCode;

use super::arguments::{Command, Global};

/// Refuses a command, after the mistakes that Delve would report first.
pub(super) fn refuse(name: &str, global: &Global, command: &Command) -> ExitCode {
    let how = if global.headless == Some(true) {
        "the headless server"
    } else {
        "the interactive terminal"
    };
    let (mistake, what, instead) = match command {
        Command::Attach(flags) => {
            let pid = flags.arguments.first();
            let mistake = match pid {
                None if flags.waitfor.is_empty() => Some("Error: you must provide a PID".to_owned()),
                Some(pid) if pid.parse::<i32>().is_err() => Some(format!("Invalid pid: {pid}")),
                _ => None,
            };
            (
                mistake,
                "attach",
                format!(
                    "`{name} trace -p PID REGEXP` traces a running process, and `{name} dap` lets an editor attach to it"
                ),
            )
        }
        Command::Exec(flags) => {
            let mistake = flags
                .target
                .arguments
                .is_empty()
                .then(|| "Error: you must provide a path to a binary".to_owned());
            (
                mistake,
                "exec",
                format!(
                    "`{name} trace --exec BINARY REGEXP` traces a binary, and `{name} dap` lets an editor launch it"
                ),
            )
        }
        Command::Debug(_) => (
            None,
            "debug",
            format!(
                "`{name} trace PACKAGE REGEXP` builds and traces, and `{name} dap` lets an editor build and launch"
            ),
        ),
        Command::Test(_) => (
            None,
            "test",
            format!(
                "`{name} trace --test PACKAGE REGEXP` builds and traces tests, and `{name} dap` lets an editor launch them"
            ),
        ),
        Command::Connect(flags) => {
            let mistake = flags
                .arguments
                .is_empty()
                .then(|| "Error: you must provide an address as the first argument".to_owned());
            (mistake, "connect", format!("`{name} dap` serves editors"))
        }
        Command::Core(flags) => {
            let mistake = (flags.arguments.len() != 2)
                .then(|| "Error: you must provide a core file and an executable".to_owned());
            (
                mistake,
                "core",
                format!("`{name} trace` and `{name} dap` work on running programs"),
            )
        }
        _ => (
            None,
            "replay",
            format!("`{name} trace` and `{name} dap` work on running programs"),
        ),
    };
    if let Some(mistake) = mistake {
        eprintln!("{mistake}");
        return ExitCode::FAILURE;
    }
    match command {
        Command::Core(_) | Command::Replay(_) => {
            eprintln!("`{name} {what}` is not available in this version of spelunk; {instead}.");
        }
        Command::Connect(_) => eprintln!(
            "`{name} {what}` needs the interactive terminal, which is not available in this version of spelunk; {instead}."
        ),
        _ => eprintln!("`{name} {what}` needs {how}, which is not available in this version of spelunk; {instead}."),
    }
    ExitCode::FAILURE
}
