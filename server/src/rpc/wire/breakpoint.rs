//! Breakpoints, and what is collected when one is hit.

use super::{Goroutine, LoadConfig, Stackframe, Variable, WatchType};
use crate::rpc::go_json::{Slice, StringMap, wire};

wire! { "api";
    /// A set of addresses at which the program is stopped, or watched in passing.
    pub(crate) struct Breakpoint {
        /// Its number, from 1 on; the ones that the debugger sets itself have negative ones.
        id: isize = "id",
        /// A name that the user gave it.
        name: String = "name",
        /// The first of its addresses. Deprecated.
        addr: u64 = "addr",
        /// Its addresses.
        addrs: Slice<u64> = "addrs",
        /// The process of each of its addresses.
        addr_pid: Slice<isize> = "addrpid",
        /// The source file.
        file: String = "file",
        /// The line in it.
        line: isize = "line",
        /// The function, as far as there is one.
        function_name: String = "functionName" omitempty,
        /// The location expression of a breakpoint that is not set yet.
        expr_string: String = "ExprString",
        /// The condition.
        cond: String = "Cond",
        /// The condition on the number of hits: a number, or an operator and a number.
        hit_cond: String = "HitCond",
        /// Whether hits count for each goroutine on its own.
        hit_cond_per_g: bool = "HitCondPerG",
        /// Whether it is a tracepoint, which does not stop the program for long.
        tracepoint: bool = "continue",
        /// Whether it is at the returns of a traced function.
        trace_return: bool = "traceReturn",
        /// Whether the goroutine is collected at a hit.
        goroutine: bool = "goroutine",
        /// How many frames are collected at a hit.
        stacktrace: isize = "stacktrace",
        /// Expressions that are evaluated at a hit.
        variables: Slice<String> = "variables" omitempty,
        /// How to load the arguments at a hit; `null`: not at all.
        load_args: Option<Box<LoadConfig>> = "LoadArgs",
        /// How to load the local variables at a hit; `null`: not at all.
        load_locals: Option<Box<LoadConfig>> = "LoadLocals",
        /// What the client executes at a hit.
        custom_commands: Slice<String> = "customCommands" omitempty,
        /// The expression that a watchpoint was made from.
        watch_expr: String = "WatchExpr",
        /// What a watchpoint watches.
        watch_type: WatchType = "WatchType",
        /// How the physical breakpoints are made up, for a debugger of the debugger.
        verbose_descr: Slice<String> = "VerboseDescr" omitempty,
        /// The number of hits for each goroutine, by its id.
        hit_count: StringMap<u64> = "hitCount",
        /// The number of hits.
        total_hit_count: u64 = "totalHitCount",
        /// Whether it is switched off.
        disabled: bool = "disabled",
        /// The function from which calls are followed, for a trace.
        root_func_name: String = "RootFuncName",
        /// How deep calls are followed, for a trace.
        trace_follow_calls: isize = "TraceFollowCalls",
    }

    /// What was collected when a breakpoint was hit.
    pub(crate) struct BreakpointInfo {
        /// The innermost frames.
        stacktrace: Slice<Stackframe> = "stacktrace" omitempty,
        /// The goroutine.
        goroutine: Option<Box<Goroutine>> = "goroutine" omitempty,
        /// The values of the breakpoint's expressions.
        variables: Slice<Variable> = "variables" omitempty,
        /// The function's arguments.
        arguments: Slice<Variable> = "arguments" omitempty,
        /// The local variables.
        locals: Slice<Variable> = "locals" omitempty,
    }

    /// A breakpoint that a restart did not set again.
    pub(crate) struct DiscardedBreakpoint {
        /// The breakpoint.
        breakpoint: Option<Box<Breakpoint>> = "Breakpoint",
        /// Why.
        reason: String = "Reason",
    }

    /// What a tracepoint that is carried by a kernel probe has seen.
    pub(crate) struct TracepointResult {
        /// The address.
        addr: u64 = "addr",
        /// The source file.
        file: String = "file",
        /// The line in it.
        line: isize = "line",
        /// Whether the function returned, rather than was called.
        is_ret: bool = "is_ret",
        /// The function.
        function_name: String = "functionName" omitempty,
        /// The goroutine.
        goroutine_id: isize = "goroutineID",
        /// What the function was called with.
        input_params: Slice<Variable> = "inputParams" omitempty,
        /// What it returned.
        return_params: Slice<Variable> = "returnParams" omitempty,
    }
}
