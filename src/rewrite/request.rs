//! The other direction: a client that only knows this proxy names rows by their addresses here, in
//! `$id=` queries and in `@odata.id` and `@odata.bind` members of bodies. The upstream knows no
//! address but its own and refuses others, so they are turned back. Everything else keeps its bytes.

use bytes::Bytes;

use super::address::{Found, Links, Way};
use super::body::Reader;
use super::multipart::{self, Multipart};
use super::scan::Scanner;
use super::spelling::{Follows, Spelling};
use super::text::Text;

/// The query with the references in its `$id` and `@odata.id` options turned back; `None` when
/// there are none.
pub fn query(query: &str, links: &Links) -> Option<String> {
    let mut changed = false;
    let mut options = Vec::new();
    for option in query.split('&') {
        let rewritten = option
            .split_once('=')
            .filter(|(name, _)| is_reference(name));
        match rewritten.and_then(|(name, value)| Some((name, reference(value, links)?))) {
            Some((name, value)) => {
                changed = true;
                options.push(std::borrow::Cow::Owned(format!("{name}={value}")));
            }
            None => options.push(option.into()),
        }
    }
    changed.then(|| options.join("&"))
}

/// The body of a request with its references turned back; `None` when there are none.
pub fn body(body: &[u8], links: &Links) -> Option<Bytes> {
    scanned(body, links, Text::Request)
}

/// A JSON batch with the references in its bodies turned back and the targets of its operations
/// made relative to `root`, the path of `$batch` below the route without its last segment: for
/// example `/v1.0`. `None` when nothing changes.
pub fn json_batch(body: &[u8], root: &str, links: &Links) -> Option<Bytes> {
    scanned(body, links, Text::BatchRequest(root.to_owned()))
}

/// A multipart batch of this `Content-Type` with the targets of its operations and the references
/// in its bodies turned back. `None` when nothing changes.
pub fn multipart_batch(body: &[u8], content_type: &str, links: &Links) -> Option<Bytes> {
    let boundary = multipart::boundary(content_type)?;
    let multipart = Multipart::new(links.clone(), Way::ToUpstream, &boundary);
    turned(body, Reader::Multipart(Box::new(multipart)))
}

fn scanned(body: &[u8], links: &Links, text: Text) -> Option<Bytes> {
    turned(body, Reader::Json(Scanner::of(links.clone(), text)))
}

fn turned(body: &[u8], mut reader: Reader) -> Option<Bytes> {
    let turned = reader.whole(body)?;
    (reader.links_found() > 0).then(|| turned.into())
}

fn is_reference(name: &str) -> bool {
    ["$id", "@odata.id"].iter().any(|wanted| {
        let follows = Spelling::Percent.follows(name.as_bytes(), 0, wanted);
        follows == Follows::Yes(name.len())
    })
}

/// A reference of this proxy as one of the upstream, percent-encoded if it was.
fn reference(value: &str, links: &Links) -> Option<String> {
    let Found::Yes { len, route } =
        links.find(Way::ToUpstream, value.as_bytes(), Spelling::Percent)
    else {
        return None;
    };
    let base = links.text(Way::ToUpstream, route).concat();
    let base = if value[..len].contains('%') {
        base.replace(':', "%3A").replace('/', "%2F")
    } else {
        base
    };
    Some(base + &value[len..])
}
