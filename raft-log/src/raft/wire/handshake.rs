//! The first words of a connection: who calls, whom it expects, and what for (hazards 7).
//!
//! openraft's requests name no target, so a node behind a swapped address would vote twice, and one whose folder was
//! wiped would forget its votes. Both are caught here, before the first request.
//! ```text
//!   hello    purpose u8 │ has cluster u8 │ cluster u128 │ group u32
//!            │ from: node u64, incarnation u128 │ to: node u64, incarnation u128 (0 in bootstrap) │ past 275
//!   welcome  refusal u8 (0: none) │ has cluster u8 │ cluster u128 │ group u32 │ node u64, incarnation u128 │ past 275
//!   past     flags u8 (1 may forget, 2 older copy, 4 accuses, 8 log open) │ entries before this index at opening u64
//!            │ number of the opening u64 │ count u16 │ nonces u64, the oldest first; zeroes up to 32 of them
//! ```
//! Both are said with a proof, after a [`challenge`](super::challenge). A refusal says nothing else.

use std::fmt;

use bytes::{Buf, BufMut, BytesMut};

use crate::openings::{Lineage, NONCES_MAX};
use crate::raft::sightings::Past;
use crate::raft::wire::WireError;
use crate::raft::wire::values::take_flag;
use crate::types::{ClusterId, GroupId, Incarnation, NodeId};

pub(super) const MAGIC: [u8; 8] = *b"TRCTPEER";
/// The version of everything in [`wire`](super).
pub(crate) const PROTOCOL_VERSION: u16 = 3;
/// Size of a hello.
pub(crate) const HELLO_BYTES: usize = 70 + PAST_BYTES;
/// Size of a welcome.
pub(crate) const WELCOME_BYTES: usize = 46 + PAST_BYTES;
/// Size of what a node states of its folder's past.
const PAST_BYTES: usize = 1 + 8 + 8 + 2 + 8 * NONCES_MAX;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Purpose {
    /// A pipeline of AppendEntries requests.
    Append,
    /// A leader's heartbeats, which entries never delay.
    Heartbeat,
    /// Votes and leadership transfer, one at a time.
    Call,
    /// Questions to and claims of empty nodes; the only purpose that needs no common cluster.
    Bootstrap,
    /// A checkpoint for a follower that is behind the log.
    Checkpoint,
    /// Questions for ranges of the log, by a node whose own is damaged; answered without a leader too.
    Repair,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Party {
    pub(crate) node: NodeId,
    pub(crate) incarnation: Incarnation,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node {} (incarnation {})", self.node, self.incarnation)
    }
}

/// The caller's introduction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hello {
    pub(crate) purpose: Purpose,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) group: GroupId,
    pub(crate) from: Party,
    /// Who is expected; the incarnation counts only outside bootstrap.
    pub(crate) to: Party,
    pub(crate) past: Past,
}

/// Why a connection was refused. Both ends log it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The one called belongs to another group.
    Group,
    /// Another node than the expected one answered: swapped or stale addresses.
    Node,
    /// The one called belongs to another cluster.
    Cluster,
    /// The one called belongs to no cluster yet: a folder that is new, or was wiped.
    NoCluster,
    /// The one called has another data folder than the membership says: wiped or swapped (hazards 2).
    Incarnation,
    /// The caller has another data folder than the membership says (hazards 2).
    CallerIncarnation,
    /// The data folder of the one called is an older copy of itself (hazards 34). Said by the caller to itself.
    OlderCopy,
    /// The caller's data folder is an older copy of itself (hazards 34).
    CallerOlderCopy,
    /// The caller is an earlier run of its node than the one that was seen meanwhile. Nobody hears that.
    CallerEnded,
    /// Too many connections.
    Busy,
    /// The one called repairs its own log, and only serves ranges of it to others who do.
    Repairing,
}

const REFUSALS: [Refusal; 11] = [
    Refusal::Group,
    Refusal::Node,
    Refusal::Cluster,
    Refusal::NoCluster,
    Refusal::Incarnation,
    Refusal::CallerIncarnation,
    Refusal::OlderCopy,
    Refusal::CallerOlderCopy,
    Refusal::CallerEnded,
    Refusal::Busy,
    Refusal::Repairing,
];

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Refusal::Group => "another group",
            Refusal::Node => "another node answers at this address",
            Refusal::Cluster => "another cluster",
            Refusal::NoCluster => "the node belongs to no cluster: its folder is new or was wiped",
            Refusal::Incarnation => "the node's folder is not the one in the membership: wiped or swapped",
            Refusal::CallerIncarnation => "the caller's folder is not the one in the membership: wiped or swapped",
            Refusal::OlderCopy => "the node's folder is an older copy of itself: it has forgotten votes or entries",
            Refusal::CallerOlderCopy => {
                "the caller's folder is an older copy of itself: it has forgotten votes or entries"
            }
            Refusal::CallerEnded => "the caller is an earlier run of its node, which has ended",
            Refusal::Busy => "too many connections",
            Refusal::Repairing => "the node repairs its log and takes no part in the group yet",
        })
    }
}

/// The answer to a hello.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    pub(crate) refusal: Option<Refusal>,
    pub(crate) cluster: Option<ClusterId>,
    pub(crate) group: GroupId,
    pub(crate) party: Party,
    pub(crate) past: Past,
}

impl Hello {
    pub(crate) fn encode(&self) -> BytesMut {
        let purpose = match self.purpose {
            Purpose::Append => 1,
            Purpose::Call => 2,
            Purpose::Bootstrap => 3,
            Purpose::Checkpoint => 4,
            Purpose::Repair => 5,
            Purpose::Heartbeat => 6,
        };
        let mut out = head(purpose, self.cluster, self.group);
        put_party(&mut out, self.from);
        put_party(&mut out, self.to);
        put_past(&mut out, &self.past);
        assert_eq!(out.len(), HELLO_BYTES, "the hello's size is fixed");
        out
    }

    pub(crate) fn decode(bytes: &[u8; HELLO_BYTES]) -> Result<Hello, WireError> {
        let (purpose, cluster, group, mut rest) = take_head(bytes)?;
        let purpose = match purpose {
            1 => Purpose::Append,
            2 => Purpose::Call,
            3 => Purpose::Bootstrap,
            4 => Purpose::Checkpoint,
            5 => Purpose::Repair,
            6 => Purpose::Heartbeat,
            other => return Err(WireError(format!("unknown purpose {other}"))),
        };
        let (from, to) = (take_party(&mut rest)?, take_party(&mut rest)?);
        Ok(Hello { purpose, cluster, group, from, to, past: take_past(&mut rest)? })
    }
}

impl Welcome {
    pub(crate) fn encode(&self) -> BytesMut {
        let place = |refusal: Refusal| REFUSALS.iter().position(|other| *other == refusal);
        let code = self.refusal.map_or(0, |refusal| 1 + place(refusal).expect("the list holds every refusal"));
        let mut out = head(u8::try_from(code).expect("few refusals"), self.cluster, self.group);
        put_party(&mut out, self.party);
        put_past(&mut out, &self.past);
        assert_eq!(out.len(), WELCOME_BYTES, "the welcome's size is fixed");
        out
    }

    pub(crate) fn decode(bytes: &[u8; WELCOME_BYTES]) -> Result<Welcome, WireError> {
        let (code, cluster, group, mut rest) = take_head(bytes)?;
        let unknown = || WireError(format!("unknown refusal {code}"));
        let refusal = match usize::from(code).checked_sub(1) {
            None => None,
            Some(place) => Some(*REFUSALS.get(place).ok_or_else(unknown)?),
        };
        Ok(Welcome { refusal, cluster, group, party: take_party(&mut rest)?, past: take_past(&mut rest)? })
    }
}

fn head(code: u8, cluster: Option<ClusterId>, group: GroupId) -> BytesMut {
    let mut out = BytesMut::with_capacity(HELLO_BYTES);
    out.put_u8(code);
    out.put_u8(u8::from(cluster.is_some()));
    out.put_u128_le(cluster.map_or(0, |cluster| cluster.0));
    out.put_u32_le(group.0);
    out
}

type Head<'a> = (u8, Option<ClusterId>, GroupId, &'a [u8]);

fn take_head(bytes: &[u8]) -> Result<Head<'_>, WireError> {
    let mut rest = bytes;
    let code = rest.try_get_u8()?;
    let claimed = take_flag(&mut rest)?;
    let cluster = ClusterId(rest.try_get_u128_le()?);
    let group = GroupId(rest.try_get_u32_le()?);
    Ok((code, claimed.then_some(cluster), group, rest))
}

fn put_party(out: &mut BytesMut, party: Party) {
    out.put_u64_le(party.node.0);
    out.put_u128_le(party.incarnation.0);
}

fn take_party(input: &mut &[u8]) -> Result<Party, WireError> {
    Ok(Party { node: NodeId(input.try_get_u64_le()?), incarnation: Incarnation(input.try_get_u128_le()?) })
}

const MAY_FORGET: u8 = 1;
const OLDER_COPY: u8 = 2;
const ACCUSES: u8 = 4;
const LOG_OPEN: u8 = 8;

fn put_past(out: &mut BytesMut, past: &Past) {
    let end = out.len() + PAST_BYTES;
    let flag = |flag: u8, is_set: bool| if is_set { flag } else { 0 };
    out.put_u8(
        flag(MAY_FORGET, past.may_forget)
            | flag(OLDER_COPY, past.older_copy)
            | flag(ACCUSES, past.accuses)
            | flag(LOG_OPEN, past.opened_end.is_some()),
    );
    out.put_u64_le(past.opened_end.unwrap_or(0));
    past.lineage.encode_into(out);
    out.put_bytes(0, end - out.len());
}

fn take_past(input: &mut &[u8]) -> Result<Past, WireError> {
    let (mut past, rest) = input.split_at_checked(PAST_BYTES).ok_or_else(|| WireError("a past is cut".to_owned()))?;
    *input = rest;
    let flags = past.try_get_u8()?;
    let opened_end = past.try_get_u64_le()?;
    Ok(Past {
        lineage: Lineage::decode_from(&mut past)?,
        opened_end: (flags & LOG_OPEN != 0).then_some(opened_end),
        may_forget: flags & MAY_FORGET != 0,
        older_copy: flags & OLDER_COPY != 0,
        accuses: flags & ACCUSES != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn party(node: u64) -> Party {
        Party { node: NodeId(node), incarnation: Incarnation(u128::from(node) << 64) }
    }

    fn hello() -> Hello {
        let cluster = Some(ClusterId(u128::MAX - 1));
        Hello { purpose: Purpose::Call, cluster, group: GroupId(3), from: party(1), to: party(2), past: past(3) }
    }

    fn past(openings: u64) -> Past {
        let lineage = (0..openings).fold(Lineage::default(), Lineage::with);
        Past { lineage, opened_end: Some(7), may_forget: true, older_copy: false, accuses: true }
    }

    #[test]
    fn a_hello_and_every_welcome_survive_the_wire() {
        let bytes: [u8; HELLO_BYTES] = hello().encode()[..].try_into().unwrap();
        assert_eq!(Hello::decode(&bytes).unwrap(), hello());
        for refusal in REFUSALS.map(Some).into_iter().chain([None]) {
            let past = past(2 * NONCES_MAX as u64);
            let welcome = Welcome { refusal, cluster: None, group: GroupId(3), party: party(2), past };
            let bytes: [u8; WELCOME_BYTES] = welcome.encode()[..].try_into().unwrap();
            assert_eq!(Welcome::decode(&bytes).unwrap(), welcome);
        }
    }

    #[test]
    fn unknown_codes_are_refused() {
        let mut bytes: [u8; HELLO_BYTES] = hello().encode()[..].try_into().unwrap();
        for code in [0, 7, 0xff] {
            bytes[0] = code;
            assert!(Hello::decode(&bytes).is_err(), "{code}");
        }
        assert!(Welcome::decode(&[0xff; WELCOME_BYTES]).is_err());
    }
}
