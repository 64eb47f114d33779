//! Steps into what a line calls, and into the goroutine that it starts.

use std::sync::Arc;

use spelunk_dwarf::{FileAddr, Function, ProcAddr};

use super::code::{call_target, direct_target};
use super::control::Control;
use super::hits::Passer;
use super::landing::{behind_prologue, behind_wrappers, is_private_runtime};
use super::stepping::{From, Plan};
use super::temporary::{Follow, FrameIs, Kind, Temporary};
use crate::inspect::Registers;

impl Control {
    /// The calls on the current line: what they call is landed in; where that is known only when they are made, it is found out then.
    pub(super) fn plan_calls(&mut self, from: &From, function: &Function, line: (&str, u32), plan: &mut Plan) {
        let code = self.code.of(&self.binary, function);
        let registers = from.thread.and_then(|thread| {
            let inferior = self.inferior.as_ref()?;
            inferior.general_registers(thread).ok()
        });
        let pc = registers.as_ref().and_then(Registers::pc).map(ProcAddr);
        let mut starts_goroutine = false;
        for instruction in code.calls() {
            let addr = FileAddr(instruction.ip());
            let on_line = self
                .binary
                .line_at(addr)
                .is_some_and(|(file, number)| &*file == line.0 && number == line.1);
            if !on_line {
                continue;
            }
            let is_next = pc == Some(self.to_proc(addr));
            let target = match (&registers, &self.memory) {
                (Some(registers), Some(memory)) if is_next => call_target(instruction, registers, &**memory, self.bias),
                _ => direct_target(instruction),
            };
            match target {
                Some(target) => {
                    let called = self.binary.function_at(target);
                    starts_goroutine |= called.is_some_and(|called| &*called.name == "runtime.newproc");
                    self.plan_into(from.follow, &function.name, target, plan);
                }
                None => plan.push((addr, Temporary::new(from.follow, FrameIs::Any, Kind::FollowCall))),
            }
        }
        if starts_goroutine && let Some(addr) = self.goroutine_made() {
            let kind = Kind::FollowNewGoroutine;
            plan.push((addr, Temporary::new(from.follow, FrameIs::Any, kind)));
        }
    }

    /// The landing place in a called function, if a step enters it.
    fn plan_into(&mut self, follow: Follow, caller: &str, target: FileAddr, plan: &mut Plan) {
        let binary = Arc::clone(&self.binary);
        let Some(called) = binary.function_at(target) else {
            return plan.push((target, Temporary::new(follow, FrameIs::Any, Kind::Land)));
        };
        if is_private_runtime(&called.name) && !caller.starts_with("runtime.") {
            return;
        }
        let (called, target) = match behind_wrappers(&binary, &mut self.code, called, false) {
            same if same == called => (called, target),
            wrapped => (wrapped, wrapped.entry),
        };
        // Calls into the middle of a function are the compiler's, and have no prologue before them.
        let addr = if called.entry == target {
            behind_prologue(&binary, called)
        } else {
            target
        };
        plan.push((addr, Temporary::new(follow, FrameIs::Any, Kind::Land)));
    }

    /// An indirect call of the line is about to be made: what it calls is landed in.
    pub(super) fn follow_call(&mut self, passer: &Passer) {
        let binary = Arc::clone(&self.binary);
        let Some(function) = binary.function_at(passer.addr) else {
            return;
        };
        let code = self.code.of(&binary, function);
        let (Some(memory), Some(step)) = (self.memory.clone(), self.step) else {
            return;
        };
        let target = code
            .at(passer.addr)
            .and_then(|instruction| call_target(instruction, &passer.registers, &*memory, self.bias));
        let Some(target) = target else { return };
        if let Some(called) = binary.function_at(target)
            && self.follow_coroutine(passer, called)
        {
            return;
        }
        let mut plan = Plan::new();
        self.plan_into(step.follow, &function.name, target, &mut plan);
        self.follow_plan(step.follow, plan);
    }

    /// Where the runtime has made the goroutine of a `go` statement and not put it on a queue yet: the line in `runtime.newproc`'s closure that calls
    /// `runtime.runqput`.
    fn goroutine_made(&mut self) -> Option<FileAddr> {
        let binary = Arc::clone(&self.binary);
        let function = binary.function_named("runtime.newproc.func1")?;
        let code = self.code.of(&binary, function);
        let call = code.calls().find(|call| {
            direct_target(call)
                .and_then(|target| binary.function_at(target))
                .is_some_and(|called| &*called.name == "runtime.runqput")
        })?;
        let (file, line) = binary.line_at(FileAddr(call.ip()))?;
        let rows = self.lines.of(&binary, function);
        let row = rows
            .iter()
            .find(|row| row.is_stmt && row.line == line && row.file.as_deref() == Some(&*file))?;
        Some(row.addr)
    }

    /// A `go` statement that is stepped into has made its goroutine: the step goes on there.
    pub(super) fn follow_new_goroutine(&mut self, passer: &Passer) {
        let Some((id, start)) = self.new_goroutine(passer) else {
            return;
        };
        let binary = Arc::clone(&self.binary);
        let Some(function) = binary.function_at(start) else {
            return;
        };
        let function = behind_wrappers(&binary, &mut self.code, function, true);
        let addr = behind_prologue(&binary, function);
        // The goroutine that made it could come to a landing place before the new one starts.
        self.sites.each_temporary(|_, temporary| temporary.counts = false);
        let follow = Follow::Goroutine(id);
        self.follow_plan(follow, vec![(addr, Temporary::new(follow, FrameIs::Any, Kind::Land))]);
    }

    /// The number and the first function of the goroutine in `newg`, a variable of `runtime.newproc`'s closure.
    fn new_goroutine(&self, passer: &Passer) -> Option<(i64, FileAddr)> {
        let stack = self.stack_of(passer, 1)?;
        let memory = self.memory.as_ref()?;
        let layout = self.layout.as_ref()?;
        let scope = crate::inspect::FrameScope::new(&self.binary, self.bias, &**memory, stack.frames.first()?);
        let newg = scope.evaluate("newg", crate::value::LoadConfig::DAP).ok()?;
        let g = memory.read_uint(newg.addr, 8).ok()?;
        let id = memory.read_uint(ProcAddr(g.wrapping_add(layout.g_goid)), 8).ok()?;
        let start = memory.read_uint(ProcAddr(g.wrapping_add(layout.g_startpc)), 8).ok()?;
        Some((id.cast_signed(), self.bias.to_file(ProcAddr(start))))
    }
}
