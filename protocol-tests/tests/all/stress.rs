//! Things that go wrong at any moment: processes that are killed, clients that vanish, stops that race with everything else.
//!
//! Each runs a few rounds here and as many as it takes with `SPELUNK_STRESS=1` (`make stress`). Moments are drawn from a seed, which is said, so that a failure can be had again
//! (`SPELUNK_SEED`).

use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol_tests::child::{ChildGroup, descendants, is_alive, tracer_of, wait_until};
use protocol_tests::dap_client::{DapClient, Event, STEP, SourceBreakpoint};
use protocol_tests::failure::{Failure, Result};
use protocol_tests::moments::{Moments, is_long};
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, Built, fixture};
use serde_json::{Value, json};

/// How long a stop may take, whatever else happens. The machine that runs all tests at once is given more.
const PAUSE_LIMIT: Duration = Duration::from_millis(200);

/// How many rounds.
fn rounds(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

fn program() -> Result<Built> {
    fixture("stress", Build::NoOpt)
}

/// Launches the program and sets these breakpoints; it runs.
fn launch(built: &Built, args: &[&str], breakpoints: &[SourceBreakpoint]) -> Result<DapClient> {
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.initialize()?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": built.program, "args": args}))?;
    set(&mut client, built, breakpoints)?;
    client.configuration_done()?;
    Ok(client)
}

fn set(client: &mut DapClient, built: &Built, breakpoints: &[SourceBreakpoint]) -> Result<()> {
    let set = client.set_breakpoints(&built.source("main.go"), breakpoints)?;
    match set.iter().find(|breakpoint| !breakpoint.verified) {
        Some(unverified) => Err(Failure::new(format!(
            "a breakpoint is not set: {:?}",
            unverified.message
        ))),
        None => Ok(()),
    }
}

fn stop_or_end(client: &mut DapClient, limit: Duration) -> Result<Event> {
    client.event_where("a stop or the end", limit, |event| {
        event.event == "stopped" || event.event == "terminated"
    })
}

/// The processes below the server that run the program.
fn targets(client: &mut DapClient, built: &Built) -> Vec<i32> {
    let runs_it = |pid: &i32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == built.program);
    descendants(client.server().pid()).into_iter().filter(runs_it).collect()
}

/// Moves on by whatever comes next; answers whether the program is still there.
fn move_on(client: &mut DapClient, thread: &Value, how: u64) -> Result<bool> {
    let command = match how % 4 {
        0 => "next",
        1 => "stepIn",
        2 => "stepOut",
        _ => "continue",
    };
    client.send(command, json!({"threadId": thread}))?;
    Ok(stop_or_end(client, STEP)?.event == "stopped")
}

#[test]
fn the_target_is_killed_at_any_moment() -> Result<()> {
    let built = program()?;
    let mut moments = Moments::new("the target is killed at any moment");
    for round in 0..rounds(12, 500) {
        let line = built.line("main.go", "// a step from here")?;
        let mut client = launch(&built, &["4"], &[SourceBreakpoint::stop(line)])?;
        let target = wait_until("the program", STEP, || targets(&mut client, &built).first().copied())?;
        let killer = std::thread::spawn({
            let wait = Duration::from_micros(moments.below(60_000));
            move || {
                std::thread::sleep(wait);
                kill(Pid::from_raw(target), Signal::SIGKILL)
            }
        });
        loop {
            let event = stop_or_end(&mut client, STEP)?;
            if event.event == "terminated" {
                break;
            }
            if !move_on(&mut client, &event.body["threadId"], moments.below(8))? {
                break;
            }
            // What comes after this stop is asked for by `continue`.
            client.send("continue", json!({"threadId": event.body["threadId"]}))?;
        }
        killer.join().map_err(|_| Failure::new("the killer panicked"))?.ok();
        let ended = client.disconnect(json!({}))?;
        assert_eq!(ended.code(), 0, "round {round}: {}", ended.stderr);
        assert!(!is_alive(target), "round {round}: the program is left behind");
    }
    Ok(())
}

/// Attaches to a running program.
fn attach(running: &ChildGroup, built: &Built, breakpoints: &[SourceBreakpoint]) -> Result<DapClient> {
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.initialize()?;
    client.attach(json!({"request": "attach", "mode": "local", "processId": running.pid()}))?;
    set(&mut client, built, breakpoints)?;
    client.configuration_done()?;
    Ok(client)
}

/// The program makes progress, has no tracer, and finds nothing wrong.
fn goes_on(running: &mut ChildGroup) -> Result<()> {
    let pid = running.pid();
    wait_until("the program to be nobody's tracee", STEP, || {
        (tracer_of(pid) == Some(0)).then_some(())
    })?;
    let passes = |text: &str| -> Option<u64> {
        text.lines()
            .rev()
            .find_map(|line| line.strip_prefix("passes ")?.trim().parse().ok())
    };
    let before = passes(&running.stdout.text()).unwrap_or(0);
    running.stdout.wait_for("the program to go on", STEP, |text| {
        passes(text).filter(|now| *now > before)
    })?;
    if let Some(status) = running.poll()? {
        return Err(Failure::new(format!(
            "the program has ended with {status:?}:\n{}{}",
            running.stdout.text(),
            running.stderr.text()
        )));
    }
    Ok(())
}

#[test]
fn the_server_is_killed_at_any_moment_while_attached() -> Result<()> {
    let built = program()?;
    let mut moments = Moments::new("the server is killed at any moment");
    let mut running = ChildGroup::start(Command::new(&built.program).arg("4"))?;
    let (step, every) = (
        built.line("main.go", "// a step from here")?,
        built.line("main.go", "// every pass")?,
    );
    for round in 0..rounds(8, 200) {
        let mut never = SourceBreakpoint::stop(every);
        never.condition = Some("result < 0".to_owned());
        let mut client = attach(&running, &built, &[SourceBreakpoint::stop(step), never])?;
        let server = client.server().pid();
        let below = descendants(server);
        let killer = std::thread::spawn({
            let wait = Duration::from_micros(moments.below(60_000));
            move || {
                std::thread::sleep(wait);
                kill(Pid::from_raw(server), Signal::SIGKILL)
            }
        });
        while let Ok(event) = stop_or_end(&mut client, Duration::from_secs(2)) {
            if event.event == "terminated"
                || client
                    .send("continue", json!({"threadId": event.body["threadId"]}))
                    .is_err()
            {
                break;
            }
        }
        killer.join().map_err(|_| Failure::new("the killer panicked"))?.ok();
        wait_until("what the server left behind to end", STEP, || {
            below.iter().all(|pid| !is_alive(*pid)).then_some(())
        })?;
        goes_on(&mut running).map_err(|failure| Failure::new(format!("round {round}: {failure}")))?;
    }
    Ok(())
}

#[test]
fn the_client_vanishes_at_any_moment() -> Result<()> {
    let built = program()?;
    let mut moments = Moments::new("the client vanishes at any moment");
    let line = built.line("main.go", "// a step from here")?;
    let mut running = ChildGroup::start(Command::new(&built.program).arg("4"))?;
    for _ in 0..rounds(5, 100) {
        let mut client = attach(&running, &built, &[SourceBreakpoint::stop(line)])?;
        for _ in 0..moments.below(4) {
            let event = stop_or_end(&mut client, STEP)?;
            client.send("next", json!({"threadId": event.body["threadId"]}))?;
        }
        moments.pass(3_000);
        client.hang_up().finish(STEP)?;
        goes_on(&mut running)?;
    }
    for _ in 0..rounds(3, 50) {
        let mut client = launch(&built, &["4"], &[SourceBreakpoint::stop(line)])?;
        let event = stop_or_end(&mut client, STEP)?;
        client.send("stepIn", json!({"threadId": event.body["threadId"]}))?;
        moments.pass(3_000);
        let left = targets(&mut client, &built);
        client.hang_up().finish(STEP)?;
        assert!(
            left.iter().all(|pid| !is_alive(*pid)),
            "a launched program is left behind"
        );
    }
    Ok(())
}

/// Pauses at random moments; answers how long the slowest took.
fn pauses(client: &mut DapClient, moments: &mut Moments, count: usize) -> Result<Duration> {
    let mut slowest = Duration::ZERO;
    for number in 0..count {
        moments.pass(10_000);
        let begun = Instant::now();
        client.request("pause", json!({"threadId": 1}))?;
        let event = stop_or_end(client, STEP)?;
        slowest = slowest.max(begun.elapsed());
        assert_eq!(event.body["reason"], "pause", "pause {number}: {event:?}");
        client.forget();
        client.request("continue", json!({"threadId": 1}))?;
    }
    Ok(slowest)
}

fn assert_quick(slowest: Duration) {
    println!("the slowest stop took {slowest:?}");
    // The short form runs beside all other tests.
    let limit = if is_long() { PAUSE_LIMIT } else { 10 * PAUSE_LIMIT };
    assert!(slowest < limit, "a stop took {slowest:?}");
}

#[test]
fn pauses_at_random_moments() -> Result<()> {
    let built = program()?;
    let mut moments = Moments::new("pauses at random moments");
    let mut client = launch(&built, &["4"], &[])?;
    assert_quick(pauses(&mut client, &mut moments, rounds(30, 1000))?);
    client.disconnect(json!({"terminateDebuggee": true}))?;
    Ok(())
}

#[test]
fn pauses_while_logpoints_are_hit_all_the_time() -> Result<()> {
    let built = fixture("flood", Build::NoOpt)?;
    let mut moments = Moments::new("pauses under logpoints");
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.initialize()?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": built.program, "args": ["1000000000"]}))?;
    let line = built.line("main.go", "sink += n")?;
    client.set_breakpoints(&built.source("main.go"), &[SourceBreakpoint::log(line, "{n}")])?;
    client.configuration_done()?;
    client.event_where("log messages", STEP, |event| event.event == "output")?;
    assert_quick(pauses(&mut client, &mut moments, rounds(20, 1000))?);
    client.disconnect(json!({"terminateDebuggee": true}))?;
    Ok(())
}

#[test]
fn no_pass_of_eight_threads_is_missed() -> Result<()> {
    let built = program()?;
    let passes = rounds(4_000, 100_000);
    let line = built.line("main.go", "// every pass")?;
    let mut last = SourceBreakpoint::stop(line);
    last.hit_condition = Some(format!("== {passes}"));
    let mut client = launch(&built, &["8", &passes.to_string()], &[last])?;
    let event = stop_or_end(&mut client, Duration::from_secs(600))?;
    assert_eq!(
        event.event, "stopped",
        "the last pass was not counted as number {passes}"
    );
    let frames = client.request("stackTrace", json!({"threadId": event.body["threadId"], "levels": 1}))?;
    let seen = client.request(
        "evaluate",
        json!({"expression": "passes.v", "frameId": frames["stackFrames"][0]["id"], "context": "watch"}),
    )?;
    assert_eq!(
        seen["result"],
        (passes - 1).to_string(),
        "the breakpoint lies before the last pass is counted"
    );
    client.request("continue", json!({"threadId": event.body["threadId"]}))?;
    assert_eq!(stop_or_end(&mut client, STEP)?.event, "terminated");
    client.disconnect(json!({}))?;
    Ok(())
}
