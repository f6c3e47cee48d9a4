//! What failures of a connection are told as.

use std::io;
use std::rc::Rc;

use rustls::CertificateError;

use super::reach::Stage;
use super::{Breakage, ConnectError, UpstreamError};

/// What is told of a handshake that failed so.
fn told(source: io::Error) -> String {
    let target = "graph.microsoft.com:443".to_owned();
    ConnectError::Tls { target, source }.to_string()
}

/// What `Proxy-Status` calls it.
fn named(failed: ConnectError) -> Option<&'static str> {
    UpstreamError::from(Rc::new(failed)).proxy_error()
}

fn of_tls(error: rustls::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[test]
fn a_certificate_that_is_not_taken_is_told_with_what_is_wrong_with_it() {
    for (certificate, words) in [
        (CertificateError::Expired, "has expired"),
        (CertificateError::NotValidYet, "not valid yet"),
        (CertificateError::NotValidForName, "for another name"),
        (CertificateError::UnknownIssuer, "trust.ca_file"),
    ] {
        let text = told(of_tls(rustls::Error::InvalidCertificate(certificate)));
        assert!(text.contains(words), "{text}");
        let private = words == "trust.ca_file";
        assert_eq!(text.contains("private CA"), private, "{text}");
    }
}

#[test]
fn a_handshake_that_failed_for_another_reason_is_not_taken_for_a_certificate() {
    use rustls::{AlertDescription, InvalidMessage, PeerIncompatible};
    let other = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
    let refused = rustls::Error::AlertReceived(AlertDescription::HandshakeFailure);
    let old = rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13);
    for (source, words) in [
        (of_tls(other), "not TLS"),
        (io::ErrorKind::ConnectionReset.into(), "broke in it"),
        (io::ErrorKind::UnexpectedEof.into(), "broke in it"),
        (of_tls(refused), "refused there"),
        (of_tls(old), "1.2 or 1.3"),
        (of_tls(rustls::Error::DecryptError), "stands between"),
    ] {
        let text = told(source);
        assert!(text.contains(words), "{text}");
        assert!(!text.contains("private CA"), "{text}");
    }
}

#[cfg(unix)]
#[test]
fn an_upstream_is_not_blamed_for_what_fails_on_this_machine() {
    use rustix::io::Errno;
    for (errno, words, code) in [
        (
            Errno::ADDRNOTAVAIL,
            "no local address and port",
            Some("connection_limit_reached"),
        ),
        (
            Errno::CONNREFUSED,
            "does not accept",
            Some("connection_refused"),
        ),
        (
            Errno::HOSTUNREACH,
            "has no way to",
            Some("destination_ip_unroutable"),
        ),
        (
            Errno::NETUNREACH,
            "has no way to",
            Some("destination_ip_unroutable"),
        ),
        (
            Errno::AFNOSUPPORT,
            "has no way to",
            Some("destination_ip_unroutable"),
        ),
        (Errno::PERM, "forbids", Some("destination_ip_prohibited")),
        (Errno::ACCESS, "forbids", Some("destination_ip_prohibited")),
        (Errno::NOSPC, "fs.epoll.max_user_watches", None),
        (Errno::NOBUFS, "no memory", None),
        (Errno::NOMEM, "no memory", None),
    ] {
        let failed = ConnectError::Refused {
            target: "graph.microsoft.com:443".to_owned(),
            source: errno.into(),
        };
        let text = failed.to_string();
        assert!(text.contains(words), "{text}");
        assert_eq!(named(failed), code, "{text}");
    }
}

#[test]
fn what_did_not_end_in_time_is_told_by_what_was_waited_for() {
    for (stage, words, code) in [
        (Stage::LookUp, "DNS had no answer", "dns_timeout"),
        (Stage::Tcp, "did not answer", "connection_timeout"),
        (Stage::Tls, "the TLS handshake", "connection_timeout"),
        (Stage::Turn, "came free", "connection_timeout"),
        (Stage::Tunnel, "the forward proxy", "connection_timeout"),
    ] {
        let target = "graph.microsoft.com:443".to_owned();
        let failed = ConnectError::Timeout { target, stage };
        let text = failed.to_string();
        assert!(text.contains(words), "{text}");
        assert_eq!(named(failed), Some(code));
    }
}

#[cfg(unix)]
#[test]
fn an_address_of_a_kind_that_leads_nowhere_does_not_hide_what_another_said() {
    use super::reach::is_of_its_kind;
    use rustix::io::Errno;
    for (errno, hides_nothing) in [
        (Errno::ADDRNOTAVAIL, true),
        (Errno::NETUNREACH, true),
        (Errno::AFNOSUPPORT, true),
        (Errno::CONNREFUSED, false),
        (Errno::HOSTUNREACH, false),
    ] {
        assert_eq!(is_of_its_kind(&errno.into()), hides_nothing, "{errno}");
    }
}

#[test]
fn a_name_that_is_not_found_is_told_as_that() {
    let failed = ConnectError::Dns {
        host: "graph.microsoft.com".to_owned(),
        source: io::Error::other("no answer").into(),
    };
    assert_eq!(named(failed), Some("dns_error"));
}

#[test]
fn an_alert_before_an_answer_is_told_with_what_it_can_mean() {
    use rustls::AlertDescription as Alert;
    let certificate = "without a certificate of the caller";
    let other = "check its name";
    for (alert, words) in [
        (Alert::CertificateRequired, certificate),
        (Alert::BadCertificate, certificate),
        (Alert::HandshakeFailure, certificate),
        (Alert::InternalError, other),
        (Alert::BadRecordMac, other),
        (Alert::UnrecognisedName, other),
        (Alert::Unknown(255), other),
    ] {
        let failed = UpstreamError::Broken(Breakage::of_alert(alert));
        let text = failed.to_string();
        assert!(text.contains("refused the connection by its TLS"), "{text}");
        assert!(text.contains(words), "{alert:?}: {text}");
        assert_eq!(text.contains("certificate"), words == certificate, "{text}");
        assert_eq!(failed.proxy_error(), Some("tls_alert_received"));
    }
    let failed = UpstreamError::Broken(Breakage::Io(io::ErrorKind::ConnectionReset.into()));
    assert!(!failed.to_string().contains("TLS"), "{failed}");
}
