//! Reads again what must not have changed meanwhile: other threads go on while a probe reads.

use super::{Generator, slot};
use crate::asm::MapRef;
use crate::insn::{Alu, Cond, FP, Helper, R0, R1, R2, R3, R6, R7, R8, R9, Width};
use crate::layout::{LayoutEntry, RECHECKED};
use crate::record::{CHUNK_HEADER_SIZE, Status, chunk};
use std::mem::offset_of;

const CHUNK_HEADER: i32 = CHUNK_HEADER_SIZE as i32;

impl Generator<'_> {
    /// Reads the chunk at R6 again, if its layout asks for it, and notes whether it is the same. R8 is the chunk's offset in the record R7.
    pub(super) fn recheck(&mut self) {
        let done = self.asm.label();
        let changed = self.asm.label();
        let bytes = RECHECKED.cast_signed();
        self.asm.load(Width::Word, R1, R6, chunk::LAYOUT);
        self.asm.jump_if_imm(R1, Cond::Equal, 0, done);
        self.asm.store(Width::Word, FP, slot::KEY, R1);
        self.asm.load(Width::Word, R1, R6, chunk::LEN);
        self.asm.jump_if_imm(R1, Cond::Equal, 0, done);
        self.asm.lookup(MapRef::Layouts, slot::KEY);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, done);
        self.asm
            .load(Width::Word, R1, R0, offset_of!(LayoutEntry, rechecked) as i16);
        self.asm.jump_if_imm(R1, Cond::Equal, 0, done);
        self.asm.load(Width::Word, R1, R6, chunk::LEN);
        self.asm.jump_if_imm(R1, Cond::Less, bytes, changed);
        self.asm
            .jump_if_imm(R8, Cond::Greater, self.class - CHUNK_HEADER - bytes, changed);
        self.asm.load(Width::Double, R3, R6, chunk::ADDR);
        self.asm.mov(R1, FP);
        self.asm.alu_imm(Alu::Add, R1, i32::from(slot::AGAIN));
        self.asm.mov_imm(R2, bytes);
        self.asm.call(Helper::ProbeReadUser);
        self.asm.jump_if_imm(R0, Cond::NotEqual, 0, changed);
        self.asm.mov(R9, R7);
        self.asm.alu(Alu::Add, R9, R8);
        for word in (0..bytes as i16).step_by(8) {
            self.asm.load(Width::Double, R1, R9, CHUNK_HEADER as i16 + word);
            self.asm.load(Width::Double, R2, FP, slot::AGAIN + word);
            self.asm.jump_if(R1, Cond::NotEqual, R2, changed);
        }
        self.asm.jump(done);
        self.asm.bind(changed);
        self.asm
            .store_imm(Width::Byte, R6, chunk::STATUS, Status::Changed as i32);
        self.asm.bind(done);
    }
}
