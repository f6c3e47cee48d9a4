//! How long to wait before a failed token call is made again.

use std::time::Duration;

use crate::credential::Pace;

/// The first pause at least, and every pause at least: Microsoft's own libraries ask again after 1 s.
const SHORTEST: Duration = Duration::from_secs(1);
/// No pause of our own choice is longer.
const LONGEST: Duration = Duration::from_secs(60);
/// Microsoft's libraries obey `Retry-After` up to an hour; more would be a fault of the server.
const LONGEST_OBEYED: Duration = Duration::from_hours(1);

/// The quiet that `Retry-After` asks for, as far as it is obeyed: nothing, or a moment that has passed,
/// asks for none.
pub(super) fn asked_for(retry_after: Option<Duration>) -> Option<Duration> {
    let asked = retry_after.filter(|asked| *asked >= SHORTEST);
    asked.map(|asked| asked.min(LONGEST_OBEYED))
}

/// The pause after `attempt` failures in a row (counted from 1), with `random` in `0.0..1.0`;
/// `longest` is what can be waited for an outage to end.
///
/// What the server asks for is waited out, with up to a tenth (at most 5 s) on top so that replicas
/// do not come back together. Without it: a minute after a permanent refusal, half of that to all
/// of it after one that heals slowly, else exponential with full jitter.
pub(super) fn pause(
    pace: Pace,
    attempt: u32,
    retry_after: Option<Duration>,
    longest: Duration,
    random: f64,
) -> Duration {
    let random = random.clamp(0.0, 1.0);
    let later = |asked: Duration| asked + (asked / 10).min(Duration::from_secs(5)).mul_f64(random);
    if let Some(asked) = asked_for(retry_after) {
        return later(asked);
    }
    match pace {
        Pace::In(time) => later(time.max(SHORTEST)),
        Pace::Permanent => LONGEST + (LONGEST / 10).mul_f64(random),
        Pace::Slow => LONGEST / 2 + (LONGEST / 2).mul_f64(random),
        Pace::Soon => {
            let ceiling = SHORTEST.saturating_mul(1 << attempt.min(6));
            let ceiling = ceiling.min(longest.clamp(SHORTEST, LONGEST));
            SHORTEST + (ceiling - SHORTEST).mul_f64(random)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: fn(u64) -> Duration = Duration::from_secs;

    fn pause(pace: Pace, attempt: u32, retry_after: Option<Duration>, random: f64) -> Duration {
        super::pause(pace, attempt, retry_after, LONGEST, random)
    }

    #[test]
    fn pauses_double_up_to_a_minute() {
        let longest: Vec<u64> = (1..=8)
            .map(|attempt| pause(Pace::Soon, attempt, None, 1.0).as_secs())
            .collect();
        assert_eq!(longest, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause(Pace::Soon, 8, None, 0.0), S(1));
    }

    #[test]
    fn an_outage_is_waited_for_no_longer_than_can_be() {
        for (longest, expected) in [(S(0), S(1)), (S(10), S(10)), (S(600), S(60))] {
            let pause = super::pause(Pace::Soon, 9, None, longest, 1.0);
            assert_eq!(pause, expected);
        }
    }

    #[test]
    fn retry_after_of_nothing_switches_no_pause_off() {
        assert_eq!(pause(Pace::Soon, 9, Some(S(0)), 1.0), S(60));
        let below = Duration::from_millis(999);
        for asked in [S(0), below] {
            assert_eq!(pause(Pace::Permanent, 1, Some(asked), 0.0), S(60));
        }
        assert_eq!(pause(Pace::Permanent, 1, Some(S(1)), 0.0), S(1));
    }

    #[test]
    fn every_pace_has_its_shortest_and_its_longest_pause() {
        for (pace, shortest, longest) in [
            (Pace::Permanent, S(60), S(66)),
            (Pace::Slow, S(30), S(60)),
            (Pace::In(S(20)), S(20), S(22)),
            (Pace::In(S(300)), S(300), S(305)),
            (Pace::In(S(0)), S(1), Duration::from_millis(1100)),
        ] {
            assert_eq!(pause(pace, 1, None, 0.0), shortest, "{pace:?}");
            assert_eq!(pause(pace, 1, None, 1.0), longest, "{pace:?}");
        }
    }

    #[test]
    fn retry_after_is_obeyed_up_to_an_hour() {
        assert_eq!(pause(Pace::Soon, 1, Some(S(60)), 0.0), S(60));
        assert_eq!(pause(Pace::Soon, 1, Some(S(60)), 1.0), S(65));
        assert_eq!(pause(Pace::Soon, 1, Some(S(90_000)), 0.0), S(3600));
        assert_eq!(pause(Pace::Soon, 1, Some(S(1)), 0.0), S(1));
    }

    proptest! {
        #[test]
        fn a_permanent_refusal_is_never_asked_again_within_a_minute(
            attempt in any::<u32>(), random in -1.0..2.0,
        ) {
            prop_assert!(pause(Pace::Permanent, attempt, None, random) >= S(60));
        }

        #[test]
        fn every_pause_of_our_own_choice_is_bounded(attempt in any::<u32>(), random in 0.0..1.0) {
            for pace in [Pace::Permanent, Pace::Slow, Pace::Soon] {
                let pause = pause(pace, attempt, None, random);
                prop_assert!(pause >= S(1) && pause <= S(66));
            }
        }
    }
}
