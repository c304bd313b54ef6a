//! Heartbeat and NotifyClientTermination: who lives. Those of push consumers also reach the leader, which renews their
//! deliveries.

use std::{sync::Arc, time::Duration};

use tercet_proto::rocketmq::v2::{
    ClientType, Code, HeartbeatRequest, HeartbeatResponse, NotifyClientTerminationRequest,
    NotifyClientTerminationResponse,
};
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use super::{
    node::Node,
    refusal::{Refusal, ok},
    sessions::Beat,
    settings::Subject,
    unary::{self, Call, Refused},
};
use crate::{
    consume::{GOODBYE_FOR, millis},
    forward::{Errand, Line, Relayed, Resend},
    model::ClientKey,
    state::RenewLeases,
};

/// A heartbeat is not worth waiting for an election: the next comes in 10 s.
const TELL_WITHIN: Duration = Duration::from_secs(1);

/// Answers Heartbeat.
pub(super) async fn heartbeat(
    node: &Arc<Node>,
    request: Request<HeartbeatRequest>,
) -> Result<Response<HeartbeatResponse>, Status> {
    unary::here(node, "Heartbeat", request, beat).await
}

/// Answers NotifyClientTermination.
pub(super) async fn notify_client_termination(
    node: &Arc<Node>,
    request: Request<NotifyClientTerminationRequest>,
) -> Result<Response<NotifyClientTerminationResponse>, Status> {
    unary::here(node, "NotifyClientTermination", request, goodbye).await
}

async fn beat(node: Arc<Node>, call: Call, request: HeartbeatRequest) -> Result<Response<HeartbeatResponse>, Refused> {
    let done = || Ok(Response::new(HeartbeatResponse { status: Some(ok()) }));
    let client = ClientKey::of(&call.caller.client_id);
    if call.caller.forwarded {
        node.sessions.heard(client).map_err(|full| Refusal::new(Code::TooManyRequests, full.to_string()))?;
        return done();
    }
    // The settings count, not the type that the request says.
    let (group, push) = match node.sessions.heartbeat(client) {
        Beat::Declared(Subject::Producer) => return done(),
        Beat::Declared(Subject::Consumer { group, push }) => (group, push),
        Beat::Left => return Err(undeclared().into()),
        Beat::Undeclared => {
            // This node forgot it, as after a restart. Until it has declared itself again, what it holds is renewed.
            if request.client_type() != ClientType::Producer {
                tell(&node, &call, request).await;
            }
            return Err(undeclared().into());
        }
    };
    if node.state.group(group.as_str()).is_none() && node.relay.leadership().serves() {
        let why = format!("consumer group {group} does not exist");
        return Err(Refusal::new(Code::IllegalConsumerGroup, why).into());
    }
    if push {
        tell(&node, &call, request).await;
    }
    done()
}

/// Tells the leader that the client lives.
async fn tell(node: &Node, call: &Call, request: HeartbeatRequest) {
    let forward = |channel, request| async move { unary::client(channel).heartbeat(request).await };
    if let Err(error) = node.relay.run(told(call, request), forward).await {
        tracing::debug!(?error, "the leader was not told of a heartbeat");
    }
}

async fn goodbye(
    node: Arc<Node>,
    call: Call,
    request: NotifyClientTerminationRequest,
) -> Result<Response<NotifyClientTerminationResponse>, Refused> {
    let client = ClientKey::of(&call.caller.client_id);
    let subject = node.sessions.terminate(client);
    if subject.is_none() && !call.caller.forwarded {
        return Err(undeclared().into());
    }
    if call.caller.forwarded || matches!(subject, Some(Subject::Consumer { push: true, .. })) {
        let forward = |channel, request| async move { unary::client(channel).notify_client_termination(request).await };
        match node.relay.run(told(&call, request), forward).await {
            Ok(Relayed::Answer(_)) => {}
            Ok(Relayed::Here(_)) => stop_renewing(&node, client).await,
            Err(error) => tracing::debug!(?error, "the leader was not told of a goodbye"),
        }
    }
    Ok(Response::new(NotifyClientTerminationResponse { status: Some(ok()) }))
}

/// What a client that left holds comes back soon, unless it has come back itself.
pub(super) async fn stop_renewing(node: &Node, client: ClientKey) {
    if node.sessions.lives(client) == Some(true) {
        return;
    }
    let shorten = RenewLeases { clients: vec![client], invisible_ms: millis(GOODBYE_FOR), shorten: true };
    if let Err(error) = node.batcher.submit(shorten.encode()).await {
        tracing::debug!(%error, "deliveries of a client that left were not shortened; they end by themselves");
    }
}

fn told<Q>(call: &Call, message: Q) -> Errand<'_, Q> {
    let until = Instant::now() + TELL_WITHIN;
    Errand {
        metadata: &call.metadata,
        message,
        bytes: 64,
        find_until: Instant::now(),
        answer_until: until,
        resend: Resend::Safe,
        line: Line::Calls,
    }
}

fn undeclared() -> Refusal {
    let why = "the client has not declared itself on Telemetry";
    Refusal::new(Code::UnrecognizedClientType, why)
}
