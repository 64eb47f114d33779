//! Composite literals of structs: `T{a, b}`, `T{X: a}` (Go specification, "Composite literals").

use spelunk_dwarf::{Kind, ProcAddr};

use super::eval::Evaluator;
use super::operand::Operand;
use super::select::field_path;
use super::type_expr::find_type;
use super::{Element, EvalError, Expr, Unary};

/// The largest struct that is made up, in bytes.
pub(crate) const MAX_LITERAL: u64 = 1 << 16;

impl Evaluator<'_> {
    /// A struct that stands in no memory of the program.
    pub(super) fn composite(&self, ty: &Expr, elements: &[Element]) -> Result<Operand, EvalError> {
        let binary = self.loader.binary;
        let ty = binary.type_info(find_type(binary, ty)?)?;
        let Kind::Struct { fields } = &ty.kind else {
            return Err(EvalError::Refused(
                "expression *ast.CompositeLit not implemented".to_owned(),
            ));
        };
        let size = usize::try_from(ty.size.min(MAX_LITERAL + 1)).unwrap_or(usize::MAX);
        if size as u64 > MAX_LITERAL {
            return Err(EvalError::Refused(format!(
                "a literal of type {} is too large: {} bytes",
                ty.name, ty.size
            )));
        }
        let mut bytes = vec![0u8; size];
        for (number, element) in elements.iter().enumerate() {
            let (offset, field) = match &element.key {
                Some(Expr::Name(name)) => {
                    let path = field_path(binary, fields, name)?;
                    let path = path.ok_or_else(|| EvalError::NoMember(ty.name.to_string(), name.clone()))?;
                    let mut offset = 0u64;
                    for (i, step) in path.iter().enumerate() {
                        offset = offset.wrapping_add(step.offset);
                        if i + 1 != path.len() && matches!(binary.type_info(step.ty)?.kind, Kind::Pointer { .. }) {
                            return Err(EvalError::Refused(format!("{} is nil", ty.name)));
                        }
                    }
                    let last = path.last().map(|step| step.ty);
                    (
                        offset,
                        last.ok_or_else(|| EvalError::NoMember(ty.name.to_string(), name.clone()))?,
                    )
                }
                Some(key) => {
                    return Err(EvalError::Refused(format!(
                        "{key} is no name of a field of {}",
                        ty.name
                    )));
                }
                None => {
                    let field = fields.get(number).ok_or_else(|| {
                        let (given, wanted) = (elements.len(), fields.len());
                        EvalError::Refused(format!("{given} values for the {wanted} fields of {}", ty.name))
                    })?;
                    (field.offset, field.ty)
                }
            };
            if !self.scope.may_call()
                && let Expr::Unary(Unary::Address, inside) = element.value.bare()
                && matches!(inside.bare(), Expr::Composite(..))
            {
                // It would have to be allocated in the program.
                return Err(EvalError::Call);
            }
            let value = self.operand(&element.value)?;
            let target = Operand::place(binary.type_info(field)?, ProcAddr(0));
            let held = self.scope.held(&target, &value, &element.value)?;
            let end = usize::try_from(offset)
                .ok()
                .and_then(|at| Some((at, at.checked_add(held.len())?)));
            let room = end.and_then(|(at, end)| bytes.get_mut(at..end));
            room.ok_or_else(|| EvalError::Dwarf(format!("a field of {} lies outside of it", ty.name)))?
                .copy_from_slice(&held);
        }
        let addr = self
            .scope
            .keep(bytes)
            .ok_or_else(|| EvalError::NeedsStop("a composite literal".to_owned()))?;
        Ok(Operand::place(ty, addr))
    }
}
