//! What conditions mean: an evaluation without registers, slots or jumps, which programs are compared with.

use super::machine::{G, KERNEL};
use crate::gate::{Comparison, Condition, MAX_COMPARED, Operation, Term};
use crate::plan::Reg;

/// Link-time address of the fake site, and how far the process has it moved.
pub(super) const FILE_ADDR: u64 = 0x40_1000;
pub(super) const BIAS: u64 = 0x5000_0000;

/// The evaluation of conditions as it is meant: without registers, slots or jumps.
pub(super) struct Reference<'r> {
    pub(super) registers: &'r [(Reg, u64)],
}

impl Reference<'_> {
    fn read(addr: u64, len: usize) -> Option<Vec<u8>> {
        KERNEL.with_borrow(|kernel| kernel.read(addr, len).map(<[u8]>::to_vec))
    }

    fn register(&self, wanted: Reg) -> u64 {
        let found = self.registers.iter().find(|(reg, _)| *reg == wanted);
        found.map_or(0, |(_, value)| *value)
    }

    fn extended(value: u64, width: u8, signed: bool) -> u64 {
        match (width, signed) {
            (1, false) => u64::from(value as u8),
            (2, false) => u64::from(value as u16),
            (4, false) => u64::from(value as u32),
            (1, true) => i64::from(value as i8) as u64,
            (2, true) => i64::from(value as i16) as u64,
            (4, true) => i64::from(value as i32) as u64,
            _ => value,
        }
    }

    fn term(&self, term: &Term) -> Option<u64> {
        Some(match term {
            Term::Const(value) => *value as u64,
            Term::Address(address) => address.wrapping_add(BIAS),
            Term::Register(reg) => self.register(*reg),
            // The goroutine of `set_memory` has an id, so there is no need to look further.
            Term::Goroutine => (self.register(Reg::R14) == G).then_some(G)?,
            Term::Load {
                base,
                offset,
                width,
                signed,
            } => {
                let base = self.term(base).filter(|&base| base != 0)?;
                let mut bytes = Self::read(base.wrapping_add_signed(*offset), usize::from(*width))?;
                bytes.resize(8, 0);
                let value = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
                Self::extended(value, *width, *signed)
            }
            Term::Fit { term, width, signed } => Self::extended(self.term(term)?, *width, *signed),
            Term::Arithmetic {
                operation,
                signed,
                left,
                right,
            } => {
                let (left, right) = (self.term(left)?, self.term(right)?);
                let (l, r) = (left as i64, right as i64);
                let count = u32::try_from(right).unwrap_or(u32::MAX);
                match (operation, signed) {
                    (Operation::Add, _) => left.wrapping_add(right),
                    (Operation::Sub, _) => left.wrapping_sub(right),
                    (Operation::Mul, _) => left.wrapping_mul(right),
                    (Operation::And, _) => left & right,
                    (Operation::Or, _) => left | right,
                    (Operation::Xor, _) => left ^ right,
                    (Operation::AndNot, _) => left & !right,
                    (Operation::Shl, _) => left.checked_shl(count).unwrap_or(0),
                    (Operation::Shr, false) => left.checked_shr(count).unwrap_or(0),
                    (Operation::Shr, true) => l.checked_shr(count).unwrap_or(if l < 0 { -1 } else { 0 }) as u64,
                    (Operation::Div, false) => left.checked_div(right)?,
                    (Operation::Rem, false) => left.checked_rem(right)?,
                    (Operation::Div | Operation::Rem, true) if r == 0 => return None,
                    (Operation::Div, true) => l.wrapping_div(r) as u64,
                    (Operation::Rem, true) => l.wrapping_rem(r) as u64,
                }
            }
            Term::Checked { index, len } => {
                let (index, len) = (self.term(index)? as i64, self.term(len)? as i64);
                (0..len).contains(&index).then_some(index as u64)?
            }
            Term::Truth(condition) => u64::from(self.condition(condition)?),
        })
    }

    fn holds<T: PartialOrd + Copy>(comparison: Comparison, left: T, right: T) -> bool {
        match comparison {
            Comparison::Equal => left == right,
            Comparison::NotEqual => left != right,
            Comparison::Less => left < right,
            Comparison::LessOrEqual => left <= right,
            Comparison::Greater => left > right,
            Comparison::GreaterOrEqual => left >= right,
        }
    }

    pub(super) fn condition(&self, condition: &Condition) -> Option<bool> {
        Some(match condition {
            Condition::Always(always) => *always,
            Condition::Compare {
                comparison,
                signed,
                left,
                right,
            } => {
                let (left, right) = (self.term(left)?, self.term(right)?);
                if *signed {
                    Self::holds(*comparison, left as i64, right as i64)
                } else {
                    Self::holds(*comparison, left, right)
                }
            }
            Condition::CompareFloats {
                comparison,
                width,
                left,
                right,
            } => {
                let (left, right) = (self.term(left)?, self.term(right)?);
                if *width == 4 {
                    let float = |bits: u64| f32::from_bits(bits as u32);
                    Self::holds(*comparison, float(left), float(right))
                } else {
                    Self::holds(*comparison, f64::from_bits(left), f64::from_bits(right))
                }
            }
            Condition::Bytes { text, literal, prefix } => {
                let (address, len) = (self.term(&text.address)?, self.term(&text.len)? as i64);
                let wanted = literal.len() as i64;
                if len < 0 {
                    return None;
                }
                if len < wanted || (len > wanted && !prefix) {
                    return Some(false);
                }
                // What is read at once is without a value as a whole.
                for (part, at) in literal.chunks(64).zip((0..).step_by(64)) {
                    if Self::read(address.wrapping_add(at), part.len())? != part {
                        return Some(false);
                    }
                }
                true
            }
            Condition::SameBytes { left, right } => {
                let (address, len) = (self.term(&left.address)?, self.term(&left.len)? as i64);
                let (other, other_len) = (self.term(&right.address)?, self.term(&right.len)? as i64);
                if len < 0 || other_len < 0 {
                    return None;
                }
                if len != other_len {
                    return Some(false);
                }
                if len > i64::from(MAX_COMPARED) {
                    return None;
                }
                let mut at = 0;
                while at < len as u64 {
                    let part = (len as u64 - at).min(32) as usize;
                    if Self::read(address.wrapping_add(at), part)? != Self::read(other.wrapping_add(at), part)? {
                        return Some(false);
                    }
                    at += part as u64;
                }
                true
            }
            Condition::Not(condition) => !self.condition(condition)?,
            Condition::And(left, right) => self.condition(left)? && self.condition(right)?,
            Condition::Or(left, right) => self.condition(left)? || self.condition(right)?,
        })
    }
}
