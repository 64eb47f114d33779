//! Kernel probes: what carries logpoints and conditional breakpoints, and what sees panics and fatal errors while the program is not traced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::Sender;
use spelunk_bpf::{CounterId, Flags, Gate, HEADER_SIZE, Plan, RecordView, Root, RootSource, SiteId};
use spelunk_dwarf::{Binary, FileAddr, Function, ProcAddr};

use super::breakpoints::{Logical, Planted};
use super::probe_stops::{Cause, ProbeStop};
use super::{BreakpointId, Event};
use crate::expr::Template;
use crate::inspect::{Registers, Tid};
use crate::trace::{ALL_REGISTERS, Engine, Installed, LogPlanner, LogSite, Place, Reader, SitePlan};
use crate::value::LoadConfig;

/// How long log messages that wait to be sent may hold up the news of a stop.
const PATIENCE: Duration = Duration::from_millis(50);

/// What is said when probes are asked for after the end of the session.
const GONE: &str = "the session has ended";

/// The kernel probes of a session.
pub(super) struct Probes {
    binary: Arc<Binary>,
    place: Place,
    events: Sender<Event>,
    stops: Sender<ProbeStop>,
    engine: Option<Engine<Owner>>,
    reader: Option<Reader>,
    /// Why this machine or this user has no kernel probes; found out at the first one.
    unavailable: Option<String>,
    lost: u64,
}

/// What the reader of records needs of a site.
enum Owner {
    /// A logpoint.
    Log {
        site: Box<LogSite>,
        file: String,
        line: u32,
        /// Cleared when it has been taken out.
        heard: Arc<AtomicBool>,
    },
    /// A breakpoint that stops its thread.
    Stop(BreakpointId),
    /// The program is about to end by a panic or a fatal error, and is stopped for that.
    Exception,
}

impl Probes {
    /// Log messages go to `events`; that a probe has stopped a thread, to `stops`.
    pub(super) fn new(binary: Arc<Binary>, place: Place, events: Sender<Event>, stops: Sender<ProbeStop>) -> Probes {
        Probes {
            binary,
            place,
            events,
            stops,
            engine: None,
            reader: None,
            unavailable: None,
            lost: 0,
        }
    }

    /// Puts the probes of a breakpoint into the target; its hits are counted by `counter`. The error says why it cannot be carried by probes.
    pub(super) fn install(&mut self, logical: &Logical, counter: CounterId) -> Result<Planted, String> {
        self.require()?;
        let engine = self.engine.as_mut().ok_or(GONE)?;
        let (binary, runtime) = (self.binary.clone(), engine.runtime());
        let (file, line) = logical.at.clone().unwrap_or_default();
        let heard = Arc::new(AtomicBool::new(true));
        let empty = Template { parts: Vec::new() };
        let template = logical.parsed.log.as_ref().unwrap_or(&empty);
        let planned = engine.with_layouts(|layouts| {
            let mut planner = LogPlanner {
                binary: &binary,
                runtime,
                layouts,
            };
            let plan = |addr: &FileAddr| {
                let function = binary.function_at(*addr).ok_or("no function there")?;
                planner.plan(logical.id.0.unsigned_abs(), function, *addr, line, template)
            };
            logical.places.iter().map(plan).collect::<Result<Vec<_>, String>>()
        });
        let _ = counter;
        let owned = planned?
            .into_iter()
            .map(|site| {
                if logical.stops() {
                    return (stopping(site.site), Owner::Stop(logical.id));
                }
                let plan = site.site.clone();
                let owner = Owner::Log {
                    site: Box::new(site),
                    file: file.clone(),
                    line,
                    heard: Arc::clone(&heard),
                };
                (plan, owner)
            })
            .collect();
        self.put_in(owned, heard)
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

    /// Has probes stop their threads, or not any more.
    pub(super) fn arm(&self, sites: &[SiteId], armed: bool) {
        if let Some(engine) = &self.engine {
            engine.arm(sites, armed);
        }
    }

    /// A new counter of hits, which has counted `start` so far.
    pub(super) fn add_counter(&mut self, start: u64) -> Result<CounterId, String> {
        self.require()?;
        let engine = self.engine.as_mut().ok_or(GONE)?;
        engine.add_counter(start).map_err(|error| error.to_string())
    }

    /// What a counter has counted so far.
    pub(super) fn hits(&self, counter: CounterId) -> u64 {
        self.engine.as_ref().map_or(0, |engine| engine.hits(counter))
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
        let (binary, events, stops) = (self.binary.clone(), self.events.clone(), self.stops.clone());
        let handle = move |site: &Arc<Installed<Owner>>, record: &RecordView<'_>| match &site.owner {
            Owner::Log {
                site,
                file,
                line,
                heard,
            } => {
                if !heard.load(Ordering::Acquire) {
                    return;
                }
                let _ = events.send(Event::Log {
                    goroutine: record.goroutine(),
                    text: site.message(&binary, record, None),
                    file: file.clone(),
                    line: *line,
                });
            }
            Owner::Stop(id) => {
                let decided = site.plan.plan.gate != Gate::default() && !record.flags().has(Flags::CONDITION_UNKNOWN);
                let cause = Cause::Breakpoint { id: *id, decided };
                let _ = stops.send(probe_stop(cause, &site.plan, record));
            }
            Owner::Exception => {
                let _ = stops.send(probe_stop(Cause::Exception, &site.plan, record));
            }
        };
        self.reader = engine.read(handle, || {});
        self.engine = Some(engine);
        Ok(())
    }

    /// Returns when all stops that the probes have recorded so far have been handed over.
    pub(super) fn drain_stops(&self) {
        if let Some(reader) = &self.reader {
            reader.drain(PATIENCE);
        }
    }

    /// Returns when everything that the probes have recorded so far has been sent. Where that is more than can be sent while somebody waits for a stop,
    /// the rest is left out, and that is said.
    pub(super) fn drain(&self) {
        let skipped = self.reader.as_ref().map_or(0, |reader| reader.drain(PATIENCE));
        if skipped > 0 {
            let text = format!(
                "{skipped} log messages are not shown: they came faster than they could be sent before this stop"
            );
            let _ = self.events.send(Event::Notice(text));
        }
    }

    /// Hands over what was recorded, after all links have been closed, and says what was lost.
    pub(super) fn finish(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.finish();
        }
        let Some(engine) = self.engine.take() else { return };
        let counters = engine.counters();
        if counters.ring_full > self.lost {
            self.lost = counters.ring_full;
            let text = format!(
                "{} of {} log messages were lost because the ring was full",
                counters.ring_full, counters.hits
            );
            let _ = self.events.send(Event::Notice(text));
        }
    }
}

/// Has a site stop its thread.
fn stopping(site: SitePlan) -> SitePlan {
    let roots = ALL_REGISTERS.iter().map(|(register, _)| Root {
        source: RootSource::Register(*register),
        size: 8,
    });
    let mut plan = Plan {
        roots: roots.collect(),
        follows: Vec::new(),
        stops: true,
        ..(*site.plan).clone()
    };
    plan.max_record = HEADER_SIZE as u32 + plan.roots_size();
    SitePlan {
        variables: Vec::new(),
        plan: Arc::new(plan),
        ..site
    }
}

/// The stop that a record tells of.
fn probe_stop(cause: Cause, site: &SitePlan, record: &RecordView<'_>) -> ProbeStop {
    let word = |index: usize| {
        let bytes = record.root(&site.plan, index).ok()?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    };
    let mut registers = Registers::default();
    for (index, (_, register)) in ALL_REGISTERS.iter().enumerate() {
        registers.set_general(*register, word(index));
    }
    ProbeStop {
        thread: Tid(record.thread().cast_signed()),
        addr: ProcAddr(record.ip()),
        cause,
        registers,
        overwritten: None,
    }
}
