//! CreateGroup, UpdateGroup, DeleteGroup, ListGroups.

use std::sync::Arc;

use tercet_proto::{
    admin::v1::{
        CreateGroupRequest, CreateGroupResponse, DeleteGroupRequest, DeleteGroupResponse, ListGroupsRequest,
        ListGroupsResponse, UpdateGroupRequest, UpdateGroupResponse,
    },
    headers,
    rocketmq::v2::Resource,
};
use tonic::{Status, metadata::MetadataMap};

use super::{
    at_leader::{status_of, up_to_date},
    convert,
};
use crate::{
    consume::millis,
    grpc::{Node, automatic_settings, buried, names},
    model::{GroupName, TopicName},
    state::{CreateGroup, Created, DeleteGroup, Deleted, Outcome, UnknownName, UpdateGroup},
};

pub(super) async fn create(
    node: Arc<Node>,
    metadata: MetadataMap,
    request: CreateGroupRequest,
) -> Result<CreateGroupResponse, Status> {
    let name = parse(&request.name)?;
    let settings = convert::group_settings(&request)?;
    // Set by another node, on behalf of a client that subscribed there: 1 may make the group, 0 only asks for it.
    let automatic = metadata.get(headers::AUTOMATIC).map(|value| value == "1");
    if let (Some(group), Some(_)) = (node.state.group(name.as_str()), automatic) {
        let group = Some(convert::group(&group.name, group.settings));
        return Ok(CreateGroupResponse { group, created: false });
    }
    if automatic == Some(false) {
        return Err(Status::not_found(format!("consumer group {name} does not exist")));
    }
    let automatic = automatic.unwrap_or(false);
    let settings =
        if automatic { automatic_settings(&node.state, request.topics.iter().map(String::as_str)) } else { settings };
    let command = CreateGroup { name: name.clone(), settings, automatic }.encode();
    let created = match node.batcher.submit(command).await.map_err(status_of)? {
        Outcome::Group(created) => created,
        other => panic!("a creation was answered by {other:?}"),
    };
    let settings = match created {
        Created::New(_) => {
            tracing::info!(group = %name, ?settings, automatic, "a consumer group was made");
            settings
        }
        Created::Same(_) => settings,
        Created::Other(_, there) if automatic => there,
        Created::Other(_, there) => {
            let why = format!("consumer group {name} exists with other settings, which an update changes: {there:?}");
            return Err(Status::already_exists(why));
        }
        Created::Buried => return Err(Status::not_found(buried(&name))),
        Created::Refused | Created::Unformed => {
            let why = format!("consumer group {name}: settings out of range, or there are too many groups");
            return Err(Status::invalid_argument(why));
        }
    };
    let group = Some(convert::group(&name, settings));
    Ok(CreateGroupResponse { group, created: matches!(created, Created::New(_)) })
}

pub(super) async fn update(
    node: Arc<Node>,
    _: MetadataMap,
    request: UpdateGroupRequest,
) -> Result<UpdateGroupResponse, Status> {
    let name = parse(&request.name)?;
    let change = convert::group_change(&request)?;
    let settings = match node.batcher.submit(UpdateGroup { name: name.clone(), change }.encode()).await {
        Ok(Outcome::GroupUpdated(settings)) => settings,
        Ok(Outcome::Unknown(UnknownName::Group)) => {
            return Err(Status::not_found(format!("consumer group {name} does not exist")));
        }
        Ok(other) => panic!("an update was answered by {other:?}"),
        Err(error) => return Err(status_of(error)),
    };
    tracing::info!(group = %name, ?settings, "a consumer group was changed");
    if let Some(group) = node.state.group(name.as_str()) {
        // Its parked receives look again: what was held back for its order may be delivered now.
        node.state.look_again(group.id);
    }
    Ok(UpdateGroupResponse { group: Some(convert::group(&name, settings)) })
}

pub(super) async fn delete(
    node: Arc<Node>,
    _: MetadataMap,
    request: DeleteGroupRequest,
) -> Result<DeleteGroupResponse, Status> {
    let name = parse(&request.name)?;
    up_to_date(&node).await?;
    let unknown = || Status::not_found(format!("consumer group {name} does not exist"));
    let group = node.state.group(name.as_str()).ok_or_else(unknown)?;
    let letters = TopicName::dead_letter_of(&name);
    let had_letters = node.state.topic(letters.as_str()).is_some();
    let (with_dead_letters, refuse_ms) = (request.with_dead_letters, millis(node.options.idle_group_age));
    let command = DeleteGroup { group: group.id, with_dead_letters, refuse_ms };
    match node.batcher.submit(command.encode()).await.map_err(status_of)? {
        Outcome::Deleted(Deleted::Done) => {
            tracing::info!(group = %name, id = %group.id, with_dead_letters, "a consumer group was deleted");
            let dead_letter_topic = if had_letters { letters.as_str().to_owned() } else { String::new() };
            Ok(DeleteGroupResponse { dead_letter_topic, refused_for_millis: refuse_ms })
        }
        Outcome::Deleted(Deleted::Unknown) => Err(unknown()),
        Outcome::Deleted(Deleted::Refused) => {
            let why = "too many names of deleted groups are remembered until their messages are gone; make some anew";
            Err(Status::resource_exhausted(format!("consumer group {name} stays: {why}")))
        }
        other => panic!("a deletion was answered by {other:?}"),
    }
}

pub(super) async fn list(node: Arc<Node>, _: MetadataMap, _: ListGroupsRequest) -> Result<ListGroupsResponse, Status> {
    up_to_date(&node).await?;
    let groups = node.state.groups().iter().map(|group| convert::group(&group.name, group.settings)).collect();
    Ok(ListGroupsResponse { groups })
}

pub(super) fn parse(name: &str) -> Result<GroupName, Status> {
    let resource = Resource { resource_namespace: String::new(), name: name.to_owned() };
    names::group(Some(&resource)).map_err(|refusal| Status::invalid_argument(format!("name: {}", refusal.message)))
}
