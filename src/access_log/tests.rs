//! The access log's lines, whatever is in them.

use std::time::UNIX_EPOCH;

use proptest::prelude::*;

use super::*;

fn record<'a>() -> AccessRecord<'a> {
    AccessRecord {
        time: UNIX_EPOCH + Duration::from_millis(1_234_567_890_042),
        request_id: "0b7c",
        caller: Some("reports"),
        route: Some("graph"),
        method: "GET",
        path: b"/graph/v1.0/users?$filter=secret",
        status: 200,
        request_bytes: 0,
        response_bytes: u64::MAX,
        head: Some(Duration::from_micros(12_045)),
        total: Duration::from_micros(1_000_007),
        token: Some(TokenUse::Hit),
        attempts: 1,
        upstream_request_id: Some(b"9f"),
        refused: None,
        outcome: Outcome::Complete,
    }
}

fn line(format: Format, record: &AccessRecord<'_>) -> String {
    let mut lines = Vec::new();
    record.append(format, &mut lines);
    String::from_utf8(lines).unwrap()
}

#[test]
fn a_forwarded_request_is_one_json_object_without_its_query() {
    assert_eq!(
        line(Format::Json, &record()),
        concat!(
            r#"{"time":"2009-02-13T23:31:30.042Z","request_id":"0b7c","caller":"reports","#,
            r#""route":"graph","method":"GET","path":"/graph/v1.0/users","status":200,"#,
            r#""request_bytes":0,"response_bytes":18446744073709551615,"head_ms":12.045,"#,
            r#""total_ms":1000.007,"token":"hit","attempts":1,"upstream_request_id":"9f","#,
            r#""outcome":"complete"}"#,
            "\n"
        )
    );
}

#[test]
fn a_refused_request_names_its_code_and_leaves_out_what_is_not_known() {
    let refused = AccessRecord {
        caller: None,
        route: None,
        status: 404,
        head: None,
        token: None,
        attempts: 0,
        upstream_request_id: None,
        refused: Some(Code::NoRoute),
        ..record()
    };
    let json: serde_json::Value = serde_json::from_str(&line(Format::Json, &refused)).unwrap();
    assert_eq!(json["code"], "noRoute");
    assert_eq!(json["status"], 404);
    for absent in ["caller", "route", "head_ms", "token", "upstream_request_id"] {
        assert!(json.get(absent).is_none(), "{absent}");
    }
}

#[test]
fn text_has_the_same_fields_in_the_same_order() {
    let text = line(Format::Text, &record());
    assert!(text.starts_with("time=2009-02-13T23:31:30.042Z request_id=0b7c caller=reports "));
    assert!(text.ends_with(" upstream_request_id=9f outcome=complete\n"));
    assert_eq!(text.split(' ').count(), 15);
}

#[test]
fn a_path_cannot_forge_a_field_or_a_line() {
    let path = "/a b=\"1\"\n\u{1b}[2J\u{202e}\u{61c}\u{85}\\\u{200f}\u{2028}\u{2029}\u{2069}";
    let path = path.as_bytes();
    let forged = AccessRecord { path, ..record() };
    let text = line(Format::Text, &forged);
    assert!(text.contains(
        "path=/a\\u0020b=\\\"1\\\"\\u000a\\u001b[2J\\u202e\\u061c\\u0085\\\\\\u200f\\u2028\\u2029\\u2069 status=200"
    ));
    let json: serde_json::Value = serde_json::from_str(&line(Format::Json, &forged)).unwrap();
    assert_eq!(json["path"].as_str().unwrap().as_bytes(), path);
}

#[test]
fn a_long_path_is_cut_between_characters() {
    for (path, shown) in [
        ("a".repeat(PATH_BYTES), "a".repeat(PATH_BYTES)),
        (
            "/".to_owned() + &"ü".repeat(PATH_BYTES),
            "/".to_owned() + &"ü".repeat(PATH_BYTES / 2 - 1) + "…",
        ),
        (
            "/".to_owned() + &"😀".repeat(PATH_BYTES),
            "/".to_owned() + &"😀".repeat(PATH_BYTES / 4 - 1) + "…",
        ),
    ] {
        let long = AccessRecord {
            path: path.as_bytes(),
            ..record()
        };
        let json: serde_json::Value = serde_json::from_str(&line(Format::Json, &long)).unwrap();
        assert_eq!(json["path"], shown);
    }
}

#[test]
fn an_absurd_duration_is_still_a_number() {
    let record = AccessRecord {
        total: Duration::MAX,
        ..record()
    };
    let json: serde_json::Value = serde_json::from_str(&line(Format::Json, &record)).unwrap();
    assert!(json["total_ms"].is_number());
}

#[test]
fn a_log_that_is_off_takes_nothing_and_closes_at_once() {
    let log = AccessLog::off();
    log.lane(7).write(&record());
    assert!(!log.lane(0).is_on());
    log.close(Duration::MAX);
}

proptest! {
    #[test]
    fn any_bytes_make_one_valid_json_line(
        path in proptest::collection::vec(any::<u8>(), 0..64),
        id in proptest::collection::vec(any::<u8>(), 0..200),
        method in ".*",
    ) {
        let record = AccessRecord {
            path: &path,
            upstream_request_id: Some(&id),
            method: &method,
            ..record()
        };
        let json = line(Format::Json, &record);
        prop_assert_eq!(json.find('\n'), Some(json.len() - 1));
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let expected = path.split(|b| *b == b'?').next().unwrap();
        prop_assert_eq!(value["path"].as_str().unwrap(), String::from_utf8_lossy(expected));
        prop_assert_eq!(value.as_object().unwrap().len(), 15);
    }

    #[test]
    fn any_bytes_make_one_text_line_with_the_same_number_of_fields(
        path in proptest::collection::vec(any::<u8>(), 0..64),
        method in ".*",
    ) {
        let record = AccessRecord { path: &path, method: &method, ..record() };
        let text = line(Format::Text, &record);
        prop_assert_eq!(text.find('\n'), Some(text.len() - 1));
        prop_assert_eq!(text.split(' ').count(), 15);
        prop_assert!(!text.trim_end().chars().any(char::is_control));
    }
}
