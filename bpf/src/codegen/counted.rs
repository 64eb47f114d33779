//! How many elements a pointer leads to, where a number elsewhere says so.

use super::Generator;
use crate::asm::Label;
use crate::insn::{Alu, Cond, R1, R2, R3, R4, R5, R6, R7, R8, Width};
use crate::layout::{EDGE_COUNT, EDGE_COUNT_HALF_POWER, EDGE_COUNT_ONE_IF_ZERO, EDGE_COUNT_PLUS_ONE};

/// No array has 2 to the power of more elements.
const MOST_POWER: i32 = 48;

impl Generator<'_> {
    /// R6 = how many elements there are, by an edge of kind R5 whose pointer is R1 bytes, and whose number R3 bytes into the element. The pointer's offset in the chunk's bytes
    /// is R2, in the record R8; the chunk has R4 bytes. Goes to `nothing` where there is no number.
    pub(super) fn counted(&mut self, nothing: Label) {
        let found = self.asm.label();
        let plus_one = self.asm.label();
        let one_if_zero = self.asm.label();
        let power = self.asm.label();
        self.asm.alu(Alu::Sub, R2, R1);
        self.asm.alu(Alu::Add, R2, R3);
        self.asm.alu_imm(Alu::Add, R2, 8);
        self.asm.jump_if(R2, Cond::Greater, R4, nothing);
        self.asm.alu(Alu::Sub, R8, R1);
        self.asm.alu(Alu::Add, R8, R3);
        self.asm.jump_if_imm(R8, Cond::Greater, self.class - 8, nothing);
        self.asm.mov(R1, R7);
        self.asm.alu(Alu::Add, R1, R8);
        self.asm.load(Width::Double, R6, R1, 0);
        self.asm.jump_if_imm(R5, Cond::Equal, EDGE_COUNT.cast_signed(), found);
        self.asm
            .jump_if_imm(R5, Cond::Equal, EDGE_COUNT_PLUS_ONE.cast_signed(), plus_one);
        self.asm
            .jump_if_imm(R5, Cond::Equal, EDGE_COUNT_ONE_IF_ZERO.cast_signed(), one_if_zero);

        self.asm.alu_imm(Alu::And, R6, 0xff);
        self.asm.jump_if_imm(R6, Cond::Greater, MOST_POWER, nothing);
        self.asm
            .jump_if_imm(R5, Cond::NotEqual, EDGE_COUNT_HALF_POWER.cast_signed(), power);
        self.asm.jump_if_imm(R6, Cond::Equal, 0, nothing);
        self.asm.alu_imm(Alu::Sub, R6, 1);
        self.asm.bind(power);
        self.asm.mov_imm(R1, 1);
        self.asm.alu(Alu::LeftShift, R1, R6);
        self.asm.mov(R6, R1);
        self.asm.jump(found);

        self.asm.bind(one_if_zero);
        self.asm.jump_if_imm(R6, Cond::NotEqual, 0, nothing);
        self.asm.bind(plus_one);
        self.asm.alu_imm(Alu::Add, R6, 1);
        self.asm.bind(found);
    }
}
