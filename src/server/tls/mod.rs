//! TLS towards callers: the certificate in force, and how it follows its files.
//!
//! Handshakes take what is in force at that moment. The control side looks at the files every few
//! seconds; a file that has become bad is reported once and changes nothing.

mod files;
mod key;
mod local;
mod validity;

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

use crate::chain::Chain;
use crate::clock;
use crate::config::TlsSpec;
use crate::descriptors;
use crate::lock::locked;
use crate::secret::FilePath;
use crate::secret::file_reader::Successive;
use crate::secret::pem::PemError;
pub use local::folder as local_folder;
use validity::Validity;

/// How often the files are looked at: a certificate manager replaces them days before the end.
const LOOK: Duration = Duration::from_secs(5);

/// Why TLS cannot be offered.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate does not serve.
    #[error(
        "the certificate and key of tls cannot be used; give a PEM certificate with its chain, and the key that belongs to it"
    )]
    Certificate(#[from] rustls::Error),
    /// The authority of callers does not serve.
    #[error(
        "tls.client_ca_file {path} holds no authority that can be used; give a PEM file of CA certificates"
    )]
    ClientAuthority {
        /// The file.
        path: FilePath,
        /// What is wrong with it.
        source: rustls::server::VerifierBuilderError,
    },
    /// The key is another certificate's.
    #[error(
        "the key in {key} does not belong to the first certificate in {certificate}; give the two that were made together, the certificate before its chain"
    )]
    Mismatch {
        /// The file of the certificate.
        certificate: FilePath,
        /// The file of the key.
        key: FilePath,
    },
    /// A file for the certificate without one.
    #[error("{0} holds no PEM certificate (-----BEGIN CERTIFICATE-----)")]
    NoCertificate(FilePath),
    /// A file for the key without one.
    #[error(
        "{0} holds no PEM private key (-----BEGIN PRIVATE KEY-----) that can be read; one that is encrypted cannot"
    )]
    NoKey(FilePath),
    /// The local certificate cannot be made.
    #[error("the certificate of `tls: local` cannot be made")]
    Make(#[from] rcgen::Error),
    /// There is no place for the files of `tls: local`.
    #[error("`tls: local` has no folder to keep its authority in; set HOME or XDG_STATE_HOME")]
    NoFolder,
    /// Broken PEM.
    #[error("a PEM section of {path} is broken; copy the file anew from where it was made")]
    Pem {
        /// The key that names it.
        key: &'static str,
        /// The file.
        path: FilePath,
        /// What is wrong with it.
        source: PemError,
    },
    /// A file cannot be read or written.
    #[error("cannot use {path}; {}", remedy(source))]
    Unusable {
        /// The key that names it; empty when the file is our own.
        key: &'static str,
        /// The file.
        path: FilePath,
        /// What the system said.
        source: io::Error,
    },
}

/// What to do about a file that cannot be used. Nothing is written but what `tls: local` keeps.
fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "make room where it is kept",
        io::ErrorKind::ReadOnlyFilesystem => {
            "set XDG_STATE_HOME to a folder that can be written and is kept"
        }
        _ => descriptors::remedy(
            source,
            "check that it is there and that this user may use it",
        ),
    }
}

impl TlsError {
    /// The key of `tls` that it is about.
    pub fn key(&self) -> &'static str {
        match self {
            Self::Certificate(_) | Self::NoCertificate(_) => "certificate_file",
            Self::ClientAuthority { .. } => "client_ca_file",
            Self::Mismatch { .. } | Self::NoKey(_) => "key_file",
            Self::Pem { key, .. } | Self::Unusable { key, .. } => key,
            // Those of `tls: local` are about no file of the configuration.
            Self::Make(_) | Self::NoFolder => "",
        }
    }
}

/// A certificate with all that belongs to it, ready for handshakes.
#[derive(Debug)]
pub struct Loaded {
    spec: TlsSpec,
    config: Arc<ServerConfig>,
    /// What it was made from; other bytes mean that it has to be made again.
    made_from: MadeFrom,
    /// When somebody else's is valid. One of our own making is made anew in time.
    validity: Option<Validity>,
}

impl Loaded {
    /// Why callers refuse the certificate at `now`, or will soon.
    pub fn complaint(&self, now: SystemTime) -> Option<String> {
        self.validity?.complaint(now)
    }
}

/// What a certificate was made from.
#[derive(Debug, PartialEq, Eq)]
enum MadeFrom {
    /// A digest of the files.
    Files([u8; 32]),
    /// Our own making, good until then.
    Local(SystemTime),
}

/// Reads or makes the certificate.
///
/// # Errors
/// When it cannot be used.
pub fn load(spec: &TlsSpec, now: SystemTime) -> Result<Loaded, TlsError> {
    let (config, made_from, validity) = match spec {
        TlsSpec::Files {
            certificate_file,
            key_file,
            client_ca_file,
        } => files::load(certificate_file, key_file, client_ca_file.as_ref())?,
        TlsSpec::Local => {
            let (config, made_from) = local::load(&local::folder()?, now)?;
            (config, made_from, None)
        }
    };
    Ok(Loaded {
        spec: spec.clone(),
        config: Arc::new(config),
        made_from,
        validity,
    })
}

/// What is offered to callers at this moment: TLS, or none.
#[derive(Debug, Default)]
pub struct Tls {
    config: ArcSwapOption<ServerConfig>,
    known: Mutex<Option<Known>>,
}

#[derive(Debug)]
struct Known {
    loaded: Loaded,
    /// The last failure that was reported.
    reported: Option<String>,
}

impl Tls {
    /// What a configuration asks for.
    pub fn new(loaded: Option<Loaded>) -> Self {
        let tls = Self::default();
        tls.replace(loaded);
        tls
    }

    /// For the next handshake; `None` when callers speak in the clear.
    pub(super) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.config.load_full().map(TlsAcceptor::from)
    }

    /// Offers another; open connections go on with what they began with.
    pub fn replace(&self, loaded: Option<Loaded>) {
        let mut known = locked(&self.known);
        self.config
            .store(loaded.as_ref().map(|loaded| Arc::clone(&loaded.config)));
        *known = loaded.map(|loaded| Known {
            loaded,
            reported: None,
        });
    }

    /// Why callers refuse the certificate at `now`, or will soon.
    pub fn complaint(&self, now: SystemTime) -> Option<String> {
        locked(&self.known).as_ref()?.loaded.complaint(now)
    }

    /// Looks at the files for ever.
    pub async fn watch(self: Arc<Self>) {
        // A file system that hangs must not hold up the runtime, which all control tasks share.
        let mut readers = Successive::default();
        loop {
            clock::sleep(LOOK).await;
            let now = SystemTime::now();
            let Some((spec, offered)) = self.due(now) else {
                continue;
            };
            let reader = readers.reader(&spec);
            let outcome = match reader.run(move || load(&spec, now)).await {
                Ok(outcome) => outcome.map_err(|error| Chain(&error).to_string()),
                Err(slow) => Err(slow.to_string()),
            };
            self.take(&offered, outcome);
        }
    }

    /// What is to be looked at, if anything is, and what is offered meanwhile.
    fn due(&self, now: SystemTime) -> Option<(TlsSpec, Arc<ServerConfig>)> {
        let known = locked(&self.known);
        let offered = &known.as_ref()?.loaded;
        // Files may change at any time; what was made here is good until it ends.
        let good = matches!(&offered.made_from, MadeFrom::Local(until) if now < *until);
        (!good).then(|| (offered.spec.clone(), Arc::clone(&offered.config)))
    }

    /// Takes what has changed since this was offered, unless a reload has put another in its place: it
    /// may have asked for another certificate, or read the same files later.
    fn take(&self, offered: &Arc<ServerConfig>, outcome: Result<Loaded, String>) {
        let mut known = locked(&self.known);
        let Some(known) = &mut *known else { return };
        if !Arc::ptr_eq(&known.loaded.config, offered) {
            return;
        }
        match outcome {
            Ok(loaded) => {
                known.reported = None;
                if loaded.made_from != known.loaded.made_from {
                    self.config.store(Some(Arc::clone(&loaded.config)));
                    known.loaded = loaded;
                    tracing::info!("the certificate for callers was renewed");
                }
            }
            Err(words) => known.report(words),
        }
    }
}

impl Known {
    /// Says what is wrong, once.
    fn report(&mut self, words: String) {
        if self.reported.as_ref() != Some(&words) {
            tracing::error!(
                error = words,
                "the certificate for callers has become unusable; the one before stays in use"
            );
            self.reported = Some(words);
        }
    }
}

/// Settings that do not depend on where the certificate comes from.
fn offer_protocols(config: &mut ServerConfig) {
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
}

#[cfg(test)]
mod tests;
