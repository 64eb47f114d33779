//! The kernel's time of a record as time of day.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use nix::time::{ClockId, clock_gettime};

/// Turns `CLOCK_MONOTONIC` into time of day, by the difference that the two clocks had when it was made.
pub(crate) struct WallClock {
    /// Time of day when the monotonic clock was zero.
    origin: Timestamp,
    zone: TimeZone,
    /// The second that was shown last.
    second: Option<Second>,
}

/// A second of the time of day.
struct Second {
    /// Since the epoch.
    number: i64,
    /// What stands before the fraction, and behind it.
    text: String,
    offset: String,
}

impl WallClock {
    /// Compares the clocks.
    pub(crate) fn now() -> WallClock {
        let monotonic = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(SignedDuration::ZERO, |time| {
            SignedDuration::new(time.tv_sec(), i32::try_from(time.tv_nsec()).unwrap_or(0))
        });
        WallClock {
            origin: Timestamp::now().checked_sub(monotonic).unwrap_or(Timestamp::UNIX_EPOCH),
            zone: TimeZone::system(),
            second: None,
        }
    }

    /// Appends the time of day of a record, in Go's `time.RFC3339Nano`: the fraction has no trailing zeros.
    pub(crate) fn push_text(&mut self, out: &mut String, nanoseconds: u64) {
        let since = SignedDuration::from_nanos(nanoseconds.cast_signed());
        let time = self.origin.checked_add(since).unwrap_or(self.origin);
        // A clock that shows times after the epoch has no negative fractions.
        let (number, fraction) = (time.as_second(), time.subsec_nanosecond());
        if self.second.as_ref().is_none_or(|second| second.number != number) {
            let time = time.to_zoned(self.zone.clone());
            self.second = Some(Second {
                number,
                text: time.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
                offset: if time.offset().seconds() == 0 {
                    "Z".to_owned()
                } else {
                    time.strftime("%:z").to_string()
                },
            });
        }
        let Some(second) = &self.second else { return };
        out.push_str(&second.text);
        if fraction != 0 {
            let digits = format_digits(fraction.unsigned_abs());
            let digits = std::str::from_utf8(&digits).unwrap_or_default();
            out.push('.');
            out.push_str(digits.trim_end_matches('0'));
        }
        out.push_str(&second.offset);
    }
}

/// Nine decimal digits.
fn format_digits(mut number: u32) -> [u8; 9] {
    let mut digits = [b'0'; 9];
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
    digits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_has_no_trailing_zeros() {
        let mut clock = WallClock {
            origin: Timestamp::UNIX_EPOCH,
            zone: TimeZone::UTC,
            second: None,
        };
        let mut text = |nanoseconds| {
            let mut text = String::new();
            clock.push_text(&mut text, nanoseconds);
            text
        };
        assert_eq!(text(1_500_000_000), "1970-01-01T00:00:01.5Z");
        assert_eq!(text(2_000_000_000), "1970-01-01T00:00:02Z");
        assert_eq!(text(123), "1970-01-01T00:00:00.000000123Z");
    }
}
