//! QueryOffset: the beginning or end of a queue, or the first message at a time. The reference does not serve it; the
//! command line does with it what users do with mqadmin.

use std::sync::Arc;

use tercet_proto::rocketmq::v2::{Code, QueryOffsetPolicy, QueryOffsetRequest, QueryOffsetResponse};
use tonic::{Request, Response, Status};

use super::{
    names,
    node::Node,
    refusal::{Refusal, ok},
    send::unknown_topic,
    send_check::unix_millis,
    unary::{self, Call, Refused},
};
use crate::forward::Resend;

/// Answers the RPC.
pub(super) async fn query_offset(
    node: &Arc<Node>,
    request: Request<QueryOffsetRequest>,
) -> Result<Response<QueryOffsetResponse>, Status> {
    let call = |mut client: unary::Client, request| async move { client.query_offset(request).await };
    unary::at_leader(node, "QueryOffset", request, Resend::Safe, look_up, call).await
}

async fn look_up(
    node: Arc<Node>,
    _: Call,
    request: QueryOffsetRequest,
) -> Result<Response<QueryOffsetResponse>, Refused> {
    let queue = request.message_queue.as_ref();
    let name = names::topic(queue.and_then(|queue| queue.topic.as_ref()))?;
    unary::up_to_date(&node).await?;
    let topic = node.state.topic(name.as_str()).ok_or_else(|| unknown_topic(name.as_str()))?;
    let id = queue.map_or(-1, |queue| queue.id);
    let no_queue = || Refusal::new(Code::NotFound, format!("topic {name} has no queue {id}"));
    let bounds = node.state.queue_bounds(topic.id).ok_or_else(|| unknown_topic(name.as_str()))?;
    let bounds = usize::try_from(id).ok().and_then(|id| bounds.get(id)).copied().ok_or_else(no_queue)?;
    let offset = match QueryOffsetPolicy::try_from(request.query_offset_policy) {
        Ok(QueryOffsetPolicy::Beginning) => bounds.first,
        Ok(QueryOffsetPolicy::End) => bounds.next,
        Ok(QueryOffsetPolicy::Timestamp) => {
            let time = request.timestamp.as_ref().map(unix_millis);
            let time = time.ok_or_else(|| Refusal::new(Code::BadRequest, "this policy needs a timestamp"))?;
            let state = node.state.clone();
            let found = tokio::task::spawn_blocking(move || state.offset_at(topic.id, bounds.queue, time)).await;
            let broken = |why: String| Refusal::new(Code::InternalServerError, why);
            found
                .map_err(|error| broken(error.to_string()))?
                .map_err(|error| broken(error.to_string()))?
                .unwrap_or(bounds.next)
        }
        Err(_) => return Err(Refusal::new(Code::BadRequest, "unknown offset policy").into()),
    };
    let offset = i64::try_from(offset.0).unwrap_or(i64::MAX);
    Ok(Response::new(QueryOffsetResponse { status: Some(ok()), offset }))
}
