//! A probe set: one ring, one set of tables, the dispatcher, and the programs of its plans.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::btf;
use crate::children::Family;
use crate::codegen::{self, Environment};
use crate::error::BpfError;
use crate::features;
use crate::gate::{CounterId, Gate, Goroutines, LimiterId};
use crate::layout::{self, Layout, LayoutId, RuntimeTypeEntry, TypeEntry};
use crate::link::{self, Link, Target};
use crate::loader::{Loader, kernel_has_btf};
use crate::maps::{CounterEntry, GoroutineKey, LimiterEntry, Maps, SiteEntry, site_state};
use crate::namespace::{Numbers, Structures};
use crate::plan::{GoroutineSource, Plan, RECORD_CLASSES};
use crate::plans::{self, MAX_PLANS, Plans};
use crate::record::RecordView;
use crate::ring::Ring;
use crate::sys;
use crate::watch::Watch;

/// Names a plan of one [`ProbeSet`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlanId(pub(crate) u32);

impl PlanId {
    /// The number itself.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// Names a site of one [`ProbeSet`]: the cookie of its probe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteId(pub(crate) u32);

impl SiteId {
    /// The site of that number, for sites that no [`ProbeSet`] has.
    pub fn numbered(number: u32) -> SiteId {
        SiteId(number)
    }

    /// The number itself: from 0, without gaps.
    pub fn number(self) -> u32 {
        self.0
    }
}

/// Sizes of a probe set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of the ring in bytes; rounded up to a power of two, of at least 64 KiB, so that
    /// the largest record has room.
    pub ring_bytes: u32,
    /// The most sites.
    pub max_sites: u32,
    /// The most distinct plans of sites that are probed, at most 65,536. Plans whose sites have all been taken out make room for others.
    pub max_plans: u32,
    /// The most entries for layouts: one for each 8 edges of each layout.
    pub max_layouts: u32,
    /// The most runtime types and itabs.
    pub max_runtime_types: u32,
    /// The most counters of hits, and the most limiters.
    pub max_counters: u32,
    /// The most goroutines that counters of hits can tell apart: one entry for each counter and goroutine that it has ever counted. Hits of a goroutine
    /// that finds no room are not counted for it, and say so ([`crate::Flags::HITS_UNKNOWN`]).
    pub max_goroutine_hits: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ring_bytes: 16 << 20,
            max_sites: 1 << 16,
            max_plans: 1 << 12,
            max_layouts: 1 << 14,
            max_runtime_types: 1 << 17,
            max_counters: 1 << 14,
            max_goroutine_hits: 1 << 16,
        }
    }
}

/// One place to be probed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// What to copy there.
    pub plan: PlanId,
    /// Its link-time address, from which the load bias is found at the hit.
    pub file_addr: u64,
}

/// What became of a site's hits. Each hit is counted once in `hits`, and once in one of the others but `faults`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// How often the site was passed.
    pub hits: u64,
    /// How many records were handed over.
    pub emitted: u64,
    /// How many records were lost because the ring was full.
    pub ring_full: u64,
    /// How often there was no program for the site's plan.
    pub unplanned: u64,
    /// How often the gate's condition or hit condition was false.
    pub condition_false: u64,
    /// How often the gate's rate limit was reached, or the site was switched off ([`Watch::switch_off`]).
    pub throttled: u64,
    /// How many of the emitted records lack something that could not be read ([`crate::Flags::FAULT`]), or were made because the condition had no value
    /// ([`crate::Flags::CONDITION_UNKNOWN`]). What found no room is not among them.
    pub faults: u64,
    /// How often a site of a plan that stops was passed while it was not armed ([`ProbeSet::arm`]), and any site on its way out ([`Watch::retire`]).
    pub idle: u64,
}

impl std::ops::AddAssign for Counters {
    fn add_assign(&mut self, other: Counters) {
        self.hits += other.hits;
        self.emitted += other.emitted;
        self.ring_full += other.ring_full;
        self.unplanned += other.unplanned;
        self.condition_false += other.condition_false;
        self.throttled += other.throttled;
        self.faults += other.faults;
        self.idle += other.idle;
    }
}

impl std::ops::AddAssign<CounterEntry> for Counters {
    fn add_assign(&mut self, entry: CounterEntry) {
        self.hits += entry.hits;
        self.emitted += entry.emitted;
        self.ring_full += entry.ring_full;
        self.unplanned += entry.unplanned;
        self.condition_false += entry.condition_false;
        self.throttled += entry.throttled;
        self.faults += entry.faults;
        self.idle += entry.idle;
    }
}

/// One ring, one set of tables, the dispatcher, and the programs of its plans.
pub struct ProbeSet {
    options: Options,
    environment: Environment,
    maps: Arc<Maps>,
    loader: Loader,
    dispatcher: OwnedFd,
    ring: Ring,
    stop_ring: Ring,
    plans: Plans,
    sites: u32,
    /// The next free entry of the layout table; 0 stands for no layout.
    layouts: u32,
    hit_counters: u32,
    /// Counters that have ever told goroutines apart.
    tells_goroutines: BTreeSet<CounterId>,
    limiters: u32,
}

const LARGEST_RECORD: u32 = RECORD_CLASSES[RECORD_CLASSES.len() - 1];

/// Counts hits that the kernel left to others, from any thread.
#[derive(Clone)]
pub struct HitCounts {
    maps: Arc<Maps>,
}

impl HitCounts {
    /// As [`ProbeSet::count_hit`].
    pub fn count_hit(&self, counter: CounterId) -> u64 {
        let before = self.maps.hit_table.fetch_add(counter.0, 1);
        before.map_or(0, |before| before.wrapping_add(1))
    }

    /// What gates that tell goroutines apart ([`crate::Goroutines`]) have counted of one, of a process as the pid namespace of this one numbers it.
    pub fn of_goroutine(&self, counter: CounterId, process: u32, goroutine: u64) -> Result<u64, BpfError> {
        let key = GoroutineKey {
            counter: counter.0,
            process,
            goroutine,
        };
        sys::lookup(self.maps.goroutine_hits.as_fd(), &key)
            .map(Option::unwrap_or_default)
            .map_err(|source| BpfError::system("reading the hits of a goroutine", source))
    }
}

/// Tells which sites have lost records.
#[derive(Clone)]
pub struct Losses {
    maps: Arc<Maps>,
    stripes: u32,
    max_sites: u32,
}

impl Losses {
    /// Whether a record of `site` has ever been lost. The count is raised before the program that
    /// passed the site goes on, so whatever it does afterwards is seen later.
    pub fn any(&self, site: SiteId) -> bool {
        let entry = |stripe| self.maps.counter_table.get(stripe * self.max_sites + site.0);
        (0..self.stripes).filter_map(entry).any(|entry| entry.ring_full > 0)
    }
}

/// How many copies of the counter table there are at most.
const MAX_STRIPES: u32 = 8;

/// How many entries are handed to the kernel in one call.
const BATCH: usize = 1 << 14;

impl ProbeSet {
    /// Makes the tables, the ring and the dispatcher.
    pub fn new(options: Options) -> Result<ProbeSet, BpfError> {
        let options = Options {
            ring_bytes: options
                .ring_bytes
                .clamp(2 * LARGEST_RECORD, 1 << 30)
                .next_power_of_two(),
            max_sites: options.max_sites.max(1),
            max_plans: options.max_plans.clamp(1, MAX_PLANS),
            max_layouts: options.max_layouts.max(2),
            max_runtime_types: options.max_runtime_types.max(1),
            max_counters: options.max_counters.max(1),
            max_goroutine_hits: options.max_goroutine_hits.max(1),
        };
        kernel_has_btf()?;
        let cpus = aya::util::nr_cpus().map_or(1, |cpus| cpus as u32);
        let stripes = cpus.next_power_of_two().min(MAX_STRIPES);
        let maps = Arc::new(Maps::create(&options, stripes)?);
        let environment = Environment {
            max_sites: options.max_sites,
            stripes,
            ring_bytes: options.ring_bytes,
            fsbase_offset: None,
            numbers: Numbers::of_this_process(&maps)?,
            own_number: None,
        };
        let loader = Loader::default();
        let code =
            codegen::dispatcher(environment).map_err(|error| crate::plan::PlanError::TooLong(error.to_string()))?;
        let dispatcher = loader.load("spelunk_hit", &code, &maps)?;
        if !link::uprobe_multi_works(&dispatcher) {
            return Err(BpfError::NoUprobeMulti {
                kernel: features::kernel_release(),
            });
        }
        let ring = Ring::new(&maps.ring)?;
        let stop_ring = Ring::new(&maps.stop_ring)?;
        Ok(ProbeSet {
            options,
            environment,
            maps,
            loader,
            dispatcher,
            ring,
            stop_ring,
            plans: Plans::new(options.max_plans),
            sites: 0,
            layouts: 1,
            hit_counters: 0,
            tells_goroutines: BTreeSet::new(),
            limiters: 0,
        })
    }

    /// Compiles and loads the program of a plan, unless an equal plan has one.
    pub fn add_plan(&mut self, plan: &Plan) -> Result<PlanId, BpfError> {
        let ids = self.add_plans(std::slice::from_ref(plan))?;
        ids.first().copied().ok_or(BpfError::Foreign("a plan"))
    }

    /// Compiles and loads the programs of many plans, on all CPUs; their ids are in the same order.
    /// If one fails, none is added.
    pub fn add_plans(&mut self, plans: &[Plan]) -> Result<Vec<PlanId>, BpfError> {
        for plan in plans {
            let Gate { hits, rate, .. } = &plan.gate;
            if hits.is_some_and(|hits| hits.counter.0 >= self.hit_counters) {
                return Err(BpfError::Foreign("a counter"));
            }
            if rate.is_some_and(|rate| rate.limiter.0 >= self.limiters) {
                return Err(BpfError::Foreign("a limiter"));
            }
            let telling = hits.filter(|hits| hits.goroutines != Goroutines::Together);
            self.tells_goroutines.extend(telling.map(|hits| hits.counter));
        }
        if plans.iter().any(|plan| plan.gate.mark.is_some()) {
            self.maps.require_marks()?;
        }
        if self.plans.room() < plans.len() {
            self.plans.give_up(&self.maps, self.sites);
        }
        let mut fresh: Vec<(&Plan, PlanId)> = Vec::new();
        let mut ids = Vec::with_capacity(plans.len());
        {
            let mut numbers: HashMap<&Plan, PlanId> = HashMap::new();
            let mut vacant = self.plans.vacant();
            for plan in plans {
                let known = self.plans.get(plan).or_else(|| numbers.get(plan).copied());
                let id = if let Some(id) = known {
                    id
                } else {
                    let id = vacant.next().ok_or(BpfError::Full {
                        what: "distinct capture plans",
                        max: self.options.max_plans,
                    })?;
                    fresh.push((plan, id));
                    numbers.insert(plan, id);
                    id
                };
                ids.push(id);
            }
        }
        let needs_tls = |plan: &Plan| matches!(plan.goroutine, GoroutineSource::Tls { .. });
        if self.environment.fsbase_offset.is_none() && fresh.iter().any(|(plan, _)| needs_tls(plan)) {
            self.environment.fsbase_offset = Some(btf::fsbase_offset(&btf::kernel_btf_path())?);
        }
        self.load(&fresh)?;
        self.plans.insert(fresh);
        Ok(ids)
    }

    /// Loads programs and puts them into the program array, which keeps them: their descriptors are
    /// closed at once.
    fn load(&self, plans: &[(&Plan, PlanId)]) -> Result<(), BpfError> {
        let one = |&(plan, id): &(&Plan, PlanId)| {
            let code = codegen::plan_program(plan, id.0, self.environment)?;
            let program = self.loader.load("spelunk_plan", &code, &self.maps)?;
            sys::set_program(self.maps.programs.as_fd(), id.place(), program.as_fd())
                .map_err(|source| BpfError::system("adding a program to the dispatcher's", source))
        };
        let threads = std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(plans.len());
        if threads <= 1 {
            return plans.iter().try_for_each(one);
        }
        let next = AtomicUsize::new(0);
        let work = || {
            while let Some(plan) = plans.get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Err(error) = one(plan) {
                    // The others need not go on.
                    next.store(plans.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
            Ok(())
        };
        std::thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().try_for_each(|worker| match worker.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })
    }

    /// Adds a place to be probed. It counts and records once it is attached.
    pub fn add_site(&mut self, site: Site) -> Result<SiteId, BpfError> {
        let ids = self.add_sites(std::slice::from_ref(&site))?;
        ids.first().copied().ok_or(BpfError::Foreign("a site"))
    }

    /// Adds many places to be probed; their ids are in the same order, without gaps.
    pub fn add_sites(&mut self, sites: &[Site]) -> Result<Vec<SiteId>, BpfError> {
        if !sites.iter().all(|site| self.plans.has(site.plan)) {
            return Err(BpfError::Foreign("a plan"));
        }
        let room = (self.options.max_sites - self.sites) as usize;
        if sites.len() > room {
            return Err(BpfError::Full {
                what: "probe sites",
                max: self.options.max_sites,
            });
        }
        let numbers: Vec<u32> = (self.sites..).take(sites.len()).collect();
        for (&number, site) in numbers.iter().zip(sites) {
            let entry = SiteEntry {
                plan: site.plan.place(),
                state: 0,
                file_addr: site.file_addr,
            };
            self.maps.site_table.set(number, entry);
        }
        self.sites += sites.len() as u32;
        Ok(numbers.into_iter().map(SiteId).collect())
    }

    /// Has a site stop the process when it is hit, or pass unseen again; of interest for sites of plans that stop ([`Plan::stops`]). This is a write to
    /// memory that the program reads: hits from then on see it.
    pub fn arm(&self, site: SiteId, armed: bool) -> Result<(), BpfError> {
        if site.0 >= self.sites {
            return Err(BpfError::Foreign("a site"));
        }
        let (set, clear) = if armed {
            (site_state::ARMED, 0)
        } else {
            (0, site_state::ARMED)
        };
        self.maps.site_table.change_state(site.0, set, clear);
        Ok(())
    }

    /// Attaches probes, given by their offsets in the executable file, by one link.
    pub fn attach(&self, target: &Target, probes: &[(u64, SiteId)]) -> Result<Link, BpfError> {
        self.check(probes)?;
        Link::attach(self.dispatcher.as_fd(), &self.maps, target, probes)
    }

    /// Begins to follow processes that run `executable` into their children; [`ProbeSet::attach_to`] probes them. Once for each probe set. Records of plans
    /// that are added afterwards tell a process's number in its own pid namespace too.
    pub fn follow(&mut self, executable: &File) -> Result<Family, BpfError> {
        self.environment.own_number = Some(Structures::of_this_kernel()?);
        let dispatcher = || {
            let code = codegen::following_dispatcher(self.environment)
                .map_err(|error| crate::plan::PlanError::TooLong(error.to_string()))?;
            self.loader.load("spelunk_follow", &code, &self.maps)
        };
        Family::begin(&self.maps, self.environment.numbers, executable, dispatcher)
    }

    /// As [`ProbeSet::attach`], for the processes of a family, now and later. The file's path is `path`.
    pub fn attach_to(&self, family: &Family, path: &Path, probes: &[(u64, SiteId)]) -> Result<Link, BpfError> {
        self.check(probes)?;
        family.attach(path, probes)
    }

    /// Whether sites can be attached.
    fn check(&self, probes: &[(u64, SiteId)]) -> Result<(), BpfError> {
        for &(_, site) in probes {
            if site.0 >= self.sites {
                return Err(BpfError::Foreign("a site"));
            }
            if plans::is_given_up(&self.maps, site) {
                return Err(BpfError::GivenUp { site });
            }
        }
        Ok(())
    }

    /// A new counter of hits, which has counted `start` so far.
    pub fn add_counter(&mut self, start: u64) -> Result<CounterId, BpfError> {
        let number = self.hit_counters;
        if !self.maps.hit_table.set(number, start) {
            return Err(BpfError::Full {
                what: "counters of hits",
                max: self.options.max_counters,
            });
        }
        self.hit_counters += 1;
        Ok(CounterId(number))
    }

    /// Has a counter count for another purpose, from `start` on. No site may be in use any more whose gate counts with it.
    pub fn restart_counter(&mut self, counter: CounterId, start: u64) -> Result<(), BpfError> {
        // It stays among those that tell goroutines apart: a hit that was under way when its site was retired is found the next time.
        if self.tells_goroutines.contains(&counter) {
            let entries = self.goroutine_entries()?;
            for (key, _) in entries.iter().filter(|(key, _)| key.counter == counter.0) {
                sys::remove(self.maps.goroutine_hits.as_fd(), key)
                    .map_err(|source| BpfError::system("forgetting the hits of a goroutine", source))?;
            }
        }
        self.maps.hit_table.set(counter.0, start);
        Ok(())
    }

    /// What a counter has counted of each goroutine so far, by `goid`, where gates do that ([`crate::Goroutines`]). One for which there was no room is
    /// missing ([`Options::max_goroutine_hits`]).
    pub fn goroutine_hits(&self, counter: CounterId) -> Result<BTreeMap<u64, u64>, BpfError> {
        if !self.tells_goroutines.contains(&counter) {
            return Ok(BTreeMap::new());
        }
        Ok(self.all_goroutine_hits()?.remove(&counter).unwrap_or_default())
    }

    /// The same of all counters that tell goroutines apart. One table has them all, so this costs no more than to ask for one counter.
    pub fn all_goroutine_hits(&self) -> Result<HashMap<CounterId, BTreeMap<u64, u64>>, BpfError> {
        let mut hits: HashMap<CounterId, BTreeMap<u64, u64>> = HashMap::new();
        if self.tells_goroutines.is_empty() {
            return Ok(hits);
        }
        for (key, count) in self.goroutine_entries()? {
            let of_counter = hits.entry(CounterId(key.counter)).or_default();
            *of_counter.entry(key.goroutine).or_default() += count;
        }
        hits.retain(|counter, _| self.tells_goroutines.contains(counter));
        Ok(hits)
    }

    /// The same of one goroutine of a process, as the pid namespace of this one numbers it.
    pub fn hits_of_goroutine(&self, counter: CounterId, process: u32, goroutine: u64) -> Result<u64, BpfError> {
        if !self.tells_goroutines.contains(&counter) {
            return Ok(0);
        }
        self.hit_counts().of_goroutine(counter, process, goroutine)
    }

    /// Adds hits of goroutines of a process, as the pid namespace of this one numbers it, that others have counted. Nothing may be attached yet whose gate
    /// counts with this counter.
    pub fn add_goroutine_hits(
        &mut self,
        counter: CounterId,
        process: u32,
        hits: &BTreeMap<u64, u64>,
    ) -> Result<(), BpfError> {
        if hits.is_empty() {
            return Ok(());
        }
        let sum = |(goroutine, count): (&u64, &u64)| {
            let so_far = self.hits_of_goroutine(counter, process, *goroutine)?;
            Ok(count.saturating_add(so_far))
        };
        let sums: Vec<u64> = hits.iter().map(sum).collect::<Result<_, BpfError>>()?;
        self.tells_goroutines.insert(counter);
        let keys: Vec<GoroutineKey> = hits
            .keys()
            .map(|goroutine| GoroutineKey {
                counter: counter.0,
                process,
                goroutine: *goroutine,
            })
            .collect();
        sys::update_batch(self.maps.goroutine_hits.as_fd(), &keys, &sums)
            .map_err(|source| BpfError::system("setting the hits of goroutines", source))
    }

    fn goroutine_entries(&self) -> Result<Vec<(GoroutineKey, u64)>, BpfError> {
        sys::entries::<GoroutineKey, u64>(self.maps.goroutine_hits.as_fd())
            .map_err(|source| BpfError::system("reading the hits of goroutines", source))
    }

    /// What a counter has counted so far, all goroutines together.
    pub fn hits(&self, counter: CounterId) -> u64 {
        self.maps.hit_table.get(counter.0).unwrap_or(0)
    }

    /// Counts a hit that the kernel left to others; answers its number, from 1.
    pub fn count_hit(&self, counter: CounterId) -> u64 {
        self.maps
            .hit_table
            .fetch_add(counter.0, 1)
            .map_or(0, |before| before.wrapping_add(1))
    }

    /// A handle that counts hits, to be used from any thread.
    pub fn hit_counts(&self) -> HitCounts {
        HitCounts {
            maps: Arc::clone(&self.maps),
        }
    }

    /// A new limiter, for rate limits.
    pub fn add_limiter(&mut self) -> Result<LimiterId, BpfError> {
        let number = self.limiters;
        if !self.maps.limiter_table.set(number, LimiterEntry::default()) {
            return Err(BpfError::Full {
                what: "rate limits",
                max: self.options.max_counters,
            });
        }
        self.limiters += 1;
        Ok(LimiterId(number))
    }

    /// A number for a layout that is described later, by [`Self::set_layout`]: for types that lead
    /// to themselves. Until then it leads nowhere.
    pub fn reserve_layout(&mut self) -> Result<LayoutId, BpfError> {
        if self.layouts >= self.options.max_layouts {
            return Err(self.layouts_full());
        }
        self.layouts += 1;
        Ok(LayoutId(self.layouts - 1))
    }

    /// Describes a layout whose number was reserved.
    pub fn set_layout(&mut self, id: LayoutId, layout: &Layout) -> Result<(), BpfError> {
        if id.0 == 0 || id.0 >= self.layouts {
            return Err(BpfError::Foreign("a layout"));
        }
        let mut next = self.layouts;
        let entries = layout::entries(layout, id.0, || {
            let number = next;
            next += 1;
            (number < self.options.max_layouts).then_some(number)
        })
        .ok_or_else(|| self.layouts_full())?;
        self.layouts = next;
        // The first entry comes last: a program that reads it finds the others in place.
        for (number, entry) in entries.into_iter().rev() {
            self.maps.layout_table.set(number, entry);
        }
        Ok(())
    }

    /// Adds a layout.
    pub fn add_layout(&mut self, layout: &Layout) -> Result<LayoutId, BpfError> {
        let id = self.reserve_layout()?;
        self.set_layout(id, layout)?;
        Ok(id)
    }

    fn layouts_full(&self) -> BpfError {
        BpfError::Full {
            what: "layouts",
            max: self.options.max_layouts,
        }
    }

    /// Adds to the table by which interfaces are followed: link-time addresses of runtime types
    /// (`abi.Type`) and of itabs (`abi.ITab`), with what lies behind an interface that holds them.
    pub fn set_runtime_types(
        &mut self,
        types: impl IntoIterator<Item = (u64, RuntimeTypeEntry)>,
    ) -> Result<(), BpfError> {
        let (keys, values): (Vec<u64>, Vec<TypeEntry>) = types
            .into_iter()
            .map(|(address, entry)| (address, TypeEntry::from(entry)))
            .unzip();
        for (keys, values) in keys.chunks(BATCH).zip(values.chunks(BATCH)) {
            sys::update_batch(self.maps.types.as_fd(), keys, values).map_err(|source| {
                if source.raw_os_error() == Some(libc::E2BIG) {
                    BpfError::Full {
                        what: "runtime types",
                        max: self.options.max_runtime_types,
                    }
                } else {
                    BpfError::system("filling the table of runtime types", source)
                }
            })?;
        }
        Ok(())
    }

    /// The consumer's handle on the ring, to be used from any thread.
    pub fn ring(&self) -> Ring {
        self.ring.clone()
    }

    /// The consumer's handle on the ring for records of sites that stop the process ([`Plan::stops`]). They have one of their own, which a flood of other
    /// records cannot fill, and each of them wakes a consumer that waits.
    pub fn stop_ring(&self) -> Ring {
        self.stop_ring.clone()
    }

    /// [`Ring::drain`] of this set's ring.
    pub fn drain(&self, timeout: Duration, each: impl FnMut(RecordView<'_>)) -> Result<usize, BpfError> {
        self.ring.drain(timeout, each)
    }

    /// What became of the hits of a site so far.
    pub fn counters(&self, site: SiteId) -> Result<Counters, BpfError> {
        if site.0 >= self.sites {
            return Err(BpfError::Foreign("a site"));
        }
        Ok(self.sum_counters(site.0..=site.0))
    }

    /// What became of the hits of all sites so far.
    pub fn total_counters(&self) -> Counters {
        match self.sites.checked_sub(1) {
            Some(last) => self.sum_counters(0..=last),
            None => Counters::default(),
        }
    }

    /// A handle that tells losses of single sites, to be used from any thread.
    pub fn losses(&self) -> Losses {
        Losses {
            maps: Arc::clone(&self.maps),
            stripes: self.environment.stripes,
            max_sites: self.options.max_sites,
        }
    }

    fn sum_counters(&self, sites: std::ops::RangeInclusive<u32>) -> Counters {
        let watch = self.watch();
        let mut sum = Counters::default();
        for site in sites {
            for entry in watch.entries(SiteId(site)) {
                sum += entry;
            }
        }
        sum
    }

    /// A handle that looks after single sites, to be used from any thread.
    pub fn watch(&self) -> Watch {
        Watch::new(Arc::clone(&self.maps), self.environment.stripes, self.options.max_sites)
    }
}
