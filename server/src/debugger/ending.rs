//! The end of a target, of what is known of it, or of the session.

use std::sync::PoisonError;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::breakpoints::{Carrier, Hits};
use super::control::{Control, Phase, WATCH};
use super::sites::Sites;
use super::{EndWith, Event};
use crate::process::{ExitStatus, Inferior, ProcessEvent};

impl Control {
    /// Whether somebody has killed the target while it was stopped. The kernel tells its end only to one who waits for its threads.
    pub(super) fn notice_death(&mut self) {
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
    pub(super) fn on_lost(&mut self, why: &str) {
        let status = self.exit.recv_timeout(WATCH).unwrap_or(ExitStatus::Unknown);
        if status == ExitStatus::Unknown {
            let _ = self
                .events
                .send(Event::Notice(format!("the program cannot be traced any more: {why}")));
        }
        self.on_exit(status);
    }

    /// What kernel probes still have to tell is told, and there will be none any more, where the target in focus is the one that had them.
    pub(super) fn end_probes_of_first(&mut self) {
        if self.group.is_first_in_focus() {
            self.probes.finish();
        }
    }

    /// Forgets what breakpoints sit on, without touching the target. What they were is kept: clients look at it after the program's end, too.
    pub(super) fn forget_all(&mut self) {
        self.unwatch_exceptions();
        // The kernel counts in one process, whoever else ends.
        let counts_go = self.group.is_first_in_focus() || !self.has_company();
        for id in self.breakpoints.ids() {
            let Some(mut logical) = self.breakpoints.remove(id) else {
                continue;
            };
            if let Carrier::Probes(planted) = std::mem::replace(&mut logical.carrier, Carrier::Nothing) {
                self.uproot(planted);
            }
            if counts_go {
                // The kernel's tables go with the probes.
                let of_goroutines = logical.hits_of_goroutines(&self.probes.goroutine_hits());
                *logical.by_goroutine.lock().unwrap_or_else(PoisonError::into_inner) = of_goroutines;
                logical.hits = Hits::Here(self.hits_of(&logical));
            }
            self.breakpoints.put_back(logical);
        }
        self.standing.clear();
        if self.group.is_first_in_focus() {
            self.stopped_by_probe.clear();
        }
        self.sites = Sites::default();
        self.step = None;
        self.injections.clear();
        self.call_traps.clear();
        if !self.has_company() {
            self.stop = None;
        }
        self.seen.forget();
    }

    pub(super) fn drop_inferior(&mut self) -> Option<Inferior> {
        if !self.has_company() {
            *self.kicker.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        self.memory = None;
        self.inferior.take()
    }

    /// The target is gone: its last events, once.
    pub(super) fn on_exit(&mut self, status: ExitStatus) {
        if self.phase == Phase::Exited {
            return;
        }
        self.phase = Phase::Exited;
        drop(self.drop_inferior());
        if self.has_company() {
            // The others go on without it, and nobody is told, as in Delve.
            self.forget_all();
            self.end_probes_of_first();
            return;
        }
        self.leave_passed(EndWith::Detach);
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
        self.exited_with = status;
        // Of several, Delve names the one that was there first, and the status of the last.
        let pid = self.group.first();
        let _ = self.events.send(Event::Exited { pid, status });
    }

    /// Takes everything out for good and tells the client why.
    pub(super) fn refuse(&mut self, why: &str) {
        self.refused = Some(why.to_owned());
        self.remove_all_sites();
        self.forget_all();
        let _ = self.events.send(Event::Notice(why.to_owned()));
    }

    pub(super) fn remove_all_sites(&mut self) {
        let addresses = self.sites.addresses();
        self.take_out(&addresses);
    }

    /// Ends the session.
    pub(super) fn end(&mut self, how: EndWith) {
        self.ended = true;
        self.end_targets(how);
    }

    /// Ends, or lets go, all targets.
    fn end_targets(&mut self, how: EndWith) {
        self.leave_passed(if self.was_launched { EndWith::Kill } else { how });
        // Children come after their parents in the list, and end before them.
        for pid in self.processes().into_iter().rev() {
            self.with_process(pid, |control| control.end_target(how));
            self.leave_ended();
        }
    }

    /// Ends, or lets go, the target in focus.
    fn end_target(&mut self, how: EndWith) {
        if matches!(self.phase, Phase::Exited | Phase::Released) {
            return;
        }
        if how == EndWith::Detach && !self.was_launched {
            self.abandon_calls();
            self.cancel_step();
            self.remove_all_sites();
            self.forget_all();
            // No thread is to come to a probe any more that nobody listens to.
            self.closing.wait_for_all();
            self.undo_stops_of_untraced();
            if let Some(inferior) = self.drop_inferior()
                && let Err(error) = inferior.detach()
            {
                let _ = self.events.send(Event::Notice(format!(
                    "the program could not be let go cleanly: {error}"
                )));
            }
            self.end_probes_of_first();
            self.phase = Phase::Released;
            return;
        }
        self.kill();
    }

    /// As [`super::Session::kill`].
    pub(super) fn end_for_another(&mut self) {
        if matches!(self.phase, Phase::Exited | Phase::Released) {
            return;
        }
        self.end_targets(EndWith::Kill);
        // It has not failed: Delve's clients are told of a program that makes room for the next one that it has exited with 0.
        self.exited_with = Some(0);
    }

    fn kill(&mut self) {
        let status = if let Some(inferior) = self.drop_inferior() {
            inferior.kill()
        } else {
            // A process that is gone already is what was wanted.
            let _ = kill(Pid::from_raw(self.pid), Signal::SIGKILL);
            self.exit.recv().unwrap_or(ExitStatus::Unknown)
        };
        self.on_exit(status);
    }
}
