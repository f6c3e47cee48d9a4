//! Laws of what goes up, over any set of headers.

use http::{HeaderMap, HeaderName};
use proptest::prelude::*;

use super::headers;
use super::request_header::rules;

/// Names that matter, names near them, and any other.
fn any_name() -> impl Strategy<Value = String> {
    let near = vec![
        "connection",
        "te",
        "host",
        "authorization",
        "x-api-key",
        "cookie",
        "forwarded",
        "origin",
        "x-forwarded-for",
        "x-forwarded-",
        "sec-",
        "sec-x",
        "proxy-x",
        "via",
        "referer",
        "upgrade",
        "keep-alive",
        "callerobjectid",
        "mscrm.bypass",
        "mscrm.solutionuniquename",
        "x-http-method",
        "content-length",
        "content-type",
        "accept",
        "x_y",
        "expect",
        "trailer",
    ];
    prop_oneof![4 => prop::sample::select(near).prop_map(str::to_owned), 1 => "[a-z][a-z0-9-]{0,12}"]
}

fn any_lines() -> impl Strategy<Value = Vec<(String, String)>> {
    let value = prop_oneof![any_name(), "[a-z, ]{0,16}", "(trailers|5|close|x-a, te)"];
    prop::collection::vec((any_name(), value), 0..12)
}

/// The list of what never goes up, read without any table.
fn forbidden(field: &str) -> bool {
    let listed = [
        "authorization",
        "x-api-key",
        "x-ms-authorization-auxiliary",
        "cookie",
        "forwarded",
        "via",
        "origin",
        "referer",
        "host",
        "connection",
        "keep-alive",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "expect",
        "callerobjectid",
        "mscrmcallerid",
        "x-http-method",
        "x-http-method-override",
        "x-method-override",
    ];
    listed.contains(&field)
        || ["x-forwarded-", "sec-", "proxy-", "mscrm.bypass"]
            .iter()
            .any(|p| field.starts_with(p))
        || field.contains('_')
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn what_goes_up_is_clean_and_the_rest_of_it_untouched(lines in any_lines()) {
        let borrowed: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (&**n, &**v)).collect();
        let before = headers(&borrowed);
        let rules = rules(&[]);
        let Ok(after) = rules.apply(&before, false) else {
            return Ok(());
        };
        let after = HeaderMap::from(&after);
        let nominated: Vec<String> = lines
            .iter()
            .filter(|(n, _)| n == "connection")
            .flat_map(|(_, v)| v.split(',').map(|o| o.trim().to_ascii_lowercase()).collect::<Vec<_>>())
            .collect();
        for field in before.keys().map(HeaderName::as_str) {
            let came: Vec<_> = before.get_all(field).iter().collect();
            let went: Vec<_> = after.get_all(field).iter().collect();
            match field {
                "te" => prop_assert!(went.is_empty() || went == ["trailers"]),
                "content-length" => prop_assert!(went.len() <= 1),
                _ if forbidden(field) || nominated.iter().any(|n| n == field) => {
                    prop_assert!(went.is_empty(), "{}", field);
                }
                _ => prop_assert_eq!(went, came, "{}", field),
            }
        }
        prop_assert!(after.keys().all(|field| before.contains_key(field)));
    }

    #[test]
    fn doing_it_twice_does_nothing_more(lines in any_lines()) {
        let borrowed: Vec<(&str, &str)> = lines.iter().map(|(n, v)| (&**n, &**v)).collect();
        let (rules, before) = (rules(&[]), headers(&borrowed));
        let Ok(once) = rules.apply(&before, false) else {
            return Ok(());
        };
        let once = HeaderMap::from(&once);
        let twice = rules.apply(&once, false).unwrap();
        prop_assert_eq!(&once, &HeaderMap::from(&twice));
    }
}
