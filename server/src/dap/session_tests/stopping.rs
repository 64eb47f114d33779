//! Stops, steps, and looks at what stands still.

use serde_json::{Value, json};

use super::{
    client::Client,
    script::{exited, stopped},
};
use crate::{
    debugger::{BreakpointId, Event, Stop, StopReason},
    inspect::Whose,
};

#[tokio::test]
async fn while_the_program_runs_what_needs_a_stop_is_refused_and_the_rest_served() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    for command in [
        "continue",
        "next",
        "stackTrace",
        "variables",
        "evaluate",
        "modules",
        "configurationDone",
    ] {
        let refusal = format!("refused {command} 4000 Unable to process `{command}`: debuggee is running");
        client.ask(command, json!({"threadId": 1}), &[&refusal]).await;
    }
    let current = r#"ok threads [{"id":-1,"name":"Current"}]"#;
    client.ask("threads", Value::Null, &[current]).await;
    let none = json!({"source": {"path": "/s/main.go"}, "breakpoints": []});
    client.ask("setBreakpoints", none, &["ok setBreakpoints []"]).await;
    client
        .ask(
            "terminate",
            Value::Null,
            &["ok terminate", "event exited -9", "event terminated"],
        )
        .await;
    client.finish().await;
}

#[tokio::test]
async fn stop_on_entry_holds_the_program_until_continue() {
    let mut client = Client::new();
    client.launch(json!({"stopOnEntry": true})).await;
    let expected = [
        r#"event stopped {"reason":"entry","threadId":1,"allThreadsStopped":true}"#,
        "console: Type 'dlv help' for list of commands.\n",
        "ok configurationDone",
    ];
    client.ask("configurationDone", Value::Null, &expected).await;
    let refusal = "refused stackTrace 2004 Unable to produce stack trace: unknown goroutine 1";
    client.ask("stackTrace", json!({"threadId": 1}), &[refusal]).await;
    client
        .ask("threads", Value::Null, &[r#"ok threads [{"id":1,"name":"Dummy"}]"#])
        .await;
    client.ask("pause", json!({"threadId": 1}), &["ok pause"]).await;
    let expected = [
        "event continued",
        "ok next",
        r#"event stopped {"reason":"error","text":"unknown goroutine 1","allThreadsStopped":true}"#,
    ];
    client.ask("next", json!({"threadId": 1}), &expected).await;
    assert!(!client.script.calls().contains(&"resume".to_owned()));
    *client.script.on_resume.lock().expect("not poisoned") = vec![exited(0)];
    client
        .ask(
            "continue",
            json!({"threadId": 1}),
            &["ok continue", "event exited 0", "event terminated"],
        )
        .await;
    client.finish().await;
}

#[tokio::test]
async fn stops_are_told_with_their_reasons_in_delves_words() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client
        .ask(
            "setFunctionBreakpoints",
            json!({"breakpoints": [{"name": "main.main"}]}),
            &[r#"ok setFunctionBreakpoints [{"id":11,"verified":true,"source":{"name":"main.go","path":"/s/main.go"},"line":5}]"#],
        )
        .await;
    client
        .ask(
            "setInstructionBreakpoints",
            json!({"breakpoints": [{"instructionReference": "0x10", "offset": 2}, {"instructionReference": "x"}]}),
            &[concat!(
                r#"ok setInstructionBreakpoints [{"id":21,"verified":true,"source":{"name":"main.go","path":"/s/main.go"},"line":6},"#,
                r#"{"verified":false,"message":"strconv.ParseInt: parsing \"x\": invalid syntax"}]"#
            )],
        )
        .await;
    client
        .ask(
            "setExceptionBreakpoints",
            json!({"filters": ["unrecovered-panic"]}),
            &[r#"ok setExceptionBreakpoints [{"id":-1,"verified":true,"source":{"name":"main.go","path":"/s/main.go"},"line":1000}]"#],
        )
        .await;
    client.run().await;
    let panic = StopReason::UnrecoveredPanic { value: None };
    let stops = [
        (
            StopReason::Breakpoint(vec![BreakpointId(3)]),
            r#"{"reason":"breakpoint","threadId":1,"allThreadsStopped":true,"hitBreakpointIds":[3]}"#,
        ),
        (
            StopReason::Breakpoint(vec![BreakpointId(11)]),
            r#"{"reason":"function breakpoint","threadId":1,"allThreadsStopped":true,"hitBreakpointIds":[11]}"#,
        ),
        (
            StopReason::Breakpoint(vec![BreakpointId(21)]),
            r#"{"reason":"instruction breakpoint","threadId":1,"allThreadsStopped":true,"hitBreakpointIds":[21]}"#,
        ),
        (
            StopReason::HardcodedBreakpoint,
            r#"{"reason":"breakpoint","threadId":1,"allThreadsStopped":true}"#,
        ),
        (
            panic,
            r#"{"description":"panic","reason":"exception","threadId":1,"text":"\"out of luck\"","allThreadsStopped":true,"hitBreakpointIds":[-1]}"#,
        ),
        (
            StopReason::Failed("no way".to_owned()),
            r#"{"description":"runtime error","text":"no way","reason":"exception","threadId":1,"allThreadsStopped":true}"#,
        ),
    ];
    for (reason, told) in stops {
        client.script.send(stopped(reason));
        client.expect(&[&format!("event stopped {told}")]).await;
        client.ask("continue", json!({"threadId": 1}), &["ok continue"]).await;
    }
    client.finish().await;
}

#[tokio::test]
async fn a_pause_is_answered_before_its_stop_and_wins_over_a_breakpoint() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    let paused = r#"event stopped {"reason":"pause","threadId":1,"allThreadsStopped":true}"#;
    client.ask("pause", json!({"threadId": 1}), &["ok pause", paused]).await;
    client
        .script
        .send(stopped(StopReason::Breakpoint(vec![BreakpointId(1)])));
    client.expect(&[paused]).await;
    // Answered and nothing else: it stands still already.
    client.ask("pause", json!({"threadId": 1}), &["ok pause"]).await;
    client.finish().await;
}

#[tokio::test]
async fn a_step_is_said_to_go_on_answered_and_arrives() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    client.script.send(stopped(StopReason::Step));
    client.next().await;
    let arrived = r#"event stopped {"reason":"step","threadId":1,"allThreadsStopped":true}"#;
    for (command, granularity, kind) in [
        ("next", "line", "Over"),
        ("stepIn", "statement", "Into"),
        ("stepOut", "", "Out"),
        ("next", "instruction", "OverInstruction"),
        ("stepIn", "instruction", "IntoInstruction"),
    ] {
        *client.script.on_resume.lock().expect("not poisoned") = vec![stopped(StopReason::Step)];
        let arguments = json!({"threadId": 1, "granularity": granularity});
        client
            .ask(
                command,
                arguments,
                &["event continued", &format!("ok {command}"), arrived],
            )
            .await;
        let step = format!("step Goroutine(1) {kind}");
        assert_eq!(client.script.calls().last(), Some(&step));
    }
    let refused =
        r#"event stopped {"reason":"error","threadId":1,"text":"unknown goroutine 9","allThreadsStopped":true}"#;
    client
        .ask("next", json!({"threadId": 9}), &["event continued", "ok next", refused])
        .await;
    client.finish().await;
}

#[tokio::test]
async fn a_step_that_waits_is_told_and_no_other_is_taken() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    client.script.send(Event::Stopped(Stop {
        reason: StopReason::Breakpoint(vec![BreakpointId(1)]),
        whose: Whose::Goroutine(1),
        step_interrupted: true,
    }));
    let waits = "console: Step interrupted by a breakpoint. Use 'Continue' to resume the original step command.\n";
    client.next().await;
    client.expect(&[waits]).await;
    let why = "Unable to step while the previous step is interrupted by a breakpoint.\nUse 'Continue' to resume the original step command.";
    let told = json!({"reason": "exception", "description": "invalid command", "threadId": 1, "text": why, "allThreadsStopped": true});
    let expected = [
        "event continued",
        "ok next",
        &format!("console: invalid command: {why}\n"),
        &format!("event stopped {told}"),
        waits,
    ];
    client.ask("next", json!({"threadId": 1}), &expected).await;
    client
        .ask("exceptionInfo", json!({"threadId": 1}), &["ok exceptionInfo"])
        .await;
    assert!(!client.script.calls().iter().any(|call| call.starts_with("step")));
    client.finish().await;
}

#[tokio::test]
async fn frames_and_values_have_numbers_until_the_program_moves() {
    let mut client = Client::new();
    client.launch(json!({})).await;
    client.run().await;
    client.script.send(stopped(StopReason::Step));
    client.next().await;
    let threads =
        r#"ok threads [{"id":1,"name":"* [Go 1] main.main (Thread 4321)"},{"id":7,"name":"[Go 7] main.main"}]"#;
    client.ask("threads", Value::Null, &[threads]).await;
    client
        .ask(
            "evaluate",
            json!({"expression": "dlv config hideSystemGoroutines true", "context": "repl"}),
            &[
                "event invalidated",
                r#"ok evaluate {"result":"hideSystemGoroutines\ttrue\n\nUpdated","variablesReference":0}"#,
            ],
        )
        .await;
    let threads = r#"ok threads [{"id":1,"name":"* [Go 1] main.main (Thread 4321)"}]"#;
    client.ask("threads", Value::Null, &[threads]).await;
    let frame = |id: i64, name: &str, hint: &str| {
        format!(
            r#"{{"id":{id},"name":"{name}","line":7,"column":0,"instructionPointerReference":"0x1000","source":{{"name":"main.go","path":"/s/main.go"}}{hint}}}"#
        )
    };
    let subtle = r#","presentationHint":"subtle""#;
    let first = format!("ok stackTrace [{}] of 51", frame(1000, "shop.(*Cart).Add", ""));
    client
        .ask(
            "stackTrace",
            json!({"threadId": 1, "startFrame": 0, "levels": 1}),
            &[&first],
        )
        .await;
    let rest = format!(
        "ok stackTrace [{},{},{}] of 4",
        frame(1001, "main.main", ""),
        frame(1002, "runtime.main", subtle),
        frame(1003, "runtime.goexit", subtle)
    );
    client
        .ask(
            "stackTrace",
            json!({"threadId": 1, "startFrame": 1, "levels": 19}),
            &[&rest],
        )
        .await;
    client
        .ask(
            "evaluate",
            json!({"expression": "answer", "frameId": 1001, "context": "watch"}),
            &[r#"ok evaluate {"result":"\"42\"","variablesReference":0}"#],
        )
        .await;
    assert_eq!(
        client.script.calls().last().map(String::as_str),
        Some("evaluate answer in frame 1")
    );
    let refusal = "refused evaluate 2009 Unable to evaluate expression: could not find symbol value for x";
    client
        .ask("evaluate", json!({"expression": "x", "context": "repl"}), &[refusal])
        .await;
    client.ask("continue", json!({"threadId": 1}), &["ok continue"]).await;
    client.script.send(stopped(StopReason::Step));
    client.next().await;
    let refusal = "refused scopes 2005 Unable to list locals: unknown frame id 1000";
    client.ask("scopes", json!({"frameId": 1000}), &[refusal]).await;
    let refusal = "refused variables 2008 Unable to lookup variable: unknown reference 1000";
    client
        .ask("variables", json!({"variablesReference": 1000}), &[refusal])
        .await;
    client.finish().await;
}

#[tokio::test]
async fn integers_are_hexadecimal_for_who_asks_and_a_hover_changes_nothing() {
    let mut client = Client::new();
    client.ask("initialize", json!({}), &["ok initialize"]).await;
    client.launch(json!({})).await;
    client.run().await;
    client.script.send(stopped(StopReason::Step));
    client.next().await;
    let hex = json!({"hex": true});
    for (expression, answer) in [
        ("byte", r#"{"result":"0xc8","variablesReference":0}"#),
        (
            "numbers",
            r#"{"result":"(loaded 3/5) []int len: 5, cap: 8, [0x0,0xa,0x14,...+2 more]","variablesReference":1000,"indexedVariables":5}"#,
        ),
    ] {
        let arguments = json!({"expression": expression, "context": "watch", "format": hex});
        client
            .ask("evaluate", arguments, &[&format!("ok evaluate {answer}")])
            .await;
    }
    let number = |index: usize, text: &str| {
        format!(r#"{{"name":"[{index}]","value":"{text}","evaluateName":"(numbers)[{index}]","variablesReference":0}}"#)
    };
    let listed = [number(0, "0x0"), number(1, "0xa"), number(2, "0x14")].join(",");
    let arguments = json!({"variablesReference": 1000, "format": hex});
    client
        .ask("variables", arguments, &[&format!("ok variables [{listed}]")])
        .await;
    for command in ["dlv config showRegisters true", "call f()"] {
        let arguments = json!({"expression": command, "context": "hover"});
        let refused = "refused evaluate 2009 Unable to evaluate expression: a hover does not change anything; commands and calls are for the console";
        client.ask("evaluate", arguments, &[refused]).await;
    }
}

#[tokio::test]
async fn values_have_texts_expressions_and_parts() {
    let mut client = Client::new();
    let typed = json!({"supportsVariableType": true, "supportsVariablePaging": true});
    client.ask("initialize", typed, &["ok initialize"]).await;
    client.launch(json!({})).await;
    client.run().await;
    client.script.send(stopped(StopReason::Step));
    client.next().await;
    for (expression, answer) in [
        (
            "byte",
            r#"{"result":"200 = 0xc8","variablesReference":0,"type":"uint8"}"#,
        ),
        (
            "numbers",
            r#"{"result":"[]int len: 5, cap: 8, [0,10,20,...+2 more]","variablesReference":1000,"type":"[]int","indexedVariables":5}"#,
        ),
        (
            "ages",
            r#"{"result":"map[string]int [\"Ada\": 36, ]","variablesReference":1001,"type":"map[string]int","indexedVariables":1,"namedVariables":1}"#,
        ),
        (
            "point",
            r#"{"result":"*main.Point {X: 3}","variablesReference":1002,"type":"*main.Point"}"#,
        ),
    ] {
        let arguments = json!({"expression": expression, "context": "watch"});
        client
            .ask("evaluate", arguments, &[&format!("ok evaluate {answer}")])
            .await;
    }
    let number = |index: usize| {
        format!(
            r#"{{"name":"[{index}]","value":"{}","type":"int","evaluateName":"(numbers)[{index}]","variablesReference":0}}"#,
            10 * index
        )
    };
    let listed = |parts: &[String]| format!("ok variables [{}]", parts.join(","));
    for (arguments, expected) in [
        (json!({"variablesReference": 1000}), listed(&[number(0), number(1), number(2)])),
        (
            json!({"variablesReference": 1000, "filter": "indexed", "start": 3, "count": 40}),
            listed(&[number(3), number(4)]),
        ),
        (json!({"variablesReference": 1000, "filter": "named"}), listed(&[])),
        (
            json!({"variablesReference": 1000, "filter": "indexed", "start": 6, "count": 1}),
            "refused variables 2008 Unable to lookup variable: index out of bounds".to_owned(),
        ),
        (
            json!({"variablesReference": 1001}),
            listed(&[
                r#"{"name":"len()","value":"1","type":"int","evaluateName":"len((ages))","variablesReference":0}"#.to_owned(),
                r#"{"name":"\"Ada\"","value":"36","type":"string: int","evaluateName":"(ages)[\"Ada\"]","variablesReference":0}"#.to_owned(),
            ]),
        ),
        (
            json!({"variablesReference": 1002}),
            listed(&[
                r#"{"name":"","value":"main.Point {X: 3}","type":"main.Point","evaluateName":"(*(point))","variablesReference":1003}"#.to_owned(),
            ]),
        ),
        (
            json!({"variablesReference": 1003}),
            listed(&[
                r#"{"name":"X","value":"3","type":"int","evaluateName":"(*(point)).X","variablesReference":0}"#.to_owned(),
            ]),
        ),
    ] {
        client.ask("variables", arguments, &[&expected]).await;
    }
    let set = json!({"variablesReference": 1003, "name": "X", "value": "4"});
    client.send("setVariable", set).await;
    assert!(
        client.next().await.starts_with("refused setVariable 2012 "),
        "the script evaluates no fields"
    );
    client.finish().await;
}
