//! Certificates and keys as people keep them, and as they get them wrong.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::signature::KeyPair;
use proptest::prelude::*;
use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, Issuer, PKCS_RSA_SHA256, date_time_ymd,
};

use super::key_file::{KeyFault, KeyFile};
use crate::secret::Secret;

const PKCS8: &str = include_str!("../../tests/keys/rsa_pkcs8.pem");
const PKCS1: &str = include_str!("../../tests/keys/rsa_pkcs1.pem");
const AES_256: &str = include_str!("../../tests/keys/encrypted_aes256_sha256.pem");
const AES_192: &str = include_str!("../../tests/keys/encrypted_aes192_sha512.pem");
const AES_128: &str = include_str!("../../tests/keys/encrypted_aes128_sha1.pem");
const DES3: &str = include_str!("../../tests/keys/encrypted_des3.pem");
const TRADITIONAL: &str = include_str!("../../tests/keys/encrypted_traditional.pem");
const EC: &str = include_str!("../../tests/keys/ec.pem");
const EC_SEC1: &str = include_str!("../../tests/keys/ec_sec1.pem");

fn password(text: &str) -> Secret {
    Secret::new(text.as_bytes().to_vec())
}

fn right() -> Secret {
    password("correct horse")
}

fn fault(text: &str, password: Option<&Secret>) -> KeyFault {
    match KeyFile::parse(text.as_bytes(), password) {
        Ok(_) => panic!("it was taken"),
        Err(fault) => fault,
    }
}

/// What would be sent now.
fn chain(file: &KeyFile) -> Vec<&[u8]> {
    file.chain(file.own(SystemTime::now())).collect()
}

/// The sections of a file with this in their label.
fn sections(text: &str, label: &str) -> String {
    let mut inside = false;
    let mut kept = String::new();
    for line in text.lines() {
        inside |= line.starts_with("-----BEGIN ") && line.contains(label);
        if inside {
            kept += line;
            kept.push('\n');
        }
        inside &= !line.starts_with("-----END ");
    }
    kept
}

/// A key without its certificate, as it stands in a file and as one to certify.
pub(super) fn key_alone() -> (String, rcgen::KeyPair) {
    let key = sections(PKCS8, "KEY");
    let pair = rcgen::KeyPair::from_pkcs8_pem_and_sign_algo(&key, &PKCS_RSA_SHA256).unwrap();
    (key, pair)
}

fn read(text: &str) -> KeyFile {
    KeyFile::parse(text.as_bytes(), None).ok().unwrap()
}

#[test]
fn every_usual_form_of_an_rsa_key_is_read() {
    for (text, secret) in [
        (PKCS8, None),
        (PKCS1, None),
        (AES_256, Some(right())),
        (AES_192, Some(right())),
        (AES_128, Some(right())),
    ] {
        let file = KeyFile::parse(text.as_bytes(), secret.as_ref()).map_err(|e| e.to_string());
        let file = file.unwrap();
        let own = file.own(SystemTime::now());
        // As OpenSSL computes it.
        assert_eq!(
            own.thumbprint,
            "U4cACK0bK3nhoIbym_6m4RiaQpnKodNWW6ak5eD4H9A"
        );
        assert_eq!(file.key.public_modulus_len(), 256);
        assert_eq!(file.chain(own).count(), 1);
    }
}

#[test]
fn the_keys_own_certificate_leads_wherever_it_stands() {
    let other = sections(EC, "CERTIFICATE");
    let text = format!("comment\n{other}{PKCS8}{other}");
    let file = read(&text);
    let alone = read(PKCS8);
    assert_eq!(chain(&file), chain(&alone));
    assert_eq!(
        file.key.public_key().as_ref(),
        alone.key.public_key().as_ref()
    );
}

#[test]
fn each_certificate_that_is_sent_certifies_the_one_before_it() {
    let authority = |name: &str| {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        (params, rcgen::KeyPair::generate().unwrap())
    };
    let (root, root_key) = authority("root");
    let (middle, middle_key) = authority("middle");
    // An authority that is renewed keeps its name, and may be given a new key.
    let (namesake, other_key) = authority("middle");
    let root_certificate = root.self_signed(&root_key).unwrap();
    let issuer = Issuer::new(root, &root_key);
    let middle_certificate = middle.signed_by(&middle_key, &issuer).unwrap();
    let namesake = namesake.signed_by(&other_key, &issuer).unwrap().pem();
    let mut past = middle.clone();
    past.not_after = date_time_ymd(2020, 1, 1);
    let past = past.signed_by(&middle_key, &issuer).unwrap().pem();
    let issuer = Issuer::new(middle, &middle_key);
    let (key, pair) = key_alone();
    let own = |year| {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        params.use_authority_key_identifier_extension = true;
        params.signed_by(&pair, &issuer).unwrap()
    };
    let (leaf, old) = (own(2100), own(2099));
    let expected = [&leaf, &middle_certificate, &root_certificate].map(|it| it.der().to_vec());
    let other = sections(EC, "CERTIFICATE");
    let [leaf, old, middle, root] =
        [&leaf, &old, &middle_certificate, &root_certificate].map(rcgen::Certificate::pem);
    for text in [
        format!("{root}{namesake}{past}{middle}{past}{namesake}{old}{leaf}{key}"),
        format!("{key}{leaf}{other}{root}{middle}{middle}{old}"),
    ] {
        let file = read(&text);
        assert_eq!(chain(&file), expected);
    }
    let file = read(&format!("{leaf}{root}{key}"));
    assert_eq!(chain(&file), expected[..1], "there is a gap");
}

#[test]
fn a_missing_half_is_named() {
    assert_eq!(
        fault(&sections(PKCS8, "CERTIFICATE"), None),
        KeyFault::NoKey
    );
    assert_eq!(
        fault(&sections(PKCS8, "KEY"), None),
        KeyFault::NoCertificate
    );
}

#[test]
fn halves_that_do_not_belong_together_are_refused() {
    let text = sections(PKCS8, "KEY") + &sections(EC, "CERTIFICATE");
    assert_eq!(fault(&text, None), KeyFault::Mismatch);
}

#[test]
fn elliptic_curve_keys_are_refused_by_kind() {
    assert_eq!(fault(EC, None), KeyFault::KeyKind);
    assert_eq!(fault(EC_SEC1, None), KeyFault::KeyKind);
}

#[test]
fn a_password_that_is_missing_or_wrong_is_told_apart() {
    assert_eq!(fault(AES_256, None), KeyFault::PasswordMissing);
    for attempt in 0..300 {
        let wrong = password(&format!("wrong {attempt}"));
        assert_eq!(fault(AES_128, Some(&wrong)), KeyFault::PasswordWrong);
    }
}

#[test]
fn other_encryptions_are_refused_with_the_command_that_converts_them() {
    for text in [DES3, TRADITIONAL] {
        let fault = fault(text, Some(&right()));
        assert_eq!(fault, KeyFault::Encryption);
        assert!(fault.to_string().contains("openssl pkcs8 -topk8"));
    }
}

#[test]
fn what_is_not_pem_is_said_to_be_so() {
    assert_eq!(fault("", None), KeyFault::Binary);
    assert_eq!(fault("0\u{82}\u{5}", None), KeyFault::Binary);
    let cut = &PKCS8[..PKCS8.len() / 3];
    assert_eq!(fault(cut, None), KeyFault::Broken);
    let text = PKCS8.replace("BEGIN CERTIFICATE-----\nM", "BEGIN CERTIFICATE-----\n!");
    assert_eq!(fault(&text, None), KeyFault::Broken);
    for half in ["CERTIFICATE", "PRIVATE KEY"] {
        let begin = format!("-----BEGIN {half}-----");
        let indented = PKCS8.replace(&begin, &format!("  {begin}"));
        assert_eq!(fault(&indented, None), KeyFault::Broken, "{half}");
    }
    let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
    assert_eq!(fault(key, None), KeyFault::KeyUnusable);
}

#[test]
fn an_expired_certificate_is_refused_with_its_date() {
    let file = read(PKCS8);
    assert_eq!(file.check_expiry(SystemTime::now()), Ok(()));
    assert!(file.not_after > UNIX_EPOCH + Duration::from_secs(4_000_000_000));
    let late = file.not_after;
    let on = httpdate::fmt_http_date(late);
    assert_eq!(file.check_expiry(late), Err(KeyFault::Expired { on }));
}

#[test]
fn of_several_certificates_of_the_key_the_one_that_is_valid_longest_counts() {
    let (key, pair) = key_alone();
    let until = |year| {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(year, 1, 1);
        params.self_signed(&pair).unwrap().pem()
    };
    let (old, new) = (until(2020), until(2100));
    let alone = read(&format!("{new}{key}"));
    for text in [format!("{old}{new}{key}"), format!("{new}{old}{key}")] {
        let file = read(&text);
        let now = SystemTime::now();
        assert_eq!(file.own(now).thumbprint, alone.own(now).thumbprint);
        assert_eq!(file.check_expiry(now), Ok(()));
        assert_eq!(
            chain(&file),
            chain(&alone),
            "they do not certify each other"
        );
    }
}

proptest! {
    #[test]
    fn no_damage_to_a_file_panics(at in 0..AES_128.len(), byte in any::<u8>(), cut in any::<bool>()) {
        let mut text = AES_128.as_bytes().to_vec();
        if cut {
            text.truncate(at);
        } else {
            text[at] = byte;
        }
        let _ = KeyFile::parse(&text, Some(&right()));
    }

    #[test]
    fn no_der_panics(der in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = super::pkcs8::decrypt(&der, &right());
        let _ = super::pkcs8::key_algorithm(&der);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn nothing_of_a_key_is_left_in_memory_that_was_given_back() {
    for label in ["PRIVATE KEY", "RSA PRIVATE KEY"] {
        let (text, mut trace) = crate::secret::memory::section(label);
        assert!(trace.is_left(), "it is there while it is used");
        assert_eq!(
            KeyFile::parse(&text, None).err(),
            Some(KeyFault::KeyUnusable)
        );
        drop(text);
        assert!(!trace.is_left(), "{label}");
    }
}
