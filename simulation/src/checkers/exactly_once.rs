//! The clients' view: no acknowledged proposal lost, no refused one present, an unknown one at most once.

use std::collections::BTreeMap;

use bytes::Bytes;
use raft_log::sim::observe::{Deed, Event};
use raft_log::sim::payload_crc as crc;
use raft_log::types::LogId;

use crate::checkers::Violation;
use crate::history::{History, Operation, Outcome, TRIM, number_of};
use crate::machine::Command;

/// What was committed, by index and by proposal.
#[derive(Default)]
pub struct ExactlyOnce {
    by_index: BTreeMap<u64, (LogId, Bytes)>,
    by_number: BTreeMap<u64, LogId>,
}

fn breach(what: String) -> Result<(), Violation> {
    Err(Violation { checker: "exactly once", what })
}

impl ExactlyOnce {
    /// Looks at an event.
    ///
    /// # Errors
    /// A proposal that is there twice, or though it was refused.
    pub fn take(&mut self, event: &Event, history: &History) -> Result<(), Violation> {
        let Deed::Applied(entry, payload) = &event.deed else { return Ok(()) };
        if entry.kind != raft_log::RecordKind::Command || number_of(payload) == TRIM {
            return Ok(());
        }
        if self.by_index.insert(entry.id.index.0, (entry.id, payload.clone())).is_some() {
            return Ok(());
        }
        let number = number_of(payload);
        if let Some(first) = self.by_number.insert(number, entry.id) {
            return breach(format!("proposal {number} is there twice, at {first} and at {}", entry.id));
        }
        match history.outcome(number) {
            None => breach(format!("{} carries what nobody proposed", entry.id)),
            Some(Outcome::Refused) => breach(format!("proposal {number} was refused and is committed at {}", entry.id)),
            Some(_) => Ok(()),
        }
    }

    /// A client was told this.
    ///
    /// # Errors
    /// When it does not agree with what is committed.
    pub fn told(&self, number: usize, operation: &Operation) -> Result<(), Violation> {
        match operation.outcome {
            Outcome::Acknowledged(id) => match self.by_index.get(&id.index.0) {
                Some((at, payload)) if *at == id && *payload == operation.payload => Ok(()),
                other => breach(format!(
                    "proposal {number} was acknowledged at {id}, where {:?} is applied",
                    other.map(|(at, payload)| (at, number_of(payload)))
                )),
            },
            Outcome::Refused => match self.by_number.get(&(number as u64)) {
                Some(at) => breach(format!("proposal {number} was refused and is committed at {at}")),
                None => Ok(()),
            },
            Outcome::Pending | Outcome::Unknown => Ok(()),
        }
    }

    /// At the end: a node's whole state against everything that clients were told.
    ///
    /// # Errors
    /// A proposal that is lost, doubled or there though refused.
    pub fn settled(&self, node: usize, commands: &[Command], history: &History) -> Result<(), Violation> {
        let mut places: BTreeMap<u64, LogId> = BTreeMap::new();
        for Command { id, number, payload_crc } in commands {
            if let Some(first) = places.insert(*number, *id) {
                return breach(format!("node {node} holds proposal {number} at {first} and {id}"));
            }
            let same = |(at, payload): &(LogId, Bytes)| at == id && crc(payload) == *payload_crc;
            if !self.by_index.get(&id.index.0).is_some_and(same) {
                return breach(format!("node {node} holds at {id} what was not committed there"));
            }
        }
        for (number, operation) in history.operations().iter().enumerate() {
            let place = places.get(&(number as u64));
            match operation.outcome {
                Outcome::Acknowledged(id) if place != Some(&id) => {
                    return breach(format!("proposal {number}, acknowledged at {id}, is at {place:?} on node {node}"));
                }
                Outcome::Refused if place.is_some() => {
                    return breach(format!("proposal {number} was refused and is at {place:?} on node {node}"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkers::rig::{by, entry};
    use raft_log::sim::observe::Entry;

    /// A client proposed something and was told this; the event that applies it at an index.
    fn proposed(history: &History, outcome: Outcome) -> impl Fn(u64) -> Event {
        let (number, payload) = history.begin(20);
        history.end(number, outcome);
        move |index| by(1, Deed::Applied(entry(1, index), payload.clone()))
    }

    fn acknowledged(index: u64) -> Outcome {
        Outcome::Acknowledged(entry(1, index).id)
    }

    #[test]
    fn what_was_refused_is_never_applied() {
        for (outcome, fine) in [(Outcome::Refused, false), (Outcome::Unknown, true), (Outcome::Pending, true)] {
            let history = History::default();
            let apply = proposed(&history, outcome);
            assert_eq!(ExactlyOnce::default().take(&apply(0), &history).is_ok(), fine, "{outcome:?}");
        }
    }

    #[test]
    fn nothing_is_applied_twice_or_by_nobody() {
        let history = History::default();
        let apply = proposed(&history, Outcome::Unknown);
        let mut once = ExactlyOnce::default();
        assert_eq!(once.take(&apply(0), &history), Ok(()));
        assert_eq!(once.take(&apply(0), &history), Ok(()), "by another node");
        assert!(once.take(&apply(1), &history).is_err());
        let nobodys = by(1, Deed::Applied(entry(1, 2), Bytes::from_static(&[9; 8])));
        assert!(once.take(&nobodys, &history).is_err());
    }

    #[test]
    fn what_is_told_agrees_with_what_is_applied() {
        let history = History::default();
        let apply = proposed(&history, Outcome::Pending);
        let mut once = ExactlyOnce::default();
        once.take(&apply(0), &history).unwrap();
        let told = |outcome| once.told(0, &Operation { outcome, ..history.operations()[0].clone() });
        assert_eq!(told(acknowledged(0)), Ok(()));
        assert_eq!(told(Outcome::Unknown), Ok(()));
        assert!(told(acknowledged(1)).is_err());
        assert!(told(Outcome::Refused).is_err());
    }

    #[test]
    fn at_the_end_each_state_holds_what_was_acknowledged_and_nothing_else() {
        let history = History::default();
        let apply = proposed(&history, acknowledged(0));
        let mut once = ExactlyOnce::default();
        once.take(&apply(0), &history).unwrap();
        let Deed::Applied(Entry { id, .. }, payload) = apply(0).deed else { unreachable!() };
        let command = Command { id, number: 0, payload_crc: crc(&payload) };
        assert_eq!(once.settled(1, &[command], &history), Ok(()));
        assert!(once.settled(1, &[], &history).is_err(), "lost");
        assert!(once.settled(1, &[command, command], &history).is_err(), "twice");
        assert!(once.settled(1, &[Command { payload_crc: 1, ..command }], &history).is_err(), "another's bytes");
        drop(proposed(&history, Outcome::Refused));
        assert_eq!(once.settled(1, &[command], &history), Ok(()), "and the refused one is not there");
    }
}
