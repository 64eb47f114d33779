//! Two servers' observations of one program side by side.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::program::Program;
use super::{Observation, Observed, dap, rpc};
use crate::differential::{Difference, Explained, Protocol, parts};
use crate::peer;

/// How many observations came out how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// All.
    pub observations: usize,
    /// Those that are the same in every part.
    pub equal: usize,
    /// Those whose every difference has a reason.
    pub explained: usize,
    /// The others.
    pub unexplained: usize,
}

/// What came of one program.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// The program.
    pub program: String,
    /// Why it was left out.
    pub skipped: Option<String>,
    /// By context.
    pub counts: BTreeMap<&'static str, Counts>,
    /// How many observations each explanation covers, by its index.
    pub used: BTreeMap<usize, usize>,
    /// The differences that nobody explained.
    pub unexplained: Vec<Difference>,
    /// Why it could not be looked at to the end, by whom.
    pub broken: Vec<String>,
    /// How long it took.
    pub took: Duration,
}

impl Outcome {
    /// Whether nothing is left to be explained.
    pub fn is_fine(&self) -> bool {
        self.unexplained.is_empty() && self.broken.is_empty()
    }
}

/// Looks at programs with both servers, `jobs` sessions at a time.
pub fn compare(programs: &[Program], theirs: &Path, ours: &Path, explained: &[Explained], jobs: usize) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let outcomes = Mutex::new(vec![Outcome::default(); programs.len()]);
    std::thread::scope(|scope| {
        for _ in 0..jobs.max(1) {
            scope.spawn(|| {
                while let Some(at) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|at| *at < programs.len()) {
                    let outcome = one(&programs[at], theirs, ours, explained);
                    if let Ok(mut outcomes) = outcomes.lock() {
                        outcomes[at] = outcome;
                    }
                }
            });
        }
    });
    outcomes.into_inner().unwrap_or_default()
}

fn one(program: &Program, theirs: &Path, ours: &Path, explained: &[Explained]) -> Outcome {
    let began = Instant::now();
    let mut outcome = Outcome {
        program: program.name.to_owned(),
        ..Outcome::default()
    };
    let ready = match program.prepare() {
        Ok(Ok(ready)) => ready,
        Ok(Err(why)) => {
            peer::skip(&format!("the comparison of values of {}", program.name), &why);
            outcome.skipped = Some(why);
            return outcome;
        }
        Err(failure) => {
            outcome.broken.push(format!("building it: {failure:?}"));
            return outcome;
        }
    };
    for observe in [dap::observe, rpc::observe] {
        let (left, right) = std::thread::scope(|scope| {
            let left = scope.spawn(|| observe(theirs, program, &ready));
            (observe(ours, program, &ready), left.join().unwrap_or_default())
        });
        let (ours, theirs) = (left, right);
        for (who, observed) in [("dlv", &theirs), ("spelunk", &ours)] {
            outcome
                .broken
                .extend(observed.failed.iter().map(|why| format!("with {who}: {why}")));
        }
        side_by_side(&mut outcome, &theirs, &ours, explained);
    }
    outcome.took = began.elapsed();
    outcome
}

/// Counts what is equal, explained and neither.
fn side_by_side(outcome: &mut Outcome, theirs: &Observed, ours: &Observed, explained: &[Explained]) {
    let ours = by_title(&ours.observations);
    let theirs = by_title(&theirs.observations);
    let only_ours = ours.order.iter().filter(|key| !theirs.answers.contains_key(*key));
    for key in theirs.order.iter().chain(only_ours) {
        let (context, title, _) = key;
        let (left, right) = (theirs.answers.get(key), ours.answers.get(key));
        let message = format!("{context}, {title}");
        let protocol = if context.starts_with("DAP") {
            Protocol::Dap
        } else {
            Protocol::Rpc
        };
        let found = match (left, right) {
            (Some(left), Some(right)) => parts(protocol, &message, left, right),
            (left, right) => vec![Difference {
                message,
                pointer: if right.is_none() { "missing" } else { "additional" }.to_owned(),
                theirs: left.map(ToString::to_string).unwrap_or_default(),
                ours: right.map(ToString::to_string).unwrap_or_default(),
            }],
        };
        let counts = outcome.counts.entry(context).or_default();
        counts.observations += 1;
        if found.is_empty() {
            counts.equal += 1;
            continue;
        }
        let reasons: Vec<Option<usize>> = found
            .iter()
            .map(|one| explained.iter().position(|by| by.covers(&outcome.program, one)))
            .collect();
        if reasons.iter().all(Option::is_some) {
            counts.explained += 1;
        } else {
            counts.unexplained += 1;
        }
        let mut used: Vec<usize> = reasons.iter().flatten().copied().collect();
        used.sort_unstable();
        used.dedup();
        for by in used {
            *outcome.used.entry(by).or_default() += 1;
        }
        let unexplained = found.into_iter().zip(reasons).filter(|(_, reason)| reason.is_none());
        outcome.unexplained.extend(unexplained.map(|(one, _)| one));
    }
}

/// A context, a title, and how many before had the same.
type Key<'a> = (&'static str, &'a str, usize);

struct ByTitle<'a> {
    order: Vec<Key<'a>>,
    answers: HashMap<Key<'a>, &'a serde_json::Value>,
}

fn by_title(observations: &[Observation]) -> ByTitle<'_> {
    let mut seen: HashMap<(&str, &str), usize> = HashMap::new();
    let mut all = ByTitle {
        order: Vec::new(),
        answers: HashMap::new(),
    };
    for one in observations {
        let count = seen.entry((one.context, &one.title)).or_default();
        let key = (one.context, one.title.as_str(), *count);
        *count += 1;
        all.order.push(key);
        all.answers.insert(key, &one.answer);
    }
    all
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn observed(all: &[(&'static str, &str, serde_json::Value)]) -> Observed {
        let observations = all
            .iter()
            .map(|(context, title, answer)| Observation {
                context,
                title: (*title).to_owned(),
                answer: answer.clone(),
            })
            .collect();
        Observed {
            observations,
            failed: None,
        }
    }

    #[test]
    fn observations_pair_by_title_and_what_one_lacks_is_a_difference() {
        let theirs = observed(&[
            ("DAP watch", "1: a", json!({"result": "1"})),
            ("DAP watch", "1: b", json!({"result": "2"})),
            ("RPC Eval", "1: c", json!({"x": null})),
        ]);
        let ours = observed(&[
            ("DAP watch", "1: a", json!({"result": "1", "extra": null})),
            ("RPC Eval", "1: c", json!({})),
            ("RPC Eval", "1: d", json!({})),
        ]);
        let mut outcome = Outcome::default();
        side_by_side(&mut outcome, &theirs, &ours, &[]);
        let watch = outcome.counts["DAP watch"];
        assert_eq!((watch.observations, watch.equal, watch.unexplained), (2, 1, 1));
        let eval = outcome.counts["RPC Eval"];
        assert_eq!((eval.observations, eval.equal, eval.unexplained), (2, 0, 2));
        let pointers: Vec<&str> = outcome.unexplained.iter().map(|one| one.pointer.as_str()).collect();
        assert_eq!(pointers, ["missing", "/x", "additional"]);
    }
}
