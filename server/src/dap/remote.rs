//! A session on the target of a headless server, which other clients share.
//!
//! The client attaches to it with mode `remote`. It may find the target running or at a stop, others may move it meanwhile, and it may leave without
//! ending anything.

use std::ops::Range;
use std::sync::Arc;

use dap::events::{CapabilitiesEventBody, Event as DapEvent};
use dap::types::Capabilities;
use spelunk_dwarf::ProcAddr;

use super::config::{AttachConfig, LaunchConfig};
use super::debuggee::{Debuggee, Origin, State};
use super::errors::{CANNOT_RESTART, FAILED_TO_RESTART};
use super::message::Request;
use super::requests::launch_arguments;
use super::session::{Phase, Session};
use super::target::Target;
use crate::debugger::{
    self, BreakpointState, CallOutcome, CallWish, ClientPaths, DebugError, EndWith, ExceptionFilters, FollowChildren,
    FunctionBreakpoint, InstructionBreakpoint, ProbeAccount, ProbeLimits, SourceBreakpoint, StepKind, Stop,
    Surroundings,
};
use crate::host::{self, Again, Host, HostError, Status, Walk};
use crate::inspect::{FrameRef, Goroutine, ScopedValue, Stack, Tid, Whose};
use crate::value::{LoadConfig, Value};

/// A target that other clients share.
struct Shared {
    host: Arc<Host>,
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: HostError) -> DebugError {
    DebugError::Failed(error.to_string())
}

impl Shared {
    fn session(&self) -> Result<Arc<debugger::Session>, DebugError> {
        self.host.session().map_err(failed)
    }
}

/// What is the debugger's own business goes straight to it.
macro_rules! ask_session {
    ($( fn $name:ident(&self $(, $argument:ident: $type:ty)*) -> Result<$answer:ty, DebugError>; )*) => { $(
        fn $name(&self $(, $argument: $type)*) -> Result<$answer, DebugError> {
            self.session()?.$name($($argument),*)
        }
    )* };
}

impl Target for Shared {
    fn pid(&self) -> i32 {
        self.host.last_session().map_or(0, |session| session.pid())
    }

    fn own_thread(&self, thread: Tid) -> i32 {
        self.session().map_or(thread.0, |session| session.own_thread(thread))
    }

    fn resume(&self) -> Result<(), DebugError> {
        self.host.start_here(Walk::Continue).map_err(failed)
    }

    fn resume_unless_stopped(&self) -> Result<(), DebugError> {
        // Whoever stopped it has told, and whoever moved it too.
        Ok(())
    }

    fn set_source_breakpoints(&self, file: &str, wanted: &[SourceBreakpoint]) -> Vec<BreakpointState> {
        let session = self.session();
        session.map_or_else(|_| Vec::new(), |session| session.set_source_breakpoints(file, wanted))
    }

    fn set_function_breakpoints(&self, wanted: &[FunctionBreakpoint]) -> Vec<BreakpointState> {
        let session = self.session();
        session.map_or_else(|_| Vec::new(), |session| session.set_function_breakpoints(wanted))
    }

    fn set_instruction_breakpoints(&self, wanted: &[InstructionBreakpoint]) -> Vec<BreakpointState> {
        let session = self.session();
        session.map_or_else(|_| Vec::new(), |session| session.set_instruction_breakpoints(wanted))
    }

    fn set_exception_filters(&self, filters: ExceptionFilters) -> Vec<BreakpointState> {
        let session = self.session();
        session.map_or_else(|_| Vec::new(), |session| session.set_exception_filters(filters))
    }

    fn halt(&self) -> Result<(), DebugError> {
        if self.host.status() != Status::Running {
            return Ok(());
        }
        self.host.halt_here().map_err(failed)
    }

    fn step(&self, whose: Whose, kind: StepKind) -> Result<(), DebugError> {
        self.host.start_here(Walk::Step(whose, kind)).map_err(failed)
    }

    fn call_expression(&self, wish: CallWish) -> Result<(), DebugError> {
        self.host.start_here(Walk::Call(wish)).map_err(failed)
    }

    fn stop(&self) -> Option<Stop> {
        if self.host.status() != Status::Stopped {
            return None;
        }
        self.session().ok()?.stop()
    }

    fn source_files(&self) -> Result<Vec<String>, DebugError> {
        self.host.last_session().map_err(failed)?.source_files()
    }

    ask_session! {
        fn goroutines(&self, start: usize, count: usize) -> Result<(Vec<Goroutine>, Option<usize>), DebugError>;
        fn goroutine(&self, id: i64) -> Result<Goroutine, DebugError>;
        fn call_outcome(&self) -> Result<Option<CallOutcome>, DebugError>;
        fn stack(&self, whose: Whose, depth: usize) -> Result<Stack, DebugError>;
        fn locals(&self, frame: FrameRef, config: LoadConfig) -> Result<Vec<ScopedValue>, DebugError>;
        fn return_values(&self, whose: Whose, config: LoadConfig) -> Result<Vec<Value>, DebugError>;
        fn package_variables(&self, package: &str, config: LoadConfig) -> Result<Vec<Value>, DebugError>;
        fn registers(&self, frame: FrameRef) -> Result<Vec<(String, String)>, DebugError>;
        fn evaluate(&self, frame: FrameRef, expression: &str, config: LoadConfig) -> Result<Value, DebugError>;
        fn reload(&self, frame: FrameRef, value: &Value, range: Option<Range<u64>>, config: LoadConfig) -> Result<Value, DebugError>;
        fn set_variable(&self, frame: FrameRef, what: &str, to: &str) -> Result<(), DebugError>;
        fn read_memory(&self, addr: ProcAddr, len: usize) -> Result<Vec<u8>, DebugError>;
        fn write_memory(&self, addr: ProcAddr, bytes: &[u8]) -> Result<(), DebugError>;
        fn follow_children(&self, follow: Option<FollowChildren>) -> Result<(), DebugError>;
        fn processes(&self) -> Result<Vec<i32>, DebugError>;
        fn disassemble_around(&self, addr: ProcAddr, offset: i64, count: usize) -> Result<Surroundings, DebugError>;
        fn limit_probes(&self, limits: ProbeLimits) -> Result<(), DebugError>;
        fn probe_accounts(&self) -> Result<Vec<ProbeAccount>, DebugError>;
        fn guess_paths(&self, client: &ClientPaths) -> Result<Vec<(String, String)>, DebugError>;
    }

    fn select_process(&self, pid: i32) -> Result<(), DebugError> {
        let session = self.session()?;
        session.select_process(pid)?;
        if let Some(stop) = session.stop() {
            self.host.select(stop.whose, None);
        }
        Ok(())
    }

    fn end(self: Box<Self>, how: EndWith) -> Result<(), DebugError> {
        self.host.release_here(how == EndWith::Kill);
        Ok(())
    }
}

impl Session {
    /// Takes part in the session of a headless server.
    pub(super) async fn attach_remote(&mut self, config: &AttachConfig) -> Result<(), String> {
        let Some(host) = self.host.clone() else {
            return Err("no debugger found".to_owned());
        };
        if self.debuggee().is_some() {
            return Err(format!(
                "debug session already in progress at {} - use remote mode to connect to a server with an active debug session",
                self.address
            ));
        }
        self.events.listen(host.subscribe());
        let attached = matches!(host.recipe().origin, host::Origin::Attach { .. });
        let is_multiclient = host.is_multiclient();
        let (status, target) = (host.status(), Shared { host });
        let pid = target.pid();
        self.call(move |bench| *bench = Some(Box::new(target)))
            .await
            .map_err(|gone| gone.to_string())?;
        let mut debuggee = Debuggee::new(pid, Origin::Remote { attached });
        debuggee.stop_on_entry = config.common.stop_on_entry;
        debuggee.runs_meanwhile = status == Status::Running;
        if let Status::Exited { status, .. } = status {
            debuggee.state = State::Exited(Some(status));
        }
        self.phase = Phase::Debugging(Box::new(debuggee));
        self.settings.configure(&config.common);
        self.limit_probes().await?;
        // A launched program ends with a server that is for one client.
        if is_multiclient || attached {
            let capabilities = Capabilities {
                support_terminate_debuggee: Some(true),
                ..Capabilities::default()
            };
            self.out
                .event(&DapEvent::Capabilities(CapabilitiesEventBody { capabilities }));
        }
        Ok(())
    }

    /// Restarts the target for all clients. Its breakpoints are the server's, which keeps them.
    pub(super) async fn on_restart_remote(&mut self, request: &Request) {
        let Some(host) = self.host.clone() else { return };
        let mut again = Again {
            reset: None,
            rebuild: true,
        };
        let mut stop_on_entry = self.debuggee().is_some_and(|debuggee| debuggee.stop_on_entry);
        if let Some(arguments) = launch_arguments(&request.arguments) {
            let Ok(config) = LaunchConfig::read(arguments) else {
                return self
                    .out
                    .refuse(request, CANNOT_RESTART, "unable to unmarshal launch args");
            };
            again.rebuild = arguments
                .get("rebuild")
                .and_then(serde_json::Value::as_bool)
                .unwrap_or(true);
            stop_on_entry = config.common.stop_on_entry;
            self.settings.configure(&config.common);
            if arguments.get("args").is_some_and(|args| !args.is_null())
                && let host::Origin::Launch { spec, .. } = host.recipe().origin
            {
                again.reset = Some((config.args, spec.redirect));
            }
        }
        // What was not built by the server is started as it is.
        again.rebuild &= matches!(host.recipe().origin, host::Origin::Launch { build: Some(_), .. });
        if let Err(error) = host.restart(again).await {
            return self.out.refuse(request, FAILED_TO_RESTART, &error.to_string());
        }
        // What the target has told until now is of its former life.
        self.events.listen(host.subscribe());
        let pid = host.last_session().map_or(0, |session| session.pid());
        if let Some(debuggee) = self.debuggee() {
            debuggee.pid = pid;
            debuggee.state = State::Configuring;
            debuggee.stop_on_entry = stop_on_entry;
            debuggee.runs_meanwhile = false;
        }
        self.out.event(&DapEvent::Initialized);
    }

    /// Whether the session may end without an end of the debugging: others may come, or be there.
    pub(super) fn may_leave(&mut self) -> bool {
        let is_remote = self
            .debuggee()
            .is_some_and(|debuggee| matches!(debuggee.origin, Origin::Remote { .. }));
        is_remote && self.host.as_ref().is_some_and(|host| host.is_multiclient())
    }

    /// Leaves the target to the other clients, present and future, as it is.
    pub(super) async fn leave(&mut self) {
        self.release_events().await;
        // The target is no more than a handle.
        let _ = self.call(|target| *target = None).await;
        self.events.close();
    }

    /// Another client has moved the target.
    pub(super) fn on_resumed_by_another(&mut self) {
        let Some(debuggee) = self.debuggee() else { return };
        match debuggee.state {
            State::Configuring => debuggee.runs_meanwhile = true,
            State::Stopped => {
                self.let_run();
                self.out.event_with(
                    "continued",
                    &serde_json::json!({"threadId": 1, "allThreadsContinued": true}),
                );
            }
            _ => {}
        }
    }
}
