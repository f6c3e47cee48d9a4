//! A lenient reader of multipart batches, for targets that compare what is read with it.

use tokenferry::policy::batch::Operation;

/// An operation as it stands in its batch.
pub struct Asked {
    pub method: String,
    pub target: String,
    /// The `Host` of its own, in lower case.
    pub host: Option<String>,
}

/// The operations of a batch with the boundary `b`, wherever a line may end and whatever else stands
/// on the line of a delimiter.
pub fn lenient(body: &[u8]) -> Vec<Asked> {
    let text = String::from_utf8_lossy(body);
    let lines = text
        .split(['\r', '\n'])
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let mut boundaries = vec!["b".to_owned()];
    let mut found: Vec<Asked> = Vec::new();
    let mut is_head = false;
    for line in lines {
        let delimiter = line.strip_prefix("--");
        let begins = |own: &String| delimiter.is_some_and(|it| it.starts_with(own.as_str()));
        if boundaries.iter().any(begins) {
            is_head = true;
            continue;
        }
        let lower = line.to_ascii_lowercase();
        if !is_head {
            if let Some(last) = found.last_mut() {
                last.hear(&lower);
            }
        } else if lower.starts_with("content-type") {
            if let Some(boundary) = boundary(line, &lower) {
                boundaries.push(boundary);
                is_head = false;
            }
        } else if let Some(asked) = Asked::of(line) {
            // Of a part of HTTP the head may go on behind its type.
            found.push(asked);
            is_head = false;
        }
    }
    found
}

impl Asked {
    fn of(line: &str) -> Option<Self> {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        let [method, target, "HTTP/1.1"] = words[..] else {
            return None;
        };
        Some(Self {
            method: method.to_owned(),
            target: target.to_owned(),
            host: None,
        })
    }

    /// Takes the host from a line behind that of the request.
    fn hear(&mut self, lower: &str) {
        if let (None, Some(host)) = (&self.host, lower.strip_prefix("host:")) {
            self.host = Some(host.trim().to_owned());
        }
    }
}

/// The host of an operation that was read, as the lenient reader writes it.
pub fn host(operation: &Operation) -> Option<String> {
    let host = operation.headers.get("host")?;
    Some(String::from_utf8_lossy(host.as_bytes()).to_ascii_lowercase())
}

/// The boundary that a line with a type of content names.
fn boundary(line: &str, lower: &str) -> Option<String> {
    let (_, kind) = lower.split_once(':')?;
    let at = lower.find("boundary=")?;
    let value = line[at + 9..].split(';').next().unwrap_or_default();
    let is_multipart = kind.trim().starts_with("multipart/");
    is_multipart.then(|| value.trim().trim_matches('"').to_owned())
}
