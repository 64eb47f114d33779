//! Sessions with several processes: children that are followed.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::program::{Build, Debugged, Ended, build, is_breakpoint, source_of};
use crate::debugger::{
    BreakpointId, BreakpointPlace, BreakpointRequest, BreakpointTerms, EndWith, Event, FollowChildren,
    FunctionBreakpoint, SourceBreakpoint, StepKind, StopReason,
};
use crate::inspect::Whose;

/// Launches the program, its children followed where their command line matches.
fn launch(regex: &str, args: &[&str]) -> Option<Debugged> {
    let debugged = Debugged::launch(Build::Family, args)?;
    follow(&debugged, regex);
    Some(debugged)
}

fn follow(debugged: &Debugged, regex: &str) {
    let follow = FollowChildren::matching(regex).expect("an expression");
    debugged
        .session
        .follow_children(Some(follow))
        .expect("they can be followed");
}

fn function(name: &str) -> FunctionBreakpoint {
    FunctionBreakpoint {
        function: format!("main.{name}"),
        condition: None,
        hit_condition: None,
    }
}

/// One breakpoint as clients of Delve's JSON-RPC make it.
fn single(function: &str, terms: BreakpointTerms) -> BreakpointRequest {
    BreakpointRequest {
        id: 0,
        place: BreakpointPlace::Function(format!("main.{function}"), 0),
        expression: None,
        suspended: false,
        terms,
    }
}

fn is_gone(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(')')
        .is_none_or(|(_, rest)| rest.trim_start().starts_with(['Z', 'X']))
}

/// Waits for something that must come.
fn soon(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < Duration::from_secs(30), "{what} did not come");
        // A target that stands still is looked at when nobody asks for anything.
        std::thread::sleep(Duration::from_millis(70));
    }
}

/// The program comes to `main.finish`, and from there to its end.
fn stops_in_finish_and_ends(debugged: &Debugged) {
    debugged.stopped();
    assert!(debugged.place().starts_with("main.finish:"), "{}", debugged.place());
    debugged.go();
    assert_eq!(debugged.exited(), Some(0));
}

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
fn only_wanted_children_are_followed() {
    let Some(debugged) = launch("member C[02]$", &["one-by-one", "4"]) else {
        return;
    };
    debugged.session.set_function_breakpoints(&[function("member")]);
    for name in ["\"C0\"", "\"C2\""] {
        debugged.go();
        debugged.stopped();
        assert_eq!(debugged.value("name"), name);
    }
    // Nobody is followed from now on, and who was stays.
    debugged.session.follow_children(None).expect("they are not followed");
    assert_eq!(debugged.session.processes().expect("they are stopped").len(), 2);
    debugged.go();
    assert_eq!(debugged.exited(), Some(0));
}

/// What a shell starts, and what it becomes.
#[test]
fn children_of_programs_that_are_not_gos_are_followed() {
    for kills in [false, true] {
        let Some(debugged) = launch("", &["shell"]) else {
            return;
        };
        let session = &debugged.session;
        session.set_function_breakpoints(&[function("member"), function("finish")]);
        let parent = session.pid();
        for name in ["\"first\"", "\"second\""] {
            debugged.go();
            debugged.stopped();
            assert_eq!(debugged.value("name"), name);
            let processes = session.processes().expect("they are stopped");
            assert_eq!(processes, [parent, session.pid()]);
            if kills {
                let shell = std::fs::read_to_string(format!("/proc/{}/stat", session.pid())).expect("it is there");
                let shell = shell
                    .rsplit_once(')')
                    .and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
                session.end(EndWith::Kill);
                assert!(shell.is_some_and(is_gone) && processes.into_iter().all(is_gone));
                return;
            }
        }
        debugged.go();
        stops_in_finish_and_ends(&debugged);
    }
}

/// A shell, and what that starts: they say what they say without a debugger.
#[test]
fn programs_that_are_not_gos_go_on() {
    let Some(debugged) = launch("", &["foreign"]) else {
        return;
    };
    debugged.session.set_function_breakpoints(&[function("finish")]);
    debugged.go();
    let (mut output, mut spawned) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        assert!(Instant::now() < deadline);
        match debugged.events.try_recv() {
            Some(Event::Stdout(bytes)) => output.extend(bytes),
            Some(Event::Spawned {
                command_line,
                is_wanted,
                ..
            }) => spawned.push((command_line, is_wanted)),
            Some(Event::Stopped(_)) => break,
            Some(event) => panic!("{event:?}"),
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    }
    assert_eq!(String::from_utf8_lossy(&output), "42\n<nil>\n");
    let commands = ["/bin/sh -c \"/bin/echo $((6 * 7))\"", "/bin/echo 42"];
    assert_eq!(spawned, commands.map(|command| (command.to_owned(), true)));
    debugged.kill();
}

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
