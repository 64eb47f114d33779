//! Steps that something comes between, and steps of goroutines that are not at the front.

use super::program::{Build, Debugged, Ended, is_breakpoint, line_of, plain};
use crate::debugger::{StepKind, StopReason};
use crate::inspect::Whose;

#[test]
fn a_breakpoint_of_another_goroutine_interrupts_a_step_and_continue_carries_it_on() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.waits", &["waits"]) else {
        return;
    };
    let own = debugged.session.stop().expect("stopped").whose;
    let receive = line_of("note(\"from another goroutine\")") + 3;
    debugged.break_at(&[plain(line_of("note(\"from another goroutine\")"))]);
    while !debugged.place().ends_with(&format!(":{receive}")) {
        debugged.step(StepKind::Over);
        assert_eq!(debugged.stopped().reason, StopReason::Step);
    }
    debugged.step(StepKind::Over);
    let stop = debugged.stopped();
    assert!(is_breakpoint(&stop), "{stop:?}");
    assert_ne!(stop.whose, own);
    assert!(stop.step_interrupted);
    let error = debugged
        .session
        .step(own, StepKind::Over)
        .expect_err("a step is under way");
    assert_eq!(error.to_string(), "next while nexting");
    debugged.go();
    let stop = debugged.stopped();
    assert_eq!(
        (stop.reason, stop.whose, stop.step_interrupted),
        (StopReason::Step, own, false)
    );
    assert_eq!(debugged.place(), format!("main.waits:{}", receive + 1));
    debugged.kill();
}

#[test]
fn a_step_passes_other_goroutines_that_come_to_the_same_lines() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.goroutines", &[]) else {
        return;
    };
    debugged.break_at(&[plain(line_of("c.n += n"))]);
    let own = debugged.session.stop().expect("stopped").whose;
    let mut places = vec![debugged.place()];
    while !debugged.place().starts_with("main.main") {
        debugged.step(StepKind::Over);
        while let stop = debugged.stopped()
            && stop.reason != StopReason::Step
        {
            assert!(
                is_breakpoint(&stop) && stop.step_interrupted && stop.whose != own,
                "{stop:?}"
            );
            debugged.go();
        }
        places.push(debugged.place());
    }
    let lines: Vec<_> = places
        .iter()
        .map(|place| place.rsplit_once(':').map_or("", |(_, line)| line))
        .collect();
    assert_eq!(
        lines.join(" "),
        "134 135 136 137 138 139 140 138 139 140 138 142 143 228"
    );
    debugged.kill();
}

#[test]
fn a_halt_ends_a_step() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.sleeps", &["sleep"]) else {
        return;
    };
    debugged.step(StepKind::Out);
    debugged.session.halt().expect("a stepping program can be halted");
    let stop = debugged.stopped();
    assert_eq!((stop.reason, stop.step_interrupted), (StopReason::Pause, false));
    debugged.kill();
}

#[test]
fn a_parked_goroutine_steps_when_it_runs_again() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.spawned", &[]) else {
        return;
    };
    let own = debugged.session.stop().expect("stopped").whose;
    debugged
        .session
        .step(Whose::Goroutine(1), StepKind::Out)
        .expect("a parked goroutine can be stepped");
    let stop = debugged.stopped();
    assert_eq!((stop.reason, stop.whose), (StopReason::Step, Whose::Goroutine(1)));
    assert_ne!(stop.whose, own);
    debugged.kill();
}

#[test]
fn single_instructions_are_run_also_where_a_breakpoint_is() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    debugged.break_at_function("main.add");
    debugged.go();
    let stop = debugged.stopped();
    let pc = |debugged: &Debugged| debugged.stack(stop.whose).frames[0].pc;
    let mut at = pc(&debugged);
    for _ in 0..10 {
        debugged.step(StepKind::IntoInstruction);
        assert_eq!(debugged.stopped().reason, StopReason::Step);
        let now = pc(&debugged);
        assert_ne!(now, at);
        at = now;
    }
    debugged.session.set_function_breakpoints(&[]);
    debugged.go();
    assert!(matches!(debugged.ended(), Ended::Exited(Some(0))));
}

#[test]
fn a_program_that_is_held_can_be_looked_at_and_stepped_from_its_entry() {
    let Some(debugged) = Debugged::launch(Build::Debug, &[]) else {
        return;
    };
    let stop = debugged.session.stop().expect("a held program is stopped");
    assert_eq!(stop.reason, StopReason::Entry);
    assert_eq!(
        debugged.place().rsplit_once(':').map(|(name, _)| name),
        Some("_rt0_amd64_linux")
    );
    debugged.step(StepKind::IntoInstruction);
    assert_eq!(debugged.stopped().reason, StopReason::Step);
    debugged.break_at_function("main.main");
    debugged.go();
    assert!(is_breakpoint(&debugged.stopped()));
    debugged.kill();
}

#[test]
fn a_goroutine_that_ends_ends_its_step_with_it() {
    let Some(debugged) = Debugged::at(Build::Debug, "main.waits.func1", &["waits"]) else {
        return;
    };
    let own = debugged.session.stop().expect("stopped").whose;
    debugged.break_at(&[plain(line_of("note(\"from another goroutine\")") + 4)]);
    loop {
        debugged.step(StepKind::Over);
        match debugged.ended() {
            Ended::Stopped(stop) if stop.whose == own => assert_eq!(stop.reason, StopReason::Step),
            Ended::Stopped(stop) => {
                assert!(is_breakpoint(&stop), "{stop:?}");
                break;
            }
            Ended::Exited(status) => panic!("the program has ended with {status:?}"),
        }
    }
    debugged.kill();
}
