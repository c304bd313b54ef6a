//! Who belongs to a group: voters, learners, their addresses and incarnations.
//!
//! A membership is the payload of a membership entry. Each member carries the incarnation of its data folder, so that
//! a wiped folder under a known id is told from the member that voted (hazards 2), and its advertised addresses, which
//! may change by a later membership entry (hazards 28).
//!
//! The encoding, little-endian:
//! ```text
//!   version u8 = 2
//!   configs u16, each: voters u16, each: node id u64
//!   nodes   u16, each: node id u64, incarnation u128, peer, client, http: length u16 and UTF-8,
//!                      retired u16, each: node id u64
//! ```

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::types::{Incarnation, NodeId};

/// Where a node can be reached from other machines, each as `host:port`; names are resolved at each connect.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeAddresses {
    /// Traffic between replicas.
    pub peer: String,
    /// What clients connect to.
    pub client: String,
    /// Metrics and health.
    pub http: String,
}

/// A member of the group.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MemberNode {
    /// Its advertised addresses.
    pub addresses: NodeAddresses,
    /// The incarnation of its data folder (hazards 2).
    pub incarnation: Incarnation,
    /// Ids of former members, kept by the member that led when they left: an id is never used again. They are those of
    /// all members together.
    pub retired: BTreeSet<NodeId>,
}

/// The members of a group as one membership entry states them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    /// One set of voters, or two while a change is under way (joint consensus).
    pub configs: Vec<BTreeSet<NodeId>>,
    /// All members, voters and learners.
    pub nodes: BTreeMap<NodeId, MemberNode>,
}

const ENCODING_VERSION: u8 = 2;

/// Bytes that are no membership of a version that this build knows.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad membership entry: {0}")]
pub struct MembershipDecodeError(String);

impl Membership {
    /// All voters, of both sets while a change is under way.
    pub fn voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.nodes.keys().copied().filter(|id| self.is_voter(*id))
    }

    /// Whether this node votes.
    #[must_use]
    pub fn is_voter(&self, id: NodeId) -> bool {
        self.configs.iter().any(|config| config.contains(&id))
    }

    /// The bytes of a membership entry: equal memberships have equal bytes.
    ///
    /// # Panics
    /// When an address is longer than 65,535 bytes or the group has more than 65,535 members.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::with_capacity(256);
        out.put_u8(ENCODING_VERSION);
        put_count(&mut out, self.configs.len());
        for config in &self.configs {
            put_count(&mut out, config.len());
            for voter in config {
                out.put_u64_le(voter.0);
            }
        }
        put_count(&mut out, self.nodes.len());
        for (id, node) in &self.nodes {
            out.put_u64_le(id.0);
            out.put_u128_le(node.incarnation.0);
            node.addresses.encode_into(&mut out);
            put_count(&mut out, node.retired.len());
            for former in &node.retired {
                out.put_u64_le(former.0);
            }
        }
        out.freeze()
    }

    /// The membership in these bytes.
    ///
    /// # Errors
    /// When the bytes are cut, of a newer version, or state a voter that is no member.
    pub fn decode(bytes: &[u8]) -> Result<Membership, MembershipDecodeError> {
        let mut input = bytes;
        let membership = decode_fields(&mut input).map_err(|cut| MembershipDecodeError(cut.to_string()))?;
        if !input.is_empty() {
            return Err(MembershipDecodeError(format!("{} bytes too many", input.len())));
        }
        let known = |voter: &NodeId| membership.nodes.contains_key(voter);
        match membership.configs.iter().flatten().find(|voter| !known(voter)) {
            Some(voter) => Err(MembershipDecodeError(format!("voter {voter} is no member"))),
            None => Ok(membership),
        }
    }
}

fn decode_fields(input: &mut &[u8]) -> Result<Membership, Box<dyn std::error::Error>> {
    let version = input.try_get_u8()?;
    if version != ENCODING_VERSION {
        return Err(format!("version {version}, this build knows {ENCODING_VERSION}").into());
    }
    let mut membership = Membership::default();
    for _ in 0..input.try_get_u16_le()? {
        let mut config = BTreeSet::new();
        for _ in 0..input.try_get_u16_le()? {
            config.insert(NodeId(input.try_get_u64_le()?));
        }
        membership.configs.push(config);
    }
    for _ in 0..input.try_get_u16_le()? {
        let id = NodeId(input.try_get_u64_le()?);
        let incarnation = Incarnation(input.try_get_u128_le()?);
        let addresses = NodeAddresses::decode_from(input)?;
        let mut retired = BTreeSet::new();
        for _ in 0..input.try_get_u16_le()? {
            retired.insert(NodeId(input.try_get_u64_le()?));
        }
        membership.nodes.insert(id, MemberNode { addresses, incarnation, retired });
    }
    Ok(membership)
}

impl NodeAddresses {
    /// Appends the three addresses, each as length (u16) and text.
    pub(crate) fn encode_into(&self, out: &mut BytesMut) {
        for text in [&self.peer, &self.client, &self.http] {
            put_count(out, text.len());
            out.put_slice(text.as_bytes());
        }
    }

    /// Takes the three addresses off the front of `input`.
    pub(crate) fn decode_from(input: &mut &[u8]) -> Result<NodeAddresses, Box<dyn std::error::Error>> {
        let mut text = || -> Result<String, Box<dyn std::error::Error>> {
            let length = usize::from(input.try_get_u16_le()?);
            let (text, rest) = input.split_at_checked(length).ok_or("an address is cut")?;
            *input = rest;
            Ok(std::str::from_utf8(text)?.to_owned())
        };
        Ok(NodeAddresses { peer: text()?, client: text()?, http: text()? })
    }
}

fn put_count(out: &mut BytesMut, count: usize) {
    out.put_u16_le(u16::try_from(count).expect("members, present and former, and address bytes are fewer than 65,536"));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(incarnation: u128) -> MemberNode {
        let addresses =
            NodeAddresses { peer: "a:1".to_owned(), client: "ä.example:2".to_owned(), http: String::new() };
        let retired = BTreeSet::from([NodeId(7), NodeId(9)]);
        MemberNode { addresses, incarnation: Incarnation(incarnation), retired }
    }

    fn joint() -> Membership {
        Membership {
            configs: vec![BTreeSet::from([NodeId(1), NodeId(2)]), BTreeSet::from([NodeId(2), NodeId(3)])],
            nodes: (1..=4).map(|id| (NodeId(id), node(u128::from(id) << 100))).collect(),
        }
    }

    #[test]
    fn a_membership_survives_its_encoding() {
        let membership = joint();
        assert_eq!(Membership::decode(&membership.encode()), Ok(membership.clone()));
        assert_eq!(membership.voters().collect::<Vec<_>>(), [NodeId(1), NodeId(2), NodeId(3)]);
    }

    #[test]
    fn cut_extended_or_newer_bytes_are_refused() {
        let bytes = joint().encode();
        for cut in 0..bytes.len() {
            assert!(Membership::decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        assert!(Membership::decode(&[&bytes[..], &[0]].concat()).is_err());
        assert!(Membership::decode(&[&[ENCODING_VERSION + 1], &bytes[1..]].concat()).is_err());
    }

    #[test]
    fn a_voter_must_be_a_member() {
        let mut membership = joint();
        membership.nodes.remove(&NodeId(3));
        assert!(Membership::decode(&membership.encode()).is_err());
    }
}
