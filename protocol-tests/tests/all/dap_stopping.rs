//! Sessions that stop the program, with any version of Go: no dlv is needed to know what is right.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use protocol_tests::child::{ChildGroup, descendants, is_alive, tracer_of, wait_until};
use protocol_tests::corpus::Numbers;
use protocol_tests::dap_client::{DapClient, Event, STEP, SourceBreakpoint};
use protocol_tests::failure::{Attempt, Failure, Result};
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, Built, fixture};
use serde_json::{Value, json};

/// A session with a launched program, its breakpoints set, not configured yet.
fn launched(built: &Built, args: &[&str], breakpoints: &[SourceBreakpoint]) -> Result<DapClient> {
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({"mode": "exec", "program": built.program, "args": args}))?;
    for answer in client.set_breakpoints(&built.source("main.go"), breakpoints)? {
        assert!(answer.verified, "{answer:?}");
    }
    Ok(client)
}

fn stop_at(built: &Built, marker: &str) -> Result<SourceBreakpoint> {
    Ok(SourceBreakpoint::stop(built.line("main.go", marker)?))
}

fn stopped(client: &mut DapClient) -> Result<Event> {
    client.event("stopped")
}

/// Moves the program and waits for its next stop.
fn go(client: &mut DapClient, command: &str) -> Result<Event> {
    client.request(command, json!({"threadId": 1}))?;
    stopped(client)
}

/// `FUNCTION:LINE` of the innermost frames of goroutine 1.
fn stack(client: &mut DapClient) -> Result<Vec<String>> {
    let body = client.request("stackTrace", json!({"threadId": 1, "startFrame": 0, "levels": 3}))?;
    let frames = body["stackFrames"].as_array().cloned().unwrap_or_default();
    Ok(frames
        .iter()
        .map(|frame| format!("{}:{}", frame["name"].as_str().unwrap_or_default(), frame["line"]))
        .collect())
}

/// The scopes of the innermost frame, by name, each with its variables as `name = value`.
fn scopes(client: &mut DapClient) -> Result<Vec<(String, i64, Vec<String>)>> {
    let body = client.request("stackTrace", json!({"threadId": 1, "startFrame": 0, "levels": 1}))?;
    let scopes = client.request("scopes", json!({"frameId": body["stackFrames"][0]["id"]}))?;
    let mut found = Vec::new();
    for scope in scopes["scopes"].as_array().cloned().unwrap_or_default() {
        let reference = scope["variablesReference"].as_i64().unwrap_or_default();
        let body = client.request("variables", json!({"variablesReference": reference}))?;
        let variables = body["variables"].as_array().cloned().unwrap_or_default();
        let texts = variables
            .iter()
            .map(|one| format!("{} = {}", text(&one["name"]), text(&one["value"])))
            .collect();
        found.push((text(&scope["name"]), reference, texts));
    }
    Ok(found)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

#[test]
fn an_ordinary_session_with_any_version_of_go() -> Result<()> {
    let built = fixture("walks", Build::NoOpt)?;
    let mut client = launched(&built, &[], &[stop_at(&built, "// square")?])?;
    client.configuration_done()?;
    assert_eq!(stopped(&mut client)?.body["reason"], "breakpoint");
    let at = |marker: &str| built.line("main.go", marker);
    let place = |function: &str, marker: &str| Ok::<_, Failure>(format!("{function}:{}", at(marker)?));
    assert_eq!(
        stack(&mut client)?,
        [
            place("main.square", "// square")?,
            place("main.main", "// first")?,
            stack(&mut client)?[2].clone()
        ]
    );
    let (name, _, variables) = scopes(&mut client)?.remove(0);
    assert_eq!(name, "Locals");
    assert!(variables.contains(&"n = 3".to_owned()), "{variables:?}");

    assert_eq!(go(&mut client, "next")?.body["reason"], "step");
    assert_eq!(stack(&mut client)?[0], place("main.square", "return result")?);
    let (_, _, variables) = scopes(&mut client)?.remove(0);
    assert!(variables.contains(&"result = 9".to_owned()), "{variables:?}");

    go(&mut client, "stepOut")?;
    assert_eq!(stack(&mut client)?[0], place("main.main", "// first")?);
    let returned = scopes(&mut client)?;
    let returned = returned.iter().find(|(name, ..)| name == "Return values");
    let (_, _, values) = returned.attempt("finding the scope of what was returned")?;
    assert!(values.iter().any(|value| value.ends_with("= 9")), "{values:?}");

    go(&mut client, "next")?;
    assert_eq!(stack(&mut client)?[0], place("main.main", "twice(a)")?);
    let returned = scopes(&mut client)?;
    assert!(returned.iter().all(|(name, ..)| name == "Locals"), "{returned:?}");
    go(&mut client, "stepIn")?;
    assert!(stack(&mut client)?[0].starts_with("main.twice:"));

    client.set_breakpoints(&built.source("main.go"), &[])?;
    client.request("continue", json!({"threadId": 1}))?;
    client.event("terminated")?;
    let ended = client.disconnect(json!({}))?;
    assert!(ended.stdout.contains("9 18 9 14 31 32"), "{}", ended.stdout);
    Ok(())
}

#[test]
fn panics_stop_with_any_version_of_go() -> Result<()> {
    let built = fixture("fails", Build::NoOpt)?;
    for (how, text, traced) in [
        ("error", "\"an error's text\"", true),
        ("index", "\"runtime error: index out of range [5] with length 3\"", true),
        ("number", "42", false),
    ] {
        let breakpoints = if traced {
            vec![stop_at(&built, "// outer")?]
        } else {
            Vec::new()
        };
        let mut client = launched(&built, &[how], &breakpoints)?;
        client.configuration_done()?;
        if traced {
            stopped(&mut client)?;
            client.request("continue", json!({"threadId": 1}))?;
        }
        let stop = stopped(&mut client)?;
        assert_eq!(
            (&stop.body["reason"], &stop.body["text"]),
            (&json!("exception"), &json!(text)),
            "{stop:?}"
        );
        let info = client.request("exceptionInfo", json!({"threadId": stop.body["threadId"]}))?;
        assert_eq!(
            (&info["exceptionId"], &info["description"]),
            (&json!("panic"), &json!(text))
        );
        assert!(
            info["details"]["stackTrace"].to_string().contains("main.inner"),
            "{info}"
        );
        client.request("continue", json!({"threadId": 1}))?;
        assert_eq!(client.event("exited")?.body["exitCode"], 2);
        client.event("terminated")?;
        client.disconnect(json!({}))?;
    }
    Ok(())
}

#[test]
fn what_is_set_is_what_the_program_has() -> Result<()> {
    let built = fixture("kinds", Build::NoOpt)?;
    let mut client = launched(&built, &[], &[stop_at(&built, "// stop before setting")?])?;
    client.configuration_done()?;
    stopped(&mut client)?;
    let (_, locals, _) = scopes(&mut client)?.remove(0);
    for (name, value) in [
        ("count", "17"),
        ("ratio", "2.75"),
        ("ready", "true"),
        ("small", "200"),
        ("colour", "2"),
    ] {
        let set = client.request(
            "setVariable",
            json!({"variablesReference": locals, "name": name, "value": value}),
        )?;
        assert_eq!(set["value"], value);
    }
    let evaluated = client.request("evaluate", json!({"expression": "count + 1", "context": "watch"}))?;
    assert_eq!(evaluated["result"], "18");
    client.request("continue", json!({"threadId": 1}))?;
    client.event("terminated")?;
    let ended = client.disconnect(json!({}))?;
    assert!(
        ended.stdout.contains("17 2.75 true 200 {1 2} [1 2 3] 2"),
        "{}",
        ended.stdout
    );
    Ok(())
}

#[test]
fn a_breakpoint_and_a_logpoint_share_an_address() -> Result<()> {
    let built = fixture("walks", Build::NoOpt)?;
    let first = built.line("main.go", "func square(")?;
    let mut client = launched(&built, &[], &[SourceBreakpoint::log(first, "square of {n}")])?;
    let body = json!({"breakpoints": [{"name": "main.square", "condition": "n == 2"}]});
    let set = client.request("setFunctionBreakpoints", body)?;
    assert_eq!(set["breakpoints"][0]["verified"], true, "{set}");
    client.configuration_done()?;
    let stop = stopped(&mut client)?;
    assert_eq!(stop.body["reason"], "function breakpoint", "{stop:?}");
    // All that were passed, this one included, have been told before the stop.
    let told = client.outputs_so_far("stdout");
    let line = |n: u32| format!("> [Go 1]: square of {n}\n");
    let expected = [3, 0, 1, 2].map(line).concat();
    assert_eq!(told, expected);
    // Without the breakpoint the logpoint goes on alone.
    client.request("setFunctionBreakpoints", json!({"breakpoints": []}))?;
    client.request("continue", json!({"threadId": 1}))?;
    client.event("terminated")?;
    assert_eq!(client.outputs_so_far("stdout"), expected + &line(3));
    client.disconnect(json!({})).map(drop)
}

#[test]
fn a_step_passes_a_logpoint_once() -> Result<()> {
    let built = fixture("walks", Build::NoOpt)?;
    let breakpoints = [
        stop_at(&built, "// square")?,
        SourceBreakpoint::log(built.line("main.go", "return result")?, "returns {result}"),
    ];
    let mut client = launched(&built, &[], &breakpoints)?;
    client.configuration_done()?;
    stopped(&mut client)?;
    go(&mut client, "next")?;
    go(&mut client, "stepOut")?;
    assert_eq!(client.outputs_so_far("stdout"), "> [Go 1]: returns 9\n");
    client.disconnect(json!({})).map(drop)
}

/// Moments differ from run to run.
fn random() -> Numbers {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    Numbers::new(now.map_or(1, |now| now.as_nanos() as u64))
}

/// A random moment below a limit in microseconds.
fn moment(random: &mut Numbers, limit: usize) -> Duration {
    Duration::from_micros(random.below(limit) as u64)
}

#[test]
fn a_hundred_pauses_at_random_moments() -> Result<()> {
    const LATEST: Duration = Duration::from_millis(200);
    let built = fixture("walks", Build::NoOpt)?;
    let mut random = random();
    for how in ["busy", "forever"] {
        let mut client = launched(&built, &[how], &[])?;
        client.configuration_done()?;
        let mut late = Vec::new();
        for round in 0..50 {
            std::thread::sleep(moment(&mut random, 5_000));
            let asked = Instant::now();
            client.request("pause", json!({"threadId": 1}))?;
            let stop = stopped(&mut client)?;
            let took = asked.elapsed();
            if took > LATEST {
                late.push((round, took));
            }
            assert_eq!(stop.body["reason"], "pause", "{stop:?}");
            match stack(&mut client) {
                Ok(frames) => assert!(!frames.is_empty(), "{frames:?}"),
                // The first moments of a program have no goroutine yet.
                Err(failure) => assert!(round < 3, "{failure:?}"),
            }
            client.request("continue", json!({"threadId": 1}))?;
        }
        // A loaded machine may be late now and then, not as a rule.
        assert!(late.len() < 5, "{late:?}");
        client.disconnect(json!({}))?;
    }
    Ok(())
}

#[test]
fn a_program_killed_at_any_moment_ends_the_session() -> Result<()> {
    let built = fixture("walks", Build::NoOpt)?;
    let mut random = random();
    for round in 0..24 {
        let stops = round % 3 != 0;
        let breakpoints = if stops {
            vec![stop_at(&built, "// Add")?]
        } else {
            Vec::new()
        };
        let mut client = launched(&built, &["forever"], &breakpoints)?;
        let target = target(&mut client)?;
        let until = moment(&mut random, 30_000);
        let killer = std::thread::spawn(move || {
            std::thread::sleep(until);
            kill(Pid::from_raw(target), Signal::SIGKILL)
        });
        client.send("configurationDone", Value::Null)?;
        // What the client asks for meanwhile may be served or refused, but is answered.
        let commands = [
            "continue",
            "next",
            "stackTrace",
            "threads",
            "pause",
            "stepIn",
            "continue",
        ];
        for command in commands {
            let seq = client.send(command, json!({"threadId": 1}))?;
            client.response_within(seq, STEP)?;
            std::thread::sleep(moment(&mut random, 5_000));
        }
        killer
            .join()
            .map_err(|_| Failure::new("the killer panicked"))?
            .attempt("killing the program")?;
        client.event("terminated")?;
        let ended = client.disconnect(json!({}))?;
        assert_eq!(ended.code(), 0, "round {round}: {}", ended.stderr);
        assert!(!is_alive(target), "round {round}");
    }
    Ok(())
}

/// The launched program's process.
fn target(client: &mut DapClient) -> Result<i32> {
    let process = client.event("process")?;
    process.body["systemProcessId"]
        .as_i64()
        .map(|pid| pid as i32)
        .attempt("reading the program's process id")
}

#[test]
fn a_client_that_vanishes_at_any_moment_leaves_nothing_behind() -> Result<()> {
    let built = fixture("walks", Build::NoOpt)?;
    let mut random = random();
    for round in 0..12 {
        let mut client = launched(&built, &["forever"], &[stop_at(&built, "// Add")?])?;
        let target = target(&mut client)?;
        client.send("configurationDone", Value::Null)?;
        for command in ["next", "continue", "stepOut"].iter().take(round % 4) {
            client.send(command, json!({"threadId": 1}))?;
        }
        std::thread::sleep(moment(&mut random, 20_000));
        client.hang_up().finish(STEP)?;
        wait_until("the program to end", STEP, || (!is_alive(target)).then_some(()))?;
    }
    Ok(())
}

#[test]
fn an_attached_program_goes_on_as_it_was() -> Result<()> {
    let built = fixture("counter", Build::NoOpt)?;
    let mut running = ChildGroup::start(&mut Command::new(&built.program))?;
    let pid = running.pid();
    let mut random = random();
    for round in 0..10 {
        let mut client = DapClient::start(&paths::spelunk()?)?;
        client.attach(json!({"mode": "local", "processId": pid}))?;
        let at = [stop_at(&built, "// a logpoint stands here")?];
        assert!(client.set_breakpoints(&built.source("main.go"), &at)?[0].verified);
        client.configuration_done()?;
        stopped(&mut client)?;
        match round % 4 {
            0 => {}
            1 => drop(go(&mut client, "next")?),
            2 => drop(client.request("continue", json!({"threadId": 1}))?),
            _ => {
                client.send("next", json!({"threadId": 1}))?;
                std::thread::sleep(moment(&mut random, 3_000));
            }
        }
        if round % 2 == 0 {
            assert_eq!(client.disconnect(json!({"terminateDebuggee": false}))?.code(), 0);
        } else {
            client.hang_up().finish(STEP)?;
        }
        let before = running.stdout.text().lines().count();
        running.stdout.wait_for("the program to go on", STEP, |text| {
            (text.lines().count() > before + 2).then_some(())
        })?;
        assert_eq!(tracer_of(pid), Some(0), "round {round}");
        assert!(running.poll()?.is_none(), "round {round}");
    }
    // It counts without a gap: nothing was skipped, nothing done twice.
    let text = running.stdout.text();
    for (line, expected) in text.lines().zip(1..) {
        assert_eq!(line, format!("{expected}"));
    }
    Ok(())
}

#[test]
fn a_program_with_logpoints_alone_is_not_traced() -> Result<()> {
    let built = fixture("walks", Build::NoOpt)?;
    let line = built.line("main.go", "// Add")?;
    let mut client = launched(&built, &["forever"], &[SourceBreakpoint::log(line, "{price}")])?;
    let target = target(&mut client)?;
    client.configuration_done()?;
    client.output("stdout", "> [Go 1]: 2")?;
    assert_eq!(tracer_of(target), Some(0));
    // The first pause traces it.
    client.request("pause", json!({"threadId": 1}))?;
    stopped(&mut client)?;
    assert_ne!(tracer_of(target), Some(0));
    client.request("continue", json!({"threadId": 1}))?;
    client.output("stdout", "> [Go 1]: 1")?;
    client.disconnect(json!({}))?;
    assert_eq!(descendants(target), Vec::<i32>::new());
    Ok(())
}
