//! Which calls a trace shows, where the kernel has not decided it.

use std::collections::HashMap;
use std::sync::Arc;

use spelunk_bpf::{Comparison, Flags, Goroutines, HitCounts, HitTest, RecordView};
use spelunk_dwarf::{Binary, FileAddr};

use super::engine::Installed;
use super::record::Live;
use crate::debugger::hit_condition::HitCondition;

/// The counts of goroutines are forgotten beyond this number: most of them have ended.
const MAX_COUNTS: usize = 1 << 20;

/// Whether a call is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Passed {
    /// It is.
    Yes,
    /// It is not.
    No,
    /// Nobody can tell, and why: it is shown with that.
    Unknown(String),
}

/// How often a condition must have been true, and of whom.
#[derive(Clone, Copy, Debug)]
pub(super) struct HitRule {
    /// How the number of a hit is compared.
    pub(super) condition: HitCondition,
    /// Whether each goroutine is counted for itself.
    pub(super) per_goroutine: bool,
}

/// Decides which calls are shown.
pub(super) struct Passing {
    binary: Arc<Binary>,
    /// The counters of the kernel, where it counts.
    kernel: Option<HitCounts>,
    rule: Option<HitRule>,
    /// What was counted here: by the entry of the function, and by the goroutine or 0.
    counts: HashMap<(FileAddr, i64), u64>,
}

impl Passing {
    /// `kernel` are the counters of the probes that hits come from; nothing where they are of stops, which are counted here by `rule`.
    pub(super) fn new(binary: Arc<Binary>, kernel: Option<HitCounts>, rule: Option<HitRule>) -> Passing {
        Passing {
            binary,
            kernel,
            rule,
            counts: HashMap::new(),
        }
    }

    /// Whether the call is shown that `record` is of; with `live`, one at which the program stands still.
    pub(super) fn call(&mut self, site: &Installed<()>, record: &RecordView<'_>, live: Option<Live<'_>>) -> Passed {
        let flags = record.flags();
        let open = live.is_some() || flags.has(Flags::CONDITION_UNKNOWN);
        if !open && !flags.has(Flags::HITS_UNKNOWN) {
            return Passed::Yes;
        }
        match site.plan.holds(&self.binary, record, live) {
            Ok(true) => {}
            Ok(false) => return Passed::No,
            Err(error) => return Passed::Unknown(format!("error evaluating condition: {error}")),
        }
        let passes = match (live, &self.kernel) {
            (None, Some(kernel)) => match site.plan.plan.gate.hits {
                Some(hits) if hits.goroutines == Goroutines::Apart => None,
                Some(hits) => Some(test_holds(hits.test, kernel.count_hit(hits.counter))),
                None => Some(true),
            },
            _ => match self.rule {
                Some(rule) => Some(self.counted(rule, site.plan.entry, record.goroutine())),
                None => Some(true),
            },
        };
        match passes {
            Some(true) => Passed::Yes,
            Some(false) => Passed::No,
            None => Passed::Unknown("the kernel could not count the calls of its goroutine".to_owned()),
        }
    }

    fn counted(&mut self, rule: HitRule, function: FileAddr, goroutine: i64) -> bool {
        if self.counts.len() >= MAX_COUNTS {
            self.counts.clear();
        }
        let whose = if rule.per_goroutine { goroutine } else { 0 };
        let count = self.counts.entry((function, whose)).or_default();
        *count = count.saturating_add(1);
        rule.condition.holds(*count)
    }
}

fn test_holds(test: HitTest, hits: u64) -> bool {
    match test {
        HitTest::Any => true,
        HitTest::Multiple(number) => hits.checked_rem(number) == Some(0),
        HitTest::Compare(comparison, number) => match comparison {
            Comparison::Equal => hits == number,
            Comparison::NotEqual => hits != number,
            Comparison::Less => hits < number,
            Comparison::LessOrEqual => hits <= number,
            Comparison::Greater => hits > number,
            Comparison::GreaterOrEqual => hits >= number,
        },
    }
}
