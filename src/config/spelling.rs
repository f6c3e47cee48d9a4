//! Guesses which known word a misspelt one was meant to be.

/// The known word that is nearest, when it is near enough to be what was meant.
pub(super) fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    // No key is longer, and the distance of long words is expensive.
    if word.len() > 40 {
        return None;
    }
    let folded = word.to_ascii_lowercase().replace('-', "_");
    // A third of the word may be wrong: two letters of "upstream", one of "path".
    let bound = (folded.len() / 3).clamp(1, 3);
    known
        .iter()
        .filter(|candidate| candidate.len().abs_diff(folded.len()) <= bound)
        .map(|candidate| (distance(&folded, candidate), *candidate))
        .filter(|(distance, _)| *distance <= bound)
        .min()
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = replace.min(last[j] + 1).min(row[j - 1] + 1);
            let swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if swapped {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
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
