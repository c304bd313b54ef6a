//! ReceiveMessage: one status, the messages, the delivery timestamp.
//!
//! The answer's headers go out at once; a task of its own polls and writes, and sees by its closed channel when the
//! client went away. What was picked for a client that is gone is given back. A node that stops answers the polls that wait
//! here or at the leader, before their connections go.

use std::sync::Arc;

use tercet_proto::rocketmq::v2::{
    Code, Message, ReceiveMessageRequest, ReceiveMessageResponse, Status as Answer, receive_message_response::Content,
};
use tokio::time::{Duration, Instant};
use tonic::{Request, Response, Status, Streaming, metadata::MetadataMap};

use super::{
    caller::Caller,
    groups,
    node::Node,
    receive_check::{self, BEFORE_DEADLINE, ReceiveDraft},
    receive_items::{self, Gone, Items, Sender},
    refusal::{Refusal, ok},
    send::unknown_topic,
    unary::{FIND_LEADER_MAX, Refused, client},
};
use crate::{
    consume::{Delivered, Deliverer, PollEnd, Wanted, timestamp},
    forward::{Errand, HOP_HEADER, Line, Relayed, Resend},
    listen::Load,
    model::GroupName,
    state::{Pick, UnknownName},
};

/// How long after the end of the poll a forwarded one is taken for lost.
const LOST_AFTER: Duration = Duration::from_millis(500);

/// Answers the RPC.
pub(super) fn receive_message(node: &Arc<Node>, request: Request<ReceiveMessageRequest>) -> Response<Items> {
    let (metadata, extensions, message) = request.into_parts();
    // What another node forwards is for many clients.
    let forwarded = metadata.contains_key(HOP_HEADER);
    let connection = extensions.get::<Arc<Load>>().filter(|_| !forwarded).map(Arc::clone);
    let (sender, items) = receive_items::answer(connection);
    tokio::spawn(serve(Arc::clone(node), metadata, message, sender));
    Response::new(items)
}

async fn serve(node: Arc<Node>, metadata: MetadataMap, request: ReceiveMessageRequest, sender: Sender) {
    let began = node.clock.monotonic();
    let code = match answer(&node, &metadata, request, &sender).await {
        Ok(Some(code)) => code,
        Ok(None) | Err(Refused::Typed(Refusal { code: Code::Unspecified, .. })) => return,
        Err(Refused::Typed(refusal)) => {
            let code = refusal.code;
            // The client may be gone; then nobody reads it.
            let _ = finish(&node, refusal.into(), &sender).await;
            code as i32
        }
        Err(Refused::Grpc(status)) => {
            let _ = sender.send(Err(status)).await;
            0
        }
    };
    let after = node.clock.monotonic().saturating_sub(began);
    node.options.traffic.answered("ReceiveMessage", u32::try_from(code).unwrap_or(0), after);
}

/// The code of what was sent; nothing if the client went away.
async fn answer(
    node: &Arc<Node>,
    metadata: &MetadataMap,
    request: ReceiveMessageRequest,
    sender: &Sender,
) -> Result<Option<i32>, Refused> {
    let caller = Caller::of(metadata)?;
    let draft = receive_check::check(&request, &caller, node.options.long_poll_max)?;
    let until = Instant::now() + draft.poll;
    if !draft.auto_renew.is_none() {
        // A full table of sessions only means that its deliveries may not be renewed.
        let _ = node.sessions.heard(draft.auto_renew);
    }
    let mut request = request;
    loop {
        let errand = Errand {
            metadata,
            message: request,
            bytes: 1024,
            find_until: until.min(Instant::now() + FIND_LEADER_MAX),
            // The leader ends its poll so long before this deadline that both polls end together.
            answer_until: until + BEFORE_DEADLINE,
            resend: Resend::Safe,
            line: Line::Receives,
        };
        let call = |channel, request| async move { client(channel).receive_message(request).await };
        let relayed = tokio::select! {
            biased;
            relayed = node.relay.run(errand.clone(), call) => relayed?,
            () = sender.closed() => return Ok(None),
            () = node.stop.cancelled() => return Err(nothing().into()),
        };
        match relayed {
            Relayed::Answer(stream) => match relay_items(node, stream.into_inner(), until + LOST_AFTER, sender).await {
                Relay::Done(code) => return Ok(Some(code)),
                Relay::Gone => return Ok(None),
                Relay::Stopped => return Err(nothing().into()),
                Relay::Broken => {}
            },
            Relayed::Here(_) => match poll_here(node, &draft, until, sender).await? {
                Here::Done(code) => return Ok(Some(code)),
                Here::Gone => return Ok(None),
                Here::LeaderLost => {}
            },
        }
        request = errand.message;
        if caller.forwarded || Instant::now() >= until {
            return Err(nothing().into());
        }
    }
}

fn nothing() -> Refusal {
    Refusal::new(Code::MessageNotFound, "no message came within the poll")
}

/// How passing on the leader's stream ended.
enum Relay {
    Done(i32),
    Gone,
    /// This node stops, and nothing was passed on.
    Stopped,
    /// Before anything was passed on.
    Broken,
}

/// What the leader has picked is passed on whole, also by a node that stops.
async fn relay_items(
    node: &Node,
    mut stream: Streaming<ReceiveMessageResponse>,
    until: Instant,
    sender: &Sender,
) -> Relay {
    let (mut code, mut complete) = (None, false);
    loop {
        let item = tokio::select! {
            biased;
            item = stream.message() => item,
            () = sender.closed(), if !complete => return Relay::Gone,
            () = node.stop.cancelled(), if code.is_none() => return Relay::Stopped,
            () = tokio::time::sleep_until(until), if code.is_none() => return Relay::Broken,
        };
        match item {
            Ok(Some(item)) => {
                match &item.content {
                    Some(Content::Status(status)) => code = Some(status.code),
                    Some(Content::DeliveryTimestamp(_)) => complete = true,
                    _ => {}
                }
                if sender.send(Ok(item)).await.is_err() {
                    return Relay::Gone;
                }
            }
            Ok(None) => return code.map_or(Relay::Broken, Relay::Done),
            Err(status) => {
                let Some(code) = code else { return Relay::Broken };
                let _ = sender.send(Err(status)).await;
                return Relay::Done(code);
            }
        }
    }
}

/// How a poll on this node ended.
enum Here {
    Done(i32),
    Gone,
    LeaderLost,
}

async fn poll_here(node: &Arc<Node>, draft: &ReceiveDraft, until: Instant, sender: &Sender) -> Result<Here, Refused> {
    let topic = node.state.topic(draft.topic.as_str()).ok_or_else(|| unknown_topic(draft.topic.as_str()))?;
    let group = groups::subscribed(node, &draft.group).await?;
    if node.deliverer.handles().is_none() {
        return Err(Refusal::no_leader().into());
    }
    let wanted = Wanted {
        topic: topic.id,
        group: group.id,
        fifo: group.settings.fifo,
        filter: draft.filter.clone(),
        messages_max: draft.messages_max,
        bytes_max: u32::try_from(node.options.receive_bytes_max).unwrap_or(u32::MAX),
        invisible_ms: draft.invisible_ms,
        auto_renew: draft.auto_renew,
        attempt: draft.attempt,
        until,
    };
    let picks = match node.poll.run(&wanted, sender.closed()).await {
        Ok(picks) => picks,
        Err(PollEnd::Gone) => return Ok(Here::Gone),
        Err(PollEnd::LeaderLost) => return Ok(Here::LeaderLost),
        Err(end) => return Err(refusal_of(end, draft).into()),
    };
    let delivered = Delivered { topic: topic.id, topic_name: topic.name, group: group.id };
    match deliver(node, &delivered, &draft.group, &picks, sender).await {
        Ok(()) => Ok(Here::Done(Code::Ok as i32)),
        Err(Undelivered { from, error }) => {
            node.poll.give_back(&wanted, &picks[from..]).await;
            match error {
                None => Ok(Here::Gone),
                Some(error) => Err(error),
            }
        }
    }
}

/// The picks from this one on did not reach the client; without an error, because it went away.
struct Undelivered {
    from: usize,
    error: Option<Refused>,
}

async fn deliver(
    node: &Node,
    of: &Delivered,
    group: &GroupName,
    picks: &[Pick],
    sender: &Sender,
) -> Result<(), Undelivered> {
    // Messages that were handed over; the connection may have taken fewer.
    let mut done = 0;
    let gone = |_: Gone| Undelivered { from: sender.messages_taken(), error: None };
    while done < picks.len() {
        let portion = &picks[done..done + Deliverer::portion(&picks[done..])];
        let bytes = portion.iter().map(|pick| pick.position.length as usize).sum();
        let _room = node.answers.room(sender.connection(), bytes).await;
        let messages = match node.deliverer.read(of, portion).await {
            Ok(messages) => messages,
            Err(error) => {
                tracing::error!(%error, topic = %of.topic_name, "a message could not be delivered");
                let error = if done == 0 {
                    Refused::Typed(Refusal::new(Code::InternalServerError, error.to_string()))
                } else {
                    Refused::Grpc(Status::internal(error.to_string()))
                };
                return Err(Undelivered { from: done, error: Some(error) });
            }
        };
        if done == 0 {
            send(sender, Content::Status(ok())).await.map_err(gone)?;
        }
        count(node, of, group, &messages, portion);
        for message in messages {
            send(sender, Content::Message(message)).await.map_err(gone)?;
            done += 1;
        }
    }
    let now = timestamp(node.leader_clock.now());
    send(sender, Content::DeliveryTimestamp(now)).await.map_err(gone)?;
    // What the connection has taken is on its way; a client that leaves then has it or asks again.
    sender.drained(picks.len()).await.map_err(gone)
}

fn count(node: &Node, of: &Delivered, group: &GroupName, messages: &[Message], picks: &[Pick]) {
    for redelivered in [false, true] {
        let these = messages.iter().zip(picks).filter(|(_, pick)| (pick.attempt > 1) == redelivered);
        let (count, bytes) = these.fold((0, 0), |(count, bytes), (message, _)| (count + 1, bytes + message.body.len()));
        if count > 0 {
            let topic = of.topic_name.as_str();
            node.options.traffic.delivered(topic, group.as_str(), redelivered, count, bytes as u64);
        }
    }
}

async fn finish(node: &Node, status: Answer, sender: &Sender) -> Result<(), Gone> {
    send(sender, Content::Status(status)).await?;
    send(sender, Content::DeliveryTimestamp(timestamp(node.leader_clock.now()))).await
}

async fn send(sender: &Sender, content: Content) -> Result<(), Gone> {
    sender.send(Ok(ReceiveMessageResponse { content: Some(content) })).await
}

fn refusal_of(end: PollEnd, draft: &ReceiveDraft) -> Refusal {
    match end {
        PollEnd::Empty | PollEnd::Gone | PollEnd::LeaderLost => nothing(),
        PollEnd::Full => Refusal::new(Code::TooManyRequests, "too many receives wait on this node"),
        PollEnd::Unknown(UnknownName::Group) => groups::unknown_group(draft.group.as_str()),
        PollEnd::Unknown(UnknownName::Topic | UnknownName::Queue) => unknown_topic(draft.topic.as_str()),
        PollEnd::Failed(error) => error.into(),
    }
}
