//! Evaluates an expression on a memory.

use std::sync::Arc;

use spelunk_dwarf::{Binary, Field, Kind, LoadBias, ProcAddr, Type, TypeId};

use super::arith::fits;
use super::builtins::Builtin;
use super::constant::Const;
use super::operand::{Operand, What, plain_type};
use super::type_expr::find_type;
use super::{EvalError, Expr};
use crate::value::{Loader, MapWalk};

/// Embedded structs are searched to this depth for a promoted field.
const MAX_EMBEDDING: usize = 8;
/// Strings are compared and joined up to this length, in bytes; Delve's limit, too.
const MAX_STRING: usize = 1 << 20;

/// A variable by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Its type.
    pub(crate) ty: TypeId,
    /// Where it lies.
    pub(crate) addr: ProcAddr,
}

impl Variable {
    /// As an operand.
    pub(crate) fn operand(self, binary: &Binary) -> Result<Operand, EvalError> {
        Ok(Operand::place(binary.type_info(self.ty)?, self.addr))
    }
}

/// What names mean at a place in the program.
pub(crate) trait Scope {
    /// The innermost variable of that name that the function has: a local or a parameter. One that is known but not readable is
    /// [`What::Unreadable`].
    fn variable(&self, name: &str) -> Result<Option<Operand>, EvalError>;
    /// A variable, function or constant of a package; `None` for the package means the one of the function.
    fn global(&self, package: Option<&str>, name: &str) -> Result<Option<Operand>, EvalError>;
    /// The goroutine's `runtime.g`.
    fn goroutine(&self) -> Option<ProcAddr> {
        None
    }
    /// How far the canonical frame address is from the upper end of the goroutine's stack, in bytes; negative.
    fn frame_offset(&self) -> Option<i64> {
        None
    }
    /// The thread's number in the kernel.
    fn thread(&self) -> Option<i64> {
        None
    }
    /// A register by one of its names.
    fn register(&self, _name: &str) -> Option<Const> {
        None
    }
}

/// One step into a struct: the offset of a field and its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FieldStep {
    /// The field's offset in its struct.
    pub(crate) offset: u64,
    /// The field's type.
    pub(crate) ty: TypeId,
}

/// The way from a struct to a field of it or of the structs embedded in it, the shallowest first (Go specification, "Selectors").
pub(crate) fn field_path(binary: &Binary, fields: &[Field], name: &str) -> Result<Option<Vec<FieldStep>>, EvalError> {
    let mut level: Vec<(Vec<FieldStep>, Arc<[Field]>)> = vec![(Vec::new(), fields.into())];
    for _ in 0..MAX_EMBEDDING {
        let mut deeper = Vec::new();
        for (path, fields) in &level {
            for field in fields.iter() {
                let step = FieldStep {
                    offset: field.offset,
                    ty: field.ty,
                };
                // An embedded field has the whole name of its type, package included.
                let embedded_name =
                    || field.embedded && field.name.rsplit_once('.').is_some_and(|(_, last)| last == name);
                if &*field.name == name || embedded_name() {
                    return Ok(Some(path.iter().copied().chain([step]).collect()));
                }
                if field.embedded
                    && let Some((_, fields)) = struct_of(binary, field.ty)?
                {
                    deeper.push((path.iter().copied().chain([step]).collect(), fields));
                }
            }
        }
        level = deeper;
    }
    Ok(None)
}

/// Whether there is a pointer between, and the fields.
type StructOf = (bool, Arc<[Field]>);

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

/// A variable, function or constant of a package, found by its name with the package's path or the end of it.
pub(crate) fn find_global(
    binary: &Binary,
    bias: LoadBias,
    package: &str,
    name: &str,
) -> Result<Option<Operand>, EvalError> {
    let full = format!("{package}.{name}");
    let place = |ty, addr| -> Result<Option<Operand>, EvalError> {
        Ok(Some(Operand::place(binary.type_info(ty)?, bias.to_proc(addr))))
    };
    if let Some((ty, addr)) = binary.global_named(&full) {
        return place(ty, addr);
    }
    let ends = |known: &str| known.strip_suffix(&full).is_some_and(|path| path.ends_with('/'));
    if let Some(global) = binary.globals().iter().find(|global| ends(&global.name)) {
        return place(global.ty, global.addr);
    }
    let function = binary.function_named(&full);
    if let Some(function) = function.or_else(|| binary.functions().iter().find(|function| ends(&function.name))) {
        return Ok(Some(Operand {
            ty: Some(plain_type("func()", 8, Kind::Func)),
            what: What::Function {
                name: Arc::from(&*function.name),
            },
        }));
    }
    match binary.constant_named(&full) {
        Some((ty, value)) => {
            let ty = binary.type_info(ty)?;
            let value = super::arith::fitted(&ty, Const::Int(i128::from(value)));
            Ok(Some(Operand {
                ty: Some(ty),
                what: What::Declared(value),
            }))
        }
        None => Ok(None),
    }
}

/// Evaluates expressions in a scope.
#[derive(Clone, Copy)]
pub(crate) struct Evaluator<'a> {
    /// Reads the memory; its limits are those of the values that come out.
    pub(crate) loader: Loader<'a>,
    /// What names mean.
    pub(crate) scope: &'a dyn Scope,
}

impl Evaluator<'_> {
    /// What a whole expression comes to.
    pub(crate) fn evaluate(&self, expr: &Expr) -> Result<Operand, EvalError> {
        match expr {
            Expr::Call(function, arguments) => self.call(function, arguments, true),
            _ => self.operand(expr),
        }
    }

    /// What an expression or a part of one comes to.
    pub(crate) fn operand(&self, expr: &Expr) -> Result<Operand, EvalError> {
        match expr {
            Expr::Name(name) => self.name(name)?.ok_or_else(|| EvalError::NoSymbol(name.clone())),
            Expr::Literal(literal) => Ok(Operand::constant(literal.value.clone())),
            Expr::Paren(inside) => self.operand(inside),
            Expr::Field(base, name) => self.field(base, name),
            Expr::Assert(base, ty) => self.assertion(base, ty),
            Expr::Index(base, indices) => match indices.as_slice() {
                [index] => self.index(base, index),
                _ => Err(EvalError::Refused(
                    "expression *ast.IndexListExpr not implemented".to_owned(),
                )),
            },
            Expr::Slice(base, low, high) => self.slice(base, low.as_deref(), high.as_deref()),
            Expr::Dereference(inside) => self.dereference(inside),
            Expr::Unary(operator, inside) => self.unary(*operator, inside),
            Expr::Binary(operator, left, right) => self.binary(*operator, left, right),
            Expr::Call(function, arguments) => self.call(function, arguments, false),
            Expr::Type(ty) => {
                let node = match ty {
                    super::TypeExpr::Array(..) => "*ast.ArrayType",
                    super::TypeExpr::Map(..) => "*ast.MapType",
                    super::TypeExpr::Chan(..) => "*ast.ChanType",
                    super::TypeExpr::Spelled(text) if text.starts_with("func") => "*ast.FuncType",
                    super::TypeExpr::Spelled(text) if text.starts_with("struct") => "*ast.StructType",
                    super::TypeExpr::Spelled(_) => "*ast.InterfaceType",
                };
                Err(EvalError::Refused(format!("expression {node} not implemented")))
            }
            Expr::Unimplemented("3-index slice") => {
                Err(EvalError::Refused("3-index slice expressions not supported".to_owned()))
            }
            Expr::Unimplemented(what) => Err(EvalError::Refused(format!("expression {what} not implemented"))),
        }
    }

    /// Whether a condition holds.
    pub(crate) fn truth(&self, condition: &Expr) -> Result<bool, EvalError> {
        let operand = self.operand(condition)?;
        if let What::Unreadable(why) = &operand.what {
            return Err(EvalError::Refused(format!("condition expression unreadable: {why}")));
        }
        match self.scalar(&operand)? {
            Some(Const::Bool(b)) => Ok(b),
            _ => Err(EvalError::Refused("condition expression not boolean".to_owned())),
        }
    }

    fn name(&self, name: &str) -> Result<Option<Operand>, EvalError> {
        if let Some(found) = self.scope.variable(name)? {
            return Ok(Some(found));
        }
        if let Some(found) = self.scope.global(None, name)? {
            return Ok(Some(found));
        }
        Ok(match name {
            "true" | "false" => Some(Operand::constant(Const::Bool(name == "true"))),
            "nil" => Some(Operand {
                ty: None,
                what: What::Nil,
            }),
            _ => self.scope.register(name).map(|value| match value {
                Const::Int(_) => Operand::computed(plain_type("uint64", 8, Kind::Uint), value),
                value => Operand::constant(value),
            }),
        })
    }

    fn field(&self, base: &Expr, name: &str) -> Result<Operand, EvalError> {
        match base {
            Expr::Name(package) if package == "runtime" && matches!(name, "curg" | "frameoff" | "threadid") => {
                return self.about_the_goroutine(name);
            }
            Expr::Name(package) => {
                let mut failed = None;
                if let Some(found) = self.name(package)? {
                    match self.select(&found, name, package) {
                        Ok(found) => return Ok(found),
                        Err(error) => failed = Some(error),
                    }
                }
                let global = self.scope.global(Some(package), name)?;
                return global
                    .ok_or_else(|| failed.unwrap_or_else(|| EvalError::NoGlobal(format!("{package}.{name}"))));
            }
            Expr::Literal(literal) => {
                if let Const::Text(path) = &literal.value {
                    let path = String::from_utf8_lossy(path);
                    let global = self.scope.global(Some(&path), name)?;
                    return global.ok_or_else(|| EvalError::NoGlobal(format!("{path}.{name}")));
                }
            }
            _ => {}
        }
        let found = self.operand(base)?;
        let shown = if is_path(base) {
            base.to_string()
        } else {
            found.type_name()
        };
        self.select(&found, name, &shown)
    }

    fn about_the_goroutine(&self, name: &str) -> Result<Operand, EvalError> {
        let number = |n: Option<i64>| {
            let n = n.ok_or_else(|| EvalError::NeedsStop(format!("runtime.{name}")))?;
            Ok(Operand::constant(Const::Int(i128::from(n))))
        };
        match name {
            "frameoff" => number(self.scope.frame_offset()),
            "threadid" => number(self.scope.thread()),
            _ => {
                let ty = self.loader.binary.type_named("runtime.g");
                let ty =
                    ty.ok_or_else(|| EvalError::Refused("could not find runtime.g: no type entry found".to_owned()))?;
                let ty = self.loader.binary.type_info(ty)?;
                Ok(match self.scope.goroutine() {
                    Some(addr) => Operand::place(ty, addr),
                    None => Operand {
                        ty: Some(ty),
                        what: What::NoGoroutine,
                    },
                })
            }
        }
    }

    /// `x.name`; `shown` stands for x in messages.
    fn select(&self, x: &Operand, name: &str, shown: &str) -> Result<Operand, EvalError> {
        match self.select_field(x, name, shown) {
            Err(error @ (EvalError::NoMember(..) | EvalError::NoMemberOf(..))) => self.method(x, name)?.ok_or(error),
            result => result,
        }
    }

    fn select_field(&self, x: &Operand, name: &str, shown: &str) -> Result<Operand, EvalError> {
        let binary = self.loader.binary;
        let no_member = || EvalError::NoMember(shown.to_owned(), name.to_owned());
        match &x.what {
            // Whatever is in what cannot be read cannot be read for the same reason.
            What::Unreadable(_) => return Ok(x.clone()),
            What::NoGoroutine if name == "goid" => return Ok(Operand::constant(Const::Int(0))),
            What::NoGoroutine => return Err(no_member()),
            What::Const(_) | What::Declared(_) | What::Nil => {
                return Err(EvalError::NotStruct(shown.to_owned(), x.type_name()));
            }
            // A package has the name of its function: `main`.
            What::Function { name: function, .. } => {
                let package = function.rsplit_once('.').map_or("", |(package, _)| package);
                return Err(if package == shown || package.ends_with(&format!("/{shown}")) {
                    EvalError::Refused(format!("package {shown} has no function {name}"))
                } else {
                    no_member()
                });
            }
            _ => {}
        }
        let (fields, mut at) = match x.kind() {
            Some(Kind::Struct { fields }) => (fields, Self::place_of(x, shown)?),
            Some(Kind::Pointer { elem }) => match &binary.type_info(elem)?.kind {
                Kind::Struct { fields } => (fields.clone(), self.pointee_of(x, shown)?),
                // A pointer to an interface or a pointer is not looked through.
                _ => return Err(EvalError::NoMemberOf(shown.to_owned(), x.type_name(), name.to_owned())),
            },
            Some(Kind::Interface { .. }) => {
                return match self.held(x)? {
                    Some(held) => self.select(&held, name, shown),
                    None => Err(EvalError::NilPointer),
                };
            }
            Some(Kind::Chan { .. }) => match self.loader.channel(Self::place_of(x, shown)?, x.kind().as_ref()) {
                Ok(Some((fields, at))) => (fields, at),
                Ok(None) => return Err(EvalError::NilPointer),
                Err(why) => return Err(EvalError::Unreadable(why)),
            },
            Some(Kind::Func) => match self.loader.closure(Self::place_of(x, shown)?) {
                Ok(Some((fields, at))) => return self.captured(&fields, at, name)?.ok_or_else(no_member),
                _ => return Err(no_member()),
            },
            _ => return Err(EvalError::NoMemberOf(shown.to_owned(), x.type_name(), name.to_owned())),
        };
        let path = field_path(binary, &fields, name)?.ok_or_else(no_member)?;
        let mut ty = None;
        for (i, step) in path.iter().enumerate() {
            at = ProcAddr(at.0.wrapping_add(step.offset));
            let info = binary.type_info(step.ty)?;
            if i + 1 != path.len() && matches!(info.kind, Kind::Pointer { .. }) {
                at = self.pointee_of(&Operand::place(Arc::clone(&info), at), shown)?;
            }
            ty = Some(info);
        }
        ty.map(|ty| Operand::place(ty, at)).ok_or_else(no_member)
    }

    /// A variable that a closure captured; one captured by reference is the variable it refers to.
    fn captured(&self, fields: &[Field], at: ProcAddr, name: &str) -> Result<Option<Operand>, EvalError> {
        for field in fields {
            let addr = ProcAddr(at.0.wrapping_add(field.offset));
            let info = self.loader.binary.type_info(field.ty)?;
            if &*field.name == name {
                return Ok(Some(Operand::place(info, addr)));
            }
            if field.name.strip_prefix('&') == Some(name)
                && let Kind::Pointer { elem } = info.kind
            {
                let target = self.target(&Operand::place(info, addr))?;
                return Ok(Some(Operand::place(self.loader.binary.type_info(elem)?, target)));
            }
        }
        Ok(None)
    }

    /// A method of x's type, by the name of its function.
    fn method(&self, x: &Operand, name: &str) -> Result<Option<Operand>, EvalError> {
        let binary = self.loader.binary;
        let Some(ty) = &x.ty else { return Ok(None) };
        let base = match ty.kind {
            Kind::Pointer { elem } => binary.type_info(elem)?,
            _ => Arc::clone(ty),
        };
        let Some((package, receiver)) = base.name.rsplit_once('.') else {
            return Ok(None);
        };
        let names = [
            format!("{package}.(*{receiver}).{name}"),
            format!("{package}.{receiver}.{name}"),
        ];
        let found = names.iter().find_map(|name| binary.function_named(name));
        let Some(function) = found else { return Ok(None) };
        Ok(Some(Operand {
            ty: Some(plain_type(&self.signature(function), 8, Kind::Func)),
            what: What::Function {
                name: Arc::from(&*function.name),
            },
        }))
    }

    /// The type of a method as a function without its receiver, with the names of the parameters, as Delve has it.
    fn signature(&self, function: &spelunk_dwarf::Function) -> String {
        let binary = self.loader.binary;
        let Ok(info) = binary.function_info(function) else {
            return "func()".to_owned();
        };
        let part = |variable: &spelunk_dwarf::Variable| {
            let ty = binary
                .type_info(variable.ty)
                .map_or_else(|_| "?".to_owned(), |ty| ty.name.to_string());
            if variable.name.starts_with('~') {
                ty
            } else {
                format!("{} {ty}", variable.display_name())
            }
        };
        let shown = info.params.iter().filter(|variable| !variable.is_internal());
        let parts = |results: bool| -> Vec<String> {
            shown
                .clone()
                .skip(1)
                .filter(|variable| variable.is_result == results)
                .map(part)
                .collect()
        };
        let (arguments, results) = (parts(false), parts(true));
        let results = match results.as_slice() {
            [] => String::new(),
            [one] => format!(" {one}"),
            several => format!(" ({})", several.join(", ")),
        };
        format!("func({}){results}", arguments.join(", "))
    }

    fn assertion(&self, base: &Expr, ty: &Expr) -> Result<Operand, EvalError> {
        let wanted = match ty {
            Expr::Name(name) if name == "data" => None,
            ty => Some(find_type(self.loader.binary, ty)?),
        };
        let x = self.operand(base)?;
        if let What::Unreadable(why) = x.what {
            return Err(EvalError::Unreadable(why));
        }
        if !matches!(x.kind(), Some(Kind::Interface { .. })) {
            return Err(EvalError::Refused(format!("expression \"{base}\" not an interface")));
        }
        let interface = x.type_name();
        let Some(held) = self.held(&x)? else {
            return Err(EvalError::Refused(format!(
                "interface conversion: {interface} is nil, not {ty}"
            )));
        };
        if let Some(wanted) = wanted {
            let wanted = self.loader.binary.type_info(wanted)?;
            let name = held.type_name();
            if name != *wanted.name {
                return Err(EvalError::Refused(format!(
                    "interface conversion: {interface} is {name}, not {}",
                    wanted.name
                )));
            }
        }
        Ok(held)
    }

    /// What an interface holds, nothing if it is nil.
    pub(super) fn held(&self, x: &Operand) -> Result<Option<Operand>, EvalError> {
        let Some(Kind::Interface { empty }) = x.kind() else {
            return Ok(None);
        };
        let addr = Self::place_of(x, "")?;
        match self.loader.held(addr, empty) {
            Ok(Some((ty, place))) => Ok(Some(Operand::place(self.loader.binary.type_info(ty)?, place))),
            Ok(None) => Ok(None),
            Err(why) => Err(EvalError::Unreadable(why)),
        }
    }

    fn index(&self, base: &Expr, index: &Expr) -> Result<Operand, EvalError> {
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
            x = Operand::place(elem, self.target(&x)?);
        }
        if let Some(Kind::Map { .. }) = x.kind() {
            return self.map_entry(&x, index);
        }
        if let (Some(ty), What::Elements { values, len }) = (&x.ty, &x.what)
            && let Kind::Slice { elem } = ty.kind
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
            return Err(EvalError::Refused(format!("can not index \"{base}\"")));
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
            None => fits(&wanted, &key)?,
            Some(given) if given.id == key.id || given.name == key.name => {}
            Some(_) if matches!(key.kind, Kind::Interface { .. }) => {}
            Some(given) => {
                return Err(EvalError::Refused(format!(
                    "can not convert value of type {} to {}",
                    given.name, key.name
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

    fn slice(&self, base: &Expr, low: Option<&Expr>, high: Option<&Expr>) -> Result<Operand, EvalError> {
        let x = self.operand(base)?;
        if let What::Unreadable(why) = x.what {
            return Err(EvalError::Unreadable(why));
        }
        let literal = |bound: Option<&Expr>| bound.is_some_and(|bound| matches!(bound, Expr::Literal(_)));
        let from = low.map_or(Ok(0), |low| self.integer(low))?;
        let to = high.map(|high| self.integer(high)).transpose()?;
        let refuse = || EvalError::Refused(format!("can not slice \"{base}\" (type {})", x.type_name()));
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
        if first == 0 {
            return Err(EvalError::Refused(format!("can not slice \"{base}\"")));
        }
        let capacity = match x.kind() {
            Some(Kind::Slice { .. }) => self.capacity(&x)?,
            _ => len,
        };
        let (from, to) = bounds(from, to.unwrap_or(len), capacity)?;
        let what = |stride: u64| What::Slice {
            base: first.wrapping_add((from as u64).wrapping_mul(stride)),
            len: to - from,
            cap: capacity - from,
            exact: literal(high) && (low.is_none() || literal(low)),
        };
        match x.kind() {
            Some(Kind::String) => Ok(Operand {
                ty: x.ty,
                what: What::Part {
                    base: first.wrapping_add(from as u64),
                    len: to - from,
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

    fn dereference(&self, inside: &Expr) -> Result<Operand, EvalError> {
        let x = self.operand(inside)?;
        if let What::Unreadable(why) = x.what {
            return Err(EvalError::Unreadable(why));
        }
        if x.is_nil() {
            return Err(EvalError::Refused("nil can not be dereferenced".to_owned()));
        }
        let Some(Kind::Pointer { elem }) = x.kind() else {
            return Err(EvalError::NotPointer(inside.to_string(), x.type_name()));
        };
        Ok(Operand::place(self.loader.binary.type_info(elem)?, self.target(&x)?))
    }

    fn call(&self, function: &Expr, arguments: &[Expr], whole: bool) -> Result<Operand, EvalError> {
        if let [argument] = arguments
            && let Some(converted) = self.conversion(function, argument)?
        {
            return Ok(converted);
        }
        if let Expr::Name(name) = function
            && let Some(builtin) = Builtin::named(name)
        {
            return self.builtin(builtin, arguments);
        }
        // As with Delve, what cannot be found is said first where the call is all there is.
        if whole {
            self.operand(function)?;
        }
        Err(EvalError::Call)
    }

    /// Where a value lies that must lie in memory.
    fn place_of(x: &Operand, shown: &str) -> Result<ProcAddr, EvalError> {
        match &x.what {
            What::Place(addr) | What::MapFrom { addr, .. } => Ok(*addr),
            What::Unreadable(why) => Err(EvalError::Unreadable(why.clone())),
            _ => Err(EvalError::NotStruct(shown.to_owned(), x.type_name())),
        }
    }

    /// The address in a pointer to a struct of which a field is wanted.
    fn pointee_of(&self, x: &Operand, shown: &str) -> Result<ProcAddr, EvalError> {
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

    /// The address in a pointer.
    pub(super) fn pointer(&self, x: &Operand) -> Result<u64, EvalError> {
        match &x.what {
            What::Pointer(address) => Ok(*address),
            What::Place(addr) => Ok(self.loader.memory.read_uint(*addr, 8)?),
            What::Nil => Ok(0),
            What::Unreadable(why) => Err(EvalError::Unreadable(why.clone())),
            _ => Err(EvalError::NotValue(x.type_name())),
        }
    }

    fn word(&self, addr: ProcAddr, n: u64) -> Result<u64, EvalError> {
        Ok(self.loader.memory.read_uint(ProcAddr(addr.0.wrapping_add(8 * n)), 8)?)
    }

    /// Where the elements of an array, a slice or a string in memory begin, and how many there are.
    pub(super) fn elements(&self, x: &Operand) -> Result<Option<(u64, i64)>, EvalError> {
        Ok(match (x.kind(), &x.what) {
            (_, What::Slice { base, len, .. } | What::Part { base, len }) => Some((*base, *len)),
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

/// Whether an expression is a name with fields, which stands for itself in messages.
fn is_path(expr: &Expr) -> bool {
    match expr {
        Expr::Name(_) => true,
        Expr::Field(base, _) => is_path(base),
        _ => false,
    }
}
