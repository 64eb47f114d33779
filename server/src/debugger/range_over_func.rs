//! Loops over functions: their bodies are functions of their own, called by the iterator, and a step treats them as part of the function they stand in.
//!
//! Which frame of that function a body belongs to is told by the closure it was called with: `.closureptr` in the body, and in the function either on its
//! frame or in one of its variables `#yield…` (cmd/compile/internal/rangefunc).

use std::sync::Arc;

use spelunk_dwarf::{Binary, FileAddr, FunctionInfo, LoadBias, PieceKind, ProcAddr, Scope, Variable};

use super::DebugError;
use super::StepKind;
use super::control::{Control, Phase, failed};
use super::hits::Passer;
use super::landing::{behind_prologue, range_parent, statements, without_inlined_calls};
use super::stepping::{From, Plan};
use super::temporary::{FrameIs, Kind, Temporary};
use crate::inspect::{Frame, RunningGoroutine, Whose};
use crate::value::Memory;

/// The frames between a body and its function are not looked for deeper than this.
const MAX_DEPTH: usize = 10_000;

/// The bodies on a stack and the frames they return to, in turn, innermost first; then the function they stand in and its caller.
#[derive(Clone, Debug)]
pub(super) struct RangeFrames {
    frames: Vec<Frame>,
}

impl RangeFrames {
    /// The function that the innermost body stands in.
    pub(super) fn parent(&self) -> &Frame {
        // There are at least four: a body, its caller, the function and its caller.
        &self.frames[self.frames.len() - 2]
    }

    /// What that function returns to.
    pub(super) fn caller(&self) -> Option<&Frame> {
        self.frames.last()
    }
}

/// What is needed to find the frames.
struct Search<'a> {
    binary: &'a Binary,
    bias: LoadBias,
    memory: &'a dyn Memory,
    /// The goroutine's stack, from the lower to the upper end.
    stack: std::ops::Range<u64>,
}

/// Where the closure of a body is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closure {
    Unknown,
    OnStack(u64),
    OnHeap(u64),
}

impl Search<'_> {
    /// `None` when the innermost frame is no body, or its function cannot be told.
    fn find(&self, stack: &[Frame]) -> Result<Option<RangeFrames>, String> {
        let mut frames: Vec<Frame> = Vec::new();
        let mut closure = Closure::Unknown;
        let mut parent: Option<String> = None;
        let mut returns = false;
        let mut is_last = false;
        for frame in stack {
            if std::mem::take(&mut returns) {
                frames.push(frame.clone());
            }
            let Some(name) = frame.location.function.as_deref() else {
                if parent.is_none() {
                    return Ok(None);
                }
                continue;
            };
            if is_last {
                frames.push(frame.clone());
                return Ok(Some(RangeFrames { frames }));
            }
            let optimized = frame.info.as_ref().is_none_or(|info| info.optimized);
            match &parent {
                None => {
                    let Some(of) = range_parent(name) else { return Ok(None) };
                    closure = self.closure(frame);
                    if !optimized && frame.inline_depth == 0 && closure == Closure::Unknown {
                        return Ok(None);
                    }
                    parent = Some(of.to_owned());
                    frames.push(frame.clone());
                    returns = true;
                }
                Some(of) => {
                    let last_inlined = frames.last().is_some_and(|last| last.inline_depth > 0);
                    let belongs = || {
                        !frame.on_system_stack
                            && ((closure == Closure::Unknown && optimized)
                                || last_inlined
                                || self.holds(frame, closure))
                    };
                    if name == of && belongs() {
                        frames.push(frame.clone());
                        is_last = true;
                    } else if range_parent(name) == Some(of.as_str()) && belongs() {
                        frames.push(frame.clone());
                        returns = true;
                        match self.closure(frame) {
                            Closure::Unknown if !optimized && closure == Closure::Unknown => return Ok(None),
                            Closure::Unknown => {}
                            known => closure = known,
                        }
                    } else if last_inlined && frame.inline_depth == 0 && closure == Closure::Unknown {
                        return Ok(None);
                    }
                }
            }
        }
        match parent {
            None => Ok(None),
            Some(_) => Err("could not find range-over-func closure parent on the stack".to_owned()),
        }
    }

    /// The closure that a body was called with.
    fn closure(&self, frame: &Frame) -> Closure {
        let value = frame.info.as_ref().and_then(|info| {
            let variable = info
                .params
                .iter()
                .chain(&info.scope.variables)
                .find(|variable| &*variable.name == ".closureptr")?;
            self.word(frame, info, variable)
        });
        match value {
            None | Some(0) => Closure::Unknown,
            Some(value) if self.stack.contains(&value) => Closure::OnStack(value),
            Some(value) => Closure::OnHeap(value),
        }
    }

    /// Whether a closure was made by the call that a frame is of.
    fn holds(&self, frame: &Frame, closure: Closure) -> bool {
        match closure {
            Closure::Unknown => false,
            Closure::OnStack(at) => frame.registers.sp().is_some_and(|sp| sp < at && at <= frame.cfa.0),
            Closure::OnHeap(at) => {
                let Some(info) = &frame.info else { return false };
                let mut yields = Vec::new();
                collect_yields(&info.scope, &mut yields);
                yields.into_iter().any(|variable| {
                    let value = self.word(frame, info, variable);
                    let value = if variable.escaped() {
                        value.and_then(|value| self.memory.read_uint(ProcAddr(value), 8).ok())
                    } else {
                        value
                    };
                    value == Some(at)
                })
            }
        }
    }

    /// The first word of a variable.
    fn word(&self, frame: &Frame, info: &FunctionInfo, variable: &Variable) -> Option<u64> {
        let location = self.binary.location(info, variable, frame.lookup_pc).ok()?;
        let at = |addr: u64| self.memory.read_uint(ProcAddr(addr), 8).ok();
        match &location.pieces.first()?.kind {
            PieceKind::Register(register) => frame.registers.general(*register),
            PieceKind::CfaOffset(offset) => at(frame.cfa.0.wrapping_add_signed(*offset)),
            PieceKind::RegisterOffset(register, offset) => {
                at(frame.registers.general(*register)?.wrapping_add_signed(*offset))
            }
            PieceKind::Addr(addr) => at(self.bias.to_proc(*addr).0),
            PieceKind::Behind(offset) => at(at(frame.cfa.0.wrapping_add_signed(*offset))?),
            PieceKind::Const(_) | PieceKind::Empty => None,
        }
    }
}

fn collect_yields<'s>(scope: &'s Scope, found: &mut Vec<&'s Variable>) {
    let yields = scope
        .variables
        .iter()
        .filter(|variable| variable.display_name().starts_with("#yield"));
    found.extend(yields);
    for child in &scope.children {
        collect_yields(child, found);
    }
}

impl Control {
    /// The frames of the bodies and of the function around a frame of a goroutine, innermost first; `None` where it is no body, or they cannot be told.
    pub(super) fn enclosing_frames(&mut self, whose: Whose, number: usize) -> Option<Arc<[Frame]>> {
        let context = self.context(whose)?;
        let stack = self.kept_stack(whose, MAX_DEPTH).ok()?;
        let range = self
            .find_range_frames(stack.frames.get(number..)?, context.addr, context.stack_hi.0)
            .ok()??;
        let callers_left_out = range.frames.into_iter().step_by(2).skip(1);
        Some(callers_left_out.collect())
    }

    /// The bodies on the stack of a goroutine that is about to step; `None` when it is not in one.
    pub(super) fn range_frames(&mut self, from: &From) -> Result<Option<RangeFrames>, DebugError> {
        let is_body = from
            .stack
            .frames
            .first()
            .and_then(|top| top.location.function.as_deref())
            .is_some_and(|name| range_parent(name).is_some());
        let (true, Some(g)) = (is_body, from.g) else {
            return Ok(None);
        };
        let stack = self.kept_stack(from.whose(), MAX_DEPTH)?;
        self.find_range_frames(&stack.frames, g, from.stack_hi).map_err(failed)
    }

    fn find_range_frames(&self, stack: &[Frame], g: ProcAddr, stack_hi: u64) -> Result<Option<RangeFrames>, String> {
        let (Some(memory), Some(layout)) = (&self.memory, &self.layout) else {
            return Ok(None);
        };
        let lo = memory
            .read_uint(ProcAddr(g.0.wrapping_add(layout.g_stack_lo)), 8)
            .map_err(|error| error.to_string())?;
        let search = Search {
            binary: &self.binary,
            bias: self.bias,
            memory: &**memory,
            stack: lo..stack_hi,
        };
        search.find(stack)
    }

    /// The frame of the function that the body which a thread has entered stands in, as [`FrameIs::BodyOf`] measures it.
    pub(super) fn body_parent_offset(&self, passer: &Passer) -> Option<i64> {
        let RunningGoroutine { addr, stack_hi, .. } = passer.goroutine.as_ref()?;
        let stack = self.stack_of(passer, MAX_DEPTH)?;
        let frames = self.find_range_frames(&stack.frames, *addr, stack_hi.0).ok()??;
        Some(frames.parent().cfa.0.wrapping_sub(stack_hi.0).cast_signed())
    }

    /// The returns from each body on the stack, for a step over the rest of the innermost.
    pub(super) fn plan_range_returns(&mut self, from: &From, range: &RangeFrames, plan: &mut Plan) {
        let binary = Arc::clone(&self.binary);
        for frame in range.frames.iter().skip(2).step_by(2) {
            let here = FrameIs::At(from.offset(frame));
            let addr = self.bias.to_file(frame.pc);
            let within = frame.info.as_ref().map(|info| info.scope.inlined_at(frame.lookup_pc));
            let has_inlined = within.is_some_and(|within| within.len() > frame.inline_depth);
            if !has_inlined {
                plan.push((addr, Temporary::new(from.follow, here, Kind::Land)));
                continue;
            }
            // The address is in code that was inlined: any statement of the function itself will do.
            let (Some(function), Some(info)) = (binary.function_at(frame.lookup_pc), &frame.info) else {
                continue;
            };
            let rows = self.lines.of(&binary, function);
            for addr in without_inlined_calls(statements(&rows, None), info, None, &function.name) {
                plan.push((addr, Temporary::new(from.follow, here, Kind::Land)));
            }
        }
        // When the innermost body has returned, the iterator may call it again; its prologue and what precedes the line to land on must not count then.
        let (Some(body), Some(to)) = (range.frames.first(), range.frames.get(1)) else {
            return;
        };
        if body.inline_depth == 0
            && let Some(function) = binary.function_at(body.lookup_pc)
        {
            let here = FrameIs::At(from.offset(to));
            let temporary = Temporary::new(from.follow, here, Kind::LeaveBody(function.entry));
            plan.push((self.bias.to_file(to.pc), temporary));
        }
    }

    /// A body has returned to its iterator: the temporaries within it count no more, but the one at its beginning.
    pub(super) fn leave_body(&mut self, body: FileAddr) {
        let binary = Arc::clone(&self.binary);
        let Some(function) = binary.function_at(body) else {
            return;
        };
        let first = behind_prologue(&binary, function);
        self.sites.each_temporary(|addr, temporary| {
            if function.contains(addr) && addr != first && temporary.kind == Kind::Land {
                temporary.counts = false;
            }
        });
    }

    /// The step has come to a body on the very line it began on: it is made anew from there.
    pub(super) fn step_on_in_body(&mut self, passer: &Passer) -> Result<(), DebugError> {
        let whose = self.whose(passer.thread);
        if let Some(inferior) = self.inferior.as_mut() {
            inferior.stop_all().map_err(failed)?;
        }
        self.phase = Phase::Stopped;
        self.seen.forget();
        self.cancel_step();
        self.start_step(whose, StepKind::Over)
    }
}
