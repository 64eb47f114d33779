//! Evaluates an expression on a memory.

use spelunk_dwarf::{Binary, DwarfError, Field, Kind, ProcAddr, Type, TypeId};

use super::Expr;
use crate::value::{Memory, ReadError};

/// Embedded structs are searched to this depth for a promoted field.
const MAX_EMBEDDING: usize = 8;

/// A variable by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Its type.
    pub(crate) ty: TypeId,
    /// Where it lies.
    pub(crate) addr: ProcAddr,
}

/// What names mean at a place in the program.
pub(crate) trait Scope {
    /// The innermost variable of that name: a local, a parameter or a package variable of the current package.
    fn variable(&self, name: &str) -> Result<Option<Variable>, EvalError>;
    /// A variable of another package.
    fn package_variable(&self, package: &str, name: &str) -> Result<Option<Variable>, EvalError>;
}

/// What an expression comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Operand {
    /// Something that lies in memory.
    Place(Variable),
    /// A number that was computed.
    Integer(i64),
}

/// Why an expression has no value. The texts follow Delve's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum EvalError {
    /// No variable of that name is in scope.
    #[error("could not find symbol value for {0}")]
    NoSymbol(String),
    /// The variable is in scope but its place is not known here.
    #[error("could not read {0}: {1}")]
    NoPlace(String, String),
    /// A field of something else.
    #[error("{0} (type {1}) is not a struct")]
    NotStruct(String, String),
    /// An unknown field.
    #[error("{0} has no member {1}")]
    NoMember(String, String),
    /// An index into something else.
    #[error("expression {0:?} ({1}) does not support indexing")]
    NotIndexable(String, String),
    /// A map's entries cannot be looked up here.
    #[error("expression {0:?} ({1}): map entries cannot be read by a logpoint yet")]
    MapIndex(String, String),
    /// An index that is no integer.
    #[error("can not convert {0} to int")]
    IndexType(String),
    /// An index out of range.
    #[error("index out of bounds")]
    OutOfBounds,
    /// `*x` of something else.
    #[error("expression {0:?} ({1}) can not be dereferenced")]
    NotPointer(String, String),
    /// Through a nil pointer.
    #[error("nil pointer dereference")]
    NilPointer,
    /// `len(x)` or `cap(x)` of something else.
    #[error("invalid argument {0} (type {1}) for {2}")]
    BadArgument(String, String, &'static str),
    /// A call of anything but `len` and `cap`.
    #[error("function calls cannot be made by a logpoint: {0}")]
    Call(String),
    /// Something that is no value by itself.
    #[error("{0} is not a value that can be shown here")]
    NotValue(String),
    /// The debug information is broken.
    #[error("{0}")]
    Dwarf(String),
    /// Memory could not be read.
    #[error("{0}")]
    Read(#[from] ReadError),
}

impl From<DwarfError> for EvalError {
    fn from(error: DwarfError) -> Self {
        EvalError::Dwarf(error.to_string())
    }
}

/// One step from a struct towards a promoted field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FieldStep {
    /// The field's offset in its struct.
    pub(crate) offset: u64,
    /// The field's type.
    pub(crate) ty: TypeId,
}

/// The way from a struct to a field of it or of the structs embedded in it, the shallowest first (Go specification, "Selectors").
pub(crate) fn field_path(binary: &Binary, fields: &[Field], name: &str) -> Result<Option<Vec<FieldStep>>, EvalError> {
    let mut level: Vec<(Vec<FieldStep>, Vec<Field>)> = vec![(Vec::new(), fields.to_vec())];
    for _ in 0..MAX_EMBEDDING {
        let mut deeper = Vec::new();
        for (path, fields) in &level {
            for field in fields {
                let mut path = path.clone();
                path.push(FieldStep {
                    offset: field.offset,
                    ty: field.ty,
                });
                if &*field.name == name {
                    return Ok(Some(path));
                }
                if field.embedded
                    && let Some((_, fields)) = struct_of(binary, field.ty)?
                {
                    deeper.push((path, fields.to_vec()));
                }
            }
        }
        level = deeper;
    }
    Ok(None)
}

/// Whether there is a pointer between, and the fields.
type StructOf = (bool, std::sync::Arc<[Field]>);

/// The fields of a struct type or of the struct a pointer points to, and whether there is a pointer between.
fn struct_of(binary: &Binary, ty: TypeId) -> Result<Option<StructOf>, EvalError> {
    let info = binary.type_info(ty)?;
    Ok(match &info.kind {
        Kind::Struct { fields } => Some((false, fields.clone())),
        Kind::Pointer { elem } => match &binary.type_info(*elem)?.kind {
            Kind::Struct { fields } => Some((true, fields.clone())),
            _ => None,
        },
        _ => None,
    })
}

/// Evaluates `expr`.
pub(crate) fn evaluate(
    expr: &Expr,
    binary: &Binary,
    memory: &dyn Memory,
    scope: &dyn Scope,
) -> Result<Operand, EvalError> {
    Evaluator { binary, memory, scope }.operand(expr)
}

struct Evaluator<'a> {
    binary: &'a Binary,
    memory: &'a dyn Memory,
    scope: &'a dyn Scope,
}

impl Evaluator<'_> {
    fn operand(&self, expr: &Expr) -> Result<Operand, EvalError> {
        match expr {
            Expr::Name(name) => {
                let found = self.scope.variable(name)?;
                found
                    .map(Operand::Place)
                    .ok_or_else(|| EvalError::NoSymbol(name.clone()))
            }
            Expr::Integer(number) => Ok(Operand::Integer(*number as i64)),
            Expr::Text(_) => Err(EvalError::NotValue(expr.to_string())),
            Expr::Negative(inside) => Ok(Operand::Integer(self.integer(inside)?.wrapping_neg())),
            Expr::Dereference(inside) => {
                let pointer = self.place(inside)?;
                let info = self.binary.type_info(pointer.ty)?;
                let Kind::Pointer { elem } = info.kind else {
                    return Err(EvalError::NotPointer(inside.to_string(), info.name.to_string()));
                };
                Ok(Operand::Place(Variable {
                    ty: elem,
                    addr: self.target(pointer.addr)?,
                }))
            }
            Expr::Field(base, name) => self.field(base, name),
            Expr::Index(base, index) => self.index(base, index),
            Expr::Call(function, arguments) => match (&**function, arguments.as_slice()) {
                (Expr::Name(name), [argument]) if name == "len" => Ok(Operand::Integer(self.length(argument, "len")?)),
                (Expr::Name(name), [argument]) if name == "cap" => Ok(Operand::Integer(self.length(argument, "cap")?)),
                _ => Err(EvalError::Call(function.to_string())),
            },
        }
    }

    fn place(&self, expr: &Expr) -> Result<Variable, EvalError> {
        match self.operand(expr)? {
            Operand::Place(place) => Ok(place),
            Operand::Integer(_) => Err(EvalError::NotValue(expr.to_string())),
        }
    }

    /// The address a pointer at `addr` holds, which must not be nil.
    fn target(&self, addr: ProcAddr) -> Result<ProcAddr, EvalError> {
        match self.memory.read_uint(addr, 8)? {
            0 => Err(EvalError::NilPointer),
            target => Ok(ProcAddr(target)),
        }
    }

    fn field(&self, base: &Expr, name: &str) -> Result<Operand, EvalError> {
        if let Expr::Name(package) = base
            && self.scope.variable(package)?.is_none()
        {
            let found = self.scope.package_variable(package, name)?;
            return found
                .map(Operand::Place)
                .ok_or_else(|| EvalError::NoSymbol(package.clone()));
        }
        let mut at = self.place(base)?;
        let info = self.binary.type_info(at.ty)?;
        let Some((through_pointer, fields)) = struct_of(self.binary, at.ty)? else {
            return Err(EvalError::NotStruct(base.to_string(), info.name.to_string()));
        };
        if through_pointer {
            at.addr = self.target(at.addr)?;
        }
        let path = field_path(self.binary, &fields, name)?
            .ok_or_else(|| EvalError::NoMember(base.to_string(), name.to_owned()))?;
        for (i, step) in path.iter().enumerate() {
            at = Variable {
                ty: step.ty,
                addr: ProcAddr(at.addr.0.wrapping_add(step.offset)),
            };
            let last = i + 1 == path.len();
            if !last && matches!(self.binary.type_info(at.ty)?.kind, Kind::Pointer { .. }) {
                at.addr = self.target(at.addr)?;
            }
        }
        Ok(Operand::Place(at))
    }

    fn index(&self, base: &Expr, index: &Expr) -> Result<Operand, EvalError> {
        let mut at = self.place(base)?;
        let mut info = self.binary.type_info(at.ty)?;
        if let Kind::Pointer { elem } = info.kind
            && matches!(self.binary.type_info(elem)?.kind, Kind::Array { .. })
        {
            at = Variable {
                ty: elem,
                addr: self.target(at.addr)?,
            };
            info = self.binary.type_info(elem)?;
        }
        let (elem, stride, first, len) = match &info.kind {
            Kind::Array { elem, len, stride } => (*elem, *stride, at.addr.0, *len as i64),
            Kind::Slice { elem } => (
                *elem,
                self.binary.type_info(*elem)?.size,
                self.word(at, 0)?,
                self.word(at, 1)? as i64,
            ),
            Kind::Map { .. } => return Err(EvalError::MapIndex(base.to_string(), info.name.to_string())),
            _ => return Err(EvalError::NotIndexable(base.to_string(), info.name.to_string())),
        };
        let index = self.integer(index)?;
        if index < 0 || index >= len {
            return Err(EvalError::OutOfBounds);
        }
        Ok(Operand::Place(Variable {
            ty: elem,
            addr: ProcAddr(first.wrapping_add((index as u64).wrapping_mul(stride))),
        }))
    }

    /// The n-th word of a value.
    fn word(&self, at: Variable, n: u64) -> Result<u64, EvalError> {
        Ok(self.memory.read_uint(ProcAddr(at.addr.0.wrapping_add(8 * n)), 8)?)
    }

    fn integer(&self, expr: &Expr) -> Result<i64, EvalError> {
        let place = match self.operand(expr)? {
            Operand::Integer(number) => return Ok(number),
            Operand::Place(place) => place,
        };
        let info = self.binary.type_info(place.ty)?;
        let raw = match info.kind {
            Kind::Int | Kind::Uint | Kind::Uintptr => self.memory.read_uint(place.addr, info.size)?,
            _ => return Err(EvalError::IndexType(expr.to_string())),
        };
        Ok(if info.kind == Kind::Int {
            sign_extend(raw, info.size)
        } else {
            raw as i64
        })
    }

    fn length(&self, argument: &Expr, function: &'static str) -> Result<i64, EvalError> {
        let at = self.place(argument)?;
        let info = self.binary.type_info(at.ty)?;
        let refuse = |info: &Type| {
            Err(EvalError::BadArgument(
                argument.to_string(),
                info.name.to_string(),
                function,
            ))
        };
        let capacity = function == "cap";
        match &info.kind {
            Kind::Slice { .. } => Ok(self.word(at, if capacity { 2 } else { 1 })? as i64),
            Kind::Array { len, .. } => Ok(*len as i64),
            Kind::String if !capacity => Ok(self.word(at, 1)? as i64),
            Kind::Map { .. } if !capacity => match self.word(at, 0)? {
                0 => Ok(0),
                map => Ok(self.memory.read_uint(ProcAddr(map), 8)? as i64),
            },
            Kind::Chan { .. } => match self.word(at, 0)? {
                0 => Ok(0),
                chan => Ok(self
                    .memory
                    .read_uint(ProcAddr(chan.wrapping_add(if capacity { 8 } else { 0 })), 8)?
                    as i64),
            },
            _ => refuse(&info),
        }
    }
}

/// Widens an integer of `size` bytes.
fn sign_extend(raw: u64, size: u64) -> i64 {
    let unused = 64 - 8 * u32::try_from(size).unwrap_or(8).clamp(1, 8);
    (raw << unused) as i64 >> unused
}

impl std::fmt::Display for Expr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Expr::Name(name) => f.write_str(name),
            Expr::Integer(number) => write!(f, "{number}"),
            Expr::Text(text) => write!(f, "{:?}", String::from_utf8_lossy(text)),
            Expr::Field(base, name) => write!(f, "{base}.{name}"),
            Expr::Index(base, index) => write!(f, "{base}[{index}]"),
            Expr::Dereference(inside) => write!(f, "*{inside}"),
            Expr::Negative(inside) => write!(f, "-{inside}"),
            Expr::Call(function, arguments) => {
                write!(f, "{function}(")?;
                for (i, argument) in arguments.iter().enumerate() {
                    write!(f, "{}{argument}", if i == 0 { "" } else { ", " })?;
                }
                f.write_str(")")
            }
        }
    }
}
