//! Topics and consumer groups that are deleted while clients use them.

use std::time::{Duration, Instant};

use tercet_proto::{
    admin::v1::{
        CreateGroupRequest, DeleteGroupRequest, DeleteTopicRequest, DescribeTopicRequest, ListGroupsRequest, TopicType,
    },
    rocketmq::v2::Code,
};
use tonic::Code as GrpcCode;

use super::rig::{Caller, Received, code, duration, fresh, handle, message, receive_request, run, shared};

const TOPIC_NOT_FOUND: i32 = Code::TopicNotFound as i32;
const GROUP_NOT_FOUND: i32 = Code::ConsumerGroupNotFound as i32;
const INVALID_HANDLE: i32 = Code::InvalidReceiptHandle as i32;

fn delete_group(name: &str) -> DeleteGroupRequest {
    DeleteGroupRequest { name: name.to_owned(), with_dead_letters: false }
}

/// Polls of 20 s that wait for something, through a follower as well.
async fn parked(topic: &str, group: &str) -> Vec<tokio::task::JoinHandle<(Received, Duration)>> {
    let callers = [shared().leader().await.caller(), shared().follower().await.caller()];
    let polls = (0..6).map(|n| {
        let caller: Caller = callers[n % 2].clone();
        let mut request = receive_request(topic, group, 4);
        request.long_polling_timeout = Some(duration(20_000));
        tokio::spawn(async move {
            let begun = Instant::now();
            (caller.receive_by(request).await, begun.elapsed())
        })
    });
    let polls: Vec<_> = polls.collect();
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(polls.iter().all(|poll| !poll.is_finished()));
    polls
}

async fn all_end_with(polls: Vec<tokio::task::JoinHandle<(Received, Duration)>>, code: i32) {
    for poll in polls {
        let (received, took) = poll.await.expect("no panic");
        assert_eq!((received.code, received.messages.len()), (code, 0));
        assert!(took < Duration::from_secs(5), "it waited for {took:?}");
    }
}

#[test]
fn a_deleted_topic_is_unknown_to_all_and_its_name_begins_anew() {
    run(async {
        let (topic, group) = (fresh("t"), fresh("g"));
        let caller = shared().leader().await.caller();
        caller.topic(&topic, 2, TopicType::Normal).await;
        caller.send((0..5).map(|n| message(&topic, &format!("m{n}"), "body")).collect()).await;
        let held = caller.receive(&topic, &group, 16).await.messages;
        assert_eq!(held.len(), 5);
        let polls = parked(&topic, &group).await;
        let mut admin = shared().follower().await.caller().admin();
        let deleted = admin.delete_topic(DeleteTopicRequest { name: topic.clone() }).await.expect("deleted");
        assert_eq!(deleted.into_inner().messages, 5);
        all_end_with(polls, TOPIC_NOT_FOUND).await;
        let again = admin.delete_topic(DeleteTopicRequest { name: topic.clone() }).await.expect_err("gone");
        assert_eq!(again.code(), GrpcCode::NotFound);
        let described = admin.describe_topic(DescribeTopicRequest { name: topic.clone() }).await.expect_err("gone");
        assert_eq!(described.code(), GrpcCode::NotFound);
        let sent = caller.send(vec![message(&topic, "late", "body")]).await.into_inner();
        assert_eq!(code(&sent.status), TOPIC_NOT_FOUND);
        assert_eq!(caller.receive(&topic, &group, 16).await.code, TOPIC_NOT_FOUND);
        let handles: Vec<String> = held.iter().map(handle).collect();
        assert_eq!(code(&caller.ack(&topic, &group, &handles).await.status), TOPIC_NOT_FOUND);
        assert_eq!(code(&caller.change(&topic, &group, &handles[0], 20_000).await.status), TOPIC_NOT_FOUND);

        caller.topic(&topic, 1, TopicType::Normal).await;
        caller.send(vec![message(&topic, "new", "body")]).await;
        assert_eq!(code(&caller.ack(&topic, &group, &handles).await.status), INVALID_HANDLE);
        let received = caller.receive(&topic, &group, 16).await.messages;
        assert_eq!(received.len(), 1);
        assert_eq!(received[0].system_properties.as_ref().expect("set").queue_offset, Some(0));
    });
}

#[test]
fn a_deleted_group_stays_deleted_whoever_polls_until_a_person_makes_it() {
    run(async {
        let (topic, group) = (fresh("t"), fresh("g"));
        let caller = shared().leader().await.caller();
        caller.topic(&topic, 1, TopicType::Normal).await;
        caller.send(vec![message(&topic, "m", "body")]).await;
        let held = caller.receive(&topic, &group, 16).await.messages;
        let polls = parked(&topic, &group).await;
        let mut admin = shared().follower().await.caller().admin();
        let deleted = admin.delete_group(delete_group(&group)).await.expect("deleted").into_inner();
        assert_eq!((deleted.dead_letter_topic.as_str(), deleted.refused_for_millis), ("", 72 * 3_600_000));
        all_end_with(polls, GROUP_NOT_FOUND).await;
        assert_eq!(admin.delete_group(delete_group(&group)).await.expect_err("gone").code(), GrpcCode::NotFound);
        for node in &shared().nodes {
            assert_eq!(node.caller().receive(&topic, &group, 16).await.code, GROUP_NOT_FOUND);
        }
        let groups = admin.list_groups(ListGroupsRequest {}).await.expect("a list").into_inner().groups;
        assert!(groups.iter().all(|listed| listed.name != group));
        assert_eq!(code(&caller.ack(&topic, &group, &[handle(&held[0])]).await.status), GROUP_NOT_FOUND);

        caller.group(CreateGroupRequest { name: group.clone(), ..Default::default() }).await;
        assert_eq!(code(&caller.ack(&topic, &group, &[handle(&held[0])]).await.status), INVALID_HANDLE);
        assert_eq!(caller.receive(&topic, &group, 16).await.messages.len(), 1, "made by hand, it begins anew");
    });
}
