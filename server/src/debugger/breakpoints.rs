//! Logical breakpoints: what a client asked for, and where in the program it lies.
//!
//! Architecture invariant: the user's breakpoint is not the address. A breakpoint owns its places: one for each body and inlined copy of its line or
//! function. Its hits are counted here, whatever carried them.

use std::collections::BTreeMap;
use std::mem::swap;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};

use spelunk_bpf::{CounterId, Goroutines, Link, SiteId};
use spelunk_dwarf::{Binary, FileAddr, Function, LoadBias};

use super::function_location::find_function;
use super::hit_condition::HitCondition;
use super::probes::KernelHits;
use super::recording::CallEnd;
use super::request::{BreakpointPlace, BreakpointTerms, LocationExpression, Shown};
use super::{
    BreakpointId, BreakpointState, ExceptionFilters, FunctionBreakpoint, InstructionBreakpoint, SourceBreakpoint,
};
use crate::expr::{Expr, Template, parse};

/// What stops the program at a panic that nothing recovers, and at a fatal error of the runtime. The numbers are those by which Delve's clients know them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Exception {
    /// `runtime.fatalpanic`.
    UnrecoveredPanic,
    /// `runtime.throw`, `runtime.fatal`, `runtime.fatalsignal`.
    FatalThrow,
}

impl Exception {
    /// Both, in the order of [`ExceptionFilters`].
    pub(super) const ALL: [Exception; 2] = [Exception::UnrecoveredPanic, Exception::FatalThrow];

    /// Its breakpoint's number (`unrecoveredPanicID`, `fatalThrowID` in Delve's `pkg/proc/breakpoints.go`).
    pub(super) fn id(self) -> BreakpointId {
        match self {
            Exception::UnrecoveredPanic => BreakpointId(-1),
            Exception::FatalThrow => BreakpointId(-2),
        }
    }

    fn is_on(self, filters: ExceptionFilters) -> bool {
        match self {
            Exception::UnrecoveredPanic => filters.unrecovered_panic,
            Exception::FatalThrow => filters.fatal_throw,
        }
    }

    /// The functions that the runtime calls then, of which each version of Go has some.
    pub(super) fn functions(self, binary: &Binary) -> Vec<&Function> {
        let names: &[&str] = match self {
            Exception::UnrecoveredPanic => &["runtime.fatalpanic"],
            Exception::FatalThrow => &["runtime.throw", "runtime.fatal", "runtime.fatalsignal"],
        };
        names.iter().filter_map(|name| binary.function_named(name)).collect()
    }

    /// Where it is seen: behind the prologue of these functions.
    pub(super) fn places(self, binary: &Binary) -> Vec<FileAddr> {
        let functions = self.functions(binary).into_iter();
        functions
            .map(|function| binary.prologue_end(function).unwrap_or(function.entry))
            .collect()
    }
}

/// Where a breakpoint comes from; also what tells that a client speaks of the same one again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A line of a file, as the client names it.
    Line(String, u32),
    /// A function's name, as the client gives it.
    Function(String),
    /// An instruction.
    Instruction(FileAddr),
    /// Made by itself rather than with a group: see [`Placed`].
    Single,
}

/// Where a breakpoint that was made by itself is to lie.
#[derive(Clone, Debug)]
pub(super) struct Placed {
    /// Where.
    pub(super) place: BreakpointPlace,
    /// Where, if the place is nowhere.
    pub(super) expression: Option<LocationExpression>,
}

/// A group of origins that a client replaces as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Group {
    /// The line breakpoints of one file.
    File(String),
    /// The function breakpoints.
    Functions,
    /// The instruction breakpoints.
    Instructions,
}

impl Group {
    fn holds(&self, origin: &Origin) -> bool {
        match (self, origin) {
            (Group::File(file), Origin::Line(of, _)) => file == of,
            (Group::Functions, Origin::Function(_)) | (Group::Instructions, Origin::Instruction(_)) => true,
            _ => false,
        }
    }
}

/// What a breakpoint needs beside its place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Terms {
    /// The text to log.
    pub(super) log_message: Option<String>,
    /// A Go expression.
    pub(super) condition: Option<String>,
    /// How many hits.
    pub(super) hit_condition: Option<String>,
}

/// A breakpoint that a client asked for, whatever its kind.
#[derive(Clone, Debug)]
pub(super) struct Wanted {
    /// Where.
    pub(super) origin: Origin,
    /// On which terms.
    pub(super) terms: Terms,
}

impl Wanted {
    /// A line breakpoint.
    pub(super) fn line(file: &str, wanted: &SourceBreakpoint) -> Wanted {
        Wanted {
            origin: Origin::Line(file.to_owned(), wanted.line),
            terms: Terms {
                log_message: wanted.log_message.clone(),
                condition: wanted.condition.clone(),
                hit_condition: wanted.hit_condition.clone(),
            },
        }
    }

    /// A function breakpoint.
    pub(super) fn function(wanted: &FunctionBreakpoint) -> Wanted {
        Wanted {
            origin: Origin::Function(wanted.function.clone()),
            terms: Terms {
                log_message: None,
                condition: wanted.condition.clone(),
                hit_condition: wanted.hit_condition.clone(),
            },
        }
    }

    /// An instruction breakpoint, in a process that lies at `bias`.
    pub(super) fn instruction(wanted: &InstructionBreakpoint, bias: LoadBias) -> Wanted {
        Wanted {
            origin: Origin::Instruction(bias.to_file(wanted.addr)),
            terms: Terms {
                log_message: None,
                condition: wanted.condition.clone(),
                hit_condition: wanted.hit_condition.clone(),
            },
        }
    }
}

/// The parsed form of [`Terms`].
#[derive(Clone, Debug, Default)]
pub(super) struct ParsedTerms {
    /// The message of a logpoint.
    pub(super) log: Option<Template>,
    /// What must be true.
    pub(super) condition: Option<Expr>,
    /// How many hits.
    pub(super) hit_condition: Option<HitCondition>,
}

impl ParsedTerms {
    /// What is wrong with the message alone.
    pub(super) fn message_error(terms: &Terms) -> Option<String> {
        let text = terms.log_message.as_ref().filter(|text| !text.is_empty())?;
        Template::parse(text).err().map(|error| error.to_string())
    }

    /// Parses them. The errors are Delve's texts; a message is looked at first, as there.
    pub(super) fn of(terms: &Terms) -> Result<ParsedTerms, String> {
        // Clients send empty strings for fields that the user left empty.
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        Ok(ParsedTerms {
            log: given(&terms.log_message)
                .map(|text| Template::parse(&text))
                .transpose()
                .map_err(|error| error.to_string())?,
            condition: given(&terms.condition)
                .map(|text| parse(&text))
                .transpose()
                .map_err(|error| error.to_string())?,
            hit_condition: given(&terms.hit_condition)
                .map(|text| HitCondition::parse(&text))
                .transpose()
                .map_err(|error| error.to_string())?,
        })
    }
}

/// Where the hits of a breakpoint are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hits {
    /// Here: no probe has ever carried it.
    Here(u64),
    /// In the kernel's table, whatever carries it now.
    InKernel(CounterId),
}

/// Probes in the program, on one link.
pub(super) struct Planted {
    /// They come out when it is dropped.
    pub(super) link: Link,
    /// Their numbers.
    pub(super) sites: Vec<SiteId>,
    /// The probed instructions.
    pub(super) addresses: Vec<FileAddr>,
    /// Cleared when their records are not to be shown any more.
    pub(super) heard: Arc<AtomicBool>,
}

/// What a breakpoint sits on in the program.
#[derive(Default)]
pub(super) enum Carrier {
    /// Nothing: it is not in the program, or can never act again.
    #[default]
    Nothing,
    /// Stop sites.
    Sites,
    /// Kernel probes.
    Probes(Planted),
}

/// What of a breakpoint belongs to one target: the fields of [`Logical`] of the same names.
#[derive(Default)]
pub(super) struct Placement {
    /// Where it lies.
    pub(super) places: Vec<FileAddr>,
    at: Option<(String, u32)>,
    carrier: Carrier,
    message: Option<String>,
    evaluated_at_stops: bool,
    switched_off: Option<String>,
}

impl Placement {
    /// Whether something carries it.
    pub(super) fn is_there(&self) -> bool {
        !matches!(self.carrier, Carrier::Nothing)
    }
}

/// How often each goroutine has hit a breakpoint, counted by whoever sees the hits.
pub(super) type GoroutineHits = Arc<Mutex<BTreeMap<i64, u64>>>;

/// Counts a hit of a goroutine; answers its number.
pub(super) fn count_of_goroutine(hits: &GoroutineHits, goroutine: i64) -> u64 {
    let mut hits = hits.lock().unwrap_or_else(PoisonError::into_inner);
    let count = hits.entry(goroutine).or_default();
    *count += 1;
    *count
}

/// A breakpoint as its user thinks of it.
pub(super) struct Logical {
    /// Its number.
    pub(super) id: BreakpointId,
    /// Where it comes from.
    pub(super) origin: Origin,
    /// What it was asked for with, to see whether that changed.
    pub(super) terms: Terms,
    /// The same, parsed.
    pub(super) parsed: ParsedTerms,
    /// Where it lies.
    pub(super) places: Vec<FileAddr>,
    /// The file and line of its first place.
    pub(super) at: Option<(String, u32)>,
    /// How often it was passed while its condition held, by all goroutines together.
    pub(super) hits: Hits,
    /// What it sits on.
    pub(super) carrier: Carrier,
    /// Whether the kernel has been found unable to carry it.
    pub(super) evaluated_at_stops: bool,
    /// Why its probes were switched off, if they were: then nothing carries it.
    pub(super) switched_off: Option<String>,
    /// What its client should know of it although it acts.
    pub(super) message: Option<String>,
    /// Where it is to lie, of one that was made by itself.
    pub(super) placed: Option<Box<Placed>>,
    /// What else its client has said of it.
    pub(super) extra: BreakpointTerms,
    /// Which end of calls it records, of one that is no breakpoint to anybody.
    pub(super) recorded: Option<CallEnd>,
    /// Whether it is switched on.
    pub(super) enabled: bool,
    /// How often each goroutine has hit it.
    pub(super) by_goroutine: GoroutineHits,
    /// Whether the probes that carry it, or did so last, count the hits of each goroutine in the kernel's table; `by_goroutine` has what was counted elsewhere.
    pub(super) told_apart: bool,
    /// What it is called by where it lies, of one that was made by itself.
    pub(super) shown: Shown,
}

impl Logical {
    /// Exchanges what belongs to one target with another's.
    pub(super) fn exchange(&mut self, placement: &mut Placement) {
        swap(&mut self.places, &mut placement.places);
        swap(&mut self.at, &mut placement.at);
        swap(&mut self.carrier, &mut placement.carrier);
        swap(&mut self.message, &mut placement.message);
        swap(&mut self.evaluated_at_stops, &mut placement.evaluated_at_stops);
        swap(&mut self.switched_off, &mut placement.switched_off);
    }

    /// Whether it lies in the target in focus.
    pub(super) fn is_placed(&self) -> bool {
        !matches!(self.carrier, Carrier::Nothing)
    }

    /// Whether it is to stop the program, rather than to log.
    pub(super) fn stops(&self) -> bool {
        self.parsed.log.is_none()
    }

    /// Whether its passings are to be told without a stop: where the kernel can collect what is wanted of them.
    pub(super) fn is_traced(&self) -> bool {
        self.extra.is_trace() && self.extra.fits_into_a_record()
    }

    /// Whether a thread that its probe meets is to be stopped.
    pub(super) fn stops_by_probes(&self) -> bool {
        self.stops() && !self.is_traced()
    }

    /// Whether the kernel can spare the program stops: where it logs, and where it does not act at each passing.
    pub(super) fn gains_by_probes(&self) -> bool {
        self.is_traced() || !self.stops() || self.parsed.condition.is_some() || self.parsed.hit_condition.is_some()
    }

    /// What a client is told of one that waits for a program that has its place; in Delve's words.
    pub(super) fn pending_state(&self) -> BreakpointState {
        BreakpointState {
            is_pending: true,
            ..refused(self.id, "unable to set breakpoint".to_owned())
        }
    }

    /// How often each goroutine has passed it, with what the kernel has counted.
    pub(super) fn hits_of_goroutines(&self, in_kernel: &KernelHits) -> BTreeMap<i64, u64> {
        let here = self.by_goroutine.lock().unwrap_or_else(PoisonError::into_inner);
        let mut hits = here.clone();
        if let Hits::InKernel(counter) = self.hits {
            for (goroutine, count) in in_kernel.get(&counter).into_iter().flatten() {
                *hits.entry(goroutine.cast_signed()).or_default() += count;
            }
        }
        hits
    }

    /// What the kernel counts of each goroutine. Clients of Delve's JSON-RPC ask for the hits of each; those that all stop the program are counted then.
    pub(super) fn goroutines_told(&self) -> Goroutines {
        match (
            self.origin == Origin::Single && self.parsed.hit_condition.is_some(),
            self.extra.hits_per_goroutine,
        ) {
            (false, _) => Goroutines::Together,
            (true, false) => Goroutines::Told,
            (true, true) => Goroutines::Apart,
        }
    }

    /// What a client is told of it.
    pub(super) fn state(&self) -> BreakpointState {
        BreakpointState {
            id: self.id,
            verified: self.switched_off.is_none(),
            message: self.switched_off.clone().or_else(|| self.message.clone()),
            file: self.at.as_ref().map(|(file, _)| file.clone()),
            line: self.at.as_ref().map(|(_, line)| *line),
            is_pending: false,
        }
    }
}

/// A breakpoint that could not be set.
pub(super) fn refused(id: BreakpointId, why: String) -> BreakpointState {
    BreakpointState {
        id,
        verified: false,
        message: Some(why),
        file: None,
        line: None,
        is_pending: false,
    }
}

/// All breakpoints of a session.
#[derive(Default)]
pub(super) struct Breakpoints {
    all: Vec<Logical>,
    last_id: i64,
}

impl Breakpoints {
    /// A number that no breakpoint has.
    pub(super) fn next_id(&mut self) -> BreakpointId {
        self.last_id += 1;
        while self.get(BreakpointId(self.last_id)).is_some() {
            self.last_id += 1;
        }
        BreakpointId(self.last_id)
    }

    /// The number that was given last.
    pub(super) fn last_id(&self) -> i64 {
        self.last_id
    }

    /// Goes on counting from a number that a client has chosen.
    pub(super) fn count_from(&mut self, id: BreakpointId) {
        self.last_id = id.0;
    }

    /// A breakpoint by its number.
    pub(super) fn get(&self, id: BreakpointId) -> Option<&Logical> {
        self.all.iter().find(|logical| logical.id == id)
    }

    /// A breakpoint by its number, to be changed.
    pub(super) fn get_mut(&mut self, id: BreakpointId) -> Option<&mut Logical> {
        self.all.iter_mut().find(|logical| logical.id == id)
    }

    /// All of them, in the order they were set.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Logical> {
        self.all.iter()
    }

    /// The same, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Logical> {
        self.all.iter_mut()
    }

    /// Those that clients know, in the order of their numbers.
    pub(super) fn shown(&self) -> impl Iterator<Item = &Logical> {
        self.all.iter().filter(|logical| logical.recorded.is_none())
    }

    /// The numbers of all, in the order they were set.
    pub(super) fn ids(&self) -> Vec<BreakpointId> {
        self.all.iter().map(|logical| logical.id).collect()
    }

    /// Adds one.
    pub(super) fn add(&mut self, logical: Logical) {
        self.all.push(logical);
    }

    /// Puts back what [`Breakpoints::remove`] took out, in the order of the numbers.
    pub(super) fn put_back(&mut self, logical: Logical) {
        let at = self.all.partition_point(|other| other.id < logical.id);
        self.all.insert(at, logical);
    }

    /// Takes one out of the list.
    pub(super) fn remove(&mut self, id: BreakpointId) -> Option<Logical> {
        let at = self.all.iter().position(|logical| logical.id == id)?;
        Some(self.all.remove(at))
    }

    /// The breakpoint with an origin.
    pub(super) fn with_origin(&self, origin: &Origin) -> Option<BreakpointId> {
        self.all
            .iter()
            .find(|logical| logical.origin == *origin)
            .map(|logical| logical.id)
    }

    /// Those of a group that are not among the wanted ones.
    pub(super) fn unwanted(&self, group: &Group, wanted: &[Wanted]) -> Vec<BreakpointId> {
        self.all
            .iter()
            .filter(|logical| {
                group.holds(&logical.origin) && !wanted.iter().any(|wanted| wanted.origin == logical.origin)
            })
            .map(|logical| logical.id)
            .collect()
    }
}

/// Finds the places of an origin. The errors are Delve's texts.
pub(super) fn find_places(binary: &Binary, origin: &Origin) -> Result<Vec<FileAddr>, String> {
    match origin {
        Origin::Line(file, line) => {
            let statements = binary.statements(file, *line);
            if statements.is_empty() {
                return Err(no_statement(binary, file, *line));
            }
            Ok(statements.iter().map(|statement| statement.addr).collect())
        }
        Origin::Function(name) => find_function(binary, name),
        Origin::Instruction(addr) => match binary.function_at(*addr) {
            Some(_) => Ok(vec![*addr]),
            None => Err(format!(
                "invalid address {addr:#x}: no function has an instruction there"
            )),
        },
        Origin::Single => Err("the place of this breakpoint is not known here".to_owned()),
    }
}

fn no_statement(binary: &Binary, file: &str, line: u32) -> String {
    if binary.files().iter().any(|known| **known == *file) {
        format!("could not find statement at {file}:{line}, please use a line with a statement")
    } else {
        format!("could not find file {file}")
    }
}

/// Which exceptions are wanted.
pub(super) fn wanted_exceptions(filters: ExceptionFilters) -> impl Iterator<Item = Exception> {
    Exception::ALL
        .into_iter()
        .filter(move |exception| exception.is_on(filters))
}
