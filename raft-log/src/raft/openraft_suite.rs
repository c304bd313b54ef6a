//! openraft's own test suite for log stores, run against [`LogStore`].
//!
//! The suite takes liberties that this log refuses, and that openraft itself never takes: it begins an empty log at an
//! index above 0, purges beyond the end, streams committed entries that are not there, and wants purged ones to be
//! unreadable, which here stay until retention releases them. [`Lenient`] gives it what it wants: blank entries in front,
//! a log that begins anew behind the purge point, and ranges cut at both ends. The state machine is the suite's own affair and a few lines in memory.

#![cfg(not(tercet_sim))]

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::sync::{Arc, Mutex};

use futures::{Stream, StreamExt};
use openraft::alias::{SnapshotMetaOf, SnapshotOf};
use openraft::entry::RaftEntry as _;
use openraft::storage::{
    EntryResponder, IOFlushed, LogState, RaftLogReader, RaftLogStorage, RaftSnapshotBuilder, RaftStateMachine,
};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{EntryPayload, OptionalSend, StorageError};

use super::log_store::LogStore;
use super::type_config::{
    RaftEntry, RaftLogId, RaftStoredMembership, RaftVote, TypeConfig, log_id, raft_log_id, record_of,
};
use crate::env::Env;
use crate::identity::Identity;
use crate::membership::{MemberNode, NodeAddresses};
use crate::storage::{Log, StorageOptions};
use crate::types::{GroupId, Incarnation, LogId, LogIndex, NodeId};

impl From<u64> for NodeId {
    fn from(id: u64) -> NodeId {
        NodeId(id)
    }
}

impl Default for MemberNode {
    fn default() -> MemberNode {
        MemberNode {
            incarnation: Incarnation(0),
            addresses: NodeAddresses::default(),
            retired: std::collections::BTreeSet::new(),
        }
    }
}

#[derive(Clone)]
struct Lenient {
    store: LogStore,
    log: Log,
}

impl Lenient {
    /// What of a range lies between the purge point and the end.
    fn visible(&self, range: &impl RangeBounds<u64>) -> Range<u64> {
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
        let bounds = self.log.bounds();
        let behind = |id: Option<LogId>| id.map_or(0, |id| id.index.0 + 1);
        from.max(behind(bounds.purged))..until.min(behind(bounds.last))
    }
}

impl RaftLogReader<TypeConfig> for Lenient {
    async fn try_get_log_entries<R>(&mut self, range: R) -> Result<Vec<RaftEntry>, io::Error>
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        self.store.try_get_log_entries(self.visible(&range)).await
    }

    async fn entries_stream<R>(&mut self, range: R) -> impl Stream<Item = Result<RaftEntry, io::Error>> + Send
    where
        R: RangeBounds<u64> + Clone + Debug + Send,
    {
        self.store.entries_stream(self.visible(&range)).await
    }

    async fn read_vote(&mut self) -> Result<Option<RaftVote>, io::Error> {
        self.store.read_vote().await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<RaftEntry>, io::Error> {
        self.store.limited_get_log_entries(start, end).await
    }
}

impl RaftLogStorage<TypeConfig> for Lenient {
    type LogReader = Lenient;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, io::Error> {
        self.store.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> Lenient {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &RaftVote) -> Result<(), io::Error> {
        self.store.save_vote(vote).await
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<TypeConfig>) -> Result<(), io::Error>
    where
        I: IntoIterator<Item = RaftEntry> + Send,
        I::IntoIter: Send,
    {
        let entries: Vec<RaftEntry> = entries.into_iter().collect();
        let first = entries.first().map(|entry| log_id(entry.log_id)).unwrap_or_default();
        if self.log.bounds().last.is_none() && first.index.0 > 0 {
            let blank = |index| LogId { term: first.term, index: LogIndex(index) };
            let blanks = (0..first.index.0).map(|index| record_of(RaftEntry::new_blank(raft_log_id(blank(index)))));
            self.log.append(blanks.collect(), Box::new(|result| result.unwrap())).map_err(io::Error::other)?;
        }
        self.store.append(entries, callback).await
    }

    async fn truncate_after(&mut self, last: Option<RaftLogId>) -> Result<(), io::Error> {
        self.store.truncate_after(last).await
    }

    async fn purge(&mut self, upto: RaftLogId) -> Result<(), io::Error> {
        let (upto, last) = (log_id(upto), self.log.bounds().last);
        if last.is_none_or(|last| last.index < upto.index) {
            let (sender, receiver) = tokio::sync::oneshot::channel();
            let done = Box::new(|result: Result<(), _>| sender.send(result).unwrap());
            self.log.begin_after(upto, done).map_err(io::Error::other)?;
            return receiver.await.unwrap().map_err(io::Error::other);
        }
        self.store.purge(raft_log_id(upto)).await?;
        // It is persisted behind the call, and shows when it is.
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let done = Box::new(|result: Result<(), _>| sender.send(result).unwrap());
        self.log.purge_to(upto, done).map_err(io::Error::other)?;
        receiver.await.unwrap().map_err(io::Error::other)
    }
}

/// Applies positions and memberships; its snapshot is no more than that. Clones are the same state machine.
#[derive(Clone, Default)]
struct Positions(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    applied: Option<RaftLogId>,
    membership: RaftStoredMembership,
    snapshot: Option<SnapshotMetaOf<TypeConfig>>,
}

impl RaftStateMachine<TypeConfig> for Positions {
    type SnapshotData = ();
    type SnapshotBuilder = Positions;

    async fn applied_state(&mut self) -> Result<(Option<RaftLogId>, RaftStoredMembership), io::Error> {
        let state = self.0.lock().unwrap();
        Ok((state.applied, state.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> Result<(), io::Error>
    where
        S: Stream<Item = Result<EntryResponder<TypeConfig>, io::Error>> + Unpin + OptionalSend,
    {
        while let Some(entry) = entries.next().await {
            let (entry, _) = entry?;
            let mut state = self.0.lock().unwrap();
            state.applied = Some(entry.log_id);
            if let EntryPayload::Membership(membership) = entry.payload {
                state.membership = RaftStoredMembership::new(Some(entry.log_id), membership);
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Positions {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMetaOf<TypeConfig>, (): ()) -> Result<(), io::Error> {
        let snapshot = Some(meta.clone());
        let (applied, membership) = (meta.last_log_id, meta.last_membership.clone());
        *self.0.lock().unwrap() = State { applied, membership, snapshot };
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<SnapshotOf<TypeConfig, ()>>, io::Error> {
        let meta = self.0.lock().unwrap().snapshot.clone();
        Ok(meta.map(|meta| SnapshotOf::<TypeConfig, ()> { meta, snapshot: () }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for Positions {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> Result<SnapshotOf<TypeConfig, ()>, io::Error> {
        let mut state = self.0.lock().unwrap();
        let meta =
            SnapshotMetaOf::<TypeConfig> { last_log_id: state.applied, last_membership: state.membership.clone() };
        state.snapshot = Some(meta.clone());
        Ok(SnapshotOf::<TypeConfig, ()> { meta, snapshot: () })
    }
}

struct OnDisk;

impl StoreBuilder<TypeConfig, Lenient, Positions, tempfile::TempDir> for OnDisk {
    async fn build(&self) -> Result<(tempfile::TempDir, Lenient, Positions), StorageError<TypeConfig>> {
        let folder = tempfile::tempdir().unwrap();
        // No cache and small segments: reads come from files, and some tests roll.
        let options = StorageOptions {
            segment_bytes_max: 8 << 10,
            record_payload_bytes_max: 1 << 10,
            cache_bytes_max: 0,
            ..StorageOptions::new(folder.path(), GroupId(1))
        };
        let (log, _) = Log::open(Env::real(), options).unwrap();
        let identity = Identity::open(&Env::real(), folder.path(), NodeId(0), GroupId(1), true).unwrap();
        let store = LogStore::new(log.clone(), Arc::new(identity));
        Ok((folder, Lenient { store, log }, Positions::default()))
    }
}

#[tokio::test]
async fn the_log_store_passes_the_suite_of_openraft() {
    Suite::test_all(OnDisk).await.unwrap();
}
