//! Fields, methods and what closures captured: `x.name`.

use std::sync::Arc;

use spelunk_dwarf::{Binary, Field, Kind, ProcAddr, TypeId};

use super::EvalError;
use super::constant::Const;
use super::eval::Evaluator;
use super::operand::{Operand, What};

/// Embedded structs are searched to this depth for a promoted field.
const MAX_EMBEDDING: usize = 8;

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

impl Evaluator<'_> {
    /// `x.name`; `shown` stands for x in messages.
    pub(super) fn select(&self, x: &Operand, name: &str, shown: &str) -> Result<Operand, EvalError> {
        match self.select_field(x, name, shown) {
            Err(error @ (EvalError::NoMember(..) | EvalError::NoMemberOf(..))) => {
                match self.method_value(x, name, shown) {
                    Ok(Some(method)) => Ok(method),
                    _ => Err(error),
                }
            }
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
            What::Function {
                receiver: Some(receiver),
                ..
            } if receiver.name == name => return Ok(receiver.value.clone()),
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
}
