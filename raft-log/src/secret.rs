//! The secret that the nodes of a cluster share, by which they know each other (hazards 7).
//!
//! It comes from a file that the operator gives to every node, or is made at bootstrap and handed to the other nodes with
//! their claim; then it lies in the folder's `identity`.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::env::Rng;

/// Bytes of a secret, of a nonce and of a proof.
pub(crate) const SECRET_BYTES: usize = 32;

/// A secret of 256 random bits. It prints nothing of itself.
#[derive(Clone, PartialEq, Eq)]
pub struct PeerSecret([u8; SECRET_BYTES]);

/// A text that is no secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a peer secret is a line of {} hexadecimal digits; `tercetd secret new` makes one", 2 * SECRET_BYTES)]
pub struct SecretParseError;

impl PeerSecret {
    /// A new one.
    #[must_use]
    pub fn generate(rng: &dyn Rng) -> PeerSecret {
        PeerSecret(random_bytes(rng))
    }

    /// The secret in this text: 64 hexadecimal digits, white space around them.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str) -> Result<PeerSecret, SecretParseError> {
        let digits = text.trim().as_bytes();
        if digits.len() != 2 * SECRET_BYTES || !digits.iter().all(u8::is_ascii_hexdigit) {
            return Err(SecretParseError);
        }
        let mut bytes = [0; SECRET_BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let pair = str::from_utf8(pair).map_err(|_| SecretParseError)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| SecretParseError)?;
        }
        Ok(PeerSecret(bytes))
    }

    /// The text that [`parse`](Self::parse) reads; for the file and nothing else.
    #[must_use]
    pub fn to_text(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: [u8; SECRET_BYTES]) -> PeerSecret {
        PeerSecret(bytes)
    }
}

impl fmt::Debug for PeerSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PeerSecret(..)")
    }
}

/// Random bytes, for secrets and nonces.
pub(crate) fn random_bytes(rng: &dyn Rng) -> [u8; SECRET_BYTES] {
    let mut bytes = [0; SECRET_BYTES];
    for part in bytes.chunks_exact_mut(16) {
        part.copy_from_slice(&rng.next_u128().to_le_bytes());
    }
    bytes
}

/// What proofs are made and checked with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Key {
    /// The cluster's secret.
    Shared(PeerSecret),
    /// A node that has none yet proves nothing, and is told nothing but a claim.
    Open,
}

impl Key {
    pub(crate) fn is_shared(&self) -> bool {
        matches!(self, Key::Shared(_))
    }

    /// The proof of holding this key, for one use (`label`) and what was said so far.
    pub(crate) fn proof(&self, label: &[u8], said: &[&[u8]]) -> [u8; SECRET_BYTES] {
        self.mac(label, said).finalize().into_bytes().into()
    }

    /// Whether `proof` is that of [`Self::proof`]; takes the same time for any wrong one.
    pub(crate) fn proves(&self, label: &[u8], said: &[&[u8]], proof: &[u8]) -> bool {
        self.mac(label, said).verify_slice(proof).is_ok()
    }

    fn mac(&self, label: &[u8], said: &[&[u8]]) -> Hmac<Sha256> {
        let key: &[u8] = match self {
            Key::Shared(secret) => secret.bytes(),
            Key::Open => &[],
        };
        let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(label);
        said.iter().for_each(|part| mac.update(part));
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::sim::SeededRng;

    #[test]
    fn a_secret_survives_its_text_and_prints_nothing() {
        let secret = PeerSecret::generate(&SeededRng::new(1));
        assert_eq!(PeerSecret::parse(&format!(" {}\n", secret.to_text())), Ok(secret.clone()));
        assert_ne!(secret, PeerSecret::generate(&SeededRng::new(2)));
        assert_eq!(format!("{secret:?}"), "PeerSecret(..)");
        for bad in ["", "12", &"g".repeat(64), &"a".repeat(63), &"ä".repeat(32)] {
            assert_eq!(PeerSecret::parse(bad), Err(SecretParseError), "{bad}");
        }
    }

    #[test]
    fn a_proof_holds_for_its_key_label_and_words_alone() {
        let key = Key::Shared(PeerSecret::from_bytes([7; SECRET_BYTES]));
        let proof = key.proof(b"one", &[b"said"]);
        assert!(key.proves(b"one", &[b"said"], &proof));
        assert!(!key.proves(b"two", &[b"said"], &proof));
        assert!(!key.proves(b"one", &[b"sais"], &proof));
        assert!(!key.proves(b"one", &[b"said"], &proof[1..]));
        assert!(!Key::Open.proves(b"one", &[b"said"], &proof));
    }
}
