//! What failures of a connection are told as.

use std::io;

use rustls::CertificateError;

use super::ConnectError;

#[test]
fn a_certificate_that_is_not_taken_is_told_with_what_is_wrong_with_it() {
    for (certificate, words) in [
        (CertificateError::Expired, "has expired"),
        (CertificateError::NotValidYet, "not valid yet"),
        (CertificateError::NotValidForName, "for another name"),
        (CertificateError::UnknownIssuer, "trust.ca_file"),
    ] {
        let refused = rustls::Error::InvalidCertificate(certificate);
        let failed = ConnectError::Tls {
            target: "graph.microsoft.com:443".to_owned(),
            source: io::Error::new(io::ErrorKind::InvalidData, refused),
        };
        let text = failed.to_string();
        assert!(text.contains(words), "{text}");
        let private = words == "trust.ca_file";
        assert_eq!(text.contains("private CA"), private, "{text}");
    }
}

#[test]
fn what_is_not_tls_is_not_taken_for_a_certificate() {
    let other = rustls::Error::InvalidMessage(rustls::InvalidMessage::InvalidContentType);
    let failed = ConnectError::Tls {
        target: "graph.microsoft.com:80".to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, other),
    };
    let text = failed.to_string();
    assert!(text.contains("not TLS"), "{text}");
    assert!(!text.contains("private CA"), "{text}");
}

#[test]
fn a_handshake_that_broke_or_was_refused_is_not_taken_for_a_certificate() {
    use rustls::{AlertDescription, PeerIncompatible};
    let said = |error| io::Error::new(io::ErrorKind::InvalidData, error);
    for (source, words) in [
        (io::ErrorKind::ConnectionReset.into(), "broke in it"),
        (io::ErrorKind::UnexpectedEof.into(), "broke in it"),
        (
            said(rustls::Error::AlertReceived(
                AlertDescription::HandshakeFailure,
            )),
            "refused there",
        ),
        (
            said(rustls::Error::PeerIncompatible(
                PeerIncompatible::ServerDoesNotSupportTls12Or13,
            )),
            "1.2 or 1.3",
        ),
        (said(rustls::Error::DecryptError), "stands between"),
    ] {
        let failed = ConnectError::Tls {
            target: "graph.microsoft.com:443".to_owned(),
            source,
        };
        let text = failed.to_string();
        assert!(text.contains(words), "{text}");
        assert!(!text.contains("private CA"), "{text}");
    }
}

#[test]
fn an_upstream_is_not_blamed_for_local_ports_that_are_used_up() {
    for (kind, words) in [
        (io::ErrorKind::AddrNotAvailable, "no local address and port"),
        (io::ErrorKind::ConnectionRefused, "does not accept"),
    ] {
        let failed = ConnectError::Refused {
            target: "graph.microsoft.com:443".to_owned(),
            source: kind.into(),
        };
        let text = failed.to_string();
        assert!(text.contains(words), "{text}");
    }
}
