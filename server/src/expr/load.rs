//! An operand as a value, within limits.

use std::sync::Arc;

use spelunk_dwarf::{Kind, ProcAddr};

use super::constant::Const;
use super::eval::Evaluator;
use super::operand::{Operand, Receiver, Way, What, default_type, plain_type};
use crate::value::{Content, Traits, Value};

/// Parts whose bounds are written as numbers are loaded whole, but not beyond this.
const MAX_EXACT: i64 = 1 << 16;

impl Evaluator<'_> {
    /// The operand as a value, within the loader's limits.
    pub(crate) fn load(&self, x: &Operand, name: &str) -> Value {
        let ty = match (&x.ty, &x.what) {
            (Some(ty), _) => Arc::clone(ty),
            (None, What::Const(value)) => default_type(value),
            (None, _) => plain_type("nil", 8, Kind::UnsafePointer),
        };
        let mut value = Value::not_loaded(Arc::clone(&ty), ProcAddr(0));
        name.clone_into(&mut value.name);
        let is_constant = matches!((&x.ty, &x.what), (None, What::Const(_)) | (_, What::Declared(_)));
        value.traits = value
            .traits
            .with_if(is_constant, Traits::CONSTANT)
            .with_if(x.ty.is_none(), Traits::UNTYPED);
        match &x.what {
            What::Place(addr) => return self.loader.load_typed(name, ty, *addr),
            What::MapFrom { addr, skip } => return self.loader.load_map_from(name, ty, *addr, *skip),
            What::Slice { base, len, cap, exact } => {
                let mut loader = self.loader;
                if *exact {
                    let wanted = u32::try_from((*len).clamp(0, MAX_EXACT)).unwrap_or(0);
                    loader.config.max_array_values = loader.config.max_array_values.max(wanted);
                }
                let part = loader.load_slice(name, ty, *base, *len, *cap);
                let traits = part.traits.with_if(*exact, Traits::WHOLE);
                return Value { traits, ..part };
            }
            What::Unreadable(why) => value.unreadable = Some(why.clone()),
            What::Const(constant) | What::Declared(constant) => {
                match constant_content(&ty.kind, ty.size, constant) {
                    Some(content) => {
                        value.content = content;
                        // A constant was asked for by its name.
                        if matches!((&x.ty, &x.what), (Some(_), What::Const(_))) {
                            value.constant = self.loader.constant_of(&value);
                        }
                    }
                    None => value.unreadable = Some(format!("{constant} is no {}", ty.name)),
                }
            }
            What::Nil => value.content = nil_content(&ty.kind),
            What::Pointer(address) => {
                value.content = match ty.kind {
                    Kind::Pointer { elem } => match self.loader.binary.type_info(elem) {
                        Ok(elem) => Content::Pointer(Box::new(self.loader.outline(elem, ProcAddr(*address)))),
                        Err(error) => {
                            value.unreadable = Some(error.to_string());
                            Content::NotLoaded
                        }
                    },
                    _ => Content::UnsafePointer(*address),
                };
            }
            What::Part { base, len, exact } => {
                value.head.base = *base;
                value.traits = value.traits.with_if(*exact, Traits::WHOLE);
                match self.loader.load_string(*base, *len) {
                    Ok(content) => value.content = content,
                    Err(why) => value.unreadable = Some(why),
                }
            }
            What::Elements { values, len } => {
                let elem = match ty.kind {
                    Kind::Slice { elem } | Kind::Array { elem, .. } => self.loader.binary.type_info(elem).ok(),
                    _ => None,
                };
                let elements = values.iter().filter_map(|value| {
                    let elem = elem.as_ref()?;
                    // Delve gives these elements no address either, but marks them as loaded.
                    Some(self.load(&Operand::computed(Arc::clone(elem), value.clone()), ""))
                });
                value.content = if let Kind::Array { .. } = ty.kind {
                    Content::Array {
                        len: *len,
                        elements: elements.collect(),
                    }
                } else {
                    Content::Slice {
                        base: 0,
                        len: *len,
                        cap: *len,
                        elements: elements.collect(),
                    }
                };
            }
            What::Function { name, receiver } => {
                if let Some(function) = self.loader.binary.function_named(name) {
                    let entry = self.loader.bias.to_proc(function.entry);
                    value.head.base = entry.0;
                    // The method of a value is made when it is needed, so it is nowhere.
                    value.addr = if receiver.is_none() { entry } else { ProcAddr(0) };
                }
                value.content = Content::Func {
                    name: name.to_string(),
                    captured: receiver.iter().map(|receiver| self.load_receiver(receiver)).collect(),
                    len: 0,
                };
            }
            What::NoGoroutine => {
                let goid = self.load(&Operand::constant(Const::Int(0)), "goid");
                value.content = Content::Struct {
                    len: 1,
                    fields: vec![goid],
                    summary: None,
                };
            }
        }
        value
    }

    /// What a method is bound to, under the name of the variable of which it is the method.
    fn load_receiver(&self, receiver: &Receiver) -> Value {
        match receiver.way {
            Way::Itself => self.load(&receiver.value, &receiver.name),
            Way::Target => self.load(&receiver.value, ""),
            Way::Address => {
                let mut pointer = self.load(&receiver.value, "");
                if let Content::Pointer(target) = &mut pointer.content {
                    target.name.clone_from(&receiver.name);
                }
                pointer
            }
        }
    }
}

/// What a constant is for a kind; `None` if it is no value of it.
fn constant_content(kind: &Kind, size: u64, constant: &Const) -> Option<Content> {
    Some(match (kind, constant) {
        (_, Const::Bool(b)) => Content::Bool(*b),
        (Kind::Uint | Kind::Uintptr, Const::Int(n)) if u64::try_from(*n).is_ok() => Content::Uint(*n as u64),
        (Kind::Int, Const::Int(n)) if i64::try_from(*n).is_ok() => Content::Int(*n as i64),
        // Constants know no bounds.
        (Kind::Int | Kind::Uint | Kind::Uintptr, Const::Int(_) | Const::Huge(_)) => {
            Content::Wide(constant.to_string().into())
        }
        (Kind::Float, value) if size == 4 => Content::Float32(value.real()? as f32),
        (Kind::Float, value) => Content::Float64(value.real()?),
        (Kind::Complex, Const::Complex(re, im)) if size == 8 => Content::Complex64(*re as f32, *im as f32),
        (Kind::Complex, Const::Complex(re, im)) => Content::Complex128(*re, *im),
        (Kind::Complex, value) => Content::Complex128(value.real()?, 0.0),
        (Kind::String, Const::Text(bytes)) => Content::String {
            // Who computes a text wants all of it.
            bytes: bytes.clone(),
            len: bytes.len() as i64,
        },
        _ => return None,
    })
}

/// What nil is for a kind.
fn nil_content(kind: &Kind) -> Content {
    match kind {
        Kind::Slice { .. } => Content::Slice {
            base: 0,
            len: 0,
            cap: 0,
            elements: Vec::new(),
        },
        Kind::Map { .. } => Content::Map {
            base: 0,
            len: 0,
            entries: Vec::new(),
            missing: None,
        },
        Kind::Chan { .. } => Content::NilChan,
        Kind::Interface { .. } => Content::NilInterface,
        Kind::Func => Content::Func {
            name: String::new(),
            captured: Vec::new(),
            len: 0,
        },
        _ => Content::NotLoaded,
    }
}
