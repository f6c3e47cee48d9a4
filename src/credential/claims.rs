//! Claims that a token request may carry: what an upstream demanded in a challenge, and the declared
//! capability. Always a JSON object; merged so that neither displaces the other
//! ("claims challenges, claims requests and client capabilities", Microsoft identity platform).

use serde_json::{Map, Value};

/// Largest decoded claims text. Real ones have some hundred bytes.
pub const MAX_CLAIMS: usize = 16 * 1024;

/// Claims that an upstream demanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimsRequest(Map<String, Value>);

impl ClaimsRequest {
    /// Parses decoded claims. `None` unless they are a JSON object of at most [`MAX_CLAIMS`] bytes.
    pub fn parse(json: &[u8]) -> Option<Self> {
        if json.len() > MAX_CLAIMS {
            return None;
        }
        serde_json::from_slice(json).ok().map(Self)
    }

    /// Both demands in one; where they differ about a member, that of this one stays.
    pub fn and(mut self, other: Self) -> Self {
        merge_object(&mut self.0, other.0);
        self
    }
}

/// The `claims` form field: the demanded claims with the capability `cp1` merged in if it is
/// declared; `None` when there is nothing to say.
pub(super) fn form_field(
    continuous_access: bool,
    demanded: Option<&ClaimsRequest>,
) -> Option<String> {
    let mut claims = demanded
        .map(|request| request.0.clone())
        .unwrap_or_default();
    if continuous_access {
        merge_object(&mut claims, capability());
    }
    (!claims.is_empty()).then(|| Value::Object(claims).to_string())
}

fn capability() -> Map<String, Value> {
    let xms_cc = serde_json::json!({"access_token": {"xms_cc": {"values": ["cp1"]}}});
    match xms_cc {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn merge_object(into: &mut Map<String, Value>, from: Map<String, Value>) {
    for (name, value) in from {
        match into.get_mut(&name) {
            Some(present) => merge(present, value),
            None => {
                into.insert(name, value);
            }
        }
    }
}

/// Objects merge by member, arrays unite, `null` gives way, and otherwise what the upstream
/// demanded stays.
fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => merge_object(into, from),
        (Value::Array(into), Value::Array(from)) => {
            for value in from {
                if !into.contains(&value) {
                    into.push(value);
                }
            }
        }
        (into @ Value::Null, from) => *into = from,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn field(capability: bool, demanded: &str) -> Value {
        let request = ClaimsRequest::parse(demanded.as_bytes()).unwrap();
        serde_json::from_str(&form_field(capability, Some(&request)).unwrap()).unwrap()
    }

    #[test]
    fn a_challenge_and_the_capability_are_both_asked_for() {
        let merged = field(
            true,
            r#"{"access_token":{"nbf":{"essential":true, "value":"1893456000"}}}"#,
        );
        let expected = serde_json::json!({"access_token": {
            "nbf": {"essential": true, "value": "1893456000"},
            "xms_cc": {"values": ["cp1"]},
        }});
        assert_eq!(merged, expected);
    }

    #[test]
    fn values_that_the_challenge_lists_stay_beside_the_capability() {
        let merged = field(
            true,
            r#"{"access_token":{"xms_cc":{"values":["other","cp1"]}}}"#,
        );
        assert_eq!(
            merged["access_token"]["xms_cc"]["values"],
            serde_json::json!(["other", "cp1"])
        );
        let merged = field(true, r#"{"access_token":{"xms_cc":{"values":["other"]}}}"#);
        assert_eq!(
            merged["access_token"]["xms_cc"]["values"],
            serde_json::json!(["other", "cp1"])
        );
    }

    #[test]
    fn of_two_demands_both_are_asked_for_and_the_first_stays_where_they_differ() {
        let [one, other] = [r#"{"a":{"x":1},"b":2}"#, r#"{"a":{"y":3},"b":4,"c":5}"#]
            .map(|text| ClaimsRequest::parse(text.as_bytes()).unwrap());
        let both = br#"{"a":{"x":1,"y":3},"b":2,"c":5}"#;
        assert_eq!(one.and(other), ClaimsRequest::parse(both).unwrap());
    }

    #[test]
    fn a_null_member_gives_way_to_the_capability() {
        let merged = field(true, r#"{"access_token":null}"#);
        assert_eq!(merged["access_token"]["xms_cc"]["values"][0], "cp1");
    }

    #[test]
    fn nothing_is_sent_when_there_is_nothing_to_say() {
        assert_eq!(form_field(false, None), None);
        assert!(form_field(true, None).unwrap().contains("cp1"));
    }

    #[test]
    fn only_a_bounded_json_object_is_a_claims_request() {
        for text in ["", "[]", "\"x\"", "null", "{", "{} {}"] {
            assert_eq!(ClaimsRequest::parse(text.as_bytes()), None, "{text}");
        }
        let of = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
        assert!(ClaimsRequest::parse(of(MAX_CLAIMS).as_bytes()).is_some());
        assert_eq!(ClaimsRequest::parse(of(MAX_CLAIMS + 1).as_bytes()), None);
        let deep = "{\"a\":".repeat(3000) + "1" + &"}".repeat(3000);
        assert_eq!(ClaimsRequest::parse(deep.as_bytes()), None);
    }

    proptest! {
        #[test]
        fn whatever_is_demanded_the_result_is_an_object(text in "\\{(\"[a-c]\":[0-9],){0,3}\"access_token\":(1|\\{\\}|\\[1\\]|null)\\}") {
            if let Some(request) = ClaimsRequest::parse(text.as_bytes()) {
                let merged = form_field(true, Some(&request)).unwrap();
                prop_assert!(serde_json::from_str::<Map<String, Value>>(&merged).is_ok());
            }
        }
    }
}
