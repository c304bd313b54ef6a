//! Values of the model as the administration names them, and back.

use raft_log::{
    Health, RecordKind, Role, Status as ReplicaStatus,
    types::{NodeId, UnixMillis},
};
use tercet_proto::admin::v1::{
    ConsumerGroup, CreateGroupRequest, CreateTopicRequest, EntryKind, Node, NodeAddresses, NodeRole, StartPosition,
    Topic, TopicType as WireType, UpdateGroupRequest,
    start_position::{Position, Unit},
};
use tonic::Status;

use crate::model::{GroupChange, GroupName, GroupSettings, StartPoint, TopicName, TopicSettings, TopicType};

/// A node that has this many committed entries yet to apply is not caught up.
const BEHIND_MAX: u64 = 10_000;

/// The topic of a request.
pub(super) fn topic_settings(request: &CreateTopicRequest) -> Result<TopicSettings, Status> {
    let kind = match WireType::try_from(request.r#type) {
        Ok(WireType::Unspecified | WireType::Normal) => TopicType::Normal,
        Ok(WireType::Fifo) => TopicType::Fifo,
        // Their messages are refused (`grpc/send.rs`), and so a topic of them would be of no use.
        Ok(kind @ (WireType::Delay | WireType::Transaction)) => {
            let why = format!("type: {} topics are not implemented yet", kind.as_str_name());
            return Err(Status::invalid_argument(why));
        }
        Err(_) => return Err(Status::invalid_argument(format!("type: {} is unknown", request.r#type))),
    };
    if request.queues == 0 {
        return Err(Status::invalid_argument("queues: at least 1 is needed"));
    }
    Ok(TopicSettings { queues: request.queues, kind })
}

/// A topic as it is answered.
pub(super) fn topic(name: &TopicName, settings: TopicSettings) -> Topic {
    let kind = match settings.kind {
        TopicType::Normal => WireType::Normal,
        TopicType::Fifo => WireType::Fifo,
        TopicType::Delay => WireType::Delay,
        TopicType::Transaction => WireType::Transaction,
    };
    Topic { name: name.as_str().to_owned(), queues: settings.queues, r#type: kind as i32 }
}

/// The group of a request.
pub(super) fn group_settings(request: &CreateGroupRequest) -> Result<GroupSettings, Status> {
    let max_attempts = match request.max_attempts {
        0 => GroupSettings::MAX_ATTEMPTS_DEFAULT,
        given => attempts(given)?,
    };
    let start = request.start.as_ref().and_then(start_point).unwrap_or(StartPoint::First);
    Ok(GroupSettings { fifo: request.fifo, max_attempts, start })
}

/// The change of a request.
pub(super) fn group_change(request: &UpdateGroupRequest) -> Result<GroupChange, Status> {
    let max_attempts = match request.max_attempts {
        Some(0) => return Err(Status::invalid_argument("max_attempts: at least 1 is needed")),
        given => given.map(attempts).transpose()?,
    };
    Ok(GroupChange { fifo: request.fifo, max_attempts, start: request.start.as_ref().and_then(start_point) })
}

fn attempts(given: u32) -> Result<u16, Status> {
    u16::try_from(given)
        .map_err(|_| Status::invalid_argument(format!("max_attempts: {given} is more than {}", u16::MAX)))
}

fn start_point(start: &StartPosition) -> Option<StartPoint> {
    Some(match start.position.as_ref()? {
        Position::First(_) => StartPoint::First,
        Position::Last(_) => StartPoint::Last,
        Position::UnixMillis(time) => StartPoint::Time(UnixMillis(*time)),
    })
}

/// A group as it is answered.
pub(super) fn group(name: &GroupName, settings: GroupSettings) -> ConsumerGroup {
    let position = match settings.start {
        StartPoint::First => Position::First(Unit {}),
        StartPoint::Last => Position::Last(Unit {}),
        StartPoint::Time(time) => Position::UnixMillis(time.0),
    };
    ConsumerGroup {
        name: name.as_str().to_owned(),
        fifo: settings.fifo,
        max_attempts: u32::from(settings.max_attempts),
        start: Some(StartPosition { position: Some(position) }),
    }
}

/// Advertised addresses as they are answered.
pub(super) fn addresses(addresses: &raft_log::NodeAddresses) -> NodeAddresses {
    NodeAddresses { client: addresses.client.clone(), peer: addresses.peer.clone(), http: addresses.http.clone() }
}

/// What a node says of itself.
pub(super) fn node(status: &ReplicaStatus) -> Node {
    let problem = problem(status);
    let own = status.member(status.node_id);
    let index = |id: raft_log::types::LogId| id.index.0;
    Node {
        node_id: status.node_id.0,
        addresses: own.map(|member| addresses(&member.addresses)),
        role: role(status.role) as i32,
        voter: own.is_some_and(|member| member.voter),
        term: status.term.0,
        leader: status.leader.map(|NodeId(id)| id),
        last_index: status.last.map(index),
        durable_index: status.durable.map(|index| index.0),
        committed_index: status.committed.map(index),
        applied_index: status.applied.map(index),
        lag: behind(status),
        healthy: problem.is_empty(),
        problem,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        warnings: warnings(status),
        ..Node::default()
    }
}

/// A clock of a member that is further off than this is told, in milliseconds.
const CLOCK_ERROR_TOLD_MS: u64 = 1_000;

/// What does not keep the node from its part and should still be seen to.
fn warnings(status: &ReplicaStatus) -> Vec<String> {
    let off = |member: &raft_log::Member| {
        let error_ms = member.clock_error_ms.filter(|error| error.unsigned_abs() > CLOCK_ERROR_TOLD_MS)?;
        Some(format!("the clock of node {} is {error_ms:+} ms off", member.id))
    };
    let paused = status.age_pause.map(|pause| format!("age retention paused: {pause}"));
    let low = (status.room == raft_log::Room::Low).then(|| "its disk is nearly full: publishes are refused".to_owned());
    paused.into_iter().chain(low).chain(status.members.iter().filter_map(off)).collect()
}

fn role(role: Role) -> NodeRole {
    match role {
        Role::Unformed => NodeRole::Joining,
        Role::Learner => NodeRole::Learner,
        Role::Follower => NodeRole::Follower,
        Role::Candidate => NodeRole::Candidate,
        Role::Leader => NodeRole::Leader,
        Role::Stopped => NodeRole::Unspecified,
    }
}

/// Committed entries that are not applied yet.
fn behind(status: &ReplicaStatus) -> u64 {
    let index = |id: Option<raft_log::types::LogId>| id.map_or(0, |id| id.index.0);
    index(status.committed).saturating_sub(index(status.applied))
}

/// Why a node neither campaigns nor votes.
fn gate(status: &ReplicaStatus) -> String {
    status.gate.iter().map(|reason| reason.name()).collect::<Vec<_>>().join(", ")
}

/// Why a node is not healthy; empty if it is.
fn problem(status: &ReplicaStatus) -> String {
    match &status.health {
        Health::Failed { reason } => return format!("stopped: {reason}"),
        Health::WipedVoter { reason } | Health::Damaged { reason } => return reason.clone(),
        Health::Healthy => {}
    }
    match status.role {
        Role::Unformed => String::from("belongs to no cluster yet: bootstrap one with this node among the voters"),
        Role::Stopped => String::from("is stopped"),
        Role::Leader if !status.serving => String::from("leads, and has not applied the entries from before yet"),
        _ if status.leader.is_none() => String::from("knows no leader"),
        _ if !status.gate.is_empty() => format!("keeps out of elections: {}", gate(status)),
        _ if behind(status) > BEHIND_MAX => format!("has {} entries yet to apply", behind(status)),
        _ => String::new(),
    }
}

/// The kind of a log entry.
pub(super) fn entry_kind(kind: RecordKind) -> EntryKind {
    match kind {
        RecordKind::Blank => EntryKind::Blank,
        RecordKind::Command => EntryKind::Command,
        RecordKind::Membership => EntryKind::Membership,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_go_both_ways() {
        for kind in [WireType::Normal, WireType::Fifo] {
            let request = CreateTopicRequest { name: String::from("t"), queues: 4, r#type: kind as i32 };
            let settings = topic_settings(&request).expect("legal");
            let answered = topic(&TopicName::parse("t").expect("legal"), settings);
            assert_eq!((answered.queues, answered.r#type), (4, kind as i32));
        }
        for position in [Position::First(Unit {}), Position::Last(Unit {}), Position::UnixMillis(5)] {
            let request = CreateGroupRequest {
                name: String::from("g"),
                fifo: true,
                max_attempts: 3,
                start: Some(StartPosition { position: Some(position) }),
                topics: Vec::new(),
            };
            let settings = group_settings(&request).expect("legal");
            let answered = group(&GroupName::parse("g").expect("legal"), settings);
            assert_eq!((answered.fifo, answered.max_attempts), (true, 3));
            assert_eq!(answered.start.expect("set").position, Some(position));
        }
    }

    #[test]
    fn a_topic_whose_messages_are_refused_is_refused_itself() {
        for (kind, named) in [(WireType::Delay, "DELAY"), (WireType::Transaction, "TRANSACTION")] {
            let request = CreateTopicRequest { name: String::from("t"), queues: 4, r#type: kind as i32 };
            let error = topic_settings(&request).expect_err("of no use");
            assert_eq!(error.code(), tonic::Code::InvalidArgument);
            assert_eq!(error.message(), format!("type: {named} topics are not implemented yet"));
        }
    }

    #[test]
    fn defaults_are_those_that_users_know() {
        let settings = group_settings(&CreateGroupRequest::default()).expect("legal");
        assert_eq!((settings.max_attempts, settings.start), (17, StartPoint::First));
        let request = CreateTopicRequest { name: String::new(), queues: 1, r#type: 0 };
        assert_eq!(topic_settings(&request).expect("legal").kind, TopicType::Normal);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let bad = |queues, kind| topic_settings(&CreateTopicRequest { name: String::new(), queues, r#type: kind });
        assert!(bad(0, 1).is_err() && bad(1, 77).is_err());
        assert!(group_settings(&CreateGroupRequest { max_attempts: 70_000, ..Default::default() }).is_err());
    }
}
