//! Scopes, variables, expressions, assignments, settings.

use serde_json::{Value, json};

use super::scenario;
use crate::failure::Result;
use crate::play::Play;
use crate::toolchain::Build;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("values: scalars", |play| scopes_at(play, "// stop scalars")),
    scenario("values: composites", |play| scopes_at(play, "// stop composites")),
    scenario("values: interfaces, channels, functions", |play| {
        scopes_at(play, "// stop dynamic")
    }),
    scenario("values: shadowed variables", |play| scopes_at(play, "// stop shadows")),
    scenario("values: portions of long ones", portions),
    scenario("values: a client without types and portions", plain_client),
    scenario("values: package variables and registers", globals_and_registers),
    scenario("values: limits of one's own", own_limits),
    scenario("values: expressions", expressions),
    scenario("values: expressions by context", contexts),
    scenario("values: assignments", assignments),
    scenario("values: settings in the console", settings),
    scenario("values: memory of strings and slices", memory),
];

fn at(play: &mut Play, marker: &str, further: Value) -> Result<()> {
    let built = play.fixture("kinds", Build::FixedHeap)?;
    play.launch(&built, further)?;
    play.stop_at(&built, &[marker])?;
    play.run()?;
    play.stack(0, 20).map(drop)
}

fn scopes_at(play: &mut Play, marker: &str) -> Result<()> {
    at(play, marker, json!({}))?;
    for variable in play.variables(0)? {
        play.expand_all(&variable, 3)?;
    }
    play.variables(1)?;
    play.end(json!({}))
}

/// The reference of a variable by its name.
fn reference(variables: &[Value], name: &str) -> Value {
    let found = variables.iter().find(|variable| variable["name"] == name);
    found.map_or(Value::from(0), |variable| variable["variablesReference"].clone())
}

fn portions(play: &mut Play) -> Result<()> {
    at(play, "// stop composites", json!({}))?;
    let variables = play.variables(0)?;
    for name in ["big", "slice", "words", "array", "bytes", "point"] {
        let reference = reference(&variables, name);
        for (filter, start, count) in [
            ("named", 0, 0),
            ("indexed", 0, 2),
            ("indexed", 1, 2),
            ("indexed", 140, 20),
            ("indexed", 0, 150),
            ("indexed", 1000, 1),
        ] {
            let arguments = json!({"variablesReference": reference, "filter": filter, "start": start, "count": count});
            play.ask("variables", arguments)?;
        }
    }
    play.ask("variables", json!({"variablesReference": 7}))?;
    play.end(json!({}))
}

fn plain_client(play: &mut Play) -> Result<()> {
    let built = play.fixture("kinds", Build::FixedHeap)?;
    play.ask(
        "initialize",
        json!({"adapterID": "go", "pathFormat": "path", "linesStartAt1": true, "columnsStartAt1": true}),
    )?;
    play.ask("launch", json!({"mode": "exec", "program": built.program}))?;
    play.client().event("initialized")?;
    play.stop_at(&built, &["// stop composites"])?;
    play.run()?;
    play.stack(0, 1)?;
    let variables = play.variables(0)?;
    play.expand(&reference(&variables, "big"))?;
    play.expand(&reference(&variables, "words"))?;
    play.end(json!({}))
}

fn globals_and_registers(play: &mut Play) -> Result<()> {
    at(play, "// stop shadows", json!({"showGlobalVariables": true}))?;
    play.variables(0)?;
    play.evaluate("dlv config showGlobalVariables false", 0, "repl")?;
    play.evaluate("dlv config showRegisters true", 0, "repl")?;
    let scopes = play.ask("scopes", json!({"frameId": play.frame(0)}))?.body;
    play.ask("scopes", json!({"frameId": play.frame(1)}))?;
    let registers = play.client().try_request(
        "variables",
        json!({"variablesReference": scopes["scopes"][1]["variablesReference"]}),
    )?;
    drop(registers);
    play.evaluate("main.Counter", 0, "watch")?;
    play.evaluate("Greeting", 0, "watch")?;
    play.evaluate("_RIP == 0", 0, "watch")?;
    play.end(json!({}))
}

fn own_limits(play: &mut Play) -> Result<()> {
    at(
        play,
        "// stop composites",
        json!({"maxStringLen": 4, "maxArrayValues": 2, "showRawStrings": true}),
    )?;
    let variables = play.variables(0)?;
    play.expand(&reference(&variables, "slice"))?;
    play.expand(&reference(&variables, "bytes"))?;
    play.expand(&reference(&variables, "named"))?;
    play.evaluate("named.Name", 0, "watch")?;
    play.end(json!({}))
}

fn expressions(play: &mut Play) -> Result<()> {
    at(play, "// stop composites", json!({}))?;
    for expression in [
        "point",
        "point.X + array[1] * 2",
        "named.Next.Name",
        "named.Next.Next.Next.Name",
        "*named.Next",
        "&point",
        "slice[1:3]",
        "slice[1]",
        "big[140:]",
        "words[\"one\"]",
        "words[\"two\"]",
        "len(big)",
        "cap(slice)",
        "len(words)",
        "-array[0]",
        "array[0] == 7 && !(slice[0] > 1)",
        "7 / 2",
        "7.0 / 2",
        "7 % 4 << 2",
        "\"a\" + \"b\"",
        "named.Name + \"!\"",
        "named.Name[1]",
        "named.Name[1:3]",
        "float64(point.X) / 2",
        "string(bytes)",
        "nilPointer",
        "nilPointer == nil",
        "nilPointer.X",
        "points[1]",
        "points[0].Y",
        "grid[1][0]",
        "pair.Value",
        "anonymous.B",
        "main.Counter",
        "Limit",
        "main.Blue",
        "runtime.curg.goid",
        "array[7]",
        "nothing",
        "point.Z",
        "1 +",
        "point +",
        "slice + 1",
        "point && true",
        "words[3]",
        "scalars()",
        "",
        "1 << 70",
        "1 / 0",
        "'x'",
        "nil",
    ] {
        play.evaluate(expression, 0, "watch")?;
    }
    play.end(json!({}))
}

fn contexts(play: &mut Play) -> Result<()> {
    at(play, "// stop scalars", json!({}))?;
    for context in ["watch", "repl", "hover", "clipboard", "variables", ""] {
        for expression in ["long", "short", "u8", "colour", "nothing"] {
            play.evaluate(expression, 0, context)?;
        }
    }
    play.evaluate("main.hidden", 0, "clipboard")?;
    play.evaluate("main.Origin", 0, "hover")?;
    // Without a frame: the innermost one of the goroutine that stopped.
    play.ask("evaluate", json!({"expression": "i16", "context": "repl"}))?;
    play.ask("evaluate", json!({"expression": "i16"}))?;
    play.ask(
        "evaluate",
        json!({"expression": "i16", "frameId": 77, "context": "repl"}),
    )?;
    play.end(json!({}))
}

fn assignments(play: &mut Play) -> Result<()> {
    let built = play.fixture("kinds", Build::FixedHeap)?;
    play.launch(&built, json!({}))?;
    play.stop_at(&built, &["// stop before setting", "// stop after setting"])?;
    play.run()?;
    play.stack(0, 2)?;
    let scopes = play.ask("scopes", json!({"frameId": play.frame(0)}))?.body;
    let locals = scopes["scopes"][0]["variablesReference"].clone();
    let variables = play.expand(&locals)?;
    let set = |play: &mut Play, reference: &Value, name: &str, value: &str| {
        let arguments = json!({"variablesReference": reference, "name": name, "value": value});
        play.ask("setVariable", arguments)
    };
    for (name, value) in [
        ("count", "17"),
        ("ratio", "2.75"),
        ("ready", "true"),
        ("small", "200"),
        ("colour", "2"),
        ("count", "small + 1"),
        ("small", "300"),
        ("count", "\"text\""),
        ("ready", "1"),
        ("nothing", "1"),
        ("count", "1 +"),
        ("point", "nil"),
    ] {
        set(play, &locals, name, value)?;
    }
    let point = reference(&variables, "point");
    for part in play.expand(&point)? {
        let inner = part["variablesReference"].clone();
        set(play, &inner, "X", "30")?;
        set(play, &inner, "Z", "30")?;
    }
    set(play, &reference(&variables, "list"), "[1]", "22")?;
    set(play, &reference(&variables, "list"), "[7]", "22")?;
    set(play, &Value::from(4711), "x", "1")?;
    play.go("continue")?;
    play.stack(0, 2)?;
    play.variables(0)?;
    play.end(json!({}))
}

fn settings(play: &mut Play) -> Result<()> {
    at(
        play,
        "// stop shadows",
        json!({"showPprofLabels": ["a", "b"], "stackTraceDepth": 9}),
    )?;
    for command in [
        "dlv config -list",
        "dlv config -list stackTraceDepth",
        "dlv config -list nothing",
        "dlv config nothing 1",
        "dlv config stackTraceDepth x",
        "dlv config stackTraceDepth -3",
        "dlv config showRegisters maybe",
        "dlv config maxArrayValues 3",
        "dlv config goroutineFilters -w user",
        "dlv config showPprofLabels -clear a",
        "dlv config showPprofLabels -clear zzz",
        "dlv config substitutePath a b c",
        "dlv config substitutePath /no/such",
        "dlv config showRawStrings true",
        "dlv config -list",
        "dlv nonsense",
        "dlv help nonsense",
        "dlv sources main\\.go$",
        "dlv",
    ] {
        play.ask("evaluate", json!({"expression": command, "context": "repl"}))?;
    }
    play.end(json!({}))
}

fn memory(play: &mut Play) -> Result<()> {
    let built = play.fixture("kinds", Build::FixedHeap)?;
    play.ask(
        "initialize",
        json!({"adapterID": "go", "pathFormat": "path", "linesStartAt1": true, "columnsStartAt1": true,
            "supportsMemoryReferences": true, "supportsInvalidatedEvent": true}),
    )?;
    play.ask("launch", json!({"mode": "exec", "program": built.program}))?;
    play.client().event("initialized")?;
    play.stop_at(&built, &["// stop composites"])?;
    play.run()?;
    play.stack(0, 1)?;
    let variables = play.variables(0)?;
    for name in ["bytes", "slice", "none", "named"] {
        let variable = variables.iter().find(|variable| variable["name"] == name);
        let reference = variable.map_or(Value::Null, |variable| variable["memoryReference"].clone());
        for (offset, count) in [(0, 3), (2, 100), (-2, 4), (50, 3), (0, 0), (0, -1)] {
            let arguments = json!({"memoryReference": reference, "offset": offset, "count": count});
            play.ask("readMemory", arguments)?;
        }
        for data in ["QQ==", "", "not base64"] {
            play.ask(
                "writeMemory",
                json!({"memoryReference": reference, "offset": 1, "data": data}),
            )?;
        }
    }
    play.evaluate("string(bytes)", 0, "watch")?;
    play.ask("readMemory", json!({"memoryReference": "0x1234567", "count": 3}))?;
    play.end(json!({}))
}
