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
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Certificates that are looked at beside the peer's own: as many as the library follows to an authority,
/// and three times what chains have. To try all orders of six takes milliseconds; of ten, beside ten
/// thousand bytes that are none, a minute.
const MOST_BESIDE: usize = 6;

/// A verifier that is shown the first certificates of a chain alone. A chain begins with what leads to the
/// authority (RFC 8446 section 4.4.2); some servers send all authorities that they know behind it.
#[derive(Debug)]
pub struct Bounded<V: ?Sized>(Arc<V>);

impl<V: ?Sized> Bounded<V> {
    /// Asks `verifier`.
    pub fn new(verifier: Arc<V>) -> Arc<Self> {
        Arc::new(Self(verifier))
    }
}

fn looked_at<'a, 'b>(beside: &'a [CertificateDer<'b>]) -> &'a [CertificateDer<'b>] {
    &beside[..beside.len().min(MOST_BESIDE)]
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
        self.0
            .verify_server_cert(own, looked_at(beside), name, ocsp, now)
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
        self.0.verify_client_cert(own, looked_at(beside), now)
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
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
    use rustls::RootCertStore;
    use rustls::server::WebPkiClientVerifier;

    use super::*;

    fn authority(name: &str) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    }

    #[test]
    fn what_leads_to_the_authority_is_found_among_the_first_of_a_chain_whoever_shows_it() {
        let [root_key, between_key, own_key] = [(); 3].map(|()| KeyPair::generate().unwrap());
        let (root, between) = (authority("Root"), authority("Between"));
        let mut roots = RootCertStore::empty();
        roots
            .add(root.self_signed(&root_key).unwrap().der().clone())
            .unwrap();
        let root = Issuer::new(root, root_key);
        let link = between.signed_by(&between_key, &root).unwrap();
        let between = Issuer::new(between, between_key);
        let own = CertificateParams::new(["a.corp".to_owned()]).unwrap();
        let own = own.signed_by(&own_key, &between).unwrap();

        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let roots = Arc::new(roots);
        let server =
            WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let server = Bounded::new(server.build().unwrap());
        let client = WebPkiClientVerifier::builder_with_provider(roots, provider);
        let client = Bounded::new(client.build().unwrap());
        let name = ServerName::try_from("a.corp").unwrap();
        let now = UnixTime::now();
        for place in [0, MOST_BESIDE - 1, MOST_BESIDE, 99] {
            let mut beside = vec![CertificateDer::from(vec![0x30]); 100];
            beside[place] = link.der().clone();
            let of_server = server.verify_server_cert(own.der(), &beside, &name, &[], now);
            let of_client = client.verify_client_cert(own.der(), &beside, now);
            let taken = (of_server.is_ok(), of_client.is_ok());
            let found = place < MOST_BESIDE;
            assert_eq!(taken, (found, found), "place {place}");
        }
    }
}
