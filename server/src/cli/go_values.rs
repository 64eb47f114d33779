//! Values of flags as Go's `strconv` reads them.

/// A truth value: `--flag`, `--flag=true`, `--flag=0`.
pub(super) fn boolean(text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        other => Err(format!("strconv.ParseBool: parsing {other:?}: invalid syntax")),
    }
}

/// A whole number, in the notations of Go.
pub(super) fn integer(text: &str) -> Result<i64, String> {
    let invalid = || format!("strconv.ParseInt: parsing {text:?}: invalid syntax");
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (digits, radix) = if let Some(digits) = lower.strip_prefix("0x") {
        (digits, 16)
    } else if let Some(digits) = lower.strip_prefix("0b") {
        (digits, 2)
    } else if let Some(digits) = lower.strip_prefix("0o") {
        (digits, 8)
    } else {
        (lower.as_str(), 10)
    };
    // A second sign would be accepted by from_str_radix.
    if !digits.starts_with(|first: char| first.is_digit(radix)) {
        return Err(invalid());
    }
    let signed = if negative {
        format!("-{digits}")
    } else {
        digits.to_owned()
    };
    i64::from_str_radix(&signed, radix).map_err(|error| match error.kind() {
        std::num::IntErrorKind::PosOverflow | std::num::IntErrorKind::NegOverflow => {
            format!("strconv.ParseInt: parsing {text:?}: value out of range")
        }
        _ => invalid(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_s_truth_values() {
        assert_eq!(boolean("T"), Ok(true));
        assert_eq!(boolean("0"), Ok(false));
        assert_eq!(
            boolean("maybe"),
            Err("strconv.ParseBool: parsing \"maybe\": invalid syntax".to_owned())
        );
    }

    #[test]
    fn go_s_numbers() {
        assert_eq!(integer("12"), Ok(12));
        assert_eq!(integer("-0x1F"), Ok(-31));
        for wrong in ["x", "", "-", "+-1", "0x", "1.5"] {
            assert!(
                integer(wrong).is_err_and(|text| text.ends_with("invalid syntax")),
                "{wrong}"
            );
        }
        assert!(integer("99999999999999999999").is_err_and(|text| text.ends_with("value out of range")));
    }
}
