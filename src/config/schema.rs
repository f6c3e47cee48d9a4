//! The JSON Schema of routes.yaml: that of the raw mappings, and which of their keys go together.

use serde_json::{Value, json};

use super::file::RawConfig;

/// The keys of a mapping of which so many must be there.
struct Choice {
    mapping: &'static str,
    how_many: &'static str,
    keys: &'static [&'static str],
}

/// One of them, and no other.
const ONE: &str = "oneOf";
/// One of them at least.
const SOME: &str = "anyOf";

const CHOICES: [Choice; 4] = [
    Choice {
        mapping: "RawRoute",
        how_many: SOME,
        keys: &["path", "host"],
    },
    Choice {
        mapping: "RawCredential",
        how_many: ONE,
        keys: &[
            "client_secret",
            "client_secret_file",
            "certificate_file",
            "federated_token_file",
            "managed_identity",
        ],
    },
    Choice {
        mapping: "RawCaller",
        how_many: ONE,
        keys: &[
            "api_key",
            "api_key_file",
            "client_certificate",
            "service_account",
        ],
    },
    Choice {
        mapping: "RawIdentitySelector",
        how_many: ONE,
        keys: &["client_id", "object_id", "resource_id"],
    },
];

/// The JSON Schema of routes.yaml, for editors. `check` knows more: what no schema can say passes it.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(RawConfig).to_value();
    for choice in CHOICES {
        let required = choice.keys.iter().map(|key| json!({ "required": [key] }));
        schema["$defs"][choice.mapping][choice.how_many] = required.collect();
    }
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mappings_and_keys_of_a_choice_are_there() {
        let schema = schema();
        for choice in CHOICES {
            let properties = &schema["$defs"][choice.mapping]["properties"];
            for key in choice.keys {
                assert!(!properties[key].is_null(), "{} {key}", choice.mapping);
            }
        }
    }

    #[test]
    fn a_count_has_the_bounds_that_it_is_held_to() {
        let schema = schema();
        for (mapping, key, least, most) in [
            ("RawRetry", "attempts", 2, 10),
            ("RawLimits", "headers", 1, 10_000),
            ("RawLimits", "streams", 1, i32::MAX),
        ] {
            let count = &schema["$defs"][mapping]["properties"][key]["anyOf"][0];
            assert_eq!(count["minimum"], least, "{key}");
            assert_eq!(count["maximum"], most, "{key}");
        }
    }
}
