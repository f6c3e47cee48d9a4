//! What is wrong with something that is looked at again and again: said once, until it changes.

/// A complaint about one thing.
pub(super) struct Complaint {
    about: &'static str,
    /// What was said last, and what follows from it; empty when all was right.
    said: (String, String),
}

impl Complaint {
    /// Nothing is wrong with it yet.
    pub(super) fn of(about: &'static str) -> Self {
        let said = Default::default();
        Self { about, said }
    }

    /// Says what is wrong, and what follows from it; empty words mean that it is right again.
    pub(super) fn renew(&mut self, words: &str, consequence: &str) {
        if self.is_news(words, consequence) {
            tracing::error!(
                error = words,
                "{} cannot be used; {consequence}",
                self.about
            );
        }
    }

    fn is_news(&mut self, words: &str, consequence: &str) -> bool {
        let says = match words {
            "" => Default::default(),
            _ => (words.to_owned(), consequence.to_owned()),
        };
        let is_news = !words.is_empty() && says != self.said;
        self.said = says;
        is_news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_is_said_again_when_something_else_follows_or_it_was_right_meanwhile() {
        let mut complaint = Complaint::of("a thing");
        for (words, consequence, is_news) in [
            ("", "kept", false),
            ("refused", "kept", true),
            ("refused", "kept", false),
            ("refused", "nothing works", true),
            ("broken", "nothing works", true),
            ("", "kept", false),
            ("broken", "nothing works", true),
        ] {
            assert_eq!(complaint.is_news(words, consequence), is_news, "{words}");
        }
    }
}
