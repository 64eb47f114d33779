//! What a stopped program shows.

use serde_json::{Value, json};

use super::{RpcPlay, frame, here, load, load_little, scenario};
use crate::failure::Result;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("rpc inspecting: scalars", scalars),
    scenario("rpc inspecting: composites", composites),
    scenario("rpc inspecting: dynamic values", dynamic),
    scenario("rpc inspecting: shadowed variables", shadows),
    scenario("rpc inspecting: expressions", expressions),
    scenario("rpc inspecting: every expression", every_expression),
    scenario("rpc inspecting: captured variables", captured),
    scenario("rpc inspecting: assignments", assignments),
    scenario("rpc inspecting: package variables", package_variables),
    scenario("rpc inspecting: stacks", stacks),
    scenario("rpc inspecting: deferred calls", deferred),
    scenario("rpc inspecting: goroutines", goroutines),
    scenario("rpc inspecting: goroutines, filtered and grouped", filtered),
    scenario("rpc inspecting: goroutines at a channel", at_a_channel),
    scenario("rpc inspecting: ancestors", ancestors),
    scenario("rpc inspecting: registers", registers),
    scenario("rpc inspecting: disassembly", disassembly),
    scenario("rpc inspecting: memory", memory),
    scenario("rpc inspecting: before the start", before_the_start),
    scenario("rpc inspecting: threads", threads),
];

fn variables(play: &mut RpcPlay, marker: &str) -> Result<()> {
    let built = play.serve("kinds", &[])?;
    play.bring_to(&built, marker)?;
    let deep = json!({"FollowPointers": true, "MaxVariableRecurse": 3, "MaxStringLen": 20, "MaxArrayValues": 5, "MaxStructFields": -1});
    for config in [load(), load_little(), deep, json!({})] {
        play.ask("ListLocalVars", json!({"Scope": here(), "Cfg": config}))?;
        play.ask("ListFunctionArgs", json!({"Scope": here(), "Cfg": config}))?;
    }
    play.ask("ListLocalVars", json!({"Scope": frame(1), "Cfg": load()}))?;
    for scope in [
        frame(2),
        frame(50),
        frame(-1),
        json!({"GoroutineID": 4711}),
        json!({"GoroutineID": -1, "DeferredCall": 1}),
    ] {
        play.ask("ListLocalVars", json!({"Scope": scope, "Cfg": load()}))?;
        play.ask("ListFunctionArgs", json!({"Scope": scope, "Cfg": load()}))?;
    }
    play.end(true)
}

fn scalars(play: &mut RpcPlay) -> Result<()> {
    variables(play, "// stop scalars")
}

fn composites(play: &mut RpcPlay) -> Result<()> {
    variables(play, "// stop composites")
}

fn dynamic(play: &mut RpcPlay) -> Result<()> {
    variables(play, "// stop dynamic")
}

fn shadows(play: &mut RpcPlay) -> Result<()> {
    variables(play, "// stop shadows")
}

fn expressions(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("kinds", &[])?;
    play.bring_to(&built, "// stop composites")?;
    for text in [
        "point",
        "&point",
        "*&point",
        "point.X",
        "named.Next.Name",
        "named.Point",
        "named.X",
        "array",
        "array[1]",
        "array[3]",
        "array[-1]",
        "slice[1:3]",
        "slice[:2]",
        "slice[2:]",
        "slice[5:9]",
        "part",
        "none",
        "none[0]",
        "bytes",
        "string(bytes)",
        "runes",
        "string(runes)",
        "big[100]",
        "big[0:3]",
        "words",
        "words[\"one\"]",
        "words[\"two\"]",
        "words[1]",
        "byPoint",
        "noMap",
        "noMap[\"x\"]",
        "deep[\"p\"][0].X",
        "pointer",
        "*pointer",
        "**toPointer",
        "nilPointer",
        "*nilPointer",
        "nilPointer.X",
        "raw",
        "pair",
        "anonymous.B",
        "1 + 2",
        "1 +",
        "1.5 * 2",
        "\"a\" + \"b\"",
        "point == point",
        "point.X > 2 && point.Y < 2",
        "!true",
        "-point.X",
        "^1",
        "7 % 3",
        "7 / 0",
        "1 << 70",
        "point + 1",
        "len(slice)",
        "cap(slice)",
        "len(words)",
        "len(none)",
        "len(1)",
        "int8(300)",
        "float64(3)",
        "uint8(point.X)",
        "string(65)",
        "'a'",
        "nil",
        "nil == none",
        "true",
        "Counter",
        "main.Counter",
        "Limit",
        "main.Limit",
        "Greeting",
        "Origin.Y",
        "hidden",
        "fmt.Println",
        "scalars",
        "main.scalars",
        "Green",
        "main.Red",
        "nothing",
        "main.nothing",
        "nothing.x",
        "point.Z",
        "(*main.Point)(pointer)",
        "*(*main.Point)(0xc000000000)",
        "*(*int)(0)",
        "(*int)(16)",
        "interface{}(1)",
        "point.(int)",
        "complex(1, 2)",
        "real(1)",
        "imag(2i)",
        "min(3, 1)",
        "max(3, 1)",
        "append(slice, 1)",
        "make([]int, 3)",
        "new(int)",
        "struct{}{}",
        "func() {}",
        "Point{1, 2}",
        "call scalars()",
        "scalars()",
        "point.Area()",
        "runtime.curg",
        "runtime.curg.goid",
        "runtime.frameoff",
        "runtime.goid()",
        "runtime.threadid",
        "os.Args",
        "runtime.buildVersion",
        "time.Second",
        "math.MaxInt64",
        "",
        " ",
        "point,",
        "point; point",
        "a := 1",
        "point = point",
        "[]int{1}",
        "\"unterminated",
        "points[0].X",
        "points[1].X",
        "grid[1][0]",
        "&slice[1]",
        "&array",
        "empty",
        "\"quoted\\n\"",
        "`raw`",
    ] {
        play.ask("Eval", json!({"Scope": here(), "Expr": text}))?;
    }
    for (text, config) in [
        ("named", load()),
        ("named", load_little()),
        ("big", load_little()),
        ("deep", json!({})),
        ("points", json!(null)),
    ] {
        play.ask("Eval", json!({"Scope": here(), "Expr": text, "Cfg": config}))?;
    }
    for scope in [
        frame(1),
        frame(9),
        frame(-1),
        json!({"GoroutineID": 4711}),
        json!({}),
        json!({"GoroutineID": 1}),
    ] {
        play.ask("Eval", json!({"Scope": scope, "Expr": "point"}))?;
        play.ask("Eval", json!({"Scope": scope, "Expr": "Counter"}))?;
    }
    play.end(true)
}

/// Expressions over kinds, operators and mistakes, one a line, at one place in a program that has a variable of every kind.
const EXPRESSIONS: &str = include_str!("expressions.txt");

fn every_expression(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("expressions", &[])?;
    play.bring_to(&built, "// all of it")?;
    for text in EXPRESSIONS.lines() {
        // Blanks at the ends of a line would not be seen.
        if !text.is_empty() && !text.starts_with("// ") {
            play.ask("Eval", json!({"Scope": here(), "Expr": text, "Cfg": load()}))?;
        }
    }
    play.end(true)
}

/// What closures and the bodies of loops over functions call their own.
fn captured(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("expressions", &[])?;
    for place in ["// body", "// closure"] {
        play.bring_to(&built, place)?;
        for text in [
            "total",
            "value",
            "name",
            "from",
            "by",
            "closure",
            "closure.total",
            "closure.name",
            "total + value",
            "len(name)",
            "missing",
            "runtime.rangeParentOffset == 0",
        ] {
            play.ask("Eval", json!({"Scope": here(), "Expr": text, "Cfg": load()}))?;
        }
    }
    play.end(true)
}

fn assignments(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("kinds", &[])?;
    play.bring_to(&built, "// stop before setting")?;
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
        ("1 +", "1"),
        ("", "1"),
        ("count", ""),
        ("point", "nil"),
        ("point.X", "30"),
        ("list[1]", "22"),
        ("list[7]", "22"),
        ("point", "&point"),
        ("point", "&main.Point{X: 8, Y: 9}"),
        ("list", "[]int{1}"),
        ("list", "list[1:]"),
        ("name", "\"other\""),
        ("name", "name"),
        ("byName[\"a\"]", "3"),
        ("Counter", "5"),
        ("Limit", "5"),
        ("count + 1", "5"),
        ("list", "nil"),
        ("count", "ratio"),
        ("ratio", "1"),
        ("*point", "Origin"),
    ] {
        play.ask("Set", json!({"Scope": here(), "Symbol": name, "Value": value}))?;
        play.ask("Eval", json!({"Scope": here(), "Expr": name, "Cfg": load()}))?;
    }
    play.ask("Set", json!({"Scope": frame(9), "Symbol": "count", "Value": "1"}))?;
    play.ask("ListLocalVars", json!({"Scope": here(), "Cfg": load()}))?;
    play.end(true)
}

fn package_variables(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("kinds", &[])?;
    play.bring_to(&built, "// stop composites")?;
    for filter in [
        "^main\\.",
        "Counter",
        "^main\\.nothing",
        "[",
        "^runtime\\.buildVersion$",
        "^os\\.Err",
    ] {
        for config in [load(), load_little()] {
            play.ask("ListPackageVars", json!({"Filter": filter, "Cfg": config}))?;
        }
    }
    play.end(true)
}

fn stacks(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &["deep"])?;
    play.bring_to(&built, "// bottom")?;
    for argument in [
        json!({"Id": -1, "Depth": 3}),
        json!({"Id": 1, "Depth": 3}),
        json!({"Depth": 3}),
        json!({"Id": 0, "Depth": 3}),
        json!({"Id": -1, "Depth": 0}),
        json!({"Id": -1, "Depth": -1}),
        json!({"Id": -1, "Depth": -3}),
        json!({"Id": -1, "Depth": 1000}),
        json!({"Id": 4711, "Depth": 3}),
        json!({"Id": -2, "Depth": 3}),
        json!({"Id": -1, "Depth": 3, "Full": true}),
        json!({"Id": -1, "Depth": 3, "Full": true, "Cfg": load_little()}),
        json!({"Id": -1, "Depth": 3, "Cfg": load()}),
        json!({"Id": -1, "Depth": 130, "Skip": 118}),
        json!({"Id": -1, "Depth": 3, "Skip": 3}),
        json!({"Id": -1, "Depth": 3, "Skip": 100}),
        json!({"Id": -1, "Depth": 3, "Skip": -1}),
        json!({"Id": -1, "Depth": 3, "Opts": 1}),
        json!({"Id": -1, "Depth": 3, "Opts": 2}),
        json!({"Id": -1, "Depth": 3, "Opts": 4}),
        json!({"Id": -1, "Depth": 3, "Opts": 7}),
    ] {
        play.ask("Stacktrace", argument)?;
    }
    play.end(true)
}

fn deferred(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.bring_to(&built, "// defers")?;
    play.ask("Stacktrace", json!({"Id": -1, "Depth": 5, "Defers": true}))?;
    play.ask(
        "ListFunctionArgs",
        json!({"Scope": {"GoroutineID": -1, "Frame": 0, "DeferredCall": 1}, "Cfg": load()}),
    )?;
    play.ask(
        "ListLocalVars",
        json!({"Scope": {"GoroutineID": -1, "Frame": 0, "DeferredCall": 1}, "Cfg": load()}),
    )?;
    play.ask(
        "Eval",
        json!({"Scope": {"GoroutineID": -1, "Frame": 0, "DeferredCall": 1}, "Expr": "n"}),
    )?;
    play.ask(
        "Eval",
        json!({"Scope": {"GoroutineID": -1, "Frame": 0, "DeferredCall": 2}, "Expr": "n"}),
    )?;
    play.bring_to(&built, "// panics")?;
    play.ask(
        "Stacktrace",
        json!({"Id": -1, "Depth": 5, "Defers": true, "Full": true}),
    )?;
    play.bring_to(&built, "// recovered")?;
    play.ask("Stacktrace", json!({"Id": -1, "Depth": 10, "Defers": true}))?;
    play.end(true)
}

fn crowd(play: &mut RpcPlay, args: &[&str]) -> Result<()> {
    let built = play.serve("crowd", args)?;
    play.bring_to(&built, "// all wait")
}

fn goroutines(play: &mut RpcPlay) -> Result<()> {
    crowd(play, &[])?;
    let all = play.ask("ListGoroutines", json!({}))?;
    let users: Vec<Value> = all["result"]["Goroutines"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|one| {
            one["startLoc"]["function"]["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("main."))
        })
        .map(|one| one["id"].clone())
        .collect();
    for id in users {
        let stack = play.ask_silently(
            0,
            "Stacktrace",
            Some(json!([{"Id": id, "Depth": 10, "Full": true, "Cfg": load()}])),
        )?;
        play.note("Stacktrace of one that waits", stack);
        let variables = play.ask_silently(
            0,
            "ListFunctionArgs",
            Some(json!([{"Scope": {"GoroutineID": id, "Frame": 2}, "Cfg": load()}])),
        )?;
        play.note("ListFunctionArgs of one that waits", variables);
        let registers = play.ask_silently(
            0,
            "ListRegisters",
            Some(json!([{"Scope": {"GoroutineID": id, "Frame": 2}}])),
        )?;
        play.note("ListRegisters of one that waits", registers);
    }
    play.end(true)
}

fn filtered(play: &mut RpcPlay) -> Result<()> {
    crowd(play, &["20"])?;
    let user = json!({"Kind": 7, "Negated": false, "Arg": ""});
    for argument in [
        json!({"Filters": [user]}),
        json!({"Filters": [user], "Start": 0, "Count": 1000}),
        json!({"Filters": [{"Kind": 4, "Negated": false, "Arg": "main.main.func3"}]}),
        json!({"Filters": [user, {"Kind": 2, "Negated": false, "Arg": "main.go"}]}),
        json!({"Filters": [user, {"Kind": 2, "Negated": true, "Arg": "main.waits"}]}),
        json!({"Filters": [user, {"Kind": 1, "Negated": false, "Arg": "gopark"}, {"Kind": 3, "Negated": false, "Arg": "main.begin"}]}),
        json!({"Filters": [{"Kind": 5, "Negated": false, "Arg": "kind=batch"}]}),
        json!({"Filters": [{"Kind": 5, "Negated": false, "Arg": "kind"}]}),
        json!({"Filters": [{"Kind": 5, "Negated": false, "Arg": "number=4"}]}),
        json!({"Filters": [user, {"Kind": 5, "Negated": true, "Arg": "kind=batch"}]}),
        json!({"Filters": [{"Kind": 6, "Negated": false, "Arg": ""}, user]}),
        json!({"Filters": [{"Kind": 99, "Negated": false, "Arg": ""}]}),
        json!({"Filters": [user], "GroupBy": 2, "MaxGroupMembers": 2, "MaxGroups": 10}),
        json!({"Filters": [user], "GroupBy": 4, "MaxGroupMembers": 5, "MaxGroups": 2}),
        json!({"Filters": [user], "GroupBy": 3, "MaxGroupMembers": 1, "MaxGroups": 0}),
        json!({"Filters": [user], "GroupBy": 5, "GroupByKey": "kind", "MaxGroupMembers": 2, "MaxGroups": 5}),
        json!({"Filters": [user], "GroupBy": 6, "MaxGroupMembers": 1, "MaxGroups": 5}),
        json!({"Filters": [user], "GroupBy": 99, "MaxGroupMembers": 1, "MaxGroups": 5}),
        json!({"Filters": [user], "GroupBy": 2, "MaxGroupMembers": -1, "MaxGroups": 5}),
    ] {
        play.ask("ListGoroutines", argument)?;
    }
    for (start, count) in [(0, 1), (0, 0), (1000, 5), (-1, 2)] {
        let page = play.ask_silently(0, "ListGoroutines", Some(json!([{"Start": start, "Count": count}])))?;
        let listed = page["result"]["Goroutines"].as_array().map(Vec::len);
        let told =
            json!({"listed": listed.map(|listed| listed > 1), "next": page["result"]["Nextg"], "error": page["error"]});
        play.note(&format!("ListGoroutines {count} from {start}"), told);
    }
    play.end(true)
}

fn at_a_channel(play: &mut RpcPlay) -> Result<()> {
    crowd(play, &[])?;
    let channel = |arg: &str| json!({"Kind": 8, "Negated": false, "Arg": arg});
    for argument in [
        json!({"Filters": [channel("gate")], "Count": 10, "EvalScope": here()}),
        json!({"Filters": [channel("ready")], "Count": 10, "EvalScope": here()}),
        json!({"Filters": [channel("gate")], "EvalScope": here()}),
        json!({"Filters": [channel("gate")], "Count": 10}),
        json!({"Filters": [{"Kind": 8, "Negated": true, "Arg": "gate"}], "Count": 10, "EvalScope": here()}),
        json!({"Filters": [channel("done")], "Count": 10, "EvalScope": here()}),
        json!({"Filters": [channel("nothing")], "Count": 10, "EvalScope": here()}),
        json!({"Filters": [channel("1 +")], "Count": 10, "EvalScope": here()}),
    ] {
        let title = format!("ListGoroutines {argument}");
        let mut answer = play.ask_silently(0, "ListGoroutines", Some(json!([argument])))?;
        // In which order they have come to the channel is a matter of chance.
        if let Some(waiting) = answer["result"]["Goroutines"].as_array_mut() {
            waiting.sort_by_key(|one| one["startLoc"]["pc"].as_u64());
        }
        play.note(&title, answer);
    }
    play.end(true)
}

fn ancestors(play: &mut RpcPlay) -> Result<()> {
    crowd(play, &[])?;
    for argument in [
        json!({"GoroutineID": 1, "NumAncestors": 5, "Depth": 5}),
        json!({"GoroutineID": 4711, "NumAncestors": 5, "Depth": 5}),
        json!({"GoroutineID": -1, "NumAncestors": 0, "Depth": 0}),
        json!({"GoroutineID": -1, "NumAncestors": -1, "Depth": -1}),
        json!({}),
    ] {
        play.ask("Ancestors", argument)?;
    }
    play.end(true)
}

fn registers(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.bring_to(&built, "// twice")?;
    for argument in [
        json!({}),
        json!({"IncludeFp": true}),
        json!({"Scope": here()}),
        json!({"Scope": frame(1)}),
        json!({"Scope": frame(2), "IncludeFp": true}),
        json!({"Scope": frame(99)}),
        json!({"Scope": {"GoroutineID": 4711}}),
        json!({"ThreadID": 1}),
        json!({"ThreadID": -5}),
    ] {
        play.ask("ListRegisters", argument)?;
    }
    play.end(true)
}

fn disassembly(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.bring_to(&built, "// twice")?;
    play.break_at(&built, "// square", json!({}))?;
    let address = |play: &mut RpcPlay, text: &str| -> Result<u64> {
        let found = play.ask_silently(0, "FindLocation", Some(json!([{"Scope": here(), "Loc": text}])))?;
        Ok(found["result"]["Locations"][0]["pc"].as_u64().unwrap_or(0))
    };
    for function in [
        "main.twice",
        "main.loop",
        "main.square",
        "main.guarded",
        "main.(*Cart).Add",
        "fmt.(*pp).printArg",
        "runtime.memmove",
        "main.closes",
    ] {
        let begin = address(play, function)?;
        for flavour in [0, 1, 2] {
            play.ask(
                "Disassemble",
                json!({"Scope": here(), "StartPC": begin, "EndPC": 0, "Flavour": flavour}),
            )?;
        }
    }
    let begin = address(play, "main.twice")?;
    for argument in [
        json!({"Scope": here(), "StartPC": begin, "EndPC": begin + 20, "Flavour": 1}),
        json!({"Scope": here(), "StartPC": begin, "EndPC": begin, "Flavour": 1}),
        json!({"Scope": here(), "StartPC": begin + 1, "EndPC": begin + 9, "Flavour": 1}),
        json!({"Scope": here(), "StartPC": begin, "EndPC": begin - 20, "Flavour": 1}),
        json!({"Scope": here(), "Flavour": 1}),
        json!({"Scope": here(), "StartPC": 16, "Flavour": 1}),
        json!({"Scope": here(), "StartPC": 16, "EndPC": 32, "Flavour": 1}),
        json!({"Scope": here(), "EndPC": begin, "Flavour": 1}),
        json!({"Scope": here(), "StartPC": begin, "Flavour": 77}),
        json!({"Scope": {"GoroutineID": 4711}, "StartPC": begin, "EndPC": begin + 8}),
        json!({"Scope": {"GoroutineID": -1, "Frame": 9}, "StartPC": begin, "EndPC": begin + 8}),
    ] {
        play.ask("Disassemble", argument)?;
    }
    play.end(true)
}

fn memory(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("kinds", &[])?;
    play.bring_to(&built, "// stop composites")?;
    let place = |play: &mut RpcPlay, text: &str| -> Result<u64> {
        let found = play.ask_silently(0, "Eval", Some(json!([{"Scope": here(), "Expr": text}])))?;
        Ok(found["result"]["Variable"]["addr"].as_u64().unwrap_or(0))
    };
    let (counter, array) = (place(play, "Counter")?, place(play, "array")?);
    for (title, address, length) in [
        ("a package variable", counter, 8),
        ("a local array", array, 24),
        ("nothing of it", counter, 0),
        ("less than nothing", counter, -1),
        ("too much", counter, 70_000),
        ("as much as can be", counter & !0xfff, 4096),
        ("no memory", 16, 8),
    ] {
        let seen = play.ask_silently(
            0,
            "ExamineMemory",
            Some(json!([{"Address": address, "Length": length}])),
        )?;
        let seen = if length > 100 {
            super::super::normalise::shape(&seen)
        } else {
            seen
        };
        play.note(&format!("ExamineMemory of {title}"), seen);
    }
    // Breakpoints do not show.
    let found = play.ask("FindLocation", json!({"Scope": here(), "Loc": "main.dynamic"}))?;
    let address = found["result"]["Locations"][0]["pc"].clone();
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"functionName": "main.dynamic"}}),
    )?;
    play.ask("ExamineMemory", json!({"Address": address, "Length": 16}))?;
    play.end(true)
}

fn before_the_start(play: &mut RpcPlay) -> Result<()> {
    play.serve("kinds", &[])?;
    for (method, argument) in [
        ("State", json!({})),
        ("Stacktrace", json!({"Id": -1, "Depth": 5})),
        ("ListLocalVars", json!({"Scope": here(), "Cfg": load()})),
        ("ListFunctionArgs", json!({"Scope": here(), "Cfg": load()})),
        ("ListGoroutines", json!({})),
        ("ListThreads", json!({})),
        ("ListPackageVars", json!({"Filter": "^main\\.", "Cfg": load()})),
        ("Eval", json!({"Scope": here(), "Expr": "Counter"})),
        ("Eval", json!({"Scope": here(), "Expr": "main.Counter"})),
        ("Eval", json!({"Scope": here(), "Expr": "1 + 2"})),
        ("ListRegisters", json!({})),
        ("ListTargets", json!({})),
        ("Disassemble", json!({"Scope": here(), "Flavour": 1})),
    ] {
        play.ask(method, argument)?;
    }
    play.end(true)
}

fn threads(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.bring_to(&built, "// twice")?;
    play.ask("ListThreads", json!({}))?;
    let state = play.ask("State", json!({}))?;
    let thread = state["result"]["State"]["currentThread"]["id"].clone();
    let answer = play.ask_silently(0, "GetThread", Some(json!([{"Id": thread}])))?;
    play.note("GetThread of the current thread", answer);
    let registers = play.ask_silently(0, "ListRegisters", Some(json!([{"ThreadID": thread}])))?;
    play.note("ListRegisters of the current thread", registers);
    for id in [0, -1, 1] {
        play.ask("GetThread", json!({"Id": id}))?;
    }
    play.end(true)
}
