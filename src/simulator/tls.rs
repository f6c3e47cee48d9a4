//! The simulator's own certificate authority and what it presents in each handshake: a good chain,
//! or on request one of the chains that a careful client must refuse. Everything is made at start
//! and lives in memory only.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};

use super::fault::Handshake;
use super::{SimulatorError, host};

/// The chains to choose from, ready for a handshake.
pub(super) struct Chains {
    /// The authority's certificate, PEM.
    pub(super) ca_pem: String,
    good: Arc<ServerConfig>,
    good_http1: Arc<ServerConfig>,
    expired: Arc<ServerConfig>,
    unsettled: Arc<ServerConfig>,
    untrusted: Arc<ServerConfig>,
    wrong_name: Arc<ServerConfig>,
}

impl Chains {
    /// Makes the authority and one leaf for each case.
    pub(super) fn make() -> Result<Self, SimulatorError> {
        let authority = Authority::make("Simulator Root")?;
        let stranger = Authority::make("Somebody Else")?;
        let both: &[&str] = &["h2", "http/1.1"];
        let names = &[host::RESOLVED, host::LOOPBACK].concat();
        Ok(Self {
            good: authority.leaf(names, Validity::Now, both)?,
            good_http1: authority.leaf(names, Validity::Now, &["http/1.1"])?,
            expired: authority.leaf(names, Validity::Past, both)?,
            unsettled: authority.leaf(names, Validity::Now, &[])?,
            untrusted: stranger.leaf(names, Validity::Now, both)?,
            wrong_name: authority.leaf(&["another.example"], Validity::Now, both)?,
            ca_pem: authority.pem,
        })
    }

    /// The configuration for one handshake.
    pub(super) fn pick(&self, handshake: Option<Handshake>, http2: bool) -> Arc<ServerConfig> {
        let chosen = match handshake {
            Some(Handshake::Expired) => &self.expired,
            Some(Handshake::Unsettled) => &self.unsettled,
            Some(Handshake::Untrusted) => &self.untrusted,
            Some(Handshake::WrongName) => &self.wrong_name,
            Some(Handshake::Reset | Handshake::Stall) | None if http2 => &self.good,
            Some(Handshake::Reset | Handshake::Stall) | None => &self.good_http1,
        };
        Arc::clone(chosen)
    }
}

#[derive(Clone, Copy)]
enum Validity {
    Now,
    Past,
}

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Authority {
    fn make(name: &str) -> Result<Self, SimulatorError> {
        let mut params = CertificateParams::new(Vec::<String>::new())?;
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate()?;
        let pem = params.self_signed(&key)?.pem();
        Ok(Self {
            issuer: Issuer::new(params, key),
            pem,
        })
    }

    fn leaf(
        &self,
        names: &[&str],
        validity: Validity,
        alpn: &[&str],
    ) -> Result<Arc<ServerConfig>, SimulatorError> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut params = CertificateParams::new(names)?;
        params
            .distinguished_name
            .push(DnType::CommonName, "Simulator");
        if let Validity::Past = validity {
            params.not_before = rcgen::date_time_ymd(2020, 1, 1);
            params.not_after = rcgen::date_time_ymd(2021, 1, 1);
        }
        let key = KeyPair::generate()?;
        let certificate: CertificateDer<'static> =
            params.signed_by(&key, &self.issuer)?.der().clone();
        let key = PrivatePkcs8KeyDer::from(key.serialize_der());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate], key.into())?;
        config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
        Ok(Arc::new(config))
    }
}
