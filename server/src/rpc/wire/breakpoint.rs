//! Breakpoints, and what is collected when one is hit.

use super::{Goroutine, LoadConfig, Stackframe, Variable, WatchType};
use crate::debugger::{AskedLoad, BreakpointAddress, BreakpointTerms, BreakpointView, PhysicalView};
use crate::location::without_type_arguments;
use crate::rpc::go_json::{Slice, StringMap, wire};
use crate::value::push_quoted;

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

impl From<&AskedLoad> for LoadConfig {
    fn from(asked: &AskedLoad) -> LoadConfig {
        let number = |number: i64| isize::try_from(number).unwrap_or(isize::MAX);
        LoadConfig {
            follow_pointers: asked.follow_pointers,
            max_variable_recurse: number(asked.max_variable_recurse),
            max_string_len: number(asked.max_string_len),
            max_array_values: number(asked.max_array_values),
            max_struct_fields: number(asked.max_struct_fields),
        }
    }
}

impl From<&LoadConfig> for AskedLoad {
    fn from(config: &LoadConfig) -> AskedLoad {
        AskedLoad {
            follow_pointers: config.follow_pointers,
            max_variable_recurse: config.max_variable_recurse as i64,
            max_string_len: config.max_string_len as i64,
            max_array_values: config.max_array_values as i64,
            max_struct_fields: config.max_struct_fields as i64,
        }
    }
}

impl Breakpoint {
    /// What a client says of a breakpoint beside its place.
    pub(crate) fn terms(&self) -> BreakpointTerms {
        let load = |config: &Option<Box<LoadConfig>>| config.as_deref().map(AskedLoad::from);
        BreakpointTerms {
            name: self.name.clone(),
            condition: self.cond.clone(),
            hit_condition: self.hit_cond.clone(),
            hits_per_goroutine: self.hit_cond_per_g,
            tracepoint: self.tracepoint,
            trace_return: self.trace_return,
            goroutine: self.goroutine,
            stacktrace: self.stacktrace as i64,
            variables: self.variables.0.clone().unwrap_or_default(),
            load_args: load(&self.load_args),
            load_locals: load(&self.load_locals),
            custom_commands: self.custom_commands.0.clone().unwrap_or_default(),
            root_function: self.root_func_name.clone(),
            follow_calls: self.trace_follow_calls as i64,
        }
    }

    /// A breakpoint as clients are told of it.
    pub(crate) fn of(view: &BreakpointView) -> Breakpoint {
        let number = |number: i64| isize::try_from(number).unwrap_or_default();
        let terms = &view.terms;
        let load = |asked: &Option<AskedLoad>| asked.as_ref().map(|asked| Box::new(LoadConfig::from(asked)));
        let by_goroutine = view.hits.by_goroutine.iter();
        let addresses = || view.addresses.iter().map(|at| at.addr.0);
        Breakpoint {
            id: number(view.id.0),
            name: terms.name.clone(),
            addr: addresses().next().unwrap_or_default(),
            addrs: Slice::nil_if_empty(addresses().collect()),
            addr_pid: Slice::nil_if_empty(view.addresses.iter().map(|at| at.pid as isize).collect()),
            file: view.at.file.clone(),
            line: number(view.at.line),
            function_name: function_name(view),
            // One that is in the program is known by its addresses.
            expr_string: if view.addresses.is_empty() {
                view.expression.clone()
            } else {
                String::new()
            },
            cond: terms.condition.clone(),
            hit_cond: terms.hit_condition.clone(),
            hit_cond_per_g: terms.hits_per_goroutine,
            tracepoint: terms.tracepoint,
            trace_return: terms.trace_return,
            goroutine: terms.goroutine,
            stacktrace: number(terms.stacktrace),
            variables: Slice::nil_if_empty(terms.variables.clone()),
            load_args: load(&terms.load_args),
            load_locals: load(&terms.load_locals),
            custom_commands: Slice::nil_if_empty(terms.custom_commands.clone()),
            hit_count: StringMap(Some(by_goroutine.map(|(id, hits)| (id.to_string(), *hits)).collect())),
            total_hit_count: view.hits.total,
            disabled: !view.enabled,
            root_func_name: terms.root_function.clone(),
            trace_follow_calls: number(terms.follow_calls),
            ..Breakpoint::default()
        }
    }

    /// One address at which something stops a process.
    pub(crate) fn of_address(physical: &PhysicalView, pid: i32) -> Breakpoint {
        let whole = physical.owner.as_ref().map(|owner| BreakpointView {
            addresses: vec![BreakpointAddress {
                addr: physical.addr,
                function: physical.function.clone(),
                pid,
            }],
            ..owner.clone()
        });
        let original = physical.original.map_or("0x".to_owned(), |byte| format!("{byte:#04x}"));
        let mut description = vec![format!("OriginalData={original}")];
        description.push(match &whole {
            Some(owner) => {
                let mut condition = String::new();
                push_quoted(&mut condition, owner.terms.condition.as_bytes());
                format!("User Cond={condition} HitCond={}", owner.terms.hit_condition)
            }
            None => "Next Cond=\"\"".to_owned(),
        });
        let breakpoint = whole.map(|whole| Breakpoint::of(&whole));
        Breakpoint {
            verbose_descr: Slice::nil_if_empty(description),
            addr: physical.addr.0,
            addrs: vec![physical.addr.0].into(),
            addr_pid: vec![pid as isize].into(),
            ..breakpoint.unwrap_or_default()
        }
    }
}

impl DiscardedBreakpoint {
    /// A breakpoint that has no place any more.
    pub(crate) fn of(view: &BreakpointView, why: &str) -> DiscardedBreakpoint {
        let breakpoint = Breakpoint {
            expr_string: String::new(),
            ..Breakpoint::of(view)
        };
        DiscardedBreakpoint {
            breakpoint: Some(Box::new(breakpoint)),
            reason: why.to_owned(),
        }
    }
}

/// The function of a breakpoint: one name for the instances of a generic function; several functions have none.
fn function_name(view: &BreakpointView) -> String {
    let mut name = view.at.function.clone();
    let without = |name: &str| without_type_arguments(name).unwrap_or_else(|| name.to_owned());
    for BreakpointAddress { function, .. } in &view.addresses {
        if !name.is_empty() && name != *function {
            name = without(&name);
            if name != without(function) {
                "(multiple functions)".clone_into(&mut name);
            }
        }
    }
    name
}
