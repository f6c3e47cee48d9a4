//! The addresses of one exchange: which URL of an upstream is reached where here, and which URL of
//! this proxy stands for which upstream. A look-up allocates nothing. Only scheme, authority and
//! configured prefix of a URL are ever replaced, the rest is opaque (Dataverse next links mix `%3C`
//! and `%253c`, and both matter).

use std::rc::Rc;
use std::sync::Arc;

use super::authority::{Authority, Read};
use super::key::Keys;
use super::link::{LinkMap, Mapped};
use super::site::Paths;
use super::spelling::{Follows, Spelling, Step};
use crate::config::value::split_port;
use crate::config::{BaseUrl, HostPattern, Origin};

/// How the caller addressed this proxy.
#[derive(Clone, Debug)]
pub struct PublicBase {
    secure: bool,
    /// Scheme and authority.
    origin: Box<str>,
}

fn scheme(secure: bool) -> &'static str {
    if secure { "https://" } else { "http://" }
}

impl PublicBase {
    /// From the scheme of the connection and the authority that was asked, which has passed the host
    /// check. `None` when it is not a plain authority: nothing else may come to stand in a link.
    pub fn new(secure: bool, authority: &str) -> Option<Self> {
        let plain = |&b: &u8| {
            b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_' | b':' | b'[' | b']')
        };
        let bytes = authority.as_bytes();
        let fits = !bytes.is_empty() && bytes.len() <= 259 && bytes.iter().all(plain);
        fits.then(|| {
            let scheme = scheme(secure);
            let mut origin = String::with_capacity(scheme.len() + authority.len());
            origin.push_str(scheme);
            origin.push_str(authority);
            Self {
                secure,
                origin: origin.into(),
            }
        })
    }

    /// The authority, as it was asked.
    pub fn authority(&self) -> &str {
        &self.origin[scheme(self.secure).len()..]
    }

    fn split(&self) -> (&str, Option<u16>) {
        let (host, port) = split_port(self.authority()).unwrap_or_default();
        (without_dot(host), port)
    }
}

/// A trailing dot is the same name.
fn without_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// The links of one exchange.
#[derive(Clone, Debug)]
pub struct Links {
    map: Arc<LinkMap>,
    route: usize,
    base: Rc<PublicBase>,
}

/// Where a URL leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The bytes do not tell yet.
    Cut,
    /// To nobody known.
    No,
    /// The first `len` bytes stand for this route.
    Yes {
        /// How many bytes are to be replaced.
        len: usize,
        /// The route's index.
        route: usize,
    },
}

/// Which way a URL is to be turned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Upstream URLs into URLs of this proxy.
    ToCaller,
    /// URLs of this proxy into upstream URLs.
    ToUpstream,
}

/// What a URL's beginning is replaced with: pieces to be put one behind the other.
pub(super) type Pieces<'a> = [&'a str; 4];

impl Links {
    /// The links of an exchange that came through the route of this index, which rewrites links. The
    /// index is one of the configuration the map was made of.
    pub fn new(map: Arc<LinkMap>, route: usize, base: Rc<PublicBase>) -> Self {
        Self { map, route, base }
    }

    /// What is looked for in the answer.
    pub(super) fn keys(&self) -> &Keys {
        &self.own().keys
    }

    /// What is looked for in the answer to a JSON batch.
    pub(super) fn batch_keys(&self) -> &Keys {
        &self.own().batch_keys
    }

    /// What is looked for in the request.
    pub(super) fn request_keys(&self) -> &Keys {
        &self.map.request_keys
    }

    /// What is looked for in a JSON batch.
    pub(super) fn batch_request_keys(&self) -> &Keys {
        &self.map.batch_request_keys
    }

    /// The route's own upstream.
    pub(super) fn upstream(&self) -> &BaseUrl {
        &self.own().route.upstream
    }

    /// Whether this is the route of this exchange.
    pub(super) fn is_own(&self, route: usize) -> bool {
        route == self.route
    }

    /// The origins of this proxy that a `Host` may mean: by its public name, and as it was asked. None
    /// when it is another's.
    pub(super) fn origins(&self, authority: &str) -> Vec<String> {
        let (host, port) = split_port(authority).unwrap_or_default();
        let (own_host, own_port) = self.base.split();
        let public = self.map.public.as_ref().map(|base| &base.origin);
        let public = public.map(|it| (it.secure, it.host.as_str(), Some(it.port)));
        let all = public
            .into_iter()
            .chain([(self.base.secure, own_host, own_port)]);
        let meant = all.filter(|(secure, own_host, own_port)| {
            let default = Origin::default_port(*secure);
            without_dot(host).eq_ignore_ascii_case(own_host)
                && port.unwrap_or(default) == own_port.unwrap_or(default)
        });
        meant
            .map(|(secure, ..)| format!("{}{authority}", scheme(secure)))
            .collect()
    }

    /// What a root-relative reference of the upstream is prefixed with here, once the upstream's
    /// own prefix is gone.
    pub(super) fn local_prefix(&self) -> [&str; 2] {
        let route = &self.own().route;
        let public = match (&route.host, &self.map.public) {
            (None, Some(public)) => public.prefix.as_str(),
            _ => "",
        };
        [public, route.path.as_str()]
    }

    /// Looks a URL up.
    pub(super) fn find(&self, way: Way, raw: &[u8], spelling: Spelling) -> Found {
        if let Some(found) = self.find_plain(way, raw) {
            return found;
        }
        let authority = match Authority::read(raw, spelling) {
            Read::Cut => return Found::Cut,
            Read::No => return Found::No,
            Read::Yes(authority) => authority,
        };
        match way {
            Way::ToCaller => self.find_upstream(&authority, raw, spelling),
            Way::ToUpstream => self.find_route(&authority, raw, spelling),
        }
    }

    /// Looks up the target of an operation in a JSON batch whose root, for example `/v1.0`, is below
    /// this route: what is found is all that stands in front of the relative target. That begins with
    /// no slash, which would name the root of the host to all but Graph, and Graph does without.
    pub(super) fn find_target(&self, raw: &[u8], root: &str) -> Found {
        let (len, route) = match self.find(Way::ToUpstream, raw, Spelling::Json) {
            Found::Yes { len, route } if route == self.route => (len, route),
            Found::Cut => return Found::Cut,
            Found::No | Found::Yes { .. } => return Found::No,
        };
        let end = match Spelling::Json.follows(raw, len, root) {
            Follows::Cut => return Found::Cut,
            Follows::No => return Found::No,
            Follows::Yes(end) => end,
        };
        let Step::Char(b'/', len) = Spelling::Json.step(raw, end) else {
            return Found::No;
        };
        match Spelling::Json.step(raw, len) {
            Step::Cut => Found::Cut,
            // What is left would not be a path below the root.
            Step::End | Step::Char(b'/' | b'\\' | b'?' | b'#', _) => Found::No,
            Step::Char(..) => Found::Yes { len, route },
        }
    }

    /// What the bytes that were found are replaced with.
    pub(super) fn text(&self, way: Way, route: usize) -> Pieces<'_> {
        match way {
            Way::ToCaller => self.address(route).unwrap_or_default(),
            Way::ToUpstream => [&self.map.routes[route].upstream, "", "", ""],
        }
    }

    fn own(&self) -> &Mapped {
        &self.map.routes[self.route]
    }

    /// The case that is nearly every case: the route's own upstream, spelt as in the configuration.
    fn find_plain(&self, way: Way, raw: &[u8]) -> Option<Found> {
        let upstream = self.own().upstream.as_bytes();
        let plain = way == Way::ToCaller
            && raw.starts_with(upstream)
            && matches!(raw.get(upstream.len()), Some(b'/' | b'?' | b'#'));
        plain.then_some(Found::Yes {
            len: upstream.len(),
            route: self.route,
        })
    }

    /// The route itself first: a page's next page comes through the route of the page. Then the
    /// others, the most specific upstream first.
    fn find_upstream(&self, authority: &Authority, raw: &[u8], spelling: Spelling) -> Found {
        let Some(prefixes) = self.map.upstreams(authority) else {
            return Found::No;
        };
        let find =
            |will_do: &dyn Fn(usize) -> bool| prefixes.find(raw, authority.end, spelling, will_do);
        match find(&|route| self.is_own(route)) {
            Found::No => find(&|route| self.address(route).is_some()),
            found => found,
        }
    }

    /// Where a route is reached from outside; `None` when nothing in this exchange says so.
    fn address(&self, index: usize) -> Option<Pieces<'_>> {
        let route = &self.map.routes[index].route;
        let public = self.map.public.as_ref();
        let secure = public.map_or(self.base.secure, |base| base.origin.secure);
        let path = route.path.as_str();
        match (&route.host, public) {
            (Some(HostPattern::Exact(name)), _) => {
                Some([scheme(secure), name.as_str(), self.port(), path])
            }
            (Some(HostPattern::Suffix(_)), _) => {
                let here = [scheme(secure), self.base.authority(), "", path];
                self.answers_here(index).then_some(here)
            }
            (None, Some(_)) => Some([&self.map.public_text, "", "", path]),
            (None, None) => {
                let here = [&*self.base.origin, "", "", path];
                self.answers_here(index).then_some(here)
            }
        }
    }

    /// Whether a request for this route meets it at the host that was asked, which it may have, and
    /// not one that is bound to the host more closely.
    fn answers_here(&self, index: usize) -> bool {
        if index == self.route || !self.map.has_hosts {
            return true;
        }
        let route = &self.map.routes[index].route;
        let host = self.base.split().0.to_ascii_lowercase();
        let path = route.path.as_str().as_bytes();
        let is_at = route.host.as_ref().is_none_or(|it| it.matches(&host));
        let mut closer = self
            .map
            .sites
            .at(&host)
            .take_while(|(bound, _)| *bound != route.host);
        let hides = |paths: &Paths| paths.find(path, 0, Spelling::Plain, |_| true) != Found::No;
        is_at && !closer.any(|(_, paths)| hides(paths))
    }

    /// `:port` of the public base, as it is written there.
    fn port(&self) -> &str {
        let authority = match &self.map.public {
            Some(_) => self.map.public_authority.as_str(),
            None => self.base.authority(),
        };
        let after_literal = authority.rfind(']').map_or(0, |at| at + 1);
        let at = authority[after_literal..].rfind(':');
        at.map_or("", |at| &authority[after_literal + at..])
    }

    /// The route a URL of this proxy leads to: the most specific host, then the longest path.
    fn find_route(&self, authority: &Authority, raw: &[u8], spelling: Spelling) -> Found {
        let Some((host, port)) = authority.host_and_port() else {
            return Found::No;
        };
        let host = without_dot(host);
        for (bound, paths) in self.map.sites.at(host) {
            let mut best = None;
            for prefix in self.prefixes(bound.as_ref(), authority, host, port) {
                let found = match spelling.follows(raw, authority.end, prefix) {
                    Follows::Cut => return Found::Cut,
                    Follows::No => continue,
                    Follows::Yes(at) => paths.find(raw, at, spelling, |_| true),
                };
                match found {
                    Found::Cut => return Found::Cut,
                    Found::No => {}
                    Found::Yes { len, route } => {
                        let path = self.map.routes[route].route.path.as_str();
                        best = best.max(Some((path.len(), len, route)));
                    }
                }
            }
            if let Some((_, len, route)) = best {
                return Found::Yes { len, route };
            }
        }
        Found::No
    }

    /// In front of which prefixes the path of a route that is bound to this host may stand in a URL
    /// with this authority: none when the authority is not ours.
    fn prefixes<'a>(
        &'a self,
        bound: Option<&HostPattern>,
        authority: &Authority,
        host: &str,
        port: u16,
    ) -> impl Iterator<Item = &'a str> {
        let (own_host, own_port) = self.base.split();
        let own_default = Origin::default_port(self.base.secure);
        // A front end may have taken the TLS off: then scheme and default port differ, the text does not.
        let as_asked = authority.text().eq_ignore_ascii_case(self.base.authority())
            || (host.eq_ignore_ascii_case(own_host) && port == own_port.unwrap_or(own_default));
        let as_named = matches!(bound, Some(HostPattern::Exact(_)))
            && split_port(authority.text()).ok().and_then(|(_, port)| port)
                == self
                    .port()
                    .strip_prefix(':')
                    .and_then(|port| port.parse().ok());
        let public = self.map.public.as_ref().filter(|base| {
            host == base.origin.host.as_str() && port == base.origin.port && bound.is_none()
        });
        let bare = (as_asked || as_named).then_some("");
        public
            .map(|base| base.prefix.as_str())
            .into_iter()
            .chain(bare)
    }
}
