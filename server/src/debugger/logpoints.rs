//! Kernel probes: what carries logpoints, and what sees panics and fatal errors, while nothing else stops the program.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use crossbeam_channel::Sender;
use spelunk_bpf::{Link, RecordView};
use spelunk_dwarf::{Binary, DwarfReg, FileAddr, Function};

use super::{BreakpointId, Event, EventSender};
use crate::expr::Template;
use crate::inspect::Tid;
use crate::trace::{ALL_REGISTERS, Consumer, Engine, Installed, LogPlanner, LogSite, Place, Reader, Terms};
use crate::value::LoadConfig;

/// How long log messages that wait to be sent may hold up the news of a stop.
const PATIENCE: Duration = Duration::from_millis(50);

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
    lost: u64,
}

/// What the reader of records needs of a site.
enum Owner {
    /// A logpoint.
    Log {
        site: Box<LogSite>,
        file: String,
        line: u32,
    },
    /// The program is about to end by a panic or a fatal error, and has been stopped for that.
    Exception,
}

/// A probe has stopped the program: all of its threads are, or will be, in a stop by SIGSTOP.
pub(super) struct ProbeStop {
    /// The thread that came to the probe.
    pub(super) thread: Tid,
    /// The registers it had there, before the probed instruction.
    pub(super) registers: Vec<(DwarfReg, u64)>,
}

/// Why a logpoint has no probes.
pub(super) enum NoProbes {
    /// This machine or this user has none at all; with the reason.
    Unavailable(String),
    /// This one cannot be carried by probes; with the reason.
    ThisOne(String),
}

impl Probes {
    /// Log messages go to `events`; that a probe has stopped the program, to `stops`.
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
            lost: 0,
        }
    }

    /// Puts a logpoint into the target. The probes come out when the link is dropped.
    pub(super) fn install(
        &mut self,
        id: BreakpointId,
        places: &[FileAddr],
        at: &(String, u32),
        template: &Template,
    ) -> Result<Link, NoProbes> {
        self.require().map_err(NoProbes::Unavailable)?;
        let this_one = |why: &str| NoProbes::ThisOne(why.to_owned());
        let engine = self.engine.as_mut().ok_or_else(|| this_one("the engine is gone"))?;
        let (binary, runtime) = (self.binary.clone(), engine.runtime());
        let (file, line) = at;
        let planned = engine.with_layouts(|layouts| {
            let mut planner = LogPlanner {
                binary: &binary,
                runtime,
                layouts,
            };
            let plan = |addr: &FileAddr| {
                let function = binary.function_at(*addr).ok_or("no function there")?;
                planner
                    .plan(id.0.unsigned_abs(), function, *addr, *line, template, Terms::default())
                    .map_err(|error| error.to_string())
            };
            places.iter().map(plan).collect::<Result<Vec<_>, String>>()
        });
        let owned = planned
            .map_err(|why| this_one(&why))?
            .into_iter()
            .map(|site| {
                let plan = site.site.clone();
                let owner = Owner::Log {
                    site: Box::new(site),
                    file: file.clone(),
                    line: *line,
                };
                (plan, owner)
            })
            .collect();
        engine
            .install(&self.place, owned)
            .map_err(|error| this_one(&error.to_string()))
    }

    /// Has functions stop the program as soon as they are called.
    pub(super) fn stop_at(&mut self, functions: &[&Function]) -> Result<Link, String> {
        self.require()?;
        let engine = self.engine.as_mut().ok_or("the engine is gone")?;
        let sites: Vec<_> = engine
            .plan_stops(functions)
            .into_iter()
            .map(|site| (site, Owner::Exception))
            .collect();
        if sites.is_empty() {
            return Err("the runtime's functions for panics cannot be probed".to_owned());
        }
        engine.install(&self.place, sites).map_err(|error| error.to_string())
    }

    /// Makes sure that there are kernel probes at all; the error says why there are none.
    fn require(&mut self) -> Result<(), String> {
        if let Some(why) = &self.unavailable {
            return Err(why.clone());
        }
        self.start().inspect_err(|why| self.unavailable = Some(why.clone()))
    }

    /// The first logpoint makes the tables and the reader; a session without any needs no privileges.
    fn start(&mut self) -> Result<(), String> {
        if self.engine.is_some() {
            return Ok(());
        }
        let mut engine = Engine::new(self.binary.clone(), LoadConfig::DAP).map_err(|error| error.to_string())?;
        let told = || Told {
            binary: self.binary.clone(),
            events: self.events.clone(),
            stops: self.stops.clone(),
        };
        self.reader = engine.read(told());
        self.stop_reader = engine.read_stops(told());
        self.engine = Some(engine);
        Ok(())
    }

    /// Returns when everything that the probes have recorded so far has been sent. Where that is more than can be sent while somebody waits for a stop,
    /// the rest is left out, and that is said.
    pub(super) fn drain(&self) {
        for reader in [&self.stop_reader, &self.reader].into_iter().flatten() {
            reader.drain(PATIENCE);
        }
    }

    /// Hands over what was recorded, after all links have been closed, and says what was lost.
    pub(super) fn finish(&mut self) {
        for reader in [self.stop_reader.take(), self.reader.take()].into_iter().flatten() {
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

/// Tells of what probes record.
struct Told {
    binary: Arc<Binary>,
    events: EventSender,
    stops: Sender<ProbeStop>,
}

impl Consumer<Owner> for Told {
    fn record(&mut self, site: &Arc<Installed<Owner>>, record: &RecordView<'_>) {
        match &site.owner {
            Owner::Log { site, file, line } => {
                let _ = self.events.send(Event::Log {
                    goroutine: record.goroutine(),
                    text: site.message(&self.binary, record, None),
                    file: file.clone(),
                    line: *line,
                });
            }
            Owner::Exception => {
                let word = |index: usize| {
                    let bytes = record.root(&site.plan.plan, index).ok()?;
                    Some(u64::from_le_bytes(bytes.try_into().ok()?))
                };
                let registers = ALL_REGISTERS.iter().enumerate();
                let _ = self.stops.send(ProbeStop {
                    thread: Tid(record.thread().cast_signed()),
                    registers: registers
                        .filter_map(|(index, (_, register))| Some((*register, word(index)?)))
                        .collect(),
                });
            }
        }
    }

    fn passed_over(&mut self, site: &Arc<Installed<Owner>>) {
        if let Owner::Log { file, line, .. } = &site.owner {
            self.events.suppress(file, *line, 1);
        }
    }
}

/// Takes links out: each takes some 40 ms, whatever its size, so they go in parallel.
pub(super) fn close_links(links: Vec<Link>) {
    thread::scope(|scope| {
        for link in links {
            scope.spawn(move || drop(link));
        }
    });
}
