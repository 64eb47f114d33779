//! Strings: equality and prefixes.

use spelunk_bpf::{Condition, MAX_LITERAL, Term, Text};
use spelunk_dwarf::Kind;

use super::Lowering;
use super::compare::{Sides, at_least};
use super::error::LowerError;
use super::operand::{Lowered, What};
use super::terms::{and, any, equal, nothing, number};
use crate::expr::{Const, EvalError, Expr};

impl Lowering<'_> {
    /// Where the bytes of a string are.
    fn text(x: &Lowered, shown: &Expr) -> Result<Text, LowerError> {
        let (address, len) = x.elements(shown)?;
        Ok(Text { address, len })
    }

    pub(super) fn equal_strings(sides: &Sides<'_>) -> Result<Condition, LowerError> {
        let ((x, left), (y, right)) = (sides.left, sides.right);
        match (&x.what, &y.what) {
            (What::Const(Const::Text(a)), What::Const(Const::Text(b))) => Ok(Condition::Always(a == b)),
            (What::Const(Const::Text(literal)), _) => Ok(is(Self::text(y, right)?, literal)),
            (_, What::Const(Const::Text(literal))) => Ok(is(Self::text(x, left)?, literal)),
            _ => Ok(Condition::SameBytes {
                left: Self::text(x, left)?,
                right: Self::text(y, right)?,
            }),
        }
    }

    /// `strings.HasPrefix(s, prefix)`.
    pub(super) fn has_prefix(&self, s: &Expr, prefix: &Expr) -> Result<Condition, LowerError> {
        let (x, y) = (self.operand(s)?, self.operand(prefix)?);
        for (operand, argument) in [(&x, s), (&y, prefix)] {
            if operand.kind() != Some(Kind::String) {
                let ty = operand.type_name();
                return Err(EvalError::BadArgument(argument.to_string(), ty, "strings.HasPrefix").into());
            }
        }
        match (&x.what, &y.what) {
            (What::Const(Const::Text(whole)), What::Const(Const::Text(start))) => {
                Ok(Condition::Always(whole.starts_with(start)))
            }
            (_, What::Const(Const::Text(start))) => Ok(starts_with(Self::text(&x, s)?, start)),
            (What::Const(Const::Text(whole)), _) => {
                let start = Self::text(&y, prefix)?;
                let fits = at_least(number(whole.len() as i64), start.len.clone());
                // Each of the beginnings that the literal has.
                let beginnings = (0..=whole.len()).map(|len| is(start.clone(), &whole[..len]));
                Ok(and(fits, any(beginnings.collect())))
            }
            _ => {
                let (whole, start) = (Self::text(&x, s)?, Self::text(&y, prefix)?);
                let fits = at_least(whole.len, start.len.clone());
                let beginning = Text {
                    address: whole.address,
                    len: start.len.clone(),
                };
                Ok(and(
                    fits,
                    Condition::SameBytes {
                        left: beginning,
                        right: start,
                    },
                ))
            }
        }
    }
}

/// Whether a string is `literal`.
fn is(text: Text, literal: &[u8]) -> Condition {
    if literal.len() > MAX_LITERAL {
        // The length excludes most others, and the rest is left to the interpreter.
        return and(equal(text.len, literal_len(literal)), nothing());
    }
    Condition::Bytes {
        text,
        literal: literal.to_vec(),
        prefix: false,
    }
}

/// Whether a string begins with `literal`.
fn starts_with(text: Text, literal: &[u8]) -> Condition {
    if literal.len() > MAX_LITERAL {
        return and(at_least(text.len, literal_len(literal)), nothing());
    }
    Condition::Bytes {
        text,
        literal: literal.to_vec(),
        prefix: true,
    }
}

fn literal_len(literal: &[u8]) -> Term {
    number(i64::try_from(literal.len()).unwrap_or(i64::MAX))
}
