//! `Retry-After` (RFC 9110 section 10.2.3): seconds, a date, or, as Graph and Entra send it, a fraction
//! of seconds.

use std::time::{Duration, SystemTime};

use http::header::{DATE, RETRY_AFTER};
use http::{HeaderMap, HeaderValue};

/// How long an answer wants to be left alone; `None` when it does not say, or neither in a number nor
/// in a date. A date is counted against the sender's own `Date`, because its clock and ours may differ;
/// without one against `now`, which is read then only. One that has passed is no time at all.
pub fn read(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    number(text).or_else(|| until(text, headers, now))
}

/// The same in whole seconds, rounded up.
pub fn read_seconds(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<u64> {
    read(headers, now).map(rounded_up)
}

/// Writes the header as those seconds, which half of the SDKs read alone (Python's raises at a
/// fraction), and returns them; `None`, and the header as it is, when it does not say how long.
pub fn in_seconds(headers: &mut HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<u64> {
    let seconds = read_seconds(headers, now)?;
    headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
    Some(seconds)
}

/// Whole seconds.
pub fn rounded_up(left: Duration) -> u64 {
    let more = u64::from(left.subsec_nanos() > 0);
    left.as_secs().saturating_add(more)
}

fn number(text: &str) -> Option<Duration> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) {
        return None;
    }
    let nanos = fraction.bytes().chain(std::iter::repeat(b'0')).take(9);
    let nanos = nanos.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    Some(Duration::new(whole.parse().ok()?, nanos))
}

fn until(text: &str, headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let then = httpdate::parse_http_date(text).ok()?;
    let left = then.duration_since(date(headers).unwrap_or_else(now));
    Some(left.unwrap_or_default())
}

/// What the sender's clock showed (RFC 9110 section 6.6.1).
pub fn date(headers: &HeaderMap) -> Option<SystemTime> {
    httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?).ok()
}

#[cfg(test)]
mod tests {
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
            "+5",
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
