//! Message ids in the format of RocketMQ 5.
//!
//! ```text
//! | version | machine | process | seconds    | sequence |
//! | 01      | 6 bytes | 2 bytes | 4 bytes    | 4 bytes  |  as 34 upper-case hexadecimal digits
//!                               since 2021-01-01 UTC
//! ```
//! Where other clients put the MAC address we put random bytes, drawn once per producer: they tell machines apart
//! just as well, and they tell apart two containers that were given one address.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

/// 2021-01-01T00:00:00Z in seconds since 1970, the epoch of the seconds in an id.
const EPOCH_UNIX_SECONDS: u64 = 1_609_459_200;
const VERSION: u8 = 1;
const BYTES: usize = 17;

/// The id that a producer gives to a message. It stays with the message through every retry, delivery and
/// redelivery.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MessageId([u8; BYTES]);

impl MessageId {
    /// Length of the text form.
    pub const TEXT_LEN: usize = BYTES * 2;

    /// The text form as ASCII bytes.
    pub(crate) fn to_ascii(self) -> [u8; Self::TEXT_LEN] {
        const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
        let mut text = [0; Self::TEXT_LEN];
        for (at, byte) in self.0.iter().enumerate() {
            text[at * 2] = DIGITS[usize::from(byte >> 4)];
            text[at * 2 + 1] = DIGITS[usize::from(byte & 15)];
        }
        text
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.to_ascii();
        f.pad(std::str::from_utf8(&text).expect("hexadecimal digits are ASCII"))
    }
}

impl fmt::Debug for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MessageId({self})")
    }
}

/// The text is not a message id of this format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message id: 34 hexadecimal digits that begin with 01 are expected")]
pub struct MessageIdError;

impl FromStr for MessageId {
    type Err = MessageIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let digits = text.as_bytes();
        if digits.len() != Self::TEXT_LEN {
            return Err(MessageIdError);
        }
        let nibble = |digit: u8| (digit as char).to_digit(16).ok_or(MessageIdError);
        let mut bytes = [0; BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            *byte = u8::try_from(nibble(pair[0])? * 16 + nibble(pair[1])?).expect("two nibbles are a byte");
        }
        if bytes[0] == VERSION { Ok(Self(bytes)) } else { Err(MessageIdError) }
    }
}

/// Draws ids that never repeat within a generator: the sequence counts on across seconds.
#[derive(Debug)]
pub(crate) struct MessageIds {
    prefix: [u8; 9],
    sequence: AtomicU32,
}

impl MessageIds {
    /// `origin` tells this generator from every other one; `process` is the process id.
    pub(crate) fn new(origin: [u8; 6], process: u32) -> Self {
        let mut prefix = [VERSION; 9];
        prefix[1..7].copy_from_slice(&origin);
        prefix[7..9].copy_from_slice(&process.to_be_bytes()[2..]);
        Self { prefix, sequence: AtomicU32::new(0) }
    }

    /// The next id; `unix_now` is the wall clock.
    pub(crate) fn next(&self, unix_now: Duration) -> MessageId {
        let seconds = unix_now.as_secs().saturating_sub(EPOCH_UNIX_SECONDS);
        let seconds = u32::try_from(seconds & u64::from(u32::MAX)).expect("masked to 32 bits");
        let mut bytes = [0; BYTES];
        bytes[..9].copy_from_slice(&self.prefix);
        bytes[9..13].copy_from_slice(&seconds.to_be_bytes());
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        bytes[13..].copy_from_slice(&sequence.to_be_bytes());
        MessageId(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_laid_out_as_rocketmq_5_does() {
        let ids = MessageIds::new([0xA0, 0xB1, 0xC2, 0xD3, 0xE4, 0xF5], 0x0001_ABCD);
        let now = Duration::from_secs(EPOCH_UNIX_SECONDS + 0x0102_0304);
        assert_eq!(ids.next(now).to_string(), "01A0B1C2D3E4F5ABCD0102030400000000");
        assert_eq!(ids.next(now).to_string(), "01A0B1C2D3E4F5ABCD0102030400000001");
    }

    #[test]
    fn ids_stay_distinct_when_the_clock_goes_back() {
        let ids = MessageIds::new([1; 6], 1);
        let first = ids.next(Duration::from_secs(EPOCH_UNIX_SECONDS + 100));
        let second = ids.next(Duration::from_secs(EPOCH_UNIX_SECONDS + 99));
        assert_ne!(first, second);
        assert_ne!(second, ids.next(Duration::ZERO));
    }

    #[test]
    fn text_reads_back_and_other_text_is_refused() {
        let id = MessageIds::new([7; 6], 9).next(Duration::from_secs(2_000_000_000));
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("01".parse::<MessageId>(), Err(MessageIdError));
        assert_eq!("02A0B1C2D3E4F5ABCD0102030400000000".parse::<MessageId>(), Err(MessageIdError));
        assert_eq!("01A0B1C2D3E4F5ABCD010203040000000G".parse::<MessageId>(), Err(MessageIdError));
    }
}
