//! From text to tokens (The Go Programming Language Specification, "Lexical elements"). As Go's scanner, this goes on after an error: how many there are is told.

use unicode_general_category::{GeneralCategory, get_general_category};

use super::Literal;
use super::constant::Const;
use super::number;

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
    /// The end of a line, or of the text, behind what can end a statement.
    Newline,
    /// What is no token.
    Illegal,
    End,
}

/// What is wrong in the text itself.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct LexError {
    /// In bytes from the start of the text.
    pub(super) at: usize,
    /// In the words of Go's scanner (`go/scanner`).
    pub(super) message: String,
    /// The number of the token that was being read.
    pub(super) token: usize,
}

/// All operators and delimiters, longer ones before those that they begin with.
const OPERATORS: [&str; 48] = [
    "<<=", ">>=", "&^=", "...", "&&", "||", "<-", "++", "--", "==", "!=", "<=", ">=", ":=", "+=", "-=", "*=", "/=",
    "%=", "&=", "|=", "^=", "<<", ">>", "&^", "+", "-", "*", "/", "%", "&", "|", "^", "<", ">", "=", "!", "(", ")",
    "[", "]", "{", "}", ",", ";", ".", ":", "~",
];

const BYTE_ORDER_MARK: char = '\u{feff}';

/// Splits `text`; the last token is always [`TokenKind::End`].
pub(super) fn tokens(text: &str) -> (Vec<Token>, Vec<LexError>) {
    let mut lexer = Lexer {
        text,
        at: 0,
        token: 0,
        errors: Vec::new(),
    };
    if lexer.peek() == Some(BYTE_ORDER_MARK) {
        lexer.at += BYTE_ORDER_MARK.len_utf8();
    }
    lexer.check();
    let mut found: Vec<Token> = Vec::new();
    loop {
        let ends_statement = found.last().is_some_and(|token| ends_statement(&token.kind));
        let newline = lexer.skip_space(ends_statement);
        let at = newline.unwrap_or(lexer.at);
        let kind = match newline {
            Some(_) => TokenKind::Newline,
            None => lexer.next(),
        };
        let end = kind == TokenKind::End;
        found.push(Token { kind, at });
        lexer.token += 1;
        if end {
            return (found, lexer.errors);
        }
    }
}

/// Whether a line may end a statement behind this token (Go specification, "Semicolons").
fn ends_statement(kind: &TokenKind) -> bool {
    match kind {
        TokenKind::Name(name) => {
            !super::parse::KEYWORDS.contains(&name.as_str())
                || matches!(name.as_str(), "break" | "continue" | "fallthrough" | "return")
        }
        TokenKind::Literal(_) => true,
        TokenKind::Operator(operator) => matches!(*operator, ")" | "]" | "}" | "++" | "--"),
        TokenKind::Newline | TokenKind::Illegal | TokenKind::End => false,
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    token: usize,
    errors: Vec<LexError>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or("")
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn error(&mut self, at: usize, message: impl Into<String>) {
        self.errors.push(LexError {
            at,
            message: message.into(),
            token: self.token,
        });
    }

    /// Takes one character.
    fn advance(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
        self.check();
    }

    /// Complains about a character that may stand nowhere in a text.
    fn check(&mut self) {
        match self.peek() {
            Some('\0') => self.error(self.at, "illegal character NUL"),
            Some(BYTE_ORDER_MARK) if self.at > 0 => self.error(self.at, "illegal byte order mark"),
            _ => {}
        }
    }

    /// Passes over blanks and comments; where a statement could end there, the position at which a line does.
    fn skip_space(&mut self, ends_statement: bool) -> Option<usize> {
        loop {
            match self.peek() {
                None => return ends_statement.then_some(self.at),
                Some('\n') if ends_statement => {
                    let at = self.at;
                    self.advance();
                    return Some(at);
                }
                Some(' ' | '\t' | '\r' | '\n') => self.advance(),
                Some('/') if self.rest().starts_with("//") || self.rest().starts_with("/*") => {
                    if self.comment() && ends_statement {
                        return Some(self.at);
                    }
                }
                Some(_) => return None,
            }
        }
    }

    /// Passes over a comment; whether a line ends in it.
    fn comment(&mut self) -> bool {
        let start = self.at;
        let rest = self.rest();
        let (inside, whole) = if rest.starts_with("//") {
            // The end of the line is no part of it.
            let end = rest.find('\n').unwrap_or(rest.len());
            (rest.get(..end).unwrap_or(rest), true)
        } else {
            let end = rest.get(2..).and_then(|inside| inside.find("*/"));
            (
                rest.get(..end.map_or(rest.len(), |end| end + 4)).unwrap_or(rest),
                end.is_some(),
            )
        };
        while self.at < start + inside.len() {
            self.advance();
        }
        if !whole {
            self.error(start, "comment not terminated");
        }
        inside.contains('\n')
    }

    fn next(&mut self) -> TokenKind {
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return TokenKind::End;
        };
        if is_letter(first) {
            let end = rest.find(|c: char| !is_letter(c) && !is_digit(c)).unwrap_or(rest.len());
            let name = rest.get(..end).unwrap_or(rest).to_owned();
            self.at += end;
            self.check();
            return TokenKind::Name(name);
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
            self.check();
            return TokenKind::Operator(operator);
        }
        match first {
            // Complained of when it was come to.
            BYTE_ORDER_MARK => {}
            '\u{201c}' | '\u{201d}' => {
                self.error(self.at, format!("curly quotation mark '{first}' (use neutral '\"')"));
            }
            _ => self.error(self.at, format!("illegal character {}", described(first))),
        }
        self.advance();
        TokenKind::Illegal
    }

    fn literal(&self, start: usize, value: Const) -> TokenKind {
        let text = self.text.get(start..self.at).unwrap_or("").to_owned();
        TokenKind::Literal(Literal { text, value })
    }

    fn number(&mut self) -> TokenKind {
        let start = self.at;
        let scanned = number::scan(self.rest());
        for (at, message) in scanned.errors {
            self.error(start + at, message);
        }
        self.at += scanned.len;
        self.check();
        self.literal(start, scanned.value)
    }

    fn raw_string(&mut self) -> TokenKind {
        let start = self.at;
        let mut bytes = Vec::new();
        self.advance();
        loop {
            match self.peek() {
                None => {
                    self.error(start, "raw string literal not terminated");
                    break;
                }
                Some('`') => {
                    self.advance();
                    break;
                }
                Some('\r') => self.advance(),
                Some(c) => {
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    self.advance();
                }
            }
        }
        self.literal(start, Const::Text(bytes))
    }

    fn string(&mut self) -> TokenKind {
        let start = self.at;
        self.advance();
        let mut bytes = Vec::new();
        loop {
            match self.peek() {
                None | Some('\n') => {
                    self.error(start, "string literal not terminated");
                    break;
                }
                Some('"') => {
                    self.advance();
                    break;
                }
                Some('\\') => match self.escape('"') {
                    Some(Escaped::Byte(byte)) => bytes.push(byte),
                    Some(Escaped::Char(c)) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                    None => {}
                },
                Some(c) => {
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    self.advance();
                }
            }
        }
        self.literal(start, Const::Text(bytes))
    }

    fn character(&mut self) -> TokenKind {
        let start = self.at;
        self.advance();
        let (mut value, mut count, mut valid) = (0, 0u32, true);
        loop {
            match self.peek() {
                None | Some('\n') => {
                    if valid {
                        self.error(start, "rune literal not terminated");
                    }
                    valid = false;
                    break;
                }
                Some('\'') => {
                    self.advance();
                    break;
                }
                Some('\\') => match self.escape('\'') {
                    Some(Escaped::Byte(byte)) => value = i128::from(byte),
                    Some(Escaped::Char(c)) => value = i128::from(u32::from(c)),
                    None => valid = false,
                },
                Some(c) => {
                    value = i128::from(u32::from(c));
                    self.advance();
                }
            }
            count = count.saturating_add(1);
        }
        if valid && count != 1 {
            self.error(start, "illegal rune literal");
        }
        self.literal(start, Const::Int(value))
    }

    /// An escape, from its backslash on; nothing if it is none.
    fn escape(&mut self, quote: char) -> Option<Escaped> {
        self.advance();
        let start = self.at;
        let simple = match self.peek() {
            Some('a') => 7,
            Some('b') => 8,
            Some('f') => 12,
            Some('n') => b'\n',
            Some('r') => b'\r',
            Some('t') => b'\t',
            Some('v') => 11,
            Some('\\') => b'\\',
            Some(c) if c == quote => c as u8,
            Some('0'..='7') => return self.digits(3, 8).and_then(|value| self.byte(start, value)),
            Some('x') => {
                self.advance();
                return self.digits(2, 16).and_then(|value| self.byte(start, value));
            }
            Some(letter @ ('u' | 'U')) => {
                self.advance();
                let value = self.digits(if letter == 'u' { 4 } else { 8 }, 16)?;
                let c = char::from_u32(value);
                if c.is_none() {
                    self.error(start, "escape sequence is invalid Unicode code point");
                }
                return c.map(Escaped::Char);
            }
            Some(_) => {
                self.error(start, "unknown escape sequence");
                return None;
            }
            None => {
                self.error(start, "escape sequence not terminated");
                return None;
            }
        };
        self.advance();
        Some(Escaped::Byte(simple))
    }

    fn byte(&mut self, start: usize, value: u32) -> Option<Escaped> {
        let byte = u8::try_from(value).ok();
        if byte.is_none() {
            self.error(start, "escape sequence is invalid Unicode code point");
        }
        byte.map(Escaped::Byte)
    }

    fn digits(&mut self, count: usize, radix: u32) -> Option<u32> {
        let mut value = 0u32;
        for _ in 0..count {
            let digit = self.peek().and_then(|c| c.to_digit(radix));
            let Some(digit) = digit else {
                let message = match self.peek() {
                    Some(c) => format!("illegal character {} in escape sequence", described(c)),
                    None => "escape sequence not terminated".to_owned(),
                };
                self.error(self.at, message);
                return None;
            };
            // Eight hexadecimal digits are all that 32 bits hold.
            value = value.wrapping_mul(radix).wrapping_add(digit);
            self.advance();
        }
        Some(value)
    }
}

enum Escaped {
    Byte(u8),
    Char(char),
}

/// A character as Go's format `%#U` has it: with itself, if it can be seen.
fn described(c: char) -> String {
    let code = u32::from(c);
    if crate::value::is_print(c) {
        format!("U+{code:04X} '{c}'")
    } else {
        format!("U+{code:04X}")
    }
}

fn is_letter(c: char) -> bool {
    use GeneralCategory::{LowercaseLetter, ModifierLetter, OtherLetter, TitlecaseLetter, UppercaseLetter};
    c == '_'
        || c.is_ascii_alphabetic()
        || !c.is_ascii()
            && matches!(
                get_general_category(c),
                LowercaseLetter | ModifierLetter | OtherLetter | TitlecaseLetter | UppercaseLetter
            )
}

fn is_digit(c: char) -> bool {
    c.is_ascii_digit() || !c.is_ascii() && get_general_category(c) == GeneralCategory::DecimalNumber
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(text: &str) -> Const {
        match tokens(text).0.swap_remove(0).kind {
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
            ("0x1p-1074", 5e-324),
            ("0x1.fffffffffffffp+1023", f64::MAX),
        ] {
            assert_eq!(literal(text).real(), Some(value), "{text}");
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
        let errors = |text: &str| -> Vec<(usize, String)> {
            let errors = tokens(text).1.into_iter();
            errors.map(|error| (error.at, error.message)).collect()
        };
        let one = |at: usize, message: &str| vec![(at, message.to_owned())];
        assert_eq!(errors("\"abc"), one(0, "string literal not terminated"));
        assert_eq!(errors("x + 'ab'"), one(4, "illegal rune literal"));
        assert_eq!(errors("a # b"), one(2, "illegal character U+0023 '#'"));
        assert_eq!(errors("\"\\q\""), one(2, "unknown escape sequence"));
        assert_eq!(
            errors("\"\\x1\""),
            one(4, "illegal character U+0022 '\"' in escape sequence")
        );
        assert_eq!(errors("/* a"), one(0, "comment not terminated"));
        let nul = [
            (0, "illegal character NUL".to_owned()),
            (0, "illegal character U+0000".to_owned()),
        ];
        assert_eq!(errors("\0"), nul);
        assert!(errors("a /* b */ + c // d").is_empty());
    }
}
