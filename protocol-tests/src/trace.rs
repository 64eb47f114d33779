//! Runs `spelunk trace`, and `dlv trace` beside it.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::child::{ChildGroup, Finished, run};
use crate::failure::Result;
use crate::paths;
use crate::peer;
use crate::toolchain::Go;
use crate::trace_text::{self, Entry};

/// A debug server that traces: ours, or the one that sets the texts.
#[derive(Clone, Debug)]
pub struct Tracer {
    program: PathBuf,
    flags: &'static [&'static str],
    limit: Duration,
}

impl Tracer {
    /// `spelunk`, as built from this tree.
    pub fn spelunk() -> Result<Tracer> {
        Ok(Tracer {
            program: paths::spelunk()?,
            flags: &[],
            limit: Duration::from_secs(60),
        })
    }

    /// `spelunk`, tracing with ptrace.
    pub fn spelunk_by_stops() -> Result<Tracer> {
        Ok(Tracer {
            flags: &["--ebpf=false"],
            limit: Duration::from_secs(120),
            ..Tracer::spelunk()?
        })
    }

    /// Delve, where it is installed; says that a comparison is skipped where it is not.
    pub fn dlv(what: &str) -> Option<Tracer> {
        Some(Tracer {
            program: peer::dlv_or_skip(what)?,
            flags: &[],
            limit: Duration::from_secs(120),
        })
    }

    /// The command `PROGRAM trace ARGS`, with the toolchain of this run on its `PATH`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.arg("trace").args(self.flags).args(args);
        if let Ok(go) = Go::find() {
            command.env("PATH", go.path_variable());
        }
        command
    }

    /// Traces to the end of the program.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Result<Finished> {
        run(&mut self.command(args), self.limit)
    }

    /// Starts a trace and leaves it running.
    #[track_caller]
    pub fn start(&self, args: &[&str]) -> Result<ChildGroup> {
        ChildGroup::start(&mut self.command(args))
    }

    /// Traces to the end of the program; answers the entries of standard error.
    #[track_caller]
    pub fn entries(&self, args: &[&str]) -> Result<Vec<Entry>> {
        Ok(trace_text::entries(&self.run(args)?.stderr))
    }
}
