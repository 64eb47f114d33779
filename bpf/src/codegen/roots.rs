//! Copies the roots: registers, stack slots, globals.

use super::{Generator, slot};
use crate::insn::{Alu, Cond, FP, Helper, R0, R1, R2, R3, R4, R6, R7, Width};
use crate::plan::{CountedHits, Reg, RootSource};
use crate::record::{Flags, HEADER_SIZE, header};

impl Generator<'_> {
    /// R6 still holds the context.
    pub(super) fn roots(&mut self) {
        let plan = self.plan;
        for (index, root) in plan.roots.iter().enumerate() {
            let at = (HEADER_SIZE as u32 + plan.root_offset(index)) as i16;
            match root.source {
                RootSource::Register(reg) => {
                    self.asm.load(Width::Double, R1, R6, reg.pt_regs_offset());
                    self.asm.store(Width::Double, R7, at, R1);
                }
                RootSource::Stack { offset } => {
                    self.asm.load(Width::Double, R3, R6, Reg::Rsp.pt_regs_offset());
                    self.copy_root(index, at, root.size, offset);
                }
                RootSource::Memory { reg, offset } => {
                    self.asm.load(Width::Double, R3, R6, reg.pt_regs_offset());
                    self.copy_root(index, at, root.size, offset);
                }
                RootSource::Absolute { addr } => {
                    self.asm.load(Width::Double, R3, R7, header::BIAS);
                    self.copy_root(index, at, root.size, addr.cast_signed());
                }
                RootSource::Hit(among) => {
                    let number = match among {
                        CountedHits::All => slot::HIT,
                        CountedHits::OfGoroutine => slot::HIT_OF_GOROUTINE,
                    };
                    self.asm.load(Width::Double, R1, FP, number);
                    self.asm.store(Width::Double, R7, at, R1);
                }
            }
        }
    }

    /// Copies from R3 plus `offset`, and notes where that fails. The helper leaves zeros then, so
    /// nothing is followed from there.
    fn copy_root(&mut self, index: usize, at: i16, size: u32, offset: i64) {
        let read = self.asm.label();
        self.asm.add_imm64(R3, offset, R1);
        self.asm.mov(R1, R7);
        self.asm.alu_imm(Alu::Add, R1, i32::from(at));
        self.asm.mov_imm(R2, size.cast_signed());
        self.asm.call(Helper::ProbeReadUser);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, read);
        let word = header::FAULTS + 8 * (index / 64) as i16;
        self.asm.load(Width::Double, R1, R7, word);
        self.asm.mov_imm64(R4, (1u64 << (index % 64)).cast_signed());
        self.asm.alu(Alu::Or, R1, R4);
        self.asm.store(Width::Double, R7, word, R1);
        self.flag(Flags::FAULT);
        self.asm.bind(read);
    }
}
