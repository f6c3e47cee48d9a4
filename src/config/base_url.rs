//! URLs of upstreams, authorities and of this proxy: an origin and a prefix, nothing else.

use std::fmt;

use super::cloud::DATAVERSE;
use super::scalar::Cloud;
use super::value::{HostName, PathPrefix};

/// An origin: scheme, host and port, as of RFC 6454. The port is always known.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Origin {
    /// `true` for https.
    pub secure: bool,
    /// The host.
    pub host: HostName,
    /// The port, the scheme's default when it was not written.
    pub port: u16,
}

impl Origin {
    /// The scheme's default port.
    pub fn default_port(secure: bool) -> u16 {
        if secure { 443 } else { 80 }
    }

    /// `host` or `host:port` where the port is not the scheme's default: the `Host` header.
    pub fn authority(&self) -> String {
        if self.port == Self::default_port(self.secure) {
            self.host.to_string()
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Whether Microsoft Graph is here, that of any cloud.
    pub fn is_graph(&self) -> bool {
        Cloud::of_graph(self.host.as_str()).is_some()
    }

    /// The other name of a Dataverse organisation: `org.crm4.dynamics.com` and
    /// `org.api.crm4.dynamics.com` are one upstream, in the national clouds as well.
    pub fn twin(&self) -> Option<Self> {
        let (organisation, rest) = self.host.as_str().split_once('.')?;
        let (middle, region) = match rest.strip_prefix("api.") {
            Some(region) => ("", region),
            None => ("api.", rest),
        };
        let (crm, domain) = region.split_once('.')?;
        let number = crm.strip_prefix("crm")?;
        let known = DATAVERSE.iter().any(|(known, _)| *known == domain);
        if !known || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        Some(Self {
            host: HostName::parse(&format!("{organisation}.{middle}{region}")).ok()?,
            ..self.clone()
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.secure { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.authority())
    }
}

/// An origin with a path prefix below it: `https://host[:port][/prefix]`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BaseUrl {
    /// Scheme, host and port.
    pub origin: Origin,
    /// The prefix; the root when there is none.
    pub prefix: PathPrefix,
}

impl BaseUrl {
    /// Parses `https://host[:port][/prefix]`, or `http://` likewise. No user, query or fragment.
    ///
    /// # Errors
    /// What would be accepted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let lower = text.get(..8).unwrap_or(text).to_ascii_lowercase();
        let (secure, rest) = if lower.starts_with("https://") {
            (true, &text[8..])
        } else if lower.starts_with("http://") {
            (false, &text[7..])
        } else {
            return Err(
                "a URL begins with https:// (or http://, where that is allowed)".to_owned(),
            );
        };
        if rest.contains(['?', '#']) {
            return Err("a URL here holds no query or fragment".to_owned());
        }
        let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
        if authority.contains('@') {
            return Err("a URL here holds no user name or password".to_owned());
        }
        let (host, port) = split_port(authority)
            .ok()
            // 0 is for listening: nobody can be reached there.
            .filter(|(_, port)| *port != Some(0))
            .ok_or("the port of a URL is a number from 1 to 65535")?;
        let origin = Origin {
            secure,
            host: HostName::parse(host)?,
            port: port.unwrap_or_else(|| Origin::default_port(secure)),
        };
        let prefix = if path.is_empty() {
            PathPrefix::default()
        } else {
            PathPrefix::parse(path)?
        };
        Ok(Self { origin, prefix })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.prefix)
    }
}

/// Splits `host[:port]`, brackets of an IPv6 literal respected.
///
/// # Errors
/// When the port is not a number from 1 to 65535 (0 is allowed: "any free port").
pub fn split_port(authority: &str) -> Result<(&str, Option<u16>), String> {
    let literal = authority.rfind(']').unwrap_or(0);
    match authority[literal..].rfind(':') {
        None => Ok((authority, None)),
        Some(at) => {
            let at = at + literal;
            let digits = &authority[at + 1..];
            let port = digits
                .bytes()
                .all(|b| b.is_ascii_digit())
                .then(|| digits.parse().ok())
                .flatten()
                .ok_or_else(|| "a port is a number from 0 to 65535".to_owned())?;
            Ok((&authority[..at], Some(port)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_organisations_of_dataverse_have_another_name() {
        let twin = |host: &str| {
            let url = BaseUrl::parse(&format!("https://{host}")).unwrap();
            url.origin.twin().map(|twin| twin.host.as_str().to_owned())
        };
        for (one, other) in [
            ("org.crm.dynamics.com", "org.api.crm.dynamics.com"),
            ("org.crm4.dynamics.com", "org.api.crm4.dynamics.com"),
        ] {
            assert_eq!(twin(one).as_deref(), Some(other));
            assert_eq!(twin(other).as_deref(), Some(one));
        }
        for host in [
            "org.crm4.example.com",
            "org.api.crm4.dynamics.com.example.com",
            "org.crmx.dynamics.com",
            "org.erp4.dynamics.com",
        ] {
            assert_eq!(twin(host), None, "{host}");
        }
    }

    #[test]
    fn a_port_is_digits_and_nothing_else() {
        assert_eq!(split_port("a.com:443"), Ok(("a.com", Some(443))));
        for authority in ["a.com:", "a.com:+443", "a.com:-1", "a.com:65536"] {
            assert!(split_port(authority).is_err(), "{authority}");
        }
    }
}
