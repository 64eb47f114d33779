//! Number literals (The Go Programming Language Specification, "Integer literals" to "Imaginary literals").

use num_bigint::BigInt;
use num_rational::BigRational;

use super::constant::Const;

/// A number literal at the start of a text.
pub(super) struct Scanned {
    /// In bytes.
    pub(super) len: usize,
    /// What it means; 0 where it means nothing.
    pub(super) value: Const,
    /// What is wrong with it, in the words of Go's scanner, and where.
    pub(super) errors: Vec<(usize, String)>,
}

/// Reads the number at the start of `text`, which begins with a digit, or with a point and a digit.
pub(super) fn scan(text: &str) -> Scanned {
    let mut scanner = Scanner {
        bytes: text.as_bytes(),
        at: 0,
        invalid: None,
        errors: Vec::new(),
    };
    let (is_real, is_imaginary) = scanner.scan();
    let Scanner { at, mut errors, .. } = scanner;
    let literal = text.get(..at).unwrap_or("");
    let digits: String = literal.chars().filter(|c| *c != '_').collect();
    let digits = digits.trim_end_matches('i').to_ascii_lowercase();
    let value = if is_real { real(&digits) } else { integer(&digits) };
    let value = match value {
        Some(value) if is_imaginary => value.real().map(|part| Const::Complex(0.0, part)),
        value => value,
    };
    if value.is_none() && errors.is_empty() {
        errors.push((0, format!("the number {literal} is too large")));
    }
    Scanned {
        len: at,
        value: value.unwrap_or(Const::Int(0)),
        errors,
    }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the first digit is that the radix does not have.
    invalid: Option<usize>,
    errors: Vec<(usize, String)>,
}

impl Scanner<'_> {
    fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    fn error(&mut self, at: usize, message: impl Into<String>) {
        self.errors.push((at, message.into()));
    }

    /// Passes over the literal; whether it has a fraction or an exponent, and whether it is imaginary.
    fn scan(&mut self) -> (bool, bool) {
        let (mut radix, mut name, mut prefix) = (10, "decimal literal", 0);
        let (mut has_digits, mut has_separators, mut is_real) = (false, false, false);
        if self.peek() == b'0' {
            self.at += 1;
            prefix = self.peek().to_ascii_lowercase();
            (radix, name) = match prefix {
                b'x' => (16, "hexadecimal literal"),
                b'b' => (2, "binary literal"),
                _ => (8, "octal literal"),
            };
            if matches!(prefix, b'x' | b'o' | b'b') {
                self.at += 1;
            } else {
                prefix = b'0';
                has_digits = true;
            }
        }
        let mut found = self.digits(radix, true);
        if self.peek() == b'.' {
            is_real = true;
            if matches!(prefix, b'o' | b'b') {
                self.error(self.at, format!("invalid radix point in {name}"));
            }
            self.at += 1;
            let behind = self.digits(radix, true);
            found = (found.0 || behind.0, found.1 || behind.1);
        }
        has_digits |= found.0;
        has_separators |= found.1;
        if !has_digits {
            self.error(self.at, format!("{name} has no digits"));
        }
        let letter = self.peek();
        match letter.to_ascii_lowercase() {
            exponent @ (b'e' | b'p') => {
                let letter = char::from(letter);
                if exponent == b'e' && !matches!(prefix, 0 | b'0') {
                    self.error(self.at, format!("'{letter}' exponent requires decimal mantissa"));
                } else if exponent == b'p' && prefix != b'x' {
                    self.error(self.at, format!("'{letter}' exponent requires hexadecimal mantissa"));
                }
                self.at += 1;
                is_real = true;
                if matches!(self.peek(), b'+' | b'-') {
                    self.at += 1;
                }
                let (digits, separators) = self.digits(10, false);
                has_separators |= separators;
                if !digits {
                    self.error(self.at, "exponent has no digits");
                }
            }
            _ if prefix == b'x' && is_real => {
                self.error(self.at, "hexadecimal mantissa requires a 'p' exponent");
            }
            _ => {}
        }
        let is_imaginary = self.peek() == b'i';
        self.at += usize::from(is_imaginary);
        if let (Some(at), false, false) = (self.invalid, is_real, is_imaginary) {
            let digit = char::from(self.bytes.get(at).copied().unwrap_or(b'?'));
            self.error(at, format!("invalid digit '{digit}' in {name}"));
        }
        if has_separators && let Some(at) = misplaced_separator(self.bytes.get(..self.at).unwrap_or_default()) {
            self.error(at, "'_' must separate successive digits");
        }
        (is_real, is_imaginary)
    }

    /// Passes over digits and separators; whether there are any of each.
    fn digits(&mut self, radix: u8, check: bool) -> (bool, bool) {
        let mut found = (false, false);
        loop {
            match self.peek() {
                b'_' => found.1 = true,
                digit @ b'0'..=b'9' => {
                    found.0 = true;
                    if check && radix < 10 && digit - b'0' >= radix && self.invalid.is_none() {
                        self.invalid = Some(self.at);
                    }
                }
                b'a'..=b'f' | b'A'..=b'F' if radix == 16 => found.0 = true,
                _ => return found,
            }
            self.at += 1;
        }
    }
}

/// The first `_` that does not stand between two digits, or between a prefix and a digit.
fn misplaced_separator(literal: &[u8]) -> Option<usize> {
    let prefix = literal.get(1).map_or(b' ', u8::to_ascii_lowercase);
    let has_prefix = literal.first() == Some(&b'0') && matches!(prefix, b'x' | b'o' | b'b');
    let is_digit = |byte: u8| byte.is_ascii_digit() || has_prefix && prefix == b'x' && byte.is_ascii_hexdigit();
    let start = if has_prefix { 2 } else { 0 };
    let mut behind_digit = has_prefix;
    let mut behind_separator = false;
    for (at, byte) in literal.iter().enumerate().skip(start) {
        if *byte == b'_' {
            if !behind_digit {
                return Some(at);
            }
            (behind_digit, behind_separator) = (false, true);
        } else if is_digit(*byte) {
            (behind_digit, behind_separator) = (true, false);
        } else {
            if behind_separator {
                return Some(at - 1);
            }
            behind_digit = false;
        }
    }
    behind_separator.then(|| literal.len() - 1)
}

/// An integer literal, in lower case and without underscores; `None` if it is none.
fn integer(digits: &str) -> Option<Const> {
    let (digits, radix) = match digits.get(..2) {
        Some("0x") => (digits.get(2..)?, 16),
        Some("0b") => (digits.get(2..)?, 2),
        Some("0o") => (digits.get(2..)?, 8),
        Some(_) if digits.starts_with('0') => (digits, 8),
        _ => (digits, 10),
    };
    match i128::from_str_radix(digits, radix) {
        Ok(number) => Some(Const::Int(number)),
        Err(_) => BigInt::parse_bytes(digits.as_bytes(), radix).and_then(Const::whole),
    }
}

/// The exponents of literals go up to this: what is beyond would take long to compute with, and no program has it.
const MAX_EXPONENT: i64 = 1 << 14;

/// A floating-point literal, in lower case and without underscores; `None` if it is none, or too large.
fn real(digits: &str) -> Option<Const> {
    let (digits, radix, base, letter) = match digits.strip_prefix("0x") {
        Some(hex) => (hex, 16, 2, 'p'),
        None => (digits, 10, 10, 'e'),
    };
    let (mantissa, exponent) = match digits.split_once(letter) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (digits, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let all = format!("0{whole}{fraction}");
    let mantissa = BigInt::parse_bytes(all.as_bytes(), radix)?;
    // A hexadecimal digit is four binary ones.
    let per_digit = if radix == 16 { 4 } else { 1 };
    let exponent = exponent.checked_sub(per_digit * i64::try_from(fraction.len()).ok()?)?;
    if exponent.abs() > MAX_EXPONENT {
        return None;
    }
    let power = BigInt::from(base).pow(u32::try_from(exponent.unsigned_abs()).ok()?);
    Const::exact(if exponent < 0 {
        BigRational::new(mantissa, power)
    } else {
        BigRational::from(mantissa * power)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn constants_are_rounded_to_the_nearest_number() {
        for text in [
            "0.1",
            "0.3",
            "1.5e3",
            "09.5",
            "123456789.123456789",
            "1e308",
            "5e-324",
            "3e-324",
            "2.2250738585072011e-308",
            "1.7976931348623158e308",
            "0.000001",
            "9007199254740993.0",
            "1e23",
            "8.41e21",
            "2.5e-5",
        ] {
            let nearest: f64 = text.parse().expect("a number");
            assert_eq!(scan(text).value.real(), Some(nearest), "{text}");
        }
        for (text, value) in [
            ("0x1p-2", 0.25),
            ("0x1.8p1", 3.0),
            ("0x.8p0", 0.5),
            ("1e400", f64::INFINITY),
            ("1e-400", 0.0),
        ] {
            assert_eq!(scan(text).value.real(), Some(value), "{text}");
        }
        assert_eq!(scan("1e99999").errors.len(), 1);
        assert_eq!(scan("1e99999999999999999999").errors.len(), 1);
    }

    #[test]
    fn a_number_ends_where_gos_scanner_ends_it() {
        for (text, len) in [
            ("5.x", 2),
            ("1.5.5", 3),
            ("1a", 1),
            ("0x1p-2+1", 6),
            ("1e5i)", 4),
            ("0b2", 3),
            ("1_000,", 5),
        ] {
            assert_eq!(scan(text).len, len, "{text}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_in_gos_words() {
        for (text, at, message) in [
            ("0x", 2, "hexadecimal literal has no digits"),
            ("0b2", 2, "invalid digit '2' in binary literal"),
            ("09", 1, "invalid digit '9' in octal literal"),
            ("1_", 1, "'_' must separate successive digits"),
            ("1__0", 2, "'_' must separate successive digits"),
            ("1e+", 3, "exponent has no digits"),
            ("0x1.5", 5, "hexadecimal mantissa requires a 'p' exponent"),
            ("1p3", 1, "'p' exponent requires hexadecimal mantissa"),
            ("0b1.0", 3, "invalid radix point in binary literal"),
        ] {
            assert_eq!(scan(text).errors, [(at, message.to_owned())], "{text}");
        }
        for fine in [
            "0", "017", "0o17", "0x_ff", "1_000", "0x1p-2", "1.5e3", ".5", "2i", "09.5", "0_1",
        ] {
            assert!(scan(fine).errors.is_empty(), "{fine}");
        }
    }
}
