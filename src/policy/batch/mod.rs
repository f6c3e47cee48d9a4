//! What is inside a `$batch`. A batch is a list of requests in one body, and whoever may send one
//! could do everything the token may, so it is read strictly: what two servers might read in two
//! ways is refused, and the bytes that go up are the bytes that were read.
//!
//! Before it is read here, addresses of this proxy in it have been turned back (`rewrite::request`).

mod context;
mod json;
mod message;
mod multipart;
mod reference;

#[cfg(test)]
mod tests;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE, EXPECT, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use context::BatchContext;

use super::allow::Allow;
use super::request_header::{RequestRules, is_fixed};
use super::{Refusal, path};
use crate::code::Code;
use crate::config::METHODS;

/// Operations of one batch: what Dynamics 365 Finance and Operations takes. Dataverse takes 1000, Graph
/// 20, and they say so themselves.
const MOST: usize = 5000;

/// Headers of one operation: as many as a request of its own may have by default.
const MOST_HEADERS: usize = 100;

/// Bytes of an operation's path in a message: enough to know it by.
const LONGEST: usize = 200;

/// One request inside a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Operation {
    /// The method, upper-case.
    pub method: Method,
    /// The raw path below the upstream's root: what would follow the route's prefix if it were sent
    /// alone. A reference to what an earlier operation makes stands as `(…)`.
    pub path: String,
    /// The headers of its own.
    pub headers: HeaderMap,
}

/// Whether a raw path names a batch, in any case, encoded up to three times or overlong, below any
/// version, and with whatever servers are known to overlook at the end of a path.
pub fn is_batch(path: &str) -> bool {
    let path = path::deepest(path.as_bytes());
    ends_in_batch(&path)
}

fn ends_in_batch(path: &[u8]) -> bool {
    let end = path.iter().position(|byte| matches!(byte, b'?' | b'#'));
    let mut path = &path[..end.unwrap_or(path.len())];
    while let [rest @ .., b'/' | b'\\' | b'.' | b' '] = path {
        path = rest;
    }
    let segment = path
        .rsplit(|byte| matches!(byte, b'/' | b'\\'))
        .next()
        .unwrap_or_default();
    // `;` begins parameters of a segment, `(` the arguments of an OData function.
    let name = segment
        .split(|byte| matches!(byte, b';' | b'(' | b' '))
        .next()
        .unwrap_or_default();
    name.eq_ignore_ascii_case(b"$batch")
}

/// Reads a batch: the JSON form of Graph or the multipart form of Dataverse, as `Content-Type` says.
///
/// # Errors
/// 400 with what could not be read, 403 for an operation that leads to another host or is a batch.
pub fn read(
    context: &BatchContext<'_>,
    headers: &HeaderMap,
    body: &[u8],
) -> Result<Vec<Operation>, Refusal> {
    let coded = headers
        .get_all(CONTENT_ENCODING)
        .iter()
        .any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    if coded {
        return Err(unreadable(
            "it is compressed; send it without Content-Encoding",
        ));
    }
    let mut kinds = headers.get_all(CONTENT_TYPE).iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return Err(unreadable("it needs one Content-Type"));
    };
    let kind = kind
        .to_str()
        .map_err(|_| unreadable("its Content-Type is not text"))?;
    // What only looks like a batch would go up as another request, which `allow` was not asked about.
    let root = context.root().map_err(unreadable)?;
    let (essence, parameters) = kind.split_once(';').unwrap_or((kind, ""));
    match essence.trim().to_ascii_lowercase().as_str() {
        "application/json" => {
            json::charset(parameters)?;
            json::read(context, &root, body)
        }
        "multipart/mixed" => {
            let boundary = multipart::boundary(kind).map_err(unreadable)?;
            multipart::read(context, &root, &boundary, body)
        }
        _ => Err(unreadable("a batch is application/json or multipart/mixed")),
    }
}

/// Whether every operation passes what a request of its own would have to pass.
///
/// # Errors
/// 403 or 400 with the number of the first operation that does not.
pub fn check(operations: &[Operation], allow: &Allow, rules: &RequestRules) -> Result<(), Refusal> {
    for (index, operation) in operations.iter().enumerate() {
        let number = index + 1;
        let Operation {
            method,
            path,
            headers,
        } = operation;
        if let Some(name) = headers.keys().find(|name| rules.refuses(name.as_str())) {
            let remedy = if is_fixed(name) {
                "leave it out"
            } else {
                "leave it out, or list it under keep_headers of the route"
            };
            let problem = format!(
                "its header \"{name}\" is not let through inside a batch, which goes up as it is; {remedy}"
            );
            return Err(refused(Code::NotAllowed, number, &problem));
        }
        if !allow.permits_request(method, headers, path) {
            let problem = not_allowed(operation, allow);
            return Err(refused(Code::NotAllowed, number, &problem));
        }
    }
    Ok(())
}

/// What `allow` does not let through of an operation. Nobody else can say which one it was: what is in
/// a batch is no line of the access log.
fn not_allowed(operation: &Operation, allow: &Allow) -> String {
    let Operation { method, path, .. } = operation;
    let end = path.floor_char_boundary(LONGEST);
    let more = if end < path.len() { "…" } else { "" };
    let path = &path[..end];
    let how = match allow.permits(method, &operation.path) {
        true => " with the method of its override header",
        false => "",
    };
    format!(
        "the route's allow does not let {method} {path}{more} through{how}; `allow` in routes.yaml lists what it does"
    )
}

/// The batch as a whole cannot be read.
fn unreadable(problem: &str) -> Refusal {
    let message = format!("the batch cannot be read: {problem}");
    Refusal::new(Code::BadRequest, message)
}

/// One operation of it, counted from one, is refused.
fn refused(code: Code, number: usize, problem: &str) -> Refusal {
    Refusal::new(code, format!("operation {number} of the batch: {problem}"))
}

/// What is wrong with an operation, before its number is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fault {
    code: Code,
    problem: &'static str,
}

impl Fault {
    /// It cannot be read.
    const fn unreadable(problem: &'static str) -> Self {
        Self {
            code: Code::BadRequest,
            problem,
        }
    }

    /// It may not be sent.
    const fn forbidden(problem: &'static str) -> Self {
        Self {
            code: Code::NotAllowed,
            problem,
        }
    }

    fn of(self, number: usize) -> Refusal {
        refused(self.code, number, self.problem)
    }
}

/// Judges a header of an operation, in either form: where the operation goes and how it is framed is
/// for the batch to say.
fn header(context: &BatchContext<'_>, name: &HeaderName, value: &HeaderValue) -> Result<(), Fault> {
    const FRAMING: [HeaderName; 3] = [CONTENT_ENCODING, EXPECT, TRANSFER_ENCODING];
    if FRAMING.contains(name) {
        return Err(Fault::unreadable(
            "it has a Transfer-Encoding, Content-Encoding or Expect",
        ));
    }
    if name == HOST && !value.to_str().is_ok_and(|host| context.is_host(host)) {
        return Err(Fault::forbidden(
            "its Host is not the upstream; leave it out",
        ));
    }
    Ok(())
}

/// The method of an operation. Servers may take it in any case, so it is judged in one.
fn method(text: &str) -> Result<Method, Fault> {
    METHODS
        .into_iter()
        .find(|known| known.as_str().eq_ignore_ascii_case(text))
        .ok_or(Fault::unreadable("its method is not one that is forwarded"))
}
