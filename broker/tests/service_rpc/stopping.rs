//! What clients of a node hear when it stops.

use std::time::Duration;

use tercet_proto::{
    admin::v1::{CreateGroupRequest, TopicType},
    rocketmq::v2::{Code, receive_message_response::Content},
};
use tokio::time::timeout;

use super::rig::{Group, duration, fresh, receive_request, run};

#[test]
fn polls_that_wait_at_a_node_that_stops_are_answered() {
    run(async {
        let group = Group::start("parked").await;
        // The follower first: its polls wait at the leader, which goes on.
        for node in [group.follower().await, group.leader().await] {
            let caller = node.caller();
            let (topic, consumers) = (fresh("t"), fresh("g"));
            let at_leader = group.leader().await.caller();
            at_leader.topic(&topic, 1, TopicType::Normal).await;
            at_leader.group(CreateGroupRequest { name: consumers.clone(), ..Default::default() }).await;
            let mut polls = Vec::new();
            for _ in 0..100 {
                let mut request = receive_request(&topic, &consumers, 1);
                request.long_polling_timeout = Some(duration(20_000));
                let poll = caller.messaging().receive_message(caller.request(request)).await;
                polls.push(poll.expect("headers come at once").into_inner());
            }
            node.api.shutdown();
            for mut poll in polls {
                let item = timeout(Duration::from_secs(10), poll.message()).await.expect("long before its time");
                match item.expect("no gRPC error").expect("an item").content {
                    Some(Content::Status(status)) => assert_eq!(status.code, Code::MessageNotFound as i32),
                    other => panic!("{other:?}"),
                }
            }
        }
    });
}
