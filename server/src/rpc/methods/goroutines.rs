//! The goroutines of the program.

use std::collections::BTreeMap;

use super::{Methods, RpcError, scope};
use crate::debugger::Program;
use crate::host::{Host, Rest};
use crate::inspect::{self, Location, Whose};
use crate::rpc::go_json::{Slice, wire};
use crate::rpc::wire::{EvalScope, Goroutine, GoroutineField, GoroutineGroup, ListGoroutinesFilter, file_of};

wire! { "rpc2";
    /// Asks for goroutines.
    pub(crate) struct ListGoroutinesIn {
        /// Where in the runtime's list to begin: 0, or what an answer gave as `Nextg`.
        start: isize = "Start",
        /// How many at most; 0: all.
        count: isize = "Count",
        /// What they are to fit, all of it.
        filters: Slice<ListGoroutinesFilter> = "Filters",
        /// What they are put into groups by: numbers as in the filters; 0: they are not.
        group_by: GoroutineField = "GroupBy" @ "GoroutineGroupingOptions",
        /// Which label to group by.
        group_by_key: String = "GroupByKey" @ "GoroutineGroupingOptions",
        /// How many of each group are given.
        max_group_members: isize = "MaxGroupMembers" @ "GoroutineGroupingOptions",
        /// How many groups; 0: all.
        max_groups: isize = "MaxGroups" @ "GoroutineGroupingOptions",
        /// The frame in which a filter for a channel is evaluated.
        eval_scope: Option<Box<EvalScope>> = "EvalScope",
    }

    /// Answers it.
    pub(crate) struct ListGoroutinesOut {
        /// The goroutines.
        goroutines: Slice<Option<Box<Goroutine>>> = "Goroutines",
        /// Where to go on; -1: there are no more.
        nextg: isize = "Nextg",
        /// The groups; `null` where none were asked for.
        groups: Slice<GoroutineGroup> = "Groups",
        /// Whether there are more groups than were asked for.
        too_many_groups: bool = "TooManyGroups",
    }
}

/// The values of [`GoroutineField`].
mod field {
    pub(super) const NONE: u8 = 0;
    pub(super) const CURRENT: u8 = 1;
    pub(super) const USER_CURRENT: u8 = 2;
    pub(super) const GO_STATEMENT: u8 = 3;
    pub(super) const START: u8 = 4;
    pub(super) const LABEL: u8 = 5;
    pub(super) const RUNNING: u8 = 6;
    pub(super) const USERS: u8 = 7;
    pub(super) const CHANNEL: u8 = 8;
}

/// A goroutine of a list, or why it cannot be read.
type Listed = Result<inspect::Goroutine, String>;

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add(
        "RPCServer.ListGoroutines",
        "The goroutines, all or a part of the runtime's list, filtered and put into groups as asked for.",
        list_goroutines,
    );
}

/// A goroutine; `None` for a thread without one, and for one that cannot be read.
pub(super) fn goroutine_of(rest: &Rest, whose: Whose) -> Option<Goroutine> {
    let Whose::Goroutine(id) = whose else { return None };
    let goroutine = rest.session.goroutine(id).ok()?;
    let program = rest.session.program().ok()?;
    Some(Goroutine::of(&program, &goroutine))
}

fn list_goroutines(host: &Host, asked: &ListGoroutinesIn) -> Result<ListGoroutinesOut, RpcError> {
    let filters = asked.filters.as_slice();
    let channel = filters.iter().find(|filter| filter.kind.0 == field::CHANNEL);
    if let Some(filter) = channel {
        if filter.negated {
            return Err("channel filter can not be negated".into());
        }
        if asked.count == 0 {
            return Err("count == 0 not allowed with a channel filter".into());
        }
        if asked.eval_scope.is_none() {
            return Err("channel filter without eval scope".into());
        }
    }
    let rest = host.at_rest()?;
    let (listed, nextg) = match (channel, &asked.eval_scope) {
        (Some(filter), Some(scope)) => waiting_on(&rest, scope, &filter.arg, asked.start, asked.count)?,
        _ => match (usize::try_from(asked.start), usize::try_from(asked.count)) {
            (Ok(start), Ok(count)) => {
                let (goroutines, next) = rest.session.goroutines(start, count)?;
                let next = next.map_or(-1, |next| isize::try_from(next).unwrap_or(isize::MAX));
                (goroutines.into_iter().map(Ok).collect(), next)
            }
            // No place of the list, or fewer than none.
            (Err(_), _) => (Vec::new(), -1),
            (Ok(_), Err(_)) => (Vec::new(), asked.start),
        },
    };
    let mut listed: Vec<Listed> = listed;
    listed.retain(|goroutine| filters.iter().all(|filter| fits(goroutine, filter)));
    let groups = grouped(&mut listed, asked);
    let program = rest.session.program()?;
    Ok(ListGoroutinesOut {
        goroutines: listed
            .iter()
            .map(|goroutine| Some(Box::new(shown(&program, goroutine))))
            .collect(),
        nextg,
        too_many_groups: groups.as_ref().is_some_and(|(_, too_many)| *too_many),
        groups: Slice(groups.map(|(groups, _)| groups)),
    })
}

fn shown(program: &Program, listed: &Listed) -> Goroutine {
    match listed {
        Ok(goroutine) => Goroutine::of(program, goroutine),
        Err(why) => Goroutine {
            unreadable: why.clone(),
            ..Goroutine::default()
        },
    }
}

/// Goroutines that wait for a channel, and where to go on.
fn waiting_on(
    rest: &Rest,
    scope: &EvalScope,
    channel: &str,
    start: isize,
    count: isize,
) -> Result<(Vec<Listed>, isize), RpcError> {
    let frame = scope::frame(rest, scope)?;
    let limit = |number: isize| usize::try_from(number).unwrap_or(0);
    let ids = rest
        .session
        .waiting_on_channel(frame, channel, limit(start), limit(count))?;
    let next = if isize::try_from(ids.len()) == Ok(count) {
        start.saturating_add(count)
    } else {
        -1
    };
    let listed = ids
        .iter()
        .map(|id| rest.session.goroutine(*id).map_err(|error| error.to_string()));
    Ok((listed.collect(), next))
}

fn fits(listed: &Listed, filter: &ListGoroutinesFilter) -> bool {
    let Ok(goroutine) = listed else {
        return true;
    };
    let there = |location: &Location| place(location).contains(&filter.arg);
    let label = |key: &str| {
        goroutine
            .labels
            .iter()
            .find(|(known, _)| known == key)
            .map(|(_, value)| value)
    };
    let fits = match filter.kind.0 {
        field::CURRENT => there(&goroutine.current),
        field::USER_CURRENT => there(&goroutine.user_current),
        field::GO_STATEMENT => there(&goroutine.go_statement),
        field::START => there(&goroutine.start),
        field::LABEL => match filter.arg.split_once('=') {
            Some((key, value)) => label(key).map_or("", String::as_str) == value,
            None => label(&filter.arg).is_some(),
        },
        field::RUNNING => goroutine.thread.is_some(),
        field::USERS => !goroutine.is_system,
        _ => true,
    };
    fits != filter.negated
}

/// A place as filters and groups have it.
fn place(location: &Location) -> String {
    let function = location.function.as_deref().unwrap_or("?");
    format!("{}:{} in {function}", file_of(location), location.line)
}

/// Puts goroutines into groups: leaves those that are to be shown, group by group. Gives the groups, and whether there are more; `None` where groups are not
/// wanted.
fn grouped(listed: &mut Vec<Listed>, wish: &ListGoroutinesIn) -> Option<(Vec<GoroutineGroup>, bool)> {
    if wish.group_by.0 == field::NONE {
        return None;
    }
    let mut groups: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
    for goroutine in listed.drain(..) {
        let key = goroutine
            .as_ref()
            .map_or_else(|_| String::new(), |goroutine| key_of(goroutine, wish));
        groups.entry(key).or_default().push(goroutine);
    }
    let members = usize::try_from(wish.max_group_members).unwrap_or(0);
    let limit = usize::try_from(wish.max_groups)
        .ok()
        .filter(|limit| *limit > 0)
        .unwrap_or(usize::MAX);
    let mut found = Vec::new();
    if members == 0 {
        // Delve knows a group by its members.
        return Some((found, false));
    }
    let too_many = groups.len() > limit;
    for (name, mut group) in groups.into_iter().take(limit) {
        let total = group.len();
        group.truncate(members);
        found.push(GoroutineGroup {
            name,
            offset: listed.len() as isize,
            count: group.len() as isize,
            total: total as isize,
        });
        listed.append(&mut group);
    }
    Some((found, too_many))
}

fn key_of(goroutine: &inspect::Goroutine, wish: &ListGoroutinesIn) -> String {
    match wish.group_by.0 {
        field::CURRENT => place(&goroutine.current),
        field::USER_CURRENT => place(&goroutine.user_current),
        field::GO_STATEMENT => place(&goroutine.go_statement),
        field::START => place(&goroutine.start),
        field::LABEL => {
            let label = goroutine.labels.iter().find(|(key, _)| *key == wish.group_by_key);
            format!("{}={}", wish.group_by_key, label.map_or("", |(_, value)| value))
        }
        field::RUNNING => format!("running={}", goroutine.thread.is_some()),
        field::USERS => format!("user={}", !goroutine.is_system),
        _ => String::new(),
    }
}
