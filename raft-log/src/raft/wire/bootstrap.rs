//! Questions to an empty node, and the claim that reserves it for a cluster (hazards 27).
//!
//! ```text
//!   request  kind u8 │ claim: cluster u128, membership │ CRC32C
//!   answer   kind u8 │ state: empty u8, has claim u8, cluster u128, addresses, claimed membership
//!                    │ claimed: outcome u8, cluster u128 │ CRC32C
//! ```

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::identity::Claim;
use crate::membership::NodeAddresses;
use crate::raft::wire::WireError;
use crate::raft::wire::values::{checked, seal, take_flag};
use crate::types::ClusterId;

/// A request on a bootstrap connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BootstrapRequest {
    /// What are you?
    Ask,
    /// Belong to this cluster, durably, before you answer.
    Claim(Claim),
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
}

impl BootstrapRequest {
    pub(crate) fn encode(&self) -> BytesMut {
        let mut out = BytesMut::with_capacity(256);
        match self {
            BootstrapRequest::Ask => out.put_u8(1),
            BootstrapRequest::Claim(claim) => {
                out.put_u8(2);
                out.put_u128_le(claim.cluster.0);
                out.put_slice(&claim.membership);
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
                Ok(BootstrapRequest::Claim(Claim { cluster, membership: Bytes::copy_from_slice(input) }))
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
                let advertised =
                    NodeAddresses::decode_from(&mut input).map_err(|error| WireError(error.to_string()))?;
                let claim = claimed.then(|| Claim { cluster, membership: Bytes::copy_from_slice(input) });
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
            other => Err(WireError(format!("unknown bootstrap answer {other}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers_survive_the_wire() {
        let claim = Claim { cluster: ClusterId(77), membership: Bytes::from_static(b"members") };
        for request in [BootstrapRequest::Ask, BootstrapRequest::Claim(claim.clone())] {
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
        ];
        for answer in answers {
            assert_eq!(BootstrapAnswer::decode(&answer.encode()).unwrap(), answer);
        }
    }
}
