//! Which content coding to ask the upstream for when its answer may be rewritten: one that the
//! caller takes, so that what is not rewritten passes as it comes, and that can be undone here.
//! gzip first, which every upstream offers. Never br, and it is not undone where it comes unasked: its
//! window takes up to 16 MiB for each answer that is on its way, where gzip takes 32 KiB.
//!
//! Rewritten answers go to the caller as they are, not encoded again: the way to the caller is a
//! loopback or a cluster network. Measured on one core (`benches/link_scan.rs`, Xeon with AVX-512,
//! 160 KB of JSON rows): undoing gzip and scanning runs at 1.4 GB/s of text, doing it again at level
//! 1 at 0.8 GB/s. A page of 150 KB would cost 190 us more, several times what sending it costs.

use http::header::HeaderValue;

use super::decode::Coding;

static GZIP: HeaderValue = HeaderValue::from_static("gzip");
static DEFLATE: HeaderValue = HeaderValue::from_static("deflate");
static IDENTITY: HeaderValue = HeaderValue::from_static("identity");

/// The `Accept-Encoding` of the upstream request, from the caller's lines; `None` when there are none,
/// which servers answer with an identity body.
pub fn accept_encoding_for_upstream<'a>(
    lines: impl Iterator<Item = &'a HeaderValue>,
) -> Option<&'static HeaderValue> {
    let mut best = None;
    for line in lines {
        best = best.or(Some(&IDENTITY));
        match line.as_bytes() {
            // As most libraries write it; it need not be taken apart.
            b"gzip" | [b'g', b'z', b'i', b'p', b',', ..] => return Some(&GZIP),
            b"identity" => continue,
            _ => {}
        }
        for element in line.as_bytes().split(|byte| *byte == b',') {
            match accepted(element) {
                // Whatever follows, nothing is better.
                Some(Coding::Gzip) => return Some(&GZIP),
                Some(Coding::Deflate) => best = Some(&DEFLATE),
                Some(Coding::Identity) | None => {}
            }
        }
    }
    best
}

/// The coding of one element, unless its weight is zero (RFC 9110 section 12.4.2). `*` is not read
/// as gzip: a caller that means gzip says so.
fn accepted(element: &[u8]) -> Option<Coding> {
    let mut parts = element.split(|byte| *byte == b';');
    let name = parts.next().unwrap_or_default();
    Coding::parse(name.trim_ascii()).filter(|_| !parts.any(is_zero))
}

fn is_zero(parameter: &[u8]) -> bool {
    let [b'q' | b'Q', rest @ ..] = parameter.trim_ascii() else {
        return false;
    };
    let [b'=', weight @ ..] = rest.trim_ascii_start() else {
        return false;
    };
    let mut weight = weight.trim_ascii().iter();
    weight.all(|byte| matches!(byte, b'0' | b'.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(lines: &[&str]) -> Option<String> {
        let lines: Vec<_> = lines.iter().map(|line| line.parse().unwrap()).collect();
        let value = accept_encoding_for_upstream(lines.iter())?;
        Some(value.to_str().unwrap().to_owned())
    }

    #[test]
    fn the_upstream_is_asked_for_what_the_caller_takes_and_this_proxy_undoes() {
        assert_eq!(asked(&["gzip, deflate, br, zstd"]).as_deref(), Some("gzip"));
        assert_eq!(asked(&["br, deflate;q=0.5"]).as_deref(), Some("deflate"));
        assert_eq!(asked(&["deflate"]).as_deref(), Some("deflate"));
        assert_eq!(asked(&["zstd", "GZIP;q=1.0"]).as_deref(), Some("gzip"));
        let first = asked(&["deflate, gzip ; q=0.01, deflate"]);
        assert_eq!(first.as_deref(), Some("gzip"));
    }

    #[test]
    fn what_a_caller_refuses_is_never_asked_for() {
        assert_eq!(
            asked(&["gzip;q=0, br; q = 0.000, deflate;q=0."]).as_deref(),
            Some("identity")
        );
        assert_eq!(asked(&["zstd, br"]).as_deref(), Some("identity"));
        assert_eq!(asked(&["*"]).as_deref(), Some("identity"));
        assert_eq!(asked(&[""]).as_deref(), Some("identity"));
    }

    #[test]
    fn a_caller_that_says_nothing_gets_what_upstreams_send_by_themselves() {
        assert_eq!(asked(&[]), None);
    }
}
