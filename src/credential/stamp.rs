//! Fingerprints of what a credential's answer depends on. Of files, contents decide, not times:
//! Kubernetes swaps symbolic links, and some file systems count in seconds.

use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};

use crate::descriptors::ran_out;
use crate::secret::{FilePath, regular_file};

/// What a credential's files held when it was taken, and since when the first of a pair had not been
/// refused. Where stamps are equal, asking again is the same as it was.
#[derive(Clone, Debug, Default)]
pub struct Stamp {
    files: Vec<Seen>,
    accepted: Option<Instant>,
}

/// What was seen of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    Holding([u8; 32]),
    Unreadable,
    /// Nothing, for want of time or of a descriptor, which says nothing of the file.
    Nothing,
}

impl Stamp {
    /// Reads the files; one that cannot be read counts as such. Waits for file systems.
    pub fn of<'a>(files: impl IntoIterator<Item = &'a FilePath>) -> Self {
        Self {
            files: files.into_iter().map(look).collect(),
            accepted: None,
        }
    }

    /// The stamp of that many files of which none was read.
    pub fn of_unread(files: usize) -> Self {
        Self {
            files: vec![Seen::Nothing; files],
            accepted: None,
        }
    }

    /// That of a pair: with its second's, and since when its first has been accepted.
    pub(super) fn of_pair(mut self, second: Self, accepted: Instant) -> Self {
        self.files.extend(second.files);
        self.accepted = Some(accepted);
        self
    }

    /// The same with what an earlier one saw of files of which this one has seen nothing.
    pub fn or(mut self, earlier: &Self) -> Self {
        if self.files.len() == earlier.files.len() {
            for (seen, before) in self.files.iter_mut().zip(&earlier.files) {
                if *seen == Seen::Nothing {
                    *seen = *before;
                }
            }
        }
        self
    }
}

/// Where one has seen nothing of a file, it does not tell it from another.
impl PartialEq for Stamp {
    fn eq(&self, other: &Self) -> bool {
        let same = |(one, other): (&Seen, &Seen)| {
            one == other || *one == Seen::Nothing || *other == Seen::Nothing
        };
        self.accepted == other.accepted
            && self.files.len() == other.files.len()
            && self.files.iter().zip(&other.files).all(same)
    }
}

fn look(path: &FilePath) -> Seen {
    match regular_file::read(path) {
        Ok(contents) => digest(&SHA256, &contents)
            .as_ref()
            .try_into()
            .map_or(Seen::Unreadable, Seen::Holding),
        Err(error) if ran_out(&error) => Seen::Nothing,
        Err(_) => Seen::Unreadable,
    }
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

    #[test]
    fn a_pairs_stamp_follows_the_seconds_files_and_the_refusals_of_the_first() {
        let folder = tempfile::tempdir().unwrap();
        let [first, second] = ["first", "second"].map(|name| {
            let file = folder.path().join(name);
            std::fs::write(&file, name).unwrap();
            FilePath::from(file)
        });
        let now = Instant::now();
        let taken = |at| Stamp::of([&first]).of_pair(Stamp::of([&second]), at);
        let before = taken(now);
        assert_eq!(before, taken(now));
        assert_ne!(before, taken(now + std::time::Duration::from_secs(1)));
        std::fs::write(folder.path().join("second"), "new").unwrap();
        assert_ne!(before, taken(now));
    }

    #[test]
    fn a_look_that_saw_nothing_tells_of_no_change_and_hides_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let named = FilePath::from(file.clone());
        std::fs::write(&file, "one").unwrap();
        let one = Stamp::of([&named]);
        let unread = Stamp::of_unread(1);
        assert_eq!(one, unread);
        assert_eq!(unread, one);
        let known = unread.or(&one);
        assert_eq!(known, one);
        std::fs::write(&file, "two").unwrap();
        assert_ne!(known, Stamp::of([&named]));
        assert_ne!(Stamp::default(), one, "of another number of files");
    }
}
