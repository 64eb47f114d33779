//! Looking at the stopped program: stacks, goroutines, variables, expressions. What was looked at once at a stop is kept until the program moves.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use spelunk_dwarf::{Binary, DwarfReg, LoadBias, ProcAddr};

use super::control::{Control, NOT_TRACED, Phase, failed};
use super::landing::range_parent;
use super::{BreakpointId, DebugError, Stop, StopReason};
use crate::expr::BreakpointName;
use crate::inspect::{
    self, Around, Frame, FrameRef, FrameScope, Goroutine, GoroutineContext, InspectError, Library, Registers,
    ScopedValue, Stack, Stopped, ThreadState, Tid, Whose, Write,
};
use crate::process::Inferior;
use crate::value::{LoadConfig, Memory, Value};

/// Delve's depth where a client asks for one frame and the search for it must end somewhere.
pub(super) const MAX_DEPTH: usize = 10_000;

/// What was looked at during one stop.
#[derive(Default)]
pub(super) struct Seen {
    stacks: HashMap<Whose, (Arc<Stack>, usize)>,
    contexts: HashMap<i64, GoroutineContext>,
    /// What the function that the last step returned from has left, and to whom.
    pub(super) returned: Option<(Whose, super::returns::Returned)>,
    /// What the call has come to that the program has stopped for.
    pub(super) called: Option<super::injection::CallOutcome>,
}

impl Seen {
    /// The program has moved.
    pub(super) fn forget(&mut self) {
        *self = Seen::default();
    }

    /// Something was written to the program: what it shows may differ.
    pub(super) fn forget_stacks(&mut self) {
        self.stacks.clear();
    }
}

/// The stopped target as `inspect` looks at it.
pub(super) struct View<'a> {
    binary: &'a Arc<Binary>,
    bias: LoadBias,
    memory: &'a dyn Memory,
    inferior: &'a Inferior,
}

impl Stopped for View<'_> {
    fn binary(&self) -> &Arc<Binary> {
        self.binary
    }

    fn bias(&self) -> LoadBias {
        self.bias
    }

    fn memory(&self) -> &dyn Memory {
        self.memory
    }

    fn threads(&self) -> Vec<Tid> {
        self.inferior.threads()
    }

    fn registers(&self, thread: Tid) -> Result<Registers, InspectError> {
        self.inferior
            .registers(thread)
            .map_err(|error| InspectError::Failed(error.to_string()))
    }
}

impl Control {
    /// The stop the target is at. One that is held is at its entry.
    pub(super) fn current_stop(&self) -> Option<Stop> {
        match self.phase {
            Phase::Held => Some(Stop {
                reason: StopReason::Entry,
                whose: Whose::Thread(Tid(self.pid)),
                step_interrupted: false,
            }),
            _ => self.stop.clone(),
        }
    }

    /// The target must be stopped to be looked at. A held one is brought to its first instruction.
    pub(super) fn require_stopped(&mut self) -> Result<(), DebugError> {
        match self.phase {
            Phase::Stopped => Ok(()),
            Phase::Held => self.seize(),
            Phase::Running => Err(DebugError::Failed("the program is running".to_owned())),
            Phase::Exited => Err(DebugError::Failed(format!("Process {} has exited", self.pid))),
            Phase::Released => Err(DebugError::Failed("the program was let go".to_owned())),
        }
    }

    /// The target as it can be looked at; also while only some threads are stopped, as far as these go.
    pub(super) fn view(&self) -> Result<View<'_>, DebugError> {
        match (&self.inferior, &self.memory) {
            (Some(inferior), Some(memory)) => Ok(View {
                binary: &self.binary,
                bias: self.bias,
                memory: &**memory,
                inferior,
            }),
            _ => Err(failed(NOT_TRACED)),
        }
    }

    /// As [`super::Session::goroutines`].
    pub(super) fn goroutines(
        &mut self,
        start: usize,
        count: usize,
    ) -> Result<(Vec<Goroutine>, Option<usize>), DebugError> {
        self.require_stopped()?;
        inspect::goroutines(&self.view()?, start, count).map_err(failed)
    }

    /// As [`super::Session::goroutine`].
    pub(super) fn goroutine(&mut self, id: i64) -> Result<Goroutine, DebugError> {
        self.require_stopped()?;
        inspect::goroutine(&self.view()?, id).map_err(failed)
    }

    /// As [`super::Session::threads`].
    pub(super) fn threads(&mut self) -> Result<Vec<ThreadState>, DebugError> {
        self.require_stopped()?;
        Ok(inspect::threads(&self.view()?))
    }

    /// As [`super::Session::libraries`].
    pub(super) fn libraries(&mut self) -> Result<Vec<Library>, DebugError> {
        self.require_stopped()?;
        Ok(inspect::libraries(&self.view()?))
    }

    /// As [`super::Session::stack`].
    pub(super) fn stack(&mut self, whose: Whose, depth: usize) -> Result<Stack, DebugError> {
        let stack = self.kept_stack(whose, depth)?;
        let mut stack = Stack::clone(&stack);
        if stack.frames.len() > depth {
            stack.frames.truncate(depth);
            stack.complete = false;
            stack.error = None;
            stack.unreadable_at = None;
        }
        Ok(stack)
    }

    /// A stack of at least `depth` frames, if it has as many.
    pub(super) fn kept_stack(&mut self, whose: Whose, depth: usize) -> Result<Arc<Stack>, DebugError> {
        self.require_stopped()?;
        if let Some((stack, asked)) = self.seen.stacks.get(&whose)
            && (*asked >= depth || stack.frames.len() < *asked)
        {
            return Ok(Arc::clone(stack));
        }
        let stack = Arc::new(inspect::stack(&self.view()?, whose, depth).map_err(failed)?);
        self.seen.stacks.insert(whose, (Arc::clone(&stack), depth));
        Ok(stack)
    }

    /// What the runtime's made-up variables mean in an expression about a goroutine.
    pub(super) fn context(&mut self, whose: Whose) -> Option<GoroutineContext> {
        let Whose::Goroutine(id) = whose else { return None };
        if let Some(known) = self.seen.contexts.get(&id) {
            return Some(*known);
        }
        let goroutine = self.goroutine(id).ok()?;
        let context = GoroutineContext {
            addr: goroutine.addr,
            stack_hi: goroutine.stack_hi,
            thread: goroutine.thread,
        };
        self.seen.contexts.insert(id, context);
        Some(context)
    }

    /// A frame, or that of a deferred call.
    pub(super) fn frame(&mut self, frame: FrameRef) -> Result<Frame, DebugError> {
        // Clients ask for many frames of a stack one after the other.
        let depth = frame
            .frame
            .saturating_add(50)
            .min(MAX_DEPTH)
            .max(frame.frame.saturating_add(1));
        let stack = self.kept_stack(frame.whose, depth)?;
        if frame.deferred > 0 && frame.frame < stack.frames.len() {
            let context = self.context(frame.whose);
            return self.deferred_frame(frame, context, &stack.frames);
        }
        let found = stack.frames.get(frame.frame).cloned().ok_or_else(|| {
            failed(InspectError::UnknownFrame {
                goroutine: match frame.whose {
                    Whose::Goroutine(id) => id,
                    Whose::Thread(_) => 0,
                },
                frame: frame.frame,
            })
        })?;
        let is_body = found
            .location
            .function
            .as_deref()
            .is_some_and(|name| range_parent(name).is_some());
        let enclosing = if is_body {
            self.enclosing_frames(frame.whose, frame.frame)
        } else {
            None
        };
        Ok(Frame { enclosing, ..found })
    }

    pub(super) fn scope<'a>(
        &'a self,
        frame: &'a Frame,
        context: Option<GoroutineContext>,
    ) -> Result<FrameScope<'a>, DebugError> {
        let memory = self.traced_memory()?;
        Ok(FrameScope::new(&self.binary, self.bias, &**memory, frame).with_goroutine(context))
    }

    /// As [`super::Session::locals`].
    pub(super) fn locals(&mut self, frame: FrameRef, config: LoadConfig) -> Result<Vec<ScopedValue>, DebugError> {
        let context = self.context(frame.whose);
        let frame = self.frame(frame)?;
        Ok(self.scope(&frame, context)?.locals(config))
    }

    /// As [`super::Session::frame_variables`].
    pub(super) fn frame_variables(
        &mut self,
        frame: FrameRef,
        config: LoadConfig,
    ) -> Result<Vec<ScopedValue>, DebugError> {
        let context = self.context(frame.whose);
        let frame = self.frame(frame)?;
        self.variables_of(&frame, context, config)
    }

    /// The variables of a frame that is at hand; an error for one that is in no function.
    pub(super) fn variables_of(
        &self,
        frame: &Frame,
        context: Option<GoroutineContext>,
        config: LoadConfig,
    ) -> Result<Vec<ScopedValue>, DebugError> {
        if frame.location.function.is_none() {
            return Err(failed("unable to find function context"));
        }
        Ok(self.scope(frame, context)?.locals(config))
    }

    /// As [`super::Session::all_package_variables`].
    pub(super) fn all_package_variables(
        &mut self,
        wanted: &dyn Fn(&str) -> bool,
        config: LoadConfig,
    ) -> Result<Vec<Value>, DebugError> {
        self.require_stopped()?;
        let memory = self.traced_memory()?;
        Ok(inspect::all_package_variables(
            &self.binary,
            self.bias,
            &**memory,
            wanted,
            config,
        ))
    }

    /// As [`super::Session::evaluate`].
    pub(super) fn evaluate(
        &mut self,
        frame: FrameRef,
        expression: &str,
        config: LoadConfig,
    ) -> Result<Value, DebugError> {
        let context = self.context(frame.whose);
        let names_frames = expression.contains("runtime.frame");
        let stack = names_frames
            .then(|| self.kept_stack(frame.whose, MAX_DEPTH).ok())
            .flatten();
        let frame = self.frame(frame)?;
        let around = Around {
            hits: &|breakpoint| self.hits_by_name(breakpoint),
            frames: &|| stack.clone(),
        };
        self.scope(&frame, context)?
            .with_around(around)
            .evaluate(expression, config)
            .map_err(failed)
    }

    /// How often a breakpoint was hit that an expression names.
    pub(super) fn hits_by_name(&self, breakpoint: BreakpointName<'_>) -> Option<u64> {
        let view = match breakpoint {
            BreakpointName::Id(id) => self.breakpoint_view(BreakpointId(id)),
            BreakpointName::Name(name) => self.breakpoint_named(name),
        };
        Some(view?.hits.total)
    }

    /// As [`super::Session::waiting_on_channel`].
    pub(super) fn waiting_on_channel(
        &mut self,
        frame: FrameRef,
        channel: &str,
        start: usize,
        count: usize,
    ) -> Result<Vec<i64>, DebugError> {
        let context = self.context(frame.whose);
        let frame = self.frame(frame)?;
        self.scope(&frame, context)?
            .waiting_on(channel, start, count)
            .map_err(failed)
    }

    /// As [`super::Session::reload`].
    pub(super) fn reload(
        &mut self,
        frame: FrameRef,
        value: &Value,
        range: Option<Range<u64>>,
        config: LoadConfig,
    ) -> Result<Value, DebugError> {
        let context = self.context(frame.whose);
        let frame = self.frame(frame)?;
        self.scope(&frame, context)?
            .reload(value, range, config)
            .map_err(failed)
    }

    /// As [`super::Session::package_variables`].
    pub(super) fn package_variables(&mut self, package: &str, config: LoadConfig) -> Result<Vec<Value>, DebugError> {
        self.require_stopped()?;
        let memory = self.traced_memory()?;
        Ok(inspect::package_variables(
            &self.binary,
            self.bias,
            &**memory,
            package,
            config,
        ))
    }

    /// As [`super::Session::set_variable`].
    pub(super) fn set_variable(&mut self, at: FrameRef, what: &str, to: &str) -> Result<(), DebugError> {
        let context = self.context(at.whose);
        let frame = self.frame(at)?;
        let thread = self.thread_of(at.whose)?;
        let mut writes = Vec::new();
        self.scope(&frame, context)?
            .assign(what, to, &mut |write| {
                writes.push(write);
                Ok(())
            })
            .map_err(failed)?;
        for write in writes {
            self.write(at, thread, write)?;
        }
        self.seen.forget_stacks();
        Ok(())
    }

    /// Writes what an assignment asks for. A register can be written where it is the thread's own: in the innermost frame.
    fn write(&mut self, at: FrameRef, thread: Option<Tid>, write: Write) -> Result<(), DebugError> {
        let inferior = self.traced_mut()?;
        match write {
            Write::Memory(addr, bytes) => inferior.memory().write(addr, &bytes).map_err(failed),
            Write::Register(register, bytes) => {
                let (Some(thread), true) = (thread, at.frame == 0) else {
                    return Err(failed(
                        "the variable is in a register, which can only be set in the innermost frame of a goroutine that is running",
                    ));
                };
                write_register(inferior, thread, register, &bytes)
            }
        }
    }

    /// As [`super::Session::read_memory`].
    pub(super) fn read_memory(&mut self, addr: ProcAddr, len: usize) -> Result<Vec<u8>, DebugError> {
        const PAGE: usize = 1 << 12;
        self.require_stopped()?;
        let memory = self.traced_memory()?;
        let mut bytes: Vec<u8> = Vec::new();
        // The room grows with what is read: the length was asked for by a client.
        while bytes.len() < len {
            let at = addr.0.wrapping_add(bytes.len() as u64);
            let to_page = PAGE - (at as usize & (PAGE - 1));
            let mut part = vec![0; to_page.min(len - bytes.len())];
            match memory.read(ProcAddr(at), &mut part) {
                Ok(()) => {
                    self.mask_probes(ProcAddr(at), &mut part);
                    bytes.append(&mut part);
                }
                Err(why) if bytes.is_empty() => return Err(failed(why)),
                Err(_) => break,
            }
        }
        Ok(bytes)
    }

    /// Puts the original bytes in place of those of probes: the kernel writes an int3 for each, which nobody who reads code asks for. The program itself has its
    /// code from its file, and does not change it.
    fn mask_probes(&self, addr: ProcAddr, bytes: &mut [u8]) {
        const INT3: u8 = 0xcc;
        for (offset, byte) in bytes.iter_mut().enumerate().filter(|(_, byte)| **byte == INT3) {
            let at = self.bias.to_file(ProcAddr(addr.0.wrapping_add(offset as u64)));
            if let Some(&[original]) = self.binary.code(at, 1) {
                *byte = original;
            }
        }
    }

    /// As [`super::Session::write_memory`].
    pub(super) fn write_memory(&mut self, addr: ProcAddr, bytes: &[u8]) -> Result<(), DebugError> {
        self.require_stopped()?;
        self.traced()?.memory().write(addr, bytes).map_err(failed)?;
        self.seen.forget_stacks();
        Ok(())
    }

    /// The thread that runs a goroutine; `None` when it is parked.
    pub(super) fn thread_of(&mut self, whose: Whose) -> Result<Option<Tid>, DebugError> {
        match whose {
            Whose::Thread(thread) => Ok(Some(thread)),
            Whose::Goroutine(id) => Ok(self.goroutine(id)?.thread),
        }
    }

    /// As [`super::Session::registers`].
    pub(super) fn registers(&mut self, at: FrameRef) -> Result<Vec<(String, String)>, DebugError> {
        let frame = self.frame(at)?;
        Ok(super::register_list::of(&frame.registers))
    }
}

pub(super) fn write_register(
    inferior: &mut Inferior,
    thread: Tid,
    register: DwarfReg,
    bytes: &[u8],
) -> Result<(), DebugError> {
    if register.is_xmm() {
        let mut value = [0; 16];
        if let Some(known) = inferior.registers(thread).map_err(failed)?.vector(register) {
            value = known;
        }
        for (to, from) in value.iter_mut().zip(bytes) {
            *to = *from;
        }
        return inferior.set_vector(thread, register, value).map_err(failed);
    }
    let mut registers = inferior.registers(thread).map_err(failed)?;
    let mut value = registers.general(register).unwrap_or(0).to_le_bytes();
    for (to, from) in value.iter_mut().zip(bytes) {
        *to = *from;
    }
    registers.set_general(register, Some(u64::from_le_bytes(value)));
    inferior.set_registers(thread, &registers).map_err(failed)
}
