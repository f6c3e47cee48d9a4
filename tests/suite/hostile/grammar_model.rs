//! A reader of HTTP/1.1 as RFC 9112 has it, with no more freedom than the program takes: which
//! requests there are in the bytes of a caller, and which answers in those of a server. It shares no
//! code with the program, and knows nothing of its routes.

use std::fmt;

/// How far a message goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Not to be read; nothing behind it is anything.
    Broken,
    /// Its content is whole, but its trailers are broken.
    BrokenTrailers,
    /// There is more to come.
    Partial,
    /// All there, as far as the connection lasts.
    Whole,
}

/// Lines and what follows them.
#[derive(Clone)]
pub(super) struct Message {
    /// The words of the first line, as far as there are three.
    pub(super) first: [Vec<u8>; 3],
    /// Names in lower case.
    pub(super) fields: Vec<(String, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) end: End,
    /// Where it ends, if it is whole.
    pub(super) length: usize,
    /// Whether the end of the connection is its end.
    pub(super) until_close: bool,
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = String::from_utf8_lossy;
        let (first, body) = (self.first.join(&b' '), text(&self.body));
        write!(f, "{:?} with {body:?}, {:?}", text(&first), self.end)
    }
}

impl Message {
    pub(super) fn values(&self, name: &str) -> Vec<&[u8]> {
        let named = self.fields.iter().filter(|(own, _)| own == name);
        named.map(|(_, value)| value.as_slice()).collect()
    }

    pub(super) fn method(&self) -> String {
        String::from_utf8_lossy(&self.first[0]).into_owned()
    }

    pub(super) fn target(&self) -> String {
        String::from_utf8_lossy(&self.first[1]).into_owned()
    }

    /// Of an answer.
    pub(super) fn status(&self) -> u16 {
        let text = String::from_utf8_lossy(&self.first[1]);
        text.parse().unwrap_or_default()
    }

    fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(own, _)| own == name)
    }

    /// Whether it is the last of its connection. With both framings it is (section 6.1).
    pub(super) fn closes(&self) -> bool {
        let options = self.values("connection").join(&b","[..]);
        let text = String::from_utf8_lossy(&options).to_ascii_lowercase();
        let has = |name| text.split(',').any(|option| option.trim() == name);
        let twice = self.has("transfer-encoding") && self.has("content-length");
        has("close") || twice || is_old(self) && !has("keep-alive")
    }
}

fn is_old(message: &Message) -> bool {
    message.first.iter().any(|word| word == b"HTTP/1.0")
}

/// The requests of a caller, and how the last of them ends. One whose head is broken or incomplete is
/// not among them.
pub(super) fn requests(mut bytes: &[u8]) -> (Vec<Message>, End) {
    let mut found = Vec::new();
    loop {
        // Empty lines before a request are none (section 2.2).
        while let [b'\r', b'\n', rest @ ..] | [b'\n', rest @ ..] = bytes {
            bytes = rest;
        }
        if bytes.is_empty() {
            return (found, End::Whole);
        }
        let mut request = match head(bytes, false) {
            Ok(request) => request,
            Err(end) => return (found, end),
        };
        let [method, target, version] = &request.first;
        let is_request = !method.is_empty()
            && method.iter().all(|&byte| is_token(byte))
            && !target.is_empty()
            && target.iter().all(|&byte| byte > b' ' && byte != 0x7f)
            && (version == b"HTTP/1.1" || version == b"HTTP/1.0");
        if !is_request {
            return (found, End::Broken);
        }
        request.read_content(bytes, Some(0));
        bytes = &bytes[request.length..];
        let (end, last) = (request.end, request.closes());
        found.push(request);
        if end != End::Whole || last {
            return (found, end);
        }
    }
}

/// The final answer at the beginning of these bytes, to a request with this method.
pub(super) fn answer(bytes: &[u8], method: &str) -> Result<Message, End> {
    let mut interim = 0;
    loop {
        let mut answer = head(&bytes[interim..], true)?;
        let status = answer.status();
        let [version, digits, reason] = &answer.first;
        let is_answer = digits.len() == 3
            && (100..1000).contains(&status)
            && status != 101
            && reason.iter().all(|&byte| is_text(byte))
            && (version == b"HTTP/1.1" || version == b"HTTP/1.0");
        if !is_answer {
            return Err(End::Broken);
        }
        if status < 200 {
            interim += answer.length;
            continue;
        }
        if method != "HEAD" && !matches!(status, 204 | 304) {
            answer.read_content(&bytes[interim..], None);
        }
        answer.length += interim;
        return Ok(answer);
    }
}

impl Message {
    /// Reads the content behind a head, by the framing in the head or else by this length (section 6.3).
    fn read_content(&mut self, bytes: &[u8], unframed: Option<usize>) {
        let rest = &bytes[self.length..];
        // What another hop may read as framing leaves the framing open.
        let sounds = |(name, _): &(String, Vec<u8>)| {
            let plain = name.replace('_', "-");
            plain != *name && (plain == "content-length" || plain == "transfer-encoding")
        };
        let (codings, lengths) = (
            self.values("transfer-encoding"),
            self.values("content-length"),
        );
        let is_request = unframed.is_some();
        if is_request && self.fields.iter().any(sounds) {
            self.end = End::Broken;
        } else if let [coding, more @ ..] = &codings[..] {
            let plain = more.is_empty() && coding.eq_ignore_ascii_case(b"chunked") && !is_old(self);
            if plain {
                self.read_chunks(rest);
            } else {
                self.end = End::Broken;
            }
        } else if let [length, more @ ..] = &lengths[..] {
            // Whoever spells it, the same number is the same length.
            let number = |text: &&[u8]| {
                let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
                let text = String::from_utf8_lossy(text);
                text.parse::<usize>().ok().filter(|_| digits)
            };
            match number(length) {
                Some(length) if more.iter().all(|one| number(one) == Some(length)) => {
                    self.take(rest, length);
                }
                _ => self.end = End::Broken,
            }
        } else if let Some(length) = unframed {
            self.take(rest, length);
        } else {
            self.take(rest, rest.len());
            self.until_close = true;
        }
    }

    fn take(&mut self, rest: &[u8], length: usize) {
        let here = length.min(rest.len());
        self.body.extend_from_slice(&rest[..here]);
        self.length += here;
        if here < length {
            self.end = End::Partial;
        }
    }

    fn read_chunks(&mut self, rest: &[u8]) {
        let mut at = 0;
        self.end = loop {
            let (line, next) = match strict_line(&rest[at..]) {
                Ok((line, length)) => (line, at + length),
                Err(end) => break end,
            };
            let Some(size) = chunk_size(line) else {
                break End::Broken;
            };
            at = next;
            if size == 0 {
                break match trailers(&rest[at..]) {
                    Ok(length) => {
                        self.length += at + length;
                        End::Whole
                    }
                    Err(End::Broken) => End::BrokenTrailers,
                    Err(end) => end,
                };
            }
            let here = size.min(rest.len() - at);
            self.body.extend_from_slice(&rest[at..at + here]);
            at += here;
            match &rest[at..] {
                [b'\r', b'\n', ..] => at += 2,
                [] | [b'\r'] => break End::Partial,
                _ => break End::Broken,
            }
        };
    }
}

/// The length of a trailer section, with the empty line at its end.
fn trailers(rest: &[u8]) -> Result<usize, End> {
    let mut at = 0;
    loop {
        let (line, length) = strict_line(&rest[at..])?;
        at += length;
        if line.is_empty() {
            return Ok(at);
        }
        field(line).ok_or(End::Broken)?;
    }
}

fn chunk_size(line: &[u8]) -> Option<usize> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit());
    let (size, rest) = line.split_at(digits.count());
    let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t'));
    let extension = &rest[blanks.count()..];
    let well = extension.is_empty() || extension[0] == b';' && !extension.contains(&b'\r');
    let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
    well.then_some(size)
}

/// A line that ends with CR LF, without its end, and its length with it.
fn strict_line(bytes: &[u8]) -> Result<(&[u8], usize), End> {
    let end = bytes.iter().position(|&byte| byte == b'\n');
    let end = end.ok_or(End::Partial)?;
    let line = bytes[..end].strip_suffix(b"\r").ok_or(End::Broken)?;
    Ok((line, end + 1))
}

/// A head. In that of a request a line may end with a bare LF (section 2.2).
fn head(bytes: &[u8], strict: bool) -> Result<Message, End> {
    let mut lines = Vec::new();
    let mut rest = bytes;
    loop {
        let end = rest.iter().position(|&byte| byte == b'\n');
        let (line, behind) = rest.split_at(end.ok_or(End::Partial)?);
        rest = &behind[1..];
        let plain = line.strip_suffix(b"\r");
        if strict && plain.is_none() {
            return Err(End::Broken);
        }
        match plain.unwrap_or(line) {
            b"" => break,
            line => lines.push(line),
        }
    }
    let (first, lines) = lines.split_first().ok_or(End::Broken)?;
    let mut words = first.splitn(3, |&byte| byte == b' ').map(<[u8]>::to_vec);
    let mut word = || words.next().unwrap_or_default();
    let first = [word(), word(), word()];
    let fields: Option<Vec<_>> = lines.iter().map(|line| field(line)).collect();
    Ok(Message {
        first,
        fields: fields.ok_or(End::Broken)?,
        body: Vec::new(),
        end: End::Whole,
        length: bytes.len() - rest.len(),
        until_close: false,
    })
}

/// A field line (section 5), with its name in lower case.
fn field(line: &[u8]) -> Option<(String, Vec<u8>)> {
    let colon = line.iter().position(|&byte| byte == b':')?;
    let (name, value) = (&line[..colon], &line[colon + 1..]);
    let well = !name.is_empty()
        && name.iter().all(|&byte| is_token(byte))
        && value.iter().all(|&byte| is_text(byte));
    let name = String::from_utf8_lossy(name).to_ascii_lowercase();
    well.then(|| (name, value.trim_ascii().to_vec()))
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}
