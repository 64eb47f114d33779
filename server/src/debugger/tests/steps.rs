//! Steps: the places they land on are those that Delve 1.27.1 gives for the same program, taken from its terminal client.

use super::program::{Build, Debugged, Ended};
use crate::debugger::{StepKind, StopReason};

/// Steps `count` times from the beginning of a function; the places, or how the program ended.
fn walk(flags: Build, function: &str, kind: StepKind, count: usize) -> Option<Vec<String>> {
    let debugged = Debugged::at(flags, function, &[])?;
    let mut places = vec![debugged.place()];
    for _ in 0..count {
        debugged.step(kind);
        match debugged.ended() {
            Ended::Stopped(stop) => {
                assert_eq!(stop.reason, StopReason::Step, "{places:?}");
                places.push(debugged.place());
            }
            Ended::Exited(status) => {
                places.push(format!("exited with {status:?}"));
                return Some(places);
            }
        }
    }
    debugged.kill();
    Some(places)
}

/// Compares with `function:line line …`, the function's package `main` left out.
fn lands(flags: Build, function: &str, kind: StepKind, expected: &str) {
    let mut places = Vec::new();
    let mut name = "";
    for word in expected.split_ascii_whitespace() {
        let line = match word.rsplit_once(':') {
            Some((new, line)) => {
                name = new;
                line
            }
            None => word,
        };
        let package = if name.contains('/') || name.contains("fmt.") || name.contains("runtime.") {
            ""
        } else {
            "main."
        };
        places.push(format!("{package}{name}:{line}"));
    }
    if let Some(found) = walk(flags, function, kind, places.len() - 1) {
        assert_eq!(found, places, "{function}, {kind:?}");
    }
}

#[test]
fn next_goes_over_calls_and_returns_to_the_caller() {
    lands(
        Build::Debug,
        "main.calls",
        StepKind::Over,
        "calls:44 45 46 47 48 49 main:216 217 218",
    );
}

#[test]
fn next_goes_through_deferred_calls_on_return() {
    lands(
        Build::Debug,
        "main.defers",
        StepKind::Over,
        "defers:55 56 57 60 61 62 61 62 main:217 218",
    );
}

#[test]
fn next_stops_behind_a_recovered_panic() {
    lands(
        Build::Debug,
        "main.recovers",
        StepKind::Over,
        "recovers:74 75 76 77 78 main:218",
    );
}

#[test]
fn next_goes_round_a_loop() {
    lands(
        Build::Debug,
        "main.loop",
        StepKind::Over,
        "loop:107 108 109 110 109 110 109 110 109 112 main:222",
    );
}

#[test]
fn next_stays_with_its_goroutine() {
    lands(
        Build::Debug,
        "main.spawns",
        StepKind::Over,
        "spawns:150 151 152 153 154 main:225 226 227 229",
    );
}

#[test]
fn next_goes_over_closures_and_interface_calls() {
    lands(
        Build::Debug,
        "main.closures",
        StepKind::Over,
        "closures:80 81 82 85 86 87 main:219",
    );
    lands(
        Build::Debug,
        "main.interfaces",
        StepKind::Over,
        "interfaces:90 91 92 93 94 95 96 main:220",
    );
}

#[test]
fn a_step_enters_calls_and_returns_from_them() {
    lands(
        Build::Debug,
        "main.calls",
        StepKind::Into,
        "calls:44 45 add:31 32 33 calls:45 46 add:31 32 33 calls:46 47 divide:37 38 41 calls:47 48 fmt.Fprintln:303",
    );
}

#[test]
fn a_step_enters_deferred_calls() {
    lands(
        Build::Debug,
        "main.defers",
        StepKind::Into,
        "defers:55 56 57 60 add:31 32 33 defers:60 61 62 defers.func1:57 58 note:51 53 defers.func1:59 defers:61 62 main:217 recovers:74",
    );
}

#[test]
fn a_step_enters_the_deferred_call_of_a_panic() {
    lands(
        Build::Debug,
        "main.recovers",
        StepKind::Into,
        "recovers:74 75 note:51 53 recovers:75 76 panics:64 65 69 note:51 53 panics:70 71 panics.func1:65 66 67 fmt.Sprint:277",
    );
}

#[test]
fn a_step_enters_closures_and_methods_behind_interfaces() {
    lands(
        Build::Debug,
        "main.closures",
        StepKind::Into,
        "closures:80 81 82 85 closures.func1:82 83 84 closures:86 closures.func1:82 83 84 closures:87 main:219 interfaces:90",
    );
    lands(
        Build::Debug,
        "main.interfaces",
        StepKind::Into,
        "interfaces:90 91 92 square.area:19 20 interfaces:92 93 94 95 square.area:19 20 interfaces:95 96 main:220 recursion:99 100 103 99 100 103 99",
    );
    lands(
        Build::Debug,
        "main.method",
        StepKind::Into,
        "method:157 158 159 160 (*counter).add:25 26 27 method:161 (*counter).add:25 26 27 method:162 main:226",
    );
}

#[test]
fn a_step_into_a_go_statement_goes_on_in_the_new_goroutine() {
    lands(
        Build::Debug,
        "main.spawns",
        StepKind::Into,
        "spawns:150 151 152 spawned:146 147",
    );
}
