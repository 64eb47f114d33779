//! Threads, children and programs come and go at any moment.

use std::time::Duration;

use super::testee::{Build, Deadline, Testee, Untraced, times};
use crate::process::{ExitStatus, Inferior, Launch, ProcessError, ProcessEvent, Seize};

const LIMIT: Duration = Duration::from_secs(240);

fn random(below: u64) -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() % below
}

#[test]
fn threads_are_born_and_end_at_any_moment() {
    let _deadline = Deadline::new(LIMIT);
    let rounds = times(100);
    let Some(mut testee) = Testee::launch(Build::Plain, &["births", &rounds.to_string()]) else {
        return;
    };
    let (leaf, _) = testee.function("main.leaf");
    testee.inferior.insert_site(leaf).expect("a site");
    let (mut born, mut gone, mut hits) = (0, 0, 0);
    let (status, output) = testee.run(|inferior, event| match event {
        ProcessEvent::ThreadBorn(_) => born += 1,
        ProcessEvent::ThreadGone(_) => gone += 1,
        ProcessEvent::Site { thread, .. } => {
            hits += 1;
            assert!(inferior.threads().contains(&thread));
            if hits % 10 == 0 {
                inferior.stop_all().expect("it stops");
                inferior.resume_all().expect("it goes on");
            }
        }
        _ => {}
    });
    assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
    assert_eq!(hits, rounds * 13);
    assert!(born >= rounds && gone >= rounds * 3, "{born} born, {gone} gone");
}

/// Go starts processes by vfork(2): the child runs in the program's memory, over our sites, until it executes its program.
#[test]
fn children_do_not_notice_sites() {
    let _deadline = Deadline::new(LIMIT);
    let rounds = times(30);
    for stepping in [false, true] {
        let Some(mut testee) = Testee::launch(Build::Plain, &["forks", &rounds.to_string()]) else {
            return;
        };
        // Where the child runs, among others.
        let mut count = testee.insert_everywhere("syscall.forkAndExecInChild1");
        count += testee.insert_everywhere("main.leaf");
        assert!(count > 200, "{count} instructions");
        let mut hits = 0;
        let (status, output) = testee.run(|inferior, event| {
            if let ProcessEvent::Site { .. } = event {
                hits += 1;
                if stepping && hits % 50 == 0 {
                    inferior.stop_all().expect("it stops");
                    inferior.resume_all().expect("it goes on");
                }
            }
        });
        assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
        assert!(hits > rounds * 20, "{hits} hits in the parent");
    }
}

#[test]
fn another_program_is_executed() {
    let _deadline = Deadline::new(LIMIT);
    let rounds = times(20);
    let Some(mut testee) = Testee::launch(Build::Plain, &["exec", &rounds.to_string()]) else {
        return;
    };
    let (leaf, _) = testee.function("main.leaf");
    testee.inferior.insert_site(leaf).expect("a site");
    let (mut hits, mut execs) = (0, 0);
    let (status, output) = testee.run(|inferior, event| match event {
        ProcessEvent::Site { .. } => {
            hits += 1;
            // The thread that executes may be stopped in it, or the others be gone already.
            inferior.stop_all().expect("it stops");
            inferior.resume_all().expect("it goes on");
        }
        ProcessEvent::Exec => {
            execs += 1;
            hits = 0;
            assert_eq!(inferior.threads().len(), 1);
            assert!(inferior.is_stopped(inferior.threads()[0]));
            assert!(!inferior.has_site(leaf), "the new program has no sites");
            inferior.insert_site(leaf).expect("the same program at the same place");
        }
        _ => {}
    });
    assert_eq!((status, output.as_str()), (ExitStatus::Code(0), "ok\n"));
    assert_eq!((execs, hits), (rounds + 1, 2 * 10));
}

#[test]
fn the_exit_status_is_told_once() {
    let _deadline = Deadline::new(LIMIT);
    let Some(mut testee) = Testee::launch(Build::Plain, &["exit", "42"]) else {
        return;
    };
    testee.inferior.resume_all().expect("it goes on");
    loop {
        if let ProcessEvent::Exited(status) = testee.inferior.next_event().expect("an event") {
            assert_eq!(status, ExitStatus::Code(42));
            break;
        }
    }
    assert!(matches!(testee.inferior.next_event(), Err(ProcessError::Ended(_))));
    testee.inferior.stop_all().expect("nothing to do");
    testee.inferior.resume_all().expect("nothing to do");
    assert!(matches!(
        testee.inferior.insert_site(spelunk_dwarf::ProcAddr(0x40_1000)),
        Err(ProcessError::Ended(_))
    ));
    assert_eq!(testee.inferior.kill(), ExitStatus::Code(42));
}

/// Killed from outside at random moments, while sites are passed, threads stepped, all stopped and resumed.
#[test]
fn a_program_killed_at_any_moment_has_ended_and_nothing_hangs() {
    let _deadline = Deadline::new(LIMIT * times(1) as u32);
    for round in 0..times(40) {
        let Some(mut testee) = Testee::launch(Build::Plain, &["steady", "4", "0", "1"]) else {
            return;
        };
        let pid = testee.inferior.pid();
        testee.insert_everywhere("main.pass");
        let pause = Duration::from_micros(random(30_000));
        let killer = std::thread::spawn(move || {
            std::thread::sleep(pause);
            // SAFETY: kill takes two integers.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        });
        let mut number = 0;
        let (status, _) = testee.run(|inferior, event| {
            number += 1;
            if let ProcessEvent::Site { thread, addr } = event {
                match number % 11 {
                    0 => inferior
                        .stop_all()
                        .and_then(|()| inferior.resume_all())
                        .expect("whatever happened"),
                    3 => inferior.resume(thread, true).expect("whatever happened"),
                    5 => inferior.remove_site(addr).expect("whatever happened"),
                    6 => {
                        let _ = inferior.insert_site(addr);
                    }
                    _ => {}
                }
            }
        });
        killer.join().expect("killed");
        assert_eq!(status, ExitStatus::Signal(libc::SIGKILL), "round {round}");
    }
}

#[test]
fn kill_ends_a_program_in_each_state() {
    let _deadline = Deadline::new(LIMIT);
    for state in 0..3 {
        let Some(mut testee) = Testee::launch(Build::Plain, &["steady", "4", "0", "1"]) else {
            return;
        };
        let pid = testee.inferior.pid();
        if state > 0 {
            testee.insert_everywhere("main.pass");
            testee.inferior.resume_all().expect("it goes on");
            for _ in 0..200 {
                if let ProcessEvent::Site { thread, .. } = testee.inferior.next_event().expect("an event") {
                    testee.inferior.resume(thread, false).expect("it goes on");
                }
            }
        }
        if state == 2 {
            testee.inferior.stop_all().expect("it stops");
        }
        assert_eq!(testee.inferior.kill(), ExitStatus::Signal(libc::SIGKILL));
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "it was reaped");
    }
}

#[test]
fn a_launched_program_ends_with_its_inferior() {
    let _deadline = Deadline::new(LIMIT);
    let Some(mut testee) = Testee::launch(Build::Plain, &["steady", "2", "0", "0"]) else {
        return;
    };
    let pid = testee.inferior.pid();
    testee.inferior.resume_all().expect("it goes on");
    drop(testee.inferior);
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

/// A program that ends while it is being taken, or let go.
#[test]
fn attaching_to_a_program_that_is_killed_is_an_error_or_an_end() {
    let _deadline = Deadline::new(LIMIT);
    for _ in 0..times(20) {
        let Some(untraced) = Untraced::start(Build::Plain, &["steady", "4", "0", "0"]) else {
            return;
        };
        let pid = untraced.pid();
        let pause = Duration::from_micros(random(3000));
        let killer = std::thread::spawn(move || {
            std::thread::sleep(pause);
            // SAFETY: kill takes two integers.
            unsafe { libc::kill(pid, libc::SIGKILL) };
        });
        if let Ok(mut inferior) = Inferior::seize(pid, Seize { kill_with_us: false }) {
            let _ = inferior.resume_all();
            std::thread::sleep(Duration::from_micros(random(1000)));
            inferior.detach().expect("it is let go, or has ended");
        }
        killer.join().expect("killed");
        assert_eq!(untraced.line(), "exit 137", "killed by signal 9");
    }
}

/// Streams go to files, the environment and the folder are as asked for, and the layout is the same each time.
#[test]
fn a_program_is_started_as_asked() {
    let _deadline = Deadline::new(LIMIT);
    let dir = tempfile::tempdir().expect("a folder");
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("in"), "from the file\n").expect("written");
    let mut seen = Vec::new();
    for _ in 0..2 {
        let launch = Launch {
            program: "/bin/sh".into(),
            args: vec![
                "-c".into(),
                "read line; echo \"$line, $SPELUNK_A, $SPELUNK_B-$HOME\"; pwd; grep stack /proc/self/maps; echo oops >&2; exit 9".into(),
            ],
            env: vec![("SPELUNK_A".to_owned(), Some("b c".to_owned())), ("HOME".to_owned(), None)],
            cwd: Some(dir.path().to_owned()),
            redirect: [Some(path("in")), Some(path("out")), Some(path("err"))],
            disable_aslr: true,
            ..Launch::default()
        };
        let mut launched = launch.start_here().expect("the fork succeeds");
        launched.release().expect("it is executed");
        assert_eq!(launched.reap(), ExitStatus::Code(9));
        assert_eq!(std::fs::read_to_string(path("err")).expect("written"), "oops\n");
        seen.push(std::fs::read_to_string(path("out")).expect("written"));
    }
    let folder = dir.path().canonicalize().expect("it exists");
    let lines: Vec<&str> = seen[0].lines().collect();
    assert_eq!(lines[..2], ["from the file, b c, -", &folder.to_string_lossy()]);
    assert_eq!(seen[0], seen[1], "the stack lies where it lay before");
}

#[test]
fn a_program_that_cannot_be_executed_is_an_error() {
    let _deadline = Deadline::new(LIMIT);
    let dir = tempfile::tempdir().expect("a folder");
    let program = dir.path().join("program");
    std::fs::write(&program, "neither ELF nor a script").expect("written");
    for mode in [0o644, 0o755] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(mode)).expect("set");
        let launch = Launch {
            program: program.clone(),
            ..Launch::default()
        };
        let expected = if mode == 0o644 {
            "Permission denied"
        } else {
            "Exec format error"
        };
        let mut launched = launch.clone().start_here().expect("the fork succeeds");
        let error = Inferior::seize_held(&mut launched)
            .map(|_| ())
            .expect_err("it cannot be executed");
        assert!(error.to_string().contains(expected), "{error}");
        let mut launched = launch.start_here().expect("the fork succeeds");
        let error = launched.release().expect_err("it cannot be executed");
        assert!(error.to_string().contains(expected), "{error}");
        assert_eq!(launched.reap(), ExitStatus::Code(127));
    }
}
