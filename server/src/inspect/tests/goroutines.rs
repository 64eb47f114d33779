//! The list of goroutines: what they do, why they wait, where they stand, who started them.

use super::program::{Build, Program};
use crate::inspect::{Goroutine, GoroutineStatus, InspectError, Location, Stopped, goroutine, goroutines};

fn name(location: &Location) -> &str {
    location.function.as_deref().unwrap_or("?")
}

fn find<'g>(all: &'g [Goroutine], start: &str) -> &'g Goroutine {
    all.iter()
        .find(|g| name(&g.start) == start)
        .unwrap_or_else(|| panic!("a goroutine started by {start} is in {all:#?}"))
}

#[test]
fn goroutines_say_what_they_wait_for() {
    for build in Build::ALL {
        let Some(program) = Program::start("fixture", build, &["rest"]) else {
            return;
        };
        let stopped = program.stop_at_rest();
        let (all, more) = goroutines(&stopped, 0, 0).expect("the list can be read");
        assert_eq!(more, None);
        for (start, reason) in [
            ("main.receive", "chan receive"),
            ("main.send", "chan send"),
            ("main.choose", "select"),
            ("main.sleep", "sleep"),
            ("main.lockup", "sync.Mutex.Lock"),
            ("main.outer", "chan receive"),
        ] {
            let g = find(&all, start);
            assert_eq!(
                (g.status, &*g.wait_reason),
                (GoroutineStatus::Waiting, reason),
                "{start}"
            );
            assert_eq!(name(&g.go_statement), "main.start", "{start}");
            assert!(!g.is_system && g.thread.is_none());
            assert_eq!(name(&g.current), "runtime.gopark", "{start}");
            assert!(
                g.current
                    .file
                    .as_ref()
                    .is_some_and(|file| file.ends_with("/runtime/proc.go"))
            );
        }
        assert_eq!(name(&find(&all, "main.receive").user_current), "main.receive");
        assert_eq!(name(&find(&all, "main.sleep").user_current), "time.Sleep");
        // What was started by a `go` statement with arguments is not the compiler's wrapper.
        assert_eq!(name(&find(&all, "main.withArguments").go_statement), "main.rest");

        let main = find(&all, "runtime.main");
        assert_eq!((main.id, main.is_system), (1, false));
        assert_eq!(main.status, GoroutineStatus::Syscall);
        let thread = main.thread.expect("it is in a system call of its own thread");
        assert!(stopped.threads().contains(&thread));
        assert_eq!(goroutine(&stopped, 1).expect("it exists").thread, Some(thread));

        // Goroutines that have ended are not in the list.
        assert!(!all.iter().any(|g| name(&g.start) == "main.rest.func2"), "{all:#?}");
        let finalizer = all
            .iter()
            .find(|g| name(&g.user_current) == "main.finalizer")
            .expect("it waits");
        assert!(!finalizer.is_system, "it runs the user's code");
        assert!(
            all.iter().filter(|g| g.is_system).count() >= 3,
            "the garbage collector has workers"
        );
    }
}

#[test]
fn labels_are_read() {
    let Some(program) = Program::start("fixture", Build::Debug, &["rest"]) else {
        return;
    };
    let stopped = program.stop_at_rest();
    let (all, _) = goroutines(&stopped, 0, 0).expect("the list can be read");
    let labelled: Vec<_> = all.iter().filter(|g| !g.labels.is_empty()).collect();
    let [labelled] = *labelled else { panic!("{labelled:#?}") };
    assert_eq!(name(&labelled.user_current), "main.labelled");
    let labels: Vec<_> = labelled.labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(labels, [("customer", "blue"), ("tier", "gold")]);
}

#[test]
fn the_list_is_given_in_parts() {
    let Some(program) = Program::start("fixture", Build::Optimized, &["many", "100"]) else {
        return;
    };
    let stopped = program.stop_at_rest();
    let (all, _) = goroutines(&stopped, 0, 0).expect("the list can be read");
    let mut parts = Vec::new();
    let mut next = Some(0);
    while let Some(start) = next {
        let (part, rest) = goroutines(&stopped, start, 7).expect("the list can be read");
        assert!(part.len() == 7 || rest.is_none());
        assert!(rest.is_none_or(|rest| rest > start));
        parts.extend(part);
        next = rest;
    }
    let ids = |goroutines: &[Goroutine]| goroutines.iter().map(|g| g.id).collect::<Vec<_>>();
    assert_eq!(ids(&parts), ids(&all));
    assert!(goroutines(&stopped, usize::MAX, 0).expect("no more").0.is_empty());

    let last = all.last().expect("there are some");
    assert_eq!(goroutine(&stopped, last.id).expect("it exists").addr, last.addr);
    assert_eq!(
        goroutine(&stopped, 1 << 40).err(),
        Some(InspectError::UnknownGoroutine(1 << 40))
    );
}

/// How long it takes is printed, not asserted: machines differ. Run with `--nocapture`, and `--release` to know.
#[test]
fn ten_thousand_goroutines() {
    let Some(program) = Program::start("fixture", Build::Optimized, &["many", "10000"]) else {
        return;
    };
    let stopped = program.stop_at_rest();
    for round in ["first", "second", "third"] {
        let begin = std::time::Instant::now();
        let (all, _) = goroutines(&stopped, 0, 0).expect("the list can be read");
        println!("10,000 goroutines, {round} time: {:?}", begin.elapsed());
        let workers = all.iter().filter(|g| name(&g.user_current) == "main.handle").count();
        assert_eq!(workers, 10_000);
    }
}
