//! Stacks.

use super::{Function, Location, Variable};
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
