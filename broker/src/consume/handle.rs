//! Receipt handles: the proof of one delivery, given to a client and shown again to acknowledge it.
//!
//! A client can send anything, so a handle carries a checksum keyed by the cluster; one that does not open is refused,
//! and one that opens says what this cluster once delivered. All positions are Raft positions (hazards 6), so a handle
//! works at every replica, before and after a fail-over.
//!
//! ```text
//! byte   0        1      5      13        21      25      33         41              45     49     57        65
//!        version  group  topic  consumer  queue   offset  log index  offset in entry length nonce  deadline  MAC (16)
//! ```
//! Big-endian, then hexadecimal: 162 characters. Version 1; another one is refused, not guessed (hazards 30).

use hmac::{Hmac, KeyInit as _, Mac as _};
use raft_log::types::{GroupId, LogIndex, UnixMillis};
use sha2::Sha256;

use crate::{
    model::{ConsumerGroupId, Position, QueueId, QueueOffset, TopicId},
    state::AckEntry,
};

const VERSION: u8 = 1;
const BODY_BYTES: usize = 65;
const MAC_BYTES: usize = 16;

/// What a handle says: one delivery of one message to one consumer group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// The broker group that owns the message.
    pub group: GroupId,
    /// The topic.
    pub topic: TopicId,
    /// The consumer group.
    pub consumer_group: ConsumerGroupId,
    /// Where the message lies.
    pub position: Position,
    /// Which delivery of which message.
    pub entry: AckEntry,
}

/// Makes and opens handles with the cluster's key.
#[derive(Clone)]
pub struct HandleKey {
    keyed: Hmac<Sha256>,
}

impl HandleKey {
    /// A key of any length; the bootstrap draws 32 bytes.
    pub fn new(key: &[u8]) -> HandleKey {
        HandleKey { keyed: Hmac::new_from_slice(key).expect("HMAC takes a key of any length") }
    }

    /// The text that a client gets.
    pub fn seal(&self, delivery: &Delivery) -> String {
        let mut bytes = [0; BODY_BYTES + MAC_BYTES];
        bytes[..BODY_BYTES].copy_from_slice(&encode(delivery));
        let mac = self.mac(&bytes[..BODY_BYTES]);
        bytes[BODY_BYTES..].copy_from_slice(&mac);
        let mut text = vec![0; 2 * bytes.len()];
        hex::encode_to_slice(bytes, &mut text).expect("two digits a byte");
        String::from_utf8(text).expect("digits are ASCII")
    }

    /// What the text says; nothing if this cluster did not make it.
    pub fn open(&self, text: &str) -> Option<Delivery> {
        let mut bytes = [0; BODY_BYTES + MAC_BYTES];
        hex::decode_to_slice(text, &mut bytes).ok()?;
        let (body, mac) = bytes.split_at(BODY_BYTES);
        let mut keyed = self.keyed.clone();
        keyed.update(body);
        keyed.verify_truncated_left(mac).ok()?;
        decode(body.try_into().expect("split at its length"))
    }

    fn mac(&self, body: &[u8]) -> [u8; MAC_BYTES] {
        let mut keyed = self.keyed.clone();
        keyed.update(body);
        let full = keyed.finalize().into_bytes();
        full[..MAC_BYTES].try_into().expect("SHA-256 is longer")
    }
}

impl std::fmt::Debug for HandleKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("HandleKey(secret)")
    }
}

fn encode(delivery: &Delivery) -> [u8; BODY_BYTES] {
    let mut bytes = [0; BODY_BYTES];
    bytes[0] = VERSION;
    bytes[1..5].copy_from_slice(&delivery.group.0.to_be_bytes());
    bytes[5..13].copy_from_slice(&delivery.topic.0.to_be_bytes());
    bytes[13..21].copy_from_slice(&delivery.consumer_group.0.to_be_bytes());
    bytes[21..25].copy_from_slice(&delivery.entry.queue.0.to_be_bytes());
    bytes[25..33].copy_from_slice(&delivery.entry.offset.0.to_be_bytes());
    bytes[33..41].copy_from_slice(&delivery.position.index.0.to_be_bytes());
    bytes[41..45].copy_from_slice(&delivery.position.offset.to_be_bytes());
    bytes[45..49].copy_from_slice(&delivery.position.length.to_be_bytes());
    bytes[49..57].copy_from_slice(&delivery.entry.nonce.to_be_bytes());
    bytes[57..65].copy_from_slice(&delivery.entry.deadline.0.to_be_bytes());
    bytes
}

fn decode(bytes: &[u8; BODY_BYTES]) -> Option<Delivery> {
    if bytes[0] != VERSION {
        return None;
    }
    let four = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
    let eight = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    Some(Delivery {
        group: GroupId(four(1)),
        topic: TopicId(eight(5)),
        consumer_group: ConsumerGroupId(eight(13)),
        position: Position { index: LogIndex(eight(33)), offset: four(41), length: four(45) },
        entry: AckEntry {
            queue: QueueId(four(21)),
            offset: QueueOffset(eight(25)),
            nonce: eight(49),
            deadline: UnixMillis(eight(57)),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivery() -> Delivery {
        Delivery {
            group: GroupId(1),
            topic: TopicId(1 << 40),
            consumer_group: ConsumerGroupId(1 << 50),
            position: Position { index: LogIndex(4), offset: 5, length: 6 },
            entry: AckEntry { queue: QueueId(7), offset: QueueOffset(8), nonce: u64::MAX, deadline: UnixMillis(9) },
        }
    }

    #[test]
    fn a_handle_opens_to_what_it_was_made_of() {
        let key = HandleKey::new(b"key");
        assert_eq!(key.open(&key.seal(&delivery())), Some(delivery()));
    }

    #[test]
    fn no_changed_character_opens() {
        let key = HandleKey::new(b"key");
        let text = key.seal(&delivery());
        for at in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[at] = if bytes[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(key.open(&changed), None, "character {at}");
        }
    }

    #[test]
    fn another_clusters_handle_and_junk_do_not_open() {
        let key = HandleKey::new(b"key");
        assert_eq!(key.open(&HandleKey::new(b"other").seal(&delivery())), None);
        for junk in ["", "junk", &"0".repeat(162), &"é".repeat(81), &"0".repeat(1_000_000)] {
            assert_eq!(key.open(junk), None);
        }
    }

    #[test]
    fn a_newer_version_is_refused_even_with_a_good_checksum() {
        let key = HandleKey::new(b"key");
        let mut bytes = encode(&delivery()).to_vec();
        bytes[0] = VERSION + 1;
        let mac = key.mac(&bytes);
        bytes.extend_from_slice(&mac);
        assert_eq!(key.open(&hex::encode(bytes)), None);
    }
}
