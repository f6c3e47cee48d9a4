//! What may stand in a compressed answer, and behind it.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};

use crate::rewrite::decode::{Coding, DecodeError, Decoder};

fn decoded(coding: Coding, text: Vec<u8>) -> Result<Vec<u8>, DecodeError> {
    let mut decoder = Decoder::new(coding).unwrap();
    let (mut input, mut output) = (Bytes::from(text), Vec::new());
    while let Some(piece) = decoder.decode(&mut input)? {
        output.extend_from_slice(&piece);
    }
    decoder.finish()?;
    Ok(output)
}

#[test]
fn members_and_padding_may_follow_in_gzip_and_nothing_elsewhere() {
    let gzip = |text: &[u8]| {
        let mut packer = GzEncoder::new(Vec::new(), Compression::fast());
        packer.write_all(text).unwrap();
        packer.finish().unwrap()
    };
    let text = [gzip(b"one "), vec![0; 7], gzip(b"two"), vec![0; 9]].concat();
    assert_eq!(decoded(Coding::Gzip, text).unwrap(), b"one two");
    let mut packer = ZlibEncoder::new(Vec::new(), Compression::fast());
    packer.write_all(b"one").unwrap();
    let mut text = packer.finish().unwrap();
    assert_eq!(decoded(Coding::Deflate, text.clone()).unwrap(), b"one");
    text.push(0);
    let error = decoded(Coding::Deflate, text).unwrap_err();
    assert!(matches!(error, DecodeError::Trailing), "{error}");
}

#[test]
fn codings_on_top_of_each_other_are_not_undone() {
    let mut headers = HeaderMap::new();
    headers.append(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    assert_eq!(Coding::of(&headers), Some(Coding::Gzip));
    headers.append(CONTENT_ENCODING, HeaderValue::from_static("deflate"));
    assert_eq!(Coding::of(&headers), None);
    let both = HeaderValue::from_static("gzip, deflate");
    let headers = HeaderMap::from_iter([(CONTENT_ENCODING, both)]);
    assert_eq!(Coding::of(&headers), None);
}

#[test]
fn no_coding_has_a_name_and_none() {
    for (name, coding) in [
        ("Identity", Some(Coding::Identity)),
        ("", Some(Coding::Identity)),
        ("br", None),
        ("compress", None),
    ] {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(name))]);
        assert_eq!(Coding::of(&headers), coding, "{name}");
    }
}

#[test]
fn a_stored_block_is_not_taken_for_the_head_of_zlib() {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::none());
    packer.write_all(b"one").unwrap();
    let text = packer.finish().unwrap();
    assert_eq!(decoded(Coding::Deflate, text).unwrap(), b"one");
}

#[test]
fn a_small_answer_may_expand_however_much() {
    let blanks = vec![b' '; 1 << 20];
    let mut packer = GzEncoder::new(Vec::new(), Compression::best());
    packer.write_all(&blanks).unwrap();
    let text = packer.finish().unwrap();
    assert!(decoded(Coding::Gzip, text).unwrap() == blanks);
}
