//! Calls while the program runs.

use serde_json::{Value, json};

use super::{RpcPlay, here, load, scenario};
use crate::failure::Result;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("rpc running: answered at once", at_once),
    scenario("rpc running: answered after the halt", after_the_halt),
    scenario("rpc running: breakpoints", breakpoints),
    scenario("rpc running: a halt", halt),
    scenario("rpc running: many clients", many_clients),
    scenario("rpc running: another command", another_command),
];

/// Asks while the program runs, over a connection of its own; halts the program if that is what it takes.
fn ask_while_running(play: &mut RpcPlay, method: &str, argument: &Value, compared: bool) -> Result<()> {
    let running = play.run_on(0)?;
    let other = play.join()?;
    let pending = play.send(other, method, argument)?;
    let title = format!("{method} {argument} while running");
    let answered = play.answered_soon(other, &pending)?;
    play.note(
        &format!("{title}: when"),
        if answered.is_some() {
            "at once"
        } else {
            "after the halt"
        }
        .into(),
    );
    play.ask_silently(0, "Command", Some(json!([{"name": "halt"}])))?;
    play.answer_shape(0, "continue", &running)?;
    match answered {
        Some(answer) if compared => play.note(&title, answer),
        Some(_) => {}
        None if compared => drop(play.answer(other, &title, &pending)?),
        None => drop(play.answer_shape(other, &title, &pending)?),
    }
    Ok(())
}

fn at_once(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &["forever"])?;
    let running = play.run_on(0)?;
    play.ask("State", json!({"NonBlocking": true}))?;
    for (method, argument) in [
        ("GetVersion", json!({})),
        ("IsMulticlient", json!({})),
        ("AttachedToExistingProcess", json!({})),
        ("Nothing", json!({})),
        ("GetBreakpoint", json!(7)),
    ] {
        play.ask(method, argument)?;
    }
    play.ask_silently(0, "Command", Some(json!([{"name": "halt"}])))?;
    play.answer_shape(0, "continue", &running)?;
    play.end(true)
}

fn after_the_halt(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &["forever"])?;
    for (method, argument, compared) in [
        ("State", json!({}), false),
        ("Stacktrace", json!({"Id": 1, "Depth": 1}), false),
        ("Eval", json!({"Scope": {"GoroutineID": 1}, "Expr": "1 + 2"}), true),
        ("ListGoroutines", json!({"Filters": [{"Kind": 7}]}), false),
        ("ListThreads", json!({}), false),
        ("ListLocalVars", json!({"Scope": here(), "Cfg": load()}), false),
        ("ListSources", json!({"Filter": "main.go$"}), true),
        ("ListFunctions", json!({"Filter": "^main\\.tw"}), true),
        ("ListTypes", json!({"Filter": "^main\\."}), true),
        (
            "FindLocation",
            json!({"Scope": {"GoroutineID": 1}, "Loc": "main.twice"}),
            true,
        ),
        ("ProcessPid", json!({}), true),
        ("LastModified", json!({}), true),
        ("BuildID", json!({}), true),
        ("ListTargets", json!({}), false),
        ("ExamineMemory", json!({"Address": 16, "Length": 4}), true),
        ("ListRegisters", json!({}), false),
        ("Recorded", json!({}), true),
    ] {
        ask_while_running(play, method, &argument, compared)?;
    }
    play.end(true)
}

fn breakpoints(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &["forever"])?;
    let path = built.source("main.go");
    for (method, argument) in [
        (
            "CreateBreakpoint",
            json!({"Breakpoint": {"file": path, "line": built.line("main.go", "// twice")?, "name": "first"}}),
        ),
        ("ListBreakpoints", json!({})),
        ("GetBreakpoint", json!({"Name": "first"})),
        ("AmendBreakpoint", json!({"Breakpoint": {"id": 1, "Cond": "n == 1"}})),
        ("ToggleBreakpoint", json!({"Id": 1})),
        ("ClearBreakpoint", json!({"Id": 1})),
        (
            "CreateBreakpoint",
            json!({"Breakpoint": {"functionName": "main.nothing"}}),
        ),
    ] {
        ask_while_running(play, method, &argument, true)?;
    }
    play.end(true)
}

fn halt(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &["forever"])?;
    let running = play.run_on(0)?;
    let other = play.join()?;
    let halted = play.send(other, "Command", &json!({"name": "halt"}))?;
    play.answer_shape(other, "halt", &halted)?;
    play.answer_shape(0, "continue", &running)?;
    play.ask_shape("State", json!({}))?;
    play.ask_shape("Command", json!({"name": "halt"}))?;
    play.end(true)
}

fn many_clients(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &["forever"])?;
    let (second, third) = (play.join()?, play.join()?);
    play.ask_of(
        second,
        "CreateBreakpoint",
        json!({"Breakpoint": {"file": built.source("main.go"), "line": built.line("main.go", "// Add")?}}),
    )?;
    play.ask_of(third, "ListBreakpoints", json!({}))?;
    play.ask_of(third, "Command", json!({"name": "continue"}))?;
    play.ask_of(second, "State", json!({}))?;
    play.ask_of(0, "Stacktrace", json!({"Id": -1, "Depth": 2}))?;
    play.ask_of(second, "ClearBreakpoint", json!({"Id": 1}))?;
    let running = play.run_on(second)?;
    play.ask_of(third, "State", json!({"NonBlocking": true}))?;
    play.ask_silently(0, "Command", Some(json!([{"name": "halt"}])))?;
    play.answer_shape(second, "continue", &running)?;
    play.ask_of(third, "Detach", json!({"Kill": true}))?;
    play.has_ended()
}

fn another_command(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &["forever"])?;
    play.run_on(0)?;
    for command in ["continue", "next", "switchThread", "nothing"] {
        let other = play.join()?;
        let pending = play.send(other, "Command", &json!({"name": command}))?;
        let answered = play.answered_soon(other, &pending)?;
        // It waits for the program to rest; which of those that wait is next to have it is not said.
        play.note(
            &format!("{command} while running"),
            answered.unwrap_or("no answer yet".into()),
        );
    }
    play.ask("State", json!({"NonBlocking": true}))?;
    Ok(())
}
