//! Out through a proxy of the house.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokenferry::simulator::{CLIENT_ID, GRAPH, LOGIN, Simulator, TENANT_ID};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::cli::{desk, with_file};
use crate::harness::program::{Program, run};

/// A proxy that opens tunnels to the simulator, whatever they are asked for.
pub(crate) struct House {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl House {
    pub(crate) async fn open(simulator: &Simulator, refusal: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("there are ports");
        let address = listener.local_addr().expect("it is bound");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (inside, book) = (simulator.address(), Arc::clone(&asked));
        tokio::spawn(async move {
            while let Ok((caller, _)) = listener.accept().await {
                tokio::spawn(tunnel(caller, inside, Arc::clone(&book), refusal));
            }
        });
        Self { address, asked }
    }

    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("nobody panics with it").clone()
    }
}

async fn tunnel(
    mut caller: TcpStream,
    inside: SocketAddr,
    book: Arc<Mutex<Vec<String>>>,
    refusal: Option<&'static str>,
) -> Option<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(caller.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).ok()?;
    book.lock().ok()?.push(head);
    if let Some(refusal) = refusal {
        return caller.write_all(refusal.as_bytes()).await.ok();
    }
    let mut upstream = TcpStream::connect(inside).await.ok()?;
    caller
        .write_all(b"HTTP/1.1 200 Connected\r\n\r\n")
        .await
        .ok()?;
    tokio::io::copy_bidirectional(&mut caller, &mut upstream)
        .await
        .ok()?;
    Some(())
}

async fn program(house: &House, simulator: Simulator, without: &str) -> Program {
    let proxy = format!("http://someone:hush@{}", house.address);
    let own = "resolve: {}\n";
    let vars = [("HTTPS_PROXY", proxy.as_str()), ("NO_PROXY", without)];
    Program::within(simulator, own, &vars).await
}

#[tokio::test]
async fn token_calls_and_upstreams_go_through_the_proxy_of_the_environment() {
    let simulator = Simulator::start().await.unwrap();
    let house = House::open(&simulator, None).await;
    let program = program(&house, simulator, "").await;
    program.get("/graph/v1.0/users?$top=1").await.expect(200);
    let asked = house.asked();
    for host in [LOGIN, GRAPH] {
        let line = format!("CONNECT {host}:443 HTTP/1.1\r\n");
        let heads: Vec<_> = asked
            .iter()
            .filter(|head| head.starts_with(&line))
            .collect();
        assert!(!heads.is_empty(), "{host} in {asked:?}");
        for head in heads {
            // someone:hush
            assert!(
                head.to_lowercase()
                    .contains("proxy-authorization: basic c29tzw9uztpodxno"),
                "{head}"
            );
            assert!(!head.to_lowercase().contains("\nauthorization:"), "{head}");
        }
    }
    let said = format!("{}{}", program.out.text(), program.err.text());
    assert!(!said.contains("hush"));
}

#[tokio::test]
async fn a_variable_that_is_empty_hides_none_of_another_spelling() {
    for [empty, named] in [["HTTPS_PROXY", "https_proxy"], ["ALL_PROXY", "all_proxy"]] {
        let simulator = Simulator::start().await.unwrap();
        let house = House::open(&simulator, None).await;
        let proxy = format!("http://{}", house.address);
        let vars = [
            (empty, ""),
            (named, proxy.as_str()),
            ("NO_PROXY", ""),
            ("no_proxy", "localhost"),
        ];
        let own = format!(
            "resolve: {{}}\nroutes: [{{name: local, path: /local, upstream: 'https://localhost:{}'}}]\n",
            simulator.address().port()
        );
        let program = Program::within(simulator, &own, &vars).await;
        program.get("/local/sim/bytes/1").await;
        let asked = house.asked();
        assert!(asked.iter().any(|head| head.contains(LOGIN)), "{asked:?}");
        assert!(
            !asked.iter().any(|head| head.contains("localhost")),
            "{asked:?}"
        );
    }
}

#[tokio::test]
async fn an_upstream_without_tls_is_reached_without_the_proxy() {
    let simulator = Simulator::start().await.unwrap();
    let house = House::open(&simulator, None).await;
    let proxy = format!("http://{}", house.address);
    let vars = ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"].map(|var| (var, &*proxy));
    let local = simulator.metadata_address().to_string();
    let own = "resolve: {}\nroutes: [{name: local, path: /local, upstream: 'PLAIN/sim'}]\n";
    let program = Program::within(simulator, own, &vars).await;
    program.get("/local/bytes/1").await.expect(200);
    let asked = house.asked();
    assert!(asked.iter().any(|head| head.contains(LOGIN)), "{asked:?}");
    assert!(!asked.iter().any(|head| head.contains(&local)), "{asked:?}");
}

#[tokio::test]
async fn an_authority_without_tls_is_asked_without_the_proxy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = format!("http://{}", listener.local_addr().unwrap());
    let own = format!(
        "resolve: {{}}\n\
         credentials: {{local: {{tenant_id: {TENANT_ID}, client_id: {CLIENT_ID}, client_secret_file: SECRET_FILE, authority: '{authority}'}}}}\n"
    );
    let (simulator, folder) = desk(&own).await;
    let house = House::open(&simulator, None).await;
    let proxy = format!("http://{}", house.address);
    let mut command = with_file(&["token", "graph", "--raw"], folder.path());
    for var in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"] {
        command.env(var, &proxy);
    }
    tokio::spawn(async move {
        let (mut caller, _) = listener.accept().await.ok()?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(caller.read_u8().await.ok()?);
        }
        let token = r#"{"token_type":"Bearer","expires_in":3600,"access_token":"local-token"}"#;
        let reply = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{token}",
            token.len()
        );
        caller.write_all(reply.as_bytes()).await.ok()?;
        // The form, which is not read above, until the other side closes.
        tokio::io::copy(&mut caller, &mut tokio::io::sink())
            .await
            .ok()
    });
    let (code, out, err) = run(command).await;
    // Else the house would read the secret.
    assert!(house.asked().is_empty(), "{:?}", house.asked());
    assert_eq!((code, out.trim()), (0, "local-token"), "{err}");
}

#[tokio::test]
async fn a_token_call_that_gets_no_way_through_the_proxy_says_so() {
    let (simulator, folder) = desk("resolve: {}\n").await;
    let house = House::open(&simulator, Some("HTTP/1.1 403 Forbidden\r\n\r\n")).await;
    // The second is nobody's.
    for address in [house.address.to_string(), "127.0.0.1:9".to_owned()] {
        let mut command = with_file(&["token", "graph"], folder.path());
        command.env("HTTPS_PROXY", format!("http://someone:hush@{address}"));
        let (code, _, err) = run(command).await;
        assert_eq!(code, 1, "{err}");
        let words = format!("cannot reach {LOGIN}; the forward proxy gave no way there: check");
        assert!(err.contains(&words) && !err.contains("hush"), "{err}");
    }
}

const UNPROVEN: &str =
    "HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 6\r\n\r\nsecret";

#[tokio::test]
async fn a_token_call_without_the_credentials_of_the_proxy_names_them() {
    let (simulator, folder) = desk("resolve: {}\n").await;
    let house = House::open(&simulator, Some(UNPROVEN)).await;
    let mut command = with_file(&["token", "graph"], folder.path());
    command.env("HTTPS_PROXY", format!("http://{}", house.address));
    let (code, _, err) = run(command).await;
    assert_eq!(code, 1, "{err}");
    let words = format!("cannot reach {LOGIN}; the forward proxy gave no way there (status 407)");
    assert!(
        err.contains(&words) && err.contains("USER:PASSWORD"),
        "{err}"
    );
}

#[tokio::test]
async fn a_proxy_that_refuses_is_named_and_not_passed_on() {
    let simulator = Simulator::start().await.unwrap();
    let house = House::open(&simulator, Some(UNPROVEN)).await;
    let own = format!("resolve: {{'{LOGIN}:443': '{}'}}\n", simulator.address());
    let proxy = format!("http://someone:hush@{}", house.address);
    let vars = [("HTTPS_PROXY", proxy.as_str()), ("NO_PROXY", LOGIN)];
    let program = Program::within(simulator, &own, &vars).await;
    let answer = program.get("/graph/v1.0/users").await;
    assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
    let message = answer.message();
    assert!(message.contains(&house.address.to_string()), "{message}");
    assert!(
        message.contains("status 407); it wants") && message.contains("USER:PASSWORD"),
        "{message}"
    );
    assert!(!message.contains("hush") && !message.contains("secret"));
}

#[tokio::test]
async fn a_fixed_address_counts_for_an_upstream_that_is_an_address_itself() {
    let simulator = Simulator::start().await.unwrap();
    let at = simulator.address();
    let own = format!(
        "resolve: {{'{LOGIN}:443': '{at}', '127.0.0.1:1': '{at}'}}\n\
         routes: [{{name: local, path: /local, upstream: 'https://127.0.0.1:1'}}]\n"
    );
    let program = Program::within(simulator, &own, &[]).await;
    // The simulator is not at port 1, and says so: it was reached, and its certificate verified.
    let said = program.get("/local/sim/bytes/1").await.text();
    assert!(said.contains("a request for 127.0.0.1:1 on port"), "{said}");
}

#[tokio::test]
async fn a_variable_that_names_no_proxy_is_refused_and_not_passed_over() {
    let (_simulator, folder) = desk("resolve: {}\n").await;
    for (value, shown) in [
        ("http//proxy:3128", "holds \"http\", which is not"),
        (
            "socks5://someone:hunter2@proxy:1080",
            "holds \"socks5://…@proxy:1080\", and only http:// proxies",
        ),
        (
            "http://someone:hunter2@proxy:none",
            "holds \"http://…@proxy:…\", which is not",
        ),
    ] {
        for words in ["check", "run", "doctor", "token graph"] {
            let words: Vec<&str> = words.split(' ').collect();
            let mut command = with_file(&words, folder.path());
            command.env("HTTPS_PROXY", value);
            let (code, out, err) = run(command).await;
            assert_eq!(code, 2, "{words:?}: {out}{err}");
            assert!(
                err.contains(shown) && err.contains("HTTPS_PROXY"),
                "{words:?}: {err}"
            );
            assert!(!format!("{out}{err}").contains("hunter2"), "{err}");
        }
    }
}

#[tokio::test]
async fn what_is_no_proxy_for_http_is_told_at_its_first_line() {
    let simulator = Simulator::start().await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((mut caller, _)) = listener.accept().await {
            // It waits for the next command, as a server for mail does.
            caller.write_all(b"220 mail.corp ESMTP\r\n").await.ok();
            held.push(caller);
        }
    });
    let own = format!("resolve: {{'{LOGIN}:443': '{}'}}\n", simulator.address());
    let vars = [("HTTPS_PROXY", proxy.as_str()), ("NO_PROXY", LOGIN)];
    let program = Program::within(simulator, &own, &vars).await;
    let answer = program.get("/graph/v1.0/users").await;
    assert_eq!(answer.refusal(), (502, "upstreamUnreachable".to_owned()));
    let message = answer.message();
    assert!(message.contains("its answer is not HTTP"), "{message}");
}
