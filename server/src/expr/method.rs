//! Methods of values: which function `x.Method` means, and what it is called with (Go specification, "Method values", "Selectors").

use std::sync::Arc;

use spelunk_dwarf::{Function, Kind, ProcAddr};

use super::EvalError;
use super::eval::Evaluator;
use super::operand::{Operand, Receiver, Way, What, plain_type};
use crate::value::is_made_up;

/// Embedded structs are searched to this depth for a promoted method.
const MAX_EMBEDDING: usize = 8;

/// Which function is meant where the linker has two for a method: the one that was written, for a value, and the one that the compiler made of it, for a
/// pointer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Preferred {
    /// The one for a value: it alone has a description of what it is passed.
    OfValue,
    /// The one whose receiver is what there is, as Delve shows it.
    AsGiven,
}

/// A method and what it is bound to.
pub(super) struct Method<'b> {
    /// What is called.
    pub(super) function: &'b Function,
    /// What it is called with before all else.
    pub(super) receiver: Operand,
    way: Way,
}

impl<'a> Evaluator<'a> {
    /// `x.name` as a value.
    pub(super) fn method_value(&self, x: &Operand, name: &str, shown: &str) -> Result<Option<Operand>, EvalError> {
        let Some(method) = self.bound_method(x, name, shown, Preferred::AsGiven)? else {
            return Ok(None);
        };
        Ok(Some(Operand {
            ty: Some(plain_type(&self.signature(method.function), 8, Kind::Func)),
            what: What::Function {
                name: Arc::from(&*method.function.name),
                receiver: Some(Box::new(Receiver {
                    value: method.receiver,
                    way: method.way,
                    name: String::new(),
                })),
            },
        }))
    }

    /// The method `name` of x: of its type, of what an interface holds, or of the embedded struct that is found first, level by level.
    pub(super) fn bound_method(
        &self,
        x: &Operand,
        name: &str,
        shown: &str,
        preferred: Preferred,
    ) -> Result<Option<Method<'a>>, EvalError> {
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
                        return Err(EvalError::NoMemberOf(
                            shown.to_owned(),
                            "void".to_owned(),
                            name.to_owned(),
                        ));
                    }
                    None => continue,
                };
                if let Some(found) = self.own_method(&x, name, preferred)? {
                    return Ok(Some(found));
                }
                self.push_embedded(&x, &mut deeper)?;
            }
            level = deeper;
        }
        Ok(None)
    }

    fn own_method(&self, x: &Operand, name: &str, preferred: Preferred) -> Result<Option<Method<'a>>, EvalError> {
        let binary = self.loader.binary;
        let Some(ty) = &x.ty else { return Ok(None) };
        let (base, is_pointer) = match ty.kind {
            Kind::Pointer { elem } => (binary.type_info(elem)?, true),
            _ => (Arc::clone(ty), false),
        };
        let Some((of_value, of_pointer)) = method_names(&base.name, name) else {
            return Ok(None);
        };
        let (of_value, of_pointer) = (binary.function_named(&of_value), binary.function_named(&of_pointer));
        let (function, takes_pointer) = match (of_value, of_pointer) {
            (Some(_), Some(of_pointer)) if is_pointer && preferred == Preferred::AsGiven => (of_pointer, true),
            (Some(of_value), _) => (of_value, false),
            (None, Some(of_pointer)) => (of_pointer, true),
            (None, None) => return Ok(None),
        };
        let (receiver, way) = match (is_pointer, takes_pointer) {
            (false, false) | (true, true) => (x.clone(), Way::Itself),
            (true, false) => (Operand::place(base, self.target(x)?), Way::Target),
            (false, true) => match x.what {
                What::Place(addr) if !is_made_up(addr) => {
                    let pointer = Operand {
                        ty: Some(binary.type_info(binary.pointer_to(base.id)?)?),
                        what: What::Pointer(addr.0),
                    };
                    (pointer, Way::Address)
                }
                _ => {
                    let why = format!("{name} needs the address of its receiver, which is in no memory of the program");
                    return Err(EvalError::Refused(why));
                }
            },
        };
        Ok(Some(Method {
            function,
            receiver,
            way,
        }))
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

    /// The type of a method as a function without its receiver, with the names of the parameters, as Delve has it.
    fn signature(&self, function: &Function) -> String {
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
