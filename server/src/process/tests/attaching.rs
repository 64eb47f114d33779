//! Running programs are taken and let go as they were.

use std::fs;
use std::time::{Duration, Instant};

use super::testee::{Build, Deadline, Testee, Untraced, times};
use crate::process::{Inferior, ProcessError, ProcessEvent, Seize};
use crate::value::Memory;

const LIMIT: Duration = Duration::from_secs(240);
const ATTACH: Seize = Seize { kill_with_us: false };

/// A number that differs from time to time; tests print nothing that depends on it.
fn random(below: u64) -> u64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    RandomState::new().build_hasher().finish() % below
}

fn mappings(pid: i32) -> usize {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("it lives");
    maps.lines()
        .filter(|line| line.contains("r-xp") && line.ends_with(" 0 "))
        .count()
}

/// Takes a program under load, lets it pass sites for a random time, and lets it go at a random moment, again and again; the program checks itself.
fn again_and_again(how: Build, storm: &str, rounds: usize) {
    let _deadline = Deadline::new(LIMIT * times(1) as u32);
    let Some(untraced) = Untraced::start(how, &["steady", "4", "3", storm]) else {
        return;
    };
    let pid = untraced.pid();
    let before = mappings(pid);
    let mut passes = 0;
    for _ in 0..rounds {
        let inferior = Inferior::seize(pid, ATTACH).expect("seized");
        let mut testee = Testee::of(inferior, &untraced.program, None);
        let (begin, end) = testee.function("main.pass");
        let memory = testee.inferior.memory();
        let mut original = vec![0; (end.0 - begin.0) as usize];
        memory.read(begin, &mut original).expect("code is readable");
        testee.insert_everywhere("main.pass");
        testee.insert_everywhere("main.leaf");
        let mut masked = vec![0; original.len()];
        memory.read(begin, &mut masked).expect("code is readable");
        assert_eq!(masked, original, "sites are not seen");
        testee.inferior.resume_all().expect("it goes on");
        let kicker = testee.inferior.kicker();
        let pause = Duration::from_micros(random(5000));
        let timer = std::thread::spawn(move || {
            std::thread::sleep(pause);
            kicker.kick();
        });
        loop {
            match testee.inferior.next_event().expect("an event") {
                ProcessEvent::Kicked => break,
                ProcessEvent::Site { thread, .. } => {
                    passes += 1;
                    // Some end in the middle of a step.
                    testee.inferior.resume(thread, passes % 5 == 0).expect("it goes on");
                }
                ProcessEvent::Stepped { thread } => testee.inferior.resume(thread, false).expect("it goes on"),
                ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_) => {}
                event => panic!("{event:?}"),
            }
        }
        timer.join().expect("kicked");
        testee.inferior.detach().expect("let go");
        let raw = fs::File::open(format!("/proc/{pid}/mem")).expect("its memory");
        let mut now = vec![0; original.len()];
        std::os::unix::fs::FileExt::read_exact_at(&raw, &mut now, begin.0).expect("code is readable");
        assert_eq!(now, original, "the code is as it was");
        let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
        assert!(status.contains("TracerPid:\t0\n"));
    }
    assert_eq!(mappings(pid), before, "no slots are left");
    assert!(passes > rounds, "{passes} passes");
    untraced.finish();
}

#[test]
fn a_program_is_taken_and_let_go_at_random_moments() {
    again_and_again(Build::Plain, "0", times(50));
}

#[test]
fn a_program_is_taken_and_let_go_in_a_storm_of_signals() {
    again_and_again(Build::Plain, "1", times(50));
}

#[test]
fn a_program_with_c_code_is_taken_and_let_go() {
    again_and_again(Build::Cgo, "1", times(10));
}

/// Stops at random moments, with sites being hit all the time: no hit is lost or told twice, and registers are those of the program.
#[test]
fn hits_during_a_stop_are_told_after_it() {
    let _deadline = Deadline::new(LIMIT);
    let stops = times(200);
    let Some(mut testee) = Testee::launch(Build::Plain, &["passes", "4", "500", "1"]) else {
        return;
    };
    let (entry, end) = testee.function("main.leaf");
    let slots_end = entry.0;
    testee.inferior.insert_site(entry).expect("a site");
    testee.inferior.resume_all().expect("it goes on");
    let (mut hits, mut stopped) = (0, 0);
    let mut longest = Duration::ZERO;
    loop {
        match testee.inferior.next_event().expect("an event") {
            ProcessEvent::Site { thread, addr } => {
                assert_eq!(addr, entry);
                hits += 1;
                testee.inferior.resume(thread, false).expect("it goes on");
                if stopped < stops && hits % 7 == 0 {
                    stopped += 1;
                    let begun = Instant::now();
                    testee.inferior.stop_all().expect("it stops");
                    longest = longest.max(begun.elapsed());
                    for thread in testee.inferior.threads() {
                        assert!(testee.inferior.is_stopped(thread));
                        let registers = testee.inferior.registers(thread).expect("it is stopped");
                        let pc = registers.pc().expect("known");
                        assert!(pc != entry.0 + 1, "a hit that was not rewound");
                        assert!(pc >= slots_end.min(0x40_0000), "{pc:#x} is in a slot, not before {end}");
                    }
                    testee.inferior.resume_all().expect("it goes on");
                }
            }
            ProcessEvent::Exited(status) => {
                assert_eq!(status, crate::process::ExitStatus::Code(0));
                break;
            }
            _ => {}
        }
    }
    assert_eq!(testee.output(), "ok\n");
    assert_eq!(hits, 2000);
    assert!(stopped > 100, "{stopped} stops");
    assert!(longest < Duration::from_secs(2), "a stop took {longest:?}");
}

/// Bounds that are generous for busy machines; the figures are printed.
#[test]
fn taking_and_stopping_many_threads_takes_little_time() {
    let _deadline = Deadline::new(LIMIT);
    let Some(untraced) = Untraced::start(Build::Plain, &["sleep", "20"]) else {
        return;
    };
    let tasks = format!("/proc/{}/task", untraced.pid());
    while fs::read_dir(&tasks).expect("it lives").count() < 20 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let (mut seizes, mut stops, mut detaches) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..20 {
        let begun = Instant::now();
        let mut inferior = Inferior::seize(untraced.pid(), ATTACH).expect("seized");
        seizes.push(begun.elapsed());
        assert!(inferior.threads().len() >= 20);
        for _ in 0..10 {
            inferior.resume_all().expect("it goes on");
            let begun = Instant::now();
            inferior.stop_all().expect("it stops");
            stops.push(begun.elapsed());
        }
        let begun = Instant::now();
        inferior.detach().expect("let go");
        detaches.push(begun.elapsed());
    }
    for (what, mut times) in [("seize", seizes), ("stop_all", stops), ("detach", detaches)] {
        times.sort();
        let median = times[times.len() / 2];
        eprintln!(
            "{what} of 20 threads: median {median:?}, longest {:?}",
            times[times.len() - 1]
        );
        assert!(median < Duration::from_millis(200), "{what} took {median:?}");
    }
}

#[test]
fn a_kick_comes_through_however_busy_the_program_is() {
    let _deadline = Deadline::new(LIMIT);
    let Some(mut testee) = Testee::launch(Build::Plain, &["steady", "4", "0", "1"]) else {
        return;
    };
    let (entry, _) = testee.function("main.leaf");
    testee.inferior.insert_site(entry).expect("a site");
    testee.inferior.resume_all().expect("it goes on");
    let kicker = testee.inferior.kicker();
    let (answer, answered) = crossbeam_channel::bounded(1);
    let kicking = std::thread::spawn(move || {
        let mut took = Vec::new();
        for _ in 0..200 {
            let begun = Instant::now();
            kicker.kick();
            let at: Instant = answered.recv().expect("an answer");
            took.push(at.duration_since(begun));
            std::thread::sleep(Duration::from_micros(random(2000)));
        }
        took.sort();
        took
    });
    while !kicking.is_finished() {
        match testee.inferior.next_event().expect("an event") {
            ProcessEvent::Kicked => {
                // At the last one nobody asks any more.
                let _ = answer.send(Instant::now());
            }
            ProcessEvent::Site { thread, .. } => testee.inferior.resume(thread, false).expect("it goes on"),
            ProcessEvent::Exited(status) => panic!("it ended with {status:?}"),
            _ => {}
        }
    }
    let took = kicking.join().expect("every kick was answered");
    // Generous for busy machines: the usual kick takes less than a tenth of this.
    assert!(
        took[100] < Duration::from_millis(20),
        "the median kick took {:?}",
        took[100]
    );
    testee.inferior.kill();
}

#[test]
fn sites_come_and_go_while_threads_run() {
    let _deadline = Deadline::new(LIMIT);
    let Some(mut testee) = Testee::launch(Build::Plain, &["passes", "4", "1000", "1"]) else {
        return;
    };
    let instructions = testee.instructions("main.pass");
    // This one stays, so that there are always hits.
    let (leaf, _) = testee.function("main.leaf");
    testee.inferior.insert_site(leaf).expect("a site");
    let (mut inserted, mut number, mut passes) = (0, 0, 0);
    let (status, output) = testee.run(|inferior, event| {
        let ProcessEvent::Site { addr, .. } = event else {
            return;
        };
        passes += usize::from(addr == leaf);
        let (addr, _) = instructions[number % instructions.len()];
        number += 5;
        if inferior.has_site(addr) {
            inferior.remove_site(addr).expect("taken out");
            assert!(!inferior.has_site(addr));
        } else {
            inferior.insert_site(addr).expect("a site");
            inserted += 1;
        }
    });
    assert_eq!((status, output.as_str()), (crate::process::ExitStatus::Code(0), "ok\n"));
    assert_eq!(passes, 4000);
    assert!(inserted > 100, "{inserted} insertions");
}

#[test]
fn what_cannot_be_taken_is_said() {
    let _deadline = Deadline::new(LIMIT);
    assert!(matches!(
        Inferior::seize(0x3fff_ffff, ATTACH),
        Err(ProcessError::Gone(_))
    ));
    let Some(untraced) = Untraced::start(Build::Plain, &["steady", "1", "0", "0"]) else {
        return;
    };
    let pid = untraced.pid();
    let other = std::thread::spawn(move || {
        let inferior = Inferior::seize(pid, ATTACH).expect("seized");
        inferior.pid()
    });
    // Dropped on its thread, and so let go.
    other.join().expect("seized and dropped");
    let inferior = Inferior::seize(pid, ATTACH).expect("seized again");
    let refused = std::thread::spawn(move || Inferior::seize(pid, ATTACH).map(|_| ()))
        .join()
        .expect("it answers");
    let text = refused.expect_err("it is traced already").to_string();
    assert!(text.contains("is debugging or tracing it already"), "{text}");
    inferior.detach().expect("let go");
    untraced.finish();
}

#[test]
fn a_panic_on_the_tracing_thread_lets_the_program_go() {
    let _deadline = Deadline::new(LIMIT);
    let Some(untraced) = Untraced::start(Build::Plain, &["steady", "3", "0", "1"]) else {
        return;
    };
    let pid = untraced.pid();
    let program = untraced.program.clone();
    let panicked = std::thread::spawn(move || {
        let inferior = Inferior::seize(pid, ATTACH).expect("seized");
        let mut testee = Testee::of(inferior, &program, None);
        testee.insert_everywhere("main.pass");
        testee.inferior.resume_all().expect("it goes on");
        for _ in 0..100 {
            if let ProcessEvent::Site { thread, .. } = testee.inferior.next_event().expect("an event") {
                testee.inferior.resume(thread, false).expect("it goes on");
            }
        }
        std::panic::resume_unwind(Box::new("as a mistake of ours would"));
    });
    assert!(panicked.join().is_err());
    untraced.finish();
}
