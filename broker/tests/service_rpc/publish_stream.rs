//! Publishing over a kept stream, through the leader and through a follower.

use std::{collections::BTreeMap, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use prost::Message as _;
use tercet_proto::{
    admin::v1::{DescribeTopicRequest, TopicType},
    client::v1::{ProducerStamp, PublishAnswer, PublishRequest, publish_service_client::PublishServiceClient},
    rocketmq::v2::{Code, SendMessageRequest, SendMessageResponse},
};

use tonic::transport::Channel;

use super::rig::{Caller, Group, code, fresh, message, run, shared};

fn request(number: u64, topic: &str) -> PublishRequest {
    let messages = vec![message(topic, &format!("a{number}"), "x"), message(topic, &format!("b{number}"), "y")];
    let send = SendMessageRequest { messages }.encode_to_vec().into();
    PublishRequest { number, timeout_ms: 3000, producer: None, send }
}

fn stamped(number: u64, topic: &str, sequence: u64) -> PublishRequest {
    let producer = ProducerStamp { id: vec![7; 16].into(), epoch: 1, sequence, ..ProducerStamp::default() };
    PublishRequest { producer: Some(producer), ..request(number, topic) }
}

fn response(answer: &PublishAnswer) -> SendMessageResponse {
    assert_eq!((answer.grpc_code, answer.grpc_message.as_str()), (0, ""));
    SendMessageResponse::decode(answer.send.clone()).expect("a response")
}

/// The answers by number, after the stream has ended by itself.
async fn publish(caller: &Caller, requests: Vec<PublishRequest>) -> BTreeMap<u64, PublishAnswer> {
    let count = requests.len();
    let mut client = PublishServiceClient::new(caller.channel.clone());
    let answers = client.publish(caller.request(futures::stream::iter(requests))).await.expect("a stream").into_inner();
    let answers: Vec<PublishAnswer> = answers.map(|answer| answer.expect("an answer")).collect().await;
    let answers: BTreeMap<u64, PublishAnswer> = answers.into_iter().map(|answer| (answer.number, answer)).collect();
    assert_eq!(answers.len(), count, "each request is answered once");
    answers
}

#[test]
fn every_request_of_a_stream_is_stored_and_answered_wherever_it_arrives() {
    run(async {
        for caller in [shared().leader().await.caller(), shared().follower().await.caller()] {
            let topic = fresh("t");
            caller.topic(&topic, 4, TopicType::Normal).await;
            let answers = publish(&caller, (0..50).map(|number| request(number, &topic)).collect()).await;
            for (number, answer) in &answers {
                let response = response(answer);
                assert_eq!(code(&response.status), 20000);
                let ids: Vec<&str> = response.entries.iter().map(|entry| entry.message_id.as_str()).collect();
                assert_eq!(ids, [format!("a{number}"), format!("b{number}")]);
                let queue = answer.queues.strip_prefix("1:").and_then(|queue| queue.parse::<u32>().ok());
                assert!(queue.is_some_and(|queue| queue < 4), "{}", answer.queues);
            }
            let described = caller.admin().describe_topic(DescribeTopicRequest { name: topic }).await.expect("a topic");
            assert_eq!(described.get_ref().queues.iter().map(|queue| queue.next_offset).sum::<u64>(), 100);
        }
    });
}

/// hazards 16: the stamp of a request counts as that in the headers of a call does.
#[test]
fn a_repeat_gets_the_first_answer_and_a_gap_of_epochs_is_fenced() {
    run(async {
        let caller = shared().leader().await.caller();
        let topic = fresh("t");
        caller.topic(&topic, 4, TopicType::Normal).await;
        let first = publish(&caller, vec![stamped(0, &topic, 0)]).await;
        let again = publish(&caller, vec![PublishRequest { number: 5, ..stamped(0, &topic, 0) }]).await;
        assert_eq!((&first[&0].send, &first[&0].queues), (&again[&5].send, &again[&5].queues));
        let by_call = caller
            .with("x-tercet-producer", "07070707070707070707070707070707")
            .with("x-tercet-producer-epoch", 1)
            .with("x-tercet-sequence", 0);
        let messages = SendMessageRequest::decode(stamped(0, &topic, 0).send).expect("messages").messages;
        assert_eq!(by_call.send(messages).await.into_inner(), response(&first[&0]));
    });
}

/// The stamp reaches the leader whole, by whichever node it goes.
#[test]
fn a_repeat_in_a_stream_is_known_to_be_one() {
    run(async {
        for caller in [shared().leader().await.caller(), shared().follower().await.caller()] {
            let topic = fresh("t");
            caller.topic(&topic, 1, TopicType::Normal).await;
            let stamped = |number, sequence, again| {
                let id = vec![9; 16].into();
                let producer = ProducerStamp { id, epoch: 1, sequence, lowest: Some(sequence), again };
                PublishRequest { producer: Some(producer), ..request(number, &topic) }
            };
            let unknown = publish(&caller, vec![stamped(0, 7000, true)]).await;
            assert_eq!((code(&response(&unknown[&0]).status), unknown[&0].outcome.as_str()), (40000, "unknown"));
            let first = publish(&caller, vec![stamped(1, 7000, false)]).await;
            assert_eq!(response(&first[&1]).entries[0].offset, 0);
            let again = publish(&caller, vec![PublishRequest { number: 2, ..stamped(1, 7000, true) }]).await;
            assert_eq!(again[&2].send, first[&1].send);
        }
    });
}

#[test]
fn a_bad_request_is_refused_by_itself_and_the_stream_goes_on() {
    run(async {
        let caller = shared().leader().await.caller();
        let topic = fresh("t");
        caller.topic(&topic, 1, TopicType::Normal).await;
        let garbage = PublishRequest { send: Bytes::from_static(b"\xff\xff"), ..request(0, &topic) };
        let odd_stamp = ProducerStamp { id: Bytes::from_static(b"short"), epoch: 1, ..ProducerStamp::default() };
        let odd = PublishRequest { producer: Some(odd_stamp), ..request(1, &topic) };
        let answers = publish(&caller, vec![garbage, odd, request(2, "absent"), request(3, &topic)]).await;
        assert_eq!(answers[&0].grpc_code, i32::from(tonic::Code::InvalidArgument));
        assert!(answers[&0].grpc_message.contains("no SendMessageRequest"), "{}", answers[&0].grpc_message);
        assert_eq!(code(&response(&answers[&1]).status), Code::BadRequest as i32);
        assert_eq!(code(&response(&answers[&2]).status), Code::TopicNotFound as i32);
        assert_eq!(code(&response(&answers[&3]).status), 20000);
    });
}

#[test]
fn a_stream_of_nobody_is_refused() {
    run(async {
        let mut client = PublishServiceClient::new(shared().leader().await.caller().channel);
        let refused = client.publish(futures::stream::iter([request(0, "t")])).await.expect_err("refused");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
        assert!(refused.message().contains("x-mq-client-id"), "{}", refused.message());
    });
}

/// What is under way when a client stops reading is finished: it has places on its way that others wait for.
#[test]
fn requests_are_worked_on_though_nobody_reads_the_answers() {
    const REQUESTS: u64 = 60;
    run(async {
        let node = shared().follower().await;
        let topic = fresh("t");
        node.caller().topic(&topic, 1, TopicType::Normal).await;
        // No answer fits.
        let endpoint = Channel::from_shared(format!("http://{}", node.client)).expect("an address");
        let caller = Caller { channel: endpoint.initial_stream_window_size(8).connect_lazy(), ..node.caller() };
        let requests: Vec<PublishRequest> = (0..REQUESTS).map(|number| request(number, &topic)).collect();
        let mut client = PublishServiceClient::new(caller.channel.clone());
        let unread = client.publish(caller.request(futures::stream::iter(requests))).await.expect("a stream");
        let stored = async || {
            let request = DescribeTopicRequest { name: topic.clone() };
            let described = node.caller().admin().describe_topic(request).await.expect("a topic");
            described.get_ref().queues.iter().map(|queue| queue.next_offset).sum::<u64>()
        };
        while stored().await < 2 * REQUESTS {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        drop(unread);
    });
}

/// While nothing is stored, what a stream has brought waits and takes its room, though its client waits no longer: calls have theirs.
#[test]
fn a_stream_whose_requests_run_out_of_time_leaves_calls_their_room() {
    run(async {
        let group = Group::start_with("stalled", |setup| setup.publish_bytes_max = 8 << 20).await;
        let (leader, topic) = (group.leader().await, fresh("t"));
        leader.caller().topic(&topic, 1, TopicType::Normal).await;
        let others = group.nodes.iter().filter(|node| node.id != leader.id);
        futures::future::join_all(others.map(|node| node.replica.shutdown())).await;
        let messages = move |id: &str| vec![message(&topic, id, vec![7; 1 << 20])];
        let bring = messages.clone();
        let brought = futures::stream::iter(0..).map(move |number: u64| {
            let send = SendMessageRequest { messages: bring(&format!("m{number}")) }.encode_to_vec().into();
            PublishRequest { number, timeout_ms: 100, producer: None, send }
        });
        let caller = leader.caller();
        let mut client = PublishServiceClient::new(caller.channel.clone());
        let mut answers = client.publish(caller.request(brought)).await.expect("a stream").into_inner();
        // More than fit have run out of time, or this node leads no longer.
        for _ in 0..20 {
            answers.message().await.expect("no gRPC error").expect("an answer");
        }
        // It may well have no answer in time.
        let called = leader.caller().with("grpc-timeout", "200m").try_send(messages("called")).await;
        let refused = called.is_ok_and(|answer| code(&answer.get_ref().status) == Code::TooManyRequests as i32);
        assert!(!refused);
    });
}

/// A stream that brings more than is stored is read no further; nothing of it is refused, wherever it arrives.
#[test]
fn who_publishes_too_much_waits_and_is_not_refused() {
    run(async {
        let group = Group::start_with("small-room", |setup| setup.publish_bytes_max = 8 << 20).await;
        for caller in [group.leader().await.caller(), group.follower().await.caller()] {
            let topic = fresh("t");
            caller.topic(&topic, 1, TopicType::Normal).await;
            let mut requests = Vec::new();
            for number in 0..64 {
                let messages = vec![message(&topic, &format!("m{number}"), vec![7; 1 << 20])];
                let send = SendMessageRequest { messages }.encode_to_vec().into();
                requests.push(PublishRequest { number, timeout_ms: 0, producer: None, send });
            }
            for (number, answer) in publish(&caller, requests).await {
                assert_eq!(code(&response(&answer).status), 20000, "request {number}");
            }
        }
    });
}
