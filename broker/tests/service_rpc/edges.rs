//! Codes and effects that need state or a connection: what clients decide by.

use std::time::{Duration, Instant};

use tercet_proto::{
    admin::v1::{CreateGroupRequest, TopicType},
    rocketmq::v2::{
        ClientType, Code, HeartbeatRequest, NotifyClientTerminationRequest, Publishing, QueryAssignmentRequest,
        QueryOffsetPolicy, QueryOffsetRequest, QueryRouteRequest, SendMessageRequest, Settings, Subscription,
        TelemetryCommand, UpdateOffsetRequest, settings::PubSub, telemetry_command::Command,
    },
};
use tokio_stream::wrappers::ReceiverStream;

use super::rig::{
    Caller, Group, code, duration, fresh, handle, message, receive_request, resource, run, shared, system,
};

async fn sent(caller: &Caller, message: tercet_proto::rocketmq::v2::Message) -> i32 {
    code(&caller.send(vec![message]).await.get_ref().status)
}

#[test]
fn a_send_is_refused_by_what_the_topic_takes() {
    run(async {
        let caller = shared().leader().await.caller();
        let normal = fresh("t");
        caller.topic(&normal, 1, TopicType::Normal).await;
        assert_eq!(sent(&caller, message(&fresh("unknown"), "m", "x")).await, Code::TopicNotFound as i32);
        let mut grouped = message(&normal, "m", "x");
        system(&mut grouped).message_group = Some(String::from("g"));
        assert_eq!(sent(&caller, grouped).await, Code::MessagePropertyConflictWithType as i32);

        let mut late = message(&normal, "m", "x");
        system(&mut late).delivery_timestamp = Some(prost_types::Timestamp { seconds: 4_000_000_000, nanos: 0 });
        assert_eq!(sent(&caller, late).await, Code::IllegalDeliveryTime as i32);
        let mut half = message(&normal, "m", "x");
        system(&mut half).message_type = 4;
        assert_eq!(sent(&caller, half).await, Code::MessagePropertyConflictWithType as i32);
    });
}

#[test]
fn a_client_id_is_required_everywhere() {
    run(async {
        let caller = shared().leader().await.caller();
        let request = SendMessageRequest { messages: vec![message("t", "m", "x")] };
        let answer = caller.messaging().send_message(request).await.expect("an answer");
        assert_eq!(code(&answer.into_inner().status), Code::ClientIdRequired as i32);
        let (sender, commands) = tokio::sync::mpsc::channel(1);
        let stream = caller.messaging().telemetry(ReceiverStream::new(commands)).await.expect("headers");
        let first = stream.into_inner().message().await.expect("a command").expect("a command");
        assert_eq!(code(&first.status), Code::ClientIdRequired as i32);
        assert!(first.command.is_none());
        drop(sender);
    });
}

#[test]
fn receipt_handles_of_others_and_junk_are_refused() {
    run(async {
        let caller = shared().leader().await.caller();
        let (topic, other, group) = (fresh("t"), fresh("t"), fresh("g"));
        caller.topic(&topic, 1, TopicType::Normal).await;
        caller.topic(&other, 1, TopicType::Normal).await;
        caller.send((0..2).map(|n| message(&topic, &n.to_string(), "x")).collect()).await;
        let received = caller.receive(&topic, &group, 2).await;
        let handles: Vec<String> = received.messages.iter().map(handle).collect();
        let second_group = fresh("g");
        caller.receive(&topic, &second_group, 2).await;
        let refused = Code::InvalidReceiptHandle as i32;
        assert_eq!(code(&caller.ack(&topic, &group, &["junk".into()]).await.status), refused);
        assert_eq!(code(&caller.ack(&other, &group, &handles).await.status), refused);
        assert_eq!(code(&caller.ack(&topic, &second_group, &handles).await.status), refused);
        assert_eq!(code(&caller.change(&topic, &group, "", 0).await.status), refused);
        let mixed = caller.ack(&topic, &group, &[handles[0].clone(), "junk".into()]).await;
        assert_eq!(code(&mixed.status), Code::MultipleResults as i32);
        assert_eq!(mixed.entries.iter().map(|e| code(&e.status)).collect::<Vec<_>>(), [20000, refused]);
        assert_eq!(code(&caller.ack(&topic, &group, &[]).await.status), Code::InternalServerError as i32);
        let unknown = caller.ack(&fresh("unknown"), &group, &handles).await;
        assert_eq!(code(&unknown.status), Code::TopicNotFound as i32);
        let unknown = caller.ack(&topic, &fresh("unknown"), &handles).await;
        assert_eq!(code(&unknown.status), Code::ConsumerGroupNotFound as i32);
        let far = caller.change(&topic, &group, &handles[1], 13 * 3600 * 1000).await;
        assert_eq!(code(&far.status), Code::IllegalInvisibleTime as i32);
    });
}

#[test]
fn a_receive_answers_inside_the_clients_deadline() {
    run(async {
        let caller = shared().leader().await.caller();
        let (topic, group) = (fresh("t"), fresh("g"));
        caller.topic(&topic, 1, TopicType::Normal).await;
        let short = caller.with("grpc-timeout", "4S");
        let began = Instant::now();
        assert_eq!(short.receive(&topic, &group, 1).await.code, Code::IllegalPollingTime as i32);
        assert!(began.elapsed() < Duration::from_secs(1));
        let mut request = receive_request(&topic, &group, 1);
        request.long_polling_timeout = Some(duration(20_000));
        for node in [shared().leader().await, shared().follower().await] {
            let began = Instant::now();
            let received = node.caller().with("grpc-timeout", "6S").receive_by(request.clone()).await;
            assert_eq!(received.code, Code::MessageNotFound as i32);
            let waited = began.elapsed();
            assert!((Duration::from_millis(4500)..Duration::from_millis(5700)).contains(&waited), "{waited:?}");
        }
        let unknown = caller.receive(&fresh("unknown"), &group, 1).await;
        assert_eq!(unknown.code, Code::TopicNotFound as i32);
    });
}

#[test]
fn routes_name_the_leader_first_and_clients_of_one_address_get_the_asked_node() {
    run(async {
        let group = shared();
        let leader = group.leader().await;
        let topic = fresh("t");
        leader.caller().topic(&topic, 4, TopicType::Fifo).await;
        for node in &group.nodes {
            let caller = node.caller();
            let request = QueryRouteRequest { topic: Some(resource(&topic)), endpoints: None };
            let route = caller.messaging().query_route(caller.request(request.clone())).await.expect("an answer");
            let route = route.into_inner();
            assert_eq!(code(&route.status), 20000);
            let ids: Vec<i32> = route.message_queues.iter().map(|queue| queue.id).collect();
            assert_eq!(ids, [0, 1, 2, 3]);
            for queue in &route.message_queues {
                assert_eq!((queue.permission, &queue.accept_message_types[..]), (4, &[2][..]));
                let broker = queue.broker.as_ref().expect("set");
                assert_eq!((broker.name.as_str(), broker.id), ("broker-1", 0));
                let addresses = &broker.endpoints.as_ref().expect("set").addresses;
                assert_eq!(addresses.len(), 3);
                assert_eq!(format!("{}:{}", addresses[0].host, addresses[0].port), leader.client);
            }
            for language in ["HTTP", "PYTHON", "GOLANG"] {
                let one = caller.with("x-mq-language", language);
                let route = one.messaging().query_route(one.request(request.clone())).await.expect("an answer");
                let broker = route.into_inner().message_queues[0].broker.clone().expect("set");
                let [address] = &broker.endpoints.as_ref().expect("set").addresses[..] else { panic!("one address") };
                assert_eq!(format!("{}:{}", address.host, address.port), node.client);
            }
        }
        let caller = leader.caller();
        let request = QueryRouteRequest { topic: Some(resource(&fresh("unknown"))), endpoints: None };
        for node in &group.nodes {
            let answer = node.caller().messaging().query_route(caller.request(request.clone())).await.expect("one");
            assert_eq!(code(&answer.into_inner().status), Code::TopicNotFound as i32);
        }
    });
}

#[test]
fn assignments_are_one_queue_for_normal_groups_and_all_for_fifo_groups() {
    run(async {
        let caller = shared().leader().await.caller();
        let (topic, fifo) = (fresh("t"), fresh("g"));
        caller.topic(&topic, 3, TopicType::Normal).await;
        caller.group(CreateGroupRequest { name: fifo.clone(), fifo: true, ..Default::default() }).await;
        for (group, expected) in [(fresh("unknown"), vec![-1]), (fifo, vec![0, 1, 2])] {
            let request = QueryAssignmentRequest {
                topic: Some(resource(&topic)),
                group: Some(resource(&group)),
                endpoints: None,
            };
            let answer = caller.messaging().query_assignment(caller.request(request)).await.expect("an answer");
            let ids: Vec<i32> =
                answer.into_inner().assignments.iter().map(|a| a.message_queue.as_ref().expect("set").id).collect();
            assert_eq!(ids, expected);
        }
    });
}

fn settings(command: PubSub, kind: ClientType) -> TelemetryCommand {
    let settings = Settings { client_type: Some(kind as i32), pub_sub: Some(command), ..Default::default() };
    TelemetryCommand { status: None, command: Some(Command::Settings(settings)) }
}

fn subscription(group: &str) -> TelemetryCommand {
    let group = Some(resource(group));
    settings(PubSub::Subscription(Subscription { group, ..Default::default() }), ClientType::PushConsumer)
}

#[test]
fn telemetry_sends_headers_at_once_and_answers_every_settings() {
    run(async {
        for node in &shared().nodes {
            let caller = node.caller();
            let (sender, commands) = tokio::sync::mpsc::channel(4);
            let request = caller.request(ReceiverStream::new(commands));
            // Without a command sent: this returns when the headers came.
            let mut stream = caller.messaging().telemetry(request).await.expect("headers").into_inner();
            let publishing = settings(PubSub::Publishing(Publishing::default()), ClientType::Producer);
            for command in [publishing, subscription(&fresh("g"))] {
                sender.send(command).await.expect("open");
                let answer = stream.message().await.expect("a stream").expect("an answer");
                assert_eq!(code(&answer.status), 20000);
                let Some(Command::Settings(settings)) = answer.command else { panic!("no settings") };
                assert!(settings.backoff_policy.is_some());
            }
            sender.send(TelemetryCommand::default()).await.expect("open");
            drop(sender);
            assert!(stream.message().await.expect("ends OK").is_none());
        }
    });
}

#[test]
fn illegal_settings_end_the_stream() {
    run(async {
        let caller = shared().leader().await.caller();
        let (sender, commands) = tokio::sync::mpsc::channel(4);
        let stream = caller.messaging().telemetry(caller.request(ReceiverStream::new(commands))).await;
        sender.send(subscription("a/b")).await.expect("open");
        let error = stream.expect("headers").into_inner().message().await.expect_err("ended");
        assert_eq!(error.code(), tonic::Code::InvalidArgument);
    });
}

/// hazards 21: a group exists once a person has made it.
#[test]
fn where_groups_are_not_made_by_themselves_a_subscription_is_refused() {
    run(async {
        let by_hand = Group::start_with("by-hand", |setup| setup.auto_create_group = false).await;
        let (topic, group) = (fresh("t"), fresh("g"));
        for node in [by_hand.follower().await, by_hand.leader().await] {
            let caller = node.caller();
            caller.topic(&topic, 1, TopicType::Normal).await;
            let (sender, commands) = tokio::sync::mpsc::channel(4);
            let stream = caller.messaging().telemetry(caller.request(ReceiverStream::new(commands))).await;
            sender.send(subscription(&group)).await.expect("open");
            let error = stream.expect("headers").into_inner().message().await.expect_err("ended");
            assert_eq!(error.code(), tonic::Code::InvalidArgument);
            assert_eq!(caller.receive(&topic, &group, 1).await.code, Code::ConsumerGroupNotFound as i32);
        }
        let caller = by_hand.follower().await.caller();
        caller.group(CreateGroupRequest { name: group.clone(), ..Default::default() }).await;
        caller.send(vec![message(&topic, "m", "x")]).await;
        assert_eq!(caller.receive(&topic, &group, 1).await.messages.len(), 1);
    });
}

/// A consumer that was told otherwise would run its messages in parallel for as long as it lives.
#[test]
fn whether_a_group_keeps_the_order_is_said_by_the_leader_or_not_at_all() {
    run(async {
        let group = Group::start("flag").await;
        let fifo = fresh("g");
        let follower = group.follower().await;
        let declares = async || {
            let caller = follower.caller();
            let (sender, commands) = tokio::sync::mpsc::channel(4);
            let stream = caller.messaging().telemetry(caller.request(ReceiverStream::new(commands))).await;
            sender.send(subscription(&fifo)).await.expect("open");
            let mut stream = stream.expect("headers").into_inner();
            stream.message().await.map(|answer| match answer.expect("an answer").command {
                Some(Command::Settings(Settings { pub_sub: Some(PubSub::Subscription(own)), .. })) => own.fifo,
                other => panic!("{other:?}"),
            })
        };
        let request = CreateGroupRequest { name: fifo.clone(), fifo: true, ..Default::default() };
        group.leader().await.caller().group(request).await;
        assert_eq!(declares().await.expect("settings"), Some(true), "however far this node has come");
        for node in group.nodes.iter().filter(|node| node.id != follower.id) {
            node.stop().await;
        }
        // The leadership may have come to this node from those that stopped; it leads on until it misses them.
        follower.replica.watch().wait_for(|status| !status.serving).await.expect("it runs");
        assert_eq!(declares().await.expect_err("nobody knows").code(), tonic::Code::Unavailable);
    });
}

#[test]
fn heartbeats_need_a_declaration_and_goodbye_takes_it_away() {
    run(async {
        for node in [shared().leader().await, shared().follower().await] {
            let caller = node.caller();
            let beat = || async {
                let request = caller.request(HeartbeatRequest::default());
                code(&caller.messaging().heartbeat(request).await.expect("an answer").into_inner().status)
            };
            let goodbye = || async {
                let request = caller.request(NotifyClientTerminationRequest::default());
                let answer = caller.messaging().notify_client_termination(request).await.expect("an answer");
                code(&answer.into_inner().status)
            };
            let undeclared = Code::UnrecognizedClientType as i32;
            assert_eq!((beat().await, goodbye().await), (undeclared, undeclared));
            let (sender, commands) = tokio::sync::mpsc::channel(4);
            let request = caller.request(ReceiverStream::new(commands));
            let mut stream = caller.messaging().telemetry(request).await.expect("headers").into_inner();
            sender.send(subscription(&fresh("g"))).await.expect("open");
            stream.message().await.expect("a stream").expect("an answer");
            assert_eq!((beat().await, goodbye().await, beat().await), (20000, 20000, undeclared));
        }
    });
}

#[test]
fn a_push_consumer_that_says_goodbye_gives_its_messages_back_soon() {
    run(async {
        let caller = shared().follower().await.caller();
        let (topic, group) = (fresh("t"), fresh("g"));
        caller.topic(&topic, 1, TopicType::Normal).await;
        let (sender, commands) = tokio::sync::mpsc::channel(4);
        let request = caller.request(ReceiverStream::new(commands));
        let mut stream = caller.messaging().telemetry(request).await.expect("headers").into_inner();
        sender.send(subscription(&group)).await.expect("open");
        stream.message().await.expect("a stream").expect("an answer");
        caller.send(vec![message(&topic, "m", "x")]).await;
        let mut request = receive_request(&topic, &group, 1);
        (request.auto_renew, request.invisible_duration) = (true, None);
        let first = caller.receive_by(request).await;
        assert_eq!(first.messages.len(), 1);
        let goodbye = caller.request(NotifyClientTerminationRequest::default());
        caller.messaging().notify_client_termination(goodbye).await.expect("an answer");
        let began = Instant::now();
        let other = shared().leader().await.caller();
        let mut request = receive_request(&topic, &group, 1);
        request.long_polling_timeout = Some(duration(20_000));
        let second = other.receive_by(request).await;
        assert_eq!(second.messages.len(), 1);
        assert!((Duration::from_secs(4)..Duration::from_secs(7)).contains(&began.elapsed()), "{:?}", began.elapsed());
    });
}

#[test]
fn offsets_of_a_queue_can_be_asked() {
    run(async {
        let caller = shared().follower().await.caller();
        let topic = fresh("t");
        caller.topic(&topic, 1, TopicType::Normal).await;
        caller.send((0..5).map(|n| message(&topic, &n.to_string(), "x")).collect()).await;
        let ask = |id: i32, policy: QueryOffsetPolicy, seconds: i64| {
            let queue =
                tercet_proto::rocketmq::v2::MessageQueue { topic: Some(resource(&topic)), id, ..Default::default() };
            let request = caller.request(QueryOffsetRequest {
                message_queue: Some(queue),
                query_offset_policy: policy as i32,
                timestamp: Some(prost_types::Timestamp { seconds, nanos: 0 }),
            });
            let mut client = caller.messaging();
            async move { client.query_offset(request).await.expect("an answer").into_inner() }
        };
        assert_eq!(ask(0, QueryOffsetPolicy::Beginning, 0).await.offset, 0);
        assert_eq!(ask(0, QueryOffsetPolicy::End, 0).await.offset, 5);
        assert_eq!(ask(0, QueryOffsetPolicy::Timestamp, 1000).await.offset, 0);
        assert_eq!(ask(0, QueryOffsetPolicy::Timestamp, 4_000_000_000).await.offset, 5);
        assert_eq!(code(&ask(7, QueryOffsetPolicy::End, 0).await.status), Code::NotFound as i32);
    });
}

#[test]
fn what_is_not_served_says_so() {
    run(async {
        let caller = shared().leader().await.caller();
        let error = caller.messaging().update_offset(caller.request(UpdateOffsetRequest::default())).await;
        let error = error.expect_err("not served");
        assert_eq!(error.code(), tonic::Code::Unimplemented);
        assert!(error.message().contains("UpdateOffset"));
    });
}
