//! Sessions with several processes: children that are followed.

mod becoming;
mod breakpoints;
mod choosing;
mod ending;
mod together;

use std::time::{Duration, Instant};

use super::program::{Build, Debugged};
use crate::debugger::{BreakpointPlace, BreakpointRequest, BreakpointTerms, FollowChildren, FunctionBreakpoint};

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
