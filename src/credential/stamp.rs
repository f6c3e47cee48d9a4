//! Fingerprints of what a credential's answer depends on. Of files, contents decide, not times:
//! Kubernetes swaps symbolic links, and some file systems count in seconds.

use std::time::Instant;

use aws_lc_rs::digest::{SHA256, digest};

use crate::descriptors::ran_out;
use crate::secret::{FilePath, regular_file};

/// What a credential's files held when it was taken, and since when the first of a pair had not been
/// refused. Where one does not differ from another, asking again is the same as it was.
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

    /// The same where nothing was seen of files that could not be read. Between calls, and about a call
    /// whose answer shows that they were read, this says nothing of what they hold.
    pub fn readable(mut self) -> Self {
        for seen in &mut self.files {
            if *seen == Seen::Unreadable {
                *seen = Seen::Nothing;
            }
        }
        self
    }

    /// Whether asking again may come to something else than it did earlier. A file that can be read
    /// again is another; one that cannot be read any more has nothing else to be asked with.
    pub fn differs_from(&self, earlier: &Self) -> bool {
        let differs = |(now, before): (&Seen, &Seen)| match (now, before) {
            (Seen::Holding(now), Seen::Holding(before)) => now != before,
            (Seen::Holding(_), Seen::Unreadable) => true,
            _ => false,
        };
        self.accepted != earlier.accepted
            || self.files.len() != earlier.files.len()
            || self.files.iter().zip(&earlier.files).any(differs)
    }

    /// What is known of the files after a call that came to nothing, and whether they changed
    /// meanwhile: what was sent may then be neither what was seen before it nor what is there now.
    pub fn after_failure(before: Self, after: Self, answered: bool) -> (Self, bool) {
        let (before, after) = match answered {
            true => (before.readable(), after.readable()),
            false => (before, after),
        };
        let changed = after.differs_from(&before);
        (after.or(&before), changed)
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
    fn a_stamp_follows_contents_and_what_can_be_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let named = FilePath::from(file.clone());
        let absent = Stamp::of([&named]);
        std::fs::write(&file, "one").unwrap();
        let one = Stamp::of([&named]);
        assert!(one.differs_from(&absent));
        assert!(!absent.differs_from(&one), "there is nothing to ask with");
        std::fs::write(&file, "one").unwrap();
        assert!(!Stamp::of([&named]).differs_from(&one));
        std::fs::write(&file, "two").unwrap();
        assert!(Stamp::of([&named]).differs_from(&one));
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
        assert!(!taken(now).differs_from(&before));
        assert!(taken(now + std::time::Duration::from_secs(1)).differs_from(&before));
        std::fs::write(folder.path().join("second"), "new").unwrap();
        assert!(taken(now).differs_from(&before));
    }

    #[test]
    fn a_look_that_saw_nothing_tells_of_no_change_and_hides_none() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let named = FilePath::from(file.clone());
        std::fs::write(&file, "one").unwrap();
        let one = Stamp::of([&named]);
        let unreadable = Stamp::of([&FilePath::unknown("absent")]).readable();
        for nothing in [Stamp::of_unread(1), unreadable] {
            assert!(!one.differs_from(&nothing));
            assert!(!nothing.differs_from(&one));
            let known = nothing.or(&one);
            std::fs::write(&file, "one").unwrap();
            assert!(!Stamp::of([&named]).differs_from(&known));
            std::fs::write(&file, "two").unwrap();
            assert!(Stamp::of([&named]).differs_from(&known));
        }
        assert!(
            one.differs_from(&Stamp::default()),
            "of another number of files"
        );
    }
}
