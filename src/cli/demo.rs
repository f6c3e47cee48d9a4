//! `demo`: the whole thing on loopback with nothing else installed. A simulator of Entra, Graph and
//! Dynamics over TLS, the proxy in front of it with an ordinary configuration, a few requests, the
//! counters; then it stays up for requests of one's own.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use tempfile::TempDir;

use super::signals::Stop;
use super::{FAILED, FINE, Unwritten, tell};
use crate::access_log::AccessLog;
use crate::app::{App, AppError};
use crate::config::{Config, ListenAddress, Source};
use crate::simulator::{CLIENT_ID, DOWNLOAD, GRAPH, ORGANISATION, Simulator, TENANT_ID};

/// The ports of an ordinary configuration, so that the lines to try look like those to come.
const PORTS: [u16; 2] = [8080, 8081];
/// How much of a member of an answer is shown: two lines of a terminal.
const SHOWN: usize = 160;
/// In the folder of temporary files.
const CA_FILE: &str = "ca.pem";
const SECRET_FILE: &str = "secret";

/// Runs the demonstration; with `exit` it leaves after the requests.
pub(super) fn demo(exit: bool) -> u8 {
    let runtime = crate::runtime::single();
    let outcome = runtime
        .context("cannot start a runtime")
        .and_then(|runtime| runtime.block_on(show(exit)));
    match outcome {
        Ok(()) => FINE,
        // A reader that left early (`| head`) has seen what it wanted.
        Err(error) if is_unread(&error) => FINE,
        Err(error) => {
            tell(format_args!("the demo failed: {error:#}"));
            FAILED
        }
    }
}

async fn show(exit: bool) -> anyhow::Result<()> {
    crate::trust::install_provider();
    // Before there are files: what ends the demo leaves it the time to remove them.
    let mut stop = Stop::listen_for_terminal().context("cannot listen for signals")?;
    let simulator = Simulator::start()
        .await
        .context("cannot start the simulator")?;
    // Removed when it goes out of scope.
    let folder = files(&simulator).context(
        "cannot write temporary files; set TMPDIR (on Windows TEMP) to a folder that can be \
         written and is not full",
    )?;
    let config = configuration(&simulator, folder.path())?;
    let app = tokio::select! {
        app = presented(config, exit) => app?,
        _ = stop.asked() => bail!("ended by a signal, before it had shown everything"),
    };
    if !exit {
        // What visitors do is not kept.
        simulator.record(false);
        stop.asked().await;
    }
    app.stop();
    simulator.shutdown().await;
    Ok(())
}

/// Starts the proxy and shows what it does.
async fn presented(config: Config, exit: bool) -> anyhow::Result<App> {
    let app = start(config, exit).await?;
    let (proxy, admin) = (first(app.data_addresses())?, first(app.admin_addresses())?);
    say(format_args!(
        "tokenferry {} in front of a simulated Entra, Microsoft Graph and Dynamics 365.\n\
         The requests below are plain HTTP to {proxy}, and none carries a credential.",
        env!("CARGO_PKG_VERSION")
    ))?;
    let client = Client::new()?;
    requests(&client, proxy, admin).await?;
    if exit {
        say(format_args!(
            "\nWithout --exit it stays up for requests of your own."
        ))?;
    } else {
        // In double quotes, which cmd.exe takes as well, sh would replace a bare `$top`.
        say(format_args!(
            "\nIt stays up. Try\n\
             \x20 curl \"http://{proxy}/graph/v1.0/users?%24top=3\"\n\
             \x20 curl \"http://{proxy}/dynamics/api/data/v9.2/accounts?%24select=name\"\n\
             \x20 curl http://{admin}/metrics\n\
             and the status page at http://{admin}/ ; Ctrl-C ends it."
        ))?;
    }
    Ok(app)
}

/// A folder with what the configuration names.
fn files(simulator: &Simulator) -> io::Result<TempDir> {
    let folder = tempfile::tempdir()?;
    let secret = simulator.client_secret();
    let secret = secret.ok_or_else(|| io::Error::other("the simulator has no client secret"))?;
    std::fs::write(folder.path().join(CA_FILE), simulator.ca_pem())?;
    std::fs::write(folder.path().join(SECRET_FILE), secret.expose())?;
    Ok(folder)
}

/// What a newcomer would write, but for `trust` and `resolve`, which lead the real names to the
/// simulator.
fn configuration(simulator: &Simulator, folder: &Path) -> anyhow::Result<Config> {
    let resolve: String = simulator
        .resolve_entries()
        .iter()
        .map(|(name, address)| format!("  \"{name}\": \"{address}\"\n"))
        .collect();
    // A variable holds the folder, because YAML would read some names between its quotes.
    let text = format!(
        "credentials:\n  demo:\n    tenant_id: {TENANT_ID}\n    client_id: {CLIENT_ID}\n    client_secret_file: ${{FOLDER}}/{SECRET_FILE}\n\
         routes:\n  - name: graph\n    path: /graph\n    upstream: https://{GRAPH}\n    follow_downloads: [{DOWNLOAD}]\n  - name: dynamics\n    path: /dynamics\n    upstream: https://{ORGANISATION}\n\
         trust:\n  ca_file: ${{FOLDER}}/{CA_FILE}\nresolve:\n{resolve}",
    );
    let folder = |_: &str| Some(folder.as_os_str().to_owned());
    let source = Source {
        file: "demo.yaml",
        env: &folder,
        ..Source::alone(&text)
    };
    Ok(crate::config::load(&source)?.config)
}

/// On the usual ports when they are free and the demo stays up, else on any.
async fn start(config: Config, exit: bool) -> Result<App, AppError> {
    let on = |ports: [u16; 2]| {
        let mut config = config.clone();
        config.listen = vec![ListenAddress::Loopback(ports[0])];
        config.admin = vec![ListenAddress::Loopback(ports[1])];
        App::start(config, AccessLog::off())
    };
    if !exit {
        match on(PORTS).await {
            Err(AppError::Bind(_)) => {}
            other => return other,
        }
    }
    on([0, 0]).await
}

async fn requests(client: &Client, proxy: SocketAddr, admin: SocketAddr) -> anyhow::Result<()> {
    let page = client
        .get(
            &format!("A page of users of https://{GRAPH}:"),
            &format!("http://{proxy}/graph/v1.0/users?$top=2&$select=displayName,mail"),
        )
        .await?;
    let next = link(&page)?;
    ensure!(
        next.starts_with(&format!("http://{proxy}/graph/")),
        "the next link {next} does not lead through the proxy"
    );
    let second = client
        .get(
            "The next page, by the link in that answer, which leads back here:",
            &next,
        )
        .await?;
    ensure!(
        second.contains("\"value\""),
        "the second page holds no users"
    );
    let rows = client
        .get(
            &format!("Rows of https://{ORGANISATION}, with a token of its own:"),
            &format!("http://{proxy}/dynamics/api/data/v9.2/accounts?$select=name"),
        )
        .await?;
    ensure!(rows.contains("\"value\""), "Dynamics answered no rows");
    say(format_args!(
        "\nWhat it counted: requests that found a token or waited for one, and calls to Entra:\n\
         GET http://{admin}/metrics"
    ))?;
    let metrics = client.text(&format!("http://{admin}/metrics")).await?;
    let counters = metrics.lines().filter(|line| {
        line.starts_with("tokenferry_token_") && line.contains("_total{") && !line.ends_with(" 0")
    });
    for line in counters {
        say(format_args!("  {line}"))?;
    }
    Ok(())
}

/// The next link of a page.
fn link(page: &str) -> anyhow::Result<String> {
    let page: serde_json::Value = serde_json::from_str(page).context("the page is not JSON")?;
    match page["@odata.nextLink"].as_str() {
        Some(link) => Ok(link.to_owned()),
        None => bail!("the page has no @odata.nextLink"),
    }
}

/// The members of a JSON object, each on a line of its own as far as it can be shown.
fn members(body: &str) -> Vec<String> {
    let document: serde_json::Value = serde_json::from_str(body).unwrap_or_default();
    let members = document.as_object().into_iter().flatten();
    let lines = members.map(|(name, value)| {
        let line = format!("\"{name}\": {value}");
        match line.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}…", &line[..end]),
            None => line,
        }
    });
    lines.collect()
}

fn first(addresses: &[SocketAddr]) -> anyhow::Result<SocketAddr> {
    addresses.first().copied().context("nothing listens")
}

/// Whether nobody reads what is said any more.
fn is_unread(error: &anyhow::Error) -> bool {
    let unwritten = error.downcast_ref::<Unwritten>();
    unwritten.is_some_and(|Unwritten(why)| why.kind() == io::ErrorKind::BrokenPipe)
}

fn say(words: std::fmt::Arguments<'_>) -> anyhow::Result<()> {
    writeln!(io::stdout(), "{words}").map_err(|error| Unwritten(error).into())
}

/// A caller without any OAuth code.
struct Client(reqwest::Client);

impl Client {
    fn new() -> anyhow::Result<Self> {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(std::time::Duration::from_secs(30))
            .tls_backend_preconfigured(crate::trust::load(None)?.client)
            .build()?;
        Ok(Self(client))
    }

    async fn text(&self, url: &str) -> anyhow::Result<String> {
        let response = self.0.get(url).send().await?;
        let status = response.status();
        let body = response.text().await?;
        ensure!(status.is_success(), "{url} answered {status}: {body}");
        Ok(body)
    }

    /// Fetches what these words announce, and shows it.
    async fn get(&self, words: &str, url: &str) -> anyhow::Result<String> {
        say(format_args!("\n{words}\nGET {url}"))?;
        let body = self.text(url).await?;
        for line in members(&body) {
            say(format_args!("  {line}"))?;
        }
        Ok(body)
    }
}
