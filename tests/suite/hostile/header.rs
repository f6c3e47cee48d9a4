//! Header fields: what changes the meaning of a request is refused, what belongs to a hop or a
//! caller stays here, and ours are added last. The simulator takes offence at what should not come.

use super::Want::{Denied, Harmless, Passed, Refused};
use super::{Fort, ask};

#[tokio::test]
async fn a_field_that_would_be_lost_silently_is_refused() {
    let fort = Fort::build("").await;
    for field in [
        "CallerObjectId: 66666666-aaaa-4bbb-8ccc-000000000001",
        "callerobjectid: x",
        "MSCRMCallerID: 66666666-aaaa-4bbb-8ccc-000000000001",
        "mscrmcallerid:",
        "MSCRM.BypassCustomPluginExecution: true",
        "MSCRM.BypassBusinessLogicExecution: CustomSync",
        "MSCRM.BypassBusinessLogicExecutionStepIds: 1",
        "MSCRM.SuppressCallbackRegistrationExpanderJob: true",
        "X-HTTP-Method: DELETE",
        "X-HTTP-Method-Override: DELETE",
        "X-Method-Override: DELETE",
        "x-http-method-override: GET",
        "Connection: CallerObjectId\r\nCallerObjectId: x",
    ] {
        let bytes = ask(&format!(
            "POST /graph/sim/sink HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n{field}"
        ));
        let reply = fort.face(field, &bytes, Refused(403, "notAllowed")).await;
        assert!(
            String::from_utf8_lossy(&reply.bytes).contains("keep_headers"),
            "{reply:?}"
        );
    }
    fort.stands().await;
}

#[tokio::test]
async fn what_belongs_to_a_hop_or_a_caller_stays_here() {
    let fort = Fort::build("").await;
    for fields in [
        "Authorization: Bearer CANARY-evil",
        "Authorization: Basic ZXZpbDpldmls\r\nAuthorization: Bearer evil",
        "authorization:",
        "X-Api-Key: CANARY-evil",
        "x-ms-authorization-auxiliary: Bearer CANARY-evil",
        "Cookie: a=CANARY-b\r\nCookie: c=CANARY-d",
        "Forwarded: for=1.2.3.4;host=CANARY-evil.example",
        "X-Forwarded-For: 1.2.3.4\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Uri: /x\r\nX-Forwarded-Proto: https",
        "Via: 1.1 CANARY-evil",
        "Referer: http://localhost/CANARY-graph",
        "Origin: http://localhost",
        "Sec-Fetch-Site: none\r\nSec-CH-UA: x\r\nSec-WebSocket-Key: x",
        "Proxy-Authorization: Basic CANARY-evil",
        "Proxy-Connection: keep-alive",
        "Keep-Alive: timeout=5",
        "TE: gzip",
        "TE: trailers, gzip;q=0.5",
        "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13",
        "Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        "Connection: close, Authorization",
        "Connection: authorization, host, content-type, client-request-id",
        "Connection: x-a\r\nConnection: X-B\r\nX-A: CANARY-1\r\nX-B: CANARY-2",
        "Connection: ,,, ,close",
        "Connection: host",
        "Connection: te\r\nTE: trailers",
        "client-request-id: a\r\nclient-request-id: b",
        "client-request-id: \u{e4}\u{f6}",
        "X-Eight: \u{e9}\u{ff}",
        "Expect: 100-continue",
        "Accept: a\r\nAccept: b",
        "Max-Forwards: 0",
        "Range: bytes=0-0",
        "X-Original-URL: /admin\r\nX-Rewrite-URL: /admin",
    ] {
        let bytes = ask(&format!(
            "GET /graph/sim/bytes/9 HTTP/1.1\r\nHost: localhost\r\n{fields}"
        ));
        let reply = super::talk(fort.program.address, &bytes).await;
        assert!(matches!(reply.status(), 200 | 206), "{fields}: {reply:?}");
        let seen = fort.asked();
        assert_eq!(seen.len(), 1, "{fields}");
        for name in ["x-a", "x-b"] {
            assert!(seen[0].header(name).is_none(), "{fields}: {seen:?}");
        }
        assert_eq!(
            seen[0].header_values("host"),
            ["graph.microsoft.com"],
            "{fields}"
        );
        fort.holds(fields, &reply.bytes).await;
    }
    fort.stands().await;
}

#[tokio::test]
async fn malformed_fields_and_expectations_are_refused() {
    let fort = Fort::build("").await;
    let bad = Refused(400, "badRequest");
    for (fields, want) in [
        ("X: a\r\n b", bad),
        ("X: a\r\n\tb", bad),
        (" X: a", Denied),
        ("X : a", bad),
        (": a", bad),
        ("X", bad),
        ("X Y: a", bad),
        ("X: a\0b", bad),
        ("X: a\rb", bad),
        ("X\0: a", bad),
        ("Transfer_Encoding: chunked", bad),
        ("X_Forwarded_User: root", bad),
        ("X(: a", bad),
        ("X\u{e4}: a", bad),
        ("Expect: 200-maybe", Refused(417, "expectationFailed")),
        (
            "Expect: 100-continue, 200-maybe",
            Refused(417, "expectationFailed"),
        ),
        (
            "Expect: 100-continue\r\nExpect: x",
            Refused(417, "expectationFailed"),
        ),
    ] {
        let bytes = ask(&format!(
            "GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\n{fields}"
        ));
        fort.face(fields, &bytes, want).await;
    }
    let many = "X: y\r\n".repeat(120);
    let bytes = ask(&format!(
        "GET /graph/sim/bytes/1 HTTP/1.1\r\n{many}Host: localhost"
    ));
    fort.face("120 fields", &bytes, Refused(431, "headersTooLarge"))
        .await;
    for size in [70, 120, 1000] {
        let large = "x".repeat(size * 1024);
        let bytes = ask(&format!(
            "GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\nX: {large}"
        ));
        fort.face("a large field", &bytes, Refused(431, "headersTooLarge"))
            .await;
    }
    let most = "X: y\r\n".repeat(90);
    let bytes = ask(&format!(
        "GET /graph/sim/bytes/1 HTTP/1.1\r\n{most}Host: localhost"
    ));
    fort.face("90 fields", &bytes, Passed(200, "/sim/bytes/1"))
        .await;
    let nul = b"GET /graph/sim/bytes/1 HTTP/1.1\r\nHost: localhost\r\nX: \x80\xfe\r\n\r\n";
    fort.face("bytes that are no text", nul, Harmless).await;
    fort.stands().await;
}
