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
        let text = text_of(&assertion, &self.file)?;
        let form = Form::new(&self.client_id, scope.as_str(), claims).with_assertion(text);
        self.endpoint.exchange(form).await
    }

    /// Reads the token once.
    pub(super) fn check(&self) -> Result<Secret, Rejection> {
        let assertion = self.file.read()?;
        text_of(&assertion, &self.file)?;
        Ok(assertion)
    }
}
