//! Consumer groups that a first subscription makes (hazards 21): normal ones, if the setting is on. FIFO groups are
//! made by a person.

use tercet_proto::{
    admin::v1::{CreateGroupRequest, admin_client::AdminClient},
    rocketmq::v2::Code,
};
use tonic::metadata::MetadataValue;

use super::{
    node::Node,
    refusal::Refusal,
    settings::GroupPolicy,
    unary::{Call, Refused},
};
use crate::{
    forward::{Errand, Line, RelayError, Relayed, Resend},
    model::{GroupName, GroupSettings},
    state::{CreateGroup, Created, GroupView, Outcome},
};

/// Marks a forwarded CreateGroup that a subscription caused.
pub const AUTOMATIC_HEADER: &str = "x-tercet-automatic";

/// 40403 for a group that does not exist.
pub(super) fn unknown_group(name: &str) -> Refusal {
    Refusal::new(Code::ConsumerGroupNotFound, format!("consumer group {name:?} does not exist"))
}

/// What a consumer is told whose group was deleted while it goes on polling.
pub fn buried(name: &GroupName) -> String {
    format!("consumer group {name} was deleted and is not made anew by a subscription; `tercet group create` makes it")
}

/// The group, made if it may be; on the leader.
pub(super) async fn subscribed(node: &Node, name: &GroupName) -> Result<GroupView, Refused> {
    if let Some(group) = node.state.group(name.as_str()) {
        return Ok(group);
    }
    if !node.options.auto_create_group {
        return Err(unknown_group(name.as_str()).into());
    }
    let create = CreateGroup { name: name.clone(), settings: GroupSettings::default(), automatic: true };
    match node.batcher.submit(create.encode()).await? {
        Outcome::Group(created) if created.id().is_some() => {
            tracing::info!(group = %name, "a first subscription made a consumer group");
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

/// What a consumer of this group is told, as the leader says it; on any node. Whether a group keeps the order is not
/// guessed: a consumer that is told otherwise runs its messages in parallel for as long as it lives.
pub(super) async fn policy(node: &Node, call: &Call, name: &GroupName) -> Result<GroupPolicy, NoPolicy> {
    let of = |settings: &GroupSettings| GroupPolicy { attempts_max: settings.max_attempts, fifo: settings.fifo };
    let mut metadata = (*call.metadata).clone();
    let automatic = if node.options.auto_create_group { "1" } else { "0" };
    metadata.insert(AUTOMATIC_HEADER, MetadataValue::from_static(automatic));
    let errand = Errand {
        metadata: &metadata,
        message: CreateGroupRequest { name: name.as_str().to_owned(), ..Default::default() },
        bytes: name.as_str().len(),
        find_until: call.find_until(),
        answer_until: call.answer_until(),
        resend: Resend::Safe,
        line: Line::Calls,
    };
    let create = |channel, request| async move { AdminClient::new(channel).create_group(request).await };
    match node.relay.run(errand, create).await {
        Ok(Relayed::Here(_)) => match subscribed(node, name).await {
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
