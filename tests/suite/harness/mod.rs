//! What the tests of behaviour stand on: a simulator with the program in front of it (in this
//! process, or as the real binary), callers that write raw HTTP/1.1 or speak HTTP/2, and readers of
//! what the program says about itself. Every wait has a deadline and nothing sleeps to be in time.

pub(crate) mod answer;
pub(crate) mod caller;
pub(crate) mod caller2;
pub(crate) mod lines;
pub(crate) mod numbers;
pub(crate) mod program;
pub(crate) mod stage;

use std::time::Duration;

use tokenferry::simulator::{CLIENT_ID, GRAPH, ORGANISATION, Simulator, TENANT_ID};

/// Long enough for a busy machine, short enough for a person.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Graph and Dynamics behind one proxy, each with a scope of its own.
pub(crate) const TWO_ROUTES: &str = "\
routes:
  - name: graph
    path: /graph
    upstream: https://graph.microsoft.com
  - name: dynamics
    path: /dynamics
    upstream: https://contoso.crm.dynamics.com
";

/// The scopes of [`TWO_ROUTES`], as the metrics name them.
pub(crate) const GRAPH_SCOPE: &str = "https://graph.microsoft.com/.default";
pub(crate) const DYNAMICS_SCOPE: &str = "https://contoso.crm.dynamics.com/.default";

/// Lets this process open as many files as it may, up to this many: tests side by side hold more of
/// them than the 1024 that are usual, in this process and in those that it starts. Where it may open
/// too few, one test fails another in its middle; better each says why at its start.
pub(crate) fn allow_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    const MANY: u64 = 8192;
    // Six tests at once were seen to hold 2300.
    const ENOUGH: u64 = 4096;
    let limit = getrlimit(Resource::Nofile);
    let most = limit.maximum.map_or(MANY, |maximum| maximum.min(MANY));
    assert!(
        most >= ENOUGH,
        "the tests open up to {ENOUGH} files, and the hard limit here is {most}; raise it (`ulimit -Hn {MANY}` as root, `docker run --ulimit nofile={MANY}`)"
    );
    if limit.current.is_some_and(|current| current < most) {
        let raised = Rlimit {
            current: Some(most),
            ..limit
        };
        setrlimit(Resource::Nofile, raised).expect("it is not beyond the hard limit");
    }
}

/// Waits for what must happen soon.
pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, what)
        .await
        .expect("it happens within the deadline")
}

/// Looks again and again until it holds, or the deadline has passed.
pub(crate) async fn until<F: Future<Output = bool>>(what: &str, holds: impl Fn() -> F) {
    found(what, || async { holds().await.then_some(()) }).await;
}

/// Looks again and again until it sees what it wants, or the deadline has passed.
pub(crate) async fn found<T, F: Future<Output = Option<T>>>(what: &str, look: impl Fn() -> F) -> T {
    let search = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(3)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, search).await {
        Ok(found) => found,
        Err(_) => panic!("not within {PATIENCE:?}: {what}"),
    }
}

/// A complete configuration around the lines of a test: free ports, two workers, the simulator's
/// addresses and authority, its app as the only credential, and [`TWO_ROUTES`] unless the test has
/// its own.
pub(crate) fn routes_yaml(simulator: &Simulator, folder: &std::path::Path, own: &str) -> String {
    let (ca_file, secret_file) = (folder.join("ca.pem"), folder.join("secret"));
    std::fs::write(&ca_file, simulator.ca_pem()).expect("the folder can be written");
    if let Some(secret) = simulator.client_secret() {
        std::fs::write(&secret_file, secret.expose()).expect("the folder can be written");
        // Else every command that looks at files warns of it.
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret_file, closed).expect("the file is ours");
    }
    let own = own
        .replace("GRAPH", GRAPH)
        .replace("ORGANISATION", ORGANISATION)
        .replace("SECRET_FILE", &format!("'{}'", secret_file.display()))
        .replace("PLAIN", &format!("http://{}", simulator.metadata_address()));
    let mut text = String::new();
    let has = |key: &str| own.starts_with(key) || own.contains(&format!("\n{key}"));
    for (key, rest) in [
        ("listen:", " 127.0.0.1:0\n".to_owned()),
        ("admin:", " 127.0.0.1:0\n".to_owned()),
        ("workers:", " 2\n".to_owned()),
        (
            "credentials:",
            format!(
                "\n  contoso:\n    tenant_id: {TENANT_ID}\n    client_id: {CLIENT_ID}\n    client_secret_file: '{}'\n",
                secret_file.display()
            ),
        ),
        ("trust:", format!("\n  ca_file: '{}'\n", ca_file.display())),
        (
            "resolve:",
            simulator
                .resolve_entries()
                .iter()
                .fold("\n".to_owned(), |all, (name, address)| {
                    format!("{all}  \"{name}\": \"{address}\"\n")
                }),
        ),
    ] {
        if !has(key) {
            text.push_str(key);
            text.push_str(&rest);
        }
    }
    text.push_str(&own);
    if !has("routes:") {
        if !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(TWO_ROUTES);
    }
    // Paths stand between single quotes, in which one of their own is written twice.
    let temporary = std::env::temp_dir().display().to_string();
    text.replace(&temporary, &temporary.replace('\'', "''"))
}
