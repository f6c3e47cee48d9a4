//! One request to an upstream, as the proxy would send it: the same trust store, fixed addresses,
//! forward proxy and protocol. The token goes into its header and nowhere else.

use std::borrow::Cow;
use std::rc::Rc;
use std::time::Duration;

use http::header::{ACCEPT, HOST, HeaderValue, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, Method};

use crate::alarm::AlarmClock;
use crate::chain::Chain;
use crate::clock;
use crate::config::{Origin, RouteSpec};
use crate::fields::Fields;
use crate::guid;
use crate::policy::response_header::Unread;
use crate::proxy::RefusalReport;
use crate::secret::Secret;
use crate::token::challenge;
use crate::upstream::{Egress, RequestBody, RequestHead, Upstream, UpstreamError, UpstreamSpec};

/// A harmless GET takes milliseconds; a person waits.
const PATIENCE: Duration = Duration::from_secs(30);
/// How late a time limit of the upstream may be noticed.
const TICK: Duration = Duration::from_millis(100);
/// The longest resource that is taken out of a challenge.
const LONGEST: usize = 200;

/// What became of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// An HTTP answer.
    Answered {
        /// Its status.
        status: u16,
        /// What it says, fit to be shown.
        words: String,
        /// The resource that its challenge names.
        resource: Option<String>,
    },
    /// None, and why.
    Failed(String),
}

impl Answer {
    /// The status, when there was an answer.
    pub(super) fn status(&self) -> Option<u16> {
        match self {
            Self::Answered { status, .. } => Some(*status),
            Self::Failed(_) => None,
        }
    }
}

/// Sends `GET path` with this token. Runs in a `LocalSet`.
pub(super) async fn send(route: &RouteSpec, egress: &Egress, token: &Secret, path: &str) -> Answer {
    let target = PathAndQuery::try_from(path);
    let (Ok(target), Some(bearer), Some(own)) = (target, token.header("Bearer "), own(route))
    else {
        return Answer::Failed(format!("the request for {path} cannot be written"));
    };
    let mut fields = Fields::default();
    for (name, value) in own.iter().chain(&route.request_headers.set) {
        fields.insert(name, Cow::Borrowed(value));
    }
    let head = RequestHead {
        method: &Method::GET,
        target: &target.into(),
        fields: &fields,
        id: None,
        authorization: Some(&bearer),
        rewrites: false,
    };
    let clock = AlarmClock::new(TICK);
    let ticking = tokio::task::spawn_local(Rc::clone(&clock).run());
    let spec = UpstreamSpec {
        origin: route.upstream.origin.clone(),
        http: route.upstream_http,
        timeouts: route.timeouts.clone(),
        connections: 1,
        unread: Unread::default(),
    };
    let upstream = Upstream::new(spec, egress.clone(), clock, Box::new(|_, _| {}));
    let asked = async {
        match upstream.send(head, RequestBody::Empty, true).await {
            Ok(response) => {
                let status = response.status().as_u16();
                let resource = resource(response.headers());
                Answer::Answered {
                    status,
                    words: RefusalReport::read(response).await.words(),
                    resource,
                }
            }
            Err(failure) => Answer::Failed(told(&failure.error, &route.upstream.origin)),
        }
    };
    let answer = clock::within(PATIENCE, asked).await;
    ticking.abort();
    answer.unwrap_or_else(|| {
        let (host, within) = (&route.upstream.origin.host, PATIENCE.as_secs());
        Answer::Failed(format!("{host} did not answer within {within} s"))
    })
}

/// Why there was no answer, with what to do about it, which some errors say themselves.
fn told(error: &UpstreamError, origin: &Origin) -> String {
    let why = Chain(error);
    match error {
        UpstreamError::Connect(_) => why.to_string(),
        UpstreamError::Broken(breakage) if breakage.alert_remedy().is_some() => why.to_string(),
        _ => format!(
            "{} gave no answer that can be used; check that upstream is the API's address, and what stands between this machine and it: {why}",
            origin.authority()
        ),
    }
}

/// What goes along, unless the route sets it.
fn own(route: &RouteSpec) -> Option<[(HeaderName, HeaderValue); 4]> {
    let agent = concat!("tokenferry/", env!("CARGO_PKG_VERSION"));
    let host = route.upstream.origin.authority();
    Some([
        (HOST, HeaderValue::try_from(host).ok()?),
        (ACCEPT, HeaderValue::from_static("application/json")),
        (USER_AGENT, HeaderValue::from_static(agent)),
        (
            HeaderName::from_static("client-request-id"),
            HeaderValue::try_from(guid::fresh()).ok()?,
        ),
    ])
}

/// The `resource_id` of a challenge: Dataverse says what its tokens have to be for.
fn resource(headers: &HeaderMap) -> Option<String> {
    let value = challenge::parameter(headers, "resource_id")?;
    let fits = (1..=LONGEST).contains(&value.len()) && !value.contains(char::is_control);
    fits.then_some(value)
}

#[cfg(test)]
mod tests {
    use http::header::WWW_AUTHENTICATE;

    use super::*;

    fn named(challenge: &'static str) -> Option<String> {
        let mut headers = HeaderMap::new();
        headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        resource(&headers)
    }

    #[test]
    fn the_resource_of_a_challenge_is_found_quoted_or_not() {
        let expected = Some("https://org.crm.dynamics.com/".to_owned());
        for challenge in [
            "Bearer authorization_uri=https://l/x, resource_id=https://org.crm.dynamics.com/",
            "Bearer resource_id=\"https://org.crm.dynamics.com/\", error=invalid_token",
        ] {
            assert_eq!(named(challenge), expected, "{challenge}");
        }
        assert_eq!(named("Bearer realm=\"\""), None);
        assert_eq!(named("Bearer resource_id="), None);
        assert_eq!(resource(&HeaderMap::new()), None);
    }
}
