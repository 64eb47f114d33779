//! From a value to what the client shows of it: text, type, and a number to expand it by.
//!
//! The texts, the numbers and when a value is loaded further are Delve's (`service/dap/server.go`, `convertVariable`).

use std::sync::Arc;

use spelunk_dwarf::Kind;

use super::{
    bench::Look,
    container::{Container, Parts},
};
use crate::{
    inspect::FrameRef,
    value::{Content, Value},
};

/// How many bytes of a value with parts are shown.
const MAX_TEXT: usize = 256;

/// How a value is presented.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Only the text is wanted.
    pub(crate) without_reference: bool,
    /// The whole text is wanted, however long.
    pub(crate) in_full: bool,
}

/// What is shown of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Presented {
    /// Its text.
    pub(crate) text: String,
    /// The number of its container, 0 when it has no parts.
    pub(crate) reference: i64,
}

impl Look<'_> {
    /// Presents a value that `expression` means in `frame`.
    pub(crate) fn present(
        &mut self,
        value: &mut Value,
        expression: &str,
        frame: Option<FrameRef>,
        manner: Manner,
    ) -> Presented {
        let text = self.text_of(value, frame, manner);
        let reference = if manner.without_reference {
            0
        } else {
            self.keep(value.clone(), expression, frame)
        };
        Presented { text, reference }
    }

    /// A value's text. One that was not loaded because it lies too deep is loaded now.
    pub(crate) fn text_of(&mut self, value: &mut Value, frame: Option<FrameRef>, manner: Manner) -> String {
        let mut text = value.text(self.style());
        if value.unreadable.is_some() {
            return text;
        }
        if is_missing(value) {
            text = self.load_further(value, frame);
        }
        if let Some((loaded, len)) = portion(value)
            && loaded < len
            && loaded > 0
            && (!self.settings.client.variable_paging
                || matches!(value.content, Content::Struct { .. } | Content::Func { .. }))
        {
            text = format!("(loaded {loaded}/{len}) {text}");
        }
        if let Content::Uint(number) = value.content
            && !self.format.hex
        {
            text = format!("{text} = {number:#x}");
        }
        if text.len() > MAX_TEXT && !manner.in_full && has_parts(value) {
            let cut = String::from_utf8_lossy(&text.as_bytes()[..MAX_TEXT]).into_owned();
            text = cut + "...";
        }
        text
    }

    /// Keeps a value that `expression` means in `frame`, so that the client can look into it by a number; 0 where it has no parts.
    pub(crate) fn keep(&mut self, value: Value, expression: &str, frame: Option<FrameRef>) -> i64 {
        if value.unreadable.is_some() || !has_parts(&value) {
            return 0;
        }
        self.containers.create(Arc::new(Container {
            parts: Parts::Value(Box::new(value)),
            expression: expression.to_owned(),
            start: 0,
            frame,
        }))
    }

    /// Loads a value that is missing but for its place; answers its text then.
    fn load_further(&mut self, value: &mut Value, frame: Option<FrameRef>) -> String {
        let frame = frame.unwrap_or_else(|| self.selected_frame());
        let config = self.settings.load_config();
        let loaded = match &mut value.content {
            // The pointer itself is nowhere, as in `&x`: what it points to can be loaded all the same.
            Content::Pointer(pointee) if value.addr.0 == 0 => {
                self.target.reload(frame, pointee, None, config).map(|mut loaded| {
                    loaded.name.clone_from(&pointee.name);
                    **pointee = loaded;
                })
            }
            _ => self.target.reload(frame, value, None, config).map(|loaded| {
                value.content = loaded.content;
                value.unreadable = loaded.unreadable;
                value.constant = loaded.constant;
            }),
        };
        let text = value.text(self.style());
        match loaded {
            Ok(()) => text,
            Err(why) => format!("{text} - FAILED TO LOAD: {why}"),
        }
    }

    /// A value's type, where the client shows types.
    pub(crate) fn type_name(&self, value: &Value) -> String {
        if !self.settings.client.variable_type {
            return String::new();
        }
        match &value.content {
            Content::Interface(held) => format!("{}({})", value.ty.name, held.ty.name),
            _ => value.ty.name.to_string(),
        }
    }
}

/// Whether nothing was loaded of a value that has something, because the limits were reached.
fn is_missing(value: &Value) -> bool {
    let unloaded = |value: &Value| !value.is_loaded() && value.unreadable.is_none();
    match &value.content {
        Content::NotLoaded => value.addr.0 != 0,
        Content::Pointer(pointee) => pointee.addr.0 != 0 && !is_void(pointee) && unloaded(pointee),
        Content::Interface(held) => value.addr.0 != 0 && held.addr.0 != 0 && !is_void(held) && unloaded(held),
        Content::Slice {
            base, len, elements, ..
        } => *base != 0 && *len > 0 && elements.is_empty(),
        Content::Array { len, elements } => value.addr.0 != 0 && *len > 0 && elements.is_empty(),
        Content::Map { base, len, entries, .. } => *base != 0 && *len > 0 && entries.is_empty(),
        Content::Struct { len, fields: parts, .. }
        | Content::Func {
            len, captured: parts, ..
        } => *len > 0 && parts.is_empty(),
        _ => false,
    }
}

/// How many parts were loaded, of how many.
fn portion(value: &Value) -> Option<(u64, u64)> {
    Some(match &value.content {
        Content::Slice { len, elements, .. } | Content::Array { len, elements } => {
            (elements.len() as u64, u64::try_from(*len).unwrap_or(0))
        }
        Content::Map { len, entries, .. } => (entries.len() as u64, u64::try_from(*len).unwrap_or(0)),
        Content::Struct { len, fields: parts, .. }
        | Content::Func {
            len, captured: parts, ..
        } => (parts.len() as u64, *len as u64),
        _ => return None,
    })
}

/// Whether there is something to expand.
fn has_parts(value: &Value) -> bool {
    let there = |value: &Value| value.is_loaded() || value.unreadable.is_some();
    match &value.content {
        Content::Pointer(pointee) => pointee.addr.0 != 0 && !is_void(pointee) && there(pointee),
        Content::Interface(held) => held.addr.0 != 0 && !is_void(held) && there(held),
        Content::Slice { base, elements, .. } => *base != 0 && !elements.is_empty(),
        Content::Array { elements, .. } => !elements.is_empty(),
        Content::Map { base, entries, .. } => *base != 0 && !entries.is_empty(),
        Content::Struct { fields: parts, .. }
        | Content::Chan { fields: parts, .. }
        | Content::Func { captured: parts, .. } => !parts.is_empty(),
        Content::Complex64(..) | Content::Complex128(..) => true,
        _ => false,
    }
}

fn is_void(value: &Value) -> bool {
    matches!(value.ty.kind, Kind::Void)
}

/// How many of a value's parts have numbers.
pub(crate) fn indexed_parts(value: &Value) -> u64 {
    match &value.content {
        Content::Slice { len, .. } | Content::Array { len, .. } | Content::Map { len, .. } => {
            u64::try_from(*len).unwrap_or(0)
        }
        _ => 0,
    }
}

/// How many of a value's parts have names that are not a field's: a map's length, the text of a list of bytes or runes.
pub(crate) fn named_parts(value: &Value) -> u64 {
    let map = matches!(&value.content, Content::Map { len, .. } if *len > 0);
    u64::from(map || is_text_in_pieces(value))
}

/// Whether a value is a list of bytes or runes, which may be text.
pub(crate) fn is_text_in_pieces(value: &Value) -> bool {
    let (Content::Slice { elements, .. } | Content::Array { elements, .. }) = &value.content else {
        return false;
    };
    elements
        .first()
        .is_some_and(|first| matches!((&first.ty.kind, first.ty.size), (Kind::Uint, 1) | (Kind::Int, 4)))
}
