//! Any bytes as the answer to CONNECT: what is taken for a status is one, at the end of a final head
//! and not a byte later, and what a plain reading by lines finds is what is found. Interim answers in
//! front of it change nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenferry::upstream::connect_answer::{ConnectAnswer, ConnectAnswerError};

/// More is not read.
const LARGEST: usize = 8192;

/// The status, and how many bytes were read for it; `None` where the text ends before.
type Outcome = Result<Option<(u16, usize)>, ConnectAnswerError>;

fn read(text: &[u8]) -> Outcome {
    let mut answer = ConnectAnswer::default();
    for (index, byte) in text.iter().enumerate() {
        if let Some(status) = answer.push(*byte)? {
            return Ok(Some((status, index + 1)));
        }
    }
    Ok(None)
}

/// The status of a line that begins an answer (RFC 9112 section 4).
fn status(line: &str) -> Option<u16> {
    let rest = line.strip_prefix("HTTP/1.")?;
    let rest = rest.strip_prefix(['0', '1'])?.strip_prefix(' ')?;
    let (code, reason) = rest.split_at_checked(3)?;
    let fine = code.bytes().all(|byte| byte.is_ascii_digit());
    let apart = reason.is_empty() || reason.starts_with(' ');
    (fine && apart).then(|| code.parse().expect("three digits"))
}

/// Whether it is a field that everybody would write.
fn is_field(line: &str) -> bool {
    let name = line.split_once(':').map_or("", |(name, _)| name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    !name.is_empty() && name.bytes().all(plain)
}

/// What a plain reading finds: heads of printable characters, and the length of all.
fn plain(text: &[u8]) -> Option<(u16, usize)> {
    let mut rest = text;
    loop {
        let mut begin = None;
        for fields in 0.. {
            let (line, behind) = rest.split_at(memchr::memchr(b'\n', rest)? + 1);
            rest = behind;
            let line = line.strip_suffix(b"\n").expect("it was found");
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let line = std::str::from_utf8(line).ok()?;
            if !line.bytes().all(|byte| (b' '..=b'~').contains(&byte)) || fields > 64 {
                return None;
            }
            match begin {
                None => begin = Some(status(line)?),
                Some(_) if line.is_empty() => break,
                Some(_) if is_field(line) => {}
                Some(_) => return None,
            }
        }
        let status = begin.filter(|code| *code == 101 || *code >= 200);
        if let Some(status) = status {
            return Some((status, text.len() - rest.len()));
        }
    }
}

fuzz_target!(|text: &[u8]| {
    let found = read(text);
    let length = match found {
        Ok(Some((status, length))) => {
            assert!(status == 101 || status >= 200);
            let head = &text[..length];
            assert!(head.ends_with(b"\n\n") || head.ends_with(b"\n\r\n"));
            let digits = status.to_string();
            assert!(memchr::memmem::find(head, digits.as_bytes()).is_some());
            assert_eq!(read(head), found);
            length
        }
        _ => 0,
    };
    assert!(length <= LARGEST);
    match plain(text) {
        Some((_, length)) if length > LARGEST => {
            assert_eq!(found, Err(ConnectAnswerError::Endless))
        }
        Some(answer) => assert_eq!(found, Ok(Some(answer))),
        None => {}
    }
    let interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n";
    for count in [1, LARGEST / interim.len()] {
        let front = interim.repeat(count);
        let room = LARGEST - front.len();
        let behind = read(&[&front, text].concat());
        match found {
            Ok(Some((status, length))) if length <= room => {
                assert_eq!(behind, Ok(Some((status, length + front.len()))));
            }
            Ok(None) if text.len() <= room => assert_eq!(behind, Ok(None)),
            Ok(_) => assert_eq!(behind, Err(ConnectAnswerError::Endless)),
            Err(_) => assert!(behind.is_err()),
        }
    }
});
