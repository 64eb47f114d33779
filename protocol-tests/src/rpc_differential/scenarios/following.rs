//! Processes that the program starts, and that are debugged with it.

use serde_json::{Value, json};

use super::{RpcPlay, here, load, scenario};
use crate::failure::Result;
use crate::toolchain::{Build, Built};
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("rpc following: children", children),
    scenario("rpc following: conditions", conditions),
    scenario("rpc following: some children", some),
    scenario("rpc following: another program", another),
    scenario("rpc following: a program that is not Go's", foreign),
    scenario("rpc following: several processes", several),
    scenario("rpc following: a restart", restart),
    scenario("rpc following: through a shell", shell),
];

/// Follows children, with breakpoints by name, which lie in each of them.
fn follow(play: &mut RpcPlay, args: &[&str], functions: &[&str]) -> Result<Built> {
    let built = play.serve("spawns", args)?;
    play.ask("FollowExec", json!({"Enable": true}))?;
    play.ask("FollowExecEnabled", json!({}))?;
    for function in functions {
        play.ask("CreateBreakpoint", json!({"Breakpoint": {"functionName": function}}))?;
    }
    Ok(built)
}

/// The targets without where their threads stand, which may be anywhere.
fn targets(play: &mut RpcPlay) -> Result<Vec<Value>> {
    let answer = play.ask_silently(0, "ListTargets", Some(json!([{}])))?;
    let targets = answer["result"]["Targets"].as_array().cloned().unwrap_or_default();
    let lines: Vec<Value> = targets.iter().map(|target| target["CmdLine"].clone()).collect();
    play.note("ListTargets", lines.into());
    Ok(targets)
}

/// What there is to see where a child stands.
fn look(play: &mut RpcPlay) -> Result<()> {
    play.ask("Eval", json!({"Scope": here(), "Expr": "name", "Cfg": load()}))?;
    play.ask("ListFunctionArgs", json!({"Scope": here(), "Cfg": load()}))?;
    play.ask("Stacktrace", json!({"Id": -1, "Depth": 3}))?;
    play.ask("State", json!({}))?;
    Ok(())
}

fn children(play: &mut RpcPlay) -> Result<()> {
    follow(play, &["children", "2"], &["main.begin", "main.member", "main.finish"])?;
    play.command("continue")?;
    targets(play)?;
    for _ in 0..2 {
        play.command("continue")?;
        targets(play)?;
        look(play)?;
        play.command("next")?;
        play.command("next")?;
        play.ask("Eval", json!({"Scope": here(), "Expr": "size", "Cfg": load()}))?;
        play.ask("GetBreakpoint", json!({"Id": 2}))?;
        play.command("stepOut")?;
    }
    play.command("continue")?;
    play.command("continue")?;
    targets(play)?;
    play.ask("State", json!({}))?;
    play.ask("GetBreakpoint", json!({"Id": 2}))?;
    play.end(true)
}

fn conditions(play: &mut RpcPlay) -> Result<()> {
    let built = follow(play, &["children", "4"], &[])?;
    play.break_at(&built, "// member", json!({"Cond": "name == \"C1\""}))?;
    play.break_at(
        &built,
        "// grows",
        json!({"hitCond": ">= 3", "variables": ["size", "name"]}),
    )?;
    play.command("continue")?;
    play.command("continue")?;
    play.ask(
        "AmendBreakpoint",
        json!({"Breakpoint": {"id": 2, "Cond": "len(name) > 7"}}),
    )?;
    play.ask(
        "AmendBreakpoint",
        json!({"Breakpoint": {"id": 1, "tracepoint": true, "variables": ["name"]}}),
    )?;
    play.command("continue")?;
    play.command("continue")?;
    play.ask("ListBreakpoints", json!({}))?;
    play.end(true)
}

fn some(play: &mut RpcPlay) -> Result<()> {
    play.serve("spawns", &["children", "4"])?;
    play.ask("FollowExec", json!({"Enable": true, "Regex": "member C[13]$"}))?;
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"functionName": "main.member"}}),
    )?;
    play.command("continue")?;
    play.ask("Eval", json!({"Scope": here(), "Expr": "name", "Cfg": load()}))?;
    targets(play)?;
    play.ask("FollowExec", json!({"Enable": false, "Regex": "C"}))?;
    play.ask("FollowExecEnabled", json!({}))?;
    targets(play)?;
    play.command("continue")?;
    play.end(true)
}

fn another(play: &mut RpcPlay) -> Result<()> {
    let walks = play.stage().fixture("walks", Build::FixedHeap)?;
    let program = walks.program.to_string_lossy().into_owned();
    follow(play, &["run", &program, "exit"], &["main.finish"])?;
    let line = format!("{}:{}", walks.source("main.go"), walks.line("main.go", "// twice")?);
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {}, "LocExpr": line, "Suspended": true}),
    )?;
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"file": walks.source("main.go"), "line": walks.line("main.go", "// Add")?}}),
    )?;
    play.ask("Command", json!({"name": "continue", "WithEvents": true}))?;
    play.ask("GetEvents", json!({}))?;
    targets(play)?;
    play.ask("Stacktrace", json!({"Id": -1, "Depth": 2}))?;
    for location in ["main.twice", "main.begin", "main.main", "nowhere"] {
        play.ask("FindLocation", json!({"Scope": here(), "Loc": location}))?;
    }
    play.ask("ListFunctions", json!({"Filter": "^main\\."}))?;
    play.ask("ListSources", json!({"Filter": "main.go$"}))?;
    play.ask("ListTypes", json!({"Filter": "^main\\."}))?;
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"functionName": "main.nowhere"}}),
    )?;
    play.ask("ClearBreakpoint", json!({"Id": 2}))?;
    play.command("continue")?;
    play.command("continue")?;
    play.end(true)
}

fn foreign(play: &mut RpcPlay) -> Result<()> {
    follow(play, &["run", "/bin/sh", "-c", "echo in a shell"], &["main.finish"])?;
    play.ask("Command", json!({"name": "continue", "WithEvents": true}))?;
    play.ask("GetEvents", json!({}))?;
    targets(play)?;
    play.command("continue")?;
    play.end(true)
}

fn several(play: &mut RpcPlay) -> Result<()> {
    follow(play, &["children", "1"], &["main.member"])?;
    play.command("continue")?;
    let two = targets(play)?;
    let thread = |number: usize| two.get(number).map(|target| target["CurrentThread"]["id"].clone());
    let (parent, child) = (thread(0), thread(1));
    for (name, id) in [("the parent", parent), ("the child", child.clone())] {
        let command = json!([{"name": "switchThread", "threadID": id}]);
        let state = play.ask_silently(0, "Command", Some(command))?;
        play.note(
            &format!("a switch to {name}"),
            state["result"]["State"]["TargetCommandLine"].clone(),
        );
        play.ask("ProcessPid", json!({}))?;
        let one = play.ask_silently(0, "GetThread", Some(json!([{"Id": id}])))?;
        play.note("its thread", one["result"]["Thread"].is_object().into());
    }
    look(play)?;
    play.ask("Command", json!({"name": "switchThread", "threadID": 1}))?;
    let place = play.ask("FindLocation", json!({"Scope": here(), "Loc": "main.finish"}))?;
    let addresses = place["result"]["Locations"][0]["pcs"].clone();
    let pids = place["result"]["Locations"][0]["pcpids"].clone();
    play.ask("CreateBreakpoint", json!({"Breakpoint": {"addrs": addresses}}))?;
    let at_addresses = json!([{"Breakpoint": {"addrs": addresses, "addrpid": pids}}]);
    let made = play.ask_silently(0, "CreateBreakpoint", Some(at_addresses))?;
    play.note("a breakpoint at addresses of processes", made["result"].clone());
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {"traceReturn": true, "addr": 5_000_000}}),
    )?;
    play.ask("CreateEBPFTracepoint", json!({"FunctionName": "main.finish"}))?;
    play.command("next")?;
    play.command("stepInstruction")?;
    play.command("continue")?;
    targets(play)?;
    play.command("continue")?;
    play.end(true)
}

fn restart(play: &mut RpcPlay) -> Result<()> {
    follow(play, &["children", "1"], &["main.member"])?;
    play.command("continue")?;
    targets(play)?;
    play.ask("Restart", json!({}))?;
    targets(play)?;
    play.ask("FollowExecEnabled", json!({}))?;
    play.command("continue")?;
    look(play)?;
    play.command("continue")?;
    play.ask("Restart", json!({}))?;
    play.ask("FollowExec", json!({"Enable": false}))?;
    play.command("continue")?;
    play.end(true)
}

fn shell(play: &mut RpcPlay) -> Result<()> {
    let built = play.stage().fixture("spawns", Build::FixedHeap)?;
    let program = built.program.to_string_lossy().into_owned();
    let script = "\"$0\" member first; true";
    follow(
        play,
        &["run", "/bin/sh", "-c", script, &program],
        &["main.member", "main.finish"],
    )?;
    play.command("continue")?;
    play.ask("Eval", json!({"Scope": here(), "Expr": "name", "Cfg": load()}))?;
    targets(play)?;
    play.command("continue")?;
    play.command("continue")?;
    play.end(true)
}
