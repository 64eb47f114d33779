//! Stacks as the source shows them: calls, inlined ones included.

use std::sync::Arc;

use spelunk_dwarf::{Binary, LoadBias, RuntimeLayout, Scope};

use super::g::{Work, thread_g};
use super::goroutine::{find, work_of};
use super::places::Places;
use super::stack_window::StackWindow;
use super::unwind::UnwindError;
use super::walk::{Call, Start, Walk, saved_registers};
use super::{Frame, InspectError, Location, Registers, Stack, Stopped, Whose};
use crate::value::{Memory, ReadError};

/// More frames than this are not given, whatever was asked for: a gigabyte of stack, which is where Go's runtime gives up, has fewer of any useful kind.
const MAX_FRAMES: usize = 1 << 20;

/// What a frame takes in most cases, in bytes.
const FRAME_SIZE: u64 = 512;
/// The most bytes of a stack that are read before they are known to be needed.
const MAX_WINDOW: u64 = 16 << 10;

/// How a stack is walked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StackOptions {
    /// Stay on the stack that the registers are on: do not go from a system stack to the goroutine's.
    pub(crate) same_stack: bool,
    /// Begin where the runtime last parked the goroutine (`g.sched`), although a thread may run it.
    pub(crate) from_saved: bool,
}

/// The innermost `depth` frames of a stack. That of a goroutine which runs is its thread's; if the thread is on a system stack, its frames come first.
pub(crate) fn stack(p: &dyn Stopped, whose: Whose, depth: usize) -> Result<Stack, InspectError> {
    stack_with(p, whose, depth, StackOptions::default())
}

/// The same in another way.
pub(crate) fn stack_with(
    p: &dyn Stopped,
    whose: Whose,
    depth: usize,
    options: StackOptions,
) -> Result<Stack, InspectError> {
    let layout = p.binary().runtime_layout();
    let (work, registers) = match whose {
        Whose::Thread(thread) => (work_of(p, thread)?, p.registers(thread)?),
        Whose::Goroutine(id) => {
            let (goroutine, thread) = find(p, id)?;
            let registers = match thread.filter(|_| !options.from_saved) {
                Some(thread) => p.registers(thread)?,
                None => saved_registers(goroutine.sched),
            };
            let m = goroutine.m;
            let goroutine = Some(goroutine);
            (Work { m, goroutine }, registers)
        }
    };
    let places = Places::new(p.binary(), p.bias());
    let start = Start {
        layout: layout.as_ref().ok(),
        m: work.m,
        goroutine: work.goroutine.as_ref(),
        registers,
        changes_stacks: !options.same_stack,
    };
    Ok(collect(&places, p.memory(), start, depth))
}

/// The innermost `depth` frames from the registers of a thread. The other threads may run.
pub(crate) fn unwind(
    binary: &Arc<Binary>,
    bias: LoadBias,
    memory: &dyn Memory,
    registers: &Registers,
    depth: usize,
) -> Stack {
    let layout = binary.runtime_layout().ok();
    let work = |layout: &RuntimeLayout| {
        let g = thread_g(memory, layout, registers).ok()??;
        Work::of(memory, layout, g).ok()
    };
    let work = layout.as_ref().and_then(work).unwrap_or_default();
    let places = Places::new(binary, bias);
    let start = Start {
        layout: layout.as_ref(),
        goroutine: work.goroutine.as_ref(),
        m: work.m,
        registers: registers.clone(),
        changes_stacks: true,
    };
    collect(&places, memory, start, depth)
}

fn collect(places: &Places<'_>, memory: &dyn Memory, start: Start<'_>, depth: usize) -> Stack {
    // The innermost frames are read together: a frame by itself takes two system calls.
    let size = FRAME_SIZE.saturating_mul(depth as u64).clamp(FRAME_SIZE, MAX_WINDOW);
    let mut window = [StackWindow::of_stack(
        start.goroutine,
        start.registers.sp().unwrap_or(0),
        size,
    )];
    memory.read_many(&mut window);
    let [window] = &window;
    let memory = StackWindow::new(memory, window);
    let mut walk = Walk::new(places, &memory, start);
    let depth = depth.min(MAX_FRAMES);
    let mut frames = Vec::new();
    let mut cut = false;
    while frames.len() < depth {
        let Some(call) = walk.next() else { break };
        frames.extend(frames_of(places, call));
        if frames.len() > depth {
            frames.truncate(depth);
            cut = true;
        }
    }
    Stack {
        frames,
        complete: walk.is_complete() && !cut,
        error: walk.error().filter(|_| !cut).map(ToString::to_string),
        unreadable_at: match walk.error().filter(|_| !cut) {
            Some(UnwindError::Memory(ReadError::Fault(addr))) => Some(*addr),
            _ => None,
        },
    }
}

/// The frames of one call: those of the calls inlined there, innermost first, then its own.
fn frames_of<'b>(places: &Places<'b>, call: Call<'b>) -> Vec<Frame> {
    let info = places.info(&call.place);
    let inlined: Vec<&Scope> = info
        .as_ref()
        .map_or_else(Vec::new, |info| info.scope.inlined_at(call.place.addr));
    let mut location = places.location(&call.place, call.pc);
    let mut frames = Vec::with_capacity(inlined.len() + 1);
    for (depth, scope) in inlined.iter().enumerate().rev() {
        let Some(inlined) = &scope.inlined else { continue };
        location.function = Some(Arc::clone(&inlined.name));
        let of_the_call = Location {
            pc: call.pc,
            file: inlined.call_file.clone(),
            line: inlined.call_line,
            function: None,
        };
        frames.push(Frame {
            enclosing: None,
            pc: call.pc,
            lookup_pc: call.place.addr,
            location: std::mem::replace(&mut location, of_the_call),
            info: info.clone(),
            inline_depth: depth + 1,
            cfa: call.cfa,
            registers: call.registers.clone(),
            on_system_stack: call.on_system_stack,
            return_address_at: None,
        });
    }
    location.function.clone_from(&call.place.name);
    frames.push(Frame {
        enclosing: None,
        pc: call.pc,
        lookup_pc: call.place.addr,
        location,
        info,
        inline_depth: 0,
        cfa: call.cfa,
        registers: call.registers,
        on_system_stack: call.on_system_stack,
        return_address_at: call.return_address_at,
    });
    frames
}
