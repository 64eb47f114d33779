//! Numbers, strings and truth values that an expression computes (Go specification, "Constants").
//!
//! Go's constants are exact, and so are those here up to a size that no program needs. Numbers that have a type are those of a float64, and so are the parts
//! of complex ones.

use num_bigint::{BigInt, Sign};
use num_rational::BigRational;
use num_traits::{Signed as _, ToPrimitive as _, Zero as _};

use super::{Binary, EvalError, Unary};

/// A computed value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Const {
    /// A truth value.
    Bool(bool),
    /// A whole number within 128 bits.
    Int(i128),
    /// A whole number that 128 bits do not hold.
    Huge(BigInt),
    /// A floating-point number that a type has rounded.
    Float(f64),
    /// A floating-point constant.
    Exact(BigRational),
    /// Real and imaginary part.
    Complex(f64, f64),
    /// The bytes of a string.
    Text(Vec<u8>),
}

/// Whole numbers have at most this many bits: they come from outside, and the time that a product takes grows with the square of it.
const MAX_BITS: u64 = 1 << 16;

impl Const {
    /// A whole number of any size up to the limit; `None` beyond it.
    pub(super) fn whole(number: BigInt) -> Option<Const> {
        match i128::try_from(&number) {
            Ok(number) => Some(Const::Int(number)),
            Err(_) => (number.bits() <= MAX_BITS).then_some(Const::Huge(number)),
        }
    }

    /// As a whole number of any size; `None` for what is none.
    fn big(&self) -> Option<BigInt> {
        match self {
            Const::Int(n) => Some(BigInt::from(*n)),
            Const::Huge(n) => Some(n.clone()),
            _ => None,
        }
    }

    /// A floating-point constant within the limit; `None` beyond it.
    pub(super) fn exact(number: BigRational) -> Option<Const> {
        (number.numer().bits() <= MAX_BITS && number.denom().bits() <= MAX_BITS).then_some(Const::Exact(number))
    }

    /// As an exact number; `None` for what is none.
    fn ratio(&self) -> Option<BigRational> {
        match self {
            Const::Exact(number) => Some(number.clone()),
            number => number.big().map(BigRational::from),
        }
    }

    /// The type that the constant has by default, by its name.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Const::Bool(_) => "bool",
            Const::Int(n) if *n > i128::from(i64::MAX) => "uint64",
            Const::Huge(n) if n.sign() == Sign::Plus => "uint64",
            Const::Int(_) | Const::Huge(_) => "int",
            Const::Float(_) | Const::Exact(_) => "float64",
            Const::Complex(..) => "complex128",
            Const::Text(_) => "string",
        }
    }

    /// As a number of the complex plane; `None` for what is no number.
    fn complex(&self) -> Option<(f64, f64)> {
        match self {
            Const::Int(_) | Const::Huge(_) | Const::Float(_) | Const::Exact(_) => Some((self.real()?, 0.0)),
            Const::Complex(re, im) => Some((*re, *im)),
            _ => None,
        }
    }

    /// As a real number; `None` for what is none.
    pub(crate) fn real(&self) -> Option<f64> {
        match self {
            Const::Int(n) => Some(*n as f64),
            Const::Huge(n) => n.to_f64().filter(|x| x.is_finite()),
            Const::Float(x) => Some(*x),
            Const::Exact(x) => Some(nearest(x)),
            Const::Complex(re, im) if *im == 0.0 => Some(*re),
            _ => None,
        }
    }
}

impl std::fmt::Display for Const {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Const::Bool(b) => write!(f, "{b}"),
            Const::Int(n) => write!(f, "{n}"),
            Const::Huge(n) => write!(f, "{n}"),
            Const::Float(x) => write!(f, "{}", short(*x)),
            Const::Exact(x) => write!(f, "{}", short(nearest(x))),
            Const::Complex(re, im) => write!(f, "({} + {}i)", short(*re), short(*im)),
            Const::Text(bytes) => {
                let mut text = String::new();
                crate::value::push_quoted(&mut text, bytes);
                f.write_str(&text)
            }
        }
    }
}

/// The float64 that is nearest to a number; an infinity beyond the largest.
fn nearest(number: &BigRational) -> f64 {
    let limit = if number.is_negative() {
        f64::NEG_INFINITY
    } else {
        f64::INFINITY
    };
    number.to_f64().unwrap_or(limit)
}

/// A number with six digits at most, as C's `%.6g` has it: how Go's package `go/constant` writes numbers into texts. One that is no whole number is written
/// out where six digits would make it one.
fn short(number: f64) -> String {
    if !number.is_finite() {
        return crate::value::float64(number);
    }
    let scientific = format!("{number:.5e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |digits: &str| {
        let is_fraction = digits.contains('.');
        let kept = digits.trim_end_matches(|c| is_fraction && c == '0');
        kept.trim_end_matches('.').to_owned()
    };
    let text = if (-4..6).contains(&exponent) {
        trimmed(&format!("{number:.*}", usize::try_from(5 - exponent).unwrap_or(0)))
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trimmed(digits), exponent.unsigned_abs())
    };
    if number.fract() != 0.0 && !text.contains('.') && !text.contains('e') {
        return crate::value::float64(number);
    }
    text
}

pub(super) fn overflow() -> EvalError {
    EvalError::Refused("constant overflow".to_owned())
}

/// Applies a unary operator other than `&` and `<-`.
pub(crate) fn unary(operator: Unary, x: &Const) -> Result<Const, EvalError> {
    let refuse = || EvalError::Refused(format!("invalid unary operation {operator}{x}"));
    Ok(match (operator, x) {
        (Unary::Plus, Const::Int(_) | Const::Huge(_) | Const::Float(_) | Const::Exact(_) | Const::Complex(..)) => {
            x.clone()
        }
        (Unary::Minus, Const::Int(_) | Const::Huge(_)) => {
            let negative = x.big().map(|n| -n).and_then(Const::whole);
            negative.ok_or_else(overflow)?
        }
        (Unary::Minus, Const::Float(x)) => Const::Float(-x),
        (Unary::Minus, Const::Exact(x)) => Const::Exact(-x),
        (Unary::Minus, Const::Complex(re, im)) => Const::Complex(-re, -im),
        (Unary::Complement, Const::Int(n)) => Const::Int(!n),
        (Unary::Complement, Const::Huge(n)) => Const::whole(!n).ok_or_else(overflow)?,
        (Unary::Not, Const::Bool(b)) => Const::Bool(!b),
        _ => return Err(refuse()),
    })
}

/// Applies a binary operator other than a comparison. Integers divide as integers where `whole` says so.
pub(crate) fn binary(operator: Binary, x: &Const, y: &Const, whole: bool) -> Result<Const, EvalError> {
    let refuse = || EvalError::Refused(format!("invalid binary operation {x} {operator} {y}"));
    match (x, y) {
        (Const::Bool(a), Const::Bool(b)) => match operator {
            Binary::LogicalAnd => Ok(Const::Bool(*a && *b)),
            Binary::LogicalOr => Ok(Const::Bool(*a || *b)),
            _ => Err(refuse()),
        },
        (Const::Text(a), Const::Text(b)) if operator == Binary::Add => Ok(Const::Text([&a[..], &b[..]].concat())),
        (Const::Int(a), Const::Int(b)) if whole || operator != Binary::Div => {
            integers(operator, *a, *b, refuse)?.map_or_else(|| huge(operator, x, y), |n| Ok(Const::Int(n)))
        }
        (Const::Int(_) | Const::Huge(_), Const::Int(_) | Const::Huge(_)) if whole || operator != Binary::Div => {
            huge(operator, x, y)
        }
        (Const::Complex(..), _) | (_, Const::Complex(..)) => {
            let (Some(a), Some(b)) = (x.complex(), y.complex()) else {
                return Err(refuse());
            };
            complexes(operator, a, b, refuse)
        }
        (Const::Int(_) | Const::Huge(_) | Const::Exact(_), Const::Int(_) | Const::Huge(_) | Const::Exact(_)) => {
            let (Some(a), Some(b)) = (x.ratio(), y.ratio()) else {
                return Err(refuse());
            };
            let result = match operator {
                Binary::Add => a + b,
                Binary::Sub => a - b,
                Binary::Mul => a * b,
                Binary::Div if b.is_zero() => return Err(EvalError::Refused("division by zero".to_owned())),
                Binary::Div => a / b,
                _ => return Err(refuse()),
            };
            Const::exact(result).ok_or_else(overflow)
        }
        _ => {
            let (Some(a), Some(b)) = (x.real(), y.real()) else {
                return Err(refuse());
            };
            Ok(Const::Float(match operator {
                Binary::Add => a + b,
                Binary::Sub => a - b,
                Binary::Mul => a * b,
                Binary::Div if b == 0.0 => return Err(EvalError::Refused("division by zero".to_owned())),
                Binary::Div => a / b,
                _ => return Err(refuse()),
            }))
        }
    }
}

/// Whole numbers of any size up to the limit.
fn huge(operator: Binary, x: &Const, y: &Const) -> Result<Const, EvalError> {
    let refuse = || EvalError::Refused(format!("invalid binary operation {x} {operator} {y}"));
    let (a, b) = (x.big().ok_or_else(refuse)?, y.big().ok_or_else(refuse)?);
    let is_division = matches!(operator, Binary::Div | Binary::Rem);
    if is_division && b.sign() == Sign::NoSign {
        return Err(by_zero());
    }
    let distance = || b.to_u64();
    let result = match operator {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Rem => a % b,
        Binary::And => a & b,
        Binary::Or => a | b,
        Binary::Xor => a ^ b,
        Binary::AndNot => a & !b,
        Binary::Shl => match distance().filter(|distance| *distance <= MAX_BITS) {
            Some(distance) => a << distance,
            None => return Err(overflow()),
        },
        Binary::Shr => match distance().filter(|distance| *distance <= 2 * MAX_BITS) {
            Some(distance) => a >> distance,
            None => BigInt::from(if a.sign() == Sign::Minus { -1 } else { 0 }),
        },
        _ => return Err(refuse()),
    };
    Const::whole(result).ok_or_else(overflow)
}

fn by_zero() -> EvalError {
    EvalError::Refused("runtime error: integer divide by zero".to_owned())
}

/// Whole numbers within 128 bits; `None` where the result has more.
fn integers(operator: Binary, a: i128, b: i128, refuse: impl Fn() -> EvalError) -> Result<Option<i128>, EvalError> {
    let distance = || u32::try_from(b).unwrap_or(u32::MAX);
    let result = match operator {
        Binary::Add => a.checked_add(b),
        Binary::Sub => a.checked_sub(b),
        Binary::Mul => a.checked_mul(b),
        Binary::Div | Binary::Rem if b == 0 => return Err(by_zero()),
        Binary::Div => a.checked_div(b),
        Binary::Rem => a.checked_rem(b),
        Binary::And => Some(a & b),
        Binary::Or => Some(a | b),
        Binary::Xor => Some(a ^ b),
        Binary::AndNot => Some(a & !b),
        Binary::Shl => match distance() {
            _ if a == 0 => Some(0),
            n if n < 127 => Some(a << n).filter(|shifted| shifted >> n == a),
            _ => None,
        },
        Binary::Shr => Some(a >> distance().min(127)),
        _ => return Err(refuse()),
    };
    Ok(result)
}

fn complexes(
    operator: Binary,
    (a, b): (f64, f64),
    (c, d): (f64, f64),
    refuse: impl Fn() -> EvalError,
) -> Result<Const, EvalError> {
    Ok(match operator {
        Binary::Add => Const::Complex(a + c, b + d),
        Binary::Sub => Const::Complex(a - c, b - d),
        Binary::Mul => Const::Complex(a * c - b * d, b * c + a * d),
        Binary::Div => {
            let norm = c * c + d * d;
            if norm == 0.0 {
                return Err(EvalError::Refused("division by zero".to_owned()));
            }
            Const::Complex((a * c + b * d) / norm, (b * c - a * d) / norm)
        }
        _ => return Err(refuse()),
    })
}

/// Compares two values of one kind.
pub(crate) fn compare(operator: Binary, x: &Const, y: &Const) -> Result<bool, EvalError> {
    use std::cmp::Ordering;
    let refuse = || EvalError::Refused(format!("invalid comparison {x} {operator} {y}"));
    let ordered = |ordering: Option<Ordering>| match operator {
        Binary::Equal => ordering == Some(Ordering::Equal),
        Binary::NotEqual => ordering != Some(Ordering::Equal),
        Binary::Less => ordering == Some(Ordering::Less),
        Binary::LessEqual => matches!(ordering, Some(Ordering::Less | Ordering::Equal)),
        Binary::Greater => ordering == Some(Ordering::Greater),
        _ => matches!(ordering, Some(Ordering::Greater | Ordering::Equal)),
    };
    let only_equality = matches!(operator, Binary::Equal | Binary::NotEqual);
    match (x, y) {
        (Const::Bool(a), Const::Bool(b)) if only_equality => Ok(ordered(Some(a.cmp(b)))),
        (Const::Int(a), Const::Int(b)) => Ok(ordered(Some(a.cmp(b)))),
        (Const::Int(_) | Const::Huge(_), Const::Int(_) | Const::Huge(_)) => {
            Ok(ordered(x.big().zip(y.big()).map(|(a, b)| a.cmp(&b))))
        }
        (Const::Text(a), Const::Text(b)) => Ok(ordered(Some(a.cmp(b)))),
        (Const::Complex(..), _) | (_, Const::Complex(..)) if only_equality => match (x.complex(), y.complex()) {
            (Some(a), Some(b)) => Ok(ordered((a == b).then_some(Ordering::Equal))),
            _ => Err(refuse()),
        },
        (Const::Int(_) | Const::Huge(_) | Const::Exact(_), Const::Int(_) | Const::Huge(_) | Const::Exact(_)) => {
            Ok(ordered(x.ratio().zip(y.ratio()).map(|(a, b)| a.cmp(&b))))
        }
        _ => match (x.real(), y.real()) {
            (Some(a), Some(b)) => Ok(ordered(a.partial_cmp(&b))),
            _ => Err(refuse()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn int(operator: Binary, a: i128, b: i128) -> Result<Const, String> {
        binary(operator, &Const::Int(a), &Const::Int(b), true).map_err(|error| error.to_string())
    }

    #[test]
    fn integers_are_exact_or_refused() {
        assert_eq!(int(Binary::Add, 1 << 64, -1), Ok(Const::Int((1 << 64) - 1)));
        assert_eq!(int(Binary::Div, -7, 2), Ok(Const::Int(-3)));
        assert_eq!(int(Binary::Rem, -7, 2), Ok(Const::Int(-1)));
        assert_eq!(int(Binary::Shl, 1, 100), Ok(Const::Int(1 << 100)));
        let wide = int(Binary::Shl, 1, 200).expect("a wide number");
        assert_eq!(
            wide.to_string(),
            "1606938044258990275541962092341162602522202993782792835301376"
        );
        let back = binary(Binary::Shr, &wide, &Const::Int(199), true);
        assert_eq!(back, Ok(Const::Int(2)));
        let third = binary(Binary::Div, &wide, &Const::Int(3), true).expect("a third");
        assert_eq!(compare(Binary::Less, &third, &wide), Ok(true));
        for distance in [1 << 17, i128::from(u64::MAX), i128::MAX] {
            assert_eq!(int(Binary::Shl, 1, distance), Err("constant overflow".to_owned()));
        }
        assert_eq!(int(Binary::Shr, -8, 1000), Ok(Const::Int(-1)));
        assert_eq!(int(Binary::AndNot, 0b111, 0b010), Ok(Const::Int(0b101)));
        assert_eq!(
            int(Binary::Div, 1, 0),
            Err("runtime error: integer divide by zero".to_owned())
        );
        let twice = int(Binary::Mul, i128::MAX, 2).map(|twice| twice.to_string());
        assert_eq!(twice.as_deref(), Ok("340282366920938463463374607431768211454"));
        let negated = unary(Unary::Minus, &Const::Int(i128::MIN)).map(|number| number.to_string());
        assert_eq!(negated.as_deref(), Ok("170141183460469231731687303715884105728"));
    }

    #[test]
    fn numbers_in_messages_have_six_digits() {
        for (number, text) in [
            (0.0, "0"),
            (0.1f32.into(), "0.1"),
            (1.5, "1.5"),
            (-2.0, "-2"),
            (123_456.0, "123456"),
            (1_234_567.0, "1.23457e+06"),
            (0.000_012_5, "1.25e-05"),
            (999_999.5, "1e+06"),
            (1e300, "1e+300"),
            (100_000.000_001, "100000.000001"),
        ] {
            assert_eq!(Const::Float(number).to_string(), text);
        }
    }

    #[test]
    fn kinds_mix_as_in_go() {
        let exact =
            |numerator: i32, denominator: i32| Const::Exact(BigRational::new(numerator.into(), denominator.into()));
        let sum = binary(Binary::Add, &exact(1, 10), &exact(2, 10), true);
        assert_eq!(sum, Ok(exact(3, 10)));
        assert_eq!(compare(Binary::Equal, &exact(10, 10), &Const::Int(1)), Ok(true));
        assert!(binary(Binary::Div, &exact(1, 10), &Const::Int(0), true).is_err());
        let half = binary(Binary::Div, &Const::Int(1), &Const::Float(2.0), true);
        assert_eq!(half, Ok(Const::Float(0.5)));
        let product = binary(Binary::Mul, &Const::Complex(0.0, 1.0), &Const::Complex(0.0, 1.0), true);
        assert_eq!(product, Ok(Const::Complex(-1.0, 0.0)));
        let refused = binary(Binary::Add, &Const::Text(b"a".to_vec()), &Const::Int(1), true);
        assert_eq!(
            refused.map_err(|error| error.to_string()),
            Err("invalid binary operation \"a\" + 1".to_owned())
        );
        assert_eq!(compare(Binary::Equal, &Const::Int(1), &Const::Float(1.0)), Ok(true));
        assert_eq!(
            compare(Binary::Less, &Const::Text(b"a".to_vec()), &Const::Text(b"b".to_vec())),
            Ok(true)
        );
        assert!(compare(Binary::Less, &Const::Bool(true), &Const::Bool(false)).is_err());
        let nan = Const::Float(f64::NAN);
        assert_eq!(compare(Binary::Equal, &nan, &nan), Ok(false));
        assert_eq!(compare(Binary::NotEqual, &nan, &nan), Ok(true));
    }
}
