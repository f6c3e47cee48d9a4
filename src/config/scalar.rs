//! How each kind of single value is written in routes.yaml. The types are those of the checked
//! configuration where one exists; the rest are words of this file only.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

use http::{HeaderName, HeaderValue};
use schemars::{Schema, json_schema};

use super::read::Scalar;
use super::value::{
    BaseUrl, HostPattern, MOST_WORKERS, Name, Origin, PathPrefix, Scope, parse_bytes,
    parse_duration,
};
use super::{AllowSpec, BatchRule, ListenAddress, LogFormat, RewriteLinks, UpstreamHttp};
use crate::timestamp::midnight;

/// A duration.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(pub(super) Duration);

/// A number of bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Size(pub(super) u64);

/// A number of things, within bounds. Everything that is counted here fits 31 bits many times over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Count<const LEAST: usize = 1, const MOST: usize = { i32::MAX as usize }>(
    pub(super) NonZeroUsize,
);

/// A number of worker threads.
pub(super) type Workers = Count<1, MOST_WORKERS>;

/// Text that may not be empty.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

/// A status code that may be retried.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Status(pub(super) u16);

/// A day, as seconds since 1970 at its beginning.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Day(pub(super) u64);

/// One of Microsoft's clouds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cloud {
    China,
    Public,
    UsGov,
    UsGovDod,
}

/// The one of these words that is written. YAML has three ways to write a boolean (YAML 1.2.2 section
/// 10.3.2), and editors take them all.
fn word<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    let text = match text {
        "True" | "TRUE" => "true",
        "False" | "FALSE" => "false",
        other => other,
    };
    let found = words.iter().find(|(word, _)| *word == text);
    found.map(|(_, value)| *value).ok_or_else(|| {
        let words: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        format!("one of {}", words.join(", "))
    })
}

fn number(text: &str) -> Option<u64> {
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// What an editor accepts for a text that may look like something else: `name: 365`.
pub(super) fn plain() -> Schema {
    json_schema!({ "type": ["string", "number", "boolean"] })
}

/// What an editor accepts for what a variable holds: no editor knows.
pub(super) fn reference() -> Schema {
    json_schema!({ "type": "string", "pattern": r"\$\{" })
}

/// Types that parse themselves, with what an editor accepts for them.
macro_rules! parsed {
    ($schema:expr; $($type:ty, $noun:literal, $example:literal, $stand_in:literal, $parse:expr;)+) => {$(
        impl Scalar for $type {
            const NOUN: &'static str = $noun;
            const EXAMPLE: &'static str = $example;
            const STAND_IN: &'static str = $stand_in;

            fn parse(text: &str) -> Result<Self, String> {
                let parse: fn(&str) -> Result<Self, String> = $parse;
                parse(text)
            }

            fn schema() -> Schema {
                $schema
            }
        }
    )+};
}

/// Words and the value each stands for; some are numbers or booleans to an editor.
macro_rules! words {
    ($type:ty, $noun:literal, $editor:tt, { $first:literal => $value:expr, $($more:tt)* }) => {
        parsed! {
            json_schema!({ "anyOf": [{ "enum": $editor }, reference()] });
            $type, $noun, $first, $first, |text| word(text, &words!(@ $first => $value, $($more)*));
        }
    };
    (@ $($word:literal => $value:expr,)+) => { [$(($word, $value)),+] };
}

words!(bool, "true or false", [true, false, "true", "false"], {
    "true" => true, "false" => false,
});
words!(BatchRule, "a batch rule", ["check", "pass", "refuse"], {
    "check" => BatchRule::Check, "pass" => BatchRule::Pass, "refuse" => BatchRule::Refuse,
});
words!(Cloud, "the name of a cloud", ["public", "usgov", "usgov-dod", "china"], {
    "public" => Cloud::Public, "usgov" => Cloud::UsGov, "usgov-dod" => Cloud::UsGovDod,
    "china" => Cloud::China,
});
words!(LogFormat, "a log format", ["json", "text"], {
    "json" => LogFormat::Json, "text" => LogFormat::Text,
});
words!(RewriteLinks, "true, all or false", [true, false, "true", "all", "false"], {
    "true" => RewriteLinks::On, "all" => RewriteLinks::All, "false" => RewriteLinks::Off,
});
words!(UpstreamHttp, "an HTTP version", [1, 2, "1", "2", "auto"], {
    "1" => UpstreamHttp::Http1, "2" => UpstreamHttp::Http2, "auto" => UpstreamHttp::Auto,
});

/// A host, which `true` is none of: who writes that looks for a switch, and would wait for hosts that
/// are never served or followed.
fn host_pattern(text: &str) -> Result<HostPattern, String> {
    match word(text, &[("true", ()), ("false", ())]) {
        Ok(()) => Err("name the hosts; there is no switch for all of them".to_owned()),
        Err(_) => HostPattern::parse(text),
    }
}

/// What an editor accepts for a text of this form, or for what a variable holds.
fn form(pattern: &str) -> Schema {
    json_schema!({ "type": "string", "pattern": format!(r"{pattern}|\$\{{") })
}

parsed! {
    json_schema!({ "type": "string" });
    HostPattern, "a host name, or *. and a domain", "graph.corp or *.corp", "unset.invalid", host_pattern;
    ListenAddress, "an address to listen on", "localhost:8080", "localhost:0", Self::parse;
}

parsed! {
    form(r"^\s*[A-Z,]+\s+/");
    AllowSpec, "a method and a path", "GET /v1.0/users/**", "GET /unset", Self::parse;
}

parsed! {
    form(r"^[Hh][Tt][Tt][Pp][Ss]?://");
    BaseUrl, "a URL", "https://graph.microsoft.com", "https://unset.invalid", Self::parse;
    Origin, "the origin of web pages", "https://app.contoso.com", "https://unset.invalid", |text| {
        let url = BaseUrl::parse(text).ok().filter(|url| url.prefix.as_str().is_empty());
        url.map(|url| url.origin)
            .ok_or_else(|| "scheme, host and port, nothing else: https://app.contoso.com".to_owned())
    };
}

parsed! {
    form("^/");
    PathPrefix, "a path", "/graph", "/unset", Self::parse;
}

parsed! {
    form(r"/\.default$");
    Scope, "a scope that ends in /.default", "https://graph.microsoft.com/.default", "https://unset.invalid/.default", Self::parse;
}

parsed! {
    form(":[0-9]+$");
    SocketAddr, "an address and a port", "10.0.0.4:443", "127.0.0.1:0", |text| text.parse().map_err(|_| {
        "an IP address and a port: 10.0.0.4:443 or [fd00::4]:443".to_owned()
    });
}

parsed! {
    form("^[0-9]{4}-[0-9]{2}-[0-9]{2}$");
    Day, "a day", "2027-03-01", "2000-01-01", parse_day;
}

parsed! {
    plain();
    Name, "a name", "graph", "unset", Self::parse;
    Text, "a text", "reporting", "unset", |text| match text.trim() {
        // What is missing depends on the key.
        "" => Err(String::new()),
        _ => Ok(Self(text.to_owned())),
    };
    HeaderName, "a header name", "x-team", "x-unset", |text| {
        // '*' is a legal character of a name and never one of a real header.
        let name = if text.contains('*') { None } else { text.parse().ok() };
        name.ok_or_else(|| "the whole name of a header, without a pattern or a colon".to_owned())
    };
    HeaderValue, "a header value", "reporting", "unset", |text| {
        text.parse().map_err(|_| "visible ASCII characters on one line".to_owned())
    };
}

parsed! {
    // Never a bare number, which says nothing about its unit.
    form("^[0-9]+(ms|s|m|h)$");
    Time, "a duration", "30s", "1s", |text| parse_duration(text).map(Self);
}

impl<const LEAST: usize, const MOST: usize> Scalar for Count<LEAST, MOST> {
    const NOUN: &'static str = "a number";
    const EXAMPLE: &'static str = "4";
    const STAND_IN: &'static str = "4";

    fn parse(text: &str) -> Result<Self, String> {
        number(text)
            .and_then(|number| usize::try_from(number).ok())
            .filter(|number| (LEAST..=MOST).contains(number))
            .and_then(NonZeroUsize::new)
            .map(Self)
            .ok_or_else(|| format!("a whole number from {LEAST} to {MOST}"))
    }

    fn schema() -> Schema {
        // Or a string of digits: it may come from a variable.
        let number = json_schema!({ "type": "integer", "minimum": LEAST, "maximum": MOST });
        json_schema!({ "anyOf": [number, form("^[0-9]+$")] })
    }
}

parsed! {
    // Or a string: it may come from a variable, or have a unit.
    json_schema!({ "anyOf": [{ "type": "integer", "minimum": 0 }, form("^[0-9]+(B|KiB|MiB|GiB)?$")] });
    Size, "a size", "4MiB", "1", |text| parse_bytes(text).map(Self);
}

parsed! {
    json_schema!({ "anyOf": [{ "enum": RETRIED }, form("^[0-9]+$")] });
    Status, "a status", "503", "503", |text| number(text)
        .and_then(|number| u16::try_from(number).ok())
        .filter(|status| RETRIED.contains(status))
        .map(Self)
        .ok_or_else(|| format!("one of those that waiting can cure: {RETRIED:?}"));
}

/// Other statuses answer the same again, however long one waits (RFC 9110 section 15).
const RETRIED: [u16; 7] = [408, 425, 429, 500, 502, 503, 504];

/// Parses `2027-03-01` to seconds since 1970 (UTC).
fn parse_day(text: &str) -> Result<Day, String> {
    let expected = || "a day such as 2027-03-01".to_owned();
    let shape = text.len() == 10
        && text.bytes().enumerate().all(|(i, b)| match i {
            4 | 7 => b == b'-',
            _ => b.is_ascii_digit(),
        });
    if !shape {
        return Err(expected());
    }
    let part = |range: std::ops::Range<usize>| number(&text[range]).ok_or_else(expected);
    let (year, month, day) = (part(0..4)?, part(5..7)?, part(8..10)?);
    midnight(year, month, day).map(Day).ok_or_else(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_its_first_second_in_utc() {
        let seconds = |text| parse_day(text).map(|day| day.0);
        assert_eq!(seconds("1970-01-01"), Ok(0));
        assert_eq!(seconds("2000-03-01"), Ok(951_868_800));
        assert_eq!(seconds("2027-03-01"), Ok(1_803_859_200));
        assert_eq!(seconds("2028-02-29"), Ok(1_835_395_200));
        for wrong in [
            "2027-02-29",
            "2027-13-01",
            "2027-00-01",
            "2027-01-00",
            "1969-01-01",
            "27-3-1",
            "2027-3-01",
            "2027/03/01",
            "soon",
            "2027-03-0é",
        ] {
            assert!(seconds(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn every_stand_in_parses() {
        fn check<T: Scalar>() {
            assert!(T::parse(T::STAND_IN).is_ok(), "{}", T::NOUN);
        }
        check::<AllowSpec>();
        check::<BaseUrl>();
        check::<Count>();
        check::<Count<2, 10>>();
        check::<Day>();
        check::<HeaderName>();
        check::<HostPattern>();
        check::<ListenAddress>();
        check::<Name>();
        check::<Origin>();
        check::<PathPrefix>();
        check::<Scope>();
        check::<Size>();
        check::<SocketAddr>();
        check::<Status>();
        check::<Text>();
        check::<Time>();
        check::<Workers>();
    }

    #[test]
    fn header_names_are_whole_names() {
        assert!(HeaderName::parse("MSCRM.BypassCustomPluginExecution").is_ok());
        for wrong in ["", "MSCRM.Bypass*", "x y", "x:"] {
            assert!(<HeaderName as Scalar>::parse(wrong).is_err(), "{wrong}");
        }
    }
}
