//! What of the log the state still refers to, and its record.

use bytes::BufMut;
use raft_log::types::LogIndex;

use super::codec::{DecodeError, Reader};

/// Stands for no dead letters in the record.
const NONE: u64 = u64::MAX;

/// The readable start. Invariant: no queue, delivery or dead letter refers to an entry below it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retained {
    /// The first entry that must stay readable.
    pub(crate) start: LogIndex,
    /// The oldest entry with a dead letter; never rises, because dead letters stay.
    pub(crate) dead_letters_from: Option<LogIndex>,
}

impl Retained {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16);
        out.put_u64_le(self.start.0);
        out.put_u64_le(self.dead_letters_from.map_or(NONE, |index| index.0));
        out
    }

    pub(crate) fn decode(record: &[u8]) -> Result<Retained, DecodeError> {
        let mut reader = Reader::new("retained", record);
        let (start, dead) = (LogIndex(reader.u64()?), reader.u64()?);
        reader.finish()?;
        Ok(Retained { start, dead_letters_from: (dead != NONE).then_some(LogIndex(dead)) })
    }
}
