//! What became of the hits of an engine's sites, and what they share: counters of hits, limits of rate.

use std::collections::{BTreeMap, HashMap};

use spelunk_bpf::{BpfError, CounterId, Counters, LimiterId, SiteId, Watch};

use super::engine::Engine;

impl<T: Send + Sync + 'static> Engine<T> {
    /// A new counter of hits, which has counted `start` so far.
    pub(crate) fn add_counter(&mut self, start: u64) -> Result<CounterId, BpfError> {
        self.probes.add_counter(start)
    }

    /// As [`spelunk_bpf::ProbeSet::restart_counter`].
    pub(crate) fn restart_counter(&mut self, counter: CounterId, start: u64) -> Result<(), BpfError> {
        self.probes.restart_counter(counter, start)
    }

    /// As [`spelunk_bpf::ProbeSet::all_goroutine_hits`].
    pub(crate) fn all_goroutine_hits(&self) -> Result<HashMap<CounterId, BTreeMap<u64, u64>>, BpfError> {
        self.probes.all_goroutine_hits()
    }

    /// As [`spelunk_bpf::ProbeSet::hits_of_goroutine`].
    pub(crate) fn hits_of_goroutine(&self, counter: CounterId, process: u32, goroutine: u64) -> Result<u64, BpfError> {
        self.probes.hits_of_goroutine(counter, process, goroutine)
    }

    /// As [`spelunk_bpf::ProbeSet::add_goroutine_hits`].
    pub(crate) fn add_goroutine_hits(
        &mut self,
        counter: CounterId,
        process: u32,
        hits: &BTreeMap<u64, u64>,
    ) -> Result<(), BpfError> {
        self.probes.add_goroutine_hits(counter, process, hits)
    }

    /// What a counter has counted so far.
    pub(crate) fn hits(&self, counter: CounterId) -> u64 {
        self.probes.hits(counter)
    }

    /// Counts a hit that the kernel has not counted; answers its number, from 1.
    pub(crate) fn count_hit(&self, counter: CounterId) -> u64 {
        self.probes.count_hit(counter)
    }

    /// A new limiter, for rate limits.
    pub(crate) fn add_limiter(&mut self) -> Result<LimiterId, BpfError> {
        self.probes.add_limiter()
    }

    /// What became of the hits of some sites so far, together.
    pub(crate) fn counters_of(&self, sites: &[SiteId]) -> Counters {
        let mut sum = Counters::default();
        for counters in sites.iter().filter_map(|site| self.probes.counters(*site).ok()) {
            sum += counters;
        }
        sum
    }

    /// A handle that looks after single sites, for any thread.
    pub(crate) fn watch(&self) -> Watch {
        self.probes.watch()
    }

    /// The sites that were installed after the first `count`.
    pub(crate) fn sites_behind(&self, count: usize) -> Vec<SiteId> {
        self.sites.get(count..).unwrap_or_default().to_vec()
    }

    /// How many sites were installed so far.
    pub(crate) fn site_count(&self) -> usize {
        self.sites.len()
    }
}
