//! What goes up: named cases, and laws over any set of headers.

use http::{HeaderName, HeaderValue};

use super::{headers, name};
use crate::code::Code;
use crate::config::HeaderEdits;
use crate::policy::request_header::{RequestRules, is_fixed};

pub(super) fn rules(keep: &[&str]) -> RequestRules {
    let keep: Vec<HeaderName> = keep.iter().map(|text| name(text)).collect();
    RequestRules::new(&keep, &HeaderEdits::default())
}

/// What is left, sorted, or the code of the refusal.
fn left(rules: &RequestRules, lines: &[(&str, &str)]) -> Result<Vec<String>, Code> {
    let caller = headers(lines);
    let fields = rules.apply(&caller, false);
    let fields = fields.map_err(|refusal| refusal.code)?;
    let mut lines: Vec<String> = fields
        .iter()
        .map(|(name, value)| format!("{name}: {}", value.to_str().unwrap()))
        .collect();
    lines.sort();
    Ok(lines)
}

#[test]
fn nothing_of_the_caller_connection_or_browser_goes_up() {
    for field in [
        "Authorization",
        "X-Api-Key",
        "x-ms-authorization-auxiliary",
        "Cookie",
        "Cookie2",
        "Forwarded",
        "X-Real-IP",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Uri",
        "X-Forwarded-User",
        "Via",
        "Origin",
        "Referer",
        "Sec-Fetch-Site",
        "Sec-CH-UA-Arch",
        "Sec-WebSocket-Key",
        "Host",
        "Expect",
        "Connection",
        "Keep-Alive",
        "Proxy-Authorization",
        "Proxy-Connection",
        "Proxy-Anything",
        "TE",
        "Trailer",
        "Transfer-Encoding",
        "Upgrade",
        "HTTP2-Settings",
    ] {
        let lines = [(field, "a"), ("accept", "*/*"), (field, "b")];
        assert_eq!(
            left(&rules(&[]), &lines).unwrap(),
            ["accept: */*"],
            "{field}"
        );
    }
}

#[test]
fn protocol_content_goes_up_untouched() {
    let lines = [
        ("content-type", "application/json"),
        ("prefer", "odata.maxpagesize=50"),
        ("prefer", "x"),
        ("if-match", "*"),
        ("mscrm.solutionuniquename", "x"),
        ("mscrm.suppressduplicatedetection", "true"),
        ("odata-version", "4.0"),
        ("client-request-id", "1"),
        ("x-ms-client-request-id", "2"),
        ("consistencylevel", "eventual"),
        ("content-length", "12"),
        ("x-forwarded", "1"),
        ("user-agent", "a"),
        ("range", "bytes=0-1"),
        ("security", "1"),
        ("proxy", "1"),
    ];
    let mut expected: Vec<String> = lines.iter().map(|(n, v)| format!("{n}: {v}")).collect();
    expected.sort();
    assert_eq!(left(&rules(&[]), &lines).unwrap(), expected);
}

#[test]
fn every_nominated_name_of_every_connection_line_goes() {
    let lines = [
        ("connection", "keep-alive, X-One ,,x-two"),
        ("connection", "close,content-type"),
        ("connection", "authorization, host, te, \"odd"),
        ("x-one", "1"),
        ("x-two", "2"),
        ("x-two", "2"),
        ("x-three", "3"),
        ("content-type", "text/plain"),
    ];
    assert_eq!(left(&rules(&[]), &lines).unwrap(), ["x-three: 3"]);
}

#[test]
fn a_nomination_takes_away_no_framing() {
    let lines = [("connection", "content-length"), ("content-length", "5")];
    assert_eq!(left(&rules(&[]), &lines).unwrap(), ["content-length: 5"]);
}

#[test]
fn a_kept_header_that_means_something_cannot_be_nominated_away() {
    let rules = rules(&["callerobjectid", "mscrm.bypassbusinesslogicexecution"]);
    for field in ["CallerObjectId", "MSCRM.BypassBusinessLogicExecution"] {
        let lines = [("connection", field), (field, "x")];
        assert_eq!(left(&rules, &lines), Err(Code::NotAllowed), "{field}");
        assert!(left(&rules, &[("connection", field)]).is_ok());
    }
}

#[test]
fn a_caller_that_takes_trailers_says_so_upstream() {
    for value in ["trailers", "Trailers", "gzip;q=0.5, trailers"] {
        let lines = [("te", value), ("connection", "te")];
        assert_eq!(
            left(&rules(&[]), &lines).unwrap(),
            ["te: trailers"],
            "{value}"
        );
    }
    assert!(left(&rules(&[]), &[("te", "gzip")]).unwrap().is_empty());
    assert!(
        left(&rules(&[]), &[("te", "trailersx")])
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_header_whose_loss_changes_the_meaning_is_refused_unless_kept() {
    for field in [
        "CallerObjectId",
        "MSCRMCallerID",
        "MSCRM.BypassCustomPluginExecution",
        "MSCRM.BypassBusinessLogicExecution",
        "MSCRM.BypassAnythingNew",
        "MSCRM.SuppressCallbackRegistrationExpanderJob",
        "X-HTTP-Method",
        "X-HTTP-Method-Override",
        "X-Method-Override",
    ] {
        let lines = [(field, "x")];
        let refusal = rules(&[]).apply(&headers(&lines), false).unwrap_err();
        assert_eq!(refusal.code, Code::NotAllowed, "{field}");
        assert!(refusal.message.contains("keep_headers"));
        assert!(refusal.message.contains(&field.to_ascii_lowercase()));
        let expected = format!("{}: x", field.to_ascii_lowercase());
        assert_eq!(left(&rules(&[field]), &lines).unwrap(), [expected]);
    }
}

#[test]
fn names_that_servers_read_in_two_ways_are_refused_unless_kept() {
    for field in [
        "X_Forwarded_User",
        "Transfer_Encoding",
        "x~y",
        "a!b",
        "x-api_key",
    ] {
        assert_eq!(
            left(&rules(&[]), &[(field, "x")]),
            Err(Code::BadRequest),
            "{field}"
        );
    }
    assert_eq!(left(&rules(&["x_y"]), &[("x_y", "1")]).unwrap(), ["x_y: 1"]);
    let rules = rules(&["transfer_encoding", "content_length", "authorization_"]);
    assert_eq!(
        left(&rules, &[("transfer_encoding", "x")]),
        Err(Code::BadRequest)
    );
    assert_eq!(
        left(&rules, &[("content_length", "x")]),
        Err(Code::BadRequest)
    );
}

#[test]
fn keeping_lifts_what_is_not_fixed() {
    let kept = [
        "cookie",
        "x-forwarded-for",
        "x-forwarded-new",
        "sec-ch-ua-arch",
        "via",
    ];
    for field in kept {
        assert_eq!(
            left(&rules(&[field]), &[(field, "1")]).unwrap().len(),
            1,
            "{field}"
        );
        assert!(!is_fixed(&name(field)));
    }
    for field in [
        "authorization",
        "host",
        "connection",
        "te",
        "transfer-encoding",
        "x-api-key",
        "upgrade",
        "proxy-authorization",
        "proxy-new",
        "expect",
        "trailer",
        "keep-alive",
    ] {
        assert!(
            left(&rules(&[field]), &[(field, "1")]).unwrap().is_empty(),
            "{field}"
        );
        assert!(is_fixed(&name(field)), "{field}");
    }
}

#[test]
fn a_content_length_has_one_spelling() {
    for (values, expected) in [
        (&["5"][..], Some("5")),
        (&["0"], Some("0")),
        (&["005"], Some("5")),
        (&["00"], Some("0")),
        (&["5", "05"], Some("5")),
        (&["5", "6"], None),
        (&["18446744073709551615"], Some("18446744073709551615")),
        (&["18446744073709551616"], None),
        (&["9999999999999999999"], Some("9999999999999999999")),
        (&["+5"], None),
        (&["5, 5"], None),
    ] {
        let lines: Vec<_> = values
            .iter()
            .map(|value| ("content-length", *value))
            .collect();
        let expected: Vec<String> = expected
            .iter()
            .map(|value| format!("content-length: {value}"))
            .collect();
        assert_eq!(left(&rules(&[]), &lines).unwrap(), expected, "{values:?}");
    }
}

#[test]
fn edits_come_last_and_touch_nothing_fixed() {
    let set = |field: &str, value: &'static str| (name(field), HeaderValue::from_static(value));
    let edits = HeaderEdits {
        set: vec![
            set("x-team", "a"),
            set("x-forwarded-host", "b"),
            set("authorization", "no"),
            set("transfer-encoding", "gzip"),
            set("x-api-key", "theirs"),
            set("x_api_key", "theirs"),
        ],
        remove: vec![name("user-agent"), name("x-team"), name("content-length")],
    };
    let rules = RequestRules::new(&[], &edits);
    let lines = [
        ("user-agent", "u"),
        ("x-team", "1"),
        ("x-team", "2"),
        ("content-length", "3"),
        ("x-api-key", "ours"),
    ];
    assert_eq!(
        left(&rules, &lines).unwrap(),
        [
            "content-length: 3",
            "x-api-key: theirs",
            "x-forwarded-host: b",
            "x-team: a",
            "x_api_key: theirs"
        ]
    );
}

#[test]
fn an_operation_of_a_batch_carries_no_credential_and_nothing_refused() {
    let rules = rules(&["x-http-method"]);
    for field in [
        "callerobjectid",
        "MSCRMCallerID",
        "MSCRM.BypassX",
        "X-HTTP-Method-Override",
        "Authorization",
        "Cookie",
        "Proxy-Authorization",
        "X-Api-Key",
        "x-ms-authorization-auxiliary",
        "X_Y",
        "caller objectid",
        " CallerObjectId",
    ] {
        assert!(rules.refuses(field), "{field}");
    }
    for field in [
        "Content-Type",
        "If-Match",
        "Prefer",
        "Host",
        "X-HTTP-Method",
        "Content-ID",
    ] {
        assert!(!rules.refuses(field), "{field}");
    }
}

#[test]
fn trailers_carry_nothing_that_a_header_may_not() {
    let mut trailers = headers(&[
        ("x-checksum", "1"),
        ("authorization", "2"),
        ("callerobjectid", "3"),
        ("x_y", "4"),
        ("content-length", "5"),
        ("proxy-new", "6"),
        ("transfer-encoding", "7"),
        // In the table, and passes as a header.
        ("accept-encoding", "8"),
    ]);
    rules(&[]).trailers(&mut trailers);
    let left = [("x-checksum", "1"), ("accept-encoding", "8")];
    assert_eq!(trailers, headers(&left));
    let edits = HeaderEdits {
        set: vec![(name("x-rows"), HeaderValue::from_static("ours"))],
        remove: vec![name("x-checksum")],
    };
    let mut trailers = headers(&[("x-checksum", "1"), ("x-rows", "2"), ("x-kept", "3")]);
    RequestRules::new(&[], &edits).trailers(&mut trailers);
    assert_eq!(trailers, headers(&[("x-kept", "3")]));
}

#[test]
fn cookies_that_are_kept_go_up_in_one_field() {
    let lines = [("cookie", "a=b"), ("accept", "*/*"), ("cookie", "c=d; e=f")];
    assert_eq!(
        left(&rules(&["cookie"]), &lines).unwrap(),
        ["accept: */*", "cookie: a=b; c=d; e=f"]
    );
    assert_eq!(left(&rules(&[]), &lines).unwrap(), ["accept: */*"]);
}
