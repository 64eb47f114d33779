//! Parts of values: pages of arrays, slices and maps, and what stands in no variable.

use std::sync::Arc;

use spelunk_dwarf::{Kind, ProcAddr, Type};

use super::limits::{Level, budget};
use super::{Content, LoadConfig, Loader, Value};

impl Loader<'_> {
    /// A part of an array, slice or map: `count` elements or entries from `start` on, or as many as there are. The length that the value has stays that of the
    /// whole. As with Delve, arrays in the elements are limited to `count` elements, too. Of anything else, all of it.
    pub(crate) fn load_range(&self, name: &str, ty: Arc<Type>, addr: ProcAddr, start: u64, count: u64) -> Value {
        let limit = u32::try_from(count).unwrap_or(u32::MAX);
        let part = Loader {
            config: LoadConfig {
                max_array_values: limit,
                ..self.config
            },
            ..*self
        };
        // The elements beyond are not read, and the value is otherwise as it always is.
        let none = Loader {
            config: LoadConfig {
                max_array_values: 0,
                ..self.config
            },
            ..*self
        };
        let kind = ty.kind.clone();
        if let Kind::Map { .. } = kind {
            let mut value = none.load_typed(name, Arc::clone(&ty), addr);
            match part.map(&ty, addr, start, Level::top(&budget())) {
                Ok(content) => value.content = content,
                Err(why) => value.unreadable = Some(why),
            }
            return value;
        }
        let mut value = match kind {
            Kind::Slice { .. } | Kind::Array { .. } => none.load_typed(name, ty, addr),
            _ => return self.load_typed(name, ty, addr),
        };
        let (elem, base, len, stride) = match (&kind, &value.content) {
            (Kind::Array { elem, stride, .. }, Content::Array { len, .. }) => (*elem, addr.0, *len, *stride),
            (Kind::Slice { elem }, Content::Slice { base, len, .. }) => {
                let stride = self.type_or_error(*elem).map_or(0, |ty| ty.size);
                (*elem, *base, *len, stride)
            }
            _ => return value,
        };
        let left = len.saturating_sub_unsigned(start).max(0);
        match part.elements(
            elem,
            stride,
            base.wrapping_add(start.wrapping_mul(stride)),
            left,
            Level::top(&budget()),
        ) {
            Ok(loaded) => match &mut value.content {
                Content::Array { elements, .. } | Content::Slice { elements, .. } => *elements = loaded,
                _ => {}
            },
            Err(why) => value.unreadable = Some(why),
        }
        value
    }

    /// A slice that stands in no memory.
    pub(crate) fn load_slice(&self, name: &str, ty: Arc<Type>, base: u64, len: i64, cap: i64) -> Value {
        let mut value = Value::not_loaded(ty, ProcAddr(0));
        name.clone_into(&mut value.name);
        let elements = match value.ty.kind {
            Kind::Slice { elem } => self
                .type_or_error(elem)
                .map_err(|(_, why)| why)
                .and_then(|info| self.elements(elem, info.size, base, len, Level::top(&budget()))),
            _ => Err("not a slice".to_owned()),
        };
        match elements {
            Ok(elements) => {
                value.content = Content::Slice {
                    base,
                    len,
                    cap,
                    elements,
                }
            }
            Err(why) => value.unreadable = Some(why),
        }
        value
    }

    /// The string of `len` bytes at `base`, which stands in no variable.
    pub(crate) fn load_string(&self, base: u64, len: i64) -> Result<Content, String> {
        self.string(base, len as u64)
    }

    /// A map without its first entries.
    pub(crate) fn load_map_from(&self, name: &str, ty: Arc<Type>, addr: ProcAddr, skip: u64) -> Value {
        let count = u64::from(self.config.max_array_values);
        self.load_range(name, ty, addr, skip, count)
    }
}
