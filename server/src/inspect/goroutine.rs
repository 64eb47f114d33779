//! The goroutines of a stopped program, from the runtime's list of them.

use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use spelunk_dwarf::{FING_RUNNING_FINALIZER, ProcAddr, RuntimeLayout};

use super::g::{G, Work, thread_g};
use super::labels::Labels;
use super::places::{Place, Places, Role};
use super::stack_window::StackWindow;
use super::start_function::StartFunctions;
use super::wait_reason::WaitReasons;
use super::walk::{Start, Walk, saved_registers};
use super::{Goroutine, GoroutineStatus, InspectError, Location, Registers, Stopped, Tid};
use crate::value::BulkRead;

/// How many goroutines are read at a time.
const BATCH: usize = 1024;

/// More than this many would need 32 GiB for their stacks alone; a list that claims more was overwritten.
const MAX_GOROUTINES: u64 = 1 << 24;

/// How many frames are looked at for the first one in the user's code, as in Delve (`maxGoroutineUserCurrentDepth`).
const USER_FRAMES: usize = 30;

/// How much of a waiting goroutine's stack is read at once. Most stand a few small frames away from the user's code.
const STACK_WINDOW: u64 = 1024;

/// `_Gwaiting`, `_Gdead`, `_Gleaked` (since Go 1.26) and `_Gdeadextra` (since Go 1.26) in `runtime/runtime2.go`.
const WAITING: u32 = 4;
const DEAD: u32 = 6;
const LEAKED: u32 = 10;
const DEAD_EXTRA: u32 = 11;

impl GoroutineStatus {
    fn of(number: u32) -> GoroutineStatus {
        match number {
            0 => GoroutineStatus::Idle,
            1 => GoroutineStatus::Runnable,
            2 => GoroutineStatus::Running,
            3 => GoroutineStatus::Syscall,
            WAITING => GoroutineStatus::Waiting,
            DEAD => GoroutineStatus::Dead,
            8 => GoroutineStatus::CopyStack,
            9 => GoroutineStatus::Preempted,
            other => GoroutineStatus::Other(other),
        }
    }
}

/// Goroutines in the order of `runtime.allgs`, dead ones left out: at most `count` (0: all) from place `start` of that list on. Also gives the place to go
/// on from, if there may be more.
pub(crate) fn goroutines(
    p: &dyn Stopped,
    start: usize,
    count: usize,
) -> Result<(Vec<Goroutine>, Option<usize>), InspectError> {
    let layout = layout(p)?;
    let (list, len) = all_gs(p, &layout)?;
    let threads = threads_at_work(p);
    let mut survey = Survey::new(p, &layout);
    let mut found = Vec::new();
    let mut place = start;
    while place < len {
        let wanted = if count == 0 {
            BATCH
        } else {
            (count - found.len()).clamp(16, BATCH)
        };
        let end = place.saturating_add(wanted).min(len);
        let batch = read_batch(p, &layout, list, place..end)?;
        let mut left = batch.len();
        let mut alive: Vec<G> = Vec::with_capacity(batch.len());
        for g in batch {
            if count != 0 && found.len() + alive.len() >= count {
                break;
            }
            left -= 1;
            alive.extend(g.filter(is_alive));
        }
        place = end - left;
        found.extend(survey.describe(&alive, &threads));
        if count != 0 && found.len() >= count {
            break;
        }
    }
    Ok((found, Some(place).filter(|place| *place < len)))
}

/// The goroutine of that number.
pub(crate) fn goroutine(p: &dyn Stopped, id: i64) -> Result<Goroutine, InspectError> {
    let layout = layout(p)?;
    let (g, thread) = find(p, id)?;
    describe_one(p, &layout, g, thread)
}

fn describe_one(p: &dyn Stopped, layout: &RuntimeLayout, g: G, thread: Option<Tid>) -> Result<Goroutine, InspectError> {
    let id = g.id;
    let mut threads = HashMap::new();
    if let Some(thread) = thread {
        threads.insert(g.addr, (thread, p.registers(thread)?));
    }
    let described = Survey::new(p, layout).describe(&[g], &threads).pop();
    described.ok_or(InspectError::UnknownGoroutine(id))
}

fn layout(p: &dyn Stopped) -> Result<RuntimeLayout, InspectError> {
    p.binary()
        .runtime_layout()
        .map_err(|error| InspectError::Failed(format!("could not list goroutines: {error}")))
}

fn is_alive(g: &G) -> bool {
    g.status != DEAD && g.status != DEAD_EXTRA
}

/// What a thread runs. One that is just being made may still have the thread-local storage of the one that makes it.
pub(super) fn work_of(p: &dyn Stopped, thread: Tid) -> Result<Work, InspectError> {
    let layout = layout(p)?;
    let registers = p.registers(thread)?;
    let (pc, sp) = (registers.pc().unwrap_or(0), registers.sp().unwrap_or(0));
    let function = p.binary().function_at(p.bias().to_file(ProcAddr(pc)));
    let in_clone = function.is_some_and(|function| Role::of(&function.name) == Role::Clone);
    let found = thread_g(p.memory(), &layout, &registers).and_then(|g| match g.filter(|g| !in_clone || g.owns(sp)) {
        Some(g) => Work::of(p.memory(), &layout, g),
        None => Ok(Work::default()),
    });
    found.map_err(|error| InspectError::Failed(format!("could not read the goroutine of thread {}: {error}", thread.0)))
}

/// A goroutine by its number, and the thread that works for it.
pub(super) fn find(p: &dyn Stopped, id: i64) -> Result<(G, Option<Tid>), InspectError> {
    for thread in p.threads() {
        if let Ok(Work { goroutine: Some(g), .. }) = work_of(p, thread)
            && g.id == id
        {
            return Ok((g, Some(thread)));
        }
    }
    let layout = layout(p)?;
    let (list, len) = all_gs(p, &layout)?;
    for place in (0..len).step_by(BATCH) {
        let end = place.saturating_add(BATCH).min(len);
        let batch = read_batch(p, &layout, list, place..end)?;
        if let Some(g) = batch.into_iter().flatten().find(|g| g.id == id && is_alive(g)) {
            return Ok((g, None));
        }
    }
    Err(InspectError::UnknownGoroutine(id))
}

type Threads = HashMap<ProcAddr, (Tid, Registers)>;

/// The threads that work for goroutines, by the address of the goroutine's `g`.
fn threads_at_work(p: &dyn Stopped) -> Threads {
    let at_work = p.threads().into_iter().filter_map(|thread| {
        let g = work_of(p, thread).ok()?.goroutine?;
        Some((g.addr, (thread, p.registers(thread).ok()?)))
    });
    at_work.collect()
}

/// The array of pointers behind `runtime.allgs`, and its length.
fn all_gs(p: &dyn Stopped, layout: &RuntimeLayout) -> Result<(ProcAddr, usize), InspectError> {
    let failed = |why: String| InspectError::Failed(format!("could not read the list of goroutines: {why}"));
    let allgs = layout
        .allgs
        .ok_or_else(|| failed("the debug information does not describe runtime.allgs".to_owned()))?;
    let at = p.bias().to_proc(allgs);
    let word = |offset: u64| {
        let read = p.memory().read_uint(ProcAddr(at.0.wrapping_add(offset)), 8);
        read.map_err(|error| failed(error.to_string()))
    };
    let (list, len) = (word(0)?, word(8)?);
    if len > MAX_GOROUTINES {
        return Err(failed(format!("it claims to have {len} entries")));
    }
    Ok((ProcAddr(list), usize::try_from(len).unwrap_or(0)))
}

/// Some of the runtime's goroutines, in order; `None` in place of one that cannot be read.
fn read_batch(
    p: &dyn Stopped,
    layout: &RuntimeLayout,
    list: ProcAddr,
    places: std::ops::Range<usize>,
) -> Result<Vec<Option<G>>, InspectError> {
    let at = ProcAddr(list.0.wrapping_add(8 * places.start as u64));
    let mut pointers = vec![0u8; 8 * places.len()];
    p.memory()
        .read(at, &mut pointers)
        .map_err(|error| InspectError::Failed(format!("could not read the list of goroutines: {error}")))?;
    let size = G::size(layout);
    let mut reads: Vec<BulkRead> = pointers
        .as_chunks::<8>()
        .0
        .iter()
        .map(|raw| BulkRead::new(ProcAddr(u64::from_le_bytes(*raw)), size))
        .collect();
    p.memory().read_many(&mut reads);
    let parsed = reads.iter().map(|read| G::parse(layout, read.addr, read.done()?));
    Ok(parsed.collect())
}

/// Describes goroutines, and remembers what many of them have in common.
struct Survey<'p> {
    p: &'p dyn Stopped,
    layout: &'p RuntimeLayout,
    places: Places<'p>,
    wait_reasons: Option<WaitReasons>,
    labels: Labels<'p>,
    starts: StartFunctions<'p>,
    finalizer_runs: bool,
}

impl<'p> Survey<'p> {
    fn new(p: &'p dyn Stopped, layout: &'p RuntimeLayout) -> Survey<'p> {
        let status = layout.fing_status.and_then(|at| {
            let status = p.memory().read_uint(p.bias().to_proc(at), 4).ok()?;
            u32::try_from(status).ok()
        });
        Survey {
            p,
            layout,
            places: Places::new(p.binary(), p.bias()),
            wait_reasons: None,
            labels: Labels::new(p),
            starts: StartFunctions::new(p.binary()),
            finalizer_runs: status.is_some_and(|status| status & FING_RUNNING_FINALIZER != 0),
        }
    }

    fn describe(&mut self, gs: &[G], threads: &Threads) -> Vec<Goroutine> {
        // The stacks of those that wait are read together.
        let mut windows: Vec<BulkRead> = gs
            .iter()
            .map(|g| {
                StackWindow::of_stack(
                    Some(g).filter(|g| !threads.contains_key(&g.addr)),
                    g.sched.sp,
                    STACK_WINDOW,
                )
            })
            .collect();
        self.p.memory().read_many(&mut windows);
        let described = gs.iter().zip(&windows);
        described
            .map(|(g, window)| self.describe_one(g, window, threads))
            .collect()
    }

    fn describe_one(&mut self, g: &G, window: &BulkRead, threads: &Threads) -> Goroutine {
        let running = threads.get(&g.addr);
        let registers = match running {
            Some((_, registers)) => registers.clone(),
            None => saved_registers(g.sched),
        };
        let pc = ProcAddr(registers.pc().unwrap_or(0));
        let current = self.location_of(pc);
        let user_current = self
            .user_current(g, registers, window)
            .unwrap_or_else(|| current.clone());
        let start = self.starts.of(self.p.bias().to_file(ProcAddr(g.start_pc)));
        Goroutine {
            id: g.id,
            addr: g.addr,
            thread: running.map(|(thread, _)| *thread),
            status: GoroutineStatus::of(g.status),
            status_number: g.status,
            wait_reason: match g.status {
                WAITING | LEAKED => self.wait_reason(g),
                _ => Arc::from(""),
            },
            wait_reason_number: g.wait_reason,
            wait_since: g.wait_since,
            stack_hi: ProcAddr(g.stack_hi),
            current,
            user_current,
            go_statement: self.go_statement(g),
            start: match start.shown {
                Some(function) => self.location_of(self.p.bias().to_proc(function)),
                None => self.location_of(ProcAddr(g.start_pc)),
            },
            labels: self.labels.of(g.labels),
            is_system: self.is_system(g, start.name),
        }
    }

    fn wait_reason(&mut self, g: &G) -> Arc<str> {
        let (p, layout) = (self.p, self.layout);
        let reasons = self.wait_reasons.get_or_insert_with(|| WaitReasons::read(p, layout));
        reasons.text(g.wait_reason)
    }

    fn location_of(&self, pc: ProcAddr) -> Location {
        self.places.location(&self.places.at(self.p.bias().to_file(pc)), pc)
    }

    /// The `go` statement: `g.gopc` is the address behind its call.
    fn go_statement(&self, g: &G) -> Location {
        let pc = ProcAddr(g.go_pc);
        let exact = self.p.bias().to_file(pc);
        let at_entry = |place: &Rc<Place<'_>>| place.function.is_none_or(|function| function.entry >= exact);
        let place = self.places.at(exact);
        let place = match exact.offset(-1) {
            Some(before) if !at_entry(&place) => self.places.at(before),
            _ => place,
        };
        self.places.location(&place, pc)
    }

    /// The innermost place outside of the runtime.
    fn user_current(&self, g: &G, registers: Registers, window: &BulkRead) -> Option<Location> {
        let memory = StackWindow::new(self.p.memory(), window);
        let start = Start {
            layout: Some(self.layout),
            goroutine: Some(g),
            m: g.m,
            registers,
            changes_stacks: true,
        };
        let mut walk = Walk::new(&self.places, &memory, start);
        for _ in 0..USER_FRAMES {
            let call = walk.next()?;
            if call.place.name.as_deref().is_some_and(is_users) {
                return Some(self.places.location(&call.place, call.pc));
            }
        }
        None
    }

    /// The rule of `runtime.isSystemGoroutine`: what the runtime started with a function of its own, unless that calls the user's code.
    fn is_system(&self, g: &G, start: Option<&str>) -> bool {
        match start.and_then(|name| name.strip_prefix("runtime.")) {
            None | Some("main" | "corostart" | "handleAsyncEvent") => false,
            // Renamed in Go 1.25.
            Some("runfinq" | "runFinalizers") => !self.finalizer_runs,
            Some("runCleanups") => !g.running_cleanups,
            Some(_) => true,
        }
    }
}

/// Whether Delve takes a function for the user's (`UserCurrent`): not in package `runtime` unless exported, nor in `internal` packages or `iter`.
pub(crate) fn is_users(name: &str) -> bool {
    let in_runtime = name
        .strip_prefix("runtime.")
        .is_some_and(|rest| !rest.starts_with(|first: char| first.is_ascii_uppercase()));
    let below = ["internal/", "runtime/internal", "iter."];
    name.contains('.') && !in_runtime && !below.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_code_is_what_delve_takes_for_it() {
        for name in [
            "main.main",
            "sync.(*Mutex).Lock",
            "runtime.GC",
            "time.Sleep",
            "example.com/iter.Seq",
            "C.puts",
        ] {
            assert!(is_users(name), "{name}");
        }
        for name in [
            "runtime.gopark",
            "runtime/internal/atomic.Load",
            "internal/poll.(*FD).Read",
            "iter.Pull[...]",
            "_start",
            "runtime.",
        ] {
            assert!(!is_users(name), "{name}");
        }
    }
}
