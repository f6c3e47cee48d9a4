//! A certificate: instead of a secret, a short-lived assertion signed with its key. The file is
//! read at each token call and parsed again when its contents, or the password, have changed.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::RSA_PSS_SHA256;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde_json::json;
use zeroize::Zeroizing;

use super::error::{CredentialError, Rejection};
use super::key_file::{KeyFault, KeyFile};
use crate::guid;
use crate::lock::locked;
use crate::secret::file_reader::FileReader;
use crate::secret::{FilePath, SecretSource, regular_file};

/// Microsoft advises 5 to 10 minutes at most.
const LIFETIME: Duration = Duration::from_mins(10);
/// Assertions are dated back by this much, in case this machine's clock is ahead of Entra's.
const SKEW: Duration = Duration::from_secs(60);

/// An app that proves itself with a certificate.
pub(super) struct Certificate {
    /// The app.
    pub(super) client_id: String,
    /// The URL of its token endpoint as Entra knows it.
    pub(super) audience: String,
    /// Certificate and key.
    pub(super) file: FilePath,
    /// For an encrypted key.
    pub(super) password: Option<SecretSource>,
    /// Adds `x5c`.
    pub(super) send_chain: bool,
    /// What was parsed last, with the digest of what it was parsed from.
    pub(super) parsed: Mutex<Option<(Digest, Arc<KeyFile>)>>,
}

pub(super) type Digest = [u8; 32];

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// What it holds is not right.
    #[error("{fault} {file}")]
    Fault {
        /// What is wrong.
        fault: KeyFault,
        /// The file.
        file: FilePath,
    },
    /// It cannot be read.
    #[error("cannot read {file}; check that it exists and that this user may read it")]
    Unreadable {
        /// The file.
        file: FilePath,
        /// What the system said.
        source: std::io::Error,
    },
    /// The library refused to sign.
    #[error("the key in {file} does not sign; make a new key and certificate")]
    Unsigned {
        /// The file.
        file: FilePath,
    },
}

impl Certificate {
    /// A fresh assertion, made aside: decrypting a key takes a good part of a second on purpose, and
    /// signing milliseconds.
    pub(super) async fn assertion_aside(
        self: &Arc<Self>,
        reader: &FileReader,
    ) -> Result<Zeroizing<String>, CredentialError> {
        let this = self.clone();
        let signed = reader.run(move || this.assertion(SystemTime::now())).await;
        Ok(signed.map_err(|why| CredentialError::unread(&self.file, why))??)
    }

    /// A fresh assertion (RFC 7523 section 3; "Microsoft identity platform application
    /// authentication certificate credentials").
    fn assertion(&self, now: SystemTime) -> Result<Zeroizing<String>, Rejection> {
        let loaded = self.load(now)?;
        let own = loaded.own(now);
        let mut header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": own.thumbprint});
        if self.send_chain {
            let chain = loaded.chain(own).map(|der| BASE64_STANDARD.encode(der));
            header["x5c"] = chain.collect();
        }
        let from = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let from = from.saturating_sub(SKEW).as_secs();
        let claims = json!({
            "aud": self.audience,
            "iss": self.client_id,
            "sub": self.client_id,
            "jti": guid::fresh(),
            "iat": from,
            "nbf": from,
            "exp": from + LIFETIME.as_secs(),
        });
        let part = |json: &serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
        let mut token = Zeroizing::new(format!("{}.{}", part(&header), part(&claims)));
        let mut signature = Zeroizing::new(vec![0; loaded.key.public_modulus_len()]);
        loaded
            .key
            .sign(
                &RSA_PSS_SHA256,
                &SystemRandom::new(),
                token.as_bytes(),
                &mut signature,
            )
            .map_err(|_| CertificateError::Unsigned {
                file: self.file.clone(),
            })?;
        token.push('.');
        BASE64_URL_SAFE_NO_PAD.encode_string(&signature, &mut token);
        Ok(token)
    }

    /// Reads the file, and parses it unless that was done already.
    pub(super) fn load(&self, now: SystemTime) -> Result<Arc<KeyFile>, Rejection> {
        let text =
            regular_file::read(&self.file).map_err(|source| CertificateError::Unreadable {
                file: self.file.clone(),
                source,
            })?;
        let password = self.password.as_ref().map(SecretSource::read).transpose()?;
        let mut digest = Context::new(&SHA256);
        digest.update(&text);
        digest.update(b"\0");
        digest.update(password.as_ref().map_or(b"", |password| password.expose()));
        let digest: Digest = digest.finish().as_ref().try_into().unwrap_or_default();
        let fault = |fault| CertificateError::Fault {
            fault,
            file: self.file.clone(),
        };
        let known = self.parsed().filter(|(known, _)| *known == digest);
        let loaded = match known {
            Some((_, loaded)) => loaded,
            None => Arc::new(KeyFile::parse(&text, password.as_ref()).map_err(fault)?),
        };
        *locked(&self.parsed) = Some((digest, loaded.clone()));
        loaded.check_expiry(now).map_err(fault)?;
        Ok(loaded)
    }

    /// The files that are read at each call.
    pub(super) fn files(&self) -> [Option<&FilePath>; 2] {
        let password = self.password.as_ref().and_then(SecretSource::file);
        [Some(&self.file), password]
    }

    /// When what was read last can be used, if it cannot yet.
    pub(super) fn begins(&self, now: SystemTime) -> Option<SystemTime> {
        self.parsed().and_then(|(_, loaded)| loaded.begins(now))
    }

    /// When the last certificate of what was read last expires.
    pub(super) fn not_after(&self) -> Option<SystemTime> {
        self.parsed().map(|(_, loaded)| loaded.not_after)
    }

    fn parsed(&self) -> Option<(Digest, Arc<KeyFile>)> {
        locked(&self.parsed).clone()
    }
}
