//! `dlv ...` in the debug console: settings, help.

use std::fmt::Write;

use serde_json::json;

use crate::dap::{
    session::Session,
    settings::{Area, OF_PROBES},
};

/// A command of the console.
struct Command {
    names: &'static [&'static str],
    summary: &'static str,
    details: &'static str,
}

const COMMANDS: [Command; 4] = [
    Command {
        names: &["help", "h"],
        summary: "Prints the help message.",
        details: "dlv help [command]\n\nWith the name of a command it says more about that command.",
    },
    Command {
        names: &["config"],
        summary: "Changes configuration parameters.",
        details: "dlv config -list\n\n\tShows all parameters.\n\ndlv config -list <parameter>\n\n\tShows one.\n\n\
            dlv config <parameter> <value>\n\n\tChanges one.\n\n\
            dlv config substitutePath <from> <to>\ndlv config substitutePath <from>\ndlv config substitutePath -clear\n\n\
            \tAdds a rule for paths, removes one, or removes all.\n\n\
            dlv config showPprofLabels <label>\ndlv config showPprofLabels -clear <label>\n\
            dlv config showPprofLabels -clear\n\n\
            \tAdds the key of a label to the names of goroutines, removes one, or removes all.\n\n\
            dlv config allowStopForLogpoints true|false\n\n\
            \tWhether a logpoint may stop a program that was attached to, where the kernel cannot serve it.\n\n\
            dlv config logpointRateLimit <number>\n\n\
            \tThe most messages of each logpoint in a second, 0 for no limit.\n\n\
            dlv config probeCpuLimit <percent>|default\n\n\
            \tHow much of one processor core the probes of a breakpoint may take, 0 for no limit. Those that were switched off\n\
            \tare switched on again.\n\n\
            These three can be changed while the program runs.",
    },
    Command {
        names: &["sources", "s"],
        summary: "Print list of source files.",
        details: "dlv sources [<regex>]\n\nWith a regular expression, only files that match it.",
    },
    Command {
        names: &["target"],
        summary: "Manages child process debugging.",
        details: "dlv target follow-exec [-on [<regex>]] [-off]\n\n\tWhether processes that the program starts are debugged, too, and which: those whose\n\
            \tcommand line matches the regular expression, or all.\n\n\
            dlv target list\n\n\tLists the processes that are debugged.\n\n\
            dlv target switch <pid>\n\n\tShows another of them.",
    },
];

/// What Delve says to a command that there is not.
const NO_SUCH_COMMAND: &str = "command not available";

impl Session {
    /// Runs a command of the console; answers its output.
    pub(super) async fn on_console_command(&mut self, line: &str) -> Result<String, String> {
        let (name, rest) = split(line);
        match name {
            "help" | "h" => help(rest),
            "config" => self.configure(rest).await,
            "target" => self.on_target_command(rest).await,
            "sources" | "s" => self.sources(rest.to_owned()).await,
            _ => Err(NO_SUCH_COMMAND.to_owned()),
        }
    }

    async fn configure(&mut self, line: &str) -> Result<String, String> {
        let (name, value) = split(line);
        if name == "-list" {
            return Ok(if value.is_empty() {
                self.settings.list()
            } else {
                self.settings.show(value)
            });
        }
        let area = self.settings.change(name, value)?;
        if OF_PROBES.contains(&name) {
            self.limit_probes().await?;
        }
        if matches!(name, "followExec" | "followExecRegex") {
            self.follow_children().await?;
        }
        if let Some(area) = area {
            let area = match area {
                Area::Variables => "variables",
                Area::Threads => "threads",
            };
            self.out.event_with("invalidated", &json!({"areas": [area]}));
        }
        Ok(format!("{}\nUpdated", self.settings.show(name)))
    }

    async fn sources(&mut self, filter: String) -> Result<String, String> {
        let filter = regex::Regex::new(&filter).map_err(|error| format!("invalid filter argument: {error}"))?;
        let mut files = self
            .inspect(|at| at.target.source_files().map_err(|error| error.to_string()))
            .await?;
        files.retain(|file| filter.is_match(file));
        files.sort_unstable();
        files.dedup();
        Ok(files.join("\n"))
    }
}

/// The first word, and the rest.
fn split(line: &str) -> (&str, &str) {
    let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
    (first.trim(), rest.trim())
}

fn help(about: &str) -> Result<String, String> {
    if !about.is_empty() {
        let command = COMMANDS.iter().find(|command| command.names.contains(&about));
        return command
            .map(|command| format!("{}\n\n{}", command.summary, command.details))
            .ok_or_else(|| NO_SUCH_COMMAND.to_owned());
    }
    let mut text = "The following commands are available:\n".to_owned();
    for command in &COMMANDS {
        let (name, aliases) = command.names.split_first().unwrap_or((&"", &[]));
        let alias = if aliases.is_empty() {
            String::new()
        } else {
            format!(" (alias: {})", aliases.join(" | "))
        };
        // Writing into a string does not fail.
        let _ = writeln!(text, "    dlv {name}{alias} \t {}", command.summary);
    }
    text.push_str("\nType 'dlv help' followed by a command for full documentation.\n");
    Ok(text)
}
