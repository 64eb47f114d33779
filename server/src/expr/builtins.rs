//! Go's built-in functions that need no call: `len`, `cap`, `min`, `max`, `real`, `imag`, `complex`.

use std::sync::Arc;

use spelunk_dwarf::{Kind, ProcAddr};

use super::constant::Const;
use super::eval::Evaluator;
use super::operand::{Operand, What};
use super::{Binary, EvalError, Expr};

/// A built-in function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Builtin {
    Len,
    Cap,
    Min,
    Max,
    Real,
    Imag,
    Complex,
}

impl Builtin {
    pub(super) fn named(name: &str) -> Option<Builtin> {
        Some(match name {
            "len" => Builtin::Len,
            "cap" => Builtin::Cap,
            "min" => Builtin::Min,
            "max" => Builtin::Max,
            "real" => Builtin::Real,
            "imag" => Builtin::Imag,
            "complex" => Builtin::Complex,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Builtin::Len => "len",
            Builtin::Cap => "cap",
            Builtin::Min => "min",
            Builtin::Max => "max",
            Builtin::Real => "real",
            Builtin::Imag => "imag",
            Builtin::Complex => "complex",
        }
    }
}

/// Whether a function is `strings.HasPrefix`, which is evaluated without a call: conditions on requests' paths are full of it.
pub(crate) fn is_has_prefix(function: &Expr) -> bool {
    matches!(function.bare(), Expr::Field(package, name)
        if name == "HasPrefix" && matches!(package.bare(), Expr::Name(package) if package == "strings"))
}

impl Evaluator<'_> {
    /// `strings.HasPrefix(s, prefix)`.
    pub(super) fn has_prefix(&self, s: &Expr, prefix: &Expr) -> Result<Operand, EvalError> {
        let text = |expr: &Expr, limit: usize| -> Result<(Vec<u8>, i64), EvalError> {
            let x = self.operand(expr)?;
            if let What::Unreadable(why) = &x.what {
                return Err(EvalError::Unreadable(why.clone()));
            }
            if x.kind() != Some(Kind::String) {
                return Err(EvalError::BadArgument(
                    expr.to_string(),
                    x.type_name(),
                    "strings.HasPrefix",
                ));
            }
            self.string_start(&x, limit)
        };
        let (_, len) = text(s, 0)?;
        let (_, wanted) = text(prefix, 0)?;
        if wanted > len {
            return Ok(Operand::constant(Const::Bool(false)));
        }
        let limit = usize::try_from(wanted).unwrap_or(0);
        if limit > super::read::MAX_STRING {
            return Err(EvalError::Refused("string too long for comparison".to_owned()));
        }
        let ((start, _), (prefix, _)) = (text(s, limit)?, text(prefix, limit)?);
        Ok(Operand::constant(Const::Bool(start.starts_with(&prefix))))
    }

    pub(super) fn builtin(&self, builtin: Builtin, arguments: &[Expr]) -> Result<Operand, EvalError> {
        let count = match builtin {
            Builtin::Complex => Some(2),
            Builtin::Min | Builtin::Max => None,
            _ => Some(1),
        };
        if count.is_some_and(|count| count != arguments.len()) {
            let (name, given) = (builtin.name(), arguments.len());
            return Err(EvalError::Refused(format!(
                "wrong number of arguments to {name}: {given}"
            )));
        }
        let operands: Result<Vec<Operand>, EvalError> =
            arguments.iter().map(|argument| self.operand(argument)).collect();
        let operands = operands?;
        for operand in &operands {
            if let What::Unreadable(why) = &operand.what {
                return Err(EvalError::Unreadable(why.clone()));
            }
        }
        match (builtin, operands.as_slice(), arguments) {
            (Builtin::Len | Builtin::Cap, [x], [argument]) => {
                let length = self.length(x, builtin == Builtin::Cap)?;
                let length = length
                    .ok_or_else(|| EvalError::BadArgument(argument.to_string(), x.type_name(), builtin.name()))?;
                Ok(Operand::constant(Const::Int(i128::from(length))))
            }
            (Builtin::Real | Builtin::Imag, [x], [argument]) => {
                let refuse = || {
                    let ty = x.type_name();
                    EvalError::Refused(format!("invalid argument {argument} (type {ty}) to {}", builtin.name()))
                };
                let value = self.scalar(x)?.ok_or_else(refuse)?;
                if let (Builtin::Real, Const::Int(_) | Const::Exact(_)) = (builtin, &value) {
                    return Ok(Operand::constant(value));
                }
                let part = match (builtin, value) {
                    (Builtin::Real, Const::Complex(re, _)) => re,
                    (Builtin::Imag, Const::Complex(_, im)) => im,
                    (Builtin::Real, value) => value.real().ok_or_else(refuse)?,
                    _ => return Err(refuse()),
                };
                Ok(Operand::constant(Const::Float(part)))
            }
            (Builtin::Complex, [re, im], _) => {
                let part = |number: usize, x: &Operand| -> Result<f64, EvalError> {
                    let real = self
                        .scalar(x)?
                        .filter(|value| matches!(value, Const::Int(_) | Const::Float(_) | Const::Exact(_)));
                    real.and_then(|value| value.real()).ok_or_else(|| {
                        let argument = arguments.get(number).map(ToString::to_string).unwrap_or_default();
                        let ty = x.type_name();
                        EvalError::Refused(format!(
                            "invalid argument {} {argument} (type {ty}) to complex",
                            number + 1
                        ))
                    })
                };
                // Delve gives it a type even where it is made of constants alone.
                let ty = super::operand::plain_type("complex128", 16, Kind::Complex);
                Ok(Operand::computed(ty, Const::Complex(part(0, re)?, part(1, im)?)))
            }
            _ => self.extreme(builtin, &operands),
        }
    }

    fn extreme(&self, builtin: Builtin, operands: &[Operand]) -> Result<Operand, EvalError> {
        let wanted = if builtin == Builtin::Max {
            Binary::Greater
        } else {
            Binary::Less
        };
        let mut best: Option<(&Operand, Const)> = None;
        let mut ty = None;
        if let [_, second, ..] = operands
            && operands.iter().any(Operand::is_nil)
        {
            super::arith::with_nil(wanted, second)?;
        }
        for operand in operands {
            let value = self.scalar(operand)?.ok_or_else(|| {
                let kind = operand.kind_name();
                EvalError::Refused(format!("operator {wanted} not defined on {kind}"))
            })?;
            ty = ty.or_else(|| operand.ty.clone());
            if let (Some(a), Some(b)) = (&operand.ty, &ty)
                && !super::arith::same_type(a, b)
            {
                return Err(EvalError::Refused(format!(
                    "mismatched types \"{}\" and \"{}\"",
                    a.name, b.name
                )));
            }
            let better = match &best {
                Some((_, known)) => super::constant::compare(wanted, &value, known)?,
                None => true,
            };
            if better {
                best = Some((operand, value));
            }
        }
        let (operand, value) =
            best.ok_or_else(|| EvalError::Refused(format!("not enough arguments to {}", builtin.name())))?;
        Ok(match (&operand.ty, ty) {
            (None, Some(ty)) => {
                super::arith::fits(operand, &ty)?;
                Operand::computed(Arc::clone(&ty), super::arith::fitted(&ty, value))
            }
            _ => operand.clone(),
        })
    }

    /// The length or capacity of what has one.
    fn length(&self, x: &Operand, capacity: bool) -> Result<Option<i64>, EvalError> {
        match &x.what {
            What::Const(Const::Text(bytes)) if !capacity => return Ok(Some(bytes.len() as i64)),
            What::Part { len, .. } if !capacity => return Ok(Some(*len)),
            What::Slice { len, cap, .. } => return Ok(Some(if capacity { *cap } else { *len })),
            What::Elements { len, .. } => return Ok(Some(*len)),
            _ => {}
        }
        let word = |addr: ProcAddr, n: u64| -> Result<u64, EvalError> {
            Ok(self.loader.memory.read_uint(ProcAddr(addr.0.wrapping_add(8 * n)), 8)?)
        };
        let addr = match x.what {
            What::Place(addr) | What::MapFrom { addr, .. } => addr,
            What::Pointer(address) => {
                let elem = match x.kind() {
                    Some(Kind::Pointer { elem }) => self.loader.binary.type_info(elem)?,
                    _ => return Ok(None),
                };
                return Ok(array_length(&elem.kind).filter(|_| address != 0));
            }
            _ => return Ok(None),
        };
        Ok(match x.kind() {
            Some(Kind::Slice { .. }) => Some(word(addr, if capacity { 2 } else { 1 })? as i64),
            Some(kind @ Kind::Array { .. }) => array_length(&kind),
            Some(Kind::Pointer { elem }) => array_length(&self.loader.binary.type_info(elem)?.kind),
            Some(Kind::String) if !capacity => Some(word(addr, 1)? as i64),
            // Maps begin with the number of entries, in every version of Go (see `value::map`).
            Some(Kind::Map { .. }) if !capacity => match word(addr, 0)? {
                0 => Some(0),
                map => Some(word(ProcAddr(map), 0)? as i64),
            },
            // runtime/chan.go: hchan begins with qcount and dataqsiz.
            Some(Kind::Chan { .. }) => match word(addr, 0)? {
                0 => Some(0),
                chan => Some(word(ProcAddr(chan), u64::from(capacity))? as i64),
            },
            _ => None,
        })
    }
}

fn array_length(kind: &Kind) -> Option<i64> {
    match kind {
        Kind::Array { len, .. } => i64::try_from(*len).ok(),
        _ => None,
    }
}
