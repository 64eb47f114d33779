//! What expressions can name beyond a frame and its package: the variables of other frames (`runtime.frame(1).x`), and how often breakpoints were hit
//! (`delve.bphitcount[1]`), as Delve's documentation of expressions has them.

use super::eval::Evaluator;
use super::{Const, EvalError, Expr, Operand};

/// How an expression names a breakpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BreakpointName<'e> {
    /// By its number.
    Id(i64),
    /// By the name that its client gave it.
    Name(&'e str),
}

impl Evaluator<'_> {
    /// `delve.bphitcount[index]`; `None` where `base` is something else.
    pub(super) fn hit_count(&self, base: &Expr, index: &Expr) -> Option<Result<Operand, EvalError>> {
        is_member(base, "delve", "bphitcount").then(|| self.hits_of(index))
    }

    fn hits_of(&self, index: &Expr) -> Result<Operand, EvalError> {
        let cannot = || EvalError::Refused(format!("can not index delve.bphitcount with {index}"));
        let Expr::Literal(literal) = index.bare() else {
            return Err(cannot());
        };
        let (name, missing) = match &literal.value {
            Const::Int(id) => {
                let id = i64::try_from(*id).map_err(|_| cannot())?;
                (BreakpointName::Id(id), format!("with ID = {id}"))
            }
            Const::Text(name) => {
                let name = std::str::from_utf8(name).map_err(|_| cannot())?;
                (BreakpointName::Name(name), format!("named {name:?}"))
            }
            _ => return Err(cannot()),
        };
        let hits = self.scope.hits_of(name)?;
        let hits = hits.ok_or_else(|| EvalError::Refused(format!("could not find breakpoint {missing}")))?;
        Ok(Operand::constant(Const::Int(i128::from(hits))))
    }

    /// The variable `name` of `runtime.frame(n)`; `None` where `base` is something else.
    pub(super) fn frame_variable(&self, base: &Expr, name: &str) -> Option<Result<Operand, EvalError>> {
        match base.bare() {
            Expr::Call(function, arguments) if is_member(function, "runtime", "frame") => {
                Some(self.variable_of(arguments, name))
            }
            _ => None,
        }
    }

    fn variable_of(&self, arguments: &[Expr], name: &str) -> Result<Operand, EvalError> {
        let [number] = arguments else {
            return Err(EvalError::Refused(
                "wrong number of arguments for runtime.frame".to_owned(),
            ));
        };
        let Expr::Literal(written) = number.bare() else {
            let why = format!("expected integer value for frame, got {number}");
            return Err(EvalError::Refused(why));
        };
        let Const::Int(number) = written.value else {
            let why = format!("strconv.ParseInt: parsing {:?}: invalid syntax", written.text);
            return Err(EvalError::Refused(why));
        };
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let found = self.scope.frame_variable(number, name)?;
        found.ok_or_else(|| EvalError::NoSymbol(name.to_owned()))
    }
}

/// Whether an expression is `package.name`, of one of the packages that stand for the debugger.
fn is_member(expr: &Expr, package: &str, name: &str) -> bool {
    match expr.bare() {
        Expr::Field(base, member) => member == name && matches!(&**base, Expr::Name(base) if base == package),
        _ => false,
    }
}
