//! The processes of a session: the one it began with, and the children of that one which it follows (`following`).
//!
//! One thread traces them all, and one [`Control`] serves them: its fields are those of the target that is in focus, and the others' are parked here. What is
//! done for one target is done with that in focus, by the same code as for a session's only one; a session with one target has nothing parked and pays
//! nothing. Logical breakpoints are the group's: of each, what belongs to one target (where it lies, and what carries it there) is exchanged with the focus.
//!
//! The targets run together and stop together. While they stand still the one in focus is the selected one, which clients look at.

use std::cell::OnceCell;
use std::collections::{HashMap, VecDeque};
use std::mem::swap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use crossbeam_channel::Receiver;
use spelunk_dwarf::{Binary, CfaRule, FileAddr, LoadBias, RuntimeLayout};

use super::BreakpointId;
use super::breakpoints::{Placement, Planted};
use super::code::CodeCache;
use super::control::{Control, Phase};
use super::following::FollowChildren;
use super::injection::Injection;
use super::inspection::Seen;
use super::landing::LineCache;
use super::sites::Sites;
use super::stepping::Step;
use super::temporary::Returning;
use crate::inspect::{DeferLayout, Tid};
use crate::process::{ExitStatus, Inferior, Launched, ProcessError, ProcessEvent};
use crate::value::Memory;

/// Which target of a session: the first is 0, and no number is used twice.
pub(super) type Serial = u32;

/// What is known of the targets without asking their thread.
#[derive(Debug, Default)]
pub(super) struct Selected {
    pid: AtomicI32,
    first: AtomicI32,
    has_company: AtomicBool,
}

impl Selected {
    /// The process id of the selected target.
    pub(super) fn pid(&self) -> i32 {
        self.pid.load(Ordering::SeqCst)
    }

    /// The process that the session began with.
    pub(super) fn first(&self) -> i32 {
        self.first.load(Ordering::SeqCst)
    }

    /// Of a session that begins with a process.
    pub(super) fn begin(&self, pid: i32) {
        self.first.store(pid, Ordering::SeqCst);
        self.set(pid);
    }

    /// Makes a process the selected one.
    pub(super) fn set(&self, pid: i32) {
        self.pid.store(pid, Ordering::SeqCst);
    }

    /// Whether there are other targets.
    pub(super) fn has_company(&self) -> bool {
        self.has_company.load(Ordering::SeqCst)
    }
}

/// What a session knows of its targets beside the one in focus.
pub(super) struct Group {
    /// Which children are followed; `None`: none.
    pub(super) follow: Option<FollowChildren>,
    /// The target in focus.
    focus: Serial,
    /// The number that the next target gets.
    next: Serial,
    /// The other targets.
    others: Vec<Parked>,
    /// Processes that are no targets, and are traced for their children.
    pub(super) passed: Vec<Inferior>,
    /// For who asks from elsewhere.
    selected: Arc<Selected>,
}

/// What belongs to one target, while another one is in focus: the fields of [`Control`] of the same names.
pub(super) struct Parked {
    serial: Serial,
    placements: HashMap<BreakpointId, Placement>,
    pub(super) pid: i32,
    pub(super) binary: Arc<Binary>,
    pub(super) bias: LoadBias,
    layout: Option<RuntimeLayout>,
    phase: Phase,
    inferior: Option<Inferior>,
    memory: Option<Arc<dyn Memory + Send + Sync>>,
    sites: Sites,
    exception_probes: Option<Planted>,
    code: CodeCache,
    lines: LineCache,
    cfa_rules: HashMap<FileAddr, Option<CfaRule>>,
    defer_layout: OnceCell<Option<DeferLayout>>,
    step: Option<Step>,
    seen: Seen,
    standing: HashMap<Tid, Vec<BreakpointId>>,
    arrived_from: Option<(Tid, Returning)>,
    injections: HashMap<Tid, Injection>,
    call_traps: Vec<Tid>,
    waiting: VecDeque<ProcessEvent>,
    refused: Option<String>,
    was_traced: bool,
    launched: Option<Launched>,
    exit: Receiver<ExitStatus>,
    exited_with: Option<i32>,
}

impl Parked {
    /// A child that was just taken, stopped.
    pub(super) fn new(inferior: Inferior, binary: Arc<Binary>) -> Parked {
        Parked {
            serial: 0,
            placements: HashMap::new(),
            pid: inferior.pid(),
            bias: LoadBias::default(),
            layout: binary.runtime_layout().ok(),
            binary,
            phase: Phase::Stopped,
            memory: Some(inferior.memory()),
            inferior: Some(inferior),
            sites: Sites::default(),
            exception_probes: None,
            code: CodeCache::default(),
            lines: LineCache::default(),
            cfa_rules: HashMap::new(),
            defer_layout: OnceCell::new(),
            step: None,
            seen: Seen::default(),
            standing: HashMap::new(),
            arrived_from: None,
            injections: HashMap::new(),
            call_traps: Vec::new(),
            waiting: VecDeque::new(),
            refused: None,
            was_traced: true,
            launched: None,
            // Who traces a process is told of its end by the kernel.
            exit: crossbeam_channel::never(),
            exited_with: None,
        }
    }

    /// Its number.
    pub(super) fn serial(&self) -> Serial {
        self.serial
    }

    /// Where a breakpoint lies in this target; `None` where it does not.
    pub(super) fn placement(&self, id: BreakpointId) -> Option<&Placement> {
        self.placements.get(&id).filter(|placement| placement.is_there())
    }
}

impl Group {
    /// Of a session that begins with the process that `selected` names; it is told which one clients look at.
    pub(super) fn new(selected: Arc<Selected>) -> Group {
        Group {
            follow: None,
            focus: 0,
            next: 1,
            others: Vec::new(),
            passed: Vec::new(),
            selected,
        }
    }

    /// Whether there is one target only.
    pub(super) fn is_alone(&self) -> bool {
        self.others.is_empty()
    }

    /// Whether no other process is traced.
    pub(super) fn is_one_process(&self) -> bool {
        self.others.is_empty() && self.passed.is_empty()
    }

    /// The target in focus.
    pub(super) fn focus(&self) -> Serial {
        self.focus
    }

    /// Whether the target in focus is the one that the session began with. Kernel probes are attached to that one only.
    pub(super) fn is_first_in_focus(&self) -> bool {
        self.focus == 0
    }

    /// The process that the session began with.
    pub(super) fn first(&self) -> i32 {
        self.selected.first()
    }

    /// The others, in the order in which they came.
    pub(super) fn others(&self) -> impl Iterator<Item = &Parked> {
        self.others.iter()
    }

    fn serials(&self) -> Vec<Serial> {
        self.others.iter().map(|parked| parked.serial).collect()
    }
}

/// Which process an event is of.
enum Whose {
    /// A target.
    Target(Serial),
    /// One that is traced for its children, by its index.
    Passed(usize),
}

impl Control {
    /// Brings a target into focus; answers whether it is there.
    pub(super) fn look_at(&mut self, serial: Serial) -> bool {
        if serial == self.group.focus {
            return true;
        }
        let Some(at) = self.group.others.iter().position(|parked| parked.serial == serial) else {
            return false;
        };
        let mut parked = self.group.others.remove(at);
        self.exchange(&mut parked);
        let at = self.group.others.partition_point(|other| other.serial < parked.serial);
        self.group.others.insert(at, parked);
        true
    }

    /// Exchanges the target in focus with a parked one.
    fn exchange(&mut self, parked: &mut Parked) {
        for logical in self.breakpoints.iter_mut() {
            let mut placement = parked.placements.remove(&logical.id).unwrap_or_default();
            logical.exchange(&mut placement);
            parked.placements.insert(logical.id, placement);
        }
        swap(&mut self.group.focus, &mut parked.serial);
        swap(&mut self.pid, &mut parked.pid);
        swap(&mut self.binary, &mut parked.binary);
        swap(&mut self.bias, &mut parked.bias);
        swap(&mut self.layout, &mut parked.layout);
        swap(&mut self.phase, &mut parked.phase);
        swap(&mut self.inferior, &mut parked.inferior);
        swap(&mut self.memory, &mut parked.memory);
        swap(&mut self.sites, &mut parked.sites);
        swap(&mut self.exception_probes, &mut parked.exception_probes);
        swap(&mut self.code, &mut parked.code);
        swap(&mut self.lines, &mut parked.lines);
        swap(&mut self.cfa_rules, &mut parked.cfa_rules);
        swap(&mut self.defer_layout, &mut parked.defer_layout);
        swap(&mut self.step, &mut parked.step);
        swap(&mut self.seen, &mut parked.seen);
        swap(&mut self.standing, &mut parked.standing);
        swap(&mut self.arrived_from, &mut parked.arrived_from);
        swap(&mut self.injections, &mut parked.injections);
        swap(&mut self.call_traps, &mut parked.call_traps);
        swap(&mut self.waiting, &mut parked.waiting);
        swap(&mut self.refused, &mut parked.refused);
        swap(&mut self.was_traced, &mut parked.was_traced);
        swap(&mut self.launched, &mut parked.launched);
        swap(&mut self.exit, &mut parked.exit);
        swap(&mut self.exited_with, &mut parked.exited_with);
    }

    /// Adds a target, which is not in focus; answers its number.
    pub(super) fn park(&mut self, mut parked: Parked) -> Serial {
        parked.serial = self.group.next;
        self.group.next += 1;
        let serial = parked.serial;
        self.group.others.push(parked);
        self.group.selected.has_company.store(true, Ordering::SeqCst);
        serial
    }

    /// Does something for each other target, with that in focus, and comes back to the one that is in focus now.
    pub(super) fn for_others(&mut self, mut act: impl FnMut(&mut Control)) {
        if self.group.is_alone() {
            return;
        }
        let here = self.group.focus;
        for serial in self.group.serials() {
            if self.look_at(serial) {
                act(self);
            }
        }
        self.look_at(here);
    }

    /// Does something with the target in focus that the session began with, if that is still there; answers whether it is.
    pub(super) fn for_first(&mut self, act: impl FnOnce(&mut Control)) -> bool {
        let here = self.group.focus;
        let is_there = self.look_at(0);
        if is_there {
            act(self);
            self.look_at(here);
        }
        is_there
    }

    /// Does something with a process in focus; `None` where it is no target of this session any more.
    pub(super) fn with_process<R>(&mut self, pid: i32, act: impl FnOnce(&mut Control) -> R) -> Option<R> {
        let here = self.group.focus;
        let is_there = self.pid == pid || {
            let serial = self.group.others.iter().find(|parked| parked.pid == pid)?.serial;
            self.look_at(serial)
        };
        let done = is_there.then(|| act(self));
        self.look_at(here);
        done
    }

    /// Makes the target in focus the one that clients look at.
    pub(super) fn select_focus(&mut self) {
        self.group.selected.set(self.pid);
    }

    /// Makes a process the one that clients look at, if it is a target.
    pub(super) fn select_process(&mut self, pid: i32) {
        if self.pid != pid {
            let Some(parked) = self.group.others.iter().find(|parked| parked.pid == pid) else {
                return;
            };
            let serial = parked.serial;
            self.look_at(serial);
        }
        self.select_focus();
        let whose = self.whose(self.thread_to_show());
        if let Some(stop) = &mut self.stop {
            stop.whose = whose;
        }
    }

    /// The processes of the session, in the order in which they came.
    pub(super) fn processes(&self) -> Vec<i32> {
        let here = (self.group.focus, self.pid);
        let others = self.group.others.iter().map(|parked| (parked.serial, parked.pid));
        let mut all: Vec<_> = others.chain([here]).collect();
        all.sort_unstable();
        all.into_iter().map(|(_, pid)| pid).collect()
    }

    /// Whether a step of any target is under way.
    pub(super) fn is_any_stepping(&self) -> bool {
        self.step.is_some() || self.group.others.iter().any(|parked| parked.step.is_some())
    }

    /// Takes targets out that have ended, as long as one is left. Brings another one into focus where the one in focus has ended.
    pub(super) fn leave_ended(&mut self) {
        if self.group.is_alone() {
            return;
        }
        self.group
            .others
            .retain(|parked| !matches!(parked.phase, Phase::Exited | Phase::Released));
        if matches!(self.phase, Phase::Exited | Phase::Released)
            && let Some(next) = self.group.others.first().map(|parked| parked.serial)
        {
            let ended = self.group.focus;
            self.look_at(next);
            self.group.others.retain(|parked| parked.serial != ended);
            self.select_focus();
        }
        let has_company = !self.group.is_alone();
        self.group.selected.has_company.store(has_company, Ordering::SeqCst);
    }

    /// The serial of a target of which threads wait to be served in a call.
    pub(super) fn with_call_traps(&self) -> Option<u32> {
        if !self.call_traps.is_empty() {
            return Some(self.group.focus);
        }
        let mut others = self.group.others.iter();
        Some(others.find(|parked| !parked.call_traps.is_empty())?.serial)
    }

    /// Whether another target has not ended.
    pub(super) fn has_company(&self) -> bool {
        let mut others = self.group.others.iter();
        others.any(|parked| !matches!(parked.phase, Phase::Exited | Phase::Released))
    }

    /// Waits for the next event of any target, and has that handled with its target in focus.
    pub(super) fn serve_group(&mut self) {
        let selected = self.group.focus;
        match self.next_of_group() {
            Ok(Some((Whose::Target(serial), event))) => {
                self.look_at(serial);
                self.on_event(event);
            }
            Ok(Some((Whose::Passed(index), event))) => self.on_event_of_passed(index, event),
            Ok(None) => {}
            Err((Whose::Target(serial), error)) => {
                tracing::error!("a target cannot be waited for: {error}");
                self.look_at(serial);
                self.on_lost(&error.to_string());
            }
            Err((Whose::Passed(index), error)) => {
                tracing::error!("a process cannot be waited for: {error}");
                drop(self.group.passed.remove(index));
            }
        }
        // Where it has stopped them all, the selected one is the one that has.
        if self.phase != Phase::Stopped {
            self.look_at(selected);
        }
        self.leave_ended();
    }

    /// The next event of any target, and whose it is; `None` after a kick.
    fn next_of_group(&mut self) -> Result<Option<(Whose, ProcessEvent)>, (Whose, ProcessError)> {
        let focus = self.group.focus;
        loop {
            if self.inferior.as_ref().is_some_and(Inferior::was_kicked) {
                return Ok(None);
            }
            let known = self.inferior.as_ref().map(Inferior::news_of_others);
            let here = (focus, &mut self.waiting, self.inferior.as_mut());
            let others = self.group.others.iter_mut();
            let others = others.map(|parked| (parked.serial, &mut parked.waiting, parked.inferior.as_mut()));
            for (serial, waiting, inferior) in std::iter::once(here).chain(others) {
                if let Some(event) = waiting.pop_front() {
                    return Ok(Some((Whose::Target(serial), event)));
                }
                let Some(inferior) = inferior else { continue };
                match inferior.poll() {
                    Ok(Some(event)) => return Ok(Some((Whose::Target(serial), event))),
                    Ok(None) => {}
                    Err(error) => return Err((Whose::Target(serial), error)),
                }
            }
            for (index, inferior) in self.group.passed.iter_mut().enumerate() {
                match inferior.poll() {
                    Ok(Some(event)) => return Ok(Some((Whose::Passed(index), event))),
                    Ok(None) => {}
                    Err(error) => return Err((Whose::Passed(index), error)),
                }
            }
            if let Some(inferior) = &self.inferior
                && known == Some(inferior.news_of_others())
            {
                inferior.await_news().map_err(|error| (Whose::Target(focus), error))?;
            }
        }
    }

    /// Stops all other targets. What they have come to by then belongs to the same stop, where that is at a breakpoint.
    pub(super) fn stop_others(&mut self, merges: bool) {
        self.for_others(|control| {
            if control.phase != Phase::Running {
                return;
            }
            let Some(inferior) = control.inferior.as_mut() else {
                return;
            };
            if let Err(error) = inferior.stop_all() {
                tracing::error!("process {} could not be stopped: {error}", control.pid);
                control.on_lost(&error.to_string());
                return;
            }
            control.phase = Phase::Stopped;
            control.seen.forget();
            control.collect_probe_stops();
            if merges && control.step.is_none() {
                control.take_queued_hits();
            }
        });
    }
}
