//! The target's own thread, and the state machine that runs on it.
//!
//! ptrace ties a target to the thread that traces it, and the parent-death signal ties a launched one to the thread that forked it. So one thread does
//! both, and everything else that touches the target: a request is a closure sent to it.
//!
//! States: held before exec (launched, nothing runs yet) → untraced (only logpoints, or nothing, is set) ↔ traced and running ↔ traced and stopped →
//! gone. The first stopping breakpoint, pause or step makes it traced. It stays so until the session lets it go: what it would gain by being let go early
//! is small (a traced program runs at full speed between stops), and each change costs all threads a stop.

use std::cell::OnceCell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, select, unbounded};
use spelunk_dwarf::{Binary, CfaRule, FileAddr, LoadBias, ProcAddr, RuntimeLayout};

use super::breakpoint_views::OwnBreakpoint;
use super::breakpoints::{Breakpoints, Planted};
use super::closing::Closing;
use super::code::CodeCache;
use super::group::{Group, Selected};
use super::guard::{Guard, Tripped};
use super::injection::{CallOutcome, Injection};
use super::inspection::Seen;
use super::landing::LineCache;
use super::output::Outputs;
use super::probe_stops::{ProbeStop, ProbeStops};
use super::probes::Probes;
use super::sites::Sites;
use super::stepping::Step;
use super::temporary::Returning;
use super::{BreakpointId, DebugError, EndWith, EventSender, ExceptionFilters, ProbeLimits, Stop};
use crate::handover;
use crate::inspect::DeferLayout;
use crate::inspect::Tid;
use crate::process::{ExitStatus, Inferior, Kicker, Launched, ProcessEvent};
use crate::value::Memory;

/// A request, run on the target's thread.
pub(super) type Job = Box<dyn FnOnce(&mut Control) + Send>;

/// How often a stopped target is looked at, to see whether somebody has killed it.
pub(super) const WATCH: Duration = Duration::from_millis(50);

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

/// The target, on its own thread. Of several it is the one in focus: see `group`.
pub(super) struct Control {
    pub(super) group: Group,
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
    /// The probes that see panics and fatal errors while the target is not traced.
    pub(super) exception_probes: Option<Planted>,
    /// That a probe has stopped a thread.
    pub(super) probe_stops: Receiver<ProbeStop>,
    /// The same, taken from the channel and not judged.
    pub(super) stopped_by_probe: ProbeStops,
    /// Links that are being closed.
    pub(super) closing: Closing,
    pub(super) code: CodeCache,
    pub(super) lines: LineCache,
    pub(super) cfa_rules: HashMap<FileAddr, Option<CfaRule>>,
    pub(super) defer_layout: OnceCell<Option<DeferLayout>>,
    pub(super) step: Option<Step>,
    pub(super) stop: Option<Stop>,
    /// What was looked at during this stop.
    pub(super) seen: Seen,
    /// Threads that have come to breakpoints and have not gone on, and to which of these they are held by.
    pub(super) standing: HashMap<Tid, Vec<BreakpointId>>,
    /// What is known of the debugger's own breakpoints beside their places, by their number.
    pub(super) own: HashMap<BreakpointId, OwnBreakpoint>,
    /// For a step that has just arrived from a function: the thread, and the function.
    pub(super) arrived_from: Option<(Tid, Returning)>,
    /// Expressions whose calls are under way, by the thread that makes them.
    pub(super) injections: HashMap<Tid, Injection>,
    /// Threads that have come to what the runtime asks for a call while all were being stopped; they are served when the target goes on.
    pub(super) call_traps: Vec<Tid>,
    /// What the call has come to that ends now.
    pub(super) called: Option<CallOutcome>,
    /// Events that came while something else was waited for.
    pub(super) waiting: VecDeque<ProcessEvent>,
    pub(super) events: EventSender,
    /// Set when nothing may be put into the program any more, with the reason.
    pub(super) refused: Option<String>,
    pub(super) was_launched: bool,
    /// What the user has been told and need not hear twice.
    pub(super) told: Vec<String>,
    /// Whether the target's end is, or was, the inferior's to tell.
    pub(super) was_traced: bool,
    pub(super) launched: Option<Launched>,
    pub(super) outputs: Outputs,
    pub(super) exit: Receiver<ExitStatus>,
    pub(super) kicker: KickerSlot,
    pub(super) ended: bool,
    /// With which status the target has exited.
    pub(super) exited_with: Option<i32>,
    /// What probes may do.
    pub(super) limits: ProbeLimits,
    /// Looks after what they cost, where that is limited.
    pub(super) guard: Option<Guard>,
    /// For the guard, to tell of probes that it has switched off.
    pub(super) tripping: Sender<Tripped>,
    tripped: Receiver<Tripped>,
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
    pub(super) events: EventSender,
    pub(super) kicker: KickerSlot,
}

/// Why nothing can be looked at or changed in a target that runs without a tracer.
pub(super) const NOT_TRACED: &str = "the program is not traced";

pub(super) fn failed(error: impl std::fmt::Display) -> DebugError {
    DebugError::Failed(error.to_string())
}

impl Control {
    /// A session's beginning; `selected` knows the process that it begins with, and is told which one clients look at.
    pub(super) fn new(start: Start, selected: Arc<Selected>) -> Control {
        let was_launched = start.launched.is_some();
        let (tripping, tripped) = unbounded();
        let mut control = Control {
            group: Group::new(selected),
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
            exception_probes: None,
            probe_stops: start.probe_stops,
            stopped_by_probe: ProbeStops::default(),
            closing: Closing::default(),
            code: CodeCache::default(),
            lines: LineCache::default(),
            cfa_rules: HashMap::new(),
            defer_layout: OnceCell::new(),
            arrived_from: None,
            injections: HashMap::new(),
            call_traps: Vec::new(),
            called: None,
            waiting: VecDeque::new(),
            step: None,
            stop: None,
            seen: Seen::default(),
            standing: HashMap::new(),
            own: HashMap::new(),
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
            exited_with: None,
            limits: ProbeLimits::default(),
            guard: None,
            tripping,
            tripped,
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
            self.leave_ended();
            while let Ok(tripped) = self.tripped.try_recv() {
                self.switch_off(tripped);
            }
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
        if !self.group.is_one_process() {
            self.serve_group();
            return Ok(());
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
            Ok(job) => {
                job(self);
                if self.phase == Phase::Stopped {
                    // The next request of a client that waits for each answer is soon there.
                    handover::at_once(|| (!jobs.is_empty()).then_some(()));
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Err(()),
            Err(RecvTimeoutError::Timeout) => {
                self.notice_death();
                self.for_others(Control::notice_death);
                self.serve_passed();
            }
        }
        Ok(())
    }

    fn serve_untraced(&mut self, jobs: &Receiver<Job>) -> Result<(), ()> {
        if matches!(self.phase, Phase::Exited | Phase::Released) {
            let job = jobs.recv().map_err(drop)?;
            job(self);
            return Ok(());
        }
        let (exit, stops, tripped) = (self.exit.clone(), self.probe_stops.clone(), self.tripped.clone());
        select! {
            recv(jobs) -> job => match job {
                Ok(job) => job(self),
                Err(_) => return Err(()),
            },
            recv(stops) -> stop => if let Ok(stop) = stop {
                self.on_probe_stop(stop);
            },
            recv(tripped) -> tripped => if let Ok(tripped) = tripped {
                self.switch_off(tripped);
            },
            recv(exit) -> status => self.on_exit(status.unwrap_or(ExitStatus::Unknown)),
        }
        Ok(())
    }

    pub(super) fn on_event(&mut self, event: ProcessEvent) {
        match event {
            ProcessEvent::Site { thread, addr } => self.on_site(thread, addr),
            ProcessEvent::Stepped { thread } => self.on_stepped(thread),
            ProcessEvent::HardcodedBreakpoint { thread } => self.on_hardcoded_breakpoint(thread),
            ProcessEvent::StoppedByProbe { thread } => self.on_stopped_by_probe(thread),
            ProcessEvent::Kicked | ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_) => {}
            ProcessEvent::ChildExecuted(child) => self.on_child_executed(child),
            ProcessEvent::Exec => self.on_exec(),
            ProcessEvent::Exited(status) => self.on_exit(status),
        }
    }

    /// The target under ptrace.
    pub(super) fn traced(&self) -> Result<&Inferior, DebugError> {
        self.inferior.as_ref().ok_or_else(|| failed(NOT_TRACED))
    }

    /// The same, to change something in it.
    pub(super) fn traced_mut(&mut self) -> Result<&mut Inferior, DebugError> {
        self.inferior.as_mut().ok_or_else(|| failed(NOT_TRACED))
    }

    /// The memory of the target under ptrace.
    pub(super) fn traced_memory(&self) -> Result<&Arc<dyn Memory + Send + Sync>, DebugError> {
        self.memory.as_ref().ok_or_else(|| failed(NOT_TRACED))
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
