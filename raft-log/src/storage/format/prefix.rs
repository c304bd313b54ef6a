//! The first 16 bytes of every file: what it is, and which version of the format.
//!
//! ```text
//!   0        8          12        16
//!   │ magic  │ version  │ CRC32C  │   of the 12 bytes before it; integers little-endian
//! ```
//! The version has a CRC of its own, so that a newer file is told from a damaged one, whatever the newer layout is.

use crate::storage::OpenError;
use std::path::Path;

/// Length of the prefix.
pub(crate) const PREFIX_BYTES: usize = 16;

/// Says in eight bytes what a file is.
pub(crate) type Magic = [u8; 8];

/// What a prefix can turn out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PrefixError {
    /// Not this kind of file, or damaged.
    Damaged(String),
    /// Intact, but from a newer program.
    Newer { found: u32 },
}

pub(crate) fn encode(magic: Magic, version: u32) -> [u8; PREFIX_BYTES] {
    let mut bytes = [0; PREFIX_BYTES];
    bytes[..8].copy_from_slice(&magic);
    bytes[8..12].copy_from_slice(&version.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

/// The version of a file that starts with `bytes`: from 1 to `version_max`.
pub(crate) fn decode(bytes: &[u8], magic: Magic, version_max: u32) -> Result<u32, PrefixError> {
    let Some(bytes) = bytes.get(..PREFIX_BYTES) else {
        return Err(PrefixError::Damaged(format!("only {} bytes long", bytes.len())));
    };
    if bytes[..8] != magic {
        return Err(PrefixError::Damaged(format!("does not start with the magic {}", magic.escape_ascii())));
    }
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    if crc32c::crc32c(&bytes[..12]) != word(12) {
        return Err(PrefixError::Damaged("the CRC of the first 16 bytes does not match".into()));
    }
    match word(8) {
        0 => Err(PrefixError::Damaged("format version 0".into())),
        found if found > version_max => Err(PrefixError::Newer { found }),
        version => Ok(version),
    }
}

impl std::fmt::Display for PrefixError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PrefixError::Damaged(reason) => f.write_str(reason),
            PrefixError::Newer { found } => write!(f, "format version {found}, which this program does not know"),
        }
    }
}

impl PrefixError {
    /// As the error of opening `file`.
    pub(crate) fn of_file(self, file: &Path, supported: u32) -> OpenError {
        match self {
            PrefixError::Damaged(reason) => OpenError::Damaged { file: file.into(), reason },
            PrefixError::Newer { found } => OpenError::NewerFormat { file: file.into(), found, supported },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAGIC: Magic = *b"TESTFILE";

    #[test]
    fn a_newer_version_is_told_from_damage() {
        assert_eq!(decode(&encode(MAGIC, 3), MAGIC, 3), Ok(3));
        assert_eq!(decode(&encode(MAGIC, 4), MAGIC, 3), Err(PrefixError::Newer { found: 4 }));
        let damaged = |bytes: &[u8]| matches!(decode(bytes, MAGIC, 3), Err(PrefixError::Damaged(_)));
        assert!(damaged(&encode(*b"OTHERONE", 3)));
        assert!(damaged(&encode(MAGIC, 0)));
        assert!(damaged(b"TESTFILE"));
        for bit in 0..PREFIX_BYTES * 8 {
            let mut bytes = encode(MAGIC, 3);
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(damaged(&bytes), "bit {bit}");
        }
    }
}
