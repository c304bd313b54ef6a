//! A message that a group has taken and not finished, and its record.
//!
//! ```text
//! flags u16 (bits 0 and 1: phase; 4 suspended, 8 message group, 16 leased, 32 attempt, 64 origin, 128 moved,
//!           256 tag)
//! attempt, deadline, nonce, delivered at    varints
//! log index, offset, length                 varints
//! as the flags say: message group u64, lease as client u64 and entry u64, attempt key u64, tag u64; topic, queue, offset of the origin varints
//! ```
//! The phase is part of the record and changes by commands only: a deadline that has passed means nothing until a tick takes
//! it up, so that state decides what becomes of a late acknowledgement, never a clock (state-hazards 10).

use bytes::BufMut;
use raft_log::types::{LogIndex, UnixMillis};

use super::leases::LeaseId;
use crate::model::{
    AttemptKey, ClientKey, ConsumerGroupId, MessageGroupKey, Position, QueueId, QueueOffset, TagKey, TopicId,
};
use crate::state::codec::{DecodeError, Reader, put_varint};
use crate::state::index::{IndexBlock, IndexedMessage};
use crate::state::outcome::Origin;

const PHASE: u16 = 0b11;
const SUSPENDED: u16 = 4;
const GROUP: u16 = 8;
const LEASED: u16 = 16;
const ATTEMPT: u16 = 32;
const ORIGIN: u16 = 64;
const MOVED: u16 = 128;
const TAG: u16 = 256;

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
    pub(crate) const FIRST: DeliveryKey =
        DeliveryKey { topic: TopicId(0), group: ConsumerGroupId(0), queue: QueueId(0), offset: 0 };
}

/// Where a pending message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Never delivered: held back by its message group.
    Waiting = 0,
    /// Delivered, and hidden until a tick finds its deadline passed.
    Hidden = 1,
    /// To be delivered again.
    Due = 2,
    /// To be dead-lettered.
    Exhausted = 3,
}

impl Phase {
    fn of(flags: u16) -> Phase {
        match flags & PHASE {
            0 => Phase::Waiting,
            1 => Phase::Hidden,
            2 => Phase::Due,
            _ => Phase::Exhausted,
        }
    }
}

/// What was taken, as far as delivering it again needs it: the index is not asked a second time, and may have let go of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TakenMessage {
    pub(crate) position: Position,
    pub(crate) tag: TagKey,
    pub(crate) group: MessageGroupKey,
    pub(crate) origin: Option<Origin>,
}

impl TakenMessage {
    pub(crate) fn of(block: &IndexBlock, message: &IndexedMessage) -> TakenMessage {
        TakenMessage { position: block.position(message), tag: message.tag, group: message.group, origin: block.origin }
    }
}

/// A pending message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pending {
    pub(crate) phase: Phase,
    /// Deliveries so far.
    pub(crate) attempt: u16,
    /// The next delivery keeps the attempt's number.
    pub(crate) suspended: bool,
    /// Its body was moved since the last delivery, while it waited for the next.
    pub(crate) moved: bool,
    pub(crate) deadline: UnixMillis,
    /// Tells the last delivery from those before.
    pub(crate) nonce: u64,
    pub(crate) delivered_at: UnixMillis,
    pub(crate) message: TakenMessage,
    /// What keeps it hidden, beside its deadline.
    pub(crate) lease: Option<LeaseId>,
    pub(crate) attempt_key: AttemptKey,
}

impl Pending {
    /// A message that its group passes over.
    pub(crate) fn waiting(message: TakenMessage) -> Pending {
        Pending {
            phase: Phase::Waiting,
            attempt: 0,
            suspended: false,
            moved: false,
            deadline: UnixMillis(0),
            nonce: 0,
            delivered_at: UnixMillis(0),
            message,
            lease: None,
            attempt_key: AttemptKey::NONE,
        }
    }

    /// The delivery is over, without an acknowledgement.
    pub(crate) fn over(self, attempts_max: u16) -> Pending {
        assert_eq!(self.phase, Phase::Hidden, "only a delivery comes to its end");
        let exhausted = self.attempt >= attempts_max && !self.suspended;
        Pending { phase: if exhausted { Phase::Exhausted } else { Phase::Due }, lease: None, ..self }
    }

    /// Whether the others of its message group have to wait for it.
    pub(crate) fn blocks(&self) -> bool {
        matches!(self.phase, Phase::Hidden | Phase::Exhausted)
    }

    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        out.clear();
        let flag = |set: bool, flag: u16| if set { flag } else { 0 };
        out.put_u16_le(
            self.phase as u16
                | flag(self.suspended, SUSPENDED)
                | flag(!self.message.group.is_none(), GROUP)
                | flag(self.lease.is_some(), LEASED)
                | flag(!self.attempt_key.is_none(), ATTEMPT)
                | flag(self.message.origin.is_some(), ORIGIN)
                | flag(self.moved, MOVED)
                | flag(!self.message.tag.is_none(), TAG),
        );
        put_varint(out, u64::from(self.attempt));
        put_varint(out, self.deadline.0);
        put_varint(out, self.nonce);
        put_varint(out, self.delivered_at.0);
        let TakenMessage { position, tag, group, origin } = self.message;
        put_varint(out, position.index.0);
        put_varint(out, u64::from(position.offset));
        put_varint(out, u64::from(position.length));
        if !group.is_none() {
            out.put_u64_le(group.0);
        }
        if let Some(LeaseId { client, begun }) = self.lease {
            [client.0, begun.0].iter().for_each(|number| out.put_u64_le(*number));
        }
        [self.attempt_key.0, tag.0].iter().filter(|key| **key != 0).for_each(|key| out.put_u64_le(*key));
        if let Some(origin) = origin {
            put_varint(out, origin.topic.0);
            put_varint(out, u64::from(origin.queue.0));
            put_varint(out, origin.offset.0);
        }
    }

    /// Reads what [`Self::encode`] wrote.
    pub(crate) fn decode(record: &[u8]) -> Result<Pending, DecodeError> {
        let mut reader = Reader::new("pending message", record);
        let flags = reader.u16()?;
        if flags & !(PHASE | SUSPENDED | GROUP | LEASED | ATTEMPT | ORIGIN | MOVED | TAG) != 0 {
            return Err(DecodeError::Unknown { what: "a flag of a pending message", found: u64::from(flags) });
        }
        let mut pending = Pending::waiting(TakenMessage::default());
        pending.phase = Phase::of(flags);
        pending.suspended = flags & SUSPENDED != 0;
        pending.moved = flags & MOVED != 0;
        pending.attempt = u16::try_from(reader.varint()?).map_err(|_| reader.invalid())?;
        pending.deadline = UnixMillis(reader.varint()?);
        pending.nonce = reader.varint()?;
        pending.delivered_at = UnixMillis(reader.varint()?);
        let message = &mut pending.message;
        message.position =
            Position { index: LogIndex(reader.varint()?), offset: reader.varint32()?, length: reader.varint32()? };
        if flags & GROUP != 0 {
            message.group = MessageGroupKey(reader.u64()?);
        }
        if flags & LEASED != 0 {
            pending.lease = Some(LeaseId { client: ClientKey(reader.u64()?), begun: LogIndex(reader.u64()?) });
        }
        if flags & ATTEMPT != 0 {
            pending.attempt_key = AttemptKey(reader.u64()?);
        }
        if flags & TAG != 0 {
            pending.message.tag = TagKey(reader.u64()?);
        }
        if flags & ORIGIN != 0 {
            let (topic, queue) = (TopicId(reader.varint()?), QueueId(reader.varint32()?));
            pending.message.origin = Some(Origin { topic, queue, offset: QueueOffset(reader.varint()?) });
        }
        reader.finish()?;
        Ok(pending)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_go_both_ways() {
        let phases = [Phase::Waiting, Phase::Hidden, Phase::Due, Phase::Exhausted];
        let keys = [(0, 0, 0), (1, 0, 0), (0, 2, 3), (u64::MAX, 4, 5)];
        for ((group, renew, attempt_key), phase) in keys.into_iter().zip(phases) {
            let pending = Pending {
                phase,
                attempt: 3,
                suspended: group == 1,
                moved: attempt_key == 5,
                deadline: UnixMillis(100),
                nonce: 77,
                delivered_at: UnixMillis(50),
                message: TakenMessage {
                    position: Position { index: LogIndex(9), offset: 40, length: 7 },
                    tag: TagKey(group),
                    group: MessageGroupKey(group),
                    origin: (renew > 0).then_some(Origin {
                        topic: TopicId(4),
                        queue: QueueId(5),
                        offset: QueueOffset(6),
                    }),
                },
                lease: (renew > 0).then_some(LeaseId { client: ClientKey(renew), begun: LogIndex(0) }),
                attempt_key: AttemptKey(attempt_key),
            };
            let mut record = Vec::new();
            pending.encode(&mut record);
            assert_eq!(Pending::decode(&record), Ok(pending));
            assert!(Pending::decode(&record[..record.len() - 1]).is_err());
        }
    }

    #[test]
    fn a_delivery_that_is_over_comes_again_while_attempts_are_left() {
        let mut pending = Pending { phase: Phase::Hidden, attempt: 1, ..Pending::waiting(TakenMessage::default()) };
        assert_eq!(pending.over(2).phase, Phase::Due);
        pending.attempt = 2;
        assert_eq!(pending.over(2).phase, Phase::Exhausted);
        pending.suspended = true;
        assert_eq!(pending.over(2).phase, Phase::Due);
    }
}
