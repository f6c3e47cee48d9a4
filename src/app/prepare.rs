//! From a checked configuration to a generation: the trust store, the credentials, the tokens.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use crate::caller::Callers;
use crate::caller::api_keys::ApiKeyError;
use crate::config::{Config, RouteSpec};
use crate::credential::{self, Credential, Platform};
use crate::forward_proxy::{ForwardProxy, ProxyVariableError};
use crate::proxy::generation::Generation;
use crate::server::tls::{self, Loaded, TlsError};
use crate::token::{TokenCache, TokenEntry, TokenKey};
use crate::trust::{self, TrustError};
use crate::upstream::Egress;

/// Why a configuration cannot be put in force although it is well-formed.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The API keys of callers cannot be used.
    #[error(transparent)]
    Caller(#[from] ApiKeyError),
    /// The HTTP client of token calls refuses the settings.
    #[error("the client for token calls cannot be built; check HTTPS_PROXY and NO_PROXY")]
    Client(#[from] reqwest::Error),
    /// The environment names a forward proxy that cannot be used.
    #[error(transparent)]
    Proxy(#[from] ProxyVariableError),
    /// What callers are to be shown cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The trust store cannot be built.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

impl PrepareError {
    /// The key of routes.yaml that it is about; none when it is not about one.
    pub fn at(&self) -> &'static [&'static str] {
        match self {
            Self::Caller(_) => &["callers"],
            Self::Client(_) | Self::Proxy(_) => &[],
            Self::Tls(_) => &["tls"],
            Self::Trust(error) if error.is_of_environment() => &[],
            Self::Trust(_) => &["trust", "ca_file"],
        }
    }
}

/// Credentials of a configuration and how this process reaches the outside.
pub struct Outbound {
    /// One for each credential, in file order.
    pub credentials: Vec<Arc<Credential>>,
    /// For upstreams.
    pub egress: Egress,
    /// What of the system's trust store could not be read, where that may be missed.
    pub doubt: Option<String>,
}

/// The forward proxy that the environment names; none where nothing would go by it.
///
/// # Errors
/// When it names one that cannot be used.
pub fn forward_proxy(config: &Config) -> Result<ForwardProxy, PrepareError> {
    Ok(match config.leads_out() {
        true => ForwardProxy::read(|name| std::env::var_os(name))?,
        false => ForwardProxy::none(),
    })
}

/// Makes credentials and egress; asks for no token.
///
/// # Errors
/// When the forward proxy cannot be used, or the trust store or the HTTP client cannot be built.
pub fn outbound(config: &Config) -> Result<Outbound, PrepareError> {
    outbound_through(forward_proxy(config)?, config)
}

/// The same through this forward proxy, which the file does not name.
///
/// # Errors
/// When the trust store or the HTTP client cannot be built.
pub fn outbound_through(
    forward_proxy: ForwardProxy,
    config: &Config,
) -> Result<Outbound, PrepareError> {
    trust::install_provider();
    let trust = trust::load(config.trust_ca_file.as_ref())?;
    let for_tokens = credential::Egress {
        tls: trust.client.clone(),
        resolve: config.resolve.clone(),
        forward_proxy: forward_proxy.clone(),
    };
    let platform = Platform::detect(|name| std::env::var(name).ok());
    Ok(Outbound {
        credentials: Credential::all(&config.credentials, &for_tokens, &platform)?,
        doubt: trust.doubt.clone(),
        egress: Egress::new(trust, config.resolve.clone(), forward_proxy),
    })
}

/// A configuration with what the files that it names hold. Nobody knows of it yet, so it can be
/// dropped without a trace.
pub struct Prepared {
    pub(super) config: Config,
    /// What callers are shown, when there is to be a certificate.
    pub(super) certificate: Option<Loaded>,
    callers: Callers,
    outbound: Outbound,
}

/// Reads what a configuration names. A file system may keep it waiting for as long as it likes, so
/// a program that serves does it aside.
///
/// # Errors
/// When a file or the environment cannot be used.
pub fn prepare(config: Config, now: SystemTime) -> Result<Prepared, PrepareError> {
    trust::install_provider();
    let load = |spec| tls::load(spec, now);
    Ok(Prepared {
        certificate: config.tls.as_ref().map(load).transpose()?,
        callers: Callers::new(&config.callers, config.kubernetes.as_ref())?,
        outbound: outbound(&config)?,
        config,
    })
}

impl Prepared {
    /// Loads what its credentials hold, so that their ends are known as soon as it is in force.
    /// Waits for file systems.
    pub fn load_credentials(&self) {
        for credential in &self.outbound.credentials {
            // What is wrong with one was told when the configuration was looked at.
            let _ = credential.check();
        }
    }

    /// Makes the generation, and hands out the certificate. Tokens that are new are asked for from
    /// now on.
    pub(super) fn build(self, tokens: &TokenCache) -> (Option<Loaded>, Generation) {
        let entries = entries(&self.config, &self.outbound.credentials, tokens);
        let generation = Generation::new(
            self.config,
            self.callers,
            self.outbound.egress,
            self.outbound.credentials,
            entries,
        );
        (self.certificate, generation)
    }
}

/// The token of each route. Routes whose credentials are one identity share it, and it is counted
/// under the name of the first.
fn entries(
    config: &Config,
    credentials: &[Arc<Credential>],
    tokens: &TokenCache,
) -> Vec<Arc<TokenEntry>> {
    let mut labels = BTreeMap::new();
    let entry = |route: &RouteSpec| {
        let credential = &credentials[route.credential];
        let label = labels
            .entry(TokenKey::new(credential, &route.scope))
            .or_insert_with(|| credential.name().clone());
        tokens.entry(credential, &route.scope, label)
    };
    config.routes.iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use tokio::runtime::Handle;

    use super::*;
    use crate::config::{self, Source};
    use crate::metrics::Metrics;
    use crate::proxy::generation::InForce;

    fn generation(routes: &str) -> Generation {
        let text = format!("routes: [{routes}]");
        let source = Source {
            allow_missing_env: true,
            ..Source::alone(&text)
        };
        let config = config::load(&source).unwrap().config;
        let now = SystemTime::now();
        let tokens = TokenCache::new(Handle::current(), Metrics::new(now).refreshes());
        prepare(config, now).unwrap().build(&tokens).1
    }

    #[test]
    fn authorities_that_cannot_be_used_are_told_at_their_key_and_the_environment_is_not() {
        let text = "routes: [{name: a, path: /a, upstream: 'https://a.com'}]";
        let source = Source {
            allow_missing_env: true,
            ..Source::alone(text)
        };
        let mut config = config::load(&source).unwrap().config;
        config.trust_ca_file = Some("/nowhere/ca.pem".into());
        let refused = outbound_through(ForwardProxy::none(), &config);
        assert_eq!(refused.err().unwrap().at(), ["trust", "ca_file"]);
        let environment = PrepareError::Trust(TrustError::Descriptors);
        assert_eq!(environment.at(), [""; 0]);
    }

    // Nothing is awaited here, so that no token is asked for.
    #[tokio::test]
    async fn a_reload_keeps_quiet_and_places_of_a_route_while_its_upstream_is_the_same() {
        let route = |name: &str, upstream: &str, most: usize| {
            format!(
                "{{name: {name}, path: /a, upstream: 'https://{upstream}', throttle: hold, max_concurrency: {most}}}"
            )
        };
        let in_force = InForce::new(generation(&route("a", "a.com", 2)));
        for (next, quiet, places) in [
            (route("a", "a.com", 2), true, true),
            (route("a", "a.com", 3), true, true),
            (route("a", "b.com", 3), false, false),
            (route("a", "b.com/v1", 3), false, false),
            (route("b", "b.com/v1", 3), false, false),
        ] {
            let before = in_force.load();
            in_force.replace(generation(&next));
            let after = in_force.load();
            let (before, after) = (&before.routes[0], &after.routes[0]);
            assert_eq!(
                Arc::ptr_eq(&before.throttle_gate, &after.throttle_gate),
                quiet,
                "{next}"
            );
            let both = before.places.as_ref().zip(after.places.as_ref());
            let (before, after) = both.unwrap();
            assert_eq!(Arc::ptr_eq(before, after), places, "{next}");
        }
    }

    #[cfg(unix)]
    mod cost {
        use std::time::Duration;

        use super::*;
        use crate::access_log::AccessLog;
        use crate::alarm::AlarmClock;
        use crate::clock::processor_time;
        use crate::proxy::{Admission, Proxy};

        /// How much of a worker's time it takes to follow a reload of so many routes.
        fn cost_of_a_reload(routes: usize) -> Duration {
            let route =
                |at| format!("{{name: r{at}, path: /r{at}, upstream: 'https://a{at}.com'}}");
            let routes = (0..routes).map(route).collect::<Vec<_>>().join(", ");
            let in_force = Arc::new(InForce::new(generation(&routes)));
            let proxy = Proxy::new(
                0,
                Arc::clone(&in_force),
                Metrics::new(SystemTime::now()),
                AccessLog::off().lane(0),
                Admission::new(1, 1),
                AlarmClock::new(Duration::from_secs(1)),
            );
            let next = generation(&routes);
            let begun = processor_time();
            in_force.replace(next);
            proxy.sweep();
            processor_time() - begun
        }

        // Of eight times the routes, eight times the cost is as it should be, and the square would be 64.
        #[tokio::test]
        async fn a_reload_costs_a_worker_no_more_than_its_routes() {
            let least = |routes| (0..3).map(|_| cost_of_a_reload(routes)).min();
            let few = least(1000).unwrap_or_default();
            let many = least(8000).unwrap_or_default();
            assert!(many < few * 20, "{few:?} and {many:?}");
        }
    }
}
