//! Consuming over a kept stream: pushes against credit, what is sent up, and why streams end.

use std::{collections::BTreeSet, time::Duration};

use tercet_proto::{
    admin::v1::{
        CreateGroupRequest, DeleteGroupRequest, DeleteTopicRequest, TopicType, TransferLeadershipRequest,
        UpdateGroupRequest,
    },
    client::v1::{
        Change, ConsumeRequest, EndReason, Open, Run, Settle, consume_answer::Content, consume_request,
        consume_service_client::ConsumeServiceClient,
    },
    rocketmq::v2::Message,
};
use tokio::time::{Instant, timeout};
use tonic::Status;

use super::{
    rig::{Group, fresh, grouped, message, run, shared, system},
    stream_rig::{
        MIB, Stream, count, credit, done, ids, numbered, open, properties, request, runs, sorted, topic_with,
    },
};

#[test]
fn no_more_is_pushed_than_credit_was_granted_for() {
    run(async {
        let (caller, topic, group) = topic_with(4, 50).await;
        let mut stream = Stream::opened(&caller, open(&topic, &group, 10)).await;
        let first = stream.batches(10).await;
        assert!(stream.is_quiet().await, "the credit is used up");
        let arrived = first.last().expect("one").number;
        stream.grant(credit(5, MIB, arrived)).await;
        let second = stream.batches(5).await;
        assert!(stream.is_quiet().await);
        let numbers: Vec<u64> = first.iter().chain(&second).map(|batch| batch.number).collect();
        assert!(numbers.iter().zip(1..).all(|(number, expected)| *number == expected), "{numbers:?}");
        assert_eq!(ids(&first).into_iter().chain(ids(&second)).collect::<BTreeSet<_>>().len(), 15);
    });
}

#[test]
fn credit_in_bytes_counts_and_one_message_always_passes() {
    run(async {
        let (caller, topic, group) = topic_with(1, 0).await;
        for n in 0..4 {
            caller.send(vec![message(&topic, &n.to_string(), vec![0; 100_000])]).await;
        }
        let mut ask = open(&topic, &group, 100);
        ask.credit = Some(credit(100, 1, 0));
        let mut stream = Stream::opened(&caller, ask).await;
        let first = stream.batches(1).await;
        assert!(first[0].bytes > 100_000, "{}", first[0].bytes);
        assert!(stream.is_quiet().await);
        stream.grant(credit(0, first[0].bytes - 1, 1)).await;
        assert!(stream.is_quiet().await, "what the first took is not paid yet");
        stream.grant(credit(0, 2 * first[0].bytes, 1)).await;
        assert_eq!(ids(&stream.batches(2).await), ["1", "2"]);
    });
}

#[test]
fn a_message_comes_as_it_was_sent() {
    run(async {
        let (caller, topic, group) = topic_with(1, 0).await;
        let mut sent = message(&topic, "id", "body");
        sent.user_properties.insert(String::from("p"), String::from("v"));
        system(&mut sent).tag = Some(String::from("tag"));
        system(&mut sent).keys = vec![String::from("k1"), String::from("k2")];
        caller.send(vec![sent, message(&topic, "other", "x")]).await;
        let mut ask = open(&topic, &group, 10);
        ask.filter = String::from("tag || more");
        let mut stream = Stream::opened(&caller, ask).await;
        let batch = stream.batch().await;
        assert!(stream.is_quiet().await, "the filter holds");
        let delivered = &batch.messages[0];
        assert_eq!((delivered.queue, delivered.offset, delivered.attempt), (0, 0, 1));
        assert_eq!((&delivered.body[..], delivered.tag.as_str()), (&b"body"[..], "tag"));
        assert!(delivered.stored_unix_ms > 1_600_000_000_000 && delivered.origin_topic.is_empty());
        let properties = properties(delivered);
        assert_eq!((properties.message_id.as_str(), properties.keys), ("id", vec![String::from("k1"), "k2".into()]));
        assert_eq!(properties.properties["p"], "v");
    });
}

#[test]
fn messages_are_pushed_as_they_come() {
    run(async {
        let (caller, topic, group) = topic_with(4, 0).await;
        let mut stream = Stream::opened(&caller, open(&topic, &group, 1000)).await;
        for n in 0..5 {
            tokio::time::sleep(Duration::from_millis(50)).await;
            let sent = Instant::now();
            caller.send(vec![message(&topic, &n.to_string(), "x")]).await;
            assert_eq!(ids(&[stream.batch().await]), [n.to_string()]);
            assert!(sent.elapsed() < Duration::from_secs(1), "{:?}", sent.elapsed());
        }
    });
}

/// Nothing that is done with comes again; saying it again, on another stream, is fine.
#[test]
fn what_is_done_with_is_answered_in_batches_and_does_not_come_again() {
    run(async {
        let (caller, topic, group) = topic_with(4, 200).await;
        let mut stream = Stream::opened(&caller, open(&topic, &group, 1000)).await;
        let batches = stream.batches(200).await;
        let settled = stream.settle(done(7, &batches)).await;
        assert_eq!((settled.over.len(), settled.deadlines_unix_ms.len()), (0, 0));
        // Not confirmed as arrived, but done with: it is not given back.
        assert_eq!(stream.close().await.reason(), EndReason::Finished);
        let mut next = Stream::opened(&caller, open(&topic, &group, 1000)).await;
        assert!(next.is_quiet().await);
        assert_eq!(next.settle(done(1, &batches)).await.over, Vec::<u32>::new());
    });
}

#[test]
fn what_has_not_arrived_is_given_back_at_once_and_does_not_count() {
    run(async {
        let (caller, topic, group) = topic_with(4, 30).await;
        let mut stream = Stream::opened(&caller, open(&topic, &group, 10)).await;
        let arrived = stream.batches(10).await;
        stream.grant(credit(20, MIB, arrived.last().expect("one").number)).await;
        let unseen = stream.batches(20).await;
        drop(stream);
        let mut next = Stream::opened(&caller, open(&topic, &group, 100)).await;
        let again = next.batches(20).await;
        assert_eq!(sorted(ids(&again)), sorted(ids(&unseen)));
        assert!(again.iter().flat_map(|batch| &batch.messages).all(|message| message.attempt == 1));
        assert!(next.is_quiet().await, "what has arrived is the first client's for its time");
        // It settles them on whichever stream it has.
        assert_eq!(next.settle(done(1, &arrived)).await.over, Vec::<u32>::new());
        let old = next.settle(done(2, &unseen)).await;
        assert_eq!(old.over.len(), 20, "these are other deliveries now");
    });
}

#[test]
fn changes_are_answered_with_deadlines_and_a_gift_back_may_count_or_not() {
    run(async {
        let (caller, topic, group) = topic_with(1, 4).await;
        let mut stream = Stream::opened(&caller, open(&topic, &group, 4)).await;
        let batches = stream.batches(4).await;
        let run_of = |at: usize| runs(&batches)[at];
        let change = |at, invisible_ms, uncounted| Change { run: Some(run_of(at)), invisible_ms, uncounted };
        let changes = vec![change(0, 60_000, false), change(1, 0, false), change(2, 0, true)];
        let settled = stream.settle(Settle { number: 1, done: vec![run_of(3)], changes }).await;
        assert_eq!((settled.over.len(), settled.deadlines_unix_ms.len()), (0, 3));
        assert!(settled.deadlines_unix_ms[0] > batches[0].deadline_unix_ms + 20_000);
        stream.grant(credit(10, MIB, 0)).await;
        let again = stream.batches(2).await;
        let mut attempts: Vec<(String, u32)> = again
            .iter()
            .flat_map(|batch| &batch.messages)
            .map(|message| (properties(message).message_id, message.attempt))
            .collect();
        attempts.sort();
        assert_eq!(attempts, [(String::from("m0001"), 2), (String::from("m0002"), 1)]);
        let late = Settle { number: 2, changes: vec![change(1, 60_000, false)], ..Settle::default() };
        assert_eq!(stream.settle(late).await.deadlines_unix_ms, [0]);
    });
}

#[test]
fn a_group_that_keeps_the_order_gets_it_and_waits_for_what_is_settled() {
    run(async {
        let caller = shared().leader().await.caller();
        let (topic, group) = (fresh("t"), fresh("g"));
        caller.topic(&topic, 4, TopicType::Fifo).await;
        caller.group(CreateGroupRequest { name: group.clone(), fifo: true, ..Default::default() }).await;
        let sent: Vec<Message> = (0..300)
            .map(|n| {
                let key = format!("k{}", n % 7);
                grouped(&topic, &format!("{key}-{n:04}"), &key)
            })
            .collect();
        for some in sent.chunks(50) {
            caller.send(some.to_vec()).await;
        }
        let mut stream = Stream::opened(&caller, open(&topic, &group, 40)).await;
        let (mut seen, mut sent_up, mut settled) = (Vec::new(), 0, 0);
        while seen.len() < 300 || settled < sent_up {
            let batch = match stream.next().await {
                Content::Batch(batch) => batch,
                Content::Settled(answer) => {
                    assert_eq!(answer.over, Vec::<u32>::new());
                    settled += 1;
                    continue;
                }
                other => panic!("{other:?}"),
            };
            seen.extend(ids(std::slice::from_ref(&batch)));
            sent_up += 1;
            stream.grant(credit(batch.messages.len() as u64, batch.bytes, batch.number)).await;
            let up = request(consume_request::Content::Settle(done(sent_up, &[batch])));
            stream.requests.send(up).await.expect("room");
        }
        for key in 0..7 {
            let of: Vec<&String> = seen.iter().filter(|id| id.starts_with(&format!("k{key}"))).collect();
            assert!(of.is_sorted(), "{of:?}");
        }
        caller.send(vec![grouped(&topic, "a1", "a"), grouped(&topic, "a2", "a"), grouped(&topic, "a3", "a")]).await;
        let first = stream.batch().await;
        caller.send(vec![grouped(&topic, "a4", "a")]).await;
        assert!(stream.is_quiet().await, "the message group is held by what is not settled");
        let held = ids(std::slice::from_ref(&first));
        stream.settle(done(1000, &[first])).await;
        stream.grant(credit(10, MIB, 0)).await;
        let rest = stream.batches(4 - held.len()).await;
        assert_eq!(held.into_iter().chain(ids(&rest)).collect::<Vec<_>>(), ["a1", "a2", "a3", "a4"]);
    });
}

/// One that does not read holds what is on its way to it, whatever credit it granted.
#[test]
fn a_reader_that_stands_still_holds_little_and_the_others_get_the_rest() {
    run(async {
        let (caller, topic, group) = topic_with(4, 0).await;
        for n in 0..60 {
            caller.send(vec![message(&topic, &format!("{n:02}"), vec![0; 500_000])]).await;
        }
        let mut greedy = open(&topic, &group, u64::MAX);
        greedy.credit = Some(credit(u64::MAX, u64::MAX, 0));
        let still = Stream::open(&shared().leader().await.caller(), greedy.clone()).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut reading = Stream::opened(&caller, greedy).await;
        let mut got = Vec::new();
        while let Ok(answer) = timeout(Duration::from_secs(1), reading.answers.message()).await {
            match answer.expect("no gRPC error").expect("an answer").content {
                Some(Content::Batch(batch)) => got.push(batch),
                other => panic!("{other:?}"),
            }
        }
        let first = count(&got);
        assert!((30..60).contains(&first), "{first}");
        drop(still);
        while count(&got) < 60 {
            got.push(reading.batch().await);
        }
        assert_eq!(ids(&got).into_iter().collect::<BTreeSet<_>>().len(), 60);
        assert!(got.iter().flat_map(|batch| &batch.messages).all(|message| message.attempt == 1));
    });
}

#[test]
fn a_lost_leadership_is_told_and_deliveries_are_settled_at_the_next_leader() {
    run(async {
        let nodes = Group::start("stream-lost").await;
        let old = nodes.leader().await;
        let (topic, group) = (fresh("t"), fresh("g"));
        let caller = old.caller();
        caller.topic(&topic, 4, TopicType::Normal).await;
        caller.send(numbered(&topic, 20)).await;
        let mut stream = Stream::opened(&caller, open(&topic, &group, 10)).await;
        let batches = stream.batches(10).await;
        stream.grant(credit(0, 0, batches.last().expect("one").number)).await;
        let to = nodes.follower().await;
        let refused = Stream::open(&to.caller(), open(&topic, &group, 10)).await.end().await;
        assert_eq!((refused.reason(), refused.leader.as_str()), (EndReason::NotLeader, old.client.as_str()));

        let request = TransferLeadershipRequest { to: Some(to.id.0) };
        caller.admin().transfer_leadership(request).await.expect("moved");
        let end = timeout(Duration::from_secs(5), stream.end()).await.expect("told at once");
        assert_eq!(end.reason(), EndReason::NotLeader);
        assert!(end.leader.is_empty() || end.leader == to.client, "{}", end.leader);

        let mut next = Stream::opened(&nodes.leader().await.caller(), open(&topic, &group, 100)).await;
        let rest = next.batches(10).await;
        assert_eq!(next.settle(done(1, &batches)).await.over, Vec::<u32>::new());
        assert!(ids(&rest).iter().all(|id| !ids(&batches).contains(id)), "nothing comes twice");
    });
}

#[test]
fn a_stop_a_deletion_and_another_order_end_streams_whether_they_wait_or_have_no_credit() {
    run(async {
        let nodes = Group::start("stream-ends").await;
        let leader = nodes.leader().await;
        let caller = leader.caller();
        let (kept, topic, group) = (fresh("t"), fresh("t"), fresh("g"));
        for name in [&kept, &topic] {
            caller.topic(name, 1, TopicType::Normal).await;
        }
        let all = async |topic: &str, group: &str| {
            let asks = [open(topic, group, 10), open(topic, group, 0)];
            let streams = asks.map(|ask| Stream::opened(&caller, ask));
            futures::future::join_all(streams).await
        };
        let end_as = async |streams: Vec<Stream>, reason| {
            for mut stream in streams {
                let end = timeout(Duration::from_secs(4), stream.end()).await.expect("told soon");
                assert_eq!(end.reason(), reason, "{}", end.text);
            }
        };
        let of_topic = all(&topic, &fresh("g")).await;
        let of_group = all(&kept, &group).await;
        caller.admin().delete_topic(DeleteTopicRequest { name: topic.clone() }).await.expect("deleted");
        end_as(of_topic, EndReason::TopicNotFound).await;
        let changed = fresh("g");
        let of_changed = all(&kept, &changed).await;
        let update = UpdateGroupRequest { name: changed, fifo: Some(true), ..Default::default() };
        caller.admin().update_group(update).await.expect("updated");
        end_as(of_changed, EndReason::GroupChanged).await;
        let delete = DeleteGroupRequest { name: group.clone(), with_dead_letters: false };
        caller.admin().delete_group(delete).await.expect("deleted");
        end_as(of_group, EndReason::GroupNotFound).await;
        for (topic, group, reason) in
            [(&topic, "g", EndReason::TopicNotFound), (&kept, &group, EndReason::GroupNotFound)]
        {
            let mut refused = Stream::open(&caller, open(topic, group, 1)).await;
            assert_eq!(refused.end().await.reason(), reason);
        }
        let of_node = all(&kept, &fresh("g")).await;
        leader.api.shutdown();
        end_as(of_node, EndReason::Stopping).await;
    });
}

#[test]
fn what_makes_no_sense_is_told_and_nothing_is_done() {
    run(async {
        let (caller, topic, group) = topic_with(1, 1).await;
        let good = open(&topic, &group, 1);
        let bad = [
            Open { invisible_ms: 9_999, ..good.clone() },
            Open { topic: String::from("no topic"), ..good.clone() },
            Open { group: String::new(), ..good.clone() },
            Open { filter: String::from("||"), ..good.clone() },
            Open { auto_renew: true, ..good.clone() },
            Open { session: "s".repeat(65), ..good.clone() },
        ];
        for open in bad {
            let end = Stream::open(&caller, open.clone()).await.end().await;
            assert_eq!(end.reason(), EndReason::BadRequest, "{open:?}");
        }
        let later = [
            request(consume_request::Content::Open(good.clone())),
            request(consume_request::Content::Credit(credit(1, 1, 1000))),
            request(consume_request::Content::Settle(Settle {
                number: 1,
                done: vec![Run { count: 5000, ..Run::default() }],
                changes: Vec::new(),
            })),
            ConsumeRequest { content: None },
        ];
        for request in later {
            let mut stream = Stream::opened(&caller, open(&topic, &group, 0)).await;
            stream.requests.send(request.clone()).await.expect("room");
            assert_eq!(stream.end().await.reason(), EndReason::BadRequest, "{request:?}");
        }
        let mut stream = Stream::opened(&caller, good).await;
        assert_eq!(stream.batch().await.messages[0].attempt, 1);
        let mut nobody = ConsumeServiceClient::new(caller.channel.clone());
        let refused: Status = nobody.consume(futures::stream::empty()).await.expect_err("who is it?");
        assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    });
}
