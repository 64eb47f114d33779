//! Panics, fatal errors, and breakpoints that the program brings with it.

use super::program::{Build, Debugged, line_of};
use crate::debugger::{StepKind, StopReason};

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
