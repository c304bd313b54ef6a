//! `tercet.client.v1.LeaderService`: who leads, told at once and again whenever that changes.
//!
//! What is told is kept once for all who watch, and changes rarely: ten thousand idle clients cost nothing but their connections.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, stream};
use tercet_proto::client::v1::{Leadership as News, WatchRequest, leader_service_server::LeaderService};
use tokio::sync::watch;
use tonic::{Request, Response, Status};

use super::node::Node;

/// Tells clients who leads.
#[derive(Clone)]
pub struct Leading {
    node: Arc<Node>,
}

impl Leading {
    /// As this node knows it.
    pub fn new(node: Arc<Node>) -> Leading {
        Leading { node }
    }
}

/// What is known now, and each later state; those that nobody had time to read are left out.
fn tell(news: watch::Receiver<News>) -> impl Stream<Item = News> {
    stream::unfold((news, true), |(mut news, first)| async move {
        if !first {
            news.changed().await.ok()?;
        }
        let now = news.borrow_and_update().clone();
        Some((now, (news, false)))
    })
}

#[tonic::async_trait]
impl LeaderService for Leading {
    type WatchStream = stream::BoxStream<'static, Result<News, Status>>;

    async fn watch(&self, _: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let stopped = self.node.stop.clone().cancelled_owned();
        let told = tell(self.node.leader_news.clone()).map(Ok).take_until(stopped);
        Ok(Response::new(told.boxed()))
    }
}

#[cfg(test)]
mod tests {
    use raft_log::{
        Member, NodeAddresses, Role, Status as ReplicaStatus,
        types::{GroupId, NodeId, Term},
    };

    use super::{super::leader_news::follow, *};

    fn status(term: u64, leader: Option<u64>) -> ReplicaStatus {
        let member = |id: u64| {
            let addresses = NodeAddresses { peer: String::new(), client: format!("node-{id}:1"), http: String::new() };
            Member::new(NodeId(id), addresses, true)
        };
        ReplicaStatus {
            role: Role::Follower,
            term: Term(term),
            leader: leader.map(NodeId),
            members: [1, 2].map(member).into(),
            ..ReplicaStatus::unformed(NodeId(1))
        }
    }

    #[tokio::test]
    async fn it_is_told_at_once_and_at_each_change_of_what_matters() {
        let (sender, receiver) = watch::channel(status(1, None));
        let mut told = Box::pin(tell(follow(receiver, GroupId(7))));
        let nodes = vec!["node-1:1".to_owned(), "node-2:1".to_owned()];
        let first = News { group: 7, term: 1, leader: String::new(), nodes };
        assert_eq!(told.next().await, Some(first.clone()));
        // The same again, and then another leader.
        sender.send_replace(status(1, None));
        sender.send_replace(status(2, Some(2)));
        assert_eq!(told.next().await, Some(News { term: 2, leader: "node-2:1".to_owned(), ..first }));
        drop(sender);
        assert_eq!(told.next().await, None);
    }
}
