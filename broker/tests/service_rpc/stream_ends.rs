//! What becomes of deliveries when streams end, and of those of clients that do not read.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use tercet_proto::{
    admin::v1::{TopicType, UpdateGroupRequest},
    client::v1::{Batch, EndReason, Open, Settle, consume_answer::Content, consume_request},
};
use tokio::time::{Instant, timeout};
use tonic::transport::Channel;

use super::{
    rig::{Caller, Group, Node, fresh, message, run},
    stream_rig::{Stream, count, credit, done, ids, open, request, runs, sorted, topic_with},
};

/// A client that takes no more than fits into the smallest window.
fn reluctant(node: &Node) -> Caller {
    let endpoint = Channel::from_shared(format!("http://{}", node.client)).expect("an address");
    let channel = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535).connect_lazy();
    Caller { channel, ..node.caller() }
}

/// Everything that the group is still given at once.
async fn the_rest(caller: &Caller, ask: &Open) -> Vec<Batch> {
    let mut stream = Stream::opened(caller, ask.clone()).await;
    let mut batches = Vec::new();
    while let Ok(answer) = timeout(Duration::from_secs(2), stream.answers.message()).await {
        match answer.expect("no gRPC error").expect("an answer").content {
            Some(Content::Batch(batch)) => batches.push(batch),
            other => panic!("{other:?}"),
        }
    }
    assert!(batches.iter().flat_map(|batch| &batch.messages).all(|message| message.attempt == 1), "it did not count");
    batches
}

fn greedy(topic: &str, group: &str) -> Open {
    Open { invisible_ms: 60_000, credit: Some(credit(u64::MAX, u64::MAX, 0)), ..open(topic, group, 0) }
}

/// Streams that nobody reads hold more than a node has room for. They wait for each other, and everybody would for them.
#[test]
fn streams_that_nobody_reads_let_go_when_others_need_the_room() {
    const UNREAD: usize = 40;
    run(async {
        let nodes = Group::start("unread-streams").await;
        let leader = nodes.leader().await;
        let (caller, topic) = (leader.caller(), fresh("t"));
        caller.topic(&topic, 1, TopicType::Normal).await;
        for n in 0..6 {
            caller.send(vec![message(&topic, &n.to_string(), vec![7; 3 << 20])]).await;
        }
        let groups: Vec<String> = (0..UNREAD).map(|_| fresh("g")).collect();
        let opened = groups.iter().map(|group| async { Stream::open(&reluctant(leader), greedy(&topic, group)).await });
        let mut unread = join_all(opened).await;
        // One stream says that its room is gone; until then it has taken one message, and holds several.
        let mut read = Stream::opened(&caller, greedy(&topic, &fresh("g"))).await;
        let batches = timeout(Duration::from_secs(10), read.batches(6)).await.expect("nobody is before it for long");
        assert_eq!(count(&batches), 6);

        let mut cut = 0;
        for (mut stream, group) in unread.drain(..).zip(&groups) {
            let (mut own, mut end) = (Vec::new(), None);
            while let Ok(answer) = timeout(Duration::from_secs(2), stream.answers.message()).await {
                match answer.expect("no gRPC error").map(|answer| answer.content.expect("content")) {
                    Some(Content::Batch(batch)) => own.push(batch),
                    Some(Content::End(said)) => end = Some(said.reason()),
                    Some(_) => {}
                    None => break,
                }
            }
            if let Some(end) = end {
                assert_eq!(end, EndReason::Overloaded);
                cut += 1;
                // What has left is the client's as long as it is there.
                let rest = the_rest(&caller, &greedy(&topic, group)).await;
                let all = [ids(&own), ids(&rest)].concat();
                assert_eq!(sorted(all), ["0", "1", "2", "3", "4", "5"], "each once");
            }
            if cut == 3 {
                break;
            }
        }
        assert_eq!(cut, 3, "most of them");
    });
}

/// Of what a stream has pushed when it ends, its client gets each message or the next one does, and not both.
#[test]
fn what_waits_at_an_orderly_end_is_either_sent_or_given_back() {
    run(async {
        let (caller, topic, group) = topic_with(1, 0).await;
        for n in 0..40 {
            caller.send(vec![message(&topic, &format!("m{n:02}"), vec![0; 100_000])]).await;
        }
        let leader = super::rig::shared().leader().await;
        let mut stream = Stream::opened(&reluctant(leader), greedy(&topic, &group)).await;
        // Some is in its window, some waits for it at the node.
        let first = stream.batch().await;
        let update = UpdateGroupRequest { name: group.clone(), fifo: Some(true), ..Default::default() };
        caller.admin().update_group(update).await.expect("updated");
        tokio::time::sleep(Duration::from_secs(2)).await;
        let mut own = vec![first];
        loop {
            match stream.next().await {
                Content::Batch(batch) => own.push(batch),
                Content::End(end) => break assert_eq!(end.reason(), EndReason::GroupChanged),
                other => panic!("{other:?}"),
            }
        }
        assert!((1..40).contains(&count(&own)), "{}", count(&own));
        let last = own.last().expect("one").number;
        stream.grant(credit(0, 0, last)).await;
        drop(stream.requests);
        let rest = the_rest(&caller, &greedy(&topic, &group)).await;
        let all = [ids(&own), ids(&rest)].concat();
        assert_eq!((all.len(), all.into_iter().collect::<BTreeSet<_>>().len()), (40, 40), "each once");
        // All of it is the client's.
        let mut settling = Stream::opened(&caller, open(&topic, &group, 0)).await;
        assert_eq!(settling.settle(done(1, &own)).await.over, Vec::<u32>::new());
    });
}

/// Whatever it still has to put back: the client goes on elsewhere, and what is left comes back by its time.
#[test]
fn a_stream_ends_soon_though_the_log_takes_nothing_that_settles() {
    run(async {
        let nodes = Group::start_with("full-log", |setup| setup.settle_bytes_max = 0).await;
        let leader = nodes.leader().await;
        let (caller, topic, group) = (leader.caller(), fresh("t"), fresh("g"));
        caller.topic(&topic, 1, TopicType::Normal).await;
        for n in 0..40 {
            caller.send(vec![message(&topic, &n.to_string(), vec![0; 100_000])]).await;
        }
        let mut stream = Stream::opened(&reluctant(leader), greedy(&topic, &group)).await;
        let first = stream.batch().await;
        stream.requests.send(request(consume_request::Content::Settle(done(1, &[first])))).await.expect("room");
        let update = UpdateGroupRequest { name: group.clone(), fifo: Some(true), ..Default::default() };
        caller.admin().update_group(update).await.expect("updated");
        let end = timeout(Duration::from_secs(10), stream.end()).await;
        assert_eq!(end.expect("it is not held up").reason(), EndReason::GroupChanged);
    });
}

/// They come again, with all of their time, to one that reads now.
#[test]
fn deliveries_that_wait_at_the_node_until_their_time_is_over_are_not_sent() {
    run(async {
        let (caller, topic, group) = topic_with(1, 0).await;
        for n in 0..40 {
            caller.send(vec![message(&topic, &n.to_string(), vec![0; 100_000])]).await;
        }
        let leader = super::rig::shared().leader().await;
        let ask = Open { invisible_ms: 10_000, ..greedy(&topic, &group) };
        let mut stream = Stream::opened(&reluctant(leader), ask).await;
        tokio::time::sleep(Duration::from_secs(11)).await;
        let (first, mut late) = (stream.batch().await.deadline_unix_ms, 1);
        // Until one that was received after that time.
        while stream.batch().await.deadline_unix_ms < first + 10_000 {
            late += 1;
        }
        // One was on its way, and a few were handed over to be.
        assert!(late <= 7, "{late}");
    });
}

/// One that went away while its stream ended did not get what it does not say to have got.
#[test]
fn what_was_sent_and_is_not_confirmed_comes_again_when_the_client_of_an_ended_stream_has_gone() {
    run(async {
        for breaks in [true, false] {
            let (caller, topic, group) = topic_with(1, 20).await;
            let mut stream = Stream::opened(&caller, open(&topic, &group, 20)).await;
            let batches = stream.batches(20).await;
            let update = UpdateGroupRequest { name: group.clone(), fifo: Some(true), ..Default::default() };
            caller.admin().update_group(update).await.expect("updated");
            assert_eq!(stream.end().await.reason(), EndReason::GroupChanged);
            let mut next = Stream::opened(&caller, open(&topic, &group, 100)).await;
            assert!(next.is_quiet().await, "it may still say so");
            if breaks {
                drop(stream);
            } else {
                drop(stream.requests);
            }
            assert_eq!(sorted(ids(&next.batches(20).await)), sorted(ids(&batches)));
        }
    });
}

/// A lease lives as long as its stream; a goodbye lets what is left come back soon.
#[test]
fn a_lease_ends_soon_after_a_goodbye() {
    run(async {
        let (caller, topic, group) = topic_with(1, 3).await;
        let ask = Open { auto_renew: true, session: fresh("session"), invisible_ms: 0, ..open(&topic, &group, 3) };
        let mut stream = Stream::open(&caller, ask).await;
        assert!(matches!(stream.next().await, Content::Opened(opened) if opened.invisible_ms == 60_000));
        let batches = stream.batches(3).await;
        stream.grant(credit(0, 0, batches.last().expect("one").number)).await;
        let one = Settle { number: 1, done: runs(&batches)[..1].to_vec(), changes: Vec::new() };
        assert_eq!(stream.settle(one).await.over, Vec::<u32>::new());
        let begun = Instant::now();
        assert_eq!(stream.close().await.reason(), EndReason::Finished);
        let mut next = Stream::opened(&caller, open(&topic, &group, 3)).await;
        let again = next.batches(2).await;
        assert!(again.iter().flat_map(|batch| &batch.messages).all(|message| message.attempt == 2));
        assert!((4..10).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    });
}

/// Streams of one session share its lease: it ends with the last of them.
#[test]
fn a_lease_lives_as_long_as_any_stream_of_its_session() {
    run(async {
        let (caller, topic, group) = topic_with(1, 3).await;
        let session = fresh("session");
        let ask = |messages| Open { auto_renew: true, session: session.clone(), ..open(&topic, &group, messages) };
        let mut holding = Stream::opened(&caller, ask(3)).await;
        let batches = holding.batches(3).await;
        holding.grant(credit(0, 0, batches.last().expect("one").number)).await;
        let other = Stream::opened(&caller, ask(0)).await;
        assert_eq!(other.close().await.reason(), EndReason::Finished);
        let mut next = Stream::opened(&caller, open(&topic, &group, 3)).await;
        let quiet = timeout(Duration::from_secs(8), next.answers.message()).await;
        assert!(quiet.is_err(), "the goodbye of the other one ends nothing: {quiet:?}");
        let settled = holding.settle(done(1, &batches)).await;
        assert_eq!(settled.over, Vec::<u32>::new());
    });
}
