//! From the first message to the last: launch, attach, output, restart, ends.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    client::Client,
    script::{PID, exited, log},
};
use crate::debugger::Event;

#[tokio::test]
async fn a_logpoint_from_launch_to_disconnect() {
    let mut client = Client::new();
    client
        .ask("initialize", json!({"adapterID": "go"}), &["ok initialize"])
        .await;
    client.launch(json!({})).await;
    let wanted = json!({"source": {"path": "/s/main.go"}, "breakpoints": [{"line": 7, "logMessage": "hi"}, {"line": 8}, {"line": 7}]});
    let states = r#"ok setBreakpoints [{"id":1,"verified":true,"source":{"name":"main.go","path":"/s/main.go"},"line":7},{"id":2,"verified":false,"message":"it would stop","source":{"name":"main.go","path":"/s/main.go"},"line":8},{"verified":false,"message":"breakpoint already exists"}]"#;
    client.ask("setBreakpoints", wanted, &[states]).await;
    *client.script.on_resume.lock().expect("not poisoned") = vec![log("hi"), exited(3)];
    client.run().await;
    client
        .expect(&["stdout: > [Go 1]: hi\n", "event exited 3", "event terminated"])
        .await;
    let expected = [
        "console: Process 4321 has exited with status 3\n",
        "console: Detaching\n",
        "ok disconnect",
        "event terminated",
        "end",
    ];
    client.ask("disconnect", Value::Null, &expected).await;
    let calls = client.finish().await;
    assert_eq!(calls, ["launch []", "breakpoints /s/main.go 2", "resume", "end Kill"]);
}

#[tokio::test]
async fn what_an_attached_program_logs_waits_until_the_client_is_ready() {
    let mut client = Client::new();
    client.attach().await;
    client.script.send(log("early"));
    // The event is on its way while the client still configures.
    tokio::time::sleep(Duration::from_millis(50)).await;
    client
        .ask(
            "setExceptionBreakpoints",
            json!({"filters": []}),
            &["ok setExceptionBreakpoints"],
        )
        .await;
    client.run().await;
    client.expect(&["stdout: > [Go 1]: early\n"]).await;
    let expected = [
        "console: Detaching without terminating target process\n",
        "ok disconnect",
        "event terminated",
        "end",
    ];
    client
        .ask("disconnect", json!({"terminateDebuggee": false}), &expected)
        .await;
    assert_eq!(client.finish().await.last().map(String::as_str), Some("end Detach"));
}

#[tokio::test]
async fn an_attached_program_ends_when_the_client_says_so() {
    let mut client = Client::new();
    client.attach().await;
    client.run().await;
    let expected = [
        "console: Detaching and terminating target process\n",
        "ok disconnect",
        "event terminated",
        "end",
    ];
    client
        .ask("disconnect", json!({"terminateDebuggee": true}), &expected)
        .await;
    assert_eq!(client.finish().await.last().map(String::as_str), Some("end Kill"));
}

#[tokio::test]
async fn a_restart_keeps_breakpoints_and_takes_new_arguments() {
    let mut client = Client::new();
    client.launch(json!({"args": ["a"]})).await;
    let wanted = json!({"source": {"path": "/s/main.go"}, "breakpoints": [{"line": 7, "logMessage": "hi"}]});
    client.send("setBreakpoints", wanted).await;
    client.next().await;
    client.run().await;
    let arguments = json!({"arguments": {"request": "launch", "args": ["b"]}});
    client
        .ask("restart", arguments, &["ok restart", "event initialized"])
        .await;
    client.run().await;
    let calls = client.finish().await;
    let expected = [
        "launch [\"a\"]",
        "breakpoints /s/main.go 1",
        "resume",
        "end Kill",
        "launch [\"b\"]",
        "breakpoints /s/main.go 1",
        "ExceptionFilters { unrecovered_panic: true, fatal_throw: true }",
        "resume",
        "end Kill",
    ];
    assert_eq!(calls, expected);
}

#[tokio::test]
async fn the_end_of_the_connection_and_a_signal_end_the_session() {
    for attached in [false, true] {
        let how = if attached { "end Detach" } else { "end Kill" };
        for signal in [false, true] {
            let mut client = Client::new();
            if attached {
                client.attach().await;
            } else {
                client.launch(json!({})).await;
            }
            client.run().await;
            if signal {
                client.interrupt.cancel();
                assert!(client.next().await.starts_with("console: Detaching "));
                client.expect(&["end"]).await;
            }
            assert_eq!(client.finish().await.last().map(String::as_str), Some(how));
        }
    }
}

#[tokio::test]
async fn messages_that_make_no_sense_are_answered_and_the_session_goes_on() {
    let mut client = Client::new();
    client.raw(b"Content-Length: 5\r\n\r\n{\"a\":").await;
    assert!(
        client
            .next()
            .await
            .starts_with("refused  8888 Internal Error: the body is not JSON")
    );
    client.raw(b"Content-Length: 2\r\n\r\n[]").await;
    assert!(client.next().await.starts_with("refused  8888 Internal Error: "));
    client
        .ask(
            "bogus",
            json!({}),
            &["refused  8888 Internal Error: Request command 'bogus' is not supported (seq: 1)"],
        )
        .await;
    let refusal = "refused threads 3000 No debug session started: Use launch or attach request first.";
    client.ask("threads", Value::Null, &[refusal]).await;
    client.launch(json!({})).await;
    client.send("setBreakpoints", json!("x")).await;
    assert!(client.next().await.starts_with("refused setBreakpoints 2002 "));
    client.send("setBreakpoints", json!({"source": {"path": 3}})).await;
    assert!(client.next().await.starts_with("refused setBreakpoints 2002 "));
    client
        .ask(
            "initialize",
            json!({"pathFormat": "uri"}),
            &["refused initialize 3002 Failed to initialize: Unsupported 'pathFormat' value 'uri'."],
        )
        .await;
    client.finish().await;
}

#[tokio::test]
async fn an_idle_client_sees_a_log_message_at_once_and_a_burst_is_complete() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    // A busy machine may be late now and then; a buffer that waits for a timer would be late each time.
    let mut soonest = Duration::MAX;
    for _ in 0..20 {
        let sent = Instant::now();
        client.script.send(log("one"));
        client.expect(&["stdout: > [Go 1]: one\n"]).await;
        soonest = soonest.min(sent.elapsed());
    }
    assert!(soonest < Duration::from_millis(50), "{soonest:?}");

    // More than a person reads: many messages share an event, a line for each.
    for number in 0..20_000 {
        client.script.send(log(&number.to_string()));
    }
    let (mut expected, mut events) = ((0..20_000).map(|number| format!("> [Go 1]: {number}")), 0);
    while expected.len() > 0 {
        let message = client.next().await;
        let text = message.strip_prefix("stdout: ").expect("log messages");
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            assert_eq!(Some(line), expected.next().as_deref());
        }
        events += 1;
    }
    assert!(events < 2_000, "{events} events");
    client.finish().await;
}

#[tokio::test]
async fn gathered_messages_name_the_line_they_are_all_from() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    // At first one line, which uses up what is told one by one; then long runs of two lines; then the two in turns.
    let line_of = |number: u32| match number {
        0..2_000 => 7,
        2_000..3_000 => 7 + number / 100 % 2,
        _ => 7 + number % 2,
    };
    for number in 0..4_000 {
        client.script.send(Event::Log {
            goroutine: 1,
            text: number.to_string(),
            file: "/s/main.go".to_owned(),
            line: line_of(number),
        });
    }
    let (mut next, mut unnamed) = (0, 0);
    while next < 4_000 {
        let body = client.next_message().await["body"].take();
        let lines = body["output"].as_str().expect("output").lines();
        for line in lines {
            assert_eq!(line, format!("> [Go 1]: {next}"));
            if body["line"].is_null() {
                assert!(body["source"].is_null() && next >= 3_000 - 100, "{next}");
                unnamed += 1;
            } else {
                assert_eq!(body["line"], line_of(next), "{next}");
                assert_eq!(body["source"]["path"], "/s/main.go");
            }
            next += 1;
        }
    }
    assert!(unnamed > 100, "{unnamed}");
    client.finish().await;
}

#[tokio::test]
async fn what_is_left_out_is_said_with_its_lines() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    let events = client
        .script
        .events
        .lock()
        .expect("not poisoned")
        .clone()
        .expect("a target");
    events.suppress("/s/main.go", 7, 2);
    events.suppress("/s/other.go", 9, 1);
    client
        .expect(&["console: 3 log messages suppressed: they came faster than they could be sent (main.go:7: 2, other.go:9: 1)\n"])
        .await;
    client.finish().await;
}

#[tokio::test]
async fn the_programs_output_arrives_as_text_before_its_exit() {
    let mut client = Client::new();
    client.launch(json!({"outputMode": "remote"})).await;
    let (first, second) = "ä\n".as_bytes().split_at(1);
    *client.script.on_resume.lock().expect("not poisoned") = vec![
        Event::Stdout(first.to_vec()),
        Event::Stderr(b"e".to_vec()),
        Event::Stdout(second.to_vec()),
        exited(0),
    ];
    client.run().await;
    client
        .expect(&["stderr: e", "stdout: ä\n", "event exited 0", "event terminated"])
        .await;
    client.finish().await;
}

#[tokio::test]
async fn an_unknown_exit_status_is_not_made_up() {
    let mut client = Client::new();
    client.attach().await;
    client.run().await;
    client.script.send(Event::Exited { pid: PID, status: None });
    assert!(client.next().await.contains("no longer tells its status"));
    client.expect(&["event terminated"]).await;
    client.finish().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_cannot_keep_the_session() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    let script = client.script.clone();
    // The client reads none of these, and the sender is held up until the session lets go.
    let sender = std::thread::spawn(move || {
        let sender = script.events.lock().expect("not poisoned").clone().expect("a target");
        while sender.send(log("flood")).is_ok() {}
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    client.interrupt.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), &mut client.serving).await;
    ended
        .expect("in time")
        .expect("without a panic")
        .expect("without an error");
    sender.join().expect("the sender was told");
    assert_eq!(client.script.calls().last().map(String::as_str), Some("end Kill"));
}
