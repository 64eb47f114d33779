//! Breakpoints into the program, and out of it.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};

use spelunk_bpf::{CounterId, Goroutines};
use spelunk_dwarf::{FileAddr, ProcAddr};

use super::breakpoints::{
    Carrier, Exception, GoroutineHits, Group, Hits, Logical, Origin, ParsedTerms, Planted, Wanted, find_places,
    refused, wanted_exceptions,
};
use super::control::Control;
use super::probe_stops::instruction_bytes;
use super::probes::NoProbes;
use super::request::{BreakpointTerms, Shown};
use super::{BreakpointId, BreakpointState, Event, ExceptionFilters};
use crate::trace::Unfit;

/// What a client that names one place twice is told, in Delve's words.
const TWICE: &str = "breakpoint already exists";

impl Control {
    /// Replaces the breakpoints of a group. What the client sends again keeps its number and its hits, whatever has changed of its terms.
    pub(super) fn set_breakpoints(&mut self, group: &Group, wanted: &[Wanted]) -> Vec<BreakpointState> {
        // What is gone must not act any more when this is answered, what is new must not wait for it.
        let unwanted = self.breakpoints.unwanted(group, wanted);
        self.withdraw(&unwanted);
        self.remove_breakpoints(&unwanted);
        // A session with one target has nobody to bring them to.
        let is_alone = self.group.is_alone();
        let known = self.breakpoints.iter().filter(|_| !is_alone);
        let before: Vec<_> = known.map(|known| (known.id, known.terms.clone())).collect();
        let mut states = Vec::with_capacity(wanted.len());
        for (index, one) in wanted.iter().enumerate() {
            let is_first = !wanted[..index].iter().any(|earlier| earlier.origin == one.origin);
            states.push(match self.breakpoints.with_origin(&one.origin) {
                Some(id) if self.refused.is_some() => refused(id, self.refused.clone().unwrap_or_default()),
                Some(id) if !is_first => refused(id, TWICE.to_owned()),
                Some(id) => self.amend(id, one),
                None if !is_first => refused(BreakpointId(0), TWICE.to_owned()),
                None => self.create(one),
            });
        }
        let is_known = |logical: &&Logical| {
            before
                .iter()
                .any(|(id, terms)| *id == logical.id && *terms == logical.terms)
        };
        if !is_alone {
            let changed = self.breakpoints.iter().filter(|logical| !is_known(logical));
            let changed: Vec<_> = changed.map(|logical| logical.id).collect();
            self.spread(&changed);
        }
        self.for_others(|control| {
            for state in states.iter_mut().filter(|state| !state.verified) {
                let elsewhere = control.breakpoints.get(state.id).filter(|logical| logical.is_placed());
                if let Some(logical) = elsewhere {
                    *state = logical.state();
                }
            }
        });
        self.guard_probes();
        if !self.sites.is_empty()
            && let Err(error) = self.trace()
        {
            for state in &mut states {
                state.verified = false;
                state.message = Some(error.to_string());
            }
        }
        states
    }

    fn create(&mut self, wanted: &Wanted) -> BreakpointState {
        let found = find_places(&self.binary, &wanted.origin);
        // Delve takes a number before it looks for a line or at a condition, and after it has found a function and read a message. Its clients see the
        // numbers.
        let unnumbered = match &found {
            Err(why) if matches!(wanted.origin, Origin::Function(_)) => Some(why.clone()),
            _ => ParsedTerms::message_error(&wanted.terms),
        };
        if let Some(why) = unnumbered {
            return refused(BreakpointId(0), why);
        }
        let id = self.breakpoints.next_id();
        let parsed = match ParsedTerms::of(&wanted.terms) {
            Ok(parsed) => parsed,
            Err(why) => return refused(BreakpointId(0), why),
        };
        if let Some(why) = &self.refused {
            return refused(id, why.clone());
        }
        let (places, missing) = match found {
            Ok(places) => (places, None),
            // A child may have the place.
            Err(why) if self.group.follow.is_some() || !self.group.is_alone() => (Vec::new(), Some(why)),
            Err(why) => return refused(id, why),
        };
        let at = self.line_of_places(&places);
        let mut logical = Logical {
            id,
            origin: wanted.origin.clone(),
            terms: wanted.terms.clone(),
            parsed,
            places,
            at,
            hits: Hits::Here(0),
            carrier: Carrier::Nothing,
            message: None,
            evaluated_at_stops: false,
            switched_off: None,
            placed: None,
            extra: BreakpointTerms::default(),
            enabled: true,
            recorded: None,
            by_goroutine: GoroutineHits::default(),
            told_apart: false,
            shown: Shown::default(),
        };
        if let Some(why) = missing {
            tracing::debug!("breakpoint {} waits for a program that has its place: {why}", id.0);
            let state = logical.pending_state();
            self.breakpoints.add(logical);
            return state;
        }
        match self.arm(&mut logical) {
            Ok(()) => {
                let state = logical.state();
                self.breakpoints.add(logical);
                state
            }
            Err(why) => refused(id, why),
        }
    }

    /// The file and line of the first of these places.
    pub(super) fn line_of_places(&self, places: &[FileAddr]) -> Option<(String, u32)> {
        let (file, line) = self.binary.line_at(*places.first()?)?;
        Some((file.to_string(), line))
    }

    fn amend(&mut self, id: BreakpointId, wanted: &Wanted) -> BreakpointState {
        let Some(logical) = self.breakpoints.get(id) else {
            return refused(id, "the breakpoint is gone".to_owned());
        };
        if logical.terms == wanted.terms {
            return if logical.places.is_empty() {
                logical.pending_state()
            } else {
                logical.state()
            };
        }
        let parsed = match ParsedTerms::of(&wanted.terms) {
            Ok(parsed) => parsed,
            Err(why) => {
                let mut state = logical.state();
                state.verified = false;
                state.message = Some(why);
                return state;
            }
        };
        let Some(mut logical) = self.breakpoints.remove(id) else {
            return refused(id, "the breakpoint is gone".to_owned());
        };
        self.disarm(&mut logical);
        logical.terms = wanted.terms.clone();
        logical.parsed = parsed;
        let state = if logical.places.is_empty() {
            logical.pending_state()
        } else {
            match self.arm(&mut logical) {
                Ok(()) => logical.state(),
                Err(why) => refused(id, why),
            }
        };
        if state.verified || state.is_pending {
            self.breakpoints.put_back(logical);
        }
        state
    }

    /// Takes breakpoints out for good.
    pub(super) fn remove_breakpoints(&mut self, ids: &[BreakpointId]) {
        let (mut planted, mut left) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(mut logical) = self.breakpoints.remove(*id) else {
                continue;
            };
            left.push((*id, logical.hits));
            if let Carrier::Probes(probes) = std::mem::replace(&mut logical.carrier, Carrier::Nothing) {
                planted.push((*id, probes));
            } else {
                self.free(&logical);
            }
        }
        for (_, probes) in &planted {
            self.probes.retire_sites(&probes.sites);
        }
        if !planted.is_empty() {
            self.probes.drain();
        }
        for (id, probes) in planted {
            probes.heard.store(false, Ordering::Release);
            self.uproot(probes);
            self.probes.tell_losses(id);
        }
        // Nothing counts any more.
        for (id, hits) in left {
            self.probes.recycle(id, hits);
        }
    }

    /// Takes probes out of the program. They stop nobody any more when this returns; the kernel needs a while to close their link, which nobody waits for.
    pub(super) fn uproot(&mut self, planted: Planted) {
        self.probes.retire_sites(&planted.sites);
        let bias = self.bias;
        if let Some(inferior) = self.inferior.as_mut() {
            for addr in &planted.addresses {
                inferior.forget_probe(bias.to_proc(*addr));
            }
        }
        self.closing.close(planted.link, planted.addresses);
    }

    /// Puts a breakpoint on what carries it: kernel probes where they spare the program stops and nothing else requires to stop there, else stop sites.
    pub(super) fn arm(&mut self, logical: &mut Logical) -> Result<(), String> {
        logical.carrier = Carrier::Nothing;
        logical.message = None;
        logical.evaluated_at_stops = false;
        logical.switched_off = None;
        let is_site = logical.places.iter().any(|addr| self.sites.users(*addr).is_some());
        // Kernel probes see the process only that the session began with.
        if !self.group.is_first_in_focus() && logical.gains_by_probes() {
            logical.evaluated_at_stops = true;
        } else if logical.gains_by_probes() && !is_site {
            let why = match self.plant(logical) {
                Ok(()) => return Ok(()),
                Err(why) => why,
            };
            if logical.stops() {
                logical.evaluated_at_stops = true;
                // One that has no value anywhere in the function fails at each hit, and says so there, as in Delve.
                if !matches!(why, NoProbes::Unfit(Unfit::Condition(_))) {
                    logical.message = Some(format!("evaluated at a stop: {why}"));
                }
            } else {
                // Attaching may not become stopping by surprise.
                let refuses_surprise = !self.was_launched && !self.limits.may_stop_for_logpoints;
                if refuses_surprise {
                    return Err(format!(
                        "this logpoint could only be served by stopping the program at each hit: {why}; to allow that, set allowStopForLogpoints in the launch configuration"
                    ));
                }
                logical.evaluated_at_stops = true;
                self.tell_fallback(&why.to_string());
            }
        }
        self.free_probes_at(logical);
        self.occupy(logical);
        Ok(())
    }

    /// Puts the probes of a breakpoint into the program. The error says why it has none.
    fn plant(&mut self, logical: &mut Logical) -> Result<(), NoProbes> {
        let counter = match logical.hits {
            Hits::InKernel(counter) => counter,
            Hits::Here(hits) => self.probes.add_counter(hits).map_err(NoProbes::Unavailable)?,
        };
        logical.hits = Hits::InKernel(counter);
        self.hand_goroutines_over(logical, counter)
            .map_err(NoProbes::Unavailable)?;
        // Who stands at the breakpoint has come to it already. Behind it, on a cheaper instruction, the probe would stop that thread once more.
        let standing = self.places_of_threads();
        // Clients of Delve's JSON-RPC are told where exactly a thread stands.
        let exact = matches!(logical.origin, Origin::Instruction(_) | Origin::Single)
            || logical
                .places
                .iter()
                .any(|addr| standing.contains(&self.to_proc(*addr)));
        let view = Arc::new(self.view_to_be(logical));
        let planted = self.probes.install(logical, &view, counter, exact)?;
        if logical.stops_by_probes() {
            self.know_probes_at(&planted.addresses);
        }
        logical.told_apart = logical.goroutines_told() != Goroutines::Together;
        logical.carrier = Carrier::Probes(planted);
        Ok(())
    }

    /// Has the kernel go on from what was counted of each goroutine here, where it compares that.
    fn hand_goroutines_over(&mut self, logical: &Logical, counter: CounterId) -> Result<(), String> {
        if logical.goroutines_told() != Goroutines::Apart {
            return Ok(());
        }
        let mut here = logical.by_goroutine.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = |(goroutine, count): (&i64, &u64)| (goroutine.cast_unsigned(), *count);
        let hits = here.iter().map(counted).collect();
        self.probes.hand_over(counter, self.pid.cast_unsigned(), &hits)?;
        here.clear();
        Ok(())
    }

    /// Makes the probes that may stop threads known to the tracer, which has them passed unseen where a thread stands at one.
    pub(super) fn know_probes(&mut self) {
        let addresses: Vec<FileAddr> = self
            .breakpoints
            .iter()
            .filter(|logical| logical.stops_by_probes())
            .filter_map(|logical| match &logical.carrier {
                Carrier::Probes(planted) => Some(planted.addresses.clone()),
                _ => None,
            })
            .flatten()
            .collect();
        self.know_probes_at(&addresses);
    }

    fn know_probes_at(&mut self, addresses: &[FileAddr]) {
        let bias = self.bias;
        let Some(inferior) = self.inferior.as_mut() else { return };
        for addr in addresses {
            let code = instruction_bytes(&self.binary, *addr);
            if let Err(error) = inferior.know_probe(bias.to_proc(*addr), code) {
                tracing::warn!("a thread that stands at the probe at {addr} will pass it again: {error}");
            }
        }
    }

    /// How often a breakpoint was passed so far, while its condition held.
    pub(super) fn hits_of(&self, logical: &Logical) -> u64 {
        match logical.hits {
            Hits::Here(hits) => hits,
            Hits::InKernel(counter) => self.probes.hits(counter),
        }
    }

    /// Whether a breakpoint will act again.
    pub(super) fn can_still_act(&self, logical: &Logical) -> bool {
        logical.extra.hits_per_goroutine
            || logical
                .parsed
                .hit_condition
                .is_none_or(|condition| condition.can_still_hold(self.hits_of(logical)))
    }

    /// Says once that logpoints stop the program, and why.
    fn tell_fallback(&mut self, why: &str) {
        let text = format!("logpoints stop the program shortly at each hit: {why}");
        if !self.told.contains(&text) {
            let _ = self.events.send(Event::Notice(text.clone()));
            self.told.push(text);
        }
    }

    /// Makes the places of a breakpoint stop sites.
    fn occupy(&mut self, logical: &mut Logical) {
        logical.carrier = Carrier::Sites;
        let id = logical.id;
        let new: Vec<_> = logical
            .places
            .iter()
            .copied()
            .filter(|addr| self.sites.add_breakpoint(*addr, id))
            .collect();
        self.put_in(&new);
    }

    /// Gives the stop sites of a breakpoint up.
    fn free(&mut self, logical: &Logical) {
        let free: Vec<_> = logical
            .places
            .iter()
            .copied()
            .filter(|addr| self.sites.remove_breakpoint(*addr, logical.id))
            .collect();
        self.take_out(&free);
    }

    pub(super) fn disarm(&mut self, logical: &mut Logical) {
        match std::mem::replace(&mut logical.carrier, Carrier::Nothing) {
            Carrier::Nothing => {}
            Carrier::Sites => self.free(logical),
            Carrier::Probes(planted) => self.uproot(planted),
        }
    }

    /// Breakpoints whose probes lie where a breakpoint is about to stop the program are evaluated at the stop from now on: an int3 and a uprobe never
    /// share an address.
    fn free_probes_at(&mut self, newcomer: &Logical) {
        let places = newcomer.places.clone();
        self.free_probes(&|addr| places.contains(&addr));
    }

    /// The same for any addresses.
    pub(super) fn free_probes(&mut self, are_wanted: &dyn Fn(FileAddr) -> bool) {
        let ids: Vec<_> = self
            .breakpoints
            .iter()
            .filter(|logical| {
                let Carrier::Probes(planted) = &logical.carrier else {
                    return false;
                };
                // A probe may lie on a later instruction of the statement: what stops at its beginning is at the same place for the user.
                logical
                    .places
                    .iter()
                    .chain(&planted.addresses)
                    .any(|addr| are_wanted(*addr))
            })
            .map(|logical| logical.id)
            .collect();
        for id in ids {
            let Some(mut logical) = self.breakpoints.remove(id) else {
                continue;
            };
            self.disarm(&mut logical);
            self.occupy(&mut logical);
            self.breakpoints.put_back(logical);
        }
    }

    /// Gives breakpoints that the kernel could carry, and that are alone at their places, their probes back. A logpoint that a thread stands at waits.
    pub(super) fn restore_probes(&mut self) {
        let standing = self.places_of_threads();
        let ids: Vec<_> = self
            .breakpoints
            .iter()
            .filter(|logical| {
                logical.gains_by_probes()
                    && matches!(logical.carrier, Carrier::Sites)
                    // What could not be carried before cannot be now.
                    && !logical.evaluated_at_stops
                    && self.can_still_act(logical)
                    && logical.places.iter().all(|addr| {
                        let alone = self
                            .sites
                            .users(*addr)
                            .is_none_or(|users| users.breakpoints == [logical.id] && users.temporaries.is_empty());
                        // A logpoint would log the pass of a thread that stands there once more.
                        alone && (logical.stops_by_probes() || !standing.contains(&self.to_proc(*addr)))
                    })
            })
            .map(|logical| logical.id)
            .collect();
        for id in ids {
            let Some(mut logical) = self.breakpoints.remove(id) else {
                continue;
            };
            self.disarm(&mut logical);
            if let Err(why) = self.arm(&mut logical) {
                let _ = self.events.send(Event::Notice(why));
            }
            self.breakpoints.put_back(logical);
        }
        self.guard_probes();
    }

    /// Where the threads of the stopped target stand.
    fn places_of_threads(&self) -> Vec<ProcAddr> {
        let Some(inferior) = &self.inferior else {
            return Vec::new();
        };
        let pc = |thread| inferior.general_registers(thread).ok()?.pc().map(ProcAddr);
        inferior.threads().into_iter().filter_map(pc).collect()
    }

    /// Takes what carries breakpoints out whose hit condition can never hold again: passing them costs time.
    pub(super) fn drop_dead_sites(&mut self) {
        let dead: Vec<_> = self
            .breakpoints
            .iter()
            .filter(|logical| !matches!(logical.carrier, Carrier::Nothing) && !self.can_still_act(logical))
            .map(|logical| logical.id)
            .collect();
        for id in dead {
            if let Some(mut logical) = self.breakpoints.remove(id) {
                self.disarm(&mut logical);
                self.breakpoints.put_back(logical);
            }
        }
    }

    /// Says which exceptions stop the target from now on.
    pub(super) fn set_exception_filters(&mut self, filters: ExceptionFilters) -> Vec<BreakpointState> {
        self.exceptions = filters;
        for exception in wanted_exceptions(filters) {
            self.own.entry(exception.id()).or_default().is_cleared = false;
        }
        if self.inferior.is_some() {
            self.set_exceptions();
            self.for_others(Control::set_exceptions);
        } else if self.exception_probes.is_some()
            && let Err(why) = self.watch_exceptions()
        {
            let _ = self.events.send(Event::Notice(why));
        }
        wanted_exceptions(filters)
            .map(|exception| self.exception_state(exception))
            .collect()
    }

    fn exception_state(&self, exception: Exception) -> BreakpointState {
        let places = exception.places(&self.binary);
        let at = places.first().and_then(|addr| self.binary.line_at(*addr));
        let (file, line) = match at {
            // Delve's words where there is more than one.
            Some(_) if places.len() > 1 => (Some("<multiple locations>".to_owned()), None),
            Some((file, line)) => (Some(file.to_string()), Some(line)),
            None => (None, None),
        };
        BreakpointState {
            id: exception.id(),
            verified: true,
            message: None,
            file,
            line,
            is_pending: false,
        }
    }
}
