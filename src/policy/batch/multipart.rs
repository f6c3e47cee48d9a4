//! The multipart batch of Dataverse (OData 4.0 Protocol section 11.7, RFC 2046 section 5.1): parts
//! of `application/http`, and change sets of such parts. Delimiters stand on lines of their own that
//! end in CRLF, and their text stands nowhere else, so that whoever looks for it finds the same
//! parts.

use memchr::memmem;

use super::context::Root;
use super::message::{Lines, Reader};
use super::{BatchContext, Fault, MOST, Operation, unreadable};
use crate::policy::Refusal;

/// Reads a batch.
pub(super) fn read<'a>(
    context: &'a BatchContext<'a>,
    root: &'a Root<'a>,
    boundary: &str,
    body: &'a [u8],
) -> Result<Vec<Operation>, Refusal> {
    let mut batch = Batch {
        reader: Reader::new(context, root),
        operations: Vec::new(),
    };
    for part in parts(body, boundary).map_err(unreadable)? {
        let outer = Some(boundary);
        batch
            .part(part, outer)
            .map_err(|fault| fault.of(batch.operations.len() + 1))?;
    }
    batch.reader.references.check()?;
    Ok(batch.operations)
}

struct Batch<'a> {
    reader: Reader<'a>,
    operations: Vec<Operation>,
}

impl<'a> Batch<'a> {
    /// Reads one part: of the batch, whose boundary is `outer`, or of a change set.
    fn part(&mut self, part: &'a [u8], outer: Option<&str>) -> Result<(), Fault> {
        let (head, content) = Lines::split(part)?;
        let mut kind = None;
        let mut id = None;
        for (name, value) in head.fields()? {
            let known = match name.to_ascii_lowercase().as_str() {
                "content-type" => kind.replace(value).is_none(),
                "content-id" => id.replace(value).is_none(),
                "content-transfer-encoding" => ["binary", "8bit", "7bit"]
                    .iter()
                    .any(|plain| value.eq_ignore_ascii_case(plain)),
                "content-length" => value.parse() == Ok(content.len()),
                _ => false,
            };
            if !known {
                return Err(Fault::unreadable(
                    "its part has a header other than Content-Type, Content-Transfer-Encoding: \
                     binary, Content-ID and a right Content-Length, or one twice",
                ));
            }
        }
        let kind = kind.unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/http") {
            if let Some(id) = id {
                self.reader.references.change_set(id);
            }
            return self.change_set(kind, content, outer);
        }
        if self.operations.len() == MOST {
            return Err(Fault::unreadable("a batch has at most 5000 operations"));
        }
        self.operations.push(self.reader.message(content, id)?);
        Ok(())
    }

    /// Reads the parts of a change set.
    fn change_set(
        &mut self,
        kind: &str,
        content: &'a [u8],
        outer: Option<&str>,
    ) -> Result<(), Fault> {
        let boundary = boundary(kind).map_err(Fault::unreadable)?;
        let outer = outer.ok_or(Fault::unreadable(
            "a part of a change set is application/http",
        ))?;
        if boundary.starts_with(outer) || outer.starts_with(&boundary) {
            return Err(Fault::unreadable(
                "its boundary begins like that of the batch",
            ));
        }
        for part in parts(content, &boundary).map_err(Fault::unreadable)? {
            self.part(part, None)?;
        }
        Ok(())
    }
}

/// Takes a body apart. Nothing but line ends stands before the first delimiter and after the last.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Result<Vec<&'a [u8]>, &'static str> {
    let delimiter = format!("--{boundary}");
    let mut parts = Vec::new();
    // Where the current part begins; none before the first delimiter and after the last.
    let mut begin = None;
    let mut closed = false;
    for at in memmem::find_iter(body, delimiter.as_bytes()) {
        let before = &body[..at];
        if closed || !(at == 0 || before.ends_with(b"\r\n")) {
            return Err("its boundary stands inside of a part, or after the last delimiter");
        }
        match begin {
            // A part shares no byte with the delimiters around it.
            Some(_) if parts.len() == MOST => return Err("it has more than 5000 parts"),
            Some(begin) if begin <= at - 2 => parts.push(&body[begin..at - 2]),
            Some(_) => return Err("a part of it is empty"),
            None if before.iter().all(|byte| matches!(byte, b'\r' | b'\n')) => {}
            None => return Err("text stands before its first delimiter"),
        }
        let after = &body[at + delimiter.len()..];
        closed = after.starts_with(b"--");
        if !closed && !after.starts_with(b"\r\n") {
            return Err("a line that begins like its delimiter goes on; lines end in CRLF");
        }
        begin = Some(at + delimiter.len() + 2);
    }
    let end = begin
        .filter(|_| closed)
        .ok_or("its last delimiter, which ends in --, is missing")?;
    if !body[end..].iter().all(|byte| matches!(byte, b'\r' | b'\n')) {
        return Err("text stands after its last delimiter");
    }
    if parts.is_empty() {
        return Err("it has no part");
    }
    Ok(parts)
}

/// The boundary of a multipart media type.
pub(super) fn boundary(kind: &str) -> Result<String, &'static str> {
    let mut parameters = kind.split(';');
    let essence = parameters.next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("multipart/mixed") {
        return Err("a part of it is neither application/http nor multipart/mixed");
    }
    let mut found = None;
    // A parameter may be missing between two semicolons (RFC 9110 section 5.6.6).
    for parameter in parameters.filter(|parameter| !parameter.trim().is_empty()) {
        let (name, value) = parameter
            .split_once('=')
            .ok_or("its boundary cannot be read")?;
        let (name, value) = (name.trim(), value.trim());
        // To some readers it stands for the plain one, or goes before it (RFC 2231 sections 3 and 4).
        if name.contains('*') {
            return Err("its Content-Type has a parameter with a star; write it plainly");
        }
        let inner = value
            .strip_prefix('"')
            .and_then(|value| value.strip_suffix('"'));
        let value = inner.unwrap_or(value);
        if name.eq_ignore_ascii_case("charset") && !is_like_ascii(value) {
            return Err("its charset is not utf-8, us-ascii or iso-8859-1");
        }
        if !name.eq_ignore_ascii_case("boundary") {
            continue;
        }
        if found.replace(value).is_some() {
            return Err("it has two boundaries");
        }
    }
    let boundary = found.ok_or("its boundary is missing")?;
    // RFC 2046 section 5.1.1, without the characters that would need quotes and are never used.
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"'()+_,-./:=".contains(&b);
    if (1..=70).contains(&boundary.len()) && boundary.bytes().all(plain) {
        Ok(boundary.to_owned())
    } else {
        Err("its boundary is not of 1 to 70 letters, digits and '()+_,-./:=")
    }
}

/// Whether heads, which are ASCII, are the same in this charset: `OData` libraries read a batch in the
/// one that it names.
fn is_like_ascii(charset: &str) -> bool {
    let known = ["utf-8", "us-ascii", "iso-8859-1"];
    known.iter().any(|name| name.eq_ignore_ascii_case(charset))
}
