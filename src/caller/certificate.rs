//! What a client certificate says about its holder: the names a caller may be configured by. The
//! chain has been verified by TLS before; this reads the leaf, once per connection.

use std::net::IpAddr;

use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::{FromDer, X509Certificate, X509Name};

use crate::config::CertificateName;
use crate::config::certificate_name::{dns_name, mail_address, one_name};
use crate::config::subject::Attribute;

/// Why a certificate cannot be read.
#[derive(Debug, thiserror::Error)]
#[error(
    "the client certificate is not X.509 in DER, or holds two alternative-name extensions; issue another one"
)]
pub struct CertificateError;

/// The names of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerNames {
    /// DNS names, in [one form](dns_name).
    dns: Vec<String>,
    addresses: Vec<IpAddr>,
    /// Addresses of mail, in [one form](mail_address).
    mail: Vec<String>,
    /// URIs, SPIFFE IDs among them.
    uris: Vec<String>,
    /// The subject's attributes in the order of the certificate, `("CN", "reporting")`, by the places
    /// that they share.
    subject: Vec<Vec<Attribute>>,
}

impl PeerNames {
    /// Reads the leaf certificate.
    ///
    /// # Errors
    /// When it is not a certificate.
    pub fn parse(der: &[u8]) -> Result<Self, CertificateError> {
        let (_, certificate) = X509Certificate::from_der(der).map_err(|_| CertificateError)?;
        let mut names = Self {
            dns: Vec::new(),
            addresses: Vec::new(),
            mail: Vec::new(),
            uris: Vec::new(),
            subject: attributes(certificate.subject()),
        };
        let alternatives = certificate
            .subject_alternative_name()
            .map_err(|_| CertificateError)?;
        for name in alternatives
            .iter()
            .flat_map(|names| &names.value.general_names)
        {
            match name {
                GeneralName::DNSName(name) => names.dns.push(dns_name(name)),
                GeneralName::URI(name) => names.uris.push((*name).to_owned()),
                GeneralName::RFC822Name(name) => names.mail.push(mail_address(name)),
                GeneralName::IPAddress(bytes) => names.addresses.extend(address(bytes)),
                _ => {}
            }
        }
        Ok(names)
    }

    /// The common name, when there is exactly one.
    fn common_name(&self) -> Option<&str> {
        let mut names = self.subject.iter().flatten().filter(|it| it.0 == "CN");
        match (names.next(), names.next()) {
            (Some((_, name)), None) => Some(name),
            _ => None,
        }
    }

    fn is_subject(&self, wanted: &[Vec<Attribute>]) -> bool {
        if wanted.is_empty() {
            return false;
        }
        if wanted.iter().any(|place| place.len() > 1) {
            let same = |mine: &Vec<_>, theirs: &Vec<_>| is_same_place(mine, theirs);
            return in_either_order(self.subject.iter(), wanted.iter(), same);
        }
        let (mine, theirs) = (self.subject.iter().flatten(), wanted.iter().flatten());
        in_either_order(mine, theirs, Attribute::eq)
    }
}

/// Whether the certificate with these names has the one that a caller is known by.
pub(super) fn has(names: &PeerNames, wanted: &CertificateName) -> bool {
    match wanted {
        CertificateName::Uri(uri) => names.uris.contains(uri),
        CertificateName::Subject { common, places } => {
            let common = common.as_deref();
            common.is_some() && common == names.common_name() || names.is_subject(places)
        }
        CertificateName::Plain {
            text,
            dns,
            mail,
            address,
        } => {
            names.dns.contains(dns)
                || names.uris.contains(text)
                || names.mail.contains(mail)
                || address.is_some_and(|address| names.addresses.contains(&address))
                || names.common_name() == Some(text)
        }
    }
}

fn in_either_order<'a, T: 'a>(
    mine: impl Iterator<Item = &'a T> + Clone,
    theirs: impl DoubleEndedIterator<Item = &'a T> + Clone,
    same: impl Fn(&T, &T) -> bool,
) -> bool {
    let same = |(mine, theirs): (&T, &T)| same(mine, theirs);
    mine.clone().count() == theirs.clone().count()
        && (mine.clone().zip(theirs.clone()).all(same) || mine.zip(theirs.rev()).all(same))
}

fn is_same_place(mine: &[Attribute], theirs: &[Attribute]) -> bool {
    let sorted = |place: &[Attribute]| {
        let mut place = place.to_vec();
        place.sort();
        place
    };
    sorted(mine) == sorted(theirs)
}

/// The attributes of a name that are text, by their places.
fn attributes(name: &X509Name<'_>) -> Vec<Vec<Attribute>> {
    let kind = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        oid2abbrev(attribute.attr_type(), oid_registry())
            .map_or_else(|_| attribute.attr_type().to_id_string(), str::to_owned)
            .to_ascii_uppercase()
    };
    // One that is not text becomes one that nothing equals, so that the count stays right.
    let attribute = |attribute: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        let value = attribute.as_str().unwrap_or("\0").to_owned();
        (one_name(&kind(attribute)).to_owned(), value)
    };
    name.iter_rdn()
        .map(|place| place.iter().map(attribute).collect())
        .collect()
}

/// An address (RFC 5280 section 4.2.1.6: 4 or 16 bytes).
fn address(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(four) = <[u8; 4]>::try_from(bytes) {
        return Some(four.into());
    }
    let sixteen = <[u8; 16]>::try_from(bytes).ok()?;
    Some(IpAddr::from(sixteen).to_canonical())
}
