//! `Command` in all its forms.

use serde_json::{Value, json};

use super::{RpcPlay, here, load, scenario};
use crate::failure::Result;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("rpc moving: steps", steps),
    scenario("rpc moving: into and out of functions", in_and_out),
    scenario("rpc moving: instructions", instructions),
    scenario("rpc moving: deferred functions and panics", panics),
    scenario("rpc moving: steps that breakpoints cut short", cut_short),
    scenario("rpc moving: to the end", to_the_end),
    scenario("rpc moving: switches", switches),
    scenario("rpc moving: commands that are none", no_commands),
    scenario("rpc moving: a fatal panic", fatal_panic),
    scenario("rpc moving: a breakpoint of the program's own", own_breakpoint),
    scenario("rpc moving: goroutines", goroutines),
];

fn look(play: &mut RpcPlay) -> Result<()> {
    play.ask("Stacktrace", json!({"Id": -1, "Depth": 3}))?;
    Ok(())
}

fn walk(play: &mut RpcPlay, commands: &[&str]) -> Result<()> {
    for command in commands {
        let answer = play.command(command)?;
        if answer["result"]["State"]["exited"] == true || answer["error"].is_string() {
            break;
        }
        look(play)?;
    }
    Ok(())
}

fn steps(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.ask("State", json!({}))?;
    play.bring_to(&built, "// first")?;
    walk(play, &["next"; 12])?;
    play.end(true)
}

fn in_and_out(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.bring_to(&built, "// first")?;
    walk(
        play,
        &[
            "step", "step", "stepOut", "next", "step", "next", "stepOut", "next", "step",
        ],
    )?;
    play.ask("Command", json!({"name": "stepOut", "ReturnInfoLoadConfig": load()}))?;
    play.ask("State", json!({}))?;
    play.ask("ListThreads", json!({}))?;
    walk(play, &["stepOut", "stepOut", "stepOut"])?;
    play.end(true)
}

fn instructions(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.bring_to(&built, "// twice")?;
    walk(play, &["stepInstruction"; 8])?;
    walk(play, &["nextInstruction"; 12])?;
    play.end(true)
}

fn panics(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.bring_to(&built, "// guarded")?;
    walk(play, &["step", "next", "next", "next", "next", "next"])?;
    play.end(true)
}

fn cut_short(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.bring_to(&built, "// cart")?;
    play.break_at(&built, "// square", json!({}))?;
    walk(play, &["next", "next"])?;
    // The step is not over, so another may not begin.
    walk(play, &["next"])?;
    walk(play, &["step"])?;
    play.ask("State", json!({}))?;
    play.ask("CancelNext", json!({}))?;
    play.ask("State", json!({}))?;
    walk(play, &["next", "continue", "stepOut", "continue"])?;
    play.end(true)
}

fn to_the_end(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.bring_to(&built, "// last")?;
    walk(play, &["next", "next", "next", "next", "next", "next", "next"])?;
    play.ask("State", json!({}))?;
    play.end(true)
}

fn switches(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("crowd", &[])?;
    play.bring_to(&built, "// all wait")?;
    let all = play.ask("ListGoroutines", json!({}))?;
    let waiting: Vec<Value> = all["result"]["Goroutines"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|one| {
            one["startLoc"]["function"]["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("main.main"))
        })
        .map(|one| one["id"].clone())
        .collect();
    for id in waiting {
        let answer = play.ask_silently(
            0,
            "Command",
            Some(json!([{"name": "switchGoroutine", "goroutineID": id}])),
        )?;
        play.note("switchGoroutine to one that waits", answer);
        play.ask("ListLocalVars", json!({"Scope": here(), "Cfg": load()}))?;
        look(play)?;
        play.ask("Eval", json!({"Scope": {"GoroutineID": -1, "Frame": 2}, "Expr": "id"}))?;
    }
    let state = play.ask("Command", json!({"name": "switchGoroutine", "goroutineID": 1}))?;
    let thread = state["result"]["State"]["currentThread"]["id"].clone();
    let answer = play.ask_silently(
        0,
        "Command",
        Some(json!([{"name": "switchThread", "threadID": thread}])),
    )?;
    play.note("switchThread to the first goroutine's", answer);
    let answer = play.ask_silently(0, "GetThread", Some(json!([{"Id": thread}])))?;
    play.note("GetThread of the first goroutine's", answer);
    for command in [
        json!({"name": "switchGoroutine", "goroutineID": 4711}),
        json!({"name": "switchGoroutine", "goroutineID": 0}),
        json!({"name": "switchGoroutine", "goroutineID": -1}),
        json!({"name": "switchGoroutine"}),
        json!({"name": "switchThread", "threadID": 1}),
        json!({"name": "switchThread"}),
        json!({"name": "switchThread", "threadID": -1}),
    ] {
        play.ask("Command", command)?;
    }
    play.ask("State", json!({}))?;
    play.end(true)
}

fn no_commands(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.bring_to(&built, "// first")?;
    for command in [
        json!({}),
        json!(null),
        json!({"name": ""}),
        json!({"name": "Continue"}),
        json!({"name": "nothing"}),
        json!({"name": "stepout"}),
        json!({"name": "halt"}),
        json!({"name": "halt"}),
    ] {
        play.ask("Command", command)?;
    }
    play.ask("CancelNext", json!({}))?;
    play.ask("State", json!({"NonBlocking": true}))?;
    play.end(true)
}

fn fatal_panic(play: &mut RpcPlay) -> Result<()> {
    play.serve("fails", &["text"])?;
    play.command("continue")?;
    play.ask("Stacktrace", json!({"Id": -1, "Depth": 10}))?;
    play.ask("ListThreads", json!({}))?;
    play.ask("ListBreakpoints", json!({"All": true}))?;
    play.command("continue")?;
    play.end(true)?;
    play.serve("fails", &["unlock"])?;
    play.command("continue")?;
    play.ask("Stacktrace", json!({"Id": -1, "Depth": 10}))?;
    play.command("continue")?;
    play.end(true)
}

fn own_breakpoint(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &["hard"])?;
    play.command("continue")?;
    look(play)?;
    play.command("next")?;
    look(play)?;
    play.command("continue")?;
    play.end(true)
}

fn goroutines(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("crowd", &[])?;
    play.bring_to(&built, "// all wait")?;
    play.break_at(&built, "// visit", json!({}))?;
    // In which order the goroutines come there, and whether together, is a matter of chance; how often is not.
    loop {
        let answer = play.ask_silently(0, "Command", Some(json!([{"name": "continue"}])))?;
        let state = &answer["result"]["State"];
        if !state["currentThread"]["breakPoint"].is_object() {
            play.note("what is left", answer);
            break;
        }
    }
    play.ask("ListBreakpoints", json!({}))?;
    play.end(true)
}
