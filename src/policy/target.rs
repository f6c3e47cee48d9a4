//! The request target, its method and its framing headers, as RFC 9112 and RFC 9113 want them. What
//! passes names one host and one path, and is forwarded byte for byte.
//!
//! hyper accepts more than that (foreign absolute forms, no or two `Host` lines, transfer codings
//! other than `chunked`, differing `:authority` and `Host`), so all of it is decided here.

use http::header::{EXPECT, HOST, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Uri, Version};

use super::authority::Authority;
use super::header::has_rare;
use super::{Refusal, path};
use crate::code::Code;

/// The methods that are forwarded, as the `Allow` header of a 405 lists them.
pub const METHODS: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Where a request wants to go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target<'a> {
    /// The host that was asked for: of an absolute target, else of `:authority` or `Host`.
    pub authority: Authority<'a>,
    /// The raw path; begins with a slash.
    pub path: &'a str,
    /// The same with the query, as it came.
    pub asked: &'a PathAndQuery,
}

impl<'a> Target<'a> {
    /// Decides on what hyper parsed.
    ///
    /// # Errors
    /// 405 for a method that is not forwarded, 417 for an expectation other than `100-continue`,
    /// 400 for the rest.
    pub fn of(
        method: &Method,
        uri: &'a Uri,
        headers: &'a HeaderMap,
        version: Version,
    ) -> Result<Self, Refusal> {
        Self::decide(method, uri, headers, || authority(uri, headers, version))
    }

    /// The same where it is known which host the request names.
    ///
    /// # Errors
    /// As [`Self::of`].
    pub fn at(
        authority: Authority<'a>,
        method: &Method,
        uri: &'a Uri,
        headers: &HeaderMap,
    ) -> Result<Self, Refusal> {
        Self::decide(method, uri, headers, || Ok(authority))
    }

    fn decide(
        method: &Method,
        uri: &'a Uri,
        headers: &HeaderMap,
        authority: impl FnOnce() -> Result<Authority<'a>, Refusal>,
    ) -> Result<Self, Refusal> {
        known(method)?;
        let whole = origin_form(uri)?;
        path::check(whole.path()).map_err(|fault| bad(fault.text()))?;
        let authority = authority()?;
        framing(headers)?;
        Ok(Self {
            authority,
            path: whole.path(),
            asked: whole,
        })
    }
}

/// `TRACE` reflects, `CONNECT` tunnels, and what nobody here knows cannot be allowed or counted.
fn known(method: &Method) -> Result<(), Refusal> {
    match *method {
        Method::GET
        | Method::HEAD
        | Method::POST
        | Method::PUT
        | Method::PATCH
        | Method::DELETE
        | Method::OPTIONS => Ok(()),
        _ => Err(Refusal::new(
            Code::MethodNotSupported,
            "this method is not forwarded; use GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS",
        )),
    }
}

/// The path and query of an origin-form or absolute-form target.
fn origin_form(uri: &Uri) -> Result<&PathAndQuery, Refusal> {
    if let Some(scheme) = uri.scheme_str()
        && !scheme.eq_ignore_ascii_case("http")
        && !scheme.eq_ignore_ascii_case("https")
    {
        return Err(bad("the scheme of the request target is not http or https"));
    }
    // An absolute target may leave its path out; with a query after it there would be two readings.
    uri.path_and_query()
        .filter(|whole| whole.as_str().starts_with('/'))
        .ok_or_else(|| {
            bad("the request target is not in origin form; ask for a path that begins with \"/\"")
        })
}

/// What names the host of a request, where one text does: then that decides alone.
pub fn sole_host<'a>(uri: &'a Uri, headers: &'a HeaderMap, version: Version) -> Option<&'a [u8]> {
    let mut lines = headers.get_all(HOST).iter();
    match (uri.authority(), lines.next(), lines.next()) {
        (None, Some(line), None) => Some(line.as_bytes()),
        (Some(asked), None, None) if version >= Version::HTTP_2 => Some(asked.as_str().as_bytes()),
        _ => None,
    }
}

/// The one host that the request names.
///
/// RFC 9112 section 3.2.2: an absolute target wins over `Host`, which must be there all the same.
/// RFC 9113 section 8.3.1: `:authority` and `Host` must not differ.
fn authority<'a>(
    uri: &'a Uri,
    headers: &'a HeaderMap,
    version: Version,
) -> Result<Authority<'a>, Refusal> {
    let mut lines = headers.get_all(HOST).iter();
    let host = match (lines.next(), lines.next()) {
        (None, _) => None,
        (Some(line), None) => Some(host(line)?),
        (Some(_), Some(_)) => return Err(bad("the request has more than one Host; send one")),
    };
    let asked = match uri.authority() {
        None => None,
        Some(text) => Some(Authority::parse(text.as_str()).ok_or_else(|| {
            bad("the authority of the request target is not a host with an optional port")
        })?),
    };
    let secure = uri.scheme_str() == Some("https");
    match (asked, host) {
        (None, None) => Err(bad("the request has no Host; send one")),
        (None, Some(host)) => Ok(host),
        (Some(asked), None) if version >= Version::HTTP_2 => Ok(asked),
        (Some(_), None) => Err(bad("the request has no Host; send one")),
        (Some(asked), Some(_)) if version < Version::HTTP_2 => Ok(asked),
        (Some(asked), Some(host)) if same(&asked, &host, secure) => Ok(asked),
        (Some(_), Some(_)) => Err(bad("the :authority and Host of the request differ")),
    }
}

fn same(a: &Authority<'_>, b: &Authority<'_>, secure: bool) -> bool {
    a.host == b.host && a.port_or_default(secure) == b.port_or_default(secure)
}

fn host(line: &HeaderValue) -> Result<Authority<'_>, Refusal> {
    line.to_str()
        .ok()
        .and_then(Authority::parse)
        .ok_or_else(|| bad("the Host of the request is not a host with an optional port"))
}

/// `Transfer-Encoding` is `chunked` or absent, and nothing but `100-continue` is expected.
fn framing(headers: &HeaderMap) -> Result<(), Refusal> {
    if !has_rare(headers, [&TRANSFER_ENCODING, &EXPECT]) {
        return Ok(());
    }
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    let chunked = match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(coding), None) => coding.as_bytes().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    };
    if !chunked {
        return Err(bad(
            "the Transfer-Encoding of the request is not exactly \"chunked\"",
        ));
    }
    let met = |value: &HeaderValue| value.as_bytes().eq_ignore_ascii_case(b"100-continue");
    if !headers.get_all(EXPECT).iter().all(met) {
        return Err(Refusal::new(
            Code::ExpectationFailed,
            "the request expects something other than 100-continue; leave Expect out",
        ));
    }
    Ok(())
}

fn bad(message: &'static str) -> Refusal {
    Refusal::new(Code::BadRequest, message)
}
