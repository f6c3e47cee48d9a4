//! Moments in UTC as RFC 3339 writes them, to the millisecond: `2026-07-30T09:05:07.123Z`; and when a
//! day begins.
//!
//! Always 24 bytes. Moments outside the years 1970 to 9999 are shown as the nearest one inside: a
//! wrong wall clock must not change the shape of a log line.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use time::{Date, Month, UtcDateTime};

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
        let moment = UtcDateTime::UNIX_EPOCH + since;
        let (year, month, day) = moment.to_calendar_date();
        let (hour, minute, second, millis) = moment.as_hms_milli();
        let mut text = *b"0000-00-00T00:00:00.000Z";
        digits(&mut text[0..4], year.unsigned_abs());
        digits(&mut text[5..7], u8::from(month).into());
        digits(&mut text[8..10], day.into());
        digits(&mut text[11..13], hour.into());
        digits(&mut text[14..16], minute.into());
        digits(&mut text[17..19], second.into());
        digits(&mut text[20..23], millis.into());
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
fn digits(field: &mut [u8], mut number: u32) {
    for place in field.iter_mut().rev() {
        *place = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// When a day of the Gregorian calendar begins, in seconds since 1970 (UTC); `None` where there is no
/// such day, or it is not of the years 1970 to 9999.
pub fn midnight(year: u64, month: u64, day: u64) -> Option<u64> {
    let month = Month::try_from(u8::try_from(month).ok()?).ok()?;
    let (year, day) = (i32::try_from(year).ok()?, u8::try_from(day).ok()?);
    let date = Date::from_calendar_date(year, month, day).ok()?;
    u64::try_from(date.midnight().as_utc().unix_timestamp()).ok()
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
    fn a_day_begins_at_its_midnight_and_one_that_the_calendar_does_not_have_never() {
        assert_eq!(midnight(1970, 1, 1), Some(0));
        assert_eq!(midnight(2024, 2, 29), Some(1_709_164_800));
        assert_eq!(midnight(9999, 12, 31), Some(LAST_SECOND / 86_400 * 86_400));
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
