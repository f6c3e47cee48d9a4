//! The other direction: a client that only knows this proxy names rows by their addresses here, in
//! `$id=` queries and in `@odata.id` and `@odata.bind` members of bodies. The upstream knows no
//! address but its own and refuses others, so they are turned back. Everything else keeps its bytes.

use bytes::Bytes;

use super::address::{Found, Links, Way};
use super::multipart::{self, Multipart};
use super::scan::{Piece, Scanner};
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
    let mut multipart = Multipart::new(links.clone(), Way::ToUpstream, &boundary);
    let mut out = Vec::with_capacity(body.len());
    multipart.push(body, |piece| put(&mut out, body, &piece));
    multipart.finish(|piece| put(&mut out, body, &piece));
    (multipart.links_found() > 0).then(|| out.into())
}

fn scanned(body: &[u8], links: &Links, text: Text) -> Option<Bytes> {
    let mut scanner = Scanner::of(links.clone(), text);
    let mut out = Vec::new();
    scanner.push(body, |piece| {
        if out.capacity() == 0 && piece != Piece::Keep(0..body.len()) {
            out.reserve(body.len() + 64);
        }
        if out.capacity() > 0 {
            put(&mut out, body, &piece);
        }
    });
    scanner.finish(|piece| put(&mut out, body, &piece));
    (scanner.links_found() > 0).then(|| out.into())
}

fn put(out: &mut Vec<u8>, body: &[u8], piece: &Piece<'_>) {
    out.extend_from_slice(match piece {
        Piece::Add(bytes) => bytes,
        Piece::Keep(range) => &body[range.clone()],
    });
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
