//! Client certificates and the names they are known by.

use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use crate::caller::certificate::PeerNames;

pub(super) fn certificate(change: impl FnOnce(&mut CertificateParams)) -> PeerNames {
    let mut params = CertificateParams::default();
    params.distinguished_name.remove(DnType::CommonName);
    change(&mut params);
    let key = KeyPair::generate().unwrap();
    PeerNames::parse(params.self_signed(&key).unwrap().der()).unwrap()
}

#[test]
fn a_certificate_is_known_by_any_of_its_names() {
    let names = certificate(|params| {
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Contoso");
        params
            .distinguished_name
            .push(DnType::CommonName, "reporting");
        params.subject_alt_names = vec![
            SanType::DnsName("Reports.corp.example".try_into().unwrap()),
            SanType::URI(
                "spiffe://corp.example/ns/reports/sa/nightly"
                    .try_into()
                    .unwrap(),
            ),
            SanType::IpAddress("10.1.2.3".parse().unwrap()),
            SanType::Rfc822Name("ops@corp.example".try_into().unwrap()),
        ];
    });
    for wanted in [
        "reports.corp.example",
        "REPORTS.corp.example",
        "spiffe://corp.example/ns/reports/sa/nightly",
        "10.1.2.3",
        "ops@corp.example",
        "reporting",
        "CN=reporting",
        "cn = reporting",
        "O=Contoso, CN=reporting",
        "CN=reporting,O=Contoso",
    ] {
        assert!(names.matches(wanted), "{wanted}");
    }
    for wanted in [
        "",
        "=",
        ",",
        "CN=",
        "Reporting",
        "O=Contoso",
        "Contoso",
        "CN=reporting,O=Other",
        "CN=reporting,O=Contoso,C=DE",
        "corp.example",
        "*.corp.example",
        "*",
        "spiffe://corp.example/ns/reports/sa",
        "SPIFFE://corp.example/ns/reports/sa/nightly",
    ] {
        assert!(!names.matches(wanted), "{wanted}");
    }
}

#[test]
fn a_name_that_is_spelt_like_another_kind_is_not_of_that_kind() {
    let of_common_name =
        |name: &str| certificate(|params| params.distinguished_name.push(DnType::CommonName, name));
    // Whoever may choose a common name cannot make a subject or a workload of it.
    for (name, wanted) in [
        ("reporting,O=Contoso", "CN=reporting,O=Contoso"),
        ("reporting, O=Contoso", "CN = reporting, O=Contoso"),
        ("CN=reporting,O=Contoso", "CN=reporting,O=Contoso"),
        ("CN=reporting", "CN=reporting"),
        ("spiffe://corp/ns/a/sa/b", "spiffe://corp/ns/a/sa/b"),
        ("spiffe://corp/ns/a/sa/b", "CN=spiffe://corp/ns/a/sa/b"),
    ] {
        assert!(!of_common_name(name).matches(wanted), "{name} as {wanted}");
    }
    let alternative = |name: SanType| certificate(|params| params.subject_alt_names = vec![name]);
    let subject = "CN=reporting,O=Contoso";
    for name in [
        SanType::DnsName(subject.try_into().unwrap()),
        SanType::URI(subject.try_into().unwrap()),
        SanType::Rfc822Name(subject.try_into().unwrap()),
    ] {
        assert!(!alternative(name.clone()).matches(subject), "{name:?}");
    }
    let uri = "spiffe://corp/ns/a/sa/b";
    for name in [
        SanType::DnsName(uri.try_into().unwrap()),
        SanType::Rfc822Name(uri.try_into().unwrap()),
    ] {
        assert!(!alternative(name.clone()).matches(uri), "{name:?}");
    }
    // A comma inside a value, as RFC 4514 and as OpenSSL write it, and as nobody means it.
    let contoso = certificate(|params| {
        let name = &mut params.distinguished_name;
        name.push(DnType::OrganizationName, "Contoso, Ltd.");
        name.push(DnType::CommonName, "reporting");
    });
    for wanted in [
        r"CN=reporting,O=Contoso\, Ltd.",
        "O = \"Contoso, Ltd.\", CN = reporting",
    ] {
        assert!(contoso.matches(wanted), "{wanted}");
    }
    assert!(!contoso.matches("CN=reporting,O=Contoso, Ltd."));
    assert!(of_common_name("Doe, John").matches("CN=Doe, John"));
    assert!(of_common_name("Doe, John").matches("Doe, John"));
}

#[test]
fn a_certificate_without_names_or_no_certificate_is_nobodys() {
    let names = certificate(|_| {});
    for wanted in ["", "=", "CN=", "CN=rcgen self signed cert"] {
        assert!(!names.matches(wanted), "{wanted}");
    }
    assert!(PeerNames::parse(b"").is_err());
    assert!(PeerNames::parse(b"\x30\x82\xff\xff").is_err());
}
