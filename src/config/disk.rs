//! What a configuration needs on disk: files that exist, can be read, hold something, and are not
//! open to others. Not part of the pure check: `check` and `run` ask, a pipeline may not.

use std::fs;
use std::io::Read as _;
use std::path::Path;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use zeroize::Zeroizing;

use super::check_caller::{KEY_HELP, SHORTEST_KEY};
use super::{CallerProof, Config, CredentialKind, KubernetesKeys, TlsSpec};
use crate::file_path::FilePath;
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
    ApiKey,
    Certificates,
    Secret,
    /// Not a lasting secret: keys that are public, or a token that the platform replaces and
    /// whose mode it chooses.
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
    fn file(&mut self, path: &FilePath, holds: Holds) {
        // What depends on a variable that is not set cannot be looked at.
        if !path.is_known() {
            return;
        }
        let content = match read(path) {
            Ok(Some(content)) => content,
            Ok(None) => return,
            Err(error) => {
                let help = match path.is_written() {
                    true => "check the path, and that this user may read it",
                    false => {
                        "the variable has to hold the path of a file, not what belongs into it"
                    }
                };
                self.problems
                    .push(format!("cannot read {path}: {error}; {help}"));
                return;
            }
        };
        if content.trim_ascii().is_empty() {
            let help = "is empty; put there what it is named for";
            self.problems.push(format!("{path} {help}"));
        } else if holds == Holds::Certificates && !has_certificate(&content) {
            let message = "holds no PEM certificate (-----BEGIN CERTIFICATE-----)";
            self.problems.push(format!("{path} {message}"));
        }
        if holds == Holds::ApiKey && (1..SHORTEST_KEY).contains(&content.trim_ascii().len()) {
            let message = format!("the API key in {path} is short: {KEY_HELP}");
            self.warnings.push(message);
        }
        let is_secret = matches!(holds, Holds::ApiKey | Holds::Secret);
        if is_secret && mode(path.path()).is_some_and(|mode| mode & 0o006 != 0) {
            let message = "is open to every user of this machine: chmod o-rw";
            self.warnings.push(format!("{path} {message} {path}"));
        }
    }
}

/// The content of a regular file. A pipe is left alone: reading would take what it holds.
fn read(path: &FilePath) -> std::io::Result<Option<Zeroizing<Vec<u8>>>> {
    let found = fs::metadata(path)?;
    if !found.is_file() && !found.is_dir() {
        return Ok(None);
    }
    let mut content = Zeroizing::new(Vec::new());
    fs::File::open(path)?
        .take(MOST_BYTES)
        .read_to_end(&mut content)?;
    Ok(Some(content))
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
fn files(config: &Config) -> Vec<(&FilePath, Holds)> {
    let mut files = Vec::new();
    files.extend(
        config
            .trust_ca_file
            .iter()
            .map(|file| (file, Holds::Certificates)),
    );
    if let Some(TlsSpec::Files {
        certificate_file,
        key_file,
        client_ca_file,
    }) = &config.tls
    {
        files.push((certificate_file, Holds::Certificates));
        files.push((key_file, Holds::Secret));
        files.extend(
            client_ca_file
                .iter()
                .map(|file| (file, Holds::Certificates)),
        );
    }
    for credential in &config.credentials {
        let (file, secret) = match &credential.kind {
            CredentialKind::Certificate { file, password, .. } => {
                (Some((file, Holds::Secret)), password.as_ref())
            }
            CredentialKind::ClientSecret { secret, .. } => (None, Some(secret)),
            CredentialKind::FederatedToken { file, .. } => (Some((file, Holds::Something)), None),
            CredentialKind::ManagedIdentity(_) => (None, None),
        };
        files.extend(file);
        files.extend(
            secret
                .and_then(SecretSource::file)
                .map(|file| (file, Holds::Secret)),
        );
    }
    files.extend(caller_files(config));
    files
}

/// The files that callers prove themselves against.
fn caller_files(config: &Config) -> Vec<(&FilePath, Holds)> {
    let mut files: Vec<(&FilePath, Holds)> = Vec::new();
    for caller in &config.callers {
        if let CallerProof::ApiKey(key) = &caller.proof {
            files.extend(key.file().map(|file| (file, Holds::ApiKey)));
        }
    }
    match config
        .kubernetes
        .as_ref()
        .map(|kubernetes| &kubernetes.keys)
    {
        Some(KubernetesKeys::File(file)) => files.push((file, Holds::Something)),
        Some(KubernetesKeys::Fetch {
            ca_file,
            token_file,
        }) => {
            files.push((ca_file, Holds::Certificates));
            files.push((token_file, Holds::Something));
        }
        None => {}
    }
    files
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::tests::check;

    /// A file that names a secret and an authority in this folder.
    fn config(folder: &Path) -> Config {
        let folder = folder.display();
        let text = format!(
            "trust: {{ca_file: {folder}/ca.pem}}\n\
             credentials:\n  a: {{tenant_id: a, client_id: a, client_secret_file: {folder}/secret}}\n\
             routes: [{{name: a, path: /a, upstream: \"https://a.com\"}}]\n"
        );
        check(&text).unwrap().config
    }

    fn write(folder: &Path, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        path
    }

    fn certificate() -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec!["a.com".to_owned()]).unwrap();
        params.self_signed(&key).unwrap().pem()
    }

    #[test]
    fn files_that_are_there_and_closed_are_fine() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "ca.pem", &certificate(), 0o644);
        write(folder.path(), "secret", "hunter2\n", 0o640);
        let routes = write(folder.path(), "routes.yaml", "", 0o644);
        assert_eq!(inspect(&config(folder.path()), &routes), Disk::default());
    }

    #[test]
    fn missing_empty_and_wrong_files_are_problems() {
        let folder = tempfile::tempdir().unwrap();
        let config = config(folder.path());
        let routes = folder.path().join("routes.yaml");
        assert_eq!(inspect(&config, &routes).problems.len(), 2);
        write(
            folder.path(),
            "ca.pem",
            "-----BEGIN CERTIFICATE-----\n",
            0o644,
        );
        write(folder.path(), "secret", " \n", 0o600);
        let problems = inspect(&config, &routes).problems;
        assert!(
            problems[0].contains("ca.pem holds no PEM certificate"),
            "{problems:?}"
        );
        assert!(problems[1].contains("secret is empty;"), "{problems:?}");
        fs::remove_file(folder.path().join("secret")).unwrap();
        fs::create_dir(folder.path().join("secret")).unwrap();
        assert!(inspect(&config, &routes).problems[1].starts_with("cannot read"));
    }

    #[test]
    fn a_key_that_can_be_guessed_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        for (key, warnings) in [
            ("fifteen-bytes-1\n", 1),
            ("sixteen-bytes--1\n", 0),
            ("\n", 0),
        ] {
            let path = write(folder.path(), "key", key, 0o600);
            let mut disk = Disk::default();
            disk.file(&FilePath::from(path), Holds::ApiKey);
            assert_eq!(disk.warnings.len(), warnings, "{key}");
            assert!(!disk.warnings.concat().contains(key.trim_ascii()) || key == "\n");
        }
    }

    #[cfg(unix)]
    #[test]
    fn open_secrets_and_a_writable_configuration_are_warnings() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "ca.pem", &certificate(), 0o644);
        write(folder.path(), "secret", "hunter2", 0o604);
        let routes = write(folder.path(), "routes.yaml", "", 0o664);
        let disk = inspect(&config(folder.path()), &routes);
        assert_eq!(disk.problems, Vec::<String>::new());
        assert!(disk.warnings[0].contains("routes.yaml can be written by others"));
        assert!(disk.warnings[1].contains("secret is open to every user"));
        assert!(!disk.warnings.concat().contains("hunter2"));
    }
}
