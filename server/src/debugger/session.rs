//! The session: a handle to the thread that owns the target.

use std::ops::Range;
use std::sync::{Arc, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Sender, TryRecvError, bounded, unbounded};
use spelunk_dwarf::{Binary, ProcAddr};

use super::breakpoints::{Group, Wanted};
use super::control::{Control, Job, KickerSlot, Start, failed};
use super::group::Selected;
use super::injection::CallOutcome;
use super::output::Outputs;
use super::probes::Probes;
use super::program::Program;
use super::{
    BreakpointId, BreakpointRequest, BreakpointState, BreakpointTerms, BreakpointView, CallWish, ClientPaths,
    DebugError, EndWith, Event, EventSender, ExceptionFilters, FollowChildren, FunctionBreakpoint,
    InstructionBreakpoint, LaunchSpec, LocationQuery, PhysicalView, ProbeAccount, ProbeLimits, SavedBreakpoints,
    SourceBreakpoint, StepKind, Stop,
};
use crate::go_versions::{self, UnknownVersions};
use crate::handover;
use crate::inspect::{FrameRef, Goroutine, Library, ScopedValue, Stack, ThreadState, Tid, Whose};
use crate::location::Found;
use crate::process::{Identity, Launch, Output, own_number, watch};
use crate::value::{LoadConfig, Value};

/// A debug session with its target, or its targets, of which one is selected. Dropping it ends launched ones and lets attached ones go.
pub(crate) struct Session {
    /// The selected target.
    selected: Arc<Selected>,
    /// The process that this is about, whichever is selected: see [`Session::of_process`].
    process: Option<i32>,
    jobs: Option<Sender<Job>>,
    kicker: KickerSlot,
    thread: Option<JoinHandle<()>>,
}

/// The thread that owned the target has panicked.
fn gone() -> DebugError {
    DebugError::Failed("the debugger failed unexpectedly; see the log for its last words".to_owned())
}

impl Session {
    /// Creates the target, held before its first instruction until [`Session::resume`].
    pub(crate) fn launch(spec: &LaunchSpec, events: EventSender) -> Result<Session, DebugError> {
        let binary = Arc::new(Binary::open_with(&spec.program, &spec.debug_directories).map_err(failed)?);
        go_versions::check(&binary, spec.unknown_versions).map_err(failed)?;
        let launch = Launch {
            program: spec.program.clone(),
            args: spec.args.iter().map(Into::into).collect(),
            env: spec.env.clone(),
            cwd: spec.cwd.clone(),
            output: if spec.capture_output {
                Output::Capture
            } else {
                Output::Inherit
            },
            inherit_stdin: spec.inherit_stdin,
            own_group: true,
            terminal: spec.terminal.clone(),
            redirect: spec.redirect.clone(),
            disable_aslr: spec.disable_aslr,
        };
        let program = spec.program.clone();
        Session::begin(move |kicker| {
            let mut launched = launch
                .start_here()
                .map_err(|error| failed(format!("could not launch process: {error}")))?;
            let mut outputs = Outputs::default();
            outputs.forward(launched.stdout.take(), "target-stdout", Event::Stdout, &events);
            outputs.forward(launched.stderr.take(), "target-stderr", Event::Stderr, &events);
            let place = Arc::new(Identity::launched(launched.pid, &program).map_err(failed)?);
            let (stopped, probe_stops) = unbounded();
            Ok(Start {
                pid: launched.pid,
                probes: Probes::new(Arc::clone(&binary), place, events.clone(), stopped),
                probe_stops,
                binary,
                exit: launched.exit.clone(),
                launched: Some(launched),
                outputs,
                events,
                kicker,
            })
        })
    }

    /// Attaches to a running process, which goes on running. `unknown_versions` is as for a [`LaunchSpec`].
    pub(crate) fn attach(
        pid: i32,
        unknown_versions: UnknownVersions,
        events: EventSender,
    ) -> Result<Session, DebugError> {
        let process = Arc::new(Identity::attached(pid).map_err(failed)?);
        let exit = watch(pid).map_err(|error| failed(format!("could not attach to pid {pid}: {error}")))?;
        let binary = Arc::new(Binary::open(process.name()).map_err(failed)?);
        // It may have executed another program between the two.
        process.confirm().map_err(failed)?;
        go_versions::check(&binary, unknown_versions).map_err(failed)?;
        Session::begin(move |kicker| {
            let (stopped, probe_stops) = unbounded();
            Ok(Start {
                pid,
                probes: Probes::new(Arc::clone(&binary), process, events.clone(), stopped),
                probe_stops,
                binary,
                launched: None,
                outputs: Outputs::default(),
                exit,
                events,
                kicker,
            })
        })
    }

    /// Starts the thread that owns the target. `make` runs on it.
    fn begin(
        make: impl FnOnce(KickerSlot) -> Result<Start, DebugError> + Send + 'static,
    ) -> Result<Session, DebugError> {
        let kicker = KickerSlot::default();
        let slot = Arc::clone(&kicker);
        let selected = Arc::new(Selected::default());
        let its = Arc::clone(&selected);
        let (jobs, queue) = unbounded::<Job>();
        let (made, wait) = bounded(1);
        let thread = thread::Builder::new()
            .name("target".into())
            .spawn(move || match make(slot) {
                Ok(start) => {
                    its.begin(start.pid);
                    let _ = made.send(Ok(()));
                    Control::new(start, its).run(&queue);
                }
                Err(error) => {
                    let _ = made.send(Err(error));
                }
            })
            .map_err(failed)?;
        wait.recv().map_err(|_| gone())??;
        Ok(Session {
            selected,
            process: None,
            jobs: Some(jobs),
            kicker,
            thread: Some(thread),
        })
    }

    /// Has something done by the thread that owns the target, whatever that waits for, and returns the answer.
    pub(super) fn call<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Control) -> R + Send + 'static,
    ) -> Result<R, DebugError> {
        let (answer, answered) = bounded(1);
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        let process = self.process;
        jobs.send(Box::new(move |control| {
            let done = match process {
                Some(pid) => control.with_process(pid, job),
                None => Some(job(control)),
            };
            // Whoever asked may have gone away.
            let _ = answer.send(done);
        }))
        .map_err(|_| gone())?;
        self.kick();
        let at_once = handover::at_once(|| match answered.try_recv() {
            Err(TryRecvError::Empty) => None,
            answer => Some(answer.ok()),
        });
        let answer = at_once.unwrap_or_else(|| answered.recv().ok());
        match (answer.ok_or_else(gone)?, self.process) {
            (Some(done), _) => Ok(done),
            (None, Some(pid)) => Err(failed(format!("process {pid} is not debugged any more"))),
            (None, None) => Err(gone()),
        }
    }

    fn kick(&self) {
        if let Some(kicker) = &*self.kicker.lock().unwrap_or_else(PoisonError::into_inner) {
            kicker.kick();
        }
    }

    /// As [`Session::call`] for what can fail by itself.
    pub(super) fn ask<R: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Control) -> Result<R, DebugError> + Send + 'static,
    ) -> Result<R, DebugError> {
        self.call(job)?
    }

    /// The process id of the target; of several, of the selected one.
    pub(crate) fn pid(&self) -> i32 {
        self.process.unwrap_or_else(|| self.selected.pid())
    }

    /// The process id of the target that the session began with, which may have ended before others.
    pub(crate) fn first_pid(&self) -> i32 {
        self.selected.first()
    }

    /// The process ids of all targets, in the order in which they came; one that has ended is among them only if it was the last.
    pub(crate) fn processes(&self) -> Result<Vec<i32>, DebugError> {
        if !self.selected.has_company() {
            return Ok(vec![self.pid()]);
        }
        self.call(|control| control.processes())
    }

    /// The same session, all of whose requests are about one of its targets, whichever is selected.
    pub(crate) fn of_process(&self, pid: i32) -> Session {
        Session {
            selected: Arc::clone(&self.selected),
            process: Some(pid),
            jobs: self.jobs.clone(),
            kicker: Arc::clone(&self.kicker),
            thread: None,
        }
    }

    /// Makes a target the selected one, which requests are about. Does nothing for a process that is none.
    pub(crate) fn select_process(&self, pid: i32) -> Result<(), DebugError> {
        self.call(move |control| {
            control.select_process(pid);
        })
    }

    /// Says which processes that the targets start become targets, too; `None`: none. Those that have become so stay.
    pub(crate) fn follow_children(&self, follow: Option<FollowChildren>) -> Result<(), DebugError> {
        self.ask(move |control| control.set_follow(follow))
    }

    /// Which are followed.
    pub(crate) fn followed_children(&self) -> Result<Option<FollowChildren>, DebugError> {
        self.call(|control| control.group.follow.clone())
    }

    /// What a thread is called in the target's own pid namespace: the number that the program itself and its container know.
    pub(crate) fn own_thread(&self, thread: Tid) -> i32 {
        own_number(self.pid(), thread).unwrap_or(thread.0)
    }

    /// Lets the target run: a held one starts, a stopped one goes on, and with it the step that a breakpoint interrupted. Does nothing when it runs.
    pub(crate) fn resume(&self) -> Result<(), DebugError> {
        self.ask(Control::resume)
    }

    /// As [`Session::resume`] unless the target is stopped: a target that was attached to runs, and may have stopped by itself in this moment.
    pub(crate) fn resume_unless_stopped(&self) -> Result<(), DebugError> {
        self.ask(|control| {
            if control.stop.is_some() {
                return Ok(());
            }
            control.resume()
        })
    }

    /// Stops the running target; [`Event::Stopped`] follows. Does nothing when it is stopped.
    pub(crate) fn halt(&self) -> Result<(), DebugError> {
        self.ask(Control::halt)
    }

    /// Moves the stopped target on by a step of a goroutine; [`Event::Stopped`] or [`Event::Exited`] follows.
    pub(crate) fn step(&self, whose: Whose, kind: StepKind) -> Result<(), DebugError> {
        self.ask(move |control| control.start_step(whose, kind))
    }

    /// The stop the target is at; `None` while it runs or after its end.
    pub(crate) fn stop(&self) -> Option<Stop> {
        self.call(|control| control.current_stop()).ok().flatten()
    }

    /// Replaces all breakpoints of one source file; answers one state for each wanted breakpoint, in order. Works in every state of the target.
    pub(crate) fn set_source_breakpoints(&self, file: &str, wanted: &[SourceBreakpoint]) -> Vec<BreakpointState> {
        let file = file.to_owned();
        let wanted: Vec<_> = wanted.iter().map(|wanted| Wanted::line(&file, wanted)).collect();
        self.call(move |control| control.set_breakpoints(&Group::File(file), &wanted))
            .unwrap_or_default()
    }

    /// Replaces all function breakpoints; answers one state for each, in order.
    pub(crate) fn set_function_breakpoints(&self, wanted: &[FunctionBreakpoint]) -> Vec<BreakpointState> {
        let wanted: Vec<_> = wanted.iter().map(Wanted::function).collect();
        self.call(move |control| control.set_breakpoints(&Group::Functions, &wanted))
            .unwrap_or_default()
    }

    /// Replaces all instruction breakpoints; answers one state for each, in order.
    pub(crate) fn set_instruction_breakpoints(&self, wanted: &[InstructionBreakpoint]) -> Vec<BreakpointState> {
        let wanted = wanted.to_owned();
        self.call(move |control| {
            let bias = control.bias;
            let wanted: Vec<_> = wanted.iter().map(|wanted| Wanted::instruction(wanted, bias)).collect();
            control.set_breakpoints(&Group::Instructions, &wanted)
        })
        .unwrap_or_default()
    }

    /// Makes one breakpoint. Works in every live state of the target.
    pub(crate) fn create_breakpoint(&self, request: BreakpointRequest) -> Result<BreakpointView, DebugError> {
        self.ask(move |control| control.create_breakpoint(request))
    }

    /// Changes what is said of a breakpoint, and switches it on or off.
    pub(crate) fn amend_breakpoint(
        &self,
        id: BreakpointId,
        terms: BreakpointTerms,
        enabled: bool,
    ) -> Result<(), DebugError> {
        self.ask(move |control| control.amend_breakpoint(id, terms, enabled))
    }

    /// Takes a breakpoint away; answers what it was.
    pub(crate) fn clear_breakpoint(&self, id: BreakpointId) -> Result<BreakpointView, DebugError> {
        self.ask(move |control| control.clear_breakpoint(id))
    }

    /// All breakpoints, whoever made them, the debugger's own first; also after the target's end.
    pub(crate) fn breakpoints(&self) -> Result<Vec<BreakpointView>, DebugError> {
        self.call(|control| control.breakpoint_views())
    }

    /// What the next session needs to set the same breakpoints; also after the target's end.
    pub(crate) fn export_breakpoints(&self) -> Result<SavedBreakpoints, DebugError> {
        self.call(|control| control.export_breakpoints())
    }

    /// Sets the breakpoints of an earlier session: they keep their numbers, names and terms, and lose their hits. Answers those that have no place in this
    /// target, and why.
    pub(crate) fn restore_breakpoints(
        &self,
        saved: SavedBreakpoints,
    ) -> Result<Vec<(BreakpointView, String)>, DebugError> {
        self.call(move |control| control.restore_breakpoints(saved))
    }

    /// All addresses at which something stops the target.
    pub(crate) fn physical_breakpoints(&self) -> Result<Vec<PhysicalView>, DebugError> {
        self.call(|control| control.physical_views())
    }

    /// The threads that have come to breakpoints at this stop, and to which.
    pub(crate) fn threads_at_breakpoints(&self) -> Result<Vec<(Tid, BreakpointView)>, DebugError> {
        self.call(|control| control.threads_at_breakpoints())
    }

    /// What a location expression means where a frame of the stopped target stands, if that is to be looked at.
    pub(crate) fn find_location(&self, at: Option<FrameRef>, query: LocationQuery) -> Result<Found, DebugError> {
        self.ask(move |control| control.find_location(at, &query))
    }

    /// Has kernel probes record the calls and returns of a function, which come as [`Event::Traced`].
    pub(crate) fn record_function(&self, name: &str) -> Result<(), DebugError> {
        let name = name.to_owned();
        self.ask(move |control| control.record_function(&name))
    }

    /// Gives up the step that a breakpoint has interrupted.
    pub(crate) fn cancel_step(&self) -> Result<(), DebugError> {
        self.ask(|control| {
            control.require_stopped()?;
            control.cancel_step();
            if let Some(stop) = &mut control.stop {
                stop.step_interrupted = false;
            }
            Ok(())
        })
    }

    /// Says which panics and throws stop the target from now on; answers the state of each filter that is on.
    pub(crate) fn set_exception_filters(&self, filters: ExceptionFilters) -> Vec<BreakpointState> {
        self.call(move |control| control.set_exception_filters(filters))
            .unwrap_or_default()
    }

    /// Up to `count` goroutines from the `start`th on, and where to go on if there are more.
    pub(crate) fn goroutines(&self, start: usize, count: usize) -> Result<(Vec<Goroutine>, Option<usize>), DebugError> {
        self.ask(move |control| control.goroutines(start, count))
    }

    /// One goroutine.
    pub(crate) fn goroutine(&self, id: i64) -> Result<Goroutine, DebugError> {
        self.ask(move |control| control.goroutine(id))
    }

    /// The threads, in ascending order, and where each stands.
    pub(crate) fn threads(&self) -> Result<Vec<ThreadState>, DebugError> {
        self.ask(Control::threads)
    }

    /// The shared libraries that the stopped target has loaded.
    pub(crate) fn libraries(&self) -> Result<Vec<Library>, DebugError> {
        self.ask(Control::libraries)
    }

    /// What the binary says about the program. Works in every state of the target, also after its end.
    pub(crate) fn program(&self) -> Result<Program, DebugError> {
        self.call(Control::program)
    }

    /// The stack of a goroutine or thread, at most `depth` frames.
    pub(crate) fn stack(&self, whose: Whose, depth: usize) -> Result<Stack, DebugError> {
        self.ask(move |control| control.stack(whose, depth))
    }

    /// The variables of a frame.
    pub(crate) fn locals(&self, frame: FrameRef, config: LoadConfig) -> Result<Vec<ScopedValue>, DebugError> {
        self.ask(move |control| control.locals(frame, config))
    }

    /// The variables of a frame, as [`Session::locals`]; a frame that is in no function, as far as anybody knows, is an error.
    pub(crate) fn frame_variables(&self, frame: FrameRef, config: LoadConfig) -> Result<Vec<ScopedValue>, DebugError> {
        self.ask(move |control| control.frame_variables(frame, config))
    }

    /// The variables of all packages whose names, which begin with their packages, are wanted.
    pub(crate) fn all_package_variables(
        &self,
        wanted: Box<dyn Fn(&str) -> bool + Send>,
        config: LoadConfig,
    ) -> Result<Vec<Value>, DebugError> {
        self.ask(move |control| control.all_package_variables(&wanted, config))
    }

    /// What the function that a step returned from has returned, when that was the last thing that happened.
    pub(crate) fn return_values(&self, whose: Whose, config: LoadConfig) -> Result<Vec<Value>, DebugError> {
        self.ask(move |control| control.return_values(whose, config))
    }

    /// Evaluates a Go expression where a goroutine stands, and calls functions of the program for that: it runs meanwhile. [`Event::Stopped`] follows, for
    /// [`super::StopReason::CallReturned`] unless something else stops the program first; then the calls stay pending, and go on with the program. With
    /// `check_escape` no function is handed a pointer into a stack.
    pub(crate) fn call_expression(&self, wish: CallWish) -> Result<(), DebugError> {
        self.ask(move |control| control.start_call(wish))
    }

    /// What the expression with calls has come to for which the target has stopped, and on which thread: its value, or the results of a call, or why it has none.
    pub(crate) fn call_outcome(&self) -> Result<Option<CallOutcome>, DebugError> {
        self.call(|control| control.call_outcome())
    }

    /// The variables of a package.
    pub(crate) fn package_variables(&self, package: &str, config: LoadConfig) -> Result<Vec<Value>, DebugError> {
        let package = package.to_owned();
        self.ask(move |control| control.package_variables(&package, config))
    }

    /// The registers of a frame, by name and as text.
    pub(crate) fn registers(&self, frame: FrameRef) -> Result<Vec<(String, String)>, DebugError> {
        self.ask(move |control| control.registers(frame))
    }

    /// Evaluates a Go expression in a frame.
    pub(crate) fn evaluate(&self, frame: FrameRef, expression: &str, config: LoadConfig) -> Result<Value, DebugError> {
        let expression = expression.to_owned();
        self.ask(move |control| control.evaluate(frame, &expression, config))
    }

    /// The goroutines that wait for the channel that an expression names: at most `count` from the `start`th on.
    pub(crate) fn waiting_on_channel(
        &self,
        frame: FrameRef,
        channel: &str,
        start: usize,
        count: usize,
    ) -> Result<Vec<i64>, DebugError> {
        let channel = channel.to_owned();
        self.ask(move |control| control.waiting_on_channel(frame, &channel, start, count))
    }

    /// Loads a value again, further.
    pub(crate) fn reload(
        &self,
        frame: FrameRef,
        value: &Value,
        range: Option<Range<u64>>,
        config: LoadConfig,
    ) -> Result<Value, DebugError> {
        let value = value.clone();
        self.ask(move |control| control.reload(frame, &value, range, config))
    }

    /// Assigns the value of one expression to what another denotes.
    pub(crate) fn set_variable(&self, frame: FrameRef, what: &str, to: &str) -> Result<(), DebugError> {
        let (what, to) = (what.to_owned(), to.to_owned());
        self.ask(move |control| control.set_variable(frame, &what, &to))
    }

    /// The source files that the target was built from, as the binary names them.
    pub(crate) fn source_files(&self) -> Result<Vec<String>, DebugError> {
        let binary = self.call(|control| Arc::clone(&control.binary))?;
        Ok(binary.files().iter().map(ToString::to_string).collect())
    }

    /// Reads the stopped target's memory: at most `len` bytes from `addr` on, fewer where there are no more.
    pub(crate) fn read_memory(&self, addr: ProcAddr, len: usize) -> Result<Vec<u8>, DebugError> {
        self.ask(move |control| control.read_memory(addr, len))
    }

    /// Writes into the stopped target's memory.
    pub(crate) fn write_memory(&self, addr: ProcAddr, bytes: &[u8]) -> Result<(), DebugError> {
        let bytes = bytes.to_vec();
        self.ask(move |control| control.write_memory(addr, &bytes))
    }

    /// Says what probes may do from now on.
    pub(crate) fn limit_probes(&self, limits: ProbeLimits) -> Result<(), DebugError> {
        self.call(move |control| control.limit_probes(limits))
    }

    /// What became of the hits of each breakpoint that probes have carried in this session, taken out ones included, in the order of their numbers. Works in
    /// every state of the target.
    pub(crate) fn probe_accounts(&self) -> Result<Vec<ProbeAccount>, DebugError> {
        self.call(Control::probe_accounts)
    }

    /// Guesses which of the client's directories are which of those that the target was built in: pairs of both.
    pub(crate) fn guess_paths(&self, client: &ClientPaths) -> Result<Vec<(String, String)>, DebugError> {
        let client = client.clone();
        self.call(move |control| control.guess_paths(&client))
    }

    /// Kills the target. The session goes on answering what it can about one that has ended.
    pub(crate) fn kill(&self) {
        // As for `end`.
        let _ = self.call(Control::end_for_another);
    }

    /// Ends the session. All events of the target have been sent when this returns. A launched target cannot be left behind: it ends with its debugger.
    pub(crate) fn end(&self, how: EndWith) {
        // An error means that the thread is gone, and with it the target.
        let _ = self.call(move |control| control.end(how));
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.jobs = None;
        self.kick();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has let its target go by unwinding.
            let _ = thread.join();
        }
    }
}
