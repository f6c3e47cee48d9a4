//! The name in a certificate that a caller is known by, read once into forms that compare right: what
//! the same certificates have is the same name, however it is written.

use std::net::IpAddr;

use super::subject::{self, Attribute};

/// What a caller's `client_certificate` asks for: one alternative name, the common name with or
/// without `CN=`, or the whole subject in either order (`CN=a,O=b` as RFC 4514 writes it, `O=b, CN=a`
/// as OpenSSL does), attributes that share a place with a plus between them, in any order, or in a row.
///
/// A name counts as what it looks like only. An authority may let its holders choose one kind of
/// name and vouch for another: a common name that is spelt like a SPIFFE ID or like a whole
/// subject is neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CertificateName {
    /// It has a scheme.
    Uri(String),
    /// It has an equals sign.
    Subject {
        /// What follows `CN=`, when that is all.
        common: Option<String>,
        /// The attributes by their places; none when it is no list of them.
        places: Vec<Vec<Attribute>>,
    },
    /// Anything else.
    Plain {
        /// As it is written.
        text: String,
        /// As it is when it is one of DNS.
        dns: String,
        /// As it is when it is one of mail.
        mail: String,
        /// The address that it is.
        address: Option<IpAddr>,
    },
}

impl CertificateName {
    /// Reads what is written.
    pub fn read(text: &str) -> Self {
        if text.contains("://") {
            return Self::Uri(text.to_owned());
        }
        let Some((kind, name)) = text.split_once('=') else {
            return Self::Plain {
                text: text.to_owned(),
                dns: dns_name(text),
                mail: mail_address(text),
                address: ip_address(text),
            };
        };
        let alone = kind.trim().eq_ignore_ascii_case("CN") && !name.contains('=');
        Self::Subject {
            common: alone.then(|| name.trim().to_owned()),
            places: places(text),
        }
    }

    /// What is the same for two that the same certificates have, however they are written.
    pub(super) fn sameness(&self) -> String {
        match self {
            Self::Uri(uri) => uri.clone(),
            Self::Subject { common, places } if places.is_empty() => {
                format!("CN={}", common.as_deref().unwrap_or_default())
            }
            Self::Subject { places, .. } => {
                let mut places = places.clone();
                places.iter_mut().for_each(|place| place.sort());
                let mut turned = places.clone();
                turned.reverse();
                format!("{:?}", places.min(turned))
            }
            Self::Plain {
                address: Some(address),
                ..
            } => address.to_string(),
            // No name of DNS has an `@`.
            Self::Plain { text, mail, .. } if text.contains('@') => mail.clone(),
            Self::Plain { dns, .. } => dns.clone(),
        }
    }
}

/// The attributes of a subject by their places, each type by its [one name](one_name).
fn places(text: &str) -> Vec<Vec<Attribute>> {
    let mut places = subject::attributes(text).unwrap_or_default();
    for (kind, _) in places.iter_mut().flatten() {
        *kind = one_name(kind).to_owned();
    }
    places
}

/// One name for a type of attribute, in capitals, that goes by several: in RFC 4514, OpenSSL, Java,
/// Windows, and the library that reads certificates here.
pub fn one_name(kind: &str) -> &str {
    match kind.strip_prefix("OID.").unwrap_or(kind) {
        "0.9.2342.19200300.100.1.1" | "USERID" => "UID",
        "2.5.4.97" => "ORGANIZATIONIDENTIFIER",
        "E" | "EMAIL" => "EMAILADDRESS",
        "G" | "GN" => "GIVENNAME",
        "S" => "ST",
        "SN" => "SURNAME",
        "STREET" => "STREETADDRESS",
        "T" => "TITLE",
        other => other,
    }
}

/// Without regard to case, and to the dot at the end that an absolute name may have.
pub fn dns_name(text: &str) -> String {
    text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase()
}

/// Case counts before the `@` and not behind it (RFC 5280 section 7.5).
pub fn mail_address(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((local, domain)) => format!("{local}@{}", domain.to_ascii_lowercase()),
        None => text.to_owned(),
    }
}

/// One of IPv6 may be in the brackets of a URL, and one of IPv4 in the form of IPv6.
fn ip_address(text: &str) -> Option<IpAddr> {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address: IpAddr = inner.unwrap_or(text).parse().ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn are_one(one: &str, other: &str) -> bool {
        let sameness = |text| CertificateName::read(text).sameness();
        sameness(one) == sameness(other)
    }

    #[test]
    fn a_subject_is_a_common_name_as_well_where_it_is_no_more_than_that() {
        for (written, name) in [
            (" cn = a ", Some("a")),
            ("CN=", Some("")),
            ("CN=a=b", None),
            ("O=a", None),
        ] {
            let read = CertificateName::read(written);
            let CertificateName::Subject { common, .. } = read else {
                panic!("{read:?}");
            };
            assert_eq!(common.as_deref(), name, "{written}");
        }
    }

    #[test]
    fn what_the_same_certificates_have_is_one_name() {
        for (one, other) in [
            ("CN=a", "cn = a"),
            ("CN=a", "CN=\"a\""),
            ("CN=a,O=b", "O = b, CN = a"),
            ("CN=a+OU=x,O=b", "O=b, OU=x + CN=a"),
            ("CN=a,S=b", "CN=a,ST=b"),
            ("CN=", "CN ="),
            ("App1.corp", "app1.CORP."),
            ("Ops@corp.example", "Ops@CORP.example"),
            ("\"Ops@A\"@corp.example", "\"Ops@A\"@CORP.example"),
            ("2001:DB8::1", "[2001:db8:0::1]"),
            ("10.0.0.1", "::ffff:10.0.0.1"),
            ("spiffe://corp/a", "spiffe://corp/a"),
        ] {
            assert!(are_one(one, other), "{one} and {other}");
        }
        for (one, other) in [
            ("CN=a", "CN=A"),
            ("CN=a,O=b", "CN=a+O=b"),
            ("CN=a,O=b,C=c", "O=b,CN=a,C=c"),
            // A common name alone, and a name of any kind.
            ("CN=a", "a"),
            ("Ops@corp.example", "ops@corp.example"),
            ("spiffe://corp/a", "spiffe://corp/A"),
        ] {
            assert!(!are_one(one, other), "{one} and {other}");
        }
    }
}
