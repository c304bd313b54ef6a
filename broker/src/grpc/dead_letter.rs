//! ForwardMessageToDeadLetterQueue: a consumer gives a delivery up. Push consumers of ordered groups count attempts themselves,
//! and ask for it after the last one; the next message of the message group goes on then.

use std::sync::Arc;

use tercet_proto::rocketmq::v2::{
    ForwardMessageToDeadLetterQueueRequest, ForwardMessageToDeadLetterQueueResponse, Status as Answer,
};
use tonic::{Request, Response, Status};

use super::{
    ack::{open_handle, over, subject},
    groups::unknown_group,
    node::Node,
    refusal::ok,
    send::unknown_topic,
    unary::{self, Call, Refused},
};
use crate::{
    forward::Resend,
    state::{DeadLetter, Outcome, Settled, UnknownName},
};

/// Answers the RPC.
pub(super) async fn forward_message_to_dead_letter_queue(
    node: &Arc<Node>,
    request: Request<ForwardMessageToDeadLetterQueueRequest>,
) -> Result<Response<ForwardMessageToDeadLetterQueueResponse>, Status> {
    let call =
        |mut client: unary::Client, request| async move { client.forward_message_to_dead_letter_queue(request).await };
    unary::at_leader(node, "ForwardMessageToDeadLetterQueue", request, Resend::Safe, forward, call).await
}

/// The client's counts of attempts are not checked: it knows best when it gives up.
async fn forward(
    node: Arc<Node>,
    _: Call,
    request: ForwardMessageToDeadLetterQueueRequest,
) -> Result<Response<ForwardMessageToDeadLetterQueueResponse>, Refused> {
    let subject = subject(&node, request.topic.as_ref(), request.group.as_ref())?;
    let entry = open_handle(&node, &request.receipt_handle, subject)?;
    let command = DeadLetter { group: subject.group, topic: subject.topic, entry };
    let status: Answer = match node.batcher.submit(command.encode()).await? {
        // Once: a repeat finds the delivery done with.
        Outcome::DeadLettered(Settled::Done | Settled::Already) => ok(),
        Outcome::DeadLettered(Settled::Expired | Settled::Unknown) => over().into(),
        Outcome::Unknown(UnknownName::Group) => return Err(unknown_group("of the handle").into()),
        Outcome::Unknown(_) => return Err(unknown_topic("of the handle").into()),
        other => panic!("a forward to the dead letters was answered by {other:?}"),
    };
    Ok(Response::new(ForwardMessageToDeadLetterQueueResponse { status: Some(status) }))
}
