//! Steps into the coroutines of `iter.Pull`: what `next` calls goes on in another goroutine, and a step into `next` lands there.

use spelunk_dwarf::{DwarfReg, FileAddr, Function, ProcAddr};

use super::control::Control;
use super::hits::Passer;
use super::landing::behind_prologue;
use super::temporary::{Follow, FrameIs, Kind, Temporary};
use crate::inspect::{Registers, is_users, unwind};
use crate::value::Memory;

/// The register that points to the closure a func value calls (Go's `cmd/compile/abi-internal.md`).
const CLOSURE: DwarfReg = DwarfReg(1);
/// How far the stack of a coroutine is searched for code that is not the runtime's.
const MAX_DEPTH: usize = 100;

impl Control {
    /// When `called` is one of the functions that `iter.Pull` returns, the step goes on in its coroutine, and this answers true.
    pub(super) fn follow_coroutine(&mut self, passer: &Passer, called: &Function) -> bool {
        if !called.name.starts_with("iter.Pull") || !called.name.contains(".func") {
            return false;
        }
        let Some((id, place)) = self.coroutine_place(passer, called) else {
            return false;
        };
        // The goroutine that calls it waits from now on.
        self.sites.each_temporary(|_, temporary| temporary.counts = false);
        let follow = Follow::Goroutine(id);
        self.follow_plan(follow, vec![(place, Temporary::new(follow, FrameIs::Any, Kind::Land))]);
        true
    }

    /// The goroutine of a coroutine, and where it goes on: where it called `yield`, or at the beginning of the function that it is to run.
    fn coroutine_place(&self, passer: &Passer, called: &Function) -> Option<(i64, FileAddr)> {
        let (memory, layout) = (self.memory.as_ref()?, self.layout.as_ref()?);
        let word = |addr: u64| memory.read_uint(ProcAddr(addr), 8).ok();
        let coro = self.captured(&**memory, called, passer.registers.general(CLOSURE)?, "c")?;
        let ty = self.binary.type_named("runtime.coro")?;
        let field = |name: &str| self.binary.field_offset(ty, name).ok();
        let g = word(coro.wrapping_add(field("gp")?))?;
        let id = word(g.wrapping_add(layout.g_goid))?.cast_signed();
        let mut registers = Registers::default();
        for (register, offset) in [
            (DwarfReg::RA, layout.g_sched_pc),
            (DwarfReg::RSP, layout.g_sched_sp),
            (DwarfReg::RBP, layout.g_sched_bp),
        ] {
            registers.set_general(register, word(g.wrapping_add(offset)));
        }
        let pc = self.bias.to_file(ProcAddr(registers.pc()?));
        let is_new = self
            .binary
            .function_at(pc)
            .is_some_and(|function| &*function.name == "runtime.corostart");
        if is_new {
            // It runs a closure made by iter.Pull, which holds the function to iterate over.
            let closure = word(coro.wrapping_add(field("f")?))?;
            let runs = self.binary.function_at(self.bias.to_file(ProcAddr(word(closure)?)))?;
            let sequence = self.captured(&**memory, runs, closure, "seq")?;
            let sequence = self.bias.to_file(ProcAddr(word(sequence)?));
            let function = self.binary.function_at(sequence)?;
            return Some((id, behind_prologue(&self.binary, function)));
        }
        let stack = unwind(&self.binary, self.bias, &**memory, &registers, MAX_DEPTH);
        let frame = stack
            .frames
            .iter()
            .find(|frame| frame.location.function.as_deref().is_some_and(is_users))?;
        Some((id, self.bias.to_file(frame.pc)))
    }

    /// The word that a closure of `function` holds for the variable `name`.
    fn captured(&self, memory: &dyn Memory, function: &Function, closure: u64, name: &str) -> Option<u64> {
        let info = self.binary.function_info(function).ok()?;
        let variables = info.params.iter().chain(&info.scope.variables);
        let variable = variables
            .filter(|variable| variable.display_name() == name)
            .find(|variable| variable.closure_offset.is_some())?;
        let word = |addr: u64| memory.read_uint(ProcAddr(addr), 8).ok();
        let held = word(closure.wrapping_add(variable.closure_offset?))?;
        if variable.escaped() { word(held) } else { Some(held) }
    }
}
