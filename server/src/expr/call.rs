//! Calls of the program's own functions: which function an expression means, and what it is called with.
//!
//! The evaluator cannot make a call: the program has to run for that. So a scope that allows calls keeps the results of those that were made, and an
//! expression is evaluated again after each. The results stand in for the calls, so each is made once, and in Go's order: what a function is called with
//! is evaluated before it.

use spelunk_dwarf::{Kind, ProcAddr};

use super::eval::Evaluator;
use super::method::Preferred;
use super::operand::{Operand, What};
use super::{EvalError, Expr};

/// The function that a call is of.
#[derive(Clone, Debug)]
pub(crate) struct Callee {
    /// Its first instruction.
    pub(crate) entry: ProcAddr,
    /// The closure that it is called through, for functions that may have captured variables.
    pub(crate) closure: Option<ProcAddr>,
    /// The receiver, for methods.
    pub(crate) receiver: Option<Operand>,
}

/// A call of a function of the program.
#[derive(Debug)]
pub(crate) struct Call<'e> {
    /// What is called, as it was written. Its address tells the calls of one expression apart.
    pub(crate) function: &'e Expr,
    /// The same, found.
    pub(crate) callee: Callee,
    /// What it is called with.
    pub(crate) arguments: Vec<(Operand, &'e Expr)>,
}

impl Evaluator<'_> {
    /// `function(arguments)` where calls are allowed.
    pub(super) fn function_call(&self, function: &Expr, arguments: &[Expr]) -> Result<Operand, EvalError> {
        let callee = self.callee(function)?;
        let arguments: Result<Vec<_>, EvalError> = arguments
            .iter()
            .zip(1..)
            .map(|(argument, number)| match self.operand(argument) {
                // As with Delve, which argument it is is said of what has no value by its form alone.
                Err(EvalError::Refused(why)) if why.ends_with(" not implemented") => Err(EvalError::Refused(format!(
                    "error evaluating \"{argument}\" as argument {number} in function {function}: {why}"
                ))),
                value => Ok((value?, argument)),
            })
            .collect();
        self.scope.result_of(&Call {
            function,
            callee,
            arguments: arguments?,
        })
    }

    fn callee(&self, function: &Expr) -> Result<Callee, EvalError> {
        let function = function.bare();
        if let Expr::Field(base, name) = function {
            match self.operand(base) {
                Ok(x) => {
                    if let Some(method) = self.bound_method(&x, name, &base.to_string(), Preferred::OfValue)? {
                        return Ok(Callee {
                            entry: self.loader.bias.to_proc(method.function.entry),
                            closure: None,
                            receiver: Some(method.receiver),
                        });
                    }
                }
                Err(EvalError::CallPending) => return Err(EvalError::CallPending),
                // It may be a package; what is wrong otherwise is said below.
                Err(_) => {}
            }
        }
        let x = self.operand(function)?;
        if let What::Unreadable(why) = &x.what {
            return Err(EvalError::Unreadable(why.clone()));
        }
        if x.kind() != Some(Kind::Func) {
            return Err(EvalError::Refused(format!(
                "expression \"{function}\" is not a function"
            )));
        }
        match &x.what {
            What::Function { name, .. } => {
                let found = self.loader.binary.function_named(name);
                let found = found
                    .ok_or_else(|| EvalError::Refused(format!("could not find DIE for function \"{function}\"")))?;
                Ok(Callee {
                    entry: self.loader.bias.to_proc(found.entry),
                    closure: None,
                    receiver: None,
                })
            }
            What::Place(addr) => {
                // A function value points to a word with the address of the code, behind which lies what was captured (runtime/runtime2.go, funcval).
                let closure = match self.loader.memory.read_uint(*addr, 8)? {
                    0 => return Err(EvalError::NilPointer),
                    closure => ProcAddr(closure),
                };
                Ok(Callee {
                    entry: ProcAddr(self.loader.memory.read_uint(closure, 8)?),
                    closure: Some(closure),
                    receiver: None,
                })
            }
            _ => Err(EvalError::NilPointer),
        }
    }
}
