//! Floating-point numbers as Go writes them.

/// The shortest text that means this number, without an exponent: Go's `strconv.FormatFloat(x, 'f', -1, 64)`.
pub(crate) fn float64(x: f64) -> String {
    if x.is_infinite() {
        infinity(x > 0.0)
    } else {
        x.to_string()
    }
}

/// As [`float64`], of a number with the precision of a float32.
pub(crate) fn float32(x: f32) -> String {
    if x.is_infinite() {
        infinity(x > 0.0)
    } else {
        x.to_string()
    }
}

fn infinity(positive: bool) -> String {
    if positive { "+Inf".to_owned() } else { "-Inf".to_owned() }
}

/// A number to six digits, as Go's `%.6g`.
pub(crate) fn six_digits(x: f64) -> String {
    const DIGITS: usize = 6;
    if !x.is_finite() {
        return float64(x);
    }
    let rounded = format!("{:.*e}", DIGITS - 1, x);
    let Some((digits, exponent)) = rounded.split_once('e') else {
        return rounded;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS as i32).contains(&exponent) {
        let places = (DIGITS as i32 - 1 - exponent).unsigned_abs() as usize;
        return without_zeros(&format!("{x:.places$}")).to_owned();
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{}e{sign}{:02}", without_zeros(digits), exponent.unsigned_abs())
}

/// Digits without the zeros that end a fraction.
fn without_zeros(digits: &str) -> &str {
    if digits.contains('.') {
        digits.trim_end_matches('0').trim_end_matches('.')
    } else {
        digits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_in_go() {
        assert_eq!(float64(-0.0), "-0");
        assert_eq!(float64(f64::NEG_INFINITY), "-Inf");
        assert_eq!(float64(f64::NAN), "NaN");
        assert_eq!(float64(1e21), "1000000000000000000000");
        assert_eq!(float32(0.1), "0.1");
    }

    #[test]
    fn six_digits_as_gos_formatting_has_them() {
        for (x, text) in [
            (0.0, "0"),
            (1.0, "1"),
            (-2.5, "-2.5"),
            (1.0 / 3.0, "0.333333"),
            (123_456.0, "123456"),
            (1_234_567.0, "1.23457e+06"),
            (999_999.9, "1e+06"),
            (1e21, "1e+21"),
            (0.0001, "0.0001"),
            (0.000_012_5, "1.25e-05"),
            (f64::MAX, "1.79769e+308"),
        ] {
            assert_eq!(six_digits(x), text);
        }
    }
}
