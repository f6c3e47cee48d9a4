//! The path of a file that the configuration names. It is shown as the configuration writes it,
//! never as what a variable made of it: the variable may hold, by a slip, the secret itself.

use std::fmt;
use std::path::{Path, PathBuf};

/// A path, and how it is shown.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath {
    path: PathBuf,
    /// How it is written, where a variable has a part in it.
    written: Option<String>,
}

impl FilePath {
    /// A path in which variables were replaced, and how it was written before.
    pub fn replaced(path: impl Into<PathBuf>, written: impl Into<String>) -> Self {
        Self {
            path: path.into(),
            written: Some(written.into()),
        }
    }

    /// A path whose variable is not set.
    pub fn unknown(written: impl Into<String>) -> Self {
        Self::replaced("", written)
    }

    /// Whether there is a path to look at.
    pub fn is_known(&self) -> bool {
        !self.path.as_os_str().is_empty()
    }

    /// Whether it is what stands in the configuration.
    pub fn is_written(&self) -> bool {
        self.written.is_none()
    }

    /// For the system, and for nobody's eyes.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl AsRef<Path> for FilePath {
    fn as_ref(&self) -> &Path {
        &self.path
    }
}

impl<T: Into<PathBuf>> From<T> for FilePath {
    fn from(path: T) -> Self {
        Self {
            path: path.into(),
            written: None,
        }
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.written {
            Some(written) => f.write_str(written),
            None => write!(f, "{}", self.path.display()),
        }
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FilePath({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_variable_held_is_not_shown() {
        let path = FilePath::replaced("/run/hunter2", "/run/${SECRET}");
        assert_eq!(path.to_string(), "/run/${SECRET}");
        assert_eq!(format!("{path:?}"), "FilePath(/run/${SECRET})");
        assert_eq!(path.path(), Path::new("/run/hunter2"));
        assert_eq!(FilePath::from("/run/a").to_string(), "/run/a");
        assert!(!FilePath::unknown("${SECRET}").is_known());
    }
}
