//! For tests: whether a key or token is left in the memory of this process after it was used and
//! dropped.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use base64::Engine;
use base64::engine::GeneralPurpose;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE};
use zeroize::Zeroizing;

/// As long as an RSA key of 2048 bits.
const LENGTH: usize = 1200;
/// What is looked for of both, which is within one line of the text and not at its beginning, where
/// an allocator writes.
const PART: std::ops::Range<usize> = 600..630;

/// Memory is looked through in pieces of so many bytes.
const PIECE: usize = 1 << 20;

/// What is looked for, as the complement of each byte, so that it does not find itself.
pub(crate) struct Trace {
    decoded: Vec<u8>,
    encoded: Vec<u8>,
    // Made before there is something to be found: to look takes no memory that was given back.
    maps: String,
    piece: Vec<u8>,
}

/// A PEM section of random bytes, and its trace.
pub(crate) fn section(label: &str) -> (Zeroizing<Vec<u8>>, Trace) {
    let (encoded, trace) = random(&BASE64_STANDARD);
    let mut text = Zeroizing::new(Vec::with_capacity(2 * encoded.len()));
    text.extend_from_slice(format!("-----BEGIN {label}-----\n").as_bytes());
    for line in encoded.chunks(64) {
        text.extend_from_slice(line);
        text.push(b'\n');
    }
    text.extend_from_slice(format!("-----END {label}-----\n").as_bytes());
    (text, trace)
}

/// A token of random characters, none of which a form or a field encodes, and its trace.
pub(crate) fn token() -> (Zeroizing<Vec<u8>>, Trace) {
    random(&BASE64_URL_SAFE)
}

fn random(alphabet: &GeneralPurpose) -> (Zeroizing<Vec<u8>>, Trace) {
    let mut content = Zeroizing::new(vec![0; LENGTH]);
    aws_lc_rs::rand::fill(&mut content).expect("there is randomness");
    let mut encoded = Zeroizing::new(vec![0; LENGTH * 4 / 3]);
    alphabet
        .encode_slice(&*content, &mut encoded)
        .expect("it fits");
    let trace = Trace {
        decoded: content[PART].iter().map(|byte| !byte).collect(),
        encoded: encoded[PART].iter().map(|byte| !byte).collect(),
        maps: String::with_capacity(PIECE),
        piece: vec![0; PIECE],
    };
    (encoded, trace)
}

impl Trace {
    /// Whether any of it is in memory that can be written.
    pub(crate) fn is_left(&mut self) -> bool {
        let mut memory = File::open("/proc/self/mem").expect("it is ours");
        self.maps.clear();
        let mut maps = File::open("/proc/self/maps").expect("it is ours");
        maps.read_to_string(&mut self.maps).expect("it is text");
        let mut found = false;
        for line in self.maps.lines() {
            let mut words = line.split([' ', '-']);
            let mut number = || {
                words
                    .next()
                    .and_then(|word| u64::from_str_radix(word, 16).ok())
            };
            let (Some(mut at), Some(end)) = (number(), number()) else {
                continue;
            };
            let rights = words.next().unwrap_or_default();
            while rights.starts_with("rw") && at < end {
                let length = usize::try_from(end - at).map_or(PIECE, |left| left.min(PIECE));
                let piece = &mut self.piece[..length];
                // Another test may give it back meanwhile.
                let sought = memory.seek(SeekFrom::Start(at));
                if sought.and_then(|_| memory.read_exact(piece)).is_ok() {
                    found |= holds(piece, &self.decoded) || holds(piece, &self.encoded);
                }
                piece.fill(0);
                // What lies across the end of one piece is whole in the next.
                at += (length - PART.len().min(length - 1)) as u64;
            }
        }
        found
    }
}

fn holds(memory: &[u8], complement: &[u8]) -> bool {
    let begins = memchr::memchr_iter(!complement[0], memory);
    let mut found = begins.filter_map(|at| memory.get(at..at + complement.len()));
    found.any(|it| {
        it.iter()
            .zip(complement)
            .all(|(byte, other)| *byte == !other)
    })
}
