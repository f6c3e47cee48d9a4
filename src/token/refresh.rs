//! The task that performs what the state of a token decides: it alone makes calls, one at a time,
//! and no request waits for it while a usable token is there.

use std::convert::Infallible;
use std::time::Duration;

use super::entry::{Begin, Call, TokenEntry};
use crate::clock::{self, Now};
use crate::credential::Stamp;

/// The wall clock is looked at this often: a suspended machine's timers sleep as long as it did.
const LOOK: Duration = Duration::from_secs(30);
/// Files of a credential that fails, or whose fallback got the token, are looked at this often; and
/// whether it is accepted again.
const POLL: Duration = Duration::from_secs(5);

/// Renews the token for ever.
pub(super) async fn run(entry: &TokenEntry) -> Infallible {
    let mut known = None;
    // What a call sent may be neither what was seen before it nor what is there now.
    let mut changed_during_call = false;
    loop {
        match entry.begin(Now::read()) {
            Begin::Call(call) => {
                // Taken before the call reads the files, so that no change falls in between.
                let seen = call.supplier.stamp().await;
                let stamp = match &known {
                    Some(before) => seen.or(before),
                    None => seen,
                };
                let (stamp, changed) = perform(entry, call, stamp).await;
                changed_during_call = changed;
                known = Some(stamp);
            }
            Begin::Wait(pause) => {
                let watched = entry.watched();
                let longest = if watched.is_some() { POLL } else { LOOK };
                tokio::select! {
                    () = clock::sleep(pause.min(longest)) => {}
                    () = entry.nudged() => {}
                }
                if let Some(supplier) = entry.watched() {
                    let stamp = supplier.stamp().await.readable();
                    if let Some(before) = &known {
                        let changed = stamp.differs_from(before) || changed_during_call;
                        known = Some(stamp.or(before));
                        changed_during_call = false;
                        if changed {
                            entry.files_changed(Now::read());
                        }
                    }
                }
            }
        }
    }
}

/// Makes the call. Returns what is known of its files, and whether it failed, or the fallback gave the
/// token, and they no longer hold what they did before it.
async fn perform(entry: &TokenEntry, call: Call, before: Stamp) -> (Stamp, bool) {
    let began = Now::read();
    let acquired = call.supplier.call(call.request).await;
    let ended = Now::read();
    let took = ended.mono.saturating_duration_since(began.mono);
    let answered = acquired.is_answered();
    let token = acquired.outcome.as_ref();
    let replaced = token.is_ok_and(|token| token.fallback.is_some());
    // Before anybody hears of the failure, and mends the file.
    let after = match &acquired.outcome {
        Err(_) => Some(call.supplier.stamp().await),
        Ok(_) => None,
    };
    entry.finish(acquired, took, ended, random());
    // No token waits for a file.
    let after = match after {
        None if replaced => Some(call.supplier.stamp().await),
        seen => seen,
    };
    match after {
        Some(after) => Stamp::after_failure(before, after, answered),
        None => (before, false),
    }
}

/// A number in `0.0..1.0`.
fn random() -> f64 {
    let mut bytes = [0_u8; 4];
    // AWS-LC's generator does not fail once seeded; jitter may be missing once.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    f64::from(u32::from_ne_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
