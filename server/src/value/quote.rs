//! Go's `strconv.Quote` for bytes that may not be UTF-8 (Go's strconv/quote.go documents the escapes).

use unicode_general_category::{GeneralCategory, get_general_category};

/// Whether Go's `unicode.IsPrint` holds: letters, marks, numbers, punctuation, symbols and the ASCII space.
pub(crate) fn is_print(c: char) -> bool {
    if c.is_ascii() {
        return (' '..='~').contains(&c);
    }
    !matches!(
        get_general_category(c),
        GeneralCategory::Control
            | GeneralCategory::Format
            | GeneralCategory::Surrogate
            | GeneralCategory::PrivateUse
            | GeneralCategory::Unassigned
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::SpaceSeparator
    )
}

/// Appends `bytes` in double quotes, escaped as Go's `%q` does.
pub(crate) fn push_quoted(out: &mut String, bytes: &[u8]) {
    out.push('"');
    push_escaped(out, bytes);
    out.push('"');
}

/// Appends `bytes`, escaped as between the double quotes of [`push_quoted`].
pub(super) fn push_escaped(out: &mut String, bytes: &[u8]) {
    use std::fmt::Write;
    for chunk in bytes.utf8_chunks() {
        let valid = chunk.valid();
        // Most strings are plain text.
        let plain = valid
            .bytes()
            .position(|byte| !matches!(byte, b' '..=b'~') || matches!(byte, b'"' | b'\\'))
            .unwrap_or(valid.len());
        let (plain, rest) = valid.split_at(plain);
        out.push_str(plain);
        for c in rest.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\u{7}' => out.push_str("\\a"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{b}' => out.push_str("\\v"),
                c if is_print(c) => out.push(c),
                c => {
                    let code = u32::from(c);
                    // Writing to a String cannot fail.
                    let _ = match code {
                        0..=0x7f => write!(out, "\\x{code:02x}"),
                        0x80..=0xffff => write!(out, "\\u{code:04x}"),
                        _ => write!(out, "\\U{code:08x}"),
                    };
                }
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::push_quoted;

    fn quoted(bytes: &[u8]) -> String {
        let mut out = String::new();
        push_quoted(&mut out, bytes);
        out
    }

    #[test]
    fn escapes_as_go_does() {
        assert_eq!(quoted(b"plain"), r#""plain""#);
        assert_eq!(quoted(b"a\"b\\c\n\t\x07\x00\x7f"), r#""a\"b\\c\n\t\a\x00\x7f""#);
        assert_eq!(
            quoted("grüße 世界 \u{a0}\u{200b}\u{1F600}\u{e000}".as_bytes()),
            "\"grüße 世界 \\u00a0\\u200b😀\\ue000\""
        );
        assert_eq!(quoted(b"cut \xe4\xb8"), r#""cut \xe4\xb8""#);
    }
}
