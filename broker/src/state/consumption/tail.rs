//! What a lane holds behind the messages that are pending: a queue of messages in the store, of which memory knows where it
//! begins and ends and no more. So a message group that is stuck costs no memory for what is published behind it, and holds
//! nobody else up (state-hazards 5).
//!
//! ```text
//!   lane   pending, in memory │ tail, in the store
//!          3 (hidden)         │ number 7: 9    number 8: 12   ...      first = 7, next = 9
//! ```
//! The first of a tail becomes pending when nothing of its lane is; so while there is a tail, something is pending before it.
//! A message in a tail is unread backlog: retention may take it, and it does not hold the log.

use bytes::BufMut;
use raft_log::types::LogIndex;

use super::pending::{Pending, TakenMessage};
use crate::state::codec::{DecodeError, Reader};

/// Of a lane that has one; never empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tail {
    /// The number of the first message.
    pub(crate) first: u64,
    /// The number that the next message gets.
    pub(crate) next: u64,
    /// No message of it lies in an older entry.
    pub(crate) oldest: LogIndex,
}

impl Tail {
    pub(crate) fn len(&self) -> u64 {
        self.next - self.first
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut record = Vec::with_capacity(24);
        [self.first, self.next, self.oldest.0].iter().for_each(|number| record.put_u64_le(*number));
        record
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Tail, DecodeError> {
        let mut reader = Reader::new("tail of a message group", record);
        let tail = Tail { first: reader.u64()?, next: reader.u64()?, oldest: LogIndex(reader.u64()?) };
        if tail.first >= tail.next {
            return Err(reader.invalid());
        }
        reader.finish()?;
        Ok(tail)
    }
}

/// A message in a tail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct InTail {
    pub(crate) offset: u64,
    pub(crate) message: TakenMessage,
}

impl InTail {
    /// The offset, and the message as if it were pending.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let (mut record, mut pending) = (self.offset.to_le_bytes().to_vec(), Vec::new());
        Pending::waiting(self.message).encode(&mut pending);
        record.append(&mut pending);
        record
    }

    pub(crate) fn decode(record: &[u8]) -> Result<InTail, DecodeError> {
        let mut reader = Reader::new("message in a tail", record);
        let offset = reader.u64()?;
        let left = reader.left();
        Ok(InTail { offset, message: Pending::decode(reader.bytes(left)?)?.message })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{MessageGroupKey, Position};

    #[test]
    fn records_go_both_ways_and_an_empty_tail_is_none() {
        let tail = Tail { first: 3, next: 9, oldest: LogIndex(7) };
        assert_eq!((Tail::decode(&tail.encode()), tail.len()), (Ok(tail), 6));
        assert!(Tail::decode(&Tail { first: 9, ..tail }.encode()).is_err());
        let position = Position { index: LogIndex(7), offset: 8, length: 9 };
        let message = TakenMessage { position, group: MessageGroupKey(5), ..TakenMessage::default() };
        let in_tail = InTail { offset: 12, message };
        assert_eq!(InTail::decode(&in_tail.encode()), Ok(in_tail));
    }
}
