//! Several processes under debug: which they are, and which of those that they start become so.

use super::collected::mark_threads;
use super::state::{command_line, current_thread};
use super::{Methods, RpcError, threads};
use crate::debugger::FollowChildren;
use crate::host::{Host, HostError, Rest};
use crate::rpc::go_json::{Slice, wire};
use crate::rpc::wire::{Target, Thread};

wire! { "rpc2";
    /// Asks what is debugged.
    pub(crate) struct ListTargetsIn {}

    /// Tells it.
    pub(crate) struct ListTargetsOut {
        /// The processes, in the order in which they came; none when all are gone.
        targets: Slice<Target> = "Targets",
    }

    /// Asks to debug the processes that the target starts, too.
    pub(crate) struct FollowExecIn {
        /// Whether to.
        enable: bool = "Enable",
        /// What their command line must match; empty: all are debugged.
        regex: String = "Regex",
    }

    /// Says that it is done.
    pub(crate) struct FollowExecOut {}

    /// Asks whether the processes that the target starts are debugged, too.
    pub(crate) struct FollowExecEnabledIn {}

    /// Answers it.
    pub(crate) struct FollowExecEnabledOut {
        /// Whether it is.
        enabled: bool = "Enabled",
    }
}

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add("RPCServer.ListTargets", "The processes under debug.", list_targets);
    methods.add(
        "RPCServer.FollowExec",
        "Says whether processes that the target starts are debugged, too, and which: those whose command line the regular expression matches.",
        follow_exec,
    );
    methods.add(
        "RPCServer.FollowExecEnabled",
        "Whether processes that the target starts are debugged, too.",
        follow_exec_enabled,
    );
}

fn list_targets(host: &Host, _: &ListTargetsIn) -> Result<ListTargetsOut, RpcError> {
    let rest = match host.at_rest() {
        Ok(rest) => rest,
        Err(HostError::Exited { .. }) => {
            return Ok(ListTargetsOut {
                targets: Vec::new().into(),
            });
        }
        Err(error) => return Err(error.into()),
    };
    let selected = rest.session.pid();
    let mut targets = Vec::new();
    for target in rest.targets()? {
        let mut threads = threads::threads_of(&target)?;
        mark_threads(&target, &mut threads, false)?;
        let pid = target.session.pid();
        let current = if pid == selected {
            current_thread(host, &rest, &threads)
        } else {
            // That at which another target would be shown if it were selected.
            let is_first = |thread: &&Thread| thread.id == pid as isize;
            let at_breakpoint = threads.iter().find(|thread| thread.breakpoint.is_some());
            at_breakpoint
                .or_else(|| threads.iter().find(is_first))
                .or(threads.first())
        };
        targets.push(Target {
            pid: pid as isize,
            cmd_line: command_line(&target),
            current_thread: current.cloned().map(Box::new),
        });
    }
    Ok(ListTargetsOut {
        targets: targets.into(),
    })
}

fn follow_exec(host: &Host, asked: &FollowExecIn) -> Result<FollowExecOut, RpcError> {
    wait_for_rest(host)?;
    let follow = asked
        .enable
        .then(|| FollowChildren::matching(&asked.regex))
        .transpose()?;
    host.last_session()?.follow_children(follow)?;
    Ok(FollowExecOut {})
}

fn follow_exec_enabled(host: &Host, _: &FollowExecEnabledIn) -> Result<FollowExecEnabledOut, RpcError> {
    wait_for_rest(host)?;
    let enabled = host.last_session()?.followed_children()?.is_some();
    Ok(FollowExecEnabledOut { enabled })
}

/// Waits until the target does not run; one that is gone does not.
fn wait_for_rest(host: &Host) -> Result<(), RpcError> {
    match host.at_rest() {
        Ok(_) | Err(HostError::Exited { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// The threads of all targets: those of the selected one are known.
pub(super) fn with_other_targets(
    rest: &Rest,
    selected: i32,
    threads: Vec<Thread>,
    with_info: bool,
) -> Result<Vec<Thread>, RpcError> {
    let targets = rest.targets()?;
    if targets.len() == 1 {
        return Ok(threads);
    }
    let mut known = Some(threads);
    let mut all = Vec::new();
    for target in targets {
        if target.session.pid() == selected
            && let Some(threads) = known.take()
        {
            all.extend(threads);
            continue;
        }
        let mut threads = threads::threads_of(&target)?;
        mark_threads(&target, &mut threads, with_info)?;
        all.extend(threads);
    }
    Ok(all)
}
