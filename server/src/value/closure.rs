//! Function values: the function's name, and what its closure captured.
//!
//! Since Go 1.23 DWARF says of a captured variable where it is in the closure's object (`DW_AT_go_closure_offset`).

use std::sync::Arc;

use spelunk_dwarf::{Field, Kind, ProcAddr, Scope, TypeId};

use super::limits::Level;
use super::{Content, Head, Loader, Traits, Value};

impl Loader<'_> {
    /// The fields of the closure behind the function value at `addr` and where it is; `None` for a nil function and for one that captured nothing.
    #[expect(clippy::type_complexity)]
    pub(crate) fn closure(&self, addr: ProcAddr) -> Result<Option<(Arc<[Field]>, ProcAddr)>, String> {
        let object = self.uint(addr, 8)?;
        if object == 0 {
            return Ok(None);
        }
        let pc = ProcAddr(self.uint(ProcAddr(object), 8)?);
        let Some(ty) = self.closure_type(pc) else {
            return Ok(None);
        };
        match &self.type_or_error(ty).map_err(|(_, why)| why)?.kind {
            Kind::Struct { fields } if !fields.is_empty() => Ok(Some((fields.clone(), ProcAddr(object)))),
            _ => Ok(None),
        }
    }

    /// The struct of what the closures of the function at `pc` captured.
    fn closure_type(&self, pc: ProcAddr) -> Option<TypeId> {
        let function = self.binary.function_at(self.bias.to_file(pc))?;
        let info = self.binary.function_info(function).ok()?;
        let mut fields = Vec::new();
        captured_fields(&info.scope, &mut fields);
        if fields.is_empty() {
            return None;
        }
        self.binary.closure_struct(info.low_pc, fields).ok()
    }

    /// What is shown of a function value that is `object`.
    pub(super) fn function(&self, object: u64, level: Level<'_>, head: &mut Head) -> Result<Content, String> {
        let mut content = Content::Func {
            name: String::new(),
            captured: Vec::new(),
            len: 0,
        };
        if object == 0 {
            return Ok(content);
        }
        let pc = ProcAddr(self.uint(ProcAddr(object), 8)?);
        let function = self.binary.function_at(self.bias.to_file(pc));
        let function = function.ok_or_else(|| format!("could not find function for {pc}"))?;
        head.base = self.bias.to_proc(function.entry).0;
        let ty = self.closure_type(pc).and_then(|ty| self.type_or_error(ty).ok());
        if let Content::Func { name, captured, len } = &mut content {
            *name = function.name.to_string();
            let Some(ty) = ty else { return Ok(content) };
            let Kind::Struct { fields } = &ty.kind else {
                return Ok(content);
            };
            *len = fields.len();
            // A record has the function alone; then nothing of the closure is shown.
            let end = object.wrapping_add(ty.size).wrapping_sub(1);
            if self.uint(ProcAddr(end), 1).is_ok() {
                let stand_in = Value::not_loaded(Arc::clone(&ty), ProcAddr(object));
                if let Content::Struct { fields, .. } = self.structure(&stand_in, fields, level) {
                    *captured = fields;
                }
            }
        }
        Ok(content)
    }

    /// A variable that a closure captured by reference: the variable that the field points to.
    pub(super) fn captured_by_reference(&self, name: &str, base: ProcAddr, field: &Field, level: Level<'_>) -> Value {
        let at = ProcAddr(base.0.wrapping_add(field.offset));
        let elem = match self.type_or_error(field.ty) {
            Ok(ty) => match ty.kind {
                Kind::Pointer { elem } => elem,
                _ => return self.load_at(&field.name, field.ty, at, level),
            },
            Err((ty, why)) => return self.load_of(name, ty, Some(why), at, level),
        };
        match self.uint(at, 8) {
            Ok(target) => {
                let value = self.load_at(name, elem, ProcAddr(target), level);
                let traits = value.traits.with(Traits::ESCAPED);
                Value { traits, ..value }
            }
            Err(why) => {
                let ty = self.type_or_error(elem).unwrap_or_else(|(ty, _)| ty);
                self.load_of(name, ty, Some(why), at, level)
            }
        }
    }
}

fn captured_fields(scope: &Scope, fields: &mut Vec<Field>) {
    for variable in &scope.variables {
        if let Some(offset) = variable.closure_offset {
            fields.push(Field {
                name: Arc::clone(&variable.name),
                ty: variable.ty,
                offset,
                embedded: false,
                bits: None,
            });
        }
    }
    for child in scope.children.iter().filter(|child| child.inlined.is_none()) {
        captured_fields(child, fields);
    }
}
