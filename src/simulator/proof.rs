//! What a client proves itself with when it has no secret: certificates that were registered on the
//! app, and tokens of an outside issuer that the app trusts (federation). The keys behind both are
//! made here, the issuer's on first use, as RSA keys take a while.

use std::sync::{Mutex, OnceLock};
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use aws_lc_rs::encoding::{AsDer, PublicKeyX509Der};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use rcgen::{CertificateParams, DnType, KeyPair, PKCS_RSA_SHA256};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};
use x509_parser::prelude::{FromDer, SubjectPublicKeyInfo, X509Certificate};
use x509_parser::public_key::PublicKey;

use super::SimulatorError;
use super::entra::lay_over;
use super::ident::{base64url, epoch};
use crate::guid;
use crate::lock::locked;

/// Who issues the tokens that the app trusts. The slash at the end counts.
pub const FEDERATED_ISSUER: &str = "https://oidc.contoso-fake.example/cluster/";
/// Whose tokens they have to be.
pub const FEDERATED_SUBJECT: &str = "system:serviceaccount:tools:tokenferry";
/// Whom they have to be meant for.
pub const FEDERATED_AUDIENCE: &str = "api://AzureADTokenExchange";
/// The `kid` of the outside issuer's key.
const KEY_ID: &str = "simulator-issuer";
/// An hour, as a projected service-account token lives.
const LIFETIME: u64 = 3600;

/// A certificate on the app.
pub(super) struct Registered {
    pub(super) der: Vec<u8>,
    /// SubjectPublicKeyInfo, DER.
    pub(super) key: Vec<u8>,
    /// base64url of SHA-256 over the DER: `x5t#S256`.
    pub(super) thumbprint: String,
    /// The same of SHA-1: `x5t`, which older libraries send.
    pub(super) old_thumbprint: String,
}

/// See the module.
#[derive(Default)]
pub(super) struct Proofs {
    pub(super) certificates: Mutex<Vec<Registered>>,
    issuer: OnceLock<RsaKeyPair>,
}

impl Proofs {
    /// Registers the first certificate of a PEM text.
    pub(super) fn register(&self, pem: &str) -> Result<(), SimulatorError> {
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|_| SimulatorError::NoCertificate)?
            .to_vec();
        let (_, parsed) =
            X509Certificate::from_der(&der).map_err(|_| SimulatorError::NoCertificate)?;
        let registered = Registered {
            key: parsed.public_key().raw.to_vec(),
            thumbprint: base64url(digest(&SHA256, &der)),
            old_thumbprint: base64url(digest(&SHA1_FOR_LEGACY_USE_ONLY, &der)),
            der: der.clone(),
        };
        locked(&self.certificates).push(registered);
        Ok(())
    }

    /// Signs a token as the outside issuer, with the claims laid over those of a good one.
    pub(super) fn token(&self, claims: &Value) -> Result<String, SimulatorError> {
        let now = epoch(SystemTime::now());
        let mut payload = json!({
            "iss": FEDERATED_ISSUER,
            "sub": FEDERATED_SUBJECT,
            "aud": [FEDERATED_AUDIENCE],
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME,
            "jti": guid::fresh(),
        });
        lay_over(&mut payload, claims);
        let header = json!({"alg": "RS256", "kid": KEY_ID, "typ": "JWT"});
        let signed = format!(
            "{}.{}",
            base64url(header.to_string()),
            base64url(payload.to_string())
        );
        let key = self.issuer()?;
        let mut signature = vec![0; key.public_modulus_len()];
        key.sign(
            &RSA_PKCS1_SHA256,
            &SystemRandom::new(),
            signed.as_bytes(),
            &mut signature,
        )?;
        Ok(format!("{signed}.{}", base64url(signature)))
    }

    /// The outside issuer's public key, SubjectPublicKeyInfo, DER.
    pub(super) fn issuer_key(&self) -> Result<Vec<u8>, SimulatorError> {
        let public: PublicKeyX509Der<'_> = self.issuer()?.public_key().as_der()?;
        Ok(public.as_ref().to_vec())
    }

    /// The outside issuer's key set (RFC 7517), as an API server publishes it.
    pub(super) fn key_set(&self) -> Result<Value, SimulatorError> {
        let der = self.issuer_key()?;
        let (_, info) =
            SubjectPublicKeyInfo::from_der(&der).map_err(|_| SimulatorError::NoCertificate)?;
        let Ok(PublicKey::RSA(key)) = info.parsed() else {
            return Err(SimulatorError::NoCertificate);
        };
        // DER integers carry a leading zero where the first bit is set; JWK does not want it.
        let bare = |integer: &[u8]| {
            let zeros = integer.iter().take_while(|&&byte| byte == 0).count();
            base64url(&integer[zeros..])
        };
        let (modulus, exponent) = (bare(key.modulus), bare(key.exponent));
        let key = json!({
            "kty": "RSA", "use": "sig", "alg": "RS256", "kid": KEY_ID, "n": modulus, "e": exponent
        });
        Ok(json!({"keys": [key]}))
    }

    fn issuer(&self) -> Result<&RsaKeyPair, SimulatorError> {
        if let Some(key) = self.issuer.get() {
            return Ok(key);
        }
        let key = RsaKeyPair::generate(KeySize::Rsa2048)?;
        Ok(self.issuer.get_or_init(|| key))
    }
}

/// A certificate and its key, PEM, as a person would make them for an app.
pub(super) fn certificate() -> Result<String, SimulatorError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "Simulated tool");
    let key = KeyPair::generate_for(&PKCS_RSA_SHA256)?;
    let certificate = params.self_signed(&key)?;
    Ok(certificate.pem() + &key.serialize_pem())
}
