//! What the command line asks of the calls that a trace shows.

use spelunk_bpf::HitCount;

use super::engine::Engine;
use super::function::Decides;
use super::passing::HitRule;
use super::planning::Asked;
use crate::cli::trace::TraceArgs;
use crate::debugger::hit_condition::HitCondition;
use crate::expr::{Expr, parse};

/// What the command line asks of calls.
pub(super) struct Wanted {
    condition: Option<Expr>,
    rule: Option<HitRule>,
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
        })
    }

    /// One counter for each function, if hits are counted.
    pub(super) fn counters(&self, engine: &mut Engine<()>, functions: usize) -> Result<Vec<HitCount>, String> {
        let Some(rule) = self.rule else { return Ok(Vec::new()) };
        let counters = engine.hit_counters(functions).map_err(|error| error.to_string())?;
        let count = |counter| HitCount {
            counter,
            test: rule.condition.test(),
            per_goroutine: rule.per_goroutine,
        };
        Ok(counters.into_iter().map(count).collect())
    }

    /// The same for the planner.
    pub(super) fn asked<'w>(&'w self, hits: &'w [HitCount], decides: Decides) -> Asked<'w> {
        Asked {
            condition: self.condition.as_ref(),
            hits,
            only_some: self.condition.is_some() || self.rule.is_some(),
            decides,
        }
    }

    /// Which calls are shown, by their number.
    pub(super) fn rule(&self) -> Option<HitRule> {
        self.rule
    }
}
