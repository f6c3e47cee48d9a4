//! A worker's view of one token. Finding it costs one shared load and a clone of the worker's own
//! copy: no lock, no allocation, no write to memory that cores share. Only a request that finds
//! nothing usable waits, and dropping it changes nothing for anybody else.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderValue;

use super::deadline::Deadline;
use super::entry::{Published, TokenEntry};
use super::error::{RenewError, TokenError};
use super::slot::Renewal;
use crate::clock::{self, Now};
use crate::credential::ClaimsRequest;

/// What a request sends.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// `Bearer …`, marked sensitive.
    pub header: HeaderValue,
    /// Which token it is, within its entry.
    pub serial: u64,
}

/// One worker's view of one token. Each worker makes its own: a clone of a header writes the
/// reference count of its bytes, and that count must not be shared between cores.
#[derive(Debug)]
pub struct TokenReader {
    entry: Arc<TokenEntry>,
    copy: RefCell<Held>,
}

#[derive(Debug)]
struct Held {
    version: u64,
    token: Option<(Bearer, Deadline)>,
}

impl TokenReader {
    /// A view of this token.
    pub fn new(entry: Arc<TokenEntry>) -> Self {
        let copy = RefCell::new(Held {
            version: 0,
            token: None,
        });
        Self { entry, copy }
    }

    /// The token that is viewed.
    #[cfg(test)]
    pub(super) fn entry(&self) -> &Arc<TokenEntry> {
        &self.entry
    }

    /// The cached token, if it may be used now.
    pub fn find(&self, now: Now) -> Option<Bearer> {
        let version = self.entry.version();
        let mut held = self.copy.borrow_mut();
        if held.version != version {
            held.version = version;
            held.token = self.entry.published().and_then(|token| copy(&token));
        }
        match &held.token {
            Some((bearer, usable_until)) if !usable_until.has_come(now) => Some(bearer.clone()),
            _ => None,
        }
    }

    /// The cached token, or the one that the call in flight brings.
    ///
    /// # Errors
    /// Why the call failed, at once when the last one is known to have failed, or that `limit` has
    /// passed.
    pub async fn wait(&self, now: Now, limit: Duration) -> Result<Bearer, TokenError> {
        if let Some(bearer) = self.find(now) {
            return Ok(bearer);
        }
        let _waiting = self.entry.waiters().one_more();
        let mut phase = self.entry.watch();
        let deadline = clock::now() + limit;
        let mut nudged = false;
        loop {
            let (failure, retired) = {
                let seen = phase.borrow_and_update();
                (seen.failure.clone(), seen.retired)
            };
            if let Some(bearer) = self.find(Now::read()) {
                return Ok(bearer);
            }
            if retired {
                return Err(TokenError::Retired);
            }
            if let Some(failure) = failure {
                return Err(self.entry.explain(&failure, Now::read()));
            }
            if !nudged {
                // Timers sleep as long as a suspended machine does; the refresher may not know yet
                // that the token is over.
                self.entry.nudge();
                nudged = true;
            }
            if clock::until(deadline, phase.changed()).await.is_none() {
                return Err(TokenError::Late { waited: limit });
            }
        }
    }

    /// Another token than the one that the upstream refused: the cached one if it is newer already,
    /// else the one that a forced renewal brings, one for all who ask. Meanwhile the refused one
    /// stays in use.
    ///
    /// # Errors
    /// [`RenewError::Same`] when the same bytes came back, [`RenewError::Paused`] when a renewal was
    /// forced less than 30 s ago, else why the call failed.
    pub async fn renew(
        &self,
        refused: &Bearer,
        claims: Option<&ClaimsRequest>,
        limit: Duration,
    ) -> Result<Bearer, RenewError> {
        let now = Now::read();
        if let Some(bearer) = self.newer(refused, now) {
            return Ok(bearer);
        }
        let mut phase = self.entry.watch();
        let (renewal, known) = self.entry.reject(refused.serial, claims, now);
        let (call, failure) = match renewal {
            Renewal::Newer => return Ok(self.wait(now, limit).await?),
            Renewal::Paused(left) => return Err(RenewError::Paused { left }),
            Renewal::Failing => (known.ended + 1, known.failure),
            Renewal::ClaimsFailing => (known.ended + 1, known.claims_failure),
            Renewal::Join(call) => (call, None),
        };
        if let Some(failure) = failure {
            return Err(self.entry.explain(&failure, now).into());
        }
        let _waiting = self.entry.waiters().one_more();
        self.entry.nudge();
        let deadline = clock::now() + limit;
        loop {
            let seen = phase.borrow_and_update().clone();
            // A call that failed may have been followed by another before this task saw either.
            if seen.brought >= call {
                return self.newer(refused, Now::read()).ok_or(RenewError::Same);
            }
            if let Some(failure) = seen.failure_since(known.ended) {
                return Err(self.entry.explain(failure, Now::read()).into());
            }
            if seen.retired {
                return Err(TokenError::Retired.into());
            }
            if clock::until(deadline, phase.changed()).await.is_none() {
                return Err(TokenError::Late { waited: limit }.into());
            }
        }
    }

    /// An upstream refused the token with this serial to somebody who does not wait for another. If
    /// it is the cached one still, it is renewed as [`Self::renew`] does it; whether one more call
    /// is made.
    pub fn disown(&self, serial: u64) -> bool {
        let (renewal, _) = self.entry.reject(serial, None, Now::read());
        let joined = matches!(renewal, Renewal::Join(_));
        if joined {
            self.entry.nudge();
        }
        joined
    }

    /// The cached token, if it is usable and not the one that was refused.
    pub fn newer(&self, refused: &Bearer, now: Now) -> Option<Bearer> {
        self.find(now)
            .filter(|bearer| bearer.serial != refused.serial)
    }
}

/// A copy with bytes of its own, wiped when the last header made of them is gone.
fn copy(token: &Published) -> Option<(Bearer, Deadline)> {
    let bearer = Bearer {
        // The bytes were checked when the token came, so this is always a header.
        header: token.secret.header("Bearer ")?,
        serial: token.serial,
    };
    Some((bearer, token.usable_until))
}
