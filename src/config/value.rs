//! Small values of the configuration. Each constructor is the only check there is: a value that
//! exists is right, and nobody downstream looks again.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroUsize;
use std::time::Duration;

pub use super::base_url::{BaseUrl, Origin, split_port};
use super::read::Scalar as _;
use super::scalar::Workers;

/// Values that are a text of a certain form.
macro_rules! texts {
    ($($name:ident)+) => {$(
        impl $name {
            /// The value as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )+};
}

texts!(HostName Name PathPrefix Scope);

/// A route's or credential's name: 1 to 64 of `a-z A-Z 0-9 . _ -`. It becomes a metric label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name(Box<str>);

impl Name {
    /// Parses a name.
    ///
    /// # Errors
    /// What would be accepted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let fits = !text.is_empty()
            && text.len() <= 64
            && text
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if fits {
            Ok(Self(text.into()))
        } else {
            Err("a name has 1 to 64 of the characters a-z A-Z 0-9 . _ -".to_owned())
        }
    }
}

/// A path prefix of a route: begins with `/`, does not end with one, has no empty, `.` or `..`
/// segment, query, fragment or percent-encoding. The root prefix is the empty string.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct PathPrefix(Box<str>);

impl PathPrefix {
    /// Parses a prefix; `/` is the root and a trailing slash is ignored.
    ///
    /// # Errors
    /// What would be accepted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(rest) = text.strip_prefix('/') else {
            return Err("a path begins with '/', for example /graph".to_owned());
        };
        if rest.is_empty() {
            return Ok(Self::default());
        }
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        for segment in rest.split('/') {
            if matches!(segment, "" | "." | "..") {
                return Err("a path has no empty, '.' or '..' segment".to_owned());
            }
            if segment.contains('*') {
                return Err("'*' is for allow; a path stands for all that is below it".to_owned());
            }
            let plain = segment.bytes().all(is_path_character);
            if !plain {
                return Err(
                    "a path is made of unreserved characters, without spaces, '%', '?', '#', ';' or '\\'"
                        .to_owned(),
                );
            }
        }
        Ok(Self(format!("/{rest}").into()))
    }
}

/// RFC 3986 section 3.3, without percent-encoding, and without ';', which some servers cut at, and
/// '*', which nobody means as it is written.
fn is_path_character(b: u8) -> bool {
    b.is_ascii_alphanumeric() || b"-._~!$&'()+,=:@".contains(&b)
}

/// A host name or IP literal, lower-case, without a trailing dot. IPv6 literals are kept in brackets, in
/// the one form that RFC 5952 gives them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HostName(Box<str>);

impl HostName {
    /// Parses a host without a port.
    ///
    /// # Errors
    /// What would be accepted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let literal = lower
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        if let Some(Ok(address)) = literal.map(str::parse::<Ipv6Addr>) {
            return Ok(Self(format!("[{address}]").into()));
        }
        let name = !lower.is_empty()
            && lower.len() <= 253
            && lower.split('.').all(|label| {
                !label.is_empty()
                    && label.len() <= 63
                    && label
                        .bytes()
                        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
                    && !label.starts_with('-')
                    && !label.ends_with('-')
            });
        if name && !half_an_address(&lower) {
            Ok(Self(lower.into()))
        } else {
            Err(
                "a host is a DNS name, an IPv4 address or a bracketed IPv6 address, and nothing else"
                    .to_owned(),
            )
        }
    }

    /// The host without the brackets of an IPv6 address: as resolvers and TLS take it.
    pub fn bare(&self) -> &str {
        self.0.trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether it is an address, so that no name has to be looked up.
    pub fn is_address(&self) -> bool {
        self.bare().parse::<IpAddr>().is_ok()
    }

    /// Whether it is this machine by definition: `localhost`, a name below it (RFC 6761 section
    /// 6.3), or a loopback address.
    pub fn is_loopback(&self) -> bool {
        self.as_str() == "localhost"
            || self.0.ends_with(".localhost")
            || self
                .bare()
                .parse::<IpAddr>()
                .is_ok_and(|ip| ip.to_canonical().is_loopback())
    }
}

/// Where names of this machine lead, in the resolver's usual order. A resolver that does not know
/// them asks the network, which may answer anything (RFC 6761 section 6.3).
pub const LOCALHOST: [IpAddr; 2] = [
    IpAddr::V6(Ipv6Addr::LOCALHOST),
    IpAddr::V4(Ipv4Addr::LOCALHOST),
];

/// Whether resolvers take this name for an IPv4 address although it is not written as one: `127.1`
/// and `0x7f000001` are loopback to them (WHATWG URL, "ends in a number").
fn half_an_address(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    let number = last.bytes().all(|b| b.is_ascii_digit())
        || last
            .strip_prefix("0x")
            .is_some_and(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit()));
    number && name.parse::<Ipv4Addr>().is_err()
}

/// A host, or every host below a suffix.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum HostPattern {
    /// Exactly this host.
    Exact(HostName),
    /// `*.suffix`: any name with at least one label in front of the suffix.
    Suffix(HostName),
}

impl HostPattern {
    /// Parses `name` or `*.name`.
    ///
    /// # Errors
    /// What would be accepted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text.strip_prefix("*.") {
            Some(suffix) => HostName::parse(suffix).map(Self::Suffix),
            None => HostName::parse(text).map(Self::Exact),
        }
    }

    /// Whether a lower-case host without port or trailing dot is meant.
    pub fn matches(&self, host: &str) -> bool {
        match self {
            Self::Exact(name) => name.as_str() == host,
            Self::Suffix(suffix) => host
                .strip_suffix(suffix.as_str())
                .and_then(|front| front.strip_suffix('.'))
                .is_some_and(|front| !front.is_empty()),
        }
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(host) => write!(f, "{host}"),
            Self::Suffix(suffix) => write!(f, "*.{suffix}"),
        }
    }
}

/// A scope of the client-credentials grant: one resource and `/.default`
/// (Microsoft identity platform, "scopes and permissions").
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope(Box<str>);

impl Scope {
    /// Parses a scope.
    ///
    /// # Errors
    /// What would be accepted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        const EXAMPLE: &str = "https://graph.microsoft.com/.default";
        if text.split_ascii_whitespace().count() > 1 {
            return Err(format!(
                "one scope per route, for example {EXAMPLE}: a token is for one resource"
            ));
        }
        match text.strip_suffix("/.default") {
            Some("") => Err(format!(
                "the resource is missing: write for example {EXAMPLE}"
            )),
            Some(_) if text.bytes().all(|b| b.is_ascii_graphic()) => Ok(Self(text.into())),
            Some(_) => Err("a scope is printable ASCII".to_owned()),
            None => Err(format!(
                "client credentials take a scope that ends in /.default, for example {EXAMPLE}"
            )),
        }
    }

    /// The part before `/.default`: what managed identity calls `resource`.
    pub fn resource(&self) -> &str {
        self.0.strip_suffix("/.default").unwrap_or(&self.0)
    }
}

/// Parses `500ms`, `10s`, `2m` or `1h`.
///
/// # Errors
/// What would be accepted, in words.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected =
        || "a duration is a whole number with a unit, at most 24h: 500ms, 10s, 2m or 1h".to_owned();
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .ok_or_else(expected)?;
    let number: u64 = text[..digits].parse().map_err(|_| expected())?;
    let millis = match &text[digits..] {
        "ms" => Some(number),
        "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => return Err(expected()),
    };
    // A day bounds every stage of an exchange; more is a typing error.
    match millis {
        Some(millis) if millis <= 86_400_000 => Ok(Duration::from_millis(millis)),
        _ => Err("a duration here is at most 24h".to_owned()),
    }
}

/// Parses `65536`, `64KiB`, `4MiB` or `1GiB`.
///
/// # Errors
/// What would be accepted, in words.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let expected = || {
        "a size is a whole number of bytes, or one with a unit, below 2^64 bytes: 64KiB, 4MiB, 1GiB"
            .to_owned()
    };
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let number: u64 = text[..digits].parse().map_err(|_| expected())?;
    let unit: u64 = match &text[digits..] {
        "" | "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(expected()),
    };
    number.checked_mul(unit).ok_or_else(expected)
}

/// More worker threads than any machine has cores for. Each has memory of its own from the start,
/// and a number that is a typing error would end the process.
pub const MOST_WORKERS: usize = 1024;

/// Parses a number of worker threads.
///
/// # Errors
/// What would be accepted, in words.
pub fn parse_workers(text: &str) -> Result<NonZeroUsize, String> {
    Workers::parse(text).map(|number| number.0)
}
