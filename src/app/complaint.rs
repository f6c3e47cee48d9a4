//! What is wrong with something that is looked at again and again: said once, until it changes.

/// A complaint about one thing.
pub(super) struct Complaint {
    about: &'static str,
    /// What was said last; empty when all was right.
    said: String,
}

impl Complaint {
    /// Nothing is wrong with it yet.
    pub(super) fn of(about: &'static str) -> Self {
        let said = String::new();
        Self { about, said }
    }

    /// Says what is wrong, and what follows from it; empty words mean that it is right again.
    pub(super) fn renew(&mut self, words: &str, consequence: &str) {
        if words == self.said {
            return;
        }
        words.clone_into(&mut self.said);
        if !words.is_empty() {
            tracing::error!(
                error = words,
                "{} cannot be used; {consequence}",
                self.about
            );
        }
    }
}
