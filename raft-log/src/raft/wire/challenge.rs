//! The proofs that come before the introductions: both ends show that they hold the cluster's secret (hazards 7).
//!
//! ```text
//!   caller                                             callee
//!   knock      magic 8 │ version u16 │ nonce 32   ►
//!                                                 ◄    challenge  magic 8 │ version u16 │ other version u8 │ has key u8
//!                                                                 │ nonce 32 │ proof 32
//!   hello      see handshake │ proof 32           ►
//!                                                 ◄    welcome    see handshake │ proof 32
//! ```
//! A proof is an HMAC-SHA256 under the secret of a label for its place and of everything that was said before and with it.
//! Both nonces are fresh, so nothing can be said again in another conversation, and the labels differ, so nothing can be
//! said back. Whoever does not prove himself hears a nonce and a proof, and nothing else. What follows the handshake is
//! neither signed nor encrypted: against those who can change packets on the way, the network between the nodes must be
//! private.

use bytes::{Buf, BufMut, BytesMut};

use crate::raft::wire::WireError;
use crate::raft::wire::handshake::{MAGIC, PROTOCOL_VERSION};
use crate::secret::{Key, SECRET_BYTES};

/// Size of a knock.
pub(crate) const KNOCK_BYTES: usize = 10 + SECRET_BYTES;
/// Size of a challenge.
pub(crate) const CHALLENGE_BYTES: usize = 12 + 2 * SECRET_BYTES;
/// Size of a proof.
pub(crate) const PROOF_BYTES: usize = SECRET_BYTES;

const CALLEE: &[u8] = b"tercet peer: challenge";
/// What the proof of a hello is for.
pub(crate) const CALLER: &[u8] = b"tercet peer: hello";
/// What the proof of a welcome is for.
pub(crate) const WELCOME: &[u8] = b"tercet peer: welcome";

/// The first words of a caller.
pub(crate) fn encode_knock(nonce: &[u8; SECRET_BYTES]) -> [u8; KNOCK_BYTES] {
    let mut bytes = [0; KNOCK_BYTES];
    let mut out = &mut bytes[..];
    out.put_slice(&MAGIC);
    out.put_u16_le(PROTOCOL_VERSION);
    out.put_slice(nonce);
    bytes
}

/// Whether these are the first words of a caller of this version.
///
/// # Errors
/// When they are not of this protocol at all.
pub(crate) fn check_knock(bytes: &[u8; KNOCK_BYTES]) -> Result<bool, WireError> {
    Ok(take_version(&mut &bytes[..])? == PROTOCOL_VERSION)
}

/// The answer to a caller of another version. Not proven: it counts for nothing but the failure of this call.
pub(crate) fn encode_other_version() -> [u8; CHALLENGE_BYTES] {
    let mut bytes = [0; CHALLENGE_BYTES];
    put_head(&mut &mut bytes[..], true, false, &[0; SECRET_BYTES]);
    bytes
}

/// The answer of one who proves himself and wants a proof.
pub(crate) fn encode_challenge(
    key: &Key,
    nonce: &[u8; SECRET_BYTES],
    knock: &[u8; KNOCK_BYTES],
) -> [u8; CHALLENGE_BYTES] {
    let mut bytes = [0; CHALLENGE_BYTES];
    put_head(&mut &mut bytes[..], false, key.is_shared(), nonce);
    let (head, place) = bytes.split_at_mut(CHALLENGE_BYTES - PROOF_BYTES);
    place.copy_from_slice(&key.proof(CALLEE, &[knock, head]));
    bytes
}

fn put_head(out: &mut impl BufMut, other_version: bool, has_key: bool, nonce: &[u8; SECRET_BYTES]) {
    out.put_slice(&MAGIC);
    out.put_u16_le(PROTOCOL_VERSION);
    out.put_u8(u8::from(other_version));
    out.put_u8(u8::from(has_key));
    out.put_slice(nonce);
}

/// What a challenge says before its proof is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Challenge {
    /// The two builds speak different versions.
    OtherVersion,
    /// Prove yourself; and whether the callee itself holds a secret.
    Asked { has_key: bool },
}

/// # Errors
/// When it is no challenge.
pub(crate) fn decode_challenge(bytes: &[u8; CHALLENGE_BYTES]) -> Result<Challenge, WireError> {
    let mut input = &bytes[..];
    let version = take_version(&mut input)?;
    match (input.try_get_u8()?, input.try_get_u8()?) {
        (1, _) => Ok(Challenge::OtherVersion),
        _ if version != PROTOCOL_VERSION => Ok(Challenge::OtherVersion),
        (0, has_key @ (0 | 1)) => Ok(Challenge::Asked { has_key: has_key == 1 }),
        (code, _) => Err(WireError(format!("unknown challenge {code}"))),
    }
}

/// Whether the callee has proved that it holds this key.
pub(crate) fn is_proven(key: &Key, knock: &[u8; KNOCK_BYTES], challenge: &[u8; CHALLENGE_BYTES]) -> bool {
    let (head, proof) = challenge.split_at(CHALLENGE_BYTES - PROOF_BYTES);
    key.proves(CALLEE, &[knock, head], proof)
}

/// `words` and behind them the proof over everything said so far.
pub(crate) fn with_proof(key: &Key, label: &[u8], said: &[&[u8]], mut words: BytesMut) -> BytesMut {
    let proof = key.proof(label, &[said, &[&words[..]]].concat());
    words.put_slice(&proof);
    words
}

/// The words in front of a proof, if it holds.
pub(crate) fn proven<'a>(key: &Key, label: &[u8], said: &[&[u8]], bytes: &'a [u8]) -> Option<&'a [u8]> {
    let (words, proof) = bytes.split_at_checked(bytes.len().checked_sub(PROOF_BYTES)?)?;
    key.proves(label, &[said, &[words]].concat(), proof).then_some(words)
}

fn take_version(input: &mut &[u8]) -> Result<u16, WireError> {
    let rest = input.strip_prefix(&MAGIC).ok_or_else(|| WireError("this is no peer of this program".to_owned()))?;
    *input = rest;
    Ok(input.try_get_u16_le()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::PeerSecret;

    const NONCE: [u8; SECRET_BYTES] = [3; SECRET_BYTES];

    fn key(byte: u8) -> Key {
        Key::Shared(PeerSecret::from_bytes([byte; SECRET_BYTES]))
    }

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    // hazards 30: what another build of this version must say, byte for byte.
    #[test]
    fn the_first_words_are_these_bytes() {
        let knock = encode_knock(&NONCE);
        assert_eq!(hex(&knock), format!("5452435450454552{}{}", "0300", "03".repeat(32)));
        let challenge = encode_challenge(&key(7), &[4; SECRET_BYTES], &knock);
        assert_eq!(hex(&challenge[..44]), format!("5452435450454552{}{}", "03000001", "04".repeat(32)));
        assert_eq!(hex(&challenge[44..]), GOLDEN_PROOF);
        assert_eq!(decode_challenge(&challenge).unwrap(), Challenge::Asked { has_key: true });
        assert_eq!(decode_challenge(&encode_other_version()).unwrap(), Challenge::OtherVersion);
    }

    /// By `hmac.new(bytes([7]) * 32, b"tercet peer: challenge" + knock + head, "sha256")` in Python.
    const GOLDEN_PROOF: &str = "6eec4d8bbeec5304c52233b918cf0884689bf9bea3280124144eaf8addda1f94";

    #[test]
    fn a_wrong_key_a_replay_and_a_reflection_prove_nothing() {
        let knock = encode_knock(&NONCE);
        let challenge = encode_challenge(&key(7), &[4; SECRET_BYTES], &knock);
        assert!(is_proven(&key(7), &knock, &challenge));
        assert!(!is_proven(&key(8), &knock, &challenge), "another secret");
        assert!(!is_proven(&key(7), &encode_knock(&[9; SECRET_BYTES]), &challenge), "said to another caller");

        let said: [&[u8]; 2] = [&knock, &challenge];
        let hello = with_proof(&key(7), CALLER, &said, BytesMut::from(&b"hello"[..]));
        assert_eq!(proven(&key(7), CALLER, &said, &hello), Some(&b"hello"[..]));
        assert_eq!(proven(&key(8), CALLER, &said, &hello), None, "another secret");
        assert_eq!(proven(&key(7), WELCOME, &said, &hello), None, "said back");
        let other = encode_challenge(&key(7), &[5; SECRET_BYTES], &knock);
        assert_eq!(proven(&key(7), CALLER, &[&knock, &other], &hello), None, "said again to another challenge");
        let mut changed = hello.clone();
        changed[1] ^= 1;
        assert_eq!(proven(&key(7), CALLER, &said, &changed), None);
        assert_eq!(proven(&key(7), CALLER, &said, &hello[..20]), None);
    }

    #[test]
    fn strangers_and_other_versions_are_told_apart() {
        let mut knock = encode_knock(&NONCE);
        assert!(check_knock(&knock).unwrap());
        knock[8] = 9;
        assert!(!check_knock(&knock).unwrap());
        knock[0] = b'G';
        assert!(check_knock(&knock).is_err());
    }
}
