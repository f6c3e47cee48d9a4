//! The credential of the standard `AZURE_*` variables, for a file that names none. The variables
//! and their order are those of Microsoft's own libraries (EnvironmentCredential, then workload
//! identity).

use super::check_credential::{
    Doubt, authority_fault, client_doubt, client_id, tenant_doubt, tenant_id,
};
use super::cloud::PUBLIC_AUTHORITY;
use super::report::{Report, Span, listed};
use super::roster::Named;
use super::value::{BaseUrl, Name};
use super::variable::{AS_TEXT, Lack, STAND_IN, Variables};
use super::{AppIdentity, CredentialKind, CredentialSpec};
use crate::secret::{FilePath, SecretSource};

/// The name of the credential in metrics and on the status page.
const NAME: &str = "environment";

const TENANT: &str = "AZURE_TENANT_ID";
const CLIENT: &str = "AZURE_CLIENT_ID";
const AUTHORITY: &str = "AZURE_AUTHORITY_HOST";
const SECRET: &str = "AZURE_CLIENT_SECRET";
const CERTIFICATE: &str = "AZURE_CLIENT_CERTIFICATE_PATH";
const FEDERATED: &str = "AZURE_FEDERATED_TOKEN_FILE";
const TOKEN_PROXY: &str = "AZURE_KUBERNETES_TOKEN_PROXY";
const PASSWORD: &str = "AZURE_CLIENT_CERTIFICATE_PASSWORD";

/// The credential that the variables describe; problems are placed at `at`.
pub(super) fn credential(
    vars: Variables<'_>,
    at: Span,
    report: &mut Report,
) -> Named<CredentialSpec> {
    let mut reader = Reader { vars, at, report };
    reader.not_text();
    let tenant = reader.id(TENANT, tenant_id, tenant_doubt);
    let client = reader.id(CLIENT, client_id, client_doubt);
    let authority = reader.authority(tenant.as_deref());
    let app = move || {
        Some(AppIdentity {
            authority: authority?,
            tenant_id: tenant?,
            client_id: client?,
        })
    };
    let kind = reader.kind(app());
    let spec = Name::parse(NAME)
        .ok()
        .zip(kind)
        .map(|(name, kind)| CredentialSpec {
            name,
            kind,
            continuous_access: false,
            expires: None,
            fallback: None,
        });
    Named {
        name: NAME.to_owned(),
        span: at,
        spec,
    }
}

struct Reader<'a> {
    vars: Variables<'a>,
    at: Span,
    report: &'a mut Report,
}

impl Reader<'_> {
    /// What a variable holds. One that is not text has been reported.
    fn value(&self, name: &str) -> Option<String> {
        let value = self.vars.value(name).ok();
        value.filter(|value| !value.trim().is_empty())
    }

    /// Whether it is set to something, even to what is not text.
    fn is_set(&self, name: &str) -> bool {
        self.value(name).is_some() || self.vars.value(name) == Err(Lack::NotText)
    }

    /// Reports what is not text and should be.
    fn not_text(&mut self) {
        for name in [TENANT, CLIENT, AUTHORITY, SECRET, CERTIFICATE, FEDERATED] {
            if self.vars.value(name) == Err(Lack::NotText) {
                let message = format!("environment variable {name} {}", Lack::NotText);
                self.problem(&message, AS_TEXT);
            }
        }
    }

    /// The file that this variable names; it is shown as a reference in the file would be.
    fn file(&self, name: &str) -> Option<FilePath> {
        let path = self.value(name)?;
        Some(FilePath::replaced(path, format!("${{{name}}}")))
    }

    fn problem(&mut self, message: &str, help: &str) {
        let message = format!("no \"credentials\" are given, and {message}");
        self.report.problem(self.at, message, help);
    }

    fn id(
        &mut self,
        name: &str,
        parse: fn(&str) -> Result<String, &'static str>,
        doubt: fn(&str) -> Option<Doubt>,
    ) -> Option<String> {
        match self.value(name) {
            Some(value) => {
                let id = parse(&value).map_err(|help| {
                    self.problem(&format!("environment variable {name} is wrong"), help)
                });
                let id = id.ok()?;
                if let Some(Doubt { what, help }) = doubt(&id) {
                    let message = format!("what environment variable {name} holds {what}");
                    self.report.warning(self.at, message, help);
                }
                Some(id)
            }
            None if self.vars.allow_missing => Some(STAND_IN.to_owned()),
            None if self.is_set(name) => None,
            None => {
                let message = format!("environment variable {name} is not set");
                self.problem(&message, "set it, or write a credentials: block");
                None
            }
        }
    }

    fn authority(&mut self, tenant: Option<&str>) -> Option<BaseUrl> {
        let Some(value) = self.value(AUTHORITY) else {
            return BaseUrl::parse(PUBLIC_AUTHORITY).ok();
        };
        let checked = BaseUrl::parse(&value).and_then(|url| match authority_fault(&url, tenant) {
            Some(help) => Err(help.to_owned()),
            None => Ok(url),
        });
        checked
            .map_err(|help| {
                self.problem(&format!("environment variable {AUTHORITY} is wrong"), &help)
            })
            .ok()
    }

    fn kind(&mut self, app: Option<AppIdentity>) -> Option<CredentialKind> {
        let set: Vec<&str> = [SECRET, CERTIFICATE, FEDERATED]
            .into_iter()
            .filter(|name| self.is_set(name))
            .collect();
        self.ignored(&set);
        match set.first() {
            Some(&CERTIFICATE) => Some(CredentialKind::Certificate {
                app: app?,
                file: self.file(CERTIFICATE)?,
                password: self
                    .is_set(PASSWORD)
                    .then(|| SecretSource::Env(PASSWORD.to_owned())),
                send_chain: self
                    .value("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN")
                    .is_some_and(|value| value == "1" || value.eq_ignore_ascii_case("true")),
            }),
            Some(&FEDERATED) => {
                self.unreachable();
                Some(CredentialKind::FederatedToken {
                    app: app?,
                    file: self.file(FEDERATED)?,
                })
            }
            None if !self.vars.allow_missing => {
                let message = format!("none of {SECRET}, {CERTIFICATE} and {FEDERATED} is set");
                self.problem(&message, "set one of them, or write a credentials: block");
                None
            }
            Some(_) | None => Some(CredentialKind::ClientSecret {
                app: app?,
                secret: SecretSource::Env(SECRET.to_owned()),
            }),
        }
    }

    /// Warns when the cluster would have token calls go somewhere else (identity bindings of AKS).
    fn unreachable(&mut self) {
        if self.value(TOKEN_PROXY).is_some() {
            let message = format!("{TOKEN_PROXY} is set, and token calls go to Entra itself");
            let help =
                "give the workload a federated credential of its own, without an identity binding";
            self.report.warning(self.at, message, help);
        }
    }

    /// Warns when more than one kind is set.
    fn ignored(&mut self, set: &[&str]) {
        if let [first, rest @ ..] = set
            && !rest.is_empty()
        {
            let rest = listed(rest.iter().copied());
            let message = format!("{first} is used; set as well, and ignored: {rest}");
            let help = "unset what is not meant, or write a credentials: block";
            self.report.warning(self.at, message, help);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::config::{Source, load};

    /// The credential of these variables besides those of the app.
    fn found(variables: &[(&str, &str)]) -> CredentialKind {
        let id = "11111111-2222-3333-4444-555555555555";
        let mut all = BTreeMap::from([(TENANT, id), (CLIENT, id)]);
        all.extend(variables.iter().copied());
        let source = Source {
            env: &|name| all.get(name).map(|&value| value.into()),
            ..Source::alone("routes: [{name: a, path: /a, upstream: 'https://a.com'}]")
        };
        let config = load(&source).unwrap().config;
        config.credentials[0].kind.clone()
    }

    #[test]
    fn the_first_kind_that_is_set_is_used() {
        let file = |kind: &CredentialKind| kind.file().map(|path| path.path().to_owned());
        let (secret, certificate, token) = ((SECRET, "s"), (CERTIFICATE, "/c"), (FEDERATED, "/t"));
        for (variables, key, path) in [
            (&[secret, certificate, token][..], "client_secret", None),
            (
                &[(SECRET, " "), certificate, token],
                "certificate_file",
                Some("/c"),
            ),
            (&[token], "federated_token_file", Some("/t")),
        ] {
            let kind = found(variables);
            assert_eq!((kind.key(), file(&kind)), (key, path.map(Into::into)));
        }
    }

    #[test]
    fn the_chain_is_sent_where_a_variable_says_so() {
        for (value, sent) in [("1", true), ("True", true), ("0", false), ("", false)] {
            let chain = ("AZURE_CLIENT_SEND_CERTIFICATE_CHAIN", value);
            let kind = found(&[(CERTIFICATE, "/c"), chain]);
            let CredentialKind::Certificate { send_chain, .. } = kind else {
                panic!("{kind:?}");
            };
            assert_eq!(send_chain, sent, "{value}");
        }
    }
}
