//! Fingerprints of what a credential's answer depends on. Of files, contents decide, not times:
//! Kubernetes swaps symbolic links, and some file systems count in seconds.

use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};

use crate::secret::{FilePath, regular_file};

/// What a credential's files held when it was taken, and since when the first of a pair had not been
/// refused. Where stamps are equal, asking again is the same as it was.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    files: Vec<Option<[u8; 32]>>,
    accepted: Option<Instant>,
}

impl Stamp {
    /// Reads the files; one that cannot be read counts as such. Waits for file systems.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a FilePath>) -> Self {
        Self {
            files: files.into_iter().map(fingerprint).collect(),
            accepted: None,
        }
    }

    /// The stamp of that many files of which none can be read.
    pub(super) fn of_unread(files: usize) -> Self {
        Self {
            files: vec![None; files],
            accepted: None,
        }
    }

    /// That of a pair: with its second's, and since when its first has been accepted.
    pub(super) fn of_pair(mut self, second: Self, accepted: Instant) -> Self {
        self.files.extend(second.files);
        self.accepted = Some(accepted);
        self
    }
}

fn fingerprint(path: &FilePath) -> Option<[u8; 32]> {
    let contents = regular_file::read(path).ok()?;
    digest(&SHA256, &contents).as_ref().try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_follows_contents_and_absence() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let named = FilePath::from(file.clone());
        let absent = Stamp::of([&named]);
        std::fs::write(&file, "one").unwrap();
        let one = Stamp::of([&named]);
        assert_ne!(absent, one);
        std::fs::write(&file, "one").unwrap();
        assert_eq!(one, Stamp::of([&named]));
        std::fs::write(&file, "two").unwrap();
        assert_ne!(one, Stamp::of([&named]));
    }
}
