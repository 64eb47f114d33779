//! One session of `dlv connect`, fed from a pipe, and its transcript cut into what each command answered.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use regex::{Captures, Regex};
use serde_json::{Value, json};

use crate::child::ChildGroup;
use crate::failure::{Attempt, Failure, Result};
use crate::headless::Headless;
use crate::normalise::{Normaliser, Session, ambiguity_settled};
use crate::peer;
use crate::stage::Stage;
use crate::toolchain::{Build, Built};

/// What the client writes when it waits for a command.
const PROMPT: &str = "(dlv) ";

/// How long a whole session may take.
const SESSION: Duration = Duration::from_secs(60);

/// Sessions with one server.
pub struct TerminalPlay {
    program: PathBuf,
    stage: Stage,
    transcript: Vec<(String, String)>,
    stdout: String,
    stderr: String,
}

impl TerminalPlay {
    /// Sessions with the headless server of the debugger `program`.
    pub fn begin(program: &Path) -> Result<TerminalPlay> {
        Ok(TerminalPlay {
            program: program.to_path_buf(),
            stage: Stage::new()?,
            transcript: Vec::new(),
            stdout: String::new(),
            stderr: String::new(),
        })
    }

    /// A folder that goes with the sessions.
    pub fn scratch(&self) -> PathBuf {
        self.stage.scratch()
    }

    /// A fixture, for what a session has to know of it.
    pub fn fixture(&mut self, name: &str) -> Result<Built> {
        self.stage.fixture(name, Build::FixedHeap)
    }

    /// Serves a fixture with these arguments, and gives a client these commands. The last ones have to end the session.
    #[track_caller]
    pub fn session(&mut self, fixture: &str, args: &[&str], commands: &[&str]) -> Result<()> {
        let built = self.fixture(fixture)?;
        let program = built.program.to_string_lossy().into_owned();
        let mut words = vec!["--accept-multiclient", &program, "--"];
        words.extend(args);
        let server = Headless::start(&self.program, "exec", &words)?;
        let said = self.connect(&server.address, commands)?;
        let mut answers = said.split(PROMPT);
        let greeting = answers.next().unwrap_or_default();
        self.transcript.push(("connect".to_owned(), greeting.to_owned()));
        let mut answers = answers.map(str::to_owned);
        for command in commands {
            let answer = answers.next().unwrap_or_else(|| "no answer".to_owned());
            self.transcript.push(((*command).to_owned(), answer));
        }
        if let Some(more) = answers.next() {
            self.transcript.push(("after the last command".to_owned(), more));
        }
        let ended = server.finish()?;
        let status = format!("exit status {}", ended.code());
        self.transcript.push(("the server's end".to_owned(), status));
        self.stdout.push_str(&ended.stdout);
        self.stderr.push_str(&ended.stderr);
        Ok(())
    }

    /// Runs `dlv connect` with these commands to its end; answers all that it wrote, on both of its outputs.
    #[track_caller]
    fn connect(&mut self, address: &str, commands: &[&str]) -> Result<String> {
        let dlv = peer::dlv().attempt("looking for dlv")?;
        // Both outputs go into one pipe, so that their order is kept.
        let mut line = Command::new("sh");
        line.args([
            "-c",
            "exec \"$0\" connect \"$1\" --allow-non-terminal-interactive=true 2>&1",
        ])
        .arg(dlv)
        .arg(address);
        // Without colours, and without the settings and the history of whoever runs the tests.
        line.env("TERM", "dumb")
            .env("HOME", self.stage.scratch())
            .env("XDG_CONFIG_HOME", self.stage.scratch());
        // Paths are shortened where they lie below the working directory.
        line.current_dir(self.stage.scratch()).stdin(Stdio::piped());
        let mut client = ChildGroup::start_with_stdin(&mut line)?;
        let mut stdin = client.stdin().attempt("taking the client's standard input")?;
        let mut text = commands.join("\n");
        text.push('\n');
        stdin
            .write_all(text.as_bytes())
            .attempt("giving the client its commands")?;
        drop(stdin);
        match client.finish_within(SESSION) {
            Ok(ended) => Ok(ended.stdout),
            Err(failure) => {
                self.transcript.push(("so far".to_owned(), client.stdout.text()));
                Err(Failure::new(format!("{failure}")))
            }
        }
    }

    /// What was said, comparable with the same sessions with another server.
    pub fn told(&self) -> Session {
        let mut normaliser = Normaliser::new(self.stage.paths());
        let mut messages = Vec::new();
        for (command, answer) in &self.transcript {
            let answer = normaliser.text(&settled(&threads_blanked(answer)));
            let lines: Vec<Value> = answer.lines().map(|line| Value::from(line.trim_end())).collect();
            messages.push(json!({"type": "call", "call": normaliser.text(command), "answer": lines}));
        }
        Session {
            messages,
            stdout: normaliser.text(&self.stdout),
            stderr: normaliser.text(&self.stderr),
        }
    }
}

/// A text without thread and process ids, times, and what registers hold.
fn threads_blanked(text: &str) -> String {
    static PATTERNS: OnceLock<Vec<(Regex, &'static str)>> = OnceLock::new();
    let patterns = PATTERNS.get_or_init(|| {
        [
            (r"\b([Tt]hread) \d+", "$1 TID"),
            (r"\b(PID|pid) \d+", "$1 PID"),
            (r"(?m)^(\*? +)\d+( +/)", "${1}PID$2"),
            (r"(?m)^(Spawned new process '.*') \(\d+\)$", "$1 (PID)"),
            (r"(?m)^(Switch target process) from \d+ to \d+", "$1 from PID to PID"),
            // Goroutines are numbered in the order in which they appear; the normaliser knows them by these words.
            (r"\bGoroutine (\d+)", "goroutine $1"),
            (r"\bgoroutine\((\d+)\):", "goroutine $1 :"),
            // How long a goroutine has waited.
            (r"(?m)(\[[a-z ]+) \d+\]$", "$1 TIME]"),
            (r"(?m)^( *[A-Z][A-Za-z_0-9]+) = 0x[0-9a-f]+.*$", "$1 = ..."),
        ]
        .into_iter()
        .filter_map(|(pattern, with)| Some((Regex::new(pattern).ok()?, with)))
        .collect()
    });
    let mut text = text.to_owned();
    for (pattern, with) in patterns {
        text = pattern.replace_all(&text, *with).into_owned();
    }
    text
}

/// Without lines that tell of the runtime's own goroutines and of threads that stand somewhere by chance, which come in any order, and how many there are; and with
/// what Delve takes from its maps in one order.
fn settled(text: &str) -> String {
    static PATTERNS: OnceLock<Option<[Regex; 4]>> = OnceLock::new();
    let patterns = PATTERNS.get_or_init(|| {
        Some([
            Regex::new(r"^[ *]*(goroutine \d+ - .*/src/(runtime|os/signal)/.*|Thread TID at (\?|0x|.*/src/(runtime|internal)/).*)$").ok()?,
            Regex::new(r"^\[\d+ goroutines\]$").ok()?,
            Regex::new(r"^(Break|Trace)point \S+ cleared at ").ok()?,
            Regex::new(r" at (0x[0-9a-f]+(?:,0x[0-9a-f]+)+) ").ok()?,
        ])
    });
    let Some([by_chance, count, cleared, addresses]) = patterns else {
        return text.to_owned();
    };
    let mut lines: Vec<String> = text
        .lines()
        .filter(|line| !by_chance.is_match(line))
        .map(|line| {
            let line = count.replace(line, "[goroutines]");
            let line = addresses.replace(&line, |found: &Captures<'_>| {
                let mut addresses: Vec<&str> = found[1].split(',').collect();
                addresses.sort_unstable();
                format!(" at {} ", addresses.join(","))
            });
            ambiguity_settled(&line)
        })
        .collect();
    if lines.iter().all(|line| cleared.is_match(line)) {
        lines.sort();
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_from_run_to_run_is_blanked() {
        for (text, expected) in [
            (
                "> main.main() (hits goroutine(1):1 total:1)",
                "> main.main() (hits goroutine 1 :1 total:1)",
            ),
            ("* Thread 77 at ./main.go:3", "* Thread TID at ./main.go:3"),
            (
                "  Goroutine 5 - User: main.go:1 main.f (0x1) [chan receive 31]",
                "  goroutine 5 - User: main.go:1 main.f (0x1) [chan receive TIME]",
            ),
            ("    Rip = 0x00000000004bf1d6", "    Rip = ..."),
            (
                "Spawned new process '/a b c' (77)\nSwitch target process from 77 to 78 (/a b c)",
                "Spawned new process '/a b c' (PID)\nSwitch target process from PID to PID (/a b c)",
            ),
        ] {
            assert_eq!(threads_blanked(text), expected);
        }
        assert_eq!(
            settled(
                "  goroutine 2 - User: /usr/local/go/src/runtime/proc.go:4 runtime.gopark\n  goroutine 1 - User: ./main.go:3\n[5 goroutines]"
            ),
            "  goroutine 1 - User: ./main.go:3\n[goroutines]"
        );
    }
}
