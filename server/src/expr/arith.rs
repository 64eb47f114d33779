//! Operators on operands, with Go's typing.

use std::sync::Arc;

use num_bigint::BigInt;
use spelunk_dwarf::{Kind, ProcAddr, Type, TypeId};

use super::constant::{self, Const};
use super::eval::Evaluator;
use super::operand::{Operand, What, plain_type};
use super::{Binary, EvalError, Expr, Unary};

/// Structs in structs are compared to this depth.
const MAX_DEPTH: u32 = 32;
/// Arrays are compared up to this many elements.
const MAX_ELEMENTS: u64 = 1 << 16;

impl Evaluator<'_> {
    pub(super) fn unary(&self, operator: Unary, inside: &Expr) -> Result<Operand, EvalError> {
        let x = self.operand(inside)?;
        if operator == Unary::Address {
            if self.scope.may_call() && matches!(inside.bare(), Expr::Composite(..)) {
                return self.scope.pointer_to(inside.bare(), &x);
            }
            return self.address_of(&x, inside);
        }
        let value = self.scalar(&x)?.ok_or_else(|| not_applicable(operator, inside))?;
        let result = constant::unary(operator, &value)?;
        Ok(match x.ty {
            Some(ty) => Operand::computed(Arc::clone(&ty), fitted(&ty, result)),
            // Constants have no negative zero.
            None => Operand::constant(match result {
                Const::Float(x) => Const::Float(x + 0.0),
                Const::Complex(re, im) => Const::Complex(re + 0.0, im + 0.0),
                result => result,
            }),
        })
    }

    fn address_of(&self, x: &Operand, inside: &Expr) -> Result<Operand, EvalError> {
        let (Some(ty), What::Place(addr) | What::MapFrom { addr, .. }) = (&x.ty, &x.what) else {
            return Err(EvalError::Refused(format!(
                "can not take address of {}",
                quoted(inside)
            )));
        };
        let pointer = self.loader.binary.type_info(self.loader.binary.pointer_to(ty.id)?)?;
        Ok(Operand {
            ty: Some(pointer),
            what: What::Pointer(addr.0),
        })
    }

    pub(super) fn binary(&self, operator: Binary, left: &Expr, right: &Expr) -> Result<Operand, EvalError> {
        if let Binary::LogicalAnd | Binary::LogicalOr = operator {
            return self.logical(operator, left, right);
        }
        let x = self.operand(left)?;
        let y = self.operand(right)?;
        for operand in [&x, &y] {
            if let What::Unreadable(why) = &operand.what {
                return Err(EvalError::Unreadable(why.clone()));
            }
        }
        if operator.is_comparison() {
            self.negotiate(operator, &x, &y)?;
            return Ok(Operand::constant(Const::Bool(self.compare(operator, &x, &y, 0)?)));
        }
        let ty = self.negotiate(operator, &x, &y)?;
        // Lengths go together with all integers, but are computed with as the ints that they are.
        let counts = ty.is_none() && (is_length(left) || is_length(right));
        let computed_in = if counts {
            Some(plain_type("int", 8, Kind::Int))
        } else {
            ty.clone()
        };
        let a = self.scalar(&x)?.ok_or_else(|| not_applicable(operator, left))?;
        let b = self.scalar(&y)?.ok_or_else(|| not_applicable(operator, right))?;
        let x_and_y_are_finite = [&a, &b].iter().all(|value| value.real().is_none_or(f64::is_finite));
        let whole = computed_in
            .as_ref()
            .is_none_or(|ty| !matches!(ty.kind, Kind::Float | Kind::Complex));
        let result = if let (Some(ty), Binary::Shl | Binary::Shr) = (&computed_in, operator) {
            shifted(operator, ty, &a, &b)?
        } else if let (Some(_), Const::Int(a), Const::Int(b)) = (&computed_in, &a, &b)
            && let Some(wrapped) = wrapping(operator, *a, *b)
        {
            Const::Int(wrapped)
        } else {
            constant::binary(operator, &a, &b, whole)?
        };
        let result = computed_in.map_or(result.clone(), |ty| match result {
            // What a length meets may be no integer.
            Const::Float(_) | Const::Exact(_) | Const::Complex(..) if counts => result,
            result => fitted(&ty, result),
        });
        Ok(match (ty, result) {
            (Some(ty), result) => Operand::computed(ty, result),
            // Constants are numbers, however large.
            (None, Const::Float(x)) if x.is_infinite() && x_and_y_are_finite => return Err(constant::overflow()),
            (None, result) => Operand::constant(result),
        })
    }

    /// `&&` and `||`: the right side is evaluated only if it decides.
    fn logical(&self, operator: Binary, left: &Expr, right: &Expr) -> Result<Operand, EvalError> {
        let truth = |expr: &Expr| -> Result<bool, EvalError> {
            let x = self.operand(expr)?;
            match self.scalar(&x)? {
                Some(Const::Bool(b)) => Ok(b),
                _ => Err(EvalError::Refused(format!(
                    "expression {} should be boolean not {}",
                    quoted(expr),
                    x.kind_name()
                ))),
            }
        };
        let first = truth(left)?;
        let decided = first == (operator == Binary::LogicalOr);
        Ok(Operand::constant(Const::Bool(if decided {
            first
        } else {
            truth(right)?
        })))
    }

    /// The type of the result of an operator that is no comparison, or the type in which a comparison is made; `None` between constants.
    fn negotiate(&self, operator: Binary, x: &Operand, y: &Operand) -> Result<Option<Arc<Type>>, EvalError> {
        if x.is_nil() {
            return with_nil(operator, y);
        }
        if y.is_nil() {
            return with_nil(operator, x);
        }
        if let Binary::Shl | Binary::Shr = operator {
            if !matches!(x.kind(), Some(Kind::Int | Kind::Uint | Kind::Uintptr)) {
                return Err(EvalError::Refused(format!("shift of type {}", x.kind_name())));
            }
            if !matches!(y.kind(), Some(Kind::Int | Kind::Uint | Kind::Uintptr)) {
                let name = y.kind_name();
                return Err(EvalError::Refused(format!(
                    "shift count type {name}, must be unsigned integer"
                )));
            }
            if matches!(self.scalar(y)?, Some(Const::Int(n)) if n < 0) {
                return Err(EvalError::Refused("shift count must not be negative".to_owned()));
            }
            return Ok(x.ty.clone());
        }
        match (&x.ty, &y.ty) {
            (None, None) => Ok(None),
            (Some(a), Some(b)) if same_type(a, b) => Ok(Some(Arc::clone(a))),
            (Some(a), Some(b)) => Err(EvalError::Refused(format!(
                "mismatched types \"{}\" and \"{}\"",
                name_in_mismatch(a),
                name_in_mismatch(b)
            ))),
            (Some(ty), None) => {
                fits(y, ty)?;
                Ok(Some(Arc::clone(ty)))
            }
            (None, Some(ty)) => {
                fits(x, ty)?;
                Ok(Some(Arc::clone(ty)))
            }
        }
    }

    /// Compares two operands whose types go together.
    pub(super) fn compare(&self, operator: Binary, x: &Operand, y: &Operand, depth: u32) -> Result<bool, EvalError> {
        let equality = matches!(operator, Binary::Equal | Binary::NotEqual);
        if let Some(Kind::String) = x.kind()
            && equality
            && let (Some(a), Some(b)) = (self.string_length(x)?, self.string_length(y)?)
            && a != b
        {
            return Ok(operator == Binary::NotEqual);
        }
        if !x.is_nil()
            && !y.is_nil()
            && let (Some(a), Some(b)) = (self.scalar(x)?, self.scalar(y)?)
        {
            // A constant is rounded to the type that it is compared in.
            let ty = x.ty.as_ref().or(y.ty.as_ref()).filter(|ty| ty.kind == Kind::Float);
            let rounded = |value: Const| ty.map_or_else(|| value.clone(), |ty| fitted(ty, value.clone()));
            return constant::compare(operator, &rounded(a), &rounded(b));
        }
        if !equality {
            return Err(EvalError::Refused(format!(
                "operator {operator} not defined on {}",
                x.kind_name()
            )));
        }
        let equal = if x.is_nil() {
            self.holds_nil(y)?
        } else if y.is_nil() {
            self.holds_nil(x)?
        } else {
            self.equal(x, y, depth)?
        };
        Ok(equal == (operator == Binary::Equal))
    }

    fn equal(&self, x: &Operand, y: &Operand, depth: u32) -> Result<bool, EvalError> {
        if depth > MAX_DEPTH {
            return Err(EvalError::Refused("structure too deep for comparison".to_owned()));
        }
        match x.kind() {
            Some(Kind::Pointer { .. } | Kind::UnsafePointer | Kind::Chan { .. }) => {
                Ok(self.pointer(x)? == self.pointer(y)?)
            }
            Some(Kind::Struct { fields }) => {
                let (Some(a), Some(b)) = (place(x), place(y)) else {
                    return Err(unimplemented(x));
                };
                for field in fields.iter() {
                    if &*field.name == "_" {
                        continue;
                    }
                    let ty = self.loader.binary.type_info(field.ty)?;
                    let at =
                        |base: ProcAddr| Operand::place(Arc::clone(&ty), ProcAddr(base.0.wrapping_add(field.offset)));
                    if !self.compare(Binary::Equal, &at(a), &at(b), depth + 1)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Some(Kind::Array { elem, len, stride }) => {
                let (Some(a), Some(b)) = (place(x), place(y)) else {
                    return Err(unimplemented(x));
                };
                if len > MAX_ELEMENTS {
                    return Err(EvalError::Refused("array too long for comparison".to_owned()));
                }
                let ty = self.loader.binary.type_info(elem)?;
                for i in 0..len {
                    let at = |base: ProcAddr| {
                        let offset = i.wrapping_mul(stride);
                        Operand::place(Arc::clone(&ty), ProcAddr(base.0.wrapping_add(offset)))
                    };
                    if !self.compare(Binary::Equal, &at(a), &at(b), depth + 1)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Some(Kind::Slice { .. } | Kind::Map { .. } | Kind::Func) => Err(EvalError::Refused(format!(
                "can not compare {} variables",
                x.kind_name()
            ))),
            Some(Kind::Interface { .. }) => match (self.held(x)?, self.held(y)?) {
                (None, None) => Ok(true),
                (Some(a), Some(b)) => {
                    let same_type = a.ty.as_ref().map(|ty| &ty.name) == b.ty.as_ref().map(|ty| &ty.name);
                    Ok(same_type && self.compare(Binary::Equal, &a, &b, depth + 1)?)
                }
                _ => Ok(false),
            },
            _ => Err(unimplemented(x)),
        }
    }

    /// Whether a value of a kind that has a nil is it.
    fn holds_nil(&self, x: &Operand) -> Result<bool, EvalError> {
        Ok(match &x.what {
            What::Nil => true,
            What::Pointer(address) => *address == 0,
            What::Slice { base, .. } => *base == 0,
            What::Place(addr) | What::MapFrom { addr, .. } => self.loader.memory.read_uint(*addr, 8)? == 0,
            What::Unreadable(why) => return Err(EvalError::Unreadable(why.clone())),
            _ => false,
        })
    }
}

fn place(x: &Operand) -> Option<ProcAddr> {
    match x.what {
        What::Place(addr) => Some(addr),
        _ => None,
    }
}

fn unimplemented(x: &Operand) -> EvalError {
    EvalError::Refused(format!("unimplemented comparison of {} variables", x.kind_name()))
}

/// The name of a type that does not go together with another one; an unsafe pointer has Delve's name for it.
fn name_in_mismatch(ty: &Type) -> &str {
    match ty.kind {
        Kind::UnsafePointer => "*void",
        _ => &ty.name,
    }
}

/// An expression as it stands in messages.
pub(super) fn quoted(expr: &Expr) -> String {
    let mut text = String::new();
    crate::value::push_quoted(&mut text, expr.to_string().as_bytes());
    text
}

fn not_applicable(operator: impl std::fmt::Display, to: &Expr) -> EvalError {
    EvalError::Refused(format!("operator {operator} can not be applied to {}", quoted(to)))
}

/// What negotiating a type comes to where one side is nil: an error, or no type.
pub(crate) fn with_nil(operator: Binary, other: &Operand) -> Result<Option<Arc<Type>>, EvalError> {
    if !matches!(operator, Binary::Equal | Binary::NotEqual) {
        return Err(EvalError::Refused(format!(
            "operator {operator} can not be applied to \"nil\""
        )));
    }
    if other.is_nil() || other.ty.as_ref().is_some_and(|ty| has_nil(&ty.kind)) {
        return Ok(None);
    }
    Err(EvalError::Refused(format!(
        "can not compare {} to nil",
        other.kind_name()
    )))
}

/// Whether two types are the same. `byte` and `rune` are other names of `uint8` and `int32`.
pub(crate) fn same_type(a: &Type, b: &Type) -> bool {
    fn name(ty: &Type) -> &str {
        match &*ty.name {
            "byte" => "uint8",
            "rune" => "int32",
            name => name,
        }
    }
    (a.id == b.id && a.id != TypeId::UNKNOWN) || name(a) == name(b)
}

/// Whether nil is a value of the kind.
pub(crate) fn has_nil(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::Pointer { .. }
            | Kind::UnsafePointer
            | Kind::Chan { .. }
            | Kind::Map { .. }
            | Kind::Interface { .. }
            | Kind::Slice { .. }
            | Kind::Func
    )
}

/// Whether an untyped constant or nil can have the type `ty`; the error is Delve's.
pub(crate) fn fits(x: &Operand, ty: &Type) -> Result<(), EvalError> {
    fits_into(x, ty, &ty.name)
}

/// As [`fits`], with the type's name as the error is to have it.
pub(crate) fn fits_into(x: &Operand, ty: &Type, name: &str) -> Result<(), EvalError> {
    let value = match &x.what {
        What::Const(value) => value,
        What::Nil if has_nil(&ty.kind) => return Ok(()),
        _ => {
            return Err(EvalError::Refused(format!("mismatched types nil and {name}")));
        }
    };
    let fits = match ty.kind {
        Kind::Int | Kind::Uint | Kind::Uintptr => matches!(value, Const::Int(_) | Const::Huge(_)),
        Kind::Float => matches!(
            value,
            Const::Int(_) | Const::Huge(_) | Const::Float(_) | Const::Exact(_)
        ),
        Kind::Complex => matches!(
            value,
            Const::Int(_) | Const::Huge(_) | Const::Float(_) | Const::Exact(_) | Const::Complex(..)
        ),
        Kind::Bool => matches!(value, Const::Bool(_)),
        Kind::String => matches!(value, Const::Text(_)),
        _ => false,
    };
    if fits {
        return Ok(());
    }
    Err(EvalError::Refused(format!(
        "can not convert {value} constant to {name}"
    )))
}

/// A number as a value of a type: integers wrap round at its size, and floating-point numbers are rounded.
pub(crate) fn fitted(ty: &Type, value: Const) -> Const {
    match (&ty.kind, value) {
        // The low bits alone are what a type can hold.
        (Kind::Int | Kind::Uint | Kind::Uintptr, Const::Huge(n)) => {
            let low: BigInt = n & BigInt::from(u64::MAX);
            let low = i128::try_from(&low).unwrap_or(0);
            Const::Int(wrapped(low, ty.size, ty.kind == Kind::Int))
        }
        (Kind::Int, Const::Int(n)) => Const::Int(wrapped(n, ty.size, true)),
        (Kind::Uint | Kind::Uintptr, Const::Int(n)) => Const::Int(wrapped(n, ty.size, false)),
        (Kind::Float, value) if ty.size == 4 => match value.real() {
            Some(x) => Const::Float(f64::from(x as f32)),
            None => value,
        },
        (Kind::Float, value @ (Const::Int(_) | Const::Huge(_) | Const::Exact(_))) => match value.real() {
            Some(x) => Const::Float(x),
            None => value,
        },
        (_, value) => value,
    }
}

/// The low `size` bytes of a number, as a number of that size.
pub(super) fn wrapped(n: i128, size: u64, signed: bool) -> i128 {
    let bits = 8 * u32::try_from(size).unwrap_or(8).clamp(1, 8);
    let low = n & ((1i128 << bits) - 1);
    if signed && low >> (bits - 1) & 1 == 1 {
        low - (1i128 << bits)
    } else {
        low
    }
}

/// Whether an expression is a length or computed from one: such is an int, but goes together with other integers too.
fn is_length(expr: &Expr) -> bool {
    match expr.bare() {
        Expr::Call(function, _) => matches!(&**function, Expr::Name(name) if name == "len" || name == "cap"),
        Expr::Unary(_, inside) => is_length(inside),
        Expr::Binary(operator, left, right) => !operator.is_comparison() && (is_length(left) || is_length(right)),
        _ => false,
    }
}

/// Arithmetic of typed integers that may go beyond what 128 bits hold; the low bits, which alone remain, are right.
fn wrapping(operator: Binary, a: i128, b: i128) -> Option<i128> {
    match operator {
        Binary::Add => Some(a.wrapping_add(b)),
        Binary::Sub => Some(a.wrapping_sub(b)),
        Binary::Mul => Some(a.wrapping_mul(b)),
        _ => None,
    }
}

/// A shift of a typed integer, whose bits beyond its size are lost.
pub(crate) fn shifted(operator: Binary, ty: &Type, x: &Const, by: &Const) -> Result<Const, EvalError> {
    let (Const::Int(x), Const::Int(by)) = (x, by) else {
        return constant::binary(operator, x, by, true);
    };
    let distance = u32::try_from(*by).unwrap_or(u32::MAX);
    let bits = 8 * u32::try_from(ty.size).unwrap_or(8).clamp(1, 8);
    Ok(Const::Int(match operator {
        Binary::Shl if distance >= bits => 0,
        // 64 bits shifted by less than 64 fit into 128.
        Binary::Shl => x.wrapping_shl(distance),
        _ => x >> distance.min(127),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_wrap_round_at_their_size() {
        assert_eq!(wrapped(256, 1, false), 0);
        assert_eq!(wrapped(-1, 1, false), 255);
        assert_eq!(wrapped(128, 1, true), -128);
        assert_eq!(wrapped(-129, 1, true), 127);
        assert_eq!(wrapped(1 << 64, 8, false), 0);
        assert_eq!(wrapped(i128::from(u64::MAX), 8, true), -1);
    }
}
