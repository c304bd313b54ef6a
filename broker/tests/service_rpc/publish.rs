//! Publishing, through the leader and through a follower.

use tercet_proto::{
    admin::v1::{DescribeTopicRequest, TopicType},
    rocketmq::v2::Code,
};

use super::rig::{code, fresh, grouped, message, run, shared};

#[test]
fn a_batch_is_stored_with_one_entry_per_message() {
    run(async {
        let caller = shared().leader().await.caller();
        let topic = fresh("t");
        caller.topic(&topic, 4, TopicType::Normal).await;
        let messages = (0..10).map(|n| message(&topic, &format!("m{n}"), vec![n; 100])).collect();
        let answer = caller.send(messages).await;
        assert!(answer.metadata().contains_key("x-tercet-queues"));
        let answer = answer.into_inner();
        assert_eq!(code(&answer.status), 20000);
        let ids: Vec<&str> = answer.entries.iter().map(|entry| entry.message_id.as_str()).collect();
        assert_eq!(ids, ["m0", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8", "m9"]);
        let offsets: Vec<i64> = answer.entries.iter().map(|entry| entry.offset).collect();
        assert_eq!(offsets, (0..10).collect::<Vec<i64>>(), "a request of normal messages goes to one queue");
        assert!(answer.entries.iter().all(|entry| entry.transaction_id == entry.message_id));
    });
}

#[test]
fn a_follower_forwards_and_keeps_the_leaders_answer() {
    run(async {
        let group = shared();
        let caller = group.follower().await.caller();
        let topic = fresh("t");
        caller.topic(&topic, 1, TopicType::Normal).await;
        for n in 0..3 {
            let answer = caller.send(vec![message(&topic, &format!("m{n}"), "x")]).await;
            assert_eq!(answer.metadata().get("x-tercet-queues").expect("kept"), "1:0");
            assert_eq!(answer.get_ref().entries[0].offset, n);
        }
    });
}

#[test]
fn a_forwarded_request_is_not_forwarded_again() {
    run(async {
        let caller = shared().follower().await.caller().with("x-tercet-hop", 1).with("grpc-timeout", "400m");
        let answer = caller.send(vec![message("any", "m", "x")]).await;
        assert_eq!(code(&answer.get_ref().status), Code::HaNotAvailable as i32);
        assert!(!answer.metadata().contains_key("x-tercet-outcome"), "surely not stored");
    });
}

/// hazards 16: the first answer is repeated, nothing is stored twice.
#[test]
fn a_repeated_sequence_gets_the_first_answer() {
    run(async {
        let caller = shared().leader().await.caller();
        let topic = fresh("t");
        caller.topic(&topic, 4, TopicType::Normal).await;
        let producer = |sequence: u64| {
            caller
                .with("x-tercet-producer", "000102030405060708090a0b0c0d0e0f")
                .with("x-tercet-producer-epoch", 1)
                .with("x-tercet-sequence", sequence)
        };
        let batch = || vec![message(&topic, "a", "x"), message(&topic, "b", "y")];
        let first = producer(0).send(batch()).await;
        let again = producer(0).send(batch()).await;
        assert_eq!(first.get_ref(), again.get_ref());
        assert_eq!(first.metadata().get("x-tercet-queues"), again.metadata().get("x-tercet-queues"));
        let next = producer(2).send(batch()).await;
        assert_eq!(code(&next.get_ref().status), 20000);
        let mut admin = caller.admin();
        let queues =
            admin.describe_topic(DescribeTopicRequest { name: topic }).await.expect("a topic").into_inner().queues;
        assert_eq!(queues.iter().map(|queue| queue.next_offset).sum::<u64>(), 4);
    });
}

/// hazards 16: a producer that nothing is known of goes on with what it sends for the first time, wherever it stands. What
/// it sends again may have been stored and forgotten: that is unknown, and not stored.
#[test]
fn an_unknown_producer_goes_on_and_its_repeats_are_unknown() {
    run(async {
        for caller in [shared().leader().await.caller(), shared().follower().await.caller()] {
            for (kind, key) in [(TopicType::Normal, ""), (TopicType::Fifo, "k")] {
                let topic = fresh("t");
                caller.topic(&topic, 1, kind).await;
                let message = || if key.is_empty() { message(&topic, "m", "x") } else { grouped(&topic, "m", key) };
                let producer = |sequence: u64, again: u8| {
                    caller
                        .with("x-tercet-producer", "00000000000000000000000000000abc")
                        .with("x-tercet-producer-epoch", 1)
                        .with("x-tercet-sequence", sequence)
                        .with("x-tercet-lowest", sequence)
                        .with("x-tercet-again", again)
                };
                let repeat = producer(5000, 1).send(vec![message()]).await;
                assert_eq!(code(&repeat.get_ref().status), Code::BadRequest as i32);
                assert_eq!(repeat.metadata().get("x-tercet-outcome").expect("told"), "unknown");
                let first = producer(5000, 0).send(vec![message()]).await;
                assert_eq!((code(&first.get_ref().status), first.get_ref().entries[0].offset), (20000, 0));
                let again = producer(5000, 1).send(vec![message()]).await;
                assert_eq!(again.get_ref(), first.get_ref());
                let next = producer(5007, 0).send(vec![message()]).await;
                assert_eq!(next.get_ref().entries[0].offset, 1, "5001 to 5006 were given up");
                let over = producer(5003, 0).send(vec![message()]).await;
                assert_eq!(code(&over.get_ref().status), Code::BadRequest as i32);
            }
        }
    });
}

#[test]
fn a_message_group_keeps_its_queue_and_its_order() {
    run(async {
        let caller = shared().leader().await.caller();
        let topic = fresh("t");
        caller.topic(&topic, 8, TopicType::Fifo).await;
        let mut places = std::collections::BTreeMap::<String, Vec<(String, i64)>>::new();
        for round in 0..3 {
            let batch: Vec<_> =
                (0..20).map(|n| grouped(&topic, &format!("{round}-{n}"), &format!("g{}", n % 5))).collect();
            let answer = caller.send(batch).await;
            let told = answer.metadata().get("x-tercet-queues").expect("told").to_str().expect("text").to_owned();
            let runs = told.strip_prefix("1:").expect("the broker group");
            let queues: Vec<String> = runs
                .split(',')
                .flat_map(|run| {
                    let (queue, count) = run.split_once('*').unwrap_or((run, "20"));
                    vec![queue.to_owned(); count.parse().expect("a count")]
                })
                .collect();
            for (n, entry) in answer.get_ref().entries.iter().enumerate() {
                places.entry(format!("g{}", n % 5)).or_default().push((queues[n].clone(), entry.offset));
            }
        }
        for (group, places) in places {
            assert!(places.iter().all(|(queue, _)| *queue == places[0].0), "{group}: {places:?}");
            assert!(places.is_sorted_by(|a, b| a.1 < b.1), "{group}: {places:?}");
        }
    });
}

#[test]
fn the_largest_body_arrives_and_one_byte_more_is_refused() {
    run(async {
        let caller = shared().leader().await.caller();
        let (topic, group) = (fresh("t"), fresh("g"));
        caller.topic(&topic, 1, TopicType::Normal).await;
        let answer = caller.send(vec![message(&topic, "max", vec![7; 4 << 20])]).await;
        assert_eq!(code(&answer.get_ref().status), 20000);
        let answer = caller.send(vec![message(&topic, "over", vec![7; (4 << 20) + 1])]).await;
        assert_eq!(code(&answer.get_ref().status), Code::MessageBodyTooLarge as i32);
        let received = caller.receive(&topic, &group, 1).await;
        assert_eq!(received.messages[0].body.len(), 4 << 20);
        let over = caller.try_send((0..3).map(|n| message(&topic, &n.to_string(), vec![0; 3 << 20])).collect()).await;
        assert_eq!(over.expect_err("beyond the request limit").code(), tonic::Code::OutOfRange);
        let after = caller.send(vec![message(&topic, "after", "x")]).await;
        assert_eq!(after.get_ref().entries[0].offset, 1, "nothing of the refused ones is stored");
    });
}

/// The calls made for every message are answered below the generated service, which still says no to what is compressed.
#[test]
fn a_compressed_request_is_refused_by_what_it_lacks_here() {
    run(async {
        let caller = shared().leader().await.caller();
        let topic = fresh("t");
        caller.topic(&topic, 1, TopicType::Normal).await;
        let send = |encoding| {
            let (caller, message) = (caller.with("grpc-encoding", encoding), message(&topic, "1", "x"));
            async move { caller.try_send(vec![message]).await }
        };
        let plain = send("identity").await.expect("an answer");
        assert_eq!(code(&plain.get_ref().status), 20000);
        assert_eq!(send("gzip").await.expect_err("not served").code(), tonic::Code::Unimplemented);
    });
}

#[test]
fn many_senders_share_entries_and_offsets_stay_dense() {
    run(async {
        let caller = shared().leader().await.caller();
        let topic = fresh("t");
        caller.topic(&topic, 1, TopicType::Normal).await;
        let sends = (0..500).map(|n| {
            let (caller, message) = (caller.clone(), message(&topic, &n.to_string(), vec![0; 64]));
            tokio::spawn(async move { caller.send(vec![message]).await.into_inner().entries[0].offset })
        });
        let mut offsets: Vec<i64> = Vec::new();
        for send in sends.collect::<Vec<_>>() {
            offsets.push(send.await.expect("no panic"));
        }
        offsets.sort_unstable();
        assert_eq!(offsets, (0..500).collect::<Vec<i64>>());
    });
}
