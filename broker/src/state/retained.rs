//! What of the log the state still refers to, and its record.

use bytes::BufMut;
use raft_log::types::LogIndex;

use super::codec::{DecodeError, Reader};
use crate::model::{QueueId, TopicId};

/// The readable start, and how far queues have followed it. Invariant: no delivery and no dead letter refers to an entry below it;
/// a queue may begin below it until the sweep has come to it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retained {
    /// The first entry that must stay readable.
    pub(crate) start: LogIndex,
    /// Where retention wants it; beyond it while something that is needed stands in the way.
    pub(crate) asked: LogIndex,
    /// Every queue begins at or above this.
    pub(crate) swept: LogIndex,
    /// The sweep that is under way.
    pub(crate) sweep: Option<Sweep>,
    /// The last entry with which something became unread that everybody had read; see [`unread`](super::unread).
    pub(crate) unread_again: LogIndex,
}

/// A walk over all queues, in steps; each begins where this one says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sweep {
    /// The start when it began.
    pub(crate) to: LogIndex,
    pub(crate) topic: TopicId,
    pub(crate) queue: QueueId,
}

impl Retained {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(56);
        out.put_u64_le(self.start.0);
        out.put_u64_le(self.asked.0);
        out.put_u64_le(self.swept.0);
        out.put_u64_le(self.unread_again.0);
        out.put_u8(u8::from(self.sweep.is_some()));
        if let Some(sweep) = self.sweep {
            out.put_u64_le(sweep.to.0);
            out.put_u64_le(sweep.topic.0);
            out.put_u32_le(sweep.queue.0);
        }
        out
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Retained, DecodeError> {
        let mut reader = Reader::new("retained", record);
        let [start, asked, swept] = [reader.u64()?, reader.u64()?, reader.u64()?].map(LogIndex);
        let unread_again = LogIndex(reader.u64()?);
        let sweep = match reader.flag()? {
            true => {
                let (to, topic) = (LogIndex(reader.u64()?), TopicId(reader.u64()?));
                Some(Sweep { to, topic, queue: QueueId(reader.u32()?) })
            }
            false => None,
        };
        reader.finish()?;
        Ok(Retained { start, asked, swept, sweep, unread_again })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_record_goes_both_ways() {
        let sweep = Sweep { to: LogIndex(7), topic: TopicId(8), queue: QueueId(9) };
        for sweep in [None, Some(sweep)] {
            let [start, asked, swept, unread_again] = [7, 9, 3, 8].map(LogIndex);
            let retained = Retained { start, asked, swept, sweep, unread_again };
            assert_eq!(Retained::decode(&retained.encode()), Ok(retained));
        }
    }
}
