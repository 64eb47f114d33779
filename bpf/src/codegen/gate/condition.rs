//! Conditions: jumps to where they are true, false, or without a value.

use super::super::Generator;
use super::Exits;
use crate::gate::{Comparison, Condition, Term};
use crate::insn::{Alu, Cond, R, R0, R1, R2, R3};

impl Comparison {
    /// The jump that is taken where it holds.
    pub(super) fn jump(self, signed: bool) -> Cond {
        match (self, signed) {
            (Comparison::Equal, _) => Cond::Equal,
            (Comparison::NotEqual, _) => Cond::NotEqual,
            (Comparison::Less, false) => Cond::Less,
            (Comparison::Less, true) => Cond::SignedLess,
            (Comparison::LessOrEqual, false) => Cond::LessOrEqual,
            (Comparison::LessOrEqual, true) => Cond::SignedLessOrEqual,
            (Comparison::Greater, false) => Cond::Greater,
            (Comparison::Greater, true) => Cond::SignedGreater,
            (Comparison::GreaterOrEqual, false) => Cond::GreaterOrEqual,
            (Comparison::GreaterOrEqual, true) => Cond::SignedGreaterOrEqual,
        }
    }
}

impl Generator<'_> {
    /// Goes to one of the exits. Overwrites all registers but R6 and R8.
    pub(super) fn condition(&mut self, condition: &Condition, exits: Exits) {
        let Exits { yes, no, unknown } = exits;
        match condition {
            Condition::Always(true) => self.asm.jump(yes),
            Condition::Always(false) => self.asm.jump(no),
            Condition::Compare {
                comparison,
                signed,
                left,
                right,
            } => {
                let jump = comparison.jump(*signed);
                if let Term::Const(number) = right
                    && let Ok(short) = i32::try_from(*number)
                {
                    self.term(left, unknown);
                    self.asm.jump_if_imm(R0, jump, short, yes);
                } else {
                    self.pair(left, right, unknown);
                    self.asm.jump_if(R1, jump, R0, yes);
                }
                self.asm.jump(no);
            }
            Condition::CompareFloats {
                comparison,
                width,
                left,
                right,
            } => {
                self.pair(left, right, unknown);
                self.compare_floats(*comparison, *width, exits);
            }
            Condition::Bytes { text, literal, prefix } => self.compare_with_literal(text, literal, *prefix, exits),
            Condition::SameBytes { left, right } => self.compare_texts(left, right, exits),
            Condition::Not(inner) => self.condition(
                inner,
                Exits {
                    yes: no,
                    no: yes,
                    unknown,
                },
            ),
            Condition::And(left, right) => {
                let yes = self.asm.label();
                self.condition(left, Exits { yes, ..exits });
                self.asm.bind(yes);
                self.condition(right, exits);
            }
            Condition::Or(left, right) => {
                let no = self.asm.label();
                self.condition(left, Exits { no, ..exits });
                self.asm.bind(no);
                self.condition(right, exits);
            }
        }
    }

    /// Compares the bits in R1 and R0 as floating-point numbers (IEEE 754): programs have no instructions for those.
    fn compare_floats(&mut self, comparison: Comparison, width: u8, exits: Exits) {
        // The bits of infinity, without the sign and moved to the left by one; what is above is a NaN.
        let infinity = if width == 4 {
            0xff00_0000_0000_0000_u64
        } else {
            0xffe0_0000_0000_0000
        };
        let nan = if comparison == Comparison::NotEqual {
            exits.yes
        } else {
            exits.no
        };
        self.asm.mov_imm64(R3, infinity.cast_signed());
        for bits in [R1, R0] {
            if width == 4 {
                // The upper half takes their place: the order is the same, and the sign where it is looked for.
                self.asm.alu_imm(Alu::LeftShift, bits, 32);
            }
            self.asm.mov(R2, bits);
            self.asm.alu_imm(Alu::LeftShift, R2, 1);
            self.asm.jump_if(R2, Cond::Greater, R3, nan);
        }
        for bits in [R1, R0] {
            self.order_float(bits);
        }
        self.asm.jump_if(R1, comparison.jump(true), R0, exits.yes);
        self.asm.jump(exits.no);
    }

    /// From the bits of a floating-point number to a number with a sign that has the same order: the bits are a sign and a magnitude. Both zeros become 0.
    fn order_float(&mut self, bits: R) {
        let positive = self.asm.label();
        self.asm.jump_if_imm(bits, Cond::SignedGreaterOrEqual, 0, positive);
        self.asm.mov_imm64(R2, i64::MIN);
        self.asm.alu(Alu::Sub, R2, bits);
        self.asm.mov(bits, R2);
        self.asm.bind(positive);
    }
}
