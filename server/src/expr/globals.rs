//! Variables, functions and constants of packages.

use std::sync::Arc;

use spelunk_dwarf::{Binary, Kind, LoadBias};

use super::EvalError;
use super::constant::Const;
use super::operand::{Operand, What, plain_type};

/// A variable, function or constant of a package, found by its name with the package's path or the end of it.
pub(crate) fn find_global(
    binary: &Binary,
    bias: LoadBias,
    package: &str,
    name: &str,
) -> Result<Option<Operand>, EvalError> {
    if let Some(found) = find_in(binary, bias, package, name)? {
        return Ok(Some(found));
    }
    // Where the path does not end in the package's name.
    for path in binary.packages_named(package) {
        if let Some(found) = find_in(binary, bias, path, name)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn find_in(binary: &Binary, bias: LoadBias, package: &str, name: &str) -> Result<Option<Operand>, EvalError> {
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
                receiver: None,
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
