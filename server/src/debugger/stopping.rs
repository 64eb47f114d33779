//! The target is stopped, and goes on.

use spelunk_dwarf::ProcAddr;

use super::breakpoints::Origin;
use super::control::{Control, Phase, failed};
use super::exceptions::BREAKPOINT;
use super::hits::Outcome;
use super::{DebugError, Event, Stop, StopReason};
use crate::inspect::Tid;
use crate::process::ProcessEvent;

/// That a target has been made ready to go on: see [`Control::make_ready`].
struct Ready(());

impl Control {
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
                let ready = self.make_all_ready();
                if self.step.is_none() {
                    let unmet = self.unmet_breakpoints();
                    if !unmet.is_empty() && self.meet(&unmet) {
                        return Ok(());
                    }
                }
                self.let_all_go_on(&ready)
            }
            Phase::Running => Ok(()),
            Phase::Exited => Err(DebugError::Failed(format!("Process {} has exited", self.pid))),
            Phase::Released => Err(DebugError::Failed("the program was let go".to_owned())),
        }
    }

    /// Threads that have not come to a breakpoint at this stop, and stand where one was made meanwhile by a client of Delve's JSON-RPC. As in Delve they come to
    /// it when the program goes on, without moving.
    fn unmet_breakpoints(&self) -> Vec<(Tid, ProcAddr)> {
        let Some(inferior) = &self.inferior else {
            return Vec::new();
        };
        let is_single = |addr: ProcAddr| {
            let users = self.sites.users(self.bias.to_file(addr));
            users.is_some_and(|users| {
                let mut ids = users.breakpoints.iter();
                ids.any(|id| {
                    self.breakpoints
                        .get(*id)
                        .is_some_and(|logical| logical.origin == Origin::Single)
                })
            })
        };
        // What was not judged yet is judged when its news is taken.
        let waits = |thread: Tid| {
            let of = |event: ProcessEvent| match event {
                ProcessEvent::Site { thread, .. } | ProcessEvent::StoppedByProbe { thread } => Some(thread),
                _ => None,
            };
            inferior.queued().any(|event| of(event) == Some(thread))
        };
        // One that was stopped on its way, right before it would have come there, comes there by itself.
        let place = |thread: Tid| Some((thread, inferior.told_at(thread)?));
        let threads = inferior.threads().into_iter();
        threads
            .filter(|thread| !(self.standing.contains_key(thread) || waits(*thread)))
            .filter_map(place)
            .filter(|(_, addr)| is_single(*addr))
            .collect()
    }

    /// Has threads come to the breakpoints at which they stand; answers whether that stops the program.
    fn meet(&mut self, threads: &[(Tid, ProcAddr)]) -> bool {
        // The others have been told of, and are not again: nobody moves meanwhile.
        for ids in self.standing.values_mut() {
            ids.clear();
        }
        let mut stopped = None;
        for (thread, addr) in threads {
            if let Some(reason) = self.judge_at_stop(*thread, *addr) {
                stopped.get_or_insert((*thread, reason));
            }
        }
        let Some((thread, reason)) = stopped else {
            return false;
        };
        self.seen.forget();
        let whose = self.whose(thread);
        self.tell_stop(Stop {
            reason,
            whose,
            step_interrupted: false,
        });
        true
    }

    /// Whether something that is set must be able to stop the program, by a tracer.
    pub(super) fn needs_tracer(&self) -> bool {
        // An int3 of the program's own kills it when it is untraced. The linker leaves the function with the instruction out of programs that do not call
        // `runtime.Breakpoint`; where that is a function, a probe sees it (`watch_exceptions`), and where it was inlined nothing does.
        let is_there = |name| self.binary.function_named(name).is_some();
        let is_hidden = self.was_launched && is_there("runtime.breakpoint") && !is_there(BREAKPOINT);
        !self.sites.is_empty() || is_hidden || self.group.follow.is_some()
    }

    /// Lets all threads of all targets go on.
    pub(super) fn go_on(&mut self) -> Result<(), DebugError> {
        let ready = self.make_all_ready();
        self.let_all_go_on(&ready)
    }

    /// Brings what lies in the targets up to date before any of them goes on.
    fn make_all_ready(&mut self) -> Ready {
        self.for_others(|control| {
            control.make_ready();
        });
        self.make_ready()
    }

    /// Brings what lies in the target in focus up to date before it goes on, by whichever way: nobody can go on without.
    fn make_ready(&mut self) -> Ready {
        if self.phase == Phase::Stopped {
            self.drop_dead_sites();
            // A step needs its sites, and might stop at its probes. A call comes back to where its thread stood, which has passed what lies there already.
            if self.step.is_none() && self.injections.is_empty() {
                self.restore_probes();
            }
        }
        Ready(())
    }

    fn let_all_go_on(&mut self, ready: &Ready) -> Result<(), DebugError> {
        // A call that has come to its end is a stop of its own, for which nobody moves.
        let here = self.group.focus();
        while let Some(serial) = self.with_call_traps() {
            self.look_at(serial);
            self.set_off();
            if self.serve_call_traps() {
                return Ok(());
            }
        }
        self.look_at(here);
        self.for_others(|control| control.go_on_or_say_why(ready));
        self.go_on_alone(ready)
    }

    fn go_on_or_say_why(&mut self, ready: &Ready) {
        if let Err(error) = self.go_on_alone(ready) {
            tracing::error!("process {} could not be resumed: {error}", self.pid);
        }
    }

    /// The target in focus does not stand any more where it stood.
    pub(super) fn set_off(&mut self) {
        self.stop = None;
        self.seen.forget();
        self.standing.clear();
        self.phase = Phase::Running;
    }

    fn go_on_alone(&mut self, _: &Ready) -> Result<(), DebugError> {
        self.set_off();
        match self.inferior.as_mut() {
            Some(inferior) => inferior.resume_all().map_err(failed),
            None => Ok(()),
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
        self.collect_probe_stops();
        let here = self.group.focus();
        let (thread, reason) = if self.is_told_with_others(&reason) {
            self.merge_hits(thread, reason)
        } else {
            (thread, reason)
        };
        if self.phase != Phase::Stopped || self.group.focus() != here {
            return self.stop_without_ended(&reason);
        }
        self.stop_others(matches!(reason, StopReason::Breakpoint(_)));
        let whose = self.whose(thread);
        self.seen.returned = self
            .arrived_from
            .take()
            .map(|(thread, returning)| (whose, self.returned(thread, &returning)));
        self.seen.called = self.called.take();
        self.tell_stop(Stop {
            reason,
            whose,
            step_interrupted: self.is_any_stepping(),
        });
    }

    /// The target that was to be stopped has ended meanwhile, or is another program now. Somebody who has asked for a halt wants the others stopped, too; else all
    /// run, also what has taken its place and stands at its beginning.
    fn stop_without_ended(&mut self, reason: &StopReason) {
        self.leave_ended();
        if matches!(self.phase, Phase::Exited | Phase::Released) {
            return;
        }
        if *reason == StopReason::Pause {
            let thread = self.thread_to_show();
            return self.stop_for(thread, StopReason::Pause);
        }
        let go_on = |control: &mut Control| {
            if control.phase == Phase::Stopped {
                let ready = control.make_ready();
                control.go_on_or_say_why(&ready);
            }
        };
        self.for_others(go_on);
        go_on(self);
    }

    /// Whether what other threads came to before they were stopped belongs to a stop. To one at a breakpoint, as in Delve: threads that come to it together
    /// stop the program once. Where a step has arrived, or may yet, or somebody has asked for a halt, a breakpoint that was hit meanwhile would go unseen: it
    /// is told when the program goes on.
    fn is_told_with_others(&self, reason: &StopReason) -> bool {
        let is_over = |event: ProcessEvent| matches!(event, ProcessEvent::Exited(_) | ProcessEvent::Exec);
        let ends = self
            .inferior
            .as_ref()
            .is_some_and(|inferior| inferior.queued().any(is_over));
        ends || (self.step.is_none() && matches!(reason, StopReason::Breakpoint(_)))
    }

    /// Takes what other threads came to before they were stopped into this stop. Their passings are counted, what they log is logged, and they are not told
    /// again when the program goes on. An exception comes before a breakpoint.
    fn merge_hits(&mut self, mut thread: Tid, mut reason: StopReason) -> (Tid, StopReason) {
        let rank = |reason: &StopReason| match reason {
            StopReason::UnrecoveredPanic { .. } | StopReason::FatalThrow { .. } => 2,
            StopReason::Step => 1,
            _ => 0,
        };
        for (other, found) in self.judge_queued(|_| true) {
            if rank(&found) > rank(&reason) {
                (thread, reason) = (other, found);
            }
        }
        (thread, reason)
    }

    /// Takes what the threads of a target that is not the one that stopped have come to, while it was being stopped, into the stop.
    pub(super) fn take_queued_hits(&mut self) {
        // What makes a stop of its own stays where it is, and is told when the targets go on.
        self.judge_queued(|event| {
            !matches!(
                event,
                ProcessEvent::HardcodedBreakpoint { .. } | ProcessEvent::Stepped { .. }
            )
        });
    }

    /// Judges what threads came to before they were stopped, as far as it is to be taken. Answers what would have stopped the program, and whom.
    fn judge_queued(&mut self, is_taken: impl Fn(ProcessEvent) -> bool) -> Vec<(Tid, StopReason)> {
        let mut found = Vec::new();
        while let Some(inferior) = self.inferior.as_mut()
            && inferior.queued().next().is_some_and(&is_taken)
        {
            match inferior.next_event() {
                Ok(ProcessEvent::Site { thread, addr }) => {
                    found.extend(self.judge_at_stop(thread, addr).map(|reason| (thread, reason)));
                }
                Ok(ProcessEvent::StoppedByProbe { thread }) => {
                    if let Outcome::Stop(reason) = self.judge_probe_stop(thread) {
                        found.push((thread, reason));
                    }
                }
                Ok(ProcessEvent::Stepped { thread }) => found.push((thread, StopReason::Step)),
                Ok(ProcessEvent::HardcodedBreakpoint { thread }) if self.is_call_trap(thread) => {
                    self.call_traps.push(thread);
                }
                Ok(ProcessEvent::HardcodedBreakpoint { thread }) => {
                    found.push((thread, StopReason::HardcodedBreakpoint));
                }
                Ok(ProcessEvent::Kicked | ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_)) => {}
                Ok(ProcessEvent::ChildExecuted(child)) => self.on_child_executed(child),
                Ok(ProcessEvent::Exec) => self.on_exec(),
                Ok(ProcessEvent::Exited(status)) => self.on_exit(status),
                Err(error) => self.on_lost(&error.to_string()),
            }
        }
        found
    }

    /// Tells the client of a stop, after all that came before it.
    pub(super) fn tell_stop(&mut self, stop: Stop) {
        self.select_focus();
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
        self.for_others(Control::cancel_step);
        let thread = self.thread_to_show();
        self.stop_for(thread, StopReason::Pause);
        Ok(())
    }
}
