//! The places of a port: who has one, and who has to give it up when all are taken.
//!
//! A bound refuses what is new and cheap to refuse, never what lives (hazards 39). So a connection on which nothing was ever
//! asked makes way for a new one, the oldest first; then one that has long been idle; and if all of them work, the new
//! one is refused.
//!
//! Who makes way holds its descriptor until its task has ended; there are never many of those, or a flood would have far
//! more descriptors than places.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Semaphore;

use super::load::Load;
use crate::metrics::Closed;

/// An idle connection keeps its place for this long when others need one.
const IDLE_KEPT: Duration = Duration::from_secs(60);
/// Connections that have made way and are not gone yet.
const LEAVING_MAX: usize = 8;

/// The connections of one port; bounded.
#[derive(Debug)]
pub(crate) struct Places {
    places_max: usize,
    taken: Mutex<Taken>,
    /// For those that make way; each gives its permit back once it is gone.
    leaving: Semaphore,
    open: Gauge,
}

#[derive(Debug, Default)]
struct Taken {
    by_age: BTreeMap<u64, Arc<Load>>,
    next: u64,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    number: u64,
    load: Arc<Load>,
}

impl Places {
    /// At most so many; `open` shows how many are taken.
    pub(crate) fn new(places_max: usize, open: Gauge) -> Arc<Places> {
        Arc::new(Places { places_max, taken: Mutex::default(), leaving: Semaphore::new(LEAVING_MAX), open })
    }

    /// A place for a new connection; nothing if all are taken by such as work. One that has to make way is cut off, and
    /// is counted no longer. Waits while too many are on their way out.
    pub(crate) async fn take(self: &Arc<Places>) -> Option<Place> {
        let leaving = self.leaving.acquire().await.expect("it is never closed");
        let mut taken = self.lock();
        if taken.by_age.len() >= self.places_max {
            let number = least_needed(&taken.by_age)?;
            let displaced = taken.by_age.remove(&number).expect("found in it");
            displaced.cut(Closed::Displaced);
            leaving.forget();
            self.open.dec();
        }
        let (number, load) = (taken.next, Arc::new(Load::new()));
        taken.next += 1;
        taken.by_age.insert(number, Arc::clone(&load));
        self.open.inc();
        Some(Place { places: Arc::clone(self), number, load })
    }

    /// How many are taken.
    pub(super) fn count(&self) -> usize {
        self.lock().by_age.len()
    }

    fn lock(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn least_needed(by_age: &BTreeMap<u64, Arc<Load>>) -> Option<u64> {
    let mut longest: Option<(Duration, u64)> = None;
    for (number, load) in by_age {
        match load.idle() {
            Some((_, false)) => return Some(*number),
            Some((idle, true)) if idle >= IDLE_KEPT && longest.is_none_or(|(other, _)| idle > other) => {
                longest = Some((idle, *number));
            }
            _ => {}
        }
    }
    longest.map(|(_, number)| number)
}

impl Place {
    /// What the connection that has it has open.
    pub(crate) fn load(&self) -> &Arc<Load> {
        &self.load
    }

    /// How many places of the port are taken.
    pub(crate) fn taken(&self) -> usize {
        self.places.count()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.places.lock().by_age.remove(&self.number).is_some() {
            self.places.open.dec();
        } else {
            self.places.leaving.add_permits(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    fn is_cut(place: &Place) -> bool {
        place.load().cut_off().now_or_never().is_some()
    }

    fn places(places_max: usize) -> Arc<Places> {
        Places::new(places_max, Gauge::default())
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_asked_for_anything_makes_way() {
        let places = places(2);
        let working = places.take().await.unwrap();
        let request = working.load().open_request(IDLE_KEPT);
        let silent = places.take().await.unwrap();
        let third = places.take().await.unwrap();
        assert!(is_cut(&silent) && !is_cut(&working) && !is_cut(&third));
        drop(silent);
        assert_eq!((places.count(), places.open.get()), (2, 2), "it is not counted twice");
        drop(request);
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_one_is_refused_while_all_others_work() {
        let places = places(2);
        let (a, b) = (places.take().await.unwrap(), places.take().await.unwrap());
        let (_a, b_request) = (a.load().open_request(IDLE_KEPT), b.load().open_request(IDLE_KEPT));
        assert!(places.take().await.is_none());
        drop(b_request);
        assert!(places.take().await.is_none(), "it asked for something just now");
        tokio::time::advance(IDLE_KEPT).await;
        let third = places.take().await.unwrap();
        assert!(is_cut(&b) && !is_cut(&a) && !is_cut(&third));
        drop(third);
        assert_eq!(places.count(), 1);
    }
    #[tokio::test(start_paused = true)]
    async fn a_flood_waits_for_those_that_it_displaces() {
        let places = places(1);
        let mut leaving = vec![places.take().await.unwrap()];
        for _ in 0..LEAVING_MAX {
            leaving.push(places.take().await.unwrap());
        }
        let mut next = Box::pin(places.take());
        assert!(next.as_mut().now_or_never().is_none(), "their descriptors are still open");
        drop(leaving.remove(0));
        assert!(next.await.is_some());
    }
}
