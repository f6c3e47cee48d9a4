//! An error with everything that led to it, in one line: each level says only what it knows.

use std::error::Error;
use std::fmt;

/// Shows an error and its sources, separated by colons.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        causes(self.0).try_for_each(|cause| write!(f, ": {cause}"))
    }
}

/// What led to an error, the nearest first.
pub fn causes<'a>(error: &'a (dyn Error + 'a)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(error.source(), |&cause| cause.source())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot read it")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn every_level_is_told_once() {
        let outer = Outer(std::io::Error::other("there is none"));
        assert_eq!(Chain(&outer).to_string(), "cannot read it: there is none");
        assert_eq!(Chain(&outer.0).to_string(), "there is none");
    }
}
