//! How many connections one address has, so that it cannot take the places of all others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use crate::lock::locked;

/// The addresses that have connections.
#[derive(Clone, Debug)]
pub struct Peers {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    most: usize,
}

/// The place of a connection, while it lasts.
#[derive(Debug)]
pub struct PeerPlace {
    counts: Arc<Mutex<HashMap<IpAddr, usize>>>,
    peer: IpAddr,
}

impl Peers {
    /// Each address may have this many.
    pub fn new(most: usize) -> Self {
        Self {
            counts: Arc::default(),
            most,
        }
    }

    /// A place for one more connection of this address, if it has one left.
    pub fn place_for(&self, peer: IpAddr) -> Option<PeerPlace> {
        let mut counts = locked(&self.counts);
        let count = counts.entry(peer).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(PeerPlace {
            counts: Arc::clone(&self.counts),
            peer,
        })
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let mut counts = locked(&self.counts);
        if let Some(count) = counts.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_places_and_leaves_nothing_behind() {
        let peers = Peers::new(2);
        let [one, other] = ["10.0.0.1", "10.0.0.2"].map(|text| text.parse().unwrap());
        let places = [peers.place_for(one), peers.place_for(one)];
        assert!(places.iter().all(Option::is_some));
        assert!(peers.place_for(one).is_none());
        let another = peers.place_for(other);
        assert!(another.is_some());
        // Where one of several ends, the others are counted still.
        let [first, second] = places;
        drop(first);
        let again = peers.place_for(one);
        assert!(again.is_some());
        assert!(peers.place_for(one).is_none());
        drop((second, again));
        assert!(peers.place_for(one).is_some());
        drop(another);
        assert!(peers.counts.lock().unwrap().is_empty());
    }
}
