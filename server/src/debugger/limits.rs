//! What probes may do to the program, and what is done when they do more.

use std::collections::BTreeMap;
use std::sync::Arc;

use spelunk_bpf::SiteId;

use super::accounts::ProbeState;
use super::breakpoints::{Carrier, Logical};
use super::control::Control;
use super::guard::{Guard, Tripped};
use super::{BreakpointId, ClientPaths, Event, ProbeAccount, ProbeLimits};

impl Control {
    /// Says what probes may do from now on. Those that were switched off are switched on again where the limit has changed.
    pub(super) fn limit_probes(&mut self, limits: ProbeLimits) {
        let before = std::mem::replace(&mut self.limits, limits);
        self.for_first(|control| control.apply_limits(before));
    }

    fn apply_limits(&mut self, before: ProbeLimits) {
        let limits = self.limits;
        self.probes.rate = limits.messages_per_second;
        let rate_changed = before.messages_per_second != limits.messages_per_second;
        let share_changed = before.share_of_core != limits.share_of_core;
        let concerned = |logical: &&Logical| {
            (rate_changed && !logical.stops() && matches!(logical.carrier, Carrier::Probes(_)))
                || (share_changed && logical.switched_off.is_some())
        };
        let ids: Vec<BreakpointId> = self
            .breakpoints
            .iter()
            .filter(concerned)
            .map(|logical| logical.id)
            .collect();
        for id in ids {
            self.arm_anew(id);
        }
        self.guard_probes();
    }

    /// Has the guard look after the probes that are in the program now, where their cost is limited.
    pub(super) fn guard_probes(&mut self) {
        self.for_first(Control::guard_probes_of_focus);
    }

    fn guard_probes_of_focus(&mut self) {
        let limit = self.limits.share_of_core;
        if limit.is_none() && self.guard.is_none() {
            return;
        }
        let probes: BTreeMap<BreakpointId, Vec<SiteId>> = self
            .breakpoints
            .iter()
            .filter_map(|logical| match &logical.carrier {
                Carrier::Probes(planted) => Some((logical.id, planted.sites.clone())),
                _ => None,
            })
            .collect();
        if self.guard.is_none() && !probes.is_empty() {
            let watch = self.probes.watch();
            self.guard = watch.map(|watch| Guard::start(watch, self.tripping.clone(), Arc::clone(&self.kicker)));
        }
        if let Some(guard) = &self.guard {
            guard.set(limit, probes);
        }
    }

    /// Takes what carries a breakpoint out, and decides anew what carries it.
    fn arm_anew(&mut self, id: BreakpointId) {
        let Some(mut logical) = self.breakpoints.remove(id) else {
            return;
        };
        let was_off = logical.switched_off.is_some();
        self.disarm(&mut logical);
        match self.arm(&mut logical) {
            Ok(()) if was_off => {
                let _ = self.events.send(Event::BreakpointChanged(logical.state()));
            }
            Ok(()) => {}
            Err(why) => {
                let _ = self.events.send(Event::Notice(why));
            }
        }
        self.breakpoints.put_back(logical);
    }

    /// The probes of a breakpoint took more than they may.
    pub(super) fn switch_off(&mut self, tripped: Tripped) {
        self.for_first(|control| control.switch_off_in_focus(tripped));
    }

    fn switch_off_in_focus(&mut self, tripped: Tripped) {
        let Tripped { id, share } = tripped;
        let Some(limit) = self.limits.share_of_core else { return };
        let Some(mut logical) = self.breakpoints.remove(id) else {
            return;
        };
        if matches!(logical.carrier, Carrier::Probes(_)) {
            self.disarm(&mut logical);
            let (took, may) = (percent(share), percent(limit));
            let why = format!(
                "switched off: its probes took {took} % of one processor core, and may take {may} %; to change that, set probeCpuLimit in the launch configuration, or type 'dlv config probeCpuLimit PERCENT' in the debug console (0: no limit)"
            );
            logical.switched_off = Some(why.clone());
            let (file, line) = logical.at.clone().unwrap_or_default();
            let _ = self
                .events
                .send(Event::Warning(format!("breakpoint at {file}:{line} was {why}")));
            let _ = self.events.send(Event::BreakpointChanged(logical.state()));
        }
        self.breakpoints.put_back(logical);
    }

    /// As [`super::Session::probe_accounts`].
    pub(super) fn probe_accounts(&mut self) -> Vec<ProbeAccount> {
        let mut accounts = Vec::new();
        let mut look = |control: &mut Control| {
            let ids = control.probes.accounts().ids().into_iter();
            accounts = ids
                .filter_map(|id| control.probes.account(id, control.probe_state(id)))
                .collect();
        };
        // The probes are those of the first target, which may have ended.
        if !self.for_first(&mut look) {
            look(self);
        }
        accounts
    }

    fn probe_state(&self, id: BreakpointId) -> ProbeState {
        match self.breakpoints.get(id) {
            Some(logical) if logical.switched_off.is_some() => ProbeState::SwitchedOff,
            Some(logical) => match logical.carrier {
                Carrier::Probes(_) => ProbeState::InKernel,
                Carrier::Sites => ProbeState::AtStops,
                Carrier::Nothing => ProbeState::Out,
            },
            None => ProbeState::Out,
        }
    }

    /// As [`super::Session::guess_paths`].
    pub(super) fn guess_paths(&self, client: &ClientPaths) -> Vec<(String, String)> {
        let binary = Arc::clone(&self.binary);
        let names = binary.functions().iter().map(|function| &*function.name);
        super::path_guess::guess(client, names, |name| {
            let function = binary.function_named(name)?;
            binary.line_at(function.entry).map(|(file, _)| file.to_string())
        })
    }
}

/// A share in percent, with as many digits as say something.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent < 10.0 {
        format!("{percent:.1}")
    } else {
        format!("{percent:.0}")
    }
}
