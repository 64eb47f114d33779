//! Ties returns to the calls that passed.

use std::mem::offset_of;

use super::super::Generator;
use super::slot;
use crate::asm::{Label, MapRef};
use crate::gate::{CallEnd, Mark};
use crate::insn::{Alu, Cond, FP, Helper, R0, R1, R2, R3, R4, R6, Width};
use crate::maps::MarkKey;
use crate::plan::Reg;

/// `BPF_ANY` of `include/uapi/linux/bpf.h`: makes an entry, or overwrites one.
const ANY: i32 = 0;

impl Generator<'_> {
    /// Goes to `no` at a return whose call did not pass.
    pub(super) fn take_mark(&mut self, no: Label) {
        let Some(mark) = self.mark_of(CallEnd::Return) else {
            return;
        };
        let passes = self.asm.label();
        self.mark_key(mark, passes);
        self.delete_mark();
        // What was not there cannot be taken away.
        self.asm.jump_if_imm(R0, Cond::NotEqual, 0, no);
        self.asm.bind(passes);
    }

    /// Leaves a mark at a call that passes.
    pub(super) fn leave_mark(&mut self) {
        let Some(mark) = self.mark_of(CallEnd::Call) else {
            return;
        };
        let done = self.asm.label();
        self.mark_key(mark, done);
        // The word that is read to lies in the buffer, which holds the key now.
        self.asm.store_imm(Width::Double, FP, slot::KEY, 1);
        self.asm.load_map(R1, MapRef::Marks);
        self.asm.mov(R2, FP);
        self.asm.alu_imm(Alu::Add, R2, i32::from(self.buffer));
        self.asm.mov(R3, FP);
        self.asm.alu_imm(Alu::Add, R3, i32::from(slot::KEY));
        self.asm.mov_imm(R4, ANY);
        self.asm.call(Helper::MapUpdateElem);
        self.asm.bind(done);
    }

    /// Takes away at a call that does not pass what an earlier one left that never returned.
    pub(super) fn drop_mark(&mut self) {
        let Some(mark) = self.mark_of(CallEnd::Call) else {
            return;
        };
        let done = self.asm.label();
        self.mark_key(mark, done);
        // Nearly always there is nothing, and looking is cheaper than deleting.
        self.asm.lookup(MapRef::Marks, self.buffer);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, done);
        self.delete_mark();
        self.asm.bind(done);
    }

    fn mark_of(&self, end: CallEnd) -> Option<Mark> {
        self.plan.gate.mark.filter(|mark| mark.end == end)
    }

    /// Puts the key of the frame's mark together in the buffer; goes to `nowhere` where there is no goroutine. Overwrites R0 to R5 and R9.
    fn mark_key(&mut self, mark: Mark, nowhere: Label) {
        const GOROUTINE: i16 = offset_of!(MarkKey, goroutine) as i16;
        const DEPTH: i16 = offset_of!(MarkKey, depth) as i16;
        const PROCESS: i16 = offset_of!(MarkKey, process) as i16;
        const PADDING: i16 = offset_of!(MarkKey, padding) as i16;
        let key = self.buffer;
        self.running_goroutine(nowhere);
        self.asm.load(Width::Double, R0, FP, slot::WORD);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, nowhere);
        self.asm.store(Width::Double, FP, key + GOROUTINE, R0);
        self.read_word(self.plan.runtime.stack_hi, nowhere);
        self.asm.load(Width::Double, R0, FP, slot::WORD);
        self.asm.load(Width::Double, R1, R6, Reg::Rsp.pt_regs_offset());
        self.asm.alu(Alu::Sub, R0, R1);
        self.asm.add_imm64(R0, mark.cfa_offset.wrapping_neg(), R1);
        self.asm.store(Width::Double, FP, key + DEPTH, R0);
        let numbers = self.environment.numbers;
        numbers.load_process(&mut self.asm, slot::WORD, nowhere);
        self.asm.store(Width::Word, FP, key + PROCESS, R1);
        self.asm.store_imm(Width::Word, FP, key + PADDING, 0);
    }

    /// R0 = 0 where there was a mark.
    fn delete_mark(&mut self) {
        self.asm.load_map(R1, MapRef::Marks);
        self.asm.mov(R2, FP);
        self.asm.alu_imm(Alu::Add, R2, i32::from(self.buffer));
        self.asm.call(Helper::MapDeleteElem);
    }
}
