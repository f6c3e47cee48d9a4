//! The program in this process, in front of a simulator of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, SystemTime};

use tempfile::TempDir;
use tokenferry::access_log::AccessLog;
use tokenferry::app::{self, App};
use tokenferry::config::{self, Config, Source};
use tokenferry::output::Format;
use tokenferry::simulator::{Ending, Fault, Gate, LOGIN, Script, Seen, Simulator};

use super::answer::Answer;
use super::caller::Caller;
use super::caller2::Caller2;
use super::lines::Lines;
use super::numbers::{self, Numbers};
use super::{allow_files, found, routes_yaml, until};

/// A simulator, the program in front of it, and its access log.
pub(crate) struct Stage {
    pub(crate) simulator: Simulator,
    pub(crate) app: Option<App>,
    pub(crate) log: Lines,
    folder: TempDir,
}

impl Stage {
    /// With the two ordinary routes, once their tokens are there.
    pub(crate) async fn open() -> Self {
        Self::with("").await
    }

    /// With these lines of configuration, once the tokens are there.
    pub(crate) async fn with(own: &str) -> Self {
        let stage = Self::cold(own, |_| {}).await;
        stage.attempted().await;
        stage
    }

    /// With these lines, and no wait for tokens; the simulator is prepared first.
    pub(crate) async fn cold(own: &str, prepare: impl FnOnce(&Simulator)) -> Self {
        tokenferry::trust::install_provider();
        allow_files();
        let simulator = Simulator::start().await.expect("the simulator starts");
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let config = config_of(&routes_yaml(&simulator, folder.path(), own));
        prepare(&simulator);
        let log = Lines::new();
        let access = AccessLog::start(log.clone(), Format::Json, 2).expect("the log starts");
        let app = App::start(config, access).await.expect("the app starts");
        Self {
            simulator,
            app: Some(app),
            log,
            folder,
        }
    }

    pub(crate) fn app(&self) -> &App {
        self.app.as_ref().expect("the app is not stopped")
    }

    /// Where the secret and the authority are.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Waits until the first attempt for every token has ended.
    pub(crate) async fn attempted(&self) {
        until("every token was tried", async || {
            let state = self.ask_admin("GET /readyz HTTP/1.1").await.json();
            let routes = state["routes"].as_array().expect("they are listed");
            routes.iter().all(|route| route["token"] != "pending")
        })
        .await;
    }

    /// Puts other lines in force.
    pub(crate) fn reload(&self, own: &str) {
        let config = config_of(&routes_yaml(&self.simulator, self.folder(), own));
        let prepared = app::prepare(config, SystemTime::now());
        self.app()
            .replace(prepared.expect("the configuration holds"));
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.app().data_addresses()[0]
    }

    pub(crate) fn admin(&self) -> SocketAddr {
        self.app().admin_addresses()[0]
    }

    pub(crate) async fn caller(&self) -> Caller {
        Caller::connect(self.address()).await
    }

    pub(crate) async fn caller2(&self) -> Caller2 {
        Caller2::connect(self.address()).await
    }

    /// One request without a body on a connection of its own: a request line and fields.
    pub(crate) async fn ask(&self, lines: &str) -> Answer {
        self.caller().await.exchange(lines).await
    }

    /// One GET on a connection of its own.
    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.ask(&format!("GET {target} HTTP/1.1")).await
    }

    /// One request with a body of its length, on a connection of its own.
    pub(crate) async fn ask_with(&self, lines: &str, body: impl AsRef<[u8]>) -> Answer {
        let mut caller = self.caller().await;
        let length = body.as_ref().len();
        caller
            .ask(&format!("{lines}\nContent-Length: {length}"))
            .await;
        // A body that is refused unread need not be taken.
        let _ = caller.try_send(body).await;
        let method = lines.split(' ').next().unwrap_or_default();
        caller.answer(method).await
    }

    /// One request to the admin listener.
    pub(crate) async fn ask_admin(&self, lines: &str) -> Answer {
        Caller::connect(self.admin()).await.exchange(lines).await
    }

    /// The last request that arrived at an upstream.
    pub(crate) fn last(&self) -> Seen {
        let seen = self.simulator.seen();
        let last = seen.into_iter().rev().find(|seen| seen.host != LOGIN);
        last.expect("a request went up")
    }

    /// The requests that arrived at a host, or at what begins with a path.
    pub(crate) fn sent_to(&self, place: &str) -> Vec<Seen> {
        let mut seen = self.simulator.seen();
        seen.retain(|seen| seen.host == place || seen.target().starts_with(place));
        seen
    }

    /// How many those are.
    pub(crate) fn arrivals(&self, place: &str) -> usize {
        self.sent_to(place).len()
    }

    /// Waits until they are so many. A busy machine takes its time for all of them, but not for each.
    pub(crate) async fn arrive(&self, count: usize, place: &str) {
        let mut arrived = self.arrivals(place);
        while arrived < count {
            let what = format!("more than {arrived} of {count} at {place}");
            arrived = found(&what, async || {
                Some(self.arrivals(place)).filter(|now| *now > arrived)
            })
            .await;
        }
        assert_eq!(arrived, count, "at {place}");
    }

    /// The connections that requests to this host came over, each as often as it was changed to.
    pub(crate) fn connections_used(&self, host: &str) -> Vec<u64> {
        let seen = self.sent_to(host).into_iter();
        let mut used: Vec<u64> = seen.map(|seen| seen.connection).collect();
        used.dedup();
        used
    }

    /// Leaves three idle connections to this host, which requests for this target go to, that end as
    /// soon as they are used again. Nothing may have been asked of the host before.
    pub(crate) async fn leave_stale(&self, host: &str, target: &str) {
        let gate = Gate::new();
        let hold = Fault::Hold(gate.clone());
        self.simulator.script(Script::on(host, hold));
        let mut callers = Vec::new();
        for _ in 0..3 {
            let mut caller = self.caller().await;
            caller.ask(&format!("GET {target} HTTP/1.1")).await;
            callers.push(caller);
        }
        self.arrive(3, host).await;
        gate.open();
        for mut caller in callers {
            caller.answer("GET").await.expect(200);
        }
        self.simulator.clear_scripts();
        let stale = Fault::Break {
            after: None,
            ending: Ending::Close,
        };
        self.simulator.script(Script::on(host, stale).reused());
    }

    /// The sum of samples.
    pub(crate) async fn number(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        Numbers::scrape(self.admin()).await.sum(name, labels)
    }

    /// Waits for a sum.
    pub(crate) async fn becomes(&self, name: &str, labels: &[(&str, &str)], wanted: f64) {
        numbers::becomes(self.admin(), name, labels, wanted).await;
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(app) = self.app.take() {
            app.stop();
        }
        if !std::thread::panicking() {
            let violations = self.simulator.violations();
            assert!(violations.is_empty(), "{violations:?}");
        }
    }
}

/// A checked configuration.
pub(crate) fn config_of(text: &str) -> Config {
    match config::load(&Source::alone(text)) {
        Ok(checked) => checked.config,
        Err(problems) => panic!("{problems}\n{text}"),
    }
}

/// A time limit for a test of something that must not wait.
pub(crate) const AT_ONCE: Duration = Duration::from_secs(5);
