//! The deferred calls of each frame of a stack.

use std::sync::Arc;

use spelunk_dwarf::{DwarfReg, ProcAddr};

use super::defers::{DeferLayout, DeferRecord, DeferredCall, defer_records};
use super::places::Places;
use super::start_function::StartFunctions;
use super::{Frame, Location, Registers, Stopped};

/// A deferred call.
#[derive(Clone, Debug)]
pub(crate) struct Deferred {
    /// The entry of the function that is to be called: the one that the source names, behind the compiler's wrapper. Where no function is known, the place
    /// of the statement without file, line and function.
    pub(crate) function: Location,
    /// The `defer` statement.
    pub(crate) statement: Location,
    /// The stack pointer of the frame that deferred it.
    pub(crate) sp: u64,
    /// Why it could not be read; then all else says nothing.
    pub(crate) unreadable: Option<String>,
    call: Option<DeferredCall>,
}

/// The deferred calls of each of a goroutine's frames, in the order of the frames; the next one to be made first. `g` is where the `runtime.g` is.
pub(crate) fn deferred_by_frame(p: &dyn Stopped, g: ProcAddr, frames: &[Frame]) -> Vec<Vec<Deferred>> {
    let mut by_frame: Vec<Vec<Deferred>> = vec![Vec::new(); frames.len()];
    let Some(layout) = DeferLayout::of(p.binary()) else {
        return by_frame;
    };
    let places = Places::new(p.binary(), p.bias());
    let mut starts = StartFunctions::new(p.binary());
    let mut slots = frames.iter().zip(&mut by_frame).peekable();
    for record in defer_records(p.memory(), layout, g) {
        // The canonical frame address is what the stack pointer was before the call: a record with it belongs to the caller.
        while let Some((frame, _)) = slots.peek()
            && record.unreadable.is_none()
            && (frame.on_system_stack || is_inlined(frame) || record.sp >= frame.cfa.0)
        {
            slots.next();
        }
        let Some((_, slot)) = slots.peek_mut() else { break };
        slot.extend(described(p, &places, &mut starts, &record));
    }
    by_frame
}

fn is_inlined(frame: &Frame) -> bool {
    frame.inline_depth > 0
}

fn described(
    p: &dyn Stopped,
    places: &Places<'_>,
    starts: &mut StartFunctions<'_>,
    record: &DeferRecord,
) -> Vec<Deferred> {
    let nowhere = |pc: ProcAddr| Location {
        pc,
        file: None,
        line: 0,
        function: None,
    };
    if let Some(why) = &record.unreadable {
        return vec![Deferred {
            function: nowhere(ProcAddr(0)),
            statement: nowhere(ProcAddr(0)),
            sp: record.sp,
            unreadable: Some(why.clone()),
            call: None,
        }];
    }
    let mut of = |call: &DeferredCall| {
        let code = p.memory().read_uint(ProcAddr(call.closure), 8).ok();
        let shown = code.and_then(|code| starts.of(p.bias().to_file(ProcAddr(code))).shown);
        Deferred {
            function: match shown {
                Some(entry) => places.location(&places.at(entry), p.bias().to_proc(entry)),
                None => nowhere(call.statement),
            },
            statement: places.location(&places.at(p.bias().to_file(call.statement)), call.statement),
            sp: call.sp,
            unreadable: None,
            call: Some(*call),
        }
    };
    record.calls.iter().map(&mut of).collect()
}

impl Deferred {
    /// The frame that the call would have at its first instruction, as far as it can be known: the closure is what its captured variables are read from.
    pub(crate) fn frame(&self, p: &dyn Stopped) -> Result<Frame, String> {
        if let Some(why) = &self.unreadable {
            return Err(why.clone());
        }
        let call = self.call.ok_or("the deferred call is not known")?;
        let code = p.memory().read_uint(ProcAddr(call.closure), 8);
        let pc = ProcAddr(code.map_err(|why| format!("could not read the deferred function: {why}"))?);
        let places = Places::new(p.binary(), p.bias());
        let lookup_pc = p.bias().to_file(pc);
        let place = places.at(lookup_pc);
        if place.function.is_none() {
            return Err(format!("could not find function at {pc}"));
        }
        let mut registers = Registers::default();
        registers.set_general(DwarfReg::RA, Some(pc.0));
        registers.set_general(DwarfReg::RDX, Some(call.closure));
        Ok(Frame {
            enclosing: None,
            pc,
            lookup_pc,
            location: places.location(&place, pc),
            info: places.info(&place).as_ref().map(Arc::clone),
            inline_depth: 0,
            // Where the call would return to: right below the frame that deferred it.
            cfa: ProcAddr(call.sp),
            registers,
            on_system_stack: false,
            return_address_at: None,
        })
    }
}
