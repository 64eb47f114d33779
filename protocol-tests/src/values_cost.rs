//! What values cost: the locals of a large frame, and a thousand evaluations, over both protocols.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::dap_client::{DapClient, STEP, SourceBreakpoint};
use crate::failure::{Attempt, Failure, Result};
use crate::headless::Headless;
use crate::toolchain::{Build, Built, Source};

/// Variables of each kind in the frame.
const EACH: usize = 40;
/// Kinds of variables.
const KINDS: usize = 7;
/// How many evaluations are made.
pub const EVALUATIONS: usize = 1_000;
/// How often the locals are asked for; the median counts.
const RUNS: usize = 15;

/// How many locals the frame has.
pub const LOCALS: usize = EACH * KINDS;

/// What one debugger took.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// For all locals of the frame.
    pub locals: Duration,
    /// For all evaluations together, one after the other.
    pub evaluations: Duration,
}

/// A program that stops in a function with many locals.
#[track_caller]
pub fn program() -> Result<Built> {
    let mut text = String::from(
        "package main\n\ntype Point struct {\n\tX, Y int\n\tName string\n}\n\nfunc pause() {}\n\nfunc large(n int) {\n",
    );
    let mut used = String::new();
    for at in 0..EACH {
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "\ti{at} := n + {at}\n\ts{at} := \"text number {at}\"\n\tp{at} := Point{{{at}, n, s{at}}}\n\tl{at} := make([]int, 20)\n\t\
             m{at} := map[string]int{{\"a\": {at}, \"b\": n}}\n\tvar e{at} any = p{at}\n\tq{at} := &p{at}"
        );
        let _ = writeln!(
            used,
            "\t_, _, _, _, _, _, _ = i{at}, s{at}, p{at}, l{at}, m{at}, e{at}, q{at}"
        );
    }
    text.push_str("\tpause() // stop here\n");
    text.push_str(&used);
    text.push_str("}\n\nfunc main() {\n\tlarge(1)\n}\n");
    Source::generated("large", vec![("main.go".to_owned(), text)]).build(Build::NoOpt)
}

/// The expressions, and what each means, where that is a number.
fn expressions() -> impl Iterator<Item = (String, Option<usize>)> {
    (0..EVALUATIONS).map(|number| {
        let at = number / 10 % EACH;
        match number % 10 {
            0 => (format!("i{at} + 1"), Some(at + 2)),
            1 => (format!("s{at}"), None),
            2 => (format!("p{at}.X"), Some(at)),
            3 => (format!("l{at}[3]"), Some(0)),
            4 => (format!("m{at}[\"a\"]"), Some(at)),
            5 => (format!("e{at}.(main.Point).X"), Some(at)),
            6 => (format!("q{at}.Name"), None),
            7 => (format!("len(l{at})"), Some(20)),
            8 => (format!("*q{at}"), None),
            _ => (format!("i{at} > 3 && p{at}.Y == 1"), None),
        }
    })
}

/// An editor's session.
#[track_caller]
pub fn over_dap(debugger: &Path, built: &Built) -> Result<Taken> {
    let mut client = DapClient::start(debugger)?;
    client.keep_no_transcript();
    client.launch(json!({"request": "launch", "mode": "exec", "program": built.program}))?;
    let line = built.line("main.go", "// stop here")?;
    client.set_breakpoints(&built.source("main.go"), &[SourceBreakpoint::stop(line)])?;
    client.configuration_done()?;
    let thread = client.event("stopped")?.body["threadId"].clone();
    let stack = client.request("stackTrace", json!({"threadId": thread, "startFrame": 0, "levels": 1}))?;
    let frame = stack["stackFrames"][0]["id"].clone();
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        let scopes = client.request("scopes", json!({"frameId": frame}))?;
        let reference = &scopes["scopes"][0]["variablesReference"];
        let answer = client.request("variables", json!({"variablesReference": reference}))?;
        times.push(begun.elapsed());
        enough(&answer["variables"], 1)?;
    }
    let begun = Instant::now();
    for (expression, number) in expressions() {
        let arguments = json!({"expression": expression, "frameId": frame, "context": "watch"});
        let answer = client.request("evaluate", arguments)?;
        right(&expression, number, &answer["result"])?;
    }
    let evaluations = begun.elapsed();
    client.disconnect(json!({"terminateDebuggee": true}))?;
    Ok(Taken {
        locals: median(times)?,
        evaluations,
    })
}

/// A session of `dlv connect`.
#[track_caller]
pub fn over_rpc(debugger: &Path, built: &Built) -> Result<Taken> {
    let headless = Headless::start(debugger, "exec", &[&built.program.to_string_lossy()])?;
    let mut client = headless.connect()?;
    let breakpoint = json!({"file": built.source("main.go"), "line": built.line("main.go", "// stop here")?});
    client.call("CreateBreakpoint", &json!({"Breakpoint": breakpoint}))?;
    client.call("Command", &json!({"name": "continue"}))?;
    let scope = json!({"GoroutineID": -1, "Frame": 0});
    let limits = json!({"FollowPointers": true, "MaxVariableRecurse": 1, "MaxStringLen": 64, "MaxArrayValues": 64, "MaxStructFields": -1});
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let begun = Instant::now();
        let answer = client.call("ListLocalVars", &json!({"Scope": scope, "Cfg": limits}))?;
        times.push(begun.elapsed());
        enough(&answer["Variables"], 0)?;
    }
    let begun = Instant::now();
    for (expression, number) in expressions() {
        let answer = client.call("Eval", &json!({"Scope": scope, "Expr": expression, "Cfg": limits}))?;
        right(&expression, number, &answer["Variable"]["value"])?;
    }
    let evaluations = begun.elapsed();
    let pending = client.send("Detach", &json!({"Kill": true}))?;
    client
        .wait(&pending, STEP)?
        .map_err(|why| Failure::new(format!("Detach failed: {why}")))?;
    headless.finish()?;
    Ok(Taken {
        locals: median(times)?,
        evaluations,
    })
}

/// A list that lacks variables would be quick to make.
fn enough(variables: &Value, arguments: usize) -> Result<()> {
    let listed = variables.as_array().map_or(0, Vec::len);
    if listed == LOCALS + arguments {
        return Ok(());
    }
    Err(Failure::new(format!("{listed} variables where there are {LOCALS}")))
}

/// So would wrong answers.
fn right(expression: &str, number: Option<usize>, answer: &Value) -> Result<()> {
    match number {
        Some(number) if answer.as_str().and_then(|text| text.parse().ok()) != Some(number) => {
            Err(Failure::new(format!("{expression} is {number}, not {answer}")))
        }
        _ => Ok(()),
    }
}

fn median(mut times: Vec<Duration>) -> Result<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied().attempt("measuring")
}
