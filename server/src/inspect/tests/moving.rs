//! Stacks at random moments of programs that keep the runtime busy: whatever is interrupted, every stack must lead to its end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::program::{Build, Program, eventually};
use crate::inspect::{Stack, Stopped as _, Whose, goroutine, goroutines, stack};

fn text(stack: &Stack) -> String {
    let frames = stack.frames.iter().map(|frame| {
        let name = frame.location.function.as_deref().unwrap_or("?");
        format!(
            "{name} {}:{} pc {} cfa {} {}",
            frame.location.file.as_deref().unwrap_or("?"),
            frame.location.line,
            frame.pc,
            frame.cfa,
            if frame.on_system_stack { "system" } else { "" }
        )
    });
    frames.collect::<Vec<_>>().join("\n")
}

/// Stops a program over and over, and looks at all its stacks: at least as often as is said, and until one of the functions `wanted` was seen on them.
fn stop_often(program: &Program, times: u32, wanted: &[&str]) {
    let mut seen = BTreeSet::new();
    let end = Instant::now() + Duration::from_secs(30);
    for round in 0.. {
        let missing: Vec<&&str> = wanted.iter().filter(|name| !seen.contains(**name)).collect();
        if round >= times && missing.is_empty() {
            return;
        }
        assert!(
            Instant::now() < end,
            "after {round} rounds {missing:?} was not seen among {seen:#?}"
        );
        // Moments that do not repeat with the program's own rhythm.
        std::thread::sleep(Duration::from_micros(u64::from(round * 7919 % 3000)));
        let stopped = program.stop();
        let (all, _) = goroutines(&stopped, 0, 0).expect("the list can be read");
        let threads = stopped.threads().into_iter().map(Whose::Thread);
        for whose in all.iter().map(|g| Whose::Goroutine(g.id)).chain(threads) {
            let stack = stack(&stopped, whose, 10_000).expect("it exists");
            let error = &stack.error;
            assert!(
                stack.complete && error.is_none(),
                "round {round}, {whose:?}, {error:?}:\n{}",
                text(&stack)
            );
            let names = stack
                .frames
                .iter()
                .filter_map(|frame| frame.location.function.as_deref());
            if let Whose::Goroutine(_) = whose {
                assert_eq!(
                    names.clone().next_back(),
                    Some("runtime.goexit"),
                    "round {round}, {whose:?}:\n{}",
                    text(&stack)
                );
            }
            seen.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn stacks_are_whole_at_any_moment() {
    for build in [Build::Debug, Build::Optimized] {
        let Some(program) = Program::start("fixture", build, &["busy"]) else {
            return;
        };
        let wanted = [
            "runtime.systemstack",
            "runtime.mcall",
            "main.spin",
            "main.recurse",
            "runtime.gcBgMarkWorker",
        ];
        stop_often(&program, 60, &wanted);
    }
}

/// Prologues, epilogues, changes of stack, injected calls: wherever a thread can stand.
#[test]
fn stacks_are_whole_at_each_instruction() {
    const STEPS: u32 = 300;
    // Deep recursion is looked at elsewhere, and takes its time.
    const DEPTH: usize = 50;
    for build in [Build::Debug, Build::Optimized] {
        let Some(program) = Program::start("fixture", build, &["busy"]) else {
            return;
        };
        let mut stopped = program.stop();
        for thread in stopped.threads() {
            for at in 0..STEPS {
                if stopped.step(thread).is_none() {
                    break;
                }
                let stack = stack(&stopped, Whose::Thread(thread), DEPTH).expect("it exists");
                let error = &stack.error;
                assert!(
                    (stack.complete || stack.frames.len() == DEPTH) && error.is_none(),
                    "instruction {at}, {thread:?}, {error:?}:\n{}",
                    text(&stack)
                );
            }
        }
    }
}

/// The program sends itself a signal in a loop; stepping leads into the handler, at whatever instruction it comes.
#[test]
fn signal_handlers_show_what_they_interrupt() {
    const MOST_STEPS: u32 = 20_000;
    let Some(program) = Program::start("fixture", Build::Optimized, &["signals"]) else {
        return;
    };
    stop_often(&program, 20, &[]);
    let seen = eventually(|| {
        let mut stopped = program.stop();
        let thread = goroutine(&stopped, 1).expect("it sends the signals").thread?;
        let mut missing = BTreeSet::from(["runtime.sigtramp", "runtime.sigtrampgo", "runtime.sighandler"]);
        for at in 0..MOST_STEPS {
            stopped.step(thread)?;
            let stack = stack(&stopped, Whose::Thread(thread), 10_000).expect("it exists");
            let error = &stack.error;
            assert!(
                stack.complete && error.is_none(),
                "instruction {at}, {error:?}:\n{}",
                text(&stack)
            );
            let names: Vec<&str> = stack
                .frames
                .iter()
                .filter_map(|frame| frame.location.function.as_deref())
                .collect();
            let innermost = *names.first()?;
            if missing.contains(innermost) {
                // Beneath the handler is what the goroutine was doing.
                assert_eq!(names.last(), Some(&"runtime.goexit"), "{}", text(&stack));
                missing.remove(innermost);
            }
            if missing.is_empty() {
                return Some(());
            }
        }
        None
    });
    assert!(seen.is_some(), "a signal is handled");
}

#[test]
fn a_fatal_panic_can_be_looked_at() {
    let Some(program) = Program::start("fixture", Build::Debug, &["crash"]) else {
        return;
    };
    stop_often(&program, 1, &["runtime.mapassign_faststr", "main.crash.func1"]);
}
