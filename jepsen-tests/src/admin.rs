//! What one node says about itself, asked directly of that node.

use std::time::Duration;

use tercet_proto::admin::v1::{self as pb, admin_client::AdminClient};
use tonic::transport::{Channel, Endpoint};

use crate::{
    checkers::{
        digests::NodeDigest,
        replicas::{Entry, NodeLog},
    },
    failure::{Doing, Failure},
};

/// A node on this machine that takes longer to answer is as good as dead.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// What a node says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeStatus {
    /// It leads, and can do what a leader must.
    pub is_healthy_leader: bool,
    /// Its term.
    pub term: u64,
    /// Last entry of its log; 0 while there is none.
    pub last: u64,
    /// Last committed entry; 0 while there is none.
    pub committed: u64,
    /// Last applied entry; 0 while there is none.
    pub applied: u64,
}

/// Connects to the administration of the node at `address`.
///
/// # Errors
/// If it does not answer in time.
pub async fn connect(address: &str) -> Result<AdminClient<Channel>, Failure> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).doing(|| format!("address {address}"))?;
    let endpoint = endpoint.connect_timeout(ANSWER_LIMIT).timeout(ANSWER_LIMIT);
    Ok(AdminClient::new(endpoint.connect().await.doing(|| format!("connect to {address}"))?))
}

/// What the node at `address` says of itself.
///
/// # Errors
/// If it does not answer.
pub async fn node_status(address: &str) -> Result<NodeStatus, Failure> {
    let answer = connect(address).await?.node_status(pb::NodeStatusRequest {}).await;
    let node = answer
        .doing(|| format!("NodeStatus of {address}"))?
        .into_inner()
        .node
        .ok_or_else(|| Failure(format!("NodeStatus of {address} lacks the node")))?;
    Ok(NodeStatus {
        is_healthy_leader: node.role() == pb::NodeRole::Leader && node.healthy,
        term: node.term,
        last: node.last_index.unwrap_or(0),
        committed: node.committed_index.unwrap_or(0),
        applied: node.applied_index.unwrap_or(0),
    })
}

/// The log of node `node` at `address`, everything that it holds and has applied.
///
/// # Errors
/// If it does not answer.
pub async fn log_of(node: u64, address: &str) -> Result<NodeLog, Failure> {
    let mut client = connect(address).await?;
    let mut log = NodeLog { node, committed: 0, entries: Vec::new() };
    let mut from = 0;
    loop {
        let request = pb::LogRangeRequest { from, until: 0 };
        let answer =
            client.log_range(request).await.doing(|| format!("LogRange of {address} from {from}"))?.into_inner();
        // Of the first answer: later ones may name entries that came after what was read.
        if from == 0 {
            log.committed = answer.applied.unwrap_or(0);
        }
        log.entries.extend(answer.entries.iter().map(|entry| Entry {
            index: entry.index,
            term: entry.term,
            kind: entry.kind,
            payload_crc: entry.payload_crc,
        }));
        match answer.next {
            Some(next) if next > from => from = next,
            Some(next) => return Err(Failure(format!("LogRange of {address} does not advance from {from}: {next}"))),
            None => return Ok(log),
        }
    }
}

/// The digest of node `node` at `address`.
///
/// # Errors
/// If it does not answer.
pub async fn digest_of(node: u64, address: &str) -> Result<NodeDigest, Failure> {
    let answer = connect(address).await?.state_digest(pb::StateDigestRequest {}).await;
    let answer = answer.doing(|| format!("StateDigest of {address}"))?.into_inner();
    Ok(NodeDigest { node, applied: answer.applied_index.unwrap_or(0), digest: answer.digest })
}
