//! Location expressions.

use serde_json::json;

use super::{RpcPlay, frame, here, scenario};
use crate::failure::Result;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("rpc locations: before the start", before_the_start),
    scenario("rpc locations: at a stop", at_a_stop),
    scenario("rpc locations: substituted paths", substituted),
];

const EVERYWHERE: &[&str] = &[
    "main.go:22",
    "/main.go:22",
    "walks/main.go:22",
    "ain.go:22",
    "main.go",
    "main.go:",
    "main.go:0",
    "main.go:1",
    "main.go:99999",
    "main.go:-3",
    "main.go:99999999999999999999",
    "nothing.go:3",
    "proc.go:100",
    "print.go:300",
    "fmt/print.go:300",
    "main.main",
    "main.twice",
    "twice",
    "main.twice:0",
    "main.twice:1",
    "main.twice:2",
    "main.twice:99",
    "twice:-1",
    "main.Cart.Describe",
    "main.(*Cart).Add",
    "(*Cart).Add",
    "Cart.Add",
    "Cart.Describe",
    "(*main.Cart).Add",
    "Add",
    "Describe",
    "*Cart.Add",
    "main.largest",
    "largest",
    "main.largest[int]",
    "main.closes.func1",
    "closes.func1",
    "main.nothing",
    "nothing",
    "main",
    "fmt.Sprint",
    "reflect.callMethod",
    "Sprint",
    "String",
    "runtime.gopark",
    "fmt.Sprint:3",
    "fmt.(*pp).printArg",
    "fmt.pp.printArg",
    "math.nothing",
    "/^main\\.tw/",
    "/^main\\.(loop|square)$/",
    "/no such/",
    "/[/",
    "/main.go:22/",
    "/",
    "//",
    "*0",
    "*",
    "*x",
    "*0x10",
    "*main.main",
    "*\"main.main\"",
    "",
    " ",
    "3",
    "22",
    "+1",
    "-1",
    "+",
    "-",
    "+x",
    "+99999",
    "main.go:22:3",
    "a:b:c",
    ":",
    ":22",
    "main.twice:x",
    "main.\u{fc}",
    "C:\\x\\main.go:22",
    "main.()",
    "(*)",
    "(*).x",
    "..",
    "main..twice",
];

fn find(play: &mut RpcPlay, scope: &serde_json::Value, texts: &[&str]) -> Result<()> {
    for text in texts {
        play.ask("FindLocation", json!({"Scope": scope, "Loc": text}))?;
    }
    Ok(())
}

fn before_the_start(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    find(play, &here(), EVERYWHERE)?;
    let path = built.source("main.go");
    find(
        play,
        &here(),
        &[
            &format!("{path}:22"),
            &format!("{path}:23"),
            &format!("/nowhere{path}:22"),
            &format!("{}:22", path.to_uppercase()),
        ],
    )?;
    for line in [1, 3, 20, 21, 22, 23, 24, 41, 42, 43, 44, 45, 46, 48] {
        play.ask(
            "FindLocation",
            json!({"Scope": here(), "Loc": format!("main.go:{line}"), "IncludeNonExecutableLines": true}),
        )?;
        play.ask(
            "FindLocation",
            json!({"Scope": here(), "Loc": format!("main.go:{line}")}),
        )?;
    }
    play.end(true)
}

fn at_a_stop(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.bring_to(&built, "// loop body")?;
    find(play, &here(), EVERYWHERE)?;
    for scope in [
        frame(1),
        frame(2),
        frame(9),
        frame(-1),
        json!({"GoroutineID": 4711}),
        json!({}),
    ] {
        find(
            play,
            &scope,
            &["+1", "-1", "22", "1", "*sum", "*&sum", "main.twice", "+0"],
        )?;
    }
    let pc = play.ask_silently(0, "Eval", Some(json!([{"Scope": here(), "Expr": "limit"}])))?;
    play.note("limit", pc["result"]["Variable"]["value"].clone());
    let location = play.ask("FindLocation", json!({"Scope": here(), "Loc": "main.twice"}))?;
    let address = location["result"]["Locations"][0]["pc"].as_u64().unwrap_or(0);
    for text in [
        format!("*{address}"),
        format!("*{address:#x}"),
        format!("*{}", address + 1),
    ] {
        find(play, &here(), &[&text])?;
    }
    play.end(true)
}

fn substituted(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    let dir = built.dir.to_string_lossy().into_owned();
    for (rules, text) in [
        (json!([[dir, "/client"]]), "/client/main.go:22"),
        (json!([[dir, "/client"]]), "main.go:22"),
        (json!([[dir, "/client/"]]), "/client/main.go:22"),
        (json!([[format!("{dir}/"), "/client/"]]), "/client/main.go:22"),
        (json!([[dir, ""]]), "main.go:22"),
        (json!([["", "/client"]]), "/client/main.go:22"),
        (json!([["/other", "/client"], [dir, "/client"]]), "/client/main.go:22"),
        (json!([[dir, "/client"], [dir, "/other"]]), "/other/main.go:22"),
        (json!([[]]), "main.go:22"),
        (json!([[dir]]), "main.go:22"),
        (json!([[dir, "/client", "more"]]), "/client/main.go:22"),
        (json!([[null, null]]), "main.go:22"),
        (json!([]), "main.go:22"),
    ] {
        play.ask(
            "FindLocation",
            json!({"Scope": here(), "Loc": text, "SubstitutePathRules": rules}),
        )?;
        play.ask(
            "CreateBreakpoint",
            json!({"Breakpoint": {}, "LocExpr": text, "SubstitutePathRules": rules}),
        )?;
    }
    play.end(true)
}
