//! Programs that fail: panics, fatal errors, exit statuses.

use serde_json::json;

use super::scenario;
use crate::failure::Result;
use crate::play::Play;
use crate::toolchain::Build;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("failing: a panic", |play| fail(play, "text")),
    scenario("failing: a panic with an error", |play| fail(play, "error")),
    scenario("failing: a panic with a number", |play| fail(play, "number")),
    scenario("failing: a panic with a struct", |play| fail(play, "struct")),
    scenario("failing: a nil pointer", |play| fail(play, "nil")),
    scenario("failing: a nil map", |play| fail(play, "map")),
    scenario("failing: an index out of range", |play| fail(play, "index")),
    scenario("failing: a panic in a goroutine", |play| fail(play, "goroutine")),
    scenario("failing: a panic during a panic", |play| fail(play, "again")),
    scenario("failing: a fatal error", |play| fail(play, "unlock")),
    scenario("failing: a panic reached by a step", by_a_step),
    scenario("failing: exception breakpoints off", filters_off),
    scenario("failing: an exit status", exit_status),
];

fn fail(play: &mut Play, how: &str) -> Result<()> {
    let built = play.fixture("fails", Build::FixedHeap)?;
    play.launch(&built, json!({"args": [how]}))?;
    play.ask(
        "setExceptionBreakpoints",
        json!({"filters": ["unrecovered-panic", "runtime-fatal-throw"]}),
    )?;
    if matches!(how, "text" | "struct" | "unlock") {
        // Nothing has stopped the program before.
        play.run()?;
    } else {
        play.stop_at(&built, &["// outer"])?;
        play.run()?;
        play.go("continue")?;
    }
    let thread = play.thread();
    play.ask("exceptionInfo", json!({"threadId": thread}))?;
    play.ask("exceptionInfo", json!({"threadId": 987_654}))?;
    play.stack(0, 20)?;
    // The user's own code is what an editor shows first.
    let stack = play.stack(0, 20)?;
    let frames = stack["stackFrames"].as_array().cloned().unwrap_or_default();
    let own = frames
        .iter()
        .position(|frame| frame["name"].as_str().is_some_and(|name| name.starts_with("main.")));
    if let Some(own) = own {
        play.variables(own)?;
    }
    play.go("continue")?;
    play.end(json!({}))
}

fn by_a_step(play: &mut Play) -> Result<()> {
    let built = play.fixture("fails", Build::FixedHeap)?;
    play.launch(&built, json!({"args": ["text"]}))?;
    play.stop_at(&built, &["// outer"])?;
    play.run()?;
    play.go("next")?;
    play.ask("exceptionInfo", json!({"threadId": 1}))?;
    play.stack(0, 20)?;
    play.go("next")?;
    play.end(json!({}))
}

fn filters_off(play: &mut Play) -> Result<()> {
    let built = play.fixture("fails", Build::FixedHeap)?;
    play.launch(&built, json!({"args": ["number"]}))?;
    play.ask("setExceptionBreakpoints", json!({"filters": ["runtime-fatal-throw"]}))?;
    play.ask("setExceptionBreakpoints", json!({"filters": ["unrecovered-panic"]}))?;
    play.ask("setExceptionBreakpoints", json!({"filters": ["something else"]}))?;
    play.ask("setExceptionBreakpoints", json!({"filters": []}))?;
    play.run()?;
    play.end(json!({}))
}

fn exit_status(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({"args": ["exit"]}))?;
    play.stop_at(&built, &["os.Exit(7)"])?;
    play.run()?;
    play.go("next")?;
    for command in [
        "continue",
        "next",
        "pause",
        "stackTrace",
        "evaluate",
        "threads",
        "exceptionInfo",
    ] {
        play.ask(command, json!({"threadId": 1, "expression": "1", "context": "repl"}))?;
    }
    play.end(json!({}))
}
