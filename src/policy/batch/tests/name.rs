//! Which paths name a batch.

use proptest::prelude::*;

use crate::policy::batch::is_batch;

#[test]
fn a_batch_is_seen_in_every_spelling() {
    for path in [
        "/$batch",
        "/v1.0/$batch",
        "/BETA/$Batch",
        "/v1.0/%24batch",
        "/v1.0/%2524batch",
        "/v1.0/%252524batch",
        "/v1.0/%24%42%61tch",
        "/v1.0/%2%34batch",
        "/api/data/v9.2/$batch/",
        "/api/data/v9.2/$batch//",
        "/v1.0/$batch%2f",
        "/v1.0%2F$batch",
        "/v1.0%5c$batch",
        "/v1.0/$batch;a=b",
        "/v1.0/$batch()",
        "/v1.0/$batch.",
        "/v1.0/$batch%20",
        "/v1.0/$batch%3Fa",
        "/v1.0/$batch%23a",
        "/v1.0/%c0%a4batch",
        "/v1.0/%25c0%25a4batch",
        "/v1.0/$b%e0%81%a1tch",
        "/v1.0/$batch%c0%af",
        "//$BATCH",
        "$batch",
    ] {
        assert!(is_batch(path), "{path}");
    }
}

#[test]
fn other_paths_are_none() {
    for path in [
        "",
        "/",
        "/batch",
        "/v1.0/$batches",
        "/v1.0/x$batch",
        "/v1.0/$batch/users",
        "/v1.0/users/$batch:/x",
        "/v1.0/%25252524batch",
        "/v1.0/$batch%zz",
        "/v1.0/users?$batch",
    ] {
        assert!(!is_batch(path), "{path}");
    }
}

proptest! {
    #[test]
    fn encoding_up_to_three_times_hides_nothing(
        which in prop::collection::vec(0_u8..4, 6),
        upper: bool,
        front in "(/[a-z0-9.]{1,4}){0,3}/",
    ) {
        let mut path = front;
        for (byte, times) in "$batch".bytes().zip(which) {
            let mut text = char::from(byte).to_string();
            for round in 0..times {
                let hex = |b: u8| if upper { format!("%{b:02X}") } else { format!("%{b:02x}") };
                text = if round == 0 { hex(byte) } else { text.replacen('%', "%25", 1) };
            }
            path.push_str(&text);
        }
        prop_assert!(is_batch(&path), "{}", path);
    }
}
