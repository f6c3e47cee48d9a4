//! Rules of credentials: exactly one kind, an identity that can ask for tokens by itself, and no
//! key that the kind would ignore.

use super::check_fallback::fallbacks;
use super::check_identity::shared;
use super::choice::RawManagedIdentity;
use super::cloud::PUBLIC_AUTHORITY;
use super::environment;
use super::file::{RawConfig, RawCredential, meaning_of};
use super::node::Key;
use super::read::{Field, Item};
use super::report::{Report, Span, quoted};
use super::roster::{Named, Roster};
use super::scalar::Text;
use super::sole::{Words, keys, sole};
use super::value::{BaseUrl, Name};
use super::variable::Variables;
use super::{AppIdentity, CredentialKind, CredentialSpec, IdentitySelector};
use crate::guid::{canonical, is_guid};
use crate::secret::SecretSource;

const WORDS: Words = Words {
    owner: "credential",
    choice: "kind",
    instead: "a credential has exactly one kind; see fallback for two",
};

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
    shared(&table.value.0, &credentials, report);
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
    let given = keys!(
        raw: client_secret, client_secret_file, certificate_file, federated_token_file, managed_identity
    );
    let kind = sole(key, &WORDS, given, report)?;
    misplaced(kind, raw, report);
    if kind == "managed_identity" {
        return managed_identity(raw, report).map(CredentialKind::ManagedIdentity);
    }
    let password = password(raw, report);
    let app = app(key, raw, report)?;
    match kind {
        "certificate_file" => Some(CredentialKind::Certificate {
            app,
            file: raw.certificate_file.value()?.clone(),
            password,
            send_chain: raw.send_chain.or(false),
        }),
        "federated_token_file" => Some(CredentialKind::FederatedToken {
            app,
            file: raw.federated_token_file.value()?.clone(),
        }),
        _ => Some(CredentialKind::ClientSecret {
            app,
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
    let of_app = keys!(raw: tenant_id, client_id, authority, cloud, continuous_access);
    let of_certificate = keys!(raw: certificate_password, certificate_password_file, send_chain);
    let rules = [
        (managed, &of_app[..]),
        (!certificate, &of_certificate),
        (!expiring, &keys!(raw: expires)),
    ];
    let wrong = rules.iter().filter(|(wrong, _)| *wrong);
    for (key, span) in wrong.flat_map(|(_, keys)| keys.iter().copied()) {
        if let Some(span) = span {
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
    let guid = |field| text(field).map(|id| canonical(&id));
    let client_id = guid(&selected.client_id).map(IdentitySelector::ClientId);
    let object_id = guid(&selected.object_id).map(IdentitySelector::ObjectId);
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
    let help = meaning_of("tenant_id");
    let tenant = raw.tenant_id.required("tenant_id", key.span, help, report);
    let tenant_id =
        tenant.and_then(|item| id(item, "\"tenant_id\" takes a tenant", tenant_id, report));
    let help = meaning_of("client_id");
    let client = raw.client_id.required("client_id", key.span, help, report);
    let message = "\"client_id\" takes an application ID";
    let client_id = client.and_then(|item| id(item, message, client_id, report));
    if let (Some(item), Some(id)) = (tenant, &tenant_id) {
        doubtful(item, "tenant_id", tenant_doubt(id), report);
    }
    if let (Some(item), Some(id)) = (client, &client_id) {
        doubtful(item, "client_id", client_doubt(id), report);
    }
    let authority = authority(raw, tenant_id.as_deref(), report);
    Some(AppIdentity {
        authority: authority?,
        tenant_id: tenant_id?,
        client_id: client_id?,
    })
}

/// Warns of an identifier that Entra would not have given; a test double may.
fn doubtful(item: &Item<Text>, key: &str, doubt: Option<Doubt>, report: &mut Report) {
    // What looks like a variable is told as one.
    let doubt = doubt.filter(|_| !item.value.0.starts_with('$'));
    if let Some(Doubt { what, help }) = doubt {
        report.warning(item.span, format!("this {} {what}", quoted(key)), help);
    }
}

/// Why an identifier is probably not what is meant.
pub(super) struct Doubt {
    pub(super) what: &'static str,
    pub(super) help: &'static str,
}

pub(super) fn tenant_doubt(id: &str) -> Option<Doubt> {
    (!is_guid(id) && !id.contains('.')).then_some(Doubt {
        what: "is neither a GUID nor a domain, and tenants of Entra are",
        help: "the directory (tenant) ID, or a verified domain such as contoso.onmicrosoft.com",
    })
}

pub(super) fn client_doubt(id: &str) -> Option<Doubt> {
    (!is_guid(id)).then_some(Doubt {
        what: "is no GUID, and application IDs of Entra are",
        help: "the application (client) ID of the app registration; not its name or secret",
    })
}

/// An identifier that its rule accepts; what stands in for one is accepted as it is.
fn id(
    item: &Item<Text>,
    message: &str,
    rule: fn(&str) -> Result<String, &'static str>,
    report: &mut Report,
) -> Option<String> {
    match rule(&item.value.0) {
        Err(_) if !item.is_known() => Some(item.value.0.clone()),
        Err(help) => {
            report.problem(item.span, message, help);
            None
        }
        Ok(id) => Some(id),
    }
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
        // Names of domains compare without case, and one tenant is to have one token.
        Ok(match text.contains('.') {
            true => text.to_ascii_lowercase(),
            false => canonical(text),
        })
    } else if is_wrapped(text) {
        Err(WRAPPED)
    } else {
        Err("the tenant's GUID or a verified domain, such as contoso.onmicrosoft.com")
    }
}

/// An application ID in a form that can be sent.
pub(super) fn client_id(text: &str) -> Result<String, &'static str> {
    let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\'');
    if text.len() <= 256 && text.bytes().all(plain) {
        Ok(canonical(text))
    } else if is_wrapped(text) {
        Err(WRAPPED)
    } else {
        Err("the application (client) ID of the app registration, a GUID; not its display name")
    }
}

const WRAPPED: &str = "the ID alone, without the quotes or white space around it";

/// Whether something stands around an ID that nobody sees where the variable alone is shown: `docker
/// run --env-file` keeps quotes, and a file with the line ends of Windows leaves a carriage return.
fn is_wrapped(text: &str) -> bool {
    let around = |c: char| c.is_whitespace() || matches!(c, '"' | '\'');
    text.starts_with(around) || text.ends_with(around)
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
    if let Some(help) = authority_fault(&item.value, tenant) {
        report.problem(item.span, "this authority cannot be used", help);
    }
    Some(item.value.clone())
}

/// Why an authority cannot be used.
pub(super) fn authority_fault(url: &BaseUrl, tenant: Option<&str>) -> Option<&'static str> {
    if !url.origin.secure && !url.origin.host.is_loopback() {
        return Some("https:// (http:// only to loopback): secrets are sent there");
    }
    let mut segments = url.prefix.as_str().split('/');
    // A tenant by another name than `tenant_id` has, or the version that SDKs want behind it. Any other
    // name with a dot may be the path of a gateway, such as the host that it leads to.
    let named = |segment: &str| {
        tenant.is_some_and(|tenant| tenant.eq_ignore_ascii_case(segment))
            || is_guid(segment)
            || segment.contains(".onmicrosoft.")
            || segment.contains(".onmschina.")
            || matches!(
                segment,
                "common" | "organizations" | "consumers" | "oauth2" | "v2.0"
            )
    };
    segments
        .any(named)
        .then_some("without tenant and version; the tenant is tenant_id")
}
