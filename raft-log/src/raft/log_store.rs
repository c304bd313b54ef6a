//! openraft's log storage on top of [`storage::Log`](crate::storage::Log).
//!
//! A thin translation: entries become records, callbacks pass through. It adds four decisions of its own.
//! - Reads that would touch the disk run where blocking is allowed, so that a follower far behind never delays
//!   heartbeats; reads are cut into bounded pieces and always pass at least one entry. What followers far behind read has
//!   a rate of its own.
//! - openraft takes an error of a read as the end of the node. So what cannot be read is waited for (it is being repaired
//!   from the peers), and a follower gets a heartbeat in its place; one bad sector stops nobody (hazards 36).
//! - The committed index stays in memory: openraft awaits `save_committed` inside its loop, and a restarted node learns
//!   the index from the leader anyway.
//! - Purging never deletes and never reaches beyond the end of the log (hazards 1), and is persisted behind the call.

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;
use std::time::Duration;

use futures::Stream;
use openraft::EntryPayload;
use openraft::storage::{IOFlushed, LogState, RaftLogReader, RaftLogStorage};

use crate::exec;
use crate::identity::Identity;
use crate::planted::{self, Bug};
use crate::raft::catch_up_pace::CatchUpPace;
use crate::raft::completion::{completed, completion};
#[cfg(tercet_sim)]
use crate::raft::type_config::hard_state;
use crate::raft::type_config::{
    RaftEntry, RaftLogId, RaftVote, TypeConfig, entry_of, log_id, raft_log_id, raft_vote, record_of,
};
use crate::raft::votes::Votes;
#[cfg(tercet_sim)]
use crate::sim::observe::{self, Deed};
use crate::storage::{Done, Log, RETRY_AFTER, Record, lacks_something};
use crate::types::LogIndex;

/// Payload bytes of one AppendEntries request; one larger entry passes alone. Under simulation a few entries fill one, so
/// that what a follower lacks comes to it in many.
pub(crate) const APPEND_BYTES_MAX: usize = if cfg!(tercet_sim) { 4 << 10 } else { 1 << 20 };
/// Payload bytes read at once on the way into the state machine.
const APPLY_BYTES_MAX: usize = 4 << 20;
/// Pause before entries that could not be read are asked for again.
const READ_AGAIN: Duration = Duration::from_millis(500);

/// The log as openraft sees it; clones are the same log.
#[derive(Clone)]
pub(crate) struct LogStore {
    log: Log,
    identity: Arc<Identity>,
    catch_up: Arc<CatchUpPace>,
    votes: Arc<Votes>,
}

impl LogStore {
    pub(crate) fn new(log: Log, identity: Arc<Identity>) -> LogStore {
        let catch_up = Arc::new(CatchUpPace::new(log.clone()));
        let votes = Arc::new(Votes::new(log.clone(), identity.node_id));
        LogStore { log, identity, catch_up, votes }
    }

    /// The votes that this log holds.
    pub(crate) fn votes(&self) -> Arc<Votes> {
        self.votes.clone()
    }

    /// Before the first vote or entry is answered, the identity file learns of it: an empty log is innocent only in a
    /// folder that was never used (hazards 2). Not before it is durable, or a crash between the two would leave a used
    /// folder with an empty log, which never opens again. What the machine lacks for that is waited for, as the log waits.
    async fn mark_used(&self) -> io::Result<()> {
        let mut waits = false;
        while !self.identity.is_used() {
            let identity = self.identity.clone();
            match exec::blocking(move || identity.mark_used()).await? {
                Err(error) if lacks_something(&error) && !self.log.is_closed() => {
                    if !std::mem::replace(&mut waits, true) {
                        tracing::error!(%error, "the node's identity cannot be written; its first entries and votes wait");
                    }
                    tokio::time::sleep(RETRY_AFTER).await;
                }
                marked => marked?,
            }
        }
        Ok(())
    }

    /// The first entries of a folder: they are waited for, because the identity file learns of them before they are answered.
    async fn append_first(&self, records: Vec<Record>, callback: IOFlushed<TypeConfig>) -> io::Result<()> {
        let (done, appended) = completion();
        self.append_records(records, done)?;
        let marked = match completed(appended).await {
            Ok(()) => self.mark_used().await,
            failed => failed,
        };
        callback.io_completed(marked);
        Ok(())
    }

    fn append_records(&self, records: Vec<Record>, done: Done) -> io::Result<()> {
        #[cfg(tercet_sim)]
        let done = {
            observe::observe_appending(&records);
            match records.last() {
                Some(last) => observe::observing(Deed::Persisted(last.id), done),
                None => done,
            }
        };
        self.log.append(records, done).map_err(io::Error::other)
    }

    async fn read_entries(&self, from: u64, until: u64, bytes_max: usize) -> io::Result<Vec<RaftEntry>> {
        entries_of(self.log.fetch(LogIndex(from), LogIndex(until), bytes_max).await.map_err(io::Error::other)?)
    }

    /// Entries that are committed and must be applied next. An error would stop the node, though others may need nothing
    /// but its vote and its acknowledgements: so it waits until what is damaged is repaired.
    async fn entries_to_apply(&self, from: u64, until: u64) -> io::Result<Vec<RaftEntry>> {
        loop {
            match self.log.fetch(LogIndex(from), LogIndex(until), APPLY_BYTES_MAX).await {
                Ok(records) => return entries_of(records),
                Err(error) if error.may_pass() && !planted::is(Bug::ReadErrorFatal) => {
                    if self.log.is_closed() {
                        return Err(io::Error::other(error));
                    }
                    tracing::error!(%error, "what is committed cannot be read; applying waits for it");
                    tokio::time::sleep(READ_AGAIN).await;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

fn entries_of(records: Vec<Record>) -> io::Result<Vec<RaftEntry>> {
    records.into_iter().map(|record| entry_of(record).map_err(io::Error::other)).collect()
}

fn payload_bytes(entry: &RaftEntry) -> usize {
    match &entry.payload {
        EntryPayload::Normal(command) => command.payload.len(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    }
}

/// First index and end (exclusive) of a range.
fn bounds_of<R: RangeBounds<u64>>(range: &R) -> (u64, u64) {
    let from = match range.start_bound() {
        Bound::Included(index) => *index,
        Bound::Excluded(index) => index + 1,
        Bound::Unbounded => 0,
    };
    let until = match range.end_bound() {
        Bound::Included(index) => index + 1,
        Bound::Excluded(index) => *index,
        Bound::Unbounded => u64::MAX,
    };
    (from, until)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<RaftEntry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (mut from, until) = bounds_of(&range);
        let mut entries = Vec::new();
        while from < until {
            let part = self.read_entries(from, until, APPLY_BYTES_MAX).await?;
            if part.is_empty() {
                break;
            }
            from += part.len() as u64;
            entries.extend(part);
        }
        Ok(entries)
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = Result<RaftEntry, io::Error>> + Send
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        let (from, until) = bounds_of(&range);
        let reader = self.clone();
        let start = (reader, from, Vec::new().into_iter());
        Box::pin(futures::stream::try_unfold(start, move |(reader, mut from, mut part)| async move {
            if let Some(entry) = part.next() {
                return Ok(Some((entry, (reader, from, part))));
            }
            if from >= until {
                return Ok(None);
            }
            part = reader.entries_to_apply(from, until).await?.into_iter();
            from += part.len() as u64;
            let missing = || io::Error::other(format!("committed entry {from} is not in the log"));
            let entry = part.next().ok_or_else(missing)?;
            Ok(Some((entry, (reader, from, part))))
        }))
    }

    async fn read_vote(&mut self) -> Result<Option<RaftVote>, io::Error> {
        Ok(self.votes.given().map(raft_vote))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, io::Error> {
        let cold = !self.log.is_cached(LogIndex(start));
        // An error would stop the node. Without entries openraft sends a heartbeat and asks again: a stream of a leadership
        // that is over hears so from its follower.
        let entries = match self.log.fetch(LogIndex(start), LogIndex(end), APPEND_BYTES_MAX).await {
            Ok(records) => {
                #[cfg(tercet_sim)]
                if cold {
                    observe::observe(Deed::Read(records.iter().map(Into::into).collect()));
                }
                entries_of(records)?
            }
            // A checkpoint was installed while a stream of an older leadership still read; or the log was purged to one that the
            // follower of this stream gets, and the stream ends for that reason (`asks_in_vain` of the link).
            Err(_) if self.log.bounds().purged.is_some_and(|purged| start <= purged.index.0) => return Ok(Vec::new()),
            // What could not be repaired in time is asked for again. This node hands its leadership over meanwhile.
            Err(error) if error.may_pass() && !planted::is(Bug::ReadErrorFatal) => {
                tracing::error!(%error, "a follower waits for entries that cannot be read");
                tokio::time::sleep(READ_AGAIN).await;
                return Ok(Vec::new());
            }
            Err(error) => return Err(io::Error::other(error)),
        };
        if cold {
            self.catch_up.take(entries.iter().map(payload_bytes).sum()).await;
        }
        Ok(entries)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        let bounds = self.log.bounds();
        Ok(LogState { last_purged_log_id: bounds.purged.map(raft_log_id), last_log_id: bounds.last.map(raft_log_id) })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<(), io::Error> {
        self.votes.give(vote).await?;
        self.mark_used().await?;
        #[cfg(tercet_sim)]
        observe::observe(Deed::Voted(hard_state(vote)));
        Ok(())
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry> + Send,
        I::IntoIter: Send,
    {
        let records: Vec<Record> = entries.into_iter().map(record_of).collect();
        if !self.identity.is_used() {
            return self.append_first(records, callback).await;
        }
        let done: Done = Box::new(move |result| callback.io_completed(result.map_err(io::Error::other)));
        self.append_records(records, done)
    }

    async fn truncate_after(&mut self, last_log_id: Option<RaftLogId>) -> Result<(), io::Error> {
        // Nobody waits for the disk here either: what is appended or voted next comes behind it in the log's queue, so
        // nothing that is answered afterwards forgets it. A crash before it is done brings back what was there.
        let keep = last_log_id.map(|id| LogIndex(id.index));
        let done: Done = Box::new(drop);
        #[cfg(tercet_sim)]
        let done = match self.log.bounds().last {
            Some(last) if Some(last.index) > keep => observe::observing(Deed::Cut, done),
            _ => done,
        };
        self.log.truncate_after(keep, done).map_err(io::Error::other)
    }

    async fn purge(&mut self, upto: RaftLogId) -> Result<(), io::Error> {
        // openraft calls this on its own at start when the applied point lies beyond the log; opening resets such a
        // state before, so reaching this would mean that entries were lost (hazards 1).
        let upto = log_id(upto);
        if self.log.bounds().last < Some(upto) {
            return Err(io::Error::other(format!("refused to purge to {upto}, beyond the end of the log")));
        }
        // Nobody waits until it is persisted: openraft would answer nothing meanwhile (hazards 37). A purge that a crash
        // takes back leaves a longer log with everything in it, because what is purged is given up only after the purge is
        // on disk. A failure ends the log, and with it the node.
        let done: Done = Box::new(drop);
        #[cfg(tercet_sim)]
        let done = observe::observing(Deed::Purged(upto), done);
        self.log.purge_to(upto, done).map_err(io::Error::other)
    }
}

#[cfg(all(test, not(tercet_sim)))]
#[path = "log_store_tests.rs"]
mod tests;
