//! Order within message groups.

use tercet_proto::{
    admin::v1::{CreateGroupRequest, TopicType},
    rocketmq::v2::Code,
};

use super::rig::{Caller, attempt, fresh, grouped, handle, id, receive_request, run, shared};

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
