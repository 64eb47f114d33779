//! Stacks.

use spelunk_dwarf::{DwarfReg, ProcAddr};

use super::{Function, Location, Variable};
use crate::debugger::{Program, StackTrace, TracedFrame};
use crate::inspect;
use crate::rpc::go_json::{Slice, wire};

wire! { "api";
    /// A frame of a stack. The fields of its location are its own.
    pub(crate) struct Stackframe {
        /// The address.
        pc: u64 = "pc",
        /// The source file.
        file: String = "file",
        /// The line in it.
        line: isize = "line",
        /// The function.
        function: Option<Box<Function>> = "function" omitempty,
        /// Never there.
        pcs: Slice<u64> = "pcs" omitempty,
        /// Never there.
        pc_pids: Slice<isize> = "pcpids" omitempty,
        /// The local variables; `null` where they were not asked for.
        locals: Slice<Variable> = "Locals",
        /// The arguments; `null` where they were not asked for.
        arguments: Slice<Variable> = "Arguments",
        /// The canonical frame address, counted from the upper end of the stack.
        frame_offset: i64 = "FrameOffset",
        /// The frame pointer, counted from the upper end of the stack.
        frame_pointer_offset: i64 = "FramePointerOffset",
        /// The calls that it has deferred; `null` where they were not asked for.
        defers: Slice<Defer> = "Defers",
        /// Whether no frame is outside of it.
        bottom: bool = "Bottom" omitempty,
        /// Why the stack could not be walked further.
        err: String = "Err",
    }

    /// A deferred call.
    pub(crate) struct Defer {
        /// The function that is to be called.
        deferred_loc: Location = "DeferredLoc",
        /// The `defer` statement.
        defer_loc: Location = "DeferLoc",
        /// The stack pointer there.
        sp: u64 = "SP",
        /// Why it cannot be read.
        unreadable: String = "Unreadable",
    }
}

/// Nothing lies there: a pointer into it is none.
const FIRST_PAGE: u64 = 4096;

impl Stackframe {
    /// The frames of a stack, and one that says why it could not be walked further.
    pub(crate) fn of_stack(program: &Program, stack: &StackTrace) -> Vec<Stackframe> {
        let last = stack.frames.len().saturating_sub(1);
        let frames = stack.frames.iter().enumerate();
        let mut frames: Vec<Stackframe> = frames
            .map(|(index, traced)| Stackframe {
                bottom: stack.complete && index == last,
                ..Stackframe::of(program, traced)
            })
            .collect();
        if let Some(why) = &stack.error {
            let empty = Stackframe {
                defers: Slice(Some(Vec::new())),
                ..Stackframe::default()
            };
            let is_none = |frame: &TracedFrame| frame.frame.info.is_none() && frame.frame.pc.0 < FIRST_PAGE;
            let ends_in_null = stack.unreadable_at == Some(ProcAddr(0));
            let err = if ends_in_null || stack.frames.last().is_some_and(is_none) {
                // What lies at the outer end of the first stack is no frame.
                if let Some(last) = frames.last_mut() {
                    *last = Stackframe {
                        bottom: true,
                        ..empty.clone()
                    };
                }
                "NULL address".to_owned()
            } else if stack.unreadable_at.is_some() {
                // Delve gives the kernel's word.
                "input/output error".to_owned()
            } else {
                why.clone()
            };
            frames.push(Stackframe { err, ..empty });
        }
        frames
    }

    fn of(program: &Program, traced: &TracedFrame) -> Stackframe {
        let frame = &traced.frame;
        let from_top = |addr: u64| addr.wrapping_sub(traced.stack_hi.0).cast_signed();
        let variables = |parameters: bool| {
            let variables = traced.variables.as_ref()?.iter();
            let wanted = variables.filter(|scoped| (scoped.is_parameter || scoped.is_result) == parameters);
            Some(wanted.map(|scoped| Variable::of(&scoped.value)).collect())
        };
        Stackframe {
            locals: Slice(variables(false)),
            arguments: Slice(variables(true)),
            frame_offset: from_top(frame.cfa.0),
            frame_pointer_offset: from_top(frame.registers.general(DwarfReg::RBP).unwrap_or(0)),
            defers: traced
                .deferred
                .iter()
                .map(|deferred| Defer::of(program, deferred))
                .collect(),
            ..Stackframe::at(program, &frame.location)
        }
    }

    /// A frame of which the place is all that is known.
    pub(crate) fn at(program: &Program, location: &inspect::Location) -> Stackframe {
        let at = Location::of(program, location);
        let known = at.function.is_some();
        Stackframe {
            pc: at.pc,
            file: if known { at.file } else { "?".to_owned() },
            line: if known { at.line } else { -1 },
            function: at.function,
            defers: Slice(Some(Vec::new())),
            ..Stackframe::default()
        }
    }
}

impl Defer {
    fn of(program: &Program, deferred: &inspect::Deferred) -> Defer {
        if let Some(why) = &deferred.unreadable {
            return Defer {
                unreadable: why.clone(),
                ..Defer::default()
            };
        }
        Defer {
            deferred_loc: Location::of(program, &deferred.function),
            defer_loc: Location::of(program, &deferred.statement),
            sp: deferred.sp,
            unreadable: String::new(),
        }
    }
}
