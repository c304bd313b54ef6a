//! What clients proposed and what they were told.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use raft_log::types::{LogId, LogIndex, UnixMillis};

/// What a client knows of one proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It waits; at the end of a run that is as good as unknown.
    Pending,
    /// Every attempt was refused: surely not stored.
    Refused,
    /// Stored here.
    Acknowledged(LogId),
    /// Perhaps stored.
    Unknown,
}

/// One proposal.
#[derive(Clone, Debug)]
pub struct Operation {
    /// Its payload, which no other has.
    pub payload: Bytes,
    /// What is known of it.
    pub outcome: Outcome,
}

/// All proposals of a run; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct History {
    inside: Arc<Mutex<Inside>>,
}

#[derive(Debug, Default)]
struct Inside {
    operations: Vec<Operation>,
    /// Since the last look: what changed, and breaches that clients saw themselves.
    news: Vec<usize>,
    breaches: Vec<String>,
    reads: u64,
    acknowledged_to: Option<LogIndex>,
    /// The greatest stamp of any proposal.
    stamped_to: UnixMillis,
}

/// The number in the payload of a command that is not a client's: it trims the log.
pub const TRIM: u64 = u64::MAX - 1;

/// The number of the proposal that a payload belongs to.
#[must_use]
pub fn number_of(payload: &[u8]) -> u64 {
    payload.first_chunk::<8>().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
}

/// Where a stamped payload holds its stamp.
const STAMP: std::ops::Range<usize> = 8..16;

/// The stamp in the payload of a client's command, in runs whose commands are stamped.
#[must_use]
pub fn stamp_of(payload: &[u8]) -> Option<UnixMillis> {
    let stamp = payload.get(STAMP).filter(|_| number_of(payload) != TRIM)?;
    Some(UnixMillis(u64::from_le_bytes(stamp.try_into().ok()?)))
}

impl History {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a proposal with a payload of about this length.
    #[must_use]
    pub fn begin(&self, bytes: usize) -> (usize, Bytes) {
        let mut inside = self.inside();
        let number = inside.operations.len();
        let mut payload = (number as u64).to_le_bytes().to_vec();
        payload.resize(bytes.max(8), u8::try_from(number % 251).expect("below 251"));
        let payload = Bytes::from(payload);
        inside.operations.push(Operation { payload: payload.clone(), outcome: Outcome::Pending });
        (number, payload)
    }

    /// Puts a stamp into the payload of a proposal of which no attempt is stored. `now` gives one that is at least the greatest
    /// before.
    #[must_use]
    pub fn stamp(&self, number: usize, now: impl FnOnce(UnixMillis) -> UnixMillis) -> Bytes {
        let mut inside = self.inside();
        let stamp = now(inside.stamped_to);
        inside.stamped_to = inside.stamped_to.max(stamp);
        let operation = &mut inside.operations[number];
        let mut payload = operation.payload.to_vec();
        payload.resize(payload.len().max(STAMP.end), 0);
        payload[STAMP].copy_from_slice(&stamp.0.to_le_bytes());
        operation.payload = Bytes::from(payload);
        operation.payload.clone()
    }

    /// Its outcome is known.
    pub fn end(&self, number: usize, outcome: Outcome) {
        let mut inside = self.inside();
        inside.operations[number].outcome = outcome;
        inside.news.push(number);
        if let Outcome::Acknowledged(id) = outcome {
            inside.acknowledged_to = inside.acknowledged_to.max(Some(id.index));
        }
    }

    /// A client saw a promise broken.
    pub fn breach(&self, what: String) {
        self.inside().breaches.push(what);
    }

    /// The highest index that anybody was told of.
    #[must_use]
    pub fn acknowledged_to(&self) -> Option<LogIndex> {
        self.inside().acknowledged_to
    }

    /// A read point was given.
    pub fn note_read(&self) {
        self.inside().reads += 1;
    }

    /// Proposals whose outcome became known since the last call, and breaches that clients saw.
    #[must_use]
    pub fn take_news(&self) -> (Vec<(usize, Operation)>, Vec<String>) {
        let mut inside = self.inside();
        let news = std::mem::take(&mut inside.news);
        let news = news.into_iter().map(|number| (number, inside.operations[number].clone())).collect();
        (news, std::mem::take(&mut inside.breaches))
    }

    /// All proposals.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.inside().operations.clone()
    }

    /// What is known of one.
    #[must_use]
    pub fn outcome(&self, number: u64) -> Option<Outcome> {
        let number = usize::try_from(number).ok()?;
        self.inside().operations.get(number).map(|operation| operation.outcome)
    }

    /// Read points given.
    #[must_use]
    pub fn reads(&self) -> u64 {
        self.inside().reads
    }
}
