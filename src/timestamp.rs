//! Moments in UTC as RFC 3339 writes them, to the millisecond: `2026-07-30T09:05:07.123Z`; and when a
//! day begins.
//!
//! Always 24 bytes. Moments outside the years 1970 to 9999 are shown as the nearest one inside: a
//! wrong wall clock must not change the shape of a log line.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// 9999-12-31T23:59:59Z, the last second with a year of four digits.
const LAST_SECOND: u64 = 253_402_300_799;

/// A formatted moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Timestamp([u8; 24]);

impl Timestamp {
    /// Formats a moment of the wall clock.
    pub fn of(moment: SystemTime) -> Self {
        let since = moment.duration_since(UNIX_EPOCH).unwrap_or_default();
        let since = since.min(Duration::from_millis(LAST_SECOND * 1000 + 999));
        let seconds = since.as_secs();
        let (year, month, day) = civil_date(seconds / 86_400);
        let of_day = seconds % 86_400;
        let mut text = *b"0000-00-00T00:00:00.000Z";
        digits(&mut text[0..4], year);
        digits(&mut text[5..7], month);
        digits(&mut text[8..10], day);
        digits(&mut text[11..13], of_day / 3600);
        digits(&mut text[14..16], of_day / 60 % 60);
        digits(&mut text[17..19], of_day % 60);
        digits(&mut text[20..23], u64::from(since.subsec_millis()));
        Self(text)
    }

    /// The text, ASCII only.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Writes `number` into the whole of `field`, with leading zeros.
fn digits(field: &mut [u8], mut number: u64) {
    for place in field.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// Year, month and day of the Gregorian calendar, from days since 1970-01-01.
///
/// Years are counted from March, so that the leap day is the last of its year, in eras of 400 years
/// (146,097 days): Howard Hinnant, "chrono-compatible low-level date algorithms".
fn civil_date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let of_era = days % 146_097;
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_era + days / 146_097 * 400 + u64::from(month <= 2);
    (year, month, day)
}

/// When a day of the Gregorian calendar begins, in seconds since 1970 (UTC); `None` where there is no
/// such day, or it is not of the years 1970 to 9999.
pub fn midnight(year: u64, month: u64, day: u64) -> Option<u64> {
    if !((1970..=9999).contains(&year) && (1..=12).contains(&month) && (1..=31).contains(&day)) {
        return None;
    }
    // `civil_date` the other way round. What it does not give back is no day: 30 February is 1 or 2 March.
    let from_march = year - u64::from(month <= 2);
    let (era, year_of_era) = (from_march / 400, from_march % 400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day;
    let of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + of_year;
    let days = (era * 146_097 + of_era).checked_sub(719_469)?;
    (civil_date(days) == (year, month, day)).then_some(days * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64, millis: u64) -> String {
        Timestamp::of(UNIX_EPOCH + Duration::from_millis(seconds * 1000 + millis)).to_string()
    }

    #[test]
    fn known_dates_are_written_as_rfc_3339() {
        assert_eq!(at(0, 0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_399, 999), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(1_234_567_890, 42), "2009-02-13T23:31:30.042Z");
        assert_eq!(at(1_709_164_800, 0), "2024-02-29T00:00:00.000Z");
        assert_eq!(at(4_107_542_399, 5), "2100-02-28T23:59:59.005Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z");
    }

    #[test]
    fn moments_outside_four_digit_years_keep_the_shape() {
        assert_eq!(at(LAST_SECOND, 999), "9999-12-31T23:59:59.999Z");
        assert_eq!(at(LAST_SECOND + 1, 0), "9999-12-31T23:59:59.999Z");
        let before = UNIX_EPOCH - Duration::from_secs(1);
        assert_eq!(Timestamp::of(before).as_str(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn every_day_follows_the_one_before() {
        let month_lengths = |year: u64| {
            let leap =
                year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
            [
                31,
                28 + u64::from(leap),
                31,
                30,
                31,
                30,
                31,
                31,
                30,
                31,
                30,
                31,
            ]
        };
        let mut expected = (1970, 1, 1);
        for days in 0..200_000 {
            assert_eq!(civil_date(days), expected, "day {days}");
            let (year, month, day) = expected;
            assert_eq!(midnight(year, month, day), Some(days * 86_400));
            expected = if day < month_lengths(year)[month as usize - 1] {
                (year, month, day + 1)
            } else if month < 12 {
                (year, month + 1, 1)
            } else {
                (year + 1, 1, 1)
            };
        }
    }

    #[test]
    fn a_day_that_the_calendar_does_not_have_has_no_midnight() {
        let months = (0..40).flat_map(|month| (0..40).map(move |day| (month, day)));
        let of_2027 = months.filter(|(month, day)| midnight(2027, *month, *day).is_some());
        assert_eq!(of_2027.count(), 365);
        for year in [0, 1969, 10_000] {
            assert_eq!(midnight(year, 1, 1), None, "{year}");
        }
        for (year, month, day) in [
            (1970, 0, 31),
            (1970, 1, 0),
            (2027, 2, 29),
            (2100, 2, 29),
            (2027, u64::MAX, 1),
            (2027, 1, u64::MAX),
        ] {
            assert_eq!(midnight(year, month, day), None, "{year}-{month}-{day}");
        }
    }
}
