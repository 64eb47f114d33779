//! Containers: programs of another pid namespace and root directory, whose file is deleted; and spelunk itself inside one.

use std::io::Write;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use protocol_tests::child::{ChildGroup, run, tracer_of, wait_until};
use protocol_tests::container::{Container, Inside, possible_or_skip, shell};
use protocol_tests::dap_client::{DapClient, STEP, SourceBreakpoint};
use protocol_tests::failure::Result;
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, Built, fixture};
use protocol_tests::trace::Tracer;
use protocol_tests::trace_text::{Entry, entries};
use serde_json::json;

fn last_number(text: &str) -> Option<u64> {
    text.lines().last()?.parse().ok()
}

fn goes_on(running: &ChildGroup) -> Result<()> {
    let now = last_number(&running.stdout.text()).unwrap_or(0);
    running
        .stdout
        .wait_for("the counter to go on", STEP, |text| {
            last_number(text).filter(|n| *n > now + 5)
        })
        .map(drop)
}

/// The counter in a container, counting.
fn contained(what: &str) -> Result<Option<(Built, Container)>> {
    if !possible_or_skip(what) {
        return Ok(None);
    }
    let built = fixture("counter", Build::NoOpt)?;
    let container = Container::start(&built.program, &[])?;
    container
        .process
        .stdout
        .wait_for("the first numbers", STEP, |text| last_number(text).filter(|n| *n >= 3))?;
    Ok(Some((built, container)))
}

/// The calls of a trace whose argument and result belong together, as the counter works.
fn right_returns(text: &str) -> usize {
    let mut open = None;
    let mut right = 0;
    for entry in entries(text) {
        match entry {
            Entry::Call { arguments, .. } => {
                open = arguments
                    .split(',')
                    .next()
                    .and_then(|number| number.parse::<u64>().ok());
            }
            Entry::Return { results, .. } => {
                let doubled = results.split(',').next().and_then(|number| number.parse::<u64>().ok());
                if let (Some(argument), Some(result)) = (open.take(), doubled) {
                    assert_eq!(result, 2 * argument, "{text}");
                    right += 1;
                }
            }
            Entry::Other(_) => {}
        }
    }
    right
}

#[test]
fn a_program_in_a_container_is_traced_by_its_number_outside() -> Result<()> {
    let Some((_, container)) = contained("tracing in a container")? else {
        return Ok(());
    };
    for extra in [&[][..], &["--follow-children"]] {
        let pid = container.pid.to_string();
        let tracing = Tracer::spelunk()?.start(&[extra, &["-p", &pid, "^main.work$"]].concat())?;
        tracing
            .stderr
            .wait_for("traced calls", STEP, |text| (right_returns(text) >= 10).then_some(()))?;
        assert_eq!(tracer_of(container.pid), Some(0));
        tracing.signal(Signal::SIGINT)?;
        let ended = tracing.finish(STEP)?;
        assert_eq!(ended.code(), 0, "{}", ended.stderr);
        assert!(!ended.stderr.contains("[pid "), "{}", ended.stderr);
        goes_on(&container.process)?;
    }
    Ok(())
}

/// An image's file system, as Docker's: the kernel has two inodes for each file there.
#[test]
fn processes_of_a_container_are_called_what_it_calls_them() -> Result<()> {
    const WHAT: &str = "following children in a container";
    if !possible_or_skip(WHAT) {
        return Ok(());
    }
    let built = fixture("family", Build::Opt)?;
    let Some(mut container) = Container::on_overlay(WHAT, &built.program, &["serve", "1"])? else {
        return Ok(());
    };
    let mut input = container.process.stdin().expect("a pipe");
    let visits = |text: &str| text.lines().filter(|line| line.contains(" in ")).count();
    container
        .process
        .stdout
        .wait_for("server and worker", STEP, |text| (visits(text) == 2).then_some(()))?;
    let pid = container.pid.to_string();
    let tracing = Tracer::spelunk()?.start(&["--follow-children", "-p", &pid, "^main.visit$"])?;
    wait_until("the first traced calls", STEP, || {
        if tracing.stderr.text().contains("main.visit(") {
            return Some(());
        }
        writeln!(input, "work").expect("the server reads");
        std::thread::sleep(Duration::from_millis(20));
        None
    })?;
    // All is in place from here on: this line is traced whole.
    let before = visits(&container.process.stdout.text());
    writeln!(input, "work").expect("the server reads");
    drop(input);
    let finished = container.process.finish_within(STEP)?;
    assert_eq!(finished.code(), 0, "{}", finished.stderr);
    let traced = tracing.finish(STEP)?;
    assert!(visits(&finished.stdout) >= before + 4, "{}", finished.stdout);
    // What the program calls itself, of its last process: the first of a new pid namespace has number 1.
    let last = |what: &str| {
        let line = finished.stdout.lines().rev().find(|line| line.starts_with(what));
        line.and_then(|line| line.split_once(" in "))
            .map(|(_, pid)| pid.to_owned())
    };
    assert_eq!(last("serve").as_deref(), Some("1"));
    let (again, work) = (last("again").expect("it ran"), last("work").expect("it ran"));
    assert!(
        traced
            .stderr
            .contains(&format!("[pid {again}] > goroutine(1): main.visit(0, \"again\")\n"))
            && traced
                .stderr
                .contains(&format!("[pid {again}] > goroutine(1): main.visit(0, \"done\")\n"))
            && traced
                .stderr
                .contains(&format!("[pid {work}] > goroutine(1): main.visit(1, \"work\")\n"))
            && traced.stderr.contains("\n> goroutine(1): main.visit(1, \"serve\")\n"),
        "{}\n{}",
        finished.stdout,
        traced.stderr
    );
    // The number that was given is spelunk's own word.
    assert!(
        traced
            .stderr
            .ends_with(&format!("Process {pid} has exited with status 0\n"))
            || traced.stderr.contains(&format!("Process {pid} has exited\n")),
        "{}",
        traced.stderr
    );
    Ok(())
}

#[test]
fn a_program_in_a_container_is_traced_by_stops_too() -> Result<()> {
    let Some((_, container)) = contained("tracing in a container by stops")? else {
        return Ok(());
    };
    let pid = container.pid.to_string();
    let tracing = Tracer::spelunk_by_stops()?.start(&["-p", &pid, "^main.work$"])?;
    tracing
        .stderr
        .wait_for("traced calls", STEP, |text| (right_returns(text) >= 5).then_some(()))?;
    tracing.signal(Signal::SIGINT)?;
    let ended = tracing.finish(STEP)?;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    goes_on(&container.process)
}

#[test]
fn an_editor_attaches_to_a_program_in_a_container() -> Result<()> {
    let Some((built, container)) = contained("attaching in a container")? else {
        return Ok(());
    };
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.attach(json!({"request": "attach", "mode": "local", "processId": container.pid}))?;
    let line = built.line("main.go", "a logpoint stands here")?;
    let log = SourceBreakpoint::log(line, "number {number}, {step.Name}");
    let set = client.set_breakpoints(&built.source("main.go"), &[log])?;
    assert!(set[0].verified, "{set:?}");
    client.configuration_done()?;
    let mut logged = 0;
    while logged < 5 {
        let said = client.event("output")?;
        let text = said.body["output"].as_str().unwrap_or_default();
        // Several messages may come in one event.
        for line in text.lines().filter(|line| line.starts_with("> [Go ")) {
            assert!(
                line.starts_with("> [Go 1]: number ") && line.ends_with(", \"counting\""),
                "{text}"
            );
            logged += 1;
        }
    }
    assert_eq!(tracer_of(container.pid), Some(0), "a logpoint traces nobody");

    // Threads are called what they are called inside: the first is the container's first process.
    client.set_breakpoints(&built.source("main.go"), &[SourceBreakpoint::stop(line)])?;
    let stop = client.event("stopped")?;
    let threads = client.request("threads", json!({}))?;
    let names: Vec<String> = threads["threads"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|thread| thread["name"].as_str().map(str::to_owned))
        .collect();
    let numbers: Vec<i32> = names
        .iter()
        .filter_map(|name| name.split_once("(Thread ")?.1.strip_suffix(')')?.parse().ok())
        .collect();
    assert!(!numbers.is_empty(), "{stop:?} {names:?}");
    let inside = |number: &i32| {
        std::fs::read_dir(format!("/proc/{}/task", container.pid))
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|task| std::fs::read_to_string(task.path().join("status")).ok())
            .any(|status| {
                let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
                numbers.is_some_and(|numbers| numbers.split_whitespace().last() == Some(&number.to_string()))
            })
    };
    assert!(numbers.iter().all(inside), "{names:?}");
    assert!(!numbers.contains(&container.pid), "{names:?}");
    client.disconnect(json!({"terminateDebuggee": false}))?;
    goes_on(&container.process)
}

#[test]
fn spelunk_inside_a_pid_namespace_traces_what_runs_beside_it() -> Result<()> {
    if !possible_or_skip("tracing from inside a pid namespace") {
        return Ok(());
    }
    let built = fixture("counter", Build::NoOpt)?;
    let (program, spelunk) = (built.program.display(), paths::spelunk()?);
    // Numbers inside have nothing to do with those outside. The counter ends by itself, and the trace with it.
    let script = format!(
        "'{program}' 300 5 >/dev/null & exec '{}' trace -p $! '^main.work$'",
        spelunk.display()
    );
    let traced = run(&mut shell(&script), Duration::from_secs(60))?;
    assert_eq!(traced.code(), 0, "{}", traced.stderr);
    assert!(right_returns(&traced.stderr) >= 10, "{}", traced.stderr);
    let last = traced.stderr.lines().last().unwrap_or_default();
    let pid = last
        .strip_prefix("Process ")
        .and_then(|rest| rest.strip_suffix(" has exited with status 5"))
        .and_then(|pid| pid.parse::<i32>().ok());
    assert!(pid.is_some_and(|pid| pid < 20), "{last}: not a number of the namespace");
    Ok(())
}

#[test]
fn spelunk_inside_a_pid_namespace_launches_and_follows() -> Result<()> {
    if !possible_or_skip("launching inside a pid namespace") {
        return Ok(());
    }
    let built = fixture("family", Build::Opt)?;
    let inside = Inside::of(&paths::spelunk()?)?;
    let mut command = Command::new(&inside.program);
    command.args(["trace", "--follow-children", "--exec"]);
    command.arg(&built.program).args(["^main.visit$", "--", "again", "2"]);
    let traced = run(&mut command, Duration::from_secs(60))?;
    assert_eq!(traced.code(), 0, "{}", traced.stderr);
    // The program says who it is; the lines of its children say the same.
    let said: Vec<&str> = traced
        .stdout
        .lines()
        .filter_map(|line| Some(line.split_once(" in ")?.1))
        .collect();
    let shown: Vec<Option<&str>> = traced
        .stderr
        .lines()
        .filter(|line| line.contains("> goroutine(1): main.visit("))
        .map(|line| Some(line.strip_prefix("[pid ")?.split_once(']')?.0))
        .collect();
    let expected: Vec<Option<&str>> = said.iter().map(|pid| (*pid != said[0]).then_some(*pid)).collect();
    assert_eq!(shown, expected, "{}\n{}", traced.stdout, traced.stderr);
    assert_eq!(shown.len(), 6);
    Ok(())
}

#[test]
fn a_panic_is_seen_by_an_editor_inside_a_pid_namespace() -> Result<()> {
    if !possible_or_skip("panics inside a pid namespace") {
        return Ok(());
    }
    // Not traced: a probe stops the program, and its record names the thread.
    let built = fixture("fails", Build::NoOpt)?;
    let inside = Inside::of(&paths::spelunk()?)?;
    let mut client = DapClient::start(&inside.program)?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": built.program, "args": ["number"]}))?;
    client.configuration_done()?;
    let stop = client.event("stopped")?;
    assert_eq!(
        (&stop.body["reason"], &stop.body["text"]),
        (&json!("exception"), &json!("42"))
    );
    let frames = client.request("stackTrace", json!({"threadId": stop.body["threadId"]}))?;
    let names: Vec<&str> = frames["stackFrames"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|frame| frame["name"].as_str())
        .collect();
    assert!(names.contains(&"main.inner"), "{names:?}");
    client.disconnect(json!(null))?;
    Ok(())
}

#[test]
fn numbers_of_another_pid_namespace_are_not_used() -> Result<()> {
    if !possible_or_skip("a foreign /proc") {
        return Ok(());
    }
    // A new pid namespace, and the /proc of the old one.
    let spelunk = paths::spelunk()?;
    let mut command = Command::new("unshare");
    command.args(["--pid", "--fork", "--kill-child"]).arg(spelunk);
    let me = std::process::id().to_string();
    command.args(["trace", "-p", &me, "main"]);
    let refused = run(&mut command, STEP)?;
    assert_eq!(refused.code(), 1);
    assert!(
        refused
            .stderr
            .contains("/proc shows the processes of another pid namespace"),
        "{}",
        refused.stderr
    );
    Ok(())
}
