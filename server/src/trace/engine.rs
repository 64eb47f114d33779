//! The probes of one binary in one process.

use std::collections::{HashMap, HashSet};
use std::os::unix::fs::FileExt;
use std::sync::{Arc, RwLock};

use rayon::prelude::*;
use spelunk_bpf::{
    BpfError, CounterId, Family, HEADER_SIZE, HitCounts, LimiterId, Link, Losses, Options, Plan, ProbeSet, Reg, Ring,
    Root, RootSource, Site, SiteId, Target,
};
use spelunk_dwarf::{Binary, DwarfError, DwarfReg, Function};

use super::accounting::Accounting;
use super::function::{Runtime, SiteKind, SitePlan};
use super::layouts::Layouts;
use super::planning;
use super::reader::{Consumer, Reader};
use crate::process::{Identity, ProcessError};
use crate::value::{LoadConfig, is_direct_in_interface};

/// How much code is compared at a site, in bytes.
const CHECKED: usize = 16;

/// The general registers and the instruction pointer, with their numbers in DWARF (System V ABI for AMD64, figure 3.36).
pub(crate) const ALL_REGISTERS: [(Reg, DwarfReg); 17] = [
    (Reg::Rax, DwarfReg(0)),
    (Reg::Rdx, DwarfReg(1)),
    (Reg::Rcx, DwarfReg(2)),
    (Reg::Rbx, DwarfReg(3)),
    (Reg::Rsi, DwarfReg(4)),
    (Reg::Rdi, DwarfReg(5)),
    (Reg::Rbp, DwarfReg(6)),
    (Reg::Rsp, DwarfReg(7)),
    (Reg::R8, DwarfReg(8)),
    (Reg::R9, DwarfReg(9)),
    (Reg::R10, DwarfReg(10)),
    (Reg::R11, DwarfReg(11)),
    (Reg::R12, DwarfReg(12)),
    (Reg::R13, DwarfReg(13)),
    (Reg::R14, DwarfReg(14)),
    (Reg::R15, DwarfReg(15)),
    (Reg::Rip, DwarfReg(16)),
];

/// Where probes are put: a process, which is asked who it is before and after each time.
pub(crate) type Place = Arc<Identity>;

/// Why the engine could not be started or extended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EngineError {
    /// The kernel, or what this user may do with it.
    #[error("{0}")]
    Bpf(#[from] BpfError),
    /// The binary's debug information.
    #[error("{0}")]
    Dwarf(#[from] DwarfError),
    /// The file that runs has other code at a site than the analysed one.
    #[error(
        "{running} is not laid out as {analysed}, whose debug information is used: the code of {function} is not where it should be; give the file that runs, with its debug information"
    )]
    OtherCode {
        /// The file that runs.
        running: String,
        /// The file with the debug information.
        analysed: String,
        /// The function of the site.
        function: String,
    },
    /// The process is not, or no longer, one that may be probed.
    #[error("{0}")]
    Process(#[from] ProcessError),
}

/// What the reader knows of a site.
pub(crate) struct Installed<T> {
    /// Its plan.
    pub(crate) plan: SitePlan,
    /// What its owner hung on it.
    pub(crate) owner: T,
    /// For a call: the site at which the function's stack is seen to grow.
    pub(crate) growth: Option<SiteId>,
    /// Its number in records.
    pub(crate) id: SiteId,
}

/// Sites by their number in records. A site that was taken out stays here: records of it may still lie in the ring.
pub(super) type Table<T> = Arc<RwLock<Vec<Option<Arc<Installed<T>>>>>>;

/// Probes of one binary.
pub(crate) struct Engine<T> {
    binary: Arc<Binary>,
    runtime: Runtime,
    config: LoadConfig,
    pub(super) probes: ProbeSet,
    /// The processes to be probed, where they are followed into their children.
    family: Option<Family>,
    ring: Option<Ring>,
    stop_ring: Option<Ring>,
    table: Table<T>,
    pub(super) sites: Vec<SiteId>,
    runtime_types_known: bool,
}

impl<T: Send + Sync + 'static> Engine<T> {
    /// Loads what all probes share. `config` says how much of values is captured.
    pub(crate) fn new(binary: Arc<Binary>, config: LoadConfig) -> Result<Engine<T>, EngineError> {
        // The one reads debug information, the other waits for the kernel.
        let (runtime, probes) = rayon::join(|| Runtime::of(&binary), || ProbeSet::new(options()));
        let (probes, runtime) = (probes?, runtime?);
        let (ring, stop_ring) = (Some(probes.ring()), Some(probes.stop_ring()));
        Ok(Engine {
            binary,
            runtime,
            config,
            probes,
            family: None,
            ring,
            stop_ring,
            table: Table::default(),
            sites: Vec::new(),
            runtime_types_known: false,
        })
    }

    /// As [`planning::functions`].
    pub(crate) fn plan_functions(
        &mut self,
        functions: &[&Function],
        asked: planning::Asked<'_>,
    ) -> (Vec<SitePlan>, Vec<planning::Refused>) {
        let (binary, runtime) = (self.binary.clone(), self.runtime);
        self.with_layouts(|layouts| planning::functions(&binary, runtime, layouts, functions, asked))
    }

    /// Counters for one hit condition each, which start at 0.
    pub(super) fn hit_counters(&mut self, count: usize) -> Result<Vec<CounterId>, EngineError> {
        let counters: Result<Vec<_>, _> = (0..count).map(|_| self.probes.add_counter(0)).collect();
        Ok(counters?)
    }

    /// Limiters of one rate each.
    pub(super) fn limiters(&mut self, count: usize) -> Result<Vec<LimiterId>, EngineError> {
        let limiters: Result<Vec<_>, _> = (0..count).map(|_| self.probes.add_limiter()).collect();
        Ok(limiters?)
    }

    /// Counts hits that the kernel left to others.
    pub(crate) fn hit_counts(&self) -> HitCounts {
        self.probes.hit_counts()
    }

    /// As [`planning::endings`].
    pub(crate) fn plan_endings(&mut self) -> Vec<SitePlan> {
        let (binary, runtime) = (self.binary.clone(), self.runtime);
        self.with_layouts(|layouts| planning::endings(&binary, runtime, layouts))
    }

    /// The sites at which a function stops the process as soon as it is called: its call, with all general registers in the record, in the order of
    /// [`ALL_REGISTERS`].
    pub(crate) fn plan_stops(&mut self, functions: &[&Function]) -> Vec<SitePlan> {
        let (planned, _) = self.plan_functions(functions, planning::ALL_CALLS);
        let calls = planned.into_iter().filter(|site| site.kind == SiteKind::Call);
        calls
            .map(|site| {
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
                    fragile: Vec::new(),
                    plan: Arc::new(plan),
                    ..site
                }
            })
            .collect()
    }

    /// Runs a planner with the layouts of this engine's table.
    pub(crate) fn with_layouts<R>(&mut self, work: impl FnOnce(&mut Layouts<'_>) -> R) -> R {
        let binary = self.binary.clone();
        let probes = &mut self.probes;
        let mut add = |layout: &spelunk_bpf::Layout| probes.add_layout(layout).ok();
        let mut layouts = Layouts::new(&binary, self.config, &mut add);
        let result = work(&mut layouts);
        if layouts.follows_interfaces() && !self.runtime_types_known {
            // The kernel follows what an interface holds by its runtime type; any type of the program may turn up.
            let types = binary.runtime_types();
            // Reading a type is most of the work, and what was read is kept.
            types.par_iter().for_each(|(_, ty)| drop(binary.type_info(*ty)));
            let entries: Vec<_> = types
                .iter()
                .map(|(addr, ty)| {
                    (
                        addr.0,
                        layouts.runtime_type(*ty, is_direct_in_interface(&binary, *addr)),
                    )
                })
                .collect();
            drop(layouts);
            tracing::debug!("{} runtime types described", entries.len());
            self.runtime_types_known = true;
            if let Err(error) = self.probes.set_runtime_types(entries) {
                tracing::warn!("what interfaces hold cannot be followed: {error}");
            }
        }
        result
    }

    /// Runtime and binary, for planners.
    pub(crate) fn runtime(&self) -> Runtime {
        self.runtime
    }

    /// Has all probes that are installed from now on reach the processes of a family, which is to be filled from those that run the file at `place`, and
    /// their children. Once, and before anything is installed.
    pub(crate) fn follow_children(&mut self, place: &Place) -> Result<(), EngineError> {
        place.confirm_followable()?;
        self.family = Some(self.probes.follow(place.file())?);
        Ok(())
    }

    /// The processes that are followed into their children, if they are.
    pub(crate) fn family(&self) -> Option<&Family> {
        self.family.as_ref()
    }

    /// Attaches probes, all on one link. They come out when the link is dropped. The second part tells what the kernel refused.
    pub(crate) fn install(&mut self, place: &Place, sites: Vec<(SitePlan, T)>) -> Result<Link, EngineError> {
        place.confirm()?;
        check_code(&self.binary, place, sites.iter().map(|(site, _)| site))?;
        let plans: Vec<_> = sites.iter().map(|(site, _)| (*site.plan).clone()).collect();
        let plans = self.probes.add_plans(&plans)?;
        let distinct: HashSet<_> = plans.iter().collect();
        tracing::debug!("{} programs loaded for {} sites", distinct.len(), plans.len());
        let mut probes = Vec::with_capacity(sites.len());
        // A function's stack growth is planned before its call.
        let mut growths = HashMap::new();
        let mut stopping = Vec::new();
        for ((plan, owner), id) in sites.into_iter().zip(plans) {
            let Some(offset) = self.binary.file_offset(plan.addr) else {
                continue;
            };
            let site = self.probes.add_site(Site {
                plan: id,
                file_addr: plan.addr.0,
            })?;
            let number = site.number() as usize;
            // A poisoned lock means that a reader panicked; the table itself is whole.
            let mut table = self.table.write().unwrap_or_else(std::sync::PoisonError::into_inner);
            if table.len() <= number {
                table.resize_with(number + 1, || None);
            }
            let growth = match plan.kind {
                SiteKind::Growth => growths.insert(plan.entry, site),
                SiteKind::Call => growths.get(&plan.entry).copied(),
                _ => None,
            };
            let stops = plan.plan.stops;
            table[number] = Some(Arc::new(Installed {
                plan,
                owner,
                growth,
                id: site,
            }));
            self.sites.push(site);
            if stops {
                stopping.push(site);
            }
            probes.push((offset.0, site));
        }
        let link = if let Some(family) = &self.family {
            self.probes.attach_to(family, &place.path(), &probes)?
        } else {
            let target = Target {
                path: place.path(),
                pid: Some(place.pid()),
            };
            self.probes.attach(&target, &probes)?
        };
        // Dropped with the link are probes that have met another process than the one that was asked for, or the same with another user's power.
        place.confirm()?;
        for site in stopping {
            self.probes.arm(site, true)?;
        }
        Ok(link)
    }

    /// Starts the thread that hands records to `consumer`, but for those of sites that stop the process. May be called once.
    pub(crate) fn read(&mut self, consumer: impl Consumer<T>) -> Option<Reader> {
        Some(Reader::start(self.ring.take()?, self.table.clone(), consumer))
    }

    /// Starts the thread that hands records of sites that stop the process to `consumer`: they have a ring and a reader of their own, so that no flood of
    /// others delays them. May be called once.
    pub(crate) fn read_stops(&mut self, consumer: impl Consumer<T>) -> Option<Reader> {
        Some(Reader::start(self.stop_ring.take()?, self.table.clone(), consumer))
    }

    /// Tells which sites have lost records.
    pub(crate) fn losses(&self) -> Losses {
        self.probes.losses()
    }

    /// What the sites with these numbers are.
    pub(crate) fn sites_of(&self, ids: &[SiteId]) -> Vec<Arc<Installed<T>>> {
        let table = self.table.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        ids.iter()
            .filter_map(|id| table.get(id.number() as usize).and_then(Option::clone))
            .collect()
    }

    /// What the sites of each function counted.
    pub(crate) fn accounting(&self) -> Accounting {
        let sites = self.sites_of(&self.sites);
        let counted = |site: &Arc<Installed<T>>| self.probes.counters(site.id).unwrap_or_default();
        Accounting::of(
            sites
                .iter()
                .map(|site| (&site.plan.function, site.plan.kind, counted(site))),
        )
    }
}

/// A probe or a breakpoint in the wrong place would break the program: the code there must be what was analysed.
pub(super) fn check_code<'s>(
    binary: &Binary,
    place: &Place,
    sites: impl Iterator<Item = &'s SitePlan>,
) -> Result<(), EngineError> {
    let name = place.name().display().to_string();
    let file = place.file();
    for site in sites {
        let analysed = binary.file_offset(site.addr).zip(binary.code(site.addr, CHECKED));
        let Some((offset, expected)) = analysed else { continue };
        let mut found = [0; CHECKED];
        let same = file
            .read_exact_at(&mut found, offset.0)
            .is_ok_and(|()| found == *expected);
        if !same {
            let analysed = binary.path().display().to_string();
            return Err(EngineError::OtherCode {
                running: name,
                analysed,
                function: site.function.to_string(),
            });
        }
    }
    Ok(())
}

/// The ring's size can be set for machines with little memory, or to see how losses are told.
fn options() -> Options {
    let mut options = Options::default();
    if let Some(bytes) = std::env::var("SPELUNK_RING_BYTES")
        .ok()
        .and_then(|text| text.parse::<u32>().ok())
    {
        options.ring_bytes = bytes.next_power_of_two().clamp(4096, 1 << 30);
    }
    options
}
