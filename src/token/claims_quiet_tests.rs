//! How long no call with claims is made after one that failed, by table.

use super::slot::{Renewal, Step};
use super::slot_clocks::{Clocks, S, claims, holding, life};
use crate::credential::Pace;

#[test]
fn a_change_does_not_put_a_renewal_off_past_the_tokens_end() {
    let clocks = Clocks::start();
    let (mut slot, lease) = holding(clocks, life(3600), 0.5);
    assert!(slot.credential_changed(true, clocks.at(1.0)));
    let renewal = slot.rejected(lease.generation, Some(&claims("nbf")), clocks.at(1.0));
    assert_eq!(renewal, Renewal::Join(2));
    slot.started(clocks.at(1.0)).unwrap();
    slot.failed(Pace::Soon, Some(S(3600)), clocks.at(1.0), 0.0);
    assert_eq!(slot.next(clocks.at(1.0)), Step::Call);
    assert!(slot.credential_changed(true, clocks.at(2.0)));
    assert_eq!(slot.next(clocks.at(2.0)), Step::Call);
}
