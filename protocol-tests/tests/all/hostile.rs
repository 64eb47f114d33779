//! Input that was never meant well: damaged debug information and random protocol messages. A message and an end are fine; a crash or a hang is not.
//!
//! Each test runs for `SPELUNK_FUZZ_SECONDS`, 3 by default; `SPELUNK_FUZZ_SEED` repeats a run, and each failure names its seed.

use std::fs;
use std::time::{Duration, Instant, SystemTime};

use object::{Object, ObjectSection};
use protocol_tests::corpus::Numbers;
use protocol_tests::dap_client::{DapClient, STEP, SourceBreakpoint};
use protocol_tests::executable::write_executable;
use protocol_tests::failure::{Attempt, Result};
use protocol_tests::headless::Headless;
use protocol_tests::paths;
use protocol_tests::toolchain::{Build, fixture};
use protocol_tests::trace::Tracer;
use serde_json::{Value, json};

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Calls `attempt` with fresh seeds until the time is over; at least three times.
fn for_a_while(mut attempt: impl FnMut(u64) -> Result<()>) -> Result<()> {
    let given = number("SPELUNK_FUZZ_SEED");
    let start = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(1, |since| since.as_nanos() as u64);
    let end = Instant::now() + Duration::from_secs(number("SPELUNK_FUZZ_SECONDS").unwrap_or(3));
    let mut round = 0;
    while round < 3 || Instant::now() < end {
        attempt(given.unwrap_or(start.wrapping_add(round)))?;
        round += 1;
        if given.is_some() {
            break;
        }
    }
    println!("{round} rounds");
    Ok(())
}

/// Only sections that are not loaded are damaged, so the program that spelunk runs is whole.
#[test]
fn damaged_debug_information() -> Result<()> {
    let whole = fs::read(fixture("calls", Build::Opt)?.program).expect("reading the fixture");
    let file = object::File::parse(&*whole).expect("the fixture is an ELF file");
    let ranges: Vec<(u64, u64)> = file
        .sections()
        .filter(|section| section.name().is_ok_and(|name| name.starts_with(".debug_")))
        .filter_map(|section| section.file_range())
        .collect();
    assert!(!ranges.is_empty());
    let here = tempfile::tempdir().expect("a folder");
    let tracer = Tracer::spelunk()?;
    for_a_while(|seed| {
        let mut numbers = Numbers::new(seed);
        let mut damaged = whole.clone();
        let (start, length) = *numbers.pick(&ranges);
        for _ in 0..=numbers.below(40) {
            let at = start as usize + numbers.below(length as usize);
            damaged[at] = if numbers.below(3) == 0 {
                0xff
            } else {
                numbers.next() as u8
            };
        }
        let program = here.path().join(format!("calls-{seed}"));
        write_executable(&program, &damaged)?;
        let traced = tracer.run(&[
            "-v",
            "4",
            "--exec",
            &program.to_string_lossy(),
            r"^main\.",
            "--",
            "many",
        ])?;
        let _ = fs::remove_file(&program);
        assert!(
            !traced.stderr.contains("panicked") && traced.code() < 128,
            "SPELUNK_FUZZ_SEED={seed}, status {}: {}",
            traced.code(),
            traced.stderr
        );
        Ok(())
    })
}

/// A value of some sort, often not of the sort that is wanted.
fn anything(numbers: &mut Numbers, depth: u32) -> Value {
    match numbers.below(if depth == 0 { 6 } else { 8 }) {
        0 => Value::Null,
        1 => json!(numbers.below(2) == 0),
        2 => json!(numbers.next() as i64),
        3 => json!(numbers.below(4)),
        4 => json!("x".repeat(numbers.below(300))),
        5 => json!(["", "/", "{", "{}}{", "main.go", "\u{0}", "💥", "../..", "%d"][numbers.below(9)]),
        6 => (0..numbers.below(4)).map(|_| anything(numbers, depth - 1)).collect(),
        _ => {
            const NAMES: [&str; 9] = [
                "source",
                "path",
                "breakpoints",
                "line",
                "logMessage",
                "program",
                "mode",
                "threadId",
                "arguments",
            ];
            (0..numbers.below(5))
                .map(|_| ((*numbers.pick(&NAMES)).to_owned(), anything(numbers, depth - 1)))
                .collect()
        }
    }
}

#[test]
fn random_requests_are_all_answered() -> Result<()> {
    const COMMANDS: [&str; 14] = [
        "initialize",
        "launch",
        "attach",
        "setBreakpoints",
        "setFunctionBreakpoints",
        "setExceptionBreakpoints",
        "configurationDone",
        "threads",
        "stackTrace",
        "continue",
        "evaluate",
        "pause",
        "source",
        "nonsense",
    ];
    let program = fixture("orders", Build::NoOpt)?;
    for_a_while(|seed| {
        let mut numbers = Numbers::new(seed);
        let mut client = DapClient::start(&paths::spelunk()?)?;
        client.initialize()?;
        if numbers.below(2) == 0 {
            client.try_request(
                "launch",
                json!({"mode": "exec", "program": program.program, "args": ["forever"]}),
            )?;
        }
        for _ in 0..30 {
            let command = *numbers.pick(&COMMANDS);
            let arguments = anything(&mut numbers, 3);
            let seq = client.send(command, arguments.clone())?;
            // Go's own clients fail on a missing answer, so each request gets one, whatever it was.
            client.response_within(seq, STEP).map_err(|failure| {
                protocol_tests::failure::Failure::new(format!(
                    "SPELUNK_FUZZ_SEED={seed}: {command} {arguments}: {failure}"
                ))
            })?;
        }
        let errors = client.server().stderr.text();
        assert!(!errors.contains("panicked"), "SPELUNK_FUZZ_SEED={seed}: {errors}");
        client
            .request("disconnect", json!({"terminateDebuggee": true}))
            .map(drop)
    })
}

/// An expression put together from pieces, seldom a sensible one.
fn expression(numbers: &mut Numbers) -> String {
    const PIECES: [&str; 36] = [
        "point",
        "big",
        "words",
        "named",
        "slice",
        "bytes",
        "pointer",
        "nilPointer",
        "raw",
        "X",
        "Next",
        ".",
        ".",
        "[",
        "]",
        "(",
        ")",
        "*",
        "&",
        "+",
        "-",
        "/",
        "%",
        "<<",
        "==",
        "0",
        "1",
        "-1",
        "1<<62",
        "99999999999999999999",
        "\"one\"",
        "len",
        "*(*int)(8)",
        "*(*\"main.Named\")(0xc000000000)",
        "runtime.curg.goid",
        "{",
    ];
    (0..=numbers.below(6)).map(|_| *numbers.pick(&PIECES)).collect()
}

#[test]
fn random_looks_at_a_stopped_program_are_all_answered() -> Result<()> {
    const COMMANDS: [&str; 12] = [
        "stackTrace",
        "scopes",
        "variables",
        "evaluate",
        "setVariable",
        "exceptionInfo",
        "readMemory",
        "writeMemory",
        "setInstructionBreakpoints",
        "threads",
        "next",
        "stepIn",
    ];
    let program = fixture("kinds", Build::NoOpt)?;
    let line = program.line("main.go", "// stop composites")?;
    for_a_while(|seed| {
        let mut numbers = Numbers::new(seed);
        let mut client = DapClient::start(&paths::spelunk()?)?;
        client.launch(
            json!({"mode": "exec", "program": program.program, "showGlobalVariables": true, "showRegisters": true}),
        )?;
        client.set_breakpoints(&program.source("main.go"), &[SourceBreakpoint::stop(line)])?;
        client.configuration_done()?;
        client.event("stopped")?;
        client.request("stackTrace", json!({"threadId": 1}))?;
        client.request("scopes", json!({"frameId": 1000}))?;
        for _ in 0..60 {
            let command = *numbers.pick(&COMMANDS);
            let mut number = || match numbers.below(8) {
                0 => numbers.next() as i64,
                1 => -1,
                2 => i64::MAX,
                3 => i64::MIN,
                4 => 1,
                _ => 1000 + numbers.below(40) as i64,
            };
            let [reference, start, count, frame, thread] = std::array::from_fn(|_| number());
            let thread = if numbers.below(2) == 0 { 1 } else { thread };
            let filter = *numbers.pick(&["", "named", "indexed", "x"]);
            let arguments = json!({
                "variablesReference": reference, "start": start, "count": count, "filter": filter, "frameId": frame,
                "threadId": thread, "startFrame": start, "levels": count, "expression": expression(&mut numbers),
                "context": *numbers.pick(&["watch", "hover", "repl", "clipboard", ""]), "name": expression(&mut numbers),
                "value": expression(&mut numbers), "memoryReference": format!("{start:#x}"), "offset": start, "data": "QUJD",
                "breakpoints": [{"instructionReference": format!("{start:#x}"), "offset": count}],
                "granularity": *numbers.pick(&["instruction", "line", ""]),
            });
            let seq = client.send(command, arguments.clone())?;
            client.response_within(seq, STEP).map_err(|failure| {
                protocol_tests::failure::Failure::new(format!(
                    "SPELUNK_FUZZ_SEED={seed}: {command} {arguments}: {failure}"
                ))
            })?;
        }
        let errors = client.server().stderr.text();
        assert!(!errors.contains("panicked"), "SPELUNK_FUZZ_SEED={seed}: {errors}");
        client.request("disconnect", json!({})).map(drop)
    })
}

#[test]
fn random_calls_over_json_rpc_are_all_answered() -> Result<()> {
    const METHODS: [&str; 18] = [
        "State",
        "ListGoroutines",
        "Stacktrace",
        "Eval",
        "Set",
        "ListLocalVars",
        "ListFunctionArgs",
        "ListRegisters",
        "ListSources",
        "ListFunctions",
        "FindLocation",
        "Disassemble",
        "ExamineMemory",
        "CreateBreakpoint",
        "AmendBreakpoint",
        "ClearBreakpoint",
        "ListThreads",
        "Nonsense",
    ];
    const NAMES: [&str; 16] = [
        "Id",
        "Scope",
        "GoroutineID",
        "Frame",
        "Expr",
        "Symbol",
        "Value",
        "Breakpoint",
        "file",
        "line",
        "functionName",
        "Cond",
        "Loc",
        "Address",
        "Length",
        "Count",
    ];
    let program = fixture("kinds", Build::NoOpt)?.program;
    for_a_while(|seed| {
        let mut numbers = Numbers::new(seed);
        let mut server = Headless::start(
            &paths::spelunk()?,
            "exec",
            &["--accept-multiclient", &program.to_string_lossy()],
        )?;
        // Whoever sends what is no request hurts nobody but himself.
        for first in ["{", "POST / HTTP/1.1\r\n", "Content-Length: ", "\u{0}", "null"] {
            let mut bytes = first.as_bytes().to_vec();
            bytes.extend((0..numbers.below(300)).map(|_| numbers.next() as u8));
            let mut stream = std::net::TcpStream::connect(&server.address).attempt("connecting")?;
            let _ = std::io::Write::write_all(&mut stream, &bytes);
        }
        let mut client = server.connect()?;
        client.call(
            "CreateBreakpoint",
            &json!({"Breakpoint": {"functionName": "main.main"}}),
        )?;
        client.call("Command", &json!({"name": "continue"}))?;
        for _ in 0..40 {
            let method = *numbers.pick(&METHODS);
            let fields: serde_json::Map<String, Value> = (0..numbers.below(6))
                .map(|_| {
                    let name = (*numbers.pick(&NAMES)).to_owned();
                    let value = match numbers.below(3) {
                        0 => json!(expression(&mut numbers)),
                        1 => json!({"GoroutineID": -1, "Frame": numbers.below(3), *numbers.pick(&NAMES): anything(&mut numbers, 1)}),
                        _ => anything(&mut numbers, 2),
                    };
                    (name, value)
                })
                .collect();
            let pending = client.send(method, &Value::Object(fields.clone()))?;
            client.wait(&pending, STEP).map(drop).map_err(|failure| {
                protocol_tests::failure::Failure::new(format!(
                    "SPELUNK_FUZZ_SEED={seed}: {method} {fields:?}: {failure}"
                ))
            })?;
        }
        let errors = server.server.stderr.text();
        assert!(!errors.contains("panicked"), "SPELUNK_FUZZ_SEED={seed}: {errors}");
        client.call("Detach", &json!({"Kill": true}))?;
        let ended = server.server.finish_within(STEP)?;
        assert_eq!(ended.code(), 0, "SPELUNK_FUZZ_SEED={seed}: {}", ended.stderr);
        Ok(())
    })
}
