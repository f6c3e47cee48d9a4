//! Verifying the certificates that a peer shows, its path to an authority looked for among so many
//! only as a chain may have.
//!
//! The library tries every order of those that bear the issuer's name, and reads all the others again
//! at each step. What fits into one handshake would keep a worker for a minute, and nobody has proved
//! anything until then: neither a caller nor, where somebody sits between, an upstream.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, OtherError, SignatureScheme,
};

/// Certificates beside the peer's own: as many as the library follows to an authority, and three times
/// what chains have. To try all orders of six takes milliseconds; of ten, beside ten thousand bytes
/// that are none, a minute.
const MOST_BESIDE: usize = 6;

/// Why a chain was not looked at. TLS shows such reasons as they are written here.
#[derive(Debug, thiserror::Error)]
#[error("{beside} certificates came beside the peer's own, and at most {most} are looked at")]
pub struct TooManyCertificates {
    /// How many came beside the peer's own.
    beside: usize,
    /// How many may.
    most: usize,
}

/// A verifier that is asked only about chains of a usual length.
#[derive(Debug)]
pub struct Bounded<V: ?Sized>(Arc<V>);

impl<V: ?Sized> Bounded<V> {
    /// Asks `verifier`.
    pub fn new(verifier: Arc<V>) -> Arc<Self> {
        Arc::new(Self(verifier))
    }
}

fn within_bound(beside: &[CertificateDer<'_>]) -> Result<(), Error> {
    if beside.len() <= MOST_BESIDE {
        return Ok(());
    }
    let why = TooManyCertificates {
        beside: beside.len(),
        most: MOST_BESIDE,
    };
    Err(CertificateError::Other(OtherError(Arc::new(why))).into())
}

impl ServerCertVerifier for Bounded<WebPkiServerVerifier> {
    fn verify_server_cert(
        &self,
        own: &CertificateDer<'_>,
        beside: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        within_bound(beside)?;
        self.0.verify_server_cert(own, beside, name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Bounded<dyn ClientCertVerifier> {
    fn offer_client_auth(&self) -> bool {
        self.0.offer_client_auth()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.0.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.0.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        own: &CertificateDer<'_>,
        beside: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        within_bound(beside)?;
        self.0.verify_client_cert(own, beside, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls12_signature(message, own, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        own: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.0.verify_tls13_signature(message, own, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
    use rustls::RootCertStore;
    use rustls::server::WebPkiClientVerifier;

    use super::*;

    #[test]
    fn a_chain_is_looked_at_up_to_the_bound_whoever_shows_it() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let mut roots = RootCertStore::empty();
        roots
            .add(params.self_signed(&key).unwrap().der().clone())
            .unwrap();
        let (roots, issuer) = (Arc::new(roots), Issuer::new(params, key));
        let own = CertificateParams::new(["a.corp".to_owned()]).unwrap();
        let own = own
            .signed_by(&KeyPair::generate().unwrap(), &issuer)
            .unwrap();
        let server =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let server = Bounded::new(server.build().unwrap());
        let client = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let client = Bounded::new(client.build().unwrap());
        let name = ServerName::try_from("a.corp").unwrap();
        let now = UnixTime::now();
        for (beside, fits) in [(0, true), (MOST_BESIDE, true), (MOST_BESIDE + 1, false)] {
            let beside = vec![CertificateDer::from(vec![0x30]); beside];
            let of_server = server.verify_server_cert(own.der(), &beside, &name, &[], now);
            let of_client = client.verify_client_cert(own.der(), &beside, now);
            for refused in [of_server.err(), of_client.err()] {
                assert_eq!(refused.is_none(), fits, "{refused:?}");
                let words = refused.map(|error| error.to_string()).unwrap_or_default();
                assert!(fits || words.contains("TooManyCertificates"), "{words}");
            }
        }
    }
}
