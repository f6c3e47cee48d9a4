//! Rules of `fallback`: it names another credential, and no chain of them leads back.

use super::CredentialSpec;
use super::file::RawCredential;
use super::node::Key;
use super::read::Item;
use super::report::{Report, quoted_key};
use super::roster::{Roster, unknown};

/// Checks the fallbacks of every credential.
pub(super) fn fallbacks(
    rows: &[(Key, Option<Item<RawCredential>>)],
    all: &Roster<CredentialSpec>,
    report: &mut Report,
) {
    let written = |at: usize| rows[at].1.as_ref()?.value.fallback.item();
    let follow = |at: usize| {
        let fallback = written(at)?;
        let found = all.find(fallback.value.as_str());
        if found.is_none() {
            let message = unknown("credential", fallback);
            let help = format!("credentials defined here are {}", all.names());
            report.problem(fallback.span, message, &help);
        }
        found
    };
    let next: Vec<Option<usize>> = (0..rows.len()).map(follow).collect();
    for at in 0..rows.len() {
        if let Some((fallback, second)) = written(at).zip(next[at])
            && next[second].is_some()
            && next[second] != Some(at)
        {
            let name = |at: usize| quoted_key(&all.entries[at].name);
            let message = format!(
                "{} stands in for {} without its own fallback",
                name(second),
                name(at)
            );
            let help =
                "there are two at most; the fallback of a fallback counts for routes of its own";
            report.warning(fallback.span, message, help);
        }
    }
    for first in circles(&next) {
        let credential = &all.entries[first];
        let message = format!(
            "the fallbacks of {} lead back to it",
            quoted_key(&credential.name)
        );
        let help = "a credential stands in for another, not for itself";
        // Who is in a circle has a fallback.
        let at = written(first).map_or(credential.span, |fallback| fallback.span);
        report.problem(at, message, help);
    }
}

/// The first member of every circle, where each place has at most one next.
fn circles(next: &[Option<usize>]) -> Vec<usize> {
    let mut walked_from: Vec<Option<usize>> = vec![None; next.len()];
    let mut firsts = Vec::new();
    for start in 0..next.len() {
        let mut at = Some(start);
        while let Some(place) = at.filter(|place| walked_from[*place].is_none()) {
            walked_from[place] = Some(start);
            at = next[place];
        }
        // Walks begin in order, so the first member that is met again is the first of its circle
        // or reached by a tail; the smallest of the circle is what a reader sees first.
        if let Some(met) = at.filter(|place| walked_from[*place] == Some(start)) {
            let mut first = met;
            let mut member = next[met];
            while let Some(place) = member.filter(|place| *place != met) {
                first = first.min(place);
                member = next[place];
            }
            firsts.push(first);
        }
    }
    firsts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_circle_is_found_once() {
        assert_eq!(circles(&[Some(1), Some(2), None]), Vec::<usize>::new());
        assert_eq!(circles(&[Some(0)]), [0]);
        assert_eq!(circles(&[Some(2), None, Some(3), Some(0)]), [0]);
        assert_eq!(circles(&[Some(2), Some(2), Some(3), Some(2)]), [2]);
        assert_eq!(circles(&[Some(1), Some(0), Some(3), Some(2)]), [0, 2]);
        assert_eq!(circles(&[]), Vec::<usize>::new());
    }
}
