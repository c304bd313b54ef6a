//! Order within message groups.

use tercet_proto::{
    admin::v1::{CreateGroupRequest, ListGroupsRequest, TopicType, UpdateGroupRequest},
    rocketmq::v2::Code,
};
use tonic::Code as GrpcCode;

use super::rig::{Caller, Node, attempt, fresh, grouped, handle, id, receive_request, run, shared};

async fn fifo(messages: &[(&str, &str)]) -> (Caller, String, String) {
    let caller = shared().leader().await.caller();
    let (topic, group) = (fresh("t"), fresh("g"));
    caller.topic(&topic, 1, TopicType::Fifo).await;
    caller.group(CreateGroupRequest { name: group.clone(), fifo: true, ..Default::default() }).await;
    caller.send(messages.iter().map(|(id, key)| grouped(&topic, id, key)).collect()).await;
    (caller, topic, group)
}

#[test]
fn a_message_in_flight_holds_back_its_own_message_group_only() {
    run(async {
        let (caller, topic, group) = fifo(&[("a1", "a"), ("a2", "a"), ("b1", "b")]).await;
        let first = caller.receive(&topic, &group, 1).await;
        assert_eq!(id(&first.messages[0]), "a1");
        assert_eq!(first.messages[0].user_properties["__SHARDINGKEY"], "a");
        let second = caller.receive(&topic, &group, 1).await;
        assert_eq!(id(&second.messages[0]), "b1");
        let held = caller.receive(&topic, &group, 1).await;
        assert_eq!(held.code, Code::MessageNotFound as i32);
        caller.ack(&topic, &group, &[handle(&first.messages[0])]).await;
        let third = caller.receive(&topic, &group, 1).await;
        assert_eq!(id(&third.messages[0]), "a2");
    });
}

#[test]
fn acknowledging_releases_the_next_to_a_parked_receive() {
    run(async {
        let (caller, topic, group) = fifo(&[("a1", "a"), ("a2", "a")]).await;
        let first = caller.receive(&topic, &group, 1).await;
        let (consumer, topic_name, group_name) = (caller.clone(), topic.clone(), group.clone());
        let parked = tokio::spawn(async move { consumer.receive(&topic_name, &group_name, 1).await });
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        let began = std::time::Instant::now();
        caller.ack(&topic, &group, &[handle(&first.messages[0])]).await;
        let received = parked.await.expect("no panic");
        assert_eq!(id(&received.messages[0]), "a2");
        assert!(began.elapsed() < std::time::Duration::from_secs(1));
    });
}

#[test]
fn a_repeated_attempt_gets_the_same_messages_and_both_handles_work() {
    run(async {
        let (caller, topic, group) = fifo(&[("a1", "a"), ("b1", "b")]).await;
        let mut request = receive_request(&topic, &group, 16);
        request.attempt_id = Some(fresh("attempt"));
        let first = caller.receive_by(request.clone()).await;
        let again = caller.receive_by(request).await;
        let ids =
            |received: &super::rig::Received| received.messages.iter().map(|m| id(m).to_owned()).collect::<Vec<_>>();
        assert_eq!(ids(&first), ids(&again));
        assert!(again.messages.iter().all(|message| attempt(message) == 1));
        let answer = caller.ack(&topic, &group, &[handle(&first.messages[0])]).await;
        assert_eq!(answer.status.expect("a status").code, 20000);
        let answer = caller.ack(&topic, &group, &[handle(&again.messages[1])]).await;
        assert_eq!(answer.status.expect("a status").code, 20000);
    });
}

/// What its user would expect, who made a topic that keeps the order and said nothing of a group.
#[test]
fn a_group_that_a_first_receive_from_a_fifo_topic_makes_keeps_the_order() {
    run(async {
        let caller = shared().follower().await.caller();
        let (topic, group) = (fresh("t"), fresh("g"));
        caller.topic(&topic, 1, TopicType::Fifo).await;
        caller.send(vec![grouped(&topic, "a1", "a"), grouped(&topic, "a2", "a")]).await;
        let first = caller.receive(&topic, &group, 1).await;
        assert_eq!((id(&first.messages[0]), first.text.as_str()), ("a1", "OK"));
        assert_eq!(
            caller.receive(&topic, &group, 1).await.code,
            Code::MessageNotFound as i32,
            "the first is under way"
        );
        let groups = caller.admin().list_groups(ListGroupsRequest {}).await.expect("a list").into_inner().groups;
        assert!(groups.iter().any(|made| made.name == group && made.fifo));
        caller.group(CreateGroupRequest { name: group, fifo: true, ..Default::default() }).await;
    });
}

#[test]
fn a_group_without_order_on_a_fifo_topic_is_told_so_and_can_be_changed() {
    run(async {
        let caller = shared().follower().await.caller();
        let (topic, group) = (fresh("t"), fresh("g"));
        caller.topic(&topic, 1, TopicType::Fifo).await;
        caller.group(CreateGroupRequest { name: group.clone(), ..Default::default() }).await;
        caller.send(["a1", "a2", "a3"].map(|id| grouped(&topic, id, "a")).to_vec()).await;
        let first = caller.receive(&topic, &group, 1).await;
        assert_eq!(first.code, Code::Ok as i32);
        assert!(first.text.contains("without order") && first.text.contains(&group), "{}", first.text);
        let second = caller.receive(&topic, &group, 1).await;
        assert_eq!(id(&second.messages[0]), "a2", "as RocketMQ does");

        let mut admin = caller.admin();
        let change = UpdateGroupRequest { name: group.clone(), fifo: Some(true), ..Default::default() };
        let changed = admin.update_group(change.clone()).await.expect("changed").into_inner().group.expect("set");
        assert_eq!((changed.fifo, changed.max_attempts), (true, 17));
        assert_eq!(caller.receive(&topic, &group, 1).await.code, Code::MessageNotFound as i32);
        caller.ack(&topic, &group, &[handle(&first.messages[0]), handle(&second.messages[0])]).await;
        let third = caller.receive(&topic, &group, 1).await;
        assert_eq!((id(&third.messages[0]), third.text.as_str()), ("a3", "OK"));

        let unknown = UpdateGroupRequest { name: fresh("unknown"), ..change.clone() };
        assert_eq!(admin.update_group(unknown).await.expect_err("unknown").code(), GrpcCode::NotFound);
        let none = UpdateGroupRequest { max_attempts: Some(0), ..change };
        assert_eq!(admin.update_group(none).await.expect_err("none").code(), GrpcCode::InvalidArgument);
    });
}

/// What push consumers of ordered groups ask for after their last attempt; without it they ask for ever.
#[test]
fn what_a_consumer_gives_up_goes_to_the_dead_letters_once_and_the_next_goes_on() {
    run(async {
        let (leader, group, topic) = (shared().leader().await, fresh("g"), fresh("t"));
        let caller = shared().follower().await.caller();
        caller.topic(&topic, 1, TopicType::Fifo).await;
        caller.group(CreateGroupRequest { name: group.clone(), fifo: true, ..Default::default() }).await;
        caller.send(vec![grouped(&topic, "a1", "a"), grouped(&topic, "a2", "a")]).await;
        let first = caller.receive(&topic, &group, 1).await;
        let given_up = handle(&first.messages[0]);
        assert_eq!(caller.dead_letter(&topic, &group, &given_up).await, Code::Ok as i32);
        assert_eq!(caller.dead_letter(&topic, &group, &given_up).await, Code::Ok as i32, "a repeat");
        let second = caller.receive(&topic, &group, 16).await;
        assert_eq!((id(&second.messages[0]), second.messages.len()), ("a2", 1));
        let letters = caller.receive(&format!("%DLQ%{group}"), &fresh("reviewer"), 16).await;
        assert_eq!((id(&letters.messages[0]), letters.messages.len()), ("a1", 1), "one copy");
        assert_eq!(letters.messages[0].user_properties["DLQ_ORIGIN_TOPIC"], topic);

        let cases = [
            (topic.as_str(), group.as_str(), "junk", Code::InvalidReceiptHandle),
            (topic.as_str(), "nobody", given_up.as_str(), Code::ConsumerGroupNotFound),
            ("nowhere", group.as_str(), given_up.as_str(), Code::TopicNotFound),
        ];
        for (topic, group, handle, code) in cases {
            assert_eq!(caller.dead_letter(topic, group, handle).await, code as i32);
        }
        let counted = |node: &Node| node.metric("rocketmq_send_to_dlq_messages_total", &format!("\"{group}\""));
        while counted(leader) < 1.0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        assert_eq!(shared().nodes.iter().map(counted).sum::<f64>(), 1.0, "over all nodes");
    });
}
