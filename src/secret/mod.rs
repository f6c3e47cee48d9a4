//! Secrets: values that cannot be printed, serialised or compared in variable time, and are wiped
//! when dropped; and the places they come from.

mod file_path;
pub mod file_reader;
#[cfg(all(test, target_os = "linux"))]
pub(crate) mod memory;
pub mod pem;
pub mod regular_file;

use std::fmt;

use bytes::Bytes;
use http::HeaderValue;
use zeroize::Zeroizing;

pub use file_path::FilePath;

/// A secret value. `Debug` shows nothing of it, there is no `Display` and no `Serialize`.
#[derive(Clone)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Wraps bytes; the caller's copy, if any, is the caller's to wipe.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for the one place that puts them on the wire.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The secret as text, when it is UTF-8.
    pub fn expose_str(&self) -> Option<&str> {
        std::str::from_utf8(&self.0).ok()
    }

    /// A field's value of `scheme` and the secret, which is not shown and is wiped when the last clone
    /// is gone; none where a field cannot hold it (RFC 9110 section 5.5).
    pub fn header(&self, scheme: &'static str) -> Option<HeaderValue> {
        let mut text = Zeroizing::new(Vec::with_capacity(scheme.len() + self.0.len()));
        text.extend_from_slice(scheme.as_bytes());
        text.extend_from_slice(&self.0);
        let mut value = HeaderValue::from_maybe_shared(Bytes::from_owner(text)).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// Compares in time that depends on the lengths only.
    pub fn matches(&self, other: &[u8]) -> bool {
        aws_lc_rs::constant_time::verify_slices_are_equal(&self.0, other).is_ok()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where a secret is read from. The value itself is never part of a configuration.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SecretSource {
    /// An environment variable of this name.
    Env(String),
    /// A file; surrounding white space (a trailing newline above all) is not part of the secret.
    File(FilePath),
}

/// Why a secret could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The variable is not set.
    #[error("environment variable {0} is not set; set it, or use the key's `_file` twin")]
    Unset(String),
    /// The variable or file holds nothing.
    #[error("{0} is empty; put the secret's value there")]
    Empty(String),
    /// The file cannot be read.
    #[error("cannot read {path}; check that it exists and that this user may read it")]
    Unreadable {
        /// The file.
        path: FilePath,
        /// What the system said.
        source: std::io::Error,
    },
}

impl SecretSource {
    /// Reads the secret now. A file system that does not answer is waited for.
    ///
    /// # Errors
    /// When the variable is unset, the file unreadable or no regular file, or either is empty.
    pub fn read(&self) -> Result<Secret, SecretError> {
        let raw = match self {
            Self::Env(name) => {
                let value =
                    std::env::var_os(name).ok_or_else(|| SecretError::Unset(name.clone()))?;
                Zeroizing::new(value.into_encoded_bytes())
            }
            Self::File(path) => {
                regular_file::read(path).map_err(|source| SecretError::Unreadable {
                    path: path.clone(),
                    source,
                })?
            }
        };
        let trimmed = match self {
            // What tools put behind a text; spaces may be part of a password.
            Self::Env(_) => without_line_ends(&raw),
            Self::File(_) => raw.trim_ascii(),
        };
        if trimmed.is_empty() {
            return Err(SecretError::Empty(self.to_string()));
        }
        Ok(Secret::new(trimmed.to_vec()))
    }

    /// The file, when the secret comes from one.
    pub fn file(&self) -> Option<&FilePath> {
        match self {
            Self::Env(_) => None,
            Self::File(path) => Some(path),
        }
    }
}

fn without_line_ends(mut text: &[u8]) -> &[u8] {
    while let [rest @ .., b'\r' | b'\n'] = text {
        text = rest;
    }
    text
}

impl fmt::Display for SecretSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => path.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_variable_loses_line_ends_and_keeps_the_spaces_of_a_password() {
        assert_eq!(
            without_line_ends(b" correct horse \r\n\n"),
            b" correct horse "
        );
        assert_eq!(without_line_ends(b"\n"), b"");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn nothing_of_a_token_is_left_in_memory_after_its_field() {
        let (token, mut trace) = memory::token();
        let secret = Secret(token);
        let field = secret.header("Bearer ");
        drop(secret);
        assert!(trace.is_left(), "it is there while it is used");
        assert_eq!(format!("{field:?}"), "Some(Sensitive)");
        drop(field);
        assert!(!trace.is_left());
    }

    #[test]
    fn a_file_without_a_secret_in_it_is_told_as_empty() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        for content in ["", " \r\n\n"] {
            std::fs::write(&path, content).unwrap();
            let source = SecretSource::File(FilePath::from(path.to_str().unwrap()));
            let told = source.read().unwrap_err();
            assert!(matches!(told, SecretError::Empty(_)), "{told}");
        }
    }
}
