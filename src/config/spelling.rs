//! Guesses which known word a misspelt one was meant to be.

use strsim::osa_distance;

/// The known word that is nearest, when it is near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // No key is longer, and the distance of long words is expensive.
    if word.len() > 40 {
        return None;
    }
    let folded = word.to_ascii_lowercase().replace('-', "_");
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
    }

    #[test]
    fn unrelated_words_are_not() {
        assert_eq!(nearest("retries", &["upstream", "scope", "path"]), None);
        assert_eq!(nearest("", &["path"]), None);
        assert_eq!(nearest(&"path".repeat(50), &["path"]), None);
    }
}
