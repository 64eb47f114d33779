//! What the hits of a probe must pass, as it is asked for, and why a probe that was asked for cannot be.

use spelunk_bpf::{Condition, Gate, HitCount, Operation, RateLimit, Reg, Term};
use spelunk_dwarf::{Binary, DwarfError};

use super::lower::{LowerError, Names, NotLowered, lower};
use crate::expr::{EvalError, Expr};

/// What the hits of a probe must pass, in this order; the default lets all pass.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Terms<'e> {
    /// What must be true.
    pub(crate) condition: Option<&'e Expr>,
    /// How often it must have been true. The counter is one of the engine that the probe is installed by.
    pub(crate) hits: Option<HitCount>,
    /// How many hits may pass in a while. The limiter is one of the engine that the probe is installed by.
    pub(crate) rate: Option<RateLimit>,
}

/// Why a probe cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unfit {
    /// The debug information is broken or missing.
    #[error("{0}")]
    Unusable(String),
    /// The condition has no value at the site, wherever it is evaluated; the text is the interpreter's.
    #[error("error evaluating condition: {0}")]
    Condition(EvalError),
    /// A part of the condition is beyond the kernel. A stop could evaluate it.
    #[error("the kernel cannot decide the condition: {0}")]
    NotLowered(NotLowered),
    /// The probe would stop the program behind an instruction that cannot be taken back.
    #[error("the kernel cannot stop the program there: {0}")]
    Instruction(String),
}

impl From<LowerError> for Unfit {
    fn from(error: LowerError) -> Unfit {
        match error {
            LowerError::Condition(error) => Unfit::Condition(error),
            LowerError::NotLowered(error) => Unfit::NotLowered(error),
        }
    }
}

impl From<DwarfError> for Unfit {
    fn from(error: DwarfError) -> Unfit {
        Unfit::Unusable(error.to_string())
    }
}

impl Terms<'_> {
    /// The gate of a site where `names` mean what they say.
    pub(super) fn gate(&self, binary: &Binary, names: &dyn Names) -> Result<Gate, LowerError> {
        let condition = self.condition.map(|condition| lower(binary, names, condition));
        Ok(Gate {
            condition: condition.transpose()?,
            hits: self.hits,
            rate: self.rate,
            mark: None,
        })
    }
}

/// Whether there can be hits at which a condition has no value. The thread's own stack is always there.
pub(super) fn may_be_unknown(condition: &Condition) -> bool {
    match condition {
        Condition::Always(_) => false,
        Condition::Compare { left, right, .. } | Condition::CompareFloats { left, right, .. } => {
            term_may_be_unknown(left) || term_may_be_unknown(right)
        }
        // The bytes may lie in a page that nobody has touched yet.
        Condition::Bytes { .. } | Condition::SameBytes { .. } => true,
        Condition::Not(inside) => may_be_unknown(inside),
        Condition::And(left, right) | Condition::Or(left, right) => may_be_unknown(left) || may_be_unknown(right),
    }
}

fn term_may_be_unknown(term: &Term) -> bool {
    match term {
        Term::Const(_) | Term::Address(_) | Term::Register(_) => false,
        Term::Load { base, .. } => !matches!(**base, Term::Register(Reg::Rsp)),
        Term::Fit { term, .. } => term_may_be_unknown(term),
        Term::Goroutine | Term::Checked { .. } => true,
        Term::Arithmetic {
            operation, left, right, ..
        } => {
            let divides = matches!(operation, Operation::Div | Operation::Rem);
            let by_zero = divides && !matches!(**right, Term::Const(n) if n != 0);
            by_zero || term_may_be_unknown(left) || term_may_be_unknown(right)
        }
        Term::Truth(condition) => may_be_unknown(condition),
    }
}

/// The registers that a condition reads.
pub(super) fn registers_read(condition: &Condition, read: &mut dyn FnMut(Reg)) {
    match condition {
        Condition::Always(_) => {}
        Condition::Compare { left, right, .. } | Condition::CompareFloats { left, right, .. } => {
            term_registers(left, read);
            term_registers(right, read);
        }
        Condition::Bytes { text, .. } => {
            term_registers(&text.address, read);
            term_registers(&text.len, read);
        }
        Condition::SameBytes { left, right } => {
            for term in [&left.address, &left.len, &right.address, &right.len] {
                term_registers(term, read);
            }
        }
        Condition::Not(inside) => registers_read(inside, read),
        Condition::And(left, right) | Condition::Or(left, right) => {
            registers_read(left, read);
            registers_read(right, read);
        }
    }
}

fn term_registers(term: &Term, read: &mut dyn FnMut(Reg)) {
    match term {
        Term::Const(_) | Term::Address(_) | Term::Goroutine => {}
        Term::Register(register) => read(*register),
        Term::Load { base: term, .. } | Term::Fit { term, .. } => term_registers(term, read),
        Term::Arithmetic { left, right, .. }
        | Term::Checked {
            index: left,
            len: right,
        } => {
            term_registers(left, read);
            term_registers(right, read);
        }
        Term::Truth(condition) => registers_read(condition, read),
    }
}
