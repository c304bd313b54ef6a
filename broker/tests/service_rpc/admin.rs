//! The administration.

use tercet_proto::admin::v1::{
    AddNodeRequest, BootstrapRequest, ClusterStatusRequest, CreateGroupRequest, CreateTopicRequest,
    DescribeTopicRequest, ListGroupsRequest, ListTopicsRequest, LogRangeRequest, Member, NodeRole, PromoteNodeRequest,
    RaiseLevelRequest, RemoveNodeRequest, ReplaceNodeRequest, StateDigestRequest, TopicType, Voter,
};
use tonic::{Code, Status};

use super::rig::{Group, fresh, message, run, shared};

#[test]
fn topics_are_made_once_and_listed_on_every_node() {
    run(async {
        let group = shared();
        let name = fresh("topic");
        let request = |queues| CreateTopicRequest { name: name.clone(), queues, r#type: TopicType::Normal as i32 };
        let mut admin = group.follower().await.caller().admin();
        assert!(admin.create_topic(request(4)).await.expect("made").into_inner().created);
        assert!(!admin.create_topic(request(4)).await.expect("the same").into_inner().created);
        let error = admin.create_topic(request(5)).await.expect_err("other settings");
        assert_eq!(error.code(), Code::AlreadyExists);
        assert!(error.message().contains(&name) && error.message().contains("4 queues"), "{error}");
        for node in &group.nodes {
            let topics = node.caller().admin().list_topics(ListTopicsRequest {}).await.expect("a list").into_inner();
            assert!(topics.topics.iter().any(|topic| topic.name == name && topic.queues == 4));
        }
        let described = admin.describe_topic(DescribeTopicRequest { name: name.clone() }).await.expect("known");
        assert_eq!(described.into_inner().queues.len(), 4);
    });
}

#[test]
fn what_is_wrong_is_named() {
    run(async {
        let mut admin = shared().leader().await.caller().admin();
        let cases = [
            (CreateTopicRequest { name: String::from("a b"), queues: 1, r#type: 1 }, "name"),
            (CreateTopicRequest { name: String::from("TBW102"), queues: 1, r#type: 1 }, "name"),
            (CreateTopicRequest { name: fresh("t"), queues: 0, r#type: 1 }, "queues"),
            (CreateTopicRequest { name: fresh("t"), queues: 1_000_000, r#type: 1 }, "queues"),
            (CreateTopicRequest { name: fresh("t"), queues: 1, r#type: 9 }, "type"),
            (CreateTopicRequest { name: fresh("t"), queues: 1, r#type: TopicType::Delay as i32 }, "type: DELAY"),
            (
                CreateTopicRequest { name: fresh("t"), queues: 1, r#type: TopicType::Transaction as i32 },
                "type: TRANSACTION",
            ),
        ];
        for (request, named) in cases {
            let error = admin.create_topic(request).await.expect_err(named);
            assert_eq!(error.code(), Code::InvalidArgument, "{error}");
            assert!(error.message().contains(named), "{error}");
        }
        let error = admin.describe_topic(DescribeTopicRequest { name: fresh("unknown") }).await.expect_err("unknown");
        assert_eq!(error.code(), Code::NotFound);
        let error = admin.bootstrap(BootstrapRequest { voters: vec![] }).await.expect_err("no voters");
        assert_eq!(error.code(), Code::InvalidArgument);
        let voters = vec![Voter { node_id: 1, peer: String::from("127.0.0.1:1") }];
        assert!(admin.bootstrap(BootstrapRequest { voters }).await.is_err(), "a group is made once");
    });
}

#[test]
fn groups_are_made_once_and_listed() {
    run(async {
        let name = fresh("group");
        let mut admin = shared().follower().await.caller().admin();
        let request = |fifo| CreateGroupRequest { name: name.clone(), fifo, ..Default::default() };
        let made = admin.create_group(request(true)).await.expect("made").into_inner();
        assert!(made.created && made.group.expect("set").max_attempts == 17);
        assert!(!admin.create_group(request(true)).await.expect("the same").into_inner().created);
        assert_eq!(admin.create_group(request(false)).await.expect_err("other").code(), Code::AlreadyExists);
        let groups = admin.list_groups(ListGroupsRequest {}).await.expect("a list").into_inner().groups;
        assert!(groups.iter().any(|group| group.name == name && group.fifo));
    });
}

#[test]
fn replicas_are_equal_entry_by_entry_and_in_their_digest() {
    run(async {
        let group = shared();
        let caller = group.leader().await.caller();
        let topic = fresh("t");
        caller.topic(&topic, 2, TopicType::Normal).await;
        for n in 0..20 {
            caller.send(vec![message(&topic, &n.to_string(), vec![n; 1000])]).await;
        }
        let until = group.leader().await.replica.status().applied.expect("applied").index;
        let mut logs = Vec::new();
        for node in &group.nodes {
            let mut status = node.replica.watch();
            status.wait_for(|status| status.applied.is_some_and(|id| id.index >= until)).await.expect("applies");
            let mut admin = node.caller().admin();
            let mut entries = Vec::new();
            let mut from = 0;
            while from <= until.0 {
                let range = LogRangeRequest { from, until: until.0 + 1 };
                let answer = admin.log_range(range).await.expect("a range").into_inner();
                entries.extend(answer.entries);
                let Some(next) = answer.next else { break };
                from = next;
            }
            logs.push(entries);
        }
        assert!(logs[0].iter().map(|entry| entry.index).eq(0..=until.0), "without gaps");
        assert!(logs.iter().all(|log| *log == logs[0]));
        for node in &group.nodes {
            let digest = node.caller().admin().state_digest(StateDigestRequest {}).await.expect("a digest");
            assert!(digest.into_inner().applied_index.expect("not empty") >= until.0);
        }
    });
}

#[test]
fn a_dead_node_is_shown_as_such() {
    run(async {
        let group = Group::start("status").await;
        let follower = group.follower().await;
        let (dead, asked) = (follower.id, group.leader().await);
        let mut admin = asked.caller().admin();
        let before = admin.cluster_status(ClusterStatusRequest {}).await.expect("a status").into_inner();
        assert_eq!(before.nodes.iter().map(|node| node.node_id).collect::<Vec<_>>(), [1, 2, 3]);
        assert!(before.nodes.iter().all(|node| node.healthy), "{before:?}");
        assert_eq!(before.leader, Some(asked.id.0));
        let leaders = before.nodes.iter().filter(|node| node.role == NodeRole::Leader as i32).count();
        assert_eq!((leaders, before.cluster_id.len()), (1, 32));
        assert!(before.nodes.iter().all(|node| (node.level, node.newest_level) == (1, 1)), "{before:?}");
        let level = admin.raise_level(RaiseLevelRequest {}).await.expect("an answer").into_inner();
        assert_eq!((level.level, level.raised), (1, false), "the newest is reached already");
        follower.stop().await;
        let after = admin.cluster_status(ClusterStatusRequest {}).await.expect("a status").into_inner();
        let node = after.nodes.iter().find(|node| node.node_id == dead.0).expect("listed");
        assert!(!node.healthy && !node.problem.is_empty() && node.addresses.is_some(), "{node:?}");
        assert_eq!(after.nodes.iter().filter(|node| node.healthy).count(), 2);
    });
}

/// Through a follower, as all of it: a new node is added and takes the place of an old one; what makes no sense is named.
#[test]
fn a_node_is_replaced_by_a_new_one() {
    run(async {
        let mut group = Group::start("replace").await;
        let (leader, old) = (group.leader().await.id, group.follower().await.id);
        let peer = group.add_empty(4).await;
        let asked = group.nodes.iter().find(|node| node.id != old).expect("there are four");
        let mut admin = asked.caller().admin();
        let add = AddNodeRequest { node_id: 4, peer: peer.clone() };
        let added = admin.add_node(add.clone()).await.expect("added").into_inner().members;
        let voters = |members: &[Member]| members.iter().filter(|m| m.voter).map(|m| m.node_id).collect::<Vec<_>>();
        assert_eq!((added.len(), voters(&added).len()), (4, 3));
        let swap = ReplaceNodeRequest { old: old.0, new: 4 };
        let swapped = loop {
            match admin.replace_node(swap).await {
                Ok(answer) => break answer.into_inner().members,
                Err(status) => assert!(status.message().contains("is not caught up"), "{status}"),
            }
        };
        assert_eq!(swapped.len(), 3);
        assert!(voters(&swapped).contains(&4) && !voters(&swapped).contains(&old.0));

        let code = |refused: Result<_, Status>| refused.map(drop).expect_err("refused").code();
        assert_eq!(
            code(admin.add_node(AddNodeRequest { node_id: 0, peer: peer.clone() }).await),
            Code::InvalidArgument
        );
        assert_eq!(code(admin.add_node(AddNodeRequest { peer: "x".into(), ..add }).await), Code::InvalidArgument);
        assert_eq!(code(admin.promote_node(PromoteNodeRequest { node_id: 9 }).await), Code::NotFound);
        let itself = RemoveNodeRequest { node_id: leader.0, keep_as_learner: false };
        assert_eq!(code(admin.remove_node(itself).await), Code::FailedPrecondition);
    });
}
