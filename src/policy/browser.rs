//! Web pages. Nobody signs in here, so a page of another site that reaches this address would act
//! with the app's permissions: it is refused, reads included. Pages of listed origins may call.
//!
//! `Origin` and `Sec-Fetch-Site` are written by the browser and out of a page's reach. Either alone
//! is not enough: a GET carries no `Origin`, and `Sec-Fetch-*` goes to trustworthy URLs only.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderName, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method};

use super::Refusal;
use super::authority::Authority;
use super::header::has_rare;
use super::response_header::guard;
use super::target::METHODS;
use crate::code::Code;
use crate::config::{Config, Origin};

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
static SEC_FETCH_DEST: HeaderName = HeaderName::from_static("sec-fetch-dest");
static REQUEST_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-request-private-network");
static ALLOW_PRIVATE_NETWORK: HeaderName =
    HeaderName::from_static("access-control-allow-private-network");

/// What a listed page may read of an answer. The asterisk stands for everything; the names are for
/// browsers that do not know it.
const EXPOSED: &str = "*, Content-Disposition, Content-Location, Content-Range, ETag, Location, \
    OData-EntityId, OData-Version, Operation-Location, Preference-Applied, Proxy-Status, \
    Retry-After, client-request-id, request-id, x-ms-client-request-id, x-ms-service-request-id";

/// Where a request arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listener {
    /// Metrics, probes and the status page.
    Admin,
    /// Requests for upstreams.
    Data,
}

/// Who wrote a request that passes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Page {
    /// A page of a listed origin: the value of `Access-Control-Allow-Origin`.
    Listed(HeaderValue),
    /// No page, or one that was served by this address itself.
    Own,
}

/// Which web pages may call.
#[derive(Clone, Debug, Default)]
pub struct BrowserPolicy {
    pub(super) listed: Vec<Origin>,
    pub(super) public: Option<Origin>,
}

impl BrowserPolicy {
    /// `browser_origins` and the origin of `public_url`.
    pub fn new(config: &Config) -> Self {
        Self {
            listed: config.browser_origins.clone(),
            public: config.public_url.as_ref().map(|url| url.origin.clone()),
        }
    }

    /// Decides on a request whose host is served. `secure` is whether it came over TLS.
    ///
    /// # Errors
    /// 403 for a page of another site.
    pub fn judge(
        &self,
        listener: Listener,
        method: &Method,
        authority: &Authority<'_>,
        secure: bool,
        headers: &HeaderMap,
    ) -> Result<Page, Refusal> {
        if !has_rare(headers, [&ORIGIN, &SEC_FETCH_SITE]) {
            return Ok(Page::Own);
        }
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (None, _) if !foreign_fetch(headers) => Ok(Page::Own),
            (None, _) if listener == Listener::Admin && navigation(method, headers) => {
                Ok(Page::Own)
            }
            (None, _) => Err(Refusal::new(
                Code::CrossSite,
                "a web page of another site sent this request; list its origin under browser_origins in routes.yaml and let it use cors",
            )),
            (Some(origin), None) => self.origin(origin, authority, secure).ok_or_else(foreign),
            (Some(_), Some(_)) => Err(foreign()),
        }
    }

    /// Whose page may read an answer that has to be given before the host is known.
    pub fn reader(&self, headers: &HeaderMap) -> Page {
        let mut origins = headers.get_all(ORIGIN).iter();
        match (origins.next(), origins.next()) {
            (Some(origin), None) if self.lists(origin) => Page::Listed(origin.clone()),
            _ => Page::Own,
        }
    }

    /// Lets a listed page read an answer, one of the proxy's own included. Where pages are listed,
    /// every answer says that it goes by who asks: a browser would hand a listed page what it keeps
    /// from a request without `Origin`, and refuse to show it.
    pub fn mark(&self, page: &Page, headers: &mut HeaderMap) {
        page.allow(headers);
        if !self.listed.is_empty() {
            headers.append(VARY, HeaderValue::from_static("Origin"));
        }
    }

    /// Whose page an `Origin` is. `null` is nobody's.
    fn origin(
        &self,
        value: &HeaderValue,
        asked: &Authority<'_>,
        connection_secure: bool,
    ) -> Option<Page> {
        let (secure, of_page) = parsed(value)?;
        // Somebody in front may have ended TLS, so plain here may be https there; never the other
        // way round.
        let own = of_page.host == asked.host
            && of_page.port_or_default(secure) == asked.port_or_default(secure)
            && (secure || !connection_secure);
        let public = |origin: &Origin| is(origin, secure, &of_page);
        if own || self.public.as_ref().is_some_and(public) {
            return Some(Page::Own);
        }
        self.lists(value).then(|| Page::Listed(value.clone()))
    }

    fn lists(&self, value: &HeaderValue) -> bool {
        parsed(value).is_some_and(|(secure, of_page)| {
            let mut listed = self.listed.iter();
            listed.any(|origin| is(origin, secure, &of_page))
        })
    }
}

/// Whether an `Origin` is secure, and its authority.
fn parsed(value: &HeaderValue) -> Option<(bool, Authority<'_>)> {
    let text = std::str::from_utf8(value.as_bytes()).ok()?;
    let (secure, rest) = match text.split_once("://")? {
        ("https", rest) => (true, rest),
        ("http", rest) => (false, rest),
        _ => return None,
    };
    Some((secure, Authority::parse(rest)?))
}

fn is(origin: &Origin, secure: bool, of_page: &Authority<'_>) -> bool {
    origin.secure == secure
        && origin.port == of_page.port_or_default(secure)
        && origin.host.as_str() == of_page.host
}

impl Page {
    /// The answer's headers to a preflight of a listed page (Fetch standard, "CORS-preflight
    /// request"), which goes with 204 and no body; `None` when the request is not one.
    pub fn preflight(&self, method: &Method, headers: &HeaderMap) -> Option<HeaderMap> {
        let asks = method == Method::OPTIONS && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        if !asks || *self == Self::Own {
            return None;
        }
        let mut answer = HeaderMap::with_capacity(8);
        guard(&mut answer);
        self.allow(&mut answer);
        answer.insert(VARY, HeaderValue::from_static("Origin"));
        answer.insert(
            ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static(METHODS),
        );
        if let Some(wanted) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, wanted.clone());
        }
        if headers.contains_key(&REQUEST_PRIVATE_NETWORK) {
            answer.insert(&ALLOW_PRIVATE_NETWORK, HeaderValue::from_static("true"));
        }
        // Ten minutes: what is listed changes seldom, and a preflight doubles a call's latency.
        answer.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        Some(answer)
    }

    /// Lets a listed page read an answer.
    fn allow(&self, headers: &mut HeaderMap) {
        let Self::Listed(origin) = self else {
            return;
        };
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        headers.insert(
            ACCESS_CONTROL_EXPOSE_HEADERS,
            HeaderValue::from_static(EXPOSED),
        );
    }
}

/// Whether the browser says that another site started the request.
fn foreign_fetch(headers: &HeaderMap) -> bool {
    headers.get_all(&SEC_FETCH_SITE).iter().any(|site| {
        let site = site.as_bytes().trim_ascii();
        site.eq_ignore_ascii_case(b"cross-site") || site.eq_ignore_ascii_case(b"same-site")
    })
}

/// Whether somebody follows a link in a tab of their own, as runbooks have them.
fn navigation(method: &Method, headers: &HeaderMap) -> bool {
    let navigates = headers
        .get(&SEC_FETCH_MODE)
        .is_some_and(|mode| mode == "navigate");
    // Browsers said how before they said what for; the page is shown in no frame.
    let in_a_tab = headers
        .get(&SEC_FETCH_DEST)
        .is_none_or(|dest| dest == "document");
    method == Method::GET && navigates && in_a_tab
}

fn foreign() -> Refusal {
    Refusal::new(
        Code::CrossSite,
        "the Origin of this request is a web page of another site; list it under browser_origins in routes.yaml if it may call",
    )
}
