//! What one node carries for many clients to the leader: nobody's polls or unread answers stop anybody else.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tercet_proto::{
    admin::v1::{CreateGroupRequest, TopicType, TransferLeadershipRequest},
    rocketmq::v2::{
        Code, QueryOffsetPolicy, QueryOffsetRequest, ReceiveMessageRequest, ReceiveMessageResponse,
        receive_message_response::Content,
    },
};
use tokio::time::timeout;
use tonic::{Streaming, transport::Channel};

use super::rig::{
    Caller, Group, Node, attempt, code, duration, fresh, handle, id, message, receive_request, resource, run,
};

/// Longer than what stands behind something that must not be waited for would take.
const SOON: Duration = Duration::from_secs(8);

async fn topic_and_group(caller: &Caller) -> (String, String) {
    let (topic, group) = (fresh("t"), fresh("g"));
    caller.topic(&topic, 1, TopicType::Normal).await;
    caller.group(CreateGroupRequest { name: group.clone(), ..Default::default() }).await;
    (topic, group)
}

/// More polls than one connection between two nodes carries.
#[test]
fn thousands_of_polls_through_a_follower_stop_nobody_and_one_burst_serves_them_all() {
    const POLLS: usize = 4500;
    run(async {
        let group = Group::start("polls").await;
        let caller = group.follower().await.caller();
        let (topic, consumers) = topic_and_group(&caller).await;
        let mut request = ReceiveMessageRequest { batch_size: 1, ..for_a_minute(&topic, &consumers) };
        request.long_polling_timeout = Some(duration(20_000));
        let poll = async |caller: Caller, request: ReceiveMessageRequest| loop {
            let received = caller.receive_by(request.clone()).await;
            if received.code != Code::MessageNotFound as i32 {
                return received;
            }
        };
        let polls: Vec<_> = (0..POLLS).map(|_| tokio::spawn(poll(caller.clone(), request.clone()))).collect();
        let other = group.follower().await.caller();
        let (quiet, _) = topic_and_group(&other).await;
        for _ in 0..5 {
            let sent = timeout(SOON, other.send(vec![message(&quiet, "m", "x")])).await.expect("no poll is before it");
            assert_eq!(code(&sent.get_ref().status), 20000);
            let acked = timeout(SOON, other.ack(&quiet, &consumers, &["junk".into()])).await.expect("nor before this");
            assert_eq!(code(&acked.status), Code::InvalidReceiptHandle as i32);
        }
        for first in (0..POLLS).step_by(1500) {
            let batch = (first..first + 1500).map(|n| message(&topic, &format!("m{n}"), "x"));
            assert_eq!(code(&caller.send(batch.collect()).await.get_ref().status), 20000);
        }
        let mut ids = Vec::new();
        for poll in polls {
            let received = poll.await.expect("no panic");
            assert_eq!((received.code, received.messages.len()), (20000, 1));
            ids.push(id(&received.messages[0]).to_owned());
        }
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), POLLS, "each got a message of its own");
    });
}

/// A receive of a client that takes nothing more than fits into the smallest window.
struct Unread {
    stream: Streaming<ReceiveMessageResponse>,
    _connection: Channel,
}

async fn unread(node: &Node, request: ReceiveMessageRequest) -> Unread {
    let endpoint = Channel::from_shared(format!("http://{}", node.client)).expect("an address");
    let channel = endpoint.initial_stream_window_size(65_535).initial_connection_window_size(65_535).connect_lazy();
    let caller = Caller { channel: channel.clone(), ..node.caller() };
    let stream = caller.messaging().receive_message(caller.request(request)).await.expect("headers").into_inner();
    Unread { stream, _connection: channel }
}

/// 4 MiB for one receive.
async fn large_messages(caller: &Caller, topic: &str) {
    let body = vec![7; 512 << 10];
    let batch = (0..8).map(|n| message(topic, &format!("m{n}"), body.clone())).collect();
    assert_eq!(code(&caller.send(batch).await.get_ref().status), 20000);
}

fn for_a_minute(topic: &str, group: &str) -> ReceiveMessageRequest {
    ReceiveMessageRequest { invisible_duration: Some(duration(60_000)), ..receive_request(topic, group, 32) }
}

/// Together more than a node holds of answers. Whoever reads gets on, and what was not read comes again.
#[test]
fn answers_that_nobody_reads_stop_nobody_and_come_again() {
    const UNREAD: usize = 100;
    run(async {
        let group = Group::start("unread").await;
        let (leader, follower) = (group.leader().await, group.follower().await);
        let (caller, through) = (leader.caller(), follower.caller());
        let (topic, reading) = topic_and_group(&caller).await;
        large_messages(&caller, &topic).await;
        let groups: Vec<String> = (0..UNREAD).map(|_| fresh("g")).collect();
        let opened = groups.iter().map(|group| unread(follower, for_a_minute(&topic, group)));
        let unread: Vec<Unread> = join_all(opened).await;
        for (node, group) in [(leader, &reading), (follower, &fresh("g"))] {
            let received = timeout(SOON, node.caller().receive(&topic, group, 32)).await.expect("nobody is before it");
            assert!(!received.messages.is_empty());
        }
        let sent = timeout(SOON, through.send(vec![message(&topic, "m", "x")])).await.expect("nor before this");
        assert_eq!(code(&sent.get_ref().status), 20000);
        drop(unread);
        let began = Instant::now();
        for group in groups.iter().step_by(10) {
            let again = through.receive(&topic, group, 32).await;
            assert!(!again.messages.is_empty(), "{:?}", began.elapsed());
            assert!(again.messages.iter().all(|message| attempt(message) == 1), "the delivery did not count");
        }
        assert!(began.elapsed() < Duration::from_secs(40), "long before their time is over");
    });
}

#[test]
fn what_a_client_of_a_follower_had_not_taken_when_it_left_comes_again_at_once() {
    run(async {
        let group = Group::start("left").await;
        let follower = group.follower().await;
        let caller = follower.caller();
        let (topic, consumers) = topic_and_group(&caller).await;
        large_messages(&caller, &topic).await;
        let mut leaves = unread(follower, for_a_minute(&topic, &consumers)).await;
        let first = leaves.stream.message().await.expect("a stream").expect("an item").content;
        assert!(matches!(first, Some(Content::Status(status)) if status.code == 20000));
        // Until nothing moves: a few messages are on each leg of the way.
        tokio::time::sleep(Duration::from_secs(1)).await;
        drop(leaves);
        let began = Instant::now();
        let mut again = 0;
        // The first two were in the client's connection and count as delivered.
        while again < 6 {
            let received = caller.receive(&topic, &consumers, 32).await;
            assert_eq!(received.code, 20000, "{again} after {:?}", began.elapsed());
            assert!(received.messages.iter().all(|message| attempt(message) == 1), "the delivery did not count");
            again += received.messages.len();
        }
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    });
}

/// What waits in a line when the leadership moves is done at the next leader, at whichever node it was asked for.
#[test]
fn a_transfer_shows_no_client_a_refusal() {
    run(async {
        let group = Group::start("moves").await;
        let (topic, consumers) = topic_and_group(&group.leader().await.caller()).await;
        for _ in 0..3 {
            let (old, new) = (group.leader().await, group.follower().await);
            let moving = async {
                let request = TransferLeadershipRequest { to: Some(new.id.0) };
                old.caller().admin().transfer_leadership(request).await.expect("moved");
                // Until the new one serves, and a little longer.
                new.replica.watch().wait_for(|status| status.serving).await.expect("it lives");
            };
            let asking = group.nodes.iter().flat_map(|node| (0..8).map(move |_| node.caller())).map(|caller| {
                let (topic, consumers) = (&topic, &consumers);
                async move {
                    for _ in 0..30 {
                        let sent = caller.send(vec![message(topic, "m", "x")]).await;
                        assert_ne!(code(&sent.get_ref().status), Code::HaNotAvailable as i32);
                        let received = caller.receive(topic, consumers, 1).await;
                        assert_ne!(received.code, Code::HaNotAvailable as i32);
                        let handles: Vec<String> = received.messages.iter().map(handle).collect();
                        if !handles.is_empty() {
                            let acked = caller.ack(topic, consumers, &handles).await;
                            assert_eq!(code(&acked.status), 20000);
                        }
                    }
                }
            });
            tokio::join!(moving, join_all(asking));
        }
    });
}

/// hazards 13: another leader may have stored more.
#[test]
fn without_a_majority_no_end_of_a_queue_is_said() {
    run(async {
        let group = Group::start("offsets").await;
        let leader = group.leader().await;
        let caller = leader.caller();
        let (topic, _) = topic_and_group(&caller).await;
        let end = async || {
            let queue =
                tercet_proto::rocketmq::v2::MessageQueue { topic: Some(resource(&topic)), ..Default::default() };
            let policy = QueryOffsetPolicy::End as i32;
            let request =
                QueryOffsetRequest { message_queue: Some(queue), query_offset_policy: policy, timestamp: None };
            let answer = caller.messaging().query_offset(caller.request(request)).await;
            answer.map(|answer| code(&answer.into_inner().status))
        };
        assert_eq!(end().await.expect("an answer"), 20000);
        for node in group.nodes.iter().filter(|node| node.id != leader.id) {
            node.stop().await;
        }
        let said = end().await;
        assert!(said.as_ref().is_ok_and(|code| *code >= 50_000) || said.is_err(), "{said:?}");
    });
}
