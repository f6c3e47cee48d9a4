//! The key file of Azure Arc: its agent answers the first request with the name of a file that only
//! a privileged user can read, and whoever sends back its contents is let in. An impostor on the
//! agent's port must not make this process read and send any other file.

use std::path::{Path, PathBuf};

use super::error::{CredentialError, Rejection};
use crate::config::printable;
use crate::secret::Secret;
use crate::secret::file_reader::FileReader;
use crate::secret::regular_file;

/// Keys are about a hundred bytes; Microsoft's libraries refuse more than this.
const MOST: usize = 4096;

/// Why a key was not read.
#[derive(Debug, thiserror::Error)]
pub enum ArcKeyError {
    /// The agent named a file that is not one of its own.
    #[error(
        "the Azure Arc agent named a key file outside {}, without the ending .key or above 4096 bytes; it was not read",
        keys.display()
    )]
    Foreign {
        /// Where keys must be.
        keys: PathBuf,
    },
    /// It cannot be read.
    #[error(
        "cannot read the Azure Arc agent's key file {}; add this user to the group himds",
        file.display()
    )]
    Unreadable {
        /// The key file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The path in `Basic realm=PATH`, whatever other challenges of the line come before or after (RFC
/// 9110 section 11.6.1). None that a terminal would act on: messages show it.
pub(super) fn named_by(line: &str) -> Option<PathBuf> {
    let (mut rest, mut basic) = (line, false);
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return None;
        }
        let (word, after) = split(rest, &[' ', '\t', ',', '=', '"']);
        let after = after.trim_start();
        let Some(value) = after.strip_prefix('=') else {
            // A word without a value begins the next challenge, or is a stray quote to step over.
            basic = word.eq_ignore_ascii_case("basic");
            rest = after.strip_prefix('"').unwrap_or(after);
            continue;
        };
        let value = value.trim_start();
        // A path of Windows is full of backslashes, and none of them escapes anything.
        let (path, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted.split_once('"')?,
            None => split(value, &[' ', '\t', ',']),
        };
        if basic && word.eq_ignore_ascii_case("realm") && !path.is_empty() {
            return path.chars().all(|c| printable(c) == c).then(|| path.into());
        }
        rest = after;
    }
}

fn split<'a>(text: &'a str, ends: &[char]) -> (&'a str, &'a str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// Reads a key aside.
pub(super) async fn read_aside(
    file: PathBuf,
    keys: PathBuf,
    reader: &FileReader,
) -> Result<Secret, CredentialError> {
    let name = file.display().to_string();
    match reader.run(move || read(&file, &keys)).await {
        Ok(key) => Ok(key.map_err(Rejection::from)?),
        Err(why) => Err(CredentialError::unread(&name, why)),
    }
}

/// Reads a key that lies directly in `keys`, ends in `.key` and is small; nothing else, whatever
/// symbolic links say.
///
/// # Errors
/// When it is not such a file, or cannot be read.
fn read(file: &Path, keys: &Path) -> Result<Secret, ArcKeyError> {
    let refused = || ArcKeyError::Foreign { keys: keys.into() };
    let unreadable = |source| ArcKeyError::Unreadable {
        file: file.into(),
        source,
    };
    let is_key = |path: &Path| path.extension().is_some_and(|ending| ending == "key");
    if file.parent() != Some(keys) || !is_key(file) {
        return Err(refused());
    }
    let real = file.canonicalize().map_err(unreadable)?;
    let real_keys = keys.canonicalize().map_err(unreadable)?;
    if real.parent() != Some(&real_keys) || !is_key(&real) || !real.is_file() {
        return Err(refused());
    }
    let contents = regular_file::read(&real).map_err(unreadable)?;
    if contents.len() > MOST {
        return Err(refused());
    }
    Ok(Secret::new(contents.trim_ascii().to_vec()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_realm_names_the_file_quoted_or_not() {
        let file = Some(PathBuf::from("/var/opt/azcmagent/tokens/a.key"));
        for text in [
            "Basic realm=/var/opt/azcmagent/tokens/a.key",
            "basic Realm=\"/var/opt/azcmagent/tokens/a.key\"",
            "Negotiate, Basic realm=/var/opt/azcmagent/tokens/a.key, Bearer realm=/b.key",
            "Negotiate dG9r==, Bearer realm=\"a, b\",Basic x=\"\" , realm = /var/opt/azcmagent/tokens/a.key",
        ] {
            assert_eq!(named_by(text), file, "{text}");
        }
        for text in [
            "",
            "Basic",
            "Basic realm=",
            "Bearer realm=/a.key",
            "Basic a.key",
            "Basic file=/a.key",
            "Basic realm=\"/a.key",
            "Basic, Bearer realm=/a.key",
            "\"\"=\"\",,\"",
        ] {
            assert_eq!(named_by(text), None, "{text}");
        }
        let windows = r"C:\ProgramData\AzureConnectedMachineAgent\Tokens\a.key";
        let named = named_by(&format!("Basic realm=\"{windows}\""));
        assert_eq!(named, Some(PathBuf::from(windows)));
    }

    #[test]
    fn only_a_small_key_in_the_agents_folder_is_read() {
        let root = tempfile::tempdir().unwrap();
        let keys = root.path().join("tokens");
        std::fs::create_dir_all(keys.join("below")).unwrap();
        let write = |path: PathBuf, contents: &str| {
            std::fs::write(&path, contents).unwrap();
            path
        };
        let good = write(keys.join("good.key"), "key");
        assert_eq!(read(&good, &keys).unwrap().expose(), b"key");
        let largest = write(keys.join("largest.key"), &"x".repeat(4096));
        assert_eq!(read(&largest, &keys).unwrap().expose().len(), 4096);
        let outside = write(root.path().join("outside.key"), "secret");
        std::fs::create_dir(keys.join("folder.key")).unwrap();
        for file in [
            keys.join("folder.key"),
            outside,
            write(keys.join("wrong.txt"), "secret"),
            write(keys.join("below").join("deep.key"), "secret"),
            write(keys.join("large.key"), &"x".repeat(4097)),
            keys.join("..").join("outside.key"),
            PathBuf::from("good.key"),
        ] {
            let refused = matches!(read(&file, &keys), Err(ArcKeyError::Foreign { .. }));
            assert!(refused, "{}", file.display());
        }
        let absent = keys.join("absent.key");
        let Err(ArcKeyError::Unreadable { source, .. }) = read(&absent, &keys) else {
            panic!("it was read");
        };
        assert_eq!(source.kind(), std::io::ErrorKind::NotFound);
    }

    #[cfg(unix)]
    #[test]
    fn a_link_out_of_the_agents_folder_is_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let keys = root.path().join("tokens");
        std::fs::create_dir(&keys).unwrap();
        let outside = root.path().join("outside.key");
        std::fs::write(&outside, "secret").unwrap();
        let link = keys.join("link.key");
        std::os::unix::fs::symlink(&outside, &link).unwrap();
        let error = read(&link, &keys).unwrap_err();
        assert!(matches!(error, ArcKeyError::Foreign { .. }), "{error}");
        // Nor is one to what is no key.
        std::fs::write(keys.join("state"), "secret").unwrap();
        let link = keys.join("state.key");
        std::os::unix::fs::symlink(keys.join("state"), &link).unwrap();
        let error = read(&link, &keys).unwrap_err();
        assert!(matches!(error, ArcKeyError::Foreign { .. }), "{error}");
    }

    proptest! {
        #[test]
        fn the_file_is_found_behind_whatever_other_challenges(
            line in "[ -~]{0,60}",
            before in "([a-z]{1,8}X( [a-z]{1,5} ?= ?(\"[^\"]{0,9}\"|[a-z:/]{1,9}))?, ){0,3}",
        ) {
            let _ = named_by(&line);
            let named = named_by(&format!("{before}Basic realm=/a/b.key{line}"));
            let whole = format!("/a/b.key{}", split(&line, &[' ', '\t', ',']).0);
            prop_assert_eq!(named, Some(PathBuf::from(whole)));
        }
    }
}
