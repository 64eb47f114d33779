//! Looking after single sites from any thread: what they cost, and switching them off.

use std::sync::Arc;
use std::time::Duration;

use crate::cost::SiteCosts;
use crate::maps::{CounterEntry, Maps, site_state};
use crate::probeset::{Counters, SiteId};

/// Looks after the sites of one [`crate::ProbeSet`]. Sites that it does not have cost nothing and count nothing.
#[derive(Clone)]
pub struct Watch {
    maps: Arc<Maps>,
    stripes: u32,
    max_sites: u32,
}

impl Watch {
    pub(crate) fn new(maps: Arc<Maps>, stripes: u32, max_sites: u32) -> Watch {
        Watch {
            maps,
            stripes,
            max_sites,
        }
    }

    /// The site's entries in all copies of the counter table.
    pub(crate) fn entries(&self, site: SiteId) -> impl Iterator<Item = CounterEntry> + '_ {
        let copies = if site.0 < self.max_sites { self.stripes } else { 0 };
        (0..copies).filter_map(move |copy| self.maps.counter_table.get(copy * self.max_sites + site.0))
    }

    /// What became of the hits of a site so far.
    pub fn counters(&self, site: SiteId) -> Counters {
        let mut sum = Counters::default();
        for entry in self.entries(site) {
            sum += entry;
        }
        sum
    }

    /// How much time the hits of a site have taken from the program so far, on all CPUs together. An estimate: what a hit takes at least, by the kind of its
    /// instruction, for each of them, and what making records took on top of it, of which one in 16 is measured.
    pub fn spent(&self, site: SiteId, costs: SiteCosts) -> Duration {
        let (mut hits, mut nanoseconds) = (0u64, 0u64);
        for entry in self.entries(site) {
            hits = hits.wrapping_add(entry.hits);
            nanoseconds = nanoseconds.wrapping_add(entry.nanoseconds);
        }
        let state = self.maps.site_table.get(site.0).map_or(0, |entry| entry.state);
        let each = if state & site_state::STEPPED == 0 {
            costs.emulated
        } else {
            costs.stepped
        };
        let least = u64::try_from(each.as_nanos()).unwrap_or(u64::MAX).saturating_mul(hits);
        Duration::from_nanos(least.saturating_add(nanoseconds))
    }

    /// Has a site do nothing any more when it is hit: hits from now on are counted as throttled. They still cost what a hit takes at least, until the probe is
    /// taken out.
    pub fn switch_off(&self, site: SiteId) {
        self.maps.site_table.change_state(site.0, site_state::OFF, 0);
    }

    /// Has a site do nothing any more, for good, because it is about to be taken out: hits from now on are counted as idle. A program that runs at this moment
    /// finishes its record.
    pub fn retire(&self, site: SiteId) {
        self.maps.site_table.change_state(site.0, site_state::RETIRED, 0);
    }

    /// Has a site do again what its plan says.
    pub fn switch_on(&self, site: SiteId) {
        self.maps.site_table.change_state(site.0, 0, site_state::OFF);
    }
}
