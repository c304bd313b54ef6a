//! The service as tonic serves it: one line per RPC.

use std::sync::Arc;

use tercet_proto::rocketmq::v2::{
    AckMessageRequest, AckMessageResponse, ChangeInvisibleDurationRequest, ChangeInvisibleDurationResponse,
    EndTransactionRequest, EndTransactionResponse, ForwardMessageToDeadLetterQueueRequest,
    ForwardMessageToDeadLetterQueueResponse, GetOffsetRequest, GetOffsetResponse, HeartbeatRequest, HeartbeatResponse,
    NotifyClientTerminationRequest, NotifyClientTerminationResponse, PullMessageRequest, PullMessageResponse,
    QueryAssignmentRequest, QueryAssignmentResponse, QueryOffsetRequest, QueryOffsetResponse, QueryRouteRequest,
    QueryRouteResponse, RecallMessageRequest, RecallMessageResponse, ReceiveMessageRequest, SendMessageRequest,
    SendMessageResponse, SyncLiteSubscriptionRequest, SyncLiteSubscriptionResponse, TelemetryCommand,
    UpdateOffsetRequest, UpdateOffsetResponse, messaging_service_server::MessagingService,
};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{ack, change, dead_letter, node::Node, offset, presence, receive, receive_items, route, send, telemetry};

/// The client API of one node.
#[derive(Clone)]
pub struct Messaging {
    node: Arc<Node>,
}

impl Messaging {
    /// Serves this node.
    pub fn new(node: Arc<Node>) -> Messaging {
        Messaging { node }
    }
}

fn unimplemented<A>(rpc: &str) -> Result<Response<A>, Status> {
    Err(Status::unimplemented(format!("{rpc} is not served by this version of Tercet")))
}

type Reply<A> = Result<Response<A>, Status>;

#[async_trait]
impl MessagingService for Messaging {
    type ReceiveMessageStream = receive_items::Items;
    type PullMessageStream = tokio_stream::Empty<Result<PullMessageResponse, Status>>;
    type TelemetryStream = telemetry::Commands;

    async fn query_route(&self, request: Request<QueryRouteRequest>) -> Reply<QueryRouteResponse> {
        route::query_route(&self.node, request).await
    }

    async fn heartbeat(&self, request: Request<HeartbeatRequest>) -> Reply<HeartbeatResponse> {
        presence::heartbeat(&self.node, request).await
    }

    async fn send_message(&self, request: Request<SendMessageRequest>) -> Reply<SendMessageResponse> {
        send::send_message(&self.node, request).await
    }

    async fn query_assignment(&self, request: Request<QueryAssignmentRequest>) -> Reply<QueryAssignmentResponse> {
        route::query_assignment(&self.node, request).await
    }

    async fn receive_message(&self, request: Request<ReceiveMessageRequest>) -> Reply<Self::ReceiveMessageStream> {
        Ok(receive::receive_message(&self.node, request))
    }

    async fn ack_message(&self, request: Request<AckMessageRequest>) -> Reply<AckMessageResponse> {
        ack::ack_message(&self.node, request).await
    }

    async fn forward_message_to_dead_letter_queue(
        &self,
        request: Request<ForwardMessageToDeadLetterQueueRequest>,
    ) -> Reply<ForwardMessageToDeadLetterQueueResponse> {
        dead_letter::forward_message_to_dead_letter_queue(&self.node, request).await
    }

    async fn pull_message(&self, _: Request<PullMessageRequest>) -> Reply<Self::PullMessageStream> {
        unimplemented("PullMessage")
    }

    async fn update_offset(&self, _: Request<UpdateOffsetRequest>) -> Reply<UpdateOffsetResponse> {
        unimplemented("UpdateOffset")
    }

    async fn get_offset(&self, _: Request<GetOffsetRequest>) -> Reply<GetOffsetResponse> {
        unimplemented("GetOffset")
    }

    async fn query_offset(&self, request: Request<QueryOffsetRequest>) -> Reply<QueryOffsetResponse> {
        offset::query_offset(&self.node, request).await
    }

    async fn end_transaction(&self, _: Request<EndTransactionRequest>) -> Reply<EndTransactionResponse> {
        unimplemented("EndTransaction")
    }

    async fn telemetry(&self, request: Request<Streaming<TelemetryCommand>>) -> Reply<Self::TelemetryStream> {
        Ok(telemetry::telemetry(&self.node, request))
    }

    async fn notify_client_termination(
        &self,
        request: Request<NotifyClientTerminationRequest>,
    ) -> Reply<NotifyClientTerminationResponse> {
        presence::notify_client_termination(&self.node, request).await
    }

    async fn change_invisible_duration(
        &self,
        request: Request<ChangeInvisibleDurationRequest>,
    ) -> Reply<ChangeInvisibleDurationResponse> {
        change::change_invisible_duration(&self.node, request).await
    }

    async fn recall_message(&self, _: Request<RecallMessageRequest>) -> Reply<RecallMessageResponse> {
        unimplemented("RecallMessage")
    }

    async fn sync_lite_subscription(
        &self,
        _: Request<SyncLiteSubscriptionRequest>,
    ) -> Reply<SyncLiteSubscriptionResponse> {
        unimplemented("SyncLiteSubscription")
    }
}
