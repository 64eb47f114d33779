//! From `initialize` to the program's first instruction: modes, attributes, mistakes.

use serde_json::{Value, json};

use super::scenario;
use crate::failure::{Attempt, Result};
use crate::play::Play;
use crate::toolchain::{Build, fixture_dir};
use crate::transcripts::Scenario;

pub(super) const SCENARIOS: &[Scenario] = &[
    scenario("launch: run to the end", run_to_the_end),
    scenario("launch: stop on entry", stop_on_entry),
    scenario("launch: output mode remote", remote_output),
    scenario("launch: output to files", output_to_files),
    scenario("launch: mode debug", mode_debug),
    scenario("launch: mode test", mode_test),
    scenario("launch: a build that fails", build_failure),
    scenario("launch: without a debugger", no_debug),
    scenario("launch: wrong attributes", wrong_attributes),
    scenario("launch: requests out of order", out_of_order),
    scenario("launch: substitutePath", substitute_path),
    scenario("launch: followExec", follow_exec),
    scenario("launch: followExec with a wrong expression", follow_exec_mistakes),
];

fn run_to_the_end(play: &mut Play) -> Result<()> {
    let built = play.fixture("orders", Build::FixedHeap)?;
    play.launch(&built, json!({"args": ["fail"]}))?;
    play.breakpoints_at(&built.source("main.go"), &[])?;
    play.ask("setFunctionBreakpoints", json!({"breakpoints": []}))?;
    play.ask("setInstructionBreakpoints", json!({"breakpoints": []}))?;
    play.ask(
        "setExceptionBreakpoints",
        json!({"filters": ["unrecovered-panic", "runtime-fatal-throw"]}),
    )?;
    play.ask("setDataBreakpoints", json!({"breakpoints": []}))?;
    play.run()?;
    play.threads()?;
    play.stack_of(1, 0, 20)?;
    play.end(json!({}))
}

fn stop_on_entry(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    play.launch(&built, json!({"stopOnEntry": true}))?;
    play.ask("setExceptionBreakpoints", json!({"filters": []}))?;
    play.run()?;
    play.threads()?;
    play.stack_of(1, 0, 20)?;
    play.ask("scopes", json!({"frameId": 1000}))?;
    play.ask("variables", json!({"variablesReference": 1000}))?;
    play.evaluate("1 + 2", 0, "repl")?;
    play.evaluate("main.nothing", 0, "repl")?;
    play.ask("pause", json!({"threadId": 1}))?;
    play.ask("exceptionInfo", json!({"threadId": 1}))?;
    for command in ["next", "stepOut"] {
        // There is no goroutine yet.
        play.ask(command, json!({"threadId": 1}))?;
        play.arrive()?;
    }
    play.stop_at(&built, &["// square"])?;
    play.go("continue")?;
    play.stack(0, 20)?;
    play.breakpoints_at(&built.source("main.go"), &[])?;
    play.go("continue")?;
    play.end(json!({}))
}

fn remote_output(play: &mut Play) -> Result<()> {
    let built = play.fixture("orders", Build::FixedHeap)?;
    play.launch(&built, json!({"outputMode": "remote"}))?;
    play.run()?;
    play.end(json!({"terminateDebuggee": true}))
}

fn output_to_files(play: &mut Play) -> Result<()> {
    let built = play.fixture("orders", Build::FixedHeap)?;
    let scratch = play.scratch();
    let (stdout, stderr) = (scratch.join("stdout"), scratch.join("stderr"));
    play.launch(&built, json!({"stdoutTo": stdout, "stderrTo": stderr}))?;
    play.run()?;
    for file in [stdout, stderr] {
        let text = std::fs::read_to_string(&file).attempt(format_args!("reading {}", file.display()))?;
        // What was written is compared as if it were a refused expression: by its text in the transcript.
        play.ask(
            "evaluate",
            json!({"expression": format!("dlv {text}"), "context": "repl"}),
        )?;
    }
    play.end(json!({}))
}

/// A package with a test in the play's own folder.
fn package(play: &Play) -> Result<String> {
    let scratch = play.scratch();
    let write =
        |name: &str, text: &str| std::fs::write(scratch.join(name), text).attempt(format_args!("writing {name}"));
    let source = fixture_dir("walks").join("main.go");
    std::fs::copy(&source, scratch.join("main.go")).attempt("copying main.go")?;
    write("go.mod", "module walks\n\ngo 1.21\n")?;
    write(
        "main_test.go",
        "package main\n\nimport \"testing\"\n\nfunc TestSquare(t *testing.T) {\n\tif square(3) != 9 {\n\t\tt.Fatal(\"not nine\")\n\t}\n}\n",
    )?;
    Ok(scratch.join("main.go").to_string_lossy().into_owned())
}

/// The line of a marker in a file.
fn line(path: &str, marker: &str) -> Result<usize> {
    let text = std::fs::read_to_string(path).attempt(format_args!("reading {path}"))?;
    let line = text.lines().position(|line| line.contains(marker));
    Ok(line.attempt(format_args!("finding {marker}"))? + 1)
}

fn mode_debug(play: &mut Play) -> Result<()> {
    let path = package(play)?;
    let scratch = play.scratch();
    play.client().launch(json!({
        "request": "launch", "mode": "debug", "program": scratch, "dlvCwd": scratch, "outputMode": "remote",
        "buildFlags": ["-tags=some"], "env": {"SOME": "thing"}, "args": ["deep"],
    }))?;
    play.breakpoints_at(&path, &[json!({"line": line(&path, "// bottom")?})])?;
    play.run()?;
    play.stack(0, 2)?;
    play.variables(0)?;
    play.go("continue")?;
    play.end(json!({}))
}

fn mode_test(play: &mut Play) -> Result<()> {
    let path = package(play)?;
    let scratch = play.scratch();
    play.client().launch(json!({
        "request": "launch", "mode": "test", "program": scratch, "dlvCwd": scratch, "outputMode": "remote",
        "args": ["-test.run", "TestSquare"],
    }))?;
    play.breakpoints_at(&path, &[json!({"line": line(&path, "// square")?})])?;
    play.run()?;
    play.stack(0, 2)?;
    play.go("stepOut")?;
    play.stack(0, 2)?;
    play.end(json!({}))
}

fn build_failure(play: &mut Play) -> Result<()> {
    let scratch = play.scratch();
    std::fs::write(scratch.join("go.mod"), "module broken\n\ngo 1.21\n").attempt("writing go.mod")?;
    std::fs::write(
        scratch.join("main.go"),
        "package main\n\nfunc main() {\n\tnothing()\n}\n",
    )
    .attempt("writing main.go")?;
    play.client().initialize()?;
    play.ask(
        "launch",
        json!({"request": "launch", "mode": "debug", "program": ".", "dlvCwd": scratch, "output": "built"}),
    )?;
    play.end(json!({}))
}

fn no_debug(play: &mut Play) -> Result<()> {
    let built = play.fixture("orders", Build::FixedHeap)?;
    play.client().initialize()?;
    play.ask(
        "launch",
        json!({"mode": "exec", "program": built.program, "noDebug": true, "args": ["fail"]}),
    )?;
    play.arrive()?;
    for command in ["threads", "continue", "restart", "setBreakpoints"] {
        play.ask(command, json!({"threadId": 1, "source": {"path": "x"}}))?;
    }
    play.end(json!({}))
}

fn wrong_attributes(play: &mut Play) -> Result<()> {
    let built = play.fixture("orders", Build::FixedHeap)?;
    let program = &built.program;
    play.client().initialize()?;
    let launches: [Value; 22] = [
        json!({}),
        json!({"mode": "exec"}),
        json!({"mode": "notamode", "program": program}),
        json!({"mode": "replay", "program": program}),
        json!({"mode": "core", "program": program}),
        json!({"mode": "exec", "program": "/nowhere/at/all"}),
        json!({"mode": "exec", "program": built.dir}),
        json!({"mode": "exec", "program": 5}),
        json!({"mode": "exec", "program": program, "args": "text"}),
        json!({"mode": "exec", "program": program, "args": [1]}),
        json!({"mode": "exec", "program": program, "env": []}),
        json!({"mode": "exec", "program": program, "buildFlags": 7}),
        json!({"mode": "exec", "program": program, "stackTraceDepth": "x"}),
        json!({"mode": "exec", "program": program, "substitutePath": [{"from": "a"}]}),
        json!({"mode": "exec", "program": program, "substitutePath": ["a"]}),
        json!({"mode": "exec", "program": program, "outputMode": "somewhere"}),
        json!({"mode": "exec", "program": program, "outputMode": "remote", "stdoutTo": "x"}),
        json!({"mode": "exec", "program": program, "backend": "notabackend"}),
        json!({"mode": "exec", "program": program, "cwd": "/nowhere/at/all"}),
        json!({"mode": "exec", "program": program, "dlvCwd": "/nowhere/at/all"}),
        json!({"mode": "exec", "program": program, "stdinFrom": "/nowhere/at/all"}),
        json!({"mode": "exec", "program": program, "stdoutTo": "/nowhere/at/all"}),
    ];
    for arguments in launches {
        play.ask("launch", arguments)?;
    }
    for arguments in [
        json!({}),
        json!({"mode": "remote"}),
        json!({"mode": "nowhere", "processId": 1}),
        json!({"mode": "local", "processId": 1, "waitFor": "x"}),
        json!({"mode": "local", "processId": "x"}),
        json!({"mode": "local", "processId": 1, "showRegisters": 3}),
    ] {
        play.ask("attach", arguments)?;
    }
    play.end(json!({}))
}

fn out_of_order(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    for arguments in [
        json!({"pathFormat": "uri"}),
        json!({"pathFormat": "path", "linesStartAt1": false}),
        json!({"pathFormat": "path", "linesStartAt1": true, "columnsStartAt1": false}),
    ] {
        play.ask("initialize", arguments)?;
    }
    for command in [
        "threads",
        "continue",
        "stackTrace",
        "setBreakpoints",
        "evaluate",
        "modules",
    ] {
        play.ask(
            command,
            json!({"threadId": 1, "source": {"path": "x"}, "expression": "x"}),
        )?;
    }
    play.launch(&built, json!({}))?;
    play.ask("launch", json!({"mode": "exec", "program": built.program}))?;
    play.ask("attach", json!({"processId": 1}))?;
    play.ask(
        "setBreakpoints",
        json!({"source": {"name": "main.go"}, "breakpoints": []}),
    )?;
    for command in [
        "source",
        "modules",
        "loadedSources",
        "cancel",
        "setExpression",
        "gotoTargets",
        "completions",
        "restartFrame",
        "stepInTargets",
        "terminateThreads",
        "breakpointLocations",
    ] {
        play.ask(
            command,
            json!({"sourceReference": 1, "threadId": 1, "frameId": 1, "text": "x", "column": 1}),
        )?;
    }
    play.end(json!({}))
}

fn substitute_path(play: &mut Play) -> Result<()> {
    let built = play.fixture("walks", Build::FixedHeap)?;
    let rules = json!([{"from": "/somewhere/else", "to": built.dir}]);
    play.launch(&built, json!({"substitutePath": rules}))?;
    let line = built.line("main.go", "// twice")?;
    play.breakpoints_at("/neither/here/main.go", &[json!({"line": line})])?;
    play.breakpoints_at(
        "/somewhere/else/main.go",
        &[json!({"line": line}), json!({"line": 3, "logMessage": "x"})],
    )?;
    play.run()?;
    play.stack(0, 20)?;
    play.evaluate("dlv config -list substitutePath", 0, "repl")?;
    play.evaluate("dlv config substitutePath /another/place /nowhere", 0, "repl")?;
    play.evaluate("dlv config substitutePath /somewhere/else", 0, "repl")?;
    play.stack(0, 2)?;
    play.end(json!({}))
}

fn follow_exec(play: &mut Play) -> Result<()> {
    let walks = play.fixture("walks", Build::FixedHeap)?;
    let spawns = play.fixture("spawns", Build::FixedHeap)?;
    play.launch(
        &spawns,
        json!({"args": ["run", walks.program], "stopOnEntry": true, "followExec": true, "followExecRegex": "walks"}),
    )?;
    // What only a child has.
    play.stop_at(&walks, &["// twice"])?;
    play.breakpoints_at("/no/such/main.go", &[json!({"line": 3})])?;
    play.ask(
        "setFunctionBreakpoints",
        json!({"breakpoints": [{"name": "main.nowhere"}]}),
    )?;
    play.ask("setExceptionBreakpoints", json!({"filters": []}))?;
    play.run()?;
    play.threads()?;
    play.go("continue")?;
    play.threads()?;
    play.stack(0, 20)?;
    play.variables(0)?;
    play.evaluate("n + 1", 0, "watch")?;
    play.walk(&["next", "next", "stepOut", "stepIn"])?;
    // What only the parent has, and what is in neither.
    play.stop_at(&spawns, &["// finish"])?;
    play.breakpoints_at("/no/such/main.go", &[json!({"line": 4})])?;
    play.evaluate("dlv target follow-exec", 0, "repl")?;
    play.evaluate("dlv target follow-exec -x", 0, "repl")?;
    play.evaluate("dlv target follow-exec -off", 0, "repl")?;
    play.evaluate("dlv target follow-exec", 0, "repl")?;
    play.evaluate("dlv target follow-exec -on a b", 0, "repl")?;
    play.evaluate("dlv target follow-exec -on (", 0, "repl")?;
    play.evaluate("dlv target switch 1", 0, "repl")?;
    play.evaluate("dlv target nothing", 0, "repl")?;
    play.stop_at(&walks, &[])?;
    play.go("continue")?;
    play.stack(0, 20)?;
    play.go("continue")?;
    play.end(json!({}))
}

fn follow_exec_mistakes(play: &mut Play) -> Result<()> {
    let spawns = play.fixture("spawns", Build::FixedHeap)?;
    play.launch(
        &spawns,
        json!({"args": ["children", "2"], "followExec": true, "followExecRegex": "("}),
    )?;
    play.stop_at(&spawns, &["// member", "// finish"])?;
    play.run()?;
    play.go("continue")?;
    play.end(json!({}))
}
