//! What tracing costs: one loop program and one HTTP service, traced by nothing, by spelunk and by Delve's two backends.

use std::collections::HashMap;
use std::fmt;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use crate::child::{ChildGroup, descendants, run};
use crate::failure::{Attempt, Failure, Result};
use crate::paths;
use crate::toolchain::{Build, Built, Go, Source};

/// What traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// The program runs alone.
    Nothing,
    /// `spelunk trace`.
    Spelunk,
    /// `dlv trace --ebpf`, with the path of dlv.
    DlvEbpf(PathBuf),
    /// `dlv trace`, which stops the program at each call and return.
    Dlv(PathBuf),
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            By::Nothing => "untraced",
            By::Spelunk => "spelunk trace",
            By::DlvEbpf(_) => "dlv trace --ebpf",
            By::Dlv(_) => "dlv trace",
        })
    }
}

impl By {
    /// The command that traces `function`; `target` are the arguments that name the program or process. Nothing traces nothing.
    pub fn command(&self, function: &str, target: &[&str]) -> Result<Option<Command>> {
        let (program, flags): (PathBuf, &[&str]) = match self {
            By::Nothing => return Ok(None),
            By::Spelunk => (paths::spelunk()?, &["trace"]),
            By::DlvEbpf(dlv) => (dlv.clone(), &["trace", "--ebpf"]),
            By::Dlv(dlv) => (dlv.clone(), &["trace"]),
        };
        let mut command = Command::new(program);
        let (before, after) = target.split_at(target.iter().position(|word| *word == "--").unwrap_or(target.len()));
        command
            .args(flags)
            .args(before)
            .arg(function)
            .args(after)
            .env("PATH", Go::find()?.path_variable());
        Ok(Some(command))
    }
}

/// A function of the loop program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hot {
    /// `func add(x, y int) int`
    Add,
    /// `func find(order *Order, key string, tags []string) (string, error)`
    Find,
}

impl Hot {
    fn name(self) -> &'static str {
        match self {
            Hot::Add => "add",
            Hot::Find => "find",
        }
    }

    /// The signature, as a table's heading.
    pub fn signature(self) -> &'static str {
        match self {
            Hot::Add => "(int, int) → int",
            Hot::Find => "(pointer, string, slice) → (string, error)",
        }
    }

    /// The two lines of call number `i`.
    fn lines(self, i: usize, order: &str) -> [String; 2] {
        let (arguments, results) = match self {
            Hot::Add => (format!("{i}, {}", 2 * i), (3 * i).to_string()),
            Hot::Find => {
                let key = format!("\"key-{}\"", i % 16);
                (
                    format!("(*main.Order)({order}), {key}, []string len: 3, cap: 3, [...]"),
                    format!("{key},error nil"),
                )
            }
        };
        [
            format!("> goroutine(1): main.{}({arguments})", self.name()),
            format!(">> goroutine(1): main.{} => ({results})", self.name()),
        ]
    }
}

/// What one run of the loop program showed.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Nanoseconds for one call, as the program measured them.
    pub nanoseconds: f64,
    /// How many calls it made.
    pub calls: usize,
    /// Lines that a complete trace has.
    pub expected: usize,
    /// Lines that were there and say what the program did.
    pub right: usize,
    /// The line that says what was lost, where there was one.
    pub note: Option<String>,
}

/// The loop program, built.
pub fn hot(build: Build) -> Result<Built> {
    Source::folder("hot", &paths::crate_dir().join("bench/hot"))?.build(build)
}

/// Runs the loop program with `calls` calls of `function`.
pub fn cost(program: &Path, by: &By, function: Hot, calls: usize, limit: Duration) -> Result<Cost> {
    let (name, count) = (function.name(), calls.to_string());
    let path = program.to_string_lossy();
    let mut command =
        if let Some(command) = by.command(&format!("^main.{name}$"), &["--exec", &path, "--", name, &count])? {
            command
        } else {
            let mut alone = Command::new(program);
            alone.args([name, &count]);
            alone
        };
    let mut child = ChildGroup::start(&mut command)?;
    let nanoseconds = child.stdout.wait_for(
        &format!("the loop program's own measurement under {by}"),
        limit,
        |text| {
            text.lines()
                .find_map(|line| line.strip_prefix("nanoseconds "))?
                .trim()
                .parse::<f64>()
                .ok()
        },
    );
    let nanoseconds = nanoseconds.map_err(|failure| {
        let said = child.stderr.text();
        let end: Vec<&str> = said.lines().rev().take(3).collect();
        Failure::new(format!(
            "{failure}\nits last words: {}",
            end.into_iter().rev().collect::<Vec<_>>().join("; ")
        ))
    })?;
    // dlv may hang at the end; what it printed by then counts.
    let _ = child.finish_within(Duration::from_secs(10));
    let (stdout, stderr) = (child.stdout.text(), child.stderr.text());
    drop(child);
    let order = stdout
        .lines()
        .find_map(|line| line.strip_prefix("order "))
        .unwrap_or_default();
    let mut printed: HashMap<&str, usize> = HashMap::new();
    for line in stderr.lines() {
        *printed.entry(line).or_default() += 1;
    }
    let mut right = 0;
    if *by != By::Nothing {
        for line in (0..calls).flat_map(|i| function.lines(i, order)) {
            if let Some(count) = printed.get_mut(line.as_str()).filter(|count| **count > 0) {
                *count -= 1;
                right += 1;
            }
        }
    }
    let note = stderr
        .lines()
        .find(|line| !line.starts_with('>') && line.contains("lost"))
        .map(str::to_owned);
    Ok(Cost {
        nanoseconds,
        calls,
        expected: if *by == By::Nothing { 0 } else { 2 * calls },
        right,
        note,
    })
}

/// What a load generator and the service saw.
#[derive(Clone, Debug)]
pub struct Load {
    /// Requests per second.
    pub per_second: f64,
    /// The 99th percentile of the latencies, as the generator writes it.
    pub p99: String,
    /// Requests that reached the handler while it was traced.
    pub handled: usize,
    /// Lines that were printed.
    pub printed: usize,
    /// The line that says what was lost, where there was one.
    pub note: Option<String>,
}

impl Load {
    /// Lines that a complete trace has and this one has not.
    pub fn lost(&self) -> usize {
        (2 * self.handled).saturating_sub(self.printed)
    }
}

/// The HTTP service, built.
pub fn service_program() -> Result<Built> {
    Source::folder("service", &paths::crate_dir().join("bench/service"))?.build(Build::NoOpt)
}

/// Starts the HTTP service; answers its address too.
pub fn service(built: &Built) -> Result<(ChildGroup, String)> {
    let service = ChildGroup::start(&mut Command::new(&built.program))?;
    let address = service
        .stdout
        .wait_for("the service's address", Duration::from_secs(10), |text| {
            Some(
                text.lines()
                    .find_map(|line| line.strip_prefix("listening "))?
                    .trim()
                    .to_owned(),
            )
        })?;
    Ok((service, address))
}

/// Puts the HTTP service under load for `seconds`, with its handler traced. `generator` is `wrk` or `hey`.
pub fn load(generator: &Path, by: &By, seconds: u32) -> Result<Load> {
    let (service, address) = service(&service_program()?)?;
    let pid = service.pid().to_string();
    let mut tracing = match by.command("^main.lookUp$", &["-p", &pid])? {
        Some(mut command) => Some(ChildGroup::start(&mut command)?),
        None => None,
    };
    if let Some(tracing) = &tracing {
        wait_until_traced(tracing, &address, by)?;
    }
    let before = handled(&address)?;
    let printed_before = tracing.as_ref().map_or(0, printed_lines);
    let mut command = Command::new(generator);
    let url = format!("http://{address}/orders/lamp");
    if generator.ends_with("hey") {
        command.args(["-z", &format!("{seconds}s"), "-c", "8", &url]);
    } else {
        command.args(["-t", "1", "-c", "8", "-d", &format!("{seconds}s"), "--latency", &url]);
    }
    let report = run(&mut command, Duration::from_secs(u64::from(seconds) + 30))?;
    let handled = handled(&address).unwrap_or(before) - before;
    let (mut printed, mut note) = (0, None);
    if let Some(tracing) = &mut tracing {
        settle(tracing);
        let _ = tracing.signal(Signal::SIGINT);
        let _ = tracing.finish_within(Duration::from_secs(5));
        printed = printed_lines(tracing) - printed_before;
        note = tracing
            .stderr
            .text()
            .lines()
            .find(|line| !line.starts_with('>') && line.contains("lost"))
            .map(str::to_owned);
    }
    drop(tracing);
    for child in descendants(service.pid()) {
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(child), Signal::SIGKILL);
    }
    let (per_second, p99) = read_report(&report.stdout)?;
    Ok(Load {
        per_second,
        p99,
        handled,
        printed,
        note,
    })
}

/// A request now and then, until its call shows up in the trace.
fn wait_until_traced(tracing: &ChildGroup, address: &str, by: &By) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(20);
    while printed_lines(tracing) == 0 {
        if Instant::now() > end {
            return Err(Failure::new(format!(
                "{by} shows no call of the service: {}",
                tracing.stderr.text()
            )));
        }
        get(address, "/orders/first")?;
        std::thread::sleep(Duration::from_millis(100));
    }
    settle(tracing);
    Ok(())
}

/// Waits until no more lines come.
fn settle(tracing: &ChildGroup) {
    let end = Instant::now() + Duration::from_secs(8);
    let mut last = usize::MAX;
    while Instant::now() < end {
        let now = tracing.stderr.text().len();
        if now == last {
            return;
        }
        last = now;
        std::thread::sleep(Duration::from_millis(400));
    }
}

fn printed_lines(tracing: &ChildGroup) -> usize {
    tracing
        .stderr
        .text()
        .lines()
        .filter(|line| line.starts_with('>'))
        .count()
}

/// How many requests the service's handler has had.
pub fn handled(address: &str) -> Result<usize> {
    let body = get(address, "/handled")?;
    body.trim()
        .parse()
        .attempt(format_args!("reading the service's count from {body:?}"))
}

/// One HTTP request on a connection of its own; answers the body.
fn get(address: &str, path: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).attempt(format_args!("connecting to {address}"))?;
    stream
        .set_read_timeout(Some(Duration::from_secs(10)))
        .attempt("setting a time limit")?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").attempt("sending a request")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).attempt("reading the answer")?;
    Ok(answer
        .split_once("\r\n\r\n")
        .map_or(String::new(), |(_, body)| body.to_owned()))
}

/// Requests per second and the 99th percentile, from the report of wrk or hey.
pub fn read_report(report: &str) -> Result<(f64, String)> {
    let after = |key: &str| {
        report
            .lines()
            .find_map(|line| line.trim().strip_prefix(key))
            .map(str::trim)
    };
    let per_second = after("Requests/sec:").and_then(|text| text.parse().ok());
    let p99 = after("99% in").or_else(|| after("99%%in")).or_else(|| after("99%"));
    match (per_second, p99) {
        (Some(per_second), Some(p99)) => Ok((per_second, p99.replace(" secs", "s"))),
        _ => Err(Failure::new(format!(
            "the load generator's report has no rate or no 99 %:\n{report}"
        ))),
    }
}
