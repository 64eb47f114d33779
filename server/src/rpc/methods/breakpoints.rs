//! Breakpoints, tracepoints, and the places that they may lie at.

use spelunk_dwarf::ProcAddr;

use super::{Methods, RpcError, scope};
use crate::debugger::{
    BreakpointId, BreakpointPlace, BreakpointRequest, BreakpointView, LocationExpression, LocationQuery, Session,
};
use crate::host::{Host, HostError, Origin};
use crate::location::{LocationError, LocationSpec};
use crate::rpc::go_json::{Slice, wire};
use crate::rpc::wire::{Breakpoint, EvalScope, Location, WatchType};
use crate::value::{LoadConfig, is_made_up};

wire! { "rpc2";
    /// Asks for a breakpoint.
    pub(crate) struct CreateBreakpointIn {
        /// What it is to be like. Its place is, in this order, `addr` of a `traceReturn`, `file` and `line`, `functionName` and `line`, `addrs`, or `addr`.
        breakpoint: Breakpoint = "Breakpoint",
        /// Where none of these is given: a location expression. The breakpoint follows what it means.
        loc_expr: String = "LocExpr",
        /// How the client calls the directories of the sources: pairs of a prefix in the binary and one of the client's.
        substitute_path_rules: Slice<[String; 2]> = "SubstitutePathRules",
        /// Whether it may wait for code that is not there yet.
        suspended: bool = "Suspended",
    }

    /// The breakpoint.
    pub(crate) struct CreateBreakpointOut {
        /// As it was made.
        breakpoint: Breakpoint = "Breakpoint",
    }

    /// Asks for a change of a breakpoint.
    pub(crate) struct AmendBreakpointIn {
        /// As it is to be; known by its id.
        breakpoint: Breakpoint = "Breakpoint",
    }

    /// Says that it is done.
    pub(crate) struct AmendBreakpointOut {}

    /// Names a breakpoint to be switched off, or on.
    pub(crate) struct ToggleBreakpointIn {
        /// Its number, where no name is given.
        id: isize = "Id",
        /// Its name.
        name: String = "Name",
    }

    /// The breakpoint.
    pub(crate) struct ToggleBreakpointOut {
        /// As it was, but for the switch.
        breakpoint: Option<Box<Breakpoint>> = "Breakpoint",
    }

    /// Names a breakpoint to be taken away.
    pub(crate) struct ClearBreakpointIn {
        /// Its number, where no name is given.
        id: isize = "Id",
        /// Its name.
        name: String = "Name",
    }

    /// The breakpoint.
    pub(crate) struct ClearBreakpointOut {
        /// As it was.
        breakpoint: Option<Box<Breakpoint>> = "Breakpoint",
    }

    /// Names a breakpoint.
    pub(crate) struct GetBreakpointIn {
        /// Its number, where no name is given.
        id: isize = "Id",
        /// Its name.
        name: String = "Name",
    }

    /// The breakpoint.
    pub(crate) struct GetBreakpointOut {
        /// As it is.
        breakpoint: Breakpoint = "Breakpoint",
    }

    /// Asks for all breakpoints.
    pub(crate) struct ListBreakpointsIn {
        /// Whether one is wanted for each address, a step's included.
        all: bool = "All",
    }

    /// All breakpoints.
    pub(crate) struct ListBreakpointsOut {
        /// In the order of their numbers.
        breakpoints: Slice<Option<Box<Breakpoint>>> = "Breakpoints",
    }

    /// Asks what a location expression means.
    pub(crate) struct FindLocationIn {
        /// The frame that lines and expressions are counted from.
        scope: EvalScope = "Scope",
        /// The expression.
        loc: String = "Loc",
        /// Whether lines without code are told, too.
        include_non_executable_lines: bool = "IncludeNonExecutableLines",
        /// How the client calls the directories of the sources: pairs of a prefix in the binary and one of the client's.
        substitute_path_rules: Slice<[String; 2]> = "SubstitutePathRules",
    }

    /// What it means.
    pub(crate) struct FindLocationOut {
        /// The places.
        locations: Slice<Location> = "Locations",
        /// If not empty: the expression for a breakpoint in place of the one that was asked for.
        substitute_loc_expr: String = "SubstituteLocExpr",
    }

    /// Asks to give up a step.
    pub(crate) struct CancelNextIn {}

    /// Says that it is done.
    pub(crate) struct CancelNextOut {}

    /// Asks to watch a variable.
    pub(crate) struct CreateWatchpointIn {
        /// In which frame the expression is evaluated.
        scope: EvalScope = "Scope",
        /// The variable.
        expr: String = "Expr",
        /// What to watch for.
        watch_type: WatchType = "Type",
    }
}

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add(
        "RPCServer.CreateBreakpoint",
        "Makes a breakpoint, or a tracepoint. Works while the target runs.",
        create_breakpoint,
    );
    methods.add(
        "RPCServer.AmendBreakpoint",
        "Changes what is said of a breakpoint, and switches it on or off.",
        amend_breakpoint,
    );
    methods.add(
        "RPCServer.ToggleBreakpoint",
        "Switches a breakpoint off, or on.",
        toggle_breakpoint,
    );
    methods.add(
        "RPCServer.ClearBreakpoint",
        "Takes a breakpoint away.",
        clear_breakpoint,
    );
    methods.add("RPCServer.GetBreakpoint", "One breakpoint.", get_breakpoint);
    methods.add("RPCServer.ListBreakpoints", "All breakpoints.", list_breakpoints);
    methods.add(
        "RPCServer.FindLocation",
        "The places that a location expression means: where a breakpoint would lie.",
        find_location,
    );
    methods.add(
        "RPCServer.CancelNext",
        "Gives up the step that a breakpoint has interrupted.",
        cancel_next,
    );
    methods.add(
        "RPCServer.CreateWatchpoint",
        "Watches a variable: not available.",
        create_watchpoint,
    );
}

/// What clients are told of requests that Delve does not do with several targets, in its words.
pub(super) const ONE_TARGET_ONLY: &str = "not implemented for multiple targets";

/// A name is made of letters and digits, and is no number (`ValidBreakpointName` in `service/api/types.go`).
fn check_name(name: &str) -> Result<(), RpcError> {
    let digits = name.strip_prefix(['+', '-']).unwrap_or(name);
    if !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit()) && name.parse::<i64>().is_ok() {
        return Err("breakpoint name can not be a number".into());
    }
    match name.chars().find(|character| !character.is_alphanumeric()) {
        Some(character) => Err(format!("invalid character in breakpoint name '{character}'").into()),
        None => Ok(()),
    }
}

fn rules(pairs: &Slice<[String; 2]>) -> Vec<(String, String)> {
    let pairs = pairs.0.iter().flatten();
    pairs.map(|[from, to]| (from.clone(), to.clone())).collect()
}

/// The path that the target was started by; empty for one that was there before.
fn program(host: &Host) -> String {
    match host.recipe().origin {
        Origin::Launch { spec, .. } => spec.program.to_string_lossy().into_owned(),
        Origin::Attach { .. } => String::new(),
    }
}

/// Where a breakpoint is to lie; what names no process is meant for `selected`.
fn place(asked: &Breakpoint, targets: usize, selected: i32) -> Result<BreakpointPlace, RpcError> {
    let line = asked.line as i64;
    let addresses: Vec<ProcAddr> = asked.addrs.0.iter().flatten().map(|addr| ProcAddr(*addr)).collect();
    let is_alone = targets == 1;
    let in_selected = |addresses: Vec<ProcAddr>| {
        BreakpointPlace::Addresses(addresses.into_iter().map(|addr| (selected, addr)).collect())
    };
    Ok(if asked.trace_return {
        if !is_alone {
            return Err(ONE_TARGET_ONLY.into());
        }
        in_selected(vec![ProcAddr(asked.addr)])
    } else if !asked.file.is_empty() {
        BreakpointPlace::Line(asked.file.clone(), line)
    } else if !asked.function_name.is_empty() {
        BreakpointPlace::Function(asked.function_name.clone(), line)
    } else if !addresses.is_empty() && is_alone {
        in_selected(addresses)
    } else if !addresses.is_empty() {
        let processes: Vec<i32> = asked.addr_pid.0.iter().flatten().map(|pid| *pid as i32).collect();
        if processes.len() != addresses.len() {
            return Err("mismatched length in addrs and addrpid".into());
        }
        BreakpointPlace::Addresses(processes.into_iter().zip(addresses).collect())
    } else if asked.addr != 0 {
        in_selected(vec![ProcAddr(asked.addr)])
    } else {
        BreakpointPlace::Nowhere
    })
}

fn create_breakpoint(host: &Host, asked: &CreateBreakpointIn) -> Result<CreateBreakpointOut, RpcError> {
    check_name(&asked.breakpoint.name)?;
    let session = host.last_session()?;
    let expression = if asked.loc_expr.is_empty() {
        None
    } else {
        Some(LocationExpression {
            spec: LocationSpec::parse(&asked.loc_expr).map_err(|error| error.to_string())?,
            text: asked.loc_expr.clone(),
            rules: rules(&asked.substitute_path_rules),
            program: program(host),
        })
    };
    let view = session.create_breakpoint(BreakpointRequest {
        id: asked.breakpoint.id as i64,
        place: place(&asked.breakpoint, session.processes()?.len(), session.pid())?,
        expression,
        suspended: asked.suspended,
        terms: asked.breakpoint.terms(),
    })?;
    Ok(CreateBreakpointOut {
        breakpoint: Breakpoint::of(&view),
    })
}

fn amend_breakpoint(host: &Host, asked: &AmendBreakpointIn) -> Result<AmendBreakpointOut, RpcError> {
    let asked = &asked.breakpoint;
    check_name(&asked.name)?;
    let id = BreakpointId(asked.id as i64);
    host.last_session()?
        .amend_breakpoint(id, asked.terms(), !asked.disabled)?;
    Ok(AmendBreakpointOut {})
}

/// The breakpoint that is meant by a name, or by a number where that is empty.
fn named(session: &Session, id: isize, name: &str) -> Result<BreakpointView, RpcError> {
    let mut all = session.breakpoints()?.into_iter();
    if name.is_empty() {
        all.find(|view| view.id.0 == id as i64)
            .ok_or_else(|| format!("no breakpoint with id {id}").into())
    } else {
        all.find(|view| view.terms.name == name)
            .ok_or_else(|| format!("no breakpoint with name {name}").into())
    }
}

fn toggle_breakpoint(host: &Host, asked: &ToggleBreakpointIn) -> Result<ToggleBreakpointOut, RpcError> {
    let session = host.last_session()?;
    let view = named(&session, asked.id, &asked.name)?;
    let mut breakpoint = Breakpoint::of(&view);
    breakpoint.disabled = !breakpoint.disabled;
    check_name(&breakpoint.name)?;
    session.amend_breakpoint(view.id, view.terms, !breakpoint.disabled)?;
    Ok(ToggleBreakpointOut {
        breakpoint: Some(Box::new(breakpoint)),
    })
}

fn clear_breakpoint(host: &Host, asked: &ClearBreakpointIn) -> Result<ClearBreakpointOut, RpcError> {
    let session = host.last_session()?;
    let view = named(&session, asked.id, &asked.name)?;
    let cleared = session.clear_breakpoint(view.id)?;
    Ok(ClearBreakpointOut {
        breakpoint: Some(Box::new(Breakpoint::of(&cleared))),
    })
}

fn get_breakpoint(host: &Host, asked: &GetBreakpointIn) -> Result<GetBreakpointOut, RpcError> {
    let session = host.last_session()?;
    let view = named(&session, asked.id, &asked.name)?;
    Ok(GetBreakpointOut {
        breakpoint: Breakpoint::of(&view),
    })
}

fn list_breakpoints(host: &Host, asked: &ListBreakpointsIn) -> Result<ListBreakpointsOut, RpcError> {
    let session = host.last_session()?;
    let breakpoints: Vec<Breakpoint> = if asked.all {
        let mut all = Vec::new();
        for pid in session.processes()? {
            let physical = session.of_process(pid).physical_breakpoints()?;
            all.extend(physical.iter().map(|physical| Breakpoint::of_address(physical, pid)));
        }
        all
    } else {
        session.breakpoints()?.iter().map(Breakpoint::of).collect()
    };
    Ok(ListBreakpointsOut {
        breakpoints: breakpoints
            .into_iter()
            .map(|breakpoint| Some(Box::new(breakpoint)))
            .collect(),
    })
}

fn find_location(host: &Host, asked: &FindLocationIn) -> Result<FindLocationOut, RpcError> {
    let rest = host.at_rest()?;
    let query = LocationQuery {
        text: asked.loc.clone(),
        lines_without_code: asked.include_non_executable_lines,
        rules: rules(&asked.substitute_path_rules),
        program: program(host),
    };
    let selected = rest.session.pid();
    let mut locations = Vec::new();
    let mut substitute = String::new();
    let mut wrong = None;
    for target in rest.targets()? {
        let pid = target.session.pid();
        // Most expressions mean the same wherever the program stands; where the others stand no client has said.
        let here = scope::frame(&target, &asked.scope).ok().filter(|_| pid == selected);
        let found = match target.session.find_location(here, query.clone()) {
            Ok(found) => found,
            Err(why) => {
                if pid == selected {
                    wrong = Some(why);
                }
                continue;
            }
        };
        if !found.substitute.is_empty() {
            substitute = found.substitute;
        }
        let program = target.session.program()?;
        locations.extend(
            found
                .places
                .iter()
                .map(|place| Location::of_place(&program, place, pid)),
        );
    }
    match wrong {
        // A place that one of several does not have may be another's.
        Some(why) if locations.is_empty() => return Err(why.into()),
        None if locations.is_empty() => {
            let error = LocationError::NotFound(asked.loc.clone());
            return Err(error.to_string().into());
        }
        _ => {}
    }
    Ok(FindLocationOut {
        locations: locations.into(),
        substitute_loc_expr: substitute,
    })
}

fn cancel_next(host: &Host, _: &CancelNextIn) -> Result<CancelNextOut, RpcError> {
    match host.at_rest() {
        Ok(rest) => rest.session.cancel_step()?,
        // Nothing that has ended steps.
        Err(HostError::Exited { .. }) => {}
        Err(error) => return Err(error.into()),
    }
    Ok(CancelNextOut {})
}

fn create_watchpoint(host: &Host, asked: &CreateWatchpointIn) -> Result<CreateBreakpointOut, RpcError> {
    let rest = host.at_rest()?;
    let (reads, writes) = (asked.watch_type.0 & 1 != 0, asked.watch_type.0 & 2 != 0);
    if !(reads || writes) {
        return Err("at least one of read and write must be set for watchpoint".into());
    }
    let frame = scope::frame(&rest, &asked.scope)?;
    let value = rest.session.evaluate(frame, &asked.expr, LoadConfig::FULL)?;
    if value.addr.0 == 0 || is_made_up(value.addr) {
        return Err(format!("can not watch {:?}", asked.expr).into());
    }
    Err("watchpoints are not available in this version of spelunk".into())
}
