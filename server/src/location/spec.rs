//! Location expressions taken apart.

use super::LocationError;
use super::error::quoted;
use super::function_name::FunctionName;

/// A location expression, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LocationSpec {
    /// `+n`, `-n`: so many lines from where the program stands.
    Offset(i64),
    /// A line of the file in which the program stands.
    Line(i64),
    /// `/.../`: the functions whose names match.
    Regex(String),
    /// `*...`: an expression whose value is an address or a function.
    Address(String),
    /// A file or a function, and perhaps a line.
    Named {
        /// What stands before the line.
        base: String,
        /// The same as a function's name, if it can be one.
        function: Option<FunctionName>,
        /// The line: of the file, or counted from the function's.
        line: Option<i64>,
    },
}

impl LocationSpec {
    /// Takes an expression apart.
    pub(crate) fn parse(expression: &str) -> Result<LocationSpec, LocationError> {
        let malformed = |at: usize, why: String| LocationError::Malformed {
            expression: expression.to_owned(),
            at,
            why,
        };
        if expression.is_empty() {
            return Err(malformed(0, "empty string".to_owned()));
        }
        if expression.starts_with(['+', '-']) {
            return match parse_int(expression) {
                Ok(offset) => Ok(LocationSpec::Offset(offset)),
                Err(why) => Err(malformed(0, why)),
            };
        }
        if let Some(address) = expression.strip_prefix('*') {
            return Ok(LocationSpec::Address(address.to_owned()));
        }
        if let Some(inside) = expression.strip_prefix('/')
            && expression.ends_with('/')
        {
            let (regex, rest) = split_regex(inside);
            return match rest {
                "" => Err(malformed(0, "non-terminated regular expression".to_owned())),
                "/" => Ok(LocationSpec::Regex(regex)),
                _ => Err(malformed(
                    0,
                    "no line offset can be specified for regular expression locations".to_owned(),
                )),
            };
        }
        let Some((base, line)) = expression.rsplit_once(':') else {
            if let Some(line) = parse_literal(expression) {
                return Ok(LocationSpec::Line(line));
            }
            return Ok(LocationSpec::Named {
                base: expression.to_owned(),
                function: FunctionName::parse(expression),
                line: None,
            });
        };
        match parse_int(line) {
            Ok(number) if number >= 0 => Ok(LocationSpec::Named {
                base: base.to_owned(),
                function: FunctionName::parse(base),
                line: Some(number),
            }),
            _ => Err(malformed(
                expression.len() - line.len(),
                "line offset negative or not a number".to_owned(),
            )),
        }
    }
}

/// As Go's `strconv.Atoi`, with its texts.
fn parse_int(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return Err(format!("strconv.Atoi: parsing {}: invalid syntax", quoted(text)));
    }
    text.parse()
        .map_err(|_| format!("strconv.Atoi: parsing {}: value out of range", quoted(text)))
}

/// As Go's `strconv.ParseInt(text, 0, 64)`: decimal, `0x`, `0o`, `0b` and a leading 0 for octal, with underscores between digits where a prefix or a zero
/// leads.
pub(super) fn parse_literal(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits, prefixed) = if let Some(rest) = lower.strip_prefix("0x") {
        (16, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0b") {
        (2, rest, true)
    } else if let Some(rest) = lower.strip_prefix("0o") {
        (8, rest, true)
    } else if lower.len() > 1 && lower.starts_with('0') {
        (8, &lower[1..], true)
    } else {
        (10, lower.as_str(), false)
    };
    // Underscores stand between digits, and a base prefix counts as one.
    let well_placed = !digits.ends_with('_') && !digits.contains("__") && (prefixed || !digits.starts_with('_'));
    let digits = digits.replace('_', "");
    if !well_placed || !digits.bytes().all(|digit| digit.is_ascii_alphanumeric()) {
        return None;
    }
    i64::from_str_radix(&if negative { format!("-{digits}") } else { digits }, radix).ok()
}

/// The regular expression up to its closing slash, and the rest from that on. `\/` is a slash.
fn split_regex(text: &str) -> (String, &str) {
    let mut regex = String::new();
    let mut escaped = false;
    for (at, character) in text.char_indices() {
        match character {
            '/' if escaped => regex.push('/'),
            other if escaped => {
                regex.push('\\');
                regex.push(other);
            }
            '\\' => {
                escaped = true;
                continue;
            }
            '/' => return (regex, &text[at..]),
            other => regex.push(other),
        }
        escaped = false;
    }
    (regex, "")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> (String, Option<i64>) {
        match LocationSpec::parse(text) {
            Ok(LocationSpec::Named { base, line, .. }) => (base, line),
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn each_form_is_told_apart() {
        assert_eq!(LocationSpec::parse("+3"), Ok(LocationSpec::Offset(3)));
        assert_eq!(LocationSpec::parse("-3"), Ok(LocationSpec::Offset(-3)));
        assert_eq!(LocationSpec::parse("17"), Ok(LocationSpec::Line(17)));
        assert_eq!(LocationSpec::parse("0x11"), Ok(LocationSpec::Line(17)));
        assert_eq!(LocationSpec::parse("*0x11"), Ok(LocationSpec::Address("0x11".into())));
        assert_eq!(
            LocationSpec::parse("/^a.*b$/"),
            Ok(LocationSpec::Regex("^a.*b$".into()))
        );
        assert_eq!(
            LocationSpec::parse(r"/a\/b\.c/"),
            Ok(LocationSpec::Regex(r"a/b\.c".into()))
        );
        assert_eq!(named("main.go:12"), ("main.go".into(), Some(12)));
        assert_eq!(named("c:\\x\\main.go:12"), ("c:\\x\\main.go".into(), Some(12)));
        assert_eq!(named("/a/b.go:1"), ("/a/b.go".into(), Some(1)));
        assert_eq!(named("main.f"), ("main.f".into(), None));
        assert_eq!(named("main.f:0"), ("main.f".into(), Some(0)));
    }

    #[test]
    fn what_is_none_is_refused_in_delves_words() {
        let error = |text: &str| LocationSpec::parse(text).expect_err(text).to_string();
        assert_eq!(error(""), "Malformed breakpoint location \"\" at 0: empty string");
        assert_eq!(
            error("+x"),
            "Malformed breakpoint location \"+x\" at 0: strconv.Atoi: parsing \"+x\": invalid syntax"
        );
        assert_eq!(
            error("main.go:x"),
            "Malformed breakpoint location \"main.go:x\" at 8: line offset negative or not a number"
        );
        assert_eq!(
            error("main.go:-1"),
            "Malformed breakpoint location \"main.go:-1\" at 8: line offset negative or not a number"
        );
        assert_eq!(
            error("/a/b/"),
            "Malformed breakpoint location \"/a/b/\" at 0: no line offset can be specified for regular expression locations"
        );
        assert_eq!(
            error("/"),
            "Malformed breakpoint location \"/\" at 0: non-terminated regular expression"
        );
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        assert_eq!(parse_literal("0b101"), Some(5));
        assert_eq!(parse_literal("017"), Some(15));
        assert_eq!(parse_literal("0x_1f"), Some(31));
        assert_eq!(parse_literal("-0x10"), Some(-16));
        assert_eq!(parse_literal("1f"), None);
        assert_eq!(parse_literal("1__0"), None);
        assert_eq!(parse_literal(""), None);
    }
}
