//! Breakpoints: lines, functions, conditions, hit counts.

use super::program::{Build, Debugged, Ended, is_breakpoint, line_of, plain};
use crate::debugger::{SourceBreakpoint, StopReason};

#[test]
fn a_line_breakpoint_stops_each_time() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    let line = line_of("n += i");
    let states = debugged.break_at(&[plain(line)]);
    assert!(states[0].verified, "{states:?}");
    debugged.go();
    for _ in 0..3 {
        let stop = debugged.stopped();
        assert!(is_breakpoint(&stop), "{stop:?}");
        assert_eq!(debugged.place(), format!("main.loop:{line}"));
        debugged.go();
    }
    assert_eq!(debugged.exited(), Some(0));
}

#[test]
fn a_breakpoint_can_be_set_and_taken_out_while_the_program_runs() {
    let Some(debugged) = Debugged::launch(Build::Debug, &["sleep"]) else {
        return;
    };
    debugged.go();
    let line = line_of("time.Sleep(time.Millisecond)");
    for _ in 0..5 {
        debugged.break_at(&[plain(line)]);
        let stop = debugged.stopped();
        assert!(is_breakpoint(&stop), "{stop:?}");
        assert_eq!(debugged.place(), format!("main.sleeps:{line}"));
        debugged.break_at(&[]);
        debugged.go();
    }
    debugged.kill();
}

#[test]
fn breakpoints_are_found_in_a_position_independent_program() {
    let Some(debugged) = Debugged::launch(Build::Pie, &[]) else {
        return;
    };
    debugged.break_at_function("main.add");
    debugged.go();
    assert!(is_breakpoint(&debugged.stopped()));
    assert_eq!(debugged.place(), format!("main.add:{}", line_of("func add(")));
    debugged.kill();
}

#[test]
fn the_program_ends_when_nothing_stops_it() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    debugged.go();
    assert!(matches!(debugged.ended(), Ended::Exited(Some(0))));
}

#[test]
fn a_condition_is_evaluated_at_each_pass() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    let line = line_of("n += i");
    let wanted = SourceBreakpoint {
        condition: Some("i == 2 && n > 0".to_owned()),
        ..plain(line)
    };
    let states = debugged.break_at(&[wanted]);
    assert!(states[0].verified, "{states:?}");
    debugged.go();
    assert!(is_breakpoint(&debugged.stopped()));
    assert_eq!(
        (debugged.value("i"), debugged.value("n")),
        ("2".to_owned(), "1".to_owned())
    );
    debugged.go();
    assert_eq!(debugged.exited(), Some(0));
}

#[test]
fn a_condition_that_cannot_be_evaluated_stops_and_says_why() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    let wanted = SourceBreakpoint {
        condition: Some("nothing == 2".to_owned()),
        ..plain(line_of("n += i"))
    };
    debugged.break_at(&[wanted]);
    debugged.go();
    let stop = debugged.stopped();
    assert!(
        matches!(&stop.reason, StopReason::Failed(why) if why == "error evaluating expression: could not find symbol value for nothing"),
        "{stop:?}"
    );
    debugged.kill();
}

#[test]
fn a_hit_count_is_that_of_all_goroutines_together() {
    let Some(debugged) = Debugged::launch(Build::Debug, &["workers"]) else {
        return;
    };
    let wanted = SourceBreakpoint {
        hit_condition: Some("% 2000".to_owned()),
        ..plain(line_of("c.n += n"))
    };
    debugged.break_at(&[wanted]);
    debugged.go();
    for times in 1..=4 {
        assert!(is_breakpoint(&debugged.stopped()), "{times}");
        assert_eq!(debugged.value("c.n"), (times * 2000 - 1).to_string());
        debugged.go();
    }
    assert_eq!(debugged.exited(), Some(0));
}

#[test]
fn a_logpoint_beside_a_breakpoint_is_written_before_the_stop() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    let log = SourceBreakpoint {
        log_message: Some("i is {i}".to_owned()),
        condition: Some("i > 0".to_owned()),
        ..plain(line_of("n += i"))
    };
    debugged.break_at(&[log, plain(line_of("for i := 0; i < 3; i++"))]);
    debugged.go();
    let mut all = Vec::new();
    loop {
        let (ended, log) = debugged.ended_with_log();
        all.extend(log);
        if !matches!(ended, Ended::Stopped(_)) {
            break;
        }
        debugged.go();
    }
    assert_eq!(all, ["i is 1", "i is 2"]);
}

#[test]
fn one_place_cannot_have_two_breakpoints_of_a_kind_and_keeps_its_number() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    let line = line_of("n += i");
    let states = debugged.break_at(&[plain(line), plain(line), plain(1)]);
    assert_eq!(states[0].id.0, 1);
    assert_eq!(states[1].message.as_deref(), Some("breakpoint already exists"));
    let why = format!(
        "could not find statement at {}:1, please use a line with a statement",
        super::program::source()
    );
    assert_eq!(states[2].message, Some(why));
    let amended = SourceBreakpoint {
        condition: Some("i == 1".to_owned()),
        ..plain(line)
    };
    let states = debugged.break_at(&[amended]);
    assert_eq!((states[0].id.0, states[0].verified), (1, true));
    debugged.go();
    assert!(is_breakpoint(&debugged.stopped()));
    assert_eq!(debugged.value("i"), "1");
    debugged.kill();
}
