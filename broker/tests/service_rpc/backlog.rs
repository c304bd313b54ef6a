//! What monitoring sees of backlogs.

use tercet_proto::admin::v1::TopicType;

use crate::rig::{Group, fresh, message, run, shared};

async fn of(group: &Group, name: &str, words: &str) -> Vec<f64> {
    // A scrape by who does not lead any more shows nothing.
    let leader = group.leader().await.id;
    group.nodes.iter().filter(|node| node.id == leader).map(|node| node.metric(name, words)).collect()
}

#[test]
fn the_leader_alone_shows_backlog_and_lag_of_a_group() {
    run(async {
        let group = shared();
        let caller = group.leader().await.caller();
        let (topic, consumers) = (fresh("t"), fresh("g"));
        caller.topic(&topic, 2, TopicType::Normal).await;
        for n in 0..10 {
            caller.send(vec![message(&topic, &n.to_string(), vec![n; 10])]).await;
        }
        let received = caller.receive(&topic, &consumers, 3).await.messages;
        let taken = received.len() as f64;
        let labels = format!("topic=\"{topic}\",consumer_group=\"{consumers}\"");
        assert_eq!(of(group, "rocketmq_consumer_lag_messages", &labels).await, [10.0]);
        assert_eq!(of(group, "rocketmq_consumer_inflight_messages", &labels).await, [taken]);
        assert_eq!(of(group, "rocketmq_consumer_ready_messages", &labels).await, [10.0 - taken]);
        let ages = ["rocketmq_consumer_lag_latency", "rocketmq_consumer_queueing_latency"];
        for name in ages {
            let age = of(group, name, &labels).await[0];
            assert!((0.0..120_000.0).contains(&age), "{name} is {age} ms");
        }
        for node in group.nodes.iter().filter(|node| !node.replica.status().serving) {
            assert!(!node.scrape().contains("rocketmq_consumer_lag"), "node {} follows", node.id);
        }
        for node in &group.nodes {
            assert!(node.scrape().contains("rocketmq_storage_message_reserve_time{"), "node {}", node.id);
        }
    });
}
