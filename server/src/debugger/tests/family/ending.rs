//! One process ends, or all do: nobody is lost, and nobody is left stopped.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};

use super::super::program::{Build, Debugged, Ended, build, is_breakpoint};
use super::{follow, function, is_gone, launch, soon, stops_in_finish_and_ends};
use crate::debugger::{EndWith, Event, FunctionBreakpoint};

#[test]
fn a_child_that_is_killed_is_missed_by_its_parent_only() {
    for stopped in [true, false] {
        let Some(debugged) = launch("", &["loops"]) else {
            return;
        };
        let session = &debugged.session;
        session.set_function_breakpoints(&[function("finish"), function("double")]);
        debugged.go();
        debugged.stopped();
        let child = session.pid();
        if !stopped {
            session.set_function_breakpoints(&[function("finish")]);
            debugged.go();
        }
        // SAFETY: kill takes two integers. Nobody but us, its tracer, can reap it.
        unsafe { libc::kill(child, libc::SIGKILL) };
        if stopped {
            soon("the child's end", || {
                session.processes().is_ok_and(|pids| pids.len() == 1)
            });
            debugged.go();
        }
        stops_in_finish_and_ends(&debugged);
    }
}

#[test]
fn a_parent_that_is_killed_leaves_its_child_to_the_session() {
    let Some(debugged) = launch("", &["loops", "both"]) else {
        return;
    };
    let session = &debugged.session;
    let parent = session.pid();
    debugged.go();
    soon("the child", || session.processes().is_ok_and(|pids| pids.len() == 2));
    // SAFETY: kill takes two integers. Nobody but us, its tracer, can reap it.
    unsafe { libc::kill(parent, libc::SIGKILL) };
    soon("the parent's end", || {
        session.processes().is_ok_and(|pids| pids.len() == 1)
    });
    let conditional = FunctionBreakpoint {
        condition: Some("n >= 0".to_owned()),
        ..function("double")
    };
    session.set_function_breakpoints(&[conditional]);
    assert!(is_breakpoint(&debugged.stopped()));
    let child = session.pid();
    assert_ne!(child, parent);
    session.end(EndWith::Kill);
    assert!(is_gone(child));
    // Delve names the first process, whichever was the last.
    let last = std::iter::from_fn(|| debugged.events.try_recv()).last();
    assert!(
        matches!(last, Some(Event::Exited { pid, .. }) if pid == parent),
        "{last:?}"
    );
}

/// Whoever ends leaves children behind that are between fork and exec: nobody may be left stopped there.
#[test]
fn what_a_process_leaves_behind_when_it_ends_is_not_stuck() {
    let scratch = tempfile::tempdir().expect("a folder");
    let done = scratch.path().join("done");
    let Some(debugged) = launch("", &["orphan", &done.to_string_lossy()]) else {
        return;
    };
    debugged.go();
    soon("the work of what was left behind", || {
        std::fs::read_to_string(&done).is_ok_and(|text| text == "done")
    });
    debugged.kill();
}

/// What was let go runs on with nothing of ours in it, whichever process it is.
#[test]
fn children_of_an_attached_program_are_let_go_with_it() {
    let Some(program) = build(Build::Family) else {
        return;
    };
    let scratch = tempfile::tempdir().expect("a folder");
    for (round, stops) in [true, false].into_iter().enumerate() {
        let done = scratch.path().join(format!("done-{round}"));
        let mut running = Command::new(&program)
            .arg("slow")
            .arg(&done)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        let output = running.stdout.as_mut().expect("a pipe");
        BufReader::with_capacity(1, output)
            .read_line(&mut line)
            .expect("it writes");
        assert_eq!(line, "ready\n");
        let debugged = Debugged::attach(running.id());
        follow(&debugged, "slow-child");
        let session = &debugged.session;
        session.set_function_breakpoints(&[function("double")]);
        drop(running.stdin.take());
        assert!(is_breakpoint(&debugged.stopped()));
        assert_eq!(session.processes().expect("they are stopped").len(), 2);
        if !stops {
            debugged.go();
        }
        session.end(EndWith::Detach);
        assert!(running.wait().expect("it ends").success());
        let mut said = String::new();
        running
            .stdout
            .take()
            .expect("a pipe")
            .read_to_string(&mut said)
            .expect("it has written");
        assert_eq!(said, "", "a child that had ended otherwise would be named");
        assert_eq!(std::fs::read_to_string(&done).expect("the child is done"), "done");
    }
}

/// A restart ends what there is before it is known whether something comes in its place.
#[test]
fn all_end_to_make_room_for_another_and_their_breakpoints_are_still_told() {
    let Some(debugged) = launch("", &["loops", "both"]) else {
        return;
    };
    let session = &debugged.session;
    let parent = session.pid();
    session.set_function_breakpoints(&[function("double")]);
    debugged.go();
    // Whoever of the two comes first may be alone yet.
    while session.processes().expect("it is stopped").len() < 2 || session.pid() == parent {
        debugged.stopped();
        debugged.go();
    }
    session.halt().expect("they can be halted");
    debugged.stopped();
    let pids = session.processes().expect("they are stopped");
    assert_eq!(pids.len(), 2, "{pids:?}");
    session.kill();
    for pid in &pids {
        assert!(is_gone(*pid), "{pid} of {pids:?}");
    }
    assert!(
        matches!(debugged.ended(), Ended::Exited(_)),
        "the end is told, once for all of them"
    );
    let views = session.breakpoints().expect("they are known");
    assert!(views.iter().any(|view| view.id.0 > 0), "{views:?}");
    session.program().expect("what the binary says is known");
}
