//! What a producer does when nodes fail it.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod fake;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use fake::{Group, Publish, Step};
use tercet_client::{
    BrokerGroup, Client, ClientOptions, Code, Endpoint, Error, Message, Outcome, Producer, ProducerOptions,
    RefusedReason, TrySendError,
};
use tonic::Code as GrpcCode;

const HA_NOT_AVAILABLE: i32 = 50_002;

fn client(endpoints: &str) -> Client {
    let endpoints = Endpoint::parse_list(endpoints).unwrap();
    let options = ClientOptions::new(endpoints).attempt_timeout(Duration::from_millis(300));
    Client::new(options).unwrap()
}

fn producer(endpoints: &str, options: ProducerOptions) -> Producer {
    client(endpoints).producer(options).unwrap()
}

fn message(body: impl Into<String>) -> Message {
    Message::builder("t").body(body.into()).build().unwrap()
}

fn same_request(publishes: &[Publish]) -> bool {
    publishes.windows(2).all(|pair| {
        let [a, b] = pair else { unreachable!("windows of two") };
        (&a.producer, a.epoch, a.sequence, a.lowest) == (&b.producer, b.epoch, b.sequence, b.lowest)
            && a.messages == b.messages
    })
}

#[tokio::test]
async fn a_message_is_stored_and_its_place_told() {
    let group = Group::start(1, []).await;
    let producer = producer(&group.addresses(), ProducerOptions::default());
    let stored = producer.send(message("hello")).await.stored().unwrap();
    assert_eq!((stored.broker_group, stored.queue, stored.offset), (Some(BrokerGroup(6)), Some(3), 0));
    let shared = group.lock();
    assert_eq!(shared.kept[0].id, stored.message_id.to_string());
    assert_eq!(shared.kept[0].body, b"hello");
}

#[tokio::test]
async fn all_publishes_to_a_node_share_one_stream_that_is_opened_anew_when_it_broke() {
    let mut group = Group::start(3, []).await;
    let producer = producer(&group.addresses(), ProducerOptions::default());
    for _ in 0..3 {
        producer.send(message("before")).await.stored().unwrap();
    }
    assert_eq!(group.lock().streams, 1);
    group.lock().route.swap(0, 2);
    group.kill(0);
    for _ in 0..3 {
        producer.send(message("after")).await.stored().unwrap();
    }
    let shared = group.lock();
    assert_eq!(shared.kept.len(), 6);
    assert!(shared.streams <= 2, "{}", shared.streams);
}

#[tokio::test]
async fn a_node_without_streams_is_published_to_by_calls() {
    let group = Group::start_without_streams(1, [Step::Code(HA_NOT_AVAILABLE), Step::AtGate]).await;
    let producer = producer(&group.addresses(), ProducerOptions::default());
    group.gate.add_permits(1);
    let stored = producer.send(message("hello")).await.stored().unwrap();
    assert_eq!((stored.broker_group, stored.queue, stored.offset), (Some(BrokerGroup(6)), Some(3), 0));
    assert_eq!(group.lock().streams, 0);
    let publishes = group.publishes();
    assert!(same_request(&publishes) && publishes.iter().all(|publish| !publish.again));
}

/// Hazard 16: a retry is the same request, down to the ids and the sequence.
#[tokio::test]
async fn every_retry_carries_the_same_ids_sequence_and_messages() {
    let script = [
        Step::Code(HA_NOT_AVAILABLE),
        Step::Grpc(GrpcCode::Unavailable),
        Step::StoreThenGrpc(GrpcCode::Internal),
        Step::Code(50_400),
        Step::Code(42_900),
    ];
    let group = Group::start(3, script).await;
    let producer = producer(&group.addresses(), ProducerOptions::default());
    let stored = producer.send(message("hello")).await.stored().unwrap();
    let publishes = group.publishes();
    assert_eq!(publishes.len(), 6);
    assert!(same_request(&publishes), "{publishes:#?}");
    let again: Vec<bool> = publishes.iter().map(|publish| publish.again).collect();
    assert_eq!(again, [false, false, true, true, true, true], "only the first attempt surely did not get through");
    assert_eq!(stored.offset, 0);
    assert_eq!(group.lock().kept.len(), 1, "stored once, by the third attempt");
    let nodes: BTreeSet<_> = publishes.iter().map(|publish| publish.node).collect();
    assert_eq!(nodes.len(), 3, "other nodes are asked");
}

/// Hazards 15 and 16: the answer is lost, the retry finds the first result.
#[tokio::test]
async fn a_message_whose_answer_was_lost_is_found_stored_and_not_stored_twice() {
    let group = Group::start(2, [Step::StoreThenHang]).await;
    let producer = producer(&group.addresses(), ProducerOptions::default());
    let stored = producer.send(message("hello")).await.stored().unwrap();
    assert_eq!(stored.offset, 0);
    assert_eq!(group.lock().kept.len(), 1);
    let publishes = group.publishes();
    assert!(publishes.len() == 2 && same_request(&publishes));
    assert_ne!(publishes[0].node, publishes[1].node, "the silent node is not asked again");
}

/// Hazard 15: silence to the end is "unknown", whoever stored it.
#[tokio::test]
async fn silence_until_the_deadline_is_unknown() {
    let options = ProducerOptions::new().send_timeout(Duration::from_millis(700));
    let group = Group::start(2, [Step::StoreThenHang].into_iter().chain([Step::Hang; 100])).await;
    let outcome = producer(&group.addresses(), options).send(message("hello")).await;
    let Outcome::Unknown(unknown) = outcome else { panic!("{outcome:?}") };
    assert_eq!(unknown.message_id.to_string(), group.lock().kept[0].id);
}

/// Hazard 15: a later refusal does not undo an earlier doubt.
#[tokio::test]
async fn a_refusal_after_a_doubt_is_unknown() {
    for doubt in [Step::StoreThenGrpc(GrpcCode::Unavailable), Step::CodeInDoubt(HA_NOT_AVAILABLE), Step::Code(50_401)] {
        let group = Group::start(1, [doubt, Step::Code(40_402)]).await;
        let outcome = producer(&group.addresses(), ProducerOptions::default()).send(message("hello")).await;
        assert!(matches!(&outcome, Outcome::Unknown(unknown) if unknown.why.contains("40402")), "{outcome:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_told_with_its_code_and_not_retried() {
    let group = Group::start(2, [Step::Code(40_402)]).await;
    let outcome = producer(&group.addresses(), ProducerOptions::default()).send(message("hello")).await;
    let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refused.reason, RefusedReason::Answered(Code::TOPIC_NOT_FOUND));
    assert_eq!(group.publishes().len(), 1);
}

/// Hazard 16: below the window of results the broker cannot know, and neither can the client.
#[tokio::test]
async fn a_repeat_that_the_broker_no_longer_remembers_is_unknown_at_once() {
    let group = Group::start(2, [Step::CodeInDoubt(40_000)]).await;
    let outcome = producer(&group.addresses(), ProducerOptions::default()).send(message("hello")).await;
    assert!(matches!(outcome, Outcome::Unknown(_)), "{outcome:?}");
    assert_eq!(group.publishes().len(), 1);
}

#[tokio::test]
async fn no_leader_until_the_deadline_is_refused_because_nothing_was_stored() {
    let options = ProducerOptions::new().send_timeout(Duration::from_millis(400));
    let group = Group::start(3, [Step::Code(HA_NOT_AVAILABLE); 200]).await;
    let outcome = producer(&group.addresses(), options).send(message("hello")).await;
    let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refused.reason, RefusedReason::Answered(Code::HA_NOT_AVAILABLE));
    assert!(group.lock().kept.is_empty());
    assert!(group.publishes().len() < 30, "back-off bounds the attempts");
}

#[tokio::test]
async fn concurrent_sends_share_requests_and_every_one_gets_its_own_place() {
    let group = Group::start(1, []).await;
    let producer = producer(&group.addresses(), ProducerOptions::default());
    let sends = (0..2000).map(|n| producer.send(message(format!("m{n}"))));
    let outcomes = futures::future::join_all(sends).await;
    let shared = group.lock();
    let mut offsets = BTreeSet::new();
    for (n, outcome) in outcomes.into_iter().enumerate() {
        let stored = outcome.stored().unwrap();
        let kept = &shared.kept[usize::try_from(stored.offset).unwrap()];
        assert_eq!((&kept.id, kept.body.as_slice()), (&stored.message_id.to_string(), format!("m{n}").as_bytes()));
        assert!(offsets.insert(stored.offset));
    }
    assert!(shared.publishes.len() < 100, "{} requests", shared.publishes.len());
    assert!(shared.publishes.iter().all(|publish| publish.messages.len() <= 512));
    assert!(shared.busiest <= 4, "requests in flight are bounded");
}

/// Hazard 16: what joins the lane during a retry does not change the batch that is retried.
#[tokio::test]
async fn a_batch_keeps_its_messages_while_others_arrive() {
    let group = Group::start(1, [Step::AtGate, Step::Code(HA_NOT_AVAILABLE), Step::Code(HA_NOT_AVAILABLE)]).await;
    let options = ProducerOptions::new().requests_in_flight_max(1);
    let producer = producer(&group.addresses(), options);
    let first = producer.enqueue(message("first")).await;
    group.until("the first request is held", |shared| shared.publishes.len() == 1).await;
    let mut second = Vec::new();
    for n in 0..10 {
        second.push(producer.enqueue(message(format!("second {n}"))).await);
    }
    group.gate.add_permits(1);
    group.until("the second batch is refused once", |shared| shared.publishes.len() == 2).await;
    let third = producer.enqueue(message("third")).await;
    first.await.stored().unwrap();
    for pending in second {
        pending.await.stored().unwrap();
    }
    third.await.stored().unwrap();
    let publishes = group.publishes();
    let retried: Vec<_> = publishes.iter().filter(|publish| publish.sequence == 1).cloned().collect();
    assert_eq!(retried.len(), 3);
    assert!(same_request(&retried) && retried[0].messages.len() == 10);
    assert_eq!(group.lock().kept.len(), 12);
}

#[tokio::test]
async fn the_buffer_is_bounded_in_bytes_and_makes_room_when_messages_end() {
    let group = Group::start(1, [Step::AtGate; 100]).await;
    let options = ProducerOptions::new().buffer_bytes_max(8 << 20);
    let producer = producer(&group.addresses(), options);
    let body = "x".repeat(1 << 20);
    let mut pending = Vec::new();
    let refused = loop {
        match producer.try_enqueue(message(body.clone())) {
            Ok(one) => pending.push(one),
            Err(refused) => break refused,
        }
    };
    assert!(matches!(&refused, TrySendError::Full(message) if message.body().len() == 1 << 20));
    assert_eq!(pending.len(), 7, "seven messages of a little more than 1 MiB fit into 8 MiB");
    let waiting = tokio::spawn({
        let producer = producer.clone();
        async move { producer.send(message("waits")).await }
    });
    group.gate.add_permits(100);
    for one in pending {
        one.await.stored().unwrap();
    }
    waiting.await.unwrap().stored().unwrap();
    producer.flush().await;
    assert!(producer.try_enqueue(message(body)).is_ok());
}

/// Hazard 16 and the order of message groups: one request in flight per lane, retried before the next one goes.
#[tokio::test]
async fn fifo_messages_keep_their_order_through_retries() {
    let flaky = [
        Step::Serve,
        Step::Code(HA_NOT_AVAILABLE),
        Step::StoreThenGrpc(GrpcCode::Unavailable),
        Step::Serve,
        Step::Grpc(GrpcCode::Internal),
        Step::Code(50_401),
    ];
    let group = Group::start(3, flaky.into_iter().cycle().take(300)).await;
    let producer = producer(&group.addresses(), ProducerOptions::new().batch_messages_max(4));
    let mut pending = Vec::new();
    for n in 0..300 {
        let message = Message::builder("t").message_group(format!("g{}", n % 20)).body(format!("{n:03}"));
        pending.push(producer.enqueue(message.build().unwrap()).await);
    }
    for one in pending {
        one.await.stored().unwrap();
    }
    let shared = group.lock();
    assert_eq!(shared.kept.len(), 300, "nothing twice");
    let mut last: BTreeMap<&str, &[u8]> = BTreeMap::new();
    for kept in &shared.kept {
        let before = last.insert(kept.group.as_deref().unwrap(), &kept.body);
        assert!(before.is_none_or(|before| before < kept.body.as_slice()), "out of order: {kept:?}");
    }
    assert_eq!(shared.busiest, 1, "one request in flight per lane");
    let lanes: BTreeSet<_> = shared.publishes.iter().map(|publish| &publish.producer).collect();
    assert!(lanes.len() > 1, "groups are spread over lanes");
    for lane in lanes {
        let mut next = 0;
        for publish in shared.publishes.iter().filter(|publish| publish.producer == *lane) {
            assert!(publish.sequence <= next, "a gap before {}", publish.sequence);
            next = next.max(publish.sequence + publish.messages.len() as u64);
        }
    }
}

/// Hazard 16: after a doubt a lane goes on where it stands, and tells that what came before is over: the broker stores
/// nothing of it any more. So does a lane that the broker has forgotten.
#[tokio::test]
async fn a_lane_in_doubt_goes_on_and_leaves_the_doubt_behind() {
    for key in [Some("g"), None] {
        let group = Group::start(1, [Step::Serve, Step::CodeInDoubt(40_000)]).await;
        let producer = producer(&group.addresses(), ProducerOptions::default());
        let send = |body: &str| {
            let message = Message::builder("t").body(body.to_owned());
            producer.send(if let Some(key) = key { message.message_group(key) } else { message }.build().unwrap())
        };
        send("a").await.stored().unwrap();
        assert!(matches!(send("b").await, Outcome::Unknown(_)));
        send("c").await.stored().unwrap();
        let publishes = group.publishes();
        let stamp = |publish: &Publish| (publish.epoch, publish.sequence, publish.lowest, publish.again);
        let stamps: Vec<_> = publishes.iter().map(stamp).collect();
        assert_eq!(stamps, [(1, 0, 0, false), (1, 1, 1, false), (1, 2, 2, false)]);
    }
}

#[tokio::test]
async fn a_batch_is_one_request_and_a_callback_and_one_way_work() {
    let group = Group::start(1, []).await;
    let producer = producer(&group.addresses(), ProducerOptions::default());
    let outcomes = producer.send_batch((0..5).map(|n| message(format!("{n}"))).collect()).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_stored()).count(), 5);
    assert_eq!(group.publishes().len(), 1);
    let (sender, told) = tokio::sync::oneshot::channel();
    producer.send_with(message("callback"), move |outcome| sender.send(outcome).unwrap()).await;
    assert_eq!(told.await.unwrap().stored().unwrap().offset, 5);
    producer.send_one_way(message("one way")).await;
    producer.close().await;
    assert_eq!(group.lock().kept.len(), 7, "closing waits for what was handed over");
    let outcome = producer.send(message("late")).await;
    assert!(matches!(&outcome, Outcome::Refused(refused) if refused.message.contains("closed")), "{outcome:?}");
}

/// The task that calls it sends for all others, and gives their room back.
#[tokio::test]
async fn a_callback_that_panics_harms_no_other_message() {
    let group = Group::start(1, []).await;
    let producer = producer(&group.addresses(), ProducerOptions::default());
    for _ in 0..3 {
        producer.send_with(message("bad"), |_| panic!("as the application likes")).await;
        let ended = tokio::time::timeout(Duration::from_secs(10), producer.send(message("good"))).await;
        ended.expect("it is sent").stored().unwrap();
    }
    tokio::time::timeout(Duration::from_secs(10), producer.flush()).await.expect("nothing is under way");
    assert_eq!(group.lock().kept.len(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_ends_after_the_callbacks_of_what_came_before_it() {
    let group = Group::start(1, []).await;
    let producer = producer(&group.addresses(), ProducerOptions::default());
    let told = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    for round in 1..=20 {
        for _ in 0..50 {
            let told = std::sync::Arc::clone(&told);
            let tell = move |_| {
                std::thread::sleep(Duration::from_micros(20));
                told.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            };
            producer.send_with(message("m"), tell).await;
        }
        producer.flush().await;
        assert_eq!(told.load(std::sync::atomic::Ordering::SeqCst), round * 50);
    }
}

#[tokio::test]
async fn a_flush_holds_up_nobody() {
    let group = Group::start(1, [Step::AtGate]).await;
    let producer = producer(&group.addresses(), ProducerOptions::default());
    let held = producer.enqueue(message("held")).await;
    group.until("it is there", |shared| shared.publishes.len() == 1).await;
    let flush = tokio::spawn({
        let producer = producer.clone();
        async move { producer.flush().await }
    });
    tokio::task::yield_now().await;
    producer.send(message("meanwhile")).await.stored().unwrap();
    assert!(!flush.is_finished());
    group.gate.add_permits(1);
    held.await.stored().unwrap();
    flush.await.unwrap();
}

/// Three nodes that never say who leads would take three seconds.
#[tokio::test]
async fn the_time_of_a_send_counts_from_its_begin_whatever_is_silent() {
    let group = Group::start(3, []).await;
    group.lock().route_hangs = true;
    let options = ProducerOptions::new().send_timeout(Duration::from_millis(500));
    let producer = producer(&group.addresses(), options);
    let begun = std::time::Instant::now();
    let _stored_or_not = producer.send(message("m")).await;
    assert!(begun.elapsed() < Duration::from_millis(1500), "{:?}", begun.elapsed());
}

/// One that publishes to a topic for each of its many clients goes on.
#[tokio::test]
async fn topics_without_end_take_turns_in_the_memory_of_a_producer() {
    let group = Group::start(1, []).await;
    // Five hundred ask for their route at once.
    let producer = patient_producer(&group);
    let to = |topic: u32| Message::builder(format!("t{topic}")).body("m").build().unwrap();
    for topic in (0..4_500).step_by(500) {
        let sends = (topic..topic + 500).map(|topic| producer.send(to(topic)));
        for outcome in futures::future::join_all(sends).await {
            outcome.stored().unwrap();
        }
    }
    producer.send(to(0)).await.stored().unwrap();
    producer.close().await;
    assert_eq!(group.lock().kept.len(), 4_501);
}

#[test]
fn without_a_runtime_there_is_an_error_and_no_panic() {
    let client = Client::connect("127.0.0.1:1").unwrap();
    assert!(matches!(client.producer(ProducerOptions::default()), Err(Error::NoRuntime)));
    let consumer = client.consumer("g", ["t"], tercet_client::ConsumerOptions::default());
    assert!(matches!(consumer, Err(Error::NoRuntime)));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let entered = runtime.enter();
    let producer = client.producer(ProducerOptions::default()).unwrap();
    drop(entered);
    assert!(producer.try_enqueue(message("from a thread of its own")).is_ok());
}

/// The producer puts messages of strangers into one request, which a broker refuses as a whole.
#[tokio::test]
async fn a_message_that_is_refused_takes_no_other_with_it() {
    for group_of_messages in [None, Some("g")] {
        let group = Group::start(1, [Step::AtGate, Step::Refuses(40_009, b"bad")]).await;
        let producer = producer(&group.addresses(), ProducerOptions::new().requests_in_flight_max(1));
        let message = |body: String| {
            let message = Message::builder("t").body(body);
            if let Some(of) = group_of_messages { message.message_group(of) } else { message }.build().unwrap()
        };
        let first = producer.enqueue(message("first".into())).await;
        group.until("the first request is held", |shared| shared.publishes.len() == 1).await;
        let mut pending = Vec::new();
        for n in 0..20 {
            pending.push(producer.enqueue(message(if n == 7 { "bad".into() } else { format!("{n:02}") })).await);
        }
        group.gate.add_permits(1);
        first.await.stored().unwrap();
        for (n, outcome) in futures::future::join_all(pending).await.into_iter().enumerate() {
            match outcome {
                Outcome::Refused(refused) => {
                    assert_eq!((n, refused.reason), (7, RefusedReason::Answered(Code(40_009))))
                }
                outcome => drop(outcome.stored().unwrap()),
            }
        }
        let kept: Vec<_> = group.lock().kept.iter().skip(1).map(|kept| kept.body.clone()).collect();
        assert_eq!(kept.len(), 19);
        assert!(kept.is_sorted(), "in the order in which they were sent");
        // What the application put together stays together.
        let together = ["00", "bad"].map(|body| message(body.into())).to_vec();
        let outcomes = producer.send_batch(together).await;
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Refused(_))), "{outcomes:?}");
    }
}

/// What all messages of a request share is not asked for again with each of them.
#[tokio::test]
async fn a_topic_that_is_not_there_is_asked_for_once() {
    let group = Group::start(1, [Step::AtGate, Step::Refuses(40_402, b"m")]).await;
    let producer = producer(&group.addresses(), ProducerOptions::new().requests_in_flight_max(1));
    let first = producer.enqueue(message("first")).await;
    group.until("the first request is held", |shared| shared.publishes.len() == 1).await;
    let pending = futures::future::join_all((0..20).map(|_| producer.enqueue(message("m")))).await;
    group.gate.add_permits(1);
    first.await.stored().unwrap();
    for outcome in futures::future::join_all(pending).await {
        assert!(
            matches!(&outcome, Outcome::Refused(refused) if refused.reason == RefusedReason::Answered(Code::TOPIC_NOT_FOUND)),
            "{outcome:?}"
        );
    }
    assert_eq!(group.publishes().len(), 2);
}

#[tokio::test]
async fn a_batch_that_cannot_be_one_request_is_refused_as_a_whole() {
    let group = Group::start(1, []).await;
    let producer = producer(&group.addresses(), ProducerOptions::new().batch_messages_max(2));
    let other = Message::builder("u").body("x").build().unwrap();
    for batch in [vec![message("a"), other], (0..3).map(|n| message(format!("{n}"))).collect()] {
        let count = batch.len();
        let outcomes = producer.send_batch(batch).await;
        assert_eq!(outcomes.len(), count);
        assert!(outcomes.iter().all(|outcome| matches!(outcome, Outcome::Refused(_))));
    }
    assert!(group.publishes().is_empty());
}

#[tokio::test]
async fn requests_go_to_the_leader_of_the_route() {
    let group = Group::start(3, []).await;
    group.lock().route.rotate_left(2);
    let producer = producer(&group.address(0), ProducerOptions::default());
    producer.send(message("hello")).await.stored().unwrap();
    assert_eq!(group.publishes()[0].node, 2);
}

#[tokio::test]
async fn when_nobody_knows_a_route_the_last_one_is_used() {
    let mut group = Group::start(3, []).await;
    group.lock().route.rotate_left(1);
    // Only the node that is about to die was given.
    let producer = producer(&group.address(0), ProducerOptions::default());
    producer.send(message("a")).await.stored().unwrap();
    assert_eq!(group.publishes()[0].node, 1);
    group.kill(0);
    group.lock().route.clear();
    group.kill(1);
    producer.send(message("b")).await.stored().unwrap();
    assert_eq!(group.publishes().last().unwrap().node, 2);
}

#[tokio::test]
async fn the_new_leader_is_learned_from_any_node_as_soon_as_the_old_one_fails() {
    let mut group = Group::start(3, []).await;
    let producer = producer(&group.addresses(), ProducerOptions::default());
    producer.send(message("a")).await.stored().unwrap();
    group.lock().route.rotate_left(2);
    group.kill(0);
    let asked = group.lock().route_asked;
    producer.send(message("b")).await.stored().unwrap();
    group.until("the route is asked for again", |shared| shared.route_asked > asked).await;
    for _ in 0..100 {
        producer.send(message("c")).await.stored().unwrap();
        if group.publishes().last().unwrap().node == 2 {
            return;
        }
    }
    panic!("the new leader is never asked");
}

#[tokio::test]
async fn a_dead_endpoint_costs_a_moment_and_not_the_message() {
    let mut group = Group::start(2, []).await;
    group.kill(0);
    group.lock().route.clear();
    let producer = producer(&group.addresses(), ProducerOptions::default());
    let begun = std::time::Instant::now();
    producer.send(message("hello")).await.stored().unwrap();
    assert!(begun.elapsed() < Duration::from_millis(900), "{:?}", begun.elapsed());
}

/// How long the next one waits for an answer.
const PATIENT: Duration = Duration::from_secs(20);

fn patient_producer(group: &Group) -> Producer {
    let endpoints = Endpoint::parse_list(&group.addresses()).unwrap();
    let options = ClientOptions::new(endpoints).attempt_timeout(PATIENT);
    Client::new(options).unwrap().producer(ProducerOptions::default()).unwrap()
}

/// A leader that is stopped or cut off closes nothing: whoever names the next one is believed long before the attempt's
/// time is up, and the same request goes there.
#[tokio::test]
async fn a_silent_leader_is_given_up_as_soon_as_another_node_names_the_next() {
    let group = Group::start(3, [Step::StoreThenHang]).await;
    let producer = patient_producer(&group);
    let pending = producer.enqueue(message("m")).await;
    group.until("the leader has it", |shared| shared.publishes.len() == 1).await;
    group.lock().route = [2, 0, 1].map(|node| group.address(node)).to_vec();
    let outcome = tokio::time::timeout(PATIENT / 2, pending).await.unwrap();
    assert!(matches!(outcome, Outcome::Stored(stored) if stored.offset == 0), "stored once");
    let publishes = group.publishes();
    assert_eq!((publishes.len(), publishes[1].node), (2, 2));
    assert!(same_request(&publishes));
}

/// Whoever asked for all stopped asking when his own answer came; the next one asks again.
#[tokio::test]
async fn the_next_request_asks_after_one_that_was_answered_while_it_asked() {
    let group = Group::start(3, [Step::AtGate, Step::StoreThenHang]).await;
    let producer = patient_producer(&group);
    let asked = |count: usize| move |shared: &fake::Shared| shared.route_asked >= count;
    let first = producer.enqueue(message("slow")).await;
    group.lock().route_hangs = true;
    group.until("somebody asks", |shared| shared.route_hanging > 0).await;
    group.gate.add_permits(1);
    assert!(matches!(first.await, Outcome::Stored(_)));
    group.lock().route_hangs = false;
    let before = group.lock().route_asked;
    let second = producer.enqueue(message("lost")).await;
    group.until("the second asks", asked(before + 1)).await;
    group.lock().route.rotate_left(1);
    assert!(matches!(tokio::time::timeout(PATIENT / 2, second).await, Ok(Outcome::Stored(_))));
}

/// The others know the next leader before its client could: it asks nobody.
#[tokio::test]
async fn a_silent_leader_is_given_up_as_soon_as_another_node_tells_of_the_next() {
    let group = Group::start(3, [Step::Serve, Step::StoreThenHang]).await;
    group.tell_leader(1, 0);
    let producer = patient_producer(&group);
    producer.send(message("first")).await.stored().unwrap();
    group.until("somebody tells", |_| group.news.standing() == 1).await;
    let asked = group.lock().route_asked;
    let pending = producer.enqueue(message("m")).await;
    group.until("the leader has it", |shared| shared.publishes.len() == 2).await;
    group.tell_leader(2, 2);
    let outcome = tokio::time::timeout(PATIENT / 2, pending).await.unwrap();
    assert!(matches!(outcome, Outcome::Stored(stored) if stored.offset == 1), "stored once");
    let publishes = group.publishes();
    assert_eq!((publishes.len(), publishes[2].node), (3, 2));
    assert!(same_request(&publishes[1..]));
    assert!(group.lock().route_asked <= asked + 1, "once, after the attempt that failed");
}

/// Nodes with DNS names name one of them in a route, whoever it was asked for.
#[tokio::test]
async fn a_client_that_was_given_one_node_outlives_it() {
    let mut group = Group::start(3, []).await;
    group.lock().route.truncate(1);
    group.tell_leader(1, 0);
    let producer = producer(&group.address(0), ProducerOptions::default());
    producer.send(message("a")).await.stored().unwrap();
    group.until("another node tells", |_| group.news.standing() == 1).await;
    group.kill(0);
    group.lock().route.clear();
    group.tell_leader(2, 1);
    producer.send(message("b")).await.stored().unwrap();
    assert_ne!(group.publishes().last().unwrap().node, 0);
}

/// While somebody tells who leads, who waits asks nobody, however long.
#[tokio::test]
async fn nobody_is_asked_while_somebody_tells() {
    let group = Group::start(3, [Step::Serve, Step::AtGate]).await;
    group.tell_leader(1, 0);
    let producer = patient_producer(&group);
    producer.send(message("first")).await.stored().unwrap();
    group.until("somebody tells", |_| group.news.standing() == 1).await;
    let asked = group.lock().route_asked;
    let pending = producer.enqueue(message("slow")).await;
    // Without the stream it would be some twenty times.
    assert!(tokio::time::timeout(Duration::from_secs(2), pending).await.is_err());
    assert_eq!(group.lock().route_asked, asked);
}

#[tokio::test]
async fn a_slow_leader_is_waited_for_while_nobody_names_another() {
    let group = Group::start(3, [Step::AtGate]).await;
    let producer = patient_producer(&group);
    let pending = producer.enqueue(message("m")).await;
    group.until("several nodes were asked who leads", |shared| shared.route_asked >= 4).await;
    group.gate.add_permits(1);
    assert!(matches!(pending.await, Outcome::Stored(_)));
    assert_eq!(group.publishes().len(), 1);
}
