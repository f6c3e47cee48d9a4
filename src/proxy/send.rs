//! Sending: one attempt, one silent repeat when the connection died under it, and another when the
//! token was refused.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;

use super::call::Call;
use super::capacity::{is_quiet, note_throttling, wait_for_capacity, wait_to_retry};
use super::challenge;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::request::Outgoing;
use super::request_body::{PreparedBody, Replay};
use super::retry::Tried;
use super::small_body::settle;
use crate::clock::{self, Now};
use crate::config::{LATEST_RETRY, RetrySpec};
use crate::metrics::RetryReason;
use crate::retry_after;
use crate::token::Bearer;
use crate::upstream::{
    Channel, ConnectError, Failure, RequestBody, RequestHead, UpstreamBody, UpstreamResponse,
};

/// A request that goes up, as often as it takes.
pub(super) struct Delivery<'d, 'c> {
    pub(super) exchange: &'d mut Exchange,
    pub(super) call: &'d Call<'c>,
    outgoing: &'d mut Outgoing<'c>,
    /// Its body for further attempts.
    pub(super) replay: &'d Replay,
}

/// Gets the upstream's answer to a request, whatever its status but 401.
pub(super) async fn deliver<'c>(
    exchange: &mut Exchange,
    call: &Call<'c>,
    outgoing: &mut Outgoing<'c>,
    bearer: &Bearer,
    prepared: PreparedBody,
) -> Result<UpstreamResponse, ProxyError> {
    let PreparedBody { body, replay } = prepared;
    let mut delivery = Delivery {
        exchange,
        call,
        outgoing,
        replay: &replay,
    };
    let response = delivery.authorised(bearer, body).await?;
    match &call.route().spec.retry {
        Some(spec) => Box::pin(delivery.insist(response, spec)).await,
        None => Ok(response),
    }
}

impl Delivery<'_, '_> {
    /// Sends the request; a refused token is exchanged, and the request sent again.
    async fn authorised(
        &mut self,
        bearer: &Bearer,
        body: RequestBody,
    ) -> Result<UpstreamResponse, ProxyError> {
        let response = self.send(bearer, body).await?;
        if response.status() == StatusCode::UNAUTHORIZED {
            return Box::pin(challenge::answer(self, bearer, response)).await;
        }
        Ok(response)
    }

    /// Sends the request again as long as the route's `retry` wants that.
    async fn insist(
        &mut self,
        mut response: UpstreamResponse,
        spec: &RetrySpec,
    ) -> Result<UpstreamResponse, ProxyError> {
        let own = self.call.own();
        own.retries.save();
        for attempts in 1.. {
            if self.replay.is_gone() || self.outgoing.is_overridden() {
                break;
            }
            let asked = retry_after::read_seconds(response.headers(), SystemTime::now);
            let tried = Tried {
                attempts,
                method: &self.call.parts.method,
                status: response.status(),
                asked: asked.map(Duration::from_secs),
                waited: self.exchange.opened.mono.elapsed(),
            };
            let pause = own.retries.pause(spec, &tried, self.exchange.random());
            let Some((pause, price)) = pause else {
                break;
            };
            // The answer is not let go yet: without what it takes to ask again, it is passed on.
            let last = response.body_mut();
            let ready = self.wait_for_another(last, pause, spec.max_wait).await;
            let Some((body, bearer)) = ready else {
                break;
            };
            settle(&mut response.into_body()).await;
            price.pay();
            own.cells.retried(RetryReason::Status);
            response = self.authorised(&bearer, body).await?;
        }
        Ok(response)
    }

    /// Pauses, until the request may be sent again and with what; `None` when that is too late, or its
    /// body is gone. `last` is the body of the answer so far.
    async fn wait_for_another(
        &mut self,
        last: &mut UpstreamBody,
        pause: Duration,
        max_wait: Duration,
    ) -> Option<(RequestBody, Bearer)> {
        let over = Instant::now() + pause;
        // Nothing of this is at the upstream meanwhile, unless it still answers, or takes more of a body
        // that it has answered early.
        if settle(last).await {
            self.exchange.place = None;
        } else {
            self.replay.body()?;
        }
        let call = self.call;
        let latest = self.exchange.opened.mono + LATEST_RETRY;
        let limit = || {
            let left = latest.saturating_duration_since(Instant::now());
            call.token_wait().min(left)
        };
        let body = self.replay.whole(limit()).await.ok()??;
        clock::sleep_until(over).await;
        if !wait_to_retry(self.exchange, call, latest, max_wait).await {
            return None;
        }
        let bearer = call.own().token.wait(Now::read(), limit()).await.ok()?;
        // More quiet may have been asked for while it waited for that.
        let may = wait_to_retry(self.exchange, call, latest, max_wait).await;
        may.then_some((body, bearer))
    }

    /// Sends the request once and returns the upstream's answer, whatever its status.
    pub(super) async fn send(
        &mut self,
        bearer: &Bearer,
        body: RequestBody,
    ) -> Result<UpstreamResponse, ProxyError> {
        let Self {
            exchange,
            call,
            outgoing,
            replay,
        } = self;
        let own = call.own();
        exchange.sent.attempts += 1;
        exchange.sent.token_serial = bearer.serial;
        let mut sent = match exchange.sent.waited {
            true => Instant::now(),
            false => exchange.opened.mono,
        };
        exchange.sent.waited = true;
        let head = outgoing.attempt(bearer, &body);
        let channel = match own.upstream.ready(false) {
            Some(channel) => Ok(channel),
            None => Box::pin(channel(exchange, call, &mut sent, false)).await?,
        };
        let outcome = match own.upstream.send_on(channel, head, body).await {
            Err(Failure {
                error,
                body: Some(body),
                ..
            }) if error.lacks_descriptors() => {
                call.lane.close_idle();
                let head = outgoing.attempt(bearer, &body);
                Box::pin(again(exchange, call, &mut sent, head, body, false)).await?
            }
            Err(mut failure) if may_repeat(&failure, outgoing.is_safe()) => {
                let body = match failure.body.take() {
                    Some(body) => Some(body),
                    // There is no answer to pass on instead, and the caller has a limit of its own.
                    None => replay.whole(Duration::MAX).await?,
                };
                if let Some(body) = body {
                    // Quiet may have been asked for while it was on its way.
                    let died = Instant::now();
                    wait_for_capacity(exchange, call).await?;
                    sent += died.elapsed();
                    own.cells.retried(RetryReason::Connection);
                    exchange.sent.attempts += 1;
                    let head = outgoing.attempt(bearer, &body);
                    let fresh = failure.is_dead_connection();
                    Box::pin(again(exchange, call, &mut sent, head, body, fresh)).await?
                } else {
                    Err(failure)
                }
            }
            answer => answer,
        };
        match outcome {
            Ok(mut response) => {
                note_throttling(call, &mut response);
                let now = Instant::now();
                own.cells.head_arrived(now.duration_since(sent));
                exchange.sent.response_began = Some(now);
                exchange.note_upstream_request_id(response.headers());
                Ok(response)
            }
            Err(failure) => Err(explain(exchange, failure)),
        }
    }
}

/// What the request goes up on, once there is something and while the upstream wants no quiet: who
/// waits in a burst hears what the first of it were told. `sent` is when it was ready to go.
async fn channel(
    exchange: &mut Exchange,
    call: &Call<'_>,
    sent: &mut Instant,
    fresh: bool,
) -> Result<Result<Channel, Rc<ConnectError>>, ProxyError> {
    loop {
        let channel = match call.own().upstream.acquire(fresh).await {
            Ok(channel) if is_quiet(call.route()) => channel,
            outcome => return Ok(outcome),
        };
        channel.give_back_unused();
        exchange.sent.attempts -= 1;
        wait_for_capacity(exchange, call).await?;
        exchange.sent.attempts += 1;
        *sent = Instant::now();
    }
}

/// Sends the request on another channel.
async fn again(
    exchange: &mut Exchange,
    call: &Call<'_>,
    sent: &mut Instant,
    head: RequestHead<'_>,
    body: RequestBody,
    fresh: bool,
) -> Result<Result<UpstreamResponse, Failure>, ProxyError> {
    let channel = channel(exchange, call, sent, fresh).await?;
    Ok(call.own().upstream.send_on(channel, head, body).await)
}

/// Whether there may be another attempt: the connection or the stream died before the answer began,
/// and either the upstream did not act on the request, or the request is safe. A write that the
/// upstream may have read is never sent twice.
fn may_repeat(failure: &Failure, safe: bool) -> bool {
    let died = failure.is_dead_connection() || failure.is_dead_stream();
    died && (failure.unprocessed || safe)
}

/// A failure of the caller's own body is told apart from one of the upstream.
fn explain(exchange: &Exchange, failure: Failure) -> ProxyError {
    match exchange.upload.as_ref().and_then(|upload| upload.fault()) {
        Some(fault) => fault.into(),
        None => failure.error.into(),
    }
}
