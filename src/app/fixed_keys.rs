//! The keys that a running process cannot follow: it goes on with what they said at its start,
//! however often the file is read again. docs/operations.md lists them.

use crate::config::{Config, Limits, ListenAddress, LogSpec, Timeouts};

/// What these keys said at the start.
pub(super) struct FixedKeys {
    listen: Vec<ListenAddress>,
    admin: Vec<ListenAddress>,
    workers: Option<std::num::NonZeroUsize>,
    limits: Limits,
    log: LogSpec,
    timeouts: Timeouts,
}

/// The keys of a section, and whether each says something else. Every field is named, so that a new
/// one does not compile until somebody has decided; those behind the semicolon are followed.
macro_rules! differing {
    ($at:literal, $old:expr, $new:expr, $section:ident {
        $($fixed:ident,)+ $(; $($followed:ident,)+)?
    }) => {{
        let $section { $($fixed,)+ $($($followed: _,)+)? } = &$new;
        [$((concat!($at, stringify!($fixed)), $old.$fixed != *$fixed)),+]
    }};
}

impl FixedKeys {
    pub(super) fn of(config: &Config) -> Self {
        Self {
            listen: config.listen.clone(),
            admin: config.admin.clone(),
            workers: config.workers,
            limits: config.limits.clone(),
            log: config.log.clone(),
            timeouts: config.timeouts.clone(),
        }
    }

    /// Puts back what requests and the connections to upstreams would be bounded by.
    pub(super) fn restore(&self, config: &mut Config) {
        config.limits = self.limits.clone();
    }

    /// The keys of which another configuration says something else.
    pub(super) fn changed_in(&self, config: &Config) -> Vec<&'static str> {
        let mut keys = vec![
            ("listen", self.listen != config.listen),
            ("admin", self.admin != config.admin),
            ("workers", self.workers != config.workers),
        ];
        keys.extend(differing! {
            "limits.", self.limits, config.limits,
            Limits {
                connections, connections_per_peer, in_flight, request_line, header_block, headers,
                streams,
            }
        });
        keys.extend(differing! { "log.", self.log, config.log, LogSpec { format, access, } });
        keys.extend(differing! {
            "timeouts.", self.timeouts, config.timeouts,
            // Those behind the semicolon are read where they are used, for each request.
            Timeouts {
                first_byte, request_head, keep_alive, write_stall, drain_delay, drain,;
                request_body_idle, token_wait, upstream,
            }
        });
        let changed = keys.into_iter().filter(|(_, changed)| *changed);
        changed.map(|(key, _)| key).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Source, load};

    fn config(text: &str) -> Config {
        let source = Source {
            allow_missing_env: true,
            ..Source::alone(text)
        };
        load(&source).unwrap().config
    }

    const ROUTE: &str = "routes: [{name: a, path: /a, upstream: 'https://a.com'}]\n";
    const CHANGED: &str = "\
listen: localhost:1
admin: off
workers: 7
limits: {connections: 7, connections_per_peer: 7, in_flight: 7, request_line: 7, header_block: 7, headers: 7, streams: 7}
log: {format: json, access: false}
timeouts: {first_byte: 7s, request_head: 7s, keep_alive: 7s, write_stall: 7s, drain_delay: 7s, drain: 7s}
";

    #[test]
    fn every_key_that_is_told_is_documented() {
        let fixed = FixedKeys::of(&config(ROUTE));
        let told = fixed.changed_in(&config(&format!("{CHANGED}{ROUTE}")));
        assert_eq!(told.len(), 18, "{told:?}");
        let manual = include_str!("../../docs/operations.md");
        for key in told {
            let name = key.rsplit('.').next().unwrap_or(key);
            assert!(manual.contains(&format!("`{name}`")), "{key}");
        }
    }

    #[test]
    fn what_is_followed_is_not_told() {
        let fixed = FixedKeys::of(&config(ROUTE));
        let followed = "timeouts: {request_body_idle: 7s, token_wait: 7s, connect: 7s, response_head: 7s, response_body_idle: 7s}\n";
        let other = config(&format!("{followed}{}", ROUTE.replace("/a,", "/b,")));
        assert_eq!(fixed.changed_in(&other), [""; 0]);
    }
}
