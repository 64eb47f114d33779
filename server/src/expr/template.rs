//! A log message: text with `{expression}` parts (DAP specification, `SourceBreakpoint.logMessage`).

use super::{Expr, ParseError, parse};

/// One part of a log message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Part {
    /// Written as it is.
    Text(String),
    /// Replaced by a value, or by the reason why the expression is none.
    Value(Result<Expr, ParseError>),
}

/// A parsed log message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Template {
    /// In order.
    pub(crate) parts: Vec<Part>,
}

/// Why a log message is malformed. The texts are Delve's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TemplateError {
    /// `{}`.
    #[error("empty evaluation string")]
    EmptyExpression,
    /// A closing brace without an opening one.
    #[error("invalid log point format, unexpected '}}'")]
    UnexpectedBrace,
    /// An opening brace without a closing one.
    #[error("invalid log point format")]
    Unclosed,
}

impl Template {
    /// Splits a message at its braces. Braces inside an expression must come in pairs.
    pub(crate) fn parse(message: &str) -> Result<Template, TemplateError> {
        let mut parts = Vec::new();
        let mut text = String::new();
        let mut rest = message;
        while let Some(at) = rest.find(['{', '}']) {
            text.push_str(&rest[..at]);
            if rest[at..].starts_with('}') {
                return Err(TemplateError::UnexpectedBrace);
            }
            let (inside, after) = split_braces(&rest[at + 1..]).ok_or(TemplateError::Unclosed)?;
            let inside = inside.trim();
            if inside.is_empty() {
                return Err(TemplateError::EmptyExpression);
            }
            if !text.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut text)));
            }
            parts.push(Part::Value(parse(inside)));
            rest = after;
        }
        text.push_str(rest);
        if !text.is_empty() {
            parts.push(Part::Text(text));
        }
        Ok(Template { parts })
    }
}

/// Splits `inside} after`, where braces inside come in pairs.
fn split_braces(text: &str) -> Option<(&str, &str)> {
    let mut open = 1u32;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' => open -= 1,
            _ => {}
        }
        if open == 0 {
            return Some((&text[..at], &text[at + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_values_alternate() {
        let template = Template::parse("order { id } of {user.Name}!").expect("a template");
        let field = Expr::Field(Box::new(Expr::Name("user".into())), "Name".into());
        assert_eq!(
            template.parts,
            [
                Part::Text("order ".into()),
                Part::Value(Ok(Expr::Name("id".into()))),
                Part::Text(" of ".into()),
                Part::Value(Ok(field)),
                Part::Text("!".into()),
            ]
        );
    }

    #[test]
    fn malformed_messages_are_refused() {
        assert_eq!(Template::parse("a {} b"), Err(TemplateError::EmptyExpression));
        assert_eq!(Template::parse("a } b"), Err(TemplateError::UnexpectedBrace));
        assert_eq!(Template::parse("a {b"), Err(TemplateError::Unclosed));
    }
}
