//! The guarantees of a slot, against any order of events and any movement of either clock.

use proptest::prelude::*;

use super::lifetime::Lifetime;
use super::slot::{Concern, FORCED_PAUSE, Renewal, Slot, Step};
use super::slot_clocks::{Clocks, S, claims};
use crate::clock::Now;
use crate::credential::Pace;

/// One thing that happens.
#[derive(Clone, Copy, Debug)]
enum Event {
    Advance {
        mono: u32,
        wall: i32,
    },
    Begin,
    Succeed {
        life: u32,
        refresh: Option<u32>,
        same: bool,
    },
    Fail {
        pace: Pace,
        retry_after: Option<u32>,
    },
    Reject {
        stale: bool,
        claims: bool,
    },
    Change {
        at_once: bool,
    },
}

fn event() -> impl Strategy<Value = Event> {
    let pace = prop_oneof![
        Just(Pace::Permanent),
        Just(Pace::Slow),
        Just(Pace::Soon),
        Just(Pace::In(S(45))),
    ];
    prop_oneof![
        3 => (0..4000_u32, -2000..8000_i32).prop_map(|(mono, wall)| Event::Advance { mono, wall }),
        // Less than a pause, and so that both clocks tell.
        3 => (0..20_u32).prop_map(|by| Event::Advance { mono: by, wall: by.cast_signed() }),
        4 => Just(Event::Begin),
        2 => (1..200_000_u32, any::<Option<u32>>(), any::<bool>())
            .prop_map(|(life, refresh, same)| Event::Succeed { life, refresh, same }),
        2 => (pace, prop_oneof![3 => any::<Option<u32>>(), 1 => Just(Some(0))])
            .prop_map(|(pace, retry_after)| Event::Fail { pace, retry_after }),
        3 => (prop::bool::weighted(0.2), any::<bool>()).prop_map(|(stale, claims)| Event::Reject { stale, claims }),
        1 => any::<bool>().prop_map(|at_once| Event::Change { at_once }),
    ]
}

/// What must be true of a slot, kept beside it.
struct Model {
    clocks: Clocks,
    mono: f64,
    wall: f64,
    /// The held token's start on both clocks and its life.
    token: Option<(f64, f64, f64)>,
    flight: Option<(f64, f64)>,
    /// No call may begin before this on both clocks, unless something changed.
    quiet: Option<(f64, f64)>,
    obeying: bool,
    changed_in_flight: bool,
    /// The flight carries claims, which the ordinary calls do not.
    apart: bool,
    /// When a renewal was forced: one that has not begun, the one in flight, the last that brought a
    /// token.
    wanted: Option<(f64, f64)>,
    forced: Option<(f64, f64)>,
    served: Option<(f64, f64)>,
    /// No call with claims may begin before this: one has failed.
    denied: Option<(f64, f64)>,
    /// The quiet that the server asked for when it failed.
    asked: Option<(f64, f64)>,
}

impl Model {
    fn new() -> Self {
        Self {
            clocks: Clocks::start(),
            mono: 0.0,
            wall: 0.0,
            token: None,
            flight: None,
            quiet: None,
            obeying: false,
            changed_in_flight: false,
            apart: false,
            wanted: None,
            forced: None,
            served: None,
            denied: None,
            asked: None,
        }
    }

    fn now(&self) -> Now {
        self.clocks.apart(self.mono, self.wall)
    }

    fn apply(&mut self, slot: &mut Slot, event: Event, random: f64) {
        let now = self.now();
        match event {
            Event::Advance { mono, wall } => {
                self.mono += f64::from(mono);
                self.wall += f64::from(wall);
                // A moment that has come stays come, however the wall clock is set afterwards: a
                // renewal that an upstream's refusal asked for meanwhile may begin.
                let over = |&(mono, wall): &(f64, f64)| self.mono >= mono || self.wall >= wall;
                if self.quiet.as_ref().is_some_and(over) {
                    self.quiet = None;
                }
                // And so may a change that came meanwhile count.
                self.asked = self.asked.filter(|until| !over(until));
                self.denied = self.denied.filter(|until| !over(until));
            }
            Event::Begin => self.begin(slot, now),
            Event::Succeed {
                life,
                refresh,
                same,
            } => {
                let life = Lifetime {
                    expires_in: S(life.into()),
                    refresh_in: refresh.map(|seconds| S(seconds.into())),
                };
                self.succeed(slot, life, same, random);
            }
            Event::Fail { pace, retry_after } => {
                self.fail(slot, pace, retry_after.map(u64::from), random);
            }
            Event::Reject {
                stale,
                claims: demanded,
            } => self.reject(slot, now, stale, demanded),
            Event::Change { at_once } => {
                self.change(slot, now, at_once);
                if self.flight.is_some() {
                    self.changed_in_flight = true;
                } else if !self.obeying {
                    self.quiet = None;
                }
                if self.asked.is_none() {
                    self.denied = None;
                }
            }
        }
    }

    fn succeed(&mut self, slot: &mut Slot, life: Lifetime, same: bool, random: f64) {
        let same = same && self.token.is_some();
        let held = slot.succeeded(life, same, random);
        assert_eq!(held.is_some(), self.flight.is_some());
        if let Some((mono, wall)) = self.flight.take() {
            self.token = Some((mono, wall, life.expires_in.as_secs_f64()));
            self.quiet = None;
            self.obeying = false;
            self.served = self.forced.take().or(self.served);
            // A token without claims says nothing of those that were refused.
            self.denied = self.denied.filter(|_| !self.apart);
            self.asked = None;
        }
    }

    fn change(&mut self, slot: &mut Slot, now: Now, at_once: bool) {
        let before = slot.next(now);
        let failing = slot.is_failing();
        let follows = slot.credential_changed(at_once, now);
        if !failing && matches!(before, Step::Wait(_)) && self.asked.is_some() {
            let waits = matches!(slot.next(now), Step::Wait(_));
            assert!(waits && !follows, "quiet is broken");
        }
    }

    fn fail(&mut self, slot: &mut Slot, pace: Pace, retry_after: Option<u64>, random: f64) {
        let concern = slot.failed(pace, retry_after.map(S), self.now(), random);
        let retry_after = retry_after.filter(|seconds| *seconds > 0);
        if self.flight.take().is_none() {
            return;
        }
        if self.changed_in_flight && retry_after.is_none() {
            assert_eq!(concern, Concern::Nobody);
            assert_eq!(slot.next(self.now()), Step::Call);
            self.wanted = self.wanted.or(self.forced.take());
            // What follows may carry claims, and an ordinary call that failed may still have its pause.
            if !self.apart {
                (self.quiet, self.obeying) = (None, false);
            }
            return;
        }
        let apart = self.apart;
        assert_eq!(concern == Concern::Claims, apart);
        let forced = self.forced.take();
        self.wanted = None;
        let asked = retry_after.map_or(1, |seconds| seconds.clamp(1, 3600));
        let least = match pace {
            Pace::Permanent if retry_after.is_none() => 60.0,
            Pace::In(time) if retry_after.is_none() => time.as_secs_f64(),
            _ => S(asked).as_secs_f64(),
        };
        let until = (self.mono + least, self.wall + least);
        if apart {
            let least = FORCED_PAUSE.as_secs_f64();
            self.denied = Some(forced.map_or(until, |(mono, wall)| {
                (until.0.max(mono + least), until.1.max(wall + least))
            }));
            self.asked = retry_after.map(|_| until);
            // Ordinary calls keep their time.
            self.quiet = None;
            return;
        }
        self.obeying = retry_after.is_some();
        self.quiet = Some(until);
    }

    fn begin(&mut self, slot: &mut Slot, now: Now) {
        let step = slot.next(now);
        assert_eq!(step == Step::InFlight, self.flight.is_some());
        if step != Step::Call {
            return;
        }
        if let Some((mono, wall)) = self.quiet {
            assert!(
                self.mono >= mono || self.wall >= wall,
                "asked again too soon"
            );
        }
        self.apart = slot.started(now).unwrap().claims.is_some();
        let too_soon = self.apart && self.denied.is_some();
        assert!(!too_soon, "asked for claims too soon");
        assert!(slot.started(now).is_none(), "two calls in flight");
        self.flight = Some((self.mono, self.wall));
        self.forced = self.wanted.take();
        self.changed_in_flight = false;
    }

    fn reject(&mut self, slot: &mut Slot, now: Now, stale: bool, demanded: bool) {
        let Some(held) = slot.held() else { return };
        let wanted = demanded.then(|| claims("nbf"));
        let serial = held.serial - u64::from(stale);
        let before = slot.next(now);
        let renewal = slot.rejected(serial, wanted.as_ref(), now);
        assert_eq!(renewal == Renewal::Newer, stale);
        let Renewal::Join(number) = renewal else {
            return;
        };
        let served_by_it = match before {
            Step::InFlight => number == slot.calls(),
            Step::Call => !demanded,
            Step::Wait(_) => false,
        };
        if served_by_it || self.wanted.is_some() {
            return;
        }
        self.wanted = Some((self.mono, self.wall));
        let least = FORCED_PAUSE.as_secs_f64();
        let over = |(mono, wall)| self.mono >= mono + least || self.wall >= wall + least;
        assert!(self.served.is_none_or(over), "forced too soon");
        assert!(self.asked.is_none(), "quiet is broken");
    }

    fn check(&self, slot: &Slot) {
        let now = self.now();
        if slot.usable(now).is_some() {
            let (mono, wall, life) = self.token.unwrap();
            let margin = (life / 10.0).min(30.0);
            assert!(self.mono < mono + life - margin, "used past its end");
            assert!(
                self.wall < wall + life - margin,
                "used past its end by the wall clock"
            );
        }
        if let Step::Wait(left) = slot.next(now) {
            assert!(left <= S(172_800), "never asked again");
            if let (false, Some(held)) = (slot.is_failing(), slot.usable(now)) {
                assert!(
                    left <= held.usable_until.left(now) + S(1),
                    "renewed too late"
                );
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn no_order_of_events_breaks_a_guarantee(
        events in proptest::collection::vec((event(), 0.0..1.0_f64), 1..60),
    ) {
        play(events);
    }
}

/// Lets this happen, and looks at the guarantees after each event.
fn play(events: impl IntoIterator<Item = (Event, f64)>) {
    let mut slot = Slot::new();
    let mut model = Model::new();
    for (event, random) in events {
        model.apply(&mut slot, event, random);
        model.check(&slot);
    }
}

#[test]
fn quiet_that_is_over_stays_over_when_the_clock_is_set_back() {
    play([
        (Event::Begin, 0.0),
        (
            Event::Succeed {
                life: 4720,
                refresh: None,
                same: false,
            },
            0.0,
        ),
        (
            Event::Reject {
                stale: false,
                claims: true,
            },
            0.0,
        ),
        (Event::Begin, 0.0),
        (
            Event::Fail {
                pace: Pace::Permanent,
                retry_after: Some(3463),
            },
            0.0,
        ),
        (
            Event::Advance {
                mono: 0,
                wall: 3463,
            },
            0.0,
        ),
        (Event::Change { at_once: false }, 0.0),
        (Event::Advance { mono: 0, wall: -1 }, 0.0),
        (
            Event::Reject {
                stale: false,
                claims: false,
            },
            0.0,
        ),
    ]);
}
