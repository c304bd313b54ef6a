//! What a simple consumer does, and what it does when nodes fail it.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod fake;

use std::time::Duration;

use fake::{Group, Step};
use tercet_client::{Client, Code, ConsumerOptions, Error, SimpleConsumer};
use tonic::Code as GrpcCode;

fn consumer(group: &Group) -> SimpleConsumer {
    let client = Client::connect(&group.addresses()).unwrap();
    client.simple_consumer("g", ["t"], ConsumerOptions::default()).unwrap()
}

#[tokio::test]
async fn messages_are_received_and_their_acknowledgements_travel_together() {
    let group = Group::start(1, []).await;
    let consumer = consumer(&group);
    let messages = consumer.receive().await.unwrap();
    assert_eq!(messages.len(), 32);
    consumer.ack_all(&messages).await.unwrap();
    let shared = group.lock();
    let handles: Vec<_> = shared.acks.iter().flat_map(|ack| &ack.entries).map(|entry| &entry.receipt_handle).collect();
    assert_eq!(handles.len(), 32);
    assert!(shared.acks.len() <= 4, "{} requests", shared.acks.len());
    assert_eq!(shared.acks[0].group.as_ref().unwrap().name, "g");
    assert_eq!(shared.acks[0].topic.as_ref().unwrap().name, "t");
}

#[tokio::test]
async fn a_receive_that_fails_is_tried_at_another_node_under_the_same_attempt_id() {
    let group = Group::start(2, []).await;
    group.lock().receive_script = [Step::Grpc(GrpcCode::Unavailable), Step::Code(50_002)].into();
    let messages = consumer(&group).receive_with(5, Duration::from_secs(10)).await.unwrap();
    assert_eq!(messages.len(), 5);
    let shared = group.lock();
    assert_eq!(shared.receives.len(), 3);
    assert!(shared.receives.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(shared.receives[0].attempt_id.is_some());
}

/// A long poll waits for up to 15 s; a leader that fell silent meanwhile is not waited for that long.
#[tokio::test]
async fn a_receive_at_a_silent_leader_goes_to_the_next_one_as_soon_as_it_is_known() {
    let group = Group::start(2, []).await;
    group.lock().receive_script = [Step::Hang].into();
    let consumer = consumer(&group);
    let (received, ()) = tokio::join!(tokio::time::timeout(Duration::from_secs(10), consumer.receive()), async {
        group.until("the leader has it", |shared| shared.receives.len() == 1).await;
        group.lock().route.rotate_left(1);
    });
    assert!(!received.unwrap().unwrap().is_empty());
    let shared = group.lock();
    assert!(shared.receives.len() == 2 && shared.receives[0] == shared.receives[1], "under the same attempt id");
}

/// What is picked for a receive is hidden from everybody else: a new leader is no reason to throw it away.
#[tokio::test]
async fn an_answer_that_has_begun_is_awaited_although_another_node_leads_now() {
    let group = Group::start(2, []).await;
    group.lock().receive_script = [Step::AtGate, Step::Hang, Step::Hang].into();
    let consumer = consumer(&group);
    let (received, beside, ()) = tokio::join!(
        consumer.receive(),
        async {
            group.until("the first one has begun", |shared| shared.receives.len() == 1).await;
            // This one meets silence twice, and the first one hears of each new leader that it finds.
            let received = consumer.receive().await;
            group.gate.add_permits(1);
            received
        },
        async {
            for asked in [2, 3] {
                group.until("it is asked for", |shared| shared.receives.len() == asked).await;
                group.lock().route.rotate_left(1);
            }
        },
    );
    assert_eq!((received.unwrap().len(), beside.unwrap().len()), (32, 32));
    let shared = group.lock();
    let first = &shared.receives[0];
    assert_eq!(shared.receives.iter().filter(|receive| *receive == first).count(), 1, "it is asked for once");
}

#[tokio::test]
async fn nothing_to_deliver_is_no_error() {
    let group = Group::start(1, []).await;
    group.lock().receive_script = [Step::Code(40_401)].into();
    assert!(consumer(&group).receive().await.unwrap().is_empty());
}

#[tokio::test]
async fn an_unknown_topic_or_group_is_an_error_that_no_retry_helps() {
    for code in [40_402, 40_403] {
        let group = Group::start(1, []).await;
        group.lock().receive_script = [Step::Code(code)].into();
        let error = consumer(&group).receive().await.unwrap_err();
        assert!(matches!(&error, Error::Refused { code: found, .. } if found.0 == code), "{error}");
        assert!(!error.can_retry());
        assert_eq!(group.lock().receives.len(), 1);
    }
}

#[tokio::test]
async fn a_dead_handle_is_told_to_whoever_acknowledges() {
    let group = Group::start(1, []).await;
    group.lock().ack_code = 40_013;
    let consumer = consumer(&group);
    let messages = consumer.receive().await.unwrap();
    let error = consumer.ack(&messages[0]).await.unwrap_err();
    assert!(matches!(error, Error::Refused { code: Code::INVALID_RECEIPT_HANDLE, .. }), "{error}");
}

#[tokio::test]
async fn a_changed_duration_replaces_the_handle() {
    let group = Group::start(1, []).await;
    let consumer = consumer(&group);
    let mut messages = consumer.receive_with(1, Duration::from_secs(10)).await.unwrap();
    consumer.change_invisible_duration(&mut messages[0], Duration::from_secs(5)).await.unwrap();
    consumer.ack(&messages[0]).await.unwrap();
    let shared = group.lock();
    assert_eq!(shared.changes[0].invisible_duration.as_ref().unwrap().seconds, 5);
    assert_eq!(shared.acks[0].entries[0].receipt_handle, "handle-1-renewed");
}

#[tokio::test]
async fn a_consumer_can_be_used_from_spawned_tasks() {
    let group = Group::start(1, []).await;
    let consumer = std::sync::Arc::new(consumer(&group));
    let tasks = (0..4).map(|_| {
        let consumer = std::sync::Arc::clone(&consumer);
        tokio::spawn(async move {
            let messages = consumer.receive().await.unwrap();
            consumer.ack_all(&messages).await.unwrap();
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    assert_eq!(group.lock().acks.iter().map(|ack| ack.entries.len()).sum::<usize>(), 128);
}

#[tokio::test]
async fn bad_names_and_settings_are_refused_at_once() {
    let client = Client::connect("127.0.0.1:1").unwrap();
    let options = ConsumerOptions::default;
    assert!(client.simple_consumer("a b", ["t"], options()).is_err());
    assert!(client.simple_consumer("g", ["t t"], options()).is_err());
    assert!(client.simple_consumer("g", Vec::<String>::new(), options()).is_err());
    let options = ConsumerOptions { long_poll: Duration::from_secs(1), ..options() };
    assert!(client.simple_consumer("g", ["t"], options).is_err());
}
