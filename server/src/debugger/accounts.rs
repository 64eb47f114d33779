//! What became of the hits of each breakpoint's probes: nothing is lost in silence.

use std::collections::BTreeMap;

use spelunk_bpf::{Counters, SiteId};

use super::BreakpointId;

/// Where a breakpoint stands with the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProbeState {
    /// Kernel probes carry it.
    InKernel,
    /// Something else requires to stop where it lies, or the kernel cannot decide it: it is evaluated at stops.
    AtStops,
    /// Its probes took too much of the processors' time.
    SwitchedOff,
    /// It is not in the program: it was taken out, or can never act again, or the program is gone.
    Out,
}

/// What became of the hits of a breakpoint's probes, since it was first carried by any. `hits` is the sum of all others but `faults` and `suppressed`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ProbeAccount {
    /// The breakpoint.
    pub(crate) id: BreakpointId,
    /// Its file, as the binary names it.
    pub(crate) file: String,
    /// Its line.
    pub(crate) line: u32,
    /// Where it stands.
    pub(crate) state: ProbeState,
    /// How often its probes were hit.
    pub(crate) hits: u64,
    /// Of these, how often its condition or hit condition was false.
    pub(crate) condition_false: u64,
    /// How often the rate limit was reached.
    pub(crate) throttled: u64,
    /// How often there was no room for a record.
    pub(crate) ring_full: u64,
    /// How often the probes were hit while they had nothing to do: before they were armed, or on their way out.
    pub(crate) idle: u64,
    /// How many records were made.
    pub(crate) emitted: u64,
    /// How many of these lack something that could not be read.
    pub(crate) faults: u64,
    /// How many messages were left out although their records were made, because the client did not keep up.
    pub(crate) suppressed: u64,
}

/// The accounts of a session.
#[derive(Default)]
pub(super) struct Accounts {
    by_breakpoint: BTreeMap<BreakpointId, Account>,
}

/// The most breakpoints whose accounts are kept after they were taken out.
const MOST: usize = 1000;

struct Account {
    what: &'static str,
    file: String,
    line: u32,
    sites: Vec<SiteId>,
    /// How many lost and how many throttled hits have been told.
    told: (u64, u64),
    /// What was counted when the session ended.
    last: Option<Counters>,
}

impl Accounts {
    /// A breakpoint has got these sites more; `what` is what its hits come to.
    pub(super) fn open(&mut self, id: BreakpointId, what: &'static str, at: &(String, u32), sites: &[SiteId]) {
        let account = self.by_breakpoint.entry(id).or_insert_with(|| Account {
            what,
            file: at.0.clone(),
            line: at.1,
            sites: Vec::new(),
            told: (0, 0),
            last: None,
        });
        account.sites.extend(sites);
        while self.by_breakpoint.len() > MOST {
            self.by_breakpoint.pop_first();
        }
    }

    /// The sites that a breakpoint has had.
    pub(super) fn sites_of(&self, id: BreakpointId) -> &[SiteId] {
        self.by_breakpoint.get(&id).map_or(&[], |account| &account.sites)
    }

    /// All breakpoints that have had any.
    pub(super) fn ids(&self) -> Vec<BreakpointId> {
        self.by_breakpoint.keys().copied().collect()
    }

    /// What is to be said of a breakpoint's losses, where there are any that were not told; `now` is what its sites have counted.
    pub(super) fn losses(&mut self, id: BreakpointId, now: Counters) -> Option<String> {
        let account = self.by_breakpoint.get_mut(&id)?;
        let (lost, throttled) = (now.ring_full - account.told.0, now.throttled - account.told.1);
        if lost == 0 && throttled == 0 {
            return None;
        }
        account.told = (now.ring_full, now.throttled);
        let mut parts = Vec::new();
        if lost > 0 {
            parts.push(format!("{lost} were lost because the ring was full"));
        }
        if throttled > 0 {
            parts.push(format!("{throttled} were left out by the rate limit"));
        }
        let passed = now.hits - now.condition_false;
        Some(format!(
            "of {passed} {} of {}:{}, {}",
            account.what,
            account.file,
            account.line,
            parts.join(" and ")
        ))
    }

    /// Keeps what was counted until the end of the session.
    pub(super) fn close(&mut self, id: BreakpointId, counters: Counters) {
        if let Some(account) = self.by_breakpoint.get_mut(&id) {
            account.last = Some(counters);
        }
    }

    /// The account of a breakpoint; `count` tells what sites have counted, while there is somebody to ask.
    pub(super) fn of(
        &self,
        id: BreakpointId,
        state: ProbeState,
        count: impl Fn(&[SiteId]) -> Option<Counters>,
    ) -> Option<ProbeAccount> {
        let account = self.by_breakpoint.get(&id)?;
        let counters = account.last.or_else(|| count(&account.sites)).unwrap_or_default();
        let Counters {
            hits,
            emitted,
            ring_full,
            condition_false,
            throttled,
            faults,
            idle,
            ..
        } = counters;
        Some(ProbeAccount {
            id,
            file: account.file.clone(),
            line: account.line,
            state,
            hits,
            condition_false,
            throttled,
            ring_full,
            idle,
            emitted,
            faults,
            suppressed: 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: BreakpointId = BreakpointId(3);

    fn opened() -> Accounts {
        let mut accounts = Accounts::default();
        accounts.open(ID, "log messages", &("main.go".to_owned(), 7), &[SiteId::numbered(1)]);
        accounts.open(ID, "log messages", &("main.go".to_owned(), 7), &[SiteId::numbered(5)]);
        accounts
    }

    #[test]
    fn losses_are_told_once() {
        let mut accounts = opened();
        let mut now = Counters {
            hits: 100,
            condition_false: 40,
            emitted: 50,
            ring_full: 7,
            throttled: 3,
            ..Counters::default()
        };
        assert_eq!(
            accounts.losses(ID, now).as_deref(),
            Some(
                "of 60 log messages of main.go:7, 7 were lost because the ring was full and 3 were left out by the rate limit"
            )
        );
        assert_eq!(accounts.losses(ID, now), None);
        now.throttled += 2;
        now.hits += 2;
        assert_eq!(
            accounts.losses(ID, now).as_deref(),
            Some("of 62 log messages of main.go:7, 2 were left out by the rate limit")
        );
    }

    #[test]
    fn all_sites_that_a_breakpoint_has_had_count_until_the_end() {
        let mut accounts = opened();
        let count = |sites: &[SiteId]| {
            Some(Counters {
                hits: sites.len() as u64,
                idle: 1,
                emitted: 1,
                ..Counters::default()
            })
        };
        let account = accounts.of(ID, ProbeState::InKernel, count).expect("it was opened");
        assert_eq!((account.hits, account.emitted, account.idle), (2, 1, 1));
        accounts.close(
            ID,
            Counters {
                hits: 9,
                emitted: 9,
                ..Counters::default()
            },
        );
        let account = accounts.of(ID, ProbeState::Out, |_| None).expect("it was opened");
        assert_eq!((account.hits, account.emitted, account.idle), (9, 9, 0));
        assert!(accounts.of(BreakpointId(4), ProbeState::Out, |_| None).is_none());
    }

    #[test]
    fn accounts_of_long_ago_are_dropped() {
        let mut accounts = Accounts::default();
        for id in 0..2 * MOST as i64 {
            accounts.open(BreakpointId(id), "hits", &(String::new(), 0), &[]);
        }
        assert_eq!(accounts.ids().len(), MOST);
        assert!(accounts.ids().contains(&BreakpointId(2 * MOST as i64 - 1)));
    }
}
