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

/// Compares with `function:line line …`, the function's package `main` left out. Other packages' functions, which change with Go, stand there without lines.
/// Code that was inlined stands under the name of the function that contains it.
fn lands(flags: Build, function: &str, kind: StepKind, expected: &str) {
    let mut places = Vec::new();
    let mut name = "";
    for word in expected.split_ascii_whitespace() {
        let is_line = word.bytes().all(|byte| byte.is_ascii_digit());
        match word.rsplit_once(':') {
            _ if is_line => places.push(format!("main.{name}:{word}")),
            None => places.push(word.to_owned()),
            Some((new, line)) => {
                name = new;
                places.push(format!("main.{name}:{line}"));
            }
        }
    }
    if let Some(found) = walk(flags, function, kind, places.len() - 1) {
        let found: Vec<_> = found
            .iter()
            .map(|place| match place.rsplit_once(':') {
                Some((name, _)) if !name.starts_with("main.") || name.ends_with("Println") => name.to_owned(),
                _ => place.clone(),
            })
            .collect();
        assert_eq!(found, places, "{function}, {kind:?}");
    }
}

#[test]
fn next_goes_over_calls_and_returns_to_the_caller() {
    lands(
        Build::Debug,
        "main.calls",
        StepKind::Over,
        "calls:44 45 46 47 48 49 main:220 221 222",
    );
}

#[test]
fn next_goes_through_deferred_calls_on_return() {
    lands(
        Build::Debug,
        "main.defers",
        StepKind::Over,
        "defers:55 56 57 60 61 62 61 62 main:221 222",
    );
}

#[test]
fn next_stops_behind_a_recovered_panic() {
    lands(
        Build::Debug,
        "main.recovers",
        StepKind::Over,
        "recovers:74 75 76 77 78 main:222",
    );
}

#[test]
fn next_goes_round_a_loop() {
    lands(
        Build::Debug,
        "main.loop",
        StepKind::Over,
        "loop:107 108 109 110 109 110 109 110 109 112 main:226",
    );
}

#[test]
fn next_stays_with_its_goroutine() {
    lands(
        Build::Debug,
        "main.spawns",
        StepKind::Over,
        "spawns:150 151 152 153 154 main:229 230 231 233",
    );
}

#[test]
fn next_goes_over_closures_and_interface_calls() {
    lands(
        Build::Debug,
        "main.closures",
        StepKind::Over,
        "closures:80 81 82 85 86 87 main:222",
    );
    lands(
        Build::Debug,
        "main.interfaces",
        StepKind::Over,
        "interfaces:90 91 92 93 94 95 96 main:224",
    );
}

#[test]
fn a_step_enters_calls_and_returns_from_them() {
    lands(
        Build::Debug,
        "main.calls",
        StepKind::Into,
        "calls:44 45 add:31 32 33 calls:45 46 add:31 32 33 calls:46 47 divide:37 38 41 calls:47 48 fmt.Fprintln",
    );
}

#[test]
fn a_step_enters_deferred_calls() {
    lands(
        Build::Debug,
        "main.defers",
        StepKind::Into,
        "defers:55 56 57 60 add:31 32 33 defers:60 61 62 defers.func1:57 58 note:51 53 defers.func1:59 defers:61 62 main:221 recovers:74",
    );
}

#[test]
fn a_step_enters_the_deferred_call_of_a_panic() {
    lands(
        Build::Debug,
        "main.recovers",
        StepKind::Into,
        "recovers:74 75 note:51 53 recovers:75 76 panics:64 65 69 note:51 53 panics:70 71 panics.func1:65 66 67 fmt.Sprint",
    );
}

#[test]
fn a_step_enters_closures_and_methods_behind_interfaces() {
    lands(
        Build::Debug,
        "main.closures",
        StepKind::Into,
        "closures:80 81 82 85 closures.func1:82 83 84 closures:86 closures.func1:82 83 84 closures:87 main:222 223 interfaces:90",
    );
    lands(
        Build::Debug,
        "main.interfaces",
        StepKind::Into,
        "interfaces:90 91 92 square.area:19 20 interfaces:92 93 94 95 square.area:19 20 interfaces:95 96 main:224 recursion:99 100 103 99 100 103 99",
    );
    lands(
        Build::Debug,
        "main.method",
        StepKind::Into,
        "method:157 158 159 160 (*counter).add:25 26 27 method:161 (*counter).add:25 26 27 method:162 main:230",
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

#[test]
fn next_takes_the_body_of_a_loop_over_a_function_for_part_of_the_function() {
    lands(
        Build::Range,
        "main.sum",
        StepKind::Over,
        "sum:19 20 21 sum-range1:22 23 21 22 23 21 22 23 sum:23 24 main:57",
    );
    lands(
        Build::Range,
        "main.nested",
        StepKind::Over,
        "nested:27 28 29 nested-range1:30 nested-range2:31 32 35 30 31 32 35 nested-range1:35 36 29 30 nested-range2:31 32 35 30 31 32 33 nested-range1:35",
    );
    lands(
        Build::Range,
        "main.deferring",
        StepKind::Over,
        "deferring:40 41 deferring-range1:42 43 41 42 43 deferring:43 44 45 main:59",
    );
    lands(
        Build::Range,
        "main.library",
        StepKind::Over,
        "library:47 48 49 library-range1:50 51 49 50 51 library:51 52 main:59",
    );
}

#[test]
fn a_step_goes_through_the_iterator_of_a_loop_over_a_function() {
    lands(
        Build::Range,
        "main.sum",
        StepKind::Into,
        "sum:19 20 21 count:9 10 sum:21 count.func1:10 11 12 sum-range1:21 22 23 count.func1:12 11 12 sum-range1:21 22 23 count.func1:12",
    );
}

#[test]
fn next_goes_over_inlined_calls_and_a_step_enters_them() {
    use StepKind::{Into, Out, Over};
    let inlined = Build::Inlined;
    lands(inlined, "main.inlining", Over, "main:176 177 178 230 231 233");
    lands(
        inlined,
        "main.inlining",
        Into,
        "main:176 171 176 177 171 177 178 230 231 315",
    );
    lands(inlined, "main.inlining", Out, "main:176 230 runtime.main");
    lands(inlined, "main.recovers", Over, "main:75 76 77 222 223");
    lands(
        inlined,
        "main.recovers",
        Into,
        "main:75 76 panics:64 65 69 70 71 panics.func1:65 66 67 fmt.Sprint",
    );
    lands(
        inlined,
        "main.defers",
        Into,
        "defers:55 56 57 60 add:31 32 33 defers:60 61 62 defers.func1:57 58 59 defers:61 62",
    );
}

#[test]
fn steps_through_optimised_code_land_where_delves_do() {
    use StepKind::{Into, Out, Over};
    let optimized = Build::Optimized;
    lands(
        optimized,
        "main.calls",
        Over,
        "calls:44 45 46 47 48 49 main:220 221 223 224 225 227",
    );
    lands(
        optimized,
        "main.calls",
        Into,
        "calls:44 45 add:32 33 calls:45 46 add:32 33 calls:46 47 divide:37 38 41 calls:47 48",
    );
    lands(optimized, "main.calls", Out, "calls:44 main:220 runtime.main");
    lands(
        optimized,
        "main.defers",
        Over,
        "defers:55 56 57 60 61 main:221 223 224 225",
    );
    lands(
        optimized,
        "main.defers",
        Into,
        "defers:55 56 57 60 add:32 33 defers:61 defers.func1:59 defers:61 defers.deferwrap1:56 defers:61 main:221 76 panics:64 65",
    );
    lands(
        optimized,
        "main.recovers",
        Over,
        "main:76 223 224 225 227 228 229 231 233 runtime.main",
    );
    // In the wrapper Delve gives line 1 thrice, where the line table has line 20 of what was inlined into it.
    lands(
        optimized,
        "main.recovers",
        Into,
        "main:76 panics:64 65 71 main:223 interfaces:90 92 (*square).area:1 20 1",
    );
    lands(optimized, "main.recovers", Out, "main:76 223");
}

#[test]
fn a_step_goes_into_a_coroutine_and_back() {
    let Some(debugged) = Debugged::at(Build::Range, "main.pull", &[]) else {
        return;
    };
    // The lines of iter.Pull itself are the library's.
    while debugged.place() != "main.pull:66" {
        debugged.step(StepKind::Over);
        debugged.stopped();
    }
    let mut places = Vec::new();
    while places.len() < 9 {
        places.push(debugged.place());
        debugged.step(StepKind::Into);
        assert_eq!(debugged.stopped().reason, StopReason::Step, "{places:?}");
    }
    let expected = [
        "main.pull:66",
        "main.count.func1:10",
        "main.count.func1:11",
        "main.count.func1:12",
        "main.pull:66",
        "main.pull:67",
        "main.count.func1:12",
        "main.count.func1:11",
        "main.count.func1:12",
    ];
    assert_eq!(places, expected);
    debugged.kill();
}
