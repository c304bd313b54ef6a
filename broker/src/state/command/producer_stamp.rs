//! Who publishes, as a publish says it.

use bytes::{BufMut as _, BytesMut};

use crate::model::ProducerId;
use crate::state::codec::{DecodeError, Reader};

const PRODUCER: u8 = 1;
const UNSETTLED: u8 = 2;
const AGAIN: u8 = 4;
/// All flags of a stamp.
pub(super) const FLAGS: u8 = PRODUCER | UNSETTLED | AGAIN;

/// Who publishes and where its count stands: message `i` of the command has sequence `base_sequence + i` (hazards 16).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStamp {
    /// The producer.
    pub id: ProducerId,
    /// A higher epoch fences the lower ones and begins its sequences anew.
    pub epoch: u64,
    /// The sequence of the command's first message, counted per producer and topic. At most [`BASE_SEQUENCE_MAX`].
    pub base_sequence: u64,
    /// What the producer says of its own doubts; nothing if it does not.
    pub unsettled: Option<Unsettled>,
}

/// What a producer does not know when it sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unsettled {
    /// The lowest sequence whose outcome it does not know and still wants: below, everything is over, and what was not
    /// stored then never is. At most the command's own.
    pub lowest: u64,
    /// An earlier try of these very messages may have been stored.
    pub again: bool,
}

/// Far above what anybody counts to, and far below what overflows.
pub const BASE_SEQUENCE_MAX: u64 = 1 << 62;

impl ProducerStamp {
    /// Whether its numbers make sense.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        let in_order = self.unsettled.is_none_or(|unsettled| unsettled.lowest <= self.base_sequence);
        in_order && self.base_sequence <= BASE_SEQUENCE_MAX
    }

    /// Whether it says that an earlier try may have been stored.
    pub(crate) fn is_again(&self) -> bool {
        self.unsettled.is_some_and(|unsettled| unsettled.again)
    }

    pub(super) fn flags(&self) -> u8 {
        let unsettled = if self.unsettled.is_some() { UNSETTLED } else { 0 };
        PRODUCER | unsettled | if self.is_again() { AGAIN } else { 0 }
    }

    pub(super) fn put(&self, out: &mut BytesMut) {
        assert!(self.is_valid(), "a stamp is checked at the door");
        out.put_u128_le(self.id.0);
        out.put_u64_le(self.epoch);
        out.put_u64_le(self.base_sequence);
        if let Some(unsettled) = self.unsettled {
            out.put_u64_le(unsettled.lowest);
        }
    }

    pub(super) fn read(flags: u8, reader: &mut Reader<'_>) -> Result<Option<ProducerStamp>, DecodeError> {
        if flags & PRODUCER == 0 {
            return if flags == 0 { Ok(None) } else { Err(reader.invalid()) };
        }
        let (id, epoch, base_sequence) = (ProducerId(reader.u128()?), reader.u64()?, reader.u64()?);
        let again = flags & AGAIN != 0;
        let unsettled = match flags & UNSETTLED {
            0 if again => return Err(reader.invalid()),
            0 => None,
            _ => Some(Unsettled { lowest: reader.u64()?, again }),
        };
        let stamp = ProducerStamp { id, epoch, base_sequence, unsettled };
        if stamp.is_valid() { Ok(Some(stamp)) } else { Err(reader.invalid()) }
    }
}
