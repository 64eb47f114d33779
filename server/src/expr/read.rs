//! What is read of an operand: its address, its elements, its number or text.

use spelunk_dwarf::{Kind, ProcAddr};

use super::constant::Const;
use super::eval::Evaluator;
use super::operand::{Operand, What};
use super::{EvalError, Expr};

/// Strings are compared and joined up to this length, in bytes; Delve's limit, too.
pub(super) const MAX_STRING: usize = 1 << 20;

impl Evaluator<'_> {
    /// Where a value lies that must lie in memory.
    pub(super) fn place_of(x: &Operand, shown: &str) -> Result<ProcAddr, EvalError> {
        match &x.what {
            What::Place(addr) | What::MapFrom { addr, .. } => Ok(*addr),
            What::Unreadable(why) => Err(EvalError::Unreadable(why.clone())),
            _ => Err(EvalError::NotStruct(shown.to_owned(), x.type_name())),
        }
    }

    /// The address in a pointer to a struct of which a field is wanted.
    pub(super) fn pointee_of(&self, x: &Operand, shown: &str) -> Result<ProcAddr, EvalError> {
        match self.pointer(x)? {
            0 => Err(EvalError::Refused(format!("{shown} is nil"))),
            target => Ok(ProcAddr(target)),
        }
    }

    /// The address in a pointer, which must not be nil.
    pub(super) fn target(&self, x: &Operand) -> Result<ProcAddr, EvalError> {
        match self.pointer(x)? {
            0 => Err(EvalError::NilPointer),
            target => Ok(ProcAddr(target)),
        }
    }

    /// The address in a pointer, or in what is one: a channel.
    pub(crate) fn pointer(&self, x: &Operand) -> Result<u64, EvalError> {
        match &x.what {
            What::Pointer(address) => Ok(*address),
            What::Place(addr) => Ok(self.loader.memory.read_uint(*addr, 8)?),
            What::Nil => Ok(0),
            What::Unreadable(why) => Err(EvalError::Unreadable(why.clone())),
            _ => Err(EvalError::NotValue(x.type_name())),
        }
    }

    pub(super) fn word(&self, addr: ProcAddr, n: u64) -> Result<u64, EvalError> {
        Ok(self.loader.memory.read_uint(ProcAddr(addr.0.wrapping_add(8 * n)), 8)?)
    }

    /// Where the elements of an array, a slice or a string in memory begin, and how many there are.
    pub(super) fn elements(&self, x: &Operand) -> Result<Option<(u64, i64)>, EvalError> {
        Ok(match (x.kind(), &x.what) {
            (_, What::Slice { base, len, .. } | What::Part { base, len, .. }) => Some((*base, *len)),
            (Some(Kind::Array { len, .. }), What::Place(addr)) => {
                Some((addr.0, i64::try_from(len).unwrap_or(i64::MAX)))
            }
            (Some(Kind::Slice { .. } | Kind::String), What::Place(addr)) => {
                Some((self.word(*addr, 0)?, self.word(*addr, 1)? as i64))
            }
            _ => None,
        })
    }

    /// A signed or unsigned integer.
    pub(super) fn integer(&self, expr: &Expr) -> Result<i64, EvalError> {
        let x = self.operand(expr)?;
        if let What::Unreadable(why) = x.what {
            return Err(EvalError::Unreadable(why));
        }
        match self.scalar(&x)? {
            // A length beyond what 64 bits hold is out of every bound.
            Some(Const::Int(n)) => Ok(i64::try_from(n).unwrap_or(i64::MAX)),
            Some(Const::Huge(n)) => Ok(if n.sign() == num_bigint::Sign::Minus {
                i64::MIN
            } else {
                i64::MAX
            }),
            Some(value) if x.ty.is_none() => {
                Err(EvalError::Refused(format!("can not convert constant {value} to int")))
            }
            _ => Err(EvalError::IndexType(x.type_name())),
        }
    }

    /// The number, truth value or string that an operand is; `None` if it is none of these.
    pub(super) fn scalar(&self, x: &Operand) -> Result<Option<Const>, EvalError> {
        let (ty, addr) = match (&x.ty, &x.what) {
            (_, What::Const(value) | What::Declared(value)) => return Ok(Some(value.clone())),
            (_, What::Unreadable(why)) => return Err(EvalError::Unreadable(why.clone())),
            (_, What::Part { .. }) => return self.whole_string(x).map(|bytes| Some(Const::Text(bytes))),
            (Some(ty), What::Place(addr)) => (ty, *addr),
            _ => return Ok(None),
        };
        let uint = |offset: u64, size: u64| {
            self.loader
                .memory
                .read_uint(ProcAddr(addr.0.wrapping_add(offset)), size)
        };
        let float = |offset: u64, size: u64| -> Result<f64, EvalError> {
            Ok(match size {
                4 => f64::from(f32::from_bits(uint(offset, 4)? as u32)),
                _ => f64::from_bits(uint(offset, 8)?),
            })
        };
        Ok(Some(match ty.kind {
            Kind::Bool => Const::Bool(uint(0, 1)? != 0),
            Kind::Int | Kind::Uint | Kind::Uintptr => {
                super::arith::fitted(ty, Const::Int(i128::from(uint(0, ty.size)?)))
            }
            Kind::Float => Const::Float(float(0, ty.size)?),
            Kind::Complex => Const::Complex(float(0, ty.size / 2)?, float(ty.size / 2, ty.size / 2)?),
            Kind::String => Const::Text(self.whole_string(x)?),
            _ => return Ok(None),
        }))
    }

    /// The length of a string, where it can be told without reading it.
    pub(super) fn string_length(&self, x: &Operand) -> Result<Option<i64>, EvalError> {
        Ok(match &x.what {
            What::Const(Const::Text(bytes)) => Some(bytes.len() as i64),
            _ => self.elements(x)?.map(|(_, len)| len),
        })
    }

    /// All bytes of a string, which must not be too long.
    fn whole_string(&self, x: &Operand) -> Result<Vec<u8>, EvalError> {
        let (bytes, len) = self.string_start(x, MAX_STRING)?;
        if len != bytes.len() as i64 {
            return Err(EvalError::Refused("string too long for comparison".to_owned()));
        }
        Ok(bytes)
    }

    /// The first bytes of a string, at most `limit`, and its length.
    pub(super) fn string_start(&self, x: &Operand, limit: usize) -> Result<(Vec<u8>, i64), EvalError> {
        if let What::Const(Const::Text(bytes)) = &x.what {
            let start = bytes.iter().take(limit).copied().collect();
            return Ok((start, bytes.len() as i64));
        }
        let (base, len) = self.elements(x)?.ok_or_else(|| EvalError::NotValue(x.type_name()))?;
        let wanted = usize::try_from(len).map_err(|_| EvalError::Unreadable(format!("invalid length: {len}")))?;
        let mut bytes = vec![0; wanted.min(limit)];
        if !bytes.is_empty() {
            self.loader.memory.read(ProcAddr(base), &mut bytes)?;
        }
        Ok((bytes, len))
    }
}
