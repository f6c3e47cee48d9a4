//! `tls: local`: an authority of this user's own and a certificate for localhost, made once and
//! kept, for tools that insist on https.
//!
//! The authority can vouch for localhost names and loopback addresses only (RFC 5280 section
//! 4.2.1.10), so that trusting it gives away nothing else, even if its key is stolen.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest;
use rcgen::{
    BasicConstraints, CertificateParams, CidrSubnet, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType,
};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};
use zeroize::Zeroizing;

use super::key::{self, Key};
use super::validity::Validity;
use super::{MadeFrom, TlsError, offer_protocols};
use crate::secret::pem;

const DAY: Duration = Duration::from_secs(86_400);
/// A new authority must be trusted by hand again, so it lives long.
const AUTHORITY_LIFE: Duration = Duration::from_secs(3650 * 86_400);
/// Apple's systems refuse certificates that live longer than 398 days.
const LIFE: Duration = Duration::from_secs(397 * 86_400);
/// Time left at which the next one is made.
const RESERVE: Duration = Duration::from_secs(30 * 86_400);

const AUTHORITY: &str = "local-ca.pem";
const AUTHORITY_KEY: &str = "local-ca-key.pem";
const LEAF: &str = "localhost.pem";

/// Where the files of this user are kept, whether or not they have been made.
///
/// # Errors
/// When the environment names no such place.
pub fn folder() -> Result<PathBuf, TlsError> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    let state = if let Some(state) = set("XDG_STATE_HOME") {
        Some(state)
    } else if cfg!(windows) {
        set("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        set("HOME").map(|home| home.join("Library/Application Support"))
    } else {
        set("HOME").map(|home| home.join(".local/state"))
    };
    state
        .map(|state| state.join("tokenferry"))
        .ok_or(TlsError::NoFolder)
}

/// Reads the certificate from the folder, or makes it, and its authority when that is missing too.
pub(super) fn load(folder: &Path, now: SystemTime) -> Result<(ServerConfig, MadeFrom), TlsError> {
    fs::create_dir_all(folder).map_err(unusable(folder))?;
    // Two programs that start at once must not each make an authority.
    let lock_path = folder.join("lock");
    let lock = File::create(&lock_path).map_err(unusable(&lock_path))?;
    lock.lock().map_err(unusable(&lock_path))?;
    let mut kept = read_leaf(folder, now)?;
    if kept.is_none() {
        make_leaf(folder, now)?;
        kept = read_leaf(folder, now)?;
    }
    let Some((chain, key, until)) = kept else {
        return Err(unusable(&folder.join(LEAF))(
            io::ErrorKind::InvalidData.into(),
        ));
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_cert_resolver(key::pair(chain, &key)?);
    offer_protocols(&mut config);
    let path = folder.join(AUTHORITY);
    tracing::info!(
        ca_file = %path.display(),
        "callers reach this proxy by https://localhost; trust this file once in each tool (curl --cacert, NODE_EXTRA_CA_CERTS, REQUESTS_CA_BUNDLE, SSL_CERT_FILE) or in the system's store"
    );
    Ok((config, MadeFrom::Local(until)))
}

type Leaf = (Vec<CertificateDer<'static>>, Key, SystemTime);

/// The kept certificate with its key, unless it is missing, broken, of another authority, about to
/// expire or of a clock that was ahead; and when the next one has to be made.
fn read_leaf(folder: &Path, now: SystemTime) -> Result<Option<Leaf>, TlsError> {
    let text = read(&folder.join(LEAF))?;
    let authority = read(&folder.join(AUTHORITY))?;
    let (Some(text), Some(authority)) = (text, authority) else {
        return Ok(None);
    };
    Ok(leaf(&text, &authority, now))
}

fn leaf(text: &[u8], authority: &[u8], now: SystemTime) -> Option<Leaf> {
    let chain = pem::certificates(text).ok()?;
    let key = key::read(text).ok()??;
    let authority = pem::certificates(authority).ok()?.into_iter().next()?;
    if chain.get(1) != Some(&authority) {
        return None;
    }
    let until = expiry(chain.first()?, now)?
        .min(expiry(&authority, now)?)
        .checked_sub(RESERVE)?;
    (now < until).then_some((chain, key, until))
}

/// When a certificate ends; none for one that has not begun, which nobody accepts: the clock was ahead
/// when it was made.
fn expiry(certificate: &CertificateDer<'_>, now: SystemTime) -> Option<SystemTime> {
    Validity::of(certificate)?.end(now)
}

fn make_leaf(folder: &Path, now: SystemTime) -> Result<(), TlsError> {
    let (issuer, authority) = authority(folder, now)?;
    // No `*.localhost`: most clients take a star below a single label for malformed, and refuse the
    // certificate as a whole when its authority is constrained.
    let mut params = CertificateParams::new(["localhost".to_owned()])?;
    for address in [
        IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::LOCALHOST),
    ] {
        params.subject_alt_names.push(SanType::IpAddress(address));
    }
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.use_authority_key_identifier_extension = true;
    params.not_before = (now - DAY).into();
    params.not_after = (now + LIFE).into();
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, &issuer)?;
    let text = format!("{}{authority}{}", certificate.pem(), key.serialize_pem());
    write(&folder.join(LEAF), &text, 0o600)
}

/// The kept authority, or a new one when there is none that will outlive a certificate.
fn authority(
    folder: &Path,
    now: SystemTime,
) -> Result<(Issuer<'static, KeyPair>, String), TlsError> {
    let (certificate_path, key_path) = (folder.join(AUTHORITY), folder.join(AUTHORITY_KEY));
    let (text, key) = (read(&certificate_path)?, read(&key_path)?);
    let kept = || {
        let text = str::from_utf8(text.as_deref()?).ok()?.to_owned();
        let certificates = pem::certificates(text.as_bytes()).ok()?;
        let certificate = certificates.first()?;
        let key = KeyPair::from_pem(str::from_utf8(key.as_deref()?).ok()?).ok()?;
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let is_of_key = parsed.public_key().subject_public_key.data == key.public_key_raw();
        (is_of_key && expiry(certificate, now)? > now + LIFE).then_some((key, text))
    };
    if let Some((key, text)) = kept() {
        return Ok((Issuer::new(authority_params(&key, now)?, key), text));
    }
    let key = KeyPair::generate()?;
    let params = authority_params(&key, now)?;
    let text = params.self_signed(&key)?.pem();
    write(&key_path, &key.serialize_pem(), 0o600)?;
    write(&certificate_path, &text, 0o644)?;
    Ok((Issuer::new(params, key), text))
}

fn authority_params(key: &KeyPair, now: SystemTime) -> Result<CertificateParams, TlsError> {
    let mut params = CertificateParams::new(Vec::<String>::new())?;
    // A name of its own for each, so that two in one trust store are told apart.
    let fingerprint = digest::digest(&digest::SHA256, key.public_key_raw());
    let short: String = fingerprint.as_ref()[..4]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(
        DnType::CommonName,
        format!("tokenferry local authority {short}"),
    );
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.name_constraints = Some(NameConstraints {
        permitted_subtrees: vec![
            GeneralSubtree::DnsName("localhost".to_owned()),
            GeneralSubtree::IpAddress(CidrSubnet::from_v4_prefix([127, 0, 0, 0], 8)),
            GeneralSubtree::IpAddress(CidrSubnet::from_v6_prefix(
                Ipv6Addr::LOCALHOST.octets(),
                128,
            )),
        ],
        excluded_subtrees: Vec::new(),
    });
    params.not_before = (now - DAY).into();
    params.not_after = (now + AUTHORITY_LIFE).into();
    Ok(params)
}

/// What a file holds that was kept; none where it is missing. One that is there and cannot be read, for
/// want of a descriptor or of rights, or because a disk fails, is not made anew: every tool that trusts
/// its authority would have to be told of another.
fn read(path: &Path) -> Result<Option<Zeroizing<Vec<u8>>>, TlsError> {
    match fs::read(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(path)(error)),
    }
}

/// Writes a file whole or not at all.
fn write(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    let whole = || {
        let draft = path.with_extension("new");
        // One that a crash left behind may have other rights.
        if let Err(error) = fs::remove_file(&draft)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, mode);
        #[cfg(not(unix))]
        let _ = mode;
        let mut file = options.open(&draft)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&draft, path)
    };
    whole().map_err(unusable(path))
}

fn unusable(path: &Path) -> impl Fn(io::Error) -> TlsError {
    move |source| TlsError::Unusable {
        key: "",
        path: path.into(),
        source,
    }
}
