//! The forward proxy of the environment, read once for token calls, upstreams and the cluster's keys
//! alike. The library that reads these variables passes over what it cannot use and connects
//! directly, past whoever is to see or allow the traffic. So it is judged first, by its rules.

use std::ffi::OsString;
use std::sync::Arc;

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use reqwest::{ClientBuilder, Proxy};

/// The variables in the order in which they count.
const NAMES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

/// Why the forward proxy that the environment names cannot be used.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ProxyVariableError {
    /// It is no address, and would be passed over.
    #[error(
        "{name} holds \"{shown}\", which is not the address of a forward proxy; set it to http://HOST:PORT, or http://USER:PASSWORD@HOST:PORT with special characters percent-encoded, or unset it"
    )]
    Garbage {
        /// The variable.
        name: &'static str,
        /// What it holds, without what may be a password.
        shown: String,
    },
    /// It is a proxy of another kind.
    #[error(
        "{name} holds \"{shown}\", and only http:// proxies are supported; set it to the http://HOST:PORT of a proxy that knows CONNECT, or unset it"
    )]
    Kind {
        /// The variable.
        name: &'static str,
        /// What it holds, without what may be a password.
        shown: String,
    },
}

/// What to look at where the proxy did not open a tunnel, by the status of its answer to CONNECT.
pub fn remedy(status: Option<u16>) -> &'static str {
    match status {
        // RFC 9110 section 15.5.8.
        Some(407) => {
            "it wants a user and a password that it knows: set them in HTTPS_PROXY, as http://USER:PASSWORD@HOST:PORT"
        }
        _ => "check HTTPS_PROXY and NO_PROXY, and what it lets through",
    }
}

/// Where connections are made through.
#[derive(Clone, Debug)]
pub struct ForwardProxy(Arc<Matcher>);

impl ForwardProxy {
    /// None: everything is reached directly.
    pub fn none() -> Self {
        Self(Arc::new(Matcher::builder().build()))
    }

    /// What `HTTPS_PROXY`, else `ALL_PROXY` names, and the hosts that `NO_PROXY` excepts from it.
    ///
    /// # Errors
    /// When the variable that counts names no proxy that can be used.
    pub fn read(env: impl Fn(&str) -> Option<OsString>) -> Result<Self, ProxyVariableError> {
        // A sign of CGI, where a caller can set HTTP_PROXY: others read none of these there, either.
        if env("REQUEST_METHOD").is_some() {
            return Ok(Self::none());
        }
        // An empty one counts as unset, as in curl: container tools set what the host does not have.
        let set = |name| Some((name, env(name).filter(|value| !value.is_empty())?));
        let Some((name, value)) = NAMES.into_iter().find_map(set) else {
            return Ok(Self::none());
        };
        let value = value.to_string_lossy();
        judge(name, &value)?;
        let excepted = ["NO_PROXY", "no_proxy"].into_iter().find_map(set);
        let excepted = excepted.map(|(_, value)| value);
        let excepted = exceptions(&excepted.unwrap_or_default().to_string_lossy());
        let matcher = Matcher::builder().https(value.into_owned()).no(excepted);
        Ok(Self(Arc::new(matcher.build())))
    }

    /// The proxy on the way to `host:port`, over TLS; none where it is reached directly.
    pub fn towards(&self, authority: &str) -> Option<Intercept> {
        let uri = http::Uri::builder()
            .scheme("https")
            .authority(authority)
            .path_and_query("/")
            .build();
        self.0.intercept(&uri.ok()?)
    }

    /// A client that goes this way to `host:port`, and nowhere else.
    ///
    /// # Errors
    /// When the HTTP library does not take the proxy's address.
    pub fn lead(
        &self,
        client: ClientBuilder,
        authority: &str,
    ) -> Result<ClientBuilder, reqwest::Error> {
        let client = client.no_proxy();
        let Some(way) = self.towards(authority) else {
            return Ok(client);
        };
        let proxy = Proxy::https(way.uri().to_string())?;
        Ok(client.proxy(match way.basic_auth() {
            Some(credentials) => proxy.custom_http_auth(credentials.clone()),
            None => proxy,
        }))
    }
}

/// The entries of `NO_PROXY` as the library takes them: to it `*.contoso.com` is no suffix.
fn exceptions(value: &str) -> String {
    let entries = value.split(',').map(str::trim);
    let entries = entries.map(|entry| match entry.strip_prefix('*') {
        Some(suffix) if suffix.starts_with('.') => suffix,
        _ => entry,
    });
    entries.collect::<Vec<_>>().join(",")
}

fn judge(name: &'static str, value: &str) -> Result<(), ProxyVariableError> {
    let shown = shown(value);
    let anywhere = http::Uri::from_static("https://upstream/");
    let matcher = Matcher::builder().https(value.to_owned()).build();
    let Some(proxy) = matcher.intercept(&anywhere) else {
        return Err(match value.split_once("://") {
            Some((scheme, _)) if is_scheme(scheme) && scheme != "http" => {
                ProxyVariableError::Kind { name, shown }
            }
            _ => ProxyVariableError::Garbage { name, shown },
        });
    };
    let uri = proxy.uri();
    let authority = uri.authority().map_or("", http::uri::Authority::as_str);
    let host = uri.host().unwrap_or_default();
    // A port that is none would silently become 80. What does not begin with the host still has a
    // part of a password before it, in which an @ was not encoded.
    let is_place = match authority.strip_prefix(host) {
        Some("" | ":") => !host.is_empty(),
        Some(_) => !host.is_empty() && uri.port_u16().is_some(),
        None => false,
    };
    if uri.scheme_str() != Some("http") {
        return Err(ProxyVariableError::Kind { name, shown });
    }
    match is_place {
        true => Ok(()),
        false => Err(ProxyVariableError::Garbage { name, shown }),
    }
}

fn is_scheme(text: &str) -> bool {
    let rest = |byte: u8| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte);
    text.starts_with(|first: char| first.is_ascii_alphabetic()) && text.bytes().all(rest)
}

/// The value for people: scheme, host and port. Whatever could be a user or a password, also of a
/// value that is written wrongly, is left out.
fn shown(value: &str) -> String {
    let (scheme, rest) = match value.split_once("://") {
        Some((scheme, rest)) if is_scheme(scheme) => (format!("{scheme}://"), rest),
        _ => (String::new(), value),
    };
    // Somebody who encodes the separator as well has a password before it all the same.
    let ends = ["@", "%40"].map(|at| rest.rfind(at).map(|found| found + at.len()));
    let (left_out, place) = match ends.into_iter().flatten().max() {
        Some(end) => ("…@", &rest[end..]),
        None => ("", rest),
    };
    let place = place.split(['/', '?', '#']).next().unwrap_or_default();
    // A colon may stand before a password just as well as before a port.
    let bare = place.rfind(']').map_or(0, |bracket| bracket + 1);
    let place = match place[bare..].split_once(':') {
        Some((host, port)) if port.parse::<u16>().is_err() => {
            format!("{}{host}:…", &place[..bare])
        }
        _ => place.to_owned(),
    };
    let text: String = place.chars().take(255).collect();
    format!("{scheme}{left_out}{}", text.escape_debug())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(variables: &[(&str, &str)]) -> Result<(), String> {
        let found = |name: &str| {
            let known = variables.iter().find(|(known, _)| *known == name);
            known.map(|(_, value)| OsString::from(value))
        };
        let read = ForwardProxy::read(found);
        read.map(drop).map_err(|error| error.to_string())
    }

    #[test]
    fn hosts_of_no_proxy_are_reached_directly() {
        for (entries, direct, proxied) in [
            ("contoso.com", "api.contoso.com", "notcontoso.com"),
            (".contoso.com", "api.contoso.com", "notcontoso.com"),
            (".contoso.com", "contoso.com", "contoso.com.evil"),
            ("*.contoso.com", "API.contoso.com", "notcontoso.com"),
            ("*.contoso.com", "contoso.com", "contoso.com.evil"),
            ("a.com, *.b.com ,c.com", "x.b.com", "b.org"),
            ("*", "anything.com", "10.0.0.1"),
            ("10.0.0.0/8", "10.0.0.1", "11.0.0.1"),
            ("*contoso.com", "*contoso.com", "api.contoso.com"),
        ] {
            for name in ["NO_PROXY", "no_proxy"] {
                let read = ForwardProxy::read(|asked| match asked {
                    "HTTPS_PROXY" => Some("http://proxy:3128".into()),
                    _ => (asked == name).then(|| entries.into()),
                });
                let proxy = read.unwrap();
                let towards = |host| proxy.towards(&format!("{host}:443")).is_some();
                assert!(!towards(direct), "{direct} by {entries}");
                assert!(towards(proxied), "{proxied} by {entries}");
            }
        }
    }

    #[test]
    fn what_the_libraries_use_is_fine() {
        for value in [
            "",
            "http://proxy",
            "http://proxy:3128",
            "HTTP://proxy:3128/",
            "proxy:3128",
            "http://someone:p%40ss@10.0.0.1:3128",
            "http://[::1]:3128",
        ] {
            assert_eq!(verdict(&[("HTTPS_PROXY", value)]), Ok(()), "{value}");
        }
    }

    #[test]
    fn what_would_be_passed_over_is_refused_without_its_password() {
        for (value, shown) in [
            ("http//proxy:3128", "http"),
            ("http://proxy:99999", "http://proxy:…"),
            ("http://user:hunter2", "http://user:…"),
            ("http://some one:hunter2@proxy:3128", "http://…@proxy:3128"),
            ("http://someone:hun@ter2@proxy:3128", "http://…@proxy:3128"),
            ("http://someone:hunter2/@proxy:3128", "http://…@proxy:3128"),
            ("http://someone:hunter2%40proxy", "http://…@proxy"),
            ("http:/someone:hunter2@proxy", "…@proxy"),
            ("http:/someone:hunter2", "http:…"),
            ("http://:3128", "http://:3128"),
            ("a proxy\n", "a proxy\\n"),
            ("htp://someone:hunter2@proxy:3128", "htp://…@proxy:3128"),
            (
                "socks5://someone:hunter2@[::1]:1080",
                "socks5://…@[::1]:1080",
            ),
            ("https://proxy:443", "https://proxy:443"),
        ] {
            for name in ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"] {
                let words = verdict(&[(name, value)]).expect_err(value);
                let start = format!("{name} holds \"{shown}\", ");
                assert!(words.starts_with(&start), "{value}: {words}");
                assert!(words.contains("http://HOST:PORT"), "{words}");
                assert!(!words.contains("ter2"), "{words}");
            }
        }
    }

    #[test]
    fn only_the_variable_that_counts_is_judged() {
        let fine = ("HTTPS_PROXY", "http://proxy");
        let garbage = ("ALL_PROXY", "socks5://proxy");
        assert_eq!(verdict(&[fine, garbage]), Ok(()));
        assert_eq!(verdict(&[("HTTP_PROXY", "socks5://proxy")]), Ok(()));
        assert!(verdict(&[("HTTPS_PROXY", ""), garbage]).is_err());
        assert_eq!(verdict(&[garbage, ("REQUEST_METHOD", "GET")]), Ok(()));
    }
}
