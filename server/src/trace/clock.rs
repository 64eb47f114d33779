//! The kernel's time of a record as time of day.

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use nix::time::{ClockId, clock_gettime};

/// Turns `CLOCK_MONOTONIC` into time of day, by the difference that the two clocks had when it was made.
pub(crate) struct WallClock {
    /// Time of day when the monotonic clock was zero.
    origin: Timestamp,
    zone: TimeZone,
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
        }
    }

    /// The time of day of a record, in Go's `time.RFC3339Nano`: the fraction has no trailing zeros.
    pub(crate) fn text(&self, nanoseconds: u64) -> String {
        let since = SignedDuration::from_nanos(nanoseconds.cast_signed());
        let time = self
            .origin
            .checked_add(since)
            .unwrap_or(self.origin)
            .to_zoned(self.zone.clone());
        let offset = if time.offset().seconds() == 0 {
            "Z".to_owned()
        } else {
            time.strftime("%:z").to_string()
        };
        let mut text = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        let fraction = time.subsec_nanosecond();
        if fraction != 0 {
            text.push('.');
            text.push_str(format!("{fraction:09}").trim_end_matches('0'));
        }
        text + &offset
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_has_no_trailing_zeros() {
        let clock = WallClock {
            origin: Timestamp::UNIX_EPOCH,
            zone: TimeZone::UTC,
        };
        assert_eq!(clock.text(1_500_000_000), "1970-01-01T00:00:01.5Z");
        assert_eq!(clock.text(2_000_000_000), "1970-01-01T00:00:02Z");
        assert_eq!(clock.text(123), "1970-01-01T00:00:00.000000123Z");
    }
}
