//! Steps: over, into, out of, through what a program does.

use serde_json::json;

use super::scenario;
use crate::failure::Result;
use crate::play::Play;
use crate::toolchain::Build;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("steps: over lines, calls and returns", over),
    scenario("steps: into and out of calls", into_and_out),
    scenario("steps: through a loop", through_a_loop),
    scenario("steps: closures and deferred calls", closures_and_deferred),
    scenario("steps: a panic that is recovered", recovered),
    scenario("steps: out of recursion", recursion),
    scenario("steps: interrupted by a breakpoint", interrupted),
    scenario("steps: to the end of the program", to_the_end),
    scenario("steps: single instructions", single_instructions),
    scenario("steps: generic functions", generics),
];

fn at(play: &mut Play, marker: &str) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    play.stop_at(&built, &[marker])?;
    play.run()?;
    play.stack(0, 3)?;
    play.breakpoints_at(&built.source("main.go"), &[]).map(drop)
}

fn over(play: &mut Play) -> Result<()> {
    at(play, "// square")?;
    play.walk(&["next"; 8])?;
    play.variables(0)?;
    play.end(json!({}))
}

fn into_and_out(play: &mut Play) -> Result<()> {
    at(play, "// first")?;
    play.walk(&[
        "stepIn", "stepIn", "stepOut", "next", "stepIn", "next", "stepOut", "next", "stepIn", "stepOut",
    ])?;
    play.end(json!({}))
}

fn through_a_loop(play: &mut Play) -> Result<()> {
    at(play, "sum := 0")?;
    play.walk(&["next"; 8])?;
    play.walk(&["stepIn", "next", "next", "stepOut"])?;
    play.end(json!({}))
}

fn closures_and_deferred(play: &mut Play) -> Result<()> {
    at(play, "// call of a closure")?;
    play.walk(&["stepIn", "next", "next", "next", "next", "next", "stepIn"])?;
    play.walk(&["next"; 9])?;
    play.end(json!({}))
}

fn recovered(play: &mut Play) -> Result<()> {
    at(play, "// guarded")?;
    play.walk(&["stepIn", "next", "next", "next", "next", "next", "next"])?;
    play.end(json!({}))
}

fn recursion(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({"args": ["deep"]}))?;
    play.breakpoints(&built, &[("// way down", json!({"condition": "n == 117"}))])?;
    play.run()?;
    play.stack(0, 6)?;
    play.walk(&["stepIn", "stepIn", "next", "stepOut", "stepOut", "next"])?;
    play.end(json!({}))
}

fn interrupted(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    play.stop_at(&built, &["c := loop(4)", "// square"])?;
    play.run()?;
    play.stack(0, 2)?;
    // To the loop; its calls of square are breakpoints of their own.
    play.go("continue")?;
    play.go("next")?;
    play.stack(0, 2)?;
    play.go("next")?;
    play.ask("exceptionInfo", json!({"threadId": 1}))?;
    play.breakpoints_at(&built.source("main.go"), &[])?;
    play.go("continue")?;
    play.stack(0, 2)?;
    play.go("next")?;
    play.end(json!({}))
}

fn to_the_end(play: &mut Play) -> Result<()> {
    at(play, "// last")?;
    play.walk(&["next"; 6])?;
    play.end(json!({}))
}

fn single_instructions(play: &mut Play) -> Result<()> {
    at(play, "// square")?;
    for _ in 0..6 {
        let thread = play.thread();
        play.ask("next", json!({"threadId": thread, "granularity": "instruction"}))?;
        play.arrive()?;
        play.stack(0, 2)?;
    }
    for granularity in ["line", "statement"] {
        let thread = play.thread();
        play.ask("stepIn", json!({"threadId": thread, "granularity": granularity}))?;
        play.arrive()?;
        play.stack(0, 2)?;
    }
    play.end(json!({}))
}

fn generics(play: &mut Play) -> Result<()> {
    at(play, "f := largest")?;
    play.walk(&["stepIn", "next", "stepOut", "stepIn", "next", "next", "next"])?;
    play.end(json!({}))
}
