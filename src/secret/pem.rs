//! PEM (RFC 7468): the sections of a text, decoded one by one where they are wanted. The readers of
//! libraries gather each section, also of a private key, in memory that grows and is given back as it
//! is; here nothing is left of what was decoded.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

/// A section that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// What stands in it is no base64.
    #[error("a section holds something other than base64")]
    Content,
    /// It does not end.
    #[error("a section has no END line")]
    End,
    /// Its first line is not one of PEM.
    #[error("a BEGIN line does not end in five hyphens")]
    Label,
}

/// What stands between a BEGIN line and the next END line.
pub struct Section<'a> {
    /// What it is, such as `PRIVATE KEY`.
    pub label: &'a str,
    lines: &'a [u8],
}

impl Section<'_> {
    /// What it holds.
    ///
    /// # Errors
    /// When it is not base64 (RFC 4648 section 4), with white space anywhere (RFC 7468 section 3).
    pub fn decode(&self) -> Result<Zeroizing<Vec<u8>>, PemError> {
        // Room for all of it at once: memory that grows leaves copies behind.
        let mut text = Zeroizing::new(Vec::with_capacity(self.lines.len()));
        text.extend(self.lines.iter().filter(|it| !it.is_ascii_whitespace()));
        let mut content = Zeroizing::new(vec![0; base64::decoded_len_estimate(text.len())]);
        let length = BASE64_STANDARD
            .decode_slice(&text, &mut content)
            .map_err(|_| PemError::Content)?;
        content.truncate(length);
        Ok(content)
    }
}

/// The sections of a text. What stands around them is passed over.
pub fn sections(text: &[u8]) -> impl Iterator<Item = Result<Section<'_>, PemError>> {
    let mut left = text;
    std::iter::from_fn(move || {
        loop {
            let line = next_line(&mut left)?;
            if let Some(rest) = line.strip_prefix(b"-----BEGIN ") {
                return Some(section(rest, &mut left));
            }
        }
    })
}

/// The certificates of a text, of which nothing else is decoded.
///
/// # Errors
/// When a section, or one of these, cannot be read.
pub fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let is_one = |section: &Result<Section<'_>, _>| {
        section
            .as_ref()
            .map_or(true, |it| it.label == "CERTIFICATE")
    };
    sections(text)
        .filter(is_one)
        .map(|section| Ok(section?.decode()?.to_vec().into()))
        .collect()
}

/// The section whose first line goes on so.
fn section<'a>(begun: &'a [u8], left: &mut &'a [u8]) -> Result<Section<'a>, PemError> {
    let label = std::str::from_utf8(begun).map_err(|_| PemError::Label)?;
    let (label, _) = label.split_once("-----").ok_or(PemError::Label)?;
    let all = *left;
    loop {
        let before = all.len() - left.len();
        let line = next_line(left).ok_or(PemError::End)?;
        if line.starts_with(b"-----END ") {
            let lines = &all[..before];
            return Ok(Section { label, lines });
        }
    }
}

/// Takes the next line, whatever it ends with.
fn next_line<'a>(text: &mut &'a [u8]) -> Option<&'a [u8]> {
    if text.is_empty() {
        return None;
    }
    let end = memchr::memchr2(b'\n', b'\r', text);
    let (line, rest) = end.map_or((*text, &text[..0]), |end| (&text[..end], &text[end + 1..]));
    *text = rest;
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Labels and contents, up to the first fault.
    fn read(text: &str) -> Result<Vec<(String, Vec<u8>)>, PemError> {
        sections(text.as_bytes())
            .map(|section| {
                let section = section?;
                Ok((section.label.to_owned(), section.decode()?.to_vec()))
            })
            .collect()
    }

    #[test]
    fn sections_are_found_among_other_text_whatever_the_ends_of_lines() {
        let text = "note\n-----BEGIN A B-----\nAQ\tID\n BA==  \n-----END A B-----\n  -----BEGIN D-----\n-----BEGIN C-----\n-----END C-----";
        for end in ["\n", "\r\n", "\r"] {
            let expected = [("A B", vec![1, 2, 3, 4]), ("C", vec![])];
            let expected = expected.map(|(label, content)| (label.to_owned(), content));
            assert_eq!(read(&text.replace('\n', end)), Ok(expected.to_vec()));
        }
        assert_eq!(read("no section at all"), Ok(Vec::new()));
    }

    #[test]
    fn what_is_broken_is_no_section() {
        for (text, fault) in [
            ("-----BEGIN A----\nAQID\n-----END A-----", PemError::Label),
            ("-----BEGIN A-----\nAQID\n", PemError::End),
            ("-----BEGIN A-----\nAQI\n-----END A-----", PemError::Content),
            (
                "-----BEGIN A-----\nx: y\n\nAQID\n-----END A-----",
                PemError::Content,
            ),
        ] {
            assert_eq!(read(text), Err(fault), "{text}");
        }
    }
}
