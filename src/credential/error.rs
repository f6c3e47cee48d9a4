//! Why no token came, sorted by what is done about it: a person changes something, or it is asked
//! again later. Nothing in here holds a secret or the words of a server.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::arc_key::ArcKeyError;
use super::certificate::CertificateError;
use super::key_file::KeyFault;
use super::platform::PlatformError;
use super::reason::Reason;
use super::refusal::Refusal;
use crate::chain::causes;
use crate::config::Name;
use crate::descriptors;
use crate::secret::SecretError;
use crate::secret::file_reader::Unread;

/// Why no token came.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Neither of a pair gave a token. What is done about it goes by the second's reason: the first
    /// is asked again in its own time.
    #[error("{first}; its fallback \"{fallback}\": {second}")]
    Both {
        /// Why the first gave none.
        first: Reason,
        /// The second's name.
        fallback: Name,
        /// Why the second gave none, now or before it was to be left alone.
        second: Arc<Self>,
    },
    /// An answer that is neither a token nor a refusal. Asked again like an outage.
    #[error("{from} sent an answer that is not a token: {flaw}")]
    Malformed {
        /// Who answered.
        from: Peer,
        /// What is wrong with the answer.
        flaw: Flaw,
    },
    /// A person must change something.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// Asked too often.
    #[error("{0}")]
    Throttled(Box<Refusal>),
    /// An outage, here, there or in between.
    #[error(transparent)]
    Unavailable(#[from] Outage),
}

/// What a person must change.
#[derive(Debug, thiserror::Error)]
pub enum Rejection {
    /// The endpoint refused.
    #[error("{0}")]
    Answer(Box<Refusal>),
    /// The key of the Azure Arc agent was not read; no token was asked for.
    #[error(transparent)]
    ArcKey(#[from] ArcKeyError),
    /// The certificate or its key cannot be used; nothing was sent.
    #[error(transparent)]
    Certificate(#[from] CertificateError),
    /// The platform's identity endpoint refused.
    #[error("{0}")]
    Identity(Box<Refusal>),
    /// The platform has no identity that can be used; no token was asked for.
    #[error(transparent)]
    Platform(#[from] PlatformError),
    /// The secret or token file cannot be read; nothing was sent.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The file system of the secret, token or certificate does not answer, or reading it came to a
    /// fault of ours; nothing was sent.
    #[error("{source_name}: {why}")]
    Unread {
        /// The file.
        source_name: String,
        /// Why.
        why: Unread,
    },
    /// The file of another issuer's token holds something else; nothing was sent.
    #[error(
        "{source_name} does not hold a token alone; put the issuer's token there, without quotes or the JSON that it came in"
    )]
    NotToken {
        /// The file.
        source_name: String,
    },
    /// What should hold a secret holds something else; nothing was sent.
    #[error(
        "{source_name} does not hold a secret alone, which is one line without control characters; put the secret's value there and nothing else"
    )]
    NotSecret {
        /// The variable or file.
        source_name: String,
    },
    /// The secret or token is not text; nothing was sent.
    #[error("{source_name} does not hold text; put the value there, in UTF-8")]
    NotText {
        /// The variable or file.
        source_name: String,
    },
}

/// An outage.
#[derive(Debug, thiserror::Error)]
pub enum Outage {
    /// The server answered that it is unwell.
    #[error("{0}")]
    Answer(Box<Refusal>),
    /// No connection, or one that broke.
    #[error("cannot reach {to}; {hint}")]
    Connection {
        /// Who was called.
        to: Peer,
        /// What to look at.
        hint: Cow<'static, str>,
        /// What happened; without the URL.
        #[source]
        source: reqwest::Error,
    },
    /// A token came, and the issuer itself says that its time is over.
    #[error(
        "{from} gave a token that has already expired; if that goes on, check this machine's clock"
    )]
    Expired {
        /// Who answered.
        from: Peer,
    },
    /// The credential's files were not opened, for want of file descriptors.
    #[error(
        "no file descriptor was left to read the credential's files with; raise the proxy's limit of open files (ulimit -n, LimitNOFILE)"
    )]
    NoDescriptor,
    /// The credential's files were not read, for want of a thread.
    #[error("no thread to read the credential's files with was to be had within {} s; raise the proxy's limit of processes and threads", within.as_secs())]
    NoThread {
        /// How long was waited.
        within: Duration,
    },
    /// No answer in time.
    #[error("{to} did not answer within {} s; check the network and firewalls in between", within.as_secs())]
    Timeout {
        /// Who was called.
        to: Peer,
        /// How long was waited.
        within: Duration,
    },
}

/// What is wrong with an answer that should have been a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// A body of no bytes.
    #[error("it is empty")]
    Empty,
    /// More than 64 KiB.
    #[error("it is larger than 64 KiB")]
    Large,
    /// Not a JSON object with the members of RFC 6749 section 5.1.
    #[error("it is not the JSON of a token answer; look for a proxy or portal in between")]
    NotJson,
    /// A status that is neither success nor error.
    #[error("its status is {0}; look for a proxy or portal in between")]
    Status(u16),
    /// No access token, or an empty one.
    #[error("it holds no access token")]
    TokenAbsent,
    /// Bytes that cannot stand in a header.
    #[error("its token holds bytes that cannot be sent in a header")]
    TokenBytes,
    /// More than 16 KiB: no upstream takes such a header.
    #[error("its token is longer than 16 KiB")]
    TokenLong,
    /// Not a bearer token.
    #[error("its token_type is not Bearer")]
    TokenType,
}

/// How soon asking again can help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// At most once a minute.
    Permanent,
    /// After half a minute to a minute: a change is on its way through the directory, or what was
    /// asked too often is to be left alone.
    Slow,
    /// After a back-off.
    Soon,
    /// After this time.
    In(Duration),
}

/// Who was asked, as people call it: a host, or the platform's identity endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer(Arc<str>);

impl Peer {
    /// Names a peer.
    pub fn new(name: &str) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl CredentialError {
    /// A file that was not read.
    pub(super) fn unread(source_name: &impl fmt::Display, why: Unread) -> Self {
        match why {
            Unread::NoThread { within } => Outage::NoThread { within }.into(),
            Unread::Fault | Unread::TooSlow { .. } => Rejection::Unread {
                source_name: source_name.to_string(),
                why,
            }
            .into(),
        }
    }

    /// A want of file descriptors says nothing about the credential: it is taken for an outage.
    pub(super) fn of_this_moment(self) -> Self {
        let is_want = causes(&self)
            .filter_map(|cause| cause.downcast_ref())
            .any(descriptors::ran_out);
        match is_want {
            true => Outage::NoDescriptor.into(),
            false => self,
        }
    }

    /// Whether a person must change something before asking again can help.
    pub fn needs_a_person(&self) -> bool {
        match self {
            Self::Both { second, .. } => second.needs_a_person(),
            Self::Rejected(_) => true,
            Self::Malformed { .. } | Self::Throttled(_) | Self::Unavailable(_) => false,
        }
    }

    /// Whether all that is wrong is that the certificate's time is over.
    pub fn is_of_time(&self) -> bool {
        matches!(
            self,
            Self::Rejected(Rejection::Certificate(CertificateError::Fault {
                fault: KeyFault::Expired { .. },
                ..
            }))
        )
    }

    /// Whether the files were not read, which says nothing of what they hold.
    pub(super) fn is_unread(&self) -> bool {
        matches!(self, Self::Rejected(Rejection::Unread { .. }))
    }

    /// Whether it came of asking the endpoint, whatever that said, so that the files had been read.
    pub(super) fn is_of_endpoint(&self) -> bool {
        match self {
            Self::Both { second, .. } => second.is_of_endpoint(),
            Self::Rejected(Rejection::Answer(_) | Rejection::Identity(_))
            | Self::Malformed { .. }
            | Self::Throttled(_)
            | Self::Unavailable(
                Outage::Answer(_)
                | Outage::Connection { .. }
                | Outage::Expired { .. }
                | Outage::Timeout { .. },
            ) => true,
            Self::Rejected(_)
            | Self::Unavailable(Outage::NoDescriptor | Outage::NoThread { .. }) => false,
        }
    }

    /// What happened and what to do, for the log and the status page. May name files.
    pub fn words(&self) -> String {
        if let Self::Both {
            first,
            fallback,
            second,
        } = self
        {
            let (first, second) = (first.words(), second.words());
            return format!("{first}; its fallback \"{fallback}\": {second}");
        }
        match causes(self).last() {
            Some(root) => format!("{self}: {root}"),
            None => self.to_string(),
        }
    }

    /// The same for a caller of the proxy: without file names and without what lies below.
    pub fn caller_words(&self) -> String {
        match self {
            Self::Both {
                first,
                fallback,
                second,
            } => {
                let second = second.caller_words();
                format!("{first}; its fallback \"{fallback}\": {second}")
            }
            Self::Rejected(Rejection::Answer(_) | Rejection::Identity(_))
            | Self::Malformed { .. }
            | Self::Throttled(_)
            | Self::Unavailable(_) => self.to_string(),
            Self::Rejected(
                Rejection::ArcKey(_)
                | Rejection::Certificate(_)
                | Rejection::Platform(_)
                | Rejection::Secret(_)
                | Rejection::Unread { .. }
                | Rejection::NotToken { .. }
                | Rejection::NotSecret { .. }
                | Rejection::NotText { .. },
            ) => "the credential cannot be used as it is configured; the log and the status page of the proxy say why".to_owned(),
        }
    }

    /// How long the server wants quiet, when it said so.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Both { second, .. } => second.retry_after(),
            Self::Throttled(refusal) | Self::Unavailable(Outage::Answer(refusal)) => {
                refusal.retry_after
            }
            Self::Malformed { .. } | Self::Rejected(_) | Self::Unavailable(_) => None,
        }
    }

    /// Why the second of a pair gave no token, and how long its server wants it left alone.
    pub fn resting(&self) -> Option<(&Arc<Self>, Duration)> {
        match self {
            Self::Both { second, .. } => Some((second, second.retry_after()?)),
            _ => None,
        }
    }

    /// How soon asking again can help.
    pub fn pace(&self) -> Pace {
        match self {
            Self::Both { second, .. } => second.pace(),
            Self::Rejected(Rejection::Answer(refusal)) if refusal.is_slow() => Pace::Slow,
            // Nobody has refused anything yet.
            Self::Rejected(Rejection::Unread { .. }) => Pace::Soon,
            Self::Rejected(_) => Pace::Permanent,
            Self::Throttled(refusal) if refusal.is_of_a_loop() => Pace::Slow,
            Self::Malformed { .. } | Self::Throttled(_) | Self::Unavailable(_) => Pace::Soon,
        }
    }

    /// Whether it was the credential that was refused, as invalid or expired, and not the scope,
    /// the tenant or a policy: another credential can help.
    pub fn refuses_credential(&self) -> bool {
        match self {
            Self::Both { second, .. } => second.refuses_credential(),
            Self::Rejected(Rejection::Answer(refusal)) => refusal.refuses_credential(),
            Self::Rejected(_) => true,
            Self::Malformed { .. } | Self::Throttled(_) | Self::Unavailable(_) => false,
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::secret::FilePath;

    #[test]
    fn a_want_of_descriptors_is_an_outage_and_no_rejection() {
        for (errno, outage) in [
            (rustix::io::Errno::MFILE, true),
            (rustix::io::Errno::ACCESS, false),
        ] {
            let secret = SecretError::Unreadable {
                path: FilePath::unknown("secret"),
                source: errno.into(),
            };
            let key = ArcKeyError::Unreadable {
                file: "/var/opt/azcmagent/tokens/a.key".into(),
                source: errno.into(),
            };
            for unreadable in [Rejection::from(secret), key.into()] {
                let error = CredentialError::from(unreadable).of_this_moment();
                let found = matches!(error, CredentialError::Unavailable(Outage::NoDescriptor));
                assert_eq!(found, outage, "{error}");
                assert_eq!(error.refuses_credential(), !outage, "{error}");
            }
        }
    }
}
