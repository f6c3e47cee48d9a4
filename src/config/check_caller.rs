//! Rules of callers: one proof each, and whatever that proof needs at the top level.

use std::collections::HashMap;

use zeroize::Zeroizing;

use super::certificate_name::CertificateName;
use super::choice::RawTls;
use super::file::{RawCaller, RawConfig, RawKubernetes, meaning_of};
use super::node::Key;
use super::read::{Field, Item, Table};
use super::report::{Report, quoted_key};
use super::roster::{Named, Roster};
use super::scalar::Text;
use super::sole::{Words, keys, sole};
use super::subject;
use super::value::{BaseUrl, Name};
use super::variable::Variables;
use super::{CallerProof, CallerSpec, KubernetesKeys, KubernetesSpec};
use crate::secret::SecretSource;

/// Bytes of an API key that nobody guesses: 16 random letters and digits are 95 bits.
pub(super) const SHORTEST_KEY: usize = 16;
/// What is better than a key that is shorter.
pub(super) const KEY_HELP: &str =
    "use at least 16 random characters, for example from `openssl rand -hex 24`";

const WORDS: Words = Words {
    owner: "caller",
    choice: "proof",
    instead: "a caller has exactly one proof; give the other a name too",
};

/// Every caller of the file; `None` stands for one that is wrong.
pub(super) fn all(raw: &RawConfig, vars: Variables<'_>, report: &mut Report) -> Roster<CallerSpec> {
    let Some(table) = raw.callers.value() else {
        return Roster::new(Vec::new());
    };
    let caller = |(key, item): &(Key, Option<Item<RawCaller>>)| {
        let spec = item
            .as_ref()
            .and_then(|item| caller(key, &item.value, raw, vars, report));
        Named::new(key, spec)
    };
    let callers: Vec<_> = table.0.iter().map(caller).collect();
    refuse_twins(table, &callers, report);
    Roster::new(callers)
}

/// Two callers that nobody can tell apart. API keys are compared when they have been read.
fn refuse_twins(table: &Table<RawCaller>, callers: &[Named<CallerSpec>], report: &mut Report) {
    let mut met = HashMap::new();
    for ((key, item), caller) in table.0.iter().zip(callers) {
        let (Some(raw), Some(spec)) = (item.as_ref().map(|item| &item.value), &caller.spec) else {
            continue;
        };
        let (what, proof, certificate) = match &spec.proof {
            CallerProof::ApiKey(_) => continue,
            CallerProof::ClientCertificate(name) => {
                ("certificate", &raw.client_certificate, Some(name))
            }
            CallerProof::ServiceAccount { .. } => ("service account", &raw.service_account, None),
        };
        let sameness = |proof: &Item<Text>| match certificate {
            Some(name) => name.sameness(),
            None => proof.value.0.clone(),
        };
        if let Some(proof) = proof.item().filter(|proof| proof.is_known())
            && let Some(first) = met.insert((what, sameness(proof)), &key.text)
        {
            let message = format!("the same {what} as that of caller {}", quoted_key(first));
            let help = "nobody could tell which of them asks; give each its own, or leave one out";
            report.problem(proof.span, message, help);
        }
    }
}

fn caller(
    key: &Key,
    raw: &RawCaller,
    file: &RawConfig,
    vars: Variables<'_>,
    report: &mut Report,
) -> Option<CallerSpec> {
    let name = Name::parse(&key.text);
    if let Err(help) = &name {
        report.problem(key.span, "a caller cannot have this name", help);
    }
    warn_of_short_key(raw, vars, report);
    let proof = proof(key, raw, file, report);
    Some(CallerSpec {
        name: name.ok()?,
        proof: proof?,
    })
}

/// A key in a variable that may be guessed. One in a file is looked at with the file.
fn warn_of_short_key(raw: &RawCaller, vars: Variables<'_>, report: &mut Report) {
    let Some(item) = raw.api_key.item() else {
        return;
    };
    let SecretSource::Env(name) = &item.value.0 else {
        return;
    };
    let value = vars.value(name).map(Zeroizing::new);
    let is_short = |value: Zeroizing<String>| (1..SHORTEST_KEY).contains(&value.trim().len());
    if value.is_ok_and(is_short) {
        report.warning(
            item.span,
            format!("the API key in {name} is short"),
            KEY_HELP,
        );
    }
}

fn proof(key: &Key, raw: &RawCaller, file: &RawConfig, report: &mut Report) -> Option<CallerProof> {
    let given = keys!(raw: api_key, api_key_file, client_certificate, service_account);
    match sole(key, &WORDS, given, report)? {
        "api_key" => Some(CallerProof::ApiKey(raw.api_key.value()?.0.clone())),
        "api_key_file" => {
            let file = raw.api_key_file.value()?.clone();
            Some(CallerProof::ApiKey(SecretSource::File(file)))
        }
        "client_certificate" => client_certificate(raw, file, report),
        _ => service_account(raw, file, report),
    }
}

fn client_certificate(
    raw: &RawCaller,
    file: &RawConfig,
    report: &mut Report,
) -> Option<CallerProof> {
    let item = raw.client_certificate.item()?;
    let asked = match &file.tls {
        Field::Given(tls) => match &tls.value {
            RawTls::Files(files) => files.client_ca_file.key().is_some(),
            RawTls::Local => false,
        },
        Field::Wrong(_) => true,
        Field::Absent => false,
    };
    if !asked {
        let message = "no client certificate is ever asked for";
        report.problem(
            item.key,
            message,
            "set client_ca_file in tls at the top level",
        );
    }
    let name = &item.value.0;
    if let Some((message, help)) = never_matches(name) {
        report.problem(item.span, message, help);
        return None;
    }
    if name.starts_with("*.") {
        let message = "a star stands for itself in the name of a certificate";
        report.warning(
            item.span,
            message,
            "name each caller, app1.contoso.com, unless theirs has the star too",
        );
    }
    Some(CallerProof::ClientCertificate(CertificateName::read(name)))
}

/// Why no certificate has this name, and what to write instead.
fn never_matches(name: &str) -> Option<(&'static str, &'static str)> {
    // As OpenSSL shows alternative names, and the subject. No name of that kind begins so itself.
    const KINDS: [&str; 6] = ["dns:", "uri:", "ip:", "ip address:", "email:", "subject="];
    let name = name.to_ascii_lowercase();
    if KINDS.iter().any(|kind| name.starts_with(kind)) {
        let message = "the kind of a name is no part of it";
        return Some((message, "write the name alone: app1.contoso.com"));
    }
    // With a scheme it is a URI; `CN=` with no other `=` may be a common name, which may hold anything.
    let (kind, value) = name.split_once('=').filter(|_| !name.contains("://"))?;
    if kind.trim().is_empty() || value.trim().is_empty() {
        let message = "this subject has nothing on one side of its equals sign";
        return Some((message, "write type and value: CN=reporting"));
    }
    let common = kind.trim() == "cn" && !value.contains('=');
    (!common && subject::attributes(&name).is_none()).then_some((
        "this subject cannot be read",
        r"attributes with commas between them, CN=reporting,O=Contoso; a comma inside a value is \,",
    ))
}

fn service_account(raw: &RawCaller, file: &RawConfig, report: &mut Report) -> Option<CallerProof> {
    let item = raw.service_account.item()?;
    if file.kubernetes.key().is_none() {
        let message = "service-account tokens cannot be verified";
        report.problem(
            item.key,
            message,
            "add kubernetes at the top level: issuer, audience and keys",
        );
    }
    // RFC 1123 labels; a service account's name may have dots as well.
    let plain = |text: &str| {
        !text.is_empty()
            && text.len() <= 253
            && text
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.'))
    };
    let account = item.value.0.split_once('/');
    let account = account.filter(|(namespace, name)| plain(namespace) && plain(name));
    if account.is_none() {
        let help = "NAMESPACE/NAME, for example tools/report-job";
        report.problem(
            item.span,
            "\"service_account\" takes a service account",
            help,
        );
    }
    // Without one there is a problem, or a stand-in: nothing that is used.
    let (namespace, name) = account.unwrap_or_default();
    Some(CallerProof::ServiceAccount {
        namespace: namespace.to_owned(),
        name: name.to_owned(),
    })
}

/// How service-account tokens are verified.
pub(super) fn kubernetes(
    field: &Field<RawKubernetes>,
    report: &mut Report,
) -> Option<KubernetesSpec> {
    let item = field.item()?;
    let raw = &item.value;
    let help = meaning_of("issuer");
    let issuer = raw.issuer.required("issuer", item.key, help, report);
    let help = meaning_of("audience");
    let audience = raw.audience.required("audience", item.key, help, report);
    let keys = signing_keys(item, issuer, report);
    Some(KubernetesSpec {
        issuer: issuer?.value.0.clone(),
        audience: audience?.value.0.clone(),
        keys: keys?,
    })
}

fn signing_keys(
    item: &Item<RawKubernetes>,
    issuer: Option<&Item<Text>>,
    report: &mut Report,
) -> Option<KubernetesKeys> {
    let raw = &item.value;
    match (
        raw.jwks_file.key(),
        raw.ca_file.key().or(raw.token_file.key()),
    ) {
        (Some(_), None) => raw.jwks_file.value().cloned().map(KubernetesKeys::File),
        (None, Some(_)) => {
            let help = "ca_file and token_file belong together: both are needed to fetch the keys";
            let ca_file = raw.ca_file.required("ca_file", item.key, help, report);
            let token_file = raw
                .token_file
                .required("token_file", item.key, help, report);
            if let Some(issuer) = issuer.filter(|issuer| !fetchable(&issuer.value.0)) {
                let message = "keys can be fetched only from an https:// issuer";
                report.problem(
                    issuer.span,
                    message,
                    "or give jwks_file, a file with the keys",
                );
            }
            Some(KubernetesKeys::Fetch {
                ca_file: ca_file?.value.clone(),
                token_file: token_file?.value.clone(),
            })
        }
        (Some(_), Some(second)) => {
            let help = "either jwks_file, or ca_file and token_file";
            report.problem(second, "the signing keys come from two places", help);
            None
        }
        (None, None) => {
            let help = "jwks_file, or ca_file and token_file to fetch them";
            report.problem(item.key, "the signing keys are missing", help);
            None
        }
    }
}

fn fetchable(issuer: &str) -> bool {
    BaseUrl::parse(issuer).is_ok_and(|url| url.origin.secure)
}
