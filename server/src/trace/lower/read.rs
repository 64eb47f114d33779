//! What is read of an operand: its address, its elements, its number or truth. `expr::read` for the kernel.

use spelunk_bpf::{Comparison, Condition, Term};
use spelunk_dwarf::{Kind, Type};

use super::error::{LowerError, NotLowered};
use super::operand::{Lowered, What};
use super::terms::{compare, fit, number};
use super::walk::not_evaluated;
use crate::expr::{Const, Expr};

impl Lowered {
    /// The address in a pointer.
    pub(super) fn pointer(&self, shown: &Expr) -> Result<Term, LowerError> {
        match &self.what {
            What::Pointer(term) => Ok(term.clone()),
            What::Nil => Ok(number(0)),
            _ => self.word(0, shown),
        }
    }

    /// The n-th word of a value.
    pub(super) fn word(&self, n: u64, shown: &Expr) -> Result<Term, LowerError> {
        match &self.what {
            What::Place(place) => place.word(8 * n, shown),
            _ => Err(not_evaluated(shown)),
        }
    }

    /// Where the elements of an array, a slice or a string begin, and how many there are.
    pub(super) fn elements(&self, shown: &Expr) -> Result<(Term, Term), LowerError> {
        match (self.kind(), &self.what) {
            (_, What::Slice { base, len, .. } | What::Text { base, len }) => Ok((base.clone(), len.clone())),
            (Some(Kind::Array { len, .. }), What::Place(place)) => {
                let in_registers = || NotLowered::new(shown, "has no address: the variable is in registers");
                let len = number(i64::try_from(len).unwrap_or(i64::MAX));
                Ok((place.address().ok_or_else(in_registers)?, len))
            }
            (Some(Kind::Slice { .. } | Kind::String), What::Place(place)) => {
                Ok((place.word(0, shown)?, place.load(8, 8, true, shown)?))
            }
            _ => Err(not_evaluated(shown)),
        }
    }

    /// A computed integer, extended to 64 bits as its type says.
    pub(super) fn number(&self, shown: &Expr) -> Result<Term, LowerError> {
        match (&self.what, &self.ty) {
            (What::Number(term), _) => Ok(term.clone()),
            (What::Place(place), Some(ty)) => place.load(0, ty.size, ty.kind == Kind::Int, shown),
            (What::Const(Const::Int(n)), ty) => {
                let unsigned = ty.as_ref().is_some_and(|ty| ty.kind != Kind::Int);
                let fits = i64::try_from(*n).ok();
                let fits = fits.filter(|n| !unsigned || *n >= 0);
                let fits = fits.or_else(|| u64::try_from(*n).ok().filter(|_| unsigned).map(u64::cast_signed));
                Ok(number(
                    fits.ok_or_else(|| NotLowered::new(shown, "is a number beyond 64 bits"))?,
                ))
            }
            _ => Err(not_evaluated(shown)),
        }
    }

    /// A truth value.
    pub(super) fn truth(&self, shown: &Expr) -> Result<Condition, LowerError> {
        match &self.what {
            What::Truth(condition) => Ok(condition.clone()),
            What::Const(Const::Bool(b)) => Ok(Condition::Always(*b)),
            What::Place(place) => {
                let byte = place.load(0, 1, false, shown)?;
                Ok(compare(Comparison::NotEqual, false, byte, number(0)))
            }
            _ => Err(not_evaluated(shown)),
        }
    }

    /// A number as an operand of an operation in a type: a constant must be one that 64 bits of that type hold.
    pub(super) fn number_of(&self, shown: &Expr, ty: Option<&Type>) -> Result<Term, LowerError> {
        if let (What::Const(Const::Int(n)), Some(ty)) = (&self.what, ty) {
            let within = match ty.kind {
                Kind::Int => i64::try_from(*n).ok(),
                _ => u64::try_from(*n).ok().map(u64::cast_signed),
            };
            let refuse = || NotLowered::new(shown, format!("is no number of type {}", ty.name));
            return Ok(number(within.ok_or_else(refuse)?));
        }
        self.number(shown)
    }
}

/// A conversion of an integer, which cuts and extends.
pub(super) fn fitted_number(ty: &Type, term: Term) -> Term {
    match term {
        Term::Const(n) => match crate::expr::fitted(ty, Const::Int(i128::from(n))) {
            Const::Int(n) => number(n as i64),
            _ => number(n),
        },
        term => fit(term, ty.size, ty.kind == Kind::Int),
    }
}
