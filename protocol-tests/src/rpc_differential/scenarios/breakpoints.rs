//! Breakpoints: made, changed, taken away, hit.

use serde_json::{Value, json};

use super::{RpcPlay, here, load, load_little, scenario};
use crate::failure::Result;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("rpc breakpoints: ways to make one", made),
    scenario("rpc breakpoints: by location expression", by_expression),
    scenario("rpc breakpoints: mistakes", mistakes),
    scenario("rpc breakpoints: by name and number", by_name),
    scenario("rpc breakpoints: suspended", suspended),
    scenario("rpc breakpoints: what is collected", collected),
    scenario("rpc breakpoints: conditions", conditions),
    scenario("rpc breakpoints: conditions about others", conditions_about_others),
    scenario("rpc breakpoints: hit conditions", hit_conditions),
    scenario("rpc breakpoints: amended", amended),
    scenario("rpc breakpoints: tracepoints", tracepoints),
    scenario("rpc breakpoints: counted tracepoints", counted_tracepoints),
    scenario("rpc breakpoints: traced returns", traced_returns),
    scenario("rpc breakpoints: generic functions", generic),
    scenario("rpc breakpoints: of other kinds", other_kinds),
];

fn create(play: &mut RpcPlay, breakpoint: Value) -> Result<Value> {
    let mut argument = json!({});
    argument["Breakpoint"] = breakpoint;
    play.ask("CreateBreakpoint", argument)
}

fn list(play: &mut RpcPlay) -> Result<()> {
    play.ask("ListBreakpoints", json!({}))?;
    play.ask("ListBreakpoints", json!({"All": true}))?;
    Ok(())
}

fn made(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    let path = built.source("main.go");
    let line = |marker: &str| built.line("main.go", marker);
    list(play)?;
    create(play, json!({"file": path, "line": line("// twice")?}))?;
    create(play, json!({"file": "main.go", "line": line("// square")?}))?;
    create(play, json!({"functionName": "main.loop"}))?;
    create(play, json!({"functionName": "main.loop", "line": -1}))?;
    create(play, json!({"functionName": "main.closes", "line": 1}))?;
    let found = play.ask("FindLocation", json!({"Scope": here(), "Loc": "main.defers"}))?;
    let address = found["result"]["Locations"][0]["pc"].clone();
    create(play, json!({"addr": address}))?;
    let found = play.ask("FindLocation", json!({"Scope": here(), "Loc": "main.guarded"}))?;
    let address = found["result"]["Locations"][0]["pc"].clone();
    create(play, json!({"addrs": [address]}))?;
    create(play, json!({"addrs": [address, 16]}))?;
    create(
        play,
        json!({"file": path, "line": line("// cart")?, "name": "named", "Cond": "b > 1", "HitCond": "> 0", "HitCondPerG": true,
            "goroutine": true, "stacktrace": 3, "variables": ["b", "name"], "LoadArgs": load(), "LoadLocals": load(),
            "customCommands": ["a", "b"], "UserData": {"a": 1}, "totalHitCount": 9, "disabled": false}),
    )?;
    create(play, json!({"file": path, "line": line("// last")?, "disabled": true}))?;
    create(play, json!({"file": path, "line": line("// first")?}))?;
    create(play, json!({"file": path, "line": 1}))?;
    create(play, json!({"file": path, "line": 0}))?;
    create(play, json!({"file": path, "line": -1}))?;
    create(play, json!({"file": path, "line": 99999}))?;
    create(play, json!({"file": path, "line": line("// twice")?}))?;
    create(
        play,
        json!({"file": path, "line": line("// before guarded")?, "id": 40}),
    )?;
    list(play)?;
    for _ in 0..6 {
        play.command("continue")?;
    }
    list(play)?;
    play.end(true)
}

fn by_expression(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &[])?;
    for text in [
        "main.twice",
        "main.go:22",
        "loop:2",
        "/^main\\.(square|closes)$/",
        "+1",
        "largest",
        "Cart.Describe",
        "nothing",
        "",
        "main.go:1",
        "Add",
    ] {
        play.ask("CreateBreakpoint", json!({"Breakpoint": {}, "LocExpr": text}))?;
        play.ask(
            "CreateBreakpoint",
            json!({"Breakpoint": {"name": "n1"}, "LocExpr": text, "Suspended": true}),
        )?;
    }
    list(play)?;
    play.end(true)
}

fn mistakes(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    let path = built.source("main.go");
    let line = built.line("main.go", "// twice")?;
    for breakpoint in [
        json!({}),
        json!(null),
        json!({"name": "5", "file": path, "line": line}),
        json!({"name": "a b", "file": path, "line": line}),
        json!({"name": "ünï9", "file": path, "line": line}),
        json!({"name": "ünï9", "file": path, "line": line + 1}),
        json!({"file": "/nowhere/main.go", "line": 5}),
        json!({"file": path}),
        json!({"functionName": "main.nothing"}),
        json!({"functionName": "main.twice", "line": 1000}),
        json!({"functionName": ""}),
        json!({"addr": 16}),
        json!({"addrs": [16]}),
        json!({"addrs": []}),
        json!({"addrs": [0], "addrpid": [1]}),
        json!({"file": path, "line": line + 1, "Cond": "1 +"}),
        json!({"file": path, "line": line + 1, "Cond": "nothing == 1"}),
        json!({"file": path, "line": line + 1, "HitCond": "x"}),
        json!({"file": path, "line": line + 1, "HitCond": "= 3"}),
        json!({"file": path, "line": line + 1, "HitCond": "% -1"}),
        json!({"file": path, "line": line + 1, "HitCond": "== x"}),
        json!({"file": path, "line": line + 1, "variables": ["1 +"]}),
        json!({"file": path, "line": line + 1, "stacktrace": -1}),
        json!({"file": path, "line": line + 1, "continue": true, "traceReturn": true}),
        json!({"WatchExpr": "x", "WatchType": 3}),
    ] {
        create(play, breakpoint)?;
    }
    list(play)?;
    play.end(true)
}

fn by_name(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &[])?;
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"name": "one"}, "LocExpr": "main.twice"}),
    )?;
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"name": "one"}, "LocExpr": "main.loop"}),
    )?;
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"name": "two"}, "LocExpr": "main.loop"}),
    )?;
    for method in ["GetBreakpoint", "ToggleBreakpoint", "GetBreakpoint", "ToggleBreakpoint"] {
        for argument in [
            json!({"Name": "one"}),
            json!({"Id": 1}),
            json!({"Id": 2}),
            json!({"Id": 7}),
            json!({"Name": "seven"}),
            json!({"Id": 2, "Name": "one"}),
            json!({"Id": -1}),
            json!({"Name": "unrecovered-panic"}),
            json!({}),
        ] {
            play.ask(method, argument)?;
        }
    }
    list(play)?;
    for argument in [
        json!({"Name": "one"}),
        json!({"Name": "one"}),
        json!({"Id": 7}),
        json!({"Id": -1}),
        json!({"Id": 2}),
        json!({}),
    ] {
        play.ask("ClearBreakpoint", argument)?;
    }
    list(play)?;
    play.ask("CreateBreakpoint", json!({"Breakpoint": {}, "LocExpr": "main.twice"}))?;
    list(play)?;
    play.end(true)
}

fn suspended(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &[])?;
    for text in ["nowhere.go:5", "main.nothing", "main.twice", "/[/", "*0x10", ""] {
        play.ask(
            "CreateBreakpoint",
            json!({"Breakpoint": {}, "LocExpr": text, "Suspended": true}),
        )?;
    }
    list(play)?;
    play.ask("ToggleBreakpoint", json!({"Id": 1}))?;
    play.ask("ToggleBreakpoint", json!({"Id": 1}))?;
    play.ask("AmendBreakpoint", json!({"Breakpoint": {"id": 2, "Cond": "x > 1"}}))?;
    list(play)?;
    play.ask("ClearBreakpoint", json!({"Id": 2}))?;
    play.command("continue")?;
    play.end(true)
}

fn collected(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.break_at(&built, "// twice", json!({"LoadArgs": load(), "LoadLocals": load()}))?;
    play.break_at(
        &built,
        "// square",
        json!({"stacktrace": 2, "goroutine": true, "variables": ["n", "n * 2", "nothing", "1 +"]}),
    )?;
    play.break_at(
        &built,
        "// cart",
        json!({"LoadLocals": load_little(), "variables": ["cart", "*cart", "cart.Owner", "how"]}),
    )?;
    play.break_at(&built, "// Add", json!({"LoadArgs": load_little(), "stacktrace": 1}))?;
    for _ in 0..4 {
        play.command("continue")?;
        play.ask("ListThreads", json!({}))?;
    }
    play.end(true)
}

fn conditions(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.break_at(&built, "// loop body", json!({"Cond": "i == 2"}))?;
    play.break_at(&built, "// way down", json!({"Cond": "n % 50 == 0"}))?;
    play.break_at(&built, "// largest", json!({"Cond": "a > 1"}))?;
    play.break_at(&built, "// cart", json!({"Cond": "cart.Owner == \"Ada\" && b > 1"}))?;
    play.break_at(&built, "// after the loop", json!({"Cond": "sum"}))?;
    play.break_at(&built, "// defers", json!({"Cond": "nothing > 1"}))?;
    for _ in 0..6 {
        play.command("continue")?;
        list(play)?;
    }
    play.end(true)
}

fn hit_conditions(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &["deep"])?;
    play.break_at(&built, "// way down", json!({"HitCond": "== 3"}))?;
    play.command("continue")?;
    for condition in ["> 5", "% 10", "!= 0", "< 22", "<= 1", ">= 40", "60", ""] {
        let got = play.ask_silently(0, "GetBreakpoint", Some(json!([{"Id": 1}])))?;
        let mut breakpoint = got["result"]["Breakpoint"].clone();
        breakpoint["HitCond"] = condition.into();
        let answer = play.ask_silently(0, "AmendBreakpoint", Some(json!([{"Breakpoint": breakpoint}])))?;
        play.note(&format!("AmendBreakpoint with HitCond {condition}"), answer);
        play.command("continue")?;
        list(play)?;
    }
    play.end(true)
}

fn amended(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.break_at(&built, "// loop body", json!({"name": "body"}))?;
    play.command("continue")?;
    for breakpoint in [
        json!({"id": 1, "Cond": "i == 2"}),
        json!({"id": 1, "name": "other", "Cond": "i == 2", "variables": ["i"], "LoadLocals": load()}),
        json!({"id": 1, "disabled": true}),
        json!({"id": 1, "Cond": "1 +"}),
        json!({"id": 1, "HitCond": "bad"}),
        json!({"id": 1, "name": "7"}),
        json!({"id": 7}),
        json!({}),
        json!({"id": -1, "variables": ["x"]}),
        json!({"id": 1, "file": "other.go", "line": 5, "addr": 7, "totalHitCount": 50, "hitCount": {"1": 9}}),
    ] {
        play.ask("AmendBreakpoint", json!({"Breakpoint": breakpoint}))?;
        list(play)?;
    }
    play.command("continue")?;
    list(play)?;
    play.end(true)
}

/// What the client of `dlv` does after each tracepoint's answer: it continues again, until a stop is something else.
fn go_on(play: &mut RpcPlay) -> Result<()> {
    for _ in 0..40 {
        let answer = play.command("continue")?;
        let state = &answer["result"]["State"];
        if state["exited"] == true || answer["error"].is_string() {
            break;
        }
        let breakpoint = &state["currentThread"]["breakPoint"];
        if breakpoint.is_object() && breakpoint["continue"] != true && breakpoint["traceReturn"] != true {
            break;
        }
    }
    Ok(())
}

fn tracepoints(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.break_at(
        &built,
        "// loop body",
        json!({"continue": true, "variables": ["i", "sum"]}),
    )?;
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"functionName": "main.square", "line": -1, "continue": true, "variables": ["n"], "goroutine": true}}),
    )?;
    play.break_at(
        &built,
        "// closure",
        json!({"continue": true, "stacktrace": 2, "LoadLocals": load()}),
    )?;
    play.break_at(&built, "// last", json!({}))?;
    go_on(play)?;
    list(play)?;
    go_on(play)?;
    play.ask("GetBufferedTracepoints", json!({}))?;
    play.end(true)
}

fn conditions_about_others(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.break_at(&built, "// loop body", json!({"name": "body"}))?;
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"functionName": "main.square", "Cond": "delve.bphitcount[1] >= 2 && runtime.frame(1).i == 2"}}),
    )?;
    for _ in 0..3 {
        go_on(play)?;
    }
    go_on(play)?;
    for text in [
        "delve.bphitcount[1]",
        "delve.bphitcount[\"body\"] + 1",
        "runtime.frame(1).i + 0",
        "runtime.frame(1).sum + n",
        "runtime.frame(0).n * 2",
        "runtime.frame(1).limit == n",
    ] {
        play.ask(
            "Eval",
            json!({"Scope": {"GoroutineID": -1, "Frame": 0}, "Expr": text, "Cfg": load()}),
        )?;
    }
    play.end(true)
}

fn counted_tracepoints(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.break_at(
        &built,
        "// loop body",
        json!({"continue": true, "variables": ["i", "sum"], "HitCond": "% 2"}),
    )?;
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"functionName": "main.square", "line": -1, "continue": true, "variables": ["n"], "HitCond": "> 1", "HitCondPerG": true}}),
    )?;
    play.break_at(&built, "// last", json!({}))?;
    go_on(play)?;
    list(play)?;
    play.end(true)
}

fn traced_returns(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &[])?;
    for function in ["main.twice", "main.guarded"] {
        play.ask(
            "CreateBreakpoint",
            json!({"Breakpoint": {"functionName": function, "continue": true, "variables": ["n"]}}),
        )?;
        let found = play.ask("FunctionReturnLocations", json!({"FnName": function}))?;
        for address in found["result"]["Addrs"].as_array().cloned().unwrap_or_default() {
            play.ask(
                "CreateBreakpoint",
                json!({"Breakpoint": {"addr": address, "traceReturn": true, "stacktrace": 0, "LoadArgs": load()}}),
            )?;
        }
    }
    go_on(play)?;
    play.end(true)
}

fn generic(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.break_at(&built, "// largest", json!({}))?;
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"functionName": "main.largest[int]"}}),
    )?;
    play.ask("CreateBreakpoint", json!({"Breakpoint": {}, "LocExpr": "main.largest"}))?;
    list(play)?;
    play.command("continue")?;
    play.command("continue")?;
    play.ask("Stacktrace", json!({"Id": -1, "Depth": 1}))?;
    play.command("continue")?;
    play.ask("ClearBreakpoint", json!({"Id": 1}))?;
    list(play)?;
    play.end(true)
}

fn other_kinds(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.bring_to(&built, "// cart")?;
    for argument in [
        json!({"Scope": here(), "Expr": "1 +", "Type": 1}),
        json!({"Scope": here(), "Expr": "nothing", "Type": 1}),
        json!({"Scope": here(), "Expr": "a", "Type": 0}),
        json!({"Scope": here(), "Expr": "a + 1", "Type": 2}),
    ] {
        play.ask("CreateWatchpoint", argument)?;
    }
    for function in ["main.nothing", "", "("] {
        play.ask("CreateEBPFTracepoint", json!({"FunctionName": function}))?;
    }
    play.ask("GetBufferedTracepoints", json!({"LoadCfg": load()}))?;
    list(play)?;
    play.end(true)
}
