//! Client certificates and the names they are known by.

use rcgen::{CertificateParams, DnType, KeyPair, SanType};

use crate::caller::certificate::{PeerNames, has};
use crate::config::CertificateName;

impl PeerNames {
    fn matches(&self, wanted: &str) -> bool {
        has(self, &CertificateName::read(wanted))
    }
}

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
        "O=reporting",
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

/// Who may choose a common name could choose it so.
#[test]
fn a_common_name_that_reads_like_a_subject_is_not_that_subject() {
    let text = "reporting,O=Contoso";
    let names = certificate(|params| params.distinguished_name.push(DnType::CommonName, text));
    assert!(!names.matches("CN=reporting,O=Contoso"));
    assert!(!names.matches("CN=reporting"));
}

#[test]
fn a_name_is_known_however_the_same_is_written() {
    let names = certificate(|params| {
        params.subject_alt_names = vec![
            SanType::DnsName("app1.corp".try_into().unwrap()),
            SanType::IpAddress("2001:db8::1".parse().unwrap()),
            SanType::IpAddress("10.1.2.3".parse().unwrap()),
            SanType::Rfc822Name("Ops@Corp.example".try_into().unwrap()),
        ];
    });
    for wanted in [
        "app1.corp.",
        "2001:db8::1",
        "2001:DB8:0::1",
        "[2001:db8::1]",
        "::ffff:10.1.2.3",
        "Ops@corp.example",
        "Ops@CORP.example",
    ] {
        assert!(names.matches(wanted), "{wanted}");
    }
    for wanted in ["app1.corp..", "[10.1.2.4]", "ops@corp.example", "Ops@corp"] {
        assert!(!names.matches(wanted), "{wanted}");
    }
}

/// The lines are what OpenSSL prints of this certificate.
#[test]
fn a_subject_is_known_by_the_types_that_tools_write() {
    let pilot = [0, 9, 2342, 19_200_300, 100, 1, 1];
    let other = |oid: &[u64]| DnType::CustomDnType(oid.to_vec());
    let names = certificate(|params| {
        let name = &mut params.distinguished_name;
        name.push(DnType::StateOrProvinceName, "Bavaria");
        name.push(other(&[2, 5, 4, 9]), "Main St 1");
        name.push(other(&[2, 5, 4, 5]), "7");
        name.push(other(&[2, 5, 4, 97]), "VATDE-1");
        name.push(other(&[2, 5, 4, 4]), "Doe");
        name.push(other(&[2, 5, 4, 42]), "Jo");
        name.push(other(&[2, 5, 4, 12]), "Lead");
        name.push(other(&pilot), "jo");
        name.push(other(&[1, 2, 840, 113_549, 1, 9, 1]), "jo@corp.example");
        name.push(DnType::CommonName, "reporting");
    });
    for wanted in [
        "ST = Bavaria, street = Main St 1, serialNumber = 7, organizationIdentifier = VATDE-1, SN = Doe, GN = Jo, title = Lead, UID = jo, emailAddress = jo@corp.example, CN = reporting",
        "CN=reporting,emailAddress=jo@corp.example,UID=jo,title=Lead,GN=Jo,SN=Doe,organizationIdentifier=VATDE-1,serialNumber=7,street=Main St 1,ST=Bavaria",
        // As Windows and as Java do, and with numbers.
        "CN=reporting, E=jo@corp.example, UID=jo, T=Lead, G=Jo, SN=Doe, OID.2.5.4.97=VATDE-1, SERIALNUMBER=7, STREET=Main St 1, S=Bavaria",
        "CN=reporting,EMAIL=jo@corp.example,0.9.2342.19200300.100.1.1=jo,TITLE=Lead,GIVENNAME=Jo,SURNAME=Doe,2.5.4.97=VATDE-1,SERIALNUMBER=7,STREETADDRESS=Main St 1,ST=Bavaria",
    ] {
        assert!(names.matches(wanted), "{wanted}");
        let another = wanted.replacen("Doe", "Roe", 1);
        assert!(!names.matches(&another), "{another}");
    }
    // A surname is no serial number.
    let number = certificate(|params| params.distinguished_name.push(other(&[2, 5, 4, 5]), "7"));
    assert!(number.matches("serialNumber=7") && !number.matches("SN=7"));
}

#[test]
fn of_two_common_names_none_is_the_callers_and_both_are_the_subjects() {
    let names = certificate(|params| {
        let name = &mut params.distinguished_name;
        name.push(DnType::CommonName, "reporting");
        name.push(DnType::CustomDnType(vec![2, 5, 4, 3]), "intruder");
    });
    for wanted in ["reporting", "intruder", "CN=reporting", "CN=intruder"] {
        assert!(!names.matches(wanted), "{wanted}");
    }
    assert!(names.matches("CN=reporting,CN=intruder"));
}

#[test]
fn an_address_is_known_however_it_is_written() {
    let names = certificate(|params| {
        params.subject_alt_names = vec![SanType::IpAddress("2001:db8::1:a".parse().unwrap())];
    });
    // The last is how OpenSSL prints it.
    for wanted in ["2001:db8::1:a", "2001:DB8::1:A", "2001:DB8:0:0:0:0:1:A"] {
        assert!(names.matches(wanted), "{wanted}");
    }
    assert!(!names.matches("2001:DB8:0:0:0:0:1:B"));
}

#[test]
fn a_subject_with_several_attributes_in_one_place_is_known() {
    let pem = include_bytes!("../../../tests/keys/multivalued.pem");
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).unwrap();
    let names = PeerNames::parse(&pem.contents).unwrap();
    for wanted in [
        // As OpenSSL prints it in both of its ways.
        r#"O = Contoso, OU = x + CN = "a+b""#,
        r"CN=a\+b+OU=x,O=Contoso",
        r"OU=x+CN=a\+b, O=Contoso",
        // A plus that no type follows is part of the value.
        "CN=a+b+OU=x,O=Contoso",
        // All in a row, in the order of the certificate.
        "O=Contoso,OU=x,CN=a+b",
        "CN=a+b,OU=x,O=Contoso",
    ] {
        assert!(names.matches(wanted), "{wanted}");
        let another = wanted.replacen('x', "y", 1);
        assert!(!names.matches(&another), "{another}");
    }
    for wanted in [
        "CN=a+b,O=Contoso+OU=x",
        "CN=a+b+CN=a+b,O=Contoso",
        "CN=a+b+OU=x",
        "CN=a+b+OU=x,O=Contoso,C=DE",
    ] {
        assert!(!names.matches(wanted), "{wanted}");
    }
    let of_common_name =
        |name: &str| certificate(|params| params.distinguished_name.push(DnType::CommonName, name));
    assert!(!of_common_name("a+OU=x").matches("CN=a+OU=x"));
    assert!(of_common_name("a+OU=x").matches(r"CN=a\+OU\=x"));
    assert!(of_common_name("a+b").matches("CN=a+b"));
}

/// No authority is known that issues such a certificate.
#[test]
fn attributes_that_share_a_place_count_as_often_as_they_are_there() {
    let pem = include_bytes!("../../../tests/keys/repeated.pem");
    let (_, pem) = x509_parser::pem::parse_x509_pem(pem).unwrap();
    let names = PeerNames::parse(&pem.contents).unwrap();
    for wanted in ["O=a+O=a+O=b", "O=b+O=a+O=a", "O=a+O=b+O=a"] {
        assert!(names.matches(wanted), "{wanted}");
    }
    for wanted in ["O=a+O=b+O=b", "O=a+O=b", "O=a+O=a+O=a"] {
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
