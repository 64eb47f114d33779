//! Moving the target on, and all that concerns it as a whole.

use std::sync::Arc;

use super::{Answer, CallContext, Methods, RpcError, state, threads, variables};
use crate::debugger::{CallOutcome, CallWish, StepKind, StopReason};
use crate::host::{Advance, Again, Host, HostError, Movement, Origin, Passage, Status, Walk, unattended};
use crate::inspect::{Tid, Whose};
use crate::rpc::go_json::{Slice, wire};
use crate::rpc::wire::{Breakpoint, DebuggerCommand, DebuggerState, DiscardedBreakpoint, Event};

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

    /// Asks for what has happened during commands with `WithEvents`.
    pub(crate) struct GetEventsIn {}

    /// Tells it.
    pub(crate) struct GetEventsOut {
        /// In order.
        events: Slice<Event> = "Events",
    }

    /// Asks for the same target once more.
    pub(crate) struct RestartIn {
        /// Where in a recording; there are none.
        position: String = "Position",
        /// Whether the arguments and redirections here replace those before.
        reset_args: bool = "ResetArgs",
        /// Arguments without the program's own name.
        new_args: Slice<String> = "NewArgs",
        /// Whether to record anew; there are no recordings.
        rerecord: bool = "Rerecord",
        /// Whether to build it again.
        rebuild: bool = "Rebuild",
        /// Files for standard input, output and error.
        new_redirects: [String; 3] = "NewRedirects",
    }

    /// Says what a restart left out.
    pub(crate) struct RestartOut {
        /// Breakpoints that have no place any more.
        discarded_breakpoints: Slice<DiscardedBreakpoint> = "DiscardedBreakpoints",
    }

    /// Asks to let the target go.
    pub(crate) struct DetachIn {
        /// Whether to end it, too. What the server has started is ended in any case.
        kill: bool = "Kill",
    }

    /// Says that it is done.
    pub(crate) struct DetachOut {}

    /// Asks for the process id.
    pub(crate) struct ProcessPidIn {}

    /// Tells it.
    pub(crate) struct ProcessPidOut {
        /// The target's process id.
        pid: isize = "Pid",
    }

    /// Asks when the program was built.
    pub(crate) struct LastModifiedIn {}

    /// Tells it.
    pub(crate) struct LastModifiedOut {
        /// When its file was changed last, as in RFC 3339.
        time: String = "Time",
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
    methods.add_asynchronous(
        "RPCServer.GetEvents",
        "What has happened during commands with `WithEvents`. Waits until there is something.",
        get_events,
    );
    methods.add_asynchronous(
        "RPCServer.Restart",
        "Ends the target and starts it again, held before its first instruction, with its breakpoints.",
        restart,
    );
    methods.add(
        "RPCServer.Detach",
        "Lets the target go, or ends it, and ends the server.",
        detach,
    );
    methods.add("RPCServer.ProcessPid", "The target's process id.", process_pid);
    methods.add("RPCServer.LastModified", "When the program was built.", last_modified);
}

fn get_events(host: Arc<Host>, _: GetEventsIn, call: CallContext) -> Answer<GetEventsOut> {
    call.set_up.notify_one();
    Box::pin(async move {
        let movements = tokio::select! {
            movements = host.movements().fetch() => movements,
            () = call.gone.cancelled() => return Err("the client has gone".into()),
        };
        let events = movements.iter().map(event);
        Ok(GetEventsOut {
            events: events.collect(),
        })
    })
}

/// What happened, as clients are told of it.
fn event(movement: &Movement) -> Event {
    let of = |kind| Event {
        kind,
        ..Event::default()
    };
    match movement {
        Movement::Resumed => of(0),
        Movement::Stopped => of(1),
        Movement::Materialized(view) => Event {
            breakpoint: Some(Box::new(Breakpoint::of(view))),
            ..of(3)
        },
        Movement::Spawned {
            pid,
            command_line,
            is_wanted,
        } => Event {
            process: *pid as isize,
            // It has one thread, which has the number of the process.
            thread_id: *pid as isize,
            cmdline: command_line.clone(),
            will_follow: Some(Box::new(*is_wanted)),
            ..of(4)
        },
    }
}

fn restart(host: Arc<Host>, asked: RestartIn, call: CallContext) -> Answer<RestartOut> {
    call.set_up.notify_one();
    Box::pin(async move {
        if !host.is_launched() {
            return Err("cannot restart process spelunk did not create".into());
        }
        if !asked.position.is_empty() {
            return Err("not a recording".into());
        }
        tokio::select! {
            () = host.quiet() => {}
            () = call.gone.cancelled() => return Err("the client has gone".into()),
        }
        let reset = asked.reset_args.then(|| {
            let files = asked.new_redirects.map(|file| (!file.is_empty()).then(|| file.into()));
            (asked.new_args.0.unwrap_or_default(), files)
        });
        let again = Again {
            reset,
            rebuild: asked.rebuild,
        };
        let discarded = host.restart(again).await?;
        let discarded = discarded.iter().map(|(view, why)| DiscardedBreakpoint::of(view, why));
        Ok(RestartOut {
            discarded_breakpoints: discarded.collect(),
        })
    })
}

#[allow(clippy::unnecessary_wraps, reason = "methods can fail")]
fn detach(host: &Host, asked: &DetachIn) -> Result<DetachOut, RpcError> {
    host.detach_here(asked.kill);
    Ok(DetachOut {})
}

fn process_pid(host: &Host, _: &ProcessPidIn) -> Result<ProcessPidOut, RpcError> {
    Ok(ProcessPidOut {
        pid: host.last_session()?.pid() as isize,
    })
}

fn last_modified(host: &Host, _: &LastModifiedIn) -> Result<LastModifiedOut, RpcError> {
    let session = host.last_session()?;
    let file = match host.recipe().origin {
        _ if session.pid() != session.first_pid() => format!("/proc/{}/exe", session.pid()).into(),
        Origin::Launch { spec, .. } => spec.program,
        Origin::Attach { pid, .. } => format!("/proc/{pid}/exe").into(),
    };
    let changed = std::fs::metadata(&file)
        .and_then(|data| data.modified())
        .map_err(|error| RpcError(format!("{}: {error}", file.display())))?;
    let time = jiff::Timestamp::try_from(changed).map_err(|error| RpcError(error.to_string()))?;
    let zoned = time.to_zoned(jiff::tz::TimeZone::system());
    // Go writes a zone without an offset as `Z`.
    let offset = match zoned.offset().seconds() {
        0 => "Z".to_owned(),
        _ => zoned.strftime("%:z").to_string(),
    };
    Ok(LastModifiedOut {
        time: format!("{}{offset}", zoned.datetime()),
    })
}

#[allow(clippy::needless_pass_by_value, reason = "methods take what they are asked with")]
fn state(host: Arc<Host>, asked: StateIn, call: CallContext) -> Answer<StateOut> {
    call.set_up.notify_one();
    Box::pin(async move {
        if !asked.non_blocking {
            settle(&host, &call).await?;
        }
        let state = on_a_thread(move || {
            let rest = if asked.non_blocking {
                host.at_rest_now()?
            } else {
                Some(host.at_rest()?)
            };
            match rest {
                Some(rest) => state::state_of(&host, &rest, None, false),
                None => Ok(DebuggerState {
                    running: true,
                    ..DebuggerState::default()
                }),
            }
        })
        .await?;
        Ok(StateOut {
            state: Some(Box::new(state)),
        })
    })
}

fn command(host: Arc<Host>, asked: DebuggerCommand, call: CallContext) -> Answer<CommandOut> {
    Box::pin(async move {
        if asked.with_events && moves(&asked.name) {
            host.movements().begin();
        }
        let under_way = host.command();
        let done = obey(&host, &asked, &call).await;
        drop(under_way);
        if asked.with_events && moves(&asked.name) {
            host.movements().end();
        }
        let state = done?;
        Ok(CommandOut { state })
    })
}

/// Waits until the target does not run, as a task: a thread that waited would be held as long as the target runs, also for a client that has gone.
async fn settle(host: &Host, call: &CallContext) -> Result<(), RpcError> {
    tokio::select! {
        // How it has ended is for whoever looks at it next.
        _ = host.arrival() => Ok(()),
        () = call.gone.cancelled() => Err("the client has gone".into()),
    }
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
            settle(host, call).await?;
            let waiting = Arc::clone(host);
            // The target is given back before it is moved.
            let looked = on_a_thread(move || {
                let rest = waiting.at_rest()?;
                Ok((rest.selected, rest.stop.step_interrupted))
            })
            .await;
            let (selected, is_interrupted) = match (looked, host.status()) {
                (_, Status::Exited { pid, status }) => return Ok(state::exited(pid, status)),
                (looked, _) => looked?,
            };
            let by_instruction = matches!(kind, StepKind::IntoInstruction | StepKind::OverInstruction);
            if is_interrupted && !by_instruction {
                return Err("next while nexting".into());
            }
            let step = Walk::Step(selected, kind);
            host.advance(step, &call.gone, || call.set_up.notify_one()).await
        }
        ("continue" | "directionCongruentContinue", _) => {
            host.advance(Walk::Continue, &call.gone, || call.set_up.notify_one())
                .await
        }
        ("halt", _) => {
            call.set_up.notify_one();
            host.halt().await.map(Advance::Arrived)
        }
        (
            "rewind"
            | "reverseNext"
            | "reverseStep"
            | "reverseStepOut"
            | "reverseStepInstruction"
            | "reverseNextInstruction",
            _,
        ) => {
            return Err("not a recording".into());
        }
        ("call", _) => {
            let wish = call_wish(host, asked, call).await?;
            host.advance(Walk::Call(wish), &call.gone, || call.set_up.notify_one())
                .await
        }
        ("switchThread" | "switchGoroutine", _) => {
            let (host, asked) = (Arc::clone(host), asked.clone());
            return on_a_thread(move || {
                select(&host, &asked)?;
                state::state_at_rest(&host, None, false)
            })
            .await;
        }
        // Delve takes a command that it does not know for none, and says where the target stands.
        _ => host.arrival().await.map(Advance::Arrived),
    };
    match passage {
        Ok(Advance::Arrived(Passage::Exited { pid, status })) | Err(HostError::Exited { pid, status }) => {
            return Ok(state::exited(pid, status));
        }
        Ok(Advance::Passed(pass)) => {
            let host = Arc::clone(host);
            return on_a_thread(move || state::state_in_passing(&host, &pass, kind.is_some())).await;
        }
        Ok(Advance::Arrived(Passage::Stopped)) => {}
        Err(error) => return Err(error.into()),
    }
    let with_info = asked.name != "halt";
    let (host, config) = (Arc::clone(host), asked.return_info_load_config.clone());
    let is_unattended = call.gone.is_cancelled();
    on_a_thread(move || {
        let rest = host.at_rest()?;
        if let StopReason::Failed(why) = rest.stop.reason.clone() {
            return Err(RpcError(why));
        }
        if let Some(CallOutcome { values: Err(why), .. }) = rest.session.call_outcome()? {
            return Err(RpcError(why));
        }
        if is_unattended && let Some(text) = unattended(&rest) {
            eprint!("{text}");
        }
        state::state_of(&host, &rest, config.as_deref(), with_info)
    })
    .await
}

/// What is to be evaluated with calls, and where.
async fn call_wish(host: &Arc<Host>, asked: &DebuggerCommand, call: &CallContext) -> Result<CallWish, RpcError> {
    if let Status::Exited { .. } = host.status() {
        return Err("no goroutine selected".into());
    }
    settle(host, call).await?;
    let Some(config) = asked.return_info_load_config.as_deref() else {
        return Err("can not call function with nil ReturnInfoLoadConfig".into());
    };
    let config = variables::load_config(Some(config));
    let (waiting, asked_for) = (Arc::clone(host), asked.goroutine_id);
    let whose = on_a_thread(move || {
        let rest = waiting.at_rest()?;
        if asked_for > 0 {
            return Ok(Whose::Goroutine(rest.session.goroutine(asked_for)?.id));
        }
        Ok(rest.selected)
    })
    .await?;
    Ok(CallWish {
        whose,
        expression: asked.expr.clone(),
        config,
        check_escape: !asked.unsafe_call,
    })
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
    let mut found = None;
    for target in rest.targets()? {
        let threads = threads::threads_of(&target)?;
        if let Some(thread) = threads.into_iter().find(|thread| thread.id == asked.thread_id) {
            found = Some((target.session.pid(), thread));
        }
    }
    let (pid, thread) = found.ok_or_else(|| RpcError(format!("thread {} does not exist", asked.thread_id)))?;
    rest.session.select_process(pid)?;
    let tid = Tid(i32::try_from(thread.id).unwrap_or_default());
    let whose = match thread.goroutine_id {
        0 => Whose::Thread(tid),
        id => Whose::Goroutine(id),
    };
    host.select(whose, Some(tid));
    Ok(())
}

async fn on_a_thread<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, RpcError> + Send + 'static,
) -> Result<R, RpcError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| RpcError(error.to_string()))?
}
