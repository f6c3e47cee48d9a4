//! The heads inside a multipart batch: of the parts, and of the HTTP messages in them.

use super::address::{Found, Links, Way};
use super::header::{self, NAMES, Reach};
use super::multipart::boundary;
use super::representation::is_json;
use super::request;
use super::spelling::Spelling;

/// A head that was read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// What it has become, when it has changed.
    pub(super) text: Option<Vec<u8>>,
    /// How many links in it were rewritten.
    pub(super) links: u64,
    /// What follows it.
    pub(super) then: Then,
}

/// What follows a head.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Then {
    /// JSON text.
    Json,
    /// An HTTP message.
    Message,
    /// Anything else.
    Other,
    /// Parts, with this boundary.
    Parts(String),
}

/// Reads the head of a part.
pub(super) fn part_head(head: &[u8]) -> Head {
    let kind = field(head, b"content-type").unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    let then = match boundary(kind) {
        Some(boundary) => Then::Parts(boundary),
        None if essence.eq_ignore_ascii_case("application/http") => Then::Message,
        None => Then::Other,
    };
    // What is inside may change its length.
    let lines = (then != Then::Other)
        .then(|| without_length(head))
        .flatten();
    Head {
        text: lines,
        links: 0,
        then,
    }
}

/// Reads and rewrites the head of a message.
pub(super) fn head(head: &[u8], links: &Links, way: Way) -> Head {
    let json = is_json(field(head, b"content-type").unwrap_or_default())
        && field(head, b"content-encoding")
            .is_none_or(|coding| coding.eq_ignore_ascii_case("identity"));
    let (text, count) = match way {
        Way::ToCaller => answer(head, links),
        Way::ToUpstream => asked(head, links),
    };
    let kept = if json { without_length(&text) } else { None };
    let changed = count > 0 || kept.is_some();
    Head {
        links: count,
        then: if json { Then::Json } else { Then::Other },
        text: changed.then(|| kept.unwrap_or(text)),
    }
}

/// Rewrites the five headers of an answer.
fn answer(head: &[u8], links: &Links) -> (Vec<u8>, u64) {
    let redirect = head
        .splitn(3, |byte| *byte == b' ')
        .nth(1)
        .is_some_and(|s| s.starts_with(b"3"));
    let mut count = 0;
    let mut text = Vec::with_capacity(head.len() + 64);
    for line in head.split_inclusive(|byte| *byte == b'\n') {
        let rewritten = split(line).and_then(|(name, value)| {
            let name = NAMES
                .iter()
                .find(|known| name.eq_ignore_ascii_case(known.as_bytes()))?;
            // Which request this answers is not known here, and it may have been one for a file.
            let reach = Reach {
                relative: redirect && *name == "location",
                own: true,
            };
            header::rewrite_value(value.as_bytes(), reach, links)
        });
        count += put(&mut text, line, rewritten.as_deref());
    }
    (text, count)
}

/// Rewrites the target and the host of a request.
fn asked(head: &[u8], links: &Links) -> (Vec<u8>, u64) {
    // The first line is no field, whatever it looks like.
    let fields = head.splitn(2, |byte| *byte == b'\n').nth(1);
    let host = field(fields.unwrap_or_default(), b"host");
    let ours = host.map_or_else(Vec::new, |host| links.origins(host));
    let mut count = 0;
    let mut text = Vec::with_capacity(head.len() + 64);
    for (index, line) in head.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if index == 0 {
            match std::str::from_utf8(line)
                .ok()
                .and_then(|line| request_line(line, &ours, links))
            {
                Some(line) => {
                    text.extend_from_slice(line.as_bytes());
                    count += 1;
                }
                None => text.extend_from_slice(line),
            }
            continue;
        }
        let is_host = split(line).is_some_and(|(name, _)| name.eq_ignore_ascii_case(b"host"));
        let authority = links.upstream().origin.authority();
        let value = (is_host && !ours.is_empty()).then_some(authority.as_bytes());
        count += put(&mut text, line, value);
    }
    (text, count)
}

/// The request line with its target turned into the upstream's: `METHOD target HTTP/1.1`. `ours` are
/// the origins of this proxy that the message's host may mean.
fn request_line(line: &str, ours: &[String], links: &Links) -> Option<String> {
    let (method, rest) = line.split_once(' ')?;
    let (target, version) = rest.split_once(' ')?;
    let moved = if target.starts_with('/') {
        // Relative to the root of the host, which is this proxy when the message says so.
        ours.iter().find_map(|origin| {
            let url = format!("{origin}{target}");
            match links.find(Way::ToUpstream, url.as_bytes(), Spelling::Plain) {
                Found::Yes { len, route } if links.is_own(route) => Some(format!(
                    "{}{}",
                    links.upstream().prefix.as_str(),
                    &url[len..]
                )),
                _ => None,
            }
        })
    } else {
        match links.find(Way::ToUpstream, target.as_bytes(), Spelling::Plain) {
            Found::Yes { len, route } => {
                Some(links.text(Way::ToUpstream, route).concat() + &target[len..])
            }
            Found::Cut | Found::No => None,
        }
    };
    let known = moved.as_deref().unwrap_or(target);
    let referred = known.split_once('?').and_then(|(path, query)| {
        let query = request::query(query, links)?;
        Some(format!("{path}?{query}"))
    });
    let target = referred.or(moved)?;
    Some(format!("{method} {target} {version}"))
}

/// Puts out a line, with another value when there is one; returns how many values changed.
fn put(text: &mut Vec<u8>, line: &[u8], value: Option<&[u8]>) -> u64 {
    let Some((value, colon)) = value.zip(line.iter().position(|byte| *byte == b':')) else {
        text.extend_from_slice(line);
        return 0;
    };
    text.extend_from_slice(&line[..=colon]);
    text.push(b' ');
    text.extend_from_slice(value);
    text.extend_from_slice(if line.ends_with(b"\r\n") {
        b"\r\n"
    } else {
        b"\n"
    });
    1
}

/// The head without its `Content-Length`, when it has one.
fn without_length(head: &[u8]) -> Option<Vec<u8>> {
    field(head, b"content-length")?;
    let other = |line: &&[u8]| {
        split(line).is_none_or(|(name, _)| !name.eq_ignore_ascii_case(b"content-length"))
    };
    let lines = head.split_inclusive(|byte| *byte == b'\n');
    Some(lines.filter(other).collect::<Vec<_>>().concat())
}

/// The value of a field; of the first one, when there are several.
fn field<'a>(head: &'a [u8], wanted: &[u8]) -> Option<&'a str> {
    let mut lines = head.split(|byte| *byte == b'\n').filter_map(split);
    let (_, value) = lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
    Some(value)
}

/// Name and value of a header line.
fn split(line: &[u8]) -> Option<(&[u8], &str)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let value = std::str::from_utf8(&line[colon + 1..]).ok()?;
    Some((line[..colon].trim_ascii(), value.trim()))
}
