//! Which children are followed, and what becomes of the others.

use std::time::{Duration, Instant};

use super::{function, is_gone, launch, stops_in_finish_and_ends};
use crate::debugger::{EndWith, Event};

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
