//! Things with parts, as the client expands them: scopes and values.

use serde::Serialize;

use crate::{
    inspect::{FrameRef, ScopedValue},
    value::Value,
};

/// Something that the client may expand.
#[derive(Clone, Debug)]
pub(crate) struct Container {
    /// Its parts.
    pub(crate) parts: Parts,
    /// A Go expression for the whole, from which those of the parts are made; empty where there is none.
    pub(crate) expression: String,
    /// The number of the first part, when these are not the first elements of a list or map.
    pub(crate) start: u64,
    /// The frame that the expression means something in; the selected one where it means the same in all.
    pub(crate) frame: Option<FrameRef>,
}

/// What a container contains.
#[derive(Clone, Debug)]
pub(crate) enum Parts {
    /// The variables of a frame.
    Locals(Vec<ScopedValue>),
    /// Variables of a package, or a function's results where it has returned.
    Variables(Vec<Value>),
    /// What a call of the program's functions has come to: no expression means it.
    Called(Vec<Value>),
    /// Registers by name.
    Registers(Vec<(String, String)>),
    /// Those of a value.
    Value(Box<Value>),
}

/// A variable as the protocol has it (`Variable`), with the members that are used here.
#[derive(Clone, Debug, Default, Serialize, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Variable {
    /// What it is called.
    pub(crate) name: String,
    /// Its value as text.
    pub(crate) value: String,
    /// Its type.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub(crate) type_name: String,
    /// A Go expression that means it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) evaluate_name: String,
    /// The number of its container, 0 when it has no parts.
    pub(crate) variables_reference: i64,
    /// How many parts have names.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) named_variables: u64,
    /// How many parts have numbers.
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) indexed_variables: u64,
    /// What its memory is called in `readMemory`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) memory_reference: String,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "the signature is serde's")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
