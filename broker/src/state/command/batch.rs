//! An entry: the header and its commands.

use bytes::{BufMut, Bytes, BytesMut};
use raft_log::types::UnixMillis;

use super::encoded::{EncodedCommand, FRAME_BYTES};
use crate::state::codec::{DecodeError, Reader};
use crate::state::level::Level;

const VERSION: u8 = 1;
const HEADER_BYTES: usize = 16;

/// Packs commands into one entry, in order.
#[derive(Debug)]
pub struct BatchBuilder {
    out: BytesMut,
    commands: u32,
    messages: u32,
    level: Level,
}

impl Default for BatchBuilder {
    fn default() -> BatchBuilder {
        BatchBuilder::new()
    }
}

impl BatchBuilder {
    /// An empty entry.
    #[must_use]
    pub fn new() -> BatchBuilder {
        BatchBuilder::with_capacity(0)
    }

    /// An empty entry with room for commands of `bytes` in all.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> BatchBuilder {
        let mut out = BytesMut::with_capacity(HEADER_BYTES + bytes);
        out.put_bytes(0, HEADER_BYTES);
        BatchBuilder { out, commands: 0, messages: 0, level: Level::NEWEST }
    }

    /// For a group at this feature level, above which nothing may be in the entry.
    #[must_use]
    pub(crate) fn at(mut self, level: Level) -> BatchBuilder {
        assert_eq!(self.commands, 0, "the level comes before the commands");
        self.level = level;
        self
    }

    /// Adds a command behind those that are there.
    ///
    /// # Panics
    /// If it is of a feature level above that of the group: a node that does not know it would stop.
    pub fn push(&mut self, command: &EncodedCommand) {
        let (brought, level) = (command.level(), self.level);
        assert!(brought <= level, "a command of level {brought} is proposed to a group at level {level}");
        self.out.put_slice(&command.frame);
        self.commands += 1;
        self.messages += command.messages;
    }

    /// The length of the entry so far, header included.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// Commands so far.
    #[must_use]
    pub fn commands(&self) -> u32 {
        self.commands
    }

    /// Messages that these commands publish.
    #[must_use]
    pub fn messages(&self) -> u32 {
        self.messages
    }

    /// The payload to propose, stamped with the leader's time.
    #[must_use]
    pub fn build(mut self, stamp: UnixMillis) -> Bytes {
        self.out[0] = VERSION;
        self.out[4..8].copy_from_slice(&self.commands.to_le_bytes());
        self.out[8..16].copy_from_slice(&stamp.0.to_le_bytes());
        self.out.freeze()
    }
}

/// The leader's stamp on an entry: the time at which its messages were stored.
///
/// # Errors
/// The payload is no entry of a known version.
pub fn entry_stamp(payload: &[u8]) -> Result<UnixMillis, DecodeError> {
    Ok(EntryView::decode(payload)?.stamp)
}

/// An entry under `apply`.
#[derive(Debug)]
pub(crate) struct EntryView<'a> {
    pub(crate) stamp: UnixMillis,
    pub(crate) commands: u32,
    frames: Reader<'a>,
    offset: usize,
}

/// One command's bytes, and where in the entry its body begins.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) kind: u8,
    pub(crate) body: &'a [u8],
    pub(crate) body_offset: usize,
}

impl<'a> EntryView<'a> {
    pub(crate) fn decode(payload: &'a [u8]) -> Result<EntryView<'a>, DecodeError> {
        let mut reader = Reader::new("entry", payload);
        let version = reader.u8()?;
        if version != VERSION {
            return Err(DecodeError::Unknown { what: "the version of an entry", found: u64::from(version) });
        }
        let flags = reader.u8()?;
        let reserved = reader.u16()?;
        if flags != 0 || reserved != 0 {
            let found = u64::from(flags) | u64::from(reserved) << 8;
            return Err(DecodeError::Unknown { what: "a flag of an entry", found });
        }
        let commands = reader.u32()?;
        let stamp = UnixMillis(reader.u64()?);
        Ok(EntryView { stamp, commands, frames: reader, offset: HEADER_BYTES })
    }

    pub(crate) fn next_frame(&mut self) -> Result<Frame<'a>, DecodeError> {
        let kind = self.frames.u8()?;
        let length = self.frames.u32()? as usize;
        let body = self.frames.bytes(length)?;
        let body_offset = self.offset + FRAME_BYTES;
        self.offset = body_offset + length;
        Ok(Frame { kind, body, body_offset })
    }

    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        self.frames.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::command::{Command, tick};

    fn entry() -> Vec<u8> {
        let mut batch = BatchBuilder::new();
        batch.push(&tick());
        batch.push(&tick());
        batch.build(UnixMillis(77)).to_vec()
    }

    fn read(payload: &[u8]) -> Result<u32, DecodeError> {
        let mut view = EntryView::decode(payload)?;
        for _ in 0..view.commands {
            Command::decode(&view.next_frame()?)?;
        }
        let commands = view.commands;
        view.finish()?;
        Ok(commands)
    }

    #[test]
    fn an_entry_reads_back() {
        assert_eq!(read(&entry()), Ok(2));
        assert_eq!(entry_stamp(&entry()), Ok(UnixMillis(77)));
    }

    /// hazards 17 and 30: what this build does not know is a typed error, never skipped.
    #[test]
    fn unknown_versions_flags_and_kinds_are_refused() {
        for (at, value) in [(0, 2), (1, 1), (2, 1), (16, 200)] {
            let mut payload = entry();
            payload[at] = value;
            assert!(matches!(read(&payload), Err(DecodeError::Unknown { .. })), "byte {at}");
        }
    }

    #[test]
    #[should_panic(expected = "a command of level 1 is proposed to a group at level 0")]
    fn nothing_above_the_level_of_the_group_comes_into_an_entry() {
        BatchBuilder::new().at(Level::of_a_test(0)).push(&tick());
    }

    #[test]
    fn short_and_long_entries_are_refused() {
        let payload = entry();
        for cut in 0..payload.len() {
            assert!(read(&payload[..cut]).is_err(), "cut at {cut}");
        }
        let mut long = payload.clone();
        long.push(0);
        assert!(read(&long).is_err());
    }
}
