//! What is said of a key that is not known, and which known one it was meant to be.

use strsim::osa_distance;

use super::file;
use super::report::{is_word, listed, may_be_secret, quoted, quoted_key};

/// The known word that is nearest, when it is near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // No key is longer, and the distance of long words is expensive.
    if word.len() > 40 {
        return None;
    }
    let folded = snake_case(word);
    // A third of the word may be wrong: two letters of "upstream", one of "path". Two letters that have
    // changed places count once.
    let bound = (folded.len() / 3).clamp(1, 3);
    known
        .iter()
        .filter(|candidate| candidate.len().abs_diff(folded.len()) <= bound)
        .map(|candidate| (osa_distance(&folded, candidate), *candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The word as keys are written: `client-id` and `clientId` are `client_id`.
fn snake_case(word: &str) -> String {
    let mut written = String::new();
    let mut before = '_';
    for c in word.chars() {
        if before.is_ascii_lowercase() && c.is_ascii_uppercase() {
            written.push('_');
        }
        written.push(if c == '-' {
            '_'
        } else {
            c.to_ascii_lowercase()
        });
        before = c;
    }
    written
}

/// The one known word that this is short for, part by part: `tenant`, `cert_file`.
pub(super) fn in_full<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let word = snake_case(word);
    let begins = |candidate: &str| {
        let mut parts = candidate.split('_');
        // Two letters begin too many words.
        let stands_for =
            |part: &str, full: &str| part == full || (part.len() > 2 && full.starts_with(part));
        word.split('_')
            .all(|part| parts.next().is_some_and(|full| stands_for(part, full)))
    };
    let mut found = known.iter().copied().filter(|candidate| begins(candidate));
    found.next().filter(|_| found.next().is_none())
}

/// What has a digit, is no word, or stands below what is none, may be the value of a key that was
/// damaged, and that may be a secret: its beginning is shown where it is like a key.
pub(super) fn unknown_key(name: &str, below: &str) -> String {
    if may_be_secret(name) {
        return "unknown key: no key has a digit".to_owned();
    }
    if is_word(name) && is_word(below) {
        return format!("unknown key {}", quoted_key(name));
    }
    let mut words = name.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let near = nearest(words.next().unwrap_or_default(), &file::keys());
    let shown = near.map_or_else(String::new, |_| format!(" {}", quoted_key(name)));
    format!("unknown key{shown}: a key is a word, then a colon and a space")
}

/// What to write instead of an unknown key.
pub(super) fn instead_of(name: &str, near: Option<&str>, known: &[&str]) -> String {
    if let Some(near) = near {
        return format!("did you mean {}?", quoted(near));
    }
    let elsewhere = nearest(name, &file::keys());
    match elsewhere.and_then(|key| Some((key, file::home_of(key)?))) {
        Some((key, home)) => format!("{} belongs to {home}", quoted(key)),
        None => format!("keys here are {}", listed(known.iter().copied())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swapped_and_missing_letters_are_near() {
        let known = ["upstream", "scope", "path", "client_secret"];
        assert_eq!(nearest("upstraem", &known), Some("upstream"));
        assert_eq!(nearest("clientSecret", &known), Some("client_secret"));
        assert_eq!(nearest("client-secret", &known), Some("client_secret"));
        assert_eq!(nearest("pth", &known), Some("path"));
        assert_eq!(nearest("CLIENT_SECRET", &known), Some("client_secret"));
        assert_eq!(nearest("hostss", &["host", "hosts"]), Some("hosts"));
        assert_eq!(nearest("workersxx", &["workers"]), Some("workers"));
    }

    #[test]
    fn a_short_form_of_one_word_is_that_word() {
        let known = [
            "tenant_id",
            "client_id",
            "client_secret",
            "certificate_file",
            "certificate_password",
            "client_ca_file",
        ];
        assert_eq!(in_full("tenant", &known), Some("tenant_id"));
        assert_eq!(in_full("client_ca", &known), Some("client_ca_file"));
        assert_eq!(in_full("cert_file", &known), Some("certificate_file"));
        assert_eq!(in_full("cert-file", &known), Some("certificate_file"));
        assert_eq!(in_full("certFile", &known), Some("certificate_file"));
        for word in [
            "client",
            "certificate",
            "c_id",
            "te",
            "id",
            "",
            "_",
            "-",
            "file",
        ] {
            assert_eq!(in_full(word, &known), None, "{word}");
        }
    }

    #[test]
    fn a_key_is_shown_where_it_can_be_no_secret() {
        for (name, below, shown) in [
            ("hunter", "log", " \"hunter\""),
            ("hunter", "a b", ""),
            ("hunter x", "log", ""),
            ("client_secert x", "log", " \"client_secert…\""),
        ] {
            let told = unknown_key(name, below);
            let told = told.split(": ").next().unwrap_or_default();
            assert_eq!(told, format!("unknown key{shown}"), "{name} below {below}");
        }
    }

    #[test]
    fn unrelated_words_are_not() {
        assert_eq!(nearest("retries", &["upstream", "scope", "path"]), None);
        assert_eq!(nearest("", &["path"]), None);
        assert_eq!(nearest(&"path".repeat(50), &["path"]), None);
    }
}
