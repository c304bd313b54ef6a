//! DescribeGroup: who consumes a group, and how far it has come.

use std::sync::Arc;

use tercet_proto::admin::v1::{DescribeGroupRequest, DescribeGroupResponse, GroupConsumer, QueuePlace, QueueProgress};
use tonic::{Status, metadata::MetadataMap};

use super::{at_leader::up_to_date, convert, groups::parse};
use crate::{
    grpc::Node,
    model::{GroupName, QueueId, TopicName},
    state::{GroupView, QueueBacklog, ReadStateError, StateReader, TopicView},
};

/// Queues of one answer. Of each, all that is in flight is counted.
const QUEUES_MAX: usize = 256;
/// Clients of one answer.
const CONSUMERS_MAX: usize = 1000;

/// At the leader.
pub(super) async fn describe(
    node: Arc<Node>,
    _: MetadataMap,
    request: DescribeGroupRequest,
) -> Result<DescribeGroupResponse, Status> {
    let name = parse(&request.name)?;
    up_to_date(&node).await?;
    let unknown = || Status::not_found(format!("consumer group {name} does not exist"));
    let group = node.state.group(name.as_str()).ok_or_else(unknown)?;
    let topics = topics(&node.state, &group, &request.topic)?;
    let from = request.from.map(|place| (place.topic, place.queue)).unwrap_or_default();
    let (state, id) = (node.state.clone(), group.id);
    let page = tokio::task::spawn_blocking(move || {
        page(&topics, from, QUEUES_MAX, |topic, queue| state.queue_backlog((topic.id, queue), id))
    });
    let read = page.await.map_err(|error| Status::internal(error.to_string()))?;
    let (queues, next) = read.map_err(|error| Status::internal(error.to_string()))?;
    let (consumers, count) = node.consumers.of(&name, CONSUMERS_MAX);
    let (dead_letter_topic, dead_letters) = dead_letters(&node.state, &name);
    Ok(DescribeGroupResponse {
        group: Some(convert::group(&group.name, group.settings)),
        automatic: group.automatic,
        consumers: consumers
            .into_iter()
            .map(|of| GroupConsumer { client_id: of.client_id, streams: of.streams })
            .collect(),
        consumer_count: u32::try_from(count).unwrap_or(u32::MAX),
        dead_letter_topic,
        dead_letters,
        queues,
        next,
        now_unix_millis: node.leader_clock.now().0,
    })
}

/// What the group has received from, by name: all of it, or one.
fn topics(state: &StateReader, group: &GroupView, only: &str) -> Result<Vec<TopicView>, Status> {
    let subscribed = state.subscriptions(group.id).into_iter().filter_map(|topic| state.topic_by_id(topic));
    let mut topics: Vec<TopicView> =
        subscribed.filter(|topic| only.is_empty() || topic.name.as_str() == only).collect();
    if topics.is_empty() && !only.is_empty() {
        return Err(Status::not_found(format!("consumer group {} has not received from topic {only}", group.name)));
    }
    topics.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(topics)
}

/// So many queues from a place on, and where the next ones begin.
fn page(
    topics: &[TopicView],
    (topic, queue): (String, u32),
    count: usize,
    backlog: impl Fn(&TopicView, QueueId) -> Result<Option<QueueBacklog>, ReadStateError>,
) -> Result<(Vec<QueueProgress>, Option<QueuePlace>), ReadStateError> {
    let mut queues = Vec::new();
    for of in topics.iter().filter(|of| of.name.as_str() >= topic.as_str()) {
        let first = if of.name.as_str() == topic { queue } else { 0 };
        for queue in first..of.settings.queues {
            if queues.len() == count {
                return Ok((queues, Some(QueuePlace { topic: of.name.as_str().to_owned(), queue })));
            }
            // Nothing, if it was deleted just now.
            queues.extend(backlog(of, QueueId(queue))?.map(|backlog| wire(&of.name, &backlog)));
        }
    }
    Ok((queues, None))
}

fn wire(topic: &TopicName, of: &QueueBacklog) -> QueueProgress {
    QueueProgress {
        topic: topic.as_str().to_owned(),
        queue: of.progress.queue.0,
        first_offset: of.first.0,
        consumer_offset: of.progress.offset.0,
        taken_offset: of.progress.taken.0,
        next_offset: of.progress.end.0,
        ready: of.ready(),
        redeliveries: of.redeliveries,
        in_flight: of.in_flight,
        oldest_unix_millis: of.oldest.map(|time| time.0),
    }
}

/// The topic with the dead letters of a group, if there are any, and how many.
fn dead_letters(state: &StateReader, group: &GroupName) -> (String, u64) {
    let topic = state.topic(TopicName::dead_letter_of(group).as_str());
    let bounds = topic.as_ref().and_then(|topic| state.queue_bounds(topic.id)).unwrap_or_default();
    let letters = bounds.iter().map(|of| of.next.0 - of.first.0).sum();
    match topic {
        Some(topic) if letters > 0 => (topic.name.as_str().to_owned(), letters),
        _ => (String::new(), 0),
    }
}

#[cfg(test)]
mod tests {
    use raft_log::types::{GroupId, UnixMillis};

    use super::*;
    use crate::{
        model::{Placement, QueueOffset, TopicId, TopicSettings, TopicType},
        state,
    };

    fn topic(name: &str, queues: u32) -> TopicView {
        TopicView {
            id: TopicId(1),
            name: TopicName::parse(name).unwrap(),
            settings: TopicSettings { queues, kind: TopicType::Normal },
            placement: Placement { group: GroupId(1), queues, epoch: 1 },
        }
    }

    fn backlog(topic: &TopicView, queue: QueueId) -> Result<Option<QueueBacklog>, ReadStateError> {
        let [offset, taken, end] = [3, 7, 9].map(QueueOffset);
        let progress = state::QueueProgress { queue, offset, taken, end, pending: 4 };
        let oldest = Some(UnixMillis(5));
        let backlog = QueueBacklog { progress, first: QueueOffset(1), redeliveries: 1, in_flight: 2, oldest };
        Ok((topic.name.as_str() != "deleted").then_some(backlog))
    }

    #[test]
    fn pages_follow_each_other_and_what_was_deleted_is_passed_over() {
        let topics = [topic("a", 3), topic("deleted", 9), topic("z", 2)];
        let (mut seen, mut from, mut sizes) = (Vec::new(), (String::new(), 0), Vec::new());
        loop {
            let (queues, next) = page(&topics, from, 2, backlog).unwrap();
            sizes.push(queues.len());
            seen.extend(queues.into_iter().map(|of| (of.topic, of.queue)));
            let Some(next) = next else { break };
            from = (next.topic, next.queue);
        }
        let all = [("a", 0), ("a", 1), ("a", 2), ("z", 0), ("z", 1)].map(|(topic, queue)| (topic.to_owned(), queue));
        assert_eq!((seen, sizes), (all.to_vec(), vec![2, 2, 1]));
        // The topic that the next page should begin with has gone.
        let (rest, next) = page(&topics, (String::from("b"), 5), 9, backlog).unwrap();
        assert_eq!((rest.len(), next), (2, None));
    }

    #[test]
    fn what_is_ready_is_what_nobody_holds() {
        let of = backlog(&topic("a", 1), QueueId(0)).unwrap().unwrap();
        let wire = wire(&TopicName::parse("a").unwrap(), &of);
        assert_eq!((wire.ready, wire.redeliveries, wire.in_flight), (4, 1, 2), "two behind, one due, one that waits");
        assert_eq!((wire.first_offset, wire.consumer_offset, wire.taken_offset, wire.next_offset), (1, 3, 7, 9));
        assert_eq!(wire.oldest_unix_millis, Some(5));
    }
}
