//! Calls of the program's own functions: which function an expression means, and what it is called with.
//!
//! The evaluator cannot make a call: the program has to run for that. So a scope that allows calls keeps the results of those that were made, and an
//! expression is evaluated again after each. The results stand in for the calls, so each is made once, and in Go's order: what a function is called with
//! is evaluated before it.

use std::sync::Arc;

use spelunk_dwarf::{Binary, Kind, ProcAddr};

use super::eval::Evaluator;
use super::operand::{Operand, What};
use super::{EvalError, Expr};
use crate::value::is_made_up;

/// Embedded structs are searched to this depth for a promoted method.
const MAX_EMBEDDING: usize = 8;

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
            .map(|argument| Ok((self.operand(argument)?, argument)))
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
                    if let Some(callee) = self.bound_method(&x, name, base)? {
                        return Ok(callee);
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
            What::Function { name } => {
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

    /// The method `name` of x: of its type, of what an interface holds, or of the embedded struct that is found first, level by level.
    fn bound_method(&self, x: &Operand, name: &str, shown: &Expr) -> Result<Option<Callee>, EvalError> {
        let mut level = vec![x.clone()];
        for depth in 0..MAX_EMBEDDING {
            let mut deeper = Vec::new();
            for x in level {
                let held = match x.kind() {
                    Some(Kind::Interface { .. }) => self.held(&x)?,
                    _ => Some(x),
                };
                let x = match held {
                    Some(x) => x,
                    // A nil interface has no type, which Delve calls void.
                    None if depth == 0 => {
                        let (shown, ty) = (shown.to_string(), "void".to_owned());
                        return Err(EvalError::NoMemberOf(shown, ty, name.to_owned()));
                    }
                    None => continue,
                };
                if let Some(found) = self.own_method(&x, name)? {
                    return Ok(Some(found));
                }
                self.push_embedded(&x, &mut deeper)?;
            }
            level = deeper;
        }
        Ok(None)
    }

    fn own_method(&self, x: &Operand, name: &str) -> Result<Option<Callee>, EvalError> {
        let binary = self.loader.binary;
        let Some(ty) = &x.ty else { return Ok(None) };
        let base = match ty.kind {
            Kind::Pointer { elem } => binary.type_info(elem)?,
            _ => Arc::clone(ty),
        };
        let Some((of_value, of_pointer)) = method_names(&base.name, name) else {
            return Ok(None);
        };
        let is_pointer = matches!(ty.kind, Kind::Pointer { .. });
        let bound = |binary: &Binary, name: &str, receiver| {
            let function = binary.function_named(name)?;
            Some(Callee {
                entry: self.loader.bias.to_proc(function.entry),
                closure: None,
                receiver: Some(receiver),
            })
        };
        if binary.function_named(&of_value).is_some() {
            let receiver = if is_pointer {
                Operand::place(base, self.target(x)?)
            } else {
                x.clone()
            };
            return Ok(bound(binary, &of_value, receiver));
        }
        if binary.function_named(&of_pointer).is_none() {
            return Ok(None);
        }
        let receiver = if is_pointer {
            x.clone()
        } else {
            match x.what {
                What::Place(addr) if !is_made_up(addr) => Operand {
                    ty: Some(binary.type_info(binary.pointer_to(base.id)?)?),
                    what: What::Pointer(addr.0),
                },
                _ => {
                    let why = format!("{name} needs the address of its receiver, which is in no memory of the program");
                    return Err(EvalError::Refused(why));
                }
            }
        };
        Ok(bound(binary, &of_pointer, receiver))
    }

    fn push_embedded(&self, x: &Operand, to: &mut Vec<Operand>) -> Result<(), EvalError> {
        let binary = self.loader.binary;
        let (fields, at) = match (x.kind(), &x.what) {
            (Some(Kind::Struct { fields }), What::Place(addr)) => (fields, addr.0),
            (Some(Kind::Pointer { elem }), _) => match (&binary.type_info(elem)?.kind, self.pointer(x)?) {
                (Kind::Struct { fields }, at) if at != 0 => (fields.clone(), at),
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        for field in fields.iter().filter(|field| field.embedded) {
            let ty = binary.type_info(field.ty)?;
            to.push(Operand::place(ty, ProcAddr(at.wrapping_add(field.offset))));
        }
        Ok(())
    }
}

/// The names that the linker has for a method of a type and for one of the pointer to it.
fn method_names(ty: &str, method: &str) -> Option<(String, String)> {
    // The arguments of a generic type may have packages, too.
    let generic = ty.find('[').unwrap_or(ty.len());
    let (path, arguments) = ty.split_at_checked(generic)?;
    let (package, name) = path.rsplit_once('.')?;
    Some((
        format!("{package}.{name}{arguments}.{method}"),
        format!("{package}.(*{name}{arguments}).{method}"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_named_as_the_linker_names_them() {
        let names = |ty| method_names(ty, "M");
        assert_eq!(names("main.T"), Some(("main.T.M".into(), "main.(*T).M".into())));
        assert_eq!(
            names("a.b/c.T[d.E]"),
            Some(("a.b/c.T[d.E].M".into(), "a.b/c.(*T[d.E]).M".into()))
        );
        assert_eq!(names("int"), None);
    }
}
