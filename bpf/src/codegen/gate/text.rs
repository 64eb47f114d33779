//! Comparing bytes of the target: with a literal, and with each other.

use super::super::Generator;
use super::{Exits, slot};
use crate::asm::Label;
use crate::gate::{MAX_COMPARED, Text};
use crate::insn::{Alu, Cond, FP, Helper, R, R0, R1, R2, R3, R7, R9, Width};

/// How many bytes are read at once from each of two strings, which share the buffer.
const HALF: i32 = 32;

impl Generator<'_> {
    /// Compares lengths first: most strings that differ do so there, and nothing of them is read then.
    pub(super) fn compare_with_literal(&mut self, text: &Text, literal: &[u8], prefix: bool, exits: Exits) {
        let Exits { yes, no, unknown } = exits;
        self.pair(&text.address, &text.len, unknown);
        self.asm.mov(R7, R1);
        self.asm.jump_if_imm(R0, Cond::SignedLess, 0, unknown);
        let length = literal.len() as i32;
        let at_once = usize::from((slot::FLAGS - self.buffer).unsigned_abs());
        let differs = if prefix { Cond::Less } else { Cond::NotEqual };
        self.asm.jump_if_imm(R0, differs, length, no);
        for (part, at) in literal.chunks(at_once).zip((0..).step_by(at_once)) {
            self.asm.mov(R3, R7);
            self.asm.alu_imm(Alu::Add, R3, at);
            self.read_to(self.buffer, part.len() as i32, unknown);
            let mut rest = part;
            let mut offset = self.buffer;
            while !rest.is_empty() {
                let (width, bytes) = match rest.len() {
                    8.. => (Width::Double, 8),
                    4.. => (Width::Word, 4),
                    2.. => (Width::Half, 2),
                    _ => (Width::Byte, 1),
                };
                let (word, behind) = rest.split_at(bytes);
                let expected = word.iter().rev().fold(0, |word, &byte| word << 8 | u64::from(byte));
                self.asm.load(width, R1, FP, offset);
                if let Ok(short) = i32::try_from(expected.cast_signed()) {
                    self.asm.jump_if_imm(R1, Cond::NotEqual, short, no);
                } else {
                    self.asm.mov_imm64(R2, expected.cast_signed());
                    self.asm.jump_if(R1, Cond::NotEqual, R2, no);
                }
                offset += bytes as i16;
                rest = behind;
            }
        }
        self.asm.jump(yes);
    }

    /// Compares two strings of the target, piece by piece.
    pub(super) fn compare_texts(&mut self, left: &Text, right: &Text, exits: Exits) {
        let Exits { yes, no, unknown } = exits;
        self.pair(&left.address, &left.len, unknown);
        let (left_address, left_length) = (self.temporary(), self.temporary());
        self.asm.store(Width::Double, FP, left_address, R1);
        self.asm.store(Width::Double, FP, left_length, R0);
        self.pair(&right.address, &right.len, unknown);
        self.release(2);
        self.asm.mov(R9, R1);
        self.asm.load(Width::Double, R1, FP, left_length);
        self.asm.jump_if_imm(R0, Cond::SignedLess, 0, unknown);
        self.asm.jump_if_imm(R1, Cond::SignedLess, 0, unknown);
        self.asm.jump_if(R0, Cond::NotEqual, R1, no);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, yes);
        self.asm
            .jump_if_imm(R0, Cond::Greater, MAX_COMPARED.cast_signed(), unknown);
        self.asm.load(Width::Double, R7, FP, left_address);
        // The length is now what is left to be compared, and changes its place with every piece: the verifier must not see one number through all of them.
        let rest = left_length;
        let last = self.asm.label();
        for _ in 1..MAX_COMPARED.cast_signed() / HALF {
            self.asm.load(Width::Double, R1, FP, rest);
            self.asm.jump_if_imm(R1, Cond::LessOrEqual, HALF, last);
            for (address, half) in [(R7, self.buffer), (R9, self.buffer + HALF as i16)] {
                self.asm.mov(R3, address);
                self.read_to(half, HALF, unknown);
            }
            self.halves_differ(no);
            self.asm.alu_imm(Alu::Add, R7, HALF);
            self.asm.alu_imm(Alu::Add, R9, HALF);
            self.asm.load(Width::Double, R1, FP, rest);
            self.asm.alu_imm(Alu::Sub, R1, HALF);
            self.asm.store(Width::Double, FP, rest, R1);
        }
        // What the last piece does not fill is the same in both halves.
        self.asm.bind(last);
        for word in (0..2 * HALF as i16).step_by(8) {
            self.asm.store_imm(Width::Double, FP, self.buffer + word, 0);
        }
        self.read_rest(R7, self.buffer, rest, unknown);
        self.read_rest(R9, self.buffer + HALF as i16, rest, unknown);
        self.halves_differ(no);
        self.asm.jump(yes);
    }

    /// Reads as many bytes as the slot `rest` says, at most [`HALF`].
    fn read_rest(&mut self, address: R, to: i16, rest: i16, unknown: Label) {
        self.asm.load(Width::Double, R2, FP, rest);
        self.asm.jump_if_imm(R2, Cond::Greater, HALF, unknown);
        self.asm.mov(R1, FP);
        self.asm.alu_imm(Alu::Add, R1, i32::from(to));
        self.asm.mov(R3, address);
        self.asm.call(Helper::ProbeReadUser);
        self.asm.jump_if_imm(R0, Cond::NotEqual, 0, unknown);
    }

    /// Goes to `no` where the two halves of the buffer differ.
    fn halves_differ(&mut self, no: Label) {
        for word in (0..HALF as i16).step_by(8) {
            self.asm.load(Width::Double, R1, FP, self.buffer + word);
            self.asm.load(Width::Double, R2, FP, self.buffer + HALF as i16 + word);
            self.asm.jump_if(R1, Cond::NotEqual, R2, no);
        }
    }
}
