//! The operational log: one JSON object or one line of text an event, on standard error. (The
//! access log has standard output to itself.)
//!
//! Only this program's own events follow the level that is asked for. Those of libraries stop at
//! warnings, whatever is asked: hyper, h2 and others print header values at their lower levels, and
//! one of the headers is the token. Events are queued; a blocked standard error holds up nobody.

use std::fmt;
use std::io::Write;
use std::panic::PanicHookInfo;
use std::time::{Duration, SystemTime};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::SetGlobalDefaultError;
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::layer::SubscriberExt;

use crate::output::{Format, Lane, Output, is_invisible};
use crate::timestamp::Timestamp;

/// The environment variable that [`Levels::parse`] is for.
pub const LEVELS_VARIABLE: &str = "TOKENFERRY_LOG";

/// What libraries may say at most.
const LIBRARIES: LevelFilter = LevelFilter::WARN;

/// This program's events have its name in front.
const OURS: &str = "tokenferry";

/// Which events are logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Levels {
    base: LevelFilter,
    modules: Vec<(String, LevelFilter)>,
}

/// The operational log while it runs.
#[derive(Debug)]
pub struct Logging {
    output: Output,
}

/// Why there is no operational log.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// Another subscriber has taken the events.
    #[error("the operational log was started twice")]
    Taken(#[source] SetGlobalDefaultError),
    /// The system gives no thread.
    #[error("cannot start the thread of the operational log; raise the limit of processes")]
    Thread(#[source] std::io::Error),
}

impl Default for Levels {
    fn default() -> Self {
        Self {
            base: LevelFilter::INFO,
            modules: Vec::new(),
        }
    }
}

impl Levels {
    /// Parses a level (`debug`), or levels of modules (`info,tokenferry::token=trace`).
    ///
    /// # Errors
    /// What would be accepted, in words.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut levels = Self::default();
        for part in text
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            let (module, level) = match part.split_once('=') {
                Some((module, level)) => (Some(module), level),
                None => (None, part),
            };
            let level = level.parse().map_err(|_| {
                format!("{part:?} is not a level: off, error, warn, info, debug or trace, or tokenferry::MODULE=LEVEL")
            })?;
            match module {
                None => levels.base = level,
                Some(ours) if ours.split("::").next() == Some(OURS) => {
                    levels.modules.push((ours.to_owned(), level));
                }
                Some(other) => {
                    return Err(format!(
                        "the level of {other:?} cannot be set: only modules of tokenferry, as in tokenferry::token=debug; libraries may print tokens"
                    ));
                }
            }
        }
        Ok(levels)
    }

    fn filter(&self) -> Targets {
        Targets::new()
            .with_default(LIBRARIES.min(self.base))
            .with_target(OURS, self.base)
            .with_targets(self.modules.iter().cloned())
    }
}

impl Logging {
    /// Takes the events of the process and writes them to `sink`, which is standard error; in
    /// `colour` only where a terminal shows text.
    ///
    /// # Errors
    /// When it was started before, or the system gives no thread.
    pub fn start(
        sink: impl Write + Send + 'static,
        format: Format,
        colour: bool,
        levels: &Levels,
    ) -> Result<Self, LoggingError> {
        let output = Output::start("log", sink, 1).map_err(LoggingError::Thread)?;
        let subscriber = subscriber(output.lane(0), format, colour, levels);
        tracing::subscriber::set_global_default(subscriber).map_err(LoggingError::Taken)?;
        Ok(Self { output })
    }

    /// Writes what is queued; waits at most `patience`.
    pub fn close(&self, patience: Duration) {
        self.output.close(patience);
    }
}

/// Logs a panic as an event. For `std::panic::set_hook`, whose own hook writes text of many lines
/// to standard error, and waits for it.
///
/// A reason that was put together when it happened is left out: it may quote what was worked on,
/// as the library's own do (`byte index 7 is out of bounds of ...`). The place says enough.
pub fn log_panic(panic: &PanicHookInfo<'_>) {
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let reason = panic.payload().downcast_ref::<&'static str>();
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or_default();
    tracing::error!(
        place,
        thread,
        reason = reason.copied().unwrap_or("not shown"),
        "a fault in tokenferry; please report it"
    );
}

fn subscriber(
    lane: Lane,
    format: Format,
    colour: bool,
    levels: &Levels,
) -> impl Subscriber + Send + Sync + 'static {
    let layer = tracing_subscriber::fmt::layer()
        .with_timer(Utc)
        .with_ansi(colour && format == Format::Text)
        .with_writer(move || Event(lane.clone()));
    let layer = match format {
        Format::Json => layer.json().flatten_event(true).boxed(),
        Format::Text => layer.boxed(),
    };
    tracing_subscriber::registry().with(layer.with_filter(levels.filter()))
}

/// The time of an event, as in the access log.
struct Utc;

impl FormatTime for Utc {
    fn format_time(&self, to: &mut Writer<'_>) -> fmt::Result {
        to.write_str(Timestamp::of(SystemTime::now()).as_str())
    }
}

/// Appends an event, with an escape that JSON knows as well for what shows a line as what it is not:
/// names of files, and what servers say, are others' to choose. Control characters in it are the
/// formatter's: it escapes those of others itself.
fn push_visible(lines: &mut Vec<u8>, event: &[u8]) {
    for c in String::from_utf8_lossy(event).chars() {
        if is_invisible(c) {
            lines.extend(format!("\\u{:04x}", c as u32).into_bytes());
        } else {
            lines.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// One event on its way to the lane: the formatter writes each in one piece.
struct Event(Lane);

impl Write for Event {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(|lines| push_visible(lines, bytes));
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use tracing::{debug, error, info, trace, warn};

    use super::*;
    use crate::output::tests::Memory;

    /// What is logged while `events` runs.
    fn logged(format: Format, levels: &str, events: impl FnOnce()) -> String {
        let memory = Memory::default();
        let output = Output::start("test", memory.clone(), 1).unwrap();
        let levels = Levels::parse(levels).unwrap();
        let subscriber = subscriber(output.lane(0), format, false, &levels);
        tracing::subscriber::with_default(subscriber, events);
        assert!(output.close(Duration::from_secs(20)));
        memory.text()
    }

    #[test]
    fn an_event_is_one_json_object_whatever_is_in_it() {
        let text = logged(Format::Json, "", || {
            let route = "a\"b\n\u{1b}[2J";
            info!(route, attempts = 2, "token renewed");
            debug!("not asked for");
        });
        assert_eq!(text.lines().count(), 1);
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["level"], "INFO");
        assert_eq!(event["message"], "token renewed");
        assert_eq!(event["route"], "a\"b\n\u{1b}[2J");
        assert_eq!(event["attempts"], 2);
        assert_eq!(event["timestamp"].as_str().unwrap().len(), 24);
    }

    #[test]
    fn what_would_turn_the_text_around_is_escaped() {
        let path = "/run/\u{202e}mep.\u{200b}é";
        for format in [Format::Json, Format::Text] {
            let text = logged(format, "", || info!(file = %path, "cannot read {path}"));
            let escaped = r"/run/\u202emep.\u200bé";
            assert_eq!(text.matches(escaped).count(), 2, "{text}");
        }
        let text = logged(Format::Json, "", || info!(file = %path, "read"));
        let event: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(event["file"], path);
    }

    #[test]
    fn libraries_print_no_headers_whatever_level_is_asked_for() {
        let text = logged(Format::Text, "trace", || {
            trace!(target: "h2::codec", "authorization: Bearer abc");
            debug!(target: "hyper::proto::h1", "authorization: Bearer abc");
            info!(target: "reqwest::connect", "authorization: Bearer abc");
            warn!(target: "rustls::client", "a warning of a library");
            trace!("a detail of ours");
        });
        assert!(!text.contains("Bearer"), "{text}");
        assert!(text.contains("a warning of a library"), "{text}");
        assert!(text.contains("a detail of ours"), "{text}");
    }

    #[test]
    fn a_module_may_have_a_level_of_its_own() {
        let text = logged(Format::Text, "error, tokenferry::token=debug", || {
            debug!(target: "tokenferry::token::slot", "of the module");
            info!("of the rest");
            error!(target: "reqwest", "of a library");
            warn!(target: "reqwest", "no warning was asked for");
        });
        assert!(
            text.contains("of the module") && text.contains("of a library"),
            "{text}"
        );
        assert_eq!(text.lines().count(), 2, "{text}");
    }

    #[test]
    fn levels_that_mean_nothing_are_refused_with_what_would_work() {
        for (text, hint) in [
            ("loud", "off, error, warn, info, debug or trace"),
            ("tokenferry=loud", "off, error, warn, info, debug or trace"),
            ("hyper=trace", "only modules of tokenferry"),
            ("tokenferryx=info", "only modules of tokenferry"),
            ("\u{1b}[2J", "\\u{1b}[2J"),
            ("\u{1b}[2J=info", "\\u{1b}[2J"),
        ] {
            let message = Levels::parse(text).unwrap_err();
            assert!(message.contains(hint), "{text}: {message}");
        }
        assert_eq!(Levels::parse("").unwrap(), Levels::default());
    }
}
