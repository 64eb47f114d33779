//! Conversions: `T(x)`.

use std::sync::Arc;

use spelunk_dwarf::{Binary, Kind, Type};

use super::arith::fitted;
use super::constant::Const;
use super::eval::Evaluator;
use super::operand::{Operand, What};
use super::type_expr::find_type;
use super::{EvalError, Expr};

/// Runes are made a string of up to this many.
const MAX_RUNES: i64 = 1 << 16;
/// The smallest number beyond an int64: 2 to the power of 63.
const BEYOND_INT: f64 = 9_223_372_036_854_775_808.0;

impl Evaluator<'_> {
    /// `function(argument)` if that is a conversion; `None` if it must be a call.
    pub(super) fn conversion(&self, function: &Expr, argument: &Expr) -> Result<Option<Operand>, EvalError> {
        let Some(must_be_type) = may_be_type(function) else {
            return Ok(None);
        };
        let ty = match find_type(self.loader.binary, function) {
            Ok(ty) => self.loader.binary.type_info(ty)?,
            Err(error) if must_be_type => return Err(error),
            Err(_) => return Ok(None),
        };
        let x = self.operand(argument)?;
        if let What::Unreadable(why) = &x.what {
            return Err(EvalError::Unreadable(why.clone()));
        }
        let refuse = || {
            let (argument, ty) = (super::arith::quoted(argument), type_in_error(self.loader.binary, &ty));
            EvalError::Refused(format!("can not convert {argument} to {ty}"))
        };
        self.converted(x, &ty)?.map(Some).ok_or_else(refuse)
    }

    /// `x` as a value of `ty`; `None` if Go has no such conversion, or Delve does not make it.
    fn converted(&self, x: Operand, ty: &Arc<Type>) -> Result<Option<Operand>, EvalError> {
        if let Some(from) = &x.ty
            && compatible(self.loader.binary, from, ty)
            && !matches!(x.what, What::Const(_))
        {
            return Ok(Some(Operand {
                ty: Some(Arc::clone(ty)),
                what: x.what,
            }));
        }
        let computed = |value| Ok(Some(Operand::computed(Arc::clone(ty), fitted(ty, value))));
        match &ty.kind {
            Kind::Pointer { .. } | Kind::UnsafePointer => {
                let address = match x.kind() {
                    Some(Kind::Pointer { .. } | Kind::UnsafePointer) => self.pointer(&x)?,
                    _ => match self.scalar(&x)? {
                        Some(Const::Int(n)) => n as u64,
                        _ if x.is_nil() => 0,
                        _ => return Ok(None),
                    },
                };
                Ok(Some(Operand {
                    ty: Some(Arc::clone(ty)),
                    what: What::Pointer(address),
                }))
            }
            Kind::Int | Kind::Uint | Kind::Uintptr => match x.kind() {
                Some(Kind::Pointer { .. } | Kind::UnsafePointer) if ty.kind != Kind::Int => {
                    computed(Const::Int(i128::from(self.pointer(&x)?)))
                }
                _ => match self.scalar(&x)? {
                    Some(value @ (Const::Int(_) | Const::Huge(_))) => computed(value),
                    // Out of range the language leaves the result open; this is what the processor gives.
                    Some(value @ (Const::Float(_) | Const::Exact(_)))
                        if ty.kind == Kind::Int
                            && value.real().is_none_or(|x| !(-BEYOND_INT..BEYOND_INT).contains(&x)) =>
                    {
                        computed(Const::Int(i128::from(i64::MIN)))
                    }
                    Some(Const::Float(x)) => computed(Const::Int(x as i128)),
                    Some(Const::Exact(x)) => Const::whole(x.to_integer()).map_or(Ok(None), computed),
                    _ => Ok(None),
                },
            },
            Kind::Float => match self.scalar(&x)? {
                Some(value @ (Const::Int(_) | Const::Huge(_) | Const::Float(_) | Const::Exact(_))) => computed(value),
                _ => Ok(None),
            },
            Kind::Complex => match self.scalar(&x)? {
                Some(value @ Const::Complex(..)) => computed(value),
                Some(value) => match value.real() {
                    Some(real) => computed(Const::Complex(real, 0.0)),
                    None => Ok(None),
                },
                None => Ok(None),
            },
            Kind::Bool => match self.scalar(&x)? {
                Some(value @ Const::Bool(_)) => computed(value),
                _ => Ok(None),
            },
            Kind::String => self.as_string(x, ty),
            Kind::Slice { elem } if !x.is_nil() => {
                let elem = self.loader.binary.type_info(*elem)?;
                if !matches!(x.kind(), Some(Kind::String)) {
                    return Ok(None);
                }
                self.string_elements(&x, ty, &elem)
            }
            kind if x.is_nil() && super::arith::has_nil(kind) => Ok(Some(Operand {
                ty: Some(Arc::clone(ty)),
                what: What::Nil,
            })),
            _ => Ok(None),
        }
    }

    fn as_string(&self, x: Operand, ty: &Arc<Type>) -> Result<Option<Operand>, EvalError> {
        let computed = |bytes| Ok(Some(Operand::computed(Arc::clone(ty), Const::Text(bytes))));
        let elem = match x.kind() {
            Some(Kind::String) => {
                return Ok(Some(Operand {
                    ty: Some(Arc::clone(ty)),
                    what: x.what,
                }));
            }
            Some(Kind::Int | Kind::Uint | Kind::Uintptr) => {
                let Some(Const::Int(n)) = self.scalar(&x)? else {
                    return Ok(None);
                };
                let c = u32::try_from(n)
                    .ok()
                    .and_then(char::from_u32)
                    .unwrap_or(char::REPLACEMENT_CHARACTER);
                return computed(c.to_string().into_bytes());
            }
            Some(Kind::Slice { elem } | Kind::Array { elem, .. }) => self.loader.binary.type_info(elem)?,
            _ => return Ok(None),
        };
        let Some((base, len)) = self.elements(&x)? else {
            return Ok(None);
        };
        match &*elem.name {
            // The bytes are a string where they are.
            "uint8" | "byte" => Ok(Some(Operand {
                ty: Some(Arc::clone(ty)),
                what: What::Part {
                    base,
                    len,
                    exact: false,
                },
            })),
            "int32" | "rune" => {
                let mut text = String::new();
                for i in 0..len.min(MAX_RUNES) {
                    let at = base.wrapping_add(4 * i as u64);
                    let code = self.loader.memory.read_uint(spelunk_dwarf::ProcAddr(at), 4)? as u32;
                    text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                computed(text.into_bytes())
            }
            _ => Ok(None),
        }
    }

    /// The bytes or runes of a string as a slice.
    fn string_elements(&self, x: &Operand, ty: &Arc<Type>, elem: &Type) -> Result<Option<Operand>, EvalError> {
        // All of a text that was computed is wanted.
        let limit = match x.what {
            What::Const(_) => super::read::MAX_STRING,
            _ => self.loader.config.max_array_values as usize,
        };
        let (bytes, len) = self.string_start(x, limit.saturating_mul(4))?;
        let number = |n: u32| Const::Int(i128::from(n));
        let what = match (&elem.kind, elem.size) {
            (Kind::Uint, 1) => What::Elements {
                values: bytes.iter().take(limit).map(|byte| number(u32::from(*byte))).collect(),
                len,
            },
            (Kind::Int, 4) => {
                let text = String::from_utf8_lossy(&bytes);
                let values: Vec<Const> = text.chars().map(|c| number(u32::from(c))).collect();
                What::Elements {
                    len: values.len() as i64,
                    values: values.into_iter().take(limit).collect(),
                }
            }
            _ => return Ok(None),
        };
        Ok(Some(Operand {
            ty: Some(Arc::clone(ty)),
            what,
        }))
    }
}

/// The type of a conversion that is refused, in Delve's words, which come from the C that its reader of DWARF is written for.
fn type_in_error(binary: &Binary, ty: &Type) -> String {
    match ty.kind {
        Kind::Pointer { elem } => match binary.type_info(elem) {
            Ok(elem) => format!("*{}", crate::value::type_in_error(&elem)),
            Err(_) => ty.name.to_string(),
        },
        Kind::UnsafePointer => "*void".to_owned(),
        Kind::Func => format!("{} void", ty.name),
        _ => crate::value::type_in_error(ty),
    }
}

/// Whether an expression that is called can be a type, and if so, whether it cannot be anything else.
pub(crate) fn may_be_type(function: &Expr) -> Option<bool> {
    let mut core = function.bare();
    while let Expr::Dereference(inside) = core {
        core = inside.bare();
    }
    match core {
        Expr::Literal(_) | Expr::Type(_) => Some(true),
        Expr::Name(_) | Expr::Index(..) => Some(false),
        Expr::Field(package, _) => matches!(package.bare(), Expr::Name(_) | Expr::Literal(_)).then_some(false),
        _ => None,
    }
}

/// Whether a value of type `a` is, byte for byte, one of type `b` (Go specification, "Conversions": identical underlying types).
pub(crate) fn compatible(binary: &Binary, a: &Type, b: &Type) -> bool {
    compatible_at(binary, a, b, 0)
}

fn compatible_at(binary: &Binary, a: &Type, b: &Type, depth: u32) -> bool {
    if a.size != b.size || depth > 16 {
        return false;
    }
    if a.name == b.name || a.id == b.id {
        return true;
    }
    let same = |x, y| match (binary.type_info(x), binary.type_info(y)) {
        (Ok(x), Ok(y)) => x.id == y.id || x.name == y.name,
        _ => false,
    };
    match (&a.kind, &b.kind) {
        (Kind::Pointer { elem: x }, Kind::Pointer { elem: y }) => match (binary.type_info(*x), binary.type_info(*y)) {
            (Ok(x), Ok(y)) => compatible_at(binary, &x, &y, depth + 1),
            _ => false,
        },
        (Kind::Struct { fields: x }, Kind::Struct { fields: y }) => x == y,
        // The sizes are the same, so the lengths of arrays are.
        (Kind::Slice { elem: x }, Kind::Slice { elem: y })
        | (Kind::Chan { elem: x, .. }, Kind::Chan { elem: y, .. })
        | (Kind::Array { elem: x, .. }, Kind::Array { elem: y, .. }) => same(*x, *y),
        (
            Kind::Map { key, elem, .. },
            Kind::Map {
                key: other_key,
                elem: other_elem,
                ..
            },
        ) => same(*key, *other_key) && same(*elem, *other_elem),
        (Kind::Pointer { .. } | Kind::UnsafePointer, Kind::UnsafePointer)
        | (Kind::UnsafePointer, Kind::Pointer { .. })
        | (Kind::String, Kind::String)
        | (Kind::Complex, Kind::Complex)
        | (Kind::Float, Kind::Float)
        | (Kind::Int, Kind::Int)
        | (Kind::Uint, Kind::Uint)
        | (Kind::Bool, Kind::Bool) => true,
        _ => false,
    }
}
