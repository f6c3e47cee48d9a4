//! The members of a JSON object that may end before its end: a refusal is read within bounds, and
//! what came of it is used.

use std::fmt;

use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::{Map, Value};

/// The members that came whole, as an object; none of what is no object.
pub(super) fn of(text: &[u8]) -> Value {
    let mut members = Map::new();
    let mut reader = serde_json::Deserializer::from_slice(text);
    // Where it ends or breaks, the members before stay.
    let _ = reader.deserialize_map(Collector(&mut members));
    Value::Object(members)
}

struct Collector<'a>(&'a mut Map<String, Value>);

impl<'de> Visitor<'de> for Collector<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some((name, value)) = map.next_entry()? {
            self.0.insert(name, value);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn members_before_the_end_are_kept_and_a_part_of_one_is_not() {
        let text = br#" {"error":"e","error_codes":[1,2],"error_description":"AADSTS"} "#;
        let whole = json!({"error": "e", "error_codes": [1, 2], "error_description": "AADSTS"});
        assert_eq!(of(text), whole);
        assert_eq!(
            of(&text[..40]),
            json!({"error": "e", "error_codes": [1, 2]})
        );
        assert_eq!(of(&text[..30]), json!({"error": "e"}));
        for nothing in ["", "{", "<html>", "[1]", "null", "7", "\"{}\""] {
            assert_eq!(of(nothing.as_bytes()), json!({}), "{nothing}");
        }
    }
}
