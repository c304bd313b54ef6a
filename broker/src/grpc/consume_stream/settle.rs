//! What becomes of messages: one Ack command for all that is done with, a command for each change.

use std::time::Duration;

use raft_log::types::UnixMillis;
use tercet_proto::client::v1::{Change, End, Run, Settle, Settled as Answer};

use super::{end, session::Session};
use crate::{
    consume::{is_overloaded, retried},
    grpc::receive_check::INVISIBLE_MILLIS_MAX,
    limits::ACK_ENTRIES_MAX,
    model::{QueueId, QueueOffset},
    state::{Ack, AckEntry, ChangeInvisible, EncodedCommand, Outcome, Settled},
};

/// Between two attempts to get a command into an overloaded log.
const OVERLOAD_BACKOFF: Duration = Duration::from_millis(50);
/// Changes in flight of one request.
const CHANGES_AT_ONCE: usize = 512;

/// A change of one delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct OneChange {
    entry: AckEntry,
    invisible_ms: u64,
    uncounted: bool,
}

impl Session {
    /// Does what is asked for; or says why the stream must end instead.
    pub(super) async fn settle(&self, settle: &Settle) -> Result<Answer, End> {
        let (done, changes) = expand_all(settle).map_err(end::bad_request)?;
        let (over, deadlines_unix_ms) = tokio::try_join!(self.acknowledge(done), self.change(&changes))?;
        Ok(Answer { number: settle.number, over, deadlines_unix_ms })
    }

    /// The positions of those whose delivery was over.
    async fn acknowledge(&self, entries: Vec<AckEntry>) -> Result<Vec<u32>, End> {
        if entries.is_empty() {
            return Ok(Vec::new());
        }
        let ack = Ack { group: self.wanted.group, topic: self.wanted.topic, entries };
        match self.submit(&ack.encode()).await? {
            Outcome::Acked(settled) => {
                Ok((0..).zip(settled).filter(|(_, of)| is_over(*of)).map(|(at, _)| at).collect())
            }
            Outcome::Unknown(name) => Err(end::unknown(name)),
            other => panic!("an acknowledgement was answered by {other:?}"),
        }
    }

    /// The new deadlines; 0 of those whose delivery was over.
    async fn change(&self, changes: &[OneChange]) -> Result<Vec<u64>, End> {
        let mut deadlines = Vec::with_capacity(changes.len());
        for some in changes.chunks(CHANGES_AT_ONCE) {
            deadlines.extend(futures::future::try_join_all(some.iter().map(|change| self.change_one(change))).await?);
        }
        Ok(deadlines)
    }

    async fn change_one(&self, change: &OneChange) -> Result<u64, End> {
        let command = ChangeInvisible {
            group: self.wanted.group,
            topic: self.wanted.topic,
            entry: change.entry,
            invisible_ms: change.invisible_ms,
            suspend: change.uncounted,
        };
        match self.submit(&command.encode()).await? {
            Outcome::Changed(changed) => Ok(changed.map_or(0, |deadline| deadline.0)),
            Outcome::Unknown(name) => Err(end::unknown(name)),
            other => panic!("a change was answered by {other:?}"),
        }
    }

    /// Under the load that others make, what is done with waits and is not sent away: else it would be delivered again. It does
    /// not hold up the end of the stream: then it is asked for again on the next one.
    async fn submit(&self, command: &EncodedCommand) -> Result<Outcome, End> {
        let submit = || self.node.batcher.submit(command.clone());
        let submitted = retried(self.ending.over(), OVERLOAD_BACKOFF, is_overloaded, submit).await;
        submitted.map_err(|error| end::failed(&self.node, &error))
    }
}

fn is_over(settled: Settled) -> bool {
    match settled {
        Settled::Done | Settled::Already => false,
        Settled::Expired | Settled::Unknown => true,
    }
}

/// How many messages a request is about, unless these are too many.
pub(super) fn messages(settle: &Settle) -> Result<u32, String> {
    let changed = settle.changes.iter().filter_map(|Change { run, .. }| run.as_ref());
    let messages: u64 = settle.done.iter().chain(changed).map(|run| u64::from(run.count.max(1))).sum();
    if messages > ACK_ENTRIES_MAX as u64 {
        return Err(format!("{messages} messages are settled at once, at most {ACK_ENTRIES_MAX} are allowed"));
    }
    Ok(u32::try_from(messages).expect("compared"))
}

/// What is done with, and what is changed, message by message. The caller has counted them.
fn expand_all(settle: &Settle) -> Result<(Vec<AckEntry>, Vec<OneChange>), String> {
    let mut done = Vec::with_capacity(settle.done.len());
    for run in &settle.done {
        expand(run, |entry| done.push(entry))?;
    }
    let mut changes = Vec::new();
    for Change { run, invisible_ms, uncounted } in &settle.changes {
        let (invisible_ms, uncounted) = (*invisible_ms, *uncounted);
        if invisible_ms > INVISIBLE_MILLIS_MAX.unsigned_abs() {
            return Err(format!("invisible time is {invisible_ms} ms, allowed are 0 to 12 hours"));
        }
        let run = run.as_ref().ok_or("a change names no message")?;
        expand(run, |entry| changes.push(OneChange { entry, invisible_ms, uncounted }))?;
    }
    Ok((done, changes))
}

fn expand(run: &Run, mut each: impl FnMut(AckEntry)) -> Result<(), String> {
    let count = u64::from(run.count.max(1));
    let end = run.offset.checked_add(count).ok_or("a run goes beyond the last offset")?;
    for offset in run.offset..end {
        each(AckEntry {
            queue: QueueId(run.queue),
            offset: QueueOffset(offset),
            nonce: run.nonce,
            deadline: UnixMillis(run.deadline_unix_ms),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(settle: &Settle) -> Result<(Vec<AckEntry>, Vec<OneChange>), String> {
        messages(settle)?;
        expand_all(settle)
    }

    fn run(offset: u64, count: u32) -> Run {
        Run { nonce: 7, deadline_unix_ms: 8, queue: 3, offset, count }
    }

    #[test]
    fn runs_become_their_messages() {
        let change = Change { run: Some(run(9, 2)), invisible_ms: 0, uncounted: true };
        let settle = Settle { number: 1, done: vec![run(4, 0), run(6, 2)], changes: vec![change] };
        let (done, changes) = check(&settle).expect("legal");
        assert_eq!(done.iter().map(|entry| entry.offset.0).collect::<Vec<_>>(), [4, 6, 7]);
        assert!(done.iter().all(|entry| (entry.queue, entry.nonce, entry.deadline.0) == (QueueId(3), 7, 8)));
        assert_eq!(changes.iter().map(|change| change.entry.offset.0).collect::<Vec<_>>(), [9, 10]);
    }

    #[test]
    fn what_would_be_unbounded_is_refused_before_it_is_made() {
        let done = |runs| check(&Settle { done: runs, ..Settle::default() });
        assert!(done(vec![run(0, 4096)]).is_ok());
        assert!(done(vec![run(0, 4096), run(0, 1)]).is_err());
        assert!(done(vec![run(0, u32::MAX); 4]).is_err());
        assert!(done(vec![run(u64::MAX, 1)]).is_err());
        let change = |run, invisible_ms| {
            check(&Settle { changes: vec![Change { run, invisible_ms, uncounted: false }], ..Settle::default() })
        };
        assert!(change(Some(run(0, 4097)), 0).is_err());
        assert!(change(None, 0).is_err());
        assert!(change(Some(run(0, 1)), 12 * 3600 * 1000 + 1).is_err());
        assert!(change(Some(run(0, 1)), 12 * 3600 * 1000).is_ok());
    }
}
