//! The session: a target, and what is set in it.

use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use crossbeam_channel::{Receiver, Sender};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use spelunk_dwarf::{Binary, BuildId};

use super::breakpoints::Breakpoints;
use super::{BreakpointState, DebugError, EndWith, Event, FunctionBreakpoint, LaunchSpec, SourceBreakpoint};
use crate::process::{ExitStatus, Launch, Launched, Output, executable, same_user_or_root, watch};
use crate::trace::Place;

/// A debug session with its target.
pub(crate) struct Session {
    shared: Arc<Shared>,
    launched: Mutex<Option<Launched>>,
    /// Ends when the target has, after its last event.
    watcher: Option<JoinHandle<()>>,
    was_launched: bool,
}

/// What the session's threads share.
struct Shared {
    pid: i32,
    running: AtomicBool,
    breakpoints: Mutex<Breakpoints>,
    events: Sender<Event>,
}

impl Shared {
    fn breakpoints(&self) -> MutexGuard<'_, Breakpoints> {
        self.breakpoints.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(error: impl std::fmt::Display) -> DebugError {
    DebugError::Failed(error.to_string())
}

impl Session {
    /// Creates the target, held before its first instruction until [`Session::resume`].
    pub(crate) fn launch(spec: &LaunchSpec, events: Sender<Event>) -> Result<Session, DebugError> {
        let binary = Arc::new(Binary::open(&spec.program).map_err(failed)?);
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
            inherit_stdin: false,
            redirect: spec.redirect.clone(),
            disable_aslr: spec.disable_aslr,
        };
        let mut launched = launch
            .start()
            .map_err(|error| failed(format!("could not launch process: {error}")))?;
        let outputs = forward_output(&mut launched, &events);
        let exit = launched.exit.clone();
        let place = Place {
            file: spec.program.clone(),
            pid: launched.pid,
        };
        Session::begin(binary, place, exit, outputs, Some(launched), events)
    }

    /// Attaches to a running process, which goes on running.
    pub(crate) fn attach(pid: i32, events: Sender<Event>) -> Result<Session, DebugError> {
        same_user_or_root(pid).map_err(failed)?;
        let exit = watch(pid).map_err(|error| failed(format!("could not attach to pid {pid}: {error}")))?;
        let file = executable(pid).map_err(failed)?;
        let binary = Arc::new(Binary::open(&file).map_err(failed)?);
        Session::begin(binary, Place { file, pid }, exit, Vec::new(), None, events)
    }

    fn begin(
        binary: Arc<Binary>,
        place: Place,
        exit: Receiver<ExitStatus>,
        outputs: Vec<JoinHandle<()>>,
        launched: Option<Launched>,
        events: Sender<Event>,
    ) -> Result<Session, DebugError> {
        let pid = place.pid;
        let was_launched = launched.is_some();
        let shared = Arc::new(Shared {
            pid,
            running: AtomicBool::new(!was_launched),
            breakpoints: Mutex::new(Breakpoints::new(binary, place, events.clone())),
            events,
        });
        let watching = shared.clone();
        let watcher = thread::Builder::new()
            .name("session".into())
            .spawn(move || {
                let status = exit.recv().unwrap_or(ExitStatus::Unknown);
                // All that the target logged and wrote comes before the news of its end.
                for output in outputs {
                    let _ = output.join();
                }
                watching.breakpoints().finish();
                let _ = watching.events.send(Event::Exited {
                    pid: watching.pid,
                    status: status.number(),
                });
            })
            .map_err(failed)?;
        Ok(Session {
            shared,
            launched: Mutex::new(launched),
            watcher: Some(watcher),
            was_launched,
        })
    }

    /// The target's process id.
    pub(crate) fn pid(&self) -> i32 {
        self.shared.pid
    }

    /// Whether the target has been let go: always true for an attached one, false for a launched one before the first [`Session::resume`].
    pub(crate) fn is_running(&self) -> bool {
        self.shared.running.load(Ordering::Acquire)
    }

    /// Lets a launched target run. Does nothing when it already runs.
    pub(crate) fn resume(&self) -> Result<(), DebugError> {
        let mut launched = self.launched.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_running() {
            return Ok(());
        }
        if let Some(launched) = launched.as_mut() {
            launched
                .release()
                .map_err(|error| failed(format!("could not launch process: {error}")))?;
            self.check_identity();
        }
        self.shared.running.store(true, Ordering::Release);
        Ok(())
    }

    /// The file may have been replaced between its analysis and its execution: then every address is wrong.
    fn check_identity(&self) {
        let analysed = self.shared.breakpoints().build_id();
        let running = BuildId::of_file(&PathBuf::from(format!("/proc/{}/exe", self.shared.pid)));
        if let Ok(running) = running
            && running != analysed
        {
            self.shared.breakpoints().refuse(&format!(
                "the program was rebuilt while it was being started: build id {analysed} was analysed, {running} runs; start the session again"
            ));
        }
    }

    /// Replaces all breakpoints of one source file; answers one state for each wanted breakpoint, in order. Works before and while the target runs.
    pub(crate) fn set_source_breakpoints(&self, file: &str, wanted: &[SourceBreakpoint]) -> Vec<BreakpointState> {
        self.shared.breakpoints().set_in_file(file, wanted)
    }

    /// Replaces all function breakpoints; answers one state for each, in order.
    pub(crate) fn set_function_breakpoints(&self, wanted: &[FunctionBreakpoint]) -> Vec<BreakpointState> {
        self.shared.breakpoints().set_on_functions(wanted)
    }

    /// Ends the session. All events of the target have been sent when this returns. A launched target cannot be left behind: it ends with its debugger.
    pub(crate) fn end(mut self, how: EndWith) {
        if how == EndWith::Detach && !self.was_launched {
            return self.shared.breakpoints().finish();
        }
        // A process that is gone already is what was wanted.
        let _ = kill(Pid::from_raw(self.shared.pid), Signal::SIGKILL);
        if let Some(watcher) = self.watcher.take() {
            let _ = watcher.join();
        }
    }
}

/// Sends what a target writes as events; the threads end when it and all that inherited its output have closed it.
fn forward_output(launched: &mut Launched, events: &Sender<Event>) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    let mut forward = |source: Option<std::fs::File>, name: &str, wrap: fn(Vec<u8>) -> Event| {
        let Some(mut source) = source else { return };
        let events = events.clone();
        let thread = thread::Builder::new().name(name.into()).spawn(move || {
            let mut buffer = vec![0; 8 << 10];
            loop {
                match source.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(len) => {
                        if events
                            .send(wrap(buffer.get(..len).unwrap_or_default().to_vec()))
                            .is_err()
                        {
                            break;
                        }
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
        });
        threads.extend(thread.ok());
    };
    forward(launched.stdout.take(), "target-stdout", Event::Stdout);
    forward(launched.stderr.take(), "target-stderr", Event::Stderr);
    threads
}
