//! Breakpoints into the program, and out of it.

use spelunk_dwarf::ProcAddr;

use super::breakpoints::{
    Carrier, Exception, Group, Logical, Origin, ParsedTerms, Wanted, find_places, refused, wanted_exceptions,
};
use super::control::Control;
use super::logpoints::{NoProbes, close_links};
use super::{BreakpointId, BreakpointState, Event, ExceptionFilters};

/// What a client that names one place twice is told, in Delve's words.
const TWICE: &str = "breakpoint already exists";

impl Control {
    /// Replaces the breakpoints of a group. What the client sends again keeps its number and its hits, whatever has changed of its terms.
    pub(super) fn set_breakpoints(&mut self, group: &Group, wanted: &[Wanted]) -> Vec<BreakpointState> {
        // What is gone must not act any more when this is answered, what is new must not wait for it.
        let unwanted = self.breakpoints.unwanted(group, wanted);
        self.remove_breakpoints(&unwanted);
        let mut states = Vec::with_capacity(wanted.len());
        for (index, one) in wanted.iter().enumerate() {
            let is_first = !wanted[..index].iter().any(|earlier| earlier.origin == one.origin);
            states.push(match self.breakpoints.with_origin(&one.origin) {
                Some(id) if !is_first => refused(id, TWICE.to_owned()),
                Some(id) => self.amend(id, one),
                None if !is_first => refused(BreakpointId(0), TWICE.to_owned()),
                None => self.create(one),
            });
        }
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
        let places = match found {
            Ok(places) => places,
            Err(why) => return refused(id, why),
        };
        let at = places
            .first()
            .and_then(|addr| self.binary.line_at(*addr))
            .map(|(file, line)| (file.to_string(), line));
        let mut logical = Logical {
            id,
            origin: wanted.origin.clone(),
            terms: wanted.terms.clone(),
            parsed,
            places,
            at,
            hits: 0,
            carrier: Carrier::Nothing,
        };
        match self.arm(&mut logical) {
            Ok(()) => {
                let state = logical.state();
                self.breakpoints.add(logical);
                state
            }
            Err(why) => refused(id, why),
        }
    }

    fn amend(&mut self, id: BreakpointId, wanted: &Wanted) -> BreakpointState {
        let Some(logical) = self.breakpoints.get(id) else {
            return refused(id, "the breakpoint is gone".to_owned());
        };
        if logical.terms == wanted.terms {
            return logical.state();
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
        let state = match self.arm(&mut logical) {
            Ok(()) => logical.state(),
            Err(why) => refused(id, why),
        };
        if state.verified {
            self.breakpoints.put_back(logical);
        }
        state
    }

    /// Takes breakpoints out for good.
    fn remove_breakpoints(&mut self, ids: &[BreakpointId]) {
        let mut links = Vec::new();
        for id in ids {
            let Some(mut logical) = self.breakpoints.remove(*id) else {
                continue;
            };
            if let Carrier::Probes(link) = std::mem::replace(&mut logical.carrier, Carrier::Nothing) {
                links.push(link);
            } else {
                self.free(&logical);
            }
        }
        close_links(links);
    }

    /// Puts a breakpoint on what carries it: stop sites, or kernel probes for a logpoint that nothing else requires to stop for.
    fn arm(&mut self, logical: &mut Logical) -> Result<(), String> {
        logical.carrier = Carrier::Nothing;
        let is_site = logical.places.iter().any(|addr| self.sites.users(*addr).is_some());
        let conditional = logical.parsed.condition.is_some() || logical.parsed.hit_condition.is_some();
        let refuses_surprise = !self.was_launched && self.inferior.is_none();
        if let Some(template) = &logical.parsed.log {
            let why = if is_site || conditional {
                conditional.then(|| "its condition is evaluated at a stop".to_owned())
            } else {
                let at = logical.at.clone().unwrap_or_default();
                match self.probes.install(logical.id, &logical.places, &at, template) {
                    Ok(link) => {
                        logical.carrier = Carrier::Probes(link);
                        return Ok(());
                    }
                    Err(NoProbes::Unavailable(why) | NoProbes::ThisOne(why)) => Some(why),
                }
            };
            if let Some(why) = why {
                // Attaching may not become stopping by surprise.
                if refuses_surprise {
                    return Err(format!(
                        "this logpoint could only be served by stopping the program at each hit: {why}"
                    ));
                }
                self.tell_fallback(&why);
            }
        }
        self.free_probes_at(logical);
        self.occupy(logical);
        Ok(())
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

    fn disarm(&mut self, logical: &mut Logical) {
        match std::mem::replace(&mut logical.carrier, Carrier::Nothing) {
            Carrier::Nothing => {}
            Carrier::Sites => self.free(logical),
            Carrier::Probes(link) => close_links(vec![link]),
        }
    }

    /// Logpoints whose probes lie where a breakpoint is about to stop the program are evaluated at the stop from now on: an int3 and a uprobe never
    /// share an address.
    fn free_probes_at(&mut self, newcomer: &Logical) {
        let places = newcomer.places.clone();
        self.free_probes(&|addr| places.contains(&addr));
    }

    /// The same for any addresses.
    pub(super) fn free_probes(&mut self, are_wanted: &dyn Fn(spelunk_dwarf::FileAddr) -> bool) {
        let ids: Vec<_> = self
            .breakpoints
            .iter()
            .filter(|logical| {
                matches!(logical.carrier, Carrier::Probes(_)) && logical.places.iter().any(|addr| are_wanted(*addr))
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

    /// Gives logpoints that are alone at their places their probes back. One that a thread stands at waits: it has logged that pass already.
    pub(super) fn restore_probes(&mut self) {
        let standing = self.places_of_threads();
        let ids: Vec<_> = self
            .breakpoints
            .iter()
            .filter(|logical| {
                !logical.stops()
                    && matches!(logical.carrier, Carrier::Sites)
                    && logical.parsed.condition.is_none()
                    && logical.parsed.hit_condition.is_none()
                    && logical.places.iter().all(|addr| {
                        let alone = self
                            .sites
                            .users(*addr)
                            .is_none_or(|users| users.breakpoints == [logical.id] && users.temporaries.is_empty());
                        alone && !standing.contains(&self.to_proc(*addr))
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
    }

    /// Where the threads of the stopped target stand.
    fn places_of_threads(&self) -> Vec<ProcAddr> {
        let Some(inferior) = &self.inferior else {
            return Vec::new();
        };
        let pc = |thread| inferior.general_registers(thread).ok()?.pc().map(ProcAddr);
        inferior.threads().into_iter().filter_map(pc).collect()
    }

    /// Takes the sites of breakpoints out whose hit condition can never hold again: passing them costs time.
    pub(super) fn drop_dead_sites(&mut self) {
        let dead: Vec<_> = self
            .breakpoints
            .iter()
            .filter(|logical| matches!(logical.carrier, Carrier::Sites) && !logical.can_still_act())
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
        if self.inferior.is_some() {
            self.set_exceptions();
        } else if self.exception_link.is_some()
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
        }
    }
}
