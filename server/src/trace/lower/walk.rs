//! Names, fields, pointers, elements and type assertions: how a place is reached.

use std::sync::Arc;

use spelunk_bpf::{Condition, Term};
use spelunk_dwarf::{Field, Kind, LoadBias, Type};

use super::Lowering;
use super::error::{LowerError, NotLowered};
use super::operand::{Lowered, What};
use super::place::Place;
use super::terms::{checked, difference, has_room, number, product, sum};
use crate::expr::{self, Binary, Const, EvalError, Expr, Unary, field_path, find_global, find_type, plain_type};
use crate::trace::capture::general_register;
use crate::value::is_direct_in_interface;

impl Lowering<'_> {
    /// What a whole condition comes to: it must be a truth value.
    pub(super) fn truth_of(&self, condition: &Expr) -> Result<Condition, LowerError> {
        let x = self.operand(condition)?;
        match x.kind() {
            Some(Kind::Bool) => x.truth(condition),
            _ => Err(EvalError::Refused("condition expression not boolean".to_owned()).into()),
        }
    }

    /// What an expression or a part of one comes to.
    pub(super) fn operand(&self, expr: &Expr) -> Result<Lowered, LowerError> {
        match expr {
            Expr::Name(name) => {
                let found = self.name(name, expr)?;
                Ok(found.ok_or_else(|| EvalError::NoSymbol(name.clone()))?)
            }
            Expr::Literal(literal) => Ok(Lowered::untyped(What::Const(literal.value.clone()))),
            Expr::Paren(inside) => self.operand(inside),
            Expr::Field(base, name) => self.field(expr, base, name),
            Expr::Assert(base, ty) => self.assertion(expr, base, ty),
            Expr::Index(base, indices) => match indices.as_slice() {
                [index] => self.index(expr, base, index),
                _ => Err(not_evaluated(expr)),
            },
            Expr::Slice(base, low, high) => self.slice(expr, base, low.as_deref(), high.as_deref()),
            Expr::Dereference(inside) => self.dereference(inside),
            Expr::Unary(Unary::Address, inside) => self.address_of(expr, inside),
            Expr::Unary(operator, inside) => self.unary(expr, *operator, inside),
            Expr::Binary(operator @ (Binary::LogicalAnd | Binary::LogicalOr), ..) => self.logical(*operator, expr),
            Expr::Binary(operator, left, right) => self.binary(expr, *operator, left, right),
            Expr::Call(function, arguments) => self.call(expr, function, arguments),
            Expr::Composite(..) | Expr::Type(_) | Expr::Unimplemented(_) => Err(not_evaluated(expr)),
        }
    }

    fn name(&self, name: &str, shown: &Expr) -> Result<Option<Lowered>, LowerError> {
        if let Some(found) = self.names.variable(name)? {
            if !found.escaped {
                return Ok(Some(Lowered::place(found.ty, found.place)));
            }
            let Kind::Pointer { elem } = found.ty.kind else {
                return Ok(Some(Lowered::place(found.ty, found.place)));
            };
            let place = Place::pointee(found.place.word(0, shown)?);
            return Ok(Some(Lowered::place(self.binary.type_info(elem)?, place)));
        }
        if let Some(found) = self.global(self.names.package(), name, shown)? {
            return Ok(Some(found));
        }
        Ok(match name {
            "true" | "false" => Some(Lowered::untyped(What::Const(Const::Bool(name == "true")))),
            "nil" => Some(Lowered::untyped(What::Nil)),
            _ => register(name).map(|register| {
                Lowered::typed(
                    plain_type("uint64", 8, Kind::Uint),
                    What::Number(Term::Register(register)),
                )
            }),
        })
    }

    fn global(&self, package: &str, name: &str, shown: &Expr) -> Result<Option<Lowered>, LowerError> {
        // Without a bias the addresses are those of the file.
        let Some(found) = find_global(self.binary, LoadBias::default(), package, name)? else {
            return Ok(None);
        };
        let what = match found.what {
            expr::What::Place(addr) => What::Place(Place::Memory {
                base: Term::Address(addr.0),
                offset: 0,
            }),
            expr::What::Declared(value) | expr::What::Const(value) => What::Const(value),
            expr::What::Function { .. } => What::Function,
            _ => return Err(not_evaluated(shown)),
        };
        Ok(Some(Lowered { ty: found.ty, what }))
    }

    fn field(&self, expr: &Expr, base: &Expr, name: &str) -> Result<Lowered, LowerError> {
        match base {
            Expr::Name(package) if package == "runtime" && matches!(name, "curg" | "frameoff" | "threadid") => {
                return self.about_the_goroutine(expr, name);
            }
            Expr::Name(package) => {
                let mut failed = None;
                if let Some(found) = self.name(package, base)? {
                    match self.select(&found, name, base) {
                        Err(LowerError::Condition(error)) => failed = Some(error),
                        result => return result,
                    }
                }
                let global = self.global(package, name, expr)?;
                let missing = || failed.unwrap_or_else(|| EvalError::NoGlobal(format!("{package}.{name}")));
                return Ok(global.ok_or_else(missing)?);
            }
            Expr::Literal(literal) => {
                if let Const::Text(path) = &literal.value {
                    let path = String::from_utf8_lossy(path);
                    let global = self.global(&path, name, expr)?;
                    return Ok(global.ok_or_else(|| EvalError::NoGlobal(format!("{path}.{name}")))?);
                }
            }
            _ => {}
        }
        let found = self.operand(base)?;
        self.select(&found, name, base)
    }

    fn about_the_goroutine(&self, expr: &Expr, name: &str) -> Result<Lowered, LowerError> {
        match name {
            "threadid" => Err(NotLowered::new(expr, "is not known to conditions in the kernel").into()),
            "frameoff" => {
                let layout = self.binary.runtime_layout()?;
                let stack_hi = Place::pointee(Term::Goroutine).word(layout.g_stack_hi, expr)?;
                let cfa = sum(Term::Register(spelunk_bpf::Reg::Rsp), number(self.names.cfa_offset()));
                Ok(Lowered::untyped(What::Number(difference(cfa, stack_hi))))
            }
            _ => {
                let ty = self.binary.type_named("runtime.g");
                let missing = || EvalError::Refused("could not find runtime.g: no type entry found".to_owned());
                let ty = self.binary.type_info(ty.ok_or_else(missing)?)?;
                Ok(Lowered::place(ty, Place::pointee(Term::Goroutine)))
            }
        }
    }

    /// `x.name`; `base` stands for x in messages.
    fn select(&self, x: &Lowered, name: &str, base: &Expr) -> Result<Lowered, LowerError> {
        let no_member = || EvalError::NoMember(base.to_string(), name.to_owned());
        if let What::Function = x.what {
            return Err(no_member().into());
        }
        let (fields, mut place) = match x.kind() {
            Some(Kind::Struct { fields }) => match &x.what {
                What::Place(place) => (fields, place.clone()),
                _ => return Err(not_evaluated(base)),
            },
            Some(Kind::Pointer { elem }) => {
                // A pointer to an interface or a pointer is not looked through.
                let Kind::Struct { fields } = &self.binary.type_info(elem)?.kind else {
                    let ty = x.type_name();
                    return Err(EvalError::NoMemberOf(base.to_string(), ty, name.to_owned()).into());
                };
                (fields.clone(), Place::pointee(x.pointer(base)?))
            }
            Some(Kind::Interface { .. }) => {
                let why = "is behind an interface, whose type only the running program knows; write ";
                let part = format!("{base}.{name}");
                return Err(NotLowered::new(part, format!("{why}{base}.(T).{name}")).into());
            }
            Some(Kind::Chan { header, .. }) => match &self.binary.type_info(header)?.kind {
                Kind::Struct { fields } if name != "buf" => (fields.clone(), Place::pointee(x.word(0, base)?)),
                _ => return Err(NotLowered::new(format!("{base}.{name}"), "is inside of a channel").into()),
            },
            Some(Kind::Func) => {
                let part = format!("{base}.{name}");
                return Err(NotLowered::new(
                    part,
                    "is what a closure captured, and which it is, only the running program knows",
                )
                .into());
            }
            None => return Err(EvalError::NotStruct(base.to_string(), x.type_name()).into()),
            _ => match x.what {
                What::Place(_) => {
                    let ty = x.type_name();
                    return Err(EvalError::NoMemberOf(base.to_string(), ty, name.to_owned()).into());
                }
                _ => return Err(EvalError::NotStruct(base.to_string(), x.type_name()).into()),
            },
        };
        let fields: &[Field] = &fields;
        let path = field_path(self.binary, fields, name)?.ok_or_else(no_member)?;
        let mut ty = None;
        for (i, step) in path.iter().enumerate() {
            place = place.behind(step.offset);
            let info = self.binary.type_info(step.ty)?;
            if i + 1 != path.len() && matches!(info.kind, Kind::Pointer { .. }) {
                place = Place::pointee(place.word(0, base)?);
            }
            ty = Some(info);
        }
        Ok(Lowered::place(ty.ok_or_else(no_member)?, place))
    }

    fn dereference(&self, inside: &Expr) -> Result<Lowered, LowerError> {
        let x = self.operand(inside)?;
        if x.is_nil() {
            return Err(EvalError::Refused("nil can not be dereferenced".to_owned()).into());
        }
        let Some(Kind::Pointer { elem }) = x.kind() else {
            return Err(EvalError::NotPointer(inside.to_string(), x.type_name()).into());
        };
        let place = Place::pointee(x.pointer(inside)?);
        Ok(Lowered::place(self.binary.type_info(elem)?, place))
    }

    fn address_of(&self, expr: &Expr, inside: &Expr) -> Result<Lowered, LowerError> {
        let x = self.operand(inside)?;
        let (Some(ty), What::Place(place)) = (&x.ty, &x.what) else {
            return Err(EvalError::Refused(format!("can not take address of \"{inside}\"")).into());
        };
        let Some(address) = place.address() else {
            return Err(NotLowered::new(expr, "has no address: the variable is in registers").into());
        };
        let pointer = self.binary.type_info(self.binary.pointer_to(ty.id)?)?;
        Ok(Lowered::typed(pointer, What::Pointer(address)))
    }

    fn index(&self, expr: &Expr, base: &Expr, index: &Expr) -> Result<Lowered, LowerError> {
        let mut x = self.operand(base)?;
        if let Some(Kind::Pointer { elem }) = x.kind() {
            let elem = self.binary.type_info(elem)?;
            if !matches!(
                elem.kind,
                Kind::Array { .. } | Kind::Slice { .. } | Kind::Map { .. } | Kind::String
            ) {
                return Err(EvalError::NotIndexable(base.to_string(), elem.name.to_string()).into());
            }
            let place = Place::pointee(x.pointer(base)?);
            x = Lowered::place(elem, place);
        }
        let (elem, stride) = match x.kind() {
            Some(Kind::Map { .. }) => return Err(NotLowered::new(expr, "needs a map lookup").into()),
            Some(Kind::String) => (plain_type("uint8", 1, Kind::Uint), 1),
            Some(Kind::Array { elem, stride, .. }) => (self.binary.type_info(elem)?, stride),
            Some(Kind::Slice { elem }) => {
                let elem = self.binary.type_info(elem)?;
                let stride = elem.size;
                (elem, stride)
            }
            _ => return Err(EvalError::NotIndexable(base.to_string(), x.type_name()).into()),
        };
        if let What::Const(Const::Text(bytes)) = &x.what {
            return self.byte_of_literal(bytes, index, elem);
        }
        let at = self.integer(index)?;
        // Known elements of arrays need no and arrays in registers allow none.
        if let (Some(Kind::Array { len, .. }), What::Place(place)) = (x.kind(), &x.what) {
            if let Term::Const(n) = at {
                let n = u64::try_from(n)
                    .ok()
                    .filter(|n| *n < len)
                    .ok_or(EvalError::OutOfBounds)?;
                return Ok(Lowered::place(elem, place.behind(n.wrapping_mul(stride))));
            }
            if matches!(place, Place::Parts { .. }) {
                return Err(NotLowered::new(expr, "needs an element of an array that is in registers").into());
            }
        }
        let (first, len) = x.elements(base)?;
        if !has_room(&[&first, &len, &at]) {
            return Err(NotLowered::new(expr, "is too large for a condition in the kernel").into());
        }
        let offset = product(checked(at, len), number(stride.cast_signed()));
        Ok(Lowered::place(elem, Place::pointee(sum(first, offset))))
    }

    fn byte_of_literal(&self, bytes: &[u8], index: &Expr, ty: Arc<Type>) -> Result<Lowered, LowerError> {
        match self.integer(index)? {
            Term::Const(n) => {
                let byte = usize::try_from(n)
                    .ok()
                    .and_then(|n| bytes.get(n))
                    .ok_or(EvalError::OutOfBounds)?;
                Ok(Lowered::typed(ty, What::Const(Const::Int(i128::from(*byte)))))
            }
            _ => Err(NotLowered::new(index, "picks a byte of a constant").into()),
        }
    }

    fn slice(&self, expr: &Expr, base: &Expr, low: Option<&Expr>, high: Option<&Expr>) -> Result<Lowered, LowerError> {
        let x = self.operand(base)?;
        let from = low.map_or(Ok(number(0)), |low| self.integer(low))?;
        let to = high.map(|high| self.integer(high)).transpose()?;
        if let What::Const(Const::Text(bytes)) = &x.what {
            let (Term::Const(from), Term::Const(to)) = (from, to.unwrap_or(number(bytes.len() as i64))) else {
                return Err(NotLowered::new(expr, "is a part of a constant").into());
            };
            let range = usize::try_from(from).ok().zip(usize::try_from(to).ok());
            let part = range
                .and_then(|(from, to)| bytes.get(from..to))
                .ok_or(EvalError::OutOfBounds)?;
            let what = What::Const(Const::Text(part.to_vec()));
            return Ok(Lowered { ty: x.ty, what });
        }
        let stride = match x.kind() {
            Some(Kind::String) => 1,
            Some(Kind::Slice { elem }) => self.binary.type_info(elem)?.size,
            Some(Kind::Array { stride, .. }) => stride,
            Some(Kind::Map { .. }) => return Err(NotLowered::new(expr, "leaves out entries of a map").into()),
            _ => {
                let ty = x.type_name();
                return Err(EvalError::Refused(format!("can not slice \"{base}\" (type {ty})")).into());
            }
        };
        let (first, len) = x.elements(base)?;
        let limit = match (x.kind(), &x.what) {
            (Some(Kind::Slice { .. }), What::Slice { cap, .. }) => cap.clone(),
            (Some(Kind::Slice { .. }), _) => x.word(2, base)?,
            _ => len.clone(),
        };
        if !has_room(&[&first, &len, &limit, &from, &from, &from]) {
            return Err(NotLowered::new(expr, "is too large for a condition in the kernel").into());
        }
        // Go wants 0 <= from <= to <= limit. A length below zero is nobody's.
        let to = match to {
            Some(to) => checked(to, sum(limit.clone(), number(1))),
            None => len,
        };
        let from = match from {
            Term::Const(0) => number(0),
            from => checked(from, sum(to.clone(), number(1))),
        };
        let base = sum(first, product(from.clone(), number(stride.cast_signed())));
        let len = difference(to, from.clone());
        Ok(match x.kind() {
            Some(Kind::String) => Lowered {
                ty: x.ty,
                what: What::Text { base, len },
            },
            Some(Kind::Array { elem, .. }) => {
                let ty = self.binary.type_info(self.binary.slice_of(elem)?)?;
                let cap = difference(limit, from);
                Lowered::typed(ty, What::Slice { base, len, cap })
            }
            _ => Lowered {
                ty: x.ty,
                what: What::Slice {
                    base,
                    len,
                    cap: difference(limit, from),
                },
            },
        })
    }

    /// An index, as a number with a sign; one beyond what 64 bits with a sign hold is below zero, and so out of every bound too.
    pub(super) fn integer(&self, expr: &Expr) -> Result<Term, LowerError> {
        let x = self.operand(expr)?;
        match &x.what {
            What::Const(Const::Int(n)) => Ok(number(i64::try_from(*n).unwrap_or(i64::MAX))),
            What::Const(value) if x.ty.is_none() => {
                Err(EvalError::Refused(format!("can not convert constant {value} to int")).into())
            }
            _ if x.is_integer() => x.number(expr),
            _ => Err(EvalError::IndexType(x.type_name()).into()),
        }
    }

    /// `x.(T)`: what the interface holds, if it is a T; else there is no value, as Go panics.
    fn assertion(&self, expr: &Expr, base: &Expr, ty: &Expr) -> Result<Lowered, LowerError> {
        if matches!(ty, Expr::Name(name) if name == "data") {
            return Err(NotLowered::new(expr, "has a type that only the running program knows").into());
        }
        let wanted = self.binary.type_info(find_type(self.binary, ty)?)?;
        let x = self.operand(base)?;
        let Some(Kind::Interface { empty }) = x.kind() else {
            return Err(EvalError::Refused(format!("expression \"{base}\" not an interface")).into());
        };
        if matches!(wanted.kind, Kind::Interface { .. }) {
            return Err(NotLowered::new(expr, "needs the methods of a type").into());
        }
        // A derived type may be described under its name too. Without a description no interface can hold it.
        let described = || {
            self.binary
                .type_info(self.binary.type_named(&wanted.name)?)
                .ok()?
                .runtime_type
        };
        let Some(runtime_type) = wanted.runtime_type.or_else(described) else {
            return Err(NotLowered::new(expr, "has a type that no interface of this program holds").into());
        };
        let first = x.word(0, base)?;
        let held = if empty {
            first
        } else {
            Place::pointee(first).word(self.binary.runtime_layout()?.itab_type, base)?
        };
        // 0 where the types are the same, and no value where they are not.
        let same = checked(difference(held, Term::Address(runtime_type.0)), number(1));
        let data = sum(x.word(1, base)?, same);
        if !is_direct_in_interface(self.binary, runtime_type) {
            return Ok(Lowered::place(wanted, Place::pointee(data)));
        }
        match wanted.kind {
            Kind::Pointer { .. } | Kind::UnsafePointer => Ok(Lowered::typed(wanted, What::Pointer(data))),
            _ => Err(NotLowered::new(expr, "is held in the interface itself").into()),
        }
    }
}

/// The general register of that name, written as Delve's expressions have it: `RAX`, `_RIP`.
fn register(name: &str) -> Option<spelunk_bpf::Reg> {
    let name = name.trim_start_matches('_');
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase())
    {
        return None;
    }
    let wanted = name.to_ascii_lowercase();
    if wanted == "rip" {
        return Some(spelunk_bpf::Reg::Rip);
    }
    (0..16)
        .find(|number| spelunk_dwarf::DwarfReg(*number).name() == Some(&wanted))
        .and_then(general_register)
}

/// What neither the kernel nor, mostly, the interpreter evaluates.
pub(super) fn not_evaluated(part: &Expr) -> LowerError {
    NotLowered::new(part, "is nothing that conditions in the kernel evaluate").into()
}
