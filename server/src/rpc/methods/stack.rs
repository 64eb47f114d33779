//! Stacks, and those that goroutines descend from.

use super::{Methods, RpcError, scope, variables};
use crate::debugger::StackWish;
use crate::host::Host;
use crate::inspect::{self, StackOptions, Whose};
use crate::rpc::go_json::{Slice, wire};
use crate::rpc::wire::{Ancestor, LoadConfig, Stackframe, StacktraceOptions};

wire! { "rpc2";
    /// Asks for the stack of a goroutine.
    pub(crate) struct StacktraceIn {
        /// The goroutine; -1: the selected one.
        id: i64 = "Id",
        /// How many frames at most, beside the innermost one.
        depth: isize = "Depth",
        /// Whether the variables of all frames are wanted.
        full: bool = "Full",
        /// Whether the deferred calls of all frames are wanted.
        defers: bool = "Defers",
        /// How the stack is walked.
        options: StacktraceOptions = "Opts",
        /// How far to load variables; with it they are wanted.
        config: Option<Box<LoadConfig>> = "Cfg",
        /// How many of the innermost frames to leave out.
        skip: isize = "Skip",
    }

    /// Answers it.
    pub(crate) struct StacktraceOut {
        /// The frames, innermost first.
        locations: Slice<Stackframe> = "Locations",
    }

    /// Asks for the goroutines that a goroutine descends from.
    pub(crate) struct AncestorsIn {
        /// The goroutine; -1: the selected one.
        goroutine_id: i64 = "GoroutineID",
        /// How many of them at most.
        num_ancestors: isize = "NumAncestors",
        /// How many frames of each.
        depth: isize = "Depth",
    }

    /// Answers it.
    pub(crate) struct AncestorsOut {
        /// The nearest first.
        ancestors: Slice<Ancestor> = "Ancestors",
    }
}

/// Bits of [`StacktraceOptions`].
const READ_DEFERS: u16 = 1;
const SIMPLE: u16 = 1 << 1;
const FROM_G: u16 = 1 << 2;

/// Adds them.
pub(super) fn register(methods: &mut Methods) {
    methods.add(
        "RPCServer.Stacktrace",
        "The stack of a goroutine, with its variables and deferred calls if they are wanted.",
        stacktrace,
    );
    methods.add(
        "RPCServer.Ancestors",
        "The goroutines that a goroutine descends from, with their stacks when they started it; a program keeps them when it runs with \
         GODEBUG=tracebackancestors=N.",
        ancestors,
    );
}

fn stacktrace(host: &Host, asked: &StacktraceIn) -> Result<StacktraceOut, RpcError> {
    let rest = host.at_rest()?;
    let whose = scope::whose(&rest, asked.id)?;
    let depth = usize::try_from(asked.depth).map_err(|_| "negative maximum stack depth")?;
    let options = asked.options.0;
    let config = (asked.full || asked.config.is_some()).then(|| variables::load_config(asked.config.as_deref()));
    let wish = StackWish {
        depth: depth.saturating_add(1),
        skip: usize::try_from(asked.skip).unwrap_or(0),
        options: StackOptions {
            same_stack: options & SIMPLE != 0,
            from_saved: options & FROM_G != 0,
        },
        deferred: asked.defers || options & READ_DEFERS != 0,
        variables: config,
    };
    let stack = rest.session.stack_trace(whose, wish)?;
    let program = rest.session.program()?;
    Ok(StacktraceOut {
        locations: Stackframe::of_stack(&program, &stack).into(),
    })
}

fn ancestors(host: &Host, asked: &AncestorsIn) -> Result<AncestorsOut, RpcError> {
    let rest = host.at_rest()?;
    let Whose::Goroutine(id) = scope::whose(&rest, asked.goroutine_id)? else {
        return Err("no selected goroutine".into());
    };
    let limit = |number: isize| usize::try_from(number).unwrap_or(0);
    let found = rest
        .session
        .ancestors(id, limit(asked.num_ancestors), limit(asked.depth))?;
    let program = rest.session.program()?;
    let of = |ancestor: &inspect::Ancestor| {
        let frames = ancestor.frames.iter().map(|frame| Stackframe {
            bottom: frame.is_bottom,
            ..Stackframe::at(&program, &frame.location)
        });
        Ancestor {
            id: ancestor.id,
            stack: if ancestor.unreadable.is_some() {
                Slice(None)
            } else {
                frames.collect()
            },
            unreadable: ancestor.unreadable.clone().unwrap_or_default(),
        }
    };
    Ok(AncestorsOut {
        ancestors: found.unwrap_or_default().iter().map(of).collect(),
    })
}
