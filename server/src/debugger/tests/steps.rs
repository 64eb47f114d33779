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
