//! `trace --ebpf=false`: calls and returns by stopping the program, with the text of the kernel's trace.

use std::process::Command;

use nix::sys::signal::Signal;
use protocol_tests::child::{ChildGroup, tracer_of, wait_until};
use protocol_tests::dap_client::STEP;
use protocol_tests::failure::Result;
use protocol_tests::toolchain::{Build, fixture};
use protocol_tests::trace::Tracer;

/// The text without what differs from one run to the next.
fn normalised(text: &str) -> String {
    let address = regex::Regex::new("0x[0-9a-f]+").expect("a pattern");
    let process = regex::Regex::new(r"Process \d+").expect("a pattern");
    process
        .replace_all(&address.replace_all(text, "0xADDRESS"), "Process N")
        .into_owned()
}

/// What the fixture can be asked for that one goroutine does alone and that ends without a word of the runtime: the lines of a trace and
/// those of the program share standard error, and a kernel's trace is told a moment after the call.
const WAYS_TO_CALL: [&str; 4] = ["methods", "recursion", "panic", "many"];

#[test]
fn the_text_is_that_of_the_kernels_trace() -> Result<()> {
    for build in [Build::NoOpt, Build::Opt] {
        let program = fixture("calls", build)?.program;
        for way in WAYS_TO_CALL {
            let args = ["-v", "2", "--exec", &program.to_string_lossy(), "^main\\.", "--", way];
            let (kernel, stops) = (Tracer::spelunk()?.run(&args)?, Tracer::spelunk_by_stops()?.run(&args)?);
            assert!(kernel.stderr.contains("goroutine(1): main."), "{}", kernel.stderr);
            assert_eq!(stops.stdout, kernel.stdout, "the program does the same");
            assert_eq!(
                normalised(&stops.stderr),
                normalised(&kernel.stderr),
                "{build:?}, {way}"
            );
        }
    }
    Ok(())
}

#[test]
fn a_process_goes_on_when_its_trace_ends() -> Result<()> {
    let built = fixture("counter", Build::Opt)?;
    let mut running = ChildGroup::start(&mut Command::new(&built.program))?;
    let pid = running.pid();
    for _ in 0..3 {
        let mut trace = Tracer::spelunk_by_stops()?.start(&["-p", &pid.to_string(), "^main\\."])?;
        trace.stderr.wait_for("a traced call", STEP, |text| {
            text.contains("> goroutine(").then_some(())
        })?;
        assert_ne!(tracer_of(pid), Some(0), "it is a tracee meanwhile");
        trace.signal(Signal::SIGINT)?;
        let ended = trace.finish_within(STEP)?;
        assert_eq!(ended.code(), 0);
        wait_until("the process to be let go", STEP, || {
            (tracer_of(pid) == Some(0)).then_some(())
        })?;
        let so_far = running.stdout.text().len();
        running
            .stdout
            .wait_for("the program to go on", STEP, |text| (text.len() > so_far).then_some(()))?;
    }
    assert!(running.poll()?.is_none());
    Ok(())
}

#[test]
fn an_interrupt_ends_a_launched_program() -> Result<()> {
    let program = fixture("counter", Build::NoOpt)?.program;
    let mut trace = Tracer::spelunk_by_stops()?.start(&["--exec", &program.to_string_lossy(), "^main\\."])?;
    trace.stderr.wait_for("a traced call", STEP, |text| {
        text.contains("> goroutine(").then_some(())
    })?;
    trace.signal(Signal::SIGINT)?;
    let ended = trace.finish_within(STEP)?;
    assert_eq!(ended.code(), 0);
    Ok(())
}

#[test]
fn without_the_kernel_one_line_says_why_and_stops_do_it() -> Result<()> {
    let program = fixture("calls", Build::NoOpt)?.program;
    let mut command = Tracer::spelunk()?.command(&["--exec", &program.to_string_lossy(), "^main\\."]);
    // Where the kernel's types cannot be read, nothing can be loaded.
    command.env("SPELUNK_BTF", "/nonexistent");
    let traced = protocol_tests::child::run(&mut command, STEP)?;
    let said: Vec<&str> = traced
        .stderr
        .lines()
        .filter(|line| line.contains("tracing with ptrace"))
        .collect();
    assert_eq!(said.len(), 1, "{}", traced.stderr);
    assert!(traced.stderr.contains("> goroutine(1): main."), "{}", traced.stderr);

    let mut command = Tracer::spelunk()?.command(&["--ebpf", "--exec", &program.to_string_lossy(), "^main\\."]);
    command.env("SPELUNK_BTF", "/nonexistent");
    let refused = protocol_tests::child::run(&mut command, STEP)?;
    assert_eq!(refused.code(), 1, "the kernel was asked for: {}", refused.stderr);
    Ok(())
}
