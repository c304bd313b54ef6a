//! The load: clients that propose through whoever they take for the leader, and ask for read points.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use raft_log::env::sim::SeededRng;
use raft_log::sim::note;
use raft_log::sim::observe::{Deed, observe_of};
use raft_log::types::NodeId;
use raft_log::{ProposeError, Replica};

use crate::history::{History, Outcome};
use crate::hosts::host;
use crate::machine::response_to;
use crate::settings::Settings;

/// Attempts of one proposal that is refused.
const ATTEMPTS_MAX: usize = 6;

/// The replicas that can be called now; clones are the same.
#[derive(Clone, Default)]
pub struct Directory {
    open: Arc<Mutex<BTreeMap<usize, Option<Replica>>>>,
}

impl Directory {
    /// Shows or hides a node's replica; gives back the one before.
    pub fn set(&self, node: usize, replica: Option<Replica>) -> Option<Replica> {
        self.open().insert(node, replica).flatten()
    }

    /// How many nodes there have been.
    #[must_use]
    pub fn places(&self) -> u64 {
        self.open().last_key_value().map_or(0, |(last, _)| *last as u64 + 1)
    }

    fn open(&self) -> MutexGuard<'_, BTreeMap<usize, Option<Replica>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node's replica, if it is open.
    #[must_use]
    pub fn get(&self, node: usize) -> Option<Replica> {
        self.open().get(&node).cloned().flatten()
    }
}

/// One client, until `stop`.
pub async fn client(number: u64, settings: Settings, directory: Directory, history: History, stop: Arc<AtomicBool>) {
    let rng = SeededRng::new(settings.seed.wrapping_mul(31) ^ (number + 1));
    let client = Client { directory, history, stamps: settings.are_stamped() };
    let mut target = client.any(&rng);
    while !stop.load(Ordering::Relaxed) {
        let think = u64::try_from(settings.think_max.as_millis()).expect("short");
        tokio::time::sleep(Duration::from_millis(rng.below(think + 1))).await;
        if rng.chance(10) {
            client.read(target).await;
        }
        let bytes = usize::try_from(settings.payload_bytes(&rng)).expect("short");
        let proposal = client.history.begin(bytes);
        let operation = proposal.0;
        let outcome = client.propose(&rng, &mut target, proposal).await;
        note(operation as u64);
        client.history.end(operation, outcome);
        if outcome == Outcome::Unknown {
            target = client.any(&rng);
        }
    }
}

struct Client {
    directory: Directory,
    history: History,
    /// Proposals carry the time.
    stamps: bool,
}

impl Client {
    fn any(&self, rng: &SeededRng) -> usize {
        usize::try_from(rng.below(self.directory.places().max(1))).expect("few nodes")
    }

    /// Tries until it is stored or in doubt; what was refused is safe to try again.
    async fn propose(&self, rng: &SeededRng, target: &mut usize, proposal: (usize, Bytes)) -> Outcome {
        let (operation, mut payload) = proposal;
        for _ in 0..ATTEMPTS_MAX {
            let Some(replica) = self.directory.get(*target) else {
                *target = self.any(rng);
                tokio::time::sleep(Duration::from_millis(10 + rng.below(100))).await;
                continue;
            };
            if self.stamps {
                payload = self.history.stamp(operation, |floor| replica.stamp(floor));
            }
            let error = match replica.propose(payload.clone(), 1).await {
                Ok(proposed) => {
                    if proposed.response != response_to(&payload) {
                        self.history.breach(format!("{} was answered with another's response", proposed.id));
                    }
                    return Outcome::Acknowledged(proposed.id);
                }
                Err(error) => error,
            };
            if !error.surely_not_stored() {
                return Outcome::Unknown;
            }
            *target = match error {
                ProposeError::NotLeader { leader: Some(leader) } => place_of(leader.id),
                _ => self.any(rng),
            };
            drop(replica);
            tokio::time::sleep(Duration::from_millis(5 + rng.below(60))).await;
        }
        Outcome::Refused
    }

    /// A read point covers everything that anybody was told of before it was asked for.
    async fn read(&self, target: usize) {
        let Some(replica) = self.directory.get(target) else { return };
        let before = self.history.acknowledged_to();
        if let Ok(index) = replica.read_index().await {
            self.history.note_read();
            if self.directory.get(target).is_some() {
                observe_of(host(target), Deed::ReadPoint(index));
            }
            if Some(index) < before {
                self.history.breach(format!("a read point of {index} after {before:?} was acknowledged"));
            }
        }
    }
}

/// A node's place in the directory.
#[must_use]
pub fn place_of(id: NodeId) -> usize {
    usize::try_from(id.0 - 1).expect("few nodes")
}
