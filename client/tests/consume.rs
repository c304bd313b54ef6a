//! What a consumer does with what is pushed to it, and what it does when nodes fail it.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod fake;

use std::time::Duration;

use fake::Group;
use tercet_client::{
    BrokerGroup, Client, ClientOptions, Code, Consumer, ConsumerOptions, Endpoint, Error, ReceivedMessage,
};
use tercet_proto::client::v1::{Change, EndReason, Run, Settled, consume_answer, consume_request};
use tokio::time::timeout;

fn consumer(group: &Group) -> Consumer {
    let client = Client::connect(&group.addresses()).unwrap();
    client.consumer("g", ["t"], ConsumerOptions::default()).unwrap()
}

async fn receive(consumer: &Consumer) -> Vec<ReceivedMessage> {
    timeout(Duration::from_secs(10), consumer.receive()).await.expect("messages in time").unwrap()
}

fn offsets(messages: &[ReceivedMessage]) -> Vec<u64> {
    messages.iter().map(ReceivedMessage::offset).collect()
}

fn run(number: u64, offset: u64, count: u32) -> Run {
    Run { nonce: 1000 + number, deadline_unix_ms: 5000, queue: 0, offset, count }
}

#[tokio::test]
async fn what_is_pushed_is_received_and_its_credit_comes_back_when_it_is_taken() {
    let group = Group::start(1, []).await;
    let consumer = consumer(&group);
    let mut call = group.call().await;
    let open = call.open().await;
    assert_eq!((open.topic.as_str(), open.group.as_str(), open.invisible_ms), ("t", "g", 30_000));
    let credit = open.credit.unwrap();
    assert_eq!((credit.messages, credit.bytes, credit.arrived), (2048, 16 << 20, 0));
    call.push(1, 0..3);
    call.push(2, 3..5);
    let first = receive(&consumer).await;
    assert_eq!((offsets(&first), first[0].message_id(), first[0].attempt()), (vec![0, 1, 2], "id-0", 1));
    assert_eq!(first[0].broker_group(), BrokerGroup(6));
    assert_eq!(offsets(&receive(&consumer).await), [3, 4]);
    let (mut messages, mut bytes, mut arrived) = (0, 0, 0);
    while (messages, bytes, arrived) != (5, 500, 2) {
        let Some(consume_request::Content::Credit(credit)) = call.request().await else { panic!("credit") };
        (messages, bytes) = (messages + credit.messages, bytes + credit.bytes);
        arrived = credit.arrived;
    }
}

#[tokio::test]
async fn acknowledgements_travel_together_as_runs_and_each_hears_of_its_own() {
    let group = Group::start(1, []).await;
    let consumer = consumer(&group);
    let mut call = group.call().await;
    call.open().await;
    call.push(1, 0..6);
    let messages = receive(&consumer).await;
    let node = async {
        let (mut runs, mut over) = (Vec::new(), false);
        while runs.iter().map(|run: &Run| run.count).sum::<u32>() < 5 {
            let (settle, _) = call.settle().await;
            let positions: Vec<u32> = settle
                .done
                .iter()
                .flat_map(|run| run.offset..run.offset + u64::from(run.count))
                .zip(0..)
                .filter(|(offset, _)| *offset == 5)
                .map(|(_, at)| at)
                .collect();
            over |= !positions.is_empty();
            call.settled(&settle, &positions);
            runs.extend(settle.done);
        }
        assert!(over);
        runs
    };
    let (all, one, runs) = tokio::join!(consumer.ack_all(&messages[..4]), consumer.ack(&messages[5]), node);
    all.unwrap();
    let error = one.unwrap_err();
    assert!(matches!(error, Error::Refused { code: Code::INVALID_RECEIPT_HANDLE, .. }), "{error}");
    assert_eq!(runs, [run(1, 0, 4), run(1, 5, 1)]);
}

/// The client knows one node by name, and nobody knows a route: what the node says of the leader is enough.
#[tokio::test]
async fn an_end_that_names_the_leader_is_followed_and_what_has_no_answer_is_said_again_there() {
    let group = Group::start(2, []).await;
    group.lock().route = Vec::new();
    let client = Client::connect(&group.address(0)).unwrap();
    let consumer = client.consumer("g", ["t"], ConsumerOptions::default()).unwrap();
    let mut call = group.call().await;
    assert_eq!(call.node, 0);
    call.open().await;
    call.push(1, 0..2);
    call.push(2, 2..10);
    let messages = receive(&consumer).await;
    let node = async {
        let (first, _) = call.settle().await;
        call.end(EndReason::NotLeader, &group.address(1));
        let mut next = group.call().await;
        assert_eq!(next.node, 1);
        let credit = next.open().await.credit.unwrap();
        assert_eq!((credit.messages, credit.bytes), (2048 - 8, (16 << 20) - 800), "what waits here takes its room");
        let (again, _) = next.settle().await;
        assert_eq!((&again.done, &again.done), (&first.done, &vec![run(1, 0, 2)]));
        next.settled(&again, &[]);
        next
    };
    let (acked, next) = tokio::join!(consumer.ack_all(&messages), node);
    acked.unwrap();
    assert_eq!(offsets(&receive(&consumer).await), (2..10).collect::<Vec<u64>>(), "what had arrived is still there");
    drop(next);
}

#[tokio::test]
async fn after_a_node_died_the_stream_goes_on_at_another_one() {
    let mut group = Group::start(2, []).await;
    let consumer = consumer(&group);
    let mut call = group.call().await;
    let node = call.node;
    call.open().await;
    drop(call);
    group.kill(node);
    let mut call = group.call().await;
    while call.node == node {
        call = group.call().await;
    }
    call.open().await;
    call.push(1, 0..1);
    assert_eq!(offsets(&receive(&consumer).await), [0]);
}

/// One that is cut off ends nothing, and its stream would wait for ever.
#[tokio::test]
async fn a_silent_leader_is_left_as_soon_as_another_one_is_known() {
    let group = Group::start(2, []).await;
    let consumer = consumer(&group);
    let mut silent = group.call().await;
    silent.open().await;
    group.lock().route.rotate_left(1);
    let mut call = group.call().await;
    assert_ne!(call.node, silent.node);
    call.open().await;
    call.push(1, 0..1);
    assert_eq!(offsets(&receive(&consumer).await), [0]);
}

#[tokio::test]
async fn a_topic_or_group_that_is_not_there_is_told_and_tried_again() {
    for (reason, code) in [
        (EndReason::TopicNotFound, Code::TOPIC_NOT_FOUND),
        (EndReason::GroupNotFound, Code::CONSUMER_GROUP_NOT_FOUND),
        (EndReason::BadRequest, Code::BAD_REQUEST),
    ] {
        let group = Group::start(1, []).await;
        let consumer = consumer(&group);
        let mut call = group.call().await;
        call.request().await;
        call.end(reason, "");
        let error = consumer.receive().await.unwrap_err();
        assert!(matches!(&error, Error::Refused { code: found, .. } if *found == code), "{error}");
        assert!(!error.can_retry());
        // It may be made meanwhile.
        let mut call = group.call().await;
        call.open().await;
        call.push(1, 7..8);
        assert_eq!(offsets(&receive(&consumer).await), [7]);
    }
}

#[tokio::test]
async fn a_group_of_nodes_without_a_leader_is_told_after_a_while_and_tried_on() {
    let group = Group::start(1, []).await;
    let endpoints = Endpoint::parse_list(&group.addresses()).unwrap();
    let options = ClientOptions::new(endpoints).call_timeout(Duration::from_millis(500));
    let consumer = Client::new(options).unwrap().consumer("g", ["t"], ConsumerOptions::default()).unwrap();
    let nodes = async {
        loop {
            let mut call = group.call().await;
            call.request().await;
            call.end(EndReason::NotLeader, "");
        }
    };
    let error = tokio::select! {
        error = timeout(Duration::from_secs(10), consumer.receive()) => error.unwrap().unwrap_err(),
        () = nodes => unreachable!(),
    };
    assert!(matches!(error, Error::Unavailable { .. }) && error.can_retry(), "{error}");
}

#[tokio::test]
async fn a_changed_duration_is_remembered_and_a_gift_back_does_not_count() {
    let group = Group::start(1, []).await;
    let consumer = consumer(&group);
    let mut call = group.call().await;
    call.open().await;
    call.push(1, 0..3);
    let mut messages = receive(&consumer).await;
    let node = async {
        let (settle, _) = call.settle().await;
        let change = |at, invisible_ms, uncounted| Change { run: Some(run(1, at, 1)), invisible_ms, uncounted };
        assert_eq!(settle.changes, [change(0, 5000, false)]);
        let deadlines_unix_ms = vec![9000];
        call.say(consume_answer::Content::Settled(Settled { number: settle.number, deadlines_unix_ms, over: vec![] }));
        let (settle, _) = call.settle().await;
        assert_eq!(settle.done, [Run { deadline_unix_ms: 9000, ..run(1, 0, 1) }]);
        call.settled(&settle, &[]);
        let (settle, _) = call.settle().await;
        assert_eq!(settle.changes, [Change { run: Some(run(1, 1, 2)), invisible_ms: 0, uncounted: true }]);
        let deadlines_unix_ms = vec![9000, 0];
        call.say(consume_answer::Content::Settled(Settled { number: settle.number, deadlines_unix_ms, over: vec![] }));
    };
    let application = async {
        consumer.change_invisible_duration(&mut messages[0], Duration::from_secs(5)).await.unwrap();
        consumer.ack(&messages[0]).await.unwrap();
        consumer.give_back(&messages[1..]).await.unwrap_err()
    };
    let ((), error) = tokio::join!(node, application);
    assert!(matches!(error, Error::Refused { code: Code::INVALID_RECEIPT_HANDLE, .. }), "{error}");
}

/// What it does not hear to have arrived, the node gives back, and it is delivered twice.
#[tokio::test]
async fn a_node_that_ends_the_stream_hears_what_has_arrived() {
    let group = Group::start(2, []).await;
    let consumer = consumer(&group);
    let mut call = group.call().await;
    call.open().await;
    call.push(1, 0..2);
    call.push(2, 2..5);
    call.end(EndReason::Stopping, &group.address(1 - call.node));
    let mut arrived = 0;
    while let Some(request) = call.request().await {
        let consume_request::Content::Credit(credit) = request else { panic!("{request:?}") };
        arrived = credit.arrived;
    }
    assert_eq!(arrived, 2, "and then its client ended the stream");
    let mut next = group.call().await;
    assert_ne!(next.node, call.node);
    next.open().await;
    assert_eq!(offsets(&receive(&consumer).await), [0, 1]);
    assert_eq!(offsets(&receive(&consumer).await), [2, 3, 4]);
}

/// In a group that keeps the order, what waits may be before what another consumer has got meanwhile.
#[tokio::test]
async fn when_a_stream_breaks_what_waits_is_given_back_if_the_order_is_kept() {
    let group = Group::start(1, []).await;
    let consumer = consumer(&group);
    let mut call = group.call().await;
    call.open_as(true).await;
    call.push(1, 0..2);
    while !matches!(call.request().await, Some(consume_request::Content::Credit(credit)) if credit.arrived == 1) {}
    drop(call);
    let mut call = group.call().await;
    call.open_as(true).await;
    let (settle, _) = call.settle().await;
    assert_eq!(settle.changes, [Change { run: Some(run(1, 0, 2)), invisible_ms: 0, uncounted: true }]);
    call.push(1, 7..8);
    assert_eq!(offsets(&receive(&consumer).await), [7]);
}

/// Whether it is closed or dropped.
#[tokio::test]
async fn what_nobody_received_is_given_back_at_the_end() {
    for closed in [true, false] {
        let group = Group::start(1, []).await;
        let consumer = consumer(&group);
        let mut call = group.call().await;
        call.open().await;
        call.push(1, 0..2);
        call.push(2, 2..5);
        receive(&consumer).await;
        let node = async {
            // So that the second one has arrived.
            while !matches!(call.request().await, Some(consume_request::Content::Credit(credit)) if credit.arrived == 2)
            {
            }
            let ending = tokio::spawn(async move {
                if closed {
                    consumer.close().await;
                }
            });
            let (settle, _) = call.settle().await;
            assert_eq!(settle.changes, [Change { run: Some(run(2, 2, 3)), invisible_ms: 0, uncounted: true }]);
            let deadlines_unix_ms = vec![1, 1, 1];
            let number = settle.number;
            call.say(consume_answer::Content::Settled(Settled { number, deadlines_unix_ms, over: vec![] }));
            while call.request().await.is_some() {}
            call.end(EndReason::Finished, "");
            drop(call);
            timeout(Duration::from_secs(1), ending).await.expect("closed in time").unwrap();
        };
        node.await;
    }
}

/// Whoever else holds it: a task that receives ends, and what is on its way is still answered.
#[tokio::test]
async fn one_clone_closes_the_consumer_for_all() {
    let group = Group::start(1, []).await;
    let consumer = consumer(&group);
    let mut call = group.call().await;
    call.open().await;
    call.push(1, 0..1);
    let message = receive(&consumer).await.remove(0);
    let waiting = tokio::spawn({
        let consumer = consumer.clone();
        async move { consumer.receive().await.map(|_| ()) }
    });
    let acked = tokio::spawn({
        let (consumer, message) = (consumer.clone(), message.clone());
        async move { consumer.ack(&message).await }
    });
    let (settle, _) = call.settle().await;
    assert_eq!(settle.done.len(), 1);
    let closing = tokio::spawn({
        let consumer = consumer.clone();
        async move { consumer.close().await }
    });
    assert!(matches!(timeout(Duration::from_secs(10), waiting).await.unwrap().unwrap(), Err(Error::Closed)));
    call.settled(&settle, &[]);
    assert!(matches!(acked.await.unwrap(), Ok(())));
    drop(call);
    timeout(Duration::from_secs(10), closing).await.unwrap().unwrap();
    assert!(matches!(consumer.ack(&message).await, Err(Error::Closed)));
    assert!(matches!(consumer.receive().await, Err(Error::Closed)));
}

#[tokio::test]
async fn giving_up_waiting_loses_nothing() {
    let group = Group::start(1, []).await;
    let consumer = consumer(&group);
    let mut call = group.call().await;
    call.open().await;
    for _ in 0..3 {
        assert!(timeout(Duration::from_millis(20), consumer.receive()).await.is_err());
    }
    call.push(1, 0..1);
    call.push(2, 1..2);
    assert_eq!(offsets(&receive(&consumer).await), [0]);
    assert_eq!(offsets(&receive(&consumer).await), [1]);
}

#[tokio::test]
async fn bad_names_and_settings_are_refused_at_once() {
    let client = Client::connect("127.0.0.1:1").unwrap();
    let options = ConsumerOptions::default;
    assert!(client.consumer("a b", ["t"], options()).is_err());
    assert!(client.consumer("g", ["t t"], options()).is_err());
    assert!(client.consumer("g", Vec::<String>::new(), options()).is_err());
    let options = ConsumerOptions::new().prefetch_messages(0);
    assert!(client.consumer("g", ["t"], options).is_err());
}
