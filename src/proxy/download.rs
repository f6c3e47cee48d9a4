//! Downloads that an upstream answers with a redirect to a pre-authenticated address elsewhere. For
//! hosts that the route lists they are fetched here, so that callers in a closed network get them.
//! The token never goes there, nor any other header that is not about the download itself.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use http::header::{
    self, ACCEPT, ACCEPT_ENCODING, HeaderName, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH,
    IF_RANGE, IF_UNMODIFIED_SINCE, LOCATION, RANGE, USER_AGENT,
};
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{HeaderValue, Method, Response, StatusCode, Uri};

use super::call::Call;
use super::capacity::normalise_retry_after;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::small_body::settle;
use crate::alarm::AlarmClock;
use crate::config::{HostName, HostPattern, Origin, UpstreamHttp};
use crate::fields::Fields;
use crate::upstream::{
    Egress, RequestBody, RequestHead, Upstream, UpstreamBody, UpstreamResponse, UpstreamSpec,
};

/// As many redirects as SDKs follow.
pub(super) const MOST_HOPS: usize = 5;
/// Hosts whose connections are kept: a tenant has a handful.
const MOST_HOSTS: usize = 16;
/// Headers that go along.
static PASSED: [HeaderName; 9] = [
    ACCEPT,
    ACCEPT_ENCODING,
    IF_MATCH,
    IF_MODIFIED_SINCE,
    IF_NONE_MATCH,
    IF_RANGE,
    IF_UNMODIFIED_SINCE,
    RANGE,
    USER_AGENT,
];
static HOST: HeaderName = header::HOST;

/// A worker's connections to the hosts of a route's downloads.
pub(super) struct Downloads {
    spec: UpstreamSpec,
    egress: Egress,
    clock: Rc<AlarmClock>,
    /// The one used last comes last.
    known: RefCell<Vec<Rc<Upstream>>>,
}

impl Downloads {
    /// None yet; what they have in common with the route's upstream is in `spec`.
    pub(super) fn new(spec: &UpstreamSpec, egress: &Egress, clock: &Rc<AlarmClock>) -> Self {
        Self {
            spec: UpstreamSpec {
                http: UpstreamHttp::Http1,
                ..spec.clone()
            },
            egress: egress.clone(),
            clock: Rc::clone(clock),
            known: RefCell::default(),
        }
    }

    /// Closes connections that are old, idle for too long or dead.
    pub(super) fn sweep(&self, now: Instant) {
        for upstream in self.known.borrow().iter() {
            upstream.sweep(now);
        }
    }

    /// Closes those that are idle.
    pub(super) fn close_idle(&self) {
        for upstream in self.known.borrow().iter() {
            upstream.close_idle();
        }
    }

    fn to(&self, origin: &Origin) -> Rc<Upstream> {
        let mut known = self.known.borrow_mut();
        let at = known.iter().position(|one| one.spec().origin == *origin);
        let upstream = match at {
            Some(at) => known.remove(at),
            None => {
                if known.len() == MOST_HOSTS {
                    known.remove(0);
                }
                let spec = UpstreamSpec {
                    origin: origin.clone(),
                    ..self.spec.clone()
                };
                let (egress, clock) = (self.egress.clone(), Rc::clone(&self.clock));
                Rc::new(Upstream::new(spec, egress, clock, Box::new(|_, _| {})))
            }
        };
        known.push(Rc::clone(&upstream));
        upstream
    }
}

/// Follows redirects to listed hosts. Returns the last answer, and whether it is a download.
pub(super) async fn follow(
    exchange: &mut Exchange,
    call: &Call<'_>,
    response: UpstreamResponse,
) -> Result<(UpstreamResponse, bool), ProxyError> {
    let follows = !call.route().spec.follow_downloads.is_empty()
        && [Method::GET, Method::HEAD].contains(&call.parts.method);
    match follows {
        true => Box::pin(pursue(exchange, call, response)).await,
        false => Ok((response, false)),
    }
}

async fn pursue(
    exchange: &mut Exchange,
    call: &Call<'_>,
    mut response: UpstreamResponse,
) -> Result<(UpstreamResponse, bool), ProxyError> {
    let (hosts, parts) = (&call.route().spec.follow_downloads, call.parts);
    let (mut from, mut hops) = (None, 0);
    while let Some((origin, path)) = next(&response, from.as_ref(), hosts) {
        if hops == MOST_HOPS {
            return Err(ProxyError::Unfollowed);
        }
        hops += 1;
        // The upstream itself is done with the request.
        exchange.place = None;
        exchange.sent.response_began = None;
        settle(&mut response.into_body()).await;
        let upstream = call.own().downloads.to(&origin);
        let fields = fields(parts, &origin);
        let head = RequestHead {
            method: &parts.method,
            target: &path.into(),
            fields: &fields,
            id: None,
            authorization: None,
            rewrites: false,
        };
        response = match upstream.send(head, RequestBody::Empty, false).await {
            Err(failure) if failure.error.lacks_descriptors() => {
                call.lane.close_idle();
                upstream.send(head, RequestBody::Empty, false).await
            }
            // A connection that was kept may have died meanwhile.
            Err(failure) if failure.is_dead_connection() => {
                upstream.send(head, RequestBody::Empty, true).await
            }
            answer => answer,
        }
        .map_err(|failure| ProxyError::Download {
            host: origin.host.clone(),
            source: failure.error,
        })?;
        from = Some(origin);
    }
    if from.is_some() {
        // The quiet that another service asks for is not kept for the route.
        normalise_retry_after(call, &mut response);
    }
    Ok((response, from.is_some()))
}

/// Where an answer leads, if that is to be followed.
fn next(
    response: &Response<UpstreamBody>,
    from: Option<&Origin>,
    hosts: &[HostPattern],
) -> Option<(Origin, PathAndQuery)> {
    if !matches!(
        response.status(),
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    ) {
        return None;
    }
    target(response.headers().get(LOCATION)?, from, hosts)
}

/// An https address on its ordinary port of a listed host; a rooted path is one of the host that
/// the last answer came from.
fn target(
    location: &HeaderValue,
    from: Option<&Origin>,
    hosts: &[HostPattern],
) -> Option<(Origin, PathAndQuery)> {
    let uri: Uri = location.to_str().ok()?.parse().ok()?;
    let path = uri.path_and_query().cloned();
    let path = match path {
        Some(path) if path.as_str().starts_with('/') => path,
        // A query behind the host alone (RFC 9112 section 3.2.1).
        Some(query) => format!("/{}", query.as_str()).parse().ok()?,
        None => PathAndQuery::from_static("/"),
    };
    let Some(authority) = uri.authority() else {
        // Another host, and not a path (RFC 3986 section 4.2).
        if path.as_str().starts_with("//") {
            return None;
        }
        return from.map(|origin| (origin.clone(), path));
    };
    let https = uri
        .scheme_str()
        .is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    // A port beyond 65535 is none to `http`, but no ordinary one either.
    let port = authority.as_str().strip_prefix(authority.host());
    let plain = matches!(port, Some("" | ":" | ":443"));
    let host = HostName::parse(authority.host()).ok()?;
    let listed = hosts.iter().any(|pattern| pattern.matches(host.as_str()));
    (https && plain && listed).then_some((
        Origin {
            secure: true,
            host,
            port: 443,
        },
        path,
    ))
}

/// What goes along with the request for a download.
fn fields<'a>(parts: &'a Parts, origin: &Origin) -> Fields<'a> {
    let mut fields = Fields::default();
    // A checked host holds only characters of a host.
    if let Ok(host) = HeaderValue::try_from(origin.authority()) {
        fields.insert(&HOST, Cow::Owned(host));
    }
    for name in &PASSED {
        for value in parts.headers.get_all(name) {
            fields.append(name, value);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::collections::BTreeMap;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::config::UpstreamTimeouts;
    use crate::policy::response_header::Unread;

    const HOUR: Duration = Duration::from_hours(1);

    fn origin(secure: bool, host: &str, port: u16) -> Origin {
        let host = HostName::parse(host).unwrap();
        Origin { secure, host, port }
    }

    fn downloads() -> Downloads {
        let spec = UpstreamSpec {
            origin: origin(true, "graph.microsoft.com", 443),
            http: UpstreamHttp::Http1,
            timeouts: UpstreamTimeouts {
                connect: HOUR,
                response_head: HOUR,
                response_body_idle: HOUR,
            },
            connections: 9,
            unread: Unread::default(),
        };
        let trust = crate::trust::load(None).unwrap();
        let egress = Egress::new(
            trust,
            BTreeMap::new(),
            crate::forward_proxy::ForwardProxy::none(),
        );
        Downloads::new(&spec, &egress, &AlarmClock::new(HOUR))
    }

    #[test]
    fn the_hosts_that_were_asked_last_are_known() {
        let downloads = downloads();
        let host = |number| {
            let name = format!("{number}.sharepoint.com");
            downloads.to(&origin(true, &name, 443))
        };
        let (first, second) = (host(0), host(1));
        for number in 2..MOST_HOSTS {
            host(number);
        }
        assert!(Rc::ptr_eq(&first, &host(0)));
        host(MOST_HOSTS);
        assert_eq!(downloads.known.borrow().len(), MOST_HOSTS);
        assert!(Rc::ptr_eq(&first, &host(0)), "it was asked since");
        assert!(!Rc::ptr_eq(&second, &host(1)), "it made room");
    }

    #[tokio::test(flavor = "local")]
    async fn connections_to_hosts_of_downloads_grow_old_like_others() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let origin = origin(false, "127.0.0.1", port);
        let downloads = downloads();
        let open = Rc::new(Cell::new(0));
        let count = Rc::clone(&open);
        let spec = UpstreamSpec {
            origin: origin.clone(),
            ..downloads.spec.clone()
        };
        let (egress, clock) = (downloads.egress.clone(), Rc::clone(&downloads.clock));
        let observer = Box::new(move |all, _| count.set(all));
        let upstream = Upstream::new(spec, egress, clock, observer);
        downloads.known.borrow_mut().push(Rc::new(upstream));
        let head = RequestHead {
            method: &Method::GET,
            target: &PathAndQuery::from_static("/").into(),
            fields: &Fields::default(),
            id: None,
            authorization: None,
            rewrites: false,
        };
        let answers = async {
            let (mut peer, _) = listener.accept().await.unwrap();
            assert!(peer.read(&mut [0; 1024]).await.unwrap() > 0);
            let answer = b"HTTP/1.1 204 No Content\r\n\r\n";
            peer.write_all(answer).await.unwrap();
            peer
        };
        let upstream = downloads.to(&origin);
        let sent = upstream.send(head, RequestBody::Empty, false);
        let (response, _peer) = tokio::join!(sent, answers);
        response.unwrap();
        downloads.sweep(Instant::now());
        assert_eq!(open.get(), 1);
        downloads.sweep(Instant::now() + HOUR);
        assert_eq!(open.get(), 0);
    }

    fn leads(location: &str, from: Option<&str>) -> Option<String> {
        let hosts = [HostPattern::parse("*.sharepoint.com").unwrap()];
        let from = from.map(|host| Origin {
            secure: true,
            host: HostName::parse(host).unwrap(),
            port: 443,
        });
        let location = HeaderValue::from_str(location).unwrap();
        let (origin, path) = target(&location, from.as_ref(), &hosts)?;
        Some(format!("{}{path}", origin.host))
    }

    #[test]
    fn listed_hosts_are_followed_over_https_alone() {
        let wanted = Some("a.sharepoint.com/x?y=%2F".to_owned());
        assert_eq!(leads("https://a.sharepoint.com/x?y=%2F#z", None), wanted);
        assert_eq!(leads("HTTPS://A.SharePoint.com:443/x?y=%2F", None), wanted);
        assert_eq!(
            leads("https://a.sharepoint.com", None).as_deref(),
            Some("a.sharepoint.com/")
        );
        assert_eq!(leads("/x?y=%2F", Some("a.sharepoint.com")), wanted);
        assert_eq!(
            leads("https://a.sharepoint.com?x", None).as_deref(),
            Some("a.sharepoint.com/?x")
        );
    }

    #[test]
    fn everything_else_is_left_to_the_caller() {
        for location in [
            "http://a.sharepoint.com/x",
            "https://a.sharepoint.com:99999/x",
            "https://sharepoint.com/x",
            "https://a.sharepoint.com.evil.example/x",
            "https://a.sharepoint.com@evil.example/x",
            "https://user@a.sharepoint.com/x",
            "https://a.sharepoint.com:8443/x",
            "https://evil.example/a.sharepoint.com",
            "/x",
            "x",
            "",
        ] {
            assert_eq!(leads(location, None), None, "{location}");
        }
        let elsewhere = leads("//evil.example/x", Some("a.sharepoint.com"));
        assert_eq!(elsewhere, None);
    }
}
