//! When callers may take a certificate for good.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::time::ASN1Time;

use crate::timestamp::Timestamp;

/// From when on an end that comes near is told: when this part of the certificate's time is left.
/// Certificate managers renew when a third is left; less than half of that means that one did not.
const NEAR: u32 = 8;
/// But never earlier than this, as with credentials: what people renew may live for ten years.
const AT_MOST: Duration = Duration::from_secs(30 * 86_400);

/// The time in which a certificate is valid (RFC 5280 section 4.1.2.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Validity {
    begins: SystemTime,
    ends: SystemTime,
}

impl Validity {
    /// That of a certificate, if it can be read.
    pub(super) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
        let validity = certificate.validity();
        Some(Self {
            begins: moment(validity.not_before),
            ends: moment(validity.not_after),
        })
    }

    /// Its end; none at a `now` before its beginning.
    pub(super) fn end(&self, now: SystemTime) -> Option<SystemTime> {
        (self.begins <= now).then_some(self.ends)
    }

    /// What to say at `now` of the certificate for callers; nothing while all is well.
    pub(super) fn complaint(&self, now: SystemTime) -> Option<String> {
        let life = self.ends.duration_since(self.begins).unwrap_or_default();
        if now < self.begins {
            let begins = Timestamp::of(self.begins);
            return Some(format!(
                "callers refuse the certificate of tls: it is not valid before {begins}; check this machine's clock, or give one that is valid now"
            ));
        }
        let ends = Timestamp::of(self.ends);
        match self.ends.duration_since(now) {
            Ok(left) if left > AT_MOST.min(life / NEAR) => None,
            Ok(left) if !left.is_zero() => Some(format!(
                "the certificate of tls expires at {ends} and was not renewed yet; put the next one and its key in place"
            )),
            _ => Some(format!(
                "callers refuse the certificate of tls: it expired at {ends}; put a new one and its key in place"
            )),
        }
    }
}

/// Moments before 1970 are as good as that.
fn moment(time: ASN1Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_complained_of_before_its_time_near_its_end_and_after_it() {
        let day = |n: u64| UNIX_EPOCH + Duration::from_secs(n * 86_400);
        let validity = Validity {
            begins: day(20_000),
            ends: day(20_080),
        };
        let said = |now| validity.complaint(now).unwrap_or_default();
        assert!(said(day(19_999)).contains("not valid before 2024-10-04T00:00:00.000Z;"));
        for now in [day(20_000), day(20_069)] {
            assert_eq!(said(now), "");
        }
        for now in [day(20_070), day(20_080) - Duration::from_secs(1)] {
            assert!(said(now).contains("expires at 2024-12-23T00:00:00.000Z and"));
        }
        for now in [day(20_080), day(30_000)] {
            assert!(said(now).contains("it expired at 2024-12-23T00:00:00.000Z;"));
        }
        let long = Validity {
            ends: day(23_650),
            ..validity
        };
        for (now, near) in [(day(23_619), false), (day(23_620), true)] {
            assert_eq!(long.complaint(now).is_some(), near);
        }
    }
}
