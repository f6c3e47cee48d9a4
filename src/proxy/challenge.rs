//! A 401 of the upstream. The token that was refused is exchanged for another one, once for all who
//! were refused with it, and the request is sent once more if it can be. A caller cannot heal a
//! refused token, and its SDK would try to log in, so it never sees the 401 itself.

use std::fmt;
use std::pin::pin;
use std::time::Duration;

use http::StatusCode;

use super::call::Call;
use super::capacity::wait_for_capacity;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::refusal_report::RefusalReport;
use super::send::Delivery;
use crate::clock::{self, Now};
use crate::config::is_sharepoint;
use crate::credential::ClaimsRequest;
use crate::metrics::RetryReason;
use crate::token::{Bearer, RenewError, challenge};
use crate::upstream::UpstreamResponse;

/// How long another token usually takes, and a request keeps its place of `max_concurrency` for it.
/// Whoever waits behind it would go up with the token that was refused just now; in an outage of Entra
/// that is better than to wait with it.
const USUAL: Duration = Duration::from_secs(2);

/// Why a refusal of the upstream ends the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The token that was fetched because of it is refused too.
    Again,
    /// There is another token now, but the body is gone.
    Gone,
    /// Another token was fetched because of a refusal less than 30 s ago.
    Paused {
        /// Until that may be done again.
        left: Duration,
    },
    /// The same token came again.
    Same,
}

/// The upstream refused the token and that is the end of it.
#[derive(Debug)]
pub struct TokenRefused {
    verdict: Verdict,
    report: Box<RefusalReport>,
    /// Whether it asked for claims (`insufficient_claims`).
    claims: bool,
    /// Whether it is a SharePoint.
    sharepoint: bool,
}

impl std::error::Error for TokenRefused {}

/// What the caller is told: whose refusal it is, what the upstream says, what to look at.
impl fmt::Display for TokenRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = match self.verdict {
            Verdict::Again => {
                "a token that was fetched just now is refused too; check the route's scope, the roles of the app (Graph) or its application user (Dynamics), and conditional access: `tokenferry doctor ROUTE` tells which"
            }
            Verdict::Gone => {
                "another token is in place now, but the body of this request streamed and is gone; send the request again"
            }
            Verdict::Paused { .. } if self.claims => {
                "another token was fetched less than 30 s ago, and one with these claims is asked for when Retry-After has passed: send the request again then"
            }
            Verdict::Paused { .. } => {
                "another token was fetched less than 30 s ago, and it is refused as well; check the route's scope, the roles of the app (Graph) or its application user (Dynamics), and conditional access: `tokenferry doctor ROUTE` tells which"
            }
            Verdict::Same => {
                "the same token came again, as a managed identity's does for up to a day; check the route's scope and the permissions of the app or managed identity: `tokenferry doctor ROUTE` tells which"
            }
        };
        let asks = if self.claims {
            "it asks for claims that the token does not have, "
        } else {
            ""
        };
        let hint = match self.verdict {
            Verdict::Again | Verdict::Paused { .. } | Verdict::Same
                if self.sharepoint && !self.claims =>
            {
                "; SharePoint takes app-only tokens of certificate credentials only"
            }
            _ => "",
        };
        let words = self.report.words();
        write!(
            f,
            "the upstream refused the token ({asks}{words}); {end}{hint}"
        )
    }
}

impl TokenRefused {
    /// When a request may get another token.
    pub fn retry_after(&self) -> Option<Duration> {
        match self.verdict {
            Verdict::Paused { left } => Some(left),
            Verdict::Again | Verdict::Gone | Verdict::Same => None,
        }
    }
}

/// A 401 of the upstream.
struct Refusal {
    claims: Option<ClaimsRequest>,
    report: RefusalReport,
}

impl Refusal {
    async fn read(response: UpstreamResponse) -> Self {
        Self {
            claims: challenge::read(response.headers()),
            report: RefusalReport::read(response).await,
        }
    }

    /// The end of the request.
    fn ends(self, verdict: Verdict, call: &Call<'_>) -> ProxyError {
        let refused = TokenRefused {
            verdict,
            report: Box::new(self.report),
            claims: self.claims.is_some(),
            sharepoint: is_sharepoint(call.route().spec.upstream.origin.host.as_str()),
        };
        refused.into()
    }
}

/// Exchanges the token that was refused and sends the request again.
pub(super) async fn answer(
    delivery: &mut Delivery<'_, '_>,
    refused: &Bearer,
    mut response: UpstreamResponse,
) -> Result<UpstreamResponse, ProxyError> {
    let call = delivery.call;
    let token = &call.own().token;
    let limit = call.token_wait();
    let mut refused = refused.clone();
    loop {
        let refusal = Refusal::read(response).await;
        let known = token.newer(&refused, Now::read());
        let was_known = known.is_some();
        let renewed = match known {
            Some(bearer) => Ok(bearer),
            None => {
                let renewal = token.renew(&refused, refusal.claims.as_ref(), limit);
                await_renewal(delivery.exchange, renewal).await
            }
        };
        let renewed = match renewed {
            Ok(bearer) => bearer.serial,
            Err(RenewError::Failed(error)) => return Err(error.into()),
            Err(RenewError::Paused { left }) => {
                return Err(refusal.ends(Verdict::Paused { left }, call));
            }
            Err(RenewError::Same) => return Err(refusal.ends(Verdict::Same, call)),
        };
        let Some(body) = delivery.replay.whole(limit).await? else {
            return Err(refusal.ends(Verdict::Gone, call));
        };
        let bearer = when_it_may_go_up(delivery.exchange, call).await?;
        call.own().cells.retried(match refusal.claims {
            Some(_) => RetryReason::Challenge,
            None => RetryReason::Token,
        });
        response = delivery.send(&bearer, body).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        // A token that came meanwhile for another reason may lack the claims as well.
        let came_meanwhile = was_known || bearer.serial != renewed;
        let asks_for_claims = challenge::read(response.headers()).is_some();
        if !(came_meanwhile && asks_for_claims) {
            return Err(Refusal::read(response).await.ends(Verdict::Again, call));
        }
        refused = bearer;
    }
}

/// Waits until the request may be sent again; the token that is in use then. The refused one has been
/// replaced by now, and what replaced it may be over after a wait of half a minute.
async fn when_it_may_go_up(exchange: &mut Exchange, call: &Call<'_>) -> Result<Bearer, ProxyError> {
    wait_for_capacity(exchange, call).await?;
    let token = &call.own().token;
    if let Some(bearer) = token.find(Now::read()) {
        return Ok(bearer);
    }
    let bearer = await_renewal(exchange, token.wait(Now::read(), call.token_wait())).await?;
    // More quiet may have been asked for while it waited for that.
    wait_for_capacity(exchange, call).await?;
    Ok(bearer)
}

/// Waits for another token, and gives the exchange's place to others when that takes long.
async fn await_renewal<T>(exchange: &mut Exchange, renewal: impl Future<Output = T>) -> T {
    let mut renewal = pin!(renewal);
    match clock::within(USUAL, renewal.as_mut()).await {
        Some(renewed) => renewed,
        None => {
            exchange.place = None;
            renewal.await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::FORCED_PAUSE;

    #[test]
    fn sharepoint_is_said_to_want_a_certificate_where_that_may_be_why() {
        let said = |verdict, claims, sharepoint| {
            let refused = TokenRefused {
                verdict,
                report: Box::default(),
                claims,
                sharepoint,
            };
            refused.to_string().contains("certificate credentials only")
        };
        let left = Duration::from_secs(9);
        for verdict in [Verdict::Again, Verdict::Same, Verdict::Paused { left }] {
            assert!(said(verdict, false, true));
            assert!(!said(verdict, true, true), "it asks for claims");
            assert!(!said(verdict, false, false));
        }
        assert!(!said(Verdict::Gone, false, true));
    }

    #[test]
    fn the_pause_between_forced_renewals_is_told_as_it_is() {
        for claims in [false, true] {
            let refused = TokenRefused {
                verdict: Verdict::Paused {
                    left: Duration::ZERO,
                },
                report: Box::default(),
                claims,
                sharepoint: false,
            };
            let told = format!("less than {} s ago", FORCED_PAUSE.as_secs());
            assert!(refused.to_string().contains(&told), "{refused}");
        }
    }
}
