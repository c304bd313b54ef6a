//! CreateGroup, ListGroups.

use std::sync::Arc;

use tercet_proto::{
    admin::v1::{CreateGroupRequest, CreateGroupResponse, ListGroupsRequest, ListGroupsResponse},
    rocketmq::v2::Resource,
};
use tonic::{Status, metadata::MetadataMap};

use super::{
    at_leader::{status_of, up_to_date},
    convert,
};
use crate::{
    grpc::{AUTOMATIC_HEADER, Node, names},
    model::GroupName,
    state::{CreateGroup, Created, Outcome},
};

pub(super) async fn create(
    node: Arc<Node>,
    metadata: MetadataMap,
    request: CreateGroupRequest,
) -> Result<CreateGroupResponse, Status> {
    let name = parse(&request.name)?;
    let settings = convert::group_settings(&request)?;
    // Set by another node, on behalf of a client that subscribed there: 1 may make the group, 0 only asks for it.
    let automatic = metadata.get(AUTOMATIC_HEADER).map(|value| value == "1");
    if let (Some(group), Some(_)) = (node.state.group(name.as_str()), automatic) {
        let group = Some(convert::group(&group.name, group.settings));
        return Ok(CreateGroupResponse { group, created: false });
    }
    if automatic == Some(false) {
        return Err(Status::not_found(format!("consumer group {name} does not exist")));
    }
    let automatic = automatic.unwrap_or(false);
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
            let why = format!("consumer group {name} exists with other settings: {there:?}");
            return Err(Status::already_exists(why));
        }
        Created::Refused => {
            let why = format!("consumer group {name}: settings out of range, or there are too many groups");
            return Err(Status::invalid_argument(why));
        }
    };
    let group = Some(convert::group(&name, settings));
    Ok(CreateGroupResponse { group, created: matches!(created, Created::New(_)) })
}

pub(super) async fn list(node: Arc<Node>, _: MetadataMap, _: ListGroupsRequest) -> Result<ListGroupsResponse, Status> {
    up_to_date(&node).await?;
    let groups = node.state.groups().iter().map(|group| convert::group(&group.name, group.settings)).collect();
    Ok(ListGroupsResponse { groups })
}

fn parse(name: &str) -> Result<GroupName, Status> {
    let resource = Resource { resource_namespace: String::new(), name: name.to_owned() };
    names::group(Some(&resource)).map_err(|refusal| Status::invalid_argument(format!("name: {}", refusal.message)))
}
