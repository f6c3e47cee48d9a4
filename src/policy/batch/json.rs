//! The JSON batch of Graph: `{"requests":[{"id","method","url","headers"?,"body"?,…}]}`. Names have
//! to be spelt exactly and once, because a server that takes `URL` for `url`, or the last of two,
//! would do something else than what was read here.

use std::borrow::Cow;
use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::context::Root;
use super::reference::{References, id};
use super::{BatchContext, Fault, MOST, MOST_HEADERS, Operation, header, method, unreadable};
use crate::policy::Refusal;

/// How deep brackets may nest. Graph's bodies have fewer than ten levels.
const DEEPEST: usize = 64;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Envelope<'a> {
    #[serde(borrow)]
    requests: Requests<'a>,
}

/// The requests, up to one more than there may be.
struct Requests<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Requests<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(RequestsVisitor)
    }
}

struct RequestsVisitor;

impl<'de> Visitor<'de> for RequestsVisitor {
    type Value = Requests<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of requests")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut requests = Vec::new();
        while let Some(request) = list.next_element()? {
            if requests.len() <= MOST {
                requests.push(request);
            }
        }
        Ok(Requests(requests))
    }
}

/// One request. What is not looked at is listed, so that anything else can be refused.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
#[expect(dead_code, reason = "names that may be there")]
struct Request<'a> {
    #[serde(borrow)]
    atomicity_group: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<&'a RawValue>,
    // The SDK for Python writes `depends_on`, which Graph takes no notice of.
    #[serde(alias = "depends_on", borrow)]
    depends_on: Option<&'a RawValue>,
    headers: Option<Fields>,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    r#if: Option<&'a RawValue>,
    method: String,
    url: String,
}

/// Headers, each name once in whatever case, or with one value: the SDK for Java writes its
/// `Content-Type` twice.
struct Fields(HeaderMap);

impl<'de> Deserialize<'de> for Fields {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor)
    }
}

struct FieldsVisitor;

impl<'de> Visitor<'de> for FieldsVisitor {
    type Value = Fields;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of header names and texts")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields, A::Error> {
        let mut headers = HeaderMap::new();
        while let Some((name, value)) = map.next_entry::<String, String>()? {
            let name: HeaderName = name.parse().map_err(A::Error::custom)?;
            let value = HeaderValue::from_str(&value).map_err(A::Error::custom)?;
            let other = headers.get(&name).is_some_and(|known| *known != value);
            if headers.len() == MOST_HEADERS || other {
                return Err(A::Error::custom("too many headers, or one with two values"));
            }
            headers.insert(name, value);
        }
        Ok(Fields(headers))
    }
}

/// Whether the parameters of the media type leave it at UTF-8, all that JSON is (RFC 8259
/// section 8.1).
pub(super) fn charset(parameters: &str) -> Result<(), Refusal> {
    let foreign = parameters.split(';').any(|parameter| {
        parameter.split_once('=').is_some_and(|(name, value)| {
            // With a star it is the same to some readers (RFC 2231 sections 3 and 4).
            let name = name.split('*').next().unwrap_or_default();
            name.trim().eq_ignore_ascii_case("charset")
                && !value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        })
    });
    if foreign {
        return Err(unreadable("its charset is not utf-8"));
    }
    Ok(())
}

/// Reads a batch.
pub(super) fn read(
    context: &BatchContext<'_>,
    root: &Root<'_>,
    body: &[u8],
) -> Result<Vec<Operation>, Refusal> {
    let text = std::str::from_utf8(body).map_err(|_| unreadable("it is not utf-8"))?;
    if !text.trim_start().starts_with('{') || is_deep(text) {
        return Err(unreadable("it is not an object of reasonable depth"));
    }
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|error| {
        let position = format!("line {}, column {}", error.line(), error.column());
        unreadable(&format!(
            "it is not JSON with \"requests\" alone, spelt like this and once ({position})"
        ))
    })?;
    let requests = envelope.requests.0;
    if requests.len() > MOST {
        return Err(unreadable("it has more than 5000 requests"));
    }
    let mut references = References::default();
    let mut operations = Vec::with_capacity(requests.len());
    for (index, raw) in requests.iter().enumerate() {
        let operation = operation(context, root, &mut references, raw.get());
        operations.push(operation.map_err(|fault| fault.of(index + 1))?);
    }
    references.check()?;
    Ok(operations)
}

fn operation<'a>(
    context: &BatchContext<'_>,
    root: &Root<'_>,
    references: &mut References<'a>,
    raw: &'a str,
) -> Result<Operation, Fault> {
    let request: Option<Request<'_>> = raw
        .starts_with('{')
        .then(|| serde_json::from_str(raw).ok())
        .flatten();
    let request = request.ok_or(Fault::unreadable(
        "it is not an object of id, method, url, headers, body and dependsOn, each spelt like this \
         and at most once, headers being up to 100 texts",
    ))?;
    let method = method(&request.method)?;
    let headers = request.headers.map(|fields| fields.0).unwrap_or_default();
    for (name, value) in &headers {
        header(context, name, value)?;
    }
    let mut url = request.url;
    // Ids such as "count" stand beside "/users/$count" there, and mean nothing.
    if root.graph {
        let path = context.relative(root, &url)?;
        return Ok(Operation {
            method,
            path,
            headers,
        });
    }
    let (path, end) = match references.resolve(&url)? {
        Some(found) => found,
        None => (context.relative(root, &url)?, 0),
    };
    let operation = Operation {
        method,
        path,
        headers,
    };
    let id = id(request.id.map(text).transpose()?, &operation.headers)?;
    references.operation(id, &operation, url.split_off(end).into())?;
    Ok(operation)
}

/// An id: a text, or a number, as some write it.
fn text(id: &RawValue) -> Result<Cow<'_, str>, Fault> {
    let raw = id.get();
    if raw.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(Cow::Borrowed(raw));
    }
    let id = serde_json::from_str::<String>(raw).ok();
    id.filter(|id| id.is_ascii())
        .map(Cow::Owned)
        .ok_or(Fault::unreadable(
            "its id is neither an ascii text nor a whole number",
        ))
}

/// Whether brackets nest deeper than is read.
fn is_deep(text: &str) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    text.bytes().any(|byte| {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
            return false;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth > DEEPEST
    })
}
