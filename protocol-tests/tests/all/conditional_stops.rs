//! Breakpoints with conditions that the kernel decides: a false one stops nobody, a true one stops at its own line, and nothing is lost or told twice.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use protocol_tests::child::{ChildGroup, descendants, tracer_of, wait_until};
use protocol_tests::corpus::Numbers;
use protocol_tests::dap_client::{Breakpoint, DapClient, Event, STEP, SourceBreakpoint};
use protocol_tests::failure::{Attempt, Result};
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, Built, fixture};
use serde_json::{Value, json};

const VISITED: &str = "// visited";

fn program(build: Build) -> Result<Built> {
    fixture("conditional", build)
}

fn conditional(built: &Built, marker: &str, condition: &str) -> Result<SourceBreakpoint> {
    Ok(SourceBreakpoint {
        condition: Some(condition.to_owned()),
        ..SourceBreakpoint::stop(built.line("main.go", marker)?)
    })
}

fn counted(built: &Built, marker: &str, hits: &str) -> Result<SourceBreakpoint> {
    Ok(SourceBreakpoint {
        hit_condition: Some(hits.to_owned()),
        ..SourceBreakpoint::stop(built.line("main.go", marker)?)
    })
}

/// A session with a launched program and its breakpoints, not configured yet.
fn launched(built: &Built, args: &[&str], breakpoints: &[SourceBreakpoint]) -> Result<(DapClient, Vec<Breakpoint>)> {
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({"mode": "exec", "program": built.program, "args": args}))?;
    let answers = client.set_breakpoints(&built.source("main.go"), breakpoints)?;
    for answer in &answers {
        assert!(answer.verified, "{answer:?}");
    }
    Ok((client, answers))
}

fn pid_of(client: &mut DapClient) -> Result<i32> {
    // The server's guardian stands between us and the server, whose child the program is.
    let server = client.server().pid();
    wait_until("the program", STEP, || descendants(server).last().copied())
}

/// Where the thread of a stop stands, and the values of expressions there.
fn look(client: &mut DapClient, stop: &Event, expressions: &[&str]) -> Result<(i64, Vec<String>)> {
    let thread = stop.body["threadId"].clone();
    let body = client.request("stackTrace", json!({"threadId": thread, "startFrame": 0, "levels": 1}))?;
    let frame = &body["stackFrames"][0];
    let line = frame["line"].as_i64().attempt("reading the frame's line")?;
    let mut values = Vec::new();
    for expression in expressions {
        let arguments = json!({"expression": expression, "frameId": frame["id"], "context": "watch"});
        let value = client.request("evaluate", arguments)?;
        values.push(value["result"].as_str().unwrap_or_default().to_owned());
    }
    Ok((line, values))
}

fn resume(client: &mut DapClient) -> Result<()> {
    client.request("continue", json!({"threadId": 1})).map(drop)
}

/// The next stop, which must be at a breakpoint, or `None` at the program's end.
fn next_stop(client: &mut DapClient, id: Option<i64>) -> Result<Option<Event>> {
    let event = client.event_where("a stop or the end", STEP, |event| {
        matches!(event.event.as_str(), "stopped" | "terminated")
    })?;
    if event.event == "terminated" {
        return Ok(None);
    }
    assert_eq!(event.body["reason"], "breakpoint", "{event:?}");
    assert_eq!(event.body["hitBreakpointIds"], json!([id]), "{event:?}");
    assert_eq!(event.body["allThreadsStopped"], true);
    Ok(Some(event))
}

/// Runs the program to its end, and answers what expressions were at each stop.
fn all_stops(client: &mut DapClient, id: Option<i64>, expressions: &[&str]) -> Result<Vec<(i64, Vec<String>)>> {
    let mut found = Vec::new();
    client.configuration_done()?;
    while let Some(stop) = next_stop(client, id)? {
        found.push(look(client, &stop, expressions)?);
        resume(client)?;
    }
    Ok(found)
}

#[test]
fn a_condition_that_is_false_a_hundred_thousand_times_and_true_once() -> Result<()> {
    for build in [Build::NoOpt, Build::Opt, Build::PieNoOpt] {
        let built = program(build)?;
        let wanted = conditional(&built, VISITED, "i == 70000")?;
        let line = i64::from(wanted.line);
        let (mut client, answers) = launched(&built, &["count", "100000"], &[wanted])?;
        assert_eq!(answers[0].message, None, "it is decided in the kernel");
        client.configuration_done()?;
        let stop = next_stop(&mut client, answers[0].id)?.attempt("stopping")?;
        let (at, values) = look(&mut client, &stop, &["i", "name", "passes"])?;
        assert_eq!(
            (at, &values[..]),
            (line, &["70000".into(), "\"lamp\"".into(), "70000".into()][..])
        );
        // The line itself has not been executed; a step executes it once.
        client.request("next", json!({"threadId": stop.body["threadId"]}))?;
        let stepped = client.event("stopped")?;
        assert_eq!(stepped.body["reason"], "step");
        assert_eq!(look(&mut client, &stepped, &["passes"])?.1, ["70001"]);
        resume(&mut client)?;
        assert!(next_stop(&mut client, None)?.is_none());
        let finished = client.disconnect(json!({}))?;
        assert!(
            finished.stdout.contains("counted 100000 10000300000"),
            "{build:?}: {}",
            finished.stdout
        );
        assert!(
            finished.stdout.contains("done 100000"),
            "{build:?}: {}",
            finished.stdout
        );
    }
    Ok(())
}

#[test]
fn until_a_condition_is_true_nobody_traces_the_program() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let wanted = conditional(&built, VISITED, "i == 1500")?;
    let (mut client, answers) = launched(&built, &["ticks"], &[wanted])?;
    client.configuration_done()?;
    let pid = pid_of(&mut client)?;
    assert_eq!(tracer_of(pid), Some(0), "a condition in the kernel needs no tracer");
    let stop = next_stop(&mut client, answers[0].id)?.attempt("stopping")?;
    assert_eq!(look(&mut client, &stop, &["i"])?.1, ["1500"]);
    assert_ne!(tracer_of(pid), Some(0));
    client.disconnect(json!({"terminateDebuggee": true}))?;
    Ok(())
}

#[test]
fn eight_goroutines_are_each_stopped_when_their_turn_comes() -> Result<()> {
    let built = program(Build::NoOpt)?;
    // True 16 times, twice for each worker, often at the same moment on two threads.
    let wanted = conditional(&built, VISITED, "i % 2500 == 1000 || i % 2500 == 1001")?;
    let line = i64::from(wanted.line);
    let (mut client, answers) = launched(&built, &["workers", "2500"], &[wanted])?;
    client.configuration_done()?;
    let mut seen: Vec<String> = Vec::new();
    let mut stops = 0;
    while let Some(stop) = next_stop(&mut client, answers[0].id)? {
        stops += 1;
        // Threads that came to it together stop the program once: each is found at the line.
        let threads = client.request("threads", json!({}))?;
        for thread in threads["threads"].as_array().cloned().unwrap_or_default() {
            let body = client.request(
                "stackTrace",
                json!({"threadId": thread["id"], "startFrame": 0, "levels": 1}),
            )?;
            let frame = &body["stackFrames"][0];
            if frame["name"] != "main.visit" || frame["line"] != line {
                continue;
            }
            let arguments = json!({"expression": "i", "frameId": frame["id"], "context": "watch"});
            let value = client.request("evaluate", arguments)?;
            let value = value["result"].as_str().unwrap_or_default().to_owned();
            let number: i64 = value.parse().attempt("reading i")?;
            let is_told = thread["id"] == stop.body["threadId"];
            let is_true = matches!(number % 2500, 1000 | 1001);
            assert!(is_true || !is_told, "stopped for {number}");
            if is_true && !seen.contains(&value) {
                seen.push(value);
            }
        }
        resume(&mut client)?;
    }
    assert_eq!(seen.len(), 16, "in {stops} stops: {seen:?}");
    assert!(stops <= 16, "{stops} stops");
    let finished = client.disconnect(json!({}))?;
    // The sum of 2*i + 4 for i below 20,000.
    assert!(finished.stdout.contains("worked 400060000"), "{}", finished.stdout);
    Ok(())
}

#[test]
fn hits_are_counted_over_all_places_of_a_breakpoint() -> Result<()> {
    let built = program(Build::NoOpt)?;
    // Three instantiations, each with a place of its own, each passed six times.
    for (hits, expected) in [("> 15", 3), ("== 4", 1), ("% 5", 3)] {
        let wanted = counted(&built, "// compared", hits)?;
        let line = i64::from(wanted.line);
        let (mut client, answers) = launched(&built, &["generic", "6"], &[wanted])?;
        assert_eq!(answers[0].message, None);
        let stops = all_stops(&mut client, answers[0].id, &[])?;
        assert_eq!(stops.len(), expected, "{hits}");
        assert!(stops.iter().all(|(at, _)| *at == line));
        client.disconnect(json!({}))?;
    }
    Ok(())
}

#[test]
fn a_count_goes_on_where_the_terms_change() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let (mut client, answers) = launched(&built, &["count", "100"], &[counted(&built, VISITED, "== 10")?])?;
    client.configuration_done()?;
    let stop = next_stop(&mut client, answers[0].id)?.attempt("stopping")?;
    assert_eq!(look(&mut client, &stop, &["i"])?.1, ["9"]);
    // Ten have been counted: ten more make twenty, also where an unconditional breakpoint on the line makes it a stop site for a while.
    let source = built.source("main.go");
    let again = client.set_breakpoints(&source, &[counted(&built, VISITED, "== 20")?])?;
    assert_eq!(again[0].id, answers[0].id);
    resume(&mut client)?;
    let stop = next_stop(&mut client, answers[0].id)?.attempt("stopping")?;
    assert_eq!(look(&mut client, &stop, &["i"])?.1, ["19"]);
    resume(&mut client)?;
    assert!(next_stop(&mut client, None)?.is_none());
    client.disconnect(json!({}))?;
    Ok(())
}

#[test]
fn fields_pointers_strings_and_floats_decide() -> Result<()> {
    let built = program(Build::NoOpt)?;
    for (condition, expected) in [
        ("o.customer == \"Grace\"", "2"),
        ("len(o.lines) == 2 && o.lines[1] == 2", "1"),
        ("o.total > 20.25", "2"),
        ("o.next != nil && o.next.id == 2", "1"),
        ("o.next == nil", "2"),
    ] {
        let (mut client, answers) = launched(&built, &["orders"], &[conditional(&built, "// placed", condition)?])?;
        assert_eq!(answers[0].message, None, "{condition}");
        let stops = all_stops(&mut client, answers[0].id, &["o.id"])?;
        let ids: Vec<&str> = stops.iter().map(|(_, values)| &*values[0]).collect();
        assert_eq!(ids, [expected], "{condition}");
        client.disconnect(json!({}))?;
    }
    Ok(())
}

#[test]
fn what_has_no_value_stops_and_says_why() -> Result<()> {
    let built = program(Build::NoOpt)?;
    // The second order has no next one.
    let (mut client, _) = launched(
        &built,
        &["orders"],
        &[conditional(&built, "// placed", "o.next.id == 7")?],
    )?;
    client.configuration_done()?;
    let stop = client.event("stopped")?;
    assert_eq!(stop.body["reason"], "exception", "{stop:?}");
    assert_eq!(stop.body["text"], "error evaluating expression: o.next is nil");
    assert_eq!(look(&mut client, &stop, &["o.id"])?.1, ["2"]);
    resume(&mut client)?;
    client.event("terminated")?;
    client.disconnect(json!({}))?;
    Ok(())
}

#[test]
fn a_condition_beyond_the_kernel_is_evaluated_at_stops_and_that_is_told() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let wanted = conditional(&built, VISITED, "i == 30 && stock[name] == 1")?;
    let (mut client, answers) = launched(&built, &["count", "100"], &[wanted])?;
    let message = answers[0].message.clone().unwrap_or_default();
    assert!(message.starts_with("evaluated at a stop: stock[name]: "), "{message}");
    let stops = all_stops(&mut client, answers[0].id, &["i"])?;
    assert_eq!(stops.iter().map(|(_, values)| &*values[0]).collect::<Vec<_>>(), ["30"]);
    client.disconnect(json!({}))?;
    Ok(())
}

#[test]
fn function_and_instruction_breakpoints_have_conditions_too() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({"mode": "exec", "program": built.program, "args": ["count", "1000"]}))?;
    let body = client.request(
        "setFunctionBreakpoints",
        json!({"breakpoints": [{"name": "main.visit", "condition": "i == 300"}]}),
    )?;
    assert_eq!(body["breakpoints"][0]["verified"], true, "{body}");
    client.configuration_done()?;
    let stop = client.event("stopped")?;
    assert_eq!(stop.body["reason"], "function breakpoint");
    assert_eq!(look(&mut client, &stop, &["i"])?.1, ["300"]);
    let body = client.request(
        "stackTrace",
        json!({"threadId": stop.body["threadId"], "startFrame": 0, "levels": 1}),
    )?;
    let here = body["stackFrames"][0]["instructionPointerReference"].clone();
    client.request("setFunctionBreakpoints", json!({"breakpoints": []}))?;
    let body = client.request(
        "setInstructionBreakpoints",
        json!({"breakpoints": [{"instructionReference": here, "condition": "i == 300 || i == 600"}]}),
    )?;
    assert_eq!(body["breakpoints"][0]["verified"], true, "{body}");
    resume(&mut client)?;
    let stop = client.event("stopped")?;
    assert_eq!(
        stop.body["reason"], "instruction breakpoint",
        "the thread that stands there has passed it"
    );
    assert_eq!(look(&mut client, &stop, &["i"])?.1, ["600"]);
    resume(&mut client)?;
    client.event("terminated")?;
    client.disconnect(json!({}))?;
    Ok(())
}

#[test]
fn a_step_over_a_line_with_a_conditional_breakpoint_is_a_step() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let beside = SourceBreakpoint {
        condition: Some("i == 3".to_owned()),
        ..SourceBreakpoint::stop(built.line("main.go", "doubled := i * 2")?)
    };
    let (mut client, answers) = launched(
        &built,
        &["count", "1000"],
        &[beside, conditional(&built, VISITED, "i == 3 || i == 500")?],
    )?;
    client.configuration_done()?;
    let stop = next_stop(&mut client, answers[0].id)?.attempt("stopping")?;
    assert_eq!(look(&mut client, &stop, &["i"])?.1, ["3"]);
    // The step arrives at a line whose own condition is true: one stop.
    client.request("next", json!({"threadId": stop.body["threadId"]}))?;
    let stepped = client.event("stopped")?;
    assert_eq!(look(&mut client, &stepped, &["passes"])?.1, ["3"]);
    client.request("next", json!({"threadId": stop.body["threadId"]}))?;
    let stepped = client.event("stopped")?;
    assert_eq!(stepped.body["reason"], "step");
    assert_eq!(look(&mut client, &stepped, &["passes"])?.1, ["4"]);
    resume(&mut client)?;
    let stop = next_stop(&mut client, answers[1].id)?.attempt("stopping once more")?;
    assert_eq!(look(&mut client, &stop, &["i"])?.1, ["500"]);
    resume(&mut client)?;
    assert!(next_stop(&mut client, None)?.is_none());
    client.disconnect(json!({}))?;
    Ok(())
}

#[test]
fn a_panic_stops_a_program_whose_conditions_were_false() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let wanted = conditional(&built, VISITED, "i < 0")?;
    let (mut client, _) = launched(&built, &["panic", "20000"], &[wanted])?;
    client.configuration_done()?;
    let stop = client.event("stopped")?;
    assert_eq!(stop.body["reason"], "exception", "{stop:?}");
    assert_eq!(stop.body["description"], "panic");
    client.disconnect(json!({"terminateDebuggee": true}))?;
    Ok(())
}

#[test]
fn signals_that_come_at_the_same_moment_lose_nothing() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let wanted = conditional(&built, VISITED, "i % 500 == 250")?;
    let line = i64::from(wanted.line);
    let (mut client, answers) = launched(&built, &["signals", "20000"], &[wanted])?;
    let stops = all_stops(&mut client, answers[0].id, &["i", "doubled"])?;
    let numbers: Vec<(i64, String)> = (0..40).map(|n| (line, (n * 500 + 250).to_string())).collect();
    let found: Vec<(i64, String)> = stops.iter().map(|(at, values)| (*at, values[0].clone())).collect();
    assert_eq!(found, numbers);
    let finished = client.disconnect(json!({}))?;
    assert!(finished.stdout.contains("signalled 400060000"), "{}", finished.stdout);
    Ok(())
}

/// The program, started by nobody's debugger, and a session that has attached to it.
fn attached(built: &Built, args: &[&str], configuration: Value) -> Result<(ChildGroup, DapClient)> {
    let running = ChildGroup::start(Command::new(&built.program).args(args))?;
    let mut arguments = json!({"mode": "local", "processId": running.pid()});
    if let (Some(arguments), Value::Object(more)) = (arguments.as_object_mut(), configuration) {
        arguments.extend(more);
    }
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.attach(arguments)?;
    Ok((running, client))
}

fn ticks_on(running: &ChildGroup) -> Result<()> {
    let seen = running.stdout.text().lines().count();
    running.stdout.wait_for("the program to go on", STEP, |text| {
        (text.lines().count() > seen + 1).then_some(())
    })
}

#[test]
fn an_attached_program_is_stopped_by_a_condition_and_goes_on_unharmed() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let (running, mut client) = attached(&built, &["ticks"], json!({}))?;
    let wanted = conditional(&built, VISITED, "i % 300 == 299")?;
    let answers = client.set_breakpoints(&built.source("main.go"), &[wanted])?;
    assert!(answers[0].verified && answers[0].message.is_none(), "{answers:?}");
    client.configuration_done()?;
    assert_eq!(tracer_of(running.pid()), Some(0));
    for _ in 0..2 {
        let stop = next_stop(&mut client, answers[0].id)?.attempt("stopping")?;
        let (_, values) = look(&mut client, &stop, &["i % 300"])?;
        assert_eq!(values, ["299"]);
        resume(&mut client)?;
    }
    // Let go while it stands at the breakpoint.
    next_stop(&mut client, answers[0].id)?.attempt("stopping")?;
    client.disconnect(json!({}))?;
    assert_eq!(tracer_of(running.pid()), Some(0));
    ticks_on(&running)?;
    running.signal(nix::sys::signal::Signal::SIGKILL)?;
    Ok(())
}

#[test]
fn a_logpoint_with_a_condition_on_an_attached_program_needs_no_tracer() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let (running, mut client) = attached(&built, &["ticks"], json!({}))?;
    let wanted = SourceBreakpoint {
        condition: Some("i % 50 == 7 && name == \"lamp\"".to_owned()),
        hit_condition: Some("> 2".to_owned()),
        ..SourceBreakpoint::log(built.line("main.go", VISITED)?, "visited {i % 50} {name}")
    };
    let answers = client.set_breakpoints(&built.source("main.go"), &[wanted])?;
    assert!(answers[0].verified, "{answers:?}");
    client.configuration_done()?;
    for _ in 0..3 {
        let said = client.output("stdout", "visited")?;
        assert!(said.ends_with("visited 7 \"lamp\"\n"), "{said}");
    }
    assert_eq!(tracer_of(running.pid()), Some(0));
    let body = client.request("spelunk/probes", json!({}))?;
    let probe = &body["probes"][0];
    assert_eq!(probe["carrier"], "kernel", "{body}");
    let number = |name: &str| probe[name].as_u64().unwrap_or_default();
    assert!(number("hits") > 100 && number("emitted") >= 3, "{body}");
    let accounted = ["conditionFalse", "throttled", "ringFull", "idle", "emitted"];
    assert_eq!(number("hits"), accounted.into_iter().map(number).sum::<u64>(), "{body}");
    client.disconnect(json!({}))?;
    ticks_on(&running)?;
    running.signal(nix::sys::signal::Signal::SIGKILL)?;
    Ok(())
}

#[test]
fn a_logpoint_that_only_stops_can_serve_is_refused_unless_it_is_allowed() -> Result<()> {
    let built = program(Build::NoOpt)?;
    for allowed in [false, true] {
        let (running, mut client) = attached(&built, &["ticks"], json!({"allowStopForLogpoints": allowed}))?;
        let wanted = SourceBreakpoint {
            condition: Some("stock[name] == 1".to_owned()),
            ..SourceBreakpoint::log(built.line("main.go", VISITED)?, "visited {name}")
        };
        let answers = client.set_breakpoints(&built.source("main.go"), &[wanted])?;
        client.configuration_done()?;
        if allowed {
            assert!(answers[0].verified, "{answers:?}");
            client.output("stdout", "visited \"lamp\"")?;
        } else {
            let why = answers[0].message.clone().unwrap_or_default();
            assert!(!answers[0].verified, "{answers:?}");
            assert!(
                why.contains("stock[name]") && why.contains("allowStopForLogpoints"),
                "{why}"
            );
            assert_eq!(tracer_of(running.pid()), Some(0));
        }
        client.disconnect(json!({}))?;
        ticks_on(&running)?;
        running.signal(nix::sys::signal::Signal::SIGKILL)?;
    }
    Ok(())
}

#[test]
fn messages_beyond_the_rate_limit_are_counted_and_told() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({
        "mode": "exec", "program": built.program, "args": ["count", "50000"], "logpointRateLimit": 10,
    }))?;
    let wanted = SourceBreakpoint::log(built.line("main.go", VISITED)?, "visited {i}");
    let answers = client.set_breakpoints(&built.source("main.go"), &[wanted])?;
    assert!(answers[0].verified, "{answers:?}");
    client.configuration_done()?;
    client.event("terminated")?;
    let said = client.outputs_so_far("stdout").matches("visited ").count() as u64;
    let told = client.output("console", "were left out by the rate limit")?;
    let body = client.request("spelunk/probes", json!({}))?;
    let number = |name: &str| body["probes"][0][name].as_u64().unwrap_or_default();
    assert_eq!((number("hits"), number("emitted")), (50_000, said), "{body}");
    assert_eq!(number("throttled"), 50_000 - said, "{body}");
    assert!(told.contains(&format!("{} were left out", 50_000 - said)), "{told}");
    client.disconnect(json!({}))?;
    Ok(())
}

#[test]
fn the_clients_directories_are_guessed_from_the_programs_functions() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let guess = json!({"guessSubstitutePath": {
        "ImportPathOfMainPackage": "conditional",
        "ClientGOROOT": "/client/go",
        "ClientModuleDirectories": {"conditional": "/client/src"},
    }});
    let (running, mut client) = attached(&built, &["ticks"], guess)?;
    let wanted = SourceBreakpoint::stop(built.line("main.go", VISITED)?);
    let answers = client.set_breakpoints("/client/src/main.go", &[wanted])?;
    assert!(answers[0].verified, "{answers:?}");
    client.configuration_done()?;
    let stop = next_stop(&mut client, answers[0].id)?.attempt("stopping")?;
    let body = client.request("stackTrace", json!({"threadId": stop.body["threadId"]}))?;
    let frames = body["stackFrames"].as_array().cloned().unwrap_or_default();
    assert_eq!(frames[0]["source"]["path"], "/client/src/main.go");
    let runtime = frames
        .iter()
        .find(|frame| frame["name"] == "runtime.main")
        .attempt("runtime.main")?;
    let path = runtime["source"]["path"].as_str().unwrap_or_default();
    assert!(path.starts_with("/client/go/src/runtime/"), "{path}");
    client.disconnect(json!({}))?;
    running.signal(nix::sys::signal::Signal::SIGKILL)?;
    Ok(())
}

#[test]
fn probes_that_cost_too_much_are_switched_off_until_the_limit_is_raised() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let (running, mut client) = attached(&built, &["busy"], json!({"probeCpuLimit": 5}))?;
    let never = SourceBreakpoint {
        condition: Some("i < 0".to_owned()),
        ..SourceBreakpoint::log(built.line("main.go", VISITED)?, "visited {i}")
    };
    let answers = client.set_breakpoints(&built.source("main.go"), &[never])?;
    assert!(answers[0].verified, "{answers:?}");
    client.configuration_done()?;
    let changed = |client: &mut DapClient| client.event_where("a change", STEP, |event| event.event == "breakpoint");
    let off = changed(&mut client)?.body;
    assert_eq!(
        (&off["reason"], &off["breakpoint"]["id"]),
        (&json!("changed"), &json!(answers[0].id))
    );
    assert_eq!(off["breakpoint"]["verified"], false);
    let why = off["breakpoint"]["message"].as_str().unwrap_or_default();
    assert!(
        why.contains("may take 5.0 %") && why.contains("dlv config probeCpuLimit"),
        "{why}"
    );
    client.output("important", "switched off")?;
    let carrier = |client: &mut DapClient| -> Result<Value> {
        Ok(client.request("spelunk/probes", json!({}))?["probes"][0]["carrier"].clone())
    };
    assert_eq!(carrier(&mut client)?, "switchedOff");
    // The user may have it otherwise, while the program runs.
    let raise = json!({"expression": "dlv config probeCpuLimit 0", "context": "repl"});
    let said = client.request("evaluate", raise)?;
    assert_eq!(said["result"], "probeCpuLimit\t0\n\nUpdated");
    let on = changed(&mut client)?.body;
    assert_eq!(on["breakpoint"]["verified"], true, "{on}");
    assert_eq!(carrier(&mut client)?, "kernel");
    assert_eq!(tracer_of(running.pid()), Some(0));
    client.disconnect(json!({}))?;
    running.signal(nix::sys::signal::Signal::SIGKILL)?;
    Ok(())
}

#[test]
fn a_program_that_is_let_go_at_any_moment_goes_on() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut random = Numbers::new(now.map_or(1, |now| now.as_nanos() as u64));
    let (running, mut first) = attached(&built, &["storm"], json!({}))?;
    first.configuration_done()?;
    first.disconnect(json!({}))?;
    for round in 0..20 {
        let mut client = DapClient::start(&paths::spelunk()?)?;
        client.attach(json!({"mode": "local", "processId": running.pid()}))?;
        let wanted = conditional(&built, VISITED, "i % 2000 == 7")?;
        let answers = client.set_breakpoints(&built.source("main.go"), &[wanted])?;
        assert!(answers[0].verified && answers[0].message.is_none(), "{answers:?}");
        client.configuration_done()?;
        for _ in 0..random.below(4) {
            client.event("stopped")?;
            client.request("continue", json!({"threadId": 1}))?;
        }
        std::thread::sleep(Duration::from_micros(random.below(8_000) as u64));
        match round % 3 {
            0 => client.disconnect(json!({})).map(drop)?,
            1 => {
                client.set_breakpoints(&built.source("main.go"), &[])?;
                client.disconnect(json!({}))?;
            }
            _ => {
                let mut server = client.hang_up();
                server.finish_within(STEP)?;
            }
        }
        assert_eq!(tracer_of(running.pid()), Some(0), "round {round}");
        ticks_on(&running)?;
    }
    running.signal(nix::sys::signal::Signal::SIGKILL)?;
    Ok(())
}

#[test]
fn signals_do_not_move_an_untraced_program_from_its_stop() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let (running, first) = attached(&built, &["storm"], json!({}))?;
    first.disconnect(json!({}))?;
    let pid = running.pid();
    let over = Arc::new(AtomicBool::new(false));
    let storm = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            while !over.load(Ordering::Relaxed) {
                for task in std::fs::read_dir(format!("/proc/{pid}/task"))
                    .into_iter()
                    .flatten()
                    .flatten()
                {
                    let thread = task.file_name().to_str().and_then(|name| name.parse::<i32>().ok());
                    for signal in [libc::SIGHUP, libc::SIGUSR1] {
                        // SAFETY: takes three integers.
                        unsafe { libc::syscall(libc::SYS_tgkill, pid, thread.unwrap_or(0), signal) };
                    }
                }
            }
        }
    });
    let rounds = || -> Result<()> {
        for round in 0..12 {
            let mut client = DapClient::start(&paths::spelunk()?)?;
            client.attach(json!({"mode": "local", "processId": pid}))?;
            let wanted = conditional(&built, VISITED, "i % 1000 == 7")?;
            let line = i64::from(wanted.line);
            let answers = client.set_breakpoints(&built.source("main.go"), &[wanted])?;
            client.configuration_done()?;
            let stop = next_stop(&mut client, answers[0].id)?.attempt("stopping")?;
            let (at, values) = look(&mut client, &stop, &["i % 1000", "name"])?;
            assert_eq!(
                (at, &values[..]),
                (line, &["7".to_owned(), "\"lamp\"".to_owned()][..]),
                "round {round}"
            );
            client.disconnect(json!({}))?;
            ticks_on(&running)?;
        }
        Ok(())
    };
    let result = rounds();
    over.store(true, Ordering::Relaxed);
    let _ = storm.join();
    running.signal(nix::sys::signal::Signal::SIGKILL)?;
    result
}

/// How long a test may let a program run that nothing is to happen in.
const QUIET: Duration = Duration::from_millis(300);

#[test]
fn a_breakpoint_that_is_taken_out_acts_no_more() -> Result<()> {
    let built = program(Build::NoOpt)?;
    let (running, mut client) = attached(&built, &["ticks"], json!({}))?;
    let source = built.source("main.go");
    for round in 0..5 {
        let wanted = conditional(&built, VISITED, &format!("i % 4 == {}", round % 4))?;
        let answers = client.set_breakpoints(&source, &[wanted])?;
        if round == 0 {
            client.configuration_done()?;
        }
        next_stop(&mut client, answers[0].id)?.attempt("stopping")?;
        client.set_breakpoints(&source, &[])?;
        resume(&mut client)?;
        let none = client.event_where("no stop", QUIET, |event| event.event == "stopped");
        assert!(none.is_err(), "{none:?}");
    }
    client.disconnect(json!({}))?;
    ticks_on(&running)?;
    running.signal(nix::sys::signal::Signal::SIGKILL)?;
    Ok(())
}
