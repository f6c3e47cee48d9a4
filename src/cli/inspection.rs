//! What the commands find out about a configuration before a socket is opened or anybody is asked
//! for a token: its text, the files it names, and whether certificates, keys and credentials can be
//! used. One finding hides another only where the other depends on it.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::counted;
use crate::app;
use crate::caller;
use crate::caller::api_keys::ApiKeyError;
use crate::chain::Chain;
use crate::config::disk::{self, Disk};
use crate::config::{
    self, CallerProof, Config, CredentialKind, CredentialSpec, Examined, Finding, KubernetesKeys,
    Problem, Problems, Replaced, Severity, TlsSpec,
};
use crate::credential::{Credential, beginning, ending};
use crate::forward_proxy::ForwardProxy;
use crate::guid::is_guid;
use crate::secret::{FilePath, Secret, SecretSource};
use crate::server::tls;

/// What was found. The configuration is one to run only when there is no problem.
pub(super) struct Inspection {
    pub(super) config: Option<Config>,
    pub(super) problems: Problems,
    pub(super) warnings: Problems,
}

impl Inspection {
    /// Tells all of it, and that the file is refused when it is.
    ///
    /// # Errors
    /// When `err` cannot be written.
    pub(super) fn tell(&self, path: &Path, err: &mut dyn Write) -> io::Result<()> {
        let problems = &self.problems.0;
        for problem in self.warnings.0.iter().chain(problems) {
            writeln!(err, "{problem}")?;
        }
        match problems.len() {
            0 => Ok(()),
            count => writeln!(err, "{}: refused, {}", config::shown(path), counted(count)),
        }
    }

    /// The configuration, unless there is a problem.
    pub(super) fn usable(self) -> Option<Config> {
        self.config.filter(|_| self.problems.0.is_empty())
    }
}

/// What a file is inspected for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose<'a> {
    /// To be told all about it.
    Check,
    /// To be told what can be known without secrets. What is wrong on disk is worth a warning only:
    /// a pipeline that has no secrets has no files with secrets either.
    CheckWithoutSecrets,
    /// To run, or to ask for every route's token: both tell by themselves what of theirs ends soon.
    /// The command line has something else in the place of these keys.
    Run(Replaced),
    /// To ask for the token of this route once. What only callers and other routes need is not
    /// looked at: the token can be had all the same.
    Token(&'a str),
}

/// Inspects a file.
pub(super) fn inspect(path: &Path, purpose: Purpose<'_>, now: SystemTime) -> Inspection {
    let without_secrets = purpose == Purpose::CheckWithoutSecrets;
    let replaced = match purpose {
        Purpose::Run(replaced) => replaced,
        _ => Replaced::default(),
    };
    let mut examined = config::look(path, without_secrets, replaced);
    let part = Part::of(purpose, examined.config.as_ref());
    examined.files.retain(|file| part.holds(&file.at));
    let mut disk = disk::inspect(&examined.files, path);
    if let Some(config) = &examined.config {
        if part == Part::All {
            certificate(config, purpose, &mut disk, now);
            cluster_keys(config, &mut disk);
            api_keys(config, &mut disk);
            secret_ids(config, &mut disk);
        }
        if !without_secrets {
            forward_proxy(config, &mut disk);
            if part == Part::All {
                local_certificate(config, &mut disk);
            }
            let found = credentials(config, &part, &mut disk);
            if purpose == Purpose::Check {
                endings(&found, &mut disk, now);
            }
        }
    }
    if without_secrets {
        disk.warnings.append(&mut disk.problems);
    }
    let located = |findings: &[Finding], severity| -> Vec<Problem> {
        let problem = |finding| examined.places.problem(finding, severity);
        findings.iter().map(problem).collect()
    };
    let warned = located(&disk.warnings, Severity::Warning);
    let found = located(&disk.problems, Severity::Error);
    let problems = new(found, &examined.problems);
    let Examined {
        config,
        problems: Problems(told),
        warnings: Problems(warnings),
        ..
    } = examined;
    Inspection {
        config,
        problems: in_order([told, problems].concat()),
        warnings: in_order([warnings, warned].concat()),
    }
}

/// What of a configuration is looked at.
#[derive(PartialEq, Eq)]
enum Part {
    All,
    /// What a token needs that is asked for with this credential.
    Token(Option<String>),
}

impl Part {
    fn of(purpose: Purpose<'_>, config: Option<&Config>) -> Self {
        let Purpose::Token(route) = purpose else {
            return Self::All;
        };
        let credential = config.and_then(|config| {
            let spec = config.route(route)?;
            Some(config.credentials[spec.credential].name.to_string())
        });
        Self::Token(credential)
    }

    fn holds(&self, at: &[impl AsRef<str>]) -> bool {
        let Self::Token(credential) = self else {
            return true;
        };
        let mut names = at.iter().map(AsRef::as_ref);
        match names.next() {
            Some("credentials") => names.next() == credential.as_deref(),
            Some(section) => section == "trust",
            None => true,
        }
    }
}

/// What was found of places that nothing is known of yet: a variable that is not set makes its
/// credential unusable as well, and is told once.
fn new(found: Vec<Problem>, known: &Problems) -> Vec<Problem> {
    let is_new = |problem: &Problem| {
        let location = &problem.location;
        location.position.is_none() || known.0.iter().all(|known| known.location != *location)
    };
    found.into_iter().filter(is_new).collect()
}

/// In file order; first what is about the file as a whole.
fn in_order(mut problems: Vec<Problem>) -> Problems {
    problems.sort_by_key(|problem| {
        let position = problem.location.position.as_ref();
        position.map(|position| (position.line, position.column))
    });
    Problems(problems)
}

/// What keeps the certificate for callers from being shown. One that is ours to make is not made
/// by a look.
fn certificate(config: &Config, purpose: Purpose<'_>, disk: &mut Disk, now: SystemTime) {
    let Some(TlsSpec::Files {
        certificate_file,
        key_file,
        client_ca_file,
    }) = &config.tls
    else {
        return;
    };
    let is_fine = |path: &FilePath, key| path.is_known() && !disk.spoils(&["tls", key]);
    if !is_fine(certificate_file, "certificate_file") || !is_fine(key_file, "key_file") {
        return;
    }
    let authority = client_ca_file.clone();
    let spec = TlsSpec::Files {
        certificate_file: certificate_file.clone(),
        key_file: key_file.clone(),
        client_ca_file: authority.filter(|path| is_fine(path, "client_ca_file")),
    };
    match tls::load(&spec, now) {
        Ok(loaded) => {
            let complaint = loaded.complaint(now);
            if let Some(words) = complaint.filter(|_| !matches!(purpose, Purpose::Run(_))) {
                disk.warn(&["tls", "certificate_file"], words);
            }
        }
        Err(error) => disk.refuse(&["tls", error.key()], Chain(&error).to_string()),
    }
}

/// What keeps the certificate of `tls: local` from being made. As of the forward proxy, the
/// environment of a pipeline without secrets says nothing of it.
fn local_certificate(config: &Config, disk: &mut Disk) {
    if config.tls == Some(TlsSpec::Local)
        && let Err(error) = tls::local_folder()
    {
        disk.refuse(&["tls"], error.to_string());
    }
}

/// What keeps the keys of the cluster from being used, where they are in a file.
fn cluster_keys(config: &Config, disk: &mut Disk) {
    let keys = config.kubernetes.as_ref().map(|spec| &spec.keys);
    let at = ["kubernetes", "jwks_file"];
    if let Some(KubernetesKeys::File(path)) = keys
        && path.is_known()
        && !disk.spoils(&at)
        && let Err(error) = caller::keys::read(path)
    {
        disk.refuse(&at, Chain(&error).to_string());
    }
}

/// Which callers have the key of another, or one that they cannot send.
fn api_keys(config: &Config, disk: &mut Disk) {
    let mut refuse = |at: usize, error: ApiKeyError| {
        let spec = &config.callers[at];
        let key = match &spec.proof {
            CallerProof::ApiKey(SecretSource::File(_)) => "api_key_file",
            _ => "api_key",
        };
        disk.refuse(&["callers", spec.name.as_str(), key], error.to_string());
    };
    let name = |at: usize| config.callers[at].name.clone();
    for at in caller::api_keys::unsendable(&config.callers) {
        refuse(at, ApiKeyError::Unsendable { caller: name(at) });
    }
    for (first, second) in caller::api_keys::shared(&config.callers) {
        let error = ApiKeyError::Shared {
            first: name(first),
            second: name(second),
        };
        refuse(second, error);
    }
}

/// Which client secrets are the ID of one. Entra shows both, and makes no value that is a GUID.
fn secret_ids(config: &Config, disk: &mut Disk) {
    for spec in &config.credentials {
        let CredentialKind::ClientSecret { secret, .. } = &spec.kind else {
            continue;
        };
        let is_id = |secret: Secret| secret.expose_str().is_some_and(is_guid);
        if secret.read().is_ok_and(is_id) {
            let words = format!(
                "what {secret} holds looks like a secret's ID, and Entra takes its value alone: copy that, which is shown once, or make another secret"
            );
            disk.warn(&["credentials", spec.name.as_str(), spec.kind.key()], words);
        }
    }
}

/// What keeps the forward proxy from being used. A pipeline without secrets has another environment
/// than the program will have, and is not asked.
fn forward_proxy(config: &Config, disk: &mut Disk) {
    if let Err(error) = app::forward_proxy(config) {
        disk.refuse(&[], error.to_string());
    }
}

/// What keeps credentials from being used. Returns those that can be, with what the file says.
fn credentials<'a>(
    config: &'a Config,
    part: &Part,
    disk: &mut Disk,
) -> Vec<(&'a CredentialSpec, Arc<Credential>)> {
    let authority = config.trust_ca_file.clone();
    let reachable = Config {
        trust_ca_file: authority.filter(|path| path.is_known() && !disk.spoils(&["trust"])),
        ..config.clone()
    };
    let credentials = match app::outbound_through(ForwardProxy::none(), &reachable) {
        Ok(outbound) => {
            if let Some(doubt) = outbound.doubt {
                disk.warn(&[], doubt);
            }
            outbound.credentials
        }
        Err(error) => {
            disk.refuse(error.at(), Chain(&error).to_string());
            return Vec::new();
        }
    };
    let mut usable = Vec::new();
    for (spec, credential) in config.credentials.iter().zip(credentials) {
        let name = spec.name.as_str();
        let looked_at = part.holds(&["credentials", name]) && spec.kind.is_known();
        if !looked_at || disk.spoils(&["credentials", name]) {
            continue;
        }
        match credential.check() {
            Ok(()) => usable.push((spec, credential)),
            // Its fallback and the other credentials go on, and where there is none, the token's
            // requests are told why. It is told as an ending, as of a secret whose time is over.
            Err(error) if error.is_of_time() => usable.push((spec, credential)),
            Err(error) => {
                let words = format!("credential \"{name}\": {}", error.words());
                disk.refuse(&["credentials", name, spec.kind.key()], words);
            }
        }
    }
    usable
}

/// Which credentials end soon, or cannot be used yet.
fn endings(credentials: &[(&CredentialSpec, Arc<Credential>)], disk: &mut Disk, now: SystemTime) {
    for (spec, credential) in credentials {
        if let Some(begin) = credential.begins(now) {
            let words = beginning(&spec.name, begin);
            disk.warn(&["credentials", spec.name.as_str(), spec.kind.key()], words);
            continue;
        }
        let end = credential.expiry();
        if let Some(words) = end.and_then(|end| ending(&spec.name, end, now)) {
            let key = match spec.expires {
                Some(_) => "expires",
                None => spec.kind.key(),
            };
            disk.warn(&["credentials", spec.name.as_str(), key], words);
        }
    }
}
