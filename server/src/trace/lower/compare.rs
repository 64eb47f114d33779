//! Comparisons.

use spelunk_bpf::{Comparison, Condition, MAX_CONDITION_NODES, Operation, Term};
use spelunk_dwarf::{Kind, Type};

use super::Lowering;
use super::error::{LowerError, NotLowered};
use super::operand::{Lowered, What};
use super::place::Place;
use super::terms::{all, and, any, arithmetic, compare, equal, not, nothing, number, truth};
use super::walk::not_evaluated;
use crate::expr::{Binary, Const, EvalError, Expr, constant_compare, fitted};

/// What is compared.
pub(super) struct Sides<'e> {
    /// The comparison.
    pub(super) expr: &'e Expr,
    /// Its left side, and what it comes to.
    pub(super) left: (&'e Lowered, &'e Expr),
    /// Its right side, and what it comes to.
    pub(super) right: (&'e Lowered, &'e Expr),
}

impl Lowering<'_> {
    /// Compares two operands whose types go together: `ty`, where they have one.
    pub(super) fn compare(
        &self,
        operator: Binary,
        sides: &Sides<'_>,
        ty: Option<&Type>,
    ) -> Result<Condition, LowerError> {
        let equality = matches!(operator, Binary::Equal | Binary::NotEqual);
        let ((x, left), (y, right)) = (sides.left, sides.right);
        if let (What::Const(a), What::Const(b)) = (&x.what, &y.what) {
            let rounded = |value: &Const| ty.map_or_else(|| value.clone(), |ty| fitted(ty, value.clone()));
            let is_float = ty.is_some_and(|ty| ty.kind == Kind::Float);
            let result = if is_float {
                constant_compare(operator, &rounded(a), &rounded(b))
            } else {
                constant_compare(operator, a, b)
            };
            return Ok(Condition::Always(result?));
        }
        let kind = ty.map(|ty| ty.kind.clone()).or_else(|| x.kind()).or_else(|| y.kind());
        match kind {
            Some(Kind::Int | Kind::Uint | Kind::Uintptr) => {
                let signed = ty.is_none_or(|ty| ty.kind == Kind::Int);
                let (a, b) = (x.number_of(left, ty)?, y.number_of(right, ty)?);
                return Ok(compare(comparison(operator), signed, a, b));
            }
            Some(Kind::Float) => return Self::floats(operator, sides, ty),
            Some(Kind::Complex) => {
                return Err(NotLowered::new(sides.expr, "compares complex numbers").into());
            }
            Some(Kind::String) if !equality => {
                return Err(NotLowered::new(
                    sides.expr,
                    "asks for the order of strings; the kernel compares them for equality",
                )
                .into());
            }
            _ => {}
        }
        if !equality {
            let kind = x.kind_name();
            return Err(EvalError::Refused(format!("operator {operator} not defined on {kind}")).into());
        }
        let equal = match (x.is_nil(), y.is_nil()) {
            (true, true) => Condition::Always(true),
            (true, false) => Self::is_nil(y, right)?,
            (false, true) => Self::is_nil(x, left)?,
            (false, false) => self.equal(sides)?,
        };
        Ok(if operator == Binary::Equal { equal } else { not(equal) })
    }

    fn floats(operator: Binary, sides: &Sides<'_>, ty: Option<&Type>) -> Result<Condition, LowerError> {
        let Some(ty) = ty else {
            return Err(not_evaluated(sides.expr));
        };
        let bits = |(x, shown): (&Lowered, &Expr)| match &x.what {
            What::Place(place) => place.load(0, ty.size, false, shown),
            What::Const(value) => {
                let value = value.real().ok_or_else(|| not_evaluated(shown))?;
                Ok(number(match ty.size {
                    4 => i64::from((value as f32).to_bits()),
                    _ => value.to_bits().cast_signed(),
                }))
            }
            _ => Err(not_evaluated(shown)),
        };
        if !matches!(ty.size, 4 | 8) {
            return Err(not_evaluated(sides.expr));
        }
        Ok(Condition::CompareFloats {
            comparison: comparison(operator),
            width: ty.size as u8,
            left: bits(sides.left)?,
            right: bits(sides.right)?,
        })
    }

    /// Whether a value of a kind that has a nil is it.
    fn is_nil(x: &Lowered, shown: &Expr) -> Result<Condition, LowerError> {
        let word = match &x.what {
            What::Slice { base, .. } => base.clone(),
            _ => x.pointer(shown)?,
        };
        Ok(equal(word, number(0)))
    }

    /// Whether two values are equal that are no numbers.
    fn equal(&self, sides: &Sides<'_>) -> Result<Condition, LowerError> {
        let ((x, left), (y, right)) = (sides.left, sides.right);
        match x.kind() {
            Some(Kind::Bool) => Ok(match (&x.what, &y.what) {
                (What::Const(Const::Bool(wanted)), _) => {
                    let found = y.truth(right)?;
                    if *wanted { found } else { not(found) }
                }
                (_, What::Const(Const::Bool(wanted))) => {
                    let found = x.truth(left)?;
                    if *wanted { found } else { not(found) }
                }
                _ => equal(truth(x.truth(left)?), truth(y.truth(right)?)),
            }),
            Some(Kind::String) => Self::equal_strings(sides),
            Some(Kind::Pointer { .. } | Kind::UnsafePointer | Kind::Chan { .. }) => {
                Ok(equal(x.pointer(left)?, y.pointer(right)?))
            }
            Some(Kind::Interface { .. }) => self.equal_interfaces(sides),
            Some(Kind::Struct { .. } | Kind::Array { .. }) => {
                let mut left = MAX_CONDITION_NODES;
                self.equal_parts(sides, &mut left)
            }
            Some(Kind::Slice { .. } | Kind::Map { .. } | Kind::Func) => {
                Err(EvalError::Refused(format!("can not compare {} variables", x.kind_name())).into())
            }
            _ => Err(not_evaluated(sides.expr)),
        }
    }

    /// Field by field, element by element; `room` counts down.
    fn equal_parts(&self, sides: &Sides<'_>, room: &mut usize) -> Result<Condition, LowerError> {
        let too_large = || LowerError::from(NotLowered::new(sides.expr, "compares more than the kernel can"));
        let ((x, left), (y, right)) = (sides.left, sides.right);
        let (What::Place(a), What::Place(b)) = (&x.what, &y.what) else {
            return Err(not_evaluated(sides.expr));
        };
        let places: Vec<(u64, spelunk_dwarf::TypeId)> = match x.kind() {
            Some(Kind::Struct { fields }) => {
                let named = fields.iter().filter(|field| &*field.name != "_");
                named.map(|field| (field.offset, field.ty)).collect()
            }
            Some(Kind::Array { elem, len, stride }) => {
                if len > *room as u64 {
                    return Err(too_large());
                }
                (0..len).map(|i| (i.wrapping_mul(stride), elem)).collect()
            }
            _ => return Err(not_evaluated(sides.expr)),
        };
        let mut same = Vec::with_capacity(places.len());
        for (offset, ty) in places {
            *room = room.checked_sub(2).ok_or_else(too_large)?;
            let ty = self.binary.type_info(ty)?;
            let part = |place: &Place| Lowered::place(ty.clone(), place.behind(offset));
            let (a, b) = (part(a), part(b));
            let parts = Sides {
                expr: sides.expr,
                left: (&a, left),
                right: (&b, right),
            };
            same.push(match ty.kind {
                Kind::Struct { .. } | Kind::Array { .. } => self.equal_parts(&parts, room)?,
                _ => self.compare(Binary::Equal, &parts, Some(&ty))?,
            });
        }
        Ok(all(same))
    }

    /// Two interfaces of one type. Their first words say what types they hold; where those are the same and not nil, and both hold pointers, the second words are
    /// these. Whatever else they hold is left to the interpreter.
    fn equal_interfaces(&self, sides: &Sides<'_>) -> Result<Condition, LowerError> {
        let ((x, left), (y, right)) = (sides.left, sides.right);
        let layout = self.binary.runtime_layout()?;
        let first = x.word(0, left)?;
        let held = match x.kind() {
            Some(Kind::Interface { empty: true }) => first.clone(),
            _ => Place::pointee(first.clone()).word(layout.itab_type, left)?,
        };
        let kind = Place::pointee(held).load(layout.type_kind, 1, false, left)?;
        let kind = arithmetic(Operation::And, false, kind, number(KIND_MASK));
        let is_pointer = equal(kind, number(POINTER_KIND));
        let same_type = equal(first.clone(), y.word(0, right)?);
        let both_nil = equal(first, number(0));
        let same_data = equal(x.word(1, left)?, y.word(1, right)?);
        let same_pointer = and(is_pointer.clone(), same_data);
        let beyond = and(not(is_pointer), nothing());
        Ok(and(same_type, any(vec![both_nil, same_pointer, beyond])))
    }
}

/// The bits of `internal/abi.Type.Kind_` that are the kind, and the kind of pointers (Go's internal/abi/type.go; runtime/typekind.go before Go 1.22).
const KIND_MASK: i64 = 31;
const POINTER_KIND: i64 = 22;

fn comparison(operator: Binary) -> Comparison {
    match operator {
        Binary::NotEqual => Comparison::NotEqual,
        Binary::Less => Comparison::Less,
        Binary::LessEqual => Comparison::LessOrEqual,
        Binary::Greater => Comparison::Greater,
        Binary::GreaterEqual => Comparison::GreaterOrEqual,
        _ => Comparison::Equal,
    }
}

/// Whether a length is at least another.
pub(super) fn at_least(left: Term, right: Term) -> Condition {
    match (&left, &right) {
        (Term::Const(a), Term::Const(b)) => Condition::Always(a >= b),
        _ => compare(Comparison::GreaterOrEqual, true, left, right),
    }
}
