//! Following children: what a target executes in a new process becomes a target of the session, where its command line is wanted.
//!
//! The facts are Delve's (`pkg/proc/target_group.go`, Delve 1.27.1). A child is looked at where it has executed a program: one that is not wanted is let
//! go as if nobody had looked; one whose program says nothing about itself is traced for the sake of its own children, and does not stop with the others. One that is followed gets the session's breakpoints, as int3s: kernel probes see only
//! the process that the session began with, so what they decide there, conditions and hit conditions, is decided here at stops.

use std::sync::Arc;

use regex::Regex;
use spelunk_dwarf::Binary;

use super::breakpoints::{Logical, Origin, find_places};
use super::control::{Control, Phase, failed};
use super::group::Parked;
use super::{BreakpointId, BreakpointView, DebugError, EndWith, Event};
use crate::inspect::Tid;
use crate::location::pattern;
use crate::process::{Identity, Inferior, ProcessEvent, command_line};

/// Which children are followed.
#[derive(Clone, Debug)]
pub(crate) struct FollowChildren {
    /// What their command line must match; `None`: all are.
    wanted: Option<Regex>,
}

impl FollowChildren {
    /// By a regular expression; an empty one means all. The error is Go's.
    pub(crate) fn matching(regex: &str) -> Result<FollowChildren, DebugError> {
        let wanted = if regex.is_empty() {
            None
        } else {
            Some(pattern::compile(regex).map_err(failed)?)
        };
        Ok(FollowChildren { wanted })
    }

    fn wants(&self, command_line: &str) -> bool {
        self.wanted.as_ref().is_none_or(|wanted| wanted.is_match(command_line))
    }
}

/// What a process is that has executed a program.
struct Executed {
    pid: i32,
    command_line: String,
    /// Whether its command line is one that is followed.
    is_wanted: bool,
    fate: Fate,
}

/// What becomes of a process that has executed a program.
enum Fate {
    /// It goes on as if nobody had looked.
    LetGo,
    /// It becomes a target.
    Target(Arc<Binary>),
    /// It cannot be debugged, but its children may be.
    PassedThrough,
}

/// Takes a held child, or lets it go.
fn take(inferior: &mut Inferior, child: Tid, fate: &Fate) -> Option<Inferior> {
    if matches!(fate, Fate::LetGo) {
        inferior.release_child(child);
        return None;
    }
    match inferior.take_child(child) {
        Ok(taken) => Some(taken),
        Err(why) => {
            tracing::info!("process {} is not followed: {why}", child.0);
            inferior.release_child(child);
            None
        }
    }
}

fn let_go(inferior: Inferior) {
    let pid = inferior.pid();
    if let Err(error) = inferior.detach() {
        tracing::warn!("process {pid} could not be let go: {error}");
    }
}

impl Control {
    /// Says which children are followed from now on; those that are followed already stay.
    pub(super) fn set_follow(&mut self, follow: Option<FollowChildren>) -> Result<(), DebugError> {
        let holds = follow.is_some();
        self.group.follow = follow;
        if holds && self.phase == Phase::Running {
            // Nobody sees the children of a process that is not traced.
            self.trace()?;
        }
        self.hold_children();
        self.for_others(Control::hold_children);
        for inferior in &mut self.group.passed {
            inferior.hold_executed(holds);
        }
        Ok(())
    }

    /// Has the target's children held where they execute a program, if any are followed.
    pub(super) fn hold_children(&mut self) {
        let holds = self.group.follow.is_some();
        if let Some(inferior) = self.inferior.as_mut() {
            inferior.hold_executed(holds);
        }
    }

    /// A child of the target in focus has executed a program, and is held.
    pub(super) fn on_child_executed(&mut self, child: Tid) {
        let executed = self.executed(child.0);
        let taken = self
            .inferior
            .as_mut()
            .and_then(|inferior| take(inferior, child, &executed.fate));
        self.settle_child(taken, executed);
    }

    /// Looks at a process that has executed a program, and decides what becomes of it.
    fn executed(&self, pid: i32) -> Executed {
        let command_line = command_line(pid);
        let is_wanted = self
            .group
            .follow
            .as_ref()
            .is_some_and(|follow| follow.wants(&command_line));
        let fate = match is_wanted.then(|| self.binary_of(pid)) {
            None => Fate::LetGo,
            Some(Ok(Some(binary))) => Fate::Target(binary),
            Some(Ok(None)) => Fate::PassedThrough,
            Some(Err(why)) => {
                tracing::info!("process {pid} ({command_line}) is not followed: {why}");
                Fate::LetGo
            }
        };
        Executed {
            pid,
            command_line,
            is_wanted,
            fate,
        }
    }

    /// Gives a child its place in the session, where it was taken, and tells of it.
    fn settle_child(&mut self, taken: Option<Inferior>, executed: Executed) {
        match (taken, executed.fate) {
            (Some(inferior), Fate::Target(binary)) => self.adopt(inferior, binary),
            (Some(inferior), Fate::PassedThrough) => self.pass_through(inferior),
            (Some(inferior), Fate::LetGo) => let_go(inferior),
            (None, _) => {}
        }
        if self.group.follow.is_some() {
            let _ = self.events.send(Event::Spawned {
                pid: executed.pid,
                command_line: executed.command_line,
                is_wanted: executed.is_wanted,
            });
        }
    }

    /// What a process executes, if that says enough about itself to be debugged; the same as another target's where it is the same file.
    fn binary_of(&self, pid: i32) -> Result<Option<Arc<Binary>>, DebugError> {
        let process = Identity::attached(pid).map_err(failed)?;
        let binary = match process.build_id() {
            Ok(running) => {
                let others = self.group.others().map(|parked| &parked.binary);
                let known = others.chain([&self.binary]).find(|known| known.build_id() == running);
                match known {
                    Some(known) => Ok(Arc::clone(known)),
                    None => Binary::from_file(process.file(), process.name()).map(Arc::new),
                }
            }
            Err(why) => Err(why),
        };
        process.confirm().map_err(failed)?;
        match binary {
            Ok(binary) => Ok(Some(binary)),
            Err(why) => {
                tracing::info!("process {pid} cannot be debugged, only its children: {why}");
                Ok(None)
            }
        }
    }

    /// Keeps a process whose program says nothing about itself under trace for the sake of its children: a shell, or a tool that starts what is to be debugged.
    fn pass_through(&mut self, mut inferior: Inferior) {
        if let Err(error) = inferior.resume_all() {
            tracing::error!("process {} could not be resumed: {error}", inferior.pid());
        }
        self.group.passed.push(inferior);
    }

    /// Something has happened in a process that is traced for its children only.
    pub(super) fn on_event_of_passed(&mut self, index: usize, event: ProcessEvent) {
        let Some(inferior) = self.group.passed.get_mut(index) else {
            return;
        };
        match event {
            ProcessEvent::ChildExecuted(child) => {
                let executed = self.executed(child.0);
                let taken = self
                    .group
                    .passed
                    .get_mut(index)
                    .and_then(|inferior| take(inferior, child, &executed.fate));
                self.settle_child(taken, executed);
            }
            ProcessEvent::Exec => {
                let inferior = self.group.passed.remove(index);
                let executed = self.executed(inferior.pid());
                self.settle_child(Some(inferior), executed);
            }
            ProcessEvent::Exited(_) => drop(self.group.passed.remove(index)),
            ProcessEvent::Site { thread, .. }
            | ProcessEvent::Stepped { thread }
            | ProcessEvent::HardcodedBreakpoint { thread }
            | ProcessEvent::StoppedByProbe { thread } => {
                if let Err(error) = inferior.resume(thread, false) {
                    tracing::error!("process {} could not be resumed: {error}", inferior.pid());
                }
            }
            ProcessEvent::Kicked | ProcessEvent::ThreadBorn(_) | ProcessEvent::ThreadGone(_) => {}
        }
    }

    /// While the targets stand: those that are traced for their children only go on, and what they start may become a target.
    pub(super) fn serve_passed(&mut self) {
        let mut index = 0;
        while let Some(inferior) = self.group.passed.get_mut(index) {
            match inferior.poll() {
                Ok(Some(event)) => self.on_event_of_passed(index, event),
                Ok(None) => index += 1,
                Err(error) => {
                    tracing::error!("a process cannot be waited for: {error}");
                    drop(self.group.passed.remove(index));
                }
            }
        }
    }

    /// The session has no target any more, or is over: those that were traced for their children are killed, or let go.
    pub(super) fn leave_passed(&mut self, how: EndWith) {
        for inferior in std::mem::take(&mut self.group.passed) {
            match how {
                EndWith::Kill => {
                    inferior.kill();
                }
                EndWith::Detach => let_go(inferior),
            }
        }
    }

    /// Makes a process that is stopped at the beginning of its program a target, with the session's breakpoints. It goes on if the others run.
    fn adopt(&mut self, inferior: Inferior, binary: Arc<Binary>) {
        let phase = self.phase;
        let here = self.group.focus();
        let serial = self.park(Parked::new(inferior, binary));
        self.look_at(serial);
        self.find_bias();
        self.set_exceptions();
        for id in self.breakpoints.ids() {
            let was_nowhere = self.is_nowhere(id);
            match self.place_here(id) {
                Ok(()) => {
                    if was_nowhere && let Some(logical) = self.breakpoints.get(id).filter(|at| at.is_placed()) {
                        let view = BreakpointView {
                            addresses: Vec::new(),
                            expression: String::new(),
                            ..self.view_of(logical)
                        };
                        let _ = self.events.send(Event::Materialized(Arc::new(view), logical.state()));
                    }
                }
                Err(why) => tracing::debug!("breakpoint {} is not in process {}: {why}", id.0, self.pid),
            }
        }
        self.phase = phase;
        if phase == Phase::Running
            && let Some(inferior) = self.inferior.as_mut()
            && let Err(error) = inferior.resume_all()
        {
            tracing::error!("process {} could not be resumed: {error}", self.pid);
        }
        self.look_at(here);
    }

    /// Whether a breakpoint lies in no target at all.
    pub(super) fn is_nowhere(&self, id: BreakpointId) -> bool {
        let here = self.breakpoints.get(id).is_some_and(Logical::is_placed);
        !here && self.group.others().all(|parked| parked.placement(id).is_none())
    }

    /// Puts a breakpoint into the target in focus anew, as it is now.
    pub(super) fn place_here(&mut self, id: BreakpointId) -> Result<(), DebugError> {
        let Some(mut logical) = self.breakpoints.remove(id) else {
            return Ok(());
        };
        self.disarm(&mut logical);
        let mut done = Ok(());
        if logical.enabled && logical.recorded.is_none() {
            done = match &logical.origin {
                Origin::Single => self.switch_on(&mut logical),
                // Those of one process mean nothing in another.
                Origin::Instruction(_) => Ok(()),
                origin => match find_places(&self.binary, origin) {
                    Ok(places) => {
                        logical.at = self.line_of_places(&places);
                        logical.places = places;
                        self.arm(&mut logical).map_err(failed)
                    }
                    Err(why) => Err(failed(why)),
                },
            };
        }
        self.breakpoints.put_back(logical);
        done
    }

    /// Brings breakpoints that have been made or changed in the target in focus to the others.
    pub(super) fn spread(&mut self, ids: &[BreakpointId]) {
        self.for_others(|control| {
            for id in ids {
                if let Err(why) = control.place_here(*id) {
                    tracing::debug!("breakpoint {} is not in process {}: {why}", id.0, control.pid);
                }
            }
        });
    }

    /// Takes breakpoints out of all targets but the one in focus.
    pub(super) fn withdraw(&mut self, ids: &[BreakpointId]) {
        self.for_others(|control| {
            for id in ids {
                let Some(mut logical) = control.breakpoints.remove(*id) else {
                    continue;
                };
                control.disarm(&mut logical);
                control.breakpoints.put_back(logical);
                for standing in control.standing.values_mut() {
                    standing.retain(|at| at != id);
                }
            }
        });
    }

    /// The target in focus has executed another program, which it goes on with as a target; it stands before the first instruction of that.
    fn follow_own_exec(&mut self, inferior: Inferior, binary: Arc<Binary>) {
        self.memory = None;
        self.forget_all();
        self.adopt(inferior, binary);
        // Its former self has ended, without an end that anybody is told of.
        self.phase = Phase::Exited;
        self.end_probes_of_first();
        self.leave_ended();
    }

    /// The program of the target in focus has replaced itself by another, before whose first instruction it stands: nothing that is known of it holds any more.
    ///
    /// What it has become is judged as if it were a child. One that is not wanted is let go, on purpose also where nothing is followed: Delve does not notice
    /// then, and keeps to what it knows of the former program; breakpoints would be put anywhere, and values be wrong. The kernel has thrown the former memory
    /// away, with all that was patched in it, so nothing has to be taken out. One that says nothing about itself stays traced for the sake of its children
    /// where the session has other targets; else it is let go, too, as nobody would serve it: a session that traces has a target.
    pub(super) fn on_exec(&mut self) {
        let fate = self.executed(self.pid).fate;
        if let Fate::Target(binary) = &fate
            && let Some(inferior) = self.inferior.take()
        {
            return self.follow_own_exec(inferior, Arc::clone(binary));
        }
        let why = "the program has executed another one, whose debug information was not read; it runs on without breakpoints";
        let _ = self.events.send(Event::Notice(why.to_owned()));
        self.refused = Some(why.to_owned());
        self.forget_all();
        let company = self.has_company();
        match self.drop_inferior() {
            Some(inferior) if company && matches!(fate, Fate::PassedThrough) => self.pass_through(inferior),
            Some(inferior) => let_go(inferior),
            None => {}
        }
        if company {
            // Of several, it is no target any more.
            self.end_probes_of_first();
            self.phase = Phase::Released;
        } else {
            // Nobody waits for them any more.
            self.leave_passed(EndWith::Detach);
            self.phase = Phase::Running;
            // Its end is not told to a tracer: who has launched it waits for it.
            self.was_traced = false;
        }
    }
}
