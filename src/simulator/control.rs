//! What a test can tell the simulator, and ask of it, while it runs.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::Value;

use super::directory::SecretState;
use super::fault::{Handshake, Script};
use super::journal::{NotSeen, Seen, Violation};
use super::probe::Feed;
use super::wire::Ending;
use super::{Simulator, SimulatorError, proof};
use crate::secret::Secret;

/// The app, and what its client proves itself with.
impl Simulator {
    /// The newest valid client secret of the app.
    pub fn client_secret(&self) -> Option<Secret> {
        self.world.directory.secret()
    }

    /// Makes one more client secret; older ones stay valid.
    pub fn add_client_secret(&self) -> Secret {
        self.world.directory.add_secret()
    }

    /// All secrets made so far are refused as expired (AADSTS7000222).
    pub fn expire_client_secrets(&self) {
        self.world.directory.retire_secrets(SecretState::Expired);
    }

    /// All secrets made so far are refused as unknown (AADSTS7000215).
    pub fn remove_client_secrets(&self) {
        self.world.directory.retire_secrets(SecretState::Unknown);
    }

    /// Registers the first certificate of a PEM text on the app.
    ///
    /// # Errors
    /// When there is none in it.
    pub fn register_certificate(&self, pem: &str) -> Result<(), SimulatorError> {
        self.world.proofs.register(pem)
    }

    /// Makes an RSA key and a certificate, registers the certificate on the app and returns both as
    /// one PEM text. Takes a moment, as RSA keys do.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn make_certificate(&self) -> Result<String, SimulatorError> {
        let pem = proof::certificate()?;
        self.world.proofs.register(&pem)?;
        Ok(pem)
    }

    /// A token of the outside issuer that the app trusts, with these claims laid over the good ones
    /// (a `null` takes one away). Serves as a Kubernetes service-account token too.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn federated_token(&self, claims: &Value) -> Result<String, SimulatorError> {
        self.world.proofs.token(claims)
    }

    /// The outside issuer's keys (RFC 7517).
    ///
    /// # Errors
    /// When no key can be made.
    pub fn federated_keys(&self) -> Result<Value, SimulatorError> {
        self.world.proofs.key_set()
    }

    /// What App Service wants to see in `X-IDENTITY-HEADER`.
    pub fn identity_header(&self) -> Secret {
        self.world.metadata.header.clone()
    }

    /// Names the key file that Azure Arc's challenge points at. Returns what has to be in it.
    pub fn arc_key(&self, path: &str) -> Secret {
        self.world.metadata.arc_key(path)
    }
}

/// Tokens.
impl Simulator {
    /// How long tokens issued from now on live, and the `refresh_in` they come with.
    pub fn set_token_lifetime(&self, lifetime: Duration, refresh_in: Option<Duration>) {
        self.world.entra.change(|issuance| {
            issuance.lifetime = lifetime;
            issuance.refresh_in = refresh_in;
        });
    }

    /// The application roles in tokens issued from now on.
    pub fn set_roles(&self, roles: &[&str]) {
        let roles: Vec<String> = roles.iter().map(|&role| role.to_owned()).collect();
        self.world.entra.change(|issuance| issuance.roles = roles);
    }

    /// Lays the members of an object over every success document of the token endpoint; a `null`
    /// takes a member away, `Value::Null` ends it.
    pub fn patch_token_reply(&self, patch: Value) {
        self.world.entra.change(|issuance| issuance.patch = patch);
    }

    /// Every token issued and still remembered (the last 20,000), oldest first.
    pub fn tokens(&self) -> Vec<String> {
        self.world.tokens.texts()
    }

    /// How many requests the token endpoint has had.
    pub fn token_calls(&self) -> u64 {
        self.world.token_calls.load(Ordering::Relaxed)
    }

    /// How many requests for a token the metadata services have had.
    pub fn metadata_calls(&self) -> u64 {
        self.world.metadata.calls.load(Ordering::Relaxed)
    }

    /// The APIs take this token (`None`: all issued so far) for expired, whatever its dates say.
    pub fn expire_tokens(&self, token: Option<&str>) {
        self.world.tokens.expire(token);
    }

    /// The APIs take this token (`None`: all issued so far) for revoked.
    pub fn revoke_tokens(&self, token: Option<&str>) {
        self.world.tokens.revoke(token);
    }

    /// This host answers a claims challenge to every token that was not asked for with at least
    /// these claims (`{"access_token":{…}}`); `None` ends it.
    pub fn demand_claims(&self, host: &str, claims: Option<Value>) {
        self.world.tokens.demand(host, claims);
    }
}

/// Misbehaviour.
impl Simulator {
    /// Does something wrong from now on.
    pub fn script(&self, script: Script) {
        self.world.faults.add(script);
    }

    /// Ends all scripts, outages and spoilt handshakes.
    pub fn clear_scripts(&self) {
        self.world.faults.clear();
    }

    /// Spoils new connections to this host.
    pub fn spoil(&self, host: &str, handshake: Handshake) {
        self.world.spoil(host, Some(handshake));
    }

    /// Takes this host down: open connections are reset, and so are new ones.
    pub fn outage(&self, host: &str) {
        self.world.spoil(host, Some(Handshake::Reset));
    }

    /// Ends an outage or a spoilt handshake of this host.
    pub fn recover(&self, host: &str) {
        self.world.spoil(host, None);
    }

    /// Closes the connections to this host (`*`: all) that have no request under way. Returns how
    /// many there were.
    pub fn close_idle(&self, host: &str, ending: Ending) -> usize {
        let mut links = self.world.links(host);
        links.retain(|link| link.is_idle());
        for link in &links {
            link.hang_up(ending);
        }
        links.len()
    }

    /// How many connections to this host (`*`: all) are open.
    pub fn connections(&self, host: &str) -> usize {
        self.world.links(host).len()
    }

    /// Whether HTTP/2 is offered to new connections. It is at start.
    pub fn offer_http2(&self, on: bool) {
        self.world.http2.store(on, Ordering::Relaxed);
    }

    /// A body to send piece by piece, for the next request to `/sim/feed/{name}`.
    pub fn feed(&self, name: &str) -> Feed {
        self.world.probe.feed(name)
    }
}

/// The record.
impl Simulator {
    /// Whether requests are recorded. They are at start; a benchmark switches it off.
    pub fn record(&self, on: bool) {
        self.world.journal.record(on);
    }

    /// Every request received, in order: the last 10,000.
    pub fn seen(&self) -> Vec<Seen> {
        self.world.journal.seen()
    }

    /// Everything a client did that it must not do.
    pub fn violations(&self) -> Vec<Violation> {
        self.world.journal.violations()
    }

    /// Waits until a request, past or future, is as wanted.
    ///
    /// # Errors
    /// When none came within 20 s; the error lists what came instead.
    pub async fn wait_for(&self, wanted: impl Fn(&Seen) -> bool) -> Result<Seen, NotSeen> {
        self.world.journal.wait_for(wanted).await
    }

    /// Forgets what was seen, the violations and the counts; tokens and scripts stay.
    pub fn clear(&self) {
        self.world.journal.clear();
        self.world.token_calls.store(0, Ordering::Relaxed);
        self.world.metadata.calls.store(0, Ordering::Relaxed);
    }
}
