//! The batcher against a log that a test drives by hand.

use std::future::Future;

use bytes::Bytes;
use raft_log::{
    ProposeError, Proposed,
    types::{LogId, LogIndex, Term},
};
use tokio::sync::mpsc;

use super::{super::stream_room::StreamRoom, *};
use crate::{
    model::{ConsumerGroupId, QueueId, QueueOffset, TopicId},
    state::{Ack, AckEntry, NewMessage, OutcomesBuilder, PublishBuilder, tick},
};

type Answer = Result<Proposed, ProposeError>;

struct Proposal {
    payload: Bytes,
    answer: oneshot::Sender<Answer>,
}

impl Proposal {
    fn commands(&self) -> u32 {
        u32::from_le_bytes(self.payload[4..8].try_into().expect("a header"))
    }

    fn applied(self) {
        let mut outcomes = OutcomesBuilder::new();
        (0..self.commands()).for_each(|_| outcomes.push(&Outcome::Ticked));
        let id = LogId { term: Term(1), index: LogIndex(1) };
        let _ = self.answer.send(Ok(Proposed { id, response: outcomes.build() }));
    }
}

struct HandLog {
    proposals: mpsc::UnboundedSender<Proposal>,
    full: Arc<AtomicBool>,
}

impl Proposer for HandLog {
    fn propose(&self, payload: Bytes, _count: u32) -> impl Future<Output = Answer> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let _ = self.proposals.send(Proposal { payload, answer });
        async move { answered.await.unwrap_or(Err(ProposeError::Unknown { reason: String::from("dropped") })) }
    }

    fn is_full(&self) -> bool {
        self.full.load(Ordering::Relaxed)
    }
}

struct Rig {
    batcher: Batcher,
    log: mpsc::UnboundedReceiver<Proposal>,
    full: Arc<AtomicBool>,
    stop: CancellationToken,
}

fn rig(options: BatcherOptions) -> Rig {
    let (proposals, log) = mpsc::unbounded_channel();
    let (full, stop) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
    let hand_log = HandLog { proposals, full: Arc::clone(&full) };
    let batcher =
        Batcher::start(hand_log, || UnixMillis(7), || Level::NEWEST, options, Traffic::default(), stop.clone());
    Rig { batcher, log, full, stop }
}

fn one_in_flight() -> BatcherOptions {
    BatcherOptions { entries_in_flight_max: 1, ..Default::default() }
}

fn publish(bytes: usize) -> EncodedCommand {
    let mut builder = PublishBuilder::new(TopicId(1), None);
    let (queue, group) = Default::default();
    builder.push(&NewMessage { queue, group, tag: "", meta: b"", body: &vec![0; bytes] });
    builder.finish()
}

fn ack(entries: usize) -> EncodedCommand {
    let entry = AckEntry { queue: QueueId(0), offset: QueueOffset(1), nonce: 2, deadline: UnixMillis(3) };
    Ack { group: ConsumerGroupId(1), topic: TopicId(1), entries: vec![entry; entries] }.encode()
}

/// The kinds of an entry's commands, in their order.
fn classes(entry: &Proposal) -> Vec<u8> {
    let (mut kinds, mut rest) = (Vec::new(), &entry.payload[16..]);
    while let [kind, a, b, c, d, body @ ..] = rest {
        kinds.push(*kind);
        rest = &body[u32::from_le_bytes([*a, *b, *c, *d]) as usize..];
    }
    kinds
}

impl Rig {
    async fn waiting(&self, commands: usize) {
        while self.batcher.shared.door().lines.len() < commands {
            tokio::task::yield_now().await;
        }
    }

    fn submit(&self, command: EncodedCommand) -> tokio::task::JoinHandle<Result<Outcome, SubmitError>> {
        let batcher = self.batcher.clone();
        tokio::spawn(async move { batcher.submit(command).await })
    }

    async fn next(&mut self) -> Proposal {
        self.log.recv().await.expect("the pump lives")
    }
}

#[tokio::test]
async fn what_waits_while_the_pipe_is_full_shares_an_entry() {
    let mut rig = rig(one_in_flight());
    let first = rig.submit(tick());
    let lone = rig.next().await;
    assert_eq!(lone.commands(), 1, "an idle batcher does not linger");
    let others: Vec<_> = (0..100).map(|_| rig.submit(tick())).collect();
    rig.waiting(100).await;
    lone.applied();
    let shared = rig.next().await;
    assert_eq!(shared.commands(), 100);
    shared.applied();
    for task in others.into_iter().chain([first]) {
        assert_eq!(task.await.expect("no panic"), Ok(Outcome::Ticked));
    }
    assert_eq!(rig.batcher.pending_bytes(Class::Time), 0);
}

#[tokio::test]
async fn an_entry_is_closed_at_its_target_but_takes_one_command_of_any_size() {
    let mut rig = rig(BatcherOptions { entry_bytes_target: 1100, ..one_in_flight() });
    let _first = rig.submit(tick());
    let lone = rig.next().await;
    let _rest: Vec<_> = [600, 300, 600, 50_000].map(|bytes| rig.submit(publish(bytes))).into();
    rig.waiting(4).await;
    lone.applied();
    for expected in [2, 1, 1] {
        let entry = rig.next().await;
        assert_eq!(entry.commands(), expected);
        entry.applied();
    }
}

#[tokio::test]
async fn beyond_the_bound_commands_are_refused_at_once() {
    let mut rig = rig(BatcherOptions { publish_bytes_max: 10_000, ..one_in_flight() });
    let held = rig.submit(publish(9_000));
    let entry = rig.next().await;
    assert_eq!(rig.batcher.submit(publish(2_000)).await, Err(SubmitError::Overloaded));
    entry.applied();
    assert_eq!(held.await.expect("no panic"), Ok(Outcome::Ticked));
    let after = rig.submit(publish(2_000));
    rig.next().await.applied();
    assert_eq!(after.await.expect("no panic"), Ok(Outcome::Ticked), "and accepted again when there is room");
}

#[tokio::test]
async fn a_command_larger_than_an_entry_is_refused() {
    let rig = rig(BatcherOptions::default());
    for command in [publish(COMMAND_BYTES_MAX), ack(SMALL_COMMAND_BYTES_MAX / 8)] {
        assert!(matches!(rig.batcher.submit(command).await, Err(SubmitError::TooLarge { .. })));
    }
}

#[tokio::test]
async fn however_much_is_published_acknowledgements_are_in_the_next_entry() {
    let mut rig = rig(BatcherOptions { entry_bytes_target: 10_000, publish_bytes_max: 100_000, ..one_in_flight() });
    let _first = rig.submit(publish(1_000));
    let entry = rig.next().await;
    let publishes: Vec<_> = (0..200).map(|_| rig.submit(publish(1_000))).collect();
    let refused = futures::future::select_all(publishes).await.0.expect("no panic");
    assert_eq!(refused, Err(SubmitError::Overloaded), "more is published than fits");
    let acks: Vec<_> = (0..10).map(|_| rig.submit(ack(1))).collect();
    rig.waiting(10 + 50).await;
    entry.applied();
    let entry = rig.next().await;
    let acknowledgements = ack(1).bytes() * 10;
    assert_eq!(classes(&entry)[..10], [6; 10], "all acknowledgements");
    assert!(entry.payload.len() > 8_000 + acknowledgements, "and publishes, as many as fit: {}", entry.payload.len());
    entry.applied();
    for ack in acks {
        assert_eq!(ack.await.expect("no panic"), Ok(Outcome::Ticked));
    }
}

#[tokio::test]
async fn beside_acknowledgements_publishes_fill_about_one_entry_of_the_pipe() {
    let mut rig = rig(BatcherOptions { entry_bytes_target: 10_000, entries_in_flight_max: 4, ..Default::default() });
    let _publishes: Vec<_> = (0..200).map(|_| rig.submit(publish(1_000))).collect();
    let mut pipe = Vec::new();
    for _ in 0..4 {
        pipe.push(rig.next().await);
    }
    assert!(pipe[1..].iter().all(|entry| entry.commands() > 5), "alone they fill it");
    let _ack = rig.submit(ack(1));
    let more = rig.submit(ack(1));
    rig.waiting(2).await;
    pipe.remove(0).applied();
    let acknowledged = rig.next().await;
    assert_eq!(classes(&acknowledged), [6, 6], "three entries of publishes are under way");
    acknowledged.applied();
    assert_eq!(more.await.expect("no panic"), Ok(Outcome::Ticked));
    let last = pipe.pop().expect("three are left");
    pipe.into_iter().for_each(Proposal::applied);
    let _ack = rig.submit(ack(1));
    let beside = rig.next().await;
    assert!(!classes(&beside).contains(&4), "what is under way is enough");
    last.applied();
    assert!(classes(&rig.next().await).contains(&4), "and the next as soon as it is not");
}

#[tokio::test]
async fn a_flood_of_acknowledgements_leaves_publishes_half_of_each_entry_and_is_bounded_by_itself() {
    let options = BatcherOptions { entry_bytes_target: 10_000, settle_bytes_max: 50_000, ..one_in_flight() };
    let mut rig = rig(options);
    let _first = rig.submit(tick());
    let entry = rig.next().await;
    let acks: Vec<_> = (0..200).map(|_| rig.submit(ack(1))).collect();
    assert_eq!(futures::future::select_all(acks).await.0.expect("no panic"), Err(SubmitError::Overloaded));
    let _publishes: Vec<_> = (0..50).map(|_| rig.submit(publish(500))).collect();
    rig.waiting(150 + 50).await;
    entry.applied();
    let entry = rig.next().await;
    let publishes = classes(&entry).iter().filter(|kind| **kind == 4).count();
    assert!(publishes * publish(500).bytes() > 4_000, "{publishes} publishes in an entry of {}", entry.payload.len());
    entry.applied();
}

#[tokio::test]
async fn when_the_disks_are_full_publishes_that_wait_are_refused_and_take_no_acknowledgement_with_them() {
    let mut rig = rig(one_in_flight());
    let _first = rig.submit(tick());
    let entry = rig.next().await;
    let (published, acknowledged) = (rig.submit(publish(100)), rig.submit(ack(1)));
    rig.waiting(2).await;
    rig.full.store(true, Ordering::Relaxed);
    entry.applied();
    assert_eq!(published.await.expect("no panic"), Err(SubmitError::DiskFull));
    let entry = rig.next().await;
    assert_eq!(classes(&entry), [6]);
    entry.applied();
    assert_eq!(acknowledged.await.expect("no panic"), Ok(Outcome::Ticked));
}

/// Else a stream would bring more while what it brought before still waits, until calls are refused for it.
#[tokio::test]
async fn a_command_takes_room_of_its_stream_until_it_has_an_outcome_though_nobody_waits_for_that() {
    let mut rig = rig(one_in_flight());
    let _first = rig.submit(tick());
    let (before, room) = (rig.next().await, StreamRoom::beside_calls(16 << 10));
    let taken = room.take(12 << 10, false, None).await.map(Arc::new);
    let mut submitted = Box::pin(rig.batcher.enter(publish(100), taken).expect("room"));
    assert!(futures::poll!(&mut submitted).is_pending());
    drop(submitted);
    let mut next = Box::pin(room.take(1, false, None));
    assert!(futures::poll!(&mut next).is_pending(), "it waits");
    before.applied();
    let entry = rig.next().await;
    assert!(futures::poll!(&mut next).is_pending(), "it is in flight");
    entry.applied();
    assert!(next.await.is_some());
}

/// hazards 15: the three answers stay apart.
#[tokio::test]
async fn not_stored_and_unknown_are_told_apart() {
    let cases = [
        (ProposeError::NotLeader { leader: None }, SubmitError::NotLeader),
        (ProposeError::Overloaded { in_flight_bytes_max: 1 }, SubmitError::Overloaded),
        (ProposeError::Unknown { reason: String::from("why") }, SubmitError::Unknown(String::from("why"))),
    ];
    let mut rig = rig(one_in_flight());
    for (error, expected) in cases {
        let task = rig.submit(tick());
        let _ = rig.next().await.answer.send(Err(error));
        assert_eq!(task.await.expect("no panic"), Err(expected));
    }
}

#[tokio::test]
async fn a_response_that_does_not_fit_its_commands_is_unknown() {
    let mut rig = rig(one_in_flight());
    let task = rig.submit(tick());
    let id = LogId { term: Term(1), index: LogIndex(1) };
    let response = OutcomesBuilder::new().build();
    let _ = rig.next().await.answer.send(Ok(Proposed { id, response }));
    assert!(matches!(task.await.expect("no panic"), Err(SubmitError::Unknown(_))));
}

#[tokio::test]
async fn a_stopped_batcher_refuses_what_waits_and_answers_what_is_in_flight() {
    let mut rig = rig(one_in_flight());
    let in_flight = rig.submit(tick());
    let entry = rig.next().await;
    let waiting = rig.submit(tick());
    rig.waiting(1).await;
    rig.stop.cancel();
    assert_eq!(waiting.await.expect("no panic"), Err(SubmitError::NotLeader));
    entry.applied();
    assert_eq!(in_flight.await.expect("no panic"), Ok(Outcome::Ticked));
    assert_eq!(rig.batcher.submit(tick()).await, Err(SubmitError::NotLeader));
}

#[tokio::test]
async fn commands_of_a_class_enter_the_log_in_the_order_of_submit() {
    let mut rig = rig(BatcherOptions { entry_bytes_target: 1, entries_in_flight_max: 3, ..Default::default() });
    let batcher = rig.batcher.clone();
    let count = 20;
    let submits = tokio::spawn(async move {
        let submits = (1..=count).map(|n| batcher.submit(publish(n * 10)));
        futures::future::join_all(submits).await.into_iter().filter(Result::is_ok).count()
    });
    let mut seen = Vec::new();
    while seen.len() < count {
        let entry = rig.next().await;
        seen.push(entry.payload.len());
        entry.applied();
    }
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(submits.await.expect("no panic"), count);
}
