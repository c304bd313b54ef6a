//! What a proof needs before it begins: topics and consumer groups.

use tercet_proto::admin::v1 as pb;

use crate::{
    admin,
    cluster::Cluster,
    failure::{Doing, Failure},
};

/// Makes a NORMAL topic, or finds it made.
///
/// # Errors
/// If no node of the cluster can do it.
pub async fn create_topic(cluster: &Cluster, name: &str, queues: u32) -> Result<(), Failure> {
    let leader = cluster.leader().await?;
    let request = pb::CreateTopicRequest { name: name.to_owned(), queues, r#type: pb::TopicType::Normal.into() };
    let answer = admin::connect(cluster.node(leader).client()).await?.create_topic(request).await;
    answer.doing(|| format!("create topic {name}")).map(drop)
}

/// Makes a consumer group that starts at the first message, or finds it made.
///
/// # Errors
/// If no node of the cluster can do it.
pub async fn create_group(cluster: &Cluster, name: &str) -> Result<(), Failure> {
    let leader = cluster.leader().await?;
    let request = pb::CreateGroupRequest { name: name.to_owned(), ..Default::default() };
    let answer = admin::connect(cluster.node(leader).client()).await?.create_group(request).await;
    answer.doing(|| format!("create group {name}")).map(drop)
}
