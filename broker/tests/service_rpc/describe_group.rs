//! What people see of a consumer group.

use tercet_proto::{
    admin::v1::{CreateGroupRequest, DescribeGroupRequest, DescribeGroupResponse, QueuePlace, TopicType},
    rocketmq::v2::{
        ClientType, Settings, Subscription, TelemetryCommand, settings::PubSub, telemetry_command::Command,
    },
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;

use crate::rig::{Caller, fresh, message, resource, run, shared};

async fn describe(caller: &Caller, request: DescribeGroupRequest) -> DescribeGroupResponse {
    caller.admin().describe_group(request).await.expect("a description").into_inner()
}

fn request(name: &str) -> DescribeGroupRequest {
    DescribeGroupRequest { name: name.to_owned(), ..Default::default() }
}

/// By any node, and of this moment.
#[test]
fn a_group_is_described_with_its_queues_and_dead_letters() {
    run(async {
        let group = shared();
        let caller = group.leader().await.caller();
        let (topic, other, consumers) = (fresh("t"), fresh("other"), fresh("g"));
        caller.topic(&topic, 2, TopicType::Normal).await;
        caller.topic(&other, 1, TopicType::Normal).await;
        caller.group(CreateGroupRequest { name: consumers.clone(), max_attempts: 3, ..Default::default() }).await;
        for n in 0..6 {
            caller.send(vec![message(&topic, &n.to_string(), vec![n; 10])]).await;
        }
        let through_follower = group.follower().await.caller();
        let before = describe(&through_follower, request(&consumers)).await;
        assert!(before.queues.is_empty() && before.next.is_none() && !before.automatic, "it has read nothing");

        let mut taken = Vec::new();
        while taken.len() < 4 {
            taken.extend(caller.receive(&topic, &consumers, 4 - taken.len() as i32).await.messages);
        }
        let handle = |at: usize| taken[at].system_properties.clone().expect("set").receipt_handle.expect("set");
        caller.ack(&topic, &consumers, &[handle(0)]).await;
        caller.dead_letter(&topic, &consumers, &handle(1)).await;
        caller.change(&topic, &consumers, &handle(2), 0).await;
        let after = describe(&through_follower, request(&consumers)).await;
        let settings = after.group.expect("set");
        assert_eq!((settings.name.as_str(), settings.max_attempts), (consumers.as_str(), 3));
        assert_eq!(
            after.queues.iter().map(|of| (of.topic.as_str(), of.queue)).collect::<Vec<_>>(),
            [(topic.as_str(), 0), (topic.as_str(), 1)]
        );
        let sum = |of: fn(&tercet_proto::admin::v1::QueueProgress) -> u64| after.queues.iter().map(of).sum::<u64>();
        assert_eq!((sum(|of| of.ready), sum(|of| of.redeliveries), sum(|of| of.in_flight)), (3, 1, 1));
        assert_eq!((sum(|of| of.next_offset), sum(|of| of.taken_offset)), (6, 4));
        let oldest = after.queues.iter().filter_map(|of| of.oldest_unix_millis).min().expect("unfinished");
        assert!((1..=after.now_unix_millis).contains(&oldest));
        assert_eq!((after.dead_letter_topic, after.dead_letters), (format!("%DLQ%{consumers}"), 1));

        let of_topic = |topic: &str| DescribeGroupRequest { topic: topic.to_owned(), ..request(&consumers) };
        assert_eq!(describe(&caller, of_topic(&topic)).await.queues.len(), 2);
        let unknown = caller.admin().describe_group(of_topic(&other)).await.expect_err("not received from");
        assert_eq!(unknown.code(), Code::NotFound);
        let unknown = caller.admin().describe_group(request(&fresh("g"))).await.expect_err("no such group");
        assert_eq!(unknown.code(), Code::NotFound);
    });
}

#[test]
fn more_queues_than_one_answer_takes_come_with_the_next() {
    run(async {
        let caller = shared().leader().await.caller();
        let (topic, consumers) = (fresh("t"), fresh("g"));
        caller.topic(&topic, 300, TopicType::Normal).await;
        caller.send(vec![message(&topic, "k", vec![1])]).await;
        caller.receive(&topic, &consumers, 1).await;
        let first = describe(&caller, request(&consumers)).await;
        assert_eq!((first.queues.len(), first.automatic), (256, true));
        let next = first.next.expect("there are more");
        assert_eq!(next, QueuePlace { topic, queue: 256 });
        let second = describe(&caller, DescribeGroupRequest { from: Some(next), ..request(&consumers) }).await;
        assert_eq!((second.queues.len(), second.next), (44, None));
    });
}

#[test]
fn clients_that_are_connected_to_the_leader_are_named() {
    run(async {
        let caller = shared().leader().await.caller();
        let (topic, consumers) = (fresh("t"), fresh("g"));
        caller.topic(&topic, 1, TopicType::Normal).await;
        let subscription = Subscription { group: Some(resource(&consumers)), ..Default::default() };
        let settings = Settings {
            client_type: Some(ClientType::SimpleConsumer as i32),
            pub_sub: Some(PubSub::Subscription(subscription)),
            ..Default::default()
        };
        let (sender, commands) = tokio::sync::mpsc::channel(1);
        let command = TelemetryCommand { command: Some(Command::Settings(settings)), ..Default::default() };
        sender.send(command).await.expect("room");
        let stream = caller.messaging().telemetry(caller.request(ReceiverStream::new(commands))).await;
        let mut stream = stream.expect("a stream").into_inner();
        stream.message().await.expect("whole").expect("settings");
        let described = describe(&caller, request(&consumers)).await;
        let names: Vec<&str> = described.consumers.iter().map(|of| of.client_id.as_str()).collect();
        assert_eq!((names, described.consumer_count), (vec![caller.client_id.as_str()], 1));
        drop(sender);
        while stream.message().await.is_ok_and(|command| command.is_some()) {}
        while describe(&caller, request(&consumers)).await.consumer_count > 0 {}
    });
}
