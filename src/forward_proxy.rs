//! Whether the environment names a forward proxy that can be used. The libraries that read these
//! variables pass over what they cannot use and connect directly, past whoever is to see or allow
//! the traffic. So it is judged first, by their rules, for token calls and upstreams alike.

use std::ffi::OsString;

use hyper_util::client::proxy::matcher::Matcher;

/// The variables in the order in which they count; upper case comes first in each pair.
const NAMES: [[&str; 2]; 2] = [["HTTPS_PROXY", "https_proxy"], ["ALL_PROXY", "all_proxy"]];

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

/// Judges the variable that counts, if there is one.
///
/// # Errors
/// When it names no proxy that can be used.
pub fn judge(env: impl Fn(&str) -> Option<OsString>) -> Result<(), ProxyVariableError> {
    // The libraries take this for CGI, where a caller can set HTTP_PROXY, and read none of these.
    if env("REQUEST_METHOD").is_some() {
        return Ok(());
    }
    for pair in NAMES {
        let set = pair.iter().find_map(|name| Some((*name, env(name)?)));
        if let Some((name, value)) = set.filter(|(_, value)| !value.is_empty()) {
            return judge_value(name, &value.to_string_lossy());
        }
    }
    Ok(())
}

fn judge_value(name: &'static str, value: &str) -> Result<(), ProxyVariableError> {
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
        judge(found).map_err(|error| error.to_string())
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
