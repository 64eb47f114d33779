//! Goroutines and their stacks.

use std::time::Duration;

use serde_json::{Value, json};

use super::scenario;
use crate::failure::Result;
use crate::play::Play;
use crate::toolchain::Build;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("goroutines: the list and their stacks", list),
    scenario("goroutines: labels and filters", labels_and_filters),
    scenario("goroutines: system goroutines hidden", hidden),
    scenario("goroutines: a step of a parked one", step_parked),
    scenario("goroutines: breakpoints in several", several),
    scenario("goroutines: more than are listed", too_many),
    scenario("stack: portions of a deep one", portions),
    scenario("stack: a depth of its own", own_depth),
    scenario("stack: optimised and inlined code", optimised),
    scenario("pause: and go on", pause),
];

fn at_the_gate(play: &mut Play, further: Value) -> Result<()> {
    let built = play.fixture("crowd", Build::FixedHeap)?;
    play.launch(&built, further)?;
    play.stop_at(&built, &["// all wait"])?;
    play.run().map(drop)
}

/// The number of a goroutine by a part of its name.
fn goroutine(threads: &Value, part: &str) -> i64 {
    let all = threads["threads"].as_array().cloned().unwrap_or_default();
    let found = all
        .iter()
        .find(|thread| thread["name"].as_str().is_some_and(|name| name.contains(part)));
    found.and_then(|thread| thread["id"].as_i64()).unwrap_or(0)
}

fn list(play: &mut Play) -> Result<()> {
    at_the_gate(play, json!({}))?;
    let threads = play.threads()?;
    play.stack(0, 20)?;
    let waits = goroutine(&threads, "main.waits");
    play.stack_of(waits, 0, 20)?;
    // Below lie the runtime's frames, whose variables are full of addresses.
    play.variables(3)?;
    play.evaluate("id", 3, "watch")?;
    play.stack_of(987_654, 0, 20)?;
    play.stack_of(0, 0, 20)?;
    play.go("continue")?;
    play.end(json!({}))
}

fn labels_and_filters(play: &mut Play) -> Result<()> {
    at_the_gate(
        play,
        json!({"showPprofLabels": ["kind"], "goroutineFilters": "-w user"}),
    )?;
    play.threads()?;
    for config in [
        "showPprofLabels number",
        "showPprofLabels -clear",
        "showPprofLabels *",
        "goroutineFilters \"-w user -w userloc main.waits\"",
        "goroutineFilters \"-w user -wo label kind=batch\"",
        "goroutineFilters \"-w running\"",
        "goroutineFilters \"-w startloc main.begin\"",
        "goroutineFilters \"-nonsense\"",
        "goroutineFilters \"-w user -w goloc nowhere\"",
    ] {
        play.evaluate(&format!("dlv config {config}"), 0, "repl")?;
        play.threads()?;
    }
    play.end(json!({}))
}

fn hidden(play: &mut Play) -> Result<()> {
    at_the_gate(play, json!({"hideSystemGoroutines": true, "showPprofLabels": ["*"]}))?;
    play.threads()?;
    play.evaluate("dlv config hideSystemGoroutines false", 0, "repl")?;
    play.threads()?;
    play.end(json!({}))
}

fn step_parked(play: &mut Play) -> Result<()> {
    at_the_gate(play, json!({"hideSystemGoroutines": true}))?;
    let threads = play.threads()?;
    let waits = goroutine(&threads, "main.waits");
    play.ask("next", json!({"threadId": waits}))?;
    play.arrive()?;
    play.stack(0, 3)?;
    play.walk(&["stepIn", "next", "stepOut"])?;
    play.ask("next", json!({"threadId": 987_654}))?;
    play.arrive()?;
    play.end(json!({}))
}

fn several(play: &mut Play) -> Result<()> {
    let built = play.fixture("crowd", Build::FixedHeap)?;
    play.launch(&built, json!({"hideSystemGoroutines": true}))?;
    play.breakpoints(
        &built,
        &[
            ("// visit", json!({"condition": "id == 2"})),
            ("// all done", Value::Null),
        ],
    )?;
    play.run()?;
    play.stack(0, 3)?;
    play.variables(0)?;
    play.go("continue")?;
    play.stack(0, 3)?;
    play.threads()?;
    play.go("continue")?;
    play.end(json!({}))
}

fn too_many(play: &mut Play) -> Result<()> {
    at_the_gate(play, json!({"args": ["1200"], "hideSystemGoroutines": true}))?;
    play.threads()?;
    play.stack(0, 2)?;
    play.end(json!({}))
}

fn at_the_bottom(play: &mut Play, further: Value) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    let mut attributes = json!({"args": ["deep"]});
    if let (Value::Object(attributes), Value::Object(further)) = (&mut attributes, further) {
        attributes.extend(further);
    }
    play.launch(&built, attributes)?;
    play.stop_at(&built, &["// bottom"])?;
    play.run().map(drop)
}

fn portions(play: &mut Play) -> Result<()> {
    at_the_bottom(play, json!({}))?;
    for (start, levels) in [
        (0, 1),
        (1, 19),
        (20, 20),
        (0, 0),
        (0, 200),
        (118, 10),
        (123, 2),
        (124, 1),
        (200, 5),
        (-1, 2),
    ] {
        play.stack(start, levels)?;
    }
    play.ask("stackTrace", json!({"threadId": 1}))?;
    play.end(json!({}))
}

fn own_depth(play: &mut Play) -> Result<()> {
    at_the_bottom(play, json!({"stackTraceDepth": 3}))?;
    play.ask("stackTrace", json!({"threadId": 1}))?;
    play.stack(0, 2)?;
    play.evaluate("dlv config stackTraceDepth 5", 0, "repl")?;
    play.ask("stackTrace", json!({"threadId": 1}))?;
    play.end(json!({}))
}

fn optimised(play: &mut Play) -> Result<()> {
    let built = play.fixture("orders", Build::Opt)?;
    play.launch(&built, json!({}))?;
    play.stop_at(&built, &["// each item", "// shipped"])?;
    play.run()?;
    for _ in 0..3 {
        play.stack(0, 20)?;
        play.ask("scopes", json!({"frameId": 1000}))?;
        play.go("continue")?;
    }
    play.end(json!({}))
}

fn pause(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({"args": ["busy"], "hideSystemGoroutines": true}))?;
    play.client().configuration_done()?;
    for _ in 0..3 {
        std::thread::sleep(Duration::from_millis(30));
        play.ask("pause", json!({"threadId": 1}))?;
        let stopped = play.client().event("stopped")?;
        // Where it was is a matter of chance.
        play.ask("pause", json!({"threadId": stopped.body["threadId"]}))?;
        play.evaluate("1 + 1", 0, "repl")?;
        play.ask("continue", json!({"threadId": 1}))?;
    }
    play.end(json!({}))
}
