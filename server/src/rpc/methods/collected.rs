//! What threads show of the breakpoints that they have come to, and what those collect there.

use super::variables::variables_of;
use super::{RpcError, goroutines};
use crate::debugger::{AskedLoad, BreakpointTerms, BreakpointView, Pass, Session, StackWish};
use crate::host::Rest;
use crate::inspect::{FrameRef, StackOptions, Tid, Whose};
use crate::location::Place;
use crate::rpc::go_json::Slice;
use crate::rpc::wire::{Breakpoint, BreakpointInfo, Location, Stackframe, Thread, Variable};
use crate::value::{LoadConfig, Traits, Value};

/// Says of threads at a stop which breakpoints they have come to; with `with_info` also what these collect.
pub(super) fn mark_threads(rest: &Rest, threads: &mut [Thread], with_info: bool) -> Result<(), RpcError> {
    for (tid, view) in rest.session.threads_at_breakpoints()? {
        let Some(thread) = threads.iter_mut().find(|thread| thread.id == tid.0 as isize) else {
            continue;
        };
        thread.breakpoint = Some(Box::new(Breakpoint::of(&view)));
        if with_info {
            let info = collect(rest, thread.goroutine_id, tid, &view.terms);
            if view.terms.trace_return {
                add_results(&mut thread.return_values, &info.arguments);
            }
            thread.breakpoint_info = Some(Box::new(info));
        }
    }
    Ok(())
}

/// A thread that has passed a tracepoint, as it was then.
pub(crate) fn thread_of_pass(session: &Session, pass: &Pass) -> Result<Thread, RpcError> {
    let program = session.program()?;
    let pid = session.pid();
    let at = Location::of_place(&program, &Place::Address(pass.pc), pid);
    let view = BreakpointView {
        hits: pass.tally(),
        ..BreakpointView::clone(&pass.tracepoint)
    };
    let breakpoint = Some(Box::new(Breakpoint::of(&view)));
    let variable = |(name, value): &(String, Result<Value, String>)| match value {
        Ok(value) => Variable {
            name: name.clone(),
            ..Variable::of(value)
        },
        Err(why) => unevaluated(name, why),
    };
    let arguments = Slice::nil_if_empty(variables_of(&pass.arguments));
    let mut return_values = Slice::default();
    if view.terms.trace_return {
        add_results(&mut return_values, &arguments);
    }
    Ok(Thread {
        id: pass.thread.0 as isize,
        pc: at.pc,
        file: at.file,
        line: at.line,
        function: at.function,
        goroutine_id: pass.goroutine,
        breakpoint,
        breakpoint_info: Some(Box::new(BreakpointInfo {
            variables: Slice::nil_if_empty(pass.variables.iter().map(variable).collect()),
            arguments,
            ..BreakpointInfo::default()
        })),
        return_values,
        ..Thread::default()
    })
}

/// Adds what a traced function returns, which is collected among its arguments, to what its thread returns.
fn add_results(returned: &mut Slice<Variable>, arguments: &Slice<Variable>) {
    let is_result = |variable: &&Variable| variable.flags.0 & Traits::RESULT.number() != 0;
    let results: Vec<Variable> = arguments.0.iter().flatten().filter(is_result).cloned().collect();
    if !results.is_empty() {
        returned.0.get_or_insert_default().extend(results);
    }
}

/// An expression that has no value where it was to be evaluated.
fn unevaluated(expression: &str, why: &str) -> Variable {
    Variable {
        name: expression.to_owned(),
        unreadable: format!("eval error: {why}"),
        ..Variable::default()
    }
}

/// What a breakpoint collects where a thread has come to it.
fn collect(rest: &Rest, goroutine: i64, thread: Tid, terms: &BreakpointTerms) -> BreakpointInfo {
    let whose = match goroutine {
        0 => Whose::Thread(thread),
        id => Whose::Goroutine(id),
    };
    let mut info = BreakpointInfo::default();
    if terms.goroutine {
        info.goroutine = goroutines::goroutine_of(rest, whose).map(Box::new);
    }
    let frame = FrameRef {
        whose,
        frame: 0,
        deferred: 0,
    };
    let session = &rest.session;
    if let Some(depth) = usize::try_from(terms.stacktrace).ok().filter(|depth| *depth > 0) {
        let wish = StackWish {
            depth: depth.saturating_add(1),
            skip: 0,
            options: StackOptions::default(),
            deferred: false,
            variables: None,
        };
        if let (Ok(stack), Ok(program)) = (session.stack_trace(whose, wish), session.program()) {
            info.stacktrace = Stackframe::of_stack(&program, &stack).into();
        }
    }
    let evaluate = |expression: &String| match session.evaluate(frame, expression, LoadConfig::FULL) {
        Ok(value) => Variable::of(&value),
        Err(error) => unevaluated(expression, &error.to_string()),
    };
    info.variables = Slice::nil_if_empty(terms.variables.iter().map(evaluate).collect());
    let load = |config: &AskedLoad, parameters: bool| {
        let variables = session.frame_variables(frame, config.config()).unwrap_or_default();
        let wanted = variables
            .iter()
            .filter(|scoped| (scoped.is_parameter || scoped.is_result) == parameters);
        Slice::nil_if_empty(wanted.map(|scoped| Variable::of(&scoped.value)).collect())
    };
    if let Some(config) = &terms.load_args {
        info.arguments = load(config, true);
    }
    if let Some(config) = &terms.load_locals {
        info.locals = load(config, false);
    }
    info
}
