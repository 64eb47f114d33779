//! Breakpoints of all sorts: where they lie, when they stop, what they log.

use std::time::Duration;

use serde_json::{Value, json};

use super::scenario;
use crate::failure::Result;
use crate::play::Play;
use crate::toolchain::Build;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("breakpoints: an editor's session", an_editors_session),
    scenario("breakpoints: places", places),
    scenario("breakpoints: conditions", conditions),
    scenario("breakpoints: hit conditions", hit_conditions),
    scenario("breakpoints: log messages", log_messages),
    scenario("breakpoints: log messages alone", log_messages_alone),
    scenario("breakpoints: changed at a stop", changed),
    scenario("breakpoints: changed while running", changed_while_running),
    scenario("breakpoints: functions", functions),
    scenario("breakpoints: instructions", instructions),
    scenario("breakpoints: the program's own", hard_coded),
];

/// What VS Code asks for at each stop.
fn an_editors_session(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    play.breakpoints(
        &built,
        &[
            ("// square", Value::Null),
            ("// twice", json!({"logMessage": "n is {n}"})),
        ],
    )?;
    play.ask("setFunctionBreakpoints", json!({"breakpoints": []}))?;
    play.ask(
        "setExceptionBreakpoints",
        json!({"filters": ["unrecovered-panic", "runtime-fatal-throw"]}),
    )?;
    play.run()?;
    for _ in 0..3 {
        play.threads()?;
        play.stack(0, 1)?;
        play.variables(0)?;
        play.stack(1, 19)?;
        play.variables(0)?;
        play.evaluate("n + 41", 0, "watch")?;
        play.go("continue")?;
    }
    play.go("next")?;
    play.stack(0, 20)?;
    play.breakpoints_at(&built.source("main.go"), &[])?;
    play.go("continue")?;
    play.end(json!({"restart": false}))
}

fn places(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    let at = |marker: &str| built.line("main.go", marker);
    let wanted = [
        json!({"line": at("// square")?}),
        json!({"line": at("func square(")?}),
        json!({"line": 1}),
        json!({"line": at("return result")? + 2}),
        json!({"line": 10_000}),
        json!({"line": 0}),
        json!({"line": at("// square")?}),
        json!({"line": at("text = fmt.Sprint(r)")?}),
        json!({"line": at("case \"exit\":")?}),
        json!({"line": at("a > b")?}),
    ];
    play.breakpoints_at(&built.source("main.go"), &wanted)?;
    play.breakpoints_at("/nowhere/at/all.go", &[json!({"line": 3})])?;
    play.breakpoints_at("main.go", &[json!({"line": at("// cart")?})])?;
    play.run()?;
    play.stack(0, 1)?;
    play.end(json!({}))
}

fn conditions(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    let condition = |text: &str| json!({"condition": text});
    play.breakpoints(
        &built,
        &[
            ("// square", condition("n == 2")),
            ("// loop body", condition("i > 1 && sum != 0")),
            ("// Add", condition("c.Owner == \"nobody\"")),
            ("// closure", condition("base + n == 16")),
            ("// deferred", condition("(result - 1) * 2 == 62 || false")),
        ],
    )?;
    for marker_condition in ["n ==", "nothing == 1", "n", "n == \"x\"", "len(n) > 0"] {
        // One that cannot be evaluated, or is none; then none, as Delve does not recover from an amendment that failed.
        play.breakpoints(&built, &[("// twice", condition(marker_condition))])?;
        play.breakpoints(&built, &[])?;
    }
    play.breakpoints(
        &built,
        &[
            ("// square", condition("n == 2")),
            ("// loop body", condition("i > 1 && sum != 0")),
            ("// Add", condition("c.Owner == \"nobody\"")),
            ("// closure", condition("base + n == 16")),
            ("// deferred", condition("(result - 1) * 2 == 62 || false")),
        ],
    )?;
    play.run()?;
    for _ in 0..6 {
        play.stack(0, 1)?;
        play.variables(0)?;
        if play.go("continue")?.event == "terminated" {
            break;
        }
    }
    play.end(json!({}))
}

fn hit_conditions(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    let hits = |text: &str| json!({"hitCondition": text});
    for wrong in ["x", "> y", "=> 3", "3 4", "% 0"] {
        play.breakpoints(&built, &[("// square", hits(wrong))])?;
        play.breakpoints(&built, &[])?;
    }
    play.breakpoints(
        &built,
        &[
            ("// square", hits("== 3")),
            ("// loop body", hits("% 2")),
            ("// closure", hits("> 1")),
            ("// way down", hits("1")),
            ("// largest", json!({"hitCondition": ">= 1", "condition": "a > b"})),
        ],
    )?;
    play.run()?;
    for _ in 0..8 {
        play.stack(0, 1)?;
        if play.go("continue")?.event == "terminated" {
            break;
        }
    }
    play.end(json!({}))
}

fn log_messages(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    let log = |text: &str| json!({"logMessage": text});
    for wrong in ["{n", "n}", "{}", "{ }", "{n}}"] {
        play.breakpoints(&built, &[("// square", log(wrong))])?;
        play.breakpoints(&built, &[])?;
    }
    play.breakpoints(
        &built,
        &[
            ("// square", log("n={n} twice={n+n}")),
            ("// Add", log("{c} {*c} {c.Owner} {c.Total}")),
            ("// twice", log("nothing in braces, 100%")),
            ("// recovered", log("{r}")),
            ("// last", Value::Null),
        ],
    )?;
    play.run()?;
    play.stack(0, 1)?;
    play.go("continue")?;
    play.end(json!({}))
}

/// What needs no stop, and has none with spelunk.
fn log_messages_alone(play: &mut Play) -> Result<()> {
    let built = play.fixture("orders", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    let log = |text: &str| json!({"logMessage": text});
    play.breakpoints(
        &built,
        &[
            (
                "// each item",
                log("{item.Name} at {index}: {order.Items[0].Price} {len(order.Items)}"),
            ),
            ("// shipped", log("label {label}, {order.Customer}, {order.Notes}")),
        ],
    )?;
    play.run()?;
    play.end(json!({}))
}

fn changed(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    play.stop_at(&built, &["// first", "// square"])?;
    play.run()?;
    play.stop_at(&built, &["// square", "// twice"])?;
    play.breakpoints(
        &built,
        &[("// twice", Value::Null), ("// square", json!({"condition": "n == 1"}))],
    )?;
    play.go("continue")?;
    play.breakpoints(
        &built,
        &[("// square", json!({"condition": "n == 1"})), ("// cart", Value::Null)],
    )?;
    play.go("continue")?;
    play.breakpoints_at(&built.source("main.go"), &[])?;
    play.stop_at(&built, &["// last"])?;
    play.go("continue")?;
    play.stack(0, 1)?;
    play.go("continue")?;
    play.stop_at(&built, &["// first"])?;
    play.end(json!({}))
}

fn changed_while_running(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({"args": ["forever"]}))?;
    play.client().configuration_done()?;
    play.threads()?;
    for command in [
        "continue",
        "next",
        "stackTrace",
        "scopes",
        "variables",
        "evaluate",
        "setVariable",
        "exceptionInfo",
        "setExceptionBreakpoints",
        "setDataBreakpoints",
        "dataBreakpointInfo",
        "configurationDone",
        "modules",
    ] {
        let arguments = json!({"threadId": 1, "frameId": 1000, "variablesReference": 1000, "expression": "1",
            "name": "x", "value": "1", "filters": [], "breakpoints": []});
        play.ask(command, arguments)?;
    }
    play.stop_at(&built, &["// Add"])?;
    play.arrive()?;
    play.stack(0, 3)?;
    play.breakpoints_at(&built.source("main.go"), &[])?;
    play.ask("continue", json!({"threadId": 1}))?;
    std::thread::sleep(Duration::from_millis(50));
    play.ask(
        "setFunctionBreakpoints",
        json!({"breakpoints": [{"name": "main.(*Cart).Add"}]}),
    )?;
    play.arrive()?;
    play.stack(0, 3)?;
    play.end(json!({}))
}

fn functions(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    let names = [
        "main.square",
        "main.(*Cart).Add",
        "(*Cart).Add",
        "Cart.Describe",
        "loop",
        "main.largest",
        "main.nothing",
        "nothing.at.all",
        "",
        ".square",
        "/squ.*/",
        "*0x1000",
        "+1",
        "main.go:23",
        "main.square",
        "fmt.Sprint",
    ];
    for name in names {
        play.ask("setFunctionBreakpoints", json!({"breakpoints": [{"name": name}]}))?;
    }
    play.ask(
        "setFunctionBreakpoints",
        json!({"breakpoints": [
            {"name": "main.square", "condition": "n == 3"}, {"name": "main.(*Cart).Add"},
            {"name": "main.deep", "hitCondition": "> 2"}, {"name": "main.square"}, {"name": "main.largest"},
        ]}),
    )?;
    play.run()?;
    for _ in 0..6 {
        play.stack(0, 1)?;
        if play.go("continue")?.event == "terminated" {
            break;
        }
    }
    play.end(json!({}))
}

fn instructions(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    play.stop_at(&built, &["// twice", "// cart"])?;
    play.run()?;
    let stack = play.stack(0, 2)?;
    let caller = stack["stackFrames"][1]["instructionPointerReference"].clone();
    play.ask(
        "setInstructionBreakpoints",
        json!({"breakpoints": [{"instructionReference": caller}, {"instructionReference": "nowhere"}, {"instructionReference": "0x10"}]}),
    )?;
    play.go("continue")?;
    play.stack(0, 2)?;
    play.ask("setInstructionBreakpoints", json!({"breakpoints": []}))?;
    play.go("continue")?;
    play.stack(0, 2)?;
    play.end(json!({}))
}

fn hard_coded(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({"args": ["hard"]}))?;
    play.stop_at(&built, &["// behind the breakpoint"])?;
    play.run()?;
    play.stack(0, 20)?;
    play.go("next")?;
    play.stack(0, 20)?;
    play.go("continue")?;
    play.stack(0, 20)?;
    play.go("continue")?;
    play.end(json!({}))
}
