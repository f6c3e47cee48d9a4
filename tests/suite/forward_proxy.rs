//! Out through a forward proxy that others wrote and run: tinyproxy, with credentials of its own.
//! Part of the binary `installed`: `.ci/run` installs it. Names lead to the simulator by a second proxy
//! behind it, as between an office and its head office.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;
use tokenferry::simulator::{
    CLIENT_ID, GRAPH, LOGIN, METADATA, SECRET_CANARY, Simulator, TENANT_ID,
};
use tokio::net::TcpStream;

use crate::cli::with_file;
use crate::egress::House;
use crate::harness::program::{Program, run};
use crate::harness::{found, routes_yaml, until};
use crate::tls::Authority;

/// A running tinyproxy.
struct Tinyproxy {
    address: SocketAddr,
    folder: TempDir,
    child: Child,
    _behind: House,
}

impl Tinyproxy {
    async fn start(simulator: &Simulator) -> Self {
        let version = Command::new("tinyproxy").arg("-v").output();
        version.expect("tinyproxy is there; .ci/run installs it");
        let behind = House::open(simulator, None).await;
        for _ in 0..10 {
            if let Some((address, folder, child)) = Self::on_some_port(behind.address).await {
                return Self {
                    address,
                    folder,
                    child,
                    _behind: behind,
                };
            }
        }
        panic!("tinyproxy does not start");
    }

    /// It cannot be told to take any port: this one is free, and with bad luck not any more.
    async fn on_some_port(behind: SocketAddr) -> Option<(SocketAddr, TempDir, Child)> {
        let port = TcpListener::bind("127.0.0.1:0").expect("there are ports");
        let address = port.local_addr().expect("it is bound");
        drop(port);
        let folder = tempfile::tempdir().expect("a folder");
        let text = format!(
            "Port {}\nListen 127.0.0.1\nTimeout 60\nAllow 127.0.0.1\nBasicAuth someone hush\n\
             Upstream http {behind}\nLogLevel Connect\nLogFile \"{}\"\nPidFile \"{}\"\n",
            address.port(),
            folder.path().join("log").display(),
            folder.path().join("pid").display(),
        );
        let file = folder.path().join("tinyproxy.conf");
        fs::write(&file, text).expect("the folder can be written");
        let mut child = Command::new("tinyproxy")
            .args(["-d", "-c"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let running = std::cell::RefCell::new(&mut child);
        let up = found("tinyproxy answers or ends", || async {
            if running.borrow_mut().try_wait().expect("a child").is_some() {
                return Some(false);
            }
            TcpStream::connect(address).await.is_ok().then_some(true)
        })
        .await;
        up.then_some((address, folder, child))
    }

    fn url(&self, password: &str) -> String {
        format!("http://someone:{password}@{}", self.address)
    }

    /// Waits until it has written down a tunnel to this host.
    async fn tunnelled(&self, host: &str) {
        let log = self.folder.path().join("log");
        until(host, async || {
            let text = fs::read_to_string(&log).unwrap_or_default();
            text.contains(&format!("CONNECT {host}:443"))
        })
        .await;
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Tinyproxy {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Nothing but the proxy leads anywhere.
const ASTRAY: &str = "resolve: {}\n";

#[tokio::test]
async fn token_calls_and_requests_go_through_a_real_proxy_with_its_credentials() {
    for (name, http) in [
        ("HTTPS_PROXY", "1"),
        ("https_proxy", "2"),
        ("ALL_PROXY", "auto"),
    ] {
        let simulator = Simulator::start().await.expect("the simulator starts");
        let proxy = Tinyproxy::start(&simulator).await;
        let own = format!(
            "{ASTRAY}routes: [{{name: graph, path: /graph, upstream: 'https://GRAPH', upstream_http: {http}}}]\n"
        );
        let url = proxy.url("hush");
        let variables = [(name, url.as_str()), ("TOKENFERRY_LOG", "trace")];
        let program = Program::within(simulator, &own, &variables).await;
        let page = program.get("/graph/v1.0/users?$top=1").await.expect(200);
        assert!(
            page.text().contains("http://localhost/graph/"),
            "{}",
            page.text()
        );
        proxy.tunnelled(LOGIN).await;
        proxy.tunnelled(GRAPH).await;
        let said = format!("{}{}", program.out.text(), program.err.text());
        assert!(
            !said.contains("hush") && !said.contains(SECRET_CANARY),
            "{said}"
        );
        assert!(!proxy.log().contains(SECRET_CANARY), "{}", proxy.log());
    }
}

#[tokio::test]
async fn hosts_of_no_proxy_are_reached_directly() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    let proxy = Tinyproxy::start(&simulator).await;
    let at = simulator.address();
    let own = format!("resolve: {{'{GRAPH}:443': '{at}'}}\n");
    let url = proxy.url("hush");
    let variables = [
        ("HTTPS_PROXY", url.as_str()),
        ("NO_PROXY", ".microsoft.com,localhost"),
    ];
    let program = Program::within(simulator, &own, &variables).await;
    program.get("/graph/v1.0/users?$top=1").await.expect(200);
    proxy.tunnelled(LOGIN).await;
    assert!(
        !proxy.log().contains(&format!("CONNECT {GRAPH}")),
        "{}",
        proxy.log()
    );
}

#[tokio::test]
async fn this_machine_is_an_exception_only_where_no_proxy_says_so() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    let proxy = Tinyproxy::start(&simulator).await;
    let folder = tempfile::tempdir().expect("a folder");
    let secret = folder.path().join("secret");
    let port = simulator.address().port();
    let own = format!(
        "credentials: {{app: {{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, authority: 'https://localhost:{port}', client_secret_file: '{}'}}}}\n\
         routes: [{{name: local, path: /local, upstream: 'https://localhost:{port}'}}]\n",
        secret.display()
    );
    let tunnels = || {
        proxy
            .log()
            .matches(&format!("CONNECT localhost:{port}"))
            .count()
    };
    let (code, said) = doctor(&simulator, folder.path(), &own, &proxy, "localhost").await;
    assert_eq!((code, tunnels()), (0, 0), "{said}");
    let (code, said) = doctor(&simulator, folder.path(), &own, &proxy, "").await;
    assert_eq!((code, tunnels()), (0, 2), "{said}");
}

#[tokio::test]
async fn a_proxy_that_wants_other_credentials_is_named_without_them() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    let proxy = Tinyproxy::start(&simulator).await;
    let url = proxy.url("wrong");
    let variables = [("HTTPS_PROXY", url.as_str()), ("TOKENFERRY_LOG", "trace")];
    let program = Program::within(simulator, ASTRAY, &variables).await;
    let answer = program.get("/graph/v1.0/users").await;
    assert_eq!(answer.refusal(), (503, "tokenUnavailable".to_owned()));
    let message = answer.message();
    assert!(
        message.contains(LOGIN) && message.contains("HTTPS_PROXY"),
        "{message}"
    );
    let status = program.get_admin("/status.json").await.text();
    let said = format!(
        "{message}{status}{}{}",
        program.out.text(),
        program.err.text()
    );
    assert!(
        !said.contains("wrong@") && !said.contains("someone"),
        "{said}"
    );
    assert_eq!(program.simulator.token_calls(), 0);
}

#[tokio::test]
async fn a_private_authority_counts_for_token_calls_and_requests_behind_the_proxy() {
    let simulator = Simulator::start().await.expect("the simulator starts");
    let proxy = Tinyproxy::start(&simulator).await;
    let folder = tempfile::tempdir().expect("a folder");
    let other = folder.path().join("other.pem");
    fs::write(&other, Authority::new().pem).expect("the folder can be written");
    let other = format!("trust: {{ca_file: '{}'}}\n", other.display());
    let machine = format!(
        "resolve: {{'{METADATA}:80': '{}'}}\ncredentials: {{app: {{managed_identity: system}}}}\n",
        simulator.metadata_address()
    );
    for (own, code, word) in [
        (ASTRAY.to_owned(), 0, "ok"),
        (format!("{ASTRAY}{other}"), 1, "HTTPS_PROXY and `trust`"),
        (machine.clone(), 0, "ok"),
        (format!("{machine}{other}"), 1, "trust.ca_file"),
    ] {
        let (own_code, said) = doctor(&simulator, folder.path(), &own, &proxy, "").await;
        assert_eq!(own_code, code, "{said}");
        assert!(said.contains(word), "{word} in {said}");
    }
}

async fn doctor(
    simulator: &Simulator,
    folder: &Path,
    own: &str,
    proxy: &Tinyproxy,
    without: &str,
) -> (i32, String) {
    let text = routes_yaml(simulator, folder, own);
    fs::write(folder.join("routes.yaml"), text).expect("the folder can be written");
    let mut command = with_file(&["doctor"], folder);
    command
        .env("HTTPS_PROXY", proxy.url("hush"))
        .env("NO_PROXY", without);
    let (code, out, err) = run(command).await;
    (code, format!("{out}{err}"))
}
