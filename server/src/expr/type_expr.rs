//! Which type an expression names.

use spelunk_dwarf::{Binary, TypeId};

use super::{Const, EvalError, Expr, TypeExpr};

/// Pointers to pointers and arrays of arrays nest at most this deep in a name.
const MAX_PREFIXES: usize = 32;

/// The type that `expr` names: a name with or without its package's path, a name in quotes, or a type literal.
pub(crate) fn find_type(binary: &Binary, expr: &Expr) -> Result<TypeId, EvalError> {
    match expr.bare() {
        Expr::Literal(literal) => match &literal.value {
            Const::Text(name) => type_by_name(binary, &String::from_utf8_lossy(name)),
            _ => Err(not_found()),
        },
        Expr::Dereference(elem) => Ok(binary.pointer_to(find_type(binary, elem)?)?),
        Expr::Type(TypeExpr::Array(len, elem)) => {
            let elem = find_type(binary, elem)?;
            match len {
                None => Ok(binary.slice_of(elem)?),
                Some(len) => match len.bare() {
                    Expr::Literal(literal) => match literal.value {
                        Const::Int(len) if u64::try_from(len).is_ok() => Ok(binary.array_of(elem, len as u64)?),
                        _ => Err(not_found()),
                    },
                    _ => Err(not_found()),
                },
            }
        }
        other => type_by_name(binary, &spelled(binary, other).ok_or_else(not_found)?),
    }
}

/// Whether `expr` names a type of the program.
pub(crate) fn is_type(binary: &Binary, expr: &Expr) -> bool {
    find_type(binary, expr).is_ok()
}

fn not_found() -> EvalError {
    EvalError::Refused("no type entry found, use 'types' for a list of valid types".to_owned())
}

/// The type of that name, written as DWARF writes it, or derived from one: `*T`, `[]T`, `[4]T`.
fn type_by_name(binary: &Binary, name: &str) -> Result<TypeId, EvalError> {
    let name = name.replace("interface{", "interface {").replace("struct{", "struct {");
    let mut rest = name.as_str();
    let mut prefixes = Vec::new();
    let mut found = loop {
        if let Some(found) = described(binary, rest) {
            break found;
        }
        if prefixes.len() >= MAX_PREFIXES {
            return Err(not_found());
        }
        if let Some(elem) = rest.strip_prefix('*') {
            prefixes.push(Prefix::Pointer);
            rest = elem;
        } else if let Some(elem) = rest.strip_prefix("[]") {
            prefixes.push(Prefix::Slice);
            rest = elem;
        } else if let Some((len, elem)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            prefixes.push(Prefix::Array(len.parse().map_err(|_| not_found())?));
            rest = elem;
        } else {
            return Err(not_found());
        }
    };
    while let Some(prefix) = prefixes.pop() {
        found = match prefix {
            Prefix::Pointer => binary.pointer_to(found)?,
            Prefix::Slice => binary.slice_of(found)?,
            Prefix::Array(len) => binary.array_of(found, len)?,
        };
    }
    Ok(found)
}

enum Prefix {
    Pointer,
    Slice,
    Array(u64),
}

/// The described type of that name; a package may be written without the path in front of its name.
fn described(binary: &Binary, name: &str) -> Option<TypeId> {
    let alias = match name {
        "byte" => "uint8",
        "rune" => "int32",
        "any" => "interface {}",
        name => name,
    };
    binary.type_named(alias).or_else(|| {
        let (package, type_name) = name.split_once('.')?;
        let plain = |c: char| c.is_alphanumeric() || c == '_';
        if package.is_empty() || !package.chars().all(plain) {
            return None;
        }
        // Where the path does not end in the package's name.
        let mut paths = binary.packages_named(package);
        if let Some(found) = paths.find_map(|path| binary.type_named(&format!("{path}.{type_name}"))) {
            return Some(found);
        }
        let behind_path = |full: &&str| {
            full.strip_suffix(name)
                .is_some_and(|path| path.ends_with('/') && is_path(path))
        };
        let full = binary
            .type_names()
            .into_iter()
            .filter(behind_path)
            .min_by_key(|full| (full.len(), *full))?;
        binary.type_named(full)
    })
}

/// Whether what stands in front of a name is a path and no part of another type.
fn is_path(text: &str) -> bool {
    !text.contains(['*', '[', ']', ' ', '(', ')', '{', '}', ','])
}

/// A type expression as DWARF spells it.
fn spelled(binary: &Binary, expr: &Expr) -> Option<String> {
    Some(match expr {
        Expr::Name(name) => match name.as_str() {
            "byte" => "uint8".to_owned(),
            "rune" => "int32".to_owned(),
            "any" => "interface {}".to_owned(),
            name => name.to_owned(),
        },
        Expr::Field(package, name) => match package.bare() {
            Expr::Name(package) => with_path(binary, &format!("{package}.{name}")),
            Expr::Literal(literal) => match &literal.value {
                Const::Text(path) => format!("{}.{name}", String::from_utf8_lossy(path)),
                _ => return None,
            },
            _ => return None,
        },
        Expr::Index(generic, arguments) => {
            let arguments: Option<Vec<String>> = arguments.iter().map(|argument| spelled(binary, argument)).collect();
            with_path(
                binary,
                &format!("{}[{}]", spelled(binary, generic)?, arguments?.join(",")),
            )
        }
        Expr::Dereference(elem) => format!("*{}", spelled(binary, elem)?),
        Expr::Paren(inside) => spelled(binary, inside)?,
        Expr::Literal(literal) => match &literal.value {
            Const::Text(name) => String::from_utf8_lossy(name).into_owned(),
            _ => return None,
        },
        Expr::Type(TypeExpr::Array(None, elem)) => format!("[]{}", spelled(binary, elem)?),
        Expr::Type(TypeExpr::Array(Some(len), elem)) => format!("[{len}]{}", spelled(binary, elem)?),
        Expr::Type(TypeExpr::Map(key, elem)) => format!("map[{}]{}", spelled(binary, key)?, spelled(binary, elem)?),
        Expr::Type(TypeExpr::Chan(direction, elem)) => format!("{direction}{}", spelled(binary, elem)?),
        Expr::Type(TypeExpr::Spelled(text)) => text.clone(),
        _ => return None,
    })
}

/// The full name of a described type, if `name` is the end of one.
fn with_path(binary: &Binary, name: &str) -> String {
    let found = described(binary, name).and_then(|id| binary.type_info(id).ok());
    found.map_or_else(|| name.to_owned(), |info| info.name.to_string())
}
