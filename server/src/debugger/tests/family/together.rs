//! The processes of a session run and stop together.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::super::program::{Ended, is_breakpoint};
use super::{is_gone, launch, single, soon};
use crate::debugger::{BreakpointTerms, StepKind, StopReason};

#[test]
fn a_stop_in_one_process_stops_all_and_those_that_came_together_are_told_together() {
    let Some(debugged) = launch("", &["together", "3"]) else {
        return;
    };
    let session = &debugged.session;
    let state = session
        .create_breakpoint(single("member", BreakpointTerms::default()))
        .expect("it can be set");
    let (mut names, mut stops) = (Vec::new(), 0);
    loop {
        debugged.go();
        match debugged.ended() {
            Ended::Exited(status) => {
                assert_eq!(status, Some(0));
                break;
            }
            Ended::Stopped(stop) => assert!(is_breakpoint(&stop), "{stop:?}"),
        }
        stops += 1;
        for pid in session.processes().expect("they are stopped") {
            let process = session.of_process(pid);
            for (thread, view) in process.threads_at_breakpoints().expect("it is stopped") {
                assert_eq!(view.id, state.id);
                let states = process.threads().expect("it is stopped");
                assert!(states.iter().any(|state| state.tid == thread));
                names.push(pid);
            }
        }
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(
        names.len(),
        3,
        "each child was shown at the breakpoint once, in {stops} stops"
    );
    let hits = session.breakpoints().expect("they are known");
    let hits = hits.iter().find(|view| view.id == state.id).map(|view| view.hits.total);
    assert_eq!(hits, Some(3));
}

#[test]
fn a_halt_stops_all_and_breakpoints_come_and_go_in_all() {
    let Some(debugged) = launch("", &["loops", "both"]) else {
        return;
    };
    let session = &debugged.session;
    debugged.go();
    soon("the child", || session.processes().is_ok_and(|pids| pids.len() == 2));
    for _ in 0..5 {
        session.halt().expect("they can be halted");
        assert_eq!(debugged.stopped().reason, StopReason::Pause);
        for pid in session.processes().expect("they are stopped") {
            assert!(
                session
                    .of_process(pid)
                    .threads()
                    .is_ok_and(|threads| !threads.is_empty())
            );
        }
        debugged.go();
    }
    // While they run.
    let made = session
        .create_breakpoint(single("double", BreakpointTerms::default()))
        .expect("it can be set");
    let pids: Vec<i32> = made.addresses.iter().map(|at| at.pid).collect();
    assert_eq!(pids, session.processes().expect("they are known"));
    let mut stopped = BTreeSet::new();
    let begun = Instant::now();
    while stopped.len() < 2 {
        assert!(begun.elapsed() < Duration::from_secs(30), "{stopped:?}");
        assert!(is_breakpoint(&debugged.stopped()));
        stopped.insert(session.pid());
        debugged.go();
    }
    debugged.stopped();
    session
        .amend_breakpoint(made.id, BreakpointTerms::default(), false)
        .expect("it can be switched off");
    let views = session.breakpoints().expect("they are known");
    assert!(views.iter().any(|view| view.id == made.id && view.addresses.is_empty()));
    debugged.go();
    session
        .amend_breakpoint(made.id, BreakpointTerms::default(), true)
        .expect("it can be switched on");
    assert!(is_breakpoint(&debugged.stopped()));
    session.clear_breakpoint(made.id).expect("it can be cleared");
    for pid in &pids {
        let physical = session.of_process(*pid).physical_breakpoints().expect("it is stopped");
        let user = |view: &crate::debugger::PhysicalView| view.owner.as_ref().is_some_and(|owner| owner.id.0 > 0);
        assert!(!physical.iter().any(user));
    }
    debugged.go();
    debugged.kill();
    for pid in pids {
        assert!(is_gone(pid));
    }
}

#[test]
fn a_step_is_interrupted_by_another_process_and_goes_on() {
    let Some(debugged) = launch("", &["loops", "both"]) else {
        return;
    };
    let session = &debugged.session;
    let made = session
        .create_breakpoint(single("double", BreakpointTerms::default()))
        .expect("it can be set");
    debugged.go();
    debugged.stopped();
    let first = session.pid();
    // Out of `double`, into the sleep of the loop: the other process comes to its breakpoint meanwhile.
    let begun = Instant::now();
    let mut interruptions = 0;
    while interruptions < 3 {
        assert!(begun.elapsed() < Duration::from_secs(60));
        let stepping = session.pid();
        debugged.step(StepKind::Out);
        loop {
            let stop = debugged.stopped();
            if !stop.step_interrupted {
                break;
            }
            assert!(is_breakpoint(&stop), "{stop:?}");
            assert_ne!(session.pid(), stepping);
            assert!(session.step(stop.whose, StepKind::Over).is_err(), "one step at a time");
            interruptions += 1;
            debugged.go();
        }
        debugged.go();
        debugged.stopped();
    }
    assert!(session.processes().expect("they are stopped").contains(&first));
    session.clear_breakpoint(made.id).expect("it can be cleared");
    debugged.kill();
}
