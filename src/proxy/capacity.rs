//! When a request may go up: not while its upstream has asked for quiet and the route holds it, and
//! not while `max_concurrency` others are there.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::{Response, StatusCode};

use super::call::Call;
use super::error::ProxyError;
use super::exchange::Exchange;
use super::generation::Route;
use super::route_places::RoutePlaces;
use crate::clock;
use crate::config::Throttle;
use crate::retry_after;
use crate::upstream::UpstreamBody;

/// How long a request waits for a place among `max_concurrency`: well below the 100 s after which
/// SDKs give up, so that they are told.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

const NO_PLACE: &str =
    "no place among the route's max_concurrency was free for 30 s; send fewer requests at once";

/// Waits until the request may go up. The place is the exchange's until the end of the answer's
/// body. It may be asked again: a request that has waited for a token since keeps the place it has,
/// but for a quiet that was asked for meanwhile.
pub(super) async fn wait_for_capacity(
    exchange: &mut Exchange,
    call: &Call<'_>,
) -> Result<(), ProxyError> {
    let route = call.route();
    if !route.may_wait() {
        return Ok(());
    }
    Box::pin(queue(exchange, route)).await
}

async fn queue(exchange: &mut Exchange, route: &Route) -> Result<(), ProxyError> {
    loop {
        wait_for_quiet(exchange, route).await?;
        if route.places.is_none() || exchange.place.is_some() {
            return Ok(());
        }
        // Quiet may be asked for while it waits for its place.
        place(exchange, route.places.as_ref(), LONGEST_WAIT).await?;
    }
}

/// Whether the route keeps a quiet now. One that it kept before a reload may be nobody's.
pub(super) fn is_quiet(route: &Route) -> bool {
    let keeps = matches!(route.spec.throttle, Throttle::Hold(_));
    keeps && route.throttle_gate.left(Instant::now).is_some()
}

/// Waits for the end of the quiet that the route keeps, if there is one.
pub(super) async fn wait_for_quiet(
    exchange: &mut Exchange,
    route: &Route,
) -> Result<(), ProxyError> {
    if let Throttle::Hold(wait) = route.spec.throttle
        && route.throttle_gate.left(Instant::now).is_some()
    {
        // Nothing of it is at the upstream.
        exchange.place = None;
        let latest = exchange.opened.mono + wait;
        let over = route.throttle_gate.wait_open(latest).await;
        over.map_err(|left| ProxyError::Throttled { left })?;
    }
    Ok(())
}

/// Takes one of the route's places; waiting requests are served in the order they came.
async fn place(
    exchange: &mut Exchange,
    places: Option<&Arc<RoutePlaces>>,
    limit: Duration,
) -> Result<(), ProxyError> {
    let Some(places) = places else {
        return Ok(());
    };
    let Some(place) = clock::within(limit, places.take()).await else {
        return Err(ProxyError::Overloaded(NO_PLACE));
    };
    exchange.place = Some(place);
    Ok(())
}

/// Waits until a request may be sent again, as [`wait_for_capacity`] does; whether it may by
/// `latest`, and after a quiet of no more than `max_wait`.
pub(super) async fn wait_to_retry(
    exchange: &mut Exchange,
    call: &Call<'_>,
    latest: Instant,
    max_wait: Duration,
) -> bool {
    let route = call.route();
    // Another request may have been asked for more quiet meanwhile.
    while may_ask_by(call, latest.min(Instant::now() + max_wait)).await {
        if exchange.place.is_some() {
            return true;
        }
        let left = latest.saturating_duration_since(Instant::now());
        let limit = LONGEST_WAIT.min(left);
        let placed = place(exchange, route.places.as_ref(), limit).await;
        if placed.is_err() {
            return false;
        }
        if !is_quiet(route) {
            return true;
        }
        exchange.place = None;
    }
    false
}

/// Waits until the route's upstream may be asked again; whether it may by `deadline`. If not, that is
/// known at once.
async fn may_ask_by(call: &Call<'_>, deadline: Instant) -> bool {
    let route = call.route();
    let Throttle::Hold(_) = route.spec.throttle else {
        return true;
    };
    let left = route.throttle_gate.left(Instant::now).unwrap_or_default();
    Instant::now() + left <= deadline && route.throttle_gate.wait_open(deadline).await.is_ok()
}

/// Notes what an answer of the upstream says about being busy.
pub(super) fn note_throttling(call: &Call<'_>, response: &mut Response<UpstreamBody>) {
    let asked = normalise_retry_after(call, response);
    if let (Throttle::Hold(_), Some(seconds)) = (call.route().spec.throttle, asked) {
        let quiet = Duration::from_secs(seconds);
        call.route().throttle_gate.close_for(Instant::now(), quiet);
    }
}

/// Puts `Retry-After` into whole seconds, on any status: 202 and 413 have it too, and SDKs read it
/// there. Counts an answer that says that its giver is busy, whoever that is; for how many seconds
/// it asks for quiet.
pub(super) fn normalise_retry_after(
    call: &Call<'_>,
    response: &mut Response<UpstreamBody>,
) -> Option<u64> {
    let status = response.status();
    let may_ask = response.body().settled().may_ask_for_time();
    let read = || retry_after::in_seconds(response.headers_mut(), SystemTime::now);
    let asked = may_ask.then(read).flatten();
    let busy = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::SERVICE_UNAVAILABLE,
    ]
    .contains(&status);
    if busy && (status == StatusCode::TOO_MANY_REQUESTS || asked.is_some()) {
        call.own().cells.throttled();
    }
    asked.filter(|_| busy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_wait_for_a_place_is_told_as_it_is() {
        let told = format!("for {} s;", LONGEST_WAIT.as_secs());
        assert!(NO_PLACE.contains(&told), "{NO_PLACE}");
    }
}
