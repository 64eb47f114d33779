//! Commands of Delve that this version does not have. Each says so in one sentence.

use std::process::ExitCode;

use super::arguments::Command;

/// Refuses a command, after the mistakes that Delve would report first.
pub(super) fn refuse(name: &str, command: &Command) -> ExitCode {
    let continues = match command {
        Command::Attach(flags) => flags.continue_on_start,
        Command::Exec(flags) => flags.target.continue_on_start,
        Command::Debug(flags) => flags.target.continue_on_start,
        _ => false,
    };
    if continues {
        eprintln!("Error: --continue only works with --headless; use an init file");
        return ExitCode::FAILURE;
    }
    let headless =
        |command: &str| format!("`{name} {command} --headless` serves editors and `dlv connect`, which has a terminal");
    let (mistake, what, instead) = match command {
        Command::Attach(flags) => {
            let pid = flags.arguments.first();
            let mistake = match pid {
                None if flags.waitfor.is_empty() => Some("Error: you must provide a PID".to_owned()),
                Some(pid) if pid.parse::<i32>().is_err() => Some(format!("Invalid pid: {pid}")),
                _ => None,
            };
            (mistake, "attach", headless("attach"))
        }
        Command::Exec(flags) => {
            let arguments = (&flags.target.arguments, &flags.target.target_arguments);
            let mistake = (arguments.0.is_empty() && arguments.1.is_empty())
                .then(|| "Error: you must provide a path to a binary".to_owned());
            (mistake, "exec", headless("exec"))
        }
        Command::Debug(_) => (None, "debug", headless("debug")),
        Command::Test(_) => (None, "test", headless("test")),
        Command::Connect(flags) => {
            let mistake = flags
                .arguments
                .is_empty()
                .then(|| "Error: you must provide an address as the first argument".to_owned());
            (mistake, "connect", "`dlv connect` works with its servers".to_owned())
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
        _ => eprintln!(
            "`{name} {what}` needs the interactive terminal, which is not available in this version of spelunk; {instead}."
        ),
    }
    ExitCode::FAILURE
}
