//! Kernel probes: what carries logpoints and conditional breakpoints, and what sees panics and fatal errors while the program is not traced.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;
use spelunk_bpf::{
    BpfError, CounterId, Flags, HitCount, HitCounts, HitTest, LimiterId, RateLimit, RecordView, SiteId, Watch,
};
use spelunk_dwarf::{Binary, FileAddr, Function};

use super::accounts::{Accounts, ProbeAccount, ProbeState};
use super::breakpoints::{Hits, Logical, Planted};
use super::hit_condition::HitCondition;
use super::hits::Decided;
use super::passes::{Backlog, Collection, PassOwner};
use super::probe_stops::{Cause, ProbeStop};
use super::request::{BreakpointAddress, BreakpointView};
use super::{BreakpointId, Event, EventSender};
use crate::trace::{
    Consumer, Engine, Installed, LogPlanner, LogSite, Place, Reader, SitePlan, StopPlanner, Terms, Unfit,
};
use crate::value::LoadConfig;

/// The interval of rate limits, in nanoseconds.
const SECOND: u64 = 1_000_000_000;

/// How long log messages that wait to be sent may hold up the news of a stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// What is said when probes are asked for after the end of the session.
const GONE: &str = "the session has ended";

/// The kernel probes of a session.
pub(super) struct Probes {
    binary: Arc<Binary>,
    place: Place,
    events: EventSender,
    stops: Sender<ProbeStop>,
    engine: Option<Engine<Owner>>,
    reader: Option<Reader>,
    stop_reader: Option<Reader>,
    /// Why this machine or this user has no kernel probes; found out at the first one.
    unavailable: Option<String>,
    accounts: Accounts,
    /// How many messages a logpoint may write in a second.
    pub(super) rate: Option<NonZeroU32>,
    limiters: HashMap<BreakpointId, LimiterId>,
    /// Of breakpoints that were taken out, the longest ago first.
    free_counters: VecDeque<CounterId>,
    free_limiters: VecDeque<LimiterId>,
    /// Passings that wait to be told.
    backlog: Backlog,
}

/// What the reader of records needs of a site.
enum Owner {
    /// A logpoint.
    Log(Box<LogOwner>),
    /// A tracepoint.
    Pass(Box<Watched>),
    /// A breakpoint that stops its thread.
    Stop(BreakpointId),
    /// The program is about to end by a panic or a fatal error, and is stopped for that.
    Exception,
}

/// A tracepoint's site.
struct Watched {
    pass: Arc<PassOwner>,
    file: String,
    line: u32,
    counter: CounterId,
    /// Cleared when it has been taken out.
    heard: Arc<AtomicBool>,
}

/// What the reader of records needs of a logpoint's site.
struct LogOwner {
    site: LogSite,
    file: String,
    line: u32,
    counter: CounterId,
    hit_condition: Option<HitCondition>,
    /// Cleared when it has been taken out.
    heard: Arc<AtomicBool>,
}

impl LogOwner {
    /// What is to be said of a hit; nothing, where its condition was left open by the kernel and turns out to be false.
    fn text(&self, binary: &Binary, hits: &HitCounts, record: &RecordView<'_>) -> Option<String> {
        let left_open = record.flags().has(Flags::CONDITION_UNKNOWN);
        match self.site.holds(binary, record, None) {
            Ok(false) => return None,
            Ok(true) if left_open => {
                let number = hits.count_hit(self.counter);
                if !self.hit_condition.is_none_or(|condition| condition.holds(number)) {
                    return None;
                }
            }
            Ok(true) => {}
            Err(why) => return Some(format!("error evaluating condition: {why}")),
        }
        Some(self.site.message(binary, record, None))
    }
}

/// Why a breakpoint has no probes.
#[derive(Debug)]
pub(super) enum NoProbes {
    /// There are none to be had here and now; with the reason.
    Unavailable(String),
    /// This breakpoint cannot be carried by probes, or its condition not be decided there.
    Unfit(Unfit),
}

impl From<Unfit> for NoProbes {
    fn from(why: Unfit) -> NoProbes {
        NoProbes::Unfit(why)
    }
}

impl std::fmt::Display for NoProbes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NoProbes::Unavailable(why) => f.write_str(why),
            NoProbes::Unfit(Unfit::NotLowered(not_lowered)) => {
                write!(f, "{}: {}", not_lowered.part, not_lowered.why)
            }
            NoProbes::Unfit(why) => write!(f, "{why}"),
        }
    }
}

impl Probes {
    /// Log messages go to `events`; that a probe has stopped a thread, to `stops`.
    pub(super) fn new(binary: Arc<Binary>, place: Place, events: EventSender, stops: Sender<ProbeStop>) -> Probes {
        Probes {
            binary,
            place,
            events,
            stops,
            engine: None,
            reader: None,
            stop_reader: None,
            unavailable: None,
            accounts: Accounts::default(),
            rate: None,
            limiters: HashMap::new(),
            free_counters: VecDeque::new(),
            free_limiters: VecDeque::new(),
            backlog: Backlog::default(),
        }
    }

    /// The process that the probes are in.
    pub(super) fn process(&self) -> &Place {
        &self.place
    }

    /// Puts the probes of a breakpoint into the target; its hits are counted by `counter`, and what clients are told of it is `view`. With `exact` they are at its very places, which may cost more than at
    /// an instruction behind.
    pub(super) fn install(
        &mut self,
        logical: &Logical,
        view: &Arc<BreakpointView>,
        counter: CounterId,
        exact: bool,
    ) -> Result<Planted, NoProbes> {
        self.require().map_err(NoProbes::Unavailable)?;
        let rate = self.rate_limit(logical).map_err(NoProbes::Unavailable)?;
        let engine = self
            .engine
            .as_mut()
            .ok_or_else(|| NoProbes::Unavailable(GONE.to_owned()))?;
        let (binary, runtime) = (self.binary.clone(), engine.runtime());
        let heard = Arc::new(AtomicBool::new(true));
        let (file, line) = logical.at.clone().unwrap_or_default();
        let hits = HitCount {
            counter,
            test: logical.parsed.hit_condition.map_or(HitTest::Any, HitCondition::test),
            goroutines: logical.goroutines_told(),
        };
        let terms = Terms {
            condition: logical.parsed.condition.as_ref(),
            hits: Some(hits),
            rate,
        };
        let id = logical.id.0.unsigned_abs();
        let function_at = |addr: FileAddr| {
            let function = binary.function_at(addr);
            function.ok_or_else(|| Unfit::Unusable(format!("there is no function at {addr}")))
        };
        let planned: Result<Vec<(SitePlan, Owner)>, Unfit> = if let Some(template) = &logical.parsed.log {
            engine.with_layouts(|layouts| {
                let mut planner = LogPlanner {
                    binary: &binary,
                    runtime,
                    layouts,
                };
                let plan = |addr: &FileAddr| {
                    let site = planner.plan(id, function_at(*addr)?, *addr, line, template, terms)?;
                    let plan = site.site.clone();
                    let owner = Owner::Log(Box::new(LogOwner {
                        site,
                        file: file.clone(),
                        line,
                        counter,
                        hit_condition: logical.parsed.hit_condition,
                        heard: Arc::clone(&heard),
                    }));
                    Ok((plan, owner))
                };
                logical.places.iter().map(plan).collect()
            })
        } else if logical.is_traced() {
            // Who stood there before was counted as well.
            let so_far = usize::try_from(engine.hits(counter)).unwrap_or(usize::MAX);
            let told = Arc::new(AtomicUsize::new(so_far));
            let beside_kernel = logical.by_goroutine.lock().unwrap_or_else(PoisonError::into_inner);
            let beside_kernel = Arc::new(Mutex::new(beside_kernel.clone()));
            let last_told = Arc::new(Mutex::new(view.hits.by_goroutine.clone()));
            let hit_condition = logical
                .parsed
                .hit_condition
                .map(|condition| (condition, logical.extra.hits_per_goroutine));
            engine.with_layouts(|layouts| {
                let mut planner = LogPlanner {
                    binary: &binary,
                    runtime,
                    layouts,
                };
                let plan = |(addr, BreakpointAddress { addr: in_process, .. }): (&FileAddr, &BreakpointAddress)| {
                    let function = function_at(*addr)?;
                    let collection = Collection::of(&binary, function, (*addr, *in_process), line, logical)?;
                    let site = planner.plan(id, function, *addr, line, &collection.template, terms)?;
                    let plan = site.site.clone();
                    let owner = Owner::Pass(Box::new(Watched {
                        pass: Arc::new(PassOwner {
                            site,
                            collection,
                            tracepoint: Arc::clone(view),
                            addr: *addr,
                            by_goroutine: Arc::clone(&logical.by_goroutine),
                            beside_kernel: Arc::clone(&beside_kernel),
                            last_told: Arc::clone(&last_told),
                            told: Arc::clone(&told),
                            hit_condition,
                            recorded: logical.recorded,
                        }),
                        file: file.clone(),
                        line,
                        counter,
                        heard: Arc::clone(&heard),
                    }));
                    Ok((plan, owner))
                };
                logical.places.iter().zip(&view.addresses).map(plan).collect()
            })
        } else {
            let planner = StopPlanner {
                binary: &binary,
                runtime,
                exact,
            };
            let plan = |addr: &FileAddr| {
                let site = planner.plan(id, function_at(*addr)?, *addr, line, terms)?;
                Ok((site, Owner::Stop(logical.id)))
            };
            logical.places.iter().map(plan).collect()
        };
        let planted = self.put_in(planned?, heard).map_err(NoProbes::Unavailable)?;
        let at = logical.at.clone().unwrap_or_default();
        let what = match (logical.stops(), logical.is_traced()) {
            (_, true) => "passings",
            (true, false) => "hits",
            (false, false) => "log messages",
        };
        self.accounts.open(logical.id, what, &at, &planted.sites);
        Ok(planted)
    }

    /// The accounts of all breakpoints that probes have ever carried.
    pub(super) fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// What became of the hits of a breakpoint's probes.
    pub(super) fn account(&self, id: BreakpointId, state: ProbeState) -> Option<ProbeAccount> {
        let count = |sites: &[SiteId]| Some(self.engine.as_ref()?.counters_of(sites));
        let account = self.accounts.of(id, state, count)?;
        Some(ProbeAccount {
            suppressed: self.events.suppressed(&account.file, account.line),
            ..account
        })
    }

    /// Says what of a breakpoint's messages was lost and has not been told.
    pub(super) fn tell_losses(&mut self, id: BreakpointId) {
        let Some(engine) = &self.engine else { return };
        let now = engine.counters_of(self.accounts.sites_of(id));
        if let Some(text) = self.accounts.losses(id, now) {
            let _ = self.events.send(Event::Notice(text));
        }
    }

    /// What limits the rate of a logpoint's messages.
    fn rate_limit(&mut self, logical: &Logical) -> Result<Option<RateLimit>, String> {
        let Some(most) = self.rate.filter(|_| !logical.stops()) else {
            return Ok(None);
        };
        let engine = self.engine.as_mut().ok_or(GONE)?;
        let limiter = match self.limiters.get(&logical.id) {
            Some(limiter) => *limiter,
            None => match (engine.add_limiter(), self.free_limiters.pop_front()) {
                (Ok(limiter), free) => {
                    self.free_limiters.extend(free);
                    limiter
                }
                (Err(_), Some(free)) => free,
                (Err(error), None) => return Err(error.to_string()),
            },
        };
        self.limiters.insert(logical.id, limiter);
        Ok(Some(RateLimit {
            limiter,
            most: most.get(),
            interval: SECOND,
        }))
    }

    /// Has functions stop the program as soon as they are called.
    pub(super) fn stop_at(&mut self, functions: &[&Function]) -> Result<Planted, String> {
        self.require()?;
        let engine = self.engine.as_mut().ok_or(GONE)?;
        let sites: Vec<_> = engine
            .plan_stops(functions)
            .into_iter()
            .map(|site| (site, Owner::Exception))
            .collect();
        if sites.is_empty() {
            return Err("the runtime's functions for panics cannot be probed".to_owned());
        }
        self.put_in(sites, Arc::new(AtomicBool::new(true)))
    }

    fn put_in(&mut self, sites: Vec<(SitePlan, Owner)>, heard: Arc<AtomicBool>) -> Result<Planted, String> {
        let engine = self.engine.as_mut().ok_or(GONE)?;
        let addresses = sites.iter().map(|(site, _)| site.addr).collect();
        let before = engine.site_count();
        let link = engine.install(&self.place, sites).map_err(|error| error.to_string())?;
        Ok(Planted {
            link,
            sites: engine.sites_behind(before),
            addresses,
            heard,
        })
    }

    /// A handle that looks after what probes cost; there is none before the first probe.
    pub(super) fn watch(&self) -> Option<Watch> {
        self.engine.as_ref().map(Engine::watch)
    }

    /// Has probes do nothing any more, for good. Hits from now on are counted as idle.
    pub(super) fn retire_sites(&self, sites: &[SiteId]) {
        if let Some(watch) = self.watch() {
            for site in sites {
                watch.retire(*site);
            }
        }
    }

    /// A new counter of hits, which has counted `start` so far.
    pub(super) fn add_counter(&mut self, start: u64) -> Result<CounterId, String> {
        self.require()?;
        let engine = self.engine.as_mut().ok_or(GONE)?;
        match (engine.add_counter(start), self.free_counters.pop_front()) {
            (Ok(counter), free) => {
                self.free_counters.extend(free);
                Ok(counter)
            }
            (Err(_), Some(free)) => match engine.restart_counter(free, start) {
                Ok(()) => Ok(free),
                Err(error) => Err(error.to_string()),
            },
            (Err(error), None) => Err(error.to_string()),
        }
    }

    /// A breakpoint has been taken out for good, and its sites are retired. What it had of the engine's tables is given to another once they are full.
    pub(super) fn recycle(&mut self, id: BreakpointId, hits: Hits) {
        if let Hits::InKernel(counter) = hits {
            // Its goroutines make room for those of others now.
            if let Some(engine) = &mut self.engine
                && let Err(error) = engine.restart_counter(counter, 0)
            {
                tracing::warn!("{error}");
            }
            self.free_counters.push_back(counter);
        }
        self.free_limiters.extend(self.limiters.remove(&id));
    }

    /// What a counter has counted so far.
    pub(super) fn hits(&self, counter: CounterId) -> u64 {
        self.engine.as_ref().map_or(0, |engine| engine.hits(counter))
    }

    /// What the counters have counted of each goroutine so far that tell them apart.
    pub(super) fn goroutine_hits(&self) -> KernelHits {
        known(self.engine.as_ref().map(Engine::all_goroutine_hits))
    }

    /// What a counter has counted of one goroutine of the process `pid` so far.
    pub(super) fn hits_of_goroutine(&self, counter: CounterId, pid: u32, goroutine: u64) -> u64 {
        let engine = self.engine.as_ref();
        known(engine.map(|engine| engine.hits_of_goroutine(counter, pid, goroutine)))
    }

    /// Has the kernel go on from hits of goroutines of the process `pid` that were counted here.
    pub(super) fn hand_over(&mut self, counter: CounterId, pid: u32, hits: &BTreeMap<u64, u64>) -> Result<(), String> {
        let engine = self.engine.as_mut().ok_or(GONE)?;
        engine
            .add_goroutine_hits(counter, pid, hits)
            .map_err(|error| error.to_string())
    }

    /// Counts a hit that the kernel has not counted; answers its number, from 1.
    pub(super) fn count_hit(&self, counter: CounterId) -> u64 {
        self.engine.as_ref().map_or(0, |engine| engine.count_hit(counter))
    }

    /// Makes sure that there are kernel probes at all; the error says why there are none.
    fn require(&mut self) -> Result<(), String> {
        if let Some(why) = &self.unavailable {
            return Err(why.clone());
        }
        self.start().inspect_err(|why| self.unavailable = Some(why.clone()))
    }

    /// The first probe makes the tables and the reader; a session without any needs no privileges.
    fn start(&mut self) -> Result<(), String> {
        if self.engine.is_some() {
            return Ok(());
        }
        let mut engine = Engine::new(self.binary.clone(), LoadConfig::DAP).map_err(|error| error.to_string())?;
        let told = || Told {
            binary: self.binary.clone(),
            events: self.events.clone(),
            stops: self.stops.clone(),
            hits: engine.hit_counts(),
            backlog: self.backlog.clone(),
        };
        let (told, of_stops) = (told(), told());
        self.reader = engine.read(told);
        self.stop_reader = engine.read_stops(of_stops);
        self.engine = Some(engine);
        Ok(())
    }

    /// Returns when all stops that the probes have recorded so far have been handed over.
    pub(super) fn drain_stops(&self) {
        if let Some(reader) = &self.stop_reader {
            reader.drain(PATIENCE);
        }
    }

    /// Returns when everything that the probes have recorded so far has been sent. Where that is more than can be sent while somebody waits for a stop,
    /// the rest is left out, and that is said.
    pub(super) fn drain(&self) {
        if let Some(reader) = &self.reader {
            reader.drain(PATIENCE);
        }
    }

    /// Hands over what was recorded, after all links have been closed, and says what was lost.
    pub(super) fn finish(&mut self) {
        for reader in [self.stop_reader.take(), self.reader.take()].into_iter().flatten() {
            reader.finish();
        }
        for id in self.accounts.ids() {
            self.tell_losses(id);
        }
        let Some(engine) = self.engine.take() else { return };
        for id in self.accounts.ids() {
            let counters = engine.counters_of(self.accounts.sites_of(id));
            self.accounts.close(id, counters);
        }
    }
}

/// What the kernel has counted of each goroutine, by counter.
pub(super) type KernelHits = HashMap<CounterId, BTreeMap<u64, u64>>;

/// What was read of an engine's tables; nothing without an engine, and where the kernel does not say.
fn known<R: Default>(read: Option<Result<R, BpfError>>) -> R {
    match read {
        Some(Ok(read)) => read,
        Some(Err(error)) => {
            tracing::warn!("{error}");
            R::default()
        }
        None => R::default(),
    }
}

/// Tells of what probes record.
struct Told {
    binary: Arc<Binary>,
    events: EventSender,
    stops: Sender<ProbeStop>,
    hits: HitCounts,
    backlog: Backlog,
}

impl Consumer<Owner> for Told {
    fn record(&mut self, site: &Arc<Installed<Owner>>, record: &RecordView<'_>) {
        match &site.owner {
            Owner::Log(log) => {
                if !log.heard.load(Ordering::Acquire) {
                    // A program that ran when the probe was taken out has made this.
                    return self.events.suppress(&log.file, log.line, 1);
                }
                let Some(text) = log.text(&self.binary, &self.hits, record) else {
                    return;
                };
                let _ = self.events.send(Event::Log {
                    goroutine: record.goroutine(),
                    text,
                    file: log.file.clone(),
                    line: log.line,
                });
            }
            Owner::Pass(watched) => {
                if !watched.heard.load(Ordering::Acquire) {
                    return self.events.suppress(&watched.file, watched.line, 1);
                }
                let hits = (&self.hits, watched.counter);
                match watched.pass.pass(&self.binary, hits, record, &self.backlog) {
                    Ok(Some(pass)) => {
                        let _ = self.events.send(Event::Traced(Arc::new(pass)));
                    }
                    Ok(None) => {}
                    Err(left_out) => self.events.suppress(&watched.file, watched.line, left_out),
                }
            }
            Owner::Stop(id) => {
                let cause = Cause::Breakpoint {
                    id: *id,
                    decided: Decided::of(record.flags()),
                };
                let _ = self.stops.send(ProbeStop::of(cause, &site.plan, record));
            }
            Owner::Exception => {
                let _ = self.stops.send(ProbeStop::of(Cause::Exception, &site.plan, record));
            }
        }
    }

    fn passed_over(&mut self, site: &Arc<Installed<Owner>>) {
        match &site.owner {
            Owner::Log(log) => self.events.suppress(&log.file, log.line, 1),
            Owner::Pass(watched) => self.events.suppress(&watched.file, watched.line, 1),
            Owner::Stop(_) | Owner::Exception => {}
        }
    }
}
