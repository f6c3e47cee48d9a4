//! What no request may carry to a Microsoft service: hop-by-hop and forwarding fields, browser and
//! caller credentials, doubled fields that must be single, a host or a form of target that is not
//! the one of the connection. The real services overlook most of this; the simulator does not.

use http::header::{HeaderMap, HeaderName};

use super::host;

/// Fields that end at a proxy, say where a request came from, or are a credential of the caller.
const FORBIDDEN: &[&str] = &[
    "cookie",
    "forwarded",
    "http2-settings",
    "keep-alive",
    "origin",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "referer",
    "upgrade",
    "via",
    "x-api-key",
    "x-ms-authorization-auxiliary",
    "x-real-ip",
];
/// Families of such fields.
const FORBIDDEN_BEGINNINGS: &[&str] = &["sec-", "x-forwarded-"];
/// Fields that may appear once only. `Authorization` is judged with the token in it.
const SINGLE: &[&str] = &[
    "client-request-id",
    "content-length",
    "content-range",
    "content-type",
    "host",
    "if-modified-since",
    "range",
    "transfer-encoding",
    "user-agent",
    "x-ms-client-request-id",
];

/// What is wrong with a request head.
pub(super) fn offences(headers: &HeaderMap) -> Vec<String> {
    let mut offences = Vec::new();
    for name in headers.keys() {
        let forbidden = FORBIDDEN.contains(&name.as_str())
            || FORBIDDEN_BEGINNINGS
                .iter()
                .any(|beginning| name.as_str().starts_with(beginning));
        if forbidden {
            offences.push(format!("the field {name}"));
        }
        if SINGLE.contains(&name.as_str()) && headers.get_all(name).iter().count() > 1 {
            offences.push(format!("the field {name} more than once"));
        }
    }
    if !only(
        headers,
        &http::header::CONNECTION,
        &["close", "keep-alive", "te"],
    ) {
        offences.push("a Connection field that names others".to_owned());
    }
    if !only(headers, &http::header::TE, &["trailers"]) {
        offences.push("a TE field that asks for a transfer coding".to_owned());
    }
    offences
}

/// Whether the members of a list field are all among these.
fn only(headers: &HeaderMap, name: &HeaderName, accepted: &[&str]) -> bool {
    headers.get_all(name).iter().all(|value| {
        let members = value.to_str().unwrap_or("?").split(',');
        members.map(str::trim).all(|member| {
            member.is_empty() || accepted.iter().any(|one| one.eq_ignore_ascii_case(member))
        })
    })
}

/// What is wrong with a head as it was written, before any library tidied it up.
pub(super) fn raw_offences(headers: &[(String, Vec<u8>)]) -> Option<String> {
    let has = |name: &str| {
        headers
            .iter()
            .any(|(own, _)| own.eq_ignore_ascii_case(name))
    };
    let both = has("content-length") && has("transfer-encoding");
    both.then(|| "both Content-Length and Transfer-Encoding".to_owned())
}

/// What is wrong with the authority a request asks for on a connection that was opened to the name
/// `opened`, on a listener with this port.
pub(super) fn host_offence(authority: &str, opened: &str, port: u16) -> Option<String> {
    let (name, written) = match authority.split_once(':') {
        Some((name, written)) => (name, Some(written)),
        None => (authority, None),
    };
    let port = port.to_string();
    // A name that was redirected here is asked for on the standard port.
    let expected = if host::RESOLVED.contains(&name) {
        "443"
    } else {
        port.as_str()
    };
    if written.is_some_and(|written| written != expected) {
        return Some(format!("a request for {authority} on port {expected}"));
    }
    (opened != name).then(|| format!("a request for {authority} on a connection to {opened}"))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn head(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let own = |&(name, value)| {
            (
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            )
        };
        let mut headers = HeaderMap::new();
        for (name, value) in fields.iter().map(own) {
            headers.append(name, value);
        }
        headers
    }

    #[test]
    fn an_ordinary_request_gives_no_offence() {
        let ordinary = head(&[
            ("host", "graph.microsoft.com"),
            ("authorization", "Bearer x"),
            ("accept", "a/b"),
            ("accept", "c/d"),
            ("connection", "TE"),
            ("te", "trailers"),
        ]);
        assert_eq!(offences(&ordinary), Vec::<String>::new());
        assert_eq!(
            host_offence("graph.microsoft.com:443", "graph.microsoft.com", 5000),
            None
        );
        assert_eq!(host_offence("localhost:5000", "localhost", 5000), None);
    }

    #[test]
    fn every_leftover_of_the_caller_gives_offence() {
        for &name in FORBIDDEN {
            assert_eq!(offences(&head(&[(name, "x")])).len(), 1, "{name}");
        }
        assert_eq!(offences(&head(&[("x-forwarded-for", "x")])).len(), 1);
        assert_eq!(offences(&head(&[("sec-fetch-site", "x")])).len(), 1);
        assert_eq!(offences(&head(&[("connection", "x-private")])).len(), 1);
        assert_eq!(offences(&head(&[("te", "gzip")])).len(), 1);
        assert_eq!(offences(&head(&[("host", "a"), ("host", "a")])).len(), 1);
    }

    #[test]
    fn a_body_with_two_framings_gives_offence() {
        let field = |name: &str, value: &str| (name.to_owned(), value.as_bytes().to_vec());
        let both = [
            field("Content-Length", "3"),
            field("transfer-encoding", "chunked"),
        ];
        assert_eq!(raw_offences(&both[..1]), None);
        assert_eq!(raw_offences(&both[1..]), None);
        assert!(raw_offences(&both).is_some());
    }

    #[test]
    fn a_host_that_is_not_the_connections_gives_offence() {
        assert!(host_offence("login.microsoftonline.com", "graph.microsoft.com", 1).is_some());
        assert!(host_offence("graph.microsoft.com:8443", "graph.microsoft.com", 1).is_some());
    }
}
