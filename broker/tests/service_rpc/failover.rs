//! What happens when the leadership moves, or answers are lost: each test has a group of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use raft_log::{
    env::{Clock, Env},
    types::{NodeId, UnixMillis},
};
use tercet_proto::{
    admin::v1::{DescribeTopicRequest, TopicType, TransferLeadershipRequest},
    rocketmq::v2::Code,
};
use tokio::{
    io::{copy, sink},
    net::{TcpListener, TcpStream},
    sync::watch,
};

use super::rig::{Group, Setup, code, fresh, handle, id, message, run};

/// A port before another one; answers its address. While it is lossy nothing comes back through it, and each connection
/// that lost something ends when it no longer is.
fn gate(to: String, lossy: watch::Receiver<bool>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.set_nonblocking(true).expect("a socket");
    let address = listener.local_addr().expect("bound").to_string();
    let listener = TcpListener::from_std(listener).expect("a socket");
    tokio::spawn(async move {
        while let Ok((caller, _)) = listener.accept().await {
            tokio::spawn(pass(caller, to.clone(), lossy.clone()));
        }
    });
    address
}

async fn pass(caller: TcpStream, to: String, mut lossy: watch::Receiver<bool>) {
    let Ok(node) = TcpStream::connect(to).await else { return };
    let ((mut asked, mut told), (mut answers, mut asks)) = (caller.into_split(), node.into_split());
    let telling = async {
        tokio::select! {
            biased;
            () = becomes(&mut lossy, true) => {}
            _ = copy(&mut answers, &mut told) => return,
        }
        let mut nowhere = sink();
        tokio::select! {
            () = becomes(&mut lossy, false) => {}
            _ = copy(&mut answers, &mut nowhere) => {}
        }
    };
    tokio::select! {
        _ = copy(&mut asked, &mut asks) => {}
        () = telling => {}
    }
}

async fn becomes(lossy: &mut watch::Receiver<bool>, wanted: bool) {
    // An error: the test has ended.
    let _ = lossy.wait_for(|lossy| *lossy == wanted).await;
}

/// hazards 15: it has no stamp, so nobody would know a repeat.
#[test]
fn a_send_whose_answer_is_lost_between_two_nodes_is_unknown_and_stored_once() {
    run(async {
        let lossy = watch::Sender::new(false);
        let behind_a_gate = |setup: &mut Setup| {
            setup.advertised_client = gate(setup.advertised_client.clone(), lossy.subscribe());
        };
        let group = Group::start_with("lossy", behind_a_gate).await;
        let (leader, caller) = (group.leader().await.caller(), group.follower().await.caller());
        let topic = fresh("t");
        caller.topic(&topic, 1, TopicType::Normal).await;
        let stored = async || {
            let request = DescribeTopicRequest { name: topic.clone() };
            let described = leader.admin().describe_topic(request).await.expect("a topic");
            described.into_inner().queues[0].next_offset
        };
        lossy.send_replace(true);
        let (answer, ()) = tokio::join!(caller.send(vec![message(&topic, "m", "x")]), async {
            while stored().await == 0 {}
            lossy.send_replace(false);
        });
        assert_eq!(code(&answer.get_ref().status), Code::ProxyTimeout as i32);
        assert!(answer.metadata().get("x-tercet-outcome").is_some_and(|outcome| outcome == "unknown"));
        assert_eq!(stored().await, 1);
    });
}

/// A clock that somebody has set wrong.
struct FourDaysAhead(Env);

impl Clock for FourDaysAhead {
    fn unix_millis(&self) -> UnixMillis {
        UnixMillis(self.0.clock.unix_millis().0 + 4 * 24 * 60 * 60 * 1000)
    }

    fn monotonic(&self) -> Duration {
        self.0.clock.monotonic()
    }
}

/// hazards 19: what it stores has the time of the others.
#[test]
fn a_leader_four_days_ahead_stamps_messages_with_the_time_of_the_others() {
    run(async {
        let ahead = |setup: &mut Setup| {
            if setup.id == NodeId(1) {
                setup.env.clock = Arc::new(FourDaysAhead(Env::real()));
            }
        };
        let group = Group::start_with("ahead", ahead).await;
        let leader = &group.nodes[0];
        let caller = leader.caller();
        let request = TransferLeadershipRequest { to: Some(leader.id.0) };
        caller.admin().transfer_leadership(request).await.expect("it leads");
        let mut status = leader.replica.watch();
        assert!(status.wait_for(|status| status.serving).await.is_ok());
        let topic = fresh("t");
        caller.topic(&topic, 1, TopicType::Normal).await;
        caller.send(vec![message(&topic, "m", "x")]).await;
        let received = caller.receive(&topic, &fresh("g"), 1).await;
        let stored = received.messages[0].system_properties.as_ref().expect("set").store_timestamp.expect("set");
        let now = i64::try_from(Env::real().clock.unix_millis().0 / 1000).expect("seconds are few");
        assert!((stored.seconds - now).abs() < 3600, "{stored:?} is not far from {now} s");
    });
}

#[test]
fn a_transfer_answers_with_the_new_leader_and_clients_go_on() {
    run(async {
        let group = Group::start("transfer").await;
        let old = group.leader().await;
        let follower = group.follower().await;
        let caller = follower.caller();
        let (topic, consumers) = (fresh("t"), fresh("g"));
        caller.topic(&topic, 1, TopicType::Normal).await;
        caller.send(vec![message(&topic, "before", "x")]).await;
        let first = caller.receive(&topic, &consumers, 1).await;
        let request = TransferLeadershipRequest { to: Some(follower.id.0) };
        let moved = caller.admin().transfer_leadership(request).await.expect("moved").into_inner();
        assert_eq!(moved.leader, follower.id.0);
        let answer = old.caller().send(vec![message(&topic, "after", "x")]).await;
        assert_eq!(code(&answer.get_ref().status), 20000, "the former leader forwards");
        let ack = old.caller().ack(&topic, &consumers, &[handle(&first.messages[0])]).await;
        assert_eq!(code(&ack.status), 20000, "handles work at every leader");
        let second = old.caller().receive(&topic, &consumers, 16).await;
        assert_eq!(second.messages.iter().map(id).collect::<Vec<_>>(), ["after"]);
    });
}

#[test]
fn sends_through_a_follower_wait_for_the_next_leader() {
    run(async {
        let group = Group::start("stop").await;
        let leader = group.leader().await;
        let caller = group.follower().await.caller();
        let topic = fresh("t");
        caller.topic(&topic, 1, TopicType::Normal).await;
        leader.stop().await;
        let began = Instant::now();
        let mut offset = None;
        while offset.is_none() && began.elapsed() < Duration::from_secs(10) {
            let answer = caller.send(vec![message(&topic, "m", "x")]).await.into_inner();
            match code(&answer.status) {
                20000 => offset = Some(answer.entries[0].offset),
                other => assert_eq!(other, Code::HaNotAvailable as i32, "surely not stored"),
            }
        }
        assert_eq!(offset, Some(0));
    });
}

/// hazards 13, 15.
#[test]
fn without_a_majority_nothing_is_said_to_be_stored_and_nothing_is_read() {
    run(async {
        let group = Group::start("minority").await;
        let leader = group.leader().await;
        let caller = leader.caller();
        let topic = fresh("t");
        caller.topic(&topic, 1, TopicType::Normal).await;
        for node in group.nodes.iter().filter(|node| node.id != leader.id) {
            node.stop().await;
        }
        let (mut admin, request) = (caller.admin(), DescribeTopicRequest { name: topic.clone() });
        let reading = tokio::spawn(async move { admin.describe_topic(request).await });
        let hurried = caller.with("grpc-timeout", "1500m").send(vec![message(&topic, "m", "x")]).await;
        assert!([50002, 50400].contains(&code(&hurried.get_ref().status)), "a typed answer inside the deadline");
        let answer = caller.send(vec![message(&topic, "m", "x")]).await;
        let unknown = answer.metadata().get("x-tercet-outcome").is_some_and(|outcome| outcome == "unknown");
        let status = code(&answer.get_ref().status);
        assert!(answer.get_ref().entries.is_empty());
        match status {
            50401 => assert!(unknown, "it may be stored"),
            other => assert!(other == Code::HaNotAvailable as i32 && !unknown, "{other}"),
        }
        reading.await.expect("no panic").expect_err("another leader may have stored more");
    });
}
