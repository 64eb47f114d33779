//! What values cost: the locals of a large frame, and a thousand evaluations, over both protocols.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::bare_client::{BareClient, Dialect};
use crate::dap_client::DapServer;
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
    /// For all locals of the frame, from the request until the last byte of the answer is there.
    pub locals: Duration,
    /// For all evaluations together, one after the other, measured in the same way.
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
    let server = DapServer::start(debugger)?;
    let mut client = BareClient::connect(&server.address, Dialect::Dap)?;
    client.timed("initialize", &json!({"adapterID": "go"}))?;
    client.send(
        "launch",
        &json!({"request": "launch", "mode": "exec", "program": built.program}),
    )?;
    client.event("initialized")?;
    let (path, line) = (built.source("main.go"), built.line("main.go", "// stop here")?);
    let breakpoints = json!({"source": {"path": path}, "breakpoints": [{"line": line}]});
    client.timed("setBreakpoints", &breakpoints)?;
    client.timed("configurationDone", &json!({}))?;
    let thread = client.event("stopped")?["threadId"].take();
    let first = json!({"threadId": thread, "startFrame": 0, "levels": 1});
    let (_, stack) = client.timed("stackTrace", &first)?;
    let frame = &stack["stackFrames"][0]["id"];
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let (until_scopes, scopes) = client.timed("scopes", &json!({"frameId": frame}))?;
        let reference = &scopes["scopes"][0]["variablesReference"];
        let (until_variables, answer) = client.timed("variables", &json!({"variablesReference": reference}))?;
        times.push(until_scopes + until_variables);
        enough(&answer["variables"], 1)?;
    }
    let mut evaluations = Duration::ZERO;
    for (expression, number) in expressions() {
        let arguments = json!({"expression": expression, "frameId": frame, "context": "watch"});
        let (taken, answer) = client.timed("evaluate", &arguments)?;
        evaluations += taken;
        right(&expression, number, &answer["result"])?;
    }
    client.timed("disconnect", &json!({"terminateDebuggee": true}))?;
    Ok(Taken {
        locals: median(times)?,
        evaluations,
    })
}

/// A session of `dlv connect`.
#[track_caller]
pub fn over_rpc(debugger: &Path, built: &Built) -> Result<Taken> {
    let headless = Headless::start(debugger, "exec", &[&built.program.to_string_lossy()])?;
    let mut client = BareClient::connect(&headless.address, Dialect::JsonRpc)?;
    let breakpoint = json!({"file": built.source("main.go"), "line": built.line("main.go", "// stop here")?});
    client.timed("CreateBreakpoint", &json!({"Breakpoint": breakpoint}))?;
    client.timed("Command", &json!({"name": "continue"}))?;
    let scope = json!({"GoroutineID": -1, "Frame": 0});
    let limits = json!({"FollowPointers": true, "MaxVariableRecurse": 1, "MaxStringLen": 64, "MaxArrayValues": 64, "MaxStructFields": -1});
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let (taken, answer) = client.timed("ListLocalVars", &json!({"Scope": scope, "Cfg": limits}))?;
        times.push(taken);
        enough(&answer["Variables"], 0)?;
    }
    let mut evaluations = Duration::ZERO;
    for (expression, number) in expressions() {
        let arguments = json!({"Scope": scope, "Expr": expression, "Cfg": limits});
        let (taken, answer) = client.timed("Eval", &arguments)?;
        evaluations += taken;
        right(&expression, number, &answer["Variable"]["value"])?;
    }
    client.timed("Detach", &json!({"Kill": true}))?;
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
