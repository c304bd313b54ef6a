//! A command in its bytes.

use bytes::{BufMut, Bytes, BytesMut};

use crate::state::level::{self, Level};

/// A command's kind and length, in front of its body.
pub(super) const FRAME_BYTES: usize = 5;

/// A command in the bytes that go into an entry, made by the `encode` of each command.
#[derive(Clone, Debug)]
pub struct EncodedCommand {
    pub(super) frame: Bytes,
    pub(super) messages: u32,
}

impl EncodedCommand {
    pub(super) fn new(
        kind: u8,
        body_capacity: usize,
        messages: u32,
        write: impl FnOnce(&mut BytesMut),
    ) -> EncodedCommand {
        let mut out = BytesMut::with_capacity(FRAME_BYTES + body_capacity);
        out.put_u8(kind);
        out.put_u32_le(0);
        write(&mut out);
        EncodedCommand::seal(out, messages)
    }

    /// Writes the length into the frame that `out` begins with.
    pub(super) fn seal(mut out: BytesMut, messages: u32) -> EncodedCommand {
        let length = u32::try_from(out.len() - FRAME_BYTES).expect("commands are far below 4 GiB");
        out[1..FRAME_BYTES].copy_from_slice(&length.to_le_bytes());
        EncodedCommand { frame: out.freeze(), messages }
    }

    /// Writes over a part of the body, as another version might.
    #[cfg(test)]
    pub(crate) fn overwrite(&mut self, at: usize, with: &[u8]) {
        let mut frame = self.frame.to_vec();
        frame[FRAME_BYTES + at..FRAME_BYTES + at + with.len()].copy_from_slice(with);
        self.frame = frame.into();
    }

    /// How many bytes it adds to an entry.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.frame.len()
    }

    /// The feature level that brought this kind of command.
    pub(crate) fn level(&self) -> Level {
        level::of_command(self.frame[0])
    }

    /// How many messages it publishes.
    #[must_use]
    pub fn messages(&self) -> u32 {
        self.messages
    }
}
