//! The salt of a segment: a random number that is mixed into the CRC of each record header in it.
//!
//! A record that was written into another segment (or into this file's earlier life) can so never be taken for one of
//! this segment, whatever its bytes are. A short tag of the salt stands in each header too: it tells "written under
//! another salt" from "damaged".

/// A segment's salt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Salt(pub(crate) u64);

impl Salt {
    /// What the CRC of a header starts from.
    pub(crate) fn seed(self) -> u32 {
        crc32c::crc32c(&self.0.to_le_bytes())
    }

    /// Sixteen bits of the salt; never 0, which is what unwritten space holds.
    pub(crate) fn tag(self) -> u16 {
        let folded = self.0 ^ (self.0 >> 32);
        let folded = folded ^ (folded >> 16);
        u16::try_from(folded & 0xffff).expect("masked to 16 bits").max(1)
    }
}
