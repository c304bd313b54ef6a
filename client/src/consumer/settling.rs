//! What is said of messages, on its way to the broker and until it is answered.
//!
//! What comes while requests are in flight goes into the next one together. A request that has no answer when its stream
//! ends is sent again on the next: saying twice that a message is done with is fine.

use std::{collections::VecDeque, time::Duration};

use tercet_proto::client::v1::{Change, Run, Settle, Settled};
use tokio::sync::oneshot;

use super::received::Reference;
use crate::error::Error;

/// Longest invisible duration of a change, the broker's bound.
pub(super) const INVISIBLE_MAX: Duration = Duration::from_secs(12 * 3600);

/// Messages of one request, the broker's bound.
const MESSAGES_MAX: usize = 4096;
/// Messages of one order; more are several orders.
pub(super) const ORDER_MESSAGES_MAX: usize = 1024;
/// Requests in flight. More would only be smaller, and each costs the broker a command.
const REQUESTS_IN_FLIGHT_MAX: usize = 2;

/// What is to become of some messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Done,
    Hidden { invisible_ms: u64, uncounted: bool },
}

/// One or several messages, their fate, and who waits for the answer.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) references: Vec<Reference>,
    pub(super) fate: Fate,
    pub(super) waiter: Option<oneshot::Sender<Result<Vec<u64>, Error>>>,
}

impl Order {
    /// Nobody waits any longer for what he asked for.
    fn is_given_up(&self) -> bool {
        self.waiter.as_ref().is_some_and(oneshot::Sender::is_closed)
    }

    fn answer(self, answer: Result<Vec<u64>, Error>) {
        if let Some(waiter) = self.waiter {
            // Whoever gave up waiting needs no answer.
            drop(waiter.send(answer));
        }
    }
}

/// The orders of one topic.
#[derive(Debug, Default)]
pub(super) struct Settling {
    waiting: VecDeque<Order>,
    sent: VecDeque<(u64, Vec<Order>)>,
    last: u64,
}

impl Settling {
    pub(super) fn push(&mut self, orders: impl IntoIterator<Item = Order>) {
        self.waiting.extend(orders);
    }

    /// Whether nothing waits for anything.
    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.sent.is_empty()
    }

    /// Whether another order would go out at once.
    pub(super) fn has_room(&self) -> bool {
        self.waiting.is_empty() && self.sent.len() < REQUESTS_IN_FLIGHT_MAX
    }

    /// A stream begins: what has no answer is asked for again, as far as somebody waits for it.
    pub(super) fn begin(&mut self) {
        let again: Vec<Order> = self.sent.drain(..).flat_map(|(_, orders)| orders).collect();
        again.into_iter().rev().for_each(|order| self.waiting.push_front(order));
        self.waiting.retain(|order| !order.is_given_up());
    }

    /// The next request, if one may go out.
    pub(super) fn next(&mut self) -> Option<Settle> {
        if self.sent.len() >= REQUESTS_IN_FLIGHT_MAX || self.waiting.is_empty() {
            return None;
        }
        let mut messages = 0;
        let fits = |order: &Order| {
            messages += order.references.len();
            messages <= MESSAGES_MAX
        };
        let count = self.waiting.iter().map(fits).take_while(|fits| *fits).count();
        assert!(count > 0, "an order fits a request");
        let orders: Vec<Order> = self.waiting.drain(..count).collect();
        self.last += 1;
        let settle = request(self.last, &orders);
        self.sent.push_back((self.last, orders));
        Some(settle)
    }

    /// An answer has come.
    pub(super) fn answered(&mut self, settled: &Settled) {
        let Some(at) = self.sent.iter().position(|(number, _)| *number == settled.number) else { return };
        let (_, orders) = self.sent.remove(at).expect("found there");
        let mut over = settled.over.iter().copied().peekable();
        let mut deadlines = settled.deadlines_unix_ms.iter().copied();
        let mut position = 0;
        for order in orders {
            let answer = match order.fate {
                Fate::Done => {
                    let mut one = || {
                        let is_over = over.next_if_eq(&position).is_some();
                        position += 1;
                        u64::from(!is_over)
                    };
                    order.references.iter().map(|_| one()).collect()
                }
                Fate::Hidden { .. } => {
                    deadlines.by_ref().chain(std::iter::repeat(0)).take(order.references.len()).collect()
                }
            };
            order.answer(Ok(answer));
        }
    }

    /// Nothing of it can be done.
    pub(super) fn fail(&mut self, error: &Error) {
        let sent = self.sent.drain(..).flat_map(|(_, orders)| orders);
        for order in sent.chain(self.waiting.drain(..)) {
            order.answer(Err(error.clone()));
        }
    }
}

fn request(number: u64, orders: &[Order]) -> Settle {
    let mut settle = Settle { number, ..Settle::default() };
    for order in orders {
        match order.fate {
            Fate::Done => add_runs(&mut settle.done, &order.references),
            Fate::Hidden { invisible_ms, uncounted } => {
                let mut runs = Vec::new();
                add_runs(&mut runs, &order.references);
                let change = |run| Change { run: Some(run), invisible_ms, uncounted };
                settle.changes.extend(runs.into_iter().map(change));
            }
        }
    }
    settle
}

/// Successive messages of one delivery are one run.
fn add_runs(runs: &mut Vec<Run>, references: &[Reference]) {
    for reference in references {
        let Reference { queue, offset, nonce, deadline_unix_ms } = *reference;
        if let Some(last) = runs.last_mut()
            && (last.queue, last.nonce, last.deadline_unix_ms) == (queue, nonce, deadline_unix_ms)
            && last.offset.checked_add(u64::from(last.count)) == Some(offset)
        {
            last.count += 1;
        } else {
            runs.push(Run { nonce, deadline_unix_ms, queue, offset, count: 1 });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(offsets: &[u64], fate: Fate) -> (Order, oneshot::Receiver<Result<Vec<u64>, Error>>) {
        let reference = |offset: &u64| Reference { queue: 1, offset: *offset, nonce: 2, deadline_unix_ms: 3 };
        let (waiter, answer) = oneshot::channel();
        (Order { references: offsets.iter().map(reference).collect(), fate, waiter: Some(waiter) }, answer)
    }

    const BACK: Fate = Fate::Hidden { invisible_ms: 0, uncounted: true };

    #[test]
    fn orders_travel_together_and_each_gets_its_own_answer() {
        let mut settling = Settling::default();
        let (first, mut one) = order(&[4, 5, 9], Fate::Done);
        let (second, mut two) = order(&[6, 7], BACK);
        let (third, mut three) = order(&[10], Fate::Done);
        settling.push([first, second, third]);
        let settle = settling.next().unwrap();
        let runs: Vec<(u64, u32)> = settle.done.iter().map(|run| (run.offset, run.count)).collect();
        assert_eq!(runs, [(4, 2), (9, 2)], "runs go across orders");
        assert_eq!((settle.changes.len(), settle.changes[0].run.as_ref().unwrap().count), (1, 2));
        assert!(settling.next().is_none() && !settling.is_idle());
        settling.answered(&Settled { number: settle.number, over: vec![1, 3], deadlines_unix_ms: vec![77, 0] });
        assert_eq!(one.try_recv().unwrap().unwrap(), [1, 0, 1]);
        assert_eq!(two.try_recv().unwrap().unwrap(), [77, 0]);
        assert_eq!(three.try_recv().unwrap().unwrap(), [0]);
        assert!(settling.is_idle());
    }

    #[test]
    fn what_has_no_answer_is_sent_again_first_if_somebody_waits_for_it() {
        let mut settling = Settling::default();
        let (first, _one) = order(&[1], Fate::Done);
        let (second, two) = order(&[2], Fate::Done);
        settling.push([first]);
        settling.next().unwrap();
        settling.push([second]);
        settling.next().unwrap();
        let (third, _three) = order(&[3], Fate::Done);
        settling.push([third]);
        drop(two);
        settling.begin();
        let again = settling.next().unwrap();
        assert_eq!(again.done.iter().map(|run| (run.offset, run.count)).collect::<Vec<_>>(), [(1, 1), (3, 1)]);
        settling.answered(&Settled { number: again.number - 1, ..Settled::default() });
        assert!(!settling.is_idle(), "the answer to an earlier request is none to this one");
    }

    #[test]
    fn requests_and_messages_in_flight_are_bounded() {
        let mut settling = Settling::default();
        let whole: Vec<u64> = (0..ORDER_MESSAGES_MAX as u64).collect();
        settling.push((0..30).map(|_| order(&whole, Fate::Done).0));
        let requests: Vec<Settle> = std::iter::from_fn(|| settling.next()).collect();
        assert_eq!(requests.len(), REQUESTS_IN_FLIGHT_MAX);
        assert!(!settling.has_room());
        let messages = |settle: &Settle| settle.done.iter().map(|run| run.count as usize).sum::<usize>();
        assert!(requests.iter().all(|settle| messages(settle) == MESSAGES_MAX));
    }

    #[test]
    fn a_failure_is_told_to_all() {
        let mut settling = Settling::default();
        let (first, mut one) = order(&[1], Fate::Done);
        let (second, mut two) = order(&[2], BACK);
        settling.push([first]);
        settling.next().unwrap();
        settling.push([second]);
        settling.fail(&Error::Closed);
        assert!(one.try_recv().unwrap().is_err() && two.try_recv().unwrap().is_err() && settling.is_idle());
    }
}
