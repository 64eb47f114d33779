//! Machine code, as an editor's disassembly view asks for it: pages around an address, far beyond both ends of the program.

use serde_json::{Value, json};

use super::scenario;
use crate::failure::Result;
use crate::play::Play;
use crate::toolchain::Build;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("disassembly: around a stop", around_a_stop),
    scenario("disassembly: the ends of the program", ends),
    scenario("disassembly: mistakes", mistakes),
    scenario("disassembly: breakpoints of a view", breakpoints_of_a_view),
    scenario("disassembly: sources that lie elsewhere", sources_elsewhere),
    scenario("disassembly: when nothing can be read", not_now),
];

/// Stops in a method; answers where it and its caller stand.
fn stop(play: &mut Play, further: Value) -> Result<(Value, Value)> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, further)?;
    play.stop_at(&built, &["// Add"])?;
    play.run()?;
    let stack = play.stack(0, 2)?;
    let at = |index: usize| stack["stackFrames"][index]["instructionPointerReference"].clone();
    Ok((at(0), at(1)))
}

fn disassemble(play: &mut Play, reference: &Value, offset: i64, count: i64) -> Result<Value> {
    let arguments = json!({"memoryReference": reference, "instructionOffset": offset, "instructionCount": count,
        "resolveSymbols": true});
    Ok(play.ask("disassemble", arguments)?.body)
}

fn around_a_stop(play: &mut Play) -> Result<()> {
    let (here, caller) = stop(play, json!({}))?;
    for (offset, count) in [
        (0, 1),
        (-1, 3),
        (0, 0),
        (-5, 12),
        (2, 4),
        (3, 0),
        (-3, 1),
        (-40, 60),
        (0, 50),
    ] {
        disassemble(play, &here, offset, count)?;
    }
    // A breakpoint is not shown, nor where a thread stands.
    disassemble(play, &caller, -4, 10)?;
    // Members that Delve does not look at change nothing.
    play.ask(
        "disassemble",
        json!({"memoryReference": here, "offset": 64, "instructionCount": 2, "resolveSymbols": false}),
    )?;
    play.go("next")?;
    disassemble(play, &here, 0, 3)?;
    play.end(json!({}))
}

/// The first and the last functions of the program, and what lies before and behind them.
fn ends(play: &mut Play) -> Result<()> {
    let (here, _) = stop(play, json!({}))?;
    disassemble(play, &json!("0x401000"), 0, 4)?;
    disassemble(play, &json!("0x401000"), -3, 6)?;
    disassemble(play, &json!("0x400fff"), 0, 3)?;
    disassemble(play, &json!("0x0"), 0, 10)?;
    disassemble(play, &json!("0"), 3, 2)?;
    disassemble(play, &json!("0xffffffffffffffff"), 0, 10)?;
    disassemble(play, &json!("0xffffffffffffffff"), -3, 0)?;
    disassemble(play, &json!("0x5"), 0, 100)?;
    disassemble(play, &json!("0x10000000"), 0, 3)?;
    disassemble(play, &json!("0x7fffffffffffffff"), 0, 3)?;
    disassemble(play, &here, -100_000, 0)?;
    disassemble(play, &here, 100_000, 3)?;
    play.end(json!({}))
}

fn mistakes(play: &mut Play) -> Result<()> {
    let (here, _) = stop(play, json!({}))?;
    for wrong in [
        "hello, world!",
        "",
        "-1",
        "0x",
        "12x",
        "0x1_0",
        "1e3",
        " 0x1",
        "0x10000000000000000",
        "0b101",
        "0o17",
        "017",
        "089",
    ] {
        disassemble(play, &json!(wrong), 0, 1)?;
    }
    // In the middle of an instruction.
    if let Some(addr) = here
        .as_str()
        .and_then(|text| u64::from_str_radix(text.trim_start_matches("0x"), 16).ok())
    {
        disassemble(play, &json!(format!("{:#x}", addr + 1)), 0, 2)?;
        disassemble(play, &json!(addr.to_string()), 0, 1)?;
        disassemble(play, &json!(format!("{addr:#X}").replace("0x", "0X")), 0, 1)?;
    }
    play.ask("disassemble", Value::Null)?;
    play.ask("disassemble", json!({}))?;
    play.ask("disassemble", json!({"memoryReference": here}))?;
    play.end(json!({}))
}

/// A user clicks into the gutter of the view, lets the program run, and steps by instructions.
fn breakpoints_of_a_view(play: &mut Play) -> Result<()> {
    let (here, _) = stop(play, json!({}))?;
    let body = disassemble(play, &here, 0, 12)?;
    let address = |index: usize| body["instructions"][index]["address"].clone();
    let at = |index: usize| json!({"instructionReference": address(index)});
    play.ask("setInstructionBreakpoints", json!({"breakpoints": [at(2), at(4)]}))?;
    play.go("continue")?;
    play.stack(0, 1)?;
    disassemble(play, &address(2), -1, 3)?;
    for command in ["next", "stepIn"] {
        let thread = play.thread();
        play.ask(command, json!({"threadId": thread, "granularity": "instruction"}))?;
        play.arrive()?;
        play.stack(0, 1)?;
    }
    let condition = json!({"instructionReference": address(2), "condition": "price > 1000000"});
    play.ask(
        "setInstructionBreakpoints",
        json!({"breakpoints": [condition, json!({})]}),
    )?;
    play.ask("setInstructionBreakpoints", json!({"breakpoints": []}))?;
    play.end(json!({}))
}

fn sources_elsewhere(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    let from = "/home/somebody/walks";
    let to = built.dir.to_string_lossy();
    play.launch(&built, json!({"substitutePath": [{"from": from, "to": to}]}))?;
    let line = built.line("main.go", "// Add")?;
    play.breakpoints_at(&format!("{from}/main.go"), &[json!({"line": line})])?;
    play.run()?;
    let stack = play.stack(0, 1)?;
    disassemble(play, &stack["stackFrames"][0]["instructionPointerReference"], 0, 1)?;
    play.end(json!({}))
}

/// While the program runs, and before there is one.
fn not_now(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    disassemble(play, &json!("0x401000"), 0, 1)?;
    play.launch(&built, json!({"args": ["forever"]}))?;
    disassemble(play, &json!("0x401000"), 0, 1)?;
    play.client().configuration_done()?;
    play.threads()?;
    disassemble(play, &json!("0x401000"), 0, 1)?;
    play.end(json!({"terminateDebuggee": true}))
}
