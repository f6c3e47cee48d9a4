//! What the head of an answer says of its body, as far as rewriting goes by it (RFC 9110 section 8):
//! the same for all answers that say so, which are most of those of one upstream.

use http::StatusCode;
use http::header::{
    ACCEPT_RANGES, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap,
    HeaderName,
};

use super::decode::Coding;
use super::plan::{DIGESTS, without_digests};

/// What a head says of the body behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Representation {
    /// It is JSON.
    pub(super) json: bool,
    /// It is a file: whatever it is, nobody looks for links in it.
    pub(super) file: bool,
    /// It has no bytes.
    pub(super) empty: bool,
    /// Its coding; `None` when that is not to be undone.
    pub(super) coding: Option<Coding>,
    /// Parts of it may be asked for.
    pub(super) ranges: bool,
    /// Digests came with it.
    pub(super) digests: bool,
    /// The head is without what [`Self::amend`] takes away.
    amended: bool,
}

impl Representation {
    /// What these fields say.
    pub fn of(headers: &HeaderMap) -> Self {
        let kind = headers.get(CONTENT_TYPE);
        let length = headers.get(CONTENT_LENGTH);
        let disposition = headers.get(CONTENT_DISPOSITION);
        // There is hardly ever one, and to look through the names costs less than to look each up.
        let (mut ranges, mut digests) = (false, false);
        for name in headers.keys() {
            ranges |= *name == ACCEPT_RANGES;
            digests |= DIGESTS.contains(name);
        }
        Self {
            json: kind.is_some_and(|kind| kind.to_str().is_ok_and(is_json)),
            file: disposition.is_some_and(|value| is_attachment(value.as_bytes())),
            empty: length.is_some_and(|length| length == "0"),
            coding: Coding::of(headers),
            ranges,
            digests,
            amended: false,
        }
    }

    /// The coding that is undone where links are looked for in the body of an answer with this status;
    /// `None` where nobody does, because it has none, or is a file.
    pub(super) fn undone(self, status: StatusCode) -> Option<Coding> {
        let bodiless = status.is_informational()
            || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let part = status == StatusCode::PARTIAL_CONTENT;
        let file = bodiless || part || self.empty || self.file;
        self.coding.filter(|_| !file)
    }

    /// Whether links are looked for in it whatever was asked for, unless that is a file.
    pub fn is_rewritten(self, status: StatusCode) -> bool {
        self.json && self.undone(status).is_some()
    }

    /// Takes away what no longer holds for the bytes of a body that is rewritten.
    pub fn amend(self, headers: &mut HeaderMap) -> Self {
        if self.amended {
            return self;
        }
        headers.remove(CONTENT_LENGTH);
        // A `Range` is answered with parts of the upstream's own bytes, which do not fit to these.
        if self.ranges {
            headers.remove(ACCEPT_RANGES);
        }
        if self.digests {
            without_digests(headers);
        }
        if self.coding != Some(Coding::Identity) {
            headers.remove(CONTENT_ENCODING);
        }
        Self {
            amended: true,
            ..self
        }
    }

    /// The same of a head that says another length.
    pub fn with_length(self, length: u64) -> Self {
        Self {
            empty: length == 0,
            ..self
        }
    }

    /// Whether the value of a field of this name has a part in it, but for the length.
    pub fn is_said_by(name: &HeaderName) -> bool {
        [CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_TYPE].contains(name)
    }
}

fn is_attachment(disposition: &[u8]) -> bool {
    let kind = disposition.split(|byte| *byte == b';').next();
    kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"attachment"))
}

/// Whether this media type is JSON in UTF-8 (RFC 9110 section 8.3.1, RFC 6839 section 3.1).
pub fn is_json(kind: &str) -> bool {
    let kind = kind.as_bytes();
    let end = memchr::memchr(b';', kind).unwrap_or(kind.len());
    let (essence, parameters) = kind.split_at(end);
    let essence = essence.trim_ascii();
    let is = |known: &[u8]| essence.eq_ignore_ascii_case(known);
    let suffixed = || {
        let suffix = essence.len().saturating_sub(b"+json".len());
        essence[suffix..].eq_ignore_ascii_case(b"+json")
    };
    let json =
        is(b"application/json") || is(b"text/json") || is(b"application/x-ndjson") || suffixed();
    // Of what is not UTF-8 or like it, UTF-16 is the one that occurs.
    let wide = |dash: usize| {
        let name = parameters.get(dash.saturating_sub(3)..dash + 3);
        name.is_some_and(|name| name.eq_ignore_ascii_case(b"utf-16"))
    };
    json && !memchr::memchr_iter(b'-', parameters).any(wide)
}
