//! The loop that moves the batches of a lane to the broker and tells the senders.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

use super::{
    attempts::{Attempts, Ending, Next},
    batch::Batch,
    lane::{Lane, Step},
    verdict::{self, EntryVerdict, Place, Verdict},
};
use crate::{
    client::Client,
    code::Code,
    env,
    message_id::MessageId,
    outcome::{Outcome, Refused, RefusedReason, Stored, Unknown},
    transport::{Link, SendHeaders},
};

/// An attempt is given at least this long, however near the deadline is.
const ATTEMPT_SHORTEST: Duration = Duration::from_millis(5);

/// A lane as its senders and its driver share it.
pub(super) struct SharedLane {
    pub(super) topic: Box<str>,
    lane: Mutex<Lane>,
    wake: Notify,
}

impl SharedLane {
    pub(super) fn new(topic: &str, lane: Lane) -> Self {
        Self { topic: topic.into(), lane: Mutex::new(lane), wake: Notify::new() }
    }

    /// Changes the lane and wakes its driver if there is something to do now, or at another time than before.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Lane) -> R) -> R {
        let mut lane = self.lock();
        let before = lane.leaves_at();
        let result = change(&mut lane);
        let wake = lane.leaves_at() != before || lane.is_shut();
        drop(lane);
        if wake {
            self.wake.notify_one();
        }
        result
    }

    fn lock(&self) -> MutexGuard<'_, Lane> {
        self.lane.lock().expect("no holder of this lock panics")
    }
}

/// A driver that comes to its end in the middle of its work leaves nobody waiting.
struct AtEnd<'a>(&'a SharedLane);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.lane.lock().unwrap_or_else(PoisonError::into_inner).abandon();
        }
    }
}

/// A request that ended.
struct Ended {
    batch: Batch,
    /// What was sent of it.
    request: Bytes,
    headers: SendHeaders,
    ending: Ending,
}

/// Runs until the lane is shut and empty.
pub(super) async fn drive(lane: Arc<SharedLane>, client: Client) {
    let _at_end = AtEnd(&lane);
    let mut in_flight = FuturesUnordered::new();
    loop {
        loop {
            let step = lane.lock().next(Instant::now());
            match step {
                None => break,
                Some(Step::Expire(batch)) => {
                    let why = "the broker took no message of this topic in time; this one was never sent";
                    let outcomes = batch.refusals(RefusedReason::NeverSent, why);
                    batch.tell(outcomes);
                }
                Some(Step::Send { batch, headers, deadline }) => {
                    in_flight.push(publish(&lane.topic, &client, batch, headers, deadline));
                }
            }
        }
        let (is_over, leaves_at) = {
            let lane = lane.lock();
            (lane.is_shut() && lane.is_idle(), lane.leaves_at())
        };
        if is_over {
            return;
        }
        tokio::select! {
            Some(Ended { batch, request, headers, ending }) = in_flight.next(), if !in_flight.is_empty() => {
                let mut changing = lane.lock();
                changing.ended(headers);
                // One of them may be at fault, and the others do not know it.
                if matches!(&ending, Ending::NotStored { reason, .. } if reason.code().is_some_and(Code::may_be_one_message_s_fault)) && batch.can_part() {
                    changing.again_by_themselves(batch, &request);
                } else {
                    drop(changing);
                    let outcomes = outcomes_of(&batch, ending);
                    batch.tell(outcomes);
                }
            }
            () = lane.wake.notified() => {}
            () = until(leaves_at) => {}
        }
    }
}

/// Never, if there is no such time.
async fn until(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Sends one request until it has an ending. Every attempt carries the same bytes and the same numbers, and says whether
/// an earlier one may have got through.
async fn publish(topic: &str, client: &Client, mut batch: Batch, headers: SendHeaders, deadline: Instant) -> Ended {
    let request = batch.take_request();
    let ids: Vec<MessageId> = batch.entries.iter().map(|entry| entry.id).collect();
    let mut attempts = Attempts::new(deadline);
    // Without a route it goes to whoever is known.
    let _ = timeout_at(deadline, client.fresh_route(topic)).await;
    loop {
        let headers = SendHeaders { again: attempts.are_in_doubt(), ..headers };
        let verdict = attempt(topic, client, &request, headers, deadline, &ids).await;
        match attempts.after(verdict, Instant::now(), env::random_fraction()) {
            Next::Done(ending) => return Ended { batch, request, headers, ending },
            Next::Again(wait) => tokio::time::sleep(wait).await,
        }
    }
}

async fn attempt(
    topic: &str,
    client: &Client,
    request: &Bytes,
    headers: SendHeaders,
    deadline: Instant,
    ids: &[MessageId],
) -> Verdict {
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = client.options().attempt_timeout.min(left).max(ATTEMPT_SHORTEST);
    let publish = async |link: Link| link.publish(client.identity(), request.clone(), headers, timeout).await;
    let attempt = client.attempt_at_leader(topic, timeout, publish).await;
    let endpoint = attempt.endpoint;
    let verdict = verdict::judge(attempt.result, ids);
    match &verdict {
        Verdict::NotStored { reason, again: true, .. } => {
            // An overloaded leader is still the leader; anyone else can be asked instead of an unready node.
            if *reason != RefusedReason::Answered(Code::TOO_MANY_REQUESTS) {
                client.unready(endpoint.as_ref());
                client.relearn_soon(topic);
            }
        }
        Verdict::InDoubt { again: true, .. } => {
            client.unready(endpoint.as_ref());
            client.relearn_soon(topic);
        }
        _ => {
            client.served(endpoint.as_ref());
            if !client.is_preferred(endpoint.as_ref()) {
                client.relearn_soon(topic);
            }
        }
    }
    verdict
}

fn outcomes_of(batch: &Batch, ending: Ending) -> Vec<Outcome> {
    let stored = |Place { group, queue, offset }, message_id| {
        Outcome::Stored(Stored { broker_group: group, queue, offset, message_id })
    };
    let ids = batch.entries.iter().map(|entry| entry.id);
    match ending {
        Ending::NotStored { reason, why } => batch.refusals(reason, &why),
        Ending::InDoubt { why } => batch.unknowns(&why),
        Ending::Stored(places) => {
            assert_eq!(places.len(), batch.entries.len(), "judged against this very batch");
            places.into_iter().zip(ids).map(|(place, id)| stored(place, id)).collect()
        }
        Ending::Mixed(entries) => {
            assert_eq!(entries.len(), batch.entries.len(), "judged against this very batch");
            let outcome = |(entry, id)| match entry {
                EntryVerdict::Stored(place) => stored(place, id),
                EntryVerdict::NotStored { reason, why } => Outcome::Refused(Refused::new(reason, why).with_id(id)),
                EntryVerdict::InDoubt { why } => Outcome::Unknown(Unknown { why, message_id: id }),
            };
            entries.into_iter().zip(ids).map(outcome).collect()
        }
    }
}
