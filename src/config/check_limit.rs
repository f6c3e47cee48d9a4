//! Bounds and time limits: the defaults, each with its reason, and what may be set.

use std::time::Duration;

use super::file::{RawLimits, RawTimeouts, RawUpstreamTimeouts};
use super::read::Field;
use super::report::{Report, quoted};
use super::scalar::{Count, Size, Time};
use super::{Limits, Timeouts, UpstreamTimeouts};

impl Default for Limits {
    fn default() -> Self {
        Self {
            // What so many may hold: docs/configuration.md, "Limits".
            connections: 10_000,
            // One script that runs away leaves nine tenths to others.
            connections_per_peer: 1024,
            // One for each connection: a bound for HTTP/2, where a connection carries many.
            in_flight: 10_000,
            // Dataverse takes URLs up to 32 KiB; method, route path and version come on top.
            request_line: 40 << 10,
            // Room for the cookies and tokens of callers, although none of them goes up.
            header_block: 64 << 10,
            // hyper's own bound: another costs an allocation for each request.
            headers: 100,
            // RFC 9113 section 6.5.2 advises not to go below.
            streams: 100,
        }
    }
}

impl Default for UpstreamTimeouts {
    fn default() -> Self {
        Self {
            // TCP retransmits after 1 s and 3 s; a handshake that needs longer will not come.
            connect: Duration::from_secs(8),
            // Dataverse works for up to two minutes before it answers.
            response_head: Duration::from_secs(150),
            // As long as nginx waits for the next piece (`proxy_read_timeout`): APIs reckon with that.
            response_body_idle: Duration::from_secs(60),
        }
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            // Long enough for three lost packets, which TCP sends again after 1, 3 and 7 s.
            first_byte: Duration::from_secs(10),
            // A head is a packet or a few: the same and some more, and slow senders hold nothing for
            // long.
            request_head: Duration::from_secs(15),
            // Above the idle time of .NET's (60 s) and Go's (90 s) pools: the caller closes first.
            keep_alive: Duration::from_secs(120),
            // Long enough for four lost packets in a row, the last sent again after 15 s.
            request_body_idle: Duration::from_secs(30),
            // A slow call to Entra, or one that failed soon and a second attempt.
            token_wait: Duration::from_secs(15),
            // As long as nginx waits for a caller that reads nothing (`send_timeout`).
            write_stall: Duration::from_secs(60),
            // Kubernetes needs some seconds to take a pod out of every Service.
            drain_delay: Duration::from_secs(5),
            // With the delay below the 30 s that Kubernetes waits before it kills.
            drain: Duration::from_secs(20),
            upstream: UpstreamTimeouts::default(),
        }
    }
}

/// The bounds of the file over the defaults.
pub(super) fn limits(raw: &Field<RawLimits>, report: &mut Report) -> Limits {
    let default = Limits::default();
    let Some(raw) = raw.value() else {
        return default;
    };
    let count =
        |field: &Field<Count>, default| field.value().map_or(default, |number| number.0.get());
    let headers = raw.headers.value();
    let streams = count(&raw.streams, default.streams as usize);
    Limits {
        connections: count(&raw.connections, default.connections),
        connections_per_peer: count(&raw.connections_per_peer, default.connections_per_peer),
        in_flight: count(&raw.in_flight, default.in_flight),
        request_line: head_size(
            "request_line",
            &raw.request_line,
            default.request_line,
            // The most that a target may have (`http::Uri` counts it in 16 bits).
            (64 << 10, "from 1 to 64KiB"),
            report,
        ),
        header_block: head_size(
            "header_block",
            &raw.header_block,
            default.header_block,
            (1 << 20, "from 1 to 1MiB: each connection may take it"),
            report,
        ),
        headers: headers.map_or(default.headers, |number| number.0.get()),
        streams: u32::try_from(streams).unwrap_or(default.streams),
    }
}

/// A size that every connection may take in memory at once.
fn head_size(
    key: &str,
    field: &Field<Size>,
    default: usize,
    (most, help): (u64, &str),
    report: &mut Report,
) -> usize {
    let Some(item) = field.item() else {
        return default;
    };
    let Size(bytes) = item.value;
    if bytes == 0 || bytes > most {
        let message = format!("{} is out of bounds", quoted(key));
        report.problem(item.span, message, help);
    }
    usize::try_from(bytes).unwrap_or(default)
}

/// A time limit over its default: the key has the name of its field.
macro_rules! limit {
    ($raw:ident.$key:ident or $default:ident, $report:ident) => {
        positive(stringify!($key), &$raw.$key, $default.$key, $report)
    };
}

/// Those that the top level and a route have both.
macro_rules! upstream_limits {
    ($raw:ident or $default:ident, $report:ident) => {
        UpstreamTimeouts {
            connect: limit!($raw.connect or $default, $report),
            response_head: limit!($raw.response_head or $default, $report),
            response_body_idle: limit!($raw.response_body_idle or $default, $report),
        }
    };
}

/// The time limits of the file over the defaults.
pub(super) fn timeouts(raw: &Field<RawTimeouts>, report: &mut Report) -> Timeouts {
    let default = Timeouts::default();
    let Some(raw) = raw.value() else {
        return default;
    };
    let upstream = &default.upstream;
    Timeouts {
        first_byte: limit!(raw.first_byte or default, report),
        request_head: limit!(raw.request_head or default, report),
        keep_alive: limit!(raw.keep_alive or default, report),
        request_body_idle: limit!(raw.request_body_idle or default, report),
        token_wait: limit!(raw.token_wait or default, report),
        write_stall: limit!(raw.write_stall or default, report),
        upstream: upstream_limits!(raw or upstream, report),
        // Zero is a choice here: stop at once.
        drain_delay: raw.drain_delay.or(Time(default.drain_delay)).0,
        drain: raw.drain.or(Time(default.drain)).0,
    }
}

/// A route's own time limits over those of the top level.
pub(super) fn upstream_timeouts(
    raw: &Field<RawUpstreamTimeouts>,
    default: &UpstreamTimeouts,
    report: &mut Report,
) -> UpstreamTimeouts {
    let Some(raw) = raw.value() else {
        return default.clone();
    };
    upstream_limits!(raw or default, report)
}

fn positive(key: &str, field: &Field<Time>, default: Duration, report: &mut Report) -> Duration {
    let Some(item) = field.item() else {
        return default;
    };
    if item.value.0.is_zero() {
        let message = format!("{} cannot be zero", quoted(key));
        report.problem(
            item.span,
            message,
            "every stage has a time limit, for example 30s",
        );
    }
    item.value.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manual_has_these_defaults() {
        let manual = include_str!("../../docs/configuration.md");
        let kib = |bytes: usize| format!("{}KiB", bytes >> 10);
        let seconds = |time: Duration| format!("{}s", time.as_secs());
        let limits = Limits::default();
        let times = Timeouts::default();
        for (key, default) in [
            ("connections", limits.connections.to_string()),
            (
                "connections_per_peer",
                limits.connections_per_peer.to_string(),
            ),
            ("in_flight", limits.in_flight.to_string()),
            ("request_line", kib(limits.request_line)),
            ("header_block", kib(limits.header_block)),
            ("headers", limits.headers.to_string()),
            ("streams", limits.streams.to_string()),
            ("first_byte", seconds(times.first_byte)),
            ("request_head", seconds(times.request_head)),
            ("keep_alive", seconds(times.keep_alive)),
            ("request_body_idle", seconds(times.request_body_idle)),
            ("token_wait", seconds(times.token_wait)),
            ("connect", seconds(times.upstream.connect)),
            ("response_head", seconds(times.upstream.response_head)),
            (
                "response_body_idle",
                seconds(times.upstream.response_body_idle),
            ),
            ("write_stall", seconds(times.write_stall)),
            ("drain_delay", seconds(times.drain_delay)),
            ("drain", seconds(times.drain)),
        ] {
            let row = format!("\n| `{key}` | {default} | ");
            assert!(manual.contains(&row), "{row}");
        }
    }
}
