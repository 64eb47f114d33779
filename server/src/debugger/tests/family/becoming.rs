//! Processes that execute another program themselves.

use std::time::Duration;

use super::super::program::{Build, Debugged, build, is_breakpoint};
use super::{follow, function, is_gone, launch, soon};
use crate::debugger::{EndWith, Event, StepKind, StopReason};

#[test]
fn a_program_that_becomes_another_is_followed() {
    let Some(debugged) = launch("member", &["becomes"]) else {
        return;
    };
    let session = &debugged.session;
    session.set_function_breakpoints(&[function("begin"), function("member")]);
    debugged.go();
    debugged.stopped();
    let pid = session.pid();
    debugged.go();
    assert!(is_breakpoint(&debugged.stopped()));
    assert_eq!(
        (session.pid(), session.processes().expect("it is stopped")),
        (pid, vec![pid])
    );
    assert_eq!(debugged.value("name"), "\"itself\"");
    debugged.step(StepKind::Over);
    assert_eq!(debugged.stopped().reason, StopReason::Step);
    debugged.go();
    assert_eq!(debugged.exited(), Some(0));
}

/// Waits until the debugger says that the program has become another one, and nobody traces that any more.
fn lets_what_it_became_go(debugged: &Debugged, pid: i32) {
    debugged.go();
    loop {
        match debugged.next() {
            Event::Notice(text) if text.contains("has executed another one") => break,
            Event::Spawned { .. } => {}
            event => panic!("{event:?}"),
        }
    }
    soon("the end of tracing", || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains("TracerPid:\t0\n")
    });
}

/// It passes places where breakpoints lay, and stands nowhere. What it comes to is learnt from the kernel.
#[test]
fn a_program_that_becomes_another_which_is_not_followed_goes_on_by_itself() {
    let itself = "/proc/self/exe";
    let follows = [None, Some("nobody")];
    for (follow_which, words) in follows.into_iter().flat_map(|which| {
        [
            vec![itself, "loop"],
            vec![itself, "member", "itself"],
            vec!["/bin/sh", "-c", "exit 7"],
        ]
        .map(move |words| (which, words))
    }) {
        let Some(debugged) = Debugged::launch(Build::Family, &[&["becomes"], &*words].concat()) else {
            return;
        };
        if let Some(which) = follow_which {
            follow(&debugged, which);
        }
        let session = &debugged.session;
        session.set_function_breakpoints(&[function("begin"), function("double"), function("member")]);
        let pid = session.pid();
        debugged.go();
        debugged.stopped();
        if words.last() == Some(&"loop") {
            lets_what_it_became_go(&debugged, pid);
            std::thread::sleep(Duration::from_millis(50));
            assert!(!is_gone(pid), "it passes a place where an int3 was");
            assert!(session.halt().is_err(), "nobody can stop it");
            debugged.kill();
        } else {
            debugged.go();
            let status = if words[0] == itself { 0 } else { 7 };
            assert_eq!(debugged.exited(), Some(status), "{follow_which:?} {words:?}");
        }
        let left = std::fs::read_to_string(format!("/proc/{pid}/stat"));
        assert!(left.is_err(), "nobody has waited for it: {left:?}");
    }
}

/// A shell says nothing about itself: beside other targets it is traced for the sake of its children, and alone it is let go with them.
#[test]
fn what_a_program_becomes_is_passed_through_beside_others() {
    let Some(program) = build(Build::Family) else {
        return;
    };
    let script = format!("{} member late; sleep 0.2", program.display());
    for beside in [true, false] {
        let what = if beside { "becomes-beside-loop" } else { "becomes" };
        let Some(debugged) = launch("", &[what, "/bin/sh", "-c", &script]) else {
            return;
        };
        let session = &debugged.session;
        session.set_function_breakpoints(&[function("begin"), function("member")]);
        let first = session.pid();
        debugged.go();
        debugged.stopped();
        debugged.go();
        if beside {
            assert!(is_breakpoint(&debugged.stopped()));
            assert_eq!(debugged.value("name"), "\"late\"");
            let processes = session.processes().expect("they are stopped");
            assert!(processes.len() == 2 && !processes.contains(&first), "{processes:?}");
            debugged.go();
            soon("the end of what it became", || is_gone(first));
            session.end(EndWith::Kill);
            assert!(processes.into_iter().all(is_gone));
        } else {
            assert_eq!(debugged.exited(), Some(0));
        }
    }
}
