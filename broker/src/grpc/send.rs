//! SendMessage: checked, encoded once into a command, stored, answered with one entry per message.

use std::{sync::Arc, time::Duration};

use raft_log::types::GroupId;
use tercet_proto::{
    headers,
    rocketmq::v2::{Code, SendMessageRequest, SendMessageResponse, SendResultEntry},
};
use tokio::time::Instant;
use tonic::{Request, Response, Status, metadata::MetadataValue};

use super::{
    node::Node,
    refusal::{Refusal, ok},
    send_check, stamp,
    unary::{self, Call, Refused},
};
use crate::{
    forward::Resend,
    model::TopicType,
    publish::{Draft, DraftKind, SubmitError, TakenRoom, publish_command},
    state::{Outcome, ProducerStamp, PublishRefusal, StoredAt, TopicView},
};

const RPC: &str = "SendMessage";
/// A publish is passed on to the leader so soon or not at all.
const PASSED_ON_WITHIN: Duration = Duration::from_secs(60);
/// An answer leaves so long before the client stops waiting.
const BEFORE_DEADLINE: Duration = Duration::from_millis(100);

/// Answers the RPC.
pub(super) async fn send_message(
    node: &Arc<Node>,
    request: Request<SendMessageRequest>,
) -> Result<Response<SendMessageResponse>, Status> {
    let stamp = stamp::of_headers(request.metadata());
    send_stamped(node, request, stamp, None).await
}

/// The same for a request whose stamp, if it has one, is known already, and which may take room of its stream.
pub(super) async fn send_stamped(
    node: &Arc<Node>,
    request: Request<SendMessageRequest>,
    stamp: Result<Option<ProducerStamp>, Refusal>,
    room: Option<Arc<TakenRoom>>,
) -> Result<Response<SendMessageResponse>, Status> {
    let producer = match stamp {
        Ok(producer) => producer,
        Err(refusal) => return refuse(node, request, refusal).await,
    };
    let came = Instant::now();
    let forward = move |mut client: unary::Client, mut request: Request<SendMessageRequest>| async move {
        still_in_time(came, Instant::now())?;
        if let Some(producer) = &producer {
            stamp::put_headers(producer, request.metadata_mut());
        }
        client.send_message(request).await
    };
    let store = move |node, call, message| store(node, call, message, producer, room.clone());
    unary::at_leader(node, RPC, request, Resend::Never, store, forward).await
}

/// Answers that nothing was done, and counts that.
pub(super) async fn refuse(
    node: &Arc<Node>,
    request: Request<SendMessageRequest>,
    why: impl Into<Refusal>,
) -> Result<Response<SendMessageResponse>, Status> {
    let refusal = why.into();
    unary::here(node, RPC, request, async |_, _, _| Err(refusal.into())).await
}

/// A node that stood still does not pass on what it was about to: nobody waits for it any more, and a publish that is
/// on its way for ever could come when its producer is forgotten, and be stored again.
fn still_in_time(came: Instant, now: Instant) -> Result<(), Status> {
    if now.saturating_duration_since(came) <= PASSED_ON_WITHIN {
        return Ok(());
    }
    let mut status = Status::deadline_exceeded("this node stood still; the publish was not passed on to the leader");
    status.metadata_mut().insert(headers::OUTCOME, MetadataValue::from_static("refused"));
    Err(status)
}

async fn store(
    node: Arc<Node>,
    call: Call,
    request: SendMessageRequest,
    producer: Option<ProducerStamp>,
    room: Option<Arc<TakenRoom>>,
) -> Result<Response<SendMessageResponse>, Refused> {
    let now = node.leader_clock.now();
    let draft = send_check::check(request, now)?;
    let topic = node.state.topic(draft.topic.as_str()).ok_or_else(|| unknown_topic(draft.topic.as_str()))?;
    fits(&draft, &topic, now.0)?;
    let ids: Vec<String> = draft.messages.iter().map(|message| message.id.clone()).collect();
    let bytes: usize = draft.messages.iter().map(|message| message.body.len()).sum();
    let command = publish_command(draft, &topic, producer, &node.turn);
    let entered = node.batcher.enter(command, room)?;
    // Only what is in line: a refused one would bring a receive into the log for nothing, while that is full perhaps.
    node.poll.expect(topic.id, ids.len() as u64);
    match outcome(&call, entered).await? {
        Outcome::Stored(places) => {
            assert_eq!(places.len(), ids.len(), "each message has its place");
            let kind = type_name(topic.settings.kind);
            node.options.traffic.published(topic.name.as_str(), kind, ids.len() as u64, bytes as u64);
            Ok(stored(ids, node.deliverer.group(), &places))
        }
        Outcome::PublishRefused(refusal) => Err(refused(refusal, topic.name.as_str()).into()),
        other => panic!("a publish was answered by {other:?}"),
    }
}

/// The command's outcome, or a typed "unknown" just before the client stops waiting.
async fn outcome(call: &Call, entered: impl Future<Output = Result<Outcome, SubmitError>>) -> Result<Outcome, Refused> {
    let Some(timeout) = call.caller.timeout else { return Ok(entered.await?) };
    let within = timeout.saturating_sub(BEFORE_DEADLINE.min(timeout / 4));
    match tokio::time::timeout(within, entered).await {
        Ok(outcome) => Ok(outcome?),
        Err(_) => {
            let why = "not stored within the client's deadline, and it may still be stored later";
            Err(Refusal::unknown(Code::ProxyTimeout, why).into())
        }
    }
}

/// 40402 for a topic that does not exist.
pub(super) fn unknown_topic(name: &str) -> Refusal {
    Refusal::new(Code::TopicNotFound, format!("topic {name:?} does not exist"))
}

/// Whether the topic takes these messages.
fn fits(draft: &Draft, topic: &TopicView, now: u64) -> Result<(), Refusal> {
    let taken = match (topic.settings.kind, draft.kind) {
        (TopicType::Normal, DraftKind::Normal) | (TopicType::Fifo, DraftKind::Fifo) => true,
        (TopicType::Delay, DraftKind::Delay) => {
            if draft.messages.iter().any(|message| message.deliver_at.is_some_and(|at| at.0 > now)) {
                let why = "delayed delivery is not implemented yet: only a delivery time that has come is accepted";
                return Err(Refusal::new(Code::NotImplemented, why));
            }
            true
        }
        (TopicType::Transaction, DraftKind::Transaction) => {
            let why = "transactional messages are not implemented yet";
            return Err(Refusal::new(Code::NotImplemented, why));
        }
        _ => false,
    };
    if taken {
        return Ok(());
    }
    let why = format!(
        "the message's fields make it {:?}, but topic {} takes {:?} only",
        draft.kind, topic.name, topic.settings.kind
    );
    Err(Refusal::new(Code::MessagePropertyConflictWithType, why))
}

fn stored(ids: Vec<String>, group: GroupId, places: &[StoredAt]) -> Response<SendMessageResponse> {
    let queues = format!("{}:{}", group.0, run_lengths(places));
    let entry = |(id, place): (String, &StoredAt)| SendResultEntry {
        status: Some(ok()),
        transaction_id: id.clone(),
        message_id: id,
        offset: i64::try_from(place.offset.0).unwrap_or(i64::MAX),
        recall_handle: String::new(),
    };
    let entries = ids.into_iter().zip(places).map(entry).collect();
    let mut answer = Response::new(SendMessageResponse { status: Some(ok()), entries });
    let queues = MetadataValue::try_from(queues).expect("digits, a colon, commas and stars");
    answer.metadata_mut().insert(headers::QUEUES, queues);
    answer
}

/// `3*100,1*20`: the queues in message order; a single queue stands alone.
fn run_lengths(places: &[StoredAt]) -> String {
    let runs: Vec<(u32, usize)> =
        places.chunk_by(|a, b| a.queue == b.queue).map(|run| (run[0].queue.0, run.len())).collect();
    match runs.as_slice() {
        [(queue, _)] => queue.to_string(),
        runs => runs.iter().map(|(queue, count)| format!("{queue}*{count}")).collect::<Vec<_>>().join(","),
    }
}

fn refused(refusal: PublishRefusal, topic: &str) -> Refusal {
    let why = format!("topic {topic}: {refusal}");
    let code = match refusal {
        PublishRefusal::UnknownTopic => Code::TopicNotFound,
        PublishRefusal::UnknownQueue(_) => Code::InternalServerError,
        PublishRefusal::TooManyProducers { .. } | PublishRefusal::TooManyInDoubt { .. } => Code::TooManyRequests,
        PublishRefusal::SequenceGap { .. } => Code::PreconditionFailed,
        PublishRefusal::OldEpoch { .. } | PublishRefusal::BelowWindow { .. } | PublishRefusal::UnknownProducer => {
            Code::BadRequest
        }
    };
    if refusal.surely_not_stored() { Refusal::new(code, why) } else { Refusal::unknown(code, why) }
}

/// A topic type as metrics name it.
pub(super) fn type_name(kind: TopicType) -> &'static str {
    match kind {
        TopicType::Normal => "NORMAL",
        TopicType::Fifo => "FIFO",
        TopicType::Delay => "DELAY",
        TopicType::Transaction => "TRANSACTION",
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use raft_log::types::{GroupId, UnixMillis};

    use super::*;
    use crate::{
        model::{Placement, QueueId, QueueOffset, TopicId, TopicName, TopicSettings},
        publish::DraftMessage,
    };

    const NOW: u64 = 1000;

    fn topic(kind: TopicType) -> TopicView {
        let name = TopicName::parse("t").expect("legal");
        let placement = Placement { group: GroupId(1), queues: 4, epoch: 1 };
        TopicView { id: TopicId(1), name, settings: TopicSettings { queues: 4, kind }, placement }
    }

    fn draft(kind: DraftKind, deliver_at: Option<u64>) -> Draft {
        let message = DraftMessage {
            id: String::from("id"),
            tag: String::new(),
            keys: Vec::new(),
            properties: Default::default(),
            body: Bytes::from_static(b"b"),
            gzip: false,
            born: UnixMillis(0),
            born_host: String::new(),
            message_group: String::new(),
            trace_context: String::new(),
            deliver_at: deliver_at.map(UnixMillis),
        };
        Draft { topic: TopicName::parse("t").expect("legal"), kind, messages: vec![message] }
    }

    #[test]
    fn a_topic_takes_its_own_type_only() {
        let conflict = Some(Code::MessagePropertyConflictWithType);
        let cases = [
            (TopicType::Normal, DraftKind::Normal, None, None),
            (TopicType::Normal, DraftKind::Fifo, None, conflict),
            (TopicType::Normal, DraftKind::Delay, Some(NOW - 1), conflict),
            (TopicType::Normal, DraftKind::Priority, None, conflict),
            (TopicType::Normal, DraftKind::Lite, None, conflict),
            (TopicType::Normal, DraftKind::Transaction, None, conflict),
            (TopicType::Fifo, DraftKind::Fifo, None, None),
            (TopicType::Fifo, DraftKind::Normal, None, conflict),
            (TopicType::Delay, DraftKind::Delay, Some(NOW), None),
            (TopicType::Delay, DraftKind::Delay, Some(NOW + 1), Some(Code::NotImplemented)),
            (TopicType::Delay, DraftKind::Normal, None, conflict),
            (TopicType::Transaction, DraftKind::Transaction, None, Some(Code::NotImplemented)),
            (TopicType::Transaction, DraftKind::Normal, None, conflict),
        ];
        for (kind, sent, at, code) in cases {
            let refused = fits(&draft(sent, at), &topic(kind), NOW).err().map(|refusal| refusal.code);
            assert_eq!(refused, code, "{sent:?} to {kind:?}");
        }
    }

    #[test]
    fn what_a_node_that_stood_still_holds_is_not_passed_on() {
        let came = Instant::now();
        assert!(still_in_time(came, came + PASSED_ON_WITHIN).is_ok());
        let late = still_in_time(came, came + PASSED_ON_WITHIN + Duration::from_millis(1)).expect_err("late");
        assert_eq!(late.metadata().get(headers::OUTCOME).expect("told"), "refused");
    }

    #[test]
    fn each_message_gets_an_entry_and_the_queues_are_told() {
        let place = |queue, offset| StoredAt { queue: QueueId(queue), offset: QueueOffset(offset), repeated: false };
        let ids = || vec![String::from("a"), String::from("b"), String::from("c")];
        let answer = stored(ids(), GroupId(5), &[place(3, 7), place(3, 8), place(1, 0)]);
        assert_eq!(answer.metadata().get(headers::QUEUES).expect("set"), "5:3*2,1*1");
        let entries = &answer.get_ref().entries;
        assert_eq!(entries.len(), 3);
        assert_eq!((entries[1].message_id.as_str(), entries[1].transaction_id.as_str()), ("b", "b"));
        assert_eq!(entries[1].offset, 8);
        let alone = stored(ids(), GroupId(5), &[place(3, 7), place(3, 8), place(3, 9)]);
        assert_eq!(alone.metadata().get(headers::QUEUES).expect("set"), "5:3");
    }

    /// hazards 16: below the window is neither stored nor not stored, and an unknown repeat neither. A new producer for
    /// which there is no room is told for sure.
    #[test]
    fn refusals_say_whether_it_may_be_stored() {
        assert!(refused(PublishRefusal::UnknownProducer, "t").unknown);
        let full = refused(PublishRefusal::TooManyProducers { first_try: true }, "t");
        assert_eq!((full.code, full.unknown), (Code::TooManyRequests, false));
        assert!(refused(PublishRefusal::TooManyProducers { first_try: false }, "t").unknown);
        assert!(refused(PublishRefusal::BelowWindow { first_kept: 5 }, "t").unknown);
        assert!(!refused(PublishRefusal::SequenceGap { expected: 5 }, "t").unknown);
        assert_eq!(refused(PublishRefusal::UnknownTopic, "t").code, Code::TopicNotFound);
    }
}
