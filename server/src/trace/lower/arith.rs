//! Operators, with Go's typing: `expr::arith` for the kernel.

use std::sync::Arc;

use spelunk_bpf::{Condition, Operation, Term};
use spelunk_dwarf::{Kind, Type};

use super::Lowering;
use super::error::{LowerError, NotLowered};
use super::operand::{Lowered, What};
use super::read::fitted_number;
use super::terms::{all, any, arithmetic, checked, either, not, number};
use super::walk::not_evaluated;
use crate::expr::{
    Binary, Const, EvalError, Expr, Unary, constant_binary, constant_unary, fits, fitted, same_type, shifted, with_nil,
};

impl Lowering<'_> {
    pub(super) fn unary(&self, expr: &Expr, operator: Unary, inside: &Expr) -> Result<Lowered, LowerError> {
        let x = self.operand(inside)?;
        let not_applicable = || EvalError::Refused(format!("operator {operator} can not be applied to \"{inside}\""));
        if operator == Unary::Receive {
            return Err(not_applicable().into());
        }
        if let What::Const(value) = &x.what {
            let result = constant_unary(operator, value)?;
            let what = match &x.ty {
                Some(ty) => What::Const(fitted(ty, result)),
                None => What::Const(result),
            };
            return Ok(Lowered { ty: x.ty, what });
        }
        let result = match (operator, x.kind()) {
            (Unary::Not, Some(Kind::Bool)) => What::Truth(not(x.truth(inside)?)),
            (Unary::Plus | Unary::Minus | Unary::Complement, Some(Kind::Int | Kind::Uint | Kind::Uintptr)) => {
                let term = x.number(inside)?;
                let term = match operator {
                    Unary::Minus => arithmetic(Operation::Sub, true, number(0), term),
                    Unary::Complement => arithmetic(Operation::Xor, true, term, number(-1)),
                    _ => term,
                };
                What::Number(Self::fitted_or_whole(x.ty.as_ref(), term))
            }
            (_, Some(Kind::Float | Kind::Complex)) => return Err(floats(expr)),
            _ => return Err(not_applicable().into()),
        };
        Ok(Lowered { ty: x.ty, what: result })
    }

    fn fitted_or_whole(ty: Option<&Arc<Type>>, term: Term) -> Term {
        match ty {
            Some(ty) => fitted_number(ty, term),
            None => term,
        }
    }

    /// `&&` and `||`: what stands further right is evaluated only if it decides.
    pub(super) fn logical(&self, operator: Binary, expr: &Expr) -> Result<Lowered, LowerError> {
        let mut operands = Vec::new();
        chained(operator, expr, &mut operands);
        let truth = |expr: &&Expr| -> Result<Condition, LowerError> {
            let x = self.operand(expr)?;
            if x.kind() != Some(Kind::Bool) {
                let kind = x.kind_name();
                return Err(EvalError::Refused(format!("expression \"{expr}\" should be boolean not {kind}")).into());
            }
            x.truth(expr)
        };
        let conditions = operands.iter().map(truth).collect::<Result<Vec<_>, _>>()?;
        let joined = if operator == Binary::LogicalAnd {
            all(conditions)
        } else {
            any(conditions)
        };
        Ok(Lowered::untyped(What::Truth(joined)))
    }

    pub(super) fn binary(
        &self,
        expr: &Expr,
        operator: Binary,
        left: &Expr,
        right: &Expr,
    ) -> Result<Lowered, LowerError> {
        let (x, y) = (self.operand(left)?, self.operand(right)?);
        let ty = Self::negotiate(expr, operator, &x, &y)?;
        if operator.is_comparison() {
            let sides = super::compare::Sides {
                expr,
                left: (&x, left),
                right: (&y, right),
            };
            return Ok(Lowered::untyped(What::Truth(self.compare(
                operator,
                &sides,
                ty.as_deref(),
            )?)));
        }
        if let (What::Const(a), What::Const(b)) = (&x.what, &y.what) {
            let whole = ty
                .as_ref()
                .is_none_or(|ty| !matches!(ty.kind, Kind::Float | Kind::Complex));
            let result = match (&ty, operator) {
                (Some(ty), Binary::Shl | Binary::Shr) => shifted(operator, ty, a, b)?,
                _ => constant_binary(operator, a, b, whole)?,
            };
            let what = match &ty {
                Some(ty) => What::Const(fitted(ty, result)),
                None => What::Const(result),
            };
            return Ok(Lowered { ty, what });
        }
        let kind = ty.as_ref().map(|ty| ty.kind.clone()).or_else(|| x.kind());
        match kind {
            Some(Kind::Int | Kind::Uint | Kind::Uintptr) if x.is_integer() && y.is_integer() => {}
            Some(Kind::Float | Kind::Complex) => return Err(floats(expr)),
            Some(Kind::String) if operator == Binary::Add => {
                return Err(NotLowered::new(expr, "makes a new string").into());
            }
            _ if ty.is_none() => return Err(not_evaluated(expr)),
            _ => {
                let refuse = EvalError::Refused(format!("operator {operator} can not be applied to \"{left}\""));
                return Err(refuse.into());
            }
        }
        let signed = ty.as_ref().is_none_or(|ty| ty.kind == Kind::Int);
        let a = x.number_of(left, ty.as_deref())?;
        let term = match operator {
            Binary::Shl | Binary::Shr => {
                if matches!(x.what, What::Const(_)) && ty.is_none() {
                    // The type of a constant would depend on where the shift stands (Go specification, "Operators").
                    return Err(NotLowered::new(expr, "shifts what has no type yet; convert it first").into());
                }
                arithmetic(operation(operator), signed, a, Self::distance(&y, right)?)
            }
            _ => arithmetic(operation(operator), signed, a, y.number_of(right, ty.as_deref())?),
        };
        let term = Self::fitted_or_whole(ty.as_ref(), term);
        Ok(Lowered {
            ty,
            what: What::Number(term),
        })
    }

    /// How far is shifted: without a value for what is below zero, where Go panics.
    fn distance(y: &Lowered, shown: &Expr) -> Result<Term, LowerError> {
        let by = y.number(shown)?;
        let unsigned = y.ty.as_ref().is_some_and(|ty| ty.kind != Kind::Int);
        Ok(match by {
            Term::Const(_) => by,
            by if unsigned => by,
            by => checked(by, number(i64::MAX)),
        })
    }

    /// The type of the result of an operator that is no comparison, or the type in which a comparison is made; `None` between what has no type yet.
    fn negotiate(expr: &Expr, operator: Binary, x: &Lowered, y: &Lowered) -> Result<Option<Arc<Type>>, LowerError> {
        if x.is_nil() {
            return Ok(with_nil(operator, &y.as_interpreted())?);
        }
        if y.is_nil() {
            return Ok(with_nil(operator, &x.as_interpreted())?);
        }
        if let Binary::Shl | Binary::Shr = operator {
            if !x.is_integer() {
                return Err(EvalError::Refused(format!("shift of type {}", x.kind_name())).into());
            }
            if !y.is_integer() {
                let name = y.kind_name();
                return Err(EvalError::Refused(format!("shift count type {name}, must be unsigned integer")).into());
            }
            if matches!(y.what, What::Const(Const::Int(n)) if n < 0) {
                return Err(EvalError::Refused("shift count must not be negative".to_owned()).into());
            }
            return Ok(x.ty.clone());
        }
        match (&x.ty, &y.ty) {
            (None, None) => Ok(None),
            (Some(a), Some(b)) if same_type(a, b) => Ok(Some(Arc::clone(a))),
            // What a type parameter stands for is in the dictionary of the call.
            (Some(a), Some(b)) if a.dict_index.is_some() || b.dict_index.is_some() => Err(NotLowered::new(
                expr,
                "compares a type parameter, whose type only the running program knows",
            )
            .into()),
            (Some(a), Some(b)) => {
                let text = format!("mismatched types \"{}\" and \"{}\"", a.name, b.name);
                Err(EvalError::Refused(text).into())
            }
            (Some(ty), None) => {
                fits(&y.as_interpreted(), ty)?;
                Ok(Some(Arc::clone(ty)))
            }
            (None, Some(ty)) => {
                fits(&x.as_interpreted(), ty)?;
                Ok(Some(Arc::clone(ty)))
            }
        }
    }

    /// The least or greatest of several integers.
    pub(super) fn extreme(&self, expr: &Expr, least: bool, arguments: &[Expr]) -> Result<Lowered, LowerError> {
        let name = if least { "min" } else { "max" };
        let wanted = if least { Binary::Less } else { Binary::Greater };
        let operands: Result<Vec<Lowered>, LowerError> =
            arguments.iter().map(|argument| self.operand(argument)).collect();
        let operands = operands?;
        let ty = operands.iter().find_map(|operand| operand.ty.clone());
        for operand in &operands {
            if matches!(operand.kind(), Some(Kind::Float | Kind::Complex | Kind::String)) {
                return Err(NotLowered::new(expr, "is not about integers").into());
            }
            if !operand.is_integer() {
                let text = format!("operator {wanted} not defined on {}", operand.kind_name());
                return Err(EvalError::Refused(text).into());
            }
            if let (Some(a), Some(b)) = (&operand.ty, &ty)
                && !same_type(a, b)
            {
                let text = format!("mismatched types \"{}\" and \"{}\"", a.name, b.name);
                return Err(EvalError::Refused(text).into());
            }
        }
        let signed = ty.as_ref().is_none_or(|ty| ty.kind == Kind::Int);
        let mut best: Option<Term> = None;
        for (operand, argument) in operands.iter().zip(arguments) {
            let term = operand.number_of(argument, ty.as_deref())?;
            best = Some(match best {
                None => term,
                Some(known) => {
                    if !super::terms::has_room(&[&term, &term, &known, &known, &known]) {
                        return Err(NotLowered::new(expr, "is too large for a condition in the kernel").into());
                    }
                    let comparison = if least {
                        spelunk_bpf::Comparison::Less
                    } else {
                        spelunk_bpf::Comparison::Greater
                    };
                    let better = super::terms::compare(comparison, signed, term.clone(), known.clone());
                    // Of the two the first is evaluated first, as Go does.
                    let keeps = not(better);
                    either(keeps, known, term)
                }
            });
        }
        let best = best.ok_or_else(|| EvalError::Refused(format!("not enough arguments to {name}")))?;
        Ok(Lowered {
            ty,
            what: What::Number(best),
        })
    }

    /// `T(x)` of an integer.
    pub(super) fn converted_number(ty: &Arc<Type>, term: Term) -> Lowered {
        Lowered::typed(Arc::clone(ty), What::Number(fitted_number(ty, term)))
    }
}

/// The operands of a chain of one operator, in order: `a && b && c` is three.
fn chained<'e>(operator: Binary, expr: &'e Expr, operands: &mut Vec<&'e Expr>) {
    match expr.bare() {
        Expr::Binary(same, left, right) if *same == operator => {
            chained(operator, left, operands);
            chained(operator, right, operands);
        }
        _ => operands.push(expr),
    }
}

fn floats(expr: &Expr) -> LowerError {
    NotLowered::new(expr, "computes with floating-point numbers, which the kernel cannot").into()
}

fn operation(operator: Binary) -> Operation {
    match operator {
        Binary::Sub => Operation::Sub,
        Binary::Mul => Operation::Mul,
        Binary::Div => Operation::Div,
        Binary::Rem => Operation::Rem,
        Binary::And => Operation::And,
        Binary::Or => Operation::Or,
        Binary::Xor => Operation::Xor,
        Binary::AndNot => Operation::AndNot,
        Binary::Shl => Operation::Shl,
        Binary::Shr => Operation::Shr,
        _ => Operation::Add,
    }
}
