//! What happens when the leadership moves: each test has a group of its own.

use std::time::{Duration, Instant};

use tercet_proto::{
    admin::v1::{TopicType, TransferLeadershipRequest},
    rocketmq::v2::Code,
};

use super::rig::{Group, code, fresh, handle, id, message, run};

#[test]
fn a_transfer_answers_with_the_new_leader_and_clients_go_on() {
    run(async {
        let group = Group::start("transfer").await;
        let old = group.leader().await;
        let follower = group.follower().await;
        let caller = follower.caller();
        let (topic, consumers) = (fresh("t"), fresh("g"));
        caller.topic(&topic, 1, TopicType::Normal).await;
        caller.send(vec![message(&topic, "before", "x")]).await;
        let first = caller.receive(&topic, &consumers, 1).await;
        let request = TransferLeadershipRequest { to: Some(follower.id.0) };
        let moved = caller.admin().transfer_leadership(request).await.expect("moved").into_inner();
        assert_eq!(moved.leader, follower.id.0);
        let answer = old.caller().send(vec![message(&topic, "after", "x")]).await;
        assert_eq!(code(&answer.get_ref().status), 20000, "the former leader forwards");
        let ack = old.caller().ack(&topic, &consumers, &[handle(&first.messages[0])]).await;
        assert_eq!(code(&ack.status), 20000, "handles work at every leader");
        let second = old.caller().receive(&topic, &consumers, 16).await;
        assert_eq!(second.messages.iter().map(id).collect::<Vec<_>>(), ["after"]);
    });
}

#[test]
fn sends_through_a_follower_wait_for_the_next_leader() {
    run(async {
        let group = Group::start("stop").await;
        let leader = group.leader().await;
        let caller = group.follower().await.caller();
        let topic = fresh("t");
        caller.topic(&topic, 1, TopicType::Normal).await;
        leader.stop().await;
        let began = Instant::now();
        let mut offset = None;
        while offset.is_none() && began.elapsed() < Duration::from_secs(10) {
            let answer = caller.send(vec![message(&topic, "m", "x")]).await.into_inner();
            match code(&answer.status) {
                20000 => offset = Some(answer.entries[0].offset),
                other => assert_eq!(other, Code::HaNotAvailable as i32, "surely not stored"),
            }
        }
        assert_eq!(offset, Some(0));
    });
}

#[test]
fn without_a_majority_nothing_is_said_to_be_stored() {
    run(async {
        let group = Group::start("minority").await;
        let leader = group.leader().await;
        let caller = leader.caller();
        let topic = fresh("t");
        caller.topic(&topic, 1, TopicType::Normal).await;
        for node in group.nodes.iter().filter(|node| node.id != leader.id) {
            node.stop().await;
        }
        let hurried = caller.with("grpc-timeout", "1500m").send(vec![message(&topic, "m", "x")]).await;
        assert!([50002, 50400].contains(&code(&hurried.get_ref().status)), "a typed answer inside the deadline");
        let answer = caller.send(vec![message(&topic, "m", "x")]).await;
        let unknown = answer.metadata().get("x-tercet-outcome").is_some_and(|outcome| outcome == "unknown");
        let status = code(&answer.get_ref().status);
        assert!(answer.get_ref().entries.is_empty());
        match status {
            50401 => assert!(unknown, "it may be stored"),
            other => assert!(other == Code::HaNotAvailable as i32 && !unknown, "{other}"),
        }
    });
}
