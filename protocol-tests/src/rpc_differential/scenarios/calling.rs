//! Functions of the program, called where it stands.

use serde_json::json;

use super::{RpcPlay, load, scenario};
use crate::failure::Result;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("rpc calling: functions and methods", functions),
    scenario("rpc calling: assignments", assignments),
    scenario("rpc calling: literals", literals),
    scenario("rpc calling: what is refused", refused),
    scenario("rpc calling: panics", panics),
    scenario("rpc calling: stops inside", stops),
    scenario("rpc calling: two goroutines", two_goroutines),
    scenario("rpc calling: entries, and the runtime", in_the_runtime),
    scenario("rpc calling: conditions", conditions),
    scenario("rpc calling: the end", ends),
];

fn call(play: &mut RpcPlay, expression: &str) -> Result<()> {
    play.ask(
        "Command",
        json!({"name": "call", "expr": expression, "ReturnInfoLoadConfig": load()}),
    )?;
    Ok(())
}

fn calls(play: &mut RpcPlay, expressions: &[&str]) -> Result<()> {
    let built = play.serve("callees", &[])?;
    play.bring_to(&built, "// breakpoint here")?;
    for expression in expressions {
        call(play, expression)?;
    }
    play.ask("State", json!({}))?;
    play.end(true)
}

fn functions(play: &mut RpcPlay) -> Result<()> {
    calls(
        play,
        &[
            "add(one, two)",
            "nothing(5)",
            "counted",
            "both(1, \"lit\")",
            "add(add(one, 2), add(3, add(4, 5)))",
            "half(x, y)",
            "half(1, 2.5)",
            "join(words, comma)",
            "join(words, \"-long separator-\")",
            "total(ints)",
            "numbers(4)",
            "makePoint(3)",
            "asNamer(2).Name(\"q\")",
            "p.Sum(1)",
            "pp.Sum(1)",
            "pp.Name(str)",
            "p.Scaled(2)",
            "makePoint(3).Scaled(2).Sum(1)",
            "newPoint(5).Name(\"x\")",
            "n.Sum(1)",
            "q.Name(\"q\")",
            "q.Sum(2)",
            "l.Zero()",
            "l.Twice(4)",
            "byName.Name(\"i\")",
            "bySum.Sum(1)",
            "closure(2)",
            "function(3, 4)",
            "method(\"m\")",
            "bound(5)",
            "adder(2)(3)",
            "swap(pr)",
            "many(1,2,3,4,5,6,7,8,9,10)",
            "strs(ten, 3)",
            "anything(pp)",
            "deep(100)",
            "long(10)",
            "collects(collects(\"gc \"))",
        ],
    )
}

/// Each expression is followed by what it was to change.
fn assignments(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("callees", &[])?;
    play.bring_to(&built, "// breakpoint here")?;
    for (assignment, changed) in [
        ("one = add(two, 5)", "one"),
        ("two = 7", "two"),
        ("str = \"longer than before\"", "str"),
        ("str = \"a\" + \"=\"", "str"),
        ("str = \"\"", "str"),
        ("str = comma", "str"),
        ("str = join(words, \" = \")", "str"),
        ("comma = `raw`", "comma"),
        ("words[1] = \"element\"", "words"),
        ("pr.d = \"field\"", "pr"),
        ("pr = swap(pr)", "pr"),
        ("p.X = p.Sum(add(1, 2))", "p"),
        ("pp.Y = 3", "pp"),
        ("p = makePoint(6)", "p"),
        ("pp = newPoint(8)", "pp"),
        ("pp.X = total(ints)", "pp"),
        ("ints = numbers(5)", "ints"),
        ("ints[add(0, 1)] = 9", "ints"),
        ("byName = asNamer(2)", "byName"),
        ("function = closure", "function"),
        ("closure = adder(4)", "closure(1)"),
        ("x = half(x, y)", "x"),
        ("counted = add(3, 4)", "counted"),
        ("kept = pp", "kept"),
        ("nilp = nil", "nilp"),
        ("newPoint(3).X = 4", "nilp"),
        ("one = str", "one"),
        ("one = \"text\"", "one"),
        ("str = 5", "str"),
        ("one = both(1, str)", "one"),
        ("one = nothing(1)", "one"),
        ("one = fails(\"boom\")", "one"),
        ("undefined = 1", "one"),
        ("one = undefined", "one"),
        ("one = ", "one"),
        ("= 1", "one"),
        ("1 = 2", "one"),
        ("add(1, 2) = 2", "one"),
        ("one = two = 3", "one"),
        ("one := 3", "one"),
    ] {
        call(play, assignment)?;
        play.ask(
            "Eval",
            json!({"Scope": {"GoroutineID": -1}, "Expr": changed, "Cfg": load()}),
        )?;
    }
    play.ask(
        "Set",
        json!({"Scope": {"GoroutineID": -1}, "Symbol": "str", "Value": "\"needs room\""}),
    )?;
    play.ask("State", json!({}))?;
    play.end(true)
}

/// Composite literals that the program has to make room for. What Delve has allocated does not always stay what it was, so only whether it is there is asked.
fn literals(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("callees", &[])?;
    play.bring_to(&built, "// breakpoint here")?;
    for (expression, changed) in [
        ("keep(&main.point{1, 2})", "kept != nil"),
        ("keep(&main.point{Y: one})", "kept != nil"),
        ("pp = &main.point{X: 3}", "pp != nil"),
        ("p = main.point{5, 6}", "p"),
        ("pr = main.pair{1, 2, true, \"literal\"}", "len(pr.d)"),
        ("pr.d = \"\"", "pr"),
        ("q = main.pointed{&main.point{1, 2}, 3}", "q.point != nil"),
        ("q.point = &main.point{6, 7}", "q.point != nil"),
        ("n = main.named{\"name\", main.point{1, 2}}", "n"),
        ("total([]int{1, 2})", "ints"),
        ("kept = &one", "kept != nil"),
        ("keep(&main.point{1})", "kept != nil"),
        ("keep(&main.point{Z: 1})", "kept != nil"),
        ("keep(&main.pair{})", "kept != nil"),
        ("keep(main.point{1, 2})", "kept != nil"),
    ] {
        call(play, expression)?;
        play.ask(
            "Eval",
            json!({"Scope": {"GoroutineID": -1}, "Expr": changed, "Cfg": load()}),
        )?;
    }
    play.end(true)
}

fn refused(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("callees", &[])?;
    play.bring_to(&built, "// breakpoint here")?;
    for expression in [
        "add(1)",
        "add(1, 2, 3)",
        "add(\"a\", 1)",
        "add(undefined, 1)",
        "add(1, nilp.X)",
        "add(one, words[7])",
        "p.Sum(undefined)",
        "p.Sum(1, 2)",
        "add(x, 1)",
        "add(1.5, 1)",
        "join(ints, comma)",
        "join(words, 1)",
        "undefined(1)",
        "one(1)",
        "p(1)",
        "none.Name(\"i\")",
        "nilp.Sum(1)",
        "nilf()",
        "keep(&p)",
        "p.Name(str)",
        "anything(p)",
        "total(1, 2)",
        "add(both(1, str))",
        "1 +",
    ] {
        call(play, expression)?;
    }
    play.ask("Command", json!({"name": "call", "expr": "add(1, 2)"}))?;
    play.end(true)
}

fn panics(play: &mut RpcPlay) -> Result<()> {
    calls(
        play,
        &[
            "fails(\"boom\")",
            "fails(str)",
            "add(fails(\"x\"), 1)",
            "divides(one, two - 2)",
            "nilp.Name(\"x\")",
            "add(1, 2)",
        ],
    )
}

fn stops(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("callees", &[])?;
    play.bring_to(&built, "// breakpoint here")?;
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"file": built.source("main.go"), "line": built.line("main.go", "// in stops")?}}),
    )?;
    call(play, "stops(2)")?;
    play.ask(
        "EvalVariable",
        json!({"Scope": {"GoroutineID": -1}, "Expr": "n", "Cfg": load()}),
    )?;
    call(play, "add(1, 2)")?;
    play.ask("Command", json!({"name": "continue", "ReturnInfoLoadConfig": load()}))?;
    play.end(true)
}

/// A function that another goroutine has to serve, which is stopped for that, and calls as well.
fn two_goroutines(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("callees", &[])?;
    play.bring_to(&built, "// breakpoint here")?;
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"file": built.source("main.go"), "line": built.line("main.go", "// in serves")?}}),
    )?;
    call(play, "meets(4)")?;
    call(play, "add(n, 2)")?;
    play.ask(
        "Command",
        json!({"name": "call", "goroutineID": 1, "expr": "add(1, 2)", "ReturnInfoLoadConfig": load()}),
    )?;
    call(play, "n = add(n, 10)")?;
    play.ask("Command", json!({"name": "continue", "ReturnInfoLoadConfig": load()}))?;
    call(play, "add(one, two)")?;
    play.end(true)
}

/// At the first instruction of a function, and in the runtime, which allows no call; the program goes on from there.
fn in_the_runtime(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("callees", &[])?;
    play.bring_to(&built, "// breakpoint here")?;
    for function in ["main.nothing", "runtime.GC"] {
        play.ask(
            "CreateBreakpoint",
            json!({"Breakpoint": {"functionName": function, "line": -1}}),
        )?;
        play.ask("Command", json!({"name": "continue", "ReturnInfoLoadConfig": load()}))?;
        call(play, "main.add(1, 2)")?;
        call(play, "main.counted = main.add(1, 2)")?;
    }
    play.ask("Command", json!({"name": "stepInstruction"}))?;
    call(play, "main.add(1, 2)")?;
    play.end(true)
}

fn conditions(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("callees", &[])?;
    play.bring_to(&built, "// breakpoint here")?;
    for (condition, marker) in [
        ("add(1, 2) == 3", "one++"),
        ("p.Sum(1) > 0", "nothing(1)"),
        ("len(words) == 3 && nilp.Sum(1) == 0", "p.Move(1, 1)"),
    ] {
        play.ask(
            "CreateBreakpoint",
            json!({"Breakpoint": {
                "file": built.source("main.go"),
                "line": built.line("main.go", &format!("\t{marker}"))?,
                "Cond": condition,
            }}),
        )?;
        play.ask("Command", json!({"name": "continue"}))?;
    }
    play.end(true)
}

fn ends(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("callees", &[])?;
    play.bring_to(&built, "// breakpoint here")?;
    call(play, "leaves(3)")?;
    play.ask("State", json!({}))?;
    play.end(true)
}
