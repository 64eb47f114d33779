//! What a session in an editor costs: the time from a request to what the user waits for, and the debugger's memory.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::child::{descendants, run};
use crate::dap_client::{DapClient, SourceBreakpoint};
use crate::failure::{Attempt, Failure, Result};
use crate::paths;
use crate::toolchain::{Build, Built, Go, Source};

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(120);

/// The program that is debugged.
pub fn program() -> Result<Built> {
    Source::folder("session", &paths::crate_dir().join("bench/session"))?.build(Build::NoOpt)
}

/// The go command, built from the toolchain's own sources.
pub fn large_program() -> Result<PathBuf> {
    let go = Go::find()?;
    let program = paths::target_dir()
        .join("fixtures")
        .join(format!("{}-command", go.version));
    if !program.exists() {
        run(
            Command::new(&go.program)
                .arg("build")
                .arg("-o")
                .arg(&program)
                .arg("cmd/go"),
            LIMIT,
        )?;
    }
    Ok(program)
}

/// What one session showed. Times are medians.
#[derive(Clone, Copy, Debug, Default)]
pub struct Session {
    /// From `next` to `stopped`.
    pub next: Duration,
    /// `stackTrace` of 50 frames at a new stop.
    pub stack: Duration,
    /// `scopes` and the `variables` of the locals at a new stop.
    pub locals: Duration,
    /// `threads` at a new stop.
    pub threads: Duration,
    /// How many threads were listed.
    pub listed: usize,
    /// Most resident memory of the debugger, in bytes.
    pub peak: u64,
}

/// Steps `steps` times through a program with `goroutines` goroutines, asking each time what an editor asks.
pub fn steps(debugger: &Path, built: &Built, goroutines: usize, steps: usize) -> Result<Session> {
    let mut client = DapClient::start(debugger)?;
    client.initialize()?;
    client.launch(json!({
        "request": "launch", "mode": "exec", "program": built.program, "args": [goroutines.to_string()]
    }))?;
    let line = built.line("main.go", "// stop here")?;
    client.set_breakpoints(&built.source("main.go"), &[SourceBreakpoint::stop(line)])?;
    client.configuration_done()?;
    let mut thread = stopped(&mut client)?;
    // What is met along the way costs every debugger more than it should.
    client.set_breakpoints(&built.source("main.go"), &[])?;
    let (mut next, mut stack, mut locals, mut threads) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut listed = 0;
    for _ in 0..steps {
        let begun = Instant::now();
        client.request("next", json!({"threadId": thread}))?;
        thread = stopped(&mut client)?;
        next.push(begun.elapsed());

        let begun = Instant::now();
        let answer = client.request("threads", Value::Null)?;
        threads.push(begun.elapsed());
        listed = answer["threads"].as_array().map_or(0, Vec::len);

        let begun = Instant::now();
        let answer = client.request("stackTrace", json!({"threadId": thread, "startFrame": 0, "levels": 50}))?;
        stack.push(begun.elapsed());
        let frames = answer["stackFrames"].as_array().map_or(0, Vec::len);
        if frames < 40 {
            return Err(Failure::new(format!(
                "a stack of {frames} frames where there are more than 40"
            )));
        }
        let frame = &answer["stackFrames"][0]["id"];

        let begun = Instant::now();
        let scopes = client.request("scopes", json!({"frameId": frame}))?;
        let reference = &scopes["scopes"][0]["variablesReference"];
        let answer = client.request("variables", json!({"variablesReference": reference}))?;
        locals.push(begun.elapsed());
        if answer["variables"].as_array().is_none_or(Vec::is_empty) {
            return Err(Failure::new(format!("no locals: {answer}")));
        }
    }
    let peak = peak_memory(&mut client, &built.program);
    client.disconnect(json!({"terminateDebuggee": true}))?;
    Ok(Session {
        next: median(next),
        stack: median(stack),
        locals: median(locals),
        threads: median(threads),
        listed,
        peak,
    })
}

/// The time from starting the debugger to its first stop, in `main.main` of a large program, and its memory then.
pub fn first_stop(debugger: &Path, large: &Path, args: &[&str]) -> Result<(Duration, u64)> {
    let begun = Instant::now();
    let mut client = DapClient::start(debugger)?;
    client.initialize()?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": large, "args": args}))?;
    client.request(
        "setFunctionBreakpoints",
        json!({"breakpoints": [{"name": "main.main"}]}),
    )?;
    client.configuration_done()?;
    let thread = stopped(&mut client)?;
    client.request("stackTrace", json!({"threadId": thread, "startFrame": 0, "levels": 20}))?;
    let took = begun.elapsed();
    let peak = peak_memory(&mut client, large);
    client.disconnect(json!({"terminateDebuggee": true}))?;
    Ok((took, peak))
}

fn stopped(client: &mut DapClient) -> Result<Value> {
    let event = client.event_where("a stop", LIMIT, |event| {
        event.event == "stopped" || event.event == "terminated"
    })?;
    if event.event == "terminated" {
        return Err(Failure::new("the program ended where it should have stopped"));
    }
    Ok(event.body["threadId"].clone())
}

/// The sum of the most memory that the debugger's processes had, without the program's own.
fn peak_memory(client: &mut DapClient, program: &Path) -> u64 {
    let server = client.server().pid();
    let of_debugger = |pid: &i32| {
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_else(|_| PathBuf::new());
        exe != program
    };
    std::iter::once(server)
        .chain(descendants(server))
        .filter(of_debugger)
        .filter_map(|pid| high_water_mark(pid).ok())
        .sum()
}

/// `VmHWM` of /proc/PID/status, in bytes (proc(5)).
fn high_water_mark(pid: i32) -> Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).attempt("reading a process's status")?;
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .trim()
                .parse::<u64>()
                .ok()
        })
        .map(|kilobytes| kilobytes << 10)
        .ok_or_else(|| Failure::new("no VmHWM"))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}
