//! Stacks that go through C.

use super::program::{Build, Program};
use crate::inspect::{Whose, goroutines, stack};

#[test]
fn go_calls_c_calls_go() {
    let Some(program) = Program::start("cgo", Build::Debug, &[]) else {
        return;
    };
    let stopped = program.stop_at_rest();
    let (all, _) = goroutines(&stopped, 0, 0).expect("the list can be read");
    let spins = all
        .iter()
        .find(|g| g.start.function.as_deref() == Some("main.outward"))
        .expect("it spins");
    let stack = stack(&stopped, Whose::Goroutine(spins.id), 100).expect("it exists");
    let names: Vec<&str> = stack
        .frames
        .iter()
        .map(|f| f.location.function.as_deref().unwrap_or("?"))
        .collect();
    println!("{names:#?}");
    assert!(stack.complete && stack.error.is_none(), "{:?} {names:#?}", stack.error);
    let of_interest = ["main.goBack", "there", "away", "main.outward"];
    // Those that were not inlined have a prefix.
    let seen: Vec<&str> = names
        .iter()
        .map(|name| name.strip_prefix("C.").unwrap_or(name))
        .filter(|name| of_interest.contains(name))
        .collect();
    assert_eq!(
        seen,
        [
            "main.goBack",
            "there",
            "away",
            "main.outward",
            "main.goBack",
            "there",
            "away",
            "main.outward"
        ]
    );
}

#[test]
fn a_thread_in_c_shows_who_called_it() {
    let Some(program) = Program::start("cgo", Build::Debug, &[]) else {
        return;
    };
    let stopped = program.stop_at_rest();
    let (all, _) = goroutines(&stopped, 0, 0).expect("the list can be read");
    let in_c = all.iter().find(|g| {
        g.current
            .function
            .as_deref()
            .is_some_and(|name| name.contains("spin_in_c"))
    });
    let in_c = in_c.unwrap_or_else(|| panic!("one spins in C among {all:#?}"));
    let stack = stack(&stopped, Whose::Goroutine(in_c.id), 100).expect("it exists");
    let names: Vec<&str> = stack
        .frames
        .iter()
        .map(|f| f.location.function.as_deref().unwrap_or("?"))
        .collect();
    assert!(stack.complete && stack.error.is_none(), "{:?} {names:#?}", stack.error);
    assert!(stack.frames[0].on_system_stack);
    let expected = [
        "runtime.asmcgocall",
        "runtime.cgocall",
        "main._Cfunc_spin_in_c",
        "main.main.func1",
        "runtime.goexit",
    ];
    let tail: Vec<&str> = names
        .iter()
        .copied()
        .skip_while(|name| *name != "runtime.asmcgocall")
        .collect();
    assert_eq!(tail, expected, "{names:#?}");
    assert!(!stack.frames.last().expect("it has frames").on_system_stack);
}
