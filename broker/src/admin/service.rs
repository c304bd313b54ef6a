//! The service as tonic serves it: one line per call.

use std::sync::Arc;

use tercet_proto::admin::v1::{
    AddNodeRequest, BootstrapRequest, BootstrapResponse, ClusterStatusRequest, ClusterStatusResponse,
    CreateGroupRequest, CreateGroupResponse, CreateTopicRequest, CreateTopicResponse, DeleteGroupRequest,
    DeleteGroupResponse, DeleteTopicRequest, DeleteTopicResponse, DescribeGroupRequest, DescribeGroupResponse,
    DescribeTopicRequest, DescribeTopicResponse, ListGroupsRequest, ListGroupsResponse, ListTopicsRequest,
    ListTopicsResponse, LogRangeRequest, LogRangeResponse, MembersResponse, MoveNodeRequest, NodeStatusRequest,
    NodeStatusResponse, PromoteNodeRequest, RaiseLevelRequest, RaiseLevelResponse, RemoveNodeRequest,
    ReplaceNodeRequest, StateDigestRequest, StateDigestResponse, TransferLeadershipRequest, TransferLeadershipResponse,
    UpdateGroupRequest, UpdateGroupResponse, admin_server::Admin,
};
use tonic::{Request, Response, Status, async_trait};

use super::{
    at_leader::{Client, at_leader, once_at_leader},
    cluster, describe_group, groups, inspect, level, members, topics,
};
use crate::grpc::Node;

/// The administration of one node.
#[derive(Clone)]
pub struct Administration {
    node: Arc<Node>,
}

impl Administration {
    /// Serves this node.
    pub fn new(node: Arc<Node>) -> Administration {
        Administration { node }
    }
}

type Reply<A> = Result<Response<A>, Status>;

#[async_trait]
impl Admin for Administration {
    async fn bootstrap(&self, request: Request<BootstrapRequest>) -> Reply<BootstrapResponse> {
        cluster::bootstrap(&self.node, request.into_inner()).await.map(Response::new)
    }

    async fn create_topic(&self, request: Request<CreateTopicRequest>) -> Reply<CreateTopicResponse> {
        let call = |mut client: Client, request| async move { client.create_topic(request).await };
        at_leader(&self.node, request, topics::create, call).await
    }

    async fn delete_topic(&self, request: Request<DeleteTopicRequest>) -> Reply<DeleteTopicResponse> {
        let call = |mut client: Client, request| async move { client.delete_topic(request).await };
        once_at_leader(&self.node, request, topics::delete, call).await
    }

    async fn list_topics(&self, request: Request<ListTopicsRequest>) -> Reply<ListTopicsResponse> {
        let call = |mut client: Client, request| async move { client.list_topics(request).await };
        at_leader(&self.node, request, topics::list, call).await
    }

    async fn describe_topic(&self, request: Request<DescribeTopicRequest>) -> Reply<DescribeTopicResponse> {
        let call = |mut client: Client, request| async move { client.describe_topic(request).await };
        at_leader(&self.node, request, topics::describe, call).await
    }

    async fn create_group(&self, request: Request<CreateGroupRequest>) -> Reply<CreateGroupResponse> {
        let call = |mut client: Client, request| async move { client.create_group(request).await };
        at_leader(&self.node, request, groups::create, call).await
    }

    async fn update_group(&self, request: Request<UpdateGroupRequest>) -> Reply<UpdateGroupResponse> {
        let call = |mut client: Client, request| async move { client.update_group(request).await };
        at_leader(&self.node, request, groups::update, call).await
    }

    async fn delete_group(&self, request: Request<DeleteGroupRequest>) -> Reply<DeleteGroupResponse> {
        let call = |mut client: Client, request| async move { client.delete_group(request).await };
        once_at_leader(&self.node, request, groups::delete, call).await
    }

    async fn list_groups(&self, request: Request<ListGroupsRequest>) -> Reply<ListGroupsResponse> {
        let call = |mut client: Client, request| async move { client.list_groups(request).await };
        at_leader(&self.node, request, groups::list, call).await
    }

    async fn describe_group(&self, request: Request<DescribeGroupRequest>) -> Reply<DescribeGroupResponse> {
        let call = |mut client: Client, request| async move { client.describe_group(request).await };
        at_leader(&self.node, request, describe_group::describe, call).await
    }

    async fn cluster_status(&self, _: Request<ClusterStatusRequest>) -> Reply<ClusterStatusResponse> {
        Ok(Response::new(cluster::cluster_status(&self.node).await))
    }

    async fn node_status(&self, _: Request<NodeStatusRequest>) -> Reply<NodeStatusResponse> {
        Ok(Response::new(cluster::node_status(&self.node)))
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Reply<TransferLeadershipResponse> {
        let call = |mut client: Client, request| async move { client.transfer_leadership(request).await };
        at_leader(&self.node, request, cluster::transfer, call).await
    }

    async fn raise_level(&self, request: Request<RaiseLevelRequest>) -> Reply<RaiseLevelResponse> {
        let call = |mut client: Client, request| async move { client.raise_level(request).await };
        at_leader(&self.node, request, level::raise, call).await
    }

    async fn add_node(&self, request: Request<AddNodeRequest>) -> Reply<MembersResponse> {
        let call = |mut client: Client, request| async move { client.add_node(request).await };
        at_leader(&self.node, request, members::add, call).await
    }

    async fn promote_node(&self, request: Request<PromoteNodeRequest>) -> Reply<MembersResponse> {
        let call = |mut client: Client, request| async move { client.promote_node(request).await };
        at_leader(&self.node, request, members::promote, call).await
    }

    async fn remove_node(&self, request: Request<RemoveNodeRequest>) -> Reply<MembersResponse> {
        let call = |mut client: Client, request| async move { client.remove_node(request).await };
        at_leader(&self.node, request, members::remove, call).await
    }

    async fn replace_node(&self, request: Request<ReplaceNodeRequest>) -> Reply<MembersResponse> {
        let call = |mut client: Client, request| async move { client.replace_node(request).await };
        at_leader(&self.node, request, members::replace, call).await
    }

    async fn move_node(&self, request: Request<MoveNodeRequest>) -> Reply<MembersResponse> {
        let call = |mut client: Client, request| async move { client.move_node(request).await };
        at_leader(&self.node, request, members::relocate, call).await
    }

    async fn log_range(&self, request: Request<LogRangeRequest>) -> Reply<LogRangeResponse> {
        inspect::log_range(&self.node, request.into_inner()).await.map(Response::new)
    }

    async fn state_digest(&self, _: Request<StateDigestRequest>) -> Reply<StateDigestResponse> {
        Ok(Response::new(inspect::state_digest(&self.node)))
    }
}
