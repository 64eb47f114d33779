//! A session from first to last message: launch, attach, threads, the end.

use std::path::Path;
use std::process::Command;

use nix::sys::signal::Signal;
use protocol_tests::child::{ChildGroup, descendants, is_alive, wait_until};
use protocol_tests::dap_client::{DapClient, DapServer, Event, Message, STEP, SourceBreakpoint};
use protocol_tests::failure::Result;
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, fixture, fixture_dir};
use serde_json::json;

fn order_of(client: &DapClient) -> Vec<String> {
    let name = |message: Message| match message {
        Message::Response(response) => format!("response {}", response.command),
        Message::Event(event) => format!("event {}", event.event),
        Message::Request { .. } => String::new(),
    };
    client
        .received()
        .into_iter()
        .map(name)
        .filter(|name| name != "event output")
        .collect()
}

#[test]
fn the_order_of_a_session() -> Result<()> {
    let built = fixture("orders", Build::NoOpt)?;
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": built.program, "args": ["fail"]}))?;
    client.request("setExceptionBreakpoints", json!({"filters": []}))?;
    client.configuration_done()?;
    let exited = client.event("exited")?;
    assert_eq!(exited.body["exitCode"], 3, "{exited:?}");
    client.event("terminated")?;
    let order = order_of(&client);
    let place = |name: &str| {
        order
            .iter()
            .position(|one| one == name)
            .unwrap_or_else(|| panic!("{name} is not in {order:?}"))
    };
    assert_eq!(place("response initialize"), 0, "{order:?}");
    assert!(place("response configurationDone") < place("event exited"), "{order:?}");
    assert!(place("event exited") < place("event terminated"), "{order:?}");
    let ended = client.disconnect(json!({}))?;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert_eq!(
        ended.stdout.lines().filter(|line| line.contains("pays")).count(),
        2,
        "the program's own output: {}",
        ended.stdout
    );
    Ok(())
}

#[test]
fn debug_mode_builds_the_package() -> Result<()> {
    let dir = fixture_dir("orders");
    let here = tempfile::tempdir().expect("a folder");
    std::fs::copy(dir.join("main.go"), here.path().join("main.go")).expect("copying");
    std::fs::write(here.path().join("go.mod"), "module orders\n\ngo 1.21\n").expect("writing");
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({"request": "launch", "mode": "debug", "program": here.path(), "dlvCwd": here.path(), "outputMode": "remote"}))?;
    let source = here.path().join("main.go");
    let text = std::fs::read_to_string(&source).expect("reading");
    let line = text
        .lines()
        .position(|line| line.contains("// shipped"))
        .map_or(0, |line| line as u32 + 1);
    let set = client.set_breakpoints(
        &source.to_string_lossy(),
        &[SourceBreakpoint::log(line, "shipped {label} {express}")],
    )?;
    assert!(set[0].verified, "{set:?}");
    client.configuration_done()?;
    client.output("stdout", "shipped \"Ada pays 40\" false")?;
    client.output("stdout", "shipped \"Grace pays 250\" true")?;
    client.output("stderr", "refused: an order without items")?;
    client.event("terminated")?;
    client.disconnect(json!({}))?;
    let left: Vec<String> = std::fs::read_dir(here.path())
        .expect("listing")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    assert_eq!(left.len(), 2, "the built program is removed: {left:?}");
    Ok(())
}

#[test]
fn a_build_failure_is_shown() -> Result<()> {
    let here = tempfile::tempdir().expect("a folder");
    std::fs::write(here.path().join("go.mod"), "module broken\n\ngo 1.21\n").expect("writing");
    std::fs::write(
        here.path().join("main.go"),
        "package main\n\nfunc main() {\n\tundefinedName()\n}\n",
    )
    .expect("writing");
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.initialize()?;
    let refused = client.refused(
        "launch",
        json!({"request": "launch", "mode": "debug", "program": here.path(), "dlvCwd": here.path()}),
    )?;
    assert!(
        refused.error_text().contains("Failed to launch") || refused.error_text().contains("Build error"),
        "{refused:?}"
    );
    client.output("stderr", "undefined: undefinedName")?;
    client.disconnect(json!({}))?;
    Ok(())
}

#[test]
fn attach_and_detach() -> Result<()> {
    let built = fixture("counter", Build::Opt)?;
    let mut running = ChildGroup::start(&mut Command::new(&built.program))?;
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.attach(json!({"request": "attach", "mode": "local", "processId": running.pid()}))?;
    client.set_breakpoints(
        &built.source("main.go"),
        &[SourceBreakpoint::log(
            built.line("main.go", "// a logpoint stands here")?,
            "{number} {step.Name}",
        )],
    )?;
    client.configuration_done()?;
    client.output("stdout", "\"counting\"")?;
    let threads = client.request("threads", json!(null))?;
    assert!(
        threads["threads"].as_array().is_some_and(|threads| !threads.is_empty()),
        "{threads}"
    );
    let ended = client.disconnect(json!({}))?;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    assert!(running.poll()?.is_none(), "an attached program goes on by default");
    Ok(())
}

#[test]
fn disconnect_may_end_an_attached_program() -> Result<()> {
    let mut running = ChildGroup::start(&mut Command::new(fixture("counter", Build::Opt)?.program))?;
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.attach(json!({"request": "attach", "mode": "local", "processId": running.pid()}))?;
    client.configuration_done()?;
    client.disconnect(json!({"terminateDebuggee": true}))?;
    running.finish_within(STEP).map(drop)
}

/// The processes below `pid` that run `program`; the server itself stands below its guardian.
fn running_below(pid: i32, program: &Path) -> Vec<i32> {
    let runs_it = |pid: &i32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == program);
    descendants(pid).into_iter().filter(runs_it).collect()
}

#[test]
fn terminate_and_disconnect_end_a_launched_program() -> Result<()> {
    let built = fixture("orders", Build::NoOpt)?;
    for request in ["terminate", "disconnect"] {
        let mut client = DapClient::start(&paths::spelunk()?)?;
        client.launch(json!({"request": "launch", "mode": "exec", "program": built.program, "args": ["forever"]}))?;
        client.configuration_done()?;
        let family = wait_until("the launched program", STEP, || {
            Some(running_below(client.server().pid(), &built.program)).filter(|family| !family.is_empty())
        })?;
        client.request(request, json!(null))?;
        wait_until("the launched program to end", STEP, || {
            family.iter().all(|pid| !is_alive(*pid)).then_some(())
        })?;
        if request == "terminate" {
            client.event("terminated")?;
            client.disconnect(json!(null))?;
        } else {
            client.server().finish_within(STEP)?;
        }
    }
    Ok(())
}

#[test]
fn a_client_that_hangs_up_ends_server_and_program() -> Result<()> {
    let built = fixture("orders", Build::NoOpt)?;
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": built.program, "args": ["forever"]}))?;
    client.configuration_done()?;
    let family = wait_until("the launched program", STEP, || {
        Some(descendants(client.server().pid())).filter(|family| !family.is_empty())
    })?;
    client.hang_up().finish(STEP)?;
    wait_until("the launched program to end", STEP, || {
        family.iter().all(|pid| !is_alive(*pid)).then_some(())
    })
}

#[test]
fn an_interrupt_ends_the_server() -> Result<()> {
    let server = DapServer::start(&paths::spelunk()?)?;
    server.process.signal(Signal::SIGINT)?;
    let ended = server.process.finish(STEP)?;
    assert_eq!(ended.code(), 0, "{}", ended.stderr);
    Ok(())
}

#[test]
fn the_server_may_connect_to_the_client() -> Result<()> {
    let built = fixture("foo", Build::NoOpt)?;
    let mut client = DapClient::start_reverse(&paths::spelunk()?)?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": built.program, "outputMode": "remote"}))?;
    client.configuration_done()?;
    client.output("stdout", "x=99, y=9801, z=0")?;
    client.event("terminated")?;
    client.disconnect(json!({}))?;
    Ok(())
}

#[test]
fn nothing_is_lost_before_the_end() -> Result<()> {
    let built = fixture("flood", Build::NoOpt)?;
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": built.program, "args": ["2000"]}))?;
    client.set_breakpoints(
        &built.source("main.go"),
        &[SourceBreakpoint::log(built.line("main.go", "return sink")?, "{sink}")],
    )?;
    client.configuration_done()?;
    client.event("terminated")?;
    let last = "> [Go 1]: 2000\n";
    let all: Vec<Message> = client.received();
    let place = |wanted: &dyn Fn(&Message) -> bool| all.iter().position(wanted);
    let ends_with = |event: &Event| event.body["output"].as_str().is_some_and(|text| text.ends_with(last));
    let last = place(&|message| matches!(message, Message::Event(event) if ends_with(event)));
    let end = place(&|message| matches!(message, Message::Event(event) if event.event == "terminated"));
    assert!(
        last.is_some() && last < end,
        "the last log message at {last:?}, the end at {end:?} of {} messages",
        all.len()
    );
    client.disconnect(json!({}))?;
    Ok(())
}
