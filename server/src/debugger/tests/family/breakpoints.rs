//! Breakpoints, conditions and logpoints in children.

use std::collections::BTreeSet;

use super::super::program::{Build, Ended, is_breakpoint, source_of};
use super::{function, launch, single};
use crate::debugger::{
    BreakpointId, BreakpointPlace, BreakpointRequest, BreakpointTerms, FunctionBreakpoint, SourceBreakpoint, StepKind,
    StopReason,
};
use crate::inspect::Whose;

#[test]
fn breakpoints_lie_in_children_and_the_selected_process_is_the_one_that_stopped() {
    let Some(debugged) = launch("", &["one-by-one", "2"]) else {
        return;
    };
    let session = &debugged.session;
    session.set_function_breakpoints(&[function("begin"), function("member"), function("finish")]);
    debugged.go();
    debugged.stopped();
    let parent = session.pid();
    assert_eq!(
        (session.processes().expect("it is stopped"), debugged.value("children")),
        (vec![parent], "2".into())
    );
    let mut seen = BTreeSet::new();
    for name in ["C0", "C1"] {
        debugged.go();
        assert!(is_breakpoint(&debugged.stopped()));
        let child = session.pid();
        assert!(child != parent && seen.insert(child));
        assert_eq!(session.processes().expect("they are stopped"), [parent, child]);
        assert_eq!(debugged.value("name"), format!("{name:?}"));
        assert!(debugged.place().starts_with("main.member:"), "{}", debugged.place());
        debugged.step(StepKind::Over);
        assert_eq!(debugged.stopped().reason, StopReason::Step);
        debugged.step(StepKind::Over);
        assert_eq!(
            (debugged.stopped().reason, debugged.value("size")),
            (StopReason::Step, "2".into())
        );
        // The parent waits in the kernel, and can be looked at all the same.
        let other = session.of_process(parent);
        let stack = other.stack(Whose::Goroutine(1), 50).expect("it has a stack");
        let main = stack
            .frames
            .iter()
            .any(|frame| frame.location.function.as_deref() == Some("main.main"));
        assert!(main, "{stack:?}");
        assert_eq!(session.pid(), child);
        session.select_process(parent).expect("it is a target");
        assert_eq!(
            (session.pid(), debugged.value("name").contains("error")),
            (parent, true)
        );
        session.select_process(child).expect("it is a target");
        // Its end is nobody's stop.
    }
    debugged.go();
    assert!(is_breakpoint(&debugged.stopped()));
    assert_eq!(
        (session.pid(), session.processes().expect("it is stopped")),
        (parent, vec![parent])
    );
    assert_eq!(debugged.value("children"), "2");
    debugged.go();
    assert_eq!(debugged.exited(), Some(0));
}

/// In the process that the session begins with the kernel decides these; in the children nobody but we can.
#[test]
fn conditions_and_hit_conditions_hold_in_children() {
    let Some(debugged) = launch("", &["one-by-one", "4"]) else {
        return;
    };
    let conditional = |condition: &str, hits: &str| FunctionBreakpoint {
        condition: Some(condition.to_owned()).filter(|text| !text.is_empty()),
        hit_condition: Some(hits.to_owned()).filter(|text| !text.is_empty()),
        ..function("member")
    };
    debugged
        .session
        .set_function_breakpoints(&[conditional("name == \"C1\"", "")]);
    debugged.go();
    debugged.stopped();
    assert_eq!(debugged.value("name"), "\"C1\"");
    debugged.session.set_function_breakpoints(&[conditional("", "== 3")]);
    // Counted over all processes: this one had been passed once with a condition that was true.
    debugged.go();
    debugged.stopped();
    assert_eq!(debugged.value("name"), "\"C3\"");
    debugged.go();
    assert_eq!(debugged.exited(), Some(0));
}

/// Hits are counted in one place, whether the kernel sees them or we.
#[test]
fn hits_of_all_processes_are_counted_together() {
    for (hits, name) in [("== 5", "\"C2\""), ("== 6", "")] {
        let Some(debugged) = launch("", &["one-by-one", "4"]) else {
            return;
        };
        let parent = debugged.session.pid();
        // Each child passes once, and the parent after it.
        debugged.session.set_function_breakpoints(&[FunctionBreakpoint {
            hit_condition: Some(hits.to_owned()),
            ..function("double")
        }]);
        debugged.go();
        debugged.stopped();
        assert_eq!(debugged.session.pid() == parent, name.is_empty(), "{hits}");
        if name.is_empty() {
            assert_eq!(debugged.value("n"), "2");
        } else {
            debugged.step(StepKind::Out);
            debugged.stopped();
            assert_eq!(debugged.value("name"), name);
        }
        debugged.go();
        assert_eq!(debugged.exited(), Some(0));
    }
}

#[test]
fn logpoints_log_in_children() {
    let Some(debugged) = launch("", &["one-by-one", "3"]) else {
        return;
    };
    let text = std::fs::read_to_string(source_of(Build::Family)).expect("the fixture can be read");
    let line = (1..)
        .zip(text.lines())
        .find(|(_, line)| line.contains("size += double"));
    let states = debugged.session.set_source_breakpoints(
        &source_of(Build::Family),
        &[SourceBreakpoint {
            line: line.expect("the line is there").0,
            log_message: Some("{name} has {size}".to_owned()),
            condition: None,
            hit_condition: None,
        }],
    );
    assert!(states[0].verified, "{states:?}");
    debugged.go();
    let (ended, log) = debugged.ended_with_log();
    assert!(matches!(ended, Ended::Exited(Some(0))), "{ended:?}");
    assert_eq!(log, ["\"C0\" has 2", "\"C1\" has 2", "\"C2\" has 2"]);
}

#[test]
fn a_breakpoint_by_address_belongs_to_one_process() {
    let Some(debugged) = launch("", &["one-by-one", "2"]) else {
        return;
    };
    let session = &debugged.session;
    session.set_function_breakpoints(&[function("begin")]);
    debugged.go();
    debugged.stopped();
    let by_name = session
        .create_breakpoint(single("member", BreakpointTerms::default()))
        .expect("it can be set");
    let addr = by_name.addresses[0].addr;
    session.clear_breakpoint(by_name.id).expect("it can be cleared");
    let request = BreakpointRequest {
        place: BreakpointPlace::Addresses(vec![(session.pid(), addr)]),
        ..single("member", BreakpointTerms::default())
    };
    session.create_breakpoint(request).expect("it can be set");
    session
        .create_breakpoint(single("double", BreakpointTerms::default()))
        .expect("it can be set");
    debugged.go();
    debugged.stopped();
    assert!(debugged.place().starts_with("main.double:"), "{}", debugged.place());
    let child = session.pid();
    let request = BreakpointRequest {
        place: BreakpointPlace::Addresses(vec![(child, addr)]),
        ..single("member", BreakpointTerms::default())
    };
    let made = session.create_breakpoint(request).expect("it can be set");
    assert_eq!(made.addresses.iter().map(|at| at.pid).collect::<Vec<_>>(), [child]);
    assert!(made.id > BreakpointId(0));
    debugged.kill();
}
