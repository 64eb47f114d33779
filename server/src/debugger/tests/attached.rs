//! Programs that were running before: they are debugged, let go, and run on as if nothing had been.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use super::calls::wish;
use super::program::{Build, Copy, Debugged, build, is_breakpoint, line_of, plain};
use crate::debugger::{EndWith, SourceBreakpoint, StepKind, StopReason};

/// A program that counts for itself, and ends when it is dropped.
struct Running(Child, #[allow(dead_code, reason = "deleted when it is dropped")] Copy);

impl Running {
    fn start(argument: &str) -> Option<Running> {
        let program = Copy::of(&build(Build::Debug)?);
        let child = Command::new(&program.0)
            .arg(argument)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the program starts");
        Some(Running(child, program))
    }

    /// The next line that it writes.
    fn line(&mut self) -> String {
        let output = self.0.stdout.as_mut().expect("the output is a pipe");
        let mut line = String::new();
        BufReader::with_capacity(1, output)
            .read_line(&mut line)
            .expect("the program writes");
        line
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_attached_program_is_debugged_and_let_go_as_it_was() {
    let Some(mut running) = Running::start("ticks") else {
        return;
    };
    assert_eq!(running.line(), "0\n");
    for round in 0..5 {
        let debugged = Debugged::attach(running.0.id());
        debugged.break_at(&[plain(line_of("fmt.Println(n)"))]);
        let stop = debugged.stopped();
        assert!(is_breakpoint(&stop), "{stop:?}");
        debugged.step(StepKind::Into);
        assert_eq!(debugged.stopped().reason, StopReason::Step);
        if round % 2 == 0 {
            // Let go while it runs over the breakpoint, else where it stands.
            debugged.break_at(&[]);
            debugged.break_at(&[SourceBreakpoint {
                condition: Some("n < 0".to_owned()),
                ..plain(line_of("fmt.Println(n)"))
            }]);
            debugged.go();
        }
        debugged.session.end(EndWith::Detach);
        let before: u64 = running.line().trim().parse().expect("a number");
        let after: u64 = running.line().trim().parse().expect("a number");
        assert_eq!(after, before + 1);
    }
}

#[test]
fn a_session_that_is_dropped_lets_an_attached_program_go() {
    let Some(mut running) = Running::start("ticks") else {
        return;
    };
    running.line();
    let debugged = Debugged::attach(running.0.id());
    debugged.session.halt().expect("an attached program can be halted");
    assert_eq!(debugged.stopped().reason, StopReason::Pause);
    drop(debugged);
    running.line();
    running.line();
}

#[test]
fn a_logpoint_that_only_a_stop_could_serve_is_refused_on_an_attached_program() {
    let Some(mut running) = Running::start("ticks") else {
        return;
    };
    running.line();
    let debugged = Debugged::attach(running.0.id());
    let states = debugged.break_at(&[SourceBreakpoint {
        condition: Some("os.Args[0] + \"x\" != \"\"".to_owned()),
        log_message: Some("{n}".to_owned()),
        ..plain(line_of("fmt.Println(n)"))
    }]);
    assert!(!states[0].verified);
    let why = states[0].message.as_deref().unwrap_or_default();
    assert!(why.contains("only be served by stopping the program"), "{why}");
    debugged.session.end(EndWith::Detach);
    running.line();
}

#[test]
fn a_call_that_is_pending_when_the_program_is_let_go_does_it_no_harm() {
    let Some(mut running) = Running::start("ticks") else {
        return;
    };
    assert_eq!(running.line(), "0\n");
    let debugged = Debugged::attach(running.0.id());
    debugged.break_at(&[plain(line_of("fmt.Println(n)"))]);
    let stop = debugged.stopped();
    debugged.break_at_function("main.recursion");
    let begun = debugged
        .session
        .call_expression(wish(&stop, "recursion(2) + recursion(1)"));
    begun.expect("a call can be made");
    let stop = debugged.stopped();
    assert!(is_breakpoint(&stop), "{stop:?}");
    assert!(debugged.place().starts_with("main.recursion:"), "{}", debugged.place());
    debugged.session.end(EndWith::Detach);
    let first: u64 = running.line().trim().parse().expect("it counts");
    let second: u64 = running.line().trim().parse().expect("it counts on");
    assert_eq!(second, first + 1);
}
