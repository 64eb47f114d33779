//! Turns the records of a trace into lines, in the order in which they come.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::sync::Arc;

use spelunk_bpf::{Counters, Losses, RecordView, SiteId};
use spelunk_dwarf::{Binary, FileAddr, TypeId};

use super::accounting::Accounting;
use super::children::Processes;
use super::clock::WallClock;
use super::engine::Installed;
use super::function::SiteKind;
use super::line::{SiteTypes, TypeArguments, Verbosity, depth, dictionary, load_values, push_line};
use super::pairing::{Call, Pairing, Strand};
use super::passing::{Passed, Passing};
use super::record::Live;
use crate::value::{Content, Value};

/// Text is written out when there is so much of it, in bytes.
const BATCH: usize = 64 << 10;
/// Calls that grew their stack are forgotten beyond this number: their goroutines ended before they went on.
const MAX_GROWN: usize = 10_000;

/// What identifies a call while it grows its stack: the goroutine, the depth and the function.
type CallKey = (Strand, u64, FileAddr);

/// A call as it was seen before its stack grew.
struct Grown {
    site: Arc<Installed<()>>,
    record: Vec<u8>,
    /// What was passed, where it could be read only then.
    values: Option<(u64, Vec<Value>)>,
}

/// Prints a trace to standard error.
pub(crate) struct Printer {
    binary: Arc<Binary>,
    verbosity: Verbosity,
    losses: Option<Losses>,
    timing: bool,
    clock: Option<WallClock>,
    passing: Passing,
    pairing: Pairing,
    grown: HashMap<CallKey, Grown>,
    /// Whether some of those have been forgotten.
    forgot_grown: bool,
    /// What the dictionaries that were seen say, by process and address. They are constants of the program.
    dictionaries: HashMap<(u32, u64), TypeArguments>,
    processes: Processes,
    /// The types of each site's variables, by the site's number, once it was hit.
    types: Vec<Option<SiteTypes>>,
    /// Room for the values of one record.
    values: Vec<Value>,
    /// What was counted at stops, by site.
    stopped: HashMap<SiteId, (Arc<Installed<()>>, Counters)>,
    text: String,
}

impl Printer {
    /// A printer of functions of `binary`. Without `losses` no record is ever lost. `passing` decides which calls are shown that the kernel has not decided about, `timing` adds to a return how long the call took, `timestamp` puts the time in front of each line.
    pub(crate) fn new(
        binary: Arc<Binary>,
        verbosity: Verbosity,
        losses: Option<Losses>,
        passing: Passing,
        timing: bool,
        timestamp: bool,
    ) -> Printer {
        Printer {
            binary,
            verbosity,
            losses,
            timing,
            clock: timestamp.then(WallClock::now),
            passing,
            pairing: Pairing::default(),
            grown: HashMap::new(),
            forgot_grown: false,
            dictionaries: HashMap::new(),
            processes: Processes::default(),
            types: Vec::new(),
            values: Vec::new(),
            stopped: HashMap::new(),
            text: String::new(),
        }
    }

    /// Tells apart the lines of processes that another made.
    pub(super) fn following(self, processes: Processes) -> Printer {
        Printer { processes, ..self }
    }

    /// What became of the hits that were made at stops. Those of probes are counted by the kernel.
    pub(crate) fn accounting(&self) -> Accounting {
        let sites = self.stopped.values();
        Accounting::of(sites.map(|(site, counters)| (&site.plan.function, site.plan.kind, *counters)))
    }

    /// Counts a hit that was made at a stop.
    fn count(&mut self, site: &Arc<Installed<()>>, passed: &Passed) {
        let (_, counters) = self
            .stopped
            .entry(site.id)
            .or_insert_with(|| (site.clone(), Counters::default()));
        counters.hits += 1;
        match passed {
            Passed::No => counters.condition_false += 1,
            Passed::Yes | Passed::Unknown(_) => counters.emitted += 1,
        }
    }

    /// Takes one record; with `live`, one that was made at a stop.
    pub(crate) fn record(&mut self, site: &Arc<Installed<()>>, record: &RecordView<'_>, live: Option<Live<'_>>) {
        let plan = &site.plan;
        let goroutine = Strand {
            process: record.process(),
            goroutine: record.goroutine(),
        };
        let time = record.time();
        let key = (goroutine, depth(plan, record), plan.entry);
        match plan.kind {
            SiteKind::Growth => {
                if self.grown.len() >= MAX_GROWN {
                    self.grown.clear();
                    self.forgot_grown = true;
                }
                // A goroutine that is told to let others run comes here as well, and then a second time: only the first time it has all its arguments.
                if self.grown.contains_key(&key) {
                    return;
                }
                let values = live.map(|live| {
                    let dictionary = self.remember_dictionary(site, record, Some(live));
                    self.load(site, record, dictionary, Some(live));
                    (dictionary, std::mem::take(&mut self.values))
                });
                self.grown.insert(
                    key,
                    Grown {
                        site: site.clone(),
                        record: record.bytes().to_vec(),
                        values,
                    },
                );
            }
            SiteKind::Call => {
                // Nearly always no stack grows.
                let grown = if self.grown.is_empty() {
                    None
                } else {
                    self.grown.remove(&key)
                };
                let passed = self.passing.call(site, record, live);
                if live.is_some() {
                    self.count(site, &passed);
                }
                if passed == Passed::No {
                    self.pairing.unseen_call(goroutine, key.1);
                    return;
                }
                let uncertain = self.growth_is_uncertain(site, grown.is_some());
                let (dictionary, earlier) = match grown {
                    Some(_) if uncertain => (0, None),
                    Some(Grown {
                        values: Some((dictionary, values)),
                        ..
                    }) => (dictionary, Some(values)),
                    Some(grown) => match RecordView::new(&grown.record) {
                        Ok(before) => {
                            let dictionary = self.remember_dictionary(&grown.site, &before, None);
                            self.load(&grown.site, &before, dictionary, None);
                            (dictionary, Some(std::mem::take(&mut self.values)))
                        }
                        Err(_) => (0, None),
                    },
                    None => (self.remember_dictionary(site, record, live), None),
                };
                self.pairing.call(
                    goroutine,
                    key.1,
                    Call {
                        function: plan.entry,
                        site: site.id,
                        time,
                        dictionary,
                    },
                );
                self.load(site, record, dictionary, live);
                self.mend_fragile(site, earlier.as_deref(), uncertain);
                self.line(site, record, None);
                if let Passed::Unknown(why) = passed {
                    self.text.extend([
                        "spelunk: whether this call of ",
                        &plan.function,
                        " is one to be shown is not known: ",
                        &why,
                        "\n",
                    ]);
                }
            }
            SiteKind::Return => {
                if live.is_some() {
                    self.count(site, &Passed::Yes);
                }
                let ended = self.pairing.ret(goroutine, key.1, plan.entry);
                let call = ended
                    .filter(|(call, doubtful)| !doubtful || !self.has_lost(call.site))
                    .map(|(call, _)| call);
                if plan.only_with_call && ended.is_none() {
                    return;
                }
                self.load(site, record, call.map_or(0, |call| call.dictionary), live);
                let took = call
                    .and_then(|call| time.checked_sub(call.time))
                    .filter(|_| self.timing);
                self.line(site, record, took);
            }
            SiteKind::GoroutineExit => self.pairing.goroutine_exit(goroutine),
            SiteKind::Recovery => self.pairing.recovery(goroutine),
            SiteKind::Line(_) => {}
        }
    }

    /// Whether records of a site were lost.
    fn has_lost(&self, site: SiteId) -> bool {
        self.losses.as_ref().is_some_and(|losses| losses.any(site))
    }

    /// Notes what a generic function's dictionary says, and answers its address, or 0.
    fn remember_dictionary(&mut self, site: &Installed<()>, record: &RecordView<'_>, live: Option<Live<'_>>) -> u64 {
        let Some((address, arguments)) = dictionary(&self.binary, &site.plan, record, live) else {
            return 0;
        };
        // Methods of one type share a dictionary, and each captures as much of it as it needs.
        let known = self.dictionaries.entry((record.process(), address)).or_default();
        if known.len() < arguments.len() {
            *known = arguments;
        }
        address
    }

    /// Loads the values of a record.
    fn load(&mut self, site: &Installed<()>, record: &RecordView<'_>, dictionary: u64, live: Option<Live<'_>>) {
        let arguments: &[Option<TypeId>] = match dictionary {
            0 => &[],
            address => self
                .dictionaries
                .get(&(record.process(), address))
                .map_or(&[], Vec::as_slice),
        };
        let number = site.id.number() as usize;
        if self.types.len() <= number {
            self.types.resize_with(number + 1, || None);
        }
        let Some(types) = self.types.get_mut(number) else {
            return;
        };
        let types = types.get_or_insert_with(|| SiteTypes::of(&self.binary, &site.plan));
        load_values(
            &mut self.values,
            &self.binary,
            (&site.plan, types),
            record,
            self.verbosity.load_config(),
            arguments,
            live,
        );
    }

    /// Whether nobody can tell if the stack grew in this very call; `seen` says that a growth was seen in a call of the function in this place.
    fn growth_is_uncertain(&self, site: &Installed<()>, seen: bool) -> bool {
        if seen {
            // It may have been in an earlier call, which left no record of its own.
            let gate = &site.plan.plan.gate;
            gate.condition.is_some() || gate.hits.is_some() || gate.rate.is_some() || self.has_lost(site.id)
        } else {
            self.forgot_grown || site.growth.is_some_and(|growth| self.has_lost(growth))
        }
    }

    /// A call's arguments that do not survive the growth of the stack come from before it, if it grew.
    fn mend_fragile(&mut self, site: &Installed<()>, earlier: Option<&[Value]>, uncertain: bool) {
        for index in &site.plan.fragile {
            let Some(value) = self.values.get_mut(*index) else {
                continue;
            };
            match earlier.and_then(|earlier| earlier.get(*index)) {
                Some(earlier) => *value = earlier.clone(),
                None if uncertain => {
                    value.content = Content::NotLoaded;
                    value.unreadable = Some("not known: the stack may have grown".to_owned());
                }
                None => {}
            }
        }
    }

    /// Appends the line of the values that were loaded last.
    fn line(&mut self, site: &Installed<()>, record: &RecordView<'_>, took: Option<u64>) {
        if let Some(clock) = &mut self.clock {
            clock.push_text(&mut self.text, record.time());
            self.text.push(' ');
        }
        if let Some(pid) = self.processes.child(record) {
            // Writing to a String cannot fail.
            let _ = write!(self.text, "[pid {pid}] ");
        }
        push_line(
            &mut self.text,
            &site.plan,
            record.goroutine(),
            &self.values,
            self.verbosity,
            took,
        );
        if self.text.len() > BATCH {
            // A reader that is gone is noticed at the end of the batch.
            let _ = self.flush();
        }
    }

    /// Writes what has been collected. Lines leave in whole batches, so that the program's own output does not stand inside one.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        let result = io::stderr().lock().write_all(self.text.as_bytes());
        self.text.clear();
        result
    }
}
