//! ReceiveMessage: one status, the messages, the delivery timestamp.
//!
//! The answer's headers go out at once; a task of its own polls and writes (`delivery`), or passes on what the leader
//! answers (`relayed`), and sees by its closed channel when the client went away. What was picked for a client that is gone
//! is given back. A node that stops answers the polls that wait here or at the leader, before their connections go.

use std::sync::Arc;

use tercet_proto::rocketmq::v2::{Code, ReceiveMessageRequest, Status as Answer, receive_message_response::Content};
use tokio::time::{Duration, Instant};
use tonic::{Request, Response, metadata::MetadataMap};

use super::{
    caller::Caller,
    delivery::{deliver, item},
    groups,
    node::Node,
    receive_check::{self, BEFORE_DEADLINE, ReceiveDraft},
    receive_items::{self, Gone, Items, Sender},
    refusal::Refusal,
    relayed::{self, Passed},
    send::unknown_topic,
    unary::{FIND_LEADER_MAX, Refused, client},
};
use crate::{
    consume::{Delivered, PollEnd, Wanted, ack_entry, timestamp},
    forward::{Errand, HOP_HEADER, Line, Relayed, Resend},
    listen::Load,
    state::{AckEntry, Pick, UnknownName},
};

/// How long after the end of the poll a forwarded one is taken for lost.
const LOST_AFTER: Duration = Duration::from_millis(500);
/// Picks of which not one could be read before a receive says so.
const UNREADABLE_LOOKS_MAX: u32 = 3;

/// Answers the RPC.
pub(super) fn receive_message(node: &Arc<Node>, request: Request<ReceiveMessageRequest>) -> Response<Items> {
    let (metadata, extensions, message) = request.into_parts();
    Response::new(receive(node, metadata, extensions.get::<Arc<Load>>().map(Arc::clone), message))
}

/// The items of the answer to a request that came with these headers, on this connection if that is known.
pub(super) fn receive(
    node: &Arc<Node>,
    metadata: MetadataMap,
    connection: Option<Arc<Load>>,
    message: ReceiveMessageRequest,
) -> Items {
    // What another node forwards is for many clients.
    let connection = connection.filter(|_| !metadata.contains_key(HOP_HEADER));
    let (sender, items) = receive_items::answer(connection);
    tokio::spawn(serve(Arc::clone(node), metadata, message, sender));
    items
}

async fn serve(node: Arc<Node>, metadata: MetadataMap, request: ReceiveMessageRequest, sender: Sender) {
    let began = node.clock.monotonic();
    let code = match answer(&node, &metadata, request, sender).await {
        Answered::Done(code) => code,
        Answered::Gone => return,
        Answered::Not(Refused::Typed(refusal), sender) => {
            let code = refusal.code;
            // The client may be gone; then nobody reads it.
            let _ = finish(&node, refusal.into(), &sender).await;
            code as i32
        }
        Answered::Not(Refused::Grpc(status), sender) => {
            let _ = sender.send(Err(status), None).await;
            0
        }
    };
    let after = node.clock.monotonic().saturating_sub(began);
    node.options.traffic.answered("ReceiveMessage", u32::try_from(code).unwrap_or(0), after);
}

/// How a receive ended.
enum Answered {
    /// With this code.
    Done(i32),
    /// The client went away.
    Gone,
    /// Nothing was said to the client yet.
    Not(Refused, Sender),
}

async fn answer(
    node: &Arc<Node>,
    metadata: &MetadataMap,
    request: ReceiveMessageRequest,
    mut sender: Sender,
) -> Answered {
    let checked = Caller::of(metadata)
        .and_then(|caller| Ok((receive_check::check(&request, &caller, node.options.long_poll_max)?, caller)));
    let (draft, caller) = match checked {
        Ok(checked) => checked,
        Err(refusal) => return Answered::Not(refusal.into(), sender),
    };
    let until = Instant::now() + draft.poll;
    if !draft.auto_renew.is_none() {
        // A full table of sessions only means that its deliveries may not be renewed.
        let _ = node.sessions.heard(draft.auto_renew);
    }
    loop {
        let asked = node.relay.leadership().place();
        sender = match turn(node, metadata, &request, (&draft, until), sender).await {
            Turn::Ended(answered) => return answered,
            Turn::LeaderLost(unused) => unused,
        };
        if caller.forwarded {
            // The node that forwarded it takes it to the next leader.
            return Answered::Not(Refusal::no_leader().into(), sender);
        }
        if Instant::now() >= until {
            return Answered::Not(nothing().into(), sender);
        }
        node.relay.leadership().settle(asked.as_ref(), until).await;
    }
}

/// What came of asking one leader.
enum Turn {
    Ended(Answered),
    /// Nothing was said to the client, and another leader may say something.
    LeaderLost(Sender),
}

async fn turn(
    node: &Arc<Node>,
    metadata: &MetadataMap,
    request: &ReceiveMessageRequest,
    (draft, until): (&ReceiveDraft, Instant),
    sender: Sender,
) -> Turn {
    let errand = Errand {
        metadata,
        message: request.clone(),
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
        relayed = node.relay.open(errand, call) => relayed,
        () = sender.closed() => return Turn::Ended(Answered::Gone),
        () = node.stop.cancelled() => return Turn::Ended(Answered::Not(nothing().into(), sender)),
    };
    match relayed {
        Err(error) => Turn::Ended(Answered::Not(error.into(), sender)),
        Ok(Relayed::Answer((stream, seat))) => {
            let passed = relayed::pass_on(node, stream.into_inner(), until + LOST_AFTER, sender).await;
            // Its receive is over: while it gives back, others have its seat.
            drop(seat);
            match passed {
                Passed::Done(code) => Turn::Ended(Answered::Done(code)),
                Passed::Gone(handles) => {
                    relayed::give_back(node, request, handles).await;
                    Turn::Ended(Answered::Gone)
                }
                Passed::Stopped(sender) => Turn::Ended(Answered::Not(nothing().into(), sender)),
                Passed::Broken(sender) => Turn::LeaderLost(sender),
            }
        }
        Ok(Relayed::Here(_)) => poll_here(node, draft, until, sender).await,
    }
}

fn nothing() -> Refusal {
    Refusal::new(Code::MessageNotFound, "no message came within the poll")
}

/// What a poll on this node is of.
async fn wanted(node: &Arc<Node>, draft: &ReceiveDraft, until: Instant) -> Result<(Wanted, Delivered), Refused> {
    let topic = node.state.topic(draft.topic.as_str()).ok_or_else(|| unknown_topic(draft.topic.as_str()))?;
    let group = groups::subscribed(node, &draft.group, &[topic.name.as_str().to_owned()]).await?;
    groups::warn_of_lost_order(node, &group, &topic);
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
    Ok((wanted, Delivered { topic: topic.id, topic_name: topic.name, group: group.id }))
}

async fn poll_here(node: &Arc<Node>, draft: &ReceiveDraft, until: Instant, mut sender: Sender) -> Turn {
    let (wanted, delivered) = match wanted(node, draft, until).await {
        Ok(wanted) => wanted,
        Err(Refused::Typed(refusal)) if refusal.is_no_leader() => return Turn::LeaderLost(sender),
        Err(refused) => return Turn::Ended(Answered::Not(refused, sender)),
    };
    let mut looks = 0;
    loop {
        let picks = match node.poll.run(&wanted, sender.closed()).await {
            Ok(picks) => picks,
            Err(PollEnd::Gone) => return Turn::Ended(Answered::Gone),
            Err(PollEnd::LeaderLost) => return Turn::LeaderLost(sender),
            Err(end) => return Turn::Ended(Answered::Not(refusal_of(end, draft).into(), sender)),
        };
        looks += 1;
        let (outcome, unused) = deliver(node, (&delivered, &draft.group, wanted.fifo), &picks, sender).await;
        let entries = |picks: &[Pick]| picks.iter().map(ack_entry).collect::<Vec<AckEntry>>();
        let (aside, back) = (entries(&outcome.aside), entries(&outcome.back));
        tokio::join!(node.poll.set_aside(&wanted, &aside), node.poll.give_back(&wanted, &back));
        let Some(unused) = unused else {
            return Turn::Ended(if outcome.over { Answered::Gone } else { Answered::Done(Code::Ok as i32) });
        };
        // Not one of them could be read. There may be others; a disk that reads nothing is not asked for ever.
        sender = unused;
        if looks >= UNREADABLE_LOOKS_MAX || Instant::now() >= until {
            let why = outcome.unreadable.expect("something was picked, and nothing handed over");
            return Turn::Ended(Answered::Not(Refusal::new(Code::InternalServerError, why).into(), sender));
        }
    }
}

async fn finish(node: &Node, status: Answer, sender: &Sender) -> Result<(), Gone> {
    sender.send(Ok(item(Content::Status(status))), None).await?;
    sender.send(Ok(item(Content::DeliveryTimestamp(timestamp(node.leader_clock.now())))), None).await
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
