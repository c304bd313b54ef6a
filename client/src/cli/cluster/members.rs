//! `tercet cluster add|promote|remove|replace|move|transfer-leader`: what a person does to the members of a group.
//!
//! The broker's calls are single steps; what takes several (a new node that catches up first, a leader that hands over
//! before it leaves) is put together here. Every step may be repeated, so a command that was cut off is typed again.

use std::{error::Error, time::Duration};

use serde::Serialize;
use tercet_client::{Admin, Client, Error as ClientError, Member as ApiMember, NodeAddresses, RpcCode};
use tokio::time::Instant;

use crate::cli::{
    args::Format,
    exit::{Done, Exit},
    failure::NotYet,
    notices::notice,
    output,
};

/// How often a node that catches up is looked at.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);
/// A node that lacks no more than this is tried; the broker decides.
const LAG_TRIED: u64 = 1_000;
/// How often the progress of a node that catches up is told.
const TELL_INTERVAL: Duration = Duration::from_secs(5);

#[derive(Serialize)]
struct Members {
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Member {
    id: u64,
    voter: bool,
    peer: String,
    client: String,
}

pub(super) async fn add(
    client: &Client,
    node: u64,
    peer: &str,
    voter: bool,
    timeout: Duration,
    format: Format,
) -> Done {
    let admin = client.admin();
    let mut members = admin.add_node(node, peer).await?;
    notice(format!("node {node} gets the log"));
    if voter {
        members = once_caught_up(&admin, node, timeout, async || admin.promote_node(node).await).await?;
    }
    show(format, members)
}

pub(super) async fn promote(client: &Client, node: u64, format: Format) -> Done {
    show(format, client.admin().promote_node(node).await?)
}

pub(super) async fn remove(client: &Client, node: u64, keep_as_learner: bool, format: Format) -> Done {
    let admin = client.admin();
    unless_leading(&admin, node).await?;
    show(format, admin.remove_node(node, keep_as_learner).await?)
}

pub(super) async fn replace(
    client: &Client,
    (old, new): (u64, u64),
    peer: &str,
    timeout: Duration,
    format: Format,
) -> Done {
    let admin = client.admin();
    admin.add_node(new, peer).await?;
    notice(format!("node {new} gets the log"));
    unless_leading(&admin, old).await?;
    let members = once_caught_up(&admin, new, timeout, async || admin.replace_node(old, new).await).await?;
    notice(format!("node {new} has taken the place of node {old}, whose process can be stopped"));
    show(format, members)
}

pub(super) async fn relocate(client: &Client, node: u64, addresses: NodeAddresses, format: Format) -> Done {
    show(format, client.admin().move_node(node, addresses).await?)
}

pub(super) async fn transfer(client: &Client, to: Option<u64>, format: Format) -> Done {
    #[derive(Serialize)]
    struct Leader {
        leader: u64,
        term: u64,
    }
    let answer = client.admin().transfer_leadership(to).await?;
    let leader = Leader { leader: answer.node, term: answer.term };
    output::say(format, &format!("node {} leads in term {}", leader.leader, leader.term), &leader)?;
    Ok(Exit::DONE)
}

pub(super) async fn raise_level(client: &Client, format: Format) -> Done {
    #[derive(Serialize)]
    struct Level {
        level: u32,
        raised: bool,
    }
    let answer = client.admin().raise_level().await?;
    let level = Level { level: answer.level, raised: answer.raised };
    let text = match level {
        Level { level, raised: true } => format!("the group is at feature level {level} now"),
        Level { level, raised: false } => format!("the group is at feature level {level}, the newest, already"),
    };
    output::say(format, &text, &level)?;
    Ok(Exit::DONE)
}

/// A leader does not remove itself: another one takes over first.
async fn unless_leading(admin: &Admin, node: u64) -> Result<(), ClientError> {
    if admin.cluster_status().await?.leader == Some(node) {
        let next = admin.transfer_leadership(None).await?.node;
        notice(format!("node {node} led; node {next} has taken over"));
    }
    Ok(())
}

/// Takes the step as soon as the node has caught up.
async fn once_caught_up(
    admin: &Admin,
    node: u64,
    timeout: Duration,
    step: impl AsyncFn() -> Result<Vec<ApiMember>, ClientError>,
) -> Result<Vec<ApiMember>, Box<dyn Error>> {
    let deadline = Instant::now() + timeout;
    let mut told = Instant::now();
    loop {
        let status = admin.cluster_status().await?;
        let lag = status.nodes.iter().find(|other| other.id == node).map(|node| node.lag);
        let tried = match lag {
            Some(lag) if lag <= LAG_TRIED => Some(step().await),
            _ => None,
        };
        match tried {
            Some(Err(ClientError::Rpc { code: RpcCode::FailedPrecondition, message, .. }))
                if message.contains(BEHIND) => {}
            Some(done) => return Ok(done?),
            None => {}
        }
        if Instant::now() >= deadline {
            let message =
                format!("node {node} has not caught up within {timeout:?}; repeat the command to go on waiting");
            return Err(NotYet(message).into());
        }
        if told.elapsed() >= TELL_INTERVAL {
            told = Instant::now();
            notice(format!(
                "node {node} lacks {} entries",
                lag.map_or_else(|| "all".to_owned(), |lag| lag.to_string())
            ));
        }
        tokio::time::sleep(LOOK_INTERVAL).await;
    }
}

/// The broker's words for a node that lacks too much.
const BEHIND: &str = "is not caught up";

fn show(format: Format, members: Vec<ApiMember>) -> Done {
    let member = |member: ApiMember| {
        let addresses = member.addresses;
        Member { id: member.id, voter: member.voter, peer: addresses.peer, client: addresses.client }
    };
    let members = Members { members: members.into_iter().map(member).collect() };
    let rows = members.members.iter().map(|member| {
        let part = if member.voter { "voter" } else { "learner" };
        [member.id.to_string(), part.to_owned(), member.peer.clone(), member.client.clone()]
    });
    output::print(format, ["NODE", "PART", "PEER", "CLIENT"], rows, &members)?;
    Ok(Exit::DONE)
}
