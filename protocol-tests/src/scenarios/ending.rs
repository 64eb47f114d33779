//! Ends, and beginnings anew.

use std::time::Duration;

use serde_json::json;

use super::scenario;
use crate::failure::{Attempt, Result};
use crate::play::Play;
use crate::toolchain::Build;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("end: disconnect at a stop", at_a_stop),
    scenario("end: disconnect while running", while_running),
    scenario("end: disconnect before the start", before_the_start),
    scenario("end: disconnect without a program", without_a_program),
    scenario("end: terminateDebuggee false", not_terminated),
    scenario("restart: at a stop", restart_at_a_stop),
    scenario("restart: after the end, with other arguments", restart_after_the_end),
    scenario("restart: while running", restart_while_running),
    scenario("restart: built anew", restart_with_build),
];

fn at_a_stop(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    play.stop_at(&built, &["// twice"])?;
    play.run()?;
    play.end(json!(null))
}

fn while_running(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({"args": ["forever"]}))?;
    play.client().configuration_done()?;
    std::thread::sleep(Duration::from_millis(50));
    play.end(json!({}))
}

fn before_the_start(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    play.end(json!({}))
}

fn without_a_program(play: &mut Play) -> Result<()> {
    play.client().initialize()?;
    play.end(json!({}))
}

fn not_terminated(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    play.stop_at(&built, &["// twice"])?;
    play.run()?;
    // A launched program ends with its session, whatever is asked for.
    play.end(json!({"terminateDebuggee": false}))
}

fn restart_at_a_stop(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    play.stop_at(&built, &["// twice"])?;
    play.run()?;
    play.stack(0, 1)?;
    // Without a build of its own there is nothing to build anew.
    play.ask("restart", json!({"arguments": {"request": "launch", "rebuild": false}}))?;
    play.client().event("initialized")?;
    play.ask("scopes", json!({"frameId": 1000}))?;
    play.stack_of(1, 0, 20)?;
    play.stop_at(&built, &["// twice", "// cart"])?;
    play.run()?;
    play.stack(0, 1)?;
    play.go("continue")?;
    play.end(json!({}))
}

fn restart_after_the_end(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({"args": ["deep"]}))?;
    play.run()?;
    play.ask(
        "restart",
        json!({"arguments": {"request": "launch", "rebuild": false, "args": ["exit"], "stackTraceDepth": 2}}),
    )?;
    play.client().event("initialized")?;
    play.stop_at(&built, &["os.Exit(7)"])?;
    play.run()?;
    play.ask("stackTrace", json!({"threadId": 1}))?;
    play.go("continue")?;
    play.ask("restart", json!({"arguments": {"request": "launch", "args": 3}}))?;
    play.end(json!({}))
}

fn restart_while_running(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({"args": ["forever"]}))?;
    play.client().configuration_done()?;
    std::thread::sleep(Duration::from_millis(50));
    play.ask("restart", json!({"arguments": {"request": "launch", "rebuild": false}}))?;
    play.client().event("initialized")?;
    play.stop_at(&built, &["// Add"])?;
    play.client().configuration_done()?;
    play.client()
        .event_where("a stop at the breakpoint", crate::dap_client::STEP, |event| {
            event.event == "stopped" && event.body["reason"] == "breakpoint"
        })?;
    play.end(json!({}))
}

fn restart_with_build(play: &mut Play) -> Result<()> {
    let scratch = play.scratch();
    let path = scratch.join("main.go");
    let write = |text: &str| std::fs::write(&path, text).attempt("writing main.go");
    std::fs::write(scratch.join("go.mod"), "module anew\n\ngo 1.21\n").attempt("writing go.mod")?;
    write("package main\n\nfunc main() {\n\tn := 1\n\tprintln(n)\n}\n")?;
    play.client()
        .launch(json!({"mode": "debug", "program": scratch, "dlvCwd": scratch}))?;
    let stop = [json!({"line": 5})];
    play.breakpoints_at(&path.to_string_lossy(), &stop)?;
    play.run()?;
    play.stack(0, 1)?;
    play.variables(0)?;
    write("package main\n\nfunc main() {\n\ttext := \"anew\"\n\tprintln(text)\n}\n")?;
    play.ask("restart", json!({}))?;
    play.client().event("initialized")?;
    play.breakpoints_at(&path.to_string_lossy(), &stop)?;
    play.run()?;
    play.stack(0, 1)?;
    play.variables(0)?;
    write("package main\n\nfunc main() {\n\tbroken\n}\n")?;
    play.ask("restart", json!({}))?;
    play.threads()?;
    play.threads()?;
    play.end(json!({}))
}
