//! ChangeInvisibleDuration: a new deadline for one delivery, and the handle that says it. The old handle keeps working.

use std::sync::Arc;

use tercet_proto::rocketmq::v2::{ChangeInvisibleDurationRequest, ChangeInvisibleDurationResponse, Code};
use tonic::{Request, Response, Status};

use super::{
    ack::{open_handle, over, subject},
    groups::unknown_group,
    node::Node,
    receive_check::{INVISIBLE_MILLIS_MAX, millis_of},
    refusal::{Refusal, ok},
    send::unknown_topic,
    unary::{self, Call, Refused},
};
use crate::{
    consume::Delivery,
    forward::Resend,
    state::{AckEntry, ChangeInvisible, Outcome, UnknownName},
};

/// A Node client gives back with 0, over and over: it does not know the back-off that it is told.
const NODE_MILLIS_MIN: u64 = 2_000;

/// Answers the RPC.
pub(super) async fn change_invisible_duration(
    node: &Arc<Node>,
    request: Request<ChangeInvisibleDurationRequest>,
) -> Result<Response<ChangeInvisibleDurationResponse>, Status> {
    let call = |mut client: unary::Client, request| async move { client.change_invisible_duration(request).await };
    unary::at_leader(node, "ChangeInvisibleDuration", request, Resend::Safe, change, call).await
}

async fn change(
    node: Arc<Node>,
    call: Call,
    request: ChangeInvisibleDurationRequest,
) -> Result<Response<ChangeInvisibleDurationResponse>, Refused> {
    let invisible_ms = check(&request)?;
    let subject = subject(&node, request.topic.as_ref(), request.group.as_ref())?;
    let entry = open_handle(&node, &request.receipt_handle, subject)?;
    let fifo = node.state.group_by_id(subject.group).is_some_and(|group| group.settings.fifo);
    let invisible_ms = clamped(invisible_ms, call.caller.node_client, fifo);
    let command = ChangeInvisible {
        group: subject.group,
        topic: subject.topic,
        entry,
        invisible_ms,
        suspend: request.suspend.unwrap_or(false),
    };
    match node.batcher.submit(command.encode()).await? {
        Outcome::Changed(Ok(deadline)) => {
            let key = node.deliverer.handles().expect("it opened the handle");
            let old = key.open(&request.receipt_handle).expect("it was opened before");
            let renewed = Delivery { entry: AckEntry { deadline, ..entry }, ..old };
            let receipt_handle = key.seal(&renewed);
            Ok(Response::new(ChangeInvisibleDurationResponse { status: Some(ok()), receipt_handle }))
        }
        Outcome::Changed(Err(_)) => Err(over().into()),
        Outcome::Unknown(UnknownName::Group) => Err(unknown_group("of the handle").into()),
        Outcome::Unknown(_) => Err(unknown_topic("of the handle").into()),
        other => panic!("a change was answered by {other:?}"),
    }
}

/// The duration in milliseconds, or 40011.
fn check(request: &ChangeInvisibleDurationRequest) -> Result<u64, Refusal> {
    let given = request.invisible_duration.as_ref().map_or(0, millis_of);
    if !(0..=INVISIBLE_MILLIS_MAX).contains(&given) {
        let why = format!("invisible duration is {given} ms, allowed are 0 to 12 hours");
        return Err(Refusal::new(Code::IllegalInvisibleTime, why));
    }
    Ok(given.unsigned_abs())
}

fn clamped(invisible_ms: u64, node_client: bool, fifo: bool) -> u64 {
    if node_client && !fifo { invisible_ms.max(NODE_MILLIS_MIN) } else { invisible_ms }
}

#[cfg(test)]
mod tests {
    use prost_types::Duration;

    use super::*;

    #[test]
    fn durations_from_0_to_12_hours_are_legal() {
        let cases = [
            (None, Some(0)),
            (Some(0), Some(0)),
            (Some(12 * 3600), Some(12 * 3600 * 1000)),
            (Some(12 * 3600 + 1), None),
            (Some(-1), None),
            (Some(i64::MAX), None),
        ];
        for (seconds, expected) in cases {
            let request = ChangeInvisibleDurationRequest {
                invisible_duration: seconds.map(|seconds| Duration { seconds, nanos: 0 }),
                ..Default::default()
            };
            let result = check(&request);
            assert_eq!(result.as_ref().ok().copied(), expected, "{seconds:?}");
            assert!(result.err().is_none_or(|refusal| refusal.code == Code::IllegalInvisibleTime));
        }
    }

    #[test]
    fn a_node_client_cannot_spin_on_a_message() {
        assert_eq!(clamped(0, true, false), 2_000);
        assert_eq!(clamped(5_000, true, false), 5_000);
        assert_eq!(clamped(0, true, true), 0, "order waits for nobody");
        assert_eq!(clamped(0, false, false), 0);
    }
}
