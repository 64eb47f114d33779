//! What the command line asks of the calls that a trace shows.

use spelunk_bpf::{Goroutines, HitCount, RateLimit};

use super::engine::{Engine, EngineError};
use super::function::Decides;
use super::passing::HitRule;
use super::planning::Asked;
use crate::cli::trace::TraceArgs;
use crate::debugger::hit_condition::HitCondition;
use crate::expr::{Expr, parse};

/// In nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// What the command line asks of calls.
pub(super) struct Wanted {
    condition: Option<Expr>,
    rule: Option<HitRule>,
    /// How many calls of each function are shown in a second.
    rate: Option<u32>,
}

/// What the kernel needs for what is asked of each function, in their order; nothing where it is not asked.
#[derive(Default)]
pub(super) struct Counting {
    hits: Vec<HitCount>,
    rates: Vec<RateLimit>,
}

impl Wanted {
    /// Parses it; the error is for the user.
    pub(super) fn of(args: &TraceArgs) -> Result<Wanted, String> {
        let condition = args.condition.as_deref().map(parse).transpose();
        let condition = condition.map_err(|error| format!("invalid --cond: {error}"))?;
        let hits = args.hit_condition.as_deref().map(HitCondition::parse).transpose();
        let hits = hits.map_err(|error| error.to_string())?;
        if args.per_goroutine && hits.is_none() {
            return Err("--hitcond-per-goroutine needs --hitcond".to_owned());
        }
        Ok(Wanted {
            condition,
            rule: hits.map(|condition| HitRule {
                condition,
                per_goroutine: args.per_goroutine,
            }),
            rate: args.rate,
        })
    }

    /// A counter for each function if hits are counted, and a limiter if they are limited.
    pub(super) fn counting(&self, engine: &mut Engine<()>, functions: usize) -> Result<Counting, EngineError> {
        let mut counting = Counting::default();
        if let Some(rule) = self.rule {
            let count = |counter| HitCount {
                counter,
                test: rule.condition.test(),
                goroutines: if rule.per_goroutine {
                    Goroutines::Apart
                } else {
                    Goroutines::Together
                },
            };
            counting.hits = engine.hit_counters(functions)?.into_iter().map(count).collect();
        }
        if let Some(most) = self.rate {
            let limit = |limiter| RateLimit {
                limiter,
                most,
                interval: SECOND,
            };
            counting.rates = engine.limiters(functions)?.into_iter().map(limit).collect();
        }
        Ok(counting)
    }

    /// The same for the planner.
    pub(super) fn asked<'w>(&'w self, counting: &'w Counting, decides: Decides) -> Asked<'w> {
        Asked {
            condition: self.condition.as_ref(),
            hits: &counting.hits,
            rates: &counting.rates,
            only_some: self.condition.is_some() || self.rule.is_some() || self.rate.is_some(),
            decides,
        }
    }

    /// Which calls are shown, by their number.
    pub(super) fn rule(&self) -> Option<HitRule> {
        self.rule
    }
}
