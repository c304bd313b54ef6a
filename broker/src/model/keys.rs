//! Keys made of texts that clients choose, as numbers of fixed size, equal on every node and in every version.

/// A producer's identity, drawn by the client (hazards 16).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub u128);

macro_rules! key {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// The key of "none".
            pub const NONE: $name = $name(0);

            /// The key of a text; of the empty text, [`Self::NONE`].
            #[must_use]
            pub fn of(text: &str) -> $name {
                if text.is_empty() { $name::NONE } else { $name(stable_hash(text.as_bytes()).max(1)) }
            }

            /// Whether there is none.
            #[must_use]
            pub fn is_none(self) -> bool {
                self.0 == 0
            }
        }
    };
}

key! {
    /// The message group, the key of FIFO order. Two groups of one key only wait for each other: harmless and rare.
    MessageGroupKey
}
key! {
    /// A client whose deliveries are renewed by the server.
    ClientKey
}
key! {
    /// A tag. A filter goes by it alone, so no tag has to be remembered for as long as messages have it. Of two tags of
    /// one key, who asks for one gets the other as well: nothing is missed, and with 64 bits it is not met.
    TagKey
}
key! {
    /// One attempt to receive, by which a repeated receive is known.
    AttemptKey
}

/// FNV-1a over the bytes, then the finaliser of MurmurHash3, so that short texts spread over all 64 bits.
fn stable_hash(bytes: &[u8]) -> u64 {
    let fnv = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let mixed = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let mixed = (mixed ^ (mixed >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_never_change_between_versions() {
        assert_eq!(MessageGroupKey::of("order-1"), MessageGroupKey(0x491b_422e_3af0_d9a5));
        assert_eq!(MessageGroupKey::of(""), MessageGroupKey::NONE);
    }

    #[test]
    fn short_texts_spread() {
        let mut buckets = [0u32; 16];
        for i in 0..1600 {
            buckets[(MessageGroupKey::of(&i.to_string()).0 % 16) as usize] += 1;
        }
        assert!(buckets.iter().all(|count| (60..140).contains(count)), "{buckets:?}");
    }
}
