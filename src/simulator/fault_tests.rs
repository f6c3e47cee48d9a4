//! What goes wrong on request goes wrong on the wire exactly so, and nothing else does.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::client::{Client, bearer, get, status};
use super::*;

/// The target of one user.
const USER: &str = "/v1.0/users?$top=1";
/// The target of one mebibyte.
const MEBIBYTE: &str = "/sim/bytes/1048576";

/// Sends a GET over bare TLS and reads until the connection ends.
async fn read_raw(simulator: &Simulator, target: &str) -> (Vec<u8>, std::io::Result<usize>) {
    let bearer = bearer(simulator, GRAPH).await;
    let mut tls = Client::tls(simulator, GRAPH, b"http/1.1").await.unwrap();
    let head = format!("GET {target} HTTP/1.1\r\nhost: {GRAPH}\r\nauthorization: {bearer}\r\n\r\n");
    tls.write_all(head.as_bytes()).await.unwrap();
    let mut bytes = Vec::new();
    let end = tls.read_to_end(&mut bytes).await;
    (bytes, end)
}

fn broken(after: Option<usize>, ending: Ending) -> Fault {
    Fault::Break { after, ending }
}

#[tokio::test]
async fn a_connection_can_end_before_the_head_in_each_way() {
    let simulator = Simulator::start().await.unwrap();
    for ending in [Ending::Close, Ending::Notify, Ending::Reset] {
        simulator.script(Script::on(GRAPH, broken(None, ending)).times(1));
        let (bytes, end) = read_raw(&simulator, "/v1.0/users").await;
        assert_eq!(bytes.len(), 0, "{ending:?}");
        let kind = end.map_err(|error| error.kind());
        let expected = match ending {
            Ending::Notify => Ok(0),
            Ending::Reset => Err(std::io::ErrorKind::ConnectionReset),
            Ending::Close | Ending::Hang => Err(std::io::ErrorKind::UnexpectedEof),
        };
        assert_eq!(kind, expected, "{ending:?}");
    }
    let seen = simulator.seen();
    let users: Vec<_> = seen
        .iter()
        .filter(|seen| seen.target() == "/v1.0/users")
        .collect();
    assert_eq!(users.len(), 3);
    assert!(users.iter().all(|seen| seen.status.is_none()));
}

#[tokio::test]
async fn an_answer_can_break_off_in_its_body_whatever_its_framing() {
    let simulator = Simulator::start().await.unwrap();
    for target in [MEBIBYTE, "/sim/bytes/1048576?chunked=1"] {
        simulator.script(Script::on(GRAPH, Fault::truncate(1000)).times(1));
        let (bytes, end) = read_raw(&simulator, target).await;
        assert_eq!(
            end.map_err(|error| error.kind()),
            Err(std::io::ErrorKind::UnexpectedEof)
        );
        let head = bytes
            .windows(4)
            .position(|four| four == b"\r\n\r\n")
            .unwrap();
        let body = bytes[head + 4..]
            .iter()
            .filter(|&&byte| byte == b'x')
            .count();
        assert_eq!(body, 1000, "{target}");
        assert!(!bytes.ends_with(b"0\r\n\r\n"));
    }
    simulator.script(Script::on(GRAPH, broken(Some(0), Ending::Reset)).times(1));
    let (bytes, end) = read_raw(&simulator, MEBIBYTE).await;
    assert!(bytes.ends_with(b"\r\n\r\n"));
    assert_eq!(
        end.map_err(|error| error.kind()),
        Err(std::io::ErrorKind::ConnectionReset)
    );
}

#[tokio::test]
async fn an_answer_can_be_ended_by_its_connection_alone() {
    let simulator = Simulator::start().await.unwrap();
    for (ending, expected) in [(Ending::Notify, true), (Ending::Close, false)] {
        simulator.script(Script::on(GRAPH, Fault::CloseDelimited(ending)).times(1));
        let (bytes, end) = read_raw(&simulator, USER).await;
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 200 OK\r\n") && text.ends_with('}'),
            "{text}"
        );
        assert!(!text.contains("content-length") && !text.contains("transfer-encoding"));
        assert_eq!(end.is_ok(), expected, "{ending:?}");
    }
}

#[tokio::test]
async fn scripts_choose_their_requests_and_wear_off() {
    let simulator = Simulator::start().await.unwrap();
    let bearer = bearer(&simulator, GRAPH).await;
    let mut client = Client::open(&simulator, GRAPH, false).await.unwrap();
    let under = Script::on(GRAPH, Fault::status(503))
        .under("/v1.0/users")
        .method("GET")
        .times(2);
    simulator.script(under);
    let mut statuses = Vec::new();
    for target in ["/beta/users", "/v1.0/users", "/v1.0/users", "/v1.0/users"] {
        statuses.push(client.status(get(GRAPH, target, &bearer)).await.as_u16());
    }
    assert_eq!(statuses, [200, 503, 503, 200]);
    // A fault for used connections leaves the first request of a new one alone.
    simulator.script(Script::on("*", Fault::reset()).reused().times(1));
    assert_eq!(
        status(&simulator, get(GRAPH, "/v1.0/users", &bearer)).await,
        200
    );
    assert!(
        client
            .send(get(GRAPH, "/v1.0/users", &bearer))
            .await
            .is_err()
    );
    simulator.script(Script::on(LOGIN, Fault::status(500)));
    let form = client::form(&simulator, "https://graph.microsoft.com/.default");
    assert_eq!(client::ask(&simulator, &form).await.status, 500);
    simulator.clear_scripts();
    assert_eq!(client::ask(&simulator, &form).await.status, 200);
    // A call that a script answers has been made all the same.
    assert_eq!(simulator.token_calls(), 3);
}

#[tokio::test]
async fn an_early_answer_does_not_wait_for_the_body() {
    let simulator = Simulator::start().await.unwrap();
    simulator.script(Script::on(GRAPH, Fault::status(401)).early().times(1));
    let mut tls = Client::tls(&simulator, GRAPH, b"http/1.1").await.unwrap();
    let head = format!(
        "PUT /v1.0/x HTTP/1.1\r\nhost: {GRAPH}\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n"
    );
    tls.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    tls.read_exact(&mut answer).await.unwrap();
    assert_eq!(answer, b"HTTP/1.1 401");
    let seen = simulator
        .wait_for(|seen| seen.body.end == BodyEnd::Unread)
        .await
        .unwrap();
    assert_eq!(seen.body.length, 0);
}

#[tokio::test]
async fn an_early_answer_reaches_a_client_that_is_still_sending() {
    let simulator = Simulator::start().await.unwrap();
    simulator.script(Script::on(GRAPH, Fault::status(413)).early().times(1));
    let tls = Client::tls(&simulator, GRAPH, b"http/1.1").await.unwrap();
    let (mut read, mut write) = tokio::io::split(tls);
    let length = 8 * 1024 * 1024;
    let head = format!("PUT /v1.0/x HTTP/1.1\r\nhost: {GRAPH}\r\ncontent-length: {length}\r\n\r\n");
    let send = async {
        write.write_all(head.as_bytes()).await.unwrap();
        write.write_all(&vec![b'z'; length]).await
    };
    let mut answer = Vec::new();
    let (sent, received) = tokio::join!(send, read.read_to_end(&mut answer));
    sent.unwrap();
    received.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 413"));
}

#[tokio::test]
async fn a_body_that_breaks_off_is_recorded_as_aborted() {
    let simulator = Simulator::start().await.unwrap();
    let mut tls = Client::tls(&simulator, GRAPH, b"http/1.1").await.unwrap();
    let head = format!("PUT /v1.0/x HTTP/1.1\r\nhost: {GRAPH}\r\ncontent-length: 10\r\n\r\nabc");
    tls.write_all(head.as_bytes()).await.unwrap();
    tls.shutdown().await.unwrap();
    let seen = simulator
        .wait_for(|seen| seen.body.end == BodyEnd::Aborted)
        .await
        .unwrap();
    assert_eq!((seen.body.length, seen.status), (3, None));
}

#[tokio::test]
async fn certificates_can_be_wrong_in_each_way() {
    let simulator = Simulator::start().await.unwrap();
    for handshake in [
        Handshake::Expired,
        Handshake::Untrusted,
        Handshake::WrongName,
        Handshake::Reset,
    ] {
        simulator.spoil(GRAPH, handshake);
        let opened = Client::open(&simulator, GRAPH, false).await;
        assert!(opened.is_err(), "{handshake:?}");
        assert!(Client::open(&simulator, LOGIN, false).await.is_ok());
    }
    simulator.spoil(GRAPH, Handshake::Stall);
    let stalled = Client::open(&simulator, GRAPH, false);
    assert!(
        tokio::time::timeout(Duration::from_millis(50), stalled)
            .await
            .is_err()
    );
    simulator.recover(GRAPH);
    assert!(Client::open(&simulator, GRAPH, false).await.is_ok());
}

#[tokio::test]
async fn http_2_streams_are_reset_refused_and_sent_away() {
    let simulator = Simulator::start().await.unwrap();
    let bearer = bearer(&simulator, GRAPH).await;
    let mut client = Client::open(&simulator, GRAPH, true).await.unwrap();
    let reason = |error: client::Failure| {
        let mut source: Option<&dyn std::error::Error> = Some(&*error);
        loop {
            match source?.downcast_ref::<h2::Error>() {
                Some(error) => return error.reason(),
                None => source = source?.source(),
            }
        }
    };
    for (fault, expected) in [
        (Fault::reset(), h2::Reason::INTERNAL_ERROR),
        (Fault::truncate(10), h2::Reason::INTERNAL_ERROR),
        (Fault::Unprocessed, h2::Reason::REFUSED_STREAM),
    ] {
        simulator.script(Script::on(GRAPH, fault).times(1));
        let failed = client
            .send(get(GRAPH, MEBIBYTE, &bearer))
            .await
            .unwrap_err();
        assert_eq!(reason(failed), Some(expected));
        // The connection goes on.
        assert_eq!(client.status(get(GRAPH, USER, &bearer)).await, 200);
    }
    simulator.script(Script::on(GRAPH, Fault::Goaway).times(1));
    assert_eq!(client.status(get(GRAPH, USER, &bearer)).await, 200);
    assert!(client.send(get(GRAPH, USER, &bearer)).await.is_err());
}

#[tokio::test]
async fn http_1_connections_are_sent_away_with_a_word() {
    let simulator = Simulator::start().await.unwrap();
    simulator.script(Script::on(GRAPH, Fault::Goaway).times(1));
    let (bytes, end) = read_raw(&simulator, USER).await;
    assert!(end.is_ok());
    assert!(
        String::from_utf8(bytes)
            .unwrap()
            .contains("connection: close")
    );
}
