//! Conversions, Go's built-in functions that need no call, and the functions of the standard library that are evaluated without one.

use spelunk_bpf::{Reg, Term};
use spelunk_dwarf::Kind;

use super::Lowering;
use super::error::{LowerError, NotLowered};
use super::operand::{Lowered, What};
use super::place::Place;
use super::terms::{equal, not, number, product, sum, truth};
use crate::expr::{Const, EvalError, Expr, compatible, find_type, fitted, is_has_prefix};

impl Lowering<'_> {
    pub(super) fn call(&self, expr: &Expr, function: &Expr, arguments: &[Expr]) -> Result<Lowered, LowerError> {
        if let [argument] = arguments
            && let Some(converted) = self.conversion(expr, function, argument)?
        {
            return Ok(converted);
        }
        if let ([s, prefix], true) = (arguments, is_has_prefix(function)) {
            return Ok(Lowered::untyped(What::Truth(self.has_prefix(s, prefix)?)));
        }
        if let Expr::Name(name) = function {
            let wrong = || EvalError::Refused(format!("wrong number of arguments to {name}: {}", arguments.len()));
            match name.as_str() {
                "len" | "cap" => {
                    let [argument] = arguments else {
                        return Err(wrong().into());
                    };
                    return self.length(argument, name == "cap");
                }
                "min" | "max" => return self.extreme(expr, name == "min", arguments),
                "real" | "imag" | "complex" => {
                    return Err(NotLowered::new(expr, "is about complex numbers").into());
                }
                _ => {}
            }
        }
        Err(EvalError::Call.into())
    }

    /// The length or capacity of what has one.
    fn length(&self, argument: &Expr, capacity: bool) -> Result<Lowered, LowerError> {
        let x = self.operand(argument)?;
        let name = if capacity { "cap" } else { "len" };
        let refuse = || EvalError::BadArgument(argument.to_string(), x.type_name(), name);
        let known = |len: u64| What::Const(Const::Int(i128::from(len)));
        let what = match (x.kind(), &x.what) {
            (_, What::Const(Const::Text(bytes))) if !capacity => known(bytes.len() as u64),
            (_, What::Text { len, .. }) if !capacity => What::Number(len.clone()),
            (_, What::Slice { len, cap, .. }) => What::Number(if capacity { cap } else { len }.clone()),
            (Some(Kind::Array { len, .. }), _) => known(len),
            (Some(Kind::Pointer { elem }), _) => match self.binary.type_info(elem)?.kind {
                Kind::Array { len, .. } => known(len),
                _ => return Err(refuse().into()),
            },
            (Some(Kind::Slice { .. }), What::Place(place)) => {
                What::Number(place.load(if capacity { 16 } else { 8 }, 8, true, argument)?)
            }
            (Some(Kind::String), What::Place(place)) if !capacity => What::Number(place.load(8, 8, true, argument)?),
            // Maps begin with the number of entries, in every version of Go (see `value::map`).
            (Some(Kind::Map { .. }), What::Place(place)) if !capacity => {
                What::Number(self.behind_header(place.word(0, argument)?, 0)?)
            }
            // runtime/chan.go: hchan begins with qcount and dataqsiz.
            (Some(Kind::Chan { .. }), What::Place(place)) => {
                What::Number(self.behind_header(place.word(0, argument)?, u64::from(capacity))?)
            }
            _ => return Err(refuse().into()),
        };
        Ok(Lowered::untyped(what))
    }

    /// The n-th word of what a map or channel points to; 0 for nil.
    fn behind_header(&self, pointer: Term, n: u64) -> Result<Term, LowerError> {
        let is_nil = equal(pointer.clone(), number(0));
        // A term cannot choose what it evaluates: where the pointer is nil, the return address is read, which is always there, and does not count.
        let return_address = sum(
            Term::Register(Reg::Rsp),
            number(self.names.cfa_offset().wrapping_sub(8)),
        );
        let readable = sum(pointer, product(return_address, truth(is_nil.clone())));
        let word = Place::pointee(readable).word(8 * n, &"")?;
        Ok(product(word, truth(not(is_nil))))
    }

    /// `function(argument)` if that is a conversion; `None` if it must be a call.
    fn conversion(&self, expr: &Expr, function: &Expr, argument: &Expr) -> Result<Option<Lowered>, LowerError> {
        let Some(must_be_type) = crate::expr::may_be_type(function) else {
            return Ok(None);
        };
        let ty = match find_type(self.binary, function) {
            Ok(ty) => self.binary.type_info(ty)?,
            Err(error) if must_be_type => return Err(error.into()),
            Err(_) => return Ok(None),
        };
        let x = self.operand(argument)?;
        if let Some(from) = &x.ty
            && compatible(self.binary, from, &ty)
            && !matches!(x.what, What::Const(_))
        {
            return Ok(Some(Lowered::typed(ty, x.what)));
        }
        let refuse = || {
            LowerError::from(EvalError::Refused(format!(
                "can not convert \"{argument}\" to {}",
                ty.name
            )))
        };
        let floats = || {
            LowerError::from(NotLowered::new(
                expr,
                "converts a floating-point number, which the kernel cannot",
            ))
        };
        let is_pointer = matches!(x.kind(), Some(Kind::Pointer { .. } | Kind::UnsafePointer));
        let what = match &ty.kind {
            Kind::Pointer { .. } | Kind::UnsafePointer => {
                let address = match &x.what {
                    _ if is_pointer => x.pointer(argument)?,
                    What::Nil => number(0),
                    _ if x.is_integer() => x.number(argument)?,
                    _ => return Err(refuse()),
                };
                What::Pointer(address)
            }
            Kind::Int | Kind::Uint | Kind::Uintptr => match &x.what {
                What::Const(value @ Const::Int(_)) => What::Const(fitted(&ty, value.clone())),
                // Out of range the language leaves the result open; the cast saturates.
                What::Const(value @ (Const::Float(_) | Const::Exact(_))) => {
                    What::Const(fitted(&ty, Const::Int(value.real().unwrap_or(0.0) as i128)))
                }
                _ if is_pointer && ty.kind != Kind::Int => {
                    return Ok(Some(Self::converted_number(&ty, x.pointer(argument)?)));
                }
                _ if x.is_integer() => return Ok(Some(Self::converted_number(&ty, x.number(argument)?))),
                _ if x.kind() == Some(Kind::Float) => return Err(floats()),
                _ => return Err(refuse()),
            },
            Kind::Float => match &x.what {
                What::Const(value @ (Const::Int(_) | Const::Float(_) | Const::Exact(_))) => {
                    What::Const(fitted(&ty, value.clone()))
                }
                _ if x.is_integer() || x.kind() == Some(Kind::Float) => return Err(floats()),
                _ => return Err(refuse()),
            },
            Kind::Bool => match &x.what {
                What::Const(value @ Const::Bool(_)) => What::Const(value.clone()),
                _ if x.kind() == Some(Kind::Bool) => What::Truth(x.truth(argument)?),
                _ => return Err(refuse()),
            },
            Kind::String => self.as_string(expr, &x, argument)?.ok_or_else(refuse)?,
            Kind::Complex | Kind::Slice { .. } => {
                return Err(NotLowered::new(expr, "makes a new value").into());
            }
            kind if x.is_nil() && crate::expr::has_nil(kind) => What::Nil,
            _ => return Err(refuse()),
        };
        Ok(Some(Lowered::typed(ty, what)))
    }

    /// A string of what has the bytes of one already; `None` for what is none.
    fn as_string(&self, expr: &Expr, x: &Lowered, argument: &Expr) -> Result<Option<What>, LowerError> {
        let elem = match x.kind() {
            Some(Kind::String) => return Ok(Some(x.what.clone())),
            Some(Kind::Int | Kind::Uint | Kind::Uintptr) => {
                return Err(NotLowered::new(expr, "makes a new string").into());
            }
            Some(Kind::Slice { elem } | Kind::Array { elem, .. }) => self.binary.type_info(elem)?,
            _ => return Ok(None),
        };
        match &*elem.name {
            "uint8" | "byte" => {
                let (base, len) = x.elements(argument)?;
                Ok(Some(What::Text { base, len }))
            }
            "int32" | "rune" => Err(NotLowered::new(expr, "makes a new string").into()),
            _ => Ok(None),
        }
    }
}
