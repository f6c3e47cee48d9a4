//! Where the body of an answer ends (RFC 9112 section 6.3), and whether its connection can serve
//! another request afterwards (section 9.3). Pure.

use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, Method, Response, StatusCode, Version};

use super::Breakage;
use super::known_head::Outcome;
use crate::policy::response_header::{Settled, settle};

/// The end of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes; after none, where an answer has no body.
    Length(u64),
    /// With the last chunk and the trailers.
    Chunked,
    /// With the connection.
    Close,
}

impl Framing {
    /// Of an answer to a request with this method.
    ///
    /// # Errors
    /// When its lengths differ or are none, and for a transfer coding in HTTP/1.0, whose senders
    /// do not know what they are saying.
    pub fn of_answer(
        method: &Method,
        status: StatusCode,
        version: Version,
        headers: &HeaderMap,
    ) -> Result<Self, Breakage> {
        match is_bodiless(method, status) {
            true => Ok(Self::Length(0)),
            false => Self::of_body(version, headers),
        }
    }

    fn of_body(version: Version, headers: &HeaderMap) -> Result<Self, Breakage> {
        if let Some(coding) = headers.get_all(TRANSFER_ENCODING).iter().next_back() {
            if version == Version::HTTP_10 {
                return Err(Breakage::Malformed("a Transfer-Encoding in HTTP/1.0"));
            }
            let last = coding.as_bytes().rsplit(|&byte| byte == b',').next();
            let chunked =
                last.is_some_and(|last| last.trim_ascii().eq_ignore_ascii_case(b"chunked"));
            return Ok(if chunked { Self::Chunked } else { Self::Close });
        }
        let mut length = None;
        let lines = headers.get_all(CONTENT_LENGTH).iter();
        for text in lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b',')) {
            let number = number(text.trim_ascii())
                .filter(|number| length.is_none_or(|length| length == *number));
            match number {
                Some(number) => length = Some(number),
                None => {
                    return Err(Breakage::Malformed(
                        "a Content-Length that is not one number",
                    ));
                }
            }
        }
        Ok(length.map_or(Self::Close, Self::Length))
    }

    /// Whether the connection stays for another request. A length beside a transfer coding may be
    /// an attempt at smuggling, after which nothing else on the connection can be believed.
    pub fn persists(self, version: Version, headers: &HeaderMap) -> bool {
        let doubtful = match self {
            Self::Close => true,
            Self::Chunked => headers.contains_key(CONTENT_LENGTH),
            Self::Length(_) => false,
        };
        version == Version::HTTP_11 && !doubtful && !closes(headers)
    }
}

/// What the fields of an answer say of its end: said once for all answers that have these.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Course {
    framing: Framing,
    closes: bool,
}

impl Course {
    /// Of the fields of an HTTP/1.1 answer; `None` of such as are not usual.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let framing = Framing::of_body(Version::HTTP_11, headers).ok()?;
        let closes = closes(headers);
        let usual = closes || framing.persists(Version::HTTP_11, headers);
        (usual && is_chunked_at_most(headers)).then_some(Self { framing, closes })
    }

    /// The same for an answer that says another length.
    pub(super) fn with_length(self, length: u64) -> Self {
        let framing = match self.framing {
            Framing::Length(_) => Framing::Length(length),
            other => other,
        };
        Self { framing, ..self }
    }

    /// Where the body of such an answer to this method ends, and whether the connection stays.
    pub fn of_answer(self, method: &Method, status: StatusCode) -> (Framing, bool) {
        let framing = match is_bodiless(method, status) {
            true => Framing::Length(0),
            false => self.framing,
        };
        (framing, !self.closes && framing != Framing::Close)
    }

    /// Whether a field of this name has a part in it.
    pub(super) fn is_said_by(name: &HeaderName) -> bool {
        [CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name)
    }
}

/// Settles an answer, unless that is done; with where its body ends, and whether its connection can
/// serve another request.
pub(super) fn conclude(
    method: &Method,
    mut response: Response<()>,
    known: Option<Outcome>,
) -> Result<(Response<Settled>, Framing, bool), Breakage> {
    let (status, version) = (response.status(), response.version());
    let (framing, persists, settled) = if let Some(Outcome { course, settled }) = known {
        let (framing, persists) = course.of_answer(method, status);
        (framing, persists, settled)
    } else {
        let headers = response.headers_mut();
        if !is_chunked_at_most(headers) {
            return Err(Breakage::Coding);
        }
        let framing = Framing::of_answer(method, status, version, headers)?;
        (framing, framing.persists(version, headers), settle(headers))
    };
    Ok((response.map(|()| settled), framing, persists))
}

/// Whether an answer in no transfer coding or in `chunked` alone came. Another was not asked for (RFC
/// 9112 section 7.4): its coded bytes would be handed on as if they were plain.
pub(super) fn is_chunked_at_most(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding
            .as_bytes()
            .trim_ascii()
            .eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

fn is_bodiless(method: &Method, status: StatusCode) -> bool {
    status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
        || *method == Method::HEAD
}

fn closes(headers: &HeaderMap) -> bool {
    let lines = headers.get_all(CONNECTION).iter();
    lines
        .flat_map(|line| line.as_bytes().split(|&byte| byte == b','))
        .any(|option| option.trim_ascii().eq_ignore_ascii_case(b"close"))
}

/// Digits alone: `u64`'s own parser takes a sign.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(lines: &[(&'static str, &'static str)]) -> HeaderMap {
        let lines = lines.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        });
        lines.collect()
    }

    fn framing(lines: &[(&'static str, &'static str)]) -> Option<Framing> {
        let (get, ok, version) = (Method::GET, StatusCode::OK, Version::HTTP_11);
        Framing::of_answer(&get, ok, version, &headers(lines)).ok()
    }

    #[test]
    fn a_body_ends_as_the_headers_say_and_else_with_the_connection() {
        use Framing::*;
        assert_eq!(framing(&[("content-length", "12")]), Some(Length(12)));
        assert_eq!(framing(&[("content-length", "12, 12")]), Some(Length(12)));
        assert_eq!(framing(&[("transfer-encoding", "Chunked")]), Some(Chunked));
        assert_eq!(
            framing(&[("transfer-encoding", "gzip, chunked")]),
            Some(Chunked)
        );
        assert_eq!(framing(&[("transfer-encoding", "gzip")]), Some(Close));
        assert_eq!(
            framing(&[("transfer-encoding", "chunked"), ("content-length", "5")]),
            Some(Chunked)
        );
        assert_eq!(framing(&[]), Some(Close));
    }

    #[test]
    fn a_coding_other_than_chunked_once_is_told() {
        let is_taken = |lines: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(line));
            }
            is_chunked_at_most(&headers)
        };
        for taken in [&[][..], &["chunked"], &["Chunked"], &[" chunked\t"]] {
            assert!(is_taken(taken), "{taken:?}");
        }
        for refused in [
            &["gzip"][..],
            &["gzip, chunked"],
            &["chunked, chunked"],
            &["chunked", "chunked"],
            &["gzip", "chunked"],
            &["chunked", "identity"],
            &[""],
        ] {
            assert!(!is_taken(refused), "{refused:?}");
        }
    }

    #[test]
    fn lengths_that_differ_or_are_no_numbers_are_refused() {
        for value in [
            "12, 13",
            "",
            "+5",
            "-1",
            "0x5",
            "5 5",
            "18446744073709551616",
        ] {
            assert_eq!(framing(&[("content-length", value)]), None, "{value}");
        }
        let two = [("content-length", "1"), ("content-length", "2")];
        let mut both = HeaderMap::new();
        for (name, value) in two {
            both.append(name, HeaderValue::from_static(value));
        }
        let (get, ok) = (Method::GET, StatusCode::OK);
        assert!(Framing::of_answer(&get, ok, Version::HTTP_11, &both).is_err());
        let coded = headers(&[("transfer-encoding", "chunked")]);
        assert!(Framing::of_answer(&get, ok, Version::HTTP_10, &coded).is_err());
    }

    #[test]
    fn some_answers_have_no_body_whatever_their_headers_say() {
        let lines = headers(&[("content-length", "12"), ("transfer-encoding", "chunked")]);
        let none = |method, status| {
            let framing = Framing::of_answer(&method, status, Version::HTTP_11, &lines);
            framing.ok() == Some(Framing::Length(0))
        };
        assert!(none(Method::HEAD, StatusCode::OK));
        assert!(none(Method::GET, StatusCode::NO_CONTENT));
        assert!(none(Method::GET, StatusCode::NOT_MODIFIED));
        assert!(none(Method::GET, StatusCode::EARLY_HINTS));
    }

    #[test]
    fn a_connection_is_kept_only_when_nothing_speaks_against_it() {
        let kept = |framing: Framing, version, lines: &[(&'static str, &'static str)]| {
            framing.persists(version, &headers(lines))
        };
        let http = Version::HTTP_11;
        assert!(kept(Framing::Length(1), http, &[]));
        assert!(kept(
            Framing::Chunked,
            http,
            &[("connection", "keep-alive")]
        ));
        assert!(!kept(Framing::Chunked, http, &[("content-length", "5")]));
        assert!(!kept(Framing::Close, http, &[]));
        assert!(!kept(Framing::Length(1), Version::HTTP_10, &[]));
        assert!(!kept(
            Framing::Length(1),
            http,
            &[("connection", "x, Close")]
        ));
    }
}
