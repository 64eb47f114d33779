//! Breakpoints as clients look at them.

use std::collections::HashSet;

use spelunk_dwarf::{Binary, FileAddr, LoadBias, ProcAddr};

use super::BreakpointId;
use super::breakpoints::{Exception, Logical, Origin, wanted_exceptions};
use super::control::{Control, Phase};
use super::group::Parked;
use super::probes::KernelHits;
use super::request::{BreakpointAddress, BreakpointTerms, BreakpointView, PhysicalView, Shown, Tally};
use crate::inspect::Tid;

/// What clients have made of one of the debugger's own breakpoints, and how often it was hit.
#[derive(Debug, Default)]
pub(super) struct OwnBreakpoint {
    /// Its terms, where a client has changed them.
    pub(super) terms: Option<BreakpointTerms>,
    /// Whether a client has taken it away.
    pub(super) is_cleared: bool,
    /// Its hits.
    pub(super) hits: Tally,
}

impl Exception {
    /// What Delve calls its breakpoint (`pkg/proc/breakpoints.go`).
    fn name(self) -> &'static str {
        match self {
            Exception::UnrecoveredPanic => "unrecovered-panic",
            Exception::FatalThrow => "runtime-fatal-throw",
        }
    }

    /// What is evaluated where it is hit (`pkg/proc/target.go`).
    fn variables(self) -> Vec<String> {
        match self {
            Exception::UnrecoveredPanic => vec!["runtime.curg._panic.arg".to_owned()],
            Exception::FatalThrow => Vec::new(),
        }
    }
}

impl Control {
    /// As [`super::Session::breakpoints`].
    pub(super) fn breakpoint_views(&self) -> Vec<BreakpointView> {
        let own = Exception::ALL
            .into_iter()
            .rev()
            .filter_map(|exception| self.exception_view(exception));
        let in_kernel = self.probes.goroutine_hits();
        let clients = self.breakpoints.shown();
        own.chain(clients.map(|logical| self.view_counted(logical, &in_kernel)))
            .collect()
    }

    /// One of them.
    pub(super) fn breakpoint_view(&self, id: BreakpointId) -> Option<BreakpointView> {
        self.view_with(id, &self.probes.goroutine_hits())
    }

    /// The same, with what the kernel has counted.
    fn view_with(&self, id: BreakpointId, in_kernel: &KernelHits) -> Option<BreakpointView> {
        let own = Exception::ALL.into_iter().find(|exception| exception.id() == id);
        match own {
            Some(exception) => self.exception_view(exception),
            None => self
                .breakpoints
                .shown()
                .find(|logical| logical.id == id)
                .map(|logical| self.view_counted(logical, in_kernel)),
        }
    }

    /// The one of a name.
    pub(super) fn breakpoint_named(&self, name: &str) -> Option<BreakpointView> {
        self.breakpoint_views().into_iter().find(|view| view.terms.name == name)
    }

    fn is_gone(&self) -> bool {
        matches!(self.phase, Phase::Exited | Phase::Released)
    }

    fn is_enabled(&self, exception: Exception) -> bool {
        wanted_exceptions(self.exceptions).any(|wanted| wanted == exception)
    }

    fn is_cleared(&self, exception: Exception) -> bool {
        self.own.get(&exception.id()).is_some_and(|own| own.is_cleared)
    }

    fn exception_view(&self, exception: Exception) -> Option<BreakpointView> {
        let own = self.own.get(&exception.id());
        if self.is_cleared(exception) {
            return None;
        }
        let places = exception.places(&self.binary);
        let enabled = self.is_enabled(exception);
        if places.is_empty() {
            return None;
        }
        Some(BreakpointView {
            id: exception.id(),
            terms: own
                .and_then(|own| own.terms.clone())
                .unwrap_or_else(|| BreakpointTerms {
                    name: exception.name().to_owned(),
                    variables: exception.variables(),
                    ..BreakpointTerms::default()
                }),
            at: self.shown(&places),
            addresses: if enabled {
                self.addresses_of_exception(exception, &places)
            } else {
                Vec::new()
            },
            expression: String::new(),
            enabled,
            hits: own.map(|own| own.hits.clone()).unwrap_or_default(),
        })
    }

    /// One of a client's.
    pub(super) fn view_of(&self, logical: &Logical) -> BreakpointView {
        self.view_counted(logical, &self.probes.goroutine_hits())
    }

    /// The same, with what the kernel has counted: all counters share a table, which is read once for many.
    fn view_counted(&self, logical: &Logical, in_kernel: &KernelHits) -> BreakpointView {
        let is_single = logical.origin == Origin::Single;
        let expression = logical.placed.as_ref().and_then(|placed| placed.expression.as_ref());
        let condition = logical.parsed.condition.as_ref();
        let hit_condition = logical.parsed.hit_condition.as_ref();
        BreakpointView {
            id: logical.id,
            terms: BreakpointTerms {
                name: if is_single {
                    logical.extra.name.clone()
                } else {
                    group_name(&logical.origin, logical.terms.log_message.is_some())
                },
                condition: condition.map(ToString::to_string).unwrap_or_default(),
                hit_condition: hit_condition.map(ToString::to_string).unwrap_or_default(),
                hits_per_goroutine: logical.extra.hits_per_goroutine && hit_condition.is_some(),
                tracepoint: logical.extra.tracepoint || !logical.stops(),
                ..logical.extra.clone()
            },
            at: if is_single {
                logical.shown.clone()
            } else {
                self.shown(&logical.places)
            },
            addresses: self.addresses_of(logical),
            expression: expression.map(|expression| expression.text.clone()).unwrap_or_default(),
            enabled: logical.enabled && logical.switched_off.is_none(),
            hits: Tally {
                total: self.hits_of(logical),
                by_goroutine: logical.hits_of_goroutines(in_kernel),
            },
        }
    }

    /// One of a client's as it is when it lies in the program.
    pub(super) fn view_to_be(&self, logical: &Logical) -> BreakpointView {
        BreakpointView {
            addresses: self.addresses(&logical.places),
            ..self.view_of(logical)
        }
    }

    /// Where places of the target in focus are.
    fn addresses(&self, places: &[FileAddr]) -> Vec<BreakpointAddress> {
        if self.is_gone() {
            return Vec::new();
        }
        addresses_in(&self.binary, self.bias, self.pid, places).collect()
    }

    /// Where a breakpoint lies in all targets, in the order in which these came.
    fn addresses_of(&self, logical: &Logical) -> Vec<BreakpointAddress> {
        let here = if logical.is_placed() { &*logical.places } else { &[] };
        self.in_all_targets(here, |parked| {
            parked
                .placement(logical.id)
                .map(|placement| placement.places.clone())
                .unwrap_or_default()
        })
    }

    fn addresses_of_exception(&self, exception: Exception, here: &[FileAddr]) -> Vec<BreakpointAddress> {
        self.in_all_targets(here, |parked| exception.places(&parked.binary))
    }

    fn in_all_targets(&self, here: &[FileAddr], others: impl Fn(&Parked) -> Vec<FileAddr>) -> Vec<BreakpointAddress> {
        let (earlier, later): (Vec<_>, Vec<_>) = self
            .group
            .others()
            .partition(|parked| parked.serial() < self.group.focus());
        let of = |parked: &&Parked| {
            let places = others(parked);
            addresses_in(&parked.binary, parked.bias, parked.pid, &places).collect::<Vec<_>>()
        };
        let mut all: Vec<_> = earlier.iter().flat_map(of).collect();
        all.extend(self.addresses(here));
        all.extend(later.iter().flat_map(of));
        all
    }

    /// What something at these places is called by where it lies.
    fn shown(&self, places: &[FileAddr]) -> Shown {
        let mut shown = Shown::default();
        self.name_by_places(&mut shown, places);
        shown
    }

    /// As [`super::Session::physical_breakpoints`].
    pub(super) fn physical_views(&self) -> Vec<PhysicalView> {
        if self.is_gone() {
            return Vec::new();
        }
        let mut all = Vec::new();
        for owner in self.breakpoint_views() {
            // Others' are told by them.
            for at in owner.addresses.iter().filter(|at| at.pid == self.pid) {
                all.push(PhysicalView {
                    addr: at.addr,
                    function: at.function.clone(),
                    original: self.original_byte(self.bias.to_file(at.addr)),
                    owner: Some(owner.clone()),
                });
            }
        }
        for addr in self.sites.addresses() {
            let users = self.sites.users(addr);
            if users.is_some_and(|users| users.breakpoints.is_empty()) {
                all.push(PhysicalView {
                    addr: self.to_proc(addr),
                    function: String::new(),
                    original: self.original_byte(addr),
                    owner: None,
                });
            }
        }
        all
    }

    /// Where the target in focus has breakpoints: the addresses of [`Control::physical_views`].
    pub(super) fn physical_addresses(&self) -> HashSet<ProcAddr> {
        if self.is_gone() {
            return HashSet::new();
        }
        let exceptions = Exception::ALL.into_iter();
        let exceptions = exceptions.filter(|exception| self.is_enabled(*exception) && !self.is_cleared(*exception));
        let of_exceptions = exceptions.flat_map(|exception| exception.places(&self.binary));
        let clients = self.breakpoints.shown().filter(|logical| logical.is_placed());
        let of_clients = clients.flat_map(|logical| logical.places.iter().copied());
        // Those of a step, and of what clients do not know of.
        let of_nobody = self.sites.addresses().into_iter().filter(|addr| {
            self.sites
                .users(*addr)
                .is_some_and(|users| users.breakpoints.is_empty())
        });
        of_exceptions
            .chain(of_clients)
            .chain(of_nobody)
            .map(|addr| self.to_proc(addr))
            .collect()
    }

    fn original_byte(&self, addr: FileAddr) -> Option<u8> {
        self.binary.code(addr, 1)?.first().copied()
    }

    /// As [`super::Session::threads_at_breakpoints`].
    pub(super) fn threads_at_breakpoints(&self) -> Vec<(Tid, BreakpointView)> {
        if self.standing.is_empty() {
            return Vec::new();
        }
        let in_kernel = self.probes.goroutine_hits();
        let mut all: Vec<_> = self
            .standing
            .iter()
            .filter_map(|(thread, ids)| {
                let view = ids.iter().find_map(|id| self.view_with(*id, &in_kernel))?;
                Some((*thread, view))
            })
            .collect();
        all.sort_by_key(|(thread, _)| *thread);
        all
    }
}

/// Places of a program as addresses of a process.
fn addresses_in<'a>(
    binary: &'a Binary,
    bias: LoadBias,
    pid: i32,
    places: &'a [FileAddr],
) -> impl Iterator<Item = BreakpointAddress> + use<'a> {
    places.iter().map(move |addr| BreakpointAddress {
        addr: bias.to_proc(*addr),
        function: binary
            .function_at(*addr)
            .map_or_else(String::new, |function| function.name.to_string()),
        pid,
    })
}

/// What Delve's DAP server calls the breakpoints of its groups (`service/dap/server.go`), for those who look at them from elsewhere.
fn group_name(origin: &Origin, logs: bool) -> String {
    match origin {
        Origin::Line(file, line) if logs => format!("logpoint Path={file:?} Line={line}"),
        Origin::Line(file, line) => format!("sourceBp Path={file:?} Line={line} Column=0"),
        Origin::Function(name) => format!("functionBp Name={name}"),
        Origin::Instruction(addr) => format!("instructionBp Addr={addr:#x}"),
        Origin::Single => String::new(),
    }
}
