//! What a configuration needs on disk: files that exist, can be read, hold something, and are not
//! open to others. Not part of the pure check: `check` and `run` ask, a pipeline may not.

use std::fs;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::{CallerProof, Config, CredentialKind, KubernetesKeys, TlsSpec};
use crate::secret::SecretSource;

/// What was found on disk, in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// What keeps the configuration from working.
    pub problems: Vec<String>,
    /// What works and should not be so.
    pub warnings: Vec<String>,
}

/// What a file has to hold.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Holds {
    Certificates,
    Secret,
    Something,
}

// Larger than any key, token or bundle of authorities (Mozilla's is 220 KB).
const MOST_BYTES: u64 = 4 << 20;

/// Looks at every file that the configuration names, and at the configuration itself.
pub fn inspect(config: &Config, routes_yaml: &Path) -> Disk {
    let mut disk = Disk::default();
    if mode(routes_yaml).is_some_and(|mode| mode & 0o022 != 0) {
        let path = routes_yaml.display();
        let message = "can be written by others, who could add a route: chmod go-w";
        disk.warnings.push(format!("{path} {message} {path}"));
    }
    for (path, holds) in files(config) {
        disk.file(path, holds);
    }
    disk
}

impl Disk {
    fn file(&mut self, path: &Path, holds: Holds) {
        let shown = path.display();
        let content = match read(path) {
            Ok(content) => content,
            Err(error) => {
                self.problems.push(format!("cannot read {shown}: {error}"));
                return;
            }
        };
        if content.trim_ascii().is_empty() {
            self.problems.push(format!("{shown} is empty"));
        } else if holds == Holds::Certificates && !has_certificate(&content) {
            self.problems.push(format!(
                "{shown} holds no PEM certificate (-----BEGIN CERTIFICATE-----)"
            ));
        }
        if holds == Holds::Secret && mode(path).is_some_and(|mode| mode & 0o007 != 0) {
            let message = "is open to every user of this machine: chmod o-rwx";
            self.warnings.push(format!("{shown} {message} {shown}"));
        }
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::Read as _;
    let mut content = Vec::new();
    fs::File::open(path)?
        .take(MOST_BYTES)
        .read_to_end(&mut content)?;
    Ok(content)
}

fn has_certificate(content: &[u8]) -> bool {
    CertificateDer::pem_slice_iter(content).any(|certificate| certificate.is_ok())
}

#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path)
        .ok()
        .map(|found| found.permissions().mode())
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<u32> {
    None
}

/// Every file that the configuration names.
fn files<'a>(config: &'a Config) -> Vec<(&'a Path, Holds)> {
    let mut files: Vec<(&'a Path, Holds)> = Vec::new();
    let mut add = |path: Option<&'a Path>, holds| files.extend(path.map(|path| (path, holds)));
    add(config.trust_ca_file.as_deref(), Holds::Certificates);
    if let Some(TlsSpec::Files {
        certificate_file,
        key_file,
        client_ca_file,
    }) = &config.tls
    {
        add(Some(certificate_file), Holds::Certificates);
        add(Some(key_file), Holds::Secret);
        add(client_ca_file.as_deref(), Holds::Certificates);
    }
    for credential in &config.credentials {
        match &credential.kind {
            CredentialKind::Certificate { file, password, .. } => {
                add(Some(file), Holds::Secret);
                add(
                    password.as_ref().and_then(SecretSource::file),
                    Holds::Secret,
                );
            }
            CredentialKind::ClientSecret { secret, .. } => add(secret.file(), Holds::Secret),
            CredentialKind::FederatedToken { file, .. } => add(Some(file), Holds::Secret),
            CredentialKind::ManagedIdentity(_) => {}
        }
    }
    for caller in &config.callers {
        if let CallerProof::ApiKey(key) = &caller.proof {
            add(key.file(), Holds::Secret);
        }
    }
    match config
        .kubernetes
        .as_ref()
        .map(|kubernetes| &kubernetes.keys)
    {
        Some(KubernetesKeys::File(file)) => add(Some(file), Holds::Something),
        Some(KubernetesKeys::Fetch {
            ca_file,
            token_file,
        }) => {
            add(Some(ca_file), Holds::Certificates);
            add(Some(token_file), Holds::Secret);
        }
        None => {}
    }
    files
}
