//! What stops cost. Not run with the other tests, as it says nothing of right or wrong: `cargo test --release -p spelunk cost -- --ignored --nocapture`.

use std::time::{Duration, Instant};

use super::program::{Build, Debugged, line_of, plain};
use crate::debugger::{SourceBreakpoint, StepKind};

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[test]
#[ignore = "a measurement"]
fn cost_of_steps_and_of_conditions_that_are_false() {
    for (what, function, kind) in [
        ("next in a loop", "main.loop", StepKind::Over),
        ("next over a call", "main.hot", StepKind::Over),
        ("step into and out of a call", "main.hot", StepKind::Into),
    ] {
        let Some(debugged) = Debugged::at(
            Build::Debug,
            function,
            &[if function == "main.hot" { "hot" } else { "all" }],
        ) else {
            return;
        };
        let mut times = Vec::new();
        for _ in 0..if function == "main.hot" { 200 } else { 9 } {
            let begin = Instant::now();
            debugged.step(kind);
            debugged.stopped();
            times.push(begin.elapsed());
        }
        println!("{what}: {:?}", median(times));
        debugged.kill();
    }
    let Some(debugged) = Debugged::launch(Build::Debug, &["hot"]) else {
        return;
    };
    let wanted = SourceBreakpoint {
        condition: Some("i == 200000".to_owned()),
        ..plain(line_of("n = add(n, i)"))
    };
    debugged.break_at(&[wanted]);
    let begin = Instant::now();
    debugged.go();
    debugged.exited();
    println!("a condition that is false: {:?}", begin.elapsed() / 100_000);
}
