//! A program that prints what its variables and expressions come to, which is what the debugger must say of them. It needs no other debugger, and so holds
//! for each version of Go.

use std::collections::BTreeMap;
use std::process::Command;

use protocol_tests::dap_client::{DapClient, STEP};
use protocol_tests::failure::{Attempt, Result};
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, Built, fixture};
use serde_json::json;

/// What the program says of one function: its name, and each expression with its text.
struct Said {
    function: String,
    values: Vec<(String, String)>,
}

/// What the program says when nobody looks at it.
fn said_by(built: &Built) -> Result<Vec<Said>> {
    let output = Command::new(&built.program).output().attempt("running the program")?;
    let mut said: Vec<Said> = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        match (line.split_once('\t'), said.last_mut()) {
            (Some((expression, text)), Some(last)) => last.values.push((expression.to_owned(), text.to_owned())),
            _ => said.push(Said {
                function: line.to_owned(),
                values: Vec::new(),
            }),
        }
    }
    Ok(said)
}

#[test]
fn values_are_what_the_program_says_they_are() -> Result<()> {
    let built = fixture("own_values", Build::NoOpt)?;
    let said = said_by(&built)?;
    assert!(said.len() >= 9 && said.iter().all(|one| !one.values.is_empty()));

    let mut client = DapClient::start(&paths::spelunk()?)?;
    client.launch(json!({"request": "launch", "mode": "exec", "program": built.program}))?;
    client.request(
        "setFunctionBreakpoints",
        json!({"breakpoints": [{"name": "main.stop"}]}),
    )?;
    client.configuration_done()?;
    let mut wrong = BTreeMap::new();
    let mut compared = 0;
    for one in &said {
        client.event_where("the stop", STEP, |event| event.event == "stopped")?;
        let frames = client.request("stackTrace", json!({"threadId": 1, "startFrame": 1, "levels": 1}))?;
        let frame = &frames["stackFrames"][0]["id"];
        for (expression, expected) in &one.values {
            let arguments = json!({"expression": expression, "frameId": frame, "context": "clipboard"});
            let answer = client.try_request("evaluate", arguments)?;
            let text = answer.body["result"].as_str().unwrap_or_else(|| answer.error_text());
            compared += 1;
            if text != expected {
                wrong.insert(
                    format!("{}: {expression}", one.function),
                    (expected.clone(), text.to_owned()),
                );
            }
        }
        client.request("continue", json!({"threadId": 1}))?;
    }
    client.event("terminated")?;
    println!("{compared} values");
    assert!(wrong.is_empty(), "expected, and shown: {wrong:#?}");
    Ok(())
}
