//! The reading of a `time.Time` (layout: Go's time/time.go, `type Time struct`).

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

/// Bit 63 of `wall`: a monotonic reading is present.
const HAS_MONOTONIC: u64 = 1 << 63;
/// Width of the nanoseconds in `wall`.
const NSEC_SHIFT: u32 = 30;
/// Seconds from 1885-01-01, the epoch of `wall`, to 1970-01-01.
const WALL_TO_UNIX: i64 = 2_682_288_000;
/// Seconds from the year 1, the epoch of `ext`, to 1970-01-01.
const ABSOLUTE_TO_UNIX: i64 = 62_135_596_800;

/// The time in RFC 3339 as Delve shows it, followed by the monotonic reading where there is one.
///
/// `location` is the name of the location, where it has one and it could be read. A time that no calendar covers gives `None`.
pub(super) fn describe(wall: u64, ext: i64, location: Option<&str>) -> Option<String> {
    let monotonic = wall & HAS_MONOTONIC != 0;
    let seconds = if monotonic {
        // 33 bits of seconds lie between the flag and the nanoseconds.
        i64::try_from(wall << 1 >> (NSEC_SHIFT + 1))
            .ok()?
            .checked_sub(WALL_TO_UNIX)?
    } else {
        ext.checked_sub(ABSOLUTE_TO_UNIX)?
    };
    let instant = Timestamp::from_duration(SignedDuration::from_secs(seconds)).ok()?;
    let zone = match location {
        None | Some("" | "UTC") => TimeZone::UTC,
        Some("Local") => TimeZone::system(),
        Some(name) => TimeZone::get(name).unwrap_or(TimeZone::UTC),
    };
    let civil = instant.to_zoned(zone);
    let offset = civil.offset().seconds();
    let mut text = civil.strftime("%Y-%m-%dT%H:%M:%S").to_string();
    if offset == 0 {
        text.push('Z');
    } else {
        text.push_str(&civil.strftime("%:z").to_string());
    }
    if monotonic {
        text.extend([", ", &format!("{ext:+}")]);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_encodings() {
        // time.Date(2024, 5, 6, 7, 8, 9, 0, time.UTC) and the zero Time.
        assert_eq!(
            describe(0, 1_714_979_289 + ABSOLUTE_TO_UNIX, None).as_deref(),
            Some("2024-05-06T07:08:09Z")
        );
        assert_eq!(describe(0, 0, None).as_deref(), Some("0001-01-01T00:00:00Z"));
        let wall = HAS_MONOTONIC | ((1_714_979_289 + WALL_TO_UNIX).unsigned_abs() << NSEC_SHIFT) | 5;
        assert_eq!(
            describe(wall, 42, Some("UTC")).as_deref(),
            Some("2024-05-06T07:08:09Z, +42")
        );
    }

    #[test]
    fn an_impossible_time_has_no_reading() {
        assert_eq!(describe(0, i64::MAX, None), None);
        assert_eq!(describe(0, i64::MIN, None), None);
    }
}
