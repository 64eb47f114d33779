//! How fast a trace's records become text: a program fills the ring while the tracer is stopped, and then the tracer goes on.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::child::{ChildGroup, wait_until};
use crate::failure::{Attempt, Failure, Result};
use crate::paths;
use crate::toolchain::{Build, Source};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);
/// When no more text has come for so long, that was all.
const QUIET: Duration = Duration::from_millis(300);
/// Room for all records, in bytes.
const RING: u64 = 512 << 20;

/// What one run showed.
#[derive(Clone, Copy, Debug)]
pub struct Consumed {
    /// Lines of text, one for each record.
    pub lines: usize,
    /// Lines that a complete trace has.
    pub expected: usize,
    /// Processor time of the thread that reads records and writes text.
    pub busy: Duration,
    /// From the first record that is read to the last line in the file.
    pub took: Duration,
}

/// Has `function` of the program (`pair` with two ints, `greet` with a string) called so often, in so many goroutines, and its records turned into text in a file.
pub fn consumed(function: &str, calls: usize, goroutines: usize, flags: &[&str]) -> Result<Consumed> {
    let built = Source::folder("backlog", &paths::crate_dir().join("bench/backlog"))?.build(Build::NoOpt)?;
    let file = tempfile::NamedTempFile::new().attempt("making a file for the text")?;
    let mut command = Command::new("sh");
    command
        .args(["-c", "file=$0; exec \"$@\" 2>$file"])
        .arg(file.path())
        .arg(paths::spelunk()?)
        .arg("trace")
        .args(flags)
        .arg("--exec")
        .arg(&built.program)
        .arg(format!("^main.{function}$"))
        .args(["--", function, &calls.to_string(), &goroutines.to_string()])
        .env("SPELUNK_RING_BYTES", RING.to_string())
        .stdin(Stdio::piped());
    let mut tracing = ChildGroup::start_with_stdin(&mut command)?;
    let mut input = tracing.stdin().attempt("taking the program's input")?;
    let line = |word: &'static str| move |text: &str| text.lines().any(|line| line.starts_with(word)).then_some(());
    tracing.stdout.wait_for("the program's start", LIMIT, line("ready"))?;
    let reader = reader_of(tracing.pid())?;
    tracing.signal(Signal::SIGSTOP)?;
    writeln!(input, "go").attempt("letting the program go")?;
    tracing.stdout.wait_for("the program's calls", LIMIT, line("called"))?;
    let before = processor_time(&reader)?;
    let begun = Instant::now();
    tracing.signal(Signal::SIGCONT)?;
    let (mut length, mut changed) = (0, begun);
    wait_until("all of the text", LIMIT, || {
        let now = file.as_file().metadata().map_or(0, |data| data.len());
        if now != length {
            (length, changed) = (now, Instant::now());
        }
        (now > 0 && changed.elapsed() > QUIET).then_some(())
    })?;
    let busy = processor_time(&reader)?.saturating_sub(before);
    drop(input);
    tracing.finish(LIMIT)?;
    let text = fs::read_to_string(file.path()).attempt("reading the text")?;
    Ok(Consumed {
        lines: text.lines().filter(|line| line.contains("> goroutine(")).count(),
        expected: 2 * (calls / goroutines) * goroutines,
        busy,
        took: changed - begun,
    })
}

/// The directory in /proc of the thread that reads records.
fn reader_of(pid: i32) -> Result<std::path::PathBuf> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).attempt("listing the tracer's threads")?;
    let is_reader =
        |thread: &Path| fs::read_to_string(thread.join("comm")).is_ok_and(|name| name.trim() == "trace-reader");
    threads
        .flatten()
        .map(|entry| entry.path())
        .find(|thread| is_reader(thread))
        .ok_or_else(|| Failure::new("the tracer has no thread that reads records".to_owned()))
}

/// How long a thread has been on a processor.
fn processor_time(thread: &Path) -> Result<Duration> {
    let text = fs::read_to_string(thread.join("schedstat")).attempt("reading the thread's processor time")?;
    let nanoseconds = text.split_whitespace().next().and_then(|word| word.parse().ok());
    nanoseconds
        .map(Duration::from_nanos)
        .ok_or_else(|| Failure::new(format!("no processor time in {text:?}")))
}
