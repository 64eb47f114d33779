//! Indexing and slicing: `x[i]`, `x[low:high]`.

use std::sync::Arc;

use spelunk_dwarf::{Kind, ProcAddr, Type};

use super::arith::fits_into;
use super::constant::Const;
use super::eval::Evaluator;
use super::operand::{Operand, What, plain_type};
use super::{EvalError, Expr};
use crate::value::{MapWalk, type_in_error};

impl Evaluator<'_> {
    pub(super) fn index(&self, base: &Expr, index: &Expr) -> Result<Operand, EvalError> {
        if let Some(hits) = self.hit_count(base, index) {
            return hits;
        }
        let mut x = self.operand(base)?;
        if let What::Unreadable(why) = x.what {
            return Err(EvalError::Unreadable(why));
        }
        if let Some(Kind::Pointer { elem }) = x.kind() {
            let elem = self.loader.binary.type_info(elem)?;
            if !matches!(
                elem.kind,
                Kind::Array { .. } | Kind::Slice { .. } | Kind::Map { .. } | Kind::String
            ) {
                return Err(EvalError::NotIndexable(base.to_string(), elem.name.to_string()));
            }
            x = match self.pointer(&x)? {
                0 if matches!(elem.kind, Kind::Array { .. }) => {
                    return Err(EvalError::Refused(format!(
                        "can not index {}",
                        super::arith::quoted(base)
                    )));
                }
                0 => return Err(EvalError::NilPointer),
                target => Operand::place(elem, ProcAddr(target)),
            };
        }
        if let Some(Kind::Map { .. }) = x.kind() {
            return self.map_entry(&x, index);
        }
        if let (Some(ty), What::Elements { values, len }) = (&x.ty, &x.what)
            && let Kind::Slice { elem } | Kind::Array { elem, .. } = ty.kind
        {
            let at = self.position(index, *len)?;
            let value = usize::try_from(at)
                .ok()
                .and_then(|at| values.get(at))
                .ok_or(EvalError::OutOfBounds)?;
            return Ok(Operand::computed(self.loader.binary.type_info(elem)?, value.clone()));
        }
        if let What::Const(Const::Text(bytes)) = &x.what {
            let at = self.position(index, bytes.len() as i64)?;
            let byte = bytes.get(at as usize).ok_or(EvalError::OutOfBounds)?;
            return Ok(Operand::computed(byte_type(), Const::Int(i128::from(*byte))));
        }
        let elem = match x.kind() {
            Some(Kind::String) => None,
            Some(Kind::Array { elem, .. } | Kind::Slice { elem }) => Some(self.loader.binary.type_info(elem)?),
            _ => return Err(EvalError::NotIndexable(base.to_string(), x.type_name())),
        };
        let Some((first, len)) = self.elements(&x)? else {
            return Err(EvalError::NotIndexable(base.to_string(), x.type_name()));
        };
        if first == 0 {
            return Err(EvalError::Refused(format!(
                "can not index {}",
                super::arith::quoted(base)
            )));
        }
        let at = self.position(index, len)?;
        let stride = elem.as_ref().map_or(1, |elem| elem.size);
        let addr = ProcAddr(first.wrapping_add(at.wrapping_mul(stride)));
        Ok(Operand::place(elem.unwrap_or_else(byte_type), addr))
    }

    /// An index that lies within `len`.
    fn position(&self, index: &Expr, len: i64) -> Result<u64, EvalError> {
        let index = self.integer(index)?;
        if index < 0 || index >= len {
            return Err(EvalError::OutOfBounds);
        }
        Ok(index as u64)
    }

    fn map_entry(&self, map: &Operand, index: &Expr) -> Result<Operand, EvalError> {
        let (Some(ty), What::Place(addr) | What::MapFrom { addr, .. }) = (&map.ty, &map.what) else {
            return Err(EvalError::NotIndexable(index.to_string(), map.type_name()));
        };
        let Kind::Map { key, elem, .. } = ty.kind else {
            return Err(EvalError::NotIndexable(index.to_string(), map.type_name()));
        };
        let wanted = self.operand(index)?;
        if let What::Unreadable(why) = wanted.what {
            return Err(EvalError::Unreadable(why));
        }
        let binary = self.loader.binary;
        let (key, elem) = (binary.type_info(key)?, binary.type_info(elem)?);
        let unreadable =
            |why: &dyn std::fmt::Display| EvalError::Refused(format!("can not access unreadable map: {why}"));
        let walk = MapWalk::new(&self.loader, ty, *addr).map_err(|why| unreadable(&why))?;
        match &wanted.ty {
            None => fits_into(&wanted, &key, &type_in_error(&key))?,
            Some(given) if given.id == key.id || given.name == key.name => {}
            Some(_) if matches!(key.kind, Kind::Interface { .. }) => {}
            Some(given) => {
                return Err(EvalError::Refused(format!(
                    "can not convert value of type {} to {}",
                    given.name,
                    type_in_error(&key)
                )));
            }
        }
        let scalar = self.scalar(&wanted)?;
        for entry in walk {
            let (key_at, elem_at) = entry.map_err(|why| unreadable(&why))?;
            let found = Operand::place(Arc::clone(&key), key_at);
            let equal = match &scalar {
                Some(wanted) if !matches!(key.kind, Kind::Interface { .. } | Kind::String) => {
                    let known = self.scalar(&found)?;
                    known
                        .is_some_and(|known| super::constant::compare(super::Binary::Equal, &known, wanted) == Ok(true))
                }
                _ => self.compare(super::Binary::Equal, &found, &wanted, 0)?,
            };
            if equal {
                return Ok(Operand::place(elem, elem_at));
            }
        }
        Err(EvalError::Refused("key not found".to_owned()))
    }

    pub(super) fn slice(&self, base: &Expr, low: Option<&Expr>, high: Option<&Expr>) -> Result<Operand, EvalError> {
        let x = self.operand(base)?;
        if let What::Unreadable(why) = x.what {
            return Err(EvalError::Unreadable(why));
        }
        let literal = |bound: Option<&Expr>| bound.is_some_and(|bound| matches!(bound, Expr::Literal(_)));
        let from = low.map_or(Ok(0), |low| self.integer(low))?;
        let to = high.map(|high| self.integer(high)).transpose()?;
        let refuse = || {
            EvalError::Refused(format!(
                "can not slice {} (type {})",
                super::arith::quoted(base),
                x.type_name()
            ))
        };
        if let (Some(Kind::Map { .. }), What::Place(addr)) = (x.kind(), &x.what) {
            if to.is_some() {
                return Err(EvalError::Refused(
                    "second slice argument must be empty for maps".to_owned(),
                ));
            }
            let len = match self.loader.memory.read_uint(*addr, 8)? {
                0 => 0,
                map => self.loader.memory.read_uint(ProcAddr(map), 8)? as i64,
            };
            if from < 0 || from >= len {
                return Err(EvalError::Refused("map index out of bounds".to_owned()));
            }
            return Ok(Operand {
                ty: x.ty,
                what: What::MapFrom {
                    addr: *addr,
                    skip: from as u64,
                },
            });
        }
        if let What::Const(Const::Text(bytes)) = &x.what {
            let len = bytes.len() as i64;
            let (from, to) = bounds(from, to.unwrap_or(len), len)?;
            let part = bytes.get(from as usize..to as usize).unwrap_or_default();
            return Ok(Operand {
                ty: x.ty.clone(),
                what: What::Const(Const::Text(part.to_vec())),
            });
        }
        let Some((first, len)) = self.elements(&x)? else {
            return Err(refuse());
        };
        // Nothing of nothing is nothing.
        if first == 0 && (from, to.unwrap_or(len), len) != (0, 0, 0) {
            return Err(EvalError::Refused(format!(
                "can not slice {}",
                super::arith::quoted(base)
            )));
        }
        let capacity = match x.kind() {
            Some(Kind::Slice { .. }) => self.capacity(&x)?,
            _ => len,
        };
        let (from, to) = bounds(from, to.unwrap_or(len), capacity)?;
        let is_exact = literal(high) && (low.is_none() || literal(low));
        let what = |stride: u64| What::Slice {
            base: first.wrapping_add((from as u64).wrapping_mul(stride)),
            len: to - from,
            cap: capacity - from,
            exact: is_exact,
        };
        match x.kind() {
            Some(Kind::String) => Ok(Operand {
                ty: x.ty,
                what: What::Part {
                    base: first.wrapping_add(from as u64),
                    len: to - from,
                    exact: is_exact,
                },
            }),
            Some(Kind::Slice { elem }) => Ok(Operand {
                ty: x.ty,
                what: what(self.loader.binary.type_info(elem)?.size),
            }),
            Some(Kind::Array { elem, stride, .. }) => {
                let ty = self.loader.binary.slice_of(elem)?;
                Ok(Operand {
                    ty: Some(self.loader.binary.type_info(ty)?),
                    what: what(stride),
                })
            }
            _ => Err(refuse()),
        }
    }

    fn capacity(&self, x: &Operand) -> Result<i64, EvalError> {
        match x.what {
            What::Slice { cap, .. } => Ok(cap),
            What::Place(addr) => Ok(self.word(addr, 2)? as i64),
            _ => Ok(0),
        }
    }
}

/// The type of a byte of a string.
fn byte_type() -> Arc<Type> {
    plain_type("byte", 1, Kind::Uint)
}

fn bounds(from: i64, to: i64, limit: i64) -> Result<(i64, i64), EvalError> {
    if from < 0 || to < from || to > limit {
        return Err(EvalError::OutOfBounds);
    }
    Ok((from, to))
}
