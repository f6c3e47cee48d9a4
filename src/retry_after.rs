//! `Retry-After` (RFC 9110 section 10.2.3): seconds, a date, or, as Graph and Entra send it, a fraction
//! of seconds.

use std::time::{Duration, SystemTime};

use http::HeaderMap;
use http::header::{DATE, RETRY_AFTER};

/// How long an answer wants to be left alone; `None` when it does not say, or neither in a number nor
/// in a date. A date is counted against the sender's own `Date`, because its clock and ours may differ;
/// without one against `now`, which is read then only.
pub fn read(headers: &HeaderMap, now: impl FnOnce() -> SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    number(text).or_else(|| until(text, headers, now))
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
    let date = headers.get(DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| httpdate::parse_http_date(date).ok());
    let left = then.duration_since(date.unwrap_or_else(now));
    Some(left.unwrap_or_default())
}
