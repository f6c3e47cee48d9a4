//! The places of a route's `max_concurrency`. All workers share them, and a reload may change how many
//! there are.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

/// The places of a route.
#[derive(Debug)]
pub struct RoutePlaces {
    free: Semaphore,
    /// How many of those that are taken nobody gets when they come free.
    surplus: AtomicUsize,
}

/// A place that is taken.
#[derive(Debug)]
pub struct RoutePlace(Arc<RoutePlaces>);

impl RoutePlaces {
    /// So many, all free.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Semaphore::new(most),
            surplus: AtomicUsize::new(0),
        })
    }

    /// Waits for a place. Whoever comes first is served first.
    pub async fn take(self: &Arc<Self>) -> RoutePlace {
        // It is never closed.
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        }
        RoutePlace(Arc::clone(self))
    }

    /// Makes another number of places of one. Those that are taken stay so; what is too many of them
    /// goes as they come free, whoever waits.
    pub(super) fn resize(&self, before: usize, now: usize) {
        let fewer = before.saturating_sub(now);
        let taken = fewer - self.free.forget_permits(fewer);
        self.surplus.fetch_add(taken, Ordering::Relaxed);
        let more = now.saturating_sub(before);
        let stay = |surplus: usize| Some(surplus.saturating_sub(more));
        let surplus = self
            .surplus
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, stay);
        let (Ok(surplus) | Err(surplus)) = surplus;
        self.free.add_permits(more.saturating_sub(surplus));
    }
}

impl Drop for RoutePlace {
    fn drop(&mut self) {
        let RoutePlaces { free, surplus } = &*self.0;
        let goes = |surplus: usize| surplus.checked_sub(1);
        let gone = surplus.fetch_update(Ordering::Relaxed, Ordering::Relaxed, goes);
        if gone.is_err() {
            free.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes all that are free.
    async fn take_all(places: &Arc<RoutePlaces>) -> Vec<RoutePlace> {
        let mut taken = Vec::new();
        while places.free.available_permits() > 0 {
            taken.push(places.take().await);
        }
        taken
    }

    #[tokio::test]
    async fn places_that_are_taken_count_among_another_number_of_them() {
        let places = RoutePlaces::new(2);
        let mut taken = take_all(&places).await;
        for (before, now, free) in [(2, 3, 1), (3, 4, 2), (4, 1, 0), (1, 2, 0), (2, 1, 0)] {
            places.resize(before, now);
            assert_eq!(places.free.available_permits(), free, "{now}");
        }
        for free in [0, 1] {
            taken.pop();
            assert_eq!(places.free.available_permits(), free);
        }
        places.resize(1, 2);
        assert_eq!(take_all(&places).await.len(), 2);
    }

    #[tokio::test]
    async fn who_waits_gets_no_place_that_is_too_many() {
        let places = RoutePlaces::new(2);
        let mut taken = take_all(&places).await;
        let mut waits = std::pin::pin!(places.take());
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        assert!(waits.as_mut().poll(cx).is_pending());
        for (before, now) in [(2, 1), (1, 2), (2, 1)] {
            places.resize(before, now);
            assert!(waits.as_mut().poll(cx).is_pending(), "{now}");
        }
        taken.pop();
        assert!(waits.as_mut().poll(cx).is_pending());
        taken.pop();
        assert!(waits.as_mut().poll(cx).is_ready());
    }
}
