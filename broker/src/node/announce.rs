//! What this node says of itself to nameservers.

use std::sync::Arc;

use raft_log::{Role as RaftRole, Status};
use tokio::sync::watch;

use super::open::advertised;
use crate::{
    config::Config,
    nameserver::{Announcement, BrokerKey, Registration, Role, Topic},
    state::StateReader,
};

/// The announcement, and a channel that ticks when it should be repeated at once.
pub(super) fn announcement(
    config: &Config,
    status: watch::Receiver<Status>,
    state: StateReader,
) -> (Announcement, watch::Receiver<()>) {
    let group = config.node.group;
    let addresses = advertised(config);
    let changed = role_changes(status.clone());
    let announcement = move || {
        let status = status.borrow().clone();
        let topics = state.topics().into_iter().map(|topic| Topic {
            name: topic.name.to_string(),
            queues: topic.settings.queues,
            kind: topic.settings.kind,
        });
        Some(Registration {
            key: BrokerKey { cluster: status.cluster?, group, node: status.node_id },
            addresses: addresses.clone(),
            role: role_of(status.role)?,
            term: status.term,
            topics: topics.collect(),
        })
    };
    (Arc::new(announcement), changed)
}

/// Nothing for a node that is no part of a group.
fn role_of(role: RaftRole) -> Option<Role> {
    match role {
        RaftRole::Leader => Some(Role::Leader),
        RaftRole::Follower | RaftRole::Candidate => Some(Role::Follower),
        RaftRole::Learner => Some(Role::Learner),
        RaftRole::Unformed | RaftRole::Stopped => None,
    }
}

/// Ticks when the node's role or term changes.
fn role_changes(mut status: watch::Receiver<Status>) -> watch::Receiver<()> {
    let (ticks, changed) = watch::channel(());
    tokio::spawn(async move {
        let said = |status: &Status| (status.role, status.term, status.cluster);
        let mut last = said(&status.borrow());
        while let Ok(now) = status.wait_for(|status| said(status) != last).await.map(|status| said(&status)) {
            last = now;
            if ticks.send(()).is_err() {
                break;
            }
        }
    });
    changed
}
