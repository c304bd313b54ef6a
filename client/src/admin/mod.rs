//! Administration of a broker group through any of its nodes.

mod cluster;
mod groups;
mod topics;

use std::time::Duration;

use tercet_proto::admin::v1::{self as api, admin_client::AdminClient};
use tonic::{Request, Response, Status, transport::Channel};

pub use self::{
    cluster::{ClusterStatus, Leader, Member, Node, NodeAddresses, NodeRole, RaisedLevel},
    groups::{
        ConsumerGroup, DeletedGroup, GroupChange, GroupConsumer, GroupDescription, GroupSettings, QueueProgress, Start,
    },
    topics::{QueueBounds, Topic, TopicDescription, TopicType},
};
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
#[doc = "```no_run"]
#[doc = include_str!("../../examples/admin.rs")]
#[doc = "```"]
#[derive(Debug, Clone)]
pub struct Admin {
    client: Client,
}

impl Client {
    /// Administration of the broker group.
    #[must_use]
    pub fn admin(&self) -> Admin {
        Admin::new(self.clone())
    }
}

impl Admin {
    pub(crate) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Makes a topic with queues numbered from 0; the answer says whether it is new.
    ///
    /// # Errors
    /// If the name is malformed, or the topic exists with other settings, or no node answers in time.
    pub async fn create_topic(&self, name: &str, queues: u32, topic_type: TopicType) -> Result<bool, Error> {
        check_topic(name)?;
        let request = api::CreateTopicRequest { name: name.to_owned(), queues, r#type: topic_type.to_api() as i32 };
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
    pub async fn list_topics(&self) -> Result<Vec<Topic>, Error> {
        let request = api::ListTopicsRequest {};
        let answer = self.call("list topics", request, async |mut node, request| node.list_topics(request).await);
        Ok(answer.await?.topics.into_iter().map(Topic::of).collect())
    }

    /// A topic and the offsets of its queues.
    ///
    /// # Errors
    /// If there is no such topic, or no node answers in time.
    pub async fn describe_topic(&self, name: &str) -> Result<TopicDescription, Error> {
        check_topic(name)?;
        let request = api::DescribeTopicRequest { name: name.to_owned() };
        let answer = self.call("describe topic", request, async |mut node, request| node.describe_topic(request).await);
        Ok(TopicDescription::of(answer.await?))
    }

    /// Makes a consumer group; the answer says whether it is new.
    ///
    /// # Errors
    /// If the name is malformed, or the group exists with other settings, or no node answers in time.
    pub async fn create_group(&self, name: &str, settings: GroupSettings) -> Result<bool, Error> {
        check_group(name)?;
        let request = settings.request(name);
        let answer = self.call("create group", request, async |mut node, request| node.create_group(request).await);
        Ok(answer.await?.created)
    }

    /// Changes settings of a consumer group; answers with all of them.
    ///
    /// # Errors
    /// If there is no such group, or a value is out of its bounds, or no node answers in time.
    pub async fn update_group(&self, name: &str, change: GroupChange) -> Result<ConsumerGroup, Error> {
        check_group(name)?;
        let request = change.request(name);
        let answer = self.call("update group", request, async |mut node, request| node.update_group(request).await);
        Ok(ConsumerGroup::of(answer.await?.group.unwrap_or_default()))
    }

    /// Deletes a consumer group, and the topic with its dead letters if asked to. A consumer that goes on polling does
    /// not make it anew by itself, as long as messages may be there that it was done with.
    ///
    /// # Errors
    /// If there is no such group (also after an attempt whose answer was lost), or no node answers in time.
    pub async fn delete_group(&self, name: &str, with_dead_letters: bool) -> Result<DeletedGroup, Error> {
        check_group(name)?;
        let request = api::DeleteGroupRequest { name: name.to_owned(), with_dead_letters };
        let answer = self.call("delete group", request, async |mut node, request| node.delete_group(request).await);
        Ok(DeletedGroup::of(answer.await?))
    }

    /// All consumer groups, by name.
    ///
    /// # Errors
    /// If no node answers in time.
    pub async fn list_groups(&self) -> Result<Vec<ConsumerGroup>, Error> {
        let request = api::ListGroupsRequest {};
        let answer = self.call("list groups", request, async |mut node, request| node.list_groups(request).await);
        Ok(answer.await?.groups.into_iter().map(ConsumerGroup::of).collect())
    }

    /// A consumer group: its settings, who consumes it as far as the leader knows, and how far it has come in each queue of
    /// one topic, or of all that it has received from.
    ///
    /// # Errors
    /// If there is no such group, or it has not received from the topic, or no node answers in time.
    pub async fn describe_group(&self, name: &str, topic: Option<&str>) -> Result<GroupDescription, Error> {
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
                None => return Ok(GroupDescription::of(api::DescribeGroupResponse { queues, ..answer })),
                next => request.from = next,
            }
        }
    }

    /// All nodes of the group as the node that answers sees them; one that it cannot reach is listed as unhealthy.
    ///
    /// # Errors
    /// If no node answers in time.
    pub async fn cluster_status(&self) -> Result<ClusterStatus, Error> {
        let request = api::ClusterStatusRequest {};
        let answer = self.call("cluster status", request, async |mut node, request| node.cluster_status(request).await);
        Ok(ClusterStatus::of(answer.await?))
    }

    /// Hands leadership to the node, or to the one that is best caught up; answers with the new leader.
    ///
    /// # Errors
    /// If no voter can take over, or no node answers in time.
    pub async fn transfer_leadership(&self, to: Option<u64>) -> Result<Leader, Error> {
        // Decided once: asked again, a leader that has just taken over would hand over again.
        let to = match to {
            Some(to) => Some(to),
            None => self.cluster_status().await?.successor(),
        };
        let request = api::TransferLeadershipRequest { to };
        let transfer = async |mut node: AdminClient<Channel>, request| node.transfer_leadership(request).await;
        let api::TransferLeadershipResponse { leader, term } =
            self.change("transfer leadership", request, transfer).await?;
        Ok(Leader { node: leader, term })
    }

    /// Raises the group's feature level as far as all its members know it, which each of them is asked now.
    ///
    /// # Errors
    /// If one knows no higher level or does not answer, or no node answers in time.
    pub async fn raise_level(&self) -> Result<RaisedLevel, Error> {
        let request = api::RaiseLevelRequest {};
        let answer = self.change("raise level", request, async |mut node, request| node.raise_level(request).await);
        let api::RaiseLevelResponse { level, raised } = answer.await?;
        Ok(RaisedLevel { level, raised })
    }

    /// Takes an empty node, listening for peers at `peer`, into the group as a learner.
    ///
    /// # Errors
    /// If it is not empty or not reached, or its id was used before, or no node answers in time.
    pub async fn add_node(&self, node_id: u64, peer: &str) -> Result<Vec<Member>, Error> {
        let request = api::AddNodeRequest { node_id, peer: peer.to_owned() };
        let answer = self.change("add node", request, async |mut node, request| node.add_node(request).await);
        Ok(Member::all_of(answer.await?))
    }

    /// Gives a learner that is caught up a vote.
    ///
    /// # Errors
    /// If it is no member or lags behind, or no node answers in time.
    pub async fn promote_node(&self, node_id: u64) -> Result<Vec<Member>, Error> {
        let request = api::PromoteNodeRequest { node_id };
        let answer = self.change("promote node", request, async |mut node, request| node.promote_node(request).await);
        Ok(Member::all_of(answer.await?))
    }

    /// Removes a node, or only its vote.
    ///
    /// # Errors
    /// If it leads, or the others would have no live majority, or no node answers in time.
    pub async fn remove_node(&self, node_id: u64, keep_as_learner: bool) -> Result<Vec<Member>, Error> {
        let request = api::RemoveNodeRequest { node_id, keep_as_learner };
        let answer = self.change("remove node", request, async |mut node, request| node.remove_node(request).await);
        Ok(Member::all_of(answer.await?))
    }

    /// Gives the vote of `old` to the learner `new` and removes `old`.
    ///
    /// # Errors
    /// If `old` leads or `new` lags behind, or no node answers in time.
    pub async fn replace_node(&self, old: u64, new: u64) -> Result<Vec<Member>, Error> {
        let request = api::ReplaceNodeRequest { old, new };
        let answer = self.change("replace node", request, async |mut node, request| node.replace_node(request).await);
        Ok(Member::all_of(answer.await?))
    }

    /// Changes the addresses at which a node is reached; those left empty stay.
    ///
    /// # Errors
    /// If it is no member, or no node answers in time.
    pub async fn move_node(&self, node_id: u64, addresses: NodeAddresses) -> Result<Vec<Member>, Error> {
        let request = api::MoveNodeRequest { node_id, addresses: Some(addresses.into_api()) };
        let answer = self.change("move node", request, async |mut node, request| node.move_node(request).await);
        Ok(Member::all_of(answer.await?))
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
