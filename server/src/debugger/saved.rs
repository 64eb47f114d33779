//! Breakpoints that outlive their target: a restart sets them again in the next one, which may be another build of the program.

use std::sync::Arc;

use super::breakpoints::{Carrier, GoroutineHits, Hits, Logical, Origin, ParsedTerms, Placed, Terms, find_places};
use super::control::{Control, Phase, failed};
use super::request::{BreakpointPlace, BreakpointTerms, BreakpointView, Shown};
use super::{BreakpointId, DebugError, ExceptionFilters, FollowChildren};

/// The breakpoints of a session, for the next one.
#[derive(Clone, Default)]
pub(crate) struct SavedBreakpoints {
    all: Vec<Saved>,
    last_id: i64,
    exceptions: ExceptionFilters,
    /// Which children are followed, which is kept as breakpoints are.
    follow: Option<FollowChildren>,
}

/// One of them.
#[derive(Clone)]
struct Saved {
    id: BreakpointId,
    origin: Origin,
    terms: Terms,
    placed: Option<Box<Placed>>,
    extra: BreakpointTerms,
    enabled: bool,
    shown: Shown,
}

impl Control {
    /// As [`super::Session::export_breakpoints`].
    pub(super) fn export_breakpoints(&self) -> SavedBreakpoints {
        let save = |logical: &Logical| Saved {
            id: logical.id,
            origin: logical.origin.clone(),
            terms: logical.terms.clone(),
            placed: logical.placed.clone(),
            extra: logical.extra.clone(),
            enabled: logical.enabled,
            shown: logical.shown.clone(),
        };
        SavedBreakpoints {
            all: self.breakpoints.shown().map(save).collect(),
            last_id: self.breakpoints.last_id(),
            exceptions: self.exceptions,
            follow: self.group.follow.clone(),
        }
    }

    /// As [`super::Session::restore_breakpoints`].
    pub(super) fn restore_breakpoints(&mut self, saved: SavedBreakpoints) -> Vec<(BreakpointView, String)> {
        let mut discarded = Vec::new();
        if self.phase == Phase::Held
            && self.binary.is_pie()
            && let Err(why) = self.seize()
        {
            // Whoever looks at the target is told why.
            tracing::warn!("it is not known where the program lies: {why}");
        }
        self.set_exception_filters(saved.exceptions);
        self.group.follow = saved.follow;
        self.hold_children();
        for one in saved.all {
            let mut logical = Logical {
                id: one.id,
                origin: one.origin,
                parsed: ParsedTerms::of(&one.terms).unwrap_or_default(),
                terms: one.terms,
                places: Vec::new(),
                at: None,
                hits: Hits::Here(0),
                carrier: Carrier::Nothing,
                message: None,
                evaluated_at_stops: false,
                switched_off: None,
                placed: one.placed,
                extra: one.extra,
                enabled: one.enabled,
                recorded: None,
                by_goroutine: GoroutineHits::default(),
                told_apart: false,
                shown: Shown::default(),
            };
            let done = if logical.enabled {
                self.switch_on_again(&mut logical)
            } else {
                Ok(())
            };
            if logical.shown == Shown::default() {
                logical.shown = one.shown;
            }
            match done {
                Ok(()) => self.breakpoints.put_back(logical),
                Err(why) => discarded.push((self.view_of(&logical), why.to_string())),
            }
        }
        self.breakpoints.count_from(BreakpointId(saved.last_id));
        self.guard_probes();
        discarded
    }

    fn switch_on_again(&mut self, logical: &mut Logical) -> Result<(), DebugError> {
        match (&logical.origin, &mut logical.placed) {
            (Origin::Single, Some(placed)) => {
                // Addresses mean something else in the next process, and perhaps in the next build.
                if matches!(placed.place, BreakpointPlace::Addresses(_)) {
                    if placed.expression.is_none() {
                        return Err(failed(format!("breakpoint {} can not be enabled", logical.id.0)));
                    }
                    placed.place = BreakpointPlace::Nowhere;
                }
            }
            (Origin::Instruction(_), _) => {
                return Err(failed(format!("breakpoint {} can not be enabled", logical.id.0)));
            }
            (origin, _) => logical.places = find_places(&Arc::clone(&self.binary), origin).map_err(failed)?,
        }
        self.switch_on(logical)
    }
}
