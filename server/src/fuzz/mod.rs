//! The harness of the fuzz targets: input that nobody means well, for a while, with a bound on memory.
//!
//! A fuzz target is a test in a module `fuzz` beside the code that it reaches; `cargo test fuzz` runs them all. Each runs for `SPELUNK_FUZZ_SECONDS`, 1 by
//! default. Input that makes one fail is made as small as possible by proptest, and is in the message.

pub(crate) mod input;
mod memory;

use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};

/// What is made of one input may take so much memory at a time, in bytes.
const MOST_MEMORY: usize = 64 << 20;

/// How many inputs are tried between looks at the clock.
const ROUND: u32 = 32;

/// Tries inputs until the time is over. A panic, and memory beyond the bound, is a failure.
pub(crate) fn check<S: Strategy>(inputs: &S, target: impl Fn(S::Value)) {
    let seconds = std::env::var("SPELUNK_FUZZ_SECONDS").ok();
    let seconds = seconds.and_then(|text| text.parse().ok()).unwrap_or(1);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut tried: u64 = 0;
    loop {
        let mut runner = TestRunner::new(ProptestConfig {
            cases: ROUND,
            failure_persistence: None,
            ..ProptestConfig::default()
        });
        let result = runner.run(inputs, |input| {
            let peak = memory::peak_of(|| target(input));
            prop_assert!(peak <= MOST_MEMORY, "{peak} bytes of memory were taken at a time");
            Ok(())
        });
        match result {
            Ok(()) => {}
            Err(TestError::Fail(why, input)) => panic!("{why}; input: {input:?}"),
            Err(TestError::Abort(why)) => panic!("no input could be made: {why}"),
        }
        tried += u64::from(ROUND);
        if Instant::now() >= end {
            break;
        }
    }
    println!("{tried} inputs");
}

#[cfg(test)]
mod tests {
    use std::panic::catch_unwind;

    use super::*;

    #[test]
    fn panics_and_too_much_memory_are_noticed_and_the_input_is_made_small() {
        let found = catch_unwind(|| check(&(0u32..1000), |input| assert!(input < 500, "it is large")));
        let text = found
            .expect_err("large ones come")
            .downcast::<String>()
            .expect("a text");
        assert!(text.contains("it is large") && text.ends_with("input: 500"), "{text}");
        let found = catch_unwind(|| check(&Just(()), |()| drop(vec![1u8; MOST_MEMORY + 1])));
        let text = found.expect_err("it is too much").downcast::<String>().expect("a text");
        assert!(text.contains("bytes of memory"), "{text}");
    }
}
