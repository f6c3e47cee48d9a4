//! How an app proves itself: with an assertion signed by its certificate's key, a shared secret, or
//! another issuer's token. What is in a variable or a file is read at each token call, so that a change
//! is used at the next one, and kept nowhere in between.

use std::sync::Arc;
use std::time::SystemTime;

use super::certificate::Certificate;
use super::endpoint::Form;
use super::error::{CredentialError, Rejection};
use crate::secret::file_reader::FileReader;
use crate::secret::{FilePath, Secret, SecretSource};

/// How an app proves itself.
pub(super) enum Proof {
    Certificate(Arc<Certificate>),
    ClientSecret(SecretSource),
    /// A token in a file that somebody else renews: Kubernetes rewrites it at 80 % of its life.
    FederatedToken(SecretSource),
}

impl Proof {
    /// Adds it to a token request, as it is now.
    pub(super) async fn add_to(
        &self,
        form: Form,
        reader: &FileReader,
    ) -> Result<Form, CredentialError> {
        match self {
            Self::Certificate(certificate) => {
                let assertion = certificate.assertion_aside(reader).await?;
                Ok(form.with_assertion(&assertion))
            }
            Self::ClientSecret(source) => {
                let secret = read_aside(source, reader).await?;
                Ok(form.with("client_secret", self.text(&secret, source)?))
            }
            Self::FederatedToken(source) => {
                let token = read_aside(source, reader).await?;
                Ok(form.with_assertion(self.text(&token, source)?))
            }
        }
    }

    /// Loads it once, and waits for file systems.
    pub(super) fn check(&self) -> Result<(), Rejection> {
        match self {
            Self::Certificate(certificate) => certificate.load(SystemTime::now()).map(drop),
            Self::ClientSecret(source) | Self::FederatedToken(source) => {
                self.text(&source.read()?, source).map(drop)
            }
        }
    }

    /// The files that are read at each call.
    pub(super) fn files(&self) -> [Option<&FilePath>; 2] {
        match self {
            Self::Certificate(certificate) => certificate.files(),
            Self::ClientSecret(source) | Self::FederatedToken(source) => [source.file(), None],
        }
    }

    /// A secret or token as text: a form takes no other bytes. Entra makes secrets of printable
    /// characters; what has others is two of them, a secret with a note below it, or UTF-16, and Entra
    /// would say no more than that it is wrong. An issuer's whole answer in place of its token is a slip
    /// that Entra blames on the assertion's signature.
    fn text<'a>(&self, secret: &'a Secret, source: &SecretSource) -> Result<&'a str, Rejection> {
        let source_name = source.to_string();
        let Some(text) = secret.expose_str() else {
            return Err(Rejection::NotText { source_name });
        };
        match self {
            Self::ClientSecret(_) if text.contains(char::is_control) => {
                Err(Rejection::NotSecret { source_name })
            }
            Self::FederatedToken(_) if !is_token(text) => Err(Rejection::NotToken { source_name }),
            Self::Certificate(_) | Self::ClientSecret(_) | Self::FederatedToken(_) => Ok(text),
        }
    }
}

async fn read_aside(source: &SecretSource, reader: &FileReader) -> Result<Secret, CredentialError> {
    let kept = source.clone();
    match reader.run(move || kept.read()).await {
        Ok(secret) => Ok(secret.map_err(Rejection::from)?),
        Err(why) => Err(CredentialError::unread(source, why)),
    }
}

/// The characters of `b64token` (RFC 6750 section 2.1), which a JWT is made of: no JSON, no quotes and
/// no scheme before it. Its three parts are Entra's to judge.
fn is_token(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_token_came_in_is_no_token() {
        assert!(is_token("eyJh-_9.eyJp.c2ln"));
        for other in [
            "a.b.c d",
            "{\"count\":1234,\"value\":\"a.b.c\"}",
            "\"a.b.c\"",
            "Bearer a.b.c",
        ] {
            assert!(!is_token(other), "{other}");
        }
    }
}
