//! RaiseLevel: at the leader, by an operator's word, and only while every member says now that it knows the level.

use std::sync::Arc;

use tercet_proto::admin::v1::{Node as WireNode, RaiseLevelRequest, RaiseLevelResponse};
use tonic::{Status, metadata::MetadataMap};

use super::{
    at_leader::{status_of, up_to_date},
    cluster::cluster_status,
};
use crate::{
    grpc::Node,
    state::{Level, Outcome, RaiseLevel},
};

pub(super) async fn raise(node: Arc<Node>, _: MetadataMap, _: RaiseLevelRequest) -> Result<RaiseLevelResponse, Status> {
    up_to_date(&node).await?;
    let level = node.state.level();
    if level == Level::NEWEST {
        return Ok(RaiseLevelResponse { level: level.number(), raised: false });
    }
    let nodes = cluster_status(&node).await.nodes;
    let to = supported(level, Level::NEWEST, &nodes).map_err(Status::failed_precondition)?;
    match node.batcher.submit(RaiseLevel { to }.encode()).await.map_err(status_of)? {
        Outcome::Level(now) => {
            tracing::info!(from = %level, to = %now, "the feature level was raised");
            Ok(RaiseLevelResponse { level: now.number(), raised: now > level })
        }
        other => panic!("a raise was answered by {other:?}"),
    }
}

/// The highest level that all members report now, if it is above the one that the group is at. What a member said earlier
/// counts for nothing: it may come back with an older program.
fn supported(at: Level, newest: Level, nodes: &[WireNode]) -> Result<Level, String> {
    let silent = nodes.iter().find(|node| node.newest_level == 0);
    if let Some(WireNode { node_id, problem, .. }) = silent {
        return Err(format!("node {node_id} does not say which levels it knows, so nothing is raised: {problem}"));
    }
    let lowest = nodes.iter().min_by_key(|node| node.newest_level).ok_or("the group has no members")?;
    let known = lowest.newest_level.min(newest.number());
    Level::known(known).filter(|level| *level > at).ok_or_else(|| {
        let WireNode { node_id, version, newest_level, .. } = lowest;
        format!(
            "the group is at level {at} and node {node_id} (version {version}) knows levels up to {newest_level}: \
             install a newer version there first"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(node_id: u64, newest_level: u32) -> WireNode {
        WireNode { node_id, newest_level, version: "0.1.0".to_owned(), ..Default::default() }
    }

    #[test]
    fn a_level_is_raised_only_as_far_as_every_member_says_now_that_it_knows_it() {
        let before = Level::of_a_test(0);
        let raised = |nodes: &[WireNode]| supported(before, Level::NEWEST, nodes);
        assert_eq!(raised(&[node(1, 1), node(2, 1), node(3, 7)]), Ok(Level::NEWEST));
        let old = supported(Level::FIRST, Level::NEWEST, &[node(1, 2), node(2, 1)]).unwrap_err();
        assert!(old.contains("node 2 (version 0.1.0) knows levels up to 1"), "{old}");
        let down = WireNode { problem: "did not answer".to_owned(), ..node(3, 0) };
        let silent = raised(&[node(1, 1), down]).unwrap_err();
        assert!(silent.contains("node 3") && silent.contains("did not answer"), "{silent}");
        assert!(raised(&[]).is_err());
    }
}
