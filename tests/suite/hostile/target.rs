//! The request line: only the route decides where a request goes.

use super::Want::{Closed, Denied, Harmless, Passed, Refused};
use super::{Fort, ask, get};

#[tokio::test]
async fn nothing_in_the_request_line_chooses_the_upstream() {
    let fort = Fort::build("").await;
    let one = "/sim/bytes/1";
    for (line, want) in [
        (
            "GET http://evil.example/graph/sim/bytes/1 HTTP/1.1",
            Refused(421, "hostNotServed"),
        ),
        (
            "GET https://evil.example/graph/sim/bytes/1 HTTP/1.1",
            Refused(421, "hostNotServed"),
        ),
        (
            "GET http://evil.example:1/graph/sim/bytes/1 HTTP/1.1",
            Refused(421, "hostNotServed"),
        ),
        (
            "GET http://graph.microsoft.com/graph/sim/bytes/1 HTTP/1.1",
            Refused(421, "hostNotServed"),
        ),
        (
            "GET http://u:p@evil.example/graph/sim/bytes/1 HTTP/1.1",
            Refused(400, "badRequest"),
        ),
        (
            "GET http://localhost@evil.example/graph/sim/bytes/1 HTTP/1.1",
            Refused(400, "badRequest"),
        ),
        (
            "GET http://evil.example@localhost/graph/sim/bytes/1 HTTP/1.1",
            Refused(400, "badRequest"),
        ),
        (
            "GET ftp://localhost/graph/sim/bytes/1 HTTP/1.1",
            Refused(400, "badRequest"),
        ),
        ("GET file:///graph/sim/bytes/1 HTTP/1.1", Denied),
        (
            "GET http://localhost/graph/sim/bytes/1 HTTP/1.1",
            Passed(200, one),
        ),
        (
            "GET HTTP://LOCALHOST:99/graph/sim/bytes/1 HTTP/1.1",
            Passed(200, one),
        ),
        (
            "GET http://BAIT/graph/sim/bytes/1 HTTP/1.1",
            Passed(200, one),
        ),
        ("GET http://localhost HTTP/1.1", Refused(404, "noRoute")),
        ("GET http://localhost?x HTTP/1.1", Denied),
        ("GET evil.example:80 HTTP/1.1", Refused(400, "badRequest")),
        ("GET evil.example HTTP/1.1", Refused(400, "badRequest")),
        ("GET @evil.example HTTP/1.1", Refused(400, "badRequest")),
        ("GET .evil.example HTTP/1.1", Refused(400, "badRequest")),
        (
            "GET @evil.example/graph/sim/bytes/1 HTTP/1.1",
            Refused(400, "badRequest"),
        ),
        ("GET .evil.example/ HTTP/1.1", Refused(400, "badRequest")),
        ("GET :8443 HTTP/1.1", Refused(400, "badRequest")),
        ("GET :8443/graph HTTP/1.1", Refused(400, "badRequest")),
        ("GET ?graph HTTP/1.1", Refused(400, "badRequest")),
        ("GET graph/sim/bytes/1 HTTP/1.1", Refused(400, "badRequest")),
        ("GET * HTTP/1.1", Refused(400, "badRequest")),
        ("OPTIONS * HTTP/1.1", Refused(400, "badRequest")),
        (
            "CONNECT evil.example:443 HTTP/1.1",
            Refused(405, "methodNotSupported"),
        ),
        (
            "CONNECT graph.microsoft.com:443 HTTP/1.1",
            Refused(405, "methodNotSupported"),
        ),
        ("CONNECT /graph/sim/bytes/1 HTTP/1.1", Denied),
        (
            "TRACE /graph/sim/bytes/1 HTTP/1.1",
            Refused(405, "methodNotSupported"),
        ),
        (
            "TRACK /graph/sim/bytes/1 HTTP/1.1",
            Refused(405, "methodNotSupported"),
        ),
        (
            "get /graph/sim/bytes/1 HTTP/1.1",
            Refused(405, "methodNotSupported"),
        ),
        (
            "GE!T /graph/sim/bytes/1 HTTP/1.1",
            Refused(405, "methodNotSupported"),
        ),
        (
            "PROPFIND /graph/sim/bytes/1 HTTP/1.1",
            Refused(405, "methodNotSupported"),
        ),
        (
            "GET //evil.example/graph/sim/bytes/1 HTTP/1.1",
            Refused(404, "noRoute"),
        ),
        (
            "GET /\\evil.example/graph HTTP/1.1",
            Refused(400, "badRequest"),
        ),
        (
            "GET /graph//evil.example/x HTTP/1.1",
            Refused(403, "notAllowed"),
        ),
        (
            "GET /open//evil.example/x HTTP/1.1",
            Passed(0, "//evil.example/x"),
        ),
        (
            "GET /open/@evil.example/x HTTP/1.1",
            Passed(0, "/@evil.example/x"),
        ),
        (
            "GET /open/http://evil.example/x HTTP/1.1",
            Passed(0, "/http://evil.example/x"),
        ),
        (
            "GET /graph@evil.example/sim/bytes/1 HTTP/1.1",
            Refused(404, "noRoute"),
        ),
        (
            "GET /graph.evil.example/sim/bytes/1 HTTP/1.1",
            Refused(404, "noRoute"),
        ),
        (
            "GET /graph:443/sim/bytes/1 HTTP/1.1",
            Refused(404, "noRoute"),
        ),
        ("GET / HTTP/1.1", Refused(404, "noRoute")),
        ("GET /grap HTTP/1.1", Refused(404, "noRoute")),
        ("GET /graphs/sim/bytes/1 HTTP/1.1", Refused(404, "noRoute")),
        ("GET /GRAPH/sim/bytes/1 HTTP/1.1", Refused(404, "noRoute")),
        ("GET /%67raph/sim/bytes/1 HTTP/1.1", Refused(404, "noRoute")),
        ("GET /graph HTTP/1.1", Refused(403, "notAllowed")),
        (
            "GET /graph/sim/bytes/1#/../x HTTP/1.1",
            Refused(400, "badRequest"),
        ),
        (
            "GET /graph/sim/bytes/1?x='#1'&$top=1 HTTP/1.1",
            Refused(400, "badRequest"),
        ),
        (
            "DELETE /graph/v1.0/users/anna#EXT#@contoso.example/messages/A HTTP/1.1",
            Refused(400, "badRequest"),
        ),
        (
            "GET /graph/sim/bytes/1?u=http://evil.example/ HTTP/1.1",
            Passed(200, "/sim/bytes/1?u=http://evil.example/"),
        ),
        (
            "GET /graph/sim/bytes/1??//@evil HTTP/1.1",
            Passed(200, "/sim/bytes/1??//@evil"),
        ),
        (
            "GET /graph/sim/bytes/1 HTTP/1.2",
            Refused(400, "badRequest"),
        ),
        (
            "GET /graph/sim/bytes/1 HTTP/2.0",
            Refused(400, "badRequest"),
        ),
        (
            "GET /graph/sim/bytes/1 HTTP/0.9",
            Refused(400, "badRequest"),
        ),
        ("GET /graph/sim/bytes/1", Refused(400, "badRequest")),
        ("GET  /graph/sim/bytes/1 HTTP/1.1", Denied),
        (
            "GET\t/graph/sim/bytes/1\tHTTP/1.1",
            Refused(400, "badRequest"),
        ),
        (
            "GET /graph/sim/bytes/1 evil HTTP/1.1",
            Refused(400, "badRequest"),
        ),
        (
            "GET /graph/sim/<bytes>/1 HTTP/1.1",
            Refused(400, "badRequest"),
        ),
        (
            "\0GET /graph/sim/bytes/1 HTTP/1.1",
            Refused(400, "badRequest"),
        ),
    ] {
        let line = line.replace("BAIT", &fort.bait().to_string());
        let bytes = ask(&format!("{line}\r\nHost: localhost"));
        fort.face(&line, &bytes, want).await;
    }
    let long = format!("/graph/sim/bytes/1?{}", "x".repeat(41 * 1024));
    fort.face("a long line", &get(&long), Refused(414, "uriTooLong"))
        .await;
    let longer = format!("/graph/sim/bytes/1?{}", "x".repeat(1024 * 1024));
    fort.face(
        "a very long line",
        &get(&longer),
        Refused(414, "uriTooLong"),
    )
    .await;
    let fits = format!("/graph/sim/bytes/1?{}", "x".repeat(32 * 1024));
    let reply = fort
        .face("as long as Dataverse allows", &get(&fits), Harmless)
        .await;
    assert_eq!(reply.status(), 200);
    fort.face(
        "another protocol",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        Denied,
    )
    .await;
    fort.face("an SSH client", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", Denied)
        .await;
    fort.face(
        "a preface of its own making",
        b"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n",
        Closed,
    )
    .await;
    fort.stands().await;
}
