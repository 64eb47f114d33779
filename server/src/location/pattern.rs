//! Regular expressions as Go has them. Go's `regexp` and Rust's `regex` share the syntax of RE2; what is said about a wrong one differs.

use regex::Regex;
use regex_syntax::ast::{self, ErrorKind};

/// A regular expression of a client, or what Go says of it (`regexp/syntax`, Go 1.26).
pub(crate) fn compile(pattern: &str) -> Result<Regex, String> {
    if let Err(error) = ast::parse::Parser::new().parse(pattern) {
        return Err(format!("error parsing regexp: {}", in_gos_words(pattern, &error)));
    }
    Regex::new(pattern).map_err(|error| format!("error parsing regexp: {error}"))
}

fn in_gos_words(pattern: &str, error: &ast::Error) -> String {
    let span = error.span();
    let part = pattern.get(span.start.offset..span.end.offset).unwrap_or_default();
    let from_here = pattern.get(span.start.offset..).unwrap_or_default();
    match error.kind() {
        ErrorKind::GroupUnclosed => format!("missing closing ): `{pattern}`"),
        ErrorKind::GroupUnopened => format!("unexpected ): `{pattern}`"),
        ErrorKind::ClassUnclosed => format!("missing closing ]: `{from_here}`"),
        ErrorKind::ClassRangeInvalid => format!("invalid character class range: `{part}`"),
        ErrorKind::RepetitionMissing => {
            // Rust points behind the operator's place, Go shows the operator.
            let operator = from_here.get(..1).filter(|text| !text.is_empty()).unwrap_or(part);
            format!("missing argument to repetition operator: `{operator}`")
        }
        ErrorKind::RepetitionCountInvalid | ErrorKind::DecimalInvalid => format!("invalid repeat count: `{part}`"),
        ErrorKind::EscapeUnexpectedEof => "trailing backslash at end of expression: ``".to_owned(),
        ErrorKind::EscapeUnrecognized => format!("invalid escape sequence: `{part}`"),
        ErrorKind::UnsupportedLookAround | ErrorKind::FlagUnrecognized => {
            format!("invalid or unsupported Perl syntax: `{part}`")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::compile;

    #[test]
    fn what_is_wrong_is_said_in_gos_words() {
        let cases = [
            ("(", "missing closing ): `(`"),
            ("a)", "unexpected ): `a)`"),
            ("x[a", "missing closing ]: `[a`"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("\\", "trailing backslash at end of expression: ``"),
            ("a{3,1}", "invalid repeat count: `{3,1}`"),
        ];
        for (pattern, why) in cases {
            let error = compile(pattern).expect_err(pattern);
            assert_eq!(error, format!("error parsing regexp: {why}"), "{pattern}");
        }
        assert!(compile("^main\\.").is_ok());
    }
}
