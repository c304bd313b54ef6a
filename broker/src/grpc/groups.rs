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
    forward::{Errand, Line, Relayed, Resend},
    model::{GroupName, GroupSettings},
    state::{CreateGroup, GroupView, Outcome},
};

/// Marks a forwarded CreateGroup that a subscription caused.
pub const AUTOMATIC_HEADER: &str = "x-tercet-automatic";

/// 40403 for a group that does not exist.
pub(super) fn unknown_group(name: &str) -> Refusal {
    Refusal::new(Code::ConsumerGroupNotFound, format!("consumer group {name:?} does not exist"))
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
        Outcome::Group(_) => Err(Refusal::new(Code::TooManyRequests, "there are too many consumer groups").into()),
        other => panic!("a creation was answered by {other:?}"),
    }
}

/// What a consumer of this group is told; on any node. Nothing if the group does not exist and is not made.
pub(super) async fn policy(node: &Node, call: &Call, name: &GroupName) -> Option<GroupPolicy> {
    let of = |settings: &GroupSettings| GroupPolicy { attempts_max: settings.max_attempts, fifo: settings.fifo };
    if let Some(group) = node.state.group(name.as_str()) {
        return Some(of(&group.settings));
    }
    let mut metadata = call.metadata.clone();
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
        Ok(Relayed::Here(_)) => subscribed(node, name).await.ok().map(|group| of(&group.settings)),
        Ok(Relayed::Answer(answer)) => answer.into_inner().group.map(|group| GroupPolicy {
            attempts_max: u16::try_from(group.max_attempts).unwrap_or(u16::MAX),
            fifo: group.fifo,
        }),
        Err(error) => {
            tracing::debug!(group = %name, ?error, "the group of a subscription is not known");
            None
        }
    }
}
