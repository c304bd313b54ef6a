//! AckMessage: each entry has its own result.

use std::sync::Arc;

use tercet_proto::rocketmq::v2::{
    AckMessageEntry, AckMessageRequest, AckMessageResponse, AckMessageResultEntry, Code, Status as Answer,
};
use tonic::{Request, Response, Status};

use super::{
    groups::unknown_group,
    names,
    node::Node,
    refusal::{Refusal, ok},
    send::unknown_topic,
    unary::{self, Call, Refused},
};
use crate::{
    consume::Delivery,
    forward::Resend,
    limits::{ACK_ENTRIES_MAX, HANDLE_CHARS_MAX},
    model::{ConsumerGroupId, TopicId},
    state::{Ack, AckEntry, Outcome, Settled, UnknownName},
};

/// Answers the RPC.
pub(super) async fn ack_message(
    node: &Arc<Node>,
    request: Request<AckMessageRequest>,
) -> Result<Response<AckMessageResponse>, Status> {
    let call = |mut client: unary::Client, request| async move { client.ack_message(request).await };
    unary::at_leader(node, "AckMessage", request, Resend::Safe, acknowledge, call).await
}

/// The topic and consumer group that a request names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// The topic.
    pub topic: TopicId,
    /// The group.
    pub group: ConsumerGroupId,
}

/// Looks the names up; on the leader.
pub(super) fn subject(
    node: &Node,
    topic: Option<&tercet_proto::rocketmq::v2::Resource>,
    group: Option<&tercet_proto::rocketmq::v2::Resource>,
) -> Result<Subject, Refusal> {
    let (topic, group) = (names::topic(topic)?, names::group(group)?);
    let topic = node.state.topic(topic.as_str()).ok_or_else(|| unknown_topic(topic.as_str()))?;
    let group = node.state.group(group.as_str()).ok_or_else(|| unknown_group(group.as_str()))?;
    Ok(Subject { topic: topic.id, group: group.id })
}

/// The delivery that a handle proves, if this cluster made it for this topic and group; else 40013, on which clients
/// stop retrying.
pub(super) fn open_handle(node: &Node, handle: &str, subject: Subject) -> Result<AckEntry, Refusal> {
    let delivery =
        if handle.len() > HANDLE_CHARS_MAX { None } else { node.deliverer.handles().and_then(|key| key.open(handle)) };
    checked(delivery, node.deliverer.group(), subject)
}

fn checked(delivery: Option<Delivery>, group: raft_log::types::GroupId, subject: Subject) -> Result<AckEntry, Refusal> {
    let refuse = |why: &str| Err(Refusal::new(Code::InvalidReceiptHandle, format!("receipt handle: {why}")));
    match delivery {
        None => refuse("unreadable, or of another cluster"),
        Some(delivery) if delivery.group != group => refuse("of another broker group"),
        Some(delivery) if delivery.topic != subject.topic => refuse("of another topic"),
        Some(delivery) if delivery.consumer_group != subject.group => refuse("of another consumer group"),
        Some(delivery) => Ok(delivery.entry),
    }
}

/// 40013 for a delivery that is over.
pub(super) fn over() -> Refusal {
    Refusal::new(Code::InvalidReceiptHandle, "the delivery is over: its time has passed or another took its place")
}

async fn acknowledge(
    node: Arc<Node>,
    _: Call,
    request: AckMessageRequest,
) -> Result<Response<AckMessageResponse>, Refused> {
    let subject = subject(&node, request.topic.as_ref(), request.group.as_ref())?;
    if request.entries.is_empty() {
        return Err(Refusal::new(Code::InternalServerError, "the request acknowledges nothing").into());
    }
    if request.entries.len() > ACK_ENTRIES_MAX {
        let why = format!("{} entries, at most {ACK_ENTRIES_MAX} are allowed", request.entries.len());
        return Err(Refusal::new(Code::PayloadTooLarge, why).into());
    }
    let opened: Vec<Result<AckEntry, Refusal>> =
        request.entries.iter().map(|entry| open_handle(&node, &entry.receipt_handle, subject)).collect();
    let entries: Vec<AckEntry> = opened.iter().filter_map(|entry| entry.as_ref().ok().copied()).collect();
    let settled = if entries.is_empty() {
        Vec::new()
    } else {
        let (topic, group) = (subject.topic, subject.group);
        match node.batcher.submit(Ack { group, topic, entries }.encode()).await? {
            Outcome::Acked(settled) => settled,
            Outcome::Unknown(UnknownName::Group) => return Err(unknown_group("of the handle").into()),
            Outcome::Unknown(_) => return Err(unknown_topic("of the handle").into()),
            other => panic!("an acknowledgement was answered by {other:?}"),
        }
    };
    Ok(Response::new(assemble(request.entries, opened, settled)))
}

/// One result per entry: what was opened has an outcome, in order; the others their refusal.
fn assemble(
    entries: Vec<AckMessageEntry>,
    opened: Vec<Result<AckEntry, Refusal>>,
    settled: Vec<Settled>,
) -> AckMessageResponse {
    let mut settled = settled.into_iter();
    let results: Vec<AckMessageResultEntry> = entries
        .into_iter()
        .zip(opened)
        .map(|(entry, opened)| {
            let status: Answer = match opened {
                Err(refusal) => refusal.into(),
                Ok(_) => match settled.next().expect("each opened handle has an outcome") {
                    Settled::Done | Settled::Already => ok(),
                    Settled::Expired | Settled::Unknown => over().into(),
                },
            };
            AckMessageResultEntry {
                message_id: entry.message_id,
                receipt_handle: entry.receipt_handle,
                status: Some(status),
            }
        })
        .collect();
    AckMessageResponse { status: Some(overall(&results)), entries: results }
}

/// All alike: that status; else 30000.
fn overall(results: &[AckMessageResultEntry]) -> Answer {
    let first = results.first().and_then(|result| result.status.clone()).unwrap_or_else(ok);
    let alike = results.iter().all(|result| result.status.as_ref().is_some_and(|status| status.code == first.code));
    if alike {
        return first;
    }
    Answer { code: Code::MultipleResults as i32, message: String::from("the results differ, see the entries") }
}

#[cfg(test)]
mod tests {
    use raft_log::types::{GroupId, LogIndex, UnixMillis};

    use super::*;
    use crate::model::{Position, QueueId, QueueOffset};

    const SUBJECT: Subject = Subject { topic: TopicId(2), group: ConsumerGroupId(3) };

    fn entry() -> AckEntry {
        AckEntry { queue: QueueId(0), offset: QueueOffset(1), nonce: 2, deadline: UnixMillis(3) }
    }

    fn delivery() -> Delivery {
        Delivery {
            group: GroupId(1),
            topic: SUBJECT.topic,
            consumer_group: SUBJECT.group,
            position: Position { index: LogIndex(1), offset: 0, length: 1 },
            entry: entry(),
        }
    }

    #[test]
    fn a_handle_counts_for_its_own_topic_and_group_only() {
        assert_eq!(checked(Some(delivery()), GroupId(1), SUBJECT), Ok(entry()));
        let cases = [
            None,
            Some(Delivery { group: GroupId(9), ..delivery() }),
            Some(Delivery { topic: TopicId(9), ..delivery() }),
            Some(Delivery { consumer_group: ConsumerGroupId(9), ..delivery() }),
        ];
        for delivery in cases {
            let refusal = checked(delivery, GroupId(1), SUBJECT).expect_err("refused");
            assert_eq!(refusal.code, Code::InvalidReceiptHandle);
        }
    }

    fn answer(opened: Vec<Result<AckEntry, Refusal>>, settled: Vec<Settled>) -> (i32, Vec<i32>) {
        let entries = opened.iter().map(|_| AckMessageEntry::default()).collect();
        let answer = assemble(entries, opened, settled);
        let code = |status: &Option<Answer>| status.as_ref().expect("a status").code;
        (code(&answer.status), answer.entries.iter().map(|entry| code(&entry.status)).collect())
    }

    #[test]
    fn results_that_are_alike_give_that_code_and_others_30000() {
        let bad = || Err(over());
        let cases = [
            (vec![Ok(entry()), Ok(entry())], vec![Settled::Done, Settled::Already], 20000, vec![20000, 20000]),
            (vec![bad(), Ok(entry())], vec![Settled::Done], 30000, vec![40013, 20000]),
            (vec![bad(), Ok(entry())], vec![Settled::Expired], 40013, vec![40013, 40013]),
            (vec![Ok(entry())], vec![Settled::Unknown], 40013, vec![40013]),
        ];
        for (opened, settled, overall, each) in cases {
            assert_eq!(answer(opened, settled), (overall, each));
        }
    }
}
