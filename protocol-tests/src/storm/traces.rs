//! What traces of the program show.

use std::collections::HashMap;

use crate::failure::{Failure, Result};
use crate::trace_text::{Entry, entries};

/// What a trace came to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Traced {
    /// How many calls it showed.
    pub calls: u64,
    /// How many returns.
    pub returns: u64,
    /// What its table says of all probes: hits, condition false, throttled, ring full, emitted.
    pub all: [u64; 5],
}

/// Judges all that a trace has shown of the program's functions. `condition` is what must be so of the arguments of each call of `visit`.
pub fn judge_trace(stderr: &str, condition: impl Fn(i64) -> bool) -> Result<Traced> {
    let mut traced = Traced::default();
    // The calls that have not returned, by goroutine.
    let mut open: HashMap<i64, Vec<(String, Vec<String>)>> = HashMap::new();
    for entry in entries(stderr) {
        let wrong = |why: &str| Failure::new(format!("a line of the trace is wrong: {why}: {entry:?}"));
        match &entry {
            Entry::Call {
                goroutine,
                function,
                arguments,
            } => {
                traced.calls += 1;
                let arguments: Vec<String> = arguments.split(", ").map(str::to_owned).collect();
                is_call(*goroutine, function, &arguments, &condition)
                    .filter(|right| *right)
                    .ok_or_else(|| wrong("the arguments do not belong together"))?;
                open.entry(*goroutine).or_default().push((function.clone(), arguments));
            }
            Entry::Return {
                goroutine,
                function,
                results,
            } => {
                traced.returns += 1;
                let calls = open.entry(*goroutine).or_default();
                // The probes of a running program are put in one after the other: the first returns may be of calls that were not seen, and of the first calls
                // the returns may be missing.
                let is_its = |(name, arguments): &(String, Vec<String>)| {
                    name == function && is_return(function, arguments, results) != Some(false)
                };
                if let Some(at) = calls.iter().rposition(is_its) {
                    calls.truncate(at);
                } else if let Some((_, arguments)) = calls.iter().rfind(|(name, _)| name == function)
                    && !(function == "main.grow" && is_of_another_depth(arguments, results))
                {
                    return Err(wrong(&format!("its call had {arguments:?}")));
                }
            }
            Entry::Other(text) => {
                if let Some(rest) = text.strip_prefix("all probes") {
                    let numbers: Vec<u64> = rest.split_whitespace().filter_map(|word| word.parse().ok()).collect();
                    let [hits, is_false, throttled, ring_full, emitted, _] = numbers[..] else {
                        return Err(wrong("six numbers are expected"));
                    };
                    if hits != is_false + throttled + ring_full + emitted {
                        return Err(wrong("not every hit has its place"));
                    }
                    traced.all = [hits, is_false, throttled, ring_full, emitted];
                }
            }
        }
    }
    Ok(traced)
}

fn number(arguments: &[String], index: usize) -> Option<i64> {
    arguments.get(index)?.parse().ok()
}

fn is_call(goroutine: i64, function: &str, arguments: &[String], condition: impl Fn(i64) -> bool) -> Option<bool> {
    let n = |index| number(arguments, index);
    let s = |index: usize| arguments.get(index)?.strip_prefix('"')?.strip_suffix('"');
    Some(match function {
        "main.visit" => {
            let x = n(0)?;
            n(1)? == 2 * x && s(2)? == format!("n{x}") && n(3)? == goroutine && condition(x)
        }
        "main.steady" => n(1)? == n(0)? * n(0)?,
        "main.lookUp" => s(2)? == format!("k{}", n(3)?),
        "main.pair[go.shape.int]" | "main.pair[go.shape.int64]" => n(1)? == 2 * n(0)?,
        "main.pair[go.shape.string]" => s(1)? == s(0)?.repeat(2) && s(0)?.starts_with('n'),
        "main.risk" => (n(0)? % 3 == 0) == (arguments.get(1)? == "*main.order nil"),
        "main.grow" => (0..=200).contains(&n(0)?) && arguments.len() == 3,
        "main.place" => n(1)? == goroutine,
        _ => true,
    })
}

fn is_return(function: &str, arguments: &[String], results: &str) -> Option<bool> {
    let n = |index| number(arguments, index);
    let result = || results.parse::<i64>().ok();
    Some(match function {
        "main.visit" => {
            let name = arguments.get(2)?;
            results == format!("{},{name}", 3 * n(1)? + name.len() as i64 - 2)
        }
        "main.steady" => result()? == n(0)?,
        "main.lookUp" => result()? == n(3)? + arguments.get(2)?.len() as i64 - 2,
        "main.risk" => result()? == if n(0)? % 3 == 0 { -n(0)? } else { n(0)? },
        "main.pair[go.shape.int]" | "main.pair[go.shape.int64]" | "main.pair[go.shape.string]" => results == "true",
        // The sum of the marks above, which are one deeper each.
        "main.grow" => {
            let (depth, top) = (n(0)?, n(1)?);
            let marks = depth + 1;
            result()? == 31 * marks * (marks + 1) / 2 + marks * top
        }
        _ => true,
    })
}

/// Whether results are those of another call of the same recursion.
fn is_of_another_depth(arguments: &[String], results: &str) -> bool {
    (0..=200).any(|depth| {
        let mut other = arguments.to_vec();
        if let Some(first) = other.first_mut() {
            *first = format!("{depth}");
        }
        is_return("main.grow", &other, results) == Some(true)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "> goroutine(7): main.visit(3, 6, \"n3\", 7)\n";

    #[test]
    fn a_right_trace_is_right_and_a_wrong_one_wrong() {
        let right = format!("{CALL}>> goroutine(7): main.visit => (20,\"n3\")\n");
        let traced = judge_trace(&right, |x| x == 3).expect("it is right");
        assert_eq!((traced.calls, traced.returns), (1, 1));
        assert!(judge_trace(&right, |x| x == 4).is_err());
        let wrong = format!("{CALL}>> goroutine(7): main.visit => (21,\"n3\")\n");
        assert!(judge_trace(&wrong, |_| true).is_err());
        assert!(judge_trace("> goroutine(7): main.visit(3, 6, \"n3\", 8)\n", |_| true).is_err());
    }
}
