//! When the end of a secret or certificate is near enough to be told, and how it is told; and how it
//! is that the time of one has not come.

use std::time::{Duration, SystemTime};

use crate::config::Name;
use crate::timestamp::Timestamp;

/// From here on an end that comes near is told: a month is time for a change with approvals.
const NEAR: Duration = Duration::from_secs(30 * 86_400);

/// What to say at `now` of a credential that ends at `end`; nothing while that is far.
pub fn ending(name: &Name, end: SystemTime, now: SystemTime) -> Option<String> {
    if end >= now + NEAR {
        return None;
    }
    let day = Timestamp::of(end);
    let day = &day.as_str()[..10];
    let when = match end.duration_since(now) {
        Ok(left) if left.as_secs() >= 2 * 86_400 => {
            format!("expires on {day}, in {} days", left.as_secs() / 86_400)
        }
        Ok(left) => format!("expires on {day}, in {} h", left.as_secs() / 3600),
        Err(_) => format!("expired on {day}"),
    };
    Some(format!(
        "credential \"{name}\" {when}; put a new certificate in place, or a new secret and its day in `expires`"
    ))
}

/// What to say of a credential whose certificate is valid from `begin` on, which is yet to come.
pub fn beginning(name: &Name, begin: SystemTime) -> String {
    let begin = Timestamp::of(begin);
    format!(
        "credential \"{name}\" is not valid before {begin}; check this machine's clock, or put a certificate that is valid now in place"
    )
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn an_end_is_told_from_a_month_before_and_for_ever_after() {
        let day = |n: u64| UNIX_EPOCH + Duration::from_secs(n * 86_400);
        let name = Name::parse("app").unwrap();
        let at = |now| ending(&name, day(20_000), now);
        assert_eq!(at(day(19_970)), None);
        let soon = at(day(19_971)).unwrap();
        assert!(
            soon.starts_with("credential \"app\" expires on 2024-10-04, in 29 days;"),
            "{soon}"
        );
        assert!(at(day(19_998)).unwrap().contains("in 2 days"));
        assert!(at(day(19_999)).unwrap().contains("in 24 h"));
        assert!(
            at(day(20_001))
                .unwrap()
                .contains("\" expired on 2024-10-04;")
        );
    }
}
