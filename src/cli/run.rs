//! `run`: load, start, follow signals, drain.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use super::hardening;
use super::overlay::{Loaded, load};
use super::signals::Signals;
use super::{FINE, NoRoom, RunArgs, complain, counted, refuse, with_runtime};
use crate::access_log::AccessLog;
use crate::app::{self, App, BoundListeners, Prepared};
use crate::chain::Chain;
use crate::clock;
use crate::config::{self, Config, LogFormat, Problems};
use crate::logging::{LEVELS_VARIABLE, Levels, Logging};
use crate::output::{self, Format};
use crate::secret::file_reader::{FileReader, Unread};

/// What is left of the log at the end is written within this.
const LAST_LINES: Duration = Duration::from_secs(1);
/// What is done aside has this to come to its end when the end of the program is asked for: AWS-LC
/// aborts a process that ends while a thread seeds its random numbers, which takes a millisecond, or
/// 30 where they come from jitter.
const MOMENT: Duration = Duration::from_millis(300);
/// A reload reads its files within this: decrypting a key takes a good part of a second on purpose,
/// and there may be several.
const RELOAD: Duration = Duration::from_secs(10);
/// So many reloads may hang before the next is refused for it: the file may have been corrected since
/// and name others, and each that hangs takes a thread.
const HUNG: usize = 8;
/// Problems of a reload that are logged: one slip makes few, and another kind of file hundreds.
const MOST_TOLD: usize = 20;

/// Runs the proxy until a signal ends it.
pub(super) fn run(path: &Path, args: &RunArgs) -> u8 {
    hardening::hide_memory();
    hardening::raise_descriptors();
    with_runtime(|runtime| runtime.block_on(live(path, args)))
}

/// From the first signal that counts to the last line of the log.
async fn live(path: &Path, args: &RunArgs) -> u8 {
    // Before anything is read, which may take long: a signal that nobody listens for kills the
    // process, or is lost on the first one of a container. A SIGHUP is a reload after the start.
    let mut signals = match Signals::listen() {
        Ok(signals) => signals,
        Err(error) => return complain(&NoRoom("listen for signals", error)),
    };
    let (config, warnings) = match load_aside(path, args, &mut signals).await {
        Ok(Ok(loaded)) => loaded,
        Err(code) => return code,
        Ok(Err(problems)) => {
            // Standard error is all there is to tell it to.
            let _ = writeln!(io::stderr(), "{}", problems.join("\n"));
            return refuse(&format!("not started, {}", counted(problems.len())));
        }
    };
    let format = log_format(&config);
    let logging = match start_logging(format) {
        Ok(logging) => logging,
        Err(code) => return code,
    };
    warn_of(&warnings);
    let code = serve(path, args, config, format, signals).await;
    logging.close(LAST_LINES);
    code
}

async fn load_aside(path: &Path, args: &RunArgs, signals: &mut Signals) -> Result<Loaded, u8> {
    let (file, args) = (path.to_owned(), args.clone());
    aside(signals, move || load(&file, &args, &[])).await
}

/// Does it on a thread of its own, which may wait for a file system or a lock for as long as it
/// likes.
///
/// # Errors
/// The exit code: when the end is asked for first, or once it was told that there is no thread.
async fn aside<T: Send + 'static>(
    signals: &mut Signals,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, u8> {
    let (tell, mut told) = tokio::sync::oneshot::channel();
    let spawned = std::thread::Builder::new()
        .name("configuration".to_owned())
        .spawn(move || {
            // Nobody waits for it any more when the end was asked for.
            let _ = tell.send(work());
        });
    if let Err(error) = spawned {
        let what = "start the thread that reads the configuration";
        return Err(complain(&NoRoom(what, error)));
    }
    tokio::select! {
        done = &mut told => done.map_err(|_| {
            let words = "reading the configuration has failed; see above";
            complain(&io::Error::other(words))
        }),
        () = signals.ended() => {
            // What waits longer than this waits for others, and makes no random numbers.
            let _ = clock::within(MOMENT, told).await;
            Err(FINE)
        }
    }
}

fn warn_of(warnings: &Problems) {
    for warning in &warnings.0 {
        tracing::warn!(warning = %warning, "configuration");
    }
}

fn log_format(config: &Config) -> Format {
    match config.log.format {
        Some(LogFormat::Json) => Format::Json,
        Some(LogFormat::Text) => Format::Text,
        None if io::stdout().is_terminal() => Format::Text,
        None => Format::Json,
    }
}

fn start_logging(format: Format) -> Result<Logging, u8> {
    let levels = std::env::var_os(LEVELS_VARIABLE).unwrap_or_default();
    let levels = levels.to_str().ok_or_else(|| "it is not UTF-8".to_owned());
    let levels = match levels.and_then(Levels::parse) {
        Ok(levels) => levels,
        Err(words) => return Err(refuse(&format!("{LEVELS_VARIABLE}: {words}"))),
    };
    // A console of Windows shows the codes of colours as they are unless it is asked not to.
    let colour = cfg!(unix) && io::stderr().is_terminal();
    Logging::start(io::stderr(), format, colour, &levels).map_err(|error| complain(&error))
}

/// Whoever reaches a wildcard address acts with the app's rights: that is said plainly.
fn warn_of_open_door(app: &App) {
    let routes = app.open_routes();
    if !routes.is_empty() {
        tracing::warn!(
            routes = routes.join(", "),
            "listening beyond loopback without callers: whoever reaches this address acts with the app's rights on these routes; set callers, or keep others away by a network policy"
        );
    }
}

async fn serve(
    path: &Path,
    args: &RunArgs,
    config: Config,
    format: Format,
    mut signals: Signals,
) -> u8 {
    let timeouts = config.timeouts.clone();
    let access_log = match access_log(&config, format) {
        Ok(log) => log,
        Err(error) => return complain(&NoRoom("start the access log", error)),
    };
    let app = match start(config, access_log, &mut signals).await {
        Ok(app) => app,
        Err(code) => return code,
    };
    app.count_panics();
    for address in app.listening() {
        tracing::info!(address, "listening");
    }
    for address in app.admin_listening() {
        tracing::info!(address, "metrics, probes and status page");
    }
    warn_of_open_door(&app);
    let reader = FileReader::of_turns(HUNG, RELOAD);
    let end = signals.end(async || reload(path, args, &app, &reader).await);
    let delay = if end.await.at_once {
        Duration::ZERO
    } else {
        timeouts.drain_delay
    };
    drain(&app, delay, timeouts.drain, &mut signals).await;
    app.stop();
    FINE
}

/// Binds, prepares and begins; what may wait for a file system or a lock is done aside. The
/// configuration has been found fit: what fails here is the machine's, and another start may succeed.
///
/// # Errors
/// The exit code, once the reason has been told, or when the end is asked for first.
async fn start(config: Config, access_log: AccessLog, signals: &mut Signals) -> Result<App, u8> {
    let addresses = config.clone();
    // Apart from what follows, so that the sockets are closed when that is not waited for.
    let listeners = aside(signals, move || BoundListeners::bind(&addresses)).await?;
    let listeners = listeners.map_err(|error| complain(&error))?;
    let prepared = aside(signals, move || app::prepare(config, SystemTime::now())).await?;
    let prepared = prepared.map_err(|error| complain(&error))?;
    App::begin(listeners, prepared, access_log).map_err(|error| complain(&error))
}

/// The access log that the configuration asks for, on standard output.
fn access_log(config: &Config, format: Format) -> io::Result<AccessLog> {
    if !config.log.access {
        return Ok(AccessLog::off());
    }
    AccessLog::start(output::standard_output()?, format, App::workers(config))
}

/// Lets exchanges in flight finish, until the limit or a second signal.
async fn drain(app: &App, delay: Duration, limit: Duration, signals: &mut Signals) {
    tracing::info!("draining");
    tokio::select! {
        cut = app.drain(delay, limit) => {
            if cut > 0 {
                tracing::warn!(connections = cut, "exchanges were still in flight at the end of timeouts.drain");
            }
        }
        () = signals.ended() => tracing::warn!("a second signal: ending at once"),
    }
}

/// All or nothing: with a problem the old configuration stays in force. Files are read aside, so
/// that a file system that hangs holds up this reload and nothing else.
async fn reload(path: &Path, args: &RunArgs, app: &App, reader: &FileReader) {
    let open = [app.data_addresses(), app.admin_addresses()].concat();
    let (file, args) = (path.to_owned(), args.clone());
    let read = read_aside(path, reader, move || prepared(&file, &args, &open));
    let problems = match read.await {
        Ok((prepared, warnings)) => {
            warn_of(&warnings);
            app.replace(prepared);
            tracing::info!("the configuration was reloaded");
            warn_of_open_door(app);
            return;
        }
        Err(problems) => problems,
    };
    for problem in problems.iter().take(MOST_TOLD) {
        tracing::error!(problem, "the configuration was not reloaded");
    }
    if problems.len() > MOST_TOLD {
        let more = problems.len() - MOST_TOLD;
        tracing::error!(
            more,
            "the configuration was not reloaded for more reasons than are logged; the status page has all of them, and so has `tokenferry check`"
        );
    }
    app.reload_refused(problems);
}

/// Does the work of a reload on a thread of the reader's. A fault of ours in it refuses the reload:
/// what is in force has no part in it.
///
/// # Errors
/// Every problem.
async fn read_aside<T: Send + 'static>(
    path: &Path,
    reader: &FileReader,
    work: impl FnOnce() -> Result<T, Vec<String>> + Send + 'static,
) -> Result<T, Vec<String>> {
    let outcome = reader.run(work).await;
    outcome.unwrap_or_else(|why| {
        let file = config::shown(path);
        let problem = match why {
            Unread::Fault => format!("{file}: {why}; the old configuration stays"),
            Unread::NoThread { .. } => format!("{file} was not read: {why}, then reload again"),
            Unread::TooSlow { .. } => {
                format!("{file} or a file that it names hangs: {why}, then reload again")
            }
        };
        Err(vec![problem])
    })
}

fn prepared(
    path: &Path,
    args: &RunArgs,
    open: &[SocketAddr],
) -> Result<(Prepared, Problems), Vec<String>> {
    let (config, warnings) = load(path, args, open)?;
    let prepared = app::prepare(config, SystemTime::now());
    let prepared = prepared.map_err(|error| vec![Chain(&error).to_string()])?;
    prepared.load_credentials();
    Ok((prepared, warnings))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_the_work_of_a_reload_refuses_the_reload() {
        let reader = FileReader::default();
        let at = Path::new("routes.yaml");
        // A panic without the back trace, which may take longer than files are waited for.
        let fault = || std::panic::resume_unwind(Box::new("a fault"));
        let refused = read_aside::<()>(at, &reader, fault).await;
        let problems = refused.unwrap_err();
        assert_eq!(problems.len(), 1);
        let words = "routes.yaml: the work on the files stopped unexpectedly";
        assert!(problems[0].starts_with(words), "{problems:?}");
        // The next one finds the reader free.
        assert_eq!(read_aside(at, &reader, || Ok(1)).await, Ok(1));
    }
}
