//! Terms: numbers of 64 bits, computed into R0.

use super::super::{Generator, site};
use super::{Exits, slot};
use crate::asm::{Label, MapRef};
use crate::gate::{Condition, Operation, Term};
use crate::insn::{Alu, Cond, FP, R, R0, R1, R2, R3, R4, R6, R8, R9, Width};
use crate::plan::{GoroutineSource, Reg};

/// Whether a term is computed without touching any register but R0.
fn is_simple(term: &Term) -> bool {
    matches!(term, Term::Const(_) | Term::Register(_))
}

/// Where two words in memory are that lie one behind the other.
fn neighbours<'t>(left: &'t Term, right: &'t Term) -> Option<(&'t Term, i64)> {
    let word = |term| match term {
        &Term::Load {
            ref base,
            offset,
            width: 8,
            ..
        } => Some((&**base, offset)),
        _ => None,
    };
    let ((base, offset), (other, behind)) = (word(left)?, word(right)?);
    // A goroutine's words may be read already.
    (base == other && offset.checked_add(8) == Some(behind) && *base != Term::Goroutine).then_some((base, offset))
}

/// A load or a store of that many bytes; [`crate::gate`] lets no other widths through.
fn access(width: u8) -> Width {
    match width {
        1 => Width::Byte,
        2 => Width::Half,
        4 => Width::Word,
        _ => Width::Double,
    }
}

impl Generator<'_> {
    /// R0 = the term, or on to `unknown`. Overwrites R1 to R5, R7 and R9.
    pub(super) fn term(&mut self, term: &Term, unknown: Label) {
        match term {
            Term::Const(value) => self.asm.mov_imm64(R0, *value),
            Term::Register(reg) => self.asm.load(Width::Double, R0, R6, reg.pt_regs_offset()),
            Term::Address(address) => self.address(*address, unknown),
            Term::Goroutine => self.running_goroutine(unknown),
            Term::Load {
                base,
                offset,
                width,
                signed,
            } => {
                if **base == Term::Goroutine && *offset == i64::from(self.plan.runtime.goid) && *width == 8 {
                    // Whoever looks for the goroutine has read this.
                    self.running_goroutine(unknown);
                } else {
                    self.read_behind(base, *offset, slot::WORD, i32::from(*width), unknown);
                }
                self.asm.load(access(*width), R0, FP, slot::WORD);
                if *signed {
                    self.fit(*width, true);
                }
            }
            Term::Fit { term, width, signed } => {
                self.term(term, unknown);
                self.fit(*width, *signed);
            }
            Term::Arithmetic {
                operation,
                signed,
                left,
                right,
            } => {
                self.pair(left, right, unknown);
                self.arithmetic(*operation, *signed, unknown);
            }
            Term::Checked { index, len } => {
                self.pair(index, len, unknown);
                // A negative index is a huge one without a sign; a negative length is not, and has no element.
                self.asm.jump_if_imm(R0, Cond::SignedLess, 0, unknown);
                self.asm.jump_if(R1, Cond::GreaterOrEqual, R0, unknown);
                self.asm.mov(R0, R1);
            }
            Term::Truth(condition) => self.truth(condition, unknown),
        }
    }

    /// Reads `size` bytes at a term plus `offset` into the frame at `slot`.
    fn read_behind(&mut self, base: &Term, offset: i64, slot: i16, size: i32, unknown: Label) {
        self.term(base, unknown);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, unknown);
        self.asm.mov(R3, R0);
        self.asm.add_imm64(R3, offset, R1);
        self.read_to(slot, size, unknown);
    }

    /// R1 = left, R0 = right.
    pub(super) fn pair(&mut self, left: &Term, right: &Term, unknown: Label) {
        if let Some((base, offset)) = neighbours(left, right) {
            // Reading costs more than all the rest, and the words of a string, for one, lie side by side.
            self.read_behind(base, offset, self.buffer, 16, unknown);
            self.asm.load(Width::Double, R1, FP, self.buffer);
            self.asm.load(Width::Double, R0, FP, self.buffer + 8);
            return;
        }
        self.term(left, unknown);
        if is_simple(right) {
            self.asm.mov(R1, R0);
            self.term(right, unknown);
        } else {
            let kept = self.temporary();
            self.asm.store(Width::Double, FP, kept, R0);
            self.term(right, unknown);
            self.asm.load(Width::Double, R1, FP, kept);
            self.release(1);
        }
    }

    /// R0 = a link-time address, moved by as much as the site has been.
    fn address(&mut self, address: u64, unknown: Label) {
        self.asm.store(Width::Word, FP, slot::KEY, R8);
        self.asm.lookup(MapRef::Sites, slot::KEY);
        self.asm.jump_if_imm(R0, Cond::Equal, 0, unknown);
        self.asm.load(Width::Double, R1, R0, site::FILE_ADDR);
        self.asm.load(Width::Double, R0, R6, Reg::Rip.pt_regs_offset());
        self.asm.alu(Alu::Sub, R0, R1);
        self.asm.add_imm64(R0, address.cast_signed(), R1);
    }

    /// R0 = address of the `runtime.g` that runs, or that the thread runs for. Leaves it in R9 as well, and its id in the frame's word slot.
    pub(super) fn running_goroutine(&mut self, unknown: Label) {
        let runtime = self.plan.runtime;
        let found = self.asm.label();
        match self.plan.goroutine {
            GoroutineSource::None => {
                self.asm.jump(unknown);
                return;
            }
            GoroutineSource::R14 => self.asm.load(Width::Double, R9, R6, Reg::R14.pt_regs_offset()),
            GoroutineSource::Tls { offset } => self.thread_local_g(offset, unknown),
        }
        self.asm.jump_if_imm(R9, Cond::Equal, 0, unknown);
        self.read_word(runtime.goid, unknown);
        self.asm.load(Width::Double, R0, FP, slot::WORD);
        self.asm.jump_if_imm(R0, Cond::NotEqual, 0, found);
        // g0 and gsignal have no id: the goroutine is the one that the thread runs for.
        for offset in [runtime.m, runtime.curg] {
            self.read_word(offset, unknown);
            self.asm.load(Width::Double, R9, FP, slot::WORD);
            self.asm.jump_if_imm(R9, Cond::Equal, 0, unknown);
        }
        self.read_word(runtime.goid, unknown);
        self.asm.bind(found);
        self.asm.mov(R0, R9);
    }

    /// Cuts R0 to a width and extends it again.
    fn fit(&mut self, width: u8, signed: bool) {
        let gone = 64 - 8 * i32::from(width);
        if gone > 0 {
            let back = if signed {
                Alu::ArithmeticRightShift
            } else {
                Alu::RightShift
            };
            self.asm.alu_imm(Alu::LeftShift, R0, gone);
            self.asm.alu_imm(back, R0, gone);
        }
    }

    /// R0 = R1 `operation` R0.
    fn arithmetic(&mut self, operation: Operation, signed: bool, unknown: Label) {
        let simply = |generator: &mut Self, alu| {
            generator.asm.alu(alu, R1, R0);
            generator.asm.mov(R0, R1);
        };
        match operation {
            Operation::Add => simply(self, Alu::Add),
            Operation::Sub => simply(self, Alu::Sub),
            Operation::Mul => simply(self, Alu::Mul),
            Operation::And => simply(self, Alu::And),
            Operation::Or => simply(self, Alu::Or),
            Operation::Xor => simply(self, Alu::Xor),
            Operation::AndNot => {
                self.asm.alu_imm(Alu::Xor, R0, -1);
                simply(self, Alu::And);
            }
            Operation::Shl => self.shift(Alu::LeftShift, 64),
            Operation::Shr if signed => self.shift(Alu::ArithmeticRightShift, 63),
            Operation::Shr => self.shift(Alu::RightShift, 64),
            Operation::Div | Operation::Rem => {
                self.asm.jump_if_imm(R0, Cond::Equal, 0, unknown);
                let alu = if operation == Operation::Div {
                    Alu::Div
                } else {
                    Alu::Mod
                };
                if signed {
                    self.divide_signed(alu);
                } else {
                    simply(self, alu);
                }
            }
        }
    }

    /// R0 = R1 shifted by R0, whatever that is. A machine shifts by the count modulo 64; Go shifts everything out.
    fn shift(&mut self, alu: Alu, most: i32) {
        let within = self.asm.label();
        let done = self.asm.label();
        self.asm.jump_if_imm(R0, Cond::LessOrEqual, 63, within);
        if most == 64 {
            self.asm.mov_imm(R0, 0);
            self.asm.jump(done);
        } else {
            self.asm.mov_imm(R0, most);
        }
        self.asm.bind(within);
        self.asm.alu(alu, R1, R0);
        self.asm.mov(R0, R1);
        self.asm.bind(done);
        self.forget(R0);
    }

    /// R0 = R1 divided by R0, which is not 0, as numbers with a sign: computed with the absolute values, since the division of old kernels knows no signs.
    /// What has none, the least of all numbers, is right as a number without a sign.
    fn divide_signed(&mut self, alu: Alu) {
        // R2 and R3 are -1 where the sides are negative, else 0: negating is flipping all bits and adding 1.
        let absolute = |generator: &mut Self, number: R, sign: R| {
            generator.asm.mov(sign, number);
            generator.asm.alu_imm(Alu::ArithmeticRightShift, sign, 63);
            generator.asm.alu(Alu::Xor, number, sign);
            generator.asm.alu(Alu::Sub, number, sign);
        };
        absolute(self, R1, R2);
        absolute(self, R0, R3);
        self.asm.alu(alu, R1, R0);
        self.asm.mov(R4, R2);
        if alu == Alu::Div {
            self.asm.alu(Alu::Xor, R4, R3);
        }
        self.asm.alu(Alu::Xor, R1, R4);
        self.asm.alu(Alu::Sub, R1, R4);
        self.asm.mov(R0, R1);
    }

    fn truth(&mut self, condition: &Condition, unknown: Label) {
        let exits = Exits {
            yes: self.asm.label(),
            no: self.asm.label(),
            unknown,
        };
        let known = self.asm.label();
        self.condition(condition, exits);
        self.asm.bind(exits.no);
        self.asm.mov_imm(R0, 0);
        self.asm.jump(known);
        self.asm.bind(exits.yes);
        self.asm.mov_imm(R0, 1);
        self.asm.bind(known);
        self.forget(R0);
    }
}
