//! What a lowered condition means, as an evaluator of three values over a memory: what the kernel's programs are held against, and what the lowering is tested with.

use spelunk_bpf::{Comparison, Condition, MAX_COMPARED, Operation, Reg, Term, Text};
use spelunk_dwarf::{LoadBias, ProcAddr};

use crate::value::Memory;

/// A site that was hit.
pub(crate) struct Model<'a> {
    /// The registers, as far as they are known.
    pub(crate) register: &'a dyn Fn(Reg) -> Option<u64>,
    /// The target's memory.
    pub(crate) memory: &'a dyn Memory,
    /// Where the binary was loaded.
    pub(crate) bias: LoadBias,
    /// The goroutine's `runtime.g`.
    pub(crate) goroutine: Option<u64>,
}

impl Model<'_> {
    /// Whether a condition holds; nothing where it has no value.
    pub(crate) fn holds(&self, condition: &Condition) -> Option<bool> {
        Some(match condition {
            Condition::Always(b) => *b,
            Condition::Compare {
                comparison,
                signed,
                left,
                right,
            } => {
                let (a, b) = (self.value(left)?, self.value(right)?);
                let ordering = if *signed {
                    a.cmp(&b)
                } else {
                    a.cast_unsigned().cmp(&b.cast_unsigned())
                };
                holds(*comparison, Some(ordering))
            }
            Condition::CompareFloats {
                comparison,
                width,
                left,
                right,
            } => {
                let float = |bits: i64| match width {
                    4 => f64::from(f32::from_bits(bits as u32)),
                    _ => f64::from_bits(bits.cast_unsigned()),
                };
                let (a, b) = (float(self.value(left)?), float(self.value(right)?));
                holds(*comparison, a.partial_cmp(&b))
            }
            Condition::Bytes { text, literal, prefix } => {
                let (address, len) = self.text(text)?;
                let wanted = literal.len() as i64;
                if if *prefix { len < wanted } else { len != wanted } {
                    return Some(false);
                }
                self.bytes(address, wanted)? == *literal
            }
            Condition::SameBytes { left, right } => {
                let ((a, len), (b, other)) = (self.text(left)?, self.text(right)?);
                if len != other {
                    return Some(false);
                }
                if len > i64::from(MAX_COMPARED) {
                    return None;
                }
                self.bytes(a, len)? == self.bytes(b, len)?
            }
            Condition::Not(inside) => !self.holds(inside)?,
            Condition::And(left, right) => self.holds(left)? && self.holds(right)?,
            Condition::Or(left, right) => self.holds(left)? || self.holds(right)?,
        })
    }

    fn text(&self, text: &Text) -> Option<(i64, i64)> {
        let (address, len) = (self.value(&text.address)?, self.value(&text.len)?);
        (len >= 0).then_some((address, len))
    }

    fn bytes(&self, address: i64, len: i64) -> Option<Vec<u8>> {
        let mut bytes = vec![0; usize::try_from(len).ok()?];
        if !bytes.is_empty() {
            self.memory.read(ProcAddr(address.cast_unsigned()), &mut bytes).ok()?;
        }
        Some(bytes)
    }

    fn value(&self, term: &Term) -> Option<i64> {
        Some(match term {
            Term::Const(n) => *n,
            Term::Address(address) => self.bias.to_proc(spelunk_dwarf::FileAddr(*address)).0.cast_signed(),
            Term::Register(register) => (self.register)(*register)?.cast_signed(),
            Term::Goroutine => self.goroutine?.cast_signed(),
            Term::Load {
                base,
                offset,
                width,
                signed,
            } => {
                let base = self.value(base)?;
                if base == 0 {
                    return None;
                }
                let at = ProcAddr(base.wrapping_add(*offset).cast_unsigned());
                let read = self.memory.read_uint(at, u64::from(*width)).ok()?;
                fitted(read.cast_signed(), *width, *signed)
            }
            Term::Fit { term, width, signed } => fitted(self.value(term)?, *width, *signed),
            Term::Arithmetic {
                operation,
                signed,
                left,
                right,
            } => {
                let (a, b) = (self.value(left)?, self.value(right)?);
                computed(*operation, *signed, a, b)?
            }
            Term::Checked { index, len } => {
                let (index, len) = (self.value(index)?, self.value(len)?);
                (0..len).contains(&index).then_some(index)?
            }
            Term::Truth(condition) => i64::from(self.holds(condition)?),
        })
    }
}

fn holds(comparison: Comparison, ordering: Option<std::cmp::Ordering>) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    match comparison {
        Comparison::Equal => ordering == Some(Equal),
        Comparison::NotEqual => ordering != Some(Equal),
        Comparison::Less => ordering == Some(Less),
        Comparison::LessOrEqual => matches!(ordering, Some(Less | Equal)),
        Comparison::Greater => ordering == Some(Greater),
        Comparison::GreaterOrEqual => matches!(ordering, Some(Greater | Equal)),
    }
}

fn fitted(n: i64, width: u8, signed: bool) -> i64 {
    let unused = 64 - 8 * u32::from(width);
    if signed {
        n << unused >> unused
    } else {
        (n.cast_unsigned() << unused >> unused).cast_signed()
    }
}

fn computed(operation: Operation, signed: bool, a: i64, b: i64) -> Option<i64> {
    let (ua, ub) = (a.cast_unsigned(), b.cast_unsigned());
    Some(match operation {
        Operation::Add => a.wrapping_add(b),
        Operation::Sub => a.wrapping_sub(b),
        Operation::Mul => a.wrapping_mul(b),
        Operation::Div | Operation::Rem if b == 0 => return None,
        Operation::Div if signed => a.wrapping_div(b),
        Operation::Div => (ua / ub).cast_signed(),
        Operation::Rem if signed => a.wrapping_rem(b),
        Operation::Rem => (ua % ub).cast_signed(),
        Operation::And => a & b,
        Operation::Or => a | b,
        Operation::Xor => a ^ b,
        Operation::AndNot => a & !b,
        Operation::Shl if ub >= 64 => 0,
        Operation::Shl => a << ub,
        Operation::Shr if ub >= 64 => {
            if signed && a < 0 {
                -1
            } else {
                0
            }
        }
        Operation::Shr if signed => a >> ub,
        Operation::Shr => (ua >> ub).cast_signed(),
    })
}
