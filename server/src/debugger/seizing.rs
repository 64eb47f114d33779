//! From an untraced target to a traced one, and the int3s of its sites.

use std::path::PathBuf;
use std::sync::PoisonError;
use std::thread;
use std::time::{Duration, Instant};

use spelunk_dwarf::{BuildId, FileAddr};

use super::control::{Control, Phase, failed};
use super::{DebugError, Event, Stop, StopReason};
use crate::inspect::{Tid, Whose, load_bias};
use crate::process::{Inferior, Seize};

/// How long a probe may stay in the program after its link was closed.
const LINGERING: Duration = Duration::from_secs(2);

impl Control {
    /// Where the program lies, as soon as it has been executed.
    pub(super) fn find_bias(&mut self) {
        let auxv = std::fs::read(format!("/proc/{}/auxv", self.pid)).unwrap_or_default();
        if let Some(bias) = load_bias(&self.binary, &auxv) {
            self.bias = bias;
        }
    }

    /// The file may have been replaced between its analysis and its execution: then every address is wrong.
    pub(super) fn check_identity(&mut self) {
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
        // What runs is not what was analysed: int3s would be written anywhere, and what is shown would be wrong.
        if let Some(why) = &self.refused {
            return Err(failed(why));
        }
        self.confirm_process()?;
        self.unwatch_exceptions();
        let how = Seize {
            kill_with_us: self.was_launched,
        };
        let inferior = match (self.phase, self.launched.as_mut()) {
            (Phase::Held, Some(launched)) => {
                Inferior::seize_held(launched).map_err(|error| failed(format!("could not launch process: {error}")))?
            }
            _ => Inferior::seize(self.pid, how).map_err(failed)?,
        };
        // Now that it is traced nobody else can have its number. What has turned out to be another process is let go here.
        self.confirm_process()?;
        *self.kicker.lock().unwrap_or_else(PoisonError::into_inner) = Some(inferior.kicker());
        self.memory = Some(inferior.memory());
        self.inferior = Some(inferior);
        self.was_traced = true;
        self.hold_children();
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
        self.know_probes();
        self.collect_probe_stops_of_untraced().map_err(failed)?;
        let sites = self.sites.addresses();
        self.put_in(&sites);
        self.set_exceptions();
        Ok(())
    }

    /// Checks that an attached process is still the one that was asked for, acts for the same user and runs the same program: with `CAP_SYS_PTRACE` the
    /// kernel would let us have any.
    fn confirm_process(&self) -> Result<(), DebugError> {
        if self.was_launched {
            return Ok(());
        }
        self.probes.process().confirm().map_err(failed)
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
        // Closing a link writes the original byte back, over any int3.
        self.closing.wait_for(addresses);
        let deadline = Instant::now() + LINGERING;
        for addr in addresses {
            let put = loop {
                match inferior.insert_site(bias.to_proc(*addr)) {
                    Err(error) if error.is_occupied() && self.closing.has_left(*addr) && Instant::now() < deadline => {
                        thread::sleep(Duration::from_millis(1));
                    }
                    put => break put,
                }
            };
            if let Err(error) = put {
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
}
