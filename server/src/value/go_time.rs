//! The reading of a `time.Time` (layout: Go's time/time.go, `type Time struct`).

use jiff::{Timestamp, tz::TimeZone};

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
    let zone = match location {
        None | Some("" | "UTC") => TimeZone::UTC,
        Some("Local") => TimeZone::system(),
        Some(name) => TimeZone::get(name).unwrap_or(TimeZone::UTC),
    };
    // Zones have rules for fewer years than Go has times; those beyond are as the last one that has.
    let covered = seconds.clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    let offset = zone.to_offset(Timestamp::from_second(covered).ok()?).seconds();
    let mut text = civil(seconds.checked_add(i64::from(offset))?);
    text.push_str(&zone_text(offset));
    if monotonic {
        text.extend([", ", &format!("{ext:+}")]);
    }
    Some(text)
}

/// Date and time of day, so many seconds after 1970-01-01T00:00:00, in the Gregorian calendar without end in either direction.
fn civil(seconds: i64) -> String {
    const DAY: i64 = 24 * 60 * 60;
    // Years begin in March here, so that a leap day is the last of its year; four hundred of them repeat.
    const ERA_DAYS: i64 = 146_097;
    const MARCH_OF_YEAR_0_TO_UNIX: i64 = 719_468;
    let days = seconds.div_euclid(DAY) + MARCH_OF_YEAR_0_TO_UNIX;
    let (era, day) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day_of_month = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 {
        from_march + 3
    } else {
        from_march - 9
    };
    let year = era * 400 + year_of_era + i64::from(month <= 2);
    let sign = if year < 0 { "-" } else { "" };
    let (year, time) = (year.unsigned_abs(), seconds.rem_euclid(DAY));
    let (hours, minutes, seconds) = (time / 3600, time / 60 % 60, time % 60);
    format!("{sign}{year:04}-{month:02}-{day_of_month:02}T{hours:02}:{minutes:02}:{seconds:02}")
}

/// The difference to UTC as RFC 3339 has it, of full minutes.
fn zone_text(offset: i32) -> String {
    if offset == 0 {
        return "Z".to_owned();
    }
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
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
    fn years_go_as_far_as_seconds_do() {
        for (ext, text) in [
            (-189_388_800, "-0005-01-01T00:00:00Z"),
            (315_537_897_599, "9999-12-31T23:59:59Z"),
            (389_538_979_200, "12345-01-01T00:00:00Z"),
            (63_844_804_800, "2024-02-29T12:00:00Z"),
            (i64::MAX, "292277024627-12-06T15:30:07Z"),
        ] {
            assert_eq!(describe(0, ext, None).as_deref(), Some(text));
        }
        assert_eq!(describe(0, i64::MIN, None), None);
    }

    #[test]
    fn zones_are_of_full_minutes() {
        assert_eq!(zone_text(-(3 * 3600 + 30 * 60 + 15)), "-03:30");
        assert_eq!(zone_text(2 * 3600), "+02:00");
    }
}
