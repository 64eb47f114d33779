//! Logpoints and traces: from a request to a capture plan, from records back to values and text.

pub(crate) mod command;
