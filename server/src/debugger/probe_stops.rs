//! Stops that the kernel raises: a probe's program has found that a thread must stop.
//!
//! The program raises SIGSTOP for the thread and leaves a record of the registers. The record is what counts: the signal may be taken away by a SIGCONT, and
//! it may be seen later than the record, or after a stop that the record has become part of. So records are kept by thread until they are judged, and a
//! signal without one is over.
//!
//! The thread has executed the probed instruction when it stops. It is put back before it, before anybody looks; when it goes on it passes the probe unseen.

use std::collections::BTreeMap;

use spelunk_bpf::RecordView;
use spelunk_dwarf::{Binary, FileAddr, ProcAddr};

use super::breakpoints::Exception;
use super::control::{Control, Phase};
use super::hits::{Arrived, Decided, Outcome};
use super::{BreakpointId, Event};
use crate::inspect::{Registers, Tid};
use crate::process::{ProcessError, ProcessEvent};
use crate::trace::{Rewind, SitePlan, rewind};

/// How much code the longest instruction takes, in bytes.
const MAX_INSTRUCTION: usize = 15;

/// What a probe has stopped a thread for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// A breakpoint's terms.
    Breakpoint {
        /// Which.
        id: BreakpointId,
        /// How far the kernel has decided whether it acts.
        decided: Decided,
    },
    /// The program is about to end by a panic or a fatal error.
    Exception,
}

/// A probe has stopped a thread, or is about to.
#[derive(Clone, Debug)]
pub(super) struct ProbeStop {
    /// The thread that came to the probe.
    pub(super) thread: Tid,
    /// The probed instruction.
    pub(super) addr: ProcAddr,
    /// Why.
    pub(super) cause: Cause,
    /// What takes the probed instruction back; absent where the record does not have all of it.
    rewind: Option<Rewind>,
}

impl ProbeStop {
    /// The stop that a record of a stopping site tells of.
    pub(super) fn of(cause: Cause, site: &SitePlan, record: &RecordView<'_>) -> ProbeStop {
        ProbeStop {
            thread: Tid(record.thread().cast_signed()),
            addr: ProcAddr(record.ip()),
            cause,
            rewind: rewind(site, record),
        }
    }
}

/// Stops by probes that nobody has judged yet, by thread.
#[derive(Default)]
pub(super) struct ProbeStops {
    by_thread: BTreeMap<Tid, Waiting>,
}

#[derive(Default)]
struct Waiting {
    stops: Vec<ProbeStop>,
    /// The thread stands before the probed instruction.
    is_back: bool,
}

impl ProbeStops {
    /// Keeps one.
    pub(super) fn keep(&mut self, stop: ProbeStop) {
        let waiting = self.by_thread.entry(stop.thread).or_default();
        waiting.is_back = false;
        waiting.stops.push(stop);
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.by_thread.is_empty()
    }

    /// Where a thread stands, if a stop of it waits to be judged.
    pub(super) fn place_of(&self, thread: Tid) -> Option<ProcAddr> {
        Some(self.by_thread.get(&thread)?.stops.last()?.addr)
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.by_thread.clear();
    }
}

impl Control {
    /// The target is not traced, and a probe has stopped it.
    pub(super) fn on_probe_stop(&mut self, stop: ProbeStop) {
        if self.phase != Phase::Running {
            return;
        }
        self.stopped_by_probe.keep(stop);
        if let Err(error) = self.seize() {
            let text = format!("the program was stopped by a probe, and could not be looked at: {error}");
            let _ = self.events.send(Event::Notice(text));
            self.stopped_by_probe.clear();
            // Nobody else would let it go on.
            self.continue_untraced();
            return;
        }
        self.tell_queued_and_go_on();
    }

    /// Handles what the stopped threads have come to; if none of that stops the program, it goes on.
    fn tell_queued_and_go_on(&mut self) {
        while self.phase == Phase::Running
            && let Some(inferior) = self.inferior.as_mut()
            && inferior.queued().next().is_some()
        {
            match inferior.next_event() {
                Ok(event) => self.on_event(event),
                Err(error) => return self.on_lost(&error.to_string()),
            }
        }
        if self.phase == Phase::Running
            && let Some(inferior) = self.inferior.as_mut()
            && let Err(error) = inferior.resume_all()
        {
            tracing::error!("the program could not be resumed: {error}");
            self.on_lost(&error.to_string());
        }
    }

    /// A thread has taken the SIGSTOP of a probe.
    pub(super) fn on_stopped_by_probe(&mut self, thread: Tid) {
        self.collect_probe_stops();
        match self.judge_probe_stop(thread) {
            Outcome::Stop(reason) => self.stop_for(thread, reason),
            Outcome::GoOn => self.resume_thread(thread),
            Outcome::Moved => {}
        }
    }

    /// Takes what probes have recorded so far, and puts the threads concerned back, as far as they are stopped. Their stops wait to be told.
    pub(super) fn collect_probe_stops(&mut self) {
        self.take_probe_stops();
        self.put_stopped_back();
    }

    /// As [`Control::collect_probe_stops`] for a target that was seized a moment ago: the signals were taken away with the stop that they caused.
    pub(super) fn collect_probe_stops_of_untraced(&mut self) -> Result<(), ProcessError> {
        self.take_probe_stops();
        let Some(inferior) = self.inferior.as_mut() else {
            return Ok(());
        };
        if self.stopped_by_probe.is_empty() {
            return Ok(());
        }
        inferior.end_stop_by_probe()?;
        for thread in self.stopped_by_probe.by_thread.keys() {
            inferior.tell_stop_by_probe(*thread);
        }
        self.put_stopped_back();
        Ok(())
    }

    /// Lets a target go on that is about to be let go and that a probe has stopped in this very moment, when nobody traces it. No probe is left to stop it again.
    pub(super) fn undo_stops_of_untraced(&mut self) {
        if self.inferior.is_some() {
            // Whoever traces it takes the signals back.
            return;
        }
        self.take_probe_stops();
        if !self.stopped_by_probe.is_empty() {
            self.stopped_by_probe.clear();
            self.continue_untraced();
        }
    }

    /// Ends the stop that probes have caused; pending ones go with it.
    fn continue_untraced(&self) {
        // A process that is gone needs no continuation.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid), nix::sys::signal::Signal::SIGCONT);
    }

    fn take_probe_stops(&mut self) {
        self.probes.drain_stops();
        while let Ok(stop) = self.probe_stops.try_recv() {
            self.stopped_by_probe.keep(stop);
        }
    }

    fn put_stopped_back(&mut self) {
        let Some(inferior) = self.inferior.as_ref() else { return };
        let waiting = self.stopped_by_probe.by_thread.iter();
        let due: Vec<Tid> = waiting
            .filter(|(thread, waiting)| !waiting.is_back && inferior.is_stopped(**thread))
            .map(|(thread, _)| *thread)
            .collect();
        for thread in due {
            self.put_back(thread);
        }
    }

    /// Puts a stopped thread back before the instruction whose probe has stopped it. Where that cannot be done, its stops are dropped, and that is told.
    fn put_back(&mut self, thread: Tid) {
        let (Some(waiting), Some(inferior)) =
            (self.stopped_by_probe.by_thread.get_mut(&thread), self.inferior.as_mut())
        else {
            return;
        };
        let Some(stop) = waiting.stops.last().cloned() else {
            return;
        };
        // An earlier one at another place was gone on from by somebody's SIGCONT.
        waiting.stops.retain(|other| other.addr == stop.addr);
        let file = self.bias.to_file(stop.addr);
        let code = instruction_bytes(&self.binary, file);
        if stop.cause == Cause::Exception {
            // The thread goes on to the site behind the prologue, which is before it.
            waiting.is_back = true;
            return;
        }
        let Some(rewind) = stop.rewind else {
            let text = format!(
                "a breakpoint was passed without a stop: its probe at {} could not read the stack",
                stop.addr
            );
            let _ = self.events.send(Event::Notice(text));
            self.stopped_by_probe.by_thread.remove(&thread);
            return;
        };
        let mut registers = Registers::default();
        registers.flags = Some(rewind.flags);
        for (register, value) in rewind.registers {
            registers.set_general(register, Some(value));
        }
        let overwritten = rewind.memory.as_ref().map(|(at, bytes)| (*at, &bytes[..]));
        let done = inferior
            .know_probe(stop.addr, code)
            .and_then(|()| inferior.put_back(thread, stop.addr, &registers, overwritten));
        match done {
            Ok(()) => waiting.is_back = true,
            Err(ProcessError::NoThread(_) | ProcessError::Ended(_)) => {
                self.stopped_by_probe.by_thread.remove(&thread);
            }
            Err(error) => {
                self.stopped_by_probe.by_thread.remove(&thread);
                let _ = self.events.send(Event::Notice(format!(
                    "a breakpoint was passed without a stop: {error}"
                )));
            }
        }
    }

    /// What the stops of a thread by probes come to. The thread is stopped.
    pub(super) fn judge_probe_stop(&mut self, thread: Tid) -> Outcome {
        let is_back = |control: &Control| {
            let waiting = control.stopped_by_probe.by_thread.get(&thread);
            waiting.is_some_and(|waiting| waiting.is_back)
        };
        if !is_back(self) {
            self.put_back(thread);
        }
        let Some(waiting) = self.stopped_by_probe.by_thread.remove(&thread) else {
            // It was part of an earlier stop, or of one that is over.
            return Outcome::GoOn;
        };
        let Some(addr) = waiting.stops.last().map(|stop| stop.addr) else {
            return Outcome::GoOn;
        };
        let mut arrived: Vec<Arrived> = Vec::new();
        for stop in &waiting.stops {
            // At a panic or a fatal error the thread goes on for the few instructions to the site behind the prologue.
            if let Cause::Breakpoint { id, decided } = stop.cause
                && !arrived.iter().any(|arrived| arrived.id == id)
            {
                arrived.push(Arrived { id, decided });
            }
        }
        self.judge_arrival(thread, self.bias.to_file(addr), arrived)
    }

    /// Whether an event is the stop of a thread by a probe, and where.
    pub(super) fn probe_stop_that_waits(&self, event: ProcessEvent) -> Option<(Tid, ProcAddr)> {
        match event {
            ProcessEvent::StoppedByProbe { thread } => Some((thread, self.stopped_by_probe.place_of(thread)?)),
            _ => None,
        }
    }
}

/// What the program has from `addr` on, enough for one instruction.
pub(super) fn instruction_bytes(binary: &Binary, addr: FileAddr) -> &[u8] {
    // At the end of the code there is less.
    let code = (1..=MAX_INSTRUCTION).rev().find_map(|len| binary.code(addr, len));
    code.unwrap_or_default()
}

/// Whether a logical breakpoint is one of the debugger's own.
pub(super) fn is_own(id: BreakpointId) -> bool {
    Exception::ALL.iter().any(|exception| exception.id() == id)
}
