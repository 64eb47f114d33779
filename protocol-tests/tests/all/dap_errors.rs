//! Requests that are wrong, unknown or malformed: each is answered, and the session goes on.

use protocol_tests::child::run;
use protocol_tests::dap_client::{DapClient, STEP};
use protocol_tests::failure::Result;
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, fixture};
use serde_json::{Value, json};

/// The session still works: a program runs to its end in it.
fn goes_on(client: &mut DapClient) -> Result<()> {
    let built = fixture("foo", Build::NoOpt)?;
    let launched = client.try_request(
        "launch",
        json!({"request": "launch", "mode": "exec", "program": built.program, "outputMode": "remote"}),
    )?;
    assert!(launched.success, "{launched:?}");
    client.event("initialized")?;
    client.configuration_done()?;
    client.output("stdout", "x=99")?;
    client.event("terminated").map(drop)
}

#[test]
fn an_unknown_request_is_an_error() -> Result<()> {
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.initialize()?;
    let refused = client.refused("makeCoffee", json!({"milk": true}))?;
    assert!(
        refused.error_text().contains("makeCoffee")
            || refused
                .message
                .as_deref()
                .is_some_and(|text| text.contains("makeCoffee")),
        "{refused:?}"
    );
    goes_on(&mut client)
}

#[test]
fn malformed_messages_do_not_end_the_session() -> Result<()> {
    let messages = [
        json!({"seq": 900, "type": "request", "command": "launch", "arguments": "a string"}),
        json!({"seq": 901, "type": "request", "command": "setBreakpoints", "arguments": {"source": 5}}),
        json!({"seq": 902, "type": "request", "command": "setBreakpoints"}),
        json!({"seq": 903, "type": "request", "command": "attach", "arguments": {"processId": {}}}),
        json!({"seq": 904, "type": "request", "command": ["launch"]}),
    ];
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.initialize()?;
    for message in &messages {
        client.send_value(message)?;
        let response = client.response_within(message["seq"].as_i64().unwrap_or(0), STEP)?;
        assert!(!response.success, "{message} was answered with {response:?}");
    }
    goes_on(&mut client)
}

#[test]
fn frames_that_are_no_json_do_not_end_the_server() -> Result<()> {
    let bodies: [&[u8]; 4] = [
        b"{not json",
        b"[]",
        b"\xff\xfe\x00",
        b"{\"type\":\"event\",\"event\":\"x\",\"seq\":1}",
    ];
    for body in bodies {
        let mut client = DapClient::start(&paths::spelunk()?)?;
        client.initialize()?;
        client.send_raw(format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes())?;
        client.send_raw(body)?;
        goes_on(&mut client)?;
    }
    Ok(())
}

#[test]
fn a_frame_that_never_ends_is_refused_without_memory() -> Result<()> {
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.initialize()?;
    client.send_raw(b"Content-Length: 99999999999999\r\n\r\n{}")?;
    let pid = client.server().pid();
    std::thread::sleep(std::time::Duration::from_millis(300));
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let resident = status.lines().find_map(|line| {
        line.strip_prefix("VmRSS:")?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    assert!(
        resident.is_none_or(|kilobytes| kilobytes < 500_000),
        "{resident:?} kB resident"
    );
    assert!(
        !client.server().stderr.text().contains("panicked"),
        "{}",
        client.server().stderr.text()
    );
    Ok(())
}

#[test]
fn launch_arguments_are_checked() -> Result<()> {
    let cases: [(Value, &[&str]); 8] = [
        (json!({}), &["program"]),
        (json!({"mode": "exec"}), &["program"]),
        (json!({"mode": "notamode", "program": "/bin/true"}), &["notamode"]),
        (
            json!({"mode": "exec", "program": "/nowhere/at/all"}),
            &["/nowhere/at/all"],
        ),
        (json!({"mode": "exec", "program": "/bin/true"}), &["Go"]),
        (json!({"mode": "exec", "program": 5}), &["program"]),
        (
            json!({"mode": "exec", "program": "/bin/true", "args": "not a list"}),
            &["args"],
        ),
        (
            json!({"mode": "exec", "program": fixture("foo", Build::Stripped)?.program}),
            &["debug information"],
        ),
    ];
    for (arguments, parts) in cases {
        let mut client = DapClient::start(&paths::spelunk()?)?;
        client.initialize()?;
        let refused = client.refused("launch", arguments.clone())?;
        for part in parts {
            assert!(
                refused.error_text().contains(part),
                "`{part}` is not in the answer to {arguments}: {refused:?}"
            );
        }
        goes_on(&mut client)?;
    }
    Ok(())
}

#[test]
fn attach_arguments_are_checked() -> Result<()> {
    let gone = run(&mut std::process::Command::new("true"), STEP)?;
    assert_eq!(gone.code(), 0);
    let cases: [(Value, &str); 3] = [
        (json!({"mode": "local"}), "processId"),
        (json!({"mode": "local", "processId": 4_194_303}), "4194303"),
        (json!({"mode": "nowhere", "processId": 1}), "nowhere"),
    ];
    for (arguments, part) in cases {
        let mut client = DapClient::start(&paths::spelunk()?)?;
        client.initialize()?;
        let refused = client.refused("attach", arguments.clone())?;
        assert!(
            refused.error_text().contains(part),
            "`{part}` is not in the answer to {arguments}: {refused:?}"
        );
    }
    Ok(())
}

#[test]
fn requests_before_their_time_are_refused() -> Result<()> {
    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.initialize()?;
    for command in ["continue", "setBreakpoints", "stackTrace", "evaluate"] {
        client.refused(
            command,
            json!({"threadId": 1, "source": {"path": "x.go"}, "breakpoints": [], "expression": "x"}),
        )?;
    }
    goes_on(&mut client)
}
