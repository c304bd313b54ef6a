//! Administration of a broker group through any of its nodes.

use std::time::Duration;

use tercet_proto::admin::v1::{self as api, admin_client::AdminClient};
use tonic::{Request, Response, Status, transport::Channel};

use crate::{
    client::{Client, Plain},
    error::Error,
    message::{check_group, check_topic},
};

/// What changes members or leadership waits for that: longer than the leader does, so that nobody asks twice.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(15);

/// Makes and lists topics and consumer groups, and shows the state of the nodes; from [`Client::admin`].
///
/// Every call goes from node to node until one answers or the client's
/// [`call_timeout`](crate::ClientOptions::call_timeout) has passed. Changes are idempotent: making what exists with
/// the same settings succeeds, with other settings it fails.
///
/// ```no_run
/// # use tercet_client::{Client, proto::admin::v1::TopicType};
/// # async fn example() -> Result<(), tercet_client::Error> {
/// let admin = Client::connect("127.0.0.1:8081")?.admin();
/// admin.create_topic("orders", 4, TopicType::Normal).await?;
/// for topic in admin.list_topics().await? {
///     println!("{} {}", topic.name, topic.queues);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

/// Where a new consumer group begins in a topic that it reads for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Start {
    /// At the first retained message.
    #[default]
    First,
    /// Behind the last message.
    Last,
    /// At the first message stored at or after this time, in milliseconds since 1970-01-01 UTC.
    UnixMillis(u64),
}

/// Settings of a consumer group to be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupSettings {
    /// Deliveries keep the order within each message group.
    pub fifo: bool,
    /// Deliveries of a message before it goes to the dead-letter queue; `None` means the broker's default of 17.
    pub max_attempts: Option<u32>,
    /// Where it begins.
    pub start: Start,
}

/// What becomes different of a consumer group's settings; the rest stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupChange {
    /// Whether deliveries keep the order within each message group.
    pub fifo: Option<bool>,
    /// Deliveries of a message before it goes to the dead-letter queue; counts for deliveries that end from now on.
    pub max_attempts: Option<u32>,
    /// Where the group begins in topics that it has not read before.
    pub start: Option<Start>,
}

impl Admin {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Makes a topic with queues numbered from 0; the answer says whether it is new.
    ///
    /// # Errors
    /// If the name is malformed, or the topic exists with other settings, or no node answers in time.
    pub async fn create_topic(&self, name: &str, queues: u32, kind: api::TopicType) -> Result<bool, Error> {
        check_topic(name)?;
        let request = api::CreateTopicRequest { name: name.to_owned(), queues, r#type: kind as i32 };
        let answer = self.call("create topic", request, async |mut node, request| node.create_topic(request).await);
        Ok(answer.await?.created)
    }

    /// Deletes a topic with all its messages, at once and for everybody; answers how many it held.
    ///
    /// # Errors
    /// If there is no such topic (also after an attempt whose answer was lost), or no node answers in time.
    pub async fn delete_topic(&self, name: &str) -> Result<u64, Error> {
        check_topic(name)?;
        let request = api::DeleteTopicRequest { name: name.to_owned() };
        let answer = self.call("delete topic", request, async |mut node, request| node.delete_topic(request).await);
        Ok(answer.await?.messages)
    }

    /// All topics, by name.
    ///
    /// # Errors
    /// If no node answers in time.
    pub async fn list_topics(&self) -> Result<Vec<api::Topic>, Error> {
        let request = api::ListTopicsRequest {};
        let answer = self.call("list topics", request, async |mut node, request| node.list_topics(request).await);
        Ok(answer.await?.topics)
    }

    /// A topic and the offsets of its queues.
    ///
    /// # Errors
    /// If there is no such topic, or no node answers in time.
    pub async fn describe_topic(&self, name: &str) -> Result<api::DescribeTopicResponse, Error> {
        check_topic(name)?;
        let request = api::DescribeTopicRequest { name: name.to_owned() };
        self.call("describe topic", request, async |mut node, request| node.describe_topic(request).await).await
    }

    /// Makes a consumer group; the answer says whether it is new.
    ///
    /// # Errors
    /// If the name is malformed, or the group exists with other settings, or no node answers in time.
    pub async fn create_group(&self, name: &str, settings: GroupSettings) -> Result<bool, Error> {
        check_group(name)?;
        let request = api::CreateGroupRequest {
            name: name.to_owned(),
            fifo: settings.fifo,
            max_attempts: settings.max_attempts.unwrap_or(0),
            start: Some(position(settings.start)),
            topics: Vec::new(),
        };
        let answer = self.call("create group", request, async |mut node, request| node.create_group(request).await);
        Ok(answer.await?.created)
    }

    /// Changes settings of a consumer group; answers with all of them.
    ///
    /// # Errors
    /// If there is no such group, or a value is out of its bounds, or no node answers in time.
    pub async fn update_group(&self, name: &str, change: GroupChange) -> Result<api::ConsumerGroup, Error> {
        check_group(name)?;
        let request = api::UpdateGroupRequest {
            name: name.to_owned(),
            fifo: change.fifo,
            max_attempts: change.max_attempts,
            start: change.start.map(position),
        };
        let answer = self.call("update group", request, async |mut node, request| node.update_group(request).await);
        Ok(answer.await?.group.unwrap_or_default())
    }

    /// Deletes a consumer group, and the topic with its dead letters if asked to. A consumer that goes on polling does
    /// not make it anew by itself, as long as messages may be there that it was done with.
    ///
    /// # Errors
    /// If there is no such group (also after an attempt whose answer was lost), or no node answers in time.
    pub async fn delete_group(&self, name: &str, with_dead_letters: bool) -> Result<api::DeleteGroupResponse, Error> {
        check_group(name)?;
        let request = api::DeleteGroupRequest { name: name.to_owned(), with_dead_letters };
        self.call("delete group", request, async |mut node, request| node.delete_group(request).await).await
    }

    /// All consumer groups, by name.
    ///
    /// # Errors
    /// If no node answers in time.
    pub async fn list_groups(&self) -> Result<Vec<api::ConsumerGroup>, Error> {
        let request = api::ListGroupsRequest {};
        let answer = self.call("list groups", request, async |mut node, request| node.list_groups(request).await);
        Ok(answer.await?.groups)
    }

    /// A consumer group: its settings, who consumes it as far as the leader knows, and how far it has come in each queue of
    /// one topic, or of all that it has received from.
    ///
    /// # Errors
    /// If there is no such group, or it has not received from the topic, or no node answers in time.
    pub async fn describe_group(&self, name: &str, topic: Option<&str>) -> Result<api::DescribeGroupResponse, Error> {
        check_group(name)?;
        let topic = topic.unwrap_or_default().to_owned();
        let mut request = api::DescribeGroupRequest { name: name.to_owned(), topic, from: None };
        let mut queues = Vec::new();
        loop {
            let answer = self
                .call("describe group", request.clone(), async |mut node, request| node.describe_group(request).await);
            let mut answer = answer.await?;
            queues.append(&mut answer.queues);
            match answer.next.take() {
                // The rest is of the last answer.
                None => return Ok(api::DescribeGroupResponse { queues, ..answer }),
                next => request.from = next,
            }
        }
    }

    /// All nodes of the group as the node that answers sees them; one that it cannot reach is listed as unhealthy.
    ///
    /// # Errors
    /// If no node answers in time.
    pub async fn cluster_status(&self) -> Result<api::ClusterStatusResponse, Error> {
        let request = api::ClusterStatusRequest {};
        self.call("cluster status", request, async |mut node, request| node.cluster_status(request).await).await
    }

    /// Hands leadership to the node, or to the one that is best caught up; answers with the new leader.
    ///
    /// # Errors
    /// If no voter can take over, or no node answers in time.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<api::TransferLeadershipResponse, Error> {
        // Decided once: asked again, a leader that has just taken over would hand over again.
        let to = match to {
            Some(to) => Some(to),
            None => successor(&self.cluster_status().await?),
        };
        let request = api::TransferLeadershipRequest { to };
        self.change("transfer leadership", request, async |mut node, request| node.transfer_leadership(request).await)
            .await
    }

    /// Raises the group's feature level as far as all its members know it, which each of them is asked now.
    ///
    /// # Errors
    /// If one knows no higher level or does not answer, or no node answers in time.
    pub async fn raise_level(&self) -> Result<api::RaiseLevelResponse, Error> {
        let request = api::RaiseLevelRequest {};
        self.change("raise level", request, async |mut node, request| node.raise_level(request).await).await
    }

    /// Takes an empty node, listening for peers at `peer`, into the group as a learner.
    ///
    /// # Errors
    /// If it is not empty or not reached, or its id was used before, or no node answers in time.
    pub async fn add_node(&self, node_id: u64, peer: &str) -> Result<Vec<api::Member>, Error> {
        let request = api::AddNodeRequest { node_id, peer: peer.to_owned() };
        let answer = self.change("add node", request, async |mut node, request| node.add_node(request).await);
        Ok(answer.await?.members)
    }

    /// Gives a learner that is caught up a vote.
    ///
    /// # Errors
    /// If it is no member or lags behind, or no node answers in time.
    pub async fn promote_node(&self, node_id: u64) -> Result<Vec<api::Member>, Error> {
        let request = api::PromoteNodeRequest { node_id };
        let answer = self.change("promote node", request, async |mut node, request| node.promote_node(request).await);
        Ok(answer.await?.members)
    }

    /// Removes a node, or only its vote.
    ///
    /// # Errors
    /// If it leads, or the others would have no live majority, or no node answers in time.
    pub async fn remove_node(&self, node_id: u64, keep_as_learner: bool) -> Result<Vec<api::Member>, Error> {
        let request = api::RemoveNodeRequest { node_id, keep_as_learner };
        let answer = self.change("remove node", request, async |mut node, request| node.remove_node(request).await);
        Ok(answer.await?.members)
    }

    /// Gives the vote of `old` to the learner `new` and removes `old`.
    ///
    /// # Errors
    /// If `old` leads or `new` lags behind, or no node answers in time.
    pub async fn replace_node(&self, old: u64, new: u64) -> Result<Vec<api::Member>, Error> {
        let request = api::ReplaceNodeRequest { old, new };
        let answer = self.change("replace node", request, async |mut node, request| node.replace_node(request).await);
        Ok(answer.await?.members)
    }

    /// Changes the addresses at which a node is reached; those left empty stay.
    ///
    /// # Errors
    /// If it is no member, or no node answers in time.
    pub async fn move_node(&self, node_id: u64, addresses: api::NodeAddresses) -> Result<Vec<api::Member>, Error> {
        let request = api::MoveNodeRequest { node_id, addresses: Some(addresses) };
        let answer = self.change("move node", request, async |mut node, request| node.move_node(request).await);
        Ok(answer.await?.members)
    }

    async fn call<Q, A, F>(&self, call: &'static str, request: Q, send: F) -> Result<A, Error>
    where
        Q: Clone,
        F: AsyncFn(AdminClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    {
        self.call_within(self.client.options().attempt_timeout, call, request, send).await
    }

    /// A call that the leader may work on for long.
    async fn change<Q, A, F>(&self, call: &'static str, request: Q, send: F) -> Result<A, Error>
    where
        Q: Clone,
        F: AsyncFn(AdminClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    {
        let timeout = CHANGE_TIMEOUT.max(self.client.options().attempt_timeout);
        self.call_within(timeout, call, request, send).await
    }

    async fn call_within<Q, A, F>(&self, timeout: Duration, call: &'static str, request: Q, send: F) -> Result<A, Error>
    where
        Q: Clone,
        F: AsyncFn(AdminClient<Channel>, Request<Q>) -> Result<Response<A>, Status>,
    {
        let attempt = async |channel| {
            let mut request = self.client.identity().request(request.clone());
            request.set_timeout(timeout);
            let answer = send(AdminClient::new(channel).max_decoding_message_size(64 << 20), request).await?;
            Ok(Plain(answer.into_inner()))
        };
        self.client.call(call, None, timeout, attempt).await.map(|Plain(answer)| answer)
    }
}

/// The voter that lacks least of the leader's log, if another than the leader lives.
fn successor(status: &api::ClusterStatusResponse) -> Option<u64> {
    let able = |node: &&api::Node| node.voter && node.healthy && Some(node.node_id) != status.leader;
    let best = status.nodes.iter().filter(able).max_by_key(|node| (node.last_index, std::cmp::Reverse(node.node_id)));
    best.map(|node| node.node_id)
}

fn position(start: Start) -> api::StartPosition {
    use api::start_position::{Position, Unit};
    let position = match start {
        Start::First => Position::First(Unit {}),
        Start::Last => Position::Last(Unit {}),
        Start::UnixMillis(time) => Position::UnixMillis(time),
    };
    api::StartPosition { position: Some(position) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leadership_goes_to_a_living_voter_that_lacks_least() {
        let node = |node_id, last_index, voter, healthy| api::Node {
            node_id,
            last_index: Some(last_index),
            voter,
            healthy,
            ..Default::default()
        };
        let nodes = vec![
            node(1, 100, true, true),
            node(2, 90, true, true),
            node(3, 95, true, true),
            node(4, 99, false, true),
            node(5, 99, true, false),
        ];
        let status = |nodes| api::ClusterStatusResponse { leader: Some(1), nodes, ..Default::default() };
        assert_eq!(successor(&status(nodes.clone())), Some(3));
        assert_eq!(successor(&status(nodes[..1].to_vec())), None);
    }
}
