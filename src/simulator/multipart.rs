//! `multipart/mixed` with HTTP messages inside, as Dataverse batches are written: reading requests
//! and writing answers. Strict about CRLF, as the service is.

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::answer::Answer;

/// One part of a batch.
pub(super) enum Part {
    /// Operations that succeed or fail together.
    ChangeSet(Vec<Operation>),
    /// One operation.
    Operation(Operation),
}

/// One request inside a batch.
pub(super) struct Operation {
    pub(super) content_id: Option<String>,
    pub(super) method: Method,
    /// As it stands in the request line: root-relative, absolute, or `$1`.
    pub(super) target: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Vec<u8>,
}

/// Why a batch cannot be read.
pub(super) type Unreadable = &'static str;

/// The boundary that a content type names.
pub(super) fn boundary(content_type: &str) -> Option<String> {
    let (essence, parameters) = content_type.split_once(';')?;
    if !essence.trim().eq_ignore_ascii_case("multipart/mixed") {
        return None;
    }
    let mut named = parameters.split(';').filter_map(|one| one.split_once('='));
    let (_, value) = named.find(|(name, _)| name.trim().eq_ignore_ascii_case("boundary"))?;
    Some(value.trim().trim_matches('"').to_owned())
}

/// Reads a batch.
pub(super) fn parse(body: &[u8], boundary: &str) -> Result<Vec<Part>, Unreadable> {
    let text = std::str::from_utf8(body).map_err(|_| "the batch is not UTF-8")?;
    split(text, boundary)?.into_iter().map(part).collect()
}

/// The texts between the delimiters.
fn split<'a>(text: &'a str, boundary: &str) -> Result<Vec<&'a str>, Unreadable> {
    let delimiter = format!("--{boundary}");
    let closing = format!("--{boundary}--");
    let end = text
        .rfind(&closing)
        .ok_or("the closing delimiter is missing")?;
    let body = &text[..end];
    let mut parts = body.split(&delimiter).skip(1).peekable();
    if parts.peek().is_none() {
        return Err("there is no part");
    }
    let bare = |part: &'a str| {
        part.strip_prefix("\r\n")
            .ok_or("a delimiter does not end its line")
    };
    parts.map(bare).collect()
}

/// Fields, and what follows the empty line.
fn message(text: &str) -> Result<(HeaderMap, &str), Unreadable> {
    let (head, body) = match text.strip_prefix("\r\n") {
        Some(body) => ("", body),
        None => text
            .split_once("\r\n\r\n")
            .ok_or("a part has no empty line")?,
    };
    let mut headers = HeaderMap::new();
    for line in head.split("\r\n").filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or("a field has no colon")?;
        let name = HeaderName::try_from(name.trim()).map_err(|_| "a field name is not one")?;
        let value = HeaderValue::from_str(value.trim()).map_err(|_| "a field value is not one")?;
        headers.append(name, value);
    }
    Ok((headers, body))
}

fn part(text: &str) -> Result<Part, Unreadable> {
    let (headers, body) = message(text)?;
    let content_type = headers
        .get("content-type")
        .and_then(|value| value.to_str().ok());
    let content_type = content_type.ok_or("a part has no Content-Type")?;
    if let Some(inner) = boundary(content_type) {
        let operations = split(body, &inner)?.into_iter().map(|text| {
            let (headers, body) = message(text)?;
            operation(&headers, body)
        });
        return operations.collect::<Result<_, _>>().map(Part::ChangeSet);
    }
    operation(&headers, body).map(Part::Operation)
}

fn operation(outer: &HeaderMap, text: &str) -> Result<Operation, Unreadable> {
    let text_of = |name: &str| outer.get(name)?.to_str().ok();
    if text_of("content-type").is_none_or(|value| !value.starts_with("application/http")) {
        return Err("a part is not application/http");
    }
    // As Microsoft's OData library asks it of operations, and not of change sets.
    let encoding = text_of("content-transfer-encoding");
    if encoding.is_none_or(|value| !value.eq_ignore_ascii_case("binary")) {
        return Err(
            "A missing or invalid 'Content-Transfer-Encoding' header was found. It must be specified \
             for each batch operation, and its value must be 'binary'.",
        );
    }
    let (line, rest) = text
        .split_once("\r\n")
        .ok_or("a request line does not end")?;
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some("HTTP/1.1"), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err("a request line is not METHOD target HTTP/1.1");
    };
    let (headers, body) = message(rest)?;
    Ok(Operation {
        content_id: text_of("content-id").map(str::to_owned),
        method: method.parse().map_err(|_| "a method is not one")?,
        target: target.to_owned(),
        headers,
        body: body.trim_end_matches("\r\n").as_bytes().to_vec(),
    })
}

/// Writes one answer as a part.
pub(super) fn write(out: &mut Vec<u8>, boundary: &str, content_id: Option<&str>, answer: &Answer) {
    let mut line = |text: &str| {
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\r\n");
    };
    line(&format!("--{boundary}"));
    line("Content-Type: application/http");
    line("Content-Transfer-Encoding: binary");
    if let Some(id) = content_id {
        line(&format!("Content-ID: {id}"));
    }
    line("");
    line(&format!("HTTP/1.1 {}", answer.status));
    for (name, value) in &answer.headers {
        line(&format!(
            "{name}: {}",
            String::from_utf8_lossy(value.as_bytes())
        ));
    }
    line("OData-Version: 4.0");
    line("");
    out.extend_from_slice(answer.bytes());
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_is_read_with_and_without_quotes() {
        let expected = Some("batch_1".to_owned());
        assert_eq!(boundary("multipart/mixed; boundary=\"batch_1\""), expected);
        assert_eq!(boundary("multipart/mixed;boundary=batch_1"), expected);
        assert_eq!(boundary("application/json; boundary=batch_1"), None);
    }

    #[test]
    fn a_batch_that_is_not_exactly_formed_cannot_be_read() {
        let good = "--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nGET /x HTTP/1.1\r\nA: b\r\n\r\n\r\n--b--\r\n";
        assert!(matches!(
            parse(good.as_bytes(), "b").as_deref(),
            Ok([Part::Operation(_)])
        ));
        let bare = good.replace("\r\n", "\n");
        assert!(parse(bare.as_bytes(), "b").is_err());
        assert!(parse(good.trim_end_matches("--b--\r\n").as_bytes(), "b").is_err());
        assert!(parse(b"", "b").is_err());
        let joined = good.replace("--b\r\nContent", "--b Content");
        let other = good.replace("application/http", "text/plain");
        let old = good.replace("HTTP/1.1", "HTTP/1.0");
        let coded = good.replace("binary", "base64");
        for bad in [joined, other, old, coded] {
            assert!(parse(bad.as_bytes(), "b").is_err(), "{bad}");
        }
    }
}
