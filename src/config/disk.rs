//! What a configuration needs on disk: files that exist, can be read, hold something, and are not
//! open to others. Not part of the pure check: `check` and `run` ask, a pipeline may not.

use std::path::Path;

use super::check_caller::{KEY_HELP, SHORTEST_KEY};
use super::{Finding, NamedFile, shown};
use crate::descriptors;
use crate::secret::{pem, regular_file};

/// What was found on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Disk {
    /// What keeps the configuration from working.
    pub problems: Vec<Finding>,
    /// What works and should not be so.
    pub warnings: Vec<Finding>,
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

/// Looks at these files, and at the configuration itself.
pub fn inspect(files: &[NamedFile], routes_yaml: &Path) -> Disk {
    let mut disk = Disk::default();
    if mode(routes_yaml).is_some_and(|mode| mode & 0o022 != 0) {
        let path = shown(routes_yaml);
        let message = "this file can be written by others, who could add a route: chmod go-w";
        disk.warn(&[], format!("{message} {path}"));
    }
    for file in files {
        if let Some(holds) = holds(&file.at) {
            disk.file(file, holds);
        }
    }
    disk
}

/// What the file of a key has to hold; `None` when this is the wrong place for such a key.
fn holds(at: &[String]) -> Option<Holds> {
    let names: Vec<&str> = at.iter().map(String::as_str).collect();
    match names[..] {
        ["trust" | "kubernetes", "ca_file"] | ["tls", "certificate_file" | "client_ca_file"] => {
            Some(Holds::Certificates)
        }
        ["tls", "key_file"]
        | [
            "credentials",
            _,
            "certificate_file" | "certificate_password_file" | "client_secret_file",
        ] => Some(Holds::Secret),
        ["callers", _, "api_key_file"] => Some(Holds::ApiKey),
        ["credentials", _, "federated_token_file"] | ["kubernetes", "jwks_file" | "token_file"] => {
            Some(Holds::Something)
        }
        _ => None,
    }
}

impl Disk {
    /// Notes what keeps the configuration from working.
    pub fn refuse(&mut self, at: &[&str], words: impl Into<String>) {
        self.problems.push(Finding::new(at, words));
    }

    /// Notes what should not be so.
    pub fn warn(&mut self, at: &[&str], words: impl Into<String>) {
        self.warnings.push(Finding::new(at, words));
    }

    /// Whether a problem is known of this key, or of one below it.
    pub fn spoils(&self, at: &[&str]) -> bool {
        let below = |finding: &Finding| {
            finding.at.len() >= at.len() && finding.at.iter().zip(at).all(|(own, it)| own == it)
        };
        self.problems.iter().any(below)
    }

    fn file(&mut self, file: &NamedFile, holds: Holds) {
        let path = &file.path;
        let at: Vec<&str> = file.at.iter().map(String::as_str).collect();
        let content = match regular_file::read(path) {
            Ok(content) => content,
            Err(error) => {
                let help = match path.is_written() {
                    true => "check the path, and that this user may read it",
                    false => {
                        "check that the variable holds the path, not what belongs into the file, and that this user may read it"
                    }
                };
                let help = descriptors::remedy(&error, help);
                self.refuse(&at, format!("cannot read {path}: {error}; {help}"));
                return;
            }
        };
        if content.trim_ascii().is_empty() {
            let help = "is empty; write the secret, key, token or certificate into it";
            self.refuse(&at, format!("{path} {help}"));
        } else if holds == Holds::Certificates && !has_certificate(&content) {
            let message = "holds no PEM certificate (-----BEGIN CERTIFICATE-----)";
            self.refuse(&at, format!("{path} {message}"));
        }
        if holds == Holds::ApiKey && (1..SHORTEST_KEY).contains(&content.trim_ascii().len()) {
            let message = format!("the API key in {path} is short: {KEY_HELP}");
            self.warn(&at, message);
        }
        let is_secret = matches!(holds, Holds::ApiKey | Holds::Secret);
        let mode = mode(path.path()).unwrap_or_default();
        if is_secret && mode & 0o006 != 0 {
            let message = "is open to every user of this machine: chmod o-rw";
            let volume = "or, of the volume of a Kubernetes Secret, defaultMode: 0440";
            self.warn(&at, format!("{path} {message} {path}, {volume}"));
        } else if mode & 0o002 != 0 {
            let message = "can be written by every user of this machine, who could put their own authority, key or token there: chmod o-w";
            self.warn(&at, format!("{path} {message} {path}"));
        }
    }
}

fn has_certificate(content: &[u8]) -> bool {
    pem::sections(content)
        .flatten()
        .any(|section| section.label == "CERTIFICATE" && section.decode().is_ok())
}

/// The mode of a regular file. That of a folder or a device is not for a configuration to judge.
#[cfg(unix)]
fn mode(path: &Path) -> Option<u32> {
    use std::os::unix::fs::PermissionsExt;
    let found = std::fs::metadata(path).ok()?;
    if !found.is_file() {
        return None;
    }
    Some(found.permissions().mode())
}

#[cfg(not(unix))]
fn mode(_: &Path) -> Option<u32> {
    None
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::config::load::{Replaced, Source, examine};
    use crate::secret::FilePath;

    /// What a configuration names that has a secret and an authority in this folder.
    fn files(folder: &Path) -> Vec<NamedFile> {
        let folder = folder.display();
        let text = format!(
            "trust: {{ca_file: {folder}/ca.pem}}\n\
             credentials:\n  a: {{tenant_id: a, client_id: a, client_secret_file: {folder}/secret}}\n\
             routes: [{{name: a, path: /a, upstream: \"https://a.com\"}}]\n"
        );
        examine(&Source::alone(&text), Replaced::default()).files
    }

    fn words(findings: &[Finding]) -> Vec<&str> {
        findings
            .iter()
            .map(|finding| finding.words.as_str())
            .collect()
    }

    fn write(folder: &Path, name: &str, content: &str, mode: u32) -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, content).unwrap();
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        }
        #[cfg(not(unix))]
        let _ = mode;
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
        assert_eq!(inspect(&files(folder.path()), &routes), Disk::default());
    }

    #[test]
    fn every_key_of_a_file_has_something_to_hold_in_its_own_place_and_in_no_other() {
        for (held, keys) in [
            (Some(Holds::ApiKey), "callers.a.api_key_file"),
            (
                Some(Holds::Certificates),
                "trust.ca_file kubernetes.ca_file tls.certificate_file tls.client_ca_file",
            ),
            (
                Some(Holds::Secret),
                "tls.key_file credentials.a.certificate_file credentials.a.client_secret_file \
                 credentials.a.certificate_password_file",
            ),
            (
                Some(Holds::Something),
                "credentials.a.federated_token_file kubernetes.jwks_file kubernetes.token_file",
            ),
            (
                None,
                "callers.a.client_secret_file ca_file a.ca_file tls.a.key_file",
            ),
        ] {
            for key in keys.split(' ') {
                let at: Vec<_> = key.split('.').map(str::to_owned).collect();
                assert!(holds(&at) == held, "{key}");
            }
        }
    }

    #[test]
    fn missing_empty_and_wrong_files_are_problems() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path());
        let routes = folder.path().join("routes.yaml");
        assert_eq!(inspect(&files, &routes).problems.len(), 2);
        write(
            folder.path(),
            "ca.pem",
            "-----BEGIN CERTIFICATE-----\n",
            0o644,
        );
        write(folder.path(), "secret", " \n", 0o600);
        let disk = inspect(&files, &routes);
        let problems = words(&disk.problems);
        assert!(
            problems[0].contains("ca.pem holds no PEM certificate"),
            "{problems:?}"
        );
        assert!(problems[1].contains("secret is empty;"), "{problems:?}");
        fs::remove_file(folder.path().join("secret")).unwrap();
        fs::create_dir(folder.path().join("secret")).unwrap();
        let disk = inspect(&files, &routes);
        assert!(words(&disk.problems)[1].starts_with("cannot read"));
        assert_eq!(disk.problems[0].at, ["trust", "ca_file"]);
        assert!(disk.spoils(&["trust"]) && !disk.spoils(&["tls"]));
        assert!(disk.spoils(&["trust", "ca_file"]));
        for other in [&["credentials", "b"][..], &["trust", "ca_file", "a"]] {
            assert!(!disk.spoils(other), "{other:?}");
        }
        for (label, content) in [("CERTIFICATE", "*"), ("PRIVATE KEY", "AAAA")] {
            let pem = format!("-----BEGIN {label}-----\n{content}\n-----END {label}-----\n");
            assert!(!has_certificate(pem.as_bytes()), "{pem}");
        }
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
            let path = FilePath::from(path);
            let at = Vec::new();
            disk.file(&NamedFile { at, path }, Holds::ApiKey);
            assert_eq!(disk.warnings.len(), warnings, "{key}");
            let said = words(&disk.warnings).concat();
            assert!(!said.contains(key.trim_ascii()) || key == "\n");
        }
    }

    #[cfg(unix)]
    #[test]
    fn open_secrets_and_a_writable_configuration_are_warnings() {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "ca.pem", &certificate(), 0o644);
        write(folder.path(), "secret", "hunter2", 0o604);
        let routes = write(folder.path(), "routes.yaml", "", 0o664);
        let disk = inspect(&files(folder.path()), &routes);
        assert_eq!(disk.problems, []);
        let warnings = words(&disk.warnings);
        assert!(warnings[0].contains("can be written by others"));
        assert!(warnings[1].contains("secret is open to every user"));
        assert!(!warnings.concat().contains("hunter2"));
        write(folder.path(), "secret", "hunter2", 0o600);
        write(folder.path(), "ca.pem", &certificate(), 0o646);
        let disk = inspect(&files(folder.path()), Path::new("/dev/null"));
        assert_eq!(disk.problems, []);
        let [warning] = &disk.warnings[..] else {
            panic!("{:?}", disk.warnings);
        };
        assert!(
            warning
                .words
                .contains("ca.pem can be written by every user")
        );
        assert_eq!(warning.at, ["trust", "ca_file"]);
        for other in ["/tmp", "/dev/null"] {
            let disk = inspect(&[], Path::new(other));
            assert_eq!(disk, Disk::default(), "{other}");
        }
    }
}
