//! What happens where a program says more than a client reads: nothing grows without bound, nothing stops the program, and what is missing is told.

use std::time::Duration;

use protocol_tests::child::{descendants, wait_until};
use protocol_tests::dap_client::{DapClient, Message, SourceBreakpoint};
use protocol_tests::failure::Result;
use protocol_tests::moments::is_long;
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, Built, fixture};
use serde_json::json;

/// A program that nobody holds up makes its calls in this time, on a loaded machine too.
const LIMIT: Duration = Duration::from_secs(120);

/// What the queue, the sockets and the ring may take, in KiB. The messages of the test take more.
const MOST_GROWTH: u64 = 48 << 10;

/// The memory of the server's processes, in KiB.
fn resident(pid: i32) -> u64 {
    let name = |pid: i32| std::fs::read_link(format!("/proc/{pid}/exe")).ok();
    let server = name(pid);
    let of = |pid: i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .unwrap_or_default();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap_or(0)
    };
    let processes = descendants(pid).into_iter().filter(|child| name(*child) == server);
    of(pid) + processes.map(of).sum::<u64>()
}

/// Whether the program runs as a descendant of the server.
fn is_running(server: i32, built: &Built) -> bool {
    let is_it = |pid: &i32| std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == built.program);
    descendants(server).iter().any(is_it)
}

/// The number that a text begins with, whatever stands in front of it.
fn number_before(text: &str, behind: &str) -> u64 {
    let before = text.split_once(behind).map_or("", |(before, _)| before);
    before
        .rsplit(' ')
        .next()
        .and_then(|word| word.parse().ok())
        .unwrap_or(0)
}

/// What was said about log messages in all output events.
#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    shown: u64,
    suppressed: u64,
    lost: u64,
}

fn told(messages: &[Message]) -> Told {
    let mut told = Told::default();
    for message in messages {
        let Message::Event(event) = message else { continue };
        let Some(text) = event.body["output"].as_str().filter(|_| event.event == "output") else {
            continue;
        };
        if event.body["category"] == "console" {
            told.suppressed += number_before(text, " log messages suppressed");
            told.suppressed += number_before(text, " log message suppressed");
            told.lost += number_before(text, " were lost because the ring was full");
        } else {
            told.shown += text.lines().filter(|line| line.starts_with("> [Go ")).count() as u64;
        }
    }
    told
}

#[test]
fn a_client_that_does_not_read_slows_nobody_down_and_is_told_what_it_missed() -> Result<()> {
    let calls = if is_long() { 1_000_000_u64 } else { 80_000 };
    let built = fixture("flood", Build::NoOpt)?;
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client
        .launch(json!({"request": "launch", "mode": "exec", "program": built.program, "args": [calls.to_string()]}))?;
    let message = format!("{{sink}} {}", "a long message ".repeat(70));
    client.set_breakpoints(
        &built.source("main.go"),
        &[SourceBreakpoint::log(built.line("main.go", "return sink")?, &message)],
    )?;
    let server = client.server().pid();
    let before = resident(server);
    client.configuration_done()?;
    client.read_nothing(true);
    let said = client.server().stdout.clone();
    let mut most = 0;
    wait_until("the end of a program whose messages nobody reads", LIMIT, || {
        most = most.max(resident(server));
        // It says what it has counted last of all.
        said.text().contains(&format!("{calls}\n")).then_some(())
    })?;
    client.read_nothing(false);
    client.event_where("the end of the session", LIMIT, |event| event.event == "terminated")?;
    let told = told(&client.received());
    assert_eq!(told.shown + told.suppressed + told.lost, calls, "{told:?}");
    assert!(told.shown > 0 && told.suppressed > 0, "{told:?}");
    assert!(
        most < before + MOST_GROWTH,
        "the server's memory grew from {before} to {most} KiB"
    );
    println!("{told:?}; memory {before} to {most} KiB");
    client.disconnect(json!({}))?;
    Ok(())
}

#[test]
fn what_the_program_writes_waits_for_its_reader() -> Result<()> {
    // More than pipes, queue and sockets hold.
    let lines = 500_000;
    let built = fixture("chatter", Build::NoOpt)?;
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({
        "request": "launch", "mode": "exec", "program": built.program, "args": [lines.to_string()], "outputMode": "remote"
    }))?;
    let server = client.server().pid();
    client.configuration_done()?;
    client.read_nothing(true);
    wait_until("the program's start", LIMIT, || {
        is_running(server, &built).then_some(())
    })?;
    // It could write all of it several times.
    std::thread::sleep(Duration::from_secs(1));
    assert!(
        is_running(server, &built),
        "the program went on although nobody reads what it writes"
    );
    client.read_nothing(false);
    client.event("terminated")?;
    let mut expected = 0;
    let mut text = String::new();
    for message in client.received() {
        if let Message::Event(event) = message
            && event.event == "output"
            && event.body["category"] == "stdout"
        {
            text.push_str(event.body["output"].as_str().unwrap_or_default());
        }
    }
    for line in text.lines() {
        assert_eq!(line, format!("line {expected} of a program that has much to say"));
        expected += 1;
    }
    assert_eq!(expected, lines);
    client.disconnect(json!({}))?;
    Ok(())
}
