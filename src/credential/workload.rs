//! Workload identity: a token of another issuer, in a file that somebody else renews (Kubernetes
//! rewrites it at 80 % of its life), stands in for a secret. The file is read at each token call.

use super::answer::AccessToken;
use super::client_secret::{read, text_of};
use super::endpoint::{Endpoint, Form};
use super::error::{CredentialError, Rejection};
use crate::config::Scope;
use crate::secret::file_reader::FileReader;
use crate::secret::{Secret, SecretSource};

/// An app that proves itself with another issuer's token.
pub(super) struct FederatedToken {
    /// The app.
    pub(super) client_id: String,
    /// Its token endpoint.
    pub(super) endpoint: Endpoint,
    /// The file; white space around the token is not part of it.
    pub(super) file: SecretSource,
}

impl FederatedToken {
    pub(super) async fn acquire(
        &self,
        reader: &FileReader,
        scope: &Scope,
        claims: Option<&str>,
    ) -> Result<AccessToken, CredentialError> {
        let assertion = read(&self.file, reader).await?;
        let text = self.token(&assertion)?;
        let form = Form::new(&self.client_id, scope.as_str(), claims).with_assertion(text);
        self.endpoint.exchange(form).await.map_err(federated)
    }

    /// Reads the token once.
    pub(super) fn check(&self) -> Result<(), Rejection> {
        self.token(&self.file.read()?).map(drop)
    }

    /// The token, if it may be one: an issuer's whole answer in its place is a slip that Entra blames
    /// on the assertion's signature.
    fn token<'a>(&self, assertion: &'a Secret) -> Result<&'a str, Rejection> {
        let text = text_of(assertion, &self.file)?;
        if is_token(text) {
            return Ok(text);
        }
        Err(Rejection::NotToken {
            source_name: self.file.to_string(),
        })
    }
}

/// The characters of `b64token` (RFC 6750 section 2.1), which a JWT is made of: no JSON, no quotes and
/// no scheme before it. Its three parts are Entra's to judge.
fn is_token(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~+/=".contains(&b);
    text.bytes().all(plain)
}

/// The same refusal, with what its code means here.
fn federated(mut error: CredentialError) -> CredentialError {
    if let CredentialError::Rejected(Rejection::Answer(refusal)) = &mut error {
        refusal.federated = true;
    }
    error
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
