//! A message that a group has taken and not finished, and its record.
//!
//! ```text
//! flags u8 (1 suspended, 2 message group, 4 renewed, 8 attempt)
//! attempt, deadline, nonce, delivered at    varints
//! as the flags say: message group u64, client u64, attempt key u64
//! ```
//! The phase has no byte: it follows from the attempts and from the deadline against the state's clock, so that a
//! reopened state has the same phases as one that ran on.

use bytes::BufMut;
use raft_log::types::UnixMillis;

use crate::model::{AttemptKey, ClientKey, ConsumerGroupId, MessageGroupKey, QueueId, TopicId};
use crate::state::codec::{DecodeError, Reader, put_varint};

const SUSPENDED: u8 = 1;
const GROUP: u8 = 2;
const RENEWED: u8 = 4;
const ATTEMPT: u8 = 8;

/// One message for one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct DeliveryKey {
    pub(crate) topic: TopicId,
    pub(crate) group: ConsumerGroupId,
    pub(crate) queue: QueueId,
    pub(crate) offset: u64,
}

impl DeliveryKey {
    /// Before or at all others.
    pub(super) const FIRST: DeliveryKey =
        DeliveryKey { topic: TopicId(0), group: ConsumerGroupId(0), queue: QueueId(0), offset: 0 };
}

/// Where a pending message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Never delivered: held back by its message group.
    Waiting,
    /// Delivered, and hidden until its deadline.
    Hidden,
    /// To be delivered again.
    Due,
    /// To be dead-lettered.
    Exhausted,
}

/// A pending message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) phase: Phase,
    /// Deliveries so far.
    pub(crate) attempt: u16,
    /// The next delivery keeps the attempt's number.
    pub(crate) suspended: bool,
    pub(crate) deadline: UnixMillis,
    /// Tells the last delivery from those before.
    pub(crate) nonce: u64,
    pub(crate) delivered_at: UnixMillis,
    pub(crate) group: MessageGroupKey,
    pub(crate) renew: ClientKey,
    pub(crate) attempt_key: AttemptKey,
}

impl Pending {
    /// A message that its group passes over.
    pub(crate) fn waiting(group: MessageGroupKey) -> Pending {
        Pending {
            phase: Phase::Waiting,
            attempt: 0,
            suspended: false,
            deadline: UnixMillis(0),
            nonce: 0,
            delivered_at: UnixMillis(0),
            group,
            renew: ClientKey::NONE,
            attempt_key: AttemptKey::NONE,
        }
    }

    /// What the clock makes of it.
    pub(crate) fn phase_at(&self, clock: UnixMillis, attempts_max: u16) -> Phase {
        if self.attempt == 0 {
            Phase::Waiting
        } else if self.deadline > clock {
            Phase::Hidden
        } else if self.attempt >= attempts_max && !self.suspended {
            Phase::Exhausted
        } else {
            Phase::Due
        }
    }

    /// Whether the others of its message group have to wait for it.
    pub(crate) fn blocks(&self) -> bool {
        matches!(self.phase, Phase::Hidden | Phase::Exhausted)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.put_u8(
            flag(self.suspended, SUSPENDED)
                | flag(!self.group.is_none(), GROUP)
                | flag(!self.renew.is_none(), RENEWED)
                | flag(!self.attempt_key.is_none(), ATTEMPT),
        );
        put_varint(out, u64::from(self.attempt));
        put_varint(out, self.deadline.0);
        put_varint(out, self.nonce);
        put_varint(out, self.delivered_at.0);
        [self.group.0, self.renew.0, self.attempt_key.0]
            .iter()
            .filter(|key| **key != 0)
            .for_each(|key| out.put_u64_le(*key));
    }

    /// Reads what [`Self::encode`] wrote, as it stands at `clock`.
    pub(crate) fn decode(record: &[u8], clock: UnixMillis, attempts_max: u16) -> Result<Pending, DecodeError> {
        let mut reader = Reader::new("pending message", record);
        let flags = reader.u8()?;
        if flags & !(SUSPENDED | GROUP | RENEWED | ATTEMPT) != 0 {
            return Err(DecodeError::Unknown { what: "a flag of a pending message", found: u64::from(flags) });
        }
        let mut pending = Pending::waiting(MessageGroupKey::NONE);
        pending.suspended = flags & SUSPENDED != 0;
        pending.attempt = u16::try_from(reader.varint()?).map_err(|_| reader.invalid())?;
        pending.deadline = UnixMillis(reader.varint()?);
        pending.nonce = reader.varint()?;
        pending.delivered_at = UnixMillis(reader.varint()?);
        if flags & GROUP != 0 {
            pending.group = MessageGroupKey(reader.u64()?);
        }
        if flags & RENEWED != 0 {
            pending.renew = ClientKey(reader.u64()?);
        }
        if flags & ATTEMPT != 0 {
            pending.attempt_key = AttemptKey(reader.u64()?);
        }
        reader.finish()?;
        pending.phase = pending.phase_at(clock, attempts_max);
        Ok(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_go_both_ways() {
        for (group, renew, attempt_key) in [(0, 0, 0), (1, 0, 0), (0, 2, 3), (u64::MAX, 4, 5)] {
            let pending = Pending {
                phase: Phase::Hidden,
                attempt: 3,
                suspended: group == 1,
                deadline: UnixMillis(100),
                nonce: 77,
                delivered_at: UnixMillis(50),
                group: MessageGroupKey(group),
                renew: ClientKey(renew),
                attempt_key: AttemptKey(attempt_key),
            };
            let mut record = Vec::new();
            pending.encode(&mut record);
            assert_eq!(Pending::decode(&record, UnixMillis(99), 9), Ok(pending));
            assert!(Pending::decode(&record[..record.len() - 1], UnixMillis(99), 9).is_err());
        }
    }

    #[test]
    fn the_phase_follows_from_clock_and_attempts() {
        let mut pending = Pending::waiting(MessageGroupKey::NONE);
        assert_eq!(pending.phase_at(UnixMillis(1000), 2), Phase::Waiting);
        (pending.attempt, pending.deadline) = (1, UnixMillis(10));
        assert_eq!(pending.phase_at(UnixMillis(9), 2), Phase::Hidden);
        assert_eq!(pending.phase_at(UnixMillis(10), 2), Phase::Due);
        pending.attempt = 2;
        assert_eq!(pending.phase_at(UnixMillis(9), 2), Phase::Hidden);
        assert_eq!(pending.phase_at(UnixMillis(10), 2), Phase::Exhausted);
        pending.suspended = true;
        assert_eq!(pending.phase_at(UnixMillis(10), 2), Phase::Due);
    }
}
