//! Relocate: bodies that are still needed, for the log's end.
//!
//! ```text
//! bodies u32
//! per body: log index u64, offset u32, length u32     where it lies
//!           holders u32
//!           per holder: kind u8 (1 delivery, 2 dead letter), topic u64, group u64 (0 of a dead letter), queue u32, offset u64
//!           the message record, of that length
//! ```

use bytes::{BufMut, Bytes};
use raft_log::types::LogIndex;

use super::encoded::EncodedCommand;
use super::kind;
use crate::model::{ConsumerGroupId, Position, QueueId, TopicId};
use crate::state::codec::{DecodeError, Reader};
use crate::state::consumption::DeliveryKey;

const DELIVERY: u8 = 1;
const DEAD_LETTER: u8 = 2;
const HOLDER_BYTES: usize = 29;

/// Who needs a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// A message that a group has taken and not finished.
    Delivery(DeliveryKey),
    /// A dead letter.
    DeadLetter { topic: TopicId, offset: u64 },
}

/// A body to be moved: the record of a message, as it lies in the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NeededBody {
    pub(crate) from: Position,
    pub(crate) holders: Vec<Holder>,
    pub(crate) record: Bytes,
}

/// The command by which the leader moves bodies to the log's end.
pub(crate) fn relocate(bodies: &[NeededBody]) -> EncodedCommand {
    let capacity = bodies.iter().map(|body| 20 + HOLDER_BYTES * body.holders.len() + body.record.len());
    EncodedCommand::new(kind::RELOCATE, 4 + capacity.sum::<usize>(), 0, |out| {
        let count = |length: usize| u32::try_from(length).expect("commands are far below 4 GiB");
        out.put_u32_le(count(bodies.len()));
        for NeededBody { from, holders, record } in bodies {
            assert_eq!(record.len(), from.length as usize, "a body keeps its length");
            out.put_u64_le(from.index.0);
            out.put_u32_le(from.offset);
            out.put_u32_le(from.length);
            out.put_u32_le(count(holders.len()));
            for holder in holders {
                let (kind, topic, group, queue, offset) = match *holder {
                    Holder::Delivery(key) => (DELIVERY, key.topic, key.group.0, key.queue.0, key.offset),
                    Holder::DeadLetter { topic, offset } => (DEAD_LETTER, topic, 0, 0, offset),
                };
                out.put_u8(kind);
                out.put_u64_le(topic.0);
                out.put_u64_le(group);
                out.put_u32_le(queue);
                out.put_u64_le(offset);
            }
            out.put_slice(record);
        }
    })
}

/// The command as `apply` reads it; bodies stay in their bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct RelocateView {
    pub(crate) bodies: Vec<MovedBody>,
}

/// A body in its new place.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct MovedBody {
    pub(crate) from: Position,
    /// Where in the entry it lies now.
    pub(crate) offset: u32,
    pub(crate) holders: Vec<Holder>,
}

impl RelocateView {
    /// `body_offset` is where in the entry the command's body begins.
    pub(crate) fn decode(body: &[u8], body_offset: usize) -> Result<RelocateView, DecodeError> {
        let mut reader = Reader::new("relocate", body);
        let count = reader.u32()?;
        let mut bodies = Vec::new();
        for _ in 0..count {
            let from = Position { index: LogIndex(reader.u64()?), offset: reader.u32()?, length: reader.u32()? };
            let holders = (0..reader.u32()?).map(|_| read_holder(&mut reader)).collect::<Result<_, _>>()?;
            let offset = u32::try_from(body_offset + body.len() - reader.left()).map_err(|_| reader.invalid())?;
            reader.bytes(from.length as usize)?;
            bodies.push(MovedBody { from, offset, holders });
        }
        reader.finish()?;
        Ok(RelocateView { bodies })
    }
}

fn read_holder(reader: &mut Reader<'_>) -> Result<Holder, DecodeError> {
    let kind = reader.u8()?;
    let (topic, group) = (TopicId(reader.u64()?), ConsumerGroupId(reader.u64()?));
    let (queue, offset) = (QueueId(reader.u32()?), reader.u64()?);
    match kind {
        DELIVERY => Ok(Holder::Delivery(DeliveryKey { topic, group, queue, offset })),
        DEAD_LETTER => Ok(Holder::DeadLetter { topic, offset }),
        unknown => Err(DecodeError::Unknown { what: "the kind of a holder", found: u64::from(unknown) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_and_their_holders_go_both_ways() {
        let key = DeliveryKey { topic: TopicId(1), group: ConsumerGroupId(2), queue: QueueId(3), offset: 4 };
        let letter = Holder::DeadLetter { topic: TopicId(5), offset: 6 };
        let body = |index, holders, record: &'static [u8]| NeededBody {
            from: Position { index: LogIndex(index), offset: 40, length: u32::try_from(record.len()).unwrap() },
            holders,
            record: Bytes::from_static(record),
        };
        let bodies = [body(7, vec![Holder::Delivery(key), letter], b"first"), body(8, vec![letter], b"second")];
        let frame = relocate(&bodies).frame;
        let view = RelocateView::decode(&frame[5..], 5).unwrap();
        assert_eq!(view.bodies.len(), 2);
        for (moved, body) in view.bodies.iter().zip(&bodies) {
            assert_eq!((moved.from, &moved.holders), (body.from, &body.holders));
            let at = moved.offset as usize;
            assert_eq!(frame[at..at + body.record.len()], body.record);
        }
        for cut in 5..frame.len() {
            assert!(RelocateView::decode(&frame[5..cut], 5).is_err());
        }
    }
}
