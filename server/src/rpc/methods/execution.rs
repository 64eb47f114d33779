//! Moving the target on, and saying where it stands.

use std::sync::Arc;

use super::{Answer, CallContext, Methods, RpcError, goroutines, threads, variables};
use crate::debugger::{StepKind, StopReason};
use crate::host::{Host, Passage, Rest, Status, Walk};
use crate::inspect::{Tid, Whose};
use crate::rpc::go_json::wire;
use crate::rpc::wire::{DebuggerCommand, DebuggerState, LoadConfig, Thread};

wire! { "rpc2";
    /// Asks where the target stands.
    pub(crate) struct StateIn {
        /// Whether to answer at once although the target runs.
        non_blocking: bool = "NonBlocking",
    }

    /// Says where the target stands.
    pub(crate) struct StateOut {
        /// Where.
        state: Option<Box<DebuggerState>> = "State",
    }

    /// Says where the target has come to.
    pub(crate) struct CommandOut {
        /// Where.
        state: DebuggerState = "State",
    }
}

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add_asynchronous(
        "RPCServer.State",
        "Where the target stands: its threads, the selected goroutine. Waits for a target that runs, unless asked not to.",
        state,
    );
    methods.add_asynchronous(
        "RPCServer.Command",
        "Moves the target on, stops it, or selects a goroutine or thread. Answers when the target stands still again.",
        command,
    );
}

fn state(host: Arc<Host>, asked: StateIn, call: CallContext) -> Answer<StateOut> {
    call.set_up.notify_one();
    Box::pin(async move {
        let state = if asked.non_blocking && host.status() == Status::Running {
            DebuggerState {
                running: true,
                ..DebuggerState::default()
            }
        } else {
            on_a_thread(move || state_at_rest(&host, None, false)).await?
        };
        Ok(StateOut {
            state: Some(Box::new(state)),
        })
    })
}

fn command(host: Arc<Host>, asked: DebuggerCommand, call: CallContext) -> Answer<CommandOut> {
    Box::pin(async move {
        if asked.with_events && moves(&asked.name) {
            host.note(host_event(true));
        }
        let done = obey(&host, &asked, &call).await;
        if asked.with_events && moves(&asked.name) {
            host.note(host_event(false));
        }
        let state = done?;
        Ok(CommandOut { state })
    })
}

/// Commands that let the target run.
fn moves(name: &str) -> bool {
    !matches!(name, "halt" | "switchThread" | "switchGoroutine")
}

async fn obey(host: &Arc<Host>, asked: &DebuggerCommand, call: &CallContext) -> Result<DebuggerState, RpcError> {
    let kind = match asked.name.as_str() {
        "next" => Some(StepKind::Over),
        "step" => Some(StepKind::Into),
        "stepOut" => Some(StepKind::Out),
        "stepInstruction" => Some(StepKind::IntoInstruction),
        "nextInstruction" => Some(StepKind::OverInstruction),
        _ => None,
    };
    let passage = match (asked.name.as_str(), kind) {
        (_, Some(kind)) => {
            let waiting = Arc::clone(host);
            let rest = on_a_thread(move || waiting.at_rest().map_err(RpcError::from)).await;
            let rest = match (rest, host.status()) {
                (_, Status::Exited { pid, status }) => return Ok(exited(pid, status)),
                (rest, _) => rest?,
            };
            let by_instruction = matches!(kind, StepKind::IntoInstruction | StepKind::OverInstruction);
            if rest.stop.step_interrupted && !by_instruction {
                return Err("next while nexting".into());
            }
            host.walk(Walk::Step(rest.selected, kind), || call.set_up.notify_one()).await
        }
        ("continue" | "directionCongruentContinue", _) => {
            host.walk(Walk::Continue, || call.set_up.notify_one()).await
        }
        ("halt", _) => {
            call.set_up.notify_one();
            host.halt().await
        }
        ("rewind" | "reverseNext" | "reverseStep" | "reverseStepOut" | "reverseStepInstruction" | "reverseNextInstruction", _) => {
            return Err("not a recording".into());
        }
        ("call", _) => {
            return Err("functions of the target cannot be called in this version of spelunk".into());
        }
        ("switchThread" | "switchGoroutine", _) => {
            let (host, asked) = (Arc::clone(host), asked.clone());
            return on_a_thread(move || {
                select(&host, &asked)?;
                state_at_rest(&host, None, false)
            })
            .await;
        }
        // Delve takes a command that it does not know for none, and says where the target stands.
        _ => host.arrival().await,
    };
    if let Ok(Passage::Exited { pid, status }) | Err(crate::host::HostError::Exited { pid, status }) = passage {
        return Ok(exited(pid, status));
    }
    passage?;
    let with_info = asked.name != "halt";
    let (host, config) = (Arc::clone(host), asked.return_info_load_config.clone());
    on_a_thread(move || state_at_rest(&host, config.as_deref(), with_info)).await
}

/// What a client is told of a target that is gone.
fn exited(pid: i32, status: i32) -> DebuggerState {
    DebuggerState {
        pid: pid as isize,
        exited: true,
        exit_status: status as isize,
        ..DebuggerState::default()
    }
}

/// Makes a thread or a goroutine the one that is meant where none is named.
fn select(host: &Host, asked: &DebuggerCommand) -> Result<(), RpcError> {
    let rest = host.at_rest()?;
    if asked.name == "switchGoroutine" {
        if asked.goroutine_id == -1 {
            return Ok(());
        }
        let goroutine = rest.session.goroutine(asked.goroutine_id)?;
        host.select(Whose::Goroutine(goroutine.id), goroutine.thread.or(rest.thread));
        return Ok(());
    }
    let all = threads::threads_of(&rest)?;
    let found = all.iter().find(|thread| thread.id == asked.thread_id);
    let thread = found.ok_or_else(|| RpcError(format!("thread {} does not exist", asked.thread_id)))?;
    let tid = Tid(i32::try_from(thread.id).unwrap_or_default());
    let whose = match thread.goroutine_id {
        0 => Whose::Thread(tid),
        id => Whose::Goroutine(id),
    };
    host.select(whose, Some(tid));
    Ok(())
}

/// The target at rest, as clients are told of it.
pub(super) fn state_at_rest(
    host: &Host,
    returns: Option<&LoadConfig>,
    with_info: bool,
) -> Result<DebuggerState, RpcError> {
    let rest = host.at_rest()?;
    let mut threads = threads::threads_of(&rest)?;
    if let Some(config) = returns {
        let values = rest.session.return_values(rest.selected, variables::load_config(config))?;
        if !values.is_empty()
            && let Some(thread) = threads.iter_mut().find(|thread| of(thread) == rest.selected)
        {
            thread.return_values = variables::variables_of(&values);
        }
    }
    super::breakpoints::mark_threads(host, &rest, &mut threads, with_info)?;
    let current = current_thread(host, &rest, &threads);
    Ok(DebuggerState {
        pid: rest.session.pid() as isize,
        target_command_line: command_line(&rest),
        current_thread: current.map(|thread| Box::new(thread.clone())),
        selected_goroutine: goroutines::goroutine_of(&rest, rest.selected).map(Box::new),
        threads: threads.into(),
        next_in_progress: rest.stop.step_interrupted,
        stop_reason: reason(host, &rest).to_owned(),
        ..DebuggerState::default()
    })
}

/// Whose stack a thread shows.
fn of(thread: &Thread) -> Whose {
    match thread.goroutine_id {
        0 => Whose::Thread(Tid(i32::try_from(thread.id).unwrap_or_default())),
        id => Whose::Goroutine(id),
    }
}

/// The thread that is meant where none is named: that of the selected goroutine, else the last that was.
fn current_thread<'a>(host: &Host, rest: &Rest, threads: &'a [Thread]) -> Option<&'a Thread> {
    let by_number = |tid: Tid| threads.iter().find(move |thread| thread.id == tid.0 as isize);
    let current = threads
        .iter()
        .find(|thread| of(thread) == rest.selected)
        .or_else(|| rest.thread.and_then(by_number))
        .or_else(|| by_number(Tid(rest.session.pid())))
        .or(threads.first())?;
    host.select(rest.selected, i32::try_from(current.id).ok().map(Tid));
    Some(current)
}

/// Why the target stands still, in Delve's words (`pkg/proc/target.go`, `StopReason`).
fn reason(host: &Host, rest: &Rest) -> &'static str {
    match &rest.stop.reason {
        StopReason::Entry => "launched",
        StopReason::Breakpoint(_) | StopReason::UnrecoveredPanic { .. } | StopReason::FatalThrow { .. } => "breakpoint",
        StopReason::Step => "next finished",
        StopReason::Pause if host.was_just_attached() => "attached",
        StopReason::Pause => "manual",
        StopReason::HardcodedBreakpoint => "hardcoded breakpoint",
        StopReason::Failed(_) => "unknown",
    }
}

/// The command line of the target, its arguments parted by spaces.
fn command_line(rest: &Rest) -> String {
    let read = std::fs::read(format!("/proc/{}/cmdline", rest.session.pid())).unwrap_or_default();
    let text = String::from_utf8_lossy(&read);
    text.trim_end_matches('\0').replace('\0', " ")
}

async fn on_a_thread<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, RpcError> + Send + 'static,
) -> Result<R, RpcError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| RpcError(error.to_string()))?
}
