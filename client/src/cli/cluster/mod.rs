//! `tercet cluster`: status, `health`, and `members`, its changes.

mod health;
mod members;

use serde::Serialize;
use tercet_client::{Client, Node as ApiNode, NodeAddresses, NodeRole};

use super::{
    args::{ClusterCommand, Format},
    exit::{Done, Exit},
    output,
};

#[derive(Serialize)]
struct Status {
    cluster: String,
    group: u32,
    leader: Option<u64>,
    nodes: Vec<Node>,
}

#[derive(Serialize)]
struct Node {
    id: u64,
    role: &'static str,
    voter: bool,
    term: u64,
    last: Option<u64>,
    durable: Option<u64>,
    committed: Option<u64>,
    applied: Option<u64>,
    lag: u64,
    level: u32,
    newest_level: u32,
    version: String,
    healthy: bool,
    address: String,
    problem: String,
    warnings: Vec<String>,
}

pub(super) async fn run(client: Client, command: ClusterCommand, format: Format) -> Done {
    match command {
        ClusterCommand::Status => status(client, format).await,
        ClusterCommand::Health => health::run(client, format).await,
        ClusterCommand::Add { node, peer, voter, patience } => {
            members::add(&client, node, &peer, voter, patience.wait, format).await
        }
        ClusterCommand::Promote { node } => members::promote(&client, node, format).await,
        ClusterCommand::Remove { node, keep_as_learner } => {
            members::remove(&client, node, keep_as_learner, format).await
        }
        ClusterCommand::Replace { old, new, peer, patience } => {
            members::replace(&client, (old, new), &peer, patience.wait, format).await
        }
        ClusterCommand::Move { node, client: for_clients, peer, http } => {
            let addresses = NodeAddresses::new().client(for_clients).peer(peer).http(http);
            members::relocate(&client, node, addresses, format).await
        }
        ClusterCommand::RaiseLevel => members::raise_level(&client, format).await,
        ClusterCommand::TransferLeader { node } => members::transfer(&client, node, format).await,
    }
}

async fn status(client: Client, format: Format) -> Done {
    let answer = client.admin().cluster_status().await?;
    let status = Status {
        cluster: answer.cluster_id.unwrap_or_default(),
        group: answer.broker_group.0,
        leader: answer.leader,
        nodes: answer.nodes.into_iter().map(node).collect(),
    };
    let index = |index: Option<u64>| index.map_or_else(|| "-".to_owned(), |index| index.to_string());
    let rows = status.nodes.iter().map(|node| {
        let is_down = node.role == "down";
        [
            node.id.to_string(),
            node.role.to_owned(),
            vote(node),
            if is_down { "-".to_owned() } else { node.term.to_string() },
            index(node.last),
            index(node.durable),
            index(node.committed),
            index(node.applied),
            if is_down { "-".to_owned() } else { node.lag.to_string() },
            level(node),
            if is_down { "-".to_owned() } else { node.version.clone() },
            condition(node),
            node.address.clone(),
        ]
    });
    let headings = [
        "NODE",
        "ROLE",
        "VOTES",
        "TERM",
        "LAST",
        "DURABLE",
        "COMMITTED",
        "APPLIED",
        "LAG",
        "LEVEL",
        "VERSION",
        "HEALTH",
        "ADDRESS",
    ];
    output::print(format, headings, rows, &status)?;
    Ok(Exit::DONE)
}

/// Whether its vote counts.
fn vote(node: &Node) -> String {
    if node.voter { "yes".to_owned() } else { "no".to_owned() }
}

/// The group's feature level, and the one that it can be raised to once all nodes know it.
fn level(node: &Node) -> String {
    match (node.level, node.newest_level) {
        (_, 0) => "-".to_owned(),
        (level, newest) if level == newest => level.to_string(),
        (level, newest) => format!("{level} (knows {newest})"),
    }
}

fn condition(node: &Node) -> String {
    let warnings = node.warnings.join("; ");
    match (node.healthy, warnings.is_empty()) {
        (true, true) => "ok".to_owned(),
        (true, false) => format!("ok, but {warnings}"),
        (false, true) => format!("NOT OK: {}", node.problem),
        (false, false) => format!("NOT OK: {}; {warnings}", node.problem),
    }
}

fn node(node: ApiNode) -> Node {
    let role = match node.role {
        Some(NodeRole::Leader) => "leader",
        Some(NodeRole::Follower) => "follower",
        Some(NodeRole::Candidate) => "candidate",
        Some(NodeRole::Learner) => "learner",
        Some(NodeRole::Joining) => "joining",
        Some(_) => "unknown",
        None => "down",
    };
    Node {
        id: node.id,
        role,
        voter: node.voter,
        term: node.term,
        last: node.last_index,
        durable: node.durable_index,
        committed: node.committed_index,
        applied: node.applied_index,
        lag: node.lag,
        level: node.level,
        newest_level: node.newest_level,
        version: node.version,
        healthy: node.healthy,
        address: node.addresses.client,
        problem: node.problem.unwrap_or_default(),
        warnings: node.warnings,
    }
}
