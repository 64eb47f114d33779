//! The text of a logpoint that is evaluated at a stop.

use crate::expr::{Part, Template};
use crate::inspect::FrameScope;
use crate::value::{Content, LoadConfig, Style, Value};

/// Fills the values into a message.
pub(super) fn text(template: &Template, scope: &FrameScope<'_>) -> String {
    let mut text = String::new();
    for part in &template.parts {
        match part {
            Part::Text(plain) => text.push_str(plain),
            Part::Value(Err(error)) => text.extend(["{eval err: ", &error.to_string(), "}"]),
            Part::Value(Ok(expr)) => match scope.evaluate(&expr.to_string(), LoadConfig::DAP) {
                Ok(value) => text.push_str(&value_text(&value)),
                Err(error) => text.extend(["{eval err: ", &error.to_string(), "}"]),
            },
        }
    }
    text
}

/// A value as Delve's DAP server shows it in a message: unsigned integers in hexadecimal too.
fn value_text(value: &Value) -> String {
    let text = value.text(Style {
        shorten_types: true,
        ..Style::default()
    });
    match value.content {
        Content::Uint(number) => format!("{text} = {number:#x}"),
        _ => text,
    }
}
