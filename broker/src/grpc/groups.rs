//! Consumer groups that a first subscription makes (hazards 21), if the setting is on. Whoever subscribes to a topic that
//! keeps the order, without having said anything of a group, wants the order kept: such a group is made as a FIFO group.
//! Where a group without order reads such a topic all the same, operator and client are told.

use tercet_proto::{
    admin::v1::{CreateGroupRequest, admin_client::AdminClient},
    headers,
    rocketmq::v2::{Code, Status as Answer},
};
use tonic::metadata::MetadataValue;

use super::{
    node::Node,
    refusal::{Refusal, ok},
    settings::GroupPolicy,
    unary::{Call, Refused},
};
use crate::{
    forward::{Errand, Line, RelayError, Relayed, Resend},
    model::{GroupName, GroupSettings, TopicId, TopicType},
    state::{CreateGroup, Created, GroupView, Outcome, StateReader, TopicView},
};

/// 40403 for a group that does not exist.
pub(super) fn unknown_group(name: &str) -> Refusal {
    Refusal::new(Code::ConsumerGroupNotFound, format!("consumer group {name:?} does not exist"))
}

/// What a consumer is told whose group was deleted while it goes on polling.
pub fn buried(name: &GroupName) -> String {
    format!("consumer group {name} was deleted and is not made anew by a subscription; `tercet group create` makes it")
}

/// How a group is made that these topics are the first subscriptions of; on the leader.
pub fn automatic_settings<'a>(state: &StateReader, mut topics: impl Iterator<Item = &'a str>) -> GroupSettings {
    let ordered = |name: &str| state.topic(name).is_some_and(|topic| topic.settings.kind == TopicType::Fifo);
    GroupSettings { fifo: topics.any(ordered), ..GroupSettings::default() }
}

/// The status of a delivery; its text says so if messages of a topic that keeps the order come without it.
pub(super) fn delivery_status(node: &Node, topic: TopicId, group: &GroupName, fifo: bool) -> Answer {
    match node.state.topic_by_id(topic) {
        Some(topic) if loses_order(fifo, &topic) => {
            let message = format!(
                "OK, but without order: topic {} keeps the order and consumer group {group} does not \
                 (tercet group update {group} --fifo)",
                topic.name
            );
            Answer { message, ..ok() }
        }
        _ => ok(),
    }
}

/// Tells the operator of a group that reads a topic without its order.
pub(super) fn warn_of_lost_order(node: &Node, group: &GroupView, topic: &TopicView) {
    if loses_order(group.settings.fifo, topic) && node.lost_order.is_news(group.id, topic.id) {
        tracing::warn!(
            group = %group.name, topic = %topic.name,
            "a consumer group that is not fifo reads a fifo topic: nothing keeps the order of its message groups; \
             `tercet group update {} --fifo` changes that", group.name
        );
    }
}

fn loses_order(fifo: bool, topic: &TopicView) -> bool {
    topic.settings.kind == TopicType::Fifo && !fifo
}

/// The group, made if it may be by a first subscription to these topics; on the leader.
pub(super) async fn subscribed(node: &Node, name: &GroupName, topics: &[String]) -> Result<GroupView, Refused> {
    if let Some(group) = node.state.group(name.as_str()) {
        return Ok(group);
    }
    if !node.options.auto_create_group {
        return Err(unknown_group(name.as_str()).into());
    }
    let settings = automatic_settings(&node.state, topics.iter().map(String::as_str));
    let create = CreateGroup { name: name.clone(), settings, automatic: true };
    match node.batcher.submit(create.encode()).await? {
        Outcome::Group(created) if created.id().is_some() => {
            tracing::info!(group = %name, fifo = settings.fifo, "a first subscription made a consumer group");
            node.state.group(name.as_str()).ok_or_else(|| unknown_group(name.as_str()).into())
        }
        Outcome::Group(Created::Buried) => Err(Refusal::new(Code::ConsumerGroupNotFound, buried(name)).into()),
        Outcome::Group(_) => Err(Refusal::new(Code::TooManyRequests, "there are too many consumer groups").into()),
        other => panic!("a creation was answered by {other:?}"),
    }
}

/// Why a consumer is not told what holds for its group.
pub(super) enum NoPolicy {
    /// The group does not exist and is not made.
    Unknown,
    /// Nobody who knows it could be asked.
    Unavailable(String),
}

/// What a consumer of this group, subscribing to these topics, is told, as the leader says it; on any node. Whether a
/// group keeps the order is not guessed: a consumer that is told otherwise runs its messages in parallel for as long as
/// it lives.
pub(super) async fn policy(
    node: &Node,
    call: &Call,
    name: &GroupName,
    topics: Vec<String>,
) -> Result<GroupPolicy, NoPolicy> {
    let of = |settings: &GroupSettings| GroupPolicy { attempts_max: settings.max_attempts, fifo: settings.fifo };
    let mut metadata = (*call.metadata).clone();
    let automatic = if node.options.auto_create_group { "1" } else { "0" };
    metadata.insert(headers::AUTOMATIC, MetadataValue::from_static(automatic));
    let errand = Errand {
        metadata: &metadata,
        bytes: name.as_str().len() + topics.iter().map(String::len).sum::<usize>(),
        message: CreateGroupRequest { name: name.as_str().to_owned(), topics, ..Default::default() },
        find_until: call.find_until(),
        answer_until: call.answer_until(),
        resend: Resend::Safe,
        line: Line::Calls,
    };
    let create = |channel, request| async move { AdminClient::new(channel).create_group(request).await };
    match node.relay.run(errand, create).await {
        Ok(Relayed::Here(request)) => match subscribed(node, name, &request.topics).await {
            Ok(group) => Ok(of(&group.settings)),
            Err(Refused::Typed(refusal)) if refusal.code == Code::ConsumerGroupNotFound => Err(NoPolicy::Unknown),
            Err(Refused::Typed(refusal)) => Err(NoPolicy::Unavailable(refusal.message)),
            Err(Refused::Grpc(status)) => Err(NoPolicy::Unavailable(status.message().to_owned())),
        },
        Ok(Relayed::Answer(answer)) => match answer.into_inner().group {
            Some(group) => Ok(GroupPolicy {
                attempts_max: u16::try_from(group.max_attempts).unwrap_or(u16::MAX),
                fifo: group.fifo,
            }),
            None => Err(NoPolicy::Unavailable(String::from("the leader did not say"))),
        },
        Err(RelayError::Answered(status)) if status.code() == tonic::Code::NotFound => Err(NoPolicy::Unknown),
        Err(RelayError::Answered(status)) => Err(NoPolicy::Unavailable(status.message().to_owned())),
        Err(error) => {
            tracing::debug!(group = %name, ?error, "the group of a subscription is not known");
            Err(NoPolicy::Unavailable(String::from("the broker group has no leader at the moment, try again")))
        }
    }
}
