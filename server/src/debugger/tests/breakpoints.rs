//! Breakpoints: lines, functions, conditions, hit counts.

use super::program::{Build, Debugged, Ended, is_breakpoint, line_of, plain};

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
    let line = line_of("time.Sleep");
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
