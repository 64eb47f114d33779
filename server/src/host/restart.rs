//! The same target once more.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use crate::debugger::{BreakpointView, SavedBreakpoints, check_launch};

use super::recipe::Origin;
use super::run::blocking;
use super::{Host, HostError, Status};

/// What is to be different the next time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Again {
    /// Other arguments, and other files for standard input, output and error.
    pub(crate) reset: Option<(Vec<String>, [Option<PathBuf>; 3])>,
    /// Whether it is built anew.
    pub(crate) rebuild: bool,
}

impl Host {
    /// Ends the target, and brings it about again, held before its first instruction. Breakpoints are kept; those that have no place in the program any more
    /// are left out, and returned with the reason.
    pub(crate) async fn restart(self: &Arc<Host>, again: Again) -> Result<Vec<(BreakpointView, String)>, HostError> {
        let Origin::Launch {
            mut spec,
            build,
            binary,
        } = self.recipe().origin
        else {
            return Err(HostError::Failed(
                "cannot restart process spelunk did not create".to_owned(),
            ));
        };
        let old = {
            let mut inner = self.lock();
            // What the old one still says concerns nobody any more.
            inner.generation += 1;
            let gone = match inner.status {
                Status::Exited { pid, status } => (pid, status),
                _ => (inner.session.as_ref().map_or(0, |session| session.pid()), 0),
            };
            // Until there is another, and for good if there will be none.
            let (pid, status) = gone;
            inner.status = Status::Exited { pid, status };
            inner.session.clone()
        };
        self.tell_all();
        let mut saved = SavedBreakpoints::default();
        if let Some(old) = old {
            let exported = move || {
                let saved = old.export_breakpoints();
                // If nothing comes in its place, it is still asked for what it had.
                old.kill();
                saved
            };
            saved = match blocking(exported).await? {
                Ok(saved) => saved,
                // It has ended before, and what was to take its place could not be made.
                Err(_) => self.lock().saved.clone(),
            };
            self.lock().saved.clone_from(&saved);
        }
        if let Some((args, redirect)) = again.reset {
            spec.args = args;
            spec.redirect = redirect;
        }
        spec.debug_directories = self.debug_directories();
        if again.rebuild {
            let Some(build) = &build else {
                return Err(HostError::Failed("cannot rebuild a binary".to_owned()));
            };
            build.rebuild_quietly().await.map_err(HostError::Failed)?;
        }
        let fit = check_launch(&spec);
        {
            // What was asked for stays asked for, also where it did not work.
            let mut recipe = self.recipe.lock().unwrap_or_else(PoisonError::into_inner);
            recipe.origin = Origin::Launch { spec, build, binary };
        }
        fit.map_err(|error| HostError::Failed(format!("could not launch process: {error}")))?;
        self.begin(false).await?;
        let session = self.session()?;
        let discarded = blocking(move || session.restore_breakpoints(saved)).await??;
        let stop = self.lock().stop.clone();
        if let Some(stop) = stop {
            self.lock().tell(&crate::debugger::Event::Stopped(stop));
        }
        Ok(discarded)
    }
}
