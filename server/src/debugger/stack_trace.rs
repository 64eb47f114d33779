//! Stacks with all that a client may want to know of each frame.

use spelunk_dwarf::ProcAddr;

use super::DebugError;
use super::control::{Control, failed};
use super::session::Session;
use crate::inspect::{
    self, Ancestor, Deferred, Frame, FrameRef, GoroutineContext, ScopedValue, StackOptions, Whose, deferred_by_frame,
};
use crate::value::LoadConfig;

/// What is wanted of a stack.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct StackWish {
    /// How many frames at most, those that are skipped included.
    pub(crate) depth: usize,
    /// How many of the innermost frames are left out.
    pub(crate) skip: usize,
    /// How it is walked.
    pub(crate) options: StackOptions,
    /// Whether the deferred calls of the frames are wanted.
    pub(crate) deferred: bool,
    /// How far to load the variables of the frames; `None`: they are not wanted.
    pub(crate) variables: Option<LoadConfig>,
}

/// A stack.
#[derive(Clone, Debug)]
pub(crate) struct StackTrace {
    /// Innermost first.
    pub(crate) frames: Vec<TracedFrame>,
    /// Whether the last frame is that of a function which nothing has called.
    pub(crate) complete: bool,
    /// Why the stack could not be walked further.
    pub(crate) error: Option<String>,
    /// The address that could not be read, if that is why.
    pub(crate) unreadable_at: Option<ProcAddr>,
}

/// A frame of a stack.
#[derive(Clone, Debug)]
pub(crate) struct TracedFrame {
    /// The frame.
    pub(crate) frame: Frame,
    /// What addresses on its stack are counted from: the upper end of the goroutine's stack, or 0 on a system stack.
    pub(crate) stack_hi: ProcAddr,
    /// Its deferred calls; none where they were not wanted.
    pub(crate) deferred: Vec<Deferred>,
    /// Its variables; `None` where they were not wanted, or the frame is in no function.
    pub(crate) variables: Option<Vec<ScopedValue>>,
}

impl Session {
    /// A stack with all that is wanted of it.
    pub(crate) fn stack_trace(&self, whose: Whose, wish: StackWish) -> Result<StackTrace, DebugError> {
        self.ask(move |control| control.stack_trace(whose, wish))
    }

    /// The goroutines that a goroutine descends from, the nearest first; `None` where the runtime has kept none.
    pub(crate) fn ancestors(&self, id: i64, count: usize, depth: usize) -> Result<Option<Vec<Ancestor>>, DebugError> {
        self.ask(move |control| {
            let g = control.goroutine(id)?.addr;
            inspect::ancestors(&control.view()?, g, count, depth).map_err(failed)
        })
    }
}

impl Control {
    fn stack_trace(&mut self, whose: Whose, wish: StackWish) -> Result<StackTrace, DebugError> {
        let stack = if wish.options == StackOptions::default() {
            self.stack(whose, wish.depth)?
        } else {
            self.require_stopped()?;
            inspect::stack_with(&self.view()?, whose, wish.depth, wish.options).map_err(failed)?
        };
        let context = self.context(whose);
        let mut deferred = match context.filter(|_| wish.deferred) {
            Some(context) => deferred_by_frame(&self.view()?, context.addr, &stack.frames),
            None => Vec::new(),
        };
        deferred.resize_with(stack.frames.len(), Vec::new);
        let frames = stack.frames.into_iter().zip(deferred).skip(wish.skip);
        let frames = frames.map(|(frame, deferred)| {
            let variables = match wish.variables {
                Some(config) if frame.location.function.is_some() => Some(self.variables_of(&frame, context, config)?),
                _ => None,
            };
            let stack_hi = context.filter(|_| !frame.on_system_stack);
            Ok(TracedFrame {
                stack_hi: stack_hi.map_or(ProcAddr(0), |context| context.stack_hi),
                frame,
                deferred,
                variables,
            })
        });
        Ok(StackTrace {
            frames: frames.collect::<Result<_, DebugError>>()?,
            complete: stack.complete,
            error: stack.error,
            unreadable_at: stack.unreadable_at,
        })
    }

    /// The frame that a deferred call would have. `frames` are the innermost frames of the stack, that which deferred the call included.
    pub(super) fn deferred_frame(
        &self,
        at: FrameRef,
        context: Option<GoroutineContext>,
        frames: &[Frame],
    ) -> Result<Frame, DebugError> {
        let view = self.view()?;
        let mut calls = context.map_or_else(Vec::new, |context| deferred_by_frame(&view, context.addr, frames));
        let calls = calls.get_mut(at.frame).map(std::mem::take).unwrap_or_default();
        let call = at.deferred.checked_sub(1).and_then(|index| calls.get(index));
        let call = call.ok_or_else(|| failed(format!("Frame {} only has {} deferred calls", at.frame, calls.len())))?;
        call.frame(&view).map_err(failed)
    }
}
