//! `allow`: which methods and paths a route lets through, decided on the raw bytes that are
//! forwarded. Case counts, an encoded spelling of a literal is another literal, and `*`, alone or as
//! the key in `NAME(*)`, is not empty and holds no slash at any level of encoding. A key is not blank
//! either.
//!
//! Graph decodes `%2F` before it splits a path. A path that is permitted here stays permitted after
//! any number of decodings: literals are equal byte for byte, `*` cannot fall apart, and `**` may.

use http::header::HeaderName;
use http::{HeaderMap, Method};

use super::path::has_dots_with_parameters;
use super::percent::{hides_slash, is_blank};
use crate::config::{AllowSpec, PatternSegment};

/// Headers by which some services take another method than the request line says.
pub static OVERRIDES: [HeaderName; 3] = [
    HeaderName::from_static("x-http-method"),
    HeaderName::from_static("x-http-method-override"),
    HeaderName::from_static("x-method-override"),
];

/// What a route lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Allow {
    /// `None`: everything.
    rules: Option<Vec<Rule>>,
    /// Whether `keep_headers` lets a method override through.
    overridable: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Rule {
    methods: Vec<Method>,
    /// The literals that the pattern begins with, each behind a slash: most rules fall here, in one
    /// comparison.
    start: String,
    /// What follows them.
    pattern: Vec<PatternSegment>,
}

impl Allow {
    /// The rules of a route. `None` lets everything through; `keep_headers` tells whether a method
    /// override may arrive.
    pub fn new(specs: Option<&[AllowSpec]>, keep_headers: &[HeaderName]) -> Self {
        Self {
            rules: specs.map(|specs| specs.iter().map(Rule::new).collect()),
            overridable: OVERRIDES.iter().any(|name| keep_headers.contains(name)),
        }
    }

    /// Whether a method on a path passes. `path` is raw and what is left after the route's prefix:
    /// empty, or beginning with a slash.
    pub fn permits(&self, method: &Method, path: &str) -> bool {
        // The bare prefix of a route goes up as a slash.
        let path = if path.is_empty() { "/" } else { path };
        match &self.rules {
            None => true,
            Some(rules) => {
                rules.iter().any(|rule| rule.permits(method, path))
                    && !has_dots_with_parameters(path)
            }
        }
    }

    /// Whether a request passes: the method of its request line, and every method that a kept
    /// override header names.
    pub fn permits_request(&self, method: &Method, headers: &HeaderMap, path: &str) -> bool {
        self.permits(method, path)
            && (!self.overridable
                || self.rules.is_none()
                || OVERRIDES
                    .iter()
                    .flat_map(|name| headers.get_all(name))
                    .all(|value| self.permits_override(value.as_bytes(), path)))
    }

    /// Whether headers that the route keeps name another method than the request line.
    pub fn is_overridden(&self, headers: &HeaderMap) -> bool {
        self.overridable && OVERRIDES.iter().any(|name| headers.contains_key(name))
    }

    /// Whether the method that an override header names passes; servers take it in any case.
    pub fn permits_override(&self, value: &[u8], path: &str) -> bool {
        let upper = value.trim_ascii().to_ascii_uppercase();
        Method::from_bytes(&upper).is_ok_and(|method| self.permits(&method, path))
    }
}

impl Rule {
    fn new(spec: &AllowSpec) -> Self {
        let mut methods = spec.methods.clone();
        if methods.contains(&Method::GET) && !methods.contains(&Method::HEAD) {
            methods.push(Method::HEAD);
        }
        let mut start = String::new();
        let mut pattern = spec.pattern.as_slice();
        while let [PatternSegment::Literal(text), after @ ..] = pattern {
            start.push('/');
            start.push_str(text);
            pattern = after;
        }
        Self {
            methods,
            start,
            pattern: pattern.to_vec(),
        }
    }

    fn permits(&self, method: &Method, path: &str) -> bool {
        path.strip_prefix(self.start.as_str())
            .is_some_and(|rest| matches(&self.pattern, rest))
            && self.methods.contains(method)
    }
}

/// Matches what is left of a path: nothing, or segments each behind a slash.
///
/// Greedy, with one way back: to the last `**`, which then takes one segment more. Two `**` never
/// need both to be moved, so the cost is at most segments times pattern.
fn matches(pattern: &[PatternSegment], path: &str) -> bool {
    let mut pattern = pattern;
    let mut rest = match path.strip_prefix('/') {
        None if path.is_empty() => None,
        None => return false,
        inner => inner,
    };
    let mut retry = None;
    loop {
        match (pattern, rest) {
            ([PatternSegment::AnyNumber], _) | ([], None) => return true,
            ([PatternSegment::AnyNumber, after @ ..], _) => {
                pattern = after;
                retry = Some((after, rest));
                continue;
            }
            ([wanted, after @ ..], Some(text)) => {
                let (segment, following) = split(text);
                if fits(wanted, segment) {
                    (pattern, rest) = (after, following);
                    continue;
                }
            }
            _ => {}
        }
        let Some((after, Some(text))) = retry else {
            return false;
        };
        let following = split(text).1;
        retry = Some((after, following));
        (pattern, rest) = (after, following);
    }
}

/// The first segment, and what follows the slash behind it.
fn split(text: &str) -> (&str, Option<&str>) {
    match memchr::memchr(b'/', text.as_bytes()) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

fn fits(wanted: &PatternSegment, segment: &str) -> bool {
    match wanted {
        PatternSegment::AnyNumber => false,
        PatternSegment::AnyOne => !segment.is_empty() && !hides_slash(segment.as_bytes()),
        // As OData's own readers split a segment: the name ends at the first bracket, and the last is
        // the end.
        PatternSegment::Keyed(name) => {
            let rest = segment.strip_prefix(name.as_str());
            let rest = rest.and_then(|rest| rest.strip_prefix('('));
            let key = rest.and_then(|rest| rest.strip_suffix(')'));
            // To them `NAME()` is the same as NAME, with white space between the brackets as well.
            key.is_some_and(|key| !is_blank(key.as_bytes()) && !hides_slash(key.as_bytes()))
        }
        PatternSegment::Literal(text) => text == segment,
    }
}
