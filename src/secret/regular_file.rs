//! Regular files, read whole and within a bound. A pipe, a device or a socket is refused before it
//! is opened: reading one can wait for ever, never end, or take what somebody else was to have.

use std::fs::{File, Metadata};
use std::io::{Error, ErrorKind, Read, Result};
use std::path::Path;

use zeroize::Zeroizing;

/// More than any secret, token, key set or bundle of authorities has (Mozilla's is 220 KB); keeps a
/// wrong path from being read for ever.
pub const MOST: u64 = 4 << 20;

/// What tools of Windows put before a text in UTF-8 (RFC 3629 section 6).
const MARK: &[u8] = "\u{feff}".as_bytes();

/// What the file holds; of a text without the mark of its byte order, which no secret begins with and
/// no reader of PEM or JSON expects.
///
/// # Errors
/// What the system says, or that it is no regular file, or that it holds more than [`MOST`].
pub fn read(path: impl AsRef<Path>) -> Result<Zeroizing<Vec<u8>>> {
    let path = path.as_ref();
    regular(&std::fs::metadata(path)?)?;
    let file = File::open(path)?;
    // It may have been replaced since.
    let found = file.metadata()?;
    regular(&found)?;
    // A vector that grows would leave a copy of the secret behind. One byte more than there is, so that
    // the end is seen without growing.
    let room = usize::try_from(found.len().min(MOST) + 1).unwrap_or_default();
    let mut contents = Zeroizing::new(Vec::with_capacity(room));
    file.take(MOST + 1).read_to_end(&mut contents)?;
    if contents.len() as u64 > MOST {
        let message = "it is larger than 4 MiB; is this the right file?";
        return Err(Error::new(ErrorKind::FileTooLarge, message));
    }
    if contents.starts_with(MARK) {
        contents.drain(..MARK.len());
    }
    Ok(contents)
}

fn regular(found: &Metadata) -> Result<()> {
    if found.is_file() {
        return Ok(());
    }
    let message = if found.is_dir() {
        "it is a directory; name the file in it"
    } else {
        "it is a pipe, a device or a socket, and only a regular file is read"
    };
    Err(Error::new(ErrorKind::InvalidInput, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_up_to_the_bound_and_not_in_part_beyond_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        for (length, fits) in [(0, true), (MOST, true), (MOST + 1, false)] {
            let text = vec![b'x'; usize::try_from(length).unwrap()];
            std::fs::write(&file, &text).unwrap();
            match read(&file) {
                Ok(contents) => {
                    assert!(fits && *contents == text);
                    assert_eq!(contents.capacity(), text.len() + 1, "it grew");
                }
                Err(error) => assert!(!fits && error.to_string().contains("4 MiB")),
            }
        }
        let absent = read(folder.path().join("absent")).unwrap_err();
        assert_eq!(absent.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn a_mark_of_byte_order_is_no_part_of_a_text() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        for (written, text) in [
            ("\u{feff}secret\n", "secret\n"),
            ("\u{feff}", ""),
            ("\u{feff}\u{feff}x", "\u{feff}x"),
            ("x\u{feff}", "x\u{feff}"),
        ] {
            std::fs::write(&file, written).unwrap();
            assert_eq!(*read(&file).unwrap(), text.as_bytes(), "{written:?}");
        }
    }

    /// Opening a pipe that nobody writes to would wait for ever.
    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&pipe, &link).unwrap();
        for path in [&pipe, &link, Path::new("/dev/zero")] {
            let words = read(path).unwrap_err().to_string();
            assert!(words.contains("only a regular file is read"), "{words}");
        }
        let words = read(folder.path()).unwrap_err().to_string();
        assert!(words.contains("directory"), "{words}");
    }
}
