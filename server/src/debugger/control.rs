//! The target's own thread, and the state machine that runs on it.
//!
//! ptrace ties a target to the thread that traces it, and the parent-death signal ties a launched one to the thread that forked it. So one thread does
//! both, and everything else that touches the target: a request is a closure sent to it.
//!
//! States: held before exec (launched, nothing runs yet) → untraced (only logpoints, or nothing, is set) ↔ traced and running ↔ traced and stopped →
//! gone. The first stopping breakpoint, pause or step makes it traced. It stays so until the session lets it go: what it would gain by being let go early
//! is small (a traced program runs at full speed between stops), and each change costs all threads a stop.

use std::collections::{HashMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, select};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spelunk_bpf::Link;
use spelunk_dwarf::{Binary, BuildId, CfaRule, FileAddr, LoadBias, ProcAddr, RuntimeLayout};

use super::breakpoints::{Breakpoints, Carrier, Exception, wanted_exceptions};
use super::code::CodeCache;
use super::defers::DeferLayout;
use super::inspection::Seen;
use super::landing::LineCache;
use super::logpoints::{ProbeStop, Probes, close_links};
use super::output::Outputs;
use super::sites::Sites;
use super::stepping::Step;
use super::temporary::Returning;
use super::{DebugError, EndWith, Event, ExceptionFilters, Stop, StopReason};
use crate::inspect::{Tid, Whose, load_bias};
use crate::process::{ExitStatus, Inferior, Kicker, Launched, ProcessEvent, Seize};
use crate::value::Memory;

/// A request, run on the target's thread.
pub(super) type Job = Box<dyn FnOnce(&mut Control) + Send>;

/// How often a stopped target is looked at, to see whether somebody has killed it.
const WATCH: Duration = Duration::from_millis(50);

/// Ends the wait for the target when a request has come. There is one while the target is traced.
pub(super) type KickerSlot = Arc<Mutex<Option<Kicker>>>;

/// Where the target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Launched, and not executed yet.
    Held,
    /// It runs; traced if there is an inferior.
    Running,
    /// All its threads are stopped, and clients have been told, or are about to be.
    Stopped,
    /// It is gone.
    Exited,
    /// It was let go.
    Released,
}

/// The target, on its own thread.
pub(super) struct Control {
    pub(super) pid: i32,
    pub(super) binary: Arc<Binary>,
    pub(super) bias: LoadBias,
    pub(super) layout: Option<RuntimeLayout>,
    pub(super) phase: Phase,
    pub(super) inferior: Option<Inferior>,
    pub(super) memory: Option<Arc<dyn Memory + Send + Sync>>,
    pub(super) breakpoints: Breakpoints,
    pub(super) exceptions: ExceptionFilters,
    pub(super) sites: Sites,
    pub(super) probes: Probes,
    /// The probe that sees panics and fatal errors while the target is not traced.
    pub(super) exception_link: Option<Link>,
    /// That it has stopped the target.
    pub(super) probe_stops: Receiver<ProbeStop>,
    /// The same, taken from the channel and not dealt with.
    pub(super) probe_stop: Option<ProbeStop>,
    pub(super) code: CodeCache,
    pub(super) lines: LineCache,
    pub(super) cfa_rules: HashMap<FileAddr, Option<CfaRule>>,
    pub(super) defer_layout: Option<Option<DeferLayout>>,
    pub(super) step: Option<Step>,
    pub(super) stop: Option<Stop>,
    /// What was looked at during this stop.
    pub(super) seen: Seen,
    /// For a step that has just arrived from a function: the thread, and the function.
    pub(super) arrived_from: Option<(Tid, Returning)>,
    /// Events that came while something else was waited for.
    pub(super) waiting: VecDeque<ProcessEvent>,
    pub(super) events: Sender<Event>,
    /// Set when nothing may be put into the program any more, with the reason.
    pub(super) refused: Option<String>,
    pub(super) was_launched: bool,
    /// What the user has been told and need not hear twice.
    pub(super) told: Vec<String>,
    /// Whether the target's end is, or was, the inferior's to tell.
    was_traced: bool,
    launched: Option<Launched>,
    outputs: Outputs,
    exit: Receiver<ExitStatus>,
    kicker: KickerSlot,
    ended: bool,
}

/// What a session starts with.
pub(super) struct Start {
    pub(super) pid: i32,
    pub(super) binary: Arc<Binary>,
    pub(super) probes: Probes,
    pub(super) probe_stops: Receiver<ProbeStop>,
    pub(super) launched: Option<Launched>,
    pub(super) outputs: Outputs,
    pub(super) exit: Receiver<ExitStatus>,
    pub(super) events: Sender<Event>,
    pub(super) kicker: KickerSlot,
}

pub(super) fn failed(error: impl std::fmt::Display) -> DebugError {
    DebugError::Failed(error.to_string())
}

impl Control {
    pub(super) fn new(start: Start) -> Control {
        let was_launched = start.launched.is_some();
        let mut control = Control {
            pid: start.pid,
            layout: start.binary.runtime_layout().ok(),
            binary: start.binary,
            bias: LoadBias::default(),
            phase: if was_launched { Phase::Held } else { Phase::Running },
            inferior: None,
            memory: None,
            breakpoints: Breakpoints::default(),
            exceptions: ExceptionFilters::default(),
            sites: Sites::default(),
            probes: start.probes,
            exception_link: None,
            probe_stops: start.probe_stops,
            probe_stop: None,
            code: CodeCache::default(),
            lines: LineCache::default(),
            cfa_rules: HashMap::new(),
            defer_layout: None,
            arrived_from: None,
            waiting: VecDeque::new(),
            step: None,
            stop: None,
            seen: Seen::default(),
            events: start.events,
            refused: None,
            was_launched,
            told: Vec::new(),
            was_traced: false,
            launched: start.launched,
            outputs: start.outputs,
            exit: start.exit,
            kicker: start.kicker,
            ended: false,
        };
        if !was_launched {
            control.find_bias();
        }
        control
    }

    /// Serves requests and the target until the session ends.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        // Attaching may not become stopping by surprise: where there are no kernel probes, panics are told of only once something else stops.
        if self.phase == Phase::Running
            && let Err(why) = self.watch_exceptions()
        {
            tracing::debug!("panics are not noticed until something stops the program: {why}");
        }
        while !self.ended {
            let is_waiting = self.inferior.is_some() && self.phase == Phase::Running;
            let served = if is_waiting {
                self.serve_running(jobs)
            } else if self.inferior.is_some() {
                self.serve_stopped(jobs)
            } else {
                self.serve_untraced(jobs)
            };
            if served.is_err() {
                // The session was dropped without being ended.
                let how = if self.was_launched {
                    EndWith::Kill
                } else {
                    EndWith::Detach
                };
                self.end(how);
            }
        }
    }

    /// Requests first, then the target's next event.
    fn serve_running(&mut self, jobs: &Receiver<Job>) -> Result<(), ()> {
        loop {
            match jobs.try_recv() {
                Ok(job) => job(self),
                Err(TryRecvError::Disconnected) => return Err(()),
                Err(TryRecvError::Empty) => break,
            }
            if self.phase != Phase::Running || self.ended {
                return Ok(());
            }
        }
        if let Some(event) = self.waiting.pop_front() {
            self.on_event(event);
            return Ok(());
        }
        let Some(inferior) = self.inferior.as_mut() else {
            return Ok(());
        };
        match inferior.next_event() {
            Ok(event) => self.on_event(event),
            Err(error) => {
                tracing::error!("the target cannot be waited for: {error}");
                self.on_lost(&error.to_string());
            }
        }
        Ok(())
    }

    fn serve_stopped(&mut self, jobs: &Receiver<Job>) -> Result<(), ()> {
        match jobs.recv_timeout(WATCH) {
            Ok(job) => job(self),
            Err(RecvTimeoutError::Disconnected) => return Err(()),
            Err(RecvTimeoutError::Timeout) => self.notice_death(),
        }
        Ok(())
    }

    fn serve_untraced(&mut self, jobs: &Receiver<Job>) -> Result<(), ()> {
        if matches!(self.phase, Phase::Exited | Phase::Released) {
            let job = jobs.recv().map_err(drop)?;
            job(self);
            return Ok(());
        }
        let (exit, stops) = (self.exit.clone(), self.probe_stops.clone());
        select! {
            recv(jobs) -> job => match job {
                Ok(job) => job(self),
                Err(_) => return Err(()),
            },
            recv(stops) -> stop => if let Ok(stop) = stop {
                self.on_probe_stop(stop);
            },
            recv(exit) -> status => self.on_exit(status.unwrap_or(ExitStatus::Unknown)),
        }
        Ok(())
    }

    fn on_event(&mut self, event: ProcessEvent) {
        match event {
            ProcessEvent::Site { thread, addr } => self.on_site(thread, addr),
            ProcessEvent::Stepped { thread } => self.on_stepped(thread),
            ProcessEvent::HardcodedBreakpoint { thread } => self.on_hardcoded_breakpoint(thread),
            ProcessEvent::Kicked | ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_) => {}
            ProcessEvent::Exec => self.on_exec(),
            ProcessEvent::Exited(status) => self.on_exit(status),
        }
    }

    /// Whether somebody has killed the target while it was stopped. The kernel tells its end only to one who waits for its threads.
    fn notice_death(&mut self) {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        let state = stat.rsplit_once(')').map_or("", |(_, rest)| rest.trim_start());
        if !(state.is_empty() || state.starts_with(['Z', 'X'])) {
            return;
        }
        while let Some(inferior) = self.inferior.as_mut() {
            match inferior.next_event() {
                Ok(ProcessEvent::Exited(status)) => self.on_exit(status),
                Ok(_) => {}
                Err(error) => self.on_lost(&error.to_string()),
            }
        }
    }

    /// The target cannot be traced any more.
    fn on_lost(&mut self, why: &str) {
        let status = self.exit.recv_timeout(WATCH).unwrap_or(ExitStatus::Unknown);
        if status == ExitStatus::Unknown {
            let _ = self
                .events
                .send(Event::Notice(format!("the program cannot be traced any more: {why}")));
        }
        self.on_exit(status);
    }

    /// The program has replaced itself by another: nothing that is known of it holds any more.
    fn on_exec(&mut self) {
        let why = "the program has executed another one, whose debug information was not read; it runs on without breakpoints";
        let _ = self.events.send(Event::Notice(why.to_owned()));
        self.refused = Some(why.to_owned());
        self.forget_all();
        if let Some(inferior) = self.drop_inferior()
            && let Err(error) = inferior.detach()
        {
            tracing::warn!("the program could not be let go after its exec: {error}");
        }
        self.phase = Phase::Running;
    }

    /// Forgets all breakpoints and what they sit on, without touching the target.
    fn forget_all(&mut self) {
        let mut links: Vec<Link> = self.exception_link.take().into_iter().collect();
        for id in self.breakpoints.ids() {
            if let Some(logical) = self.breakpoints.remove(id)
                && let Carrier::Probes(link) = logical.carrier
            {
                links.push(link);
            }
        }
        close_links(links);
        self.sites = Sites::default();
        self.step = None;
        self.stop = None;
        self.seen.forget();
    }

    fn drop_inferior(&mut self) -> Option<Inferior> {
        *self.kicker.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.memory = None;
        self.inferior.take()
    }

    /// The target is gone: its last events, once.
    fn on_exit(&mut self, status: ExitStatus) {
        if self.phase == Phase::Exited {
            return;
        }
        self.phase = Phase::Exited;
        drop(self.drop_inferior());
        // All that the target logged and wrote comes before the news of its end.
        std::mem::take(&mut self.outputs).finish();
        self.forget_all();
        self.probes.finish();
        self.refused.get_or_insert_with(|| "the session has ended".to_owned());
        let status = match (&self.launched, status) {
            // A child that nobody waits for stays a zombie; one that was traced to its end has been waited for.
            (Some(launched), status) if !self.was_traced => match launched.reap() {
                ExitStatus::Unknown => status,
                reaped => reaped,
            },
            (_, status) => status,
        };
        let status = status.number();
        let _ = self.events.send(Event::Exited { pid: self.pid, status });
    }

    /// Takes everything out for good and tells the client why.
    pub(super) fn refuse(&mut self, why: &str) {
        self.refused = Some(why.to_owned());
        self.remove_all_sites();
        self.forget_all();
        let _ = self.events.send(Event::Notice(why.to_owned()));
    }

    fn remove_all_sites(&mut self) {
        let addresses = self.sites.addresses();
        self.take_out(&addresses);
    }

    /// Where the program lies, as soon as it has been executed.
    fn find_bias(&mut self) {
        let auxv = std::fs::read(format!("/proc/{}/auxv", self.pid)).unwrap_or_default();
        if let Some(bias) = load_bias(&self.binary, &auxv) {
            self.bias = bias;
        }
    }

    /// The file may have been replaced between its analysis and its execution: then every address is wrong.
    fn check_identity(&mut self) {
        let analysed = self.binary.build_id();
        let running = BuildId::of_file(&PathBuf::from(format!("/proc/{}/exe", self.pid)));
        if let Ok(running) = running
            && running != analysed
        {
            self.refuse(&format!(
                "the program was rebuilt while it was being started: build id {analysed} was analysed, {running} runs; start the session again"
            ));
        }
    }

    /// Makes the target traced and stops it, wherever it stands. Does nothing when it is stopped.
    pub(super) fn seize(&mut self) -> Result<(), DebugError> {
        match self.phase {
            Phase::Exited => return Err(DebugError::Failed(format!("Process {} has exited", self.pid))),
            Phase::Released => return Err(DebugError::Failed("the program was let go".to_owned())),
            Phase::Stopped => return Ok(()),
            Phase::Held | Phase::Running => {}
        }
        if let Some(inferior) = self.inferior.as_mut() {
            return inferior.stop_all().map_err(failed);
        }
        let probe_stop = self.unwatch_exceptions();
        let how = Seize {
            kill_with_us: self.was_launched,
        };
        let inferior = match (self.phase, self.launched.as_mut()) {
            (Phase::Held, Some(launched)) => {
                Inferior::seize_held(launched).map_err(|error| failed(format!("could not launch process: {error}")))?
            }
            _ if probe_stop.is_some() => Inferior::seize_after_probe(self.pid, how).map_err(failed)?,
            _ => Inferior::seize(self.pid, how).map_err(failed)?,
        };
        *self.kicker.lock().unwrap_or_else(PoisonError::into_inner) = Some(inferior.kicker());
        self.memory = Some(inferior.memory());
        self.inferior = Some(inferior);
        self.was_traced = true;
        self.find_bias();
        if self.phase == Phase::Held {
            self.phase = Phase::Stopped;
            self.stop = Some(Stop {
                reason: StopReason::Entry,
                whose: Whose::Thread(Tid(self.pid)),
                step_interrupted: false,
            });
            self.check_identity();
        }
        let sites = self.sites.addresses();
        self.put_in(&sites);
        self.set_exceptions();
        match probe_stop {
            Some(stop) => self.rewind_to_probe(&stop),
            None => Ok(()),
        }
    }

    /// Makes the target traced, if it is not, without telling anybody: it goes on at once.
    pub(super) fn trace(&mut self) -> Result<(), DebugError> {
        if self.inferior.is_some() || self.phase != Phase::Running {
            return Ok(());
        }
        self.seize()?;
        match self.inferior.as_mut() {
            Some(inferior) => inferior.resume_all().map_err(failed),
            None => Ok(()),
        }
    }

    /// Writes the int3s of addresses that have become sites. Before the target is traced there is nothing to write to.
    pub(super) fn put_in(&mut self, addresses: &[FileAddr]) {
        let bias = self.bias;
        let Some(inferior) = self.inferior.as_mut() else { return };
        for addr in addresses {
            if let Err(error) = inferior.insert_site(bias.to_proc(*addr)) {
                let _ = self
                    .events
                    .send(Event::Notice(format!("no breakpoint could be put at {addr}: {error}")));
            }
        }
    }

    /// Takes the int3s of addresses out that are sites no more.
    pub(super) fn take_out(&mut self, addresses: &[FileAddr]) {
        let bias = self.bias;
        let Some(inferior) = self.inferior.as_mut() else { return };
        for addr in addresses {
            if let Err(error) = inferior.remove_site(bias.to_proc(*addr)) {
                tracing::error!("the breakpoint at {addr} could not be taken out: {error}");
            }
        }
    }

    /// Whether something that is set must be able to stop the program, by a tracer.
    fn needs_tracer(&self) -> bool {
        !self.sites.is_empty()
    }

    /// Lets the target go on: a held one starts, a stopped one continues, with the step it was on if that was interrupted.
    pub(super) fn resume(&mut self) -> Result<(), DebugError> {
        match self.phase {
            Phase::Held => {
                if self.needs_tracer() {
                    self.seize()?;
                    return self.go_on();
                }
                if let Err(why) = self.watch_exceptions() {
                    tracing::debug!("panics are noticed by tracing: {why}");
                    self.seize()?;
                    return self.go_on();
                }
                if let Some(launched) = self.launched.as_mut() {
                    launched
                        .release()
                        .map_err(|error| failed(format!("could not launch process: {error}")))?;
                }
                self.phase = Phase::Running;
                self.find_bias();
                self.check_identity();
                Ok(())
            }
            Phase::Stopped => {
                self.drop_dead_sites();
                if self.step.is_none() {
                    self.restore_probes();
                }
                self.go_on()
            }
            Phase::Running => Ok(()),
            Phase::Exited => Err(DebugError::Failed(format!("Process {} has exited", self.pid))),
            Phase::Released => Err(DebugError::Failed("the program was let go".to_owned())),
        }
    }

    /// Lets all threads go on.
    pub(super) fn go_on(&mut self) -> Result<(), DebugError> {
        self.stop = None;
        self.seen.forget();
        self.phase = Phase::Running;
        match self.inferior.as_mut() {
            Some(inferior) => inferior.resume_all().map_err(failed),
            None => Ok(()),
        }
    }

    /// Puts the sites of the exception breakpoints where they are wanted.
    pub(super) fn set_exceptions(&mut self) {
        let wanted: Vec<Exception> = wanted_exceptions(self.exceptions).collect();
        for exception in Exception::ALL {
            let places = exception.places(&self.binary);
            if wanted.contains(&exception) {
                let new: Vec<_> = places
                    .into_iter()
                    .filter(|addr| self.sites.add_breakpoint(*addr, exception.id()))
                    .collect();
                self.put_in(&new);
            } else {
                let free: Vec<_> = places
                    .into_iter()
                    .filter(|addr| self.sites.remove_breakpoint(*addr, exception.id()))
                    .collect();
                self.take_out(&free);
            }
        }
    }

    /// Stops all threads and tells the client.
    pub(super) fn stop_for(&mut self, thread: Tid, reason: StopReason) {
        let Some(inferior) = self.inferior.as_mut() else { return };
        if let Err(error) = inferior.stop_all() {
            tracing::error!("the target could not be stopped: {error}");
            self.on_lost(&error.to_string());
            return;
        }
        self.phase = Phase::Stopped;
        self.seen.forget();
        let (thread, reason) = self.merge_hits(thread, reason);
        if self.phase != Phase::Stopped {
            return;
        }
        let whose = self.whose(thread);
        self.seen.returned = self
            .arrived_from
            .take()
            .map(|(thread, returning)| (whose, self.returned(thread, &returning)));
        self.tell_stop(Stop {
            reason,
            whose,
            step_interrupted: self.step.is_some(),
        });
    }

    /// Other threads may have come to a site before they were stopped: these passings belong to this stop. They are counted, what they log is logged, and
    /// they are not told again when the program goes on. The step's arrival comes before a breakpoint, an exception before both.
    fn merge_hits(&mut self, mut thread: Tid, mut reason: StopReason) -> (Tid, StopReason) {
        let rank = |reason: &StopReason| match reason {
            StopReason::UnrecoveredPanic { .. } | StopReason::FatalThrow { .. } => 2,
            StopReason::Step => 1,
            _ => 0,
        };
        while let Some(inferior) = self.inferior.as_mut()
            && inferior.queued().next().is_some()
        {
            let (other, found) = match inferior.next_event() {
                Ok(ProcessEvent::Site { thread, addr }) => match self.judge_at_stop(thread, addr) {
                    Some(found) => (thread, found),
                    None => continue,
                },
                Ok(ProcessEvent::Stepped { thread }) => (thread, StopReason::Step),
                Ok(ProcessEvent::HardcodedBreakpoint { thread }) => (thread, StopReason::HardcodedBreakpoint),
                Ok(ProcessEvent::Kicked | ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_)) => continue,
                Ok(ProcessEvent::Exec) => {
                    self.on_exec();
                    continue;
                }
                Ok(ProcessEvent::Exited(status)) => {
                    self.on_exit(status);
                    continue;
                }
                Err(error) => {
                    self.on_lost(&error.to_string());
                    continue;
                }
            };
            if rank(&found) > rank(&reason) {
                (thread, reason) = (other, found);
            }
        }
        (thread, reason)
    }

    /// Tells the client of a stop, after all that came before it.
    pub(super) fn tell_stop(&mut self, stop: Stop) {
        self.stop = Some(stop.clone());
        self.probes.drain();
        self.outputs.flush();
        let _ = self.events.send(Event::Stopped(stop));
    }

    /// Stops the running target.
    pub(super) fn halt(&mut self) -> Result<(), DebugError> {
        match self.phase {
            Phase::Stopped | Phase::Held => return Ok(()),
            Phase::Exited => return Err(DebugError::Failed(format!("Process {} has exited", self.pid))),
            Phase::Released => return Err(DebugError::Failed("the program was let go".to_owned())),
            Phase::Running => {}
        }
        self.seize()?;
        // A halt ends the step that was under way.
        self.cancel_step();
        let thread = self.thread_to_show();
        self.stop_for(thread, StopReason::Pause);
        Ok(())
    }

    /// Ends the session.
    pub(super) fn end(&mut self, how: EndWith) {
        self.ended = true;
        if matches!(self.phase, Phase::Exited | Phase::Released) {
            return;
        }
        if how == EndWith::Detach && !self.was_launched {
            self.cancel_step();
            self.remove_all_sites();
            self.forget_all();
            if let Some(inferior) = self.drop_inferior()
                && let Err(error) = inferior.detach()
            {
                let _ = self.events.send(Event::Notice(format!(
                    "the program could not be let go cleanly: {error}"
                )));
            }
            self.probes.finish();
            self.phase = Phase::Released;
            return;
        }
        let status = match self.drop_inferior() {
            Some(inferior) => inferior.kill(),
            None => {
                // A process that is gone already is what was wanted.
                let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
                self.exit.recv().unwrap_or(ExitStatus::Unknown)
            }
        };
        self.on_exit(status);
    }

    /// What of memory and addresses everything here needs.
    pub(super) fn memory(&self) -> Option<Arc<dyn Memory + Send + Sync>> {
        self.memory.clone()
    }

    /// An address in the process.
    pub(super) fn to_proc(&self, addr: FileAddr) -> ProcAddr {
        self.bias.to_proc(addr)
    }
}
