//! Finds the running goroutine and copies its id and its stack's end into the header.

use super::{Generator, slot};
use crate::asm::Label;
use crate::insn::{Alu, Cond, FP, Helper, R0, R1, R2, R3, R6, R7, R9, Width};
use crate::plan::{GoroutineSource, Reg, RuntimeOffsets};
use crate::record::{Flags, HEADER_SIZE, header};

impl Generator<'_> {
    pub(super) fn goroutine(&mut self) {
        let none = self.asm.label();
        let done = self.asm.label();
        self.asm.store_imm(Width::Double, R7, header::GOROUTINE, 0);
        self.asm.store_imm(Width::Double, R7, header::STACK_HI, 0);
        self.asm.store_imm(Width::Double, R7, header::G, 0);
        match self.plan.goroutine {
            GoroutineSource::None => {
                self.flag(Flags::NO_GOROUTINE);
                self.asm.bind(none);
                self.asm.bind(done);
                return;
            }
            GoroutineSource::R14 => {
                self.asm.load(Width::Double, R9, R6, Reg::R14.pt_regs_offset());
            }
            GoroutineSource::Tls { offset } => self.thread_local_g(offset, none),
        }
        self.asm.jump_if_imm(R9, Cond::Equal, 0, none);

        self.read_goroutine(none);
        self.asm.load(Width::Double, R1, R7, header::GOROUTINE);
        self.asm.jump_if_imm(R1, Cond::NotEqual, 0, done);

        // g0 and gsignal have no id: the goroutine is the one that the thread runs for.
        self.flag(Flags::SYSTEM_STACK);
        self.read_word(self.plan.runtime.m, none);
        self.asm.load(Width::Double, R9, FP, slot::WORD);
        self.asm.jump_if_imm(R9, Cond::Equal, 0, none);
        self.read_word(self.plan.runtime.curg, none);
        self.asm.load(Width::Double, R9, FP, slot::WORD);
        self.asm.jump_if_imm(R9, Cond::Equal, 0, none);
        self.read_goroutine(none);
        self.asm.jump(done);

        self.asm.bind(none);
        self.asm.store_imm(Width::Double, R7, header::GOROUTINE, 0);
        self.asm.store_imm(Width::Double, R7, header::STACK_HI, 0);
        self.asm.store_imm(Width::Double, R7, header::G, 0);
        self.flag(Flags::NO_GOROUTINE);
        self.asm.bind(done);
    }

    /// Reads id and stack end of the `runtime.g` at R9 into the header.
    fn read_goroutine(&mut self, fault: Label) {
        self.asm.store(Width::Double, R7, header::G, R9);
        let RuntimeOffsets { goid, stack_hi, .. } = self.plan.runtime;
        let first = goid.min(stack_hi);
        let span = goid.abs_diff(stack_hi).saturating_add(8);
        if span <= self.class.cast_unsigned() - HEADER_SIZE as u32 {
            // Both in one read, which costs more than the bytes between them: to where the roots
            // will be.
            self.asm.mov(R1, R7);
            self.asm.alu_imm(Alu::Add, R1, HEADER_SIZE as i32);
            self.asm.mov_imm(R2, span.cast_signed());
            self.asm.mov(R3, R9);
            self.asm.add_imm64(R3, i64::from(first), R0);
            self.asm.call(Helper::ProbeReadUser);
            self.asm.jump_if_imm(R0, Cond::NotEqual, 0, fault);
            for (offset, field) in [(goid, header::GOROUTINE), (stack_hi, header::STACK_HI)] {
                let at = HEADER_SIZE as u32 + offset - first;
                self.asm.load(Width::Double, R1, R7, at as i16);
                self.asm.store(Width::Double, R7, field, R1);
            }
            return;
        }
        for (offset, field) in [(goid, header::GOROUTINE), (stack_hi, header::STACK_HI)] {
            self.asm.mov(R1, R7);
            self.asm.alu_imm(Alu::Add, R1, i32::from(field));
            self.asm.mov_imm(R2, 8);
            self.asm.mov(R3, R9);
            self.asm.add_imm64(R3, i64::from(offset), R0);
            self.asm.call(Helper::ProbeReadUser);
            self.asm.jump_if_imm(R0, Cond::NotEqual, 0, fault);
        }
    }

    /// Loads into R9 the word at the thread's FS base plus `offset`.
    ///
    /// The kernel keeps a running thread's FS base in `task->thread.fsbase`: both ways in which Go
    /// and C libraries set it, `arch_prctl` and `clone`, store it there (`arch/x86/kernel/process_64.c`).
    pub(super) fn thread_local_g(&mut self, offset: i64, none: Label) {
        let Some(fsbase) = self.environment.fsbase_offset else {
            self.asm.jump(none);
            return;
        };
        self.asm.call(Helper::GetCurrentTask);
        self.asm.mov(R3, R0);
        self.asm.add_imm64(R3, i64::from(fsbase), R1);
        self.asm.mov(R1, FP);
        self.asm.alu_imm(Alu::Add, R1, i32::from(slot::WORD));
        self.asm.mov_imm(R2, 8);
        self.asm.call(Helper::ProbeReadKernel);
        self.asm.jump_if_imm(R0, Cond::NotEqual, 0, none);
        self.asm.load(Width::Double, R9, FP, slot::WORD);
        self.read_user_to_stack(slot::WORD, 8, offset);
        self.asm.jump_if_imm(R0, Cond::NotEqual, 0, none);
        self.asm.load(Width::Double, R9, FP, slot::WORD);
    }
}
