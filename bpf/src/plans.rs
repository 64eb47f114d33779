//! Which plans have a program, and which of them may be given up when there is no room for more.

use std::collections::{HashMap, HashSet};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};

use crate::maps::{Maps, SiteEntry};
use crate::plan::Plan;
use crate::probeset::{PlanId, SiteId};
use crate::sys;

/// The most plans at one time: what is left of a plan's number tells apart those that had the same place one after the other.
pub(crate) const MAX_PLANS: u32 = 1 << PLACE_BITS;

const PLACE_BITS: u32 = 16;

/// The place in the program array of a plan that was given up: there is nothing.
const NOWHERE: u32 = u32::MAX;

impl PlanId {
    /// Where the plan's program is in the program array.
    pub(crate) fn place(self) -> u32 {
        self.0 & (MAX_PLANS - 1)
    }
}

/// How many links each site is on; 0 for those that were on one.
#[derive(Default)]
pub(crate) struct Attachments(Mutex<HashMap<SiteId, u32>>);

impl Attachments {
    pub(crate) fn enter(&self, sites: impl Iterator<Item = SiteId>) {
        // A poisoned lock means that a thread panicked between two sites; each entry is whole.
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for site in sites {
            *links.entry(site).or_default() += 1;
        }
    }

    pub(crate) fn leave(&self, sites: &[SiteId]) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for site in sites {
            let count = links.entry(*site).or_default();
            *count = count.saturating_sub(1);
        }
    }

    /// The sites that were on a link and are on none now.
    fn left(&self) -> HashSet<SiteId> {
        let links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = links.iter().filter(|(_, links)| **links == 0);
        left.map(|(site, _)| *site).collect()
    }
}

/// The plans that have a program.
pub(crate) struct Plans {
    max: u32,
    ids: HashMap<Arc<Plan>, PlanId>,
    by_place: Vec<Place>,
    free: Vec<u32>,
}

struct Place {
    id: PlanId,
    plan: Option<Arc<Plan>>,
}

impl Plans {
    pub(crate) fn new(max: u32) -> Plans {
        Plans {
            max,
            ids: HashMap::new(),
            by_place: Vec::new(),
            free: Vec::new(),
        }
    }

    pub(crate) fn get(&self, plan: &Plan) -> Option<PlanId> {
        self.ids.get(plan).copied()
    }

    /// Whether that plan has a program now.
    pub(crate) fn has(&self, id: PlanId) -> bool {
        let place = self.by_place.get(id.place() as usize);
        place.is_some_and(|place| place.id == id && place.plan.is_some())
    }

    /// How many more there is room for.
    pub(crate) fn room(&self) -> usize {
        self.free.len() + (self.max as usize).saturating_sub(self.by_place.len())
    }

    /// Numbers for plans that have no program yet, as many as there is room for.
    pub(crate) fn vacant(&self) -> impl Iterator<Item = PlanId> + '_ {
        let again = self.free.iter().rev().filter_map(|&place| {
            let before = self.by_place.get(place as usize)?.id;
            Some(PlanId(before.0.wrapping_add(MAX_PLANS)))
        });
        again.chain((self.by_place.len() as u32..self.max).map(PlanId))
    }

    /// Takes plans in that have a program now, with the numbers that [`Plans::vacant`] gave, in that order.
    pub(crate) fn insert(&mut self, plans: Vec<(&Plan, PlanId)>) {
        for (plan, id) in plans {
            let plan = Arc::new(plan.clone());
            self.ids.insert(Arc::clone(&plan), id);
            let new = Place { id, plan: Some(plan) };
            match self.by_place.get_mut(id.place() as usize) {
                Some(place) => {
                    *place = new;
                    self.free.pop();
                }
                None => self.by_place.push(new),
            }
        }
    }

    /// Gives up the plans whose sites have all been attached and taken out again, of the first `sites` sites. Those sites are of no use then.
    pub(crate) fn give_up(&mut self, maps: &Maps, sites: u32) {
        let left = maps.attachments.left();
        let (mut used, mut unused): (HashSet<u32>, HashMap<u32, Vec<u32>>) = Default::default();
        for site in 0..sites {
            let Some(entry) = maps.site_table.get(site) else { break };
            if left.contains(&SiteId(site)) {
                unused.entry(entry.plan).or_default().push(site);
            } else {
                used.insert(entry.plan);
            }
        }
        for (place, sites) in unused {
            let Some(slot) = self.by_place.get_mut(place as usize) else {
                continue;
            };
            // Nothing runs a program that is not removed here: its sites are on no link.
            if used.contains(&place) || sys::remove(maps.programs.as_fd(), &place).is_err() {
                continue;
            }
            if let Some(plan) = slot.plan.take() {
                self.ids.remove(&plan);
                self.free.push(place);
            }
            for site in sites {
                if let Some(entry) = maps.site_table.get(site) {
                    maps.site_table.set(site, SiteEntry { plan: NOWHERE, ..entry });
                }
            }
        }
    }
}

/// Whether the plan of a site has been given up.
pub(crate) fn is_given_up(maps: &Maps, site: SiteId) -> bool {
    maps.site_table.get(site.0).is_some_and(|entry| entry.plan == NOWHERE)
}
