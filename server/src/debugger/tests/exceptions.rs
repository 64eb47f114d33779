//! Panics, fatal errors, and breakpoints that the program brings with it.

use super::program::{Build, Debugged, Ended, line_of, plain};
use crate::debugger::{EndWith, Event, SourceBreakpoint, StepKind, StopReason};

#[test]
fn a_panic_that_nothing_recovers_stops_before_the_stack_is_gone() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.main", &["panic"]) else {
        return;
    };
    debugged.go();
    let stop = debugged.stopped();
    assert_eq!(
        stop.reason,
        StopReason::UnrecoveredPanic {
            value: Some("\"no recovery from 2\"".to_owned())
        }
    );
    let stack = debugged.stack(stop.whose);
    let main = stack
        .frames
        .iter()
        .find(|frame| frame.location.function.as_deref() == Some("main.main"))
        .expect("main.main is on the stack");
    assert_eq!(main.location.line, line_of("panic(fmt.Sprintf("));
    debugged.go();
    assert_eq!(debugged.exited(), Some(2));
}

#[test]
fn a_step_ends_at_a_panic_that_nothing_recovers() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.main", &["panic"]) else {
        return;
    };
    for _ in 0..30 {
        debugged.step(StepKind::Over);
        let stop = debugged.stopped();
        if stop.reason == StopReason::Step {
            continue;
        }
        assert!(matches!(stop.reason, StopReason::UnrecoveredPanic { .. }), "{stop:?}");
        assert!(!stop.step_interrupted);
        return debugged.kill();
    }
    panic!("no panic at {}", debugged.place());
}

#[test]
fn a_fatal_error_stops_with_its_text() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.main", &["throw"]) else {
        return;
    };
    debugged.go();
    let stop = debugged.stopped();
    assert_eq!(
        stop.reason,
        StopReason::FatalThrow {
            text: Some("\"sync: unlock of unlocked mutex\"".to_owned())
        }
    );
    debugged.go();
    assert_eq!(debugged.exited(), Some(2));
}

#[test]
fn a_breakpoint_of_the_programs_own_is_shown_where_it_was_called() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.stop", &["breakpoint"]) else {
        return;
    };
    debugged.go();
    let stop = debugged.stopped();
    assert_eq!(stop.reason, StopReason::HardcodedBreakpoint);
    // The call has returned, and its line is done: this is where Delve shows it too.
    let next = line_of("note(\"went on\")");
    assert_eq!(debugged.place(), format!("main.stop:{next}"));
    debugged.step(StepKind::Over);
    assert_eq!(debugged.stopped().reason, StopReason::Step);
    assert_eq!(debugged.place(), format!("main.stop:{}", next + 1));
    debugged.go();
    assert_eq!(debugged.exited(), Some(0));
}

#[test]
fn a_panic_or_fatal_error_in_an_untraced_program_stops_it_all_the_same() {
    for (argument, throws) in [("panic", false), ("throw", true)] {
        let Some(debugged) = Debugged::launch(Build::Debug, &[argument]) else {
            return;
        };
        debugged.go();
        let stop = debugged.stopped();
        match stop.reason {
            StopReason::UnrecoveredPanic { value } if !throws => {
                assert_eq!(value.as_deref(), Some("\"no recovery from 2\""));
            }
            StopReason::FatalThrow { text } if throws => {
                assert_eq!(text.as_deref(), Some("\"sync: unlock of unlocked mutex\""));
            }
            other => panic!("{other:?}"),
        }
        let stack = debugged.stack(stop.whose);
        assert!(
            stack
                .frames
                .iter()
                .any(|frame| frame.location.function.as_deref() == Some("main.main"))
        );
        debugged.go();
        assert_eq!(debugged.exited(), Some(2));
    }
}

#[test]
fn a_program_with_logpoints_alone_is_not_traced() {
    let Some(debugged) = Debugged::launch(Build::Debug, &["sleep"]) else {
        return;
    };
    let log = SourceBreakpoint {
        log_message: Some("sleeping".to_owned()),
        ..plain(line_of("time.Sleep(time.Millisecond)"))
    };
    let states = debugged.break_at(&[log]);
    assert!(states[0].verified, "{states:?}");
    debugged.go();
    assert!(matches!(debugged.next(), Event::Log { .. }));
    let status = format!("/proc/{}/status", debugged.session.pid());
    let tracer = || {
        let status = std::fs::read_to_string(&status).expect("the program is there");
        let line = status
            .lines()
            .find(|line| line.starts_with("TracerPid:"))
            .map(str::to_owned);
        line.expect("a line for the tracer").contains("\t0")
    };
    assert!(tracer());
    debugged.session.halt().expect("an untraced program can be halted");
    let (ended, _) = debugged.ended_with_log();
    assert!(matches!(ended, Ended::Stopped(_)));
    assert!(!tracer());
    // Its logpoint still logs.
    debugged.go();
    assert!(matches!(debugged.next(), Event::Log { .. }));
    debugged.session.end(EndWith::Kill);
}
