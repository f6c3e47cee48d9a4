//! Rules of credentials: exactly one kind, an identity that can ask for tokens by itself, and no
//! key that the kind would ignore.

use super::check_fallback::fallbacks;
use super::choice::RawManagedIdentity;
use super::cloud::PUBLIC_AUTHORITY;
use super::environment;
use super::file::{RawConfig, RawCredential};
use super::node::Key;
use super::read::{Field, Item};
use super::report::{Report, Span, listed, quoted, quoted_key};
use super::roster::{Named, Roster};
use super::scalar::Text;
use super::value::{BaseUrl, Name};
use super::variable::Variables;
use super::{AppIdentity, CredentialKind, CredentialSpec, IdentitySelector};
use crate::secret::SecretSource;

const KINDS: [&str; 5] = [
    "client_secret",
    "client_secret_file",
    "certificate_file",
    "federated_token_file",
    "managed_identity",
];

/// Every credential of the file, or the one of the environment; `None` stands for one that is
/// wrong.
pub(super) fn all(
    raw: &RawConfig,
    at: Span,
    vars: Variables<'_>,
    report: &mut Report,
) -> Roster<CredentialSpec> {
    let table = match &raw.credentials {
        Field::Absent => return Roster::new(vec![environment::credential(vars, at, report)]),
        Field::Wrong(_) => return Roster::new(Vec::new()),
        Field::Given(table) => table,
    };
    if table.value.0.is_empty() {
        let help = "give one a name, or leave the key out to use the AZURE_* variables";
        report.problem(table.span, "no credential is given", help);
    }
    let mut credentials = Vec::new();
    for (key, item) in &table.value.0 {
        let spec = item.as_ref().and_then(|item| credential(key, item, report));
        credentials.push(Named::new(key, spec));
    }
    let credentials = Roster::new(credentials);
    fallbacks(&table.value.0, &credentials, report);
    credentials
}

fn credential(
    key: &Key,
    item: &Item<RawCredential>,
    report: &mut Report,
) -> Option<CredentialSpec> {
    let name = Name::parse(&key.text);
    if let Err(help) = &name {
        report.problem(key.span, "a credential cannot have this name", help);
    }
    let raw = &item.value;
    let kind = kind(key, raw, report);
    Some(CredentialSpec {
        name: name.ok()?,
        kind: kind?,
        continuous_access: raw.continuous_access.or(false),
        expires: raw.expires.value().map(|day| day.0),
        fallback: raw.fallback.value().cloned(),
    })
}

fn kind(key: &Key, raw: &RawCredential, report: &mut Report) -> Option<CredentialKind> {
    let present = [
        raw.client_secret.key(),
        raw.client_secret_file.key(),
        raw.certificate_file.key(),
        raw.federated_token_file.key(),
        raw.managed_identity.key(),
    ];
    let mut given = KINDS
        .into_iter()
        .zip(present)
        .filter_map(|(kind, span)| Some((kind, span?)));
    let Some((first, _)) = given.next() else {
        let message = format!(
            "credential {} does not say how it proves itself",
            quoted_key(&key.text)
        );
        let help = format!("exactly one of {}", listed(KINDS));
        report.problem(key.span, message, &help);
        return None;
    };
    for (second, span) in given {
        let message = format!(
            "{} is a second kind beside {}",
            quoted(second),
            quoted(first)
        );
        report.problem(
            span,
            message,
            "a credential has exactly one kind; see fallback for two",
        );
    }
    misplaced(first, raw, report);
    if first == "managed_identity" {
        return managed_identity(raw, report).map(CredentialKind::ManagedIdentity);
    }
    let app = app(key, raw, report);
    match first {
        "certificate_file" => Some(CredentialKind::Certificate {
            app: app?,
            file: raw.certificate_file.value()?.clone(),
            password: password(raw, report),
            send_chain: raw.send_chain.or(false),
        }),
        "federated_token_file" => Some(CredentialKind::FederatedToken {
            app: app?,
            file: raw.federated_token_file.value()?.clone(),
        }),
        _ => Some(CredentialKind::ClientSecret {
            app: app?,
            secret: match raw.client_secret.value() {
                Some(reference) => reference.0.clone(),
                None => SecretSource::File(raw.client_secret_file.value()?.clone()),
            },
        }),
    }
}

/// Reports keys that this kind would ignore.
fn misplaced(kind: &str, raw: &RawCredential, report: &mut Report) {
    let managed = kind == "managed_identity";
    let certificate = kind == "certificate_file";
    let expiring = certificate || kind.starts_with("client_secret");
    let rules = [
        ("tenant_id", raw.tenant_id.key(), managed),
        ("client_id", raw.client_id.key(), managed),
        ("authority", raw.authority.key(), managed),
        ("cloud", raw.cloud.key(), managed),
        ("continuous_access", raw.continuous_access.key(), managed),
        (
            "certificate_password",
            raw.certificate_password.key(),
            !certificate,
        ),
        (
            "certificate_password_file",
            raw.certificate_password_file.key(),
            !certificate,
        ),
        ("send_chain", raw.send_chain.key(), !certificate),
        ("expires", raw.expires.key(), !expiring),
    ];
    for (key, span, wrong) in rules {
        if let Some(span) = span.filter(|_| wrong) {
            let message = format!("{} has no meaning beside {}", quoted(key), quoted(kind));
            let help = match key {
                "client_id" => "a user-assigned identity is managed_identity: {client_id: …}",
                _ => "leave the key out",
            };
            report.problem(span, message, help);
        }
    }
}

fn password(raw: &RawCredential, report: &mut Report) -> Option<SecretSource> {
    let file = raw.certificate_password_file.item();
    match (raw.certificate_password.value(), file) {
        (Some(_), Some(file)) => {
            let message = "the password is given twice";
            report.problem(file.span, message, "keep one of the two");
            None
        }
        (Some(reference), None) => Some(reference.0.clone()),
        (None, Some(file)) => Some(SecretSource::File(file.value.clone())),
        (None, None) => None,
    }
}

fn managed_identity(raw: &RawCredential, report: &mut Report) -> Option<IdentitySelector> {
    let item = raw.managed_identity.item()?;
    let selected = match &item.value {
        RawManagedIdentity::System => return Some(IdentitySelector::System),
        RawManagedIdentity::Selected(selected) => selected,
    };
    let text = |field: &Field<Text>| field.value().map(|text| text.0.clone());
    let client_id = text(&selected.client_id).map(IdentitySelector::ClientId);
    let object_id = text(&selected.object_id).map(IdentitySelector::ObjectId);
    let resource_id = text(&selected.resource_id).map(IdentitySelector::ResourceId);
    let fields = [
        &selected.client_id,
        &selected.object_id,
        &selected.resource_id,
    ];
    if fields.iter().filter(|field| field.key().is_some()).count() != 1 {
        let help = "exactly one of client_id, object_id and resource_id; or system";
        report.problem(item.span, "a managed identity has one identifier", help);
    }
    client_id.or(object_id).or(resource_id)
}

fn app(key: &Key, raw: &RawCredential, report: &mut Report) -> Option<AppIdentity> {
    let tenant = raw.tenant_id.required(
        "tenant_id",
        key.span,
        "the tenant's GUID or a verified domain",
        report,
    );
    let tenant_id = tenant.and_then(|item| {
        let checked = tenant_id(&item.value.0);
        checked
            .map_err(|help| report.problem(item.span, "\"tenant_id\" takes a tenant", help))
            .ok()
    });
    let client =
        raw.client_id
            .required("client_id", key.span, "the application (client) ID", report);
    let client_id = client.and_then(|item| {
        let checked = client_id(&item.value.0);
        checked
            .map_err(|help| {
                report.problem(item.span, "\"client_id\" takes an application ID", help)
            })
            .ok()
    });
    let authority = authority(raw, tenant_id.as_deref(), report);
    Some(AppIdentity {
        authority: authority?,
        tenant_id: tenant_id?,
        client_id: client_id?,
    })
}

/// A tenant that client credentials can ask; it becomes a segment of the token endpoint's path.
pub(super) fn tenant_id(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    if matches!(
        text.to_ascii_lowercase().as_str(),
        "common" | "organizations" | "consumers"
    ) {
        Err("an app that asks for itself needs its own tenant: the GUID or a verified domain")
    } else if text.len() <= 253 && text.bytes().all(plain) && !text.starts_with('.') {
        Ok(text.to_owned())
    } else {
        Err("the tenant's GUID or a verified domain, such as contoso.onmicrosoft.com")
    }
}

/// An application ID: Entra's are GUIDs, a test double's need not be.
pub(super) fn client_id(text: &str) -> Result<String, &'static str> {
    if text.len() <= 256 && text.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err("the application (client) ID of the app registration, a GUID; not its display name")
    }
}

fn authority(raw: &RawCredential, tenant: Option<&str>, report: &mut Report) -> Option<BaseUrl> {
    let Some(item) = raw.authority.item() else {
        let cloud = raw.cloud.value().map(|cloud| cloud.authority());
        return BaseUrl::parse(cloud.unwrap_or(PUBLIC_AUTHORITY)).ok();
    };
    if let Some(span) = raw.cloud.key() {
        let message = "\"cloud\" and \"authority\" say the same";
        report.problem(span, message, "keep one of the two");
    }
    authority_fault(&item.value, tenant).map_or(Some(item.value.clone()), |help| {
        report.problem(item.span, "this authority cannot be used", help);
        None
    })
}

/// Why an authority cannot be used.
pub(super) fn authority_fault(url: &BaseUrl, tenant: Option<&str>) -> Option<&'static str> {
    if !url.origin.secure && !url.origin.host.is_loopback() {
        return Some("https:// (http:// only to loopback): secrets are sent there");
    }
    let mut segments = url.prefix.as_str().split('/');
    let named = |segment: &str| {
        tenant.is_some_and(|tenant| tenant.eq_ignore_ascii_case(segment))
            || matches!(segment, "common" | "organizations" | "consumers" | "oauth2")
    };
    segments
        .any(named)
        .then_some("the authority without a tenant; that is tenant_id")
}
