//! How long a token lives, is used, and when it is renewed.

use std::time::Duration;

/// Two ordinary calls are at least this far apart: managed identity hands out the same token until
/// it is nearly over, and would be asked in a loop.
const SHORTEST_CYCLE: Duration = Duration::from_secs(30);
/// A token is not used this close to its end: it must still be valid when it arrives.
const END_MARGIN: Duration = Duration::from_secs(30);
/// From this lifetime on, renewal is at half-life: an outage of hours then goes unnoticed.
const LONG_LIVED: Duration = Duration::from_secs(7200);

/// How long a new token lives and when its issuer wants it renewed, both counted from the start of
/// the call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lifetime {
    pub(super) expires_in: Duration,
    pub(super) refresh_in: Option<Duration>,
}

impl Lifetime {
    /// How long it is used.
    pub(super) fn usable_for(self) -> Duration {
        self.expires_in - END_MARGIN.min(self.expires_in / 10)
    }

    /// When to renew, counted from the start of the call that brought the token.
    pub(super) fn renew_after(self, random: f64) -> Duration {
        let latest = self.expires_in.mul_f64(0.8);
        let wanted = match self.refresh_in {
            Some(asked) => asked.min(latest),
            None if self.expires_in >= LONG_LIVED => self.expires_in / 2,
            None => latest,
        };
        // Up to a tenth earlier, so that replicas started together drift apart.
        let jittered = wanted - wanted.mul_f64(0.1 * random.clamp(0.0, 1.0));
        // A token that lives too short for it is renewed before it runs out, and not in a storm.
        let soonest = if SHORTEST_CYCLE < self.usable_for() {
            SHORTEST_CYCLE
        } else {
            latest.max(Duration::from_secs(1))
        };
        jittered.max(soonest)
    }
}
