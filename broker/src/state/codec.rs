//! Reading what this module wrote: a cursor over bytes with typed errors, and variable-length integers.
//!
//! Fixed-width integers are little-endian. Keys of the store, which must sort, are big-endian and live in `keys`.

use bytes::{BufMut, BytesMut};

/// Bytes that are not what they should be. In a command or in the store this stops the node: the log was agreed upon,
/// so a command that cannot be read means another version or corruption, never something to skip (hazards 17).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The bytes end too early.
    #[error("{what} ends early: {needed} bytes needed, {left} left")]
    Short {
        /// What was read.
        what: &'static str,
        /// Bytes that it takes.
        needed: usize,
        /// Bytes that are there.
        left: usize,
    },
    /// Bytes are left over.
    #[error("{what} has {left} bytes too many")]
    Long {
        /// What was read.
        what: &'static str,
        /// Bytes behind its end.
        left: usize,
    },
    /// A version or kind that this build does not know.
    #[error("{what} is {found}, which this version does not know")]
    Unknown {
        /// What was read.
        what: &'static str,
        /// What stands there.
        found: u64,
    },
    /// A value outside its range.
    #[error("{what} is not valid")]
    Invalid {
        /// What was read.
        what: &'static str,
    },
}

/// A cursor over bytes; `what` names them in errors.
#[derive(Clone, Debug)]
pub(crate) struct Reader<'a> {
    what: &'static str,
    left: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(crate) fn new(what: &'static str, bytes: &'a [u8]) -> Reader<'a> {
        Reader { what, left: bytes }
    }

    pub(crate) fn left(&self) -> usize {
        self.left.len()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Result<&'a [u8], DecodeError> {
        if count > self.left.len() {
            return Err(DecodeError::Short { what: self.what, needed: count, left: self.left.len() });
        }
        let (taken, left) = self.left.split_at(count);
        self.left = left;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.bytes(N)?.try_into().expect("asked for N bytes"))
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn u128(&mut self) -> Result<u128, DecodeError> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    pub(crate) fn flag(&mut self) -> Result<bool, DecodeError> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(self.invalid()),
        }
    }

    /// A text with its length before it, see [`put_text`].
    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let length = usize::from(self.u16()?);
        std::str::from_utf8(self.bytes(length)?).map_err(|_| self.invalid())
    }

    /// An integer of 1 to 10 bytes, see [`put_varint`].
    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let part = u64::from(byte & 0x7f);
            if shift == 63 && part > 1 {
                break;
            }
            value |= part << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(self.invalid())
    }

    pub(crate) fn varint32(&mut self) -> Result<u32, DecodeError> {
        u32::try_from(self.varint()?).map_err(|_| self.invalid())
    }

    /// A count of things that take at least one byte each: never more than the bytes that are left, so that a wrong
    /// count cannot make the reader allocate without bound.
    pub(crate) fn count(&mut self) -> Result<usize, DecodeError> {
        let count = self.u32()? as usize;
        if count > self.left.len() { Err(self.invalid()) } else { Ok(count) }
    }

    pub(crate) fn invalid(&self) -> DecodeError {
        DecodeError::Invalid { what: self.what }
    }

    /// Everything must have been read.
    pub(crate) fn finish(self) -> Result<(), DecodeError> {
        if self.left.is_empty() { Ok(()) } else { Err(DecodeError::Long { what: self.what, left: self.left.len() }) }
    }
}

/// Seven bits a byte, the low ones first, the high bit says that more follow.
pub(crate) fn put_varint(out: &mut impl BufMut, mut value: u64) {
    while value >= 0x80 {
        out.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    out.put_u8(value as u8);
}

/// Length as u16, then UTF-8.
pub(crate) fn put_text(out: &mut BytesMut, text: &str) {
    out.put_u16_le(u16::try_from(text.len()).expect("texts in commands are limited at the door"));
    out.put_slice(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn varints_go_both_ways_at_their_borders() {
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::from(u32::MAX), u64::MAX - 1, u64::MAX] {
            let mut out = BytesMut::new();
            put_varint(&mut out, value);
            let mut reader = Reader::new("test", &out);
            assert_eq!(reader.varint(), Ok(value));
            assert_eq!(reader.finish(), Ok(()));
        }
    }

    #[test]
    fn overlong_and_short_input_is_an_error() {
        assert!(Reader::new("test", &[0xff; 11]).varint().is_err());
        assert!(Reader::new("test", &[0x80]).varint().is_err());
        assert_eq!(Reader::new("test", &[1]).u32(), Err(DecodeError::Short { what: "test", needed: 4, left: 1 }));
        assert_eq!(Reader::new("test", &[1]).finish(), Err(DecodeError::Long { what: "test", left: 1 }));
        assert!(Reader::new("test", &[2]).flag().is_err());
        assert!(Reader::new("test", &[9, 0, 0, 0, 1]).count().is_err());
    }
}
