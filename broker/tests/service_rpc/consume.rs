//! Receiving, acknowledging, redelivery, long polls.

use std::time::{Duration, Instant};

use tercet_proto::{
    admin::v1::{CreateGroupRequest, TopicType},
    rocketmq::v2::{Code, FilterExpression, FilterType},
};

use super::rig::{attempt, code, duration, fresh, handle, id, message, receive_request, run, shared, system};

async fn topic_with(messages: usize) -> (super::rig::Caller, String, String) {
    let caller = shared().leader().await.caller();
    let (topic, group) = (fresh("t"), fresh("g"));
    caller.topic(&topic, 1, TopicType::Normal).await;
    if messages > 0 {
        let batch = (0..messages).map(|n| message(&topic, &format!("m{n}"), format!("body {n}"))).collect();
        caller.send(batch).await;
    }
    (caller, topic, group)
}

#[test]
fn a_message_comes_back_as_it_was_sent() {
    run(async {
        let (caller, topic, group) = topic_with(0).await;
        let mut sent = message(&topic, "the-id", "hello");
        sent.user_properties.insert(String::from("colour"), String::from("blue"));
        let properties = system(&mut sent);
        properties.tag = Some(String::from("tag"));
        properties.keys = vec![String::from("k1"), String::from("k2")];
        properties.born_host = String::from("host");
        properties.trace_context = Some(String::from("trace"));
        caller.send(vec![sent]).await;
        let received = caller.receive(&topic, &group, 16).await;
        assert_eq!((received.code, received.messages.len()), (20000, 1));
        let message = &received.messages[0];
        let properties = message.system_properties.as_ref().expect("set");
        assert_eq!((id(message), &message.body[..]), ("the-id", &b"hello"[..]));
        assert_eq!(message.user_properties["colour"], "blue");
        assert_eq!((properties.tag.as_deref(), &properties.keys[..]), (Some("tag"), &["k1".into(), "k2".into()][..]));
        assert_eq!(properties.body_digest.as_ref().expect("set").checksum, "5D41402ABC4B2A76B9719D911017C592");
        assert_eq!((properties.body_encoding, properties.message_type), (1, 1));
        assert_eq!((properties.queue_id, properties.queue_offset), (0, Some(0)));
        assert_eq!((properties.born_host.as_str(), properties.trace_context.as_deref()), ("host", Some("trace")));
        assert!(properties.store_timestamp.as_ref().expect("set").seconds > 1_600_000_000);
        assert!(!properties.store_host.is_empty());
        assert_eq!(attempt(message), 1);
        assert_eq!(properties.invisible_duration, None);
    });
}

#[test]
fn what_is_acknowledged_never_returns_and_acknowledging_twice_is_fine() {
    run(async {
        let (caller, topic, group) = topic_with(3).await;
        let received = caller.receive(&topic, &group, 16).await;
        let handles: Vec<String> = received.messages.iter().map(handle).collect();
        for _ in 0..2 {
            let answer = caller.ack(&topic, &group, &handles).await;
            assert_eq!((code(&answer.status), answer.entries.len()), (20000, 3));
        }
        assert_eq!(caller.receive(&topic, &group, 16).await.code, Code::MessageNotFound as i32);
        let changed = caller.change(&topic, &group, &handles[0], 0).await;
        assert_eq!(code(&changed.status), Code::InvalidReceiptHandle as i32, "a change does not bring it back");
    });
}

#[test]
fn a_message_given_back_comes_again_at_once_with_the_next_attempt() {
    run(async {
        let (caller, topic, group) = topic_with(1).await;
        let first = caller.receive(&topic, &group, 1).await;
        let changed = caller.change(&topic, &group, &handle(&first.messages[0]), 0).await;
        assert_eq!(code(&changed.status), 20000);
        let began = Instant::now();
        let second = caller.receive(&topic, &group, 1).await;
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        assert_eq!((id(&second.messages[0]), attempt(&second.messages[0])), ("m0", 2));
    });
}

#[test]
fn a_message_returns_when_its_time_has_passed() {
    run(async {
        let (caller, topic, group) = topic_with(1).await;
        let first = caller.receive(&topic, &group, 1).await;
        let old = handle(&first.messages[0]);
        let changed = caller.change(&topic, &group, &old, 1500).await;
        assert_ne!(changed.receipt_handle, old);
        let began = Instant::now();
        // Parked now, and woken by the tick.
        let second = caller.receive(&topic, &group, 1).await;
        let waited = began.elapsed();
        assert!((Duration::from_millis(1300)..Duration::from_secs(3)).contains(&waited), "{waited:?}");
        assert_eq!(attempt(&second.messages[0]), 2);
        for stale in [old, changed.receipt_handle] {
            let answer = caller.ack(&topic, &group, &[stale]).await;
            assert_eq!(code(&answer.status), Code::InvalidReceiptHandle as i32);
        }
        let answer = caller.ack(&topic, &group, &[handle(&second.messages[0])]).await;
        assert_eq!(code(&answer.status), 20000);
    });
}

#[test]
fn after_a_change_the_old_handle_still_acknowledges() {
    run(async {
        let (caller, topic, group) = topic_with(1).await;
        let first = caller.receive(&topic, &group, 1).await;
        let old = handle(&first.messages[0]);
        caller.change(&topic, &group, &old, 60_000).await;
        assert_eq!(code(&caller.ack(&topic, &group, &[old]).await.status), 20000);
    });
}

#[test]
fn a_parked_receive_wakes_when_a_message_arrives_also_through_a_follower() {
    run(async {
        let (caller, topic, group) = topic_with(0).await;
        for node in [shared().leader().await, shared().follower().await] {
            let consumer = node.caller();
            let (topic_name, group_name) = (topic.clone(), group.clone());
            let parked = tokio::spawn(async move {
                let received = consumer.receive(&topic_name, &group_name, 16).await;
                (received, Instant::now())
            });
            tokio::time::sleep(Duration::from_millis(300)).await;
            assert!(!parked.is_finished());
            let sent = Instant::now();
            caller.send(vec![message(&topic, "wake", "x")]).await;
            let (received, at) = parked.await.expect("no panic");
            assert_eq!(received.messages.len(), 1);
            assert!(at - sent < Duration::from_secs(1), "{:?}", at - sent);
            caller.ack(&topic, &group, &[handle(&received.messages[0])]).await;
        }
    });
}

#[test]
fn a_message_goes_past_a_client_that_left_during_its_poll() {
    run(async {
        let (caller, topic, group) = topic_with(0).await;
        let gone = shared().leader().await.caller();
        let stream = gone.messaging().receive_message(gone.request(receive_request(&topic, &group, 1))).await;
        drop(stream);
        drop(gone);
        tokio::time::sleep(Duration::from_millis(200)).await;
        let (consumer, topic_name, group_name) = (caller.clone(), topic.clone(), group.clone());
        let living = tokio::spawn(async move { consumer.receive(&topic_name, &group_name, 1).await });
        tokio::time::sleep(Duration::from_millis(100)).await;
        let sent = Instant::now();
        caller.send(vec![message(&topic, "m", "x")]).await;
        let received = living.await.expect("no panic");
        assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
        assert_eq!(attempt(&received.messages[0]), 1);
    });
}

#[test]
fn each_group_sees_everything_and_within_a_group_each_message_goes_to_one() {
    run(async {
        let (caller, topic, group) = topic_with(20).await;
        let mut seen = Vec::new();
        while seen.len() < 20 {
            let received = caller.receive(&topic, &group, 7).await;
            assert_eq!(received.code, 20000, "after {seen:?}");
            seen.extend(received.messages.iter().map(|message| id(message).to_owned()));
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 20);
        let other = caller.receive(&topic, &fresh("g"), 100).await;
        assert_eq!(other.messages.len(), 20);
    });
}

#[test]
fn a_filter_skips_for_the_group() {
    run(async {
        let (caller, topic, group) = topic_with(0).await;
        let tagged = |id: &str, tag: &str| {
            let mut message = message(&topic, id, "x");
            system(&mut message).tag = Some(tag.to_owned());
            message
        };
        caller.send(vec![tagged("1", "a"), tagged("2", "b"), tagged("3", "c"), message(&topic, "4", "x")]).await;
        let mut request = receive_request(&topic, &group, 16);
        request.filter_expression =
            Some(FilterExpression { r#type: FilterType::Tag as i32, expression: String::from("a || c") });
        let received = caller.receive_by(request).await;
        assert_eq!(received.messages.iter().map(id).collect::<Vec<_>>(), ["1", "3"]);
        let rest = caller.receive(&topic, &group, 16).await;
        assert_eq!(rest.code, Code::MessageNotFound as i32, "the others are consumed");
    });
}

#[test]
fn after_its_last_attempt_a_message_is_in_the_dead_letter_queue() {
    run(async {
        let (caller, topic, group) = topic_with(0).await;
        caller.group(CreateGroupRequest { name: group.clone(), max_attempts: 2, ..Default::default() }).await;
        let mut sent = message(&topic, "dead", "x");
        sent.user_properties.insert(String::from("p"), String::from("v"));
        caller.send(vec![sent]).await;
        for expected in [1, 2] {
            let received = caller.receive(&topic, &group, 1).await;
            assert_eq!(attempt(&received.messages[0]), expected);
            caller.change(&topic, &group, &handle(&received.messages[0]), 0).await;
        }
        let dead = caller.receive(&format!("%DLQ%{group}"), &fresh("g"), 1).await;
        let message = &dead.messages[0];
        assert_eq!((id(message), attempt(message)), ("dead", 1));
        assert_eq!(message.user_properties["p"], "v");
        assert_eq!(message.user_properties["DLQ_ORIGIN_TOPIC"], topic);
        assert_eq!(message.user_properties["DLQ_ORIGIN_MESSAGE_ID"], "dead");
    });
}

#[test]
fn many_parked_receives_share_what_comes_without_loss() {
    run(async {
        let (caller, topic, group) = topic_with(0).await;
        let parked: Vec<_> = (0..20)
            .map(|_| {
                let (caller, topic, group) = (caller.clone(), topic.clone(), group.clone());
                tokio::spawn(async move { caller.receive(&topic, &group, 1).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(200)).await;
        caller.send((0..20).map(|n| message(&topic, &n.to_string(), "x")).collect()).await;
        let mut seen = Vec::new();
        for receive in parked {
            let received = receive.await.expect("no panic");
            assert_eq!(received.code, 20000);
            seen.extend(received.messages.iter().map(|message| id(message).to_owned()));
        }
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), 20);
    });
}

#[test]
fn an_answer_larger_than_its_bound_is_cut_but_the_first_message_passes() {
    run(async {
        let (caller, topic, group) = topic_with(0).await;
        for n in 0..3 {
            caller.send(vec![message(&topic, &n.to_string(), vec![0; 3 << 20])]).await;
        }
        let mut ids = Vec::new();
        while ids.len() < 3 {
            let mut request = receive_request(&topic, &group, 32);
            request.invisible_duration = Some(duration(60_000));
            let received = caller.receive_by(request).await;
            assert_eq!(received.messages.len(), 1);
            ids.extend(received.messages.iter().map(|message| id(message).to_owned()));
        }
        assert_eq!(ids, ["0", "1", "2"]);
    });
}
