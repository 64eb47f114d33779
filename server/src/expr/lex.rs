//! From text to tokens (The Go Programming Language Specification, "Lexical elements").

use super::constant::Const;
use super::{Literal, ParseError};

/// A token and where it begins.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    /// In bytes from the start of the text.
    pub(super) at: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum TokenKind {
    Name(String),
    Literal(Literal),
    /// An operator or a delimiter.
    Operator(&'static str),
    End,
}

/// All operators and delimiters, longer ones before those that they begin with.
const OPERATORS: [&str; 48] = [
    "<<=", ">>=", "&^=", "...", "&&", "||", "<-", "++", "--", "==", "!=", "<=", ">=", ":=", "+=", "-=", "*=", "/=",
    "%=", "&=", "|=", "^=", "<<", ">>", "&^", "+", "-", "*", "/", "%", "&", "|", "^", "<", ">", "=", "!", "(", ")",
    "[", "]", "{", "}", ",", ";", ".", ":", "~",
];

/// Splits `text`; the last token is always [`TokenKind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, ParseError> {
    let mut lexer = Lexer { text, at: 0 };
    let mut found = Vec::new();
    loop {
        lexer.skip_space();
        let at = lexer.at;
        let kind = lexer.next()?;
        let end = kind == TokenKind::End;
        found.push(Token { kind, at });
        if end {
            return Ok(found);
        }
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn skip_space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn error(&self, at: usize, message: impl Into<String>) -> ParseError {
        ParseError::new(self.text, at, message)
    }

    fn next(&mut self) -> Result<TokenKind, ParseError> {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok(TokenKind::End);
        };
        if is_letter(first) {
            let end = rest
                .find(|c: char| !is_letter(c) && !c.is_numeric())
                .unwrap_or(rest.len());
            self.at += end;
            return Ok(TokenKind::Name(rest.get(..end).unwrap_or(rest).to_owned()));
        }
        let after_point = rest.strip_prefix('.').and_then(|rest| rest.chars().next());
        if first.is_ascii_digit() || after_point.is_some_and(|c| c.is_ascii_digit()) {
            return self.number();
        }
        match first {
            '"' => return self.string(),
            '`' => return self.raw_string(),
            '\'' => return self.character(),
            _ => {}
        }
        if let Some(operator) = OPERATORS.iter().find(|operator| rest.starts_with(**operator)) {
            self.at += operator.len();
            return Ok(TokenKind::Operator(operator));
        }
        Err(self.error(
            self.at,
            format!("illegal character U+{:04X} {}", u32::from(first), quoted_char(first)),
        ))
    }

    fn literal(&self, start: usize, value: Const) -> TokenKind {
        let text = self.text.get(start..self.at).unwrap_or("").to_owned();
        TokenKind::Literal(Literal { text, value })
    }

    fn number(&mut self) -> Result<TokenKind, ParseError> {
        let start = self.at;
        let rest = self.rest();
        let bytes = rest.as_bytes();
        let hex = rest.starts_with("0x") || rest.starts_with("0X");
        let mut end = 0;
        while let Some(byte) = bytes.get(end) {
            let before = end
                .checked_sub(1)
                .and_then(|at| bytes.get(at))
                .copied()
                .unwrap_or(0)
                .to_ascii_lowercase();
            let signed_exponent = matches!(byte, b'+' | b'-') && (before == b'p' && hex || before == b'e' && !hex);
            if !(byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_') || signed_exponent) {
                break;
            }
            end += 1;
        }
        self.at += end;
        let digits: String = rest.get(..end).unwrap_or("").chars().filter(|c| *c != '_').collect();
        let (digits, imaginary) = match digits.strip_suffix('i') {
            Some(digits) => (digits.to_ascii_lowercase(), true),
            None => (digits.to_ascii_lowercase(), false),
        };
        let bad = || {
            self.error(
                start,
                format!("invalid number literal {}", rest.get(..end).unwrap_or("")),
            )
        };
        let value = if imaginary {
            Const::Complex(0.0, real(&digits).ok_or_else(bad)?)
        } else {
            match integer(&digits) {
                Some(number) => Const::Int(number),
                None => Const::Float(real(&digits).ok_or_else(bad)?),
            }
        };
        Ok(self.literal(start, value))
    }

    fn raw_string(&mut self) -> Result<TokenKind, ParseError> {
        let start = self.at;
        let inside = self.rest().get(1..).unwrap_or("");
        let end = inside
            .find('`')
            .ok_or_else(|| self.error(start, "raw string literal not terminated"))?;
        self.at += end + 2;
        let bytes = inside
            .as_bytes()
            .iter()
            .take(end)
            .copied()
            .filter(|byte| *byte != b'\r')
            .collect();
        Ok(self.literal(start, Const::Text(bytes)))
    }

    fn string(&mut self) -> Result<TokenKind, ParseError> {
        let start = self.at;
        self.at += 1;
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                None | Some('\n') => return Err(self.error(start, "string literal not terminated")),
                Some('"') => {
                    self.at += 1;
                    return Ok(self.literal(start, Const::Text(bytes)));
                }
                Some('\\') => match self.escape('"')? {
                    Escaped::Byte(byte) => bytes.push(byte),
                    Escaped::Char(c) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                },
                Some(c) => {
                    self.at += c.len_utf8();
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                }
            }
        }
    }

    fn character(&mut self) -> Result<TokenKind, ParseError> {
        let start = self.at;
        self.at += 1;
        let value = match self.peek() {
            None | Some('\n') => return Err(self.error(start, "rune literal not terminated")),
            Some('\'') => return Err(self.error(start, "illegal rune literal")),
            Some('\\') => match self.escape('\'')? {
                Escaped::Byte(byte) => i128::from(byte),
                Escaped::Char(c) => i128::from(u32::from(c)),
            },
            Some(c) => {
                self.at += c.len_utf8();
                i128::from(u32::from(c))
            }
        };
        match self.peek() {
            Some('\'') => self.at += 1,
            Some(_) if self.rest().contains('\'') => return Err(self.error(start, "illegal rune literal")),
            _ => return Err(self.error(start, "rune literal not terminated")),
        }
        Ok(self.literal(start, Const::Int(value)))
    }

    /// An escape, from its backslash on.
    fn escape(&mut self, quote: char) -> Result<Escaped, ParseError> {
        let start = self.at;
        let unknown = |lexer: &Self| lexer.error(start, "unknown escape sequence");
        self.at += 1;
        let letter = self.peek().ok_or_else(|| unknown(self))?;
        let simple = match letter {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' => b'\\',
            c if c == quote => c as u8,
            'x' => return Ok(Escaped::Byte(self.digits(start, 1, 2, 16)? as u8)),
            '0'..='7' => {
                let value = self.digits(start, 0, 3, 8)?;
                let byte = u8::try_from(value).map_err(|_| self.error(start, "escape sequence is invalid"))?;
                return Ok(Escaped::Byte(byte));
            }
            'u' | 'U' => {
                let value = self.digits(start, 1, if letter == 'u' { 4 } else { 8 }, 16)?;
                let c = char::from_u32(value);
                return c
                    .map(Escaped::Char)
                    .ok_or_else(|| self.error(start, "escape sequence is invalid Unicode code point"));
            }
            _ => return Err(unknown(self)),
        };
        self.at += 1;
        Ok(Escaped::Byte(simple))
    }

    fn digits(&mut self, start: usize, skip: usize, count: usize, radix: u32) -> Result<u32, ParseError> {
        self.at += skip;
        let text = self
            .rest()
            .get(..count)
            .filter(|text| text.chars().all(|c| c.is_digit(radix)));
        let value = text.and_then(|text| u32::from_str_radix(text, radix).ok());
        let value = value.ok_or_else(|| self.error(start, "illegal character in escape sequence"))?;
        self.at += count;
        Ok(value)
    }
}

enum Escaped {
    Byte(u8),
    Char(char),
}

/// An integer literal, in lower case and without underscores; `None` if it is none.
fn integer(digits: &str) -> Option<i128> {
    let in_radix = |prefix: &str, radix| {
        digits
            .strip_prefix(prefix)
            .map(|rest| i128::from_str_radix(rest, radix).ok())
    };
    in_radix("0x", 16)
        .or_else(|| in_radix("0b", 2))
        .or_else(|| in_radix("0o", 8))
        .or_else(|| in_radix("0", 8).filter(|_| digits.len() > 1 && digits.bytes().all(|b| b.is_ascii_digit())))
        .unwrap_or_else(|| digits.parse().ok())
}

/// A floating-point literal, in lower case and without underscores.
fn real(digits: &str) -> Option<f64> {
    if let Some(hex) = digits.strip_prefix("0x") {
        let (mantissa, exponent) = hex.split_once('p')?;
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut value = 0.0f64;
        for digit in whole.chars().chain(fraction.chars()) {
            value = value * 16.0 + f64::from(digit.to_digit(16)?);
        }
        let exponent: i32 = exponent.parse().ok()?;
        let fraction_bits = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
        return Some(value * 2f64.powi(exponent.checked_sub(fraction_bits)?));
    }
    let plain = digits
        .bytes()
        .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'));
    if !plain {
        return None;
    }
    digits.parse::<f64>().ok().filter(|value| value.is_finite())
}

fn quoted_char(c: char) -> String {
    format!("'{c}'")
}

fn is_letter(c: char) -> bool {
    c == '_' || c.is_alphabetic()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Const {
        match tokens(text).expect("tokens").swap_remove(0).kind {
            TokenKind::Literal(literal) => literal.value,
            other => panic!("{other:?} is no literal"),
        }
    }

    #[test]
    fn literals_mean_what_they_mean_in_go() {
        for (text, value) in [
            ("0", 0),
            ("1_000", 1000),
            ("0x1F", 31),
            ("0b101", 5),
            ("0o17", 15),
            ("017", 15),
            ("'a'", 97),
            ("'\\n'", 10),
            ("'\\''", 39),
            ("'\\x41'", 65),
            ("'世'", 0x4e16),
            ("'\\u4e16'", 0x4e16),
            ("18446744073709551616", 1 << 64),
        ] {
            assert_eq!(literal(text), Const::Int(value), "{text}");
        }
        for (text, value) in [
            ("1.5", 1.5),
            (".5", 0.5),
            ("2.", 2.0),
            ("1e3", 1000.0),
            ("1E-2", 0.01),
            ("0x1p-2", 0.25),
        ] {
            assert_eq!(literal(text), Const::Float(value), "{text}");
        }
        assert_eq!(literal("2i"), Const::Complex(0.0, 2.0));
        assert_eq!(
            literal(r#""a\t\"\x00\101é""#),
            Const::Text("a\t\"\0Aé".as_bytes().to_vec())
        );
        assert_eq!(literal("`a\\n`"), Const::Text(b"a\\n".to_vec()));
    }

    #[test]
    fn what_is_no_token_says_so() {
        let error = |text: &str| tokens(text).expect_err("an error").to_string();
        assert_eq!(error("\"abc"), "1:1: string literal not terminated");
        assert_eq!(error("x + 'ab'"), "1:5: illegal rune literal");
        assert_eq!(error("a # b"), "1:3: illegal character U+0023 '#'");
        assert_eq!(error("\"\\q\""), "1:2: unknown escape sequence");
    }
}
