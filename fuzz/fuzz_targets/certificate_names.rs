//! Certificates with any names, written byte by byte: a caller is known by a name exactly when the plain
//! rules of each kind of name say so, by the whole subject in either order, and by no other subject.
//! Any bytes as a certificate, and one that ends before it should, are refused or read, and that is all.
#![no_main]

use std::net::IpAddr;
use std::time::UNIX_EPOCH;

use http::HeaderMap;
use libfuzzer_sys::fuzz_target;
use tokenferry::caller::certificate::PeerNames;
use tokenferry::caller::{Callers, RouteCallers};
use tokenferry::config::{CallerProof, CallerSpec, CertificateName, Name};

// The kinds of alternative names, by their tags (RFC 5280 section 4.2.1.6).
const MAIL: u8 = 0x81;
const DNS: u8 = 0x82;
const URI: u8 = 0x86;
const ADDRESS: u8 = 0x87;
/// Types of attributes of a subject: what stands behind 2.5.4, and how people write it.
const TYPES: [(u8, &str); 3] = [(3, "CN"), (10, "O"), (11, "OU")];

/// The names of a certificate.
#[derive(Default)]
struct Names {
    alternatives: Vec<(u8, Vec<u8>)>,
    /// The types and values of the subject, by their places.
    subject: Vec<Vec<(usize, String)>>,
}

impl Names {
    fn of(entries: Vec<(u8, String)>) -> Self {
        let mut names = Self::default();
        for (choice, text) in entries {
            let kind = [MAIL, DNS, URI, ADDRESS].get(usize::from(choice % 8));
            let attribute = (usize::from(choice % 8) % TYPES.len(), text.clone());
            match kind {
                Some(&ADDRESS) => {
                    let length = if choice > 127 { 4 } else { 16 };
                    let mut bytes = text.into_bytes();
                    bytes.resize(length, 0);
                    names.alternatives.push((ADDRESS, bytes));
                }
                Some(tag) => {
                    let printable = text.bytes().filter(|byte| (b' '..=b'~').contains(byte));
                    names.alternatives.push((*tag, printable.collect()));
                }
                None => match names.subject.last_mut() {
                    Some(place) if choice > 127 => place.push(attribute),
                    _ => names.subject.push(vec![attribute]),
                },
            }
        }
        names
    }

    /// The certificate (RFC 5280 section 4.1). Its signature is looked at before its names are.
    fn certificate(&self) -> Vec<u8> {
        let places = self.subject.iter().map(|place| {
            let attribute = |(kind, value): &(usize, String)| {
                let kind = element(6, &[&[0x55, 4, TYPES[*kind].0]]);
                element(0x30, &[&kind, &element(12, &[value.as_bytes()])])
            };
            element(
                0x31,
                &[&place.iter().flat_map(attribute).collect::<Vec<_>>()],
            )
        });
        let subject = element(0x30, &[&places.flatten().collect::<Vec<_>>()]);
        let names = self.alternatives.iter();
        let names = names.flat_map(|(tag, name)| element(*tag, &[name]));
        let names = element(0x30, &[&names.collect::<Vec<_>>()]);
        let extension = [element(6, &[&[0x55, 0x1d, 0x11]]), element(4, &[&names])].concat();
        let extensions = match self.alternatives.is_empty() {
            true => Vec::new(),
            false => element(0xa3, &[&element(0x30, &[&element(0x30, &[&extension])])]),
        };
        // ecdsa-with-SHA256, id-ecPublicKey and prime256v1.
        let algorithm = element(0x30, &[b"\x06\x08\x2a\x86\x48\xce\x3d\x04\x03\x02"]);
        let key = b"\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07";
        let key = element(0x30, &[&element(0x30, &[key]), &element(3, &[&[0, 4]])]);
        let validity = element(0x30, &[&element(23, &[b"250101000000Z"]).repeat(2)]);
        let version = b"\xa0\x03\x02\x01\x02\x02\x01\x01";
        let to_be_signed = element(
            0x30,
            &[
                version,
                &algorithm,
                &element(0x30, &[]),
                &validity,
                &subject,
                &key,
                &extensions,
            ],
        );
        element(0x30, &[&to_be_signed, &algorithm, &element(3, &[&[0]])])
    }

    /// Whether a caller of this name is known by it, when it is neither a URI nor a subject.
    fn have(&self, wanted: &str) -> bool {
        let common = self.subject.iter().flatten().filter(|(kind, _)| *kind == 0);
        let common: Vec<_> = common.map(|(_, value)| value.as_str()).collect();
        let is_named = |(tag, name): &(u8, Vec<u8>)| {
            let text = std::str::from_utf8(name).unwrap_or_default();
            match *tag {
                DNS => without_dot(text).eq_ignore_ascii_case(without_dot(wanted)),
                MAIL => match (text.rsplit_once('@'), wanted.rsplit_once('@')) {
                    (Some(it), Some(other)) => {
                        it.0 == other.0 && it.1.eq_ignore_ascii_case(other.1)
                    }
                    _ => text == wanted,
                },
                ADDRESS => bracketless(wanted).is_some_and(|address| is_address(name, address)),
                _ => text == wanted,
            }
        };
        common == [wanted] || self.alternatives.iter().any(is_named)
    }

    fn has_uri(&self, wanted: &str) -> bool {
        let mut names = self.alternatives.iter();
        names.any(|(tag, name)| *tag == URI && name == wanted.as_bytes())
    }
}

fn without_dot(name: &str) -> &str {
    name.strip_suffix('.').unwrap_or(name)
}

fn bracketless(text: &str) -> Option<IpAddr> {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    inner.unwrap_or(text).parse().ok()
}

fn is_address(bytes: &[u8], address: IpAddr) -> bool {
    let long = |address: &[u8]| match address.len() {
        4 => [&[0; 10][..], &[255; 2], address].concat(),
        _ => address.to_vec(),
    };
    let wanted = match address {
        IpAddr::V4(address) => long(&address.octets()),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    long(bytes) == wanted
}

/// An element of DER.
fn element(tag: u8, contents: &[&[u8]]) -> Vec<u8> {
    let content = contents.concat();
    let length = u32::try_from(content.len()).expect("inputs are short");
    let mut out = match length {
        0..128 => vec![tag, content.len() as u8],
        _ => [&[tag, 0x84][..], &length.to_be_bytes()].concat(),
    };
    // As short as it can be, which DER demands.
    while out[1] > 0x81 && out[2] == 0 {
        out.remove(2);
        out[1] -= 1;
    }
    out.extend(content);
    out
}

/// A subject as RFC 4514 writes it, all but letters and digits escaped.
fn written<'a>(places: impl Iterator<Item = &'a Vec<(usize, String)>>) -> String {
    let value = |text: &str| {
        let escaped = text.bytes().map(|byte| match byte {
            byte if byte.is_ascii_alphanumeric() => char::from(byte).to_string(),
            byte => format!("\\{byte:02x}"),
        });
        escaped.collect::<String>()
    };
    let attribute = |(kind, text): &(usize, String)| format!("{}={}", TYPES[*kind].1, value(text));
    let place = |place: &Vec<_>| place.iter().map(attribute).collect::<Vec<_>>().join("+");
    places.map(place).collect::<Vec<_>>().join(",")
}

/// Whether a caller that is configured by this text is the holder.
fn is_holder(names: &PeerNames, text: &str) -> bool {
    let name = Name::parse("caller").expect("a name");
    let proof = CallerProof::ClientCertificate(CertificateName::read(text));
    let specs = [CallerSpec { name, proof }];
    let callers = Callers::new(&specs, None).expect("no key is read");
    let route = RouteCallers::new(&[specs[0].name.clone()], &specs);
    let found = callers.identify(&route, &HeaderMap::new(), Some(names), UNIX_EPOCH);
    found.is_ok_and(|caller| caller.is_some())
}

fuzz_target!(|input: (Vec<(u8, String)>, String, &[u8])| {
    let (entries, other, bytes) = input;
    let _ = PeerNames::parse(bytes);
    let texts: Vec<_> = entries.iter().map(|(_, text)| text.clone()).collect();
    let names = Names::of(entries);
    let der = names.certificate();
    let read = PeerNames::parse(&der).expect("a certificate");
    assert!(PeerNames::parse(&der[..der.len() - 1]).is_err());
    for text in texts.iter().chain([&other]) {
        if text.contains("://") {
            assert_eq!(is_holder(&read, text), names.has_uri(text), "{text:?}");
        } else if !text.contains('=') {
            assert_eq!(is_holder(&read, text), names.have(text), "{text:?}");
        }
    }
    if names.subject.is_empty() {
        return;
    }
    assert!(is_holder(&read, &written(names.subject.iter())));
    assert!(is_holder(&read, &written(names.subject.iter().rev())));
    let mut changed = names.subject.clone();
    changed[0][0].1.push('x');
    assert!(!is_holder(&read, &written(changed.iter())));
});
