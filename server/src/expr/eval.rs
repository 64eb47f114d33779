//! Evaluates an expression on a memory.

use spelunk_dwarf::{Binary, Kind, ProcAddr, TypeId};

use super::around::BreakpointName;
use super::builtins::{Builtin, is_has_prefix};
use super::call::Call;
use super::constant::Const;
use super::operand::{Operand, What, plain_type};
use super::type_expr::find_type;
use super::{EvalError, Expr};
use crate::value::Loader;

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
    /// In the body of a loop over a function: as [`Scope::frame_offset`], of the function in which the loop is written. Elsewhere 0.
    fn range_parent_offset(&self) -> Option<i64> {
        None
    }
    /// The thread's number in the kernel.
    fn thread(&self) -> Option<i64> {
        None
    }
    /// How often a breakpoint was hit; `None` if there is no such breakpoint.
    fn hits_of(&self, _breakpoint: BreakpointName<'_>) -> Result<Option<u64>, EvalError> {
        Err(EvalError::NeedsStop("delve.bphitcount".to_owned()))
    }
    /// A variable of another frame of the goroutine, 0 being the innermost.
    fn frame_variable(&self, _frame: usize, _name: &str) -> Result<Option<Operand>, EvalError> {
        Err(EvalError::NeedsStop("runtime.frame".to_owned()))
    }
    /// The bytes that make `target` hold `value`, which is written as `source`.
    fn held(&self, _target: &Operand, _value: &Operand, _source: &Expr) -> Result<Vec<u8>, EvalError> {
        Err(EvalError::NeedsStop("a composite literal".to_owned()))
    }
    /// A pointer to a composite literal, written as `source`, for which the program has to make room. As with [`Scope::result_of`], that may have to wait.
    fn pointer_to(&self, _source: &Expr, _literal: &Operand) -> Result<Operand, EvalError> {
        Err(EvalError::Call)
    }
    /// An address at which these bytes are from now on, in no memory of the program; `None` where nothing can be kept.
    fn keep(&self, _bytes: Vec<u8>) -> Option<ProcAddr> {
        None
    }
    /// A register by one of its names.
    fn register(&self, _name: &str) -> Option<Const> {
        None
    }
    /// Whether functions of the program may be called here.
    fn may_call(&self) -> bool {
        false
    }
    /// What a call of a function of the program has returned. One that was not made yet is noted down, and [`EvalError::CallPending`] ends the evaluation: when
    /// the call has been made the expression is evaluated again, and comes past it with its result.
    fn result_of(&self, _call: &Call<'_>) -> Result<Operand, EvalError> {
        Err(EvalError::Call)
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

    /// What an expression or a part of one comes to. Forms that no debugger gives a value, as a type or a function literal, are refused with Delve's words, which
    /// name the node of Go's syntax tree.
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
            Expr::Composite(ty, elements) => self.composite(ty, elements),
            Expr::Type(ty) => Err(EvalError::Refused(format!(
                "expression {} not implemented",
                type_node(ty)
            ))),
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
        if let Some(found) = self.frame_variable(base, name) {
            return found;
        }
        match base {
            Expr::Name(package)
                if package == "runtime" && matches!(name, "curg" | "frameoff" | "threadid" | "rangeParentOffset") =>
            {
                return self.about_the_goroutine(name);
            }
            Expr::Name(package) => {
                let mut failed = None;
                if let Some(found) = self.name(package)? {
                    if let Some(parts) = self.register_parts(package, name)? {
                        return Ok(parts);
                    }
                    match self.select(&found, name, package) {
                        Ok(found) => return Ok(found.with_receiver_named(base)),
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
        Ok(self.select(&found, name, &shown)?.with_receiver_named(base))
    }

    /// The bytes of a register as numbers of one type: `_XMM0.uint32`. `None` if the name is not that of a register.
    fn register_parts(&self, register: &str, ty: &str) -> Result<Option<Operand>, EvalError> {
        // Most names are no register's, which is quickly told.
        let Some(content) = self.scope.register(register) else {
            return Ok(None);
        };
        if self.scope.variable(register)?.is_some() || self.scope.global(None, register)?.is_some() {
            return Ok(None);
        }
        let bytes = match content {
            Const::Int(n) => (n as u64).to_le_bytes().to_vec(),
            // A wide register is told in hexadecimal digits, its lowest byte first.
            Const::Text(digits) => {
                let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
                let bytes: Option<Vec<u8>> = digits.chunks(2).map(byte).collect();
                bytes.ok_or_else(|| EvalError::NotValue(register.to_owned()))?
            }
            _ => return Ok(None),
        };
        let unknown = || EvalError::Refused(format!("unknown CPU register type conversion to \"{ty}\""));
        let is_number = matches!(
            ty,
            "int8" | "int16" | "int32" | "int64" | "uint8" | "uint16" | "uint32" | "uint64" | "float32" | "float64"
        );
        let id = self
            .loader
            .binary
            .type_named(ty)
            .filter(|_| is_number)
            .ok_or_else(unknown)?;
        let info = self.loader.binary.type_info(id)?;
        let size = usize::try_from(info.size)
            .ok()
            .filter(|size| (1..=8).contains(size))
            .ok_or_else(unknown)?;
        let values: Vec<Const> = bytes
            .chunks_exact(size)
            .map(|chunk| {
                let raw = chunk.iter().rev().fold(0u64, |raw, byte| raw << 8 | u64::from(*byte));
                match (&info.kind, size) {
                    (Kind::Float, 4) => Const::Float(f64::from(f32::from_bits(raw as u32))),
                    (Kind::Float, _) => Const::Float(f64::from_bits(raw)),
                    _ => super::arith::fitted(&info, Const::Int(i128::from(raw))),
                }
            })
            .collect();
        let count = values.len() as u64;
        let array = self.loader.binary.type_info(self.loader.binary.array_of(id, count)?)?;
        Ok(Some(Operand {
            ty: Some(array),
            what: What::Elements {
                values,
                len: count as i64,
            },
        }))
    }

    fn about_the_goroutine(&self, name: &str) -> Result<Operand, EvalError> {
        let number = |n: Option<i64>| {
            let n = n.ok_or_else(|| EvalError::NeedsStop(format!("runtime.{name}")))?;
            Ok(Operand::constant(Const::Int(i128::from(n))))
        };
        match name {
            "frameoff" => number(self.scope.frame_offset()),
            "threadid" => number(self.scope.thread()),
            "rangeParentOffset" => number(self.scope.range_parent_offset()),
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
        if let ([s, prefix], true) = (arguments, is_has_prefix(function)) {
            return self.has_prefix(s, prefix);
        }
        if let Expr::Name(name) = function
            && let Some(builtin) = Builtin::named(name)
        {
            return self.builtin(builtin, arguments);
        }
        if self.scope.may_call() {
            return self.function_call(function, arguments);
        }
        // As with Delve, what cannot be found is said first where the call is all there is, and what no argument can be before that.
        if whole {
            for (number, argument) in arguments.iter().enumerate() {
                if let Some(node) = unimplemented_node(argument) {
                    return Err(EvalError::Refused(format!(
                        "error evaluating \"{argument}\" as argument {} in function {function}: expression {node} not implemented",
                        number + 1
                    )));
                }
            }
            // A string would have to be allocated before anything else is done.
            if !arguments.iter().any(is_string_literal) {
                self.operand(function)?;
            }
        }
        Err(EvalError::Call)
    }
}

/// What Go's parser calls a type literal.
fn type_node(ty: &super::TypeExpr) -> &'static str {
    match ty {
        super::TypeExpr::Array(..) => "*ast.ArrayType",
        super::TypeExpr::Map(..) => "*ast.MapType",
        super::TypeExpr::Chan(..) => "*ast.ChanType",
        super::TypeExpr::Spelled(text) if text.starts_with('[') => "*ast.ArrayType",
        super::TypeExpr::Spelled(text) if text.starts_with("func") => "*ast.FuncType",
        super::TypeExpr::Spelled(text) if text.starts_with("struct") => "*ast.StructType",
        super::TypeExpr::Spelled(_) => "*ast.InterfaceType",
    }
}

/// What Go's parser calls an expression that has no value by its form alone.
fn unimplemented_node(expr: &Expr) -> Option<&'static str> {
    match expr.bare() {
        Expr::Type(ty) => Some(type_node(ty)),
        Expr::Unimplemented(node) if node.starts_with('*') => Some(node),
        _ => None,
    }
}

/// Whether an expression is a string that the program would have to be given room for.
fn is_string_literal(expr: &Expr) -> bool {
    match expr.bare() {
        Expr::Literal(literal) => matches!(&literal.value, Const::Text(text) if !text.is_empty()),
        Expr::Binary(super::Binary::Add, left, right) => is_string_literal(left) && is_string_literal(right),
        _ => false,
    }
}

impl Operand {
    /// The method of a value with the name of the variable that it was selected of.
    fn with_receiver_named(mut self, base: &Expr) -> Operand {
        if let What::Function {
            receiver: Some(receiver),
            ..
        } = &mut self.what
            && is_path(base)
        {
            receiver.name = base.to_string();
        }
        self
    }
}

/// Whether an expression is a name with fields, which stands for itself in messages.
fn is_path(expr: &Expr) -> bool {
    match expr {
        Expr::Name(_) => true,
        Expr::Field(base, _) => is_path(base),
        _ => false,
    }
}
