//! Spans of time as people say them, and text of others as HTML may hold it.

use std::fmt;

/// Seconds from now: `in 5 min`, `5 min ago` or `now`.
pub(super) struct Span(pub(super) i64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("now"),
            ..0 => write!(f, "{} ago", Words(-self.0)),
            1.. => write!(f, "in {}", Words(self.0)),
        }
    }
}

/// Seconds in the two largest units.
pub(super) struct Words(pub(super) i64);

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.unsigned_abs();
        let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
        match (days, hours, minutes) {
            (0, 0, 0) => write!(f, "{seconds} s"),
            (0, 0, _) => write!(f, "{minutes} min {} s", seconds % 60),
            (0, ..) => write!(f, "{hours} h {} min", minutes % 60),
            (1, ..) => write!(f, "1 day {} h", hours % 24),
            (..) => write!(f, "{days} days"),
        }
    }
}

/// Text in HTML, in an element or a quoted attribute.
pub(super) struct Escaped<'a>(pub(super) &'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.0.chars() {
            match c {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => write!(f, "{other}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_said_in_their_two_largest_units() {
        let said: Vec<String> = [0, 59, 61, 3_599, 7_260, 90_000, 864_000]
            .map(|seconds| Words(seconds).to_string())
            .into();
        let expected = [
            "0 s",
            "59 s",
            "1 min 1 s",
            "59 min 59 s",
            "2 h 1 min",
            "1 day 1 h",
            "10 days",
        ];
        assert_eq!(said, expected);
        assert_eq!(Span(0).to_string(), "now");
        assert_eq!(Span(2).to_string(), "in 2 s");
        assert_eq!(Span(-61).to_string(), "1 min 1 s ago");
        assert_eq!(Span(i64::MIN + 1).to_string(), "106751991167300 days ago");
    }

    #[test]
    fn every_character_that_html_knows_is_escaped() {
        let escaped = Escaped("<a b='\"c\"'>&").to_string();
        assert_eq!(escaped, "&lt;a b=&#39;&quot;c&quot;&#39;&gt;&amp;");
    }
}
