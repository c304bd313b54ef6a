//! What clients are told of the leader: kept once for all who watch.

use raft_log::{
    Member, Status as ReplicaStatus,
    types::{GroupId, NodeId},
};
use tercet_proto::client::v1::Leadership as News;
use tokio::sync::watch;

/// Follows this status, on the current runtime, until its sender is gone.
pub(super) fn follow(mut status: watch::Receiver<ReplicaStatus>, group: GroupId) -> watch::Receiver<News> {
    let (sender, news) = watch::channel(news_of(&status.borrow_and_update(), group));
    tokio::spawn(async move {
        while status.changed().await.is_ok() {
            let new = news_of(&status.borrow_and_update(), group);
            sender.send_if_modified(|old| std::mem::replace(old, new.clone()) != new);
        }
    });
    news
}

fn news_of(status: &ReplicaStatus, group: GroupId) -> News {
    let client = |member: &Member| member.addresses.client.clone();
    let of = |leader: NodeId| status.members.iter().find(|member| member.id == leader).map(client);
    News {
        group: group.0,
        term: status.term.0,
        leader: status.leader.and_then(of).unwrap_or_default(),
        nodes: status.members.iter().map(client).filter(|address| !address.is_empty()).collect(),
    }
}
