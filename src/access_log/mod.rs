//! The access log: one line per request, written when its body has ended, failed or been dropped.
//!
//! The order of the fields is fixed, no query and nothing secret is among them, and whatever bytes
//! a caller or an upstream sends, a line stays one line of well-formed JSON or text. A request
//! never waits for the log: lines go into a bounded [`Output`] and are dropped, and counted, when
//! standard output does not keep up.

mod line;
mod sink;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::time::{Duration, SystemTime};

use crate::code::Code;
use crate::output::{Format, Lane, Output};

use line::Line;
use sink::Told;

/// Bytes of a path that are logged. Longer ones are cut: Dataverse URLs reach 32 KiB.
const PATH_BYTES: usize = 2048;

/// Bytes of any other text: request ids are 36, names at most 64.
const TEXT_BYTES: usize = 128;

/// What is known of a request when it is over.
#[derive(Clone, Debug)]
pub struct AccessRecord<'a> {
    /// When its head had arrived.
    pub time: SystemTime,
    /// The id that the answer carries too.
    pub request_id: &'a str,
    /// The caller's name, when the route asks who calls.
    pub caller: Option<&'a str>,
    /// The route's name, when one matched.
    pub route: Option<&'a str>,
    /// The method as it was sent.
    pub method: &'a str,
    /// The request target; a query is cut off here.
    pub path: &'a [u8],
    /// The status of the answer; 0 when there was none.
    pub status: u16,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body as they went to the caller.
    pub response_bytes: u64,
    /// From the request's head to the answer's.
    pub head: Option<Duration>,
    /// From the request's head to the end.
    pub total: Duration,
    /// Where the token came from; `None` when none was asked for.
    pub token: Option<TokenUse>,
    /// Requests that were sent to the upstream.
    pub attempts: u32,
    /// `request-id` (Graph) or `x-ms-service-request-id` (Dataverse) of the upstream's answer.
    pub upstream_request_id: Option<&'a [u8]>,
    /// Why the request was answered here.
    pub refused: Option<Code>,
    /// How it ended.
    pub outcome: Outcome,
}

/// Where a request's token came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenUse {
    /// The cache had it.
    Hit,
    /// The request waited for it.
    Wait,
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The answer went out whole.
    Complete,
    /// The caller went away first.
    Dropped,
    /// The answer broke off, and was passed on as broken; or the proxy ended before it.
    Failed,
}

/// The access log of the process, or the absence of one.
#[derive(Debug)]
pub struct AccessLog {
    output: Option<Output>,
    format: Format,
}

/// A worker's end of the access log.
#[derive(Clone, Debug)]
pub struct AccessLane {
    lane: Option<Lane>,
    format: Format,
}

impl AccessLog {
    /// Starts the thread that writes lines to `sink`.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        sink: impl Write + Send + 'static,
        format: Format,
        workers: usize,
    ) -> std::io::Result<Self> {
        Ok(Self {
            output: Some(Output::start("access-log", Told::of(sink), workers)?),
            format,
        })
    }

    /// No log: its lanes cost a branch.
    pub fn off() -> Self {
        Self {
            output: None,
            format: Format::Json,
        }
    }

    /// The lane of a worker.
    pub fn lane(&self, worker: usize) -> AccessLane {
        AccessLane {
            lane: self.output.as_ref().map(|output| output.lane(worker)),
            format: self.format,
        }
    }

    /// Lines that were dropped since the start.
    pub fn dropped(&self) -> u64 {
        self.output.as_ref().map_or(0, Output::dropped)
    }

    /// Writes what is queued; waits at most `patience`.
    pub fn close(&self, patience: Duration) {
        if let Some(output) = &self.output {
            output.close(patience);
        }
    }
}

impl AccessLane {
    /// Whether lines go anywhere: what only the log needs need not be kept otherwise.
    pub fn is_on(&self) -> bool {
        self.lane.is_some()
    }

    /// Queues the line of a request.
    pub fn write(&self, record: &AccessRecord<'_>) {
        if let Some(lane) = &self.lane {
            lane.write(|lines| record.append(self.format, lines));
        }
    }
}

impl AccessRecord<'_> {
    /// Appends the line with its newline.
    pub fn append(&self, format: Format, lines: &mut Vec<u8>) {
        let mut line = Line::begin(format, lines);
        let time = crate::timestamp::Timestamp::of(self.time);
        line.text("time", time.as_str().as_bytes(), TEXT_BYTES);
        line.text("request_id", self.request_id.as_bytes(), TEXT_BYTES);
        line.maybe("caller", self.caller.map(str::as_bytes), TEXT_BYTES);
        line.maybe("route", self.route.map(str::as_bytes), TEXT_BYTES);
        line.text("method", self.method.as_bytes(), TEXT_BYTES);
        line.text("path", self.path_only(), PATH_BYTES);
        line.number("status", u64::from(self.status));
        line.number("request_bytes", self.request_bytes);
        line.number("response_bytes", self.response_bytes);
        if let Some(head) = self.head {
            line.millis("head_ms", head);
        }
        line.millis("total_ms", self.total);
        line.maybe("token", self.token.map(TokenUse::as_bytes), TEXT_BYTES);
        line.number("attempts", u64::from(self.attempts));
        line.maybe("upstream_request_id", self.upstream_request_id, TEXT_BYTES);
        line.maybe(
            "code",
            self.refused.map(|code| code.as_str().as_bytes()),
            TEXT_BYTES,
        );
        line.text("outcome", self.outcome.as_bytes(), TEXT_BYTES);
        line.end();
    }

    fn path_only(&self) -> &[u8] {
        memchr::memchr(b'?', self.path).map_or(self.path, |at| &self.path[..at])
    }
}

impl TokenUse {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Hit => b"hit",
            Self::Wait => b"wait",
        }
    }
}

impl Outcome {
    fn as_bytes(self) -> &'static [u8] {
        match self {
            Self::Complete => b"complete",
            Self::Dropped => b"dropped",
            Self::Failed => b"failed",
        }
    }
}
