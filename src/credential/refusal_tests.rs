//! What each refusal of a token endpoint leads to, by fixtures of real shapes.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderName, HeaderValue};
use proptest::prelude::*;
use zeroize::Zeroizing;

use super::endpoint::Reply;
use super::error::{CredentialError, Flaw, Outage, Pace, Peer};
use super::refusal::of_entra;

fn received() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

fn refuse(status: u16, headers: &[(&'static str, &str)], body: &str) -> CredentialError {
    let headers = headers.iter().map(|(name, value)| {
        let value = HeaderValue::from_str(value).unwrap();
        (HeaderName::from_static(name), value)
    });
    let reply = Reply {
        from: Peer::new("login.test"),
        status,
        headers: HeaderMap::from_iter(headers),
        body: Zeroizing::new(body.as_bytes().to_vec()),
        received: received(),
    };
    of_entra(&reply, false)
}

fn document(error: &str, code: u32) -> String {
    format!(
        r#"{{"error":"{error}","error_description":"AADSTS{code}: SECRET WORDS of the server.\r\nTrace ID: x",
        "error_codes":[{code}],"trace_id":"33333333-aaaa-4bbb-8ccc-000000000003",
        "correlation_id":"44444444-aaaa-4bbb-8ccc-000000000004"}}"#
    )
}

#[test]
fn an_expired_secret_says_what_to_do_and_what_to_tell_microsoft() {
    let error = refuse(401, &[], &document("invalid_client", 7_000_222));
    assert_eq!(error.pace(), Pace::Permanent);
    assert!(error.refuses_credential());
    assert_eq!(
        error.words(),
        "AADSTS7000222: the client secret has expired; create a new secret for the app and put it \
         in place of the old one (invalid_client, status 401, \
         trace id 33333333-aaaa-4bbb-8ccc-000000000003, \
         correlation id 44444444-aaaa-4bbb-8ccc-000000000004)"
    );
    assert_eq!(error.caller_words(), error.words());
}

#[test]
fn an_error_that_is_about_the_credential_refuses_it_whatever_its_code() {
    for (error, refuses) in [
        ("invalid_client", true),
        ("unauthorized_client", true),
        ("invalid_scope", false),
        ("invalid_request", false),
    ] {
        for body in [document(error, 1), format!(r#"{{"error":"{error}"}}"#)] {
            assert_eq!(refuse(400, &[], &body).refuses_credential(), refuses);
        }
    }
}

#[test]
fn what_microsoft_asks_for_is_told_of_a_gateways_page_as_well() {
    let ids = [("x-ms-request-id", "3a-1"), ("client-request-id", "4b-2")];
    for (status, body) in [(429, "Too Many Requests"), (502, "<html>"), (400, "")] {
        let words = refuse(status, &ids, body).words();
        assert!(
            words.ends_with("(trace id 3a-1, correlation id 4b-2)"),
            "{words}"
        );
    }
}

#[test]
fn a_pause_that_nobody_asked_for_is_not_said_to_have_been() {
    for headers in [&[][..], &[("retry-after", "7")]] {
        assert_eq!(
            refuse(429, headers, "Too Many Requests").words(),
            "login.test answered 429; nothing needs to be changed, it is asked again after a pause"
        );
    }
}

#[test]
fn an_id_that_is_no_guid_is_told_as_well() {
    let body = r#"{"error":"invalid_client","trace_id":"EST.z_7-Prod","correlation_id":"gw.42"}"#;
    let words = refuse(401, &[], body).words();
    assert!(
        words.ends_with("trace id EST.z_7-Prod, correlation id gw.42)"),
        "{words}"
    );
    let long = "x".repeat(65);
    for id in ["", "a b", "a\nb", "<a>", "a~b", "é", &long] {
        let body = serde_json::json!({"error": "invalid_client", "trace_id": id}).to_string();
        let words = refuse(401, &[], &body).words();
        assert!(!words.contains("trace id"), "{words}");
    }
}

#[test]
fn refusals_of_scope_tenant_and_policy_do_not_blame_the_credential() {
    for (error, code) in [
        ("invalid_scope", 70011),
        ("invalid_scope", 1_002_012),
        ("invalid_resource", 500_011),
        ("invalid_tenant", 90002),
        ("invalid_grant", 53003),
    ] {
        let error = refuse(400, &[], &document(error, code));
        assert!(matches!(error, CredentialError::Rejected(_)), "{code}");
        assert_eq!(error.pace(), Pace::Permanent, "{code}");
        assert!(!error.refuses_credential(), "{code}");
    }
}

/// Entra says `invalid_client` as well where an organisation has not subscribed to a service, or a
/// service is for apps that are assigned to it: another credential of the app would be told the same, and
/// other services go on with this one.
#[test]
fn a_scope_or_a_policy_is_not_the_credentials_whatever_oauth_calls_it() {
    let codes = [
        28002, 28003, 50001, 50105, 53003, 65001, 70011, 500_011, 500_014, 501_051, 530_035,
        650_052, 650_056, 650_057, 700_022, 700_023, 1_002_012,
    ];
    for word in ["invalid_client", "unauthorized_client"] {
        for code in codes {
            let error = refuse(400, &[], &document(word, code));
            assert!(!error.refuses_credential(), "{word} {code}");
        }
        for code in [700_016, 7_000_112, 7_000_218, 7_000_222, 123_456] {
            let error = refuse(400, &[], &document(word, code));
            assert!(error.refuses_credential(), "{word} {code}");
        }
    }
}

#[test]
fn an_invalid_assertion_is_the_credentials_whatever_oauth_calls_it() {
    for code in [
        50012, 50013, 50027, 50048, 70021, 700_024, 700_027, 700_030, 700_211, 700_212, 700_213,
        700_229, 1_000_502, 7_000_214, 7_000_215, 7_000_222, 7_000_274, 7_000_277, 7_002_137,
        7_002_138,
    ] {
        for error in ["invalid_request", "invalid_grant"] {
            let error = refuse(400, &[], &document(error, code));
            assert!(error.refuses_credential(), "{code}");
        }
    }
    for code in [90061, 900_144, 900_561, 50194, 123_456] {
        let error = refuse(400, &[], &document("invalid_request", code));
        assert!(!error.refuses_credential(), "{code}");
    }
}

#[test]
fn a_change_on_its_way_through_the_directory_is_asked_for_again_sooner() {
    for code in [700_024, 70021, 90061] {
        let error = refuse(401, &[], &document("invalid_client", code));
        assert!(matches!(error, CredentialError::Rejected(_)), "{code}");
        assert_eq!(error.pace(), Pace::Slow, "{code}");
    }
}

#[test]
fn transient_codes_and_errors_are_outages_whatever_the_status() {
    for (status, error, code) in [
        (400, "temporarily_unavailable", 90033),
        (400, "invalid_grant", 90033),
        (400, "temporarily_unavailable", 1),
        (503, "invalid_client", 7_000_215),
        (500, "server_error", 90024),
        (408, "request_timeout", 90012),
    ] {
        let error = refuse(status, &[("retry-after", "7")], &document(error, code));
        assert!(matches!(
            error,
            CredentialError::Unavailable(Outage::Answer(_))
        ));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        assert_eq!(error.pace(), Pace::Soon);
    }
}

#[test]
fn throttling_in_plain_text_is_throttling() {
    let headers = [("content-type", "text/plain"), ("retry-after", "60")];
    let error = refuse(429, &headers, "Too Many Requests");
    assert!(matches!(error, CredentialError::Throttled(_)));
    assert_eq!(error.retry_after(), Some(Duration::from_secs(60)));
    for code in [50196, 90055] {
        let error = refuse(400, &[], &document("invalid_request", code));
        assert!(matches!(error, CredentialError::Throttled(_)), "{code}");
    }
}

#[test]
fn a_loop_that_entra_has_noticed_is_not_gone_on_with() {
    for (status, code) in [(400, 50196), (429, 50196), (400, 90055)] {
        let error = refuse(status, &[], &document("invalid_grant", code));
        assert_eq!(error.pace(), Pace::Slow, "{status} {code}");
        let headers = [("retry-after", "90")];
        let error = refuse(status, &headers, &document("invalid_grant", code));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(90)));
    }
    assert_eq!(refuse(429, &[], "Too Many Requests").pace(), Pace::Soon);
}

#[test]
fn a_federated_credential_that_does_not_match_is_a_persons_to_change() {
    for code in [700_211, 700_212, 700_213, 7_002_137, 7_002_138] {
        let error = refuse(401, &[], &document("invalid_client", code));
        assert_eq!(error.pace(), Pace::Permanent, "{code}");
        assert!(error.refuses_credential(), "{code}");
    }
}

#[test]
fn an_unknown_code_is_permanent_and_can_be_looked_up() {
    let error = refuse(400, &[], &document("invalid_request", 123_456));
    assert_eq!(error.pace(), Pace::Permanent);
    let address = "https://login.microsoftonline.com/error?code=123456";
    assert!(error.words().contains(address), "{}", error.words());
}

#[test]
fn of_several_codes_the_known_one_counts_that_says_why() {
    let body = r#"{"error":"invalid_client","error_codes":[70002,50012]}"#;
    assert!(refuse(401, &[], body).words().starts_with("AADSTS50012: "));
    let body = r#"{"error":"invalid_client","error_codes":[1,70002]}"#;
    assert!(refuse(401, &[], body).words().starts_with("AADSTS70002: "));
    let body = r#"{"error":"invalid_client","error_codes":[1,"7000215",7000222]}"#;
    assert!(
        refuse(401, &[], body)
            .words()
            .starts_with("AADSTS7000215: ")
    );
    for description in [
        "AADSTS7000215: x",
        "AADSTS70002: Error validating credentials. AADSTS7000215: x",
        "Error: AADSTS7000215: x",
        "AADSTS: see AADSTS1, then AADSTS7000215",
        "AADSTS99999999999 (AADSTS7000215)",
    ] {
        let body = format!(r#"{{"error":"invalid_client","error_description":"{description}"}}"#);
        let words = refuse(401, &[], &body).words();
        assert!(
            words.starts_with("AADSTS7000215: "),
            "{description}: {words}"
        );
    }
}

#[test]
fn gateway_pages_are_judged_by_their_status_alone() {
    let page = "<html><body>SECRET WORDS</body></html>";
    assert!(matches!(
        refuse(502, &[], page),
        CredentialError::Unavailable(_)
    ));
    assert!(matches!(
        refuse(403, &[], page),
        CredentialError::Rejected(_)
    ));
    for status in [204, 302] {
        let error = refuse(status, &[("location", "https://evil.test")], page);
        let CredentialError::Malformed { flaw, .. } = error else {
            panic!("{status} is {error}");
        };
        assert_eq!(flaw, Flaw::Status(status));
    }
}

#[test]
fn ids_are_found_where_they_stand_in_the_description_alone() {
    let (trace, correlation) = (
        "33333333-aaaa-4bbb-8ccc-000000000003",
        "44444444-aaaa-4bbb-8ccc-000000000004",
    );
    for between in [" ", "\\r\\n"] {
        let body = format!(
            r#"{{"error":"invalid_client","error_description":"AADSTS7000215: Invalid.{between}Trace ID: {trace}{between}Correlation ID: {correlation}{between}Timestamp: 2026-11-01"}}"#
        );
        let words = refuse(401, &[], &body).words();
        assert!(
            words.contains(trace) && words.contains(correlation),
            "{words}"
        );
    }
}

#[test]
fn words_of_a_server_never_reach_an_error() {
    let hostile = r#"{"error":"SECRET WORDS","error_codes":["SECRET"],"trace_id":"SECRET WORDS",
        "correlation_id":{"SECRET":1},"error_description":"AADSTS SECRET WORDS"}"#;
    for body in [
        hostile,
        &document("invalid_client", 7_000_215),
        "SECRET",
        "{\"error\":",
    ] {
        for status in [400, 401, 403, 429, 500, 302] {
            let error = refuse(status, &[("x-ms-request-id", "SECRET WORDS")], body);
            let shown = format!(
                "{error} {error:?} {} {}",
                error.words(),
                error.caller_words()
            );
            assert!(!shown.contains("SECRET"), "{status}: {shown}");
        }
    }
}

#[test]
fn retry_after_is_seconds_a_fraction_or_a_date_against_the_servers_own_clock() {
    let wait = |headers: &[(&'static str, &str)]| refuse(429, headers, "").retry_after();
    let millis = |n| Some(Duration::from_millis(n));
    assert_eq!(wait(&[("retry-after", "2.128")]), millis(2128));
    assert_eq!(wait(&[("retry-after", " 10 ")]), millis(10_000));
    let date = ("date", "Tue, 01 Jan 2030 00:05:00 GMT");
    let later = ("retry-after", "Tue, 01 Jan 2030 00:05:30 GMT");
    assert_eq!(wait(&[date, later]), millis(30_000));
    let past = ("retry-after", "Tue, 01 Jan 2030 00:04:00 GMT");
    assert_eq!(wait(&[date, past]), millis(0));
    let wall = ("retry-after", "Thu, 01 Jan 2026 00:00:09 GMT");
    assert_eq!(wait(&[wall]), millis(9000));
    for nonsense in ["", "-1", "soon", "nan", "1e300"] {
        assert_eq!(wait(&[("retry-after", nonsense)]), None, "{nonsense}");
    }
    assert_eq!(wait(&[("retry-after", "99999999999")]), millis(86_400_000));
}

#[test]
fn a_clock_that_is_wrong_is_named_as_the_reason() {
    let ahead = [("date", "Wed, 31 Dec 2025 23:50:00 GMT")];
    let words = refuse(401, &ahead, &document("invalid_client", 700_024)).words();
    assert!(
        words.contains("clock is 600 s ahead of the server's"),
        "{words}"
    );
    let right = [("date", "Thu, 01 Jan 2026 00:00:01 GMT")];
    let words = refuse(401, &right, &document("invalid_client", 700_024)).words();
    assert!(!words.contains("clock is"), "{words}");
}

proptest! {
    #[test]
    fn whatever_is_answered_is_told_in_a_line_of_words_that_are_known_here(
        status in 201_u16..=599,
        error in r#""[ -!#-\[\]-~]{0,50}SECRET"|[0-9]{1,30}|\[\]|null"#,
        codes in r#"\[("[0-9a-z]{0,9}"|[0-9]{0,12})\]|[0-9]{1,9}"#,
        text in "[ -!#-\\[\\]-~]{0,40}",
        retry_after in "[ -~]{0,30}",
        cut in any::<prop::sample::Index>(),
    ) {
        let body = format!(
            r#"{{"error":{error},"error_codes":{codes},"error_description":"{text}SECRET WORDS{text}","trace_id":"SECRET {text}"}}"#
        );
        let headers = [("retry-after", retry_after.as_str())];
        let words = refuse(status, &headers, &body[..cut.index(body.len())]).words();
        prop_assert!(!words.contains("SECRET"), "{}", words);
        prop_assert!(words.len() < 500 && !words.contains(|c: char| c.is_control()), "{}", words);
    }
}
