//! The host that the last request of a connection named. A caller names the same one in each, and what
//! was found of it holds as long as the bytes and the configuration are the same: nothing else goes
//! into it. Only a host that is served is kept, so that every refusal is decided anew.

use std::borrow::Cow;
use std::cell::RefCell;
use std::rc::Rc;

use http::request::Parts;

use crate::policy::Refusal;
use crate::policy::authority::Authority;
use crate::policy::host::HostPolicy;
use crate::policy::target::{Target, sole_host};
use crate::rewrite::PublicBase;

/// A host that is served.
#[derive(Debug)]
pub(super) struct KnownHost {
    /// The number of the lane by whose rules it is. It names one lane of a worker, and a connection
    /// stays with its worker.
    lane: u64,
    host: Box<str>,
    port: Option<u16>,
    /// With the bytes that named it.
    pub(super) base: Rc<PublicBase>,
}

impl KnownHost {
    /// What parsing those bytes gives.
    fn authority(&self) -> Authority<'_> {
        Authority {
            text: self.base.authority(),
            host: Cow::Borrowed(&self.host),
            port: self.port,
        }
    }
}

/// What a connection keeps: one host.
#[derive(Debug, Default)]
pub(super) struct LastHost(RefCell<Option<Rc<KnownHost>>>);

impl LastHost {
    /// The host that a request names, where that is the one that is kept, by the rules of this lane.
    pub(super) fn recall(&self, lane: u64, parts: &Parts) -> Option<Rc<KnownHost>> {
        let named = sole_host(&parts.uri, &parts.headers, parts.version)?;
        let last = self.0.borrow();
        let last = last.as_ref()?;
        let same = last.lane == lane && last.base.authority().as_bytes() == named;
        same.then(|| Rc::clone(last))
    }

    /// Keeps a host that is served by the rules of this lane.
    pub(super) fn keep(&self, lane: u64, secure: bool, served: &Authority<'_>) {
        let known = PublicBase::new(secure, served.text).map(|base| KnownHost {
            lane,
            host: served.host.as_ref().into(),
            port: served.port,
            base: base.into(),
        });
        self.0.replace(known.map(Rc::new));
    }
}

/// What is asked for, at a host that is served; the one it names where that is known.
pub(super) fn target<'a>(
    hosts: &HostPolicy,
    parts: &'a Parts,
    known: Option<&'a KnownHost>,
) -> Result<Target<'a>, Refusal> {
    let (method, uri, headers) = (&parts.method, &parts.uri, &parts.headers);
    if let Some(known) = known {
        return Target::at(known.authority(), method, uri, headers);
    }
    let target = Target::of(method, uri, headers, parts.version)?;
    hosts.check(&target.authority.host)?;
    Ok(target)
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, Request, Version};
    use proptest::prelude::*;

    use super::*;
    use crate::config::{self, Source};

    fn policy(hosts: &str) -> HostPolicy {
        let route = "routes: [{name: a, path: /a, upstream: 'https://a.com'}]";
        let text = format!("hosts: [{hosts}]\n{route}\n");
        let source = Source {
            allow_missing_env: true,
            ..Source::alone(&text)
        };
        HostPolicy::new(&config::load(&source).unwrap().config)
    }

    fn request() -> impl Strategy<Value = Parts> {
        let name = prop::sample::select(vec![
            "localhost",
            "localhost:80",
            "LOCALHOST:80",
            "a.example",
            "a.example",
            "a.example",
            "A.example",
            "a.example.",
            "b.example:1",
            "b.example:01",
            "[::1]",
            "[0::1]",
            "127.0.0.1",
            "evil.example",
            "a b",
            "",
        ]);
        let lines = prop::collection::vec(name, 0..3);
        let target = prop::sample::select(vec![
            "/",
            "/",
            "/",
            "/..",
            "http://a.example/",
            "http://b.example:1/",
            "*",
        ]);
        let version =
            prop::sample::select(vec![Version::HTTP_10, Version::HTTP_11, Version::HTTP_2]);
        (lines, target, version, prop::bool::weighted(0.1)).prop_map(
            |(lines, uri, version, traces)| {
                let method = if traces { "TRACE" } else { "GET" };
                let request = Request::builder().method(method).uri(uri).version(version);
                let mut parts = request.body(()).unwrap().into_parts().0;
                for line in lines {
                    parts.headers.append("host", HeaderValue::from_static(line));
                }
                parts
            },
        )
    }

    proptest! {
        #[test]
        fn a_known_host_is_what_the_rules_in_force_make_of_it(
            requests in prop::collection::vec((request(), any::<bool>(), prop::bool::weighted(0.1)), 1..40),
        ) {
            let rules = [policy(""), policy("a.example"), policy("'*.example'")];
            let (last, mut number) = (LastHost::default(), 0);
            for (parts, again, reloads) in &requests {
                number += u64::from(*reloads);
                let hosts = &rules[usize::try_from(number % 3).unwrap()];
                // The same once more is what is mostly sent.
                for _ in 0..=usize::from(*again) {
                    let known = last.recall(number, parts);
                    let judged = target(hosts, parts, known.as_deref());
                    prop_assert_eq!(&judged, &target(hosts, parts, None));
                    if let (Ok(target), None) = (&judged, &known) {
                        last.keep(number, false, &target.authority);
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_bytes_are_known_until_others_come_or_other_rules() {
        let last = LastHost::default();
        let parts = |host| {
            let request = Request::builder().uri("/").header("host", host);
            request.body(()).unwrap().into_parts().0
        };
        let known = |lane, host| last.recall(lane, &parts(host)).is_some();
        assert!(!known(1, "a:80"));
        last.keep(1, false, &Authority::parse("a:80").unwrap());
        assert!(known(1, "a:80"));
        assert!(!known(2, "a:80"));
        for other in ["a", "A:80", "a:080", "a.:80", "b:80"] {
            assert!(!known(1, other), "{other}");
        }
        let mut twice = parts("a:80");
        twice
            .headers
            .append("host", HeaderValue::from_static("b:80"));
        assert!(last.recall(1, &twice).is_none());
    }
}
