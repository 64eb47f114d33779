//! The program's end, and what is answered afterwards.

use serde_json::{Value, json};

use super::{RpcPlay, here, load, scenario};
use crate::failure::{Attempt, Result};
use crate::toolchain::Built;
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("rpc ending: every call after the end", after_the_end),
    scenario(
        "rpc ending: every call after a restart that failed",
        after_a_failed_restart,
    ),
    scenario("rpc ending: exit statuses", statuses),
    scenario("rpc ending: restarts", restarts),
    scenario("rpc ending: restart after the end", restart_after_the_end),
    scenario("rpc ending: restart with other arguments", restart_with_arguments),
    scenario("rpc ending: a restart that fails", restart_that_fails),
    scenario("rpc ending: restart while running", restart_while_running),
    scenario("rpc ending: one client", one_client),
    scenario("rpc ending: detach from an attached program", detach_attached),
];

fn after_the_end(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &["exit"])?;
    play.break_at(&built, "// twice", json!({"name": "kept"}))?;
    play.command("continue")?;
    every_call(play, &built)?;
    play.end(true)
}

/// The target is gone, and nothing has taken its place; what the last binary says is still to be had, and so are the breakpoints.
fn after_a_failed_restart(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.break_at(&built, "// twice", json!({"name": "kept"}))?;
    play.command("continue")?;
    // Nobody knows how a binary was built that was there before.
    play.ask("Restart", json!({"Rebuild": true}))?;
    every_call(play, &built)?;
    play.ask("Restart", json!({"Rebuild": true}))?;
    breakpoints_and_state(play)?;
    play.ask("Restart", json!({}))?;
    breakpoints_and_state(play)?;
    play.command("continue")?;
    play.end(true)
}

/// Asks for everything that needs a target, or what is known of one.
fn every_call(play: &mut RpcPlay, built: &Built) -> Result<()> {
    let path = built.source("main.go");
    for (method, argument) in [
        ("State", json!({})),
        ("State", json!({"NonBlocking": true})),
        ("Command", json!({"name": "continue"})),
        ("Command", json!({"name": "next"})),
        ("Command", json!({"name": "step"})),
        ("Command", json!({"name": "stepOut"})),
        ("Command", json!({"name": "stepInstruction"})),
        ("Command", json!({"name": "halt"})),
        ("Command", json!({"name": "switchGoroutine", "goroutineID": 1})),
        ("Command", json!({"name": "switchThread", "threadID": 1})),
        ("Command", json!({"name": "rewind"})),
        ("ProcessPid", json!({})),
        ("LastModified", json!({})),
        ("Stacktrace", json!({"Id": -1, "Depth": 5})),
        ("Ancestors", json!({"GoroutineID": 1, "NumAncestors": 1, "Depth": 1})),
        ("ListGoroutines", json!({})),
        ("ListThreads", json!({})),
        ("GetThread", json!({"Id": 1})),
        ("ListLocalVars", json!({"Scope": here(), "Cfg": load()})),
        ("ListFunctionArgs", json!({"Scope": here(), "Cfg": load()})),
        ("ListPackageVars", json!({"Filter": "^main\\.", "Cfg": load()})),
        ("Eval", json!({"Scope": here(), "Expr": "1 + 2"})),
        ("Set", json!({"Scope": here(), "Symbol": "a", "Value": "1"})),
        ("ListRegisters", json!({})),
        ("ListRegisters", json!({"Scope": here()})),
        ("ListSources", json!({"Filter": "main.go$"})),
        ("ListFunctions", json!({"Filter": "^main\\.tw"})),
        ("ListFunctions", json!({"Filter": "^main\\.tw", "FollowCalls": 2})),
        ("ListTypes", json!({"Filter": "^main\\."})),
        ("TypeInfo", json!({"Name": "main.Cart"})),
        ("ListPackagesBuildInfo", json!({"Filter": "^main$"})),
        ("FindLocation", json!({"Scope": here(), "Loc": "main.twice"})),
        ("FindLocation", json!({"Scope": here(), "Loc": "main.go:22"})),
        ("FindLocation", json!({"Scope": here(), "Loc": "+1"})),
        ("Disassemble", json!({"Scope": here(), "StartPC": 1, "EndPC": 2})),
        ("ExamineMemory", json!({"Address": 16, "Length": 8})),
        ("FunctionReturnLocations", json!({"FnName": "main.twice"})),
        ("ListDynamicLibraries", json!({})),
        ("BuildID", json!({})),
        ("ListTargets", json!({})),
        ("ListBreakpoints", json!({})),
        ("ListBreakpoints", json!({"All": true})),
        ("GetBreakpoint", json!({"Name": "kept"})),
        ("AmendBreakpoint", json!({"Breakpoint": {"id": 1, "Cond": "n > 1"}})),
        ("ToggleBreakpoint", json!({"Id": 1})),
        (
            "CreateBreakpoint",
            json!({"Breakpoint": {"file": path, "line": built.line("main.go", "// cart")?}}),
        ),
        (
            "CreateBreakpoint",
            json!({"Breakpoint": {"functionName": "main.nothing"}}),
        ),
        ("ListBreakpoints", json!({})),
        ("ClearBreakpoint", json!({"Id": 1})),
        ("CancelNext", json!({})),
        ("CreateWatchpoint", json!({"Scope": here(), "Expr": "a", "Type": 1})),
        ("GetBufferedTracepoints", json!({})),
        ("Recorded", json!({})),
        ("FollowExecEnabled", json!({})),
        ("FollowExec", json!({"Enable": true})),
        ("DebugInfoDirectories", json!({})),
        ("GuessSubstitutePath", json!({"Args": {}})),
        ("IsMulticlient", json!({})),
        ("GetVersion", json!({})),
        ("Nothing", json!({})),
    ] {
        play.ask(method, argument)?;
    }
    Ok(())
}

fn statuses(play: &mut RpcPlay) -> Result<()> {
    for how in ["0", "1", "255", "kill", "term"] {
        play.serve("exits", &[how])?;
        play.command("continue")?;
        play.ask("State", json!({}))?;
        play.end(true)?;
    }
    // A step sees the same end.
    let built = play.serve("exits", &["3"])?;
    play.bring_to(&built, "os.Exit(status)")?;
    play.command("next")?;
    play.command("next")?;
    play.end(true)
}

fn breakpoints_and_state(play: &mut RpcPlay) -> Result<()> {
    play.ask("ListBreakpoints", json!({}))?;
    play.ask("State", json!({}))?;
    Ok(())
}

fn restarts(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.break_at(&built, "// twice", json!({"name": "first", "Cond": "n > 0"}))?;
    play.break_at(&built, "// cart", json!({"disabled": true}))?;
    play.ask("CreateBreakpoint", json!({"Breakpoint": {}, "LocExpr": "main.loop"}))?;
    play.ask(
        "CreateBreakpoint",
        json!({"Breakpoint": {}, "LocExpr": "nowhere.go:3", "Suspended": true}),
    )?;
    play.command("continue")?;
    breakpoints_and_state(play)?;
    let first = play.ask("ProcessPid", json!({}))?;
    play.ask("Restart", json!({}))?;
    let second = play.ask("ProcessPid", json!({}))?;
    play.note(
        "another process",
        (first["result"]["Pid"] != second["result"]["Pid"]).into(),
    );
    breakpoints_and_state(play)?;
    play.command("continue")?;
    play.command("continue")?;
    breakpoints_and_state(play)?;
    play.ask("ClearBreakpoint", json!({"Name": "first"}))?;
    play.ask("ToggleBreakpoint", json!({"Id": 2}))?;
    play.ask("Restart", json!({}))?;
    breakpoints_and_state(play)?;
    play.command("continue")?;
    play.command("continue")?;
    play.command("continue")?;
    play.end(true)
}

fn restart_after_the_end(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &[])?;
    play.command("continue")?;
    play.break_at(&built, "// twice", json!({}))?;
    play.ask("Restart", json!({}))?;
    breakpoints_and_state(play)?;
    play.command("continue")?;
    play.command("continue")?;
    play.ask("Restart", json!({}))?;
    play.command("continue")?;
    play.end(true)
}

fn restart_with_arguments(play: &mut RpcPlay) -> Result<()> {
    let built = play.serve("walks", &["exit"])?;
    play.break_at(&built, "// bottom", json!({}))?;
    let file = play.stage().scratch().join("output");
    for argument in [
        json!({"ResetArgs": true, "NewArgs": ["deep"]}),
        json!({"ResetArgs": false, "NewArgs": ["exit"]}),
        json!({"ResetArgs": true}),
        json!({"ResetArgs": true, "NewArgs": ["hard", "b c"], "NewRedirects": ["", file, ""]}),
        json!({}),
        json!({"ResetArgs": true, "NewArgs": [], "NewRedirects": ["/nowhere/at/all", "", ""]}),
        json!({"Rebuild": true}),
        json!({"Rerecord": true}),
        json!({"Position": "5"}),
    ] {
        play.ask("Restart", argument)?;
        play.ask("State", json!({}))?;
        play.command("continue")?;
    }
    play.end(true)
}

fn restart_that_fails(play: &mut RpcPlay) -> Result<()> {
    let built = play.stage().fixture("walks", crate::toolchain::Build::FixedHeap)?;
    let program = play.stage().scratch().join("walks");
    let aside = play.stage().scratch().join("aside");
    std::fs::copy(&built.program, &program).attempt("copying the program")?;
    play.serve_command("exec", &["--accept-multiclient", &program.to_string_lossy()])?;
    play.break_at(&built, "// twice", json!({"name": "kept"}))?;
    play.command("continue")?;
    std::fs::rename(&program, &aside).attempt("taking the program away")?;
    play.ask("Restart", json!({}))?;
    for (method, argument) in [
        ("State", json!({"NonBlocking": true})),
        ("ListBreakpoints", json!({})),
        ("ListBreakpoints", json!({"All": true})),
        ("GetBreakpoint", json!({"Name": "kept"})),
        ("ToggleBreakpoint", json!({"Name": "kept"})),
        ("ToggleBreakpoint", json!({"Name": "kept"})),
        ("Command", json!({"name": "continue"})),
        ("Eval", json!({"Scope": here(), "Expr": "1 + 2"})),
        ("FindLocation", json!({"Scope": here(), "Loc": "main.twice"})),
        ("ListThreads", json!({})),
        ("ProcessPid", json!({})),
        ("Restart", json!({})),
    ] {
        play.ask(method, argument)?;
    }
    std::fs::rename(&aside, &program).attempt("putting the program back")?;
    play.ask("Restart", json!({}))?;
    play.ask("ListBreakpoints", json!({}))?;
    play.command("continue")?;
    play.end(true)
}

fn restart_while_running(play: &mut RpcPlay) -> Result<()> {
    play.serve("walks", &["forever"])?;
    let running = play.run_on(0)?;
    let other = play.join()?;
    let restart = play.send(other, "Restart", &json!({}))?;
    let early = play.answered_soon(other, &restart)?;
    play.note(
        "a restart while running",
        early.clone().unwrap_or("no answer yet".into()),
    );
    play.ask_silently(0, "Command", Some(json!([{"name": "halt"}])))?;
    play.answer_shape(0, "continue", &running)?;
    if early.is_none() {
        play.answer(other, "the restart", &restart)?;
    }
    play.end(true)
}

fn one_client(play: &mut RpcPlay) -> Result<()> {
    let built = play.stage().fixture("walks", crate::toolchain::Build::FixedHeap)?;
    let program = built.program.to_string_lossy().into_owned();
    play.serve_command("exec", &[&program])?;
    play.ask("IsMulticlient", json!({}))?;
    play.break_at(&built, "// twice", Value::Null)?;
    play.command("continue")?;
    play.end(false)
}

fn detach_attached(play: &mut RpcPlay) -> Result<()> {
    let built = play.stage().fixture("counter", crate::toolchain::Build::FixedHeap)?;
    let pid = play
        .stage()
        .companion(&mut std::process::Command::new(&built.program))?;
    let first = play.stage().companions()[0].stdout.clone();
    first.wait_for("its first line", crate::dap_client::STEP, |text| {
        text.contains('\n').then_some(())
    })?;
    play.serve_command("attach", &["--accept-multiclient", &pid.to_string()])?;
    play.ask("AttachedToExistingProcess", json!({}))?;
    play.ask("Restart", json!({}))?;
    play.break_at(&built, "// a logpoint stands here", json!({}))?;
    let stopped = play.ask_silently(0, "Command", Some(json!([{"name": "continue"}])))?;
    play.note(
        "stopped at",
        stopped["result"]["State"]["currentThread"]["line"].clone(),
    );
    play.end(false)?;
    let lines = first.text().lines().count();
    first.wait_for("it to go on", crate::dap_client::STEP, |text| {
        (text.lines().count() > lines + 3).then_some(())
    })
}
