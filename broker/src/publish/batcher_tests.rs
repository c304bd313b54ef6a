//! The batcher against a log that a test drives by hand.

use raft_log::types::{LogId, LogIndex, Term};
use tokio::sync::mpsc;

use super::*;
use crate::{
    model::TopicId,
    state::{NewMessage, OutcomesBuilder, PublishBuilder, tick},
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

struct HandLog(mpsc::UnboundedSender<Proposal>);

impl Proposer for HandLog {
    fn propose(&self, payload: Bytes, _count: u32) -> impl Future<Output = Answer> + Send + 'static {
        let (answer, answered) = oneshot::channel();
        let _ = self.0.send(Proposal { payload, answer });
        async move { answered.await.unwrap_or(Err(ProposeError::Unknown { reason: String::from("dropped") })) }
    }
}

struct Rig {
    batcher: Batcher,
    log: mpsc::UnboundedReceiver<Proposal>,
    stop: CancellationToken,
}

fn rig(options: BatcherOptions) -> Rig {
    let (sender, log) = mpsc::unbounded_channel();
    let stop = CancellationToken::new();
    let batcher = Batcher::start(HandLog(sender), || UnixMillis(7), options, Traffic::default(), stop.clone());
    Rig { batcher, log, stop }
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

impl Rig {
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
    while rig.batcher.shared.lock().waiting.len() < 100 {
        tokio::task::yield_now().await;
    }
    lone.applied();
    let shared = rig.next().await;
    assert_eq!(shared.commands(), 100);
    shared.applied();
    for task in others.into_iter().chain([first]) {
        assert_eq!(task.await.expect("no panic"), Ok(Outcome::Ticked));
    }
    assert_eq!(rig.batcher.pending_bytes(), 0);
}

#[tokio::test]
async fn an_entry_is_closed_at_its_target_but_takes_one_command_of_any_size() {
    let mut rig = rig(BatcherOptions { entry_bytes_target: 1100, ..one_in_flight() });
    let _first = rig.submit(tick());
    let lone = rig.next().await;
    let _rest: Vec<_> = [600, 300, 600, 50_000].map(|bytes| rig.submit(publish(bytes))).into();
    while rig.batcher.shared.lock().waiting.len() < 4 {
        tokio::task::yield_now().await;
    }
    lone.applied();
    for expected in [2, 1, 1] {
        let entry = rig.next().await;
        assert_eq!(entry.commands(), expected);
        entry.applied();
    }
}

#[tokio::test]
async fn beyond_the_bound_commands_are_refused_at_once() {
    let mut rig = rig(BatcherOptions { pending_bytes_max: 10_000, ..one_in_flight() });
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
    let refused = rig.batcher.submit(publish(COMMAND_BYTES_MAX)).await;
    assert!(matches!(refused, Err(SubmitError::TooLarge { .. })));
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
    while rig.batcher.shared.lock().waiting.is_empty() {
        tokio::task::yield_now().await;
    }
    rig.stop.cancel();
    assert_eq!(waiting.await.expect("no panic"), Err(SubmitError::NotLeader));
    entry.applied();
    assert_eq!(in_flight.await.expect("no panic"), Ok(Outcome::Ticked));
    assert_eq!(rig.batcher.submit(tick()).await, Err(SubmitError::NotLeader));
}

#[tokio::test]
async fn commands_enter_the_log_in_the_order_of_submit() {
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
