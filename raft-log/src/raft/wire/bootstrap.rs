//! Questions to an empty node, and the claim that reserves it for a cluster (hazards 27).
//!
//! ```text
//!   request  kind u8 │ claim: cluster u128, has secret u8, secret 32, membership │ reach: node u64, addresses │ CRC32C
//!   answer   kind u8 │ state: empty u8, has claim u8, cluster u128, addresses, claimed membership
//!                    │ claimed: outcome u8, cluster u128 │ reached: outcome u8, incarnation u128, reason │ CRC32C
//!   reached  0 the node, 1 one with a secret, 2 nobody at its peer, 3 client, 4 http address
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::identity::Claim;
use crate::membership::NodeAddresses;
use crate::raft::wire::WireError;
use crate::raft::wire::values::{checked, seal, take_flag};
use crate::secret::{PeerSecret, SECRET_BYTES};
use crate::types::{ClusterId, Incarnation, NodeId};

/// A request on a bootstrap connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BootstrapRequest {
    /// What are you?
    Ask,
    /// Belong to this cluster, durably, before you answer.
    Claim(Claim),
    /// Connect to these addresses, and tell who is there.
    Reach {
        /// Who is expected.
        node: NodeId,
        /// Where; an empty one is not tried.
        addresses: NodeAddresses,
    },
}

/// What one of a node's addresses is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Port {
    Peer,
    Client,
    Http,
}

const PORTS: [Port; 3] = [Port::Peer, Port::Client, Port::Http];
/// What an answer says of the first of [`PORTS`].
const NOT_REACHED: u8 = 2;

impl Port {
    /// The name of its settings.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Port::Peer => "peer",
            Port::Client => "client",
            Port::Http => "http",
        }
    }
}

/// What came of reaching a node at its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reached {
    /// The node is there, with this data folder.
    Node(Incarnation),
    /// Somebody is there who holds the cluster's secret already, which the one that was asked has not got.
    Keyed,
    /// Nobody is reached at the one of these addresses that is for this.
    Not(Port, String),
}

/// What a node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NodeState {
    /// It holds no entries and has never voted.
    pub(crate) empty: bool,
    pub(crate) claim: Option<Claim>,
    pub(crate) advertised: NodeAddresses,
}

/// How a claim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ClaimOutcome {
    Done,
    /// Claimed for another cluster or membership before.
    Claimed(ClusterId),
    /// Not empty any more.
    Used,
    /// Its disk refused.
    Failed,
}

/// An answer on a bootstrap connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BootstrapAnswer {
    State(NodeState),
    Claimed(ClaimOutcome),
    Reached(Reached),
}

impl BootstrapRequest {
    pub(crate) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(256);
        match self {
            BootstrapRequest::Ask => out.put_u8(1),
            BootstrapRequest::Claim(claim) => {
                out.put_u8(2);
                out.put_u128_le(claim.cluster.0);
                out.put_u8(u8::from(claim.secret.is_some()));
                out.put_slice(claim.secret.as_ref().map_or(&[0; SECRET_BYTES][..], PeerSecret::bytes));
                out.put_slice(&claim.membership);
            }
            BootstrapRequest::Reach { node, addresses } => {
                out.put_u8(3);
                out.put_u64_le(node.0);
                addresses.encode_into(&mut out);
            }
        }
        seal(&mut out);
        out
    }

    pub(crate) fn decode(body: &[u8]) -> Result<BootstrapRequest, WireError> {
        let mut input = checked(body)?;
        match input.try_get_u8()? {
            1 => Ok(BootstrapRequest::Ask),
            2 => {
                let cluster = ClusterId(input.try_get_u128_le()?);
                let has_secret = take_flag(&mut input)?;
                let mut secret = [0; SECRET_BYTES];
                input.try_copy_to_slice(&mut secret)?;
                let secret = has_secret.then(|| PeerSecret::from_bytes(secret));
                Ok(BootstrapRequest::Claim(Claim { cluster, membership: Bytes::copy_from_slice(input), secret }))
            }
            3 => {
                let node = NodeId(input.try_get_u64_le()?);
                Ok(BootstrapRequest::Reach { node, addresses: take_addresses(&mut input)? })
            }
            other => Err(WireError(format!("unknown bootstrap request {other}"))),
        }
    }
}

impl BootstrapAnswer {
    pub(crate) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(256);
        match self {
            BootstrapAnswer::State(state) => {
                out.put_u8(1);
                out.put_u8(u8::from(state.empty));
                out.put_u8(u8::from(state.claim.is_some()));
                out.put_u128_le(state.claim.as_ref().map_or(0, |claim| claim.cluster.0));
                state.advertised.encode_into(&mut out);
                out.put_slice(state.claim.as_ref().map_or(&[], |claim| &claim.membership));
            }
            BootstrapAnswer::Claimed(outcome) => {
                let (code, cluster) = match outcome {
                    ClaimOutcome::Done => (0, 0),
                    ClaimOutcome::Claimed(cluster) => (1, cluster.0),
                    ClaimOutcome::Used => (2, 0),
                    ClaimOutcome::Failed => (3, 0),
                };
                out.put_u8(2);
                out.put_u8(code);
                out.put_u128_le(cluster);
            }
            BootstrapAnswer::Reached(reached) => {
                let (code, incarnation, reason) = match reached {
                    Reached::Node(incarnation) => (0, incarnation.0, ""),
                    Reached::Keyed => (1, 0, ""),
                    Reached::Not(port, reason) => (NOT_REACHED + *port as u8, 0, reason.as_str()),
                };
                out.put_u8(3);
                out.put_u8(code);
                out.put_u128_le(incarnation);
                out.put_slice(reason.as_bytes());
            }
        }
        seal(&mut out);
        out
    }

    pub(crate) fn decode(body: &[u8]) -> Result<BootstrapAnswer, WireError> {
        let mut input = checked(body)?;
        match input.try_get_u8()? {
            1 => {
                let empty = take_flag(&mut input)?;
                let claimed = take_flag(&mut input)?;
                let cluster = ClusterId(input.try_get_u128_le()?);
                let advertised = take_addresses(&mut input)?;
                let membership = Bytes::copy_from_slice(input);
                let claim = claimed.then_some(Claim { cluster, membership, secret: None });
                Ok(BootstrapAnswer::State(NodeState { empty, claim, advertised }))
            }
            2 => {
                let code = input.try_get_u8()?;
                let cluster = ClusterId(input.try_get_u128_le()?);
                Ok(BootstrapAnswer::Claimed(match code {
                    0 => ClaimOutcome::Done,
                    1 => ClaimOutcome::Claimed(cluster),
                    2 => ClaimOutcome::Used,
                    3 => ClaimOutcome::Failed,
                    other => return Err(WireError(format!("unknown outcome of a claim {other}"))),
                }))
            }
            3 => {
                let code = input.try_get_u8()?;
                let incarnation = Incarnation(input.try_get_u128_le()?);
                let port = code.checked_sub(NOT_REACHED).and_then(|place| PORTS.get(usize::from(place)));
                Ok(BootstrapAnswer::Reached(match (code, port) {
                    (0, _) => Reached::Node(incarnation),
                    (1, _) => Reached::Keyed,
                    (_, Some(port)) => Reached::Not(*port, text(input)?),
                    (other, None) => return Err(WireError(format!("unknown outcome of reaching a node {other}"))),
                }))
            }
            other => Err(WireError(format!("unknown bootstrap answer {other}"))),
        }
    }
}

fn take_addresses(input: &mut &[u8]) -> Result<NodeAddresses, WireError> {
    NodeAddresses::decode_from(input).map_err(|error| WireError(error.to_string()))
}

fn text(bytes: &[u8]) -> Result<String, WireError> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|error| WireError(error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_survive_the_wire() {
        let claim = Claim { cluster: ClusterId(77), membership: Bytes::from_static(b"members"), secret: None };
        let keyed = Claim { secret: Some(PeerSecret::from_bytes([9; SECRET_BYTES])), ..claim.clone() };
        let addresses = NodeAddresses { peer: "ä:1".to_owned(), ..NodeAddresses::default() };
        let reach = BootstrapRequest::Reach { node: NodeId(3), addresses };
        for request in
            [BootstrapRequest::Ask, BootstrapRequest::Claim(claim.clone()), BootstrapRequest::Claim(keyed), reach]
        {
            assert_eq!(BootstrapRequest::decode(&request.encode()).unwrap(), request);
        }
        let advertised = NodeAddresses { peer: "p:1".into(), client: "c:2".into(), http: "h:3".into() };
        let answers = [
            BootstrapAnswer::State(NodeState { empty: true, claim: None, advertised: advertised.clone() }),
            BootstrapAnswer::State(NodeState { empty: false, claim: Some(claim), advertised }),
            BootstrapAnswer::Claimed(ClaimOutcome::Done),
            BootstrapAnswer::Claimed(ClaimOutcome::Claimed(ClusterId(78))),
            BootstrapAnswer::Claimed(ClaimOutcome::Used),
            BootstrapAnswer::Claimed(ClaimOutcome::Failed),
            BootstrapAnswer::Reached(Reached::Node(Incarnation(5))),
            BootstrapAnswer::Reached(Reached::Keyed),
        ];
        let nobody = PORTS.map(|port| BootstrapAnswer::Reached(Reached::Not(port, "nobody listens".to_owned())));
        for answer in answers.into_iter().chain(nobody) {
            assert_eq!(BootstrapAnswer::decode(&answer.encode()).unwrap(), answer);
        }
    }
}
