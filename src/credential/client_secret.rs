//! A shared secret. It is read at each token call, so that a changed file or a new value is used at
//! the next one, and kept nowhere in between.

use super::answer::AccessToken;
use super::endpoint::{Endpoint, Form};
use super::error::{CredentialError, Rejection};
use crate::config::Scope;
use crate::secret::file_reader::FileReader;
use crate::secret::{Secret, SecretSource};

/// An app that proves itself with a secret.
pub(super) struct ClientSecret {
    /// The app.
    pub(super) client_id: String,
    /// Its token endpoint.
    pub(super) endpoint: Endpoint,
    /// Where the secret is.
    pub(super) source: SecretSource,
}

impl ClientSecret {
    pub(super) async fn acquire(
        &self,
        reader: &FileReader,
        scope: &Scope,
        claims: Option<&str>,
    ) -> Result<AccessToken, CredentialError> {
        let secret = read(&self.source, reader).await?;
        let text = self.alone(&secret)?;
        let form = Form::new(&self.client_id, scope.as_str(), claims).with("client_secret", text);
        self.endpoint.exchange(form).await
    }

    /// Reads the secret once.
    pub(super) fn check(&self) -> Result<(), Rejection> {
        self.alone(&self.source.read()?).map(drop)
    }

    /// The secret as text. Entra makes them of printable characters: what has others is two of them, a
    /// secret with a note below it, or UTF-16, and Entra would say no more than that it is wrong.
    fn alone<'a>(&self, secret: &'a Secret) -> Result<&'a str, Rejection> {
        let text = text_of(secret, &self.source)?;
        match text.contains(char::is_control) {
            false => Ok(text),
            true => Err(Rejection::NotSecret {
                source_name: self.source.to_string(),
            }),
        }
    }
}

/// Reads a secret aside.
pub(super) async fn read(
    source: &SecretSource,
    reader: &FileReader,
) -> Result<Secret, CredentialError> {
    let kept = source.clone();
    match reader.run(move || kept.read()).await {
        Ok(secret) => Ok(secret.map_err(Rejection::from)?),
        Err(why) => Err(CredentialError::unread(source, why)),
    }
}

/// A form takes text: a secret of other bytes cannot be sent.
pub(super) fn text_of<'a>(secret: &'a Secret, source: &SecretSource) -> Result<&'a str, Rejection> {
    secret.expose_str().ok_or_else(|| Rejection::NotText {
        source_name: source.to_string(),
    })
}
