//! Children that are held where they execute a program.

use std::time::Duration;

use spelunk_dwarf::ProcAddr;

use super::testee::{Build, Deadline, Testee, times};
use crate::process::{ExitStatus, Inferior, ProcessEvent};

const LIMIT: Duration = Duration::from_secs(240);

/// What the program says, and those of its children that have its output, every other one.
fn oks(rounds: usize) -> String {
    "ok\n".repeat(rounds / 2 + 1)
}

/// What a process was started with.
fn arguments(pid: i32) -> Vec<String> {
    let read = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).expect("it is there");
    read.split_terminator('\0').map(ToOwned::to_owned).collect()
}

/// Between its birth and its program a child runs over sites of its parent, in the parent's memory or in a copy.
#[test]
fn held_children_notice_no_sites_before_or_after_their_exec() {
    let _deadline = Deadline::new(LIMIT);
    let rounds = times(10);
    for stepping in [false, true] {
        let Some(mut testee) = Testee::launch(Build::Plain, &["family", &rounds.to_string()]) else {
            return;
        };
        testee.inferior.hold_executed(true);
        let mut count = testee.insert_everywhere("syscall.forkAndExecInChild1");
        count += testee.insert_everywhere("main.forkAndExecute");
        count += testee.insert_everywhere("main.leaf");
        assert!(count > 200, "{count} instructions");
        let (mut hits, mut told) = (0, 0);
        let (status, output) = testee.run(|inferior, event| match event {
            ProcessEvent::Site { .. } => {
                hits += 1;
                if stepping && hits % 50 == 0 {
                    inferior.stop_all().expect("it stops");
                    inferior.resume_all().expect("it goes on");
                }
            }
            // `run` lets it go.
            ProcessEvent::ChildExecuted(child) => {
                told += 1;
                assert_eq!(arguments(child.0)[1..], ["passes", "2", "10", "0"]);
            }
            _ => {}
        });
        assert_eq!((status, output), (ExitStatus::Code(0), oks(rounds)));
        assert_eq!(told, rounds);
        assert!(hits > rounds * 20, "{hits} hits in the parent");
    }
}

/// Lets whoever stands still because of an event go on.
fn go_on(inferior: &mut Inferior, event: ProcessEvent) {
    if let ProcessEvent::Site { thread, .. } = event {
        inferior.resume(thread, false).expect("it goes on");
    }
}

#[test]
fn a_child_that_was_taken_has_sites_threads_and_an_end_of_its_own() {
    let _deadline = Deadline::new(LIMIT);
    let rounds = times(8);
    let Some(mut testee) = Testee::launch(Build::Plain, &["family", &rounds.to_string()]) else {
        return;
    };
    let (leaf, _) = testee.function("main.leaf");
    testee.inferior.hold_executed(true);
    testee.inferior.insert_site(leaf).expect("a site");
    testee.inferior.resume_all().expect("it goes on");
    let (mut hits, mut ended): (Vec<usize>, usize) = (vec![0; rounds + 1], 0);
    let mut children: Vec<(usize, Inferior)> = Vec::new();
    let status = loop {
        let known = testee.inferior.news_of_others();
        let mut told = testee
            .inferior
            .poll()
            .expect("it can be asked")
            .map(|event| (None, event));
        for (at, (_, child)) in children.iter_mut().enumerate() {
            if told.is_none() {
                told = child.poll().expect("it can be asked").map(|event| (Some(at), event));
            }
        }
        match told {
            None if known != testee.inferior.news_of_others() => {}
            None => testee.inferior.await_news().expect("there is something to wait for"),
            Some((None, ProcessEvent::ChildExecuted(tid))) => {
                let mut child = testee.inferior.take_child(tid).expect("it is taken");
                assert_eq!(child.threads(), [tid]);
                assert!(child.is_stopped(tid));
                // Its memory has nothing of ours yet, and is the same program at the same place.
                assert!(!child.has_site(leaf));
                child.insert_site(leaf).expect("a site");
                child.resume_all().expect("it goes on");
                children.push((ended + children.len(), child));
            }
            Some((None, ProcessEvent::Exited(status))) => break status,
            Some((None, event)) => {
                if let ProcessEvent::Site { addr, .. } = event {
                    assert_eq!(addr, ProcAddr(leaf.0));
                    hits[rounds] += 1;
                }
                go_on(&mut testee.inferior, event);
            }
            Some((Some(at), ProcessEvent::Exited(status))) => {
                assert_eq!(status, ExitStatus::Code(0));
                children.remove(at);
                ended += 1;
            }
            Some((Some(at), event)) => {
                let (number, child) = &mut children[at];
                if let ProcessEvent::Site { thread, .. } = event {
                    hits[*number] += 1;
                    assert!(child.threads().contains(&thread));
                    if hits[*number].is_multiple_of(5) {
                        // While one of them is being stopped, the other's news waits.
                        child.stop_all().expect("it stops");
                        testee.inferior.stop_all().expect("it stops");
                        testee.inferior.resume_all().expect("it goes on");
                        child.resume_all().expect("it goes on");
                    }
                }
                go_on(child, event);
            }
        }
    };
    assert_eq!((status, testee.output()), (ExitStatus::Code(0), oks(rounds)));
    assert_eq!(ended, rounds);
    // Two threads of each child pass ten times, the parent twice after each.
    let expected: Vec<usize> = (0..rounds).map(|_| 20).chain([2 * rounds]).collect();
    assert_eq!(hits, expected);
}

/// A family is killed in the middle, and let go of in the middle.
#[test]
fn taken_children_end_with_their_tracer_or_go_on_without_it() {
    let _deadline = Deadline::new(LIMIT);
    for kills in [true, false] {
        let Some(mut testee) = Testee::launch(Build::Plain, &["family", "4"]) else {
            return;
        };
        let (leaf, _) = testee.function("main.leaf");
        testee.inferior.hold_executed(true);
        testee.inferior.resume_all().expect("it goes on");
        let mut child = loop {
            if let ProcessEvent::ChildExecuted(tid) = testee.inferior.next_event().expect("an event") {
                break testee.inferior.take_child(tid).expect("it is taken");
            }
        };
        child.insert_site(leaf).expect("a site");
        child.resume_all().expect("it goes on");
        loop {
            if let ProcessEvent::Site { .. } = child.next_event().expect("an event") {
                break;
            }
        }
        child.stop_all().expect("it stops");
        let pid = child.pid();
        if kills {
            assert_eq!(child.kill(), ExitStatus::Signal(libc::SIGKILL));
            assert_eq!(testee.inferior.kill(), ExitStatus::Signal(libc::SIGKILL));
            assert!(
                !std::path::Path::new(&format!("/proc/{pid}/exe")).exists(),
                "it is gone"
            );
        } else {
            child.detach().expect("it is let go");
            let (status, output) = testee.run(|_, _| {});
            assert_eq!((status, output), (ExitStatus::Code(0), oks(4)));
        }
    }
}
