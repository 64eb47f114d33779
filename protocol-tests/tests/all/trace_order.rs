//! Lines of a trace come in the order of their times, whatever CPU their records are from; each goroutine's in its own order.

use std::collections::HashMap;
use std::time::Duration;

use protocol_tests::child::run;
use protocol_tests::failure::{Failure, Result};
use protocol_tests::toolchain::{Build, fixture};
use protocol_tests::trace::Tracer;

/// A time as `--timestamp` shows it, with all nine digits of the fraction, so that texts compare as times do.
fn comparable(time: &str) -> Option<String> {
    let time = time.strip_suffix('Z')?;
    let (second, fraction) = time.split_once('.').unwrap_or((time, ""));
    Some(format!("{second}.{fraction:0<9}"))
}

#[test]
fn times_never_go_back() -> Result<()> {
    let program = fixture("parallel", Build::NoOpt)?.program;
    let (workers, calls) = (4, 10_000);
    let mut command = Tracer::spelunk()?.command(&[
        "--timestamp",
        "--exec",
        &program.to_string_lossy(),
        "^main.pass$",
        "--",
        &workers.to_string(),
        &calls.to_string(),
    ]);
    // Room for all of them: what is lost says nothing about order.
    command
        .env("SPELUNK_RING_BYTES", (64 << 20).to_string())
        .env("TZ", "UTC");
    let traced = run(&mut command, Duration::from_secs(120))?;
    let mut last = String::new();
    let mut next: HashMap<&str, i64> = HashMap::new();
    let mut seen = 0;
    for line in traced.stderr.lines() {
        let mut words = line.splitn(4, ' ');
        let (Some(time), Some(arrow), Some(goroutine)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if arrow != ">" && arrow != ">>" {
            continue;
        }
        let time = comparable(time).ok_or_else(|| Failure::new(format!("no time: {line}")))?;
        assert!(last <= time, "{line} comes after {last}");
        last = time;
        seen += 1;
        // A goroutine calls, returns, and calls with the next number.
        let step = next.entry(goroutine).or_default();
        let expected = if *step % 2 == 0 {
            format!(", {})", *step / 2)
        } else {
            " => (".to_owned()
        };
        assert!(
            line.contains(&expected),
            "{goroutine} should come to {expected:?}: {line}"
        );
        *step += 1;
    }
    assert_eq!(
        seen,
        2 * workers * calls,
        "{}",
        traced.stderr.lines().last().unwrap_or_default()
    );
    assert_eq!(next.len(), workers);
    Ok(())
}
