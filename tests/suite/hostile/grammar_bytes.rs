//! Messages by chance, and what somebody may do to their bytes. The same number makes the same bytes.

/// Chance that can be had again (SplitMix64).
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn of(number: usize) -> Self {
        Self(number as u64)
    }

    /// A number below `end`.
    pub(super) fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        mixed as usize % end
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// A request to the route `/graph`, with this tag in its target.
pub(super) fn request(dice: &mut Dice, tag: &str) -> Vec<u8> {
    let method = dice.pick(&["GET", "POST", "PUT", "DELETE", "HEAD"]);
    let hidden =
        format!("GET /graph/sim/bytes/9?c={tag}.hidden HTTP/1.1\r\nHost: localhost\r\n\r\n");
    let content = content(dice, &hidden);
    let (target, framed) = match dice.below(5) {
        0 => ("bytes/3", "\r\n".to_owned()),
        1 => ("mirror", framed(dice, &content)),
        _ => ("echo", framed(dice, &content)),
    };
    let field = dice.pick(&["", "", "X-Word: a b\r\n", "Connection: keep-alive\r\n"]);
    format!("{method} /graph/sim/{target}?c={tag}.0 HTTP/1.1\r\nHost: localhost\r\n{field}{framed}")
        .into_bytes()
}

/// An answer with content that carries this tag.
pub(super) fn answer(dice: &mut Dice, tag: &str) -> Vec<u8> {
    let hidden = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{tag}!",
        tag.len() + 1
    );
    let content = content(dice, &hidden);
    let status = dice.pick(&[
        "200 OK",
        "200 OK",
        "201 ",
        "204 No Content",
        "304 Not Modified",
        "404 Not Found",
    ]);
    let interim = dice.pick(&["", "", "", "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n"]);
    let field = dice.pick(&[
        "",
        "X-Word: a b\r\n",
        "Connection: keep-alive\r\n",
        "Connection: close\r\n",
    ]);
    let framed = match dice.below(6) {
        0 => format!("\r\n{content}"),
        _ => framed(dice, &content),
    };
    // What a status without content promises must not come.
    let framed =
        match status.starts_with('2') && !status.starts_with("204") || status.starts_with("404") {
            true => framed,
            false => "\r\n".to_owned(),
        };
    format!("{interim}HTTP/1.1 {status}\r\n{field}{framed}").into_bytes()
}

fn content(dice: &mut Dice, hidden: &str) -> String {
    let start = dice.pick(&["", "hello", "\r\n", "0\r\n\r\n", "5\r\nhello\r\n0\r\n\r\n"]);
    let end = dice.pick(&["", "", hidden]);
    format!("{start}{end}")
}

/// The rest of a head and a content, by a length or in chunks.
fn framed(dice: &mut Dice, content: &str) -> String {
    if dice.below(3) == 0 {
        return format!("Content-Length: {}\r\n\r\n{content}", content.len());
    }
    let mut text = "Transfer-Encoding: chunked\r\n\r\n".to_owned();
    let mut rest = content;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(1 + dice.below(rest.len()));
        rest = behind;
        let zeros = dice.pick(&["", "", "00"]);
        let extension = dice.pick(&["", "", ";a=b", ";a=\"b c\"", " ;a"]);
        text.push_str(&format!(
            "{zeros}{:x}{extension}\r\n{chunk}\r\n",
            chunk.len()
        ));
    }
    let last = dice.pick(&["0\r\n", "0\r\n", "00;a\r\n"]);
    let trailers = dice.pick(&["", "X-Sum: 1\r\n", "", "X-Sum: 1\r\nX-Rows: 2\r\n"]);
    text + last + trailers + "\r\n"
}

const LINE_ENDS: &[&str] = &[
    "", "\n", "\n", "\n", "\n", "\r", "\r\r\n", "\n\r\n", "\r\n\n", "\r\n\r\n", " \r\n", "\t\r\n",
    "\r\n ", "\0\r\n",
];

const SCRAPS: &[&str] = &[
    "\r", "\n", "\r\n", "\0", " ", "\t", "\u{b}", "\u{7f}", "é", ":", ";", ",", "\"", "\\", "/",
    "#", "?", "..", "%2e", "_", "-", "+", "0", "5", "f", "0x", "chunked", "gzip, ", "identity",
    "HTTP/1.1", "HTTP/1.0",
];

const LINES: &[&str] = &[
    "Content-Length: 5\r\n",
    "Content-Length: 0\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer_Encoding: chunked\r\n",
    "Transfer-Encoding : chunked\r\n",
    "Host: localhost\r\n",
    "Connection: close\r\n",
    "X: y\r\n",
    "no colon\r\n",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "0\r\n",
];

/// Changes the bytes in up to three places; whether in any.
pub(super) fn mutate(dice: &mut Dice, bytes: &mut Vec<u8>) -> bool {
    let places = [0, 1, 1, 1, 2, 2, 3, 3][dice.below(8)];
    for _ in 0..places {
        let ends: Vec<usize> = bytes
            .windows(2)
            .enumerate()
            .filter_map(|(at, pair)| (pair == b"\r\n").then_some(at))
            .collect();
        // The last ones are where a message ends.
        let first = [0, ends.len().saturating_sub(3)][dice.below(2)];
        let end = (!ends.is_empty()).then(|| ends[first + dice.below(ends.len() - first)]);
        let at = dice.below(bytes.len() + 1);
        match (dice.below(10), end) {
            (0..4, Some(end)) => splice(bytes, end, 2, dice.pick(LINE_ENDS)),
            (4, Some(end)) => splice(bytes, end + 2, 0, dice.pick(LINES)),
            (5 | 6, _) => splice(bytes, at, 0, dice.pick(SCRAPS)),
            (7, _) => splice(bytes, at, 1 + dice.below(3), ""),
            (8, _) => splice(bytes, at, 1, dice.pick(SCRAPS)),
            _ => {
                let other = dice.below(256) as u8;
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = other;
                }
            }
        }
    }
    places > 0
}

fn splice(bytes: &mut Vec<u8>, at: usize, taken: usize, put: &str) {
    let end = (at + taken).min(bytes.len());
    bytes.splice(at..end, put.bytes());
}

/// The bytes in a few pieces, none of them cut behind `last`.
pub(super) fn pieces<'a>(dice: &mut Dice, bytes: &'a [u8], last: usize) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = (0..dice.below(4))
        .map(|_| dice.below(last.max(1)))
        .collect();
    cuts.extend([0, bytes.len()]);
    cuts.sort_unstable();
    let pairs = cuts.windows(2).filter(|pair| pair[0] < pair[1]);
    pairs.map(|pair| &bytes[pair[0]..pair[1]]).collect()
}
