//! Programs that run already.

use std::process::Command;
use std::time::Duration;

use serde_json::json;

use super::scenario;
use crate::child::wait_until;
use crate::dap_client::STEP;
use crate::failure::{Attempt, Result};
use crate::play::Play;
use crate::toolchain::{Build, Built};
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("attach: breakpoint, step, detach", breakpoint_and_detach),
    scenario("attach: stop on entry", stop_on_entry),
    scenario("attach: detach while running", detach_while_running),
    scenario("attach: terminate", terminate),
    scenario("attach: the program ends", program_ends),
];

/// A running program to attach to.
fn running(play: &mut Play, args: &[&str]) -> Result<(Built, i32)> {
    let built = play.fixture("counter", Build::FixedHeap)?;
    let pid = play.companion(Command::new(&built.program).args(args))?;
    let first = play.companions().last_mut().attempt("starting the program")?;
    first
        .stdout
        .clone()
        .wait_for("its first line", STEP, |text| text.contains('\n').then_some(()))?;
    Ok((built, pid))
}

/// Whether the program still counts, or has ended.
fn goes_on(play: &mut Play) -> Result<()> {
    let running = play.companions().last_mut().attempt("looking at the program")?;
    let lines = running.stdout.text().lines().count();
    let stdout = running.stdout.clone();
    stdout.wait_for("it to go on", STEP, |text| {
        (text.lines().count() > lines + 3).then_some(())
    })
}

fn has_ended(play: &mut Play) -> Result<()> {
    let running = play.companions().last_mut().attempt("looking at the program")?;
    wait_until("the program's end", STEP, || running.poll().ok().flatten()).map(drop)
}

fn breakpoint_and_detach(play: &mut Play) -> Result<()> {
    let (built, pid) = running(play, &[])?;
    play.client()
        .attach(json!({"request": "attach", "mode": "local", "processId": pid, "hideSystemGoroutines": true}))?;
    play.stop_at(&built, &["// a logpoint stands here"])?;
    play.ask("setExceptionBreakpoints", json!({"filters": []}))?;
    play.run()?;
    play.threads()?;
    play.stack(0, 20)?;
    play.walk(&["next", "next", "next"])?;
    play.go("continue")?;
    play.breakpoints_at(&built.source("main.go"), &[])?;
    play.end(json!({}))?;
    goes_on(play)
}

fn stop_on_entry(play: &mut Play) -> Result<()> {
    let (built, pid) = running(play, &[])?;
    play.client()
        .attach(json!({"request": "attach", "mode": "local", "processId": pid, "stopOnEntry": true}))?;
    play.run()?;
    play.evaluate("1 + 2", 0, "repl")?;
    play.stop_at(&built, &["// a logpoint stands here"])?;
    play.go("continue")?;
    play.stack(0, 2)?;
    play.end(json!({"terminateDebuggee": false}))?;
    goes_on(play)
}

fn detach_while_running(play: &mut Play) -> Result<()> {
    let (_, pid) = running(play, &[])?;
    play.client().attach(json!({"request": "attach", "processId": pid}))?;
    play.client().configuration_done()?;
    std::thread::sleep(Duration::from_millis(50));
    play.end(json!({"terminateDebuggee": false}))?;
    goes_on(play)
}

fn terminate(play: &mut Play) -> Result<()> {
    let (built, pid) = running(play, &[])?;
    play.client().attach(json!({"request": "attach", "processId": pid}))?;
    play.stop_at(&built, &["// a logpoint stands here"])?;
    play.run()?;
    play.ask("restart", json!({}))?;
    play.end(json!({"terminateDebuggee": true}))?;
    has_ended(play)
}

fn program_ends(play: &mut Play) -> Result<()> {
    let (_, pid) = running(play, &["100", "5"])?;
    play.client().attach(json!({"request": "attach", "processId": pid}))?;
    play.run()?;
    play.end(json!({}))
}
