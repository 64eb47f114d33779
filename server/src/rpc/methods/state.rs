//! Where the target stands, as clients are told of it.

use std::collections::BTreeMap;

use super::{RpcError, goroutines, targets, threads, variables};
use crate::debugger::{Pass, StopReason};
use crate::host::{Host, Origin, Rest};
use crate::inspect::{Tid, Whose};
use crate::process;
use crate::rpc::go_json::StringMap;
use crate::rpc::wire::{Breakpoint, BreakpointInfo, DebuggerState, Goroutine, LoadConfig, Location, Thread};

/// The flag of a value that a function has returned (`VariableReturnArgument` in Delve's `service/api/types.go`).
const RETURNED: u16 = 1 << 4;

/// What a client is told of a target that is gone.
pub(super) fn exited(pid: i32, status: i32) -> DebuggerState {
    DebuggerState {
        pid: pid as isize,
        exited: true,
        exit_status: status as isize,
        ..DebuggerState::default()
    }
}

/// The target at rest, as clients are told of it.
pub(super) fn state_at_rest(
    host: &Host,
    returns: Option<&LoadConfig>,
    with_info: bool,
) -> Result<DebuggerState, RpcError> {
    state_of(host, &host.at_rest()?, returns, with_info)
}

pub(super) fn state_of(
    host: &Host,
    rest: &Rest,
    returns: Option<&LoadConfig>,
    with_info: bool,
) -> Result<DebuggerState, RpcError> {
    let mut threads = threads::threads_of(rest)?;
    if let Some(config) = returns {
        let values = rest
            .session
            .return_values(rest.selected, variables::load_config(Some(config)))?;
        if !values.is_empty()
            && let Some(thread) = threads.iter_mut().find(|thread| of(thread) == rest.selected)
        {
            let mut values = variables::variables_of(&values);
            for value in &mut values {
                value.flags.0 |= RETURNED;
            }
            thread.return_values = values.into();
        }
    }
    if let Some(outcome) = rest.session.call_outcome()?
        && let Some(thread) = threads.iter_mut().find(|thread| thread.id == outcome.thread.0 as isize)
    {
        thread.call_return = true;
        if returns.is_some()
            && let Ok(Some(values)) = &outcome.values
        {
            thread.return_values = variables::variables_of(values).into();
        }
    }
    super::collected::mark_threads(rest, &mut threads, with_info)?;
    let selected = rest.session.pid();
    if rest.stop.reason == StopReason::HardcodedBreakpoint
        && let Some(thread) = threads.iter_mut().find(|thread| of(thread) == rest.selected)
        && thread.breakpoint.is_none()
    {
        // Delve's clients see an instruction of the program's own as a breakpoint without a number.
        thread.breakpoint = Some(Box::new(Breakpoint {
            name: "hardcoded-breakpoint".to_owned(),
            hit_count: StringMap(Some(BTreeMap::new())),
            disabled: true,
            ..Breakpoint::default()
        }));
        thread.breakpoint_info = with_info.then(Box::<BreakpointInfo>::default);
    }
    let current = current_thread(host, rest, &threads).cloned().map(Box::new);
    let threads = targets::with_other_targets(rest, selected, threads, with_info)?;
    Ok(DebuggerState {
        pid: selected as isize,
        target_command_line: command_line(rest),
        current_thread: current,
        selected_goroutine: goroutines::goroutine_of(rest, rest.selected).map(Box::new),
        threads: threads.into(),
        next_in_progress: rest.stop.step_interrupted,
        stop_reason: reason(host, rest).to_owned(),
        ..DebuggerState::default()
    })
}

/// What a client is told when a tracepoint was passed: what Delve would say if the target stood there.
pub(super) fn state_in_passing(host: &Host, pass: &Pass, is_step: bool) -> Result<DebuggerState, RpcError> {
    let session = host.last_session()?;
    let thread = super::collected::thread_of_pass(&session, pass)?;
    let at = Location {
        pc: thread.pc,
        file: thread.file.clone(),
        line: thread.line,
        function: thread.function.clone(),
        ..Location::default()
    };
    let goroutine = (pass.goroutine != 0).then(|| {
        Box::new(Goroutine {
            id: pass.goroutine,
            current_loc: at.clone(),
            user_current_loc: at,
            thread_id: thread.id,
            // It ran: `_Grunning` in Go's runtime/runtime2.go.
            status: 2,
            ..Goroutine::default()
        })
    });
    Ok(DebuggerState {
        pid: session.pid() as isize,
        target_command_line: match (process::command_line(session.pid()), host.recipe().origin) {
            // It may be gone by now.
            (text, Origin::Launch { spec, .. }) if text.is_empty() => {
                let program = spec.program.to_string_lossy().into_owned();
                std::iter::once(program).chain(spec.args).collect::<Vec<_>>().join(" ")
            }
            (text, _) => text,
        },
        current_thread: Some(Box::new(thread.clone())),
        selected_goroutine: goroutine,
        threads: vec![thread].into(),
        next_in_progress: is_step,
        stop_reason: "breakpoint".to_owned(),
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
pub(super) fn current_thread<'a>(host: &Host, rest: &Rest, threads: &'a [Thread]) -> Option<&'a Thread> {
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
        StopReason::CallReturned => "call returned",
        StopReason::HardcodedBreakpoint => "hardcoded breakpoint",
        StopReason::Failed(_) => "unknown",
    }
}

/// The command line of the target, its arguments parted by spaces.
pub(super) fn command_line(rest: &Rest) -> String {
    process::command_line(rest.session.pid())
}
