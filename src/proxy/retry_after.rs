//! `Retry-After` as callers get it: whole seconds, rounded up. Graph sends fractions and gateways
//! dates, and half of the SDKs read neither (Python's raises at a fraction).

use std::time::{Duration, SystemTime};

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderValue};

use crate::retry_after;

/// Writes the header as whole seconds and returns them; `None`, and the header as it is, when it does
/// not say how long. `now` is read for a date alone.
pub(super) fn in_seconds(headers: &mut HeaderMap, now: fn() -> SystemTime) -> Option<u64> {
    let seconds = read(headers, now)?;
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    Some(seconds)
}

/// The whole seconds that the header says, as [`in_seconds`] counts them.
pub(super) fn read(headers: &HeaderMap, now: fn() -> SystemTime) -> Option<u64> {
    retry_after::read(headers, now).map(rounded_up)
}

/// Whole seconds.
pub(super) fn rounded_up(left: Duration) -> u64 {
    let more = u64::from(left.subsec_nanos() > 0);
    left.as_secs().saturating_add(more)
}

#[cfg(test)]
mod tests {
    use http::header::DATE;

    use super::*;

    fn written(value: &str, date: Option<&str>) -> (Option<u64>, String) {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, HeaderValue::from_str(value).unwrap());
        if let Some(date) = date {
            headers.insert(DATE, HeaderValue::from_str(date).unwrap());
        }
        // 2029-12-31 23:59:58 and a half.
        let now = || SystemTime::UNIX_EPOCH + Duration::from_millis(1_893_455_998_500);
        let seconds = in_seconds(&mut headers, now);
        (seconds, headers[RETRY_AFTER].to_str().unwrap().to_owned())
    }

    #[test]
    fn numbers_are_rounded_up() {
        for (value, wanted) in [
            ("10", 10),
            ("2.128", 3),
            ("2.000", 2),
            ("0.1", 1),
            (" 7 ", 7),
            ("007", 7),
            ("0", 0),
            ("5.", 5),
        ] {
            assert_eq!(
                written(value, None),
                (Some(wanted), wanted.to_string()),
                "{value}"
            );
        }
    }

    #[test]
    fn dates_are_counted_against_the_upstreams_clock() {
        let then = "Tue, 01 Jan 2030 00:00:30 GMT";
        assert_eq!(
            written(then, Some("Tue, 01 Jan 2030 00:00:10 GMT")).0,
            Some(20)
        );
        assert_eq!(written(then, Some("not a date")).0, Some(32));
        assert_eq!(written(then, None).0, Some(32));
        assert_eq!(
            written(then, Some("Tue, 01 Jan 2030 00:01:10 GMT")).0,
            Some(0)
        );
    }

    #[test]
    fn anything_else_stays_as_it_is() {
        for value in [
            "soon",
            "-1",
            "",
            "1e3",
            ".5",
            "1.2.3",
            "99999999999999999999",
        ] {
            assert_eq!(written(value, None), (None, value.to_owned()), "{value}");
        }
        assert_eq!(in_seconds(&mut HeaderMap::new(), SystemTime::now), None);
    }
}
